package rules

import (
	"fmt"
	"slices"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var float64OnMPS = &analysis.Rule{
	Name:     "float64-on-mps",
	Severity: analysis.Medium,
	Preview:  true, // seen in no project yet
	Doc: `A float64 tensor is moved to Apple's GPU, which has no float64

NumPy makes float64 unless it is told otherwise, and from_numpy keeps it. A move to
"mps" refuses it: "Cannot convert a MPS Tensor to float64 dtype as the MPS
framework doesn't support float64. Please use float32 instead." (PyTorch,
aten/src/ATen/native/mps/operations/Copy.mm).

Evidence: the tensor is float64 on every path, and the device of the move is
"mps" (certain), or a name to which the same function or the module assigns a
choice with "mps" in it (likely).

Fix: the cast to float32 before the move. Safe where the device is "mps" and
nothing else; elsewhere it costs the other devices their precision and is shown as
code.

Silent where the move casts, for devices that the file does not choose, and where
a condition on the device stands around the move.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, s python.Stmt, around []python.Node) {
			at, ok := call.Func.(*python.Attribute)
			if !ok || at.Sel != "to" || len(call.Args) == 0 || !exactFloat64(p.Facts.Values[at.X]) || !exactFloat64(p.Facts.Values[call]) {
				return
			}
			device := argument(call, "device")
			if device == nil && call.Args[0].Name == "" && call.Args[0].Star == 0 {
				device = call.Args[0].Value
			}
			if device != nil && !aboutDevice(p, around) && !probed(p, around) {
				movedToMPS(p, call, device, function(around))
			}
		})
	},
}

// exactFloat64 reports a tensor that is float64 on every path.
func exactFloat64(v *interp.Value) bool {
	if v == nil || v.Kind != interp.KindTensor || v.Maybe {
		return false
	}
	d, ok := v.DType.Exact()
	return ok && d == dtype.Float64
}

// aboutDevice reports whether a condition on the device stands around a statement.
func aboutDevice(p *analysis.Pass, around []python.Node) bool {
	return slices.ContainsFunc(around, func(n python.Node) bool {
		i, ok := n.(*python.If)
		return ok && aboutDTypes(p.Tree.Text(i.Cond.Pos()))
	})
}

// movedToMPS reports a move whose device is, or may be, "mps".
func movedToMPS(p *analysis.Pass, call *python.Call, device python.Expr, d *python.FuncDef) {
	f := analysis.Finding{Confidence: analysis.Certain, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()}}
	chosen, safety := device, analysis.Safe
	if !isMPS(p, device) {
		n, ok := device.(*python.Name)
		if !ok {
			return
		}
		if chosen = chosenMPS(p, d, n.ID); chosen == nil {
			return
		}
		f.Confidence, safety = analysis.Likely, analysis.Unsafe
	}
	x := receiver(call)
	f.Message = fmt.Sprintf("%s is float64, and \"mps\" has no float64. PyTorch stops there: `Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.`",
		code(p.Tree.Text(base(x).Pos())))
	f.Because = append(story(p, p.Facts.Values[x], ""), p.Reason(chosen.Pos(), "the device may be \"mps\""), p.Reason(call.Pos(), "moved there as float64"))
	f.Fix = &analysis.Fix{Title: "Cast to float32 before the move", Safety: safety, Edits: castEdit(p, x, ".float()")}
	p.Report(f)
}

// isMPS reports an expression that names the device: "mps", torch.device("mps").
func isMPS(p *analysis.Pass, x python.Expr) bool {
	if call, ok := x.(*python.Call); ok && library(p, call.Func) == "torch.device" && len(call.Args) > 0 {
		x = call.Args[0].Value
	}
	s, ok := x.(*python.Str)
	return ok && len(s.Interp) == 0 && (s.Value == "mps" || s.Value == "mps:0")
}

// chosenMPS is the "mps" in what a function, or else the module, assigns to a
// name, nil if there is none.
func chosenMPS(p *analysis.Pass, d *python.FuncDef, name string) (found python.Expr) {
	look := func(s python.Stmt) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || !slices.ContainsFunc(a.Targets, func(t python.Expr) bool { return isName(t, name) }) {
			return
		}
		python.Inspect(a.Value, func(n python.Node) bool {
			if x, ok := n.(*python.Str); ok && isMPS(p, x) {
				found = x
			}
			return found == nil
		})
	}
	if d != nil && bindings(d, name) > 0 {
		inBody(d, func(s python.Stmt, _ []python.Node) { look(s) })
		return found
	}
	statements(p, func(s python.Stmt, around []python.Node) {
		if function(around) == nil {
			look(s)
		}
	})
	return found
}
