package suggestions_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/suggestions"
)

func ExamplePropose() {
	file := analysis.File{
		Path:   "attention.py",
		Source: "def attend(scores, v):\n    p = softmax(scores, dtype=torch.float32)\n    return p @ v\n",
		Hunks:  []analysis.Hunk{{Start: 1, End: 3, New: []int{2}}},
	}
	// In production this is check.Run with the rules of the report.
	recheck := func(_ context.Context, files []analysis.File) check.Report {
		var r check.Report
		for _, f := range files {
			end := strings.Index(f.Source, "torch.float32)\n")
			if end < 0 {
				continue
			}
			end += len("torch.float32)")
			at := python.Span{Start: uint32(strings.Index(f.Source, "softmax")), End: uint32(end)}
			r.Findings = append(r.Findings, analysis.Finding{
				Rule: "upcast-not-undone", Severity: analysis.High, Confidence: analysis.Likely, Path: f.Path, At: at,
				Start: analysis.Position{Line: 2, Column: 9}, End: analysis.Position{Line: 2, Column: 45},
				Message: "The weights stay float32, and `p @ v` stops when `v` is bfloat16.",
				Fix: &analysis.Fix{Title: "Cast the result", Safety: analysis.Safe, Edits: []analysis.Edit{
					{Span: python.Span{Start: at.End, End: at.End}, New: ".to(v.dtype)"},
				}},
			})
		}
		return r
	}
	ctx := context.Background()
	files := []analysis.File{file}
	plan := suggestions.Propose(ctx, files, recheck(ctx, files), suggestions.Options{Recheck: recheck})
	for _, c := range plan.Comments {
		fmt.Printf("%s:%d\n%s", c.Path, c.First, suggestions.Markdown(c, suggestions.MarkdownOptions{}))
	}
	// Output:
	// attention.py:2
	// The weights stay float32, and `p @ v` stops when `v` is bfloat16.
	//
	// ```suggestion
	//     p = softmax(scores, dtype=torch.float32).to(v.dtype)
	// ```
	//
	// <details><summary>Not a mistake?</summary>
	//
	// If this is meant, `# dtypebot: ignore[upcast-not-undone] reason` at the end of the line silences it.
	//
	// </details>
	//
	// <sub>upcast-not-undone · likely</sub>
}
