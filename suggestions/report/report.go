// Package report writes what a check found for people and for programs: text
// for a terminal and JSON.
//
// It decides nothing: what is found and suggested comes in, and the caller
// chooses the exit status. It reads no files.
package report

import (
	"cmp"
	"slices"
	"strings"

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
