package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var anglesInHalf = &analysis.Rule{
	Name:     "angles-in-half",
	Severity: analysis.High,
	Doc: `Angles are cast to the activation's dtype before sin and cos

Rotary angles grow with the position, to thousands. bfloat16 keeps 8 bits of
them: the angle 1000.5 becomes 1000, the cosine of a position is off by up to
2. The cosines themselves lie within 1 and lose almost nothing by the cast.

Evidence: the angles are cast to the dtype of another parameter of the function,
and both their sine and their cosine are taken afterwards (likely).

Fix: the angles keep their dtype, and sine and cosine are cast.

Silent where the angles come from the tensor whose dtype they get, for casts to
a dtype that is written out, and where only one of the two is taken.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				if a, ok := s.(*python.Assign); ok {
					castAngles(p, d, a)
				}
			})
		})
	},
}

// castAngles looks at one assignment that may cast angles.
func castAngles(p *analysis.Pass, d *python.FuncDef, a *python.Assign) {
	if len(a.Targets) != 1 || a.Op != "" || a.Value == nil {
		return
	}
	name := boundName(a)
	call, ok := a.Value.(*python.Call)
	if name == "" || !ok || len(call.Args) != 1 || call.Args[0].Star > 0 {
		return
	}
	like, undo := followed(p, call)
	at, isMethod := call.Func.(*python.Attribute)
	if like == nil || !isMethod || like.ID == name || !paramTensor(p, like) {
		return
	}
	of := p.Facts.Values[at.X]
	root, hasRoot := tensorRoot(of)
	other, _ := tensorRoot(p.Facts.Values[like])
	if of == nil || !closed(of.Tensor().DType) && (!hasRoot || root == other) {
		return
	}
	var sines, cosines []*python.Call
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			c, isCall := n.(*python.Call)
			if !isCall || c.Start < a.End {
				return
			}
			switch trigonometric(p, c, name) {
			case "sin":
				sines = append(sines, c)
			case "cos":
				cosines = append(cosines, c)
			}
		})
	})
	if len(sines) == 0 || len(cosines) == 0 || bindings(d, name) > 2 {
		return
	}
	edits := []analysis.Edit{undo}
	for _, c := range append(sines, cosines...) {
		edits = append(edits, insertAt(c.End, ".to("+like.ID+".dtype)"))
	}
	half := exampleDType(p)
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s are angles, and this rounds them to the dtype of %s before sin and cos: with %s in %s the angle 1000.5 is off by a good part of a radian, its cosine cast afterwards by less than 0.4 %%.",
			code(name), code(like.ID), code(like.ID), half),
		Because: []analysis.Reason{
			p.Reason(call.Pos(), fmt.Sprintf("%s gets the dtype of %s", code(name), code(like.ID))),
			p.Reason(cosines[0].Pos(), "only then is the cosine taken"),
		},
		Fix: &analysis.Fix{Title: "Cast sine and cosine instead", Safety: analysis.Safe, Edits: edits},
	})
}

// followed is the name whose dtype X.to(name), X.to(name.dtype) or
// X.type_as(name) gives, and the edit that takes the cast away and leaves the
// device.
func followed(p *analysis.Pass, call *python.Call) (*python.Name, analysis.Edit) {
	at, ok := call.Func.(*python.Attribute)
	if !ok || call.Args[0].Name != "" && call.Args[0].Name != "dtype" {
		return nil, analysis.Edit{}
	}
	x := call.Args[0].Value
	gone := analysis.Edit{Span: python.Span{Start: at.X.Pos().End, End: call.End}}
	if dt, isAttr := x.(*python.Attribute); isAttr && dt.Sel == "dtype" && at.Sel == "to" {
		n, _ := dt.X.(*python.Name)
		return n, gone
	}
	n, isPlain := x.(*python.Name)
	switch {
	case !isPlain:
	case at.Sel == "type_as":
		return n, gone
	case at.Sel == "to":
		if v := p.Facts.Values[x]; v != nil && (v.Kind == interp.KindTensor || v.Kind == interp.KindOpen) && usedAsTensor(p, n.ID) {
			return n, analysis.Edit{Span: x.Pos(), New: n.ID + ".device"}
		}
	}
	return nil, analysis.Edit{}
}

// usedAsTensor reports whether a name is used as only a tensor can be
// somewhere in the file: .to(name) may be a device, too.
func usedAsTensor(p *analysis.Pass, name string) bool {
	found := false
	p.Tree.Inspect(func(n python.Node) bool {
		if at, ok := n.(*python.Attribute); ok && isName(at.X, name) {
			switch at.Sel {
			case "shape", "ndim", "dtype", "size", "dim":
				found = true
			}
		}
		return !found
	})
	return found
}

// paramTensor reports whether a name is a parameter that may be a tensor.
func paramTensor(p *analysis.Pass, n *python.Name) bool {
	v := p.Facts.Values[n]
	return v != nil && (v.Kind == interp.KindTensor || v.Kind == interp.KindOpen) && origin(v).How == interp.HowParam
}

// tensorRoot names the only root of a tensor's dtype.
func tensorRoot(v *interp.Value) (string, bool) {
	if v == nil {
		return "", false
	}
	t := v.Tensor().DType
	if rs := t.Roots(); len(rs) == 1 && !t.Widened() {
		return rs[0].Name, true
	}
	return "", false
}

// trigonometric is "sin" or "cos" of a call that takes one of a name.
func trigonometric(p *analysis.Pass, c *python.Call, name string) string {
	at, ok := c.Func.(*python.Attribute)
	if !ok || at.Sel != "sin" && at.Sel != "cos" {
		return ""
	}
	if len(c.Args) == 0 && isName(at.X, name) || len(c.Args) == 1 && isName(c.Args[0].Value, name) && library(p, at.X) == "torch" {
		return at.Sel
	}
	return ""
}
