package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var constantRoundsToOne = &analysis.Rule{
	Name:     "constant-rounds-to-one",
	Severity: analysis.Medium,
	Doc: `1 - eps is exactly 1 in float32

Python computes 1 - 1e-10 in float64. Where it meets a float32 tensor it is
rounded to float32, whose numbers below 1 are 6e-8 apart: it becomes 1. A factor
or a limit that was to keep values off 1 does nothing, and the logarithm or the
inverse error function behind it gives an infinity.

Evidence: 1 minus a literal below 2.9e-8 is multiplied with a tensor or is the
upper limit of clamp, and the tensor is not float64 as far as is known (likely).

Fix: torch.finfo(x.dtype).eps in the place of the literal.

Silent for float64 tensors, in files whose default dtype is float64, for random
numbers that are drawn where they are limited, and for numbers that meet no tensor.
`,
	Run: func(p *analysis.Pass) {
		if doubles(p) {
			return
		}
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) {
				return
			}
			expressions(p, s, func(n python.Node) {
				switch n := n.(type) {
				case *python.Binary:
					if n.Op == "*" {
						nearOne(p, n, n.X, n.Y)
						nearOne(p, n, n.Y, n.X)
					}
				case *python.Call:
					upperLimit(p, n)
				}
			})
		})
	},
}

// upperLimit looks at the max of x.clamp(min, max) or torch.clamp(x, min, max).
func upperLimit(p *analysis.Pass, call *python.Call) {
	at, ok := call.Func.(*python.Attribute)
	if !ok || at.Sel != "clamp" && at.Sel != "clamp_" && at.Sel != "clip" {
		return
	}
	tensor, args := at.X, call.Args
	if library(p, at.X) == "torch" {
		if len(args) == 0 {
			return
		}
		tensor, args = args[0].Value, args[1:]
	}
	limit := argument(call, "max")
	if limit == nil && len(args) == 2 && args[1].Name == "" {
		limit = args[1].Value
	}
	if limit != nil {
		nearOne(p, call, limit, tensor)
	}
}

// nearOne reports a constant that is 1 in the dtype of the tensor it meets.
func nearOne(p *analysis.Pass, at python.Node, constant, tensor python.Expr) {
	b, ok := constant.(*python.Binary)
	if !ok || b.Op != "-" {
		return
	}
	one, okOne := number(p, b.X)
	eps, okEps := number(p, b.Y)
	if _, isLit := b.Y.(*python.Lit); !okOne || !okEps || !isLit || one != 1 || eps <= 0 || eps >= 2.9e-8 {
		return
	}
	name, of := tensorIn(p, tensor)
	if of == nil {
		return
	}
	if d, exact := of.Tensor().DType.Exact(); exact && d == dtype.Float64 {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, at), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: fmt.Sprintf("%s is exactly 1 in float32, whose numbers below 1 are 6e-8 apart: for a float32 %s this does nothing, and values of 1 pass through.", code(p.Tree.Text(constant.Pos())), code(name)),
		Because: []analysis.Reason{p.Reason(constant.Pos(), "rounds to 1 in float32"), p.Reason(at.Pos(), fmt.Sprintf("meets %s, which is not known to be float64", code(name)))},
		Fix:     &analysis.Fix{Title: "Use the eps of the dtype", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: b.Y.Pos(), New: "torch.finfo(" + name + ".dtype).eps"}}},
	})
}

// tensorIn is the first name within an expression that certainly is a tensor,
// or is used as one. A tensor of which only the shape, device or dtype is asked
// gives the expression no values.
func tensorIn(p *analysis.Pass, x python.Expr) (string, *interp.Value) {
	name, of := "", (*interp.Value)(nil)
	python.Inspect(x, func(n python.Node) bool {
		if at, ok := n.(*python.Attribute); ok && (at.Sel == "shape" || at.Sel == "size" || at.Sel == "device" || at.Sel == "dtype") {
			return false
		}
		e, ok := n.(*python.Name)
		if !ok || of != nil {
			return of == nil
		}
		v := p.Facts.Values[e]
		if v != nil && (v.Kind == interp.KindTensor && !v.Maybe || v.Kind == interp.KindOpen && usedAsTensor(p, e.ID)) {
			name, of = e.ID, v
		}
		return true
	})
	return name, of
}
