package main

import (
	"io"
	"net/url"
	"strings"

	"github.com/dtypebot/dtypebot/bot/github"
)

// A redactor keeps credentials out of what is written to the log, whatever made
// the line. Nothing should put one there; this is for the case that something
// does.
type redactor struct {
	w     io.Writer
	known *strings.Replacer // the program's own
}

// shortest is the length of the shortest credential that is looked for as such:
// a shorter one would take ordinary words away.
const shortest = 8

// redact puts a redactor before w.
func (c serveConfig) redact(w io.Writer) io.Writer {
	var known []string
	add := func(secret string) {
		if len(secret) >= shortest {
			known = append(known, secret, "[secret]")
		}
	}
	for _, s := range c.Secrets {
		add(s)
	}
	for line := range strings.FieldsSeq(string(c.Key)) { // a log has the line ends escaped
		if len(line) > 32 { // no word of the first and last line
			add(line)
		}
	}
	for server := range strings.SplitSeq(c.NATSURL, ",") {
		if u, err := url.Parse(strings.TrimSpace(server)); err == nil && u.User != nil {
			password, _ := u.User.Password()
			add(password)
			add(u.User.Username()) // of a token alone
		}
	}
	return &redactor{w: w, known: strings.NewReplacer(known...)}
}

// Write writes a line without credentials.
func (r *redactor) Write(line []byte) (int, error) {
	if _, err := io.WriteString(r.w, github.Redact(r.known.Replace(string(line)))); err != nil {
		return 0, err
	}
	return len(line), nil
}
