// Package report writes what a check found for people and for programs: text
// for a terminal, JSON, SARIF for code scanning, the Reviewdog Diagnostic
// Format, and GitHub's workflow commands.
//
// It decides nothing: what is found and suggested comes in, and the caller
// chooses the exit status. It reads no files.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// Input is what there is to report.
type Input struct {
	// Files are those that were analysed, as they were.
	Files  []analysis.File
	Report check.Report
	// Plan is what suggestions.Propose made of the report.
	Plan suggestions.Plan
	// Least leaves out findings below a confidence; "" reports all.
	Least analysis.Confidence
	// Rules are those that were run and Version is dtypebot's; SARIF names them.
	Rules   []*analysis.Rule
	Version string
}

// Findings returns the findings that are reported, by path and place.
func (in Input) Findings() []analysis.Finding {
	var found []analysis.Finding
	for _, f := range in.Report.Findings {
		if f.Confidence.Rank() >= in.Least.Rank() {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(f, g analysis.Finding) int {
		return cmp.Or(
			strings.Compare(f.Path, g.Path),
			cmp.Compare(f.Start.Line, g.Start.Line),
			cmp.Compare(f.Start.Column, g.Start.Column),
			strings.Compare(f.Rule, g.Rule),
		)
	})
	return found
}

// comment returns the comment that a finding is part of, nil if none is.
func (in Input) comment(f analysis.Finding) *suggestions.Comment {
	for _, c := range in.Plan.All() {
		if c.Path != f.Path {
			continue
		}
		for _, g := range c.Findings {
			if g.Rule == f.Rule && g.At == f.At && g.Fingerprint == f.Fingerprint {
				return &c
			}
		}
	}
	return nil
}

// comments returns the comments that are reported, in the plan's order.
func (in Input) comments() []suggestions.Comment {
	return slices.DeleteFunc(in.Plan.All(), func(c suggestions.Comment) bool {
		return len(c.Findings) == 0 || c.Confidence().Rank() < in.Least.Rank()
	})
}

// ready reports whether a comment's suggestion may be applied by a click, and
// whether JSON can carry it: text that is not UTF-8 would come out changed.
func ready(c suggestions.Comment) bool {
	s := c.Suggestion
	return s != nil && s.Safety == analysis.Safe && c.Unproven == "" &&
		!slices.ContainsFunc(s.Replacement, func(l string) bool { return !utf8.ValidString(l) })
}

// said returns what a comment says of its findings, in paragraphs.
func said(c suggestions.Comment) []string {
	lead := c.Findings[0]
	paragraphs := []string{plain(lead.Message)}
	for _, f := range append(slices.Clone(c.Findings[1:]), c.Needs...) {
		if f.Message != lead.Message || f.Start.Line != lead.Start.Line {
			// What follows the first paragraph is about the fix, which is told once.
			first, _, _ := strings.Cut(plain(f.Message), "\n\n")
			paragraphs = append(paragraphs, fmt.Sprintf("Line %d, too (%s): %s", f.Start.Line, f.Rule, first))
		}
	}
	if words := c.UnifierWords(); words != "" {
		paragraphs = append(paragraphs, plain(words))
	}
	return paragraphs
}

// because returns a comment's reasons as one paragraph, none if it has none.
func because(c suggestions.Comment) []string {
	var lines []string
	for _, r := range c.Because() {
		place := fmt.Sprintf("%s:%d", safe(r.Path), r.Line)
		if r.Path == c.Path {
			place = fmt.Sprintf("line %d", r.Line)
		}
		lines = append(lines, "- because "+place+": "+plain(r.Text))
	}
	if lines == nil {
		return nil
	}
	return []string{strings.Join(lines, "\n")}
}

// utf16Column turns a column in bytes of a line into one in UTF-16 code units,
// in which JavaScript and most editors count. A byte order mark does not count.
func utf16Column(line string, p analysis.Position) int {
	before := line[:min(max(p.Column-1, 0), len(line))]
	if p.Line == 1 {
		before = strings.TrimPrefix(before, bom)
	}
	n := 1
	for _, r := range before {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}
