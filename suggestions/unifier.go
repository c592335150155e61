package suggestions

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/survey"
)

// manyCasts is how many operands of one function have to be cast before a
// function that casts them all is worth a word.
const manyCasts = 3

// unify names the repository's own function in the first comment on a function
// of which several operands need casts.
func (p *Plan) unify(unifiers []survey.Unifier) {
	if len(unifiers) == 0 {
		return
	}
	best := unifiers[0]
	for _, u := range unifiers {
		if u.Floating && !best.Floating {
			best = u
		}
	}
	for _, list := range [][]Comment{p.Comments, p.Possible} {
		for scope, n := range Casts(list) {
			if n < manyCasts {
				continue
			}
			for i := range list {
				if scope == scopeOf(list[i]) && (list[i].Path != best.Path || list[i].Findings[0].Scope != best.Name) {
					list[i].Unifier = &best
					break
				}
			}
		}
	}
}

// A Scope is one definition of one file.
type Scope struct{ Path, Name string }

func scopeOf(c Comment) Scope { return Scope{c.Path, c.Findings[0].Scope} }

// Casts counts the operands that the suggestions of comments cast, by the
// definition that they stand in.
func Casts(comments []Comment) map[Scope]int {
	casts := map[Scope]int{}
	for _, c := range comments {
		if c.Suggestion == nil {
			continue
		}
		for _, e := range c.Suggestion.Edits {
			if isCast(e) {
				casts[scopeOf(c)]++
			}
		}
	}
	return casts
}

// isCast reports whether an edit puts a cast behind an operand.
func isCast(e analysis.Edit) bool {
	return strings.HasPrefix(strings.TrimLeft(e.New, ")"), ".to(")
}

// UnifierWords says that the repository has a function for several casts, "" if
// there is nothing to say.
func (c Comment) UnifierWords() string {
	u := c.Unifier
	if u == nil {
		return ""
	}
	words := fmt.Sprintf("Several operands of this function need a cast. This repository has %s (%s), which gives all its tensors the dtype of the first.",
		CodeSpan(u.Name), CodeSpan(fmt.Sprintf("%s:%d", u.Path, u.Line)))
	if !u.Floating {
		words += " It casts masks and ids as well: leave those out, and never put one first."
	}
	return words
}
