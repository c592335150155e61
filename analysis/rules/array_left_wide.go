package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var arrayLeftWide = &analysis.Rule{
	Name:     "array-left-wide",
	Severity: analysis.Medium,
	Doc: `One returned array is cast to float32, the other became float64

NumPy promotes a float32 array and an int64 one to float64, also when the other
array is as small as np.array([w, h]). As a target or a coordinate the result
makes float64 of the loss it meets, or is refused by MPS.

Evidence: the function returns several arrays, one is cast with
.astype(np.float32), and this one is the quotient or product of a parameter and
an array made without a dtype (likely).

Fix: .astype(np.float32) here too.

Silent where no other result is cast, and where the small array has a dtype.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				if r, ok := s.(*python.Return); ok {
					wideResult(p, d, r)
				}
			})
		})
	},
}

// wideResult looks at the results of one return statement.
func wideResult(p *analysis.Pass, d *python.FuncDef, r *python.Return) {
	seq, ok := r.X.(*python.Seq)
	if !ok || seq.Kind != "tuple" {
		return
	}
	var narrow python.Node
	wide := map[*python.Assign]*python.Call{}
	var order []*python.Assign
	for _, x := range seq.Xs {
		n, isName := x.(*python.Name)
		if !isName || bindings(d, n.ID) != 1 {
			continue
		}
		inBody(d, func(s python.Stmt, _ []python.Node) {
			a, isAssign := s.(*python.Assign)
			if !isAssign || len(a.Targets) != 1 || boundName(a) != n.ID || a.Value == nil {
				return
			}
			if strings.HasSuffix(squeeze(p.Tree.Text(a.Value.Pos())), ".astype(np.float32)") {
				narrow = a
			}
			if made := withArray(p, d, a.Value); made != nil {
				wide[a] = made
				order = append(order, a)
			}
		})
	}
	if narrow == nil {
		return
	}
	for _, a := range order {
		made, name := wide[a], boundName(a)
		edits := []analysis.Edit{insertAt(a.Value.Pos().Start, "("), insertAt(a.Value.Pos().End, ").astype(np.float32)")}
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{a.Value.Pos()},
			Message: fmt.Sprintf("%s is int64, and NumPy makes float64 of it and a float32 array: %s is float64, while the other result is cast to float32.", code(p.Tree.Text(made.Pos())), code(name)),
			Because: []analysis.Reason{p.Reason(made.Pos(), "made without a dtype"), p.Reason(narrow.Pos(), "the other result is cast"), p.Reason(r.Pos(), "both are returned")},
			Fix:     &analysis.Fix{Title: "Cast it too", Safety: analysis.Safe, Edits: edits},
		})
	}
}

// withArray is the np.array of sizes that a parameter is divided by or
// multiplied with.
func withArray(p *analysis.Pass, d *python.FuncDef, x python.Expr) *python.Call {
	b, ok := x.(*python.Binary)
	if !ok || b.Op != "/" && b.Op != "*" {
		return nil
	}
	n, isName := b.X.(*python.Name)
	call, isCall := b.Y.(*python.Call)
	if !isName || !isCall || !hasParam(d, n.ID) || bindings(d, n.ID) != 1 || len(call.Args) != 1 || library(p, call.Func) != "numpy.array" {
		return nil
	}
	if _, isSeq := call.Args[0].Value.(*python.Seq); !isSeq {
		return nil
	}
	return call
}
