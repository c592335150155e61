package check

import (
	"regexp"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// A suppression is one "# dtypebot: ignore[…]" comment.
type suppression struct {
	line  int
	own   bool // stands on a line of its own
	all   bool // without brackets: every rule
	rules []string
}

var ignoreComment = regexp.MustCompile(`\bdtypebot:\s*ignore\b(\s*\[([^\]]*)\])?`)

// suppressions lists the suppressing comments of a file.
func suppressions(f *python.File) []suppression {
	var out []suppression
	for _, c := range f.Comments {
		m := ignoreComment.FindStringSubmatch(c.Text)
		if m == nil {
			continue
		}
		s := suppression{line: f.Line(c.Start), own: c.Own, all: m[1] == ""}
		for _, name := range strings.Split(m[2], ",") {
			if name = strings.TrimSpace(name); name != "" {
				s.rules = append(s.rules, name)
			}
		}
		out = append(out, s)
	}
	return out
}

func (s suppression) covers(rule string) bool {
	if s.all {
		return true
	}
	for _, r := range s.rules {
		if r == rule {
			return true
		}
	}
	return false
}

// suppressed reports whether a comment silences a rule at lines first to last:
// on one of them, or in the block of comments right above.
func suppressed(list []suppression, own map[int]bool, rule string, first, last int) bool {
	top := first
	for own[top-1] {
		top--
	}
	for _, s := range list {
		if s.line >= top && s.line <= last && s.covers(rule) {
			return true
		}
	}
	return false
}

// ownComments are the lines that hold nothing but a comment.
func ownComments(f *python.File) map[int]bool {
	out := map[int]bool{}
	for _, c := range f.Comments {
		if c.Own {
			out[f.Line(c.Start)] = true
		}
	}
	return out
}
