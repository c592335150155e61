package bot

import (
	"net/url"
	"regexp"
	"strings"
)

// A Marker is the hidden last line of everything that the bot writes in a
// conversation. GitHub keeps it, so it is how the bot finds its own comments
// again. It counts only in comments that the App itself wrote: anyone can paste
// one.
type Marker struct {
	Fingerprint string // of the comment's first finding, "" in a review's body
	Pathless    string // of the same finding
	Rule        string
	Also        []string // fingerprints of what else the comment is about
	Answers     string   // what an answer in the conversation answers
	Gone        bool     // says that the mistake is gone
	Head        string   // the sha that was analysed; GitHub re-points a review's own commit after a force push
}

// markerPrefix is the name and version of the format; fields are only added.
const markerPrefix = "<!-- dtypebot:v1"

var markerLine = regexp.MustCompile(`^<!-- dtypebot:v1((?: [a-z]+=[^ ]*)*) -->$`)

// String returns the marker as one line of Markdown that is not shown.
func (m Marker) String() string {
	gone := ""
	if m.Gone {
		gone = "1"
	}
	var b strings.Builder
	b.WriteString(markerPrefix)
	for _, f := range [...]struct{ key, value string }{
		{"fp", m.Fingerprint}, {"pathless", m.Pathless}, {"rule", m.Rule}, {"head", m.Head}, {"also", strings.Join(m.Also, " ")}, {"gone", gone}, {"answers", m.Answers},
	} {
		if f.value != "" {
			// Escaped, so that no value can end the comment or hold a space.
			b.WriteString(" " + f.key + "=" + url.QueryEscape(f.value))
		}
	}
	b.WriteString(" -->")
	return b.String()
}

// ParseMarker returns the marker of a body. It must be the last line that is
// not empty: a marker elsewhere may be quoted code.
func ParseMarker(body string) (Marker, bool) {
	body = strings.TrimRight(body, " \t\r\n")
	last := body[strings.LastIndexByte(body, '\n')+1:]
	parts := markerLine.FindStringSubmatch(last)
	if parts == nil {
		return Marker{}, false
	}
	var m Marker
	for field := range strings.FieldsSeq(parts[1]) {
		key, value, _ := strings.Cut(field, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return Marker{}, false
		}
		switch key {
		case "fp":
			m.Fingerprint = value
		case "pathless":
			m.Pathless = value
		case "rule":
			m.Rule = value
		case "head":
			m.Head = value
		case "answers":
			m.Answers = value
		case "gone":
			m.Gone = value == "1"
		case "also":
			m.Also = strings.Fields(value)
		}
	}
	return m, true
}
