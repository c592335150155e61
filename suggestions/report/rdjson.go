package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/suggestions"
)

// The types are the messages of the Reviewdog Diagnostic Format that are used,
// in proto3's JSON form:
// https://github.com/reviewdog/reviewdog/blob/master/proto/rdf/reviewdog.proto
type (
	rdResult struct {
		Source      rdSource       `json:"source"`
		Severity    string         `json:"severity,omitempty"`
		Diagnostics []rdDiagnostic `json:"diagnostics"`
	}
	rdSource struct {
		Name string `json:"name"`
		URL  string `json:"url"`
	}
	rdDiagnostic struct {
		Message        string         `json:"message"`
		Location       rdLocation     `json:"location"`
		Severity       string         `json:"severity"`
		Code           rdCode         `json:"code"`
		Suggestions    []rdSuggestion `json:"suggestions,omitempty"`
		OriginalOutput string         `json:"original_output"`
	}
	rdLocation struct {
		Path  string  `json:"path"`
		Range rdRange `json:"range"`
	}
	rdCode struct {
		Value string `json:"value"`
	}
	rdRange struct {
		Start rdPosition `json:"start"`
		End   rdPosition `json:"end"`
	}
	rdPosition struct {
		Line   int `json:"line"`
		Column int `json:"column,omitempty"`
	}
	rdSuggestion struct {
		Range rdRange `json:"range"`
		Text  string  `json:"text"`
	}
)

// RDJSON writes the report in the Reviewdog Diagnostic Format, one diagnostic
// for each comment, strongest first. Columns are UTF-8 bytes and a range's end
// is just past it, as that format counts. Only safe and proven suggestions are
// in it, as ranges of whole lines, because reviewdog makes buttons of them. Files
// that were not analysed have no place in the format.
func RDJSON(w io.Writer, in Input) error {
	d := rdResult{Source: rdSource{"dtypebot", home}, Diagnostics: []rdDiagnostic{}}
	var worst analysis.Severity
	for _, c := range in.comments() {
		lead := c.Findings[0]
		if c.Severity().Rank() > worst.Rank() {
			worst = c.Severity()
		}
		first, _, _ := strings.Cut(plain(lead.Message), "\n\n")
		g := rdDiagnostic{
			Message: strings.Join(append(said(c), because(c)...), "\n\n"), Severity: rdSeverity(c.Severity()), Code: rdCode{lead.Rule},
			Location: rdLocation{c.Path, rdRange{rdPosition(lead.Start), rdPosition(lead.End)}},
			OriginalOutput: fmt.Sprintf("%s:%d:%d: %s, %s: %s: %s",
				safe(c.Path), lead.Start.Line, lead.Start.Column, c.Severity(), c.Confidence(), lead.Rule, first),
		}
		if ready(c) {
			g.Suggestions = []rdSuggestion{rdSuggest(c.Suggestion)}
		}
		d.Diagnostics = append(d.Diagnostics, g)
	}
	if worst != "" {
		d.Severity = rdSeverity(worst)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write rdjson report: %w", err)
	}
	return nil
}

// rdSuggest replaces whole lines: without columns the range reaches to the end
// of its last line, the line end not included. That is also how reviewdog makes
// GitHub's suggestion blocks, in which an empty text deletes the lines.
func rdSuggest(s *suggestions.Suggestion) rdSuggestion {
	return rdSuggestion{
		Range: rdRange{rdPosition{Line: s.First}, rdPosition{Line: s.Last}},
		Text:  strings.Join(s.Replacement, "\n"),
	}
}

func rdSeverity(s analysis.Severity) string {
	switch s {
	case analysis.High:
		return "ERROR"
	case analysis.Medium:
		return "WARNING"
	}
	return "INFO"
}
