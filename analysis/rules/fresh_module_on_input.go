package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var freshModuleOnInput = &analysis.Rule{
	Name:     "fresh-module-on-input",
	Severity: analysis.Medium,
	Doc: `A module made in a function is applied to the caller's tensors as it comes

The parameters of a new module are float32 and on the CPU. A function that makes
one and applies it to the tensors it was given works for float32 on the CPU, and
stops for half or float64 tensors and for those on another device.

Evidence: a parameter of the function is declared a tensor, a module with
parameters is made there and takes it, or one call takes both, and the module is
moved nowhere (likely).

Fix: .to with the tensor's device and dtype behind the creation.

Silent for modules without parameters, such as losses and activations, for
methods, whose modules are made in the constructor, and where the module or the
tensor is moved or cast.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, around []python.Node) {
			for _, n := range around {
				if _, inClass := n.(*python.ClassDef); inClass {
					return
				}
			}
			freshModules(p, d)
		})
	},
}

// freshModules looks at the modules that a function makes.
func freshModules(p *analysis.Pass, d *python.FuncDef) {
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Value == nil {
			return
		}
		name := boundName(a)
		made, isCall := a.Value.(*python.Call)
		if name == "" || !isCall || argument(made, "dtype") != nil || argument(made, "device") != nil || !weighted(p, made.Func) || bindings(d, name) != 1 || movedIn(d, name) {
			return
		}
		x, user := appliedTo(p, d, name, a.End)
		if user == nil || movedIn(d, x) {
			return
		}
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{made.Pos()},
			Message: fmt.Sprintf("%s is new: float32 and on the CPU, whatever %s is. %s takes both, and stops for a half or float64 %s, or one on another device.",
				code(name), code(x), code(p.Tree.Text(user.Func.Pos())), code(x)),
			Because: []analysis.Reason{p.Reason(made.Pos(), "made here, and moved nowhere"), p.Reason(user.Pos(), fmt.Sprintf("meets %s", code(x)))},
			Fix:     &analysis.Fix{Title: "Move it to `" + x + "`", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(made.End, fmt.Sprintf(".to(device=%s.device, dtype=%s.dtype)", x, x))}},
		})
	})
}

// layer reports whether a name of torch.nn is that of what has parameters.
func layer(name string) bool {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return name == "Linear" || name == "Bilinear" || name == "Parameter" || name == "LSTM" || name == "GRU" || strings.HasPrefix(name, "Conv") || strings.HasSuffix(name, "Norm") || strings.HasPrefix(name, "BatchNorm")
}

// weighted reports whether a call of x makes a module that has parameters.
func weighted(p *analysis.Pass, x python.Expr) bool {
	if name := library(p, x); strings.HasPrefix(name, "torch.nn.") {
		return layer(name)
	}
	v := p.Facts.Values[x]
	return v != nil && v.Kind == interp.KindClass && v.Class != nil && v.Class.Module && weightedClass(p, v.Class, map[*interp.Class]bool{})
}

// weightedClass reports whether a class, one of its bases in the file, or one
// that it makes, names a layer. Each class is looked at once.
func weightedClass(p *analysis.Pass, c *interp.Class, seen map[*interp.Class]bool) bool {
	if seen[c] {
		return false
	}
	seen[c] = true
	found := false
	python.Inspect(c.Def, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Attribute:
			found = found || layer(n.Sel)
		case *python.Name: // the bases are names too
			v := p.Facts.Values[n]
			found = found || v != nil && v.Kind == interp.KindClass && v.Class != nil && weightedClass(p, v.Class, seen)
		}
		return !found
	})
	return found
}

// movedIn reports whether a function casts or moves a name.
func movedIn(d *python.FuncDef, name string) bool {
	found := false
	python.Inspect(d, func(n python.Node) bool {
		if at, ok := n.(*python.Attribute); ok && isName(at.X, name) {
			switch at.Sel {
			case "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "type", "type_as":
				found = true
			}
		}
		return !found
	})
	return found
}

// appliedTo is the declared tensor that a call behind a place takes together
// with a module, or that the module is called with.
func appliedTo(p *analysis.Pass, d *python.FuncDef, module string, behind uint32) (tensor string, user *python.Call) {
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || user != nil || call.Start < behind || !isName(call.Func, module) && !takes(call, module) {
				return
			}
			for _, q := range d.Params {
				if q.Annotation != nil && strings.HasSuffix(p.Tree.Text(q.Annotation.Pos()), "Tensor") && takes(call, q.Name) && bindings(d, q.Name) == 1 && !integerName(q.Name) {
					tensor, user = q.Name, call
					return
				}
			}
		})
	})
	return tensor, user
}
