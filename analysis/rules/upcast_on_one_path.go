package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var upcastOnOnePath = &analysis.Rule{
	Name:     "upcast-on-one-path",
	Severity: analysis.Medium,
	Doc: `The dtype of a tensor depends on its size

A branch that is for some sizes only casts up to compute, as interpolate needs
for half precision, and does not cast back. With half weights the next layer
then stops, for these sizes alone.

Evidence: under a condition about sizes a name is set to a float32 result that
is made from itself, the other path leaves it as it is, a module takes it
afterwards, and the function casts it nowhere (likely).

Fix: the result is cast back to the dtype that the name had.

Silent where the condition asks about dtypes, precision or devices, where the
function casts back later, and where both paths cast.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, around []python.Node) {
				a, ok := s.(*python.Assign)
				if ok && len(around) > 0 && len(a.Targets) == 1 && a.Op == "" {
					onePath(p, d, a, around)
				}
			})
		})
	},
}

// onePath looks at one assignment under a condition.
func onePath(p *analysis.Pass, d *python.FuncDef, a *python.Assign, around []python.Node) {
	name := boundName(a)
	i, isIf := around[len(around)-1].(*python.If)
	call, isCall := a.Value.(*python.Call)
	if name == "" || !isIf || !isCall || len(i.Else) > 0 || !ofSizes(p, i.Cond) {
		return
	}
	up := selfUpcast(p, call, name)
	if up == nil || up == call || !float32Now(p, call) || castElsewhere(p, d, name, up) {
		return
	}
	user := moduleUse(p, d, name, a.End)
	if user == nil {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s leaves this branch as float32 and keeps its dtype otherwise, so its dtype hangs on its size. With half weights %s stops for these sizes.", code(name), code(p.Tree.Text(user.Func.Pos()))),
		Because: []analysis.Reason{p.Reason(i.Cond.Pos(), "the condition is about sizes"), p.Reason(up.Pos(), "cast up, and not back"), p.Reason(user.Pos(), fmt.Sprintf("takes %s", code(name)))},
		Fix:     &analysis.Fix{Title: "Cast back to `" + name + ".dtype`", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(call.End, ".to("+name+".dtype)")}},
	})
}

// ofSizes reports whether a condition compares sizes and asks for nothing that
// has to do with dtypes.
func ofSizes(p *analysis.Pass, cond python.Expr) bool {
	text := p.Tree.Text(cond.Pos())
	return (strings.Contains(text, ".shape") || strings.Contains(text, ".size(")) && !ofPrecision(text)
}

// selfUpcast is the cast of a name to float32 among the arguments of a call.
func selfUpcast(p *analysis.Pass, call *python.Call, name string) *python.Call {
	for _, arg := range call.Args {
		c, ok := arg.Value.(*python.Call)
		if !ok {
			continue
		}
		if recv, isCast := castCall(p, c); isCast && isName(recv, name) && upcasts.MatchString(squeeze(p.Tree.Text(c.Pos()))) {
			return c
		}
	}
	return nil
}

// float32Now reports whether a call gives float32.
func float32Now(p *analysis.Pass, call *python.Call) bool {
	v := p.Facts.Values[call]
	if v == nil || v.Kind != interp.KindTensor {
		return false
	}
	d, exact := v.DType.Exact()
	return exact && d == dtype.Float32
}

// castElsewhere reports whether a function casts a name in another place, other
// than up to float32 again.
func castElsewhere(p *analysis.Pass, d *python.FuncDef, name string, but *python.Call) bool {
	found := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || call == but || upcasts.MatchString(squeeze(p.Tree.Text(call.Pos()))) {
				return
			}
			recv, isCast := castCall(p, call)
			at, isMethod := call.Func.(*python.Attribute)
			found = found || isCast && isName(recv, name) || isMethod && isName(at.X, name) && (at.Sel == "type_as" || at.Sel == "type" || at.Sel == "to")
		})
	})
	return found
}

// moduleUse is a call behind a place that takes a name and is neither a
// function of PyTorch nor a method of the name.
func moduleUse(p *analysis.Pass, d *python.FuncDef, name string, behind uint32) *python.Call {
	var user *python.Call
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || user != nil || call.Start < behind || len(call.Args) == 0 || !isName(call.Args[0].Value, name) {
				return
			}
			v := p.Facts.Values[call.Func]
			if v != nil && (v.Kind == interp.KindModule || v.Kind == interp.KindInstance || v.Kind == interp.KindOpen) {
				user = call
			}
		})
	})
	return user
}
