package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var precisionOverwritten = &analysis.Rule{
	Name:     "precision-overwritten",
	Severity: analysis.Medium,
	Doc: `A precision is worked out and replaced by a fixed one in the next line

What a function finds out about the supported precision is never used: the
statement right behind it sets the same name to a literal, as is left behind
after debugging.

Evidence: two assignments to one name stand next to each other, the first is a
call, the second a literal, and the name tells that it is a dtype or a precision
(likely).

Fix: the second assignment is taken out; it may be the first one that is not
wanted, so this is not a one-click change.

Silent where anything stands between the two, and where the first is a literal.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			overwritten(p, d.Body)
			inBody(d, func(s python.Stmt, _ []python.Node) {
				switch s := s.(type) {
				case *python.If:
					overwritten(p, s.Body)
					overwritten(p, s.Else)
				case *python.With:
					overwritten(p, s.Body)
				case *python.For:
					overwritten(p, s.Body)
				}
			})
		})
	},
}

// overwritten looks at neighbours in one block.
func overwritten(p *analysis.Pass, body []python.Stmt) {
	for i := 0; i+1 < len(body); i++ {
		a, okA := body[i].(*python.Assign)
		b, okB := body[i+1].(*python.Assign)
		if !okA || !okB || len(a.Targets) != 1 || len(b.Targets) != 1 || a.Op != "" || b.Op != "" {
			continue
		}
		name := boundName(a)
		if name == "" || boundName(b) != name || !strings.HasSuffix(name, "precision") && !strings.HasSuffix(name, "dtype") {
			continue
		}
		call, isCall := a.Value.(*python.Call)
		if _, isText := b.Value.(*python.Str); !isCall || !isText {
			if _, isDType := dtypeLiteral(p, b.Value); !isCall || !isDType {
				continue
			}
		}
		first, last := p.Tree.Lines(b.Pos())
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: b.Pos(), Scope: scopeOf(p, b), Ops: []python.Span{b.Pos()},
			Message: fmt.Sprintf("%s is always %s here: what %s found one line above is thrown away.", code(name), code(p.Tree.Text(b.Value.Pos())), code(p.Tree.Text(call.Func.Pos()))),
			Because: []analysis.Reason{p.Reason(a.Pos(), "worked out here"), p.Reason(b.Pos(), "and replaced at once")},
			Fix: &analysis.Fix{Title: "Keep what was worked out", Safety: analysis.Unsafe, Edits: []analysis.Edit{
				{Span: python.Span{Start: p.Tree.LineSpan(first).Start, End: p.Tree.LineSpan(last).End}},
			}},
		})
	}
}
