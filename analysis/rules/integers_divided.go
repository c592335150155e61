package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var integersDivided = &analysis.Rule{
	Name:     "integers-divided",
	Severity: analysis.Medium,
	Doc: `Positions or frequencies are divided in the default dtype

torch.arange(n) / d divides whole numbers, and the result has the default dtype.
That is float32, until the model is built with bfloat16 or float16 as the default
dtype: by torch.set_default_dtype, by from_pretrained with a dtype, by a Fabric
or a Trainer with a true half precision. Then bfloat16 keeps three digits of the
frequencies, whole positions only up to 256, and the cosines of late positions
are off by up to 2.

Evidence: the function takes the cosine or the sine of what comes of it, and
makes its other table with .float() or in float32 (likely), or names half
precision itself (likely).

Fix: .float() before the division. Safe: in float32 the values are the same.

Silent where a dtype is given or the result is cast, for numbers that do not
reach a cosine or a sine, and without such a sign.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			dividedIn(p, d)
		})
	},
}

// dividedIn looks at the divisions of one function.
func dividedIn(p *analysis.Pass, d *python.FuncDef) {
	turns := false
	var found []*python.Call
	var sign python.Node
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			switch n := n.(type) {
			case *python.Call:
				if at, ok := n.Func.(*python.Attribute); ok && (at.Sel == "cos" || at.Sel == "sin") {
					turns = true
				}
			case *python.Binary:
				if n.Op != "/" {
					return
				}
				if call := wholeNumbers(p, n.X); call != nil {
					found = append(found, call)
				} else if sign == nil && countedWide(p, n.X) {
					sign = n.X
				}
			}
		})
	})
	if len(found) == 0 || !turns {
		return
	}
	if sign == nil {
		sign = halfNamed(p, d)
	}
	if sign == nil {
		return
	}
	for _, call := range found {
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%s gives whole numbers, and the division makes the default dtype of them. Where the model is built with bfloat16 as the default, the angles are bfloat16: whole positions only up to 256, and three digits of a frequency.",
				code(p.Tree.Text(call.Pos()))),
			Because: []analysis.Reason{
				p.Reason(call.Pos(), "int64, since no dtype is given"),
				p.Reason(sign.Pos(), "here the function minds the dtype"),
			},
			Fix: &analysis.Fix{Title: "Divide in float32", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(call.End, ".float()")}},
		})
	}
}

// wholeNumbers is the torch.arange of whole numbers that an expression is.
func wholeNumbers(p *analysis.Pass, x python.Expr) *python.Call {
	call, ok := x.(*python.Call)
	if !ok || library(p, call.Func) != "torch.arange" || argument(call, "dtype") != nil {
		return nil
	}
	if v := p.Facts.Values[call]; v != nil {
		if d, exact := v.DType.Exact(); exact && d == dtype.Int64 {
			return call
		}
	}
	return nil
}

// countedWide reports whether an expression counts in float32 on purpose.
func countedWide(p *analysis.Pass, x python.Expr) bool {
	v := p.Facts.Values[x]
	if v == nil {
		return false
	}
	if d, exact := v.DType.Exact(); !exact || d != dtype.Float32 {
		return false
	}
	found := false
	python.Inspect(x, func(n python.Node) bool {
		if call, ok := n.(*python.Call); ok && library(p, call.Func) == "torch.arange" {
			found = true
		}
		return !found
	})
	return found
}

// halfNamed is the first word of half precision in a function.
func halfNamed(p *analysis.Pass, d *python.FuncDef) python.Node {
	for _, s := range p.Facts.Scopes {
		if s.Def == d && len(s.Half) > 0 {
			return s.Half[0]
		}
	}
	return nil
}
