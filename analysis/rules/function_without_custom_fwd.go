package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var functionWithoutCustomFwd = &analysis.Rule{
	Name:     "function-without-custom-fwd",
	Severity: analysis.High,
	Doc: `A matrix product in the backward of a Function meets what autocast did not cast

Under autocast the product in forward runs in half precision, and so does the
gradient that comes back. backward runs without autocast, unless custom_fwd and
custom_bwd say otherwise: its product of the gradient with the float32 weight
that forward saved stops.

Evidence: forward gives one of its arguments to a matrix product and saves it as
it is, backward multiplies the gradient with it, neither has the decorators, and
the function casts or the files show half precision (likely).

Fix: the gradient is cast to the saved tensor's dtype in each such product;
autograd casts what backward returns. The decorators do the same for CUDA alone.

Silent where backward casts, where something else than the argument itself is
saved, and for Functions without matrix products.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, _ []python.Node) {
			if c, ok := s.(*python.ClassDef); ok && autogradFunction(p, c) {
				customFunction(p, c)
			}
		})
	},
}

func autogradFunction(p *analysis.Pass, c *python.ClassDef) bool {
	for _, a := range c.Args {
		if strings.HasSuffix(library(p, a.Value), "autograd.Function") || strings.HasSuffix(p.Tree.Text(a.Value.Pos()), "autograd.Function") {
			return true
		}
	}
	return false
}

// products are functions that autocast runs in half precision and that refuse
// operands of different dtypes.
var products = map[string]bool{"linear": true, "matmul": true, "mm": true, "bmm": true, "addmm": true, "baddbmm": true, "einsum": true}

// product returns the operands of a matrix product, as far as they are written
// out.
func product(p *analysis.Pass, n python.Node) []python.Expr {
	switch n := n.(type) {
	case *python.Binary:
		if n.Op == "@" {
			return []python.Expr{n.X, n.Y}
		}
	case *python.Call:
		name := library(p, n.Func)
		if !strings.HasPrefix(name, "torch.") || !products[name[strings.LastIndexByte(name, '.')+1:]] {
			return nil
		}
		var xs []python.Expr
		for _, a := range n.Args {
			if _, isText := a.Value.(*python.Str); a.Name == "" && a.Star == 0 && !isText {
				xs = append(xs, a.Value)
			}
		}
		if len(xs) >= 2 {
			return xs[:2]
		}
	}
	return nil
}

// customFunction compares forward and backward of one Function.
func customFunction(p *analysis.Pass, c *python.ClassDef) {
	var forward, backward *python.FuncDef
	for _, s := range c.Body {
		d, ok := s.(*python.FuncDef)
		if !ok {
			continue
		}
		for _, x := range d.Decorators {
			if t := p.Tree.Text(x.Pos()); strings.Contains(t, "fwd") || strings.Contains(t, "bwd") || strings.Contains(t, "autocast") {
				return
			}
		}
		switch d.Name {
		case "forward":
			forward = d
		case "backward":
			backward = d
		}
	}
	if forward == nil || backward == nil || len(backward.Params) < 2 || mentions(backward, "autocast") {
		return
	}
	saved, sign := savedArguments(p, forward)
	if sign == nil && len(p.Signs.Half) == 0 {
		return
	}
	back := unpacked(p, backward, saved)
	grads := map[string]bool{}
	for _, q := range backward.Params[1:] {
		if q.Star == 0 {
			grads[q.Name] = true
		}
	}
	meetings(p, backward, func(n python.Node, grad, weight python.Expr) {
		g, _ := path(base(grad))
		w, _ := path(base(weight))
		if !grads[g] || !back[w] || castIn(p, backward, g) {
			return
		}
		because := []analysis.Reason{p.Reason(forward.NameSpan, "forward has no custom_fwd: its product runs in half precision under autocast")}
		if sign != nil {
			because = append(because, p.Reason(sign.Pos(), "the dtypes of the two may differ"))
		}
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: statementOf(p, n), Scope: scopeOf(p, n), Ops: []python.Span{n.Pos()},
			Message: fmt.Sprintf("Under autocast forward's product is half and so is %s, while %s is the float32 that was saved, and backward runs without autocast: PyTorch stops here. `custom_fwd` and `custom_bwd` would carry autocast over.", code(g), code(w)),
			Because: append(because, p.Reason(n.Pos(), "the gradient meets the saved tensor")),
			Fix:     &analysis.Fix{Title: "Cast the gradient", Safety: analysis.Safe, Edits: castEdit(p, grad, ".to("+w+".dtype)")},
		})
	})
}

// mentions reports whether code has a name or an attribute with a word in it.
func mentions(n python.Node, word string) bool {
	found := false
	python.Inspect(n, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Name:
			found = found || strings.Contains(n.ID, word)
		case *python.Attribute:
			found = found || strings.Contains(n.Sel, word)
		}
		return !found
	})
	return found
}

// meetings calls f for the matrix products of a function, with either operand
// first.
func meetings(p *analysis.Pass, d *python.FuncDef, f func(n python.Node, x, y python.Expr)) {
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			if xs := product(p, n); xs != nil {
				f(n, xs[0], xs[1])
				f(n, xs[1], xs[0])
			}
		})
	})
}

// savedArguments are the places of the tensors that forward saves as it got
// them and has in a matrix product, and a cast in forward that shows that
// dtypes differ there.
func savedArguments(p *analysis.Pass, d *python.FuncDef) (places map[int]bool, sign python.Node) {
	multiplied := map[string]bool{}
	meetings(p, d, func(_ python.Node, x, y python.Expr) {
		if name, ok := path(base(y)); ok && bindings(d, name) == 1 && hasParam(d, name) {
			multiplied[name] = true
			if call, isCall := x.(*python.Call); isCall {
				if _, dt, isCast := castTarget(p, call); isCast && p.Tree.Text(dt.Pos()) == name+".dtype" {
					sign = call
				}
			}
		}
	})
	places = map[int]bool{}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok {
				return
			}
			if at, isMethod := call.Func.(*python.Attribute); !isMethod || at.Sel != "save_for_backward" {
				return
			}
			for i, a := range call.Args {
				if name, isName := a.Value.(*python.Name); isName && a.Star == 0 && multiplied[name.ID] {
					places[i] = true
				}
			}
		})
	})
	return places, sign
}

// unpacked are the names that backward gives to saved tensors.
func unpacked(p *analysis.Pass, d *python.FuncDef, places map[int]bool) map[string]bool {
	out := map[string]bool{}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || len(a.Targets) != 1 || !strings.HasSuffix(p.Tree.Text(a.Value.Pos()), ".saved_tensors") {
			return
		}
		seq, isSeq := a.Targets[0].(*python.Seq)
		if !isSeq {
			return
		}
		for i, t := range seq.Xs {
			if n, isName := t.(*python.Name); isName && places[i] && bindings(d, n.ID) == 1 {
				out[n.ID] = true
			}
		}
	})
	return out
}

// castIn reports whether a function casts a name or rebinds it to a cast.
func castIn(p *analysis.Pass, d *python.FuncDef, name string) bool {
	found := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || len(a.Targets) != 1 || boundName(a) != name {
			return
		}
		if _, isCast := castCall(p, a.Value); isCast || strings.Contains(p.Tree.Text(a.Value.Pos()), "dtype") {
			found = true
		}
	})
	return found
}
