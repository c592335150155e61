package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var averageInHalf = &analysis.Rule{
	Name:     "average-in-half",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `A moving average is kept in half precision and does not move

An average with a decay of 0.999 takes a thousandth of the difference in each
step. bfloat16 tells neighbours apart that are 1/256 of their size away, float16
1/2048: the step is rounded away, and the average stays at what it began with. In
bfloat16 with a decay of 0.9999 a weight of 1.0 is still 1.0 after 2,000 steps
towards 0.5.

Evidence: lerp_, or mul_ and add_, write in place into a tensor that is half on
every path, with a decay of 0.99 or more, which is a number or the default of a
parameter (likely).

Fix: the average is kept in float32, and what it follows is cast for the step.
Shown as code: it takes twice the memory.

Silent for averages in float32, smaller decays, decays of unknown size, and
tensors whose dtype the caller chooses.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, s python.Stmt, around []python.Node) {
			into, value, weight := averaged(p, call, function(around))
			if into == nil || weight > 0.01 || weight <= 0 {
				return
			}
			if d, ok := halfExact(p.Facts.Values[into]); ok {
				reportAverage(p, call, into, value, weight, d, around)
			}
		})
	},
}

// averaged reads a call as a step of a moving average: what it writes into, what
// that follows, and the share that is taken of it. Nil if it is none, or nothing
// is known of the share.
func averaged(p *analysis.Pass, call *python.Call, d *python.FuncDef) (into, value python.Expr, weight float64) {
	at, ok := call.Func.(*python.Attribute)
	if !ok || len(call.Args) == 0 || call.Args[0].Name != "" || call.Args[0].Star > 0 {
		return nil, nil, 0
	}
	switch at.Sel {
	case "lerp_":
		x := argument(call, "weight")
		if x == nil && len(call.Args) > 1 {
			x = call.Args[1].Value
		}
		if w, ok := share(p, x, d); ok {
			return at.X, call.Args[0].Value, w
		}
	case "add_":
		x := argument(call, "alpha")
		mul, isCall := at.X.(*python.Call)
		if x == nil || !isCall || len(mul.Args) != 1 {
			return nil, nil, 0
		}
		of, isMethod := mul.Func.(*python.Attribute)
		if w, ok := share(p, x, d); ok && isMethod && of.Sel == "mul_" {
			return of.X, call.Args[0].Value, w
		}
	}
	return nil, nil, 0
}

// share is a number, one less a number, or either of a parameter's default.
func share(p *analysis.Pass, x python.Expr, d *python.FuncDef) (float64, bool) {
	if b, ok := x.(*python.Binary); ok && b.Op == "-" {
		one, okX := share(p, b.X, d)
		decay, okY := share(p, b.Y, d)
		return one - decay, okX && okY
	}
	if x == nil {
		return 0, false
	}
	if n, ok := number(p, x); ok {
		return n, true
	}
	if name, ok := x.(*python.Name); ok && d != nil && bindings(d, name.ID) == 1 {
		for _, q := range d.Params {
			if q.Name == name.ID && q.Default != nil {
				return number(p, q.Default)
			}
		}
	}
	return 0, false
}

func reportAverage(p *analysis.Pass, call *python.Call, into, value python.Expr, weight float64, is dtype.DType, around []python.Node) {
	steps := map[dtype.DType]int{dtype.BFloat16: 256, dtype.Float16: 2048}[is]
	f := analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s is %s, and each step takes %.2g of the difference. %s tells numbers apart that are 1/%d of their size away: most steps are rounded away, and the average stays where it began.",
			code(p.Tree.Text(into.Pos())), is, weight, is, steps),
		Because: append(story(p, p.Facts.Values[into], code(p.Tree.Text(into.Pos()))), p.Reason(call.Pos(), "a step of the average, in place")),
	}
	if copied := averageModel(p, into, around); copied != nil {
		f.Because = append(f.Because, p.Reason(copied.Pos(), fmt.Sprintf("the average begins as a copy in %s", is)))
		f.Fix = &analysis.Fix{Title: "Keep the average in float32", Safety: analysis.Display, Edits: []analysis.Edit{insertAt(copied.End, ".float()")}}
		if !strings.Contains(p.Tree.Text(value.Pos()), "float()") {
			f.Fix.Edits = append(f.Fix.Edits, castEdit(p, value, ".float()")...)
		}
	}
	p.Report(f)
}

// averageModel is the copy of the model over whose parameters the loop goes that
// binds a name, nil if the function does not make it so.
func averageModel(p *analysis.Pass, into python.Expr, around []python.Node) *python.Call {
	name, ok := into.(*python.Name)
	d := function(around)
	if !ok || d == nil {
		return nil
	}
	for i := len(around) - 1; i >= 0; i-- {
		loop, isFor := around[i].(*python.For)
		if !isFor {
			continue
		}
		zip, isZip := loop.Iter.(*python.Call)
		pair, isPair := loop.Target.(*python.Seq)
		if !isZip || !isPair || !isName(zip.Func, "zip") {
			return nil
		}
		for j, x := range pair.Xs {
			if !isName(x, name.ID) || j >= len(zip.Args) {
				continue
			}
			if model := parametersMethod(zip.Args[j].Value); model != "" {
				return copiedModel(p, d, model, loop.Start)
			}
		}
	}
	return nil
}

// parametersMethod is the model whose parameters() an expression is.
func parametersMethod(x python.Expr) string {
	call, ok := x.(*python.Call)
	if !ok {
		return ""
	}
	at, ok := call.Func.(*python.Attribute)
	if !ok || at.Sel != "parameters" {
		return ""
	}
	name, _ := path(at.X)
	return name
}

// copiedModel is the call of copy.deepcopy that a name was bound to last.
func copiedModel(p *analysis.Pass, d *python.FuncDef, name string, before uint32) *python.Call {
	last := lastBinding(d, name, before)
	if last == nil {
		return nil
	}
	call, ok := last.Value.(*python.Call)
	if !ok || library(p, call.Func) != "copy.deepcopy" {
		return nil
	}
	if v := p.Facts.Values[call]; v == nil || v.Kind != interp.KindModule {
		return nil
	}
	return call
}
