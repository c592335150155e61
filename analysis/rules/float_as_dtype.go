package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var floatAsDType = &analysis.Rule{
	Name:     "float-as-dtype",
	Severity: analysis.Medium,
	Doc: `dtype=float makes float64

PyTorch takes Python's float for torch.float64, whatever the default dtype is.
A tensor made with dtype=float promotes what it meets to float64, is refused
beside float32 by matrix products, and cannot be moved to MPS.

Evidence: the built-in float is the dtype of a function of PyTorch, of .to or
of a method that makes a tensor (likely).

Fix: torch.get_default_dtype(). A value that is declared to be a tensor or a
number keeps its own dtype instead: the argument is left out.

Silent for NumPy, where float is the usual way to write float64, where the
function or the default dtype of the file is float64 anyway, and where the next
call casts.
`,
	Run: func(p *analysis.Pass) {
		if doubles(p) {
			return
		}
		cast := map[python.Expr]bool{} // what a method casts at once
		calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
			if recv, ok := castCall(p, call); ok {
				cast[recv] = true
			}
			x := floatArgument(p, call)
			if x == nil || cast[call] || probed(p, around) {
				return
			}
			if d := function(around); d != nil && doublesIn(d) {
				return
			}
			reportFloat(p, call, x, function(around))
		})
	},
}

// doubles reports whether a file makes float64 its default.
func doubles(p *analysis.Pass) bool {
	if !strings.Contains(p.Tree.Source, "set_default_dtype") {
		return false // nearly always, and much cheaper than a look at each call
	}
	found := false
	p.Tree.Inspect(func(n python.Node) bool {
		if call, ok := n.(*python.Call); ok && library(p, call.Func) == "torch.set_default_dtype" {
			found = found || doublesIn(call)
		}
		return !found
	})
	return found
}

// doublesIn reports whether code names float64, as a dtype or as a cast.
func doublesIn(n python.Node) bool {
	found := false
	python.Inspect(n, func(n python.Node) bool {
		if at, ok := n.(*python.Attribute); ok {
			found = found || at.Sel == "float64" || at.Sel == "double"
		}
		return !found
	})
	return found
}

// floatArgument is the built-in float where a call takes it for a dtype.
func floatArgument(p *analysis.Pass, call *python.Call) python.Expr {
	at, isMethod := call.Func.(*python.Attribute)
	if x := argument(call, "dtype"); x != nil && isName(x, "float") {
		if strings.HasPrefix(library(p, call.Func), "torch.") {
			return x
		}
		if isMethod && (at.Sel == "to" || strings.HasPrefix(at.Sel, "new_")) && isTensor(p.Facts.Values[at.X]) {
			return x
		}
		return nil
	}
	if isMethod && at.Sel == "to" && len(call.Args) == 1 && isName(call.Args[0].Value, "float") && isTensor(p.Facts.Values[at.X]) {
		return call.Args[0].Value
	}
	return nil
}

func reportFloat(p *analysis.Pass, call *python.Call, x python.Expr, d *python.FuncDef) {
	text := code(p.Tree.Text(call.Func.Pos()))
	fix := &analysis.Fix{Title: "Use the default dtype", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: x.Pos(), New: "torch.get_default_dtype()"}}}
	if kept := keepsOwn(p, call, d); kept != nil {
		fix = &analysis.Fix{Title: "Keep the value's own dtype", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: *kept}}}
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("Python's `float` as a dtype is `torch.float64`: %s gives float64 here, even when everything around it is float32.", text),
		Because: []analysis.Reason{p.Reason(x.Pos(), "`dtype=float` is float64")},
		Fix:     fix,
	})
}

// keepsOwn is the argument to take out of as_tensor(x, dtype=float) when x is
// declared to be a tensor or a floating number: both have a dtype already.
func keepsOwn(p *analysis.Pass, call *python.Call, d *python.FuncDef) *python.Span {
	if d == nil || len(call.Args) != 2 || call.Args[1].Name != "dtype" || !strings.HasSuffix(library(p, call.Func), ".as_tensor") {
		return nil
	}
	for _, q := range d.Params {
		if q.Annotation == nil || !isName(call.Args[0].Value, q.Name) {
			continue
		}
		if t := p.Tree.Text(q.Annotation.Pos()); strings.Contains(t, "Tensor") && !strings.Contains(t, "int") {
			return &python.Span{Start: call.Args[0].End, End: call.Args[1].End}
		}
	}
	return nil
}
