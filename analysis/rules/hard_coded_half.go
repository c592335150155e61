package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var hardCodedHalf = &analysis.Rule{
	Name:     "hard-coded-half",
	Severity: analysis.Medium,
	Doc: `A half dtype is written out where the function has chosen one

The function chooses between bfloat16, float16 and float32 once, by a setting,
and casts with the result; one module beside it is always float16 (or always
bfloat16). With another setting the two meet in different dtypes.

Evidence: a name of the function is set to one of several dtypes, another call
of the function casts with it, and this cast spells out one of the dtypes it
chooses from (likely). Or the function hands its parameter dtype to one call,
and to a function that is not PyTorch's a half dtype of its own (likely).

Fix: the name in the place of the dtype.

Silent for float32 beside a half choice, which is how a VAE, a loss or a norm is
kept exact on purpose, for autocast and quantisation settings, where the cast
stands under a condition of its own on dtypes or precision, and where the
function hands on wider dtypes too: it mixes them on purpose.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			besideParameter(p, d)
			for name, c := range choices(p, d) {
				if c.used {
					hardCoded(p, d, name, c)
				}
			}
		})
	},
}

// besideParameter reports half dtypes that a function hands on in the place of
// its own parameter.
func besideParameter(p *analysis.Pass, d *python.FuncDef) {
	if !hasParam(d, "dtype") || bindings(d, "dtype") > 1 {
		return
	}
	var handed *python.Call
	var fixed []*python.Call
	mixture := false
	inBody(d, func(s python.Stmt, around []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok {
				return
			}
			x := argument(call, "dtype")
			if x == nil || strings.HasPrefix(library(p, call.Func), "torch.") {
				return
			}
			if isName(x, "dtype") {
				handed = call
			} else if is, ok := dtypeLiteral(p, x); is.Half() && !precisionAround(p, around) {
				fixed = append(fixed, call)
			} else {
				mixture = mixture || ok && is.Floating()
			}
		})
	})
	if handed == nil || mixture {
		return
	}
	for _, call := range fixed {
		x := argument(call, "dtype")
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: x.Pos(), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%s takes `dtype` and hands it to %s, but %s gets %s whatever the caller asks for.",
				code(d.Name), code(p.Tree.Text(handed.Func.Pos())), code(p.Tree.Text(call.Func.Pos())), code(p.Tree.Text(x.Pos()))),
			Because: []analysis.Reason{p.Reason(handed.Pos(), "gets the parameter `dtype`"), p.Reason(x.Pos(), "gets a fixed dtype")},
			Fix:     &analysis.Fix{Title: "Hand on `dtype`", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: x.Pos(), New: "dtype"}}},
		})
	}
}

func hasParam(d *python.FuncDef, name string) bool {
	for _, q := range d.Params {
		if q.Name == name && q.Star == 0 {
			return true
		}
	}
	return false
}

// A choice is a name of a function that is set to one of several dtypes.
type choice struct {
	dtypes []dtype.DType
	at     python.Node // where the last of them is chosen
	end    uint32      // behind that
	used   bool        // something is cast with it
	other  bool        // it is set to something else too
}

// choices finds the names of a function that are set to dtypes, of which two
// are half or one half and one float32.
func choices(p *analysis.Pass, d *python.FuncDef) map[string]*choice {
	out := map[string]*choice{}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Op != "" || a.Value == nil || len(a.Targets) != 1 {
			return
		}
		n, ok := a.Targets[0].(*python.Name)
		if !ok {
			return
		}
		c := out[n.ID]
		if c == nil {
			c = &choice{}
			out[n.ID] = c
		}
		ds, ok := alternatives(p, a.Value)
		c.dtypes, c.at, c.end = append(c.dtypes, ds...), a, max(c.end, a.End)
		c.other = c.other || !ok
	})
	for name, c := range out {
		half, wide := map[dtype.DType]bool{}, false
		for _, x := range c.dtypes {
			if x.Half() {
				half[x] = true
			} else {
				wide = true
			}
		}
		if c.other || len(half) == 0 || len(half) == 1 && !wide {
			delete(out, name)
			continue
		}
		inBody(d, func(s python.Stmt, _ []python.Node) {
			expressions(p, s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok && isName(argument(call, "dtype"), name) {
					c.used = true
				}
				if call, ok := n.(*python.Call); ok {
					if _, x, isCast := castTarget(p, call); isCast && isName(x, name) {
						c.used = true
					}
				}
			})
		})
	}
	return out
}

// inBody calls f for the statements of a function, but for those of functions
// and classes inside it, with what is around each inside the function. The list
// holds during the call only.
func inBody(d *python.FuncDef, f func(s python.Stmt, around []python.Node)) {
	var around []python.Node
	for _, n := range d.Inner() {
		around = around[:n.Depth]
		if s, ok := n.Node.(python.Stmt); ok {
			f(s, around)
		}
		around = append(around, n.Node)
	}
}

// alternatives are the dtypes that a conditional expression chooses from.
func alternatives(p *analysis.Pass, x python.Expr) ([]dtype.DType, bool) {
	if c, ok := x.(*python.Cond); ok {
		a, okA := alternatives(p, c.Then)
		b, okB := alternatives(p, c.Else)
		return append(a, b...), okA && okB
	}
	d, ok := dtypeLiteral(p, x)
	return []dtype.DType{d}, ok
}

// hardCoded reports the casts of modules behind a choice that do not follow it.
func hardCoded(p *analysis.Pass, d *python.FuncDef, name string, c *choice) {
	inBody(d, func(s python.Stmt, around []python.Node) {
		e, ok := s.(*python.ExprStmt)
		if !ok || s.Pos().Start < c.end || precisionAround(p, around) {
			return
		}
		call, ok := e.X.(*python.Call)
		if !ok {
			return
		}
		recv, x, ok := castTarget(p, call)
		if !ok {
			return
		}
		is, _ := dtypeLiteral(p, x)
		if !is.Half() || !contains(c.dtypes, is) {
			return
		}
		var others []string
		for _, o := range c.dtypes {
			if o != is && !strings.Contains(strings.Join(others, " "), o.String()) {
				others = append(others, o.String())
			}
		}
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: s.Pos(), Scope: scopeOf(p, s), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%s is always %s, while %s may be %s: with such a setting %s and what is cast with %s have different dtypes.",
				code(p.Tree.Text(recv.Pos())), is, code(name), strings.Join(others, " or "), code(p.Tree.Text(recv.Pos())), code(name)),
			Because: []analysis.Reason{p.Reason(c.at.Pos(), fmt.Sprintf("%s is chosen here", code(name))), p.Reason(x.Pos(), fmt.Sprintf("%s whatever was chosen", is))},
			Fix:     &analysis.Fix{Title: "Use `" + name + "`", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: x.Pos(), New: name}}},
		})
	})
}

func contains(ds []dtype.DType, d dtype.DType) bool {
	for _, x := range ds {
		if x == d {
			return true
		}
	}
	return false
}

// precisionAround reports whether a statement stands under a condition on dtypes
// or settings of precision.
func precisionAround(p *analysis.Pass, around []python.Node, but ...func(*python.Compare) bool) bool {
	for _, n := range around {
		i, ok := n.(*python.If)
		if !ok {
			continue
		}
		cond := p.Tree.Text(i.Cond.Pos())
		python.Inspect(i.Cond, func(n python.Node) bool {
			if c, isCompare := n.(*python.Compare); isCompare && slices.ContainsFunc(but, func(f func(*python.Compare) bool) bool { return f(c) }) {
				cond = strings.Replace(cond, p.Tree.Text(c.Pos()), "", 1)
			}
			return true
		})
		if ofPrecision(cond) {
			return true
		}
	}
	return false
}

// dtypesCompared reports whether a comparison is one of two tensors' dtypes or
// devices, as a cache is made anew where they changed: no setting.
func dtypesCompared(c *python.Compare) bool {
	return !slices.ContainsFunc(c.Xs, func(x python.Expr) bool {
		at, ok := x.(*python.Attribute)
		return !ok || at.Sel != "dtype" && at.Sel != "device"
	})
}

// ofPrecision reports whether the text of a condition asks about dtypes,
// settings of precision, or what is quantised.
func ofPrecision(cond string) bool {
	cond = strings.ToLower(cond)
	for _, w := range []string{"dtype", "16", "half", "32", "64", "precision", "amp", "cast", "bit", "quant", "float", "double", "is_cuda", "device", "cpu"} {
		if strings.Contains(cond, w) {
			return true
		}
	}
	return false
}
