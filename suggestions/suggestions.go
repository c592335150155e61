// Package suggestions turns findings into what a reviewer can click: it widens
// each fix to whole lines inside one hunk, joins fixes that need each other,
// proves each suggestion by applying it and analysing the result again, and
// renders comments as Markdown.
//
// It does no I/O, knows nothing of GitHub's API, and never offers a fix that it
// could not prove.
package suggestions

import "github.com/dtypebot/dtypebot/analysis"

// A Suggestion replaces whole lines of one file at the head.
type Suggestion struct {
	ID          string // "s1", "s2", … within one plan
	Safety      analysis.Safety
	First, Last int      // 1-based head lines, inclusive, inside one hunk
	Old         []string // the lines that are replaced, without line ends
	Replacement []string // the lines in their place, without line ends
}

// A Comment is one mistake as it will be posted: the findings that one edit
// mends, strongest first, and the lines that it stands on.
type Comment struct {
	Path        string
	First, Last int // 1-based head lines, inclusive; the suggestion's when there is one
	// Anchored says that the lines lie inside one hunk, so that GitHub accepts
	// a review comment there. Otherwise it becomes an annotation.
	Anchored    bool
	Findings    []analysis.Finding
	Suggestion  *Suggestion // nil when nothing could be proven
	Forms       []analysis.Form
	Fingerprint string // the first finding's
	// Unproven says why there is no suggestion although a rule offered a fix.
	Unproven string
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

// A Plan is everything there is to say about a pull request, strongest first.
type Plan struct {
	Comments []Comment
	// Possible are the comments below the posting confidence.
	Possible []Comment
}
