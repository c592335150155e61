// Package suggestions turns findings into what a reviewer can click: it widens
// each fix to whole lines inside one hunk, joins fixes that need each other,
// proves each suggestion by applying it and analysing the result again, and
// renders comments as Markdown.
//
// It does no I/O, knows nothing of GitHub's API, and never offers a fix that it
// could not prove.
package suggestions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/survey"
)

// A Suggestion replaces whole lines of one file at the head.
type Suggestion struct {
	ID          string // "s1", "s2", … within one plan
	Title       string // what it does, from the strongest finding's fix; may be empty
	Safety      analysis.Safety
	First, Last int      // 1-based head lines, inclusive, inside one hunk
	Old         []string // the lines that are replaced, without line ends
	Replacement []string // the lines in their place, without line ends
	// Edits are the same change in bytes of the head's text, ascending.
	// Applying them keeps every other byte, line ends included.
	Edits []analysis.Edit
}

// A Comment is one mistake as it will be posted: the findings that one edit
// mends, strongest first, and the lines that it stands on.
type Comment struct {
	Path        string
	First, Last int // 1-based head lines, inclusive; the suggestion's when there is one
	// Anchored says that the lines lie inside one hunk, so that GitHub accepts
	// a review comment there. Otherwise it becomes an annotation.
	Anchored bool
	Findings []analysis.Finding
	// Suggestion is nil when no rule offered a fix or the fix is wrong. One that
	// is right but cannot be a button (it lies outside the diff, or needs an
	// edit that nobody offers) has the safety Display, and Unproven says why.
	Suggestion *Suggestion
	// Needs are mistakes that mending the findings alone would bring and that
	// the suggestion mends as well: not mistakes of the code as it is. Their
	// lines are the head's, their spans mean nothing.
	Needs       []analysis.Finding
	Forms       []analysis.Form
	Fingerprint string // the first finding's
	// Unproven says, as a Markdown sentence without its full stop, why there is
	// no button although a rule offered a fix.
	Unproven string
	// Unifier is a function of the repository that gives several tensors one
	// dtype, when three or more operands of the function need a cast.
	Unifier *survey.Unifier
	// Copies are comments on the same mistake, made again in the same words
	// elsewhere in the file, in the order of their lines. They are listed by
	// this comment and not posted themselves. Their suggestions hold.
	Copies []Comment
}

// Severity is the strongest severity of the comment's findings.
func (c Comment) Severity() analysis.Severity {
	var s analysis.Severity
	for _, f := range c.Findings {
		if f.Severity.Rank() > s.Rank() {
			s = f.Severity
		}
	}
	return s
}

// Confidence is the strongest confidence of the comment's findings.
func (c Comment) Confidence() analysis.Confidence {
	var s analysis.Confidence
	for _, f := range c.Findings {
		if f.Confidence.Rank() > s.Rank() {
			s = f.Confidence
		}
	}
	return s
}

// Because is the chain of reasons of all findings, each place's words once.
func (c Comment) Because() []analysis.Reason {
	var chain []analysis.Reason
	for _, f := range c.Findings {
		for _, r := range f.Because {
			if !slices.ContainsFunc(chain, func(s analysis.Reason) bool {
				return s.Path == r.Path && s.Line == r.Line && strings.Contains(s.Text, r.Text)
			}) {
				chain = append(chain, r)
			}
		}
	}
	return chain
}

// A Plan is everything there is to say about a pull request, strongest first:
// by severity, confidence, path and line.
type Plan struct {
	Comments []Comment
	// Possible are the comments below the posting confidence.
	Possible []Comment
}

// All returns every comment of the plan, the possible ones last, each followed
// by its copies.
func (p Plan) All() []Comment {
	var all []Comment
	for _, list := range [][]Comment{p.Comments, p.Possible} {
		for _, c := range list {
			all = append(all, c)
			all = append(all, c.Copies...)
		}
	}
	return all
}

// Mend applies to the source of path every suggestion of the plan whose
// comment has at least the confidence least, and returns the mended text and
// the number of suggestions in it. Unsafe ones are applied only when unsafe is
// set, display ones never. The text must be the one that was analysed.
func (p Plan) Mend(path, source string, least analysis.Confidence, unsafe bool) (string, int, error) {
	var edits []analysis.Edit
	n := 0
	for _, c := range p.All() {
		s := c.Suggestion
		if c.Path != path || s == nil || c.Confidence().Rank() < least.Rank() {
			continue
		}
		if s.Safety == analysis.Safe || s.Safety == analysis.Unsafe && unsafe {
			edits = append(edits, s.Edits...)
			n++
		}
	}
	mended, err := Apply(source, edits)
	if err != nil {
		return "", 0, fmt.Errorf("mend %s: %w", path, err)
	}
	return mended, n, nil
}
