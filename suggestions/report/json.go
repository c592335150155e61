package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/dtypebot/dtypebot/analysis"
)

type (
	document struct {
		Version  int       `json:"version"`
		Findings []finding `json:"findings"`
		Files    int       `json:"files"`
		Skipped  []skip    `json:"skipped"`
	}
	finding struct {
		Rule         string              `json:"rule"`
		Severity     analysis.Severity   `json:"severity"`
		Confidence   analysis.Confidence `json:"confidence"`
		Fingerprint  string              `json:"fingerprint"`
		Path         string              `json:"path"`
		Start        position            `json:"start"`
		End          position            `json:"end"`
		Message      string              `json:"message"`
		Because      []reason            `json:"because"`
		Suggestion   *suggestion         `json:"suggestion"`
		Alternatives []alternative       `json:"alternatives"`
	}
	position struct {
		Line   int `json:"line"`
		Column int `json:"column"`
	}
	reason struct {
		Path string `json:"path"`
		Line int    `json:"line"`
		Text string `json:"text"`
	}
	suggestion struct {
		ID          string          `json:"id"`
		Safety      analysis.Safety `json:"safety"`
		StartLine   int             `json:"start_line"`
		EndLine     int             `json:"end_line"`
		Replacement []string        `json:"replacement"`
	}
	alternative struct {
		Title       string   `json:"title"`
		StartLine   int      `json:"start_line"`
		EndLine     int      `json:"end_line"`
		Replacement []string `json:"replacement"`
	}
	skip struct {
		Path   string `json:"path"`
		Reason string `json:"reason"`
	}
)

// JSON writes the report as one JSON document. Lines are 1-based, columns are
// 1-based UTF-8 bytes, and a finding's end is the column just past it. Findings
// that one edit mends bear the same suggestion id. Lists are never null; a
// replacement without lines deletes.
func JSON(w io.Writer, in Input) error {
	d := document{Version: 1, Findings: []finding{}, Files: in.Report.Files, Skipped: []skip{}}
	for _, f := range in.Findings() {
		g := finding{
			Rule: f.Rule, Severity: f.Severity, Confidence: f.Confidence, Fingerprint: f.Fingerprint,
			Path: f.Path, Start: position(f.Start), End: position(f.End), Message: f.Message,
			Because: []reason{}, Alternatives: []alternative{},
		}
		for _, r := range f.Because {
			g.Because = append(g.Because, reason(r))
		}
		if c := in.comment(f); c != nil && c.Suggestion != nil {
			s := c.Suggestion
			g.Suggestion = &suggestion{
				ID: s.ID, Safety: s.Safety, StartLine: s.First, EndLine: s.Last, Replacement: list(s.Replacement),
			}
		}
		for _, form := range f.Forms {
			g.Alternatives = append(g.Alternatives, alternative{
				Title: form.Title, StartLine: form.First, EndLine: form.Last, Replacement: list(form.Lines),
			})
		}
		d.Findings = append(d.Findings, g)
	}
	for _, s := range in.Report.Skipped {
		d.Skipped = append(d.Skipped, skip(s))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write JSON report: %w", err)
	}
	return nil
}

// list returns lines, never nil.
func list(lines []string) []string {
	if lines == nil {
		return []string{}
	}
	return lines
}
