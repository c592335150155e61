package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var castLostInWhere = &analysis.Rule{
	Name:     "cast-lost-in-where",
	Severity: analysis.Medium,
	Doc: `A tensor is cast and then replaced by torch.where of two numbers

torch.where(mask > 0.5, 1.0, 0.0) looks at the mask's values only. Its result has
the default dtype, float32, whatever dtype the mask was given in the line before:
that cast has no effect, and what the mask meets next is widened or refused.

Evidence: a name is cast to a dtype that is not float32, the next statement binds
the name to torch.where of a comparison of that name and of two numbers, one of
them a float (likely).

Fix: the cast behind torch.where.

Silent for casts to float32, for results of other tensors (which keep a dtype),
for whole numbers (which give int64), and where the result is cast.
`,
	Run: func(p *analysis.Pass) {
		var last python.Stmt
		statements(p, func(s python.Stmt, _ []python.Node) {
			if cast, ok := last.(*python.Assign); ok {
				if a, isAssign := s.(*python.Assign); isAssign {
					lostInWhere(p, cast, a)
				}
			}
			last = s
		})
	},
}

// lostInWhere looks at two statements that follow each other.
func lostInWhere(p *analysis.Pass, cast, a *python.Assign) {
	if len(cast.Targets) != 1 || len(a.Targets) != 1 || cast.Op != "" || a.Op != "" || a.Value == nil || cast.Value == nil {
		return
	}
	name := boundName(cast)
	c, isCast := cast.Value.(*python.Call)
	if name == "" || boundName(a) != name || !isCast {
		return
	}
	recv, to, ok := castTarget(p, c)
	if !ok || !isName(recv, name) {
		return
	}
	if v := p.Facts.Values[to]; v != nil {
		if d, exact := v.DType.Exact(); exact && d == dtype.Float32 {
			return
		}
	}
	where, isCall := a.Value.(*python.Call)
	if !isCall || len(where.Args) != 3 || library(p, where.Func) != "torch.where" || !comparesOnly(where.Args[0].Value, name) || !floatChoice(where) {
		return
	}
	suffix := p.Tree.Text(python.Span{Start: recv.Pos().End, End: c.End})
	if strings.ContainsAny(suffix, "\n\\") {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{where.Pos()},
		Message: fmt.Sprintf("%s is cast to %s in line %d, but this gives a new tensor of two Python numbers: it is float32 again.",
			code(name), code(p.Tree.Text(to.Pos())), p.Tree.Line(cast.Start)),
		Because: []analysis.Reason{
			p.Reason(cast.Pos(), fmt.Sprintf("%s is cast", code(name))),
			p.Reason(where.Pos(), "takes only the comparison of it; two numbers have the default dtype"),
		},
		Fix: &analysis.Fix{Title: "Cast the result", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(where.End, suffix)}},
	})
}

// comparesOnly reports whether an expression compares a name with literals.
func comparesOnly(x python.Expr, name string) bool {
	c, ok := x.(*python.Compare)
	if !ok || len(c.Xs) != 2 {
		return false
	}
	_, lit := c.Xs[1].(*python.Lit)
	return isName(c.Xs[0], name) && lit
}

// floatChoice reports whether where chooses between literals, one of them a float.
func floatChoice(where *python.Call) bool {
	float := false
	for _, a := range where.Args[1:] {
		x := a.Value
		if u, ok := x.(*python.Unary); ok && u.Op == "-" {
			x = u.X
		}
		l, ok := x.(*python.Lit)
		if !ok || l.Kind != "float" && l.Kind != "int" {
			return false
		}
		float = float || l.Kind == "float"
	}
	return float
}
