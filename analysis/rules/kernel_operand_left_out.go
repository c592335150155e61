package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var kernelOperandLeftOut = &analysis.Rule{
	Name:     "kernel-operand-left-out",
	Severity: analysis.High,
	Doc: `Some operands of a custom kernel are cast to one dtype, one is left out

A compiled kernel reads all its floating operands as one type. Autocast does not
cast what such a kernel is given: a convolution before it gives half offsets, a
sigmoid float32 masks, the weight is float32. Whoever casts some of the operands
to the dtype of another has met that; the one that is left out is the next error.

Evidence: the forward of an autograd Function casts an argument to the dtype of
another one and gives both to one call that is not PyTorch's; a third argument
goes into the same call as it came, and backward returns a gradient for it, so
it is floating (likely). Or a function casts key and value to the dtype of the
query for scaled_dot_product_attention, and hands on the mask that it got
(likely).

Fix: the same cast for what is left out, behind the last cast; of a mask only if
it is floating. Safe: in float32 nothing changes.

Silent where the argument's dtype is asked for or it is bound anew, for what may
be None, and for arguments without a gradient: indices, sizes, boxes.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, _ []python.Node) {
			c, ok := s.(*python.ClassDef)
			if !ok || !autogradFunction(p, c) {
				return
			}
			forward, backward := method(c, "forward"), method(c, "backward")
			if forward != nil && backward != nil && len(forward.Params) > 1 {
				leftOutOfKernel(p, forward, gradients(forward, backward))
			}
		})
		functions(p, func(d *python.FuncDef, _ []python.Node) { maskLeftOut(p, d) })
	},
}

// method is the method of a class with a name, nil if the class has none.
func method(c *python.ClassDef, name string) *python.FuncDef {
	for _, s := range c.Body {
		if d, ok := s.(*python.FuncDef); ok && d.Name == name {
			return d
		}
	}
	return nil
}

// gradients are the arguments of forward for which backward returns one.
func gradients(forward, backward *python.FuncDef) map[string]bool {
	out := map[string]bool{}
	inBody(backward, func(s python.Stmt, _ []python.Node) {
		r, ok := s.(*python.Return)
		if !ok {
			return
		}
		seq, ok := r.X.(*python.Seq)
		if !ok {
			return
		}
		for i, x := range seq.Xs {
			if i+1 >= len(forward.Params) {
				return
			}
			if _, named := path(x); named {
				out[forward.Params[i+1].Name] = true
			}
		}
	})
	return out
}

// leftOutOfKernel looks for the call of a kernel that takes arguments which were
// cast, what they were cast to, and one that was not.
func leftOutOfKernel(p *analysis.Pass, d *python.FuncDef, floating map[string]bool) {
	var casts []*python.Assign
	to := map[string]string{} // argument: the one whose dtype it is cast to
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || len(a.Targets) != 1 || !hasParam(d, boundName(a)) {
			return
		}
		if like := castLike(p, a.Value, boundName(a)); like != boundName(a) && hasParam(d, like) {
			casts, to[boundName(a)] = append(casts, a), like
		}
	})
	if len(casts) == 0 {
		return
	}
	last := casts[len(casts)-1]
	like := boundName(casts[0])
	for i := 0; to[like] != "" && i < len(casts); i++ {
		like = to[like]
	}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || call.Start < last.End || !takes(call, like) || strings.HasPrefix(library(p, call.Func), "torch.") || isSave(call) {
				return
			}
			if !slices.ContainsFunc(casts, func(a *python.Assign) bool { return takes(call, boundName(a)) }) {
				return
			}
			var odd []string
			for _, a := range call.Args {
				n, isName := a.Value.(*python.Name)
				if isName && floating[n.ID] && n.ID != like && to[n.ID] == "" && bindings(d, n.ID) == 1 && !asksDType(d, n.ID) {
					odd = append(odd, n.ID)
				}
			}
			if len(odd) > 0 {
				reportLeftOut(p, call, casts, like, odd)
			}
		})
	})
}

func reportLeftOut(p *analysis.Pass, kernel *python.Call, casts []*python.Assign, like string, odd []string) {
	last := casts[len(casts)-1]
	indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(p.Tree.Line(last.Start)).Start, End: last.Start})
	var fix *analysis.Fix
	if strings.TrimSpace(indent) == "" {
		text := ""
		for _, o := range odd {
			text += fmt.Sprintf("%s = %s.type_as(%s)\n%s", o, o, like, indent)
		}
		fix = &analysis.Fix{Title: "Cast it with the others", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(last.Start, text)}}
	}
	var cast []string
	because := []analysis.Reason{}
	for _, a := range casts {
		cast = append(cast, code(boundName(a)))
		because = append(because, p.Reason(a.Pos(), fmt.Sprintf("%s is cast", code(boundName(a)))))
	}
	var left []string
	for _, o := range odd {
		left = append(left, code(o))
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: last.Pos(), Scope: scopeOf(p, last), Ops: []python.Span{kernel.Pos()},
		Message: fmt.Sprintf("%s %s cast to the dtype of %s for %s, %s %s not. The kernel reads all of them as one type and stops where they differ, as under autocast, which does not cast what a kernel of one's own is given.",
			capital(list(cast)), areOrIs(cast), code(like), code(p.Tree.Text(kernel.Func.Pos())), list(left), areOrIs(left)),
		Because: append(because, p.Reason(kernel.Pos(), "takes them all")),
		Fix:     fix,
	})
}

// areOrIs is the verb of a list.
func areOrIs(words []string) string {
	if len(words) > 1 {
		return "are"
	}
	return "is"
}

// castLike is the name that X.type_as(name), X.to(name) or X.to(name.dtype)
// casts name X to, "" if x is no such cast.
func castLike(p *analysis.Pass, x python.Expr, name string) string {
	call, ok := x.(*python.Call)
	if !ok || len(call.Args) != 1 {
		return ""
	}
	at, ok := call.Func.(*python.Attribute)
	if !ok || !isName(at.X, name) || at.Sel != "type_as" && at.Sel != "to" {
		return ""
	}
	text := p.Tree.Text(call.Args[0].Value.Pos())
	if at.Sel == "to" {
		like, isDType := strings.CutSuffix(text, ".dtype")
		if !isDType {
			return ""
		}
		text = like
	}
	return text
}

// isSave reports whether a call is ctx.save_for_backward.
func isSave(call *python.Call) bool {
	at, ok := call.Func.(*python.Attribute)
	return ok && (at.Sel == "save_for_backward" || at.Sel == "mark_dirty")
}

// asksDType reports whether a function asks for the dtype of a name.
func asksDType(d *python.FuncDef, name string) bool {
	found := false
	python.Inspect(d, func(n python.Node) bool {
		if at, ok := n.(*python.Attribute); ok && at.Sel == "dtype" && isName(at.X, name) {
			found = true
		}
		return !found
	})
	return found
}

// maskLeftOut finds a function that casts what attention takes to the query's
// dtype, and hands the mask that it got on as it is. Measured with 2.15: a mask
// of numbers must be float32 or have the query's dtype; the source of early 2.x
// (validate_sdpa_input in attention.cpp) takes the query's alone.
func maskLeftOut(p *analysis.Pass, d *python.FuncDef) {
	to := map[string]string{}
	var casts []*python.Assign
	inBody(d, func(s python.Stmt, around []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(around) > 0 || a.Value == nil || len(a.Targets) != 1 || !hasParam(d, boundName(a)) {
			return
		}
		if like := castLike(p, a.Value, boundName(a)); hasParam(d, like) {
			to[boundName(a)], casts = like, append(casts, a)
		}
	})
	if len(casts) < 2 || to[boundName(casts[0])] != to[boundName(casts[1])] {
		return
	}
	query := to[boundName(casts[0])]
	var attention *python.Call
	var mask string
	inBody(d, func(s python.Stmt, _ []python.Node) {
		own(s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || attention != nil || calledLibrary(p, call) != "torch.nn.functional.scaled_dot_product_attention" || len(call.Args) < 3 || !isName(call.Args[0].Value, query) {
				return
			}
			m, _ := argument(call, "attn_mask").(*python.Name)
			if len(call.Args) > 3 && call.Args[3].Name == "" && m == nil {
				m, _ = call.Args[3].Value.(*python.Name)
			}
			if m != nil && hasParam(d, m.ID) && to[boundName(casts[0])] == query && takes(call, boundName(casts[0])) && takes(call, boundName(casts[1])) {
				attention, mask = call, m.ID
			}
		})
	})
	last := casts[len(casts)-1]
	indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(p.Tree.Line(last.Start)).Start, End: last.Start})
	if attention == nil || asksDType(d, mask) || movedIn(d, mask) || mentions(d, "is_floating_point") || strings.TrimSpace(indent) != "" {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: python.Span{Start: casts[0].Start, End: last.End}, Scope: scopeOf(p, last), Ops: []python.Span{attention.Pos()},
		Message: fmt.Sprintf("%s and %s are cast to the dtype of %s, %s is not. A mask of numbers must have it too: PyTorch refuses another dtype (2.15 takes float32 as well, early 2.x does not). A bool mask stays as it is.",
			capital(code(boundName(casts[0]))), code(boundName(casts[1])), code(query), code(mask)),
		Because: []analysis.Reason{p.Reason(casts[0].Pos(), "cast to the query's dtype"), p.Reason(last.Pos(), "cast to the query's dtype"), p.Reason(attention.Pos(), fmt.Sprintf("takes %s as it came in", code(mask)))},
		Fix: &analysis.Fix{Title: "Cast a mask of numbers with them", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(last.End,
			fmt.Sprintf("\n%sif %s is not None and %s.is_floating_point():\n%s    %s = %s.to(%s.dtype)", indent, mask, mask, indent, mask, mask, query))}},
	})
}

// calledLibrary is the canonical name of what a call runs, also by another name
// that the file gave it.
func calledLibrary(p *analysis.Pass, call *python.Call) string {
	if name := library(p, call.Func); name != "" {
		return name
	}
	for _, a := range p.Facts.Assigned {
		if isName(call.Func, a.Name) && a.Scope.Def == nil && a.Value.Kind == interp.KindLibrary {
			return a.Value.Name
		}
	}
	return ""
}
