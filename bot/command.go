package bot

import (
	"slices"
	"strings"
)

// The verbs that people may write to the bot in a comment.
const (
	VerbReview  = "review"
	VerbExplain = "explain"
	VerbHelp    = "help"
	VerbFix     = "fix"
	VerbIgnore  = "ignore"
)

// The App's reactions to commands, by GraphQL's names. An `ignore` holds for as
// long as its comment stands with the App's ReactionObeyed.
const (
	ReactionObeyed  = "THUMBS_UP"
	ReactionRefused = "CONFUSED"
)

// An Order is what a comment asks of the bot.
type Order struct {
	Verb string   // one of the verbs; anything else is an order that nobody knows
	Args []string // of `ignore`: names of rules
}

// ParseOrder reads the order that a comment gives: the first line that begins
// with the bot's name, "@dtypebot ignore matmul-mixed-dtype". login is the
// account of the App, with or without "[bot]". Lines of quotes and code blocks
// are not orders.
func ParseOrder(body, login string) (Order, bool) {
	login = "@" + strings.TrimSuffix(login, "[bot]")
	fence := ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, " \t\r\n")
		if indent := len(line) - len(strings.TrimLeft(line, " ")); indent >= 4 {
			continue // code
		}
		line = strings.TrimSpace(line)
		if fence != "" {
			if strings.HasPrefix(line, fence) && strings.Trim(line, fence[:1]) == "" {
				fence = ""
			}
			continue
		}
		if run := fenceOf(line); run != "" {
			fence = run
			continue
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
		if len(words) == 0 || login == "@" {
			continue
		}
		name := strings.TrimSuffix(strings.TrimSuffix(words[0], ":"), "[bot]")
		if !strings.EqualFold(name, login) {
			continue
		}
		if len(words) == 1 {
			return Order{Verb: VerbHelp}, true
		}
		o := Order{Verb: strings.ToLower(strings.TrimRight(words[1], ".!"))}
		for _, w := range words[2:] {
			if w = strings.Trim(w, "`."); w != "" && !slices.Contains(o.Args, w) {
				o.Args = append(o.Args, w)
			}
		}
		return o, true
	}
	return Order{}, false
}

// fenceOf is the run of backticks or tildes that opens a code block, "" if the
// line opens none.
func fenceOf(line string) string {
	for _, c := range []string{"`", "~"} {
		if n := len(line) - len(strings.TrimLeft(line, c)); n >= 3 && (c == "~" || !strings.Contains(line[n:], "`")) {
			return line[:n]
		}
	}
	return ""
}
