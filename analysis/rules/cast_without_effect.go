package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var castWithoutEffect = &analysis.Rule{
	Name:     "cast-without-effect",
	Severity: analysis.Medium,
	Doc: `The result of a cast is thrown away

Tensor.to, .float() and .half() give a new tensor and leave the old one as it
is; only Module.to works in place. A cast that stands alone, and one that
rebinds the variable of a loop over parameters, changes nothing in the model.
Nor does a cast of a slice that is then sliced again from the whole.

Evidence: the value certainly is a tensor (it comes from parameters() or
buffers(), from PyTorch, or its declaration says so), and nothing uses the
result (certain). A copy of a parameter that is then made to require gradients
is trained in the parameter's place (likely). A name for a slice is cast up and
not read again, and the next statement takes the same slice anew (likely).

Fix: p.data = p.data.to(dtype) for the parameters of a loop, and an assignment
to the same name elsewhere.

Silent for modules, for values that may be modules or batches, where the result
is stored, returned or passed on, and inside try.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			switch s := s.(type) {
			case *python.ExprStmt:
				discardedCast(p, s, around)
			case *python.Assign:
				reboundCast(p, s, around)
			case *python.FuncDef:
				unusedSlices(p, s)
			}
		})
	},
}

// discardedCast reports a cast that stands alone.
func discardedCast(p *analysis.Pass, s *python.ExprStmt, around []python.Node) {
	recv, ok := castCall(p, s.X)
	if !ok || probed(p, around) {
		return
	}
	f := analysis.Finding{Confidence: analysis.Certain, At: s.Pos(), Scope: scopeOf(p, s)}
	if name, isPlain := recv.(*python.Name); isPlain {
		if loop := parameterLoop(p, name.ID, around); loop != nil {
			f.Message = fmt.Sprintf("%s gives a new tensor, and nothing takes it: the parameter keeps its dtype. Only a module's `.to` works in place.", code(p.Tree.Text(s.X.Pos())))
			f.Because = []analysis.Reason{
				p.Reason(loop.Pos(), fmt.Sprintf("%s is a tensor of %s", code(name.ID), code(p.Tree.Text(loop.Iter.Pos())))),
				p.Reason(s.Pos(), "the result of the cast is thrown away"),
			}
			f.Fix = dataFix(s.Pos().Start, name)
			p.Report(f)
			return
		}
	}
	v := p.Facts.Values[recv]
	if !isTensor(v) {
		return
	}
	f.Message = fmt.Sprintf("%s gives a new tensor, and nothing takes it: %s keeps its dtype.", code(p.Tree.Text(s.X.Pos())), code(p.Tree.Text(recv.Pos())))
	f.Because = append(story(p, v, code(p.Tree.Text(recv.Pos()))), p.Reason(s.Pos(), "the result of the cast is thrown away"))
	if name, isPlain := recv.(*python.Name); isPlain {
		f.Fix = &analysis.Fix{
			Title: "Assign the result", Safety: analysis.Safe,
			Edits: []analysis.Edit{insertAt(s.Pos().Start, name.ID+" = ")},
		}
	}
	p.Report(f)
}

// reboundCast reports p = p.to(dtype) in a loop over parameters.
func reboundCast(p *analysis.Pass, s *python.Assign, around []python.Node) {
	if s.Op != "" || len(s.Targets) != 1 || s.Value == nil || s.Annotation != nil {
		return
	}
	name, ok := s.Targets[0].(*python.Name)
	if !ok {
		return
	}
	recv, ok := castCall(p, s.Value)
	if !ok || !isName(recv, name.ID) || probed(p, around) {
		return
	}
	loop := parameterLoop(p, name.ID, around)
	if loop == nil {
		return
	}
	f := analysis.Finding{
		Confidence: analysis.Certain, At: s.Pos(), Scope: scopeOf(p, s),
		Because: []analysis.Reason{p.Reason(loop.Pos(), fmt.Sprintf("%s is a tensor of %s", code(name.ID), code(p.Tree.Text(loop.Iter.Pos()))))},
		Fix:     dataFix(s.Pos().Start, name),
	}
	// The assignment already has the name; only .data is missing on both sides.
	f.Fix.Edits = []analysis.Edit{insertAt(name.Pos().End, ".data"), insertAt(recv.Pos().End, ".data")}
	trained := trainsCopy(loop, s, name.ID)
	switch {
	case trained != nil:
		f.Confidence = analysis.Likely
		f.Message = fmt.Sprintf("%s is a copy from here on wherever its dtype changes: the model keeps the old parameter, and what follows sets up the copy for training.", code(name.ID))
		f.Because = append(f.Because, p.Reason(s.Pos(), "the loop variable gets a new tensor"), p.Reason(trained.Pos(), "gradients are asked for of the copy"))
	case !readAfter(p, loop, s, name.ID, around):
		f.Message = fmt.Sprintf("This gives the loop variable %s a new tensor that nothing uses: the parameter keeps its dtype.", code(name.ID))
		f.Because = append(f.Because, p.Reason(s.Pos(), "the loop variable gets a new tensor, which is not used again"))
	default:
		return
	}
	p.Report(f)
}

// unusedSlices reports statements that take slices anew of which a name holds
// the cast.
func unusedSlices(p *analysis.Pass, d *python.FuncDef) {
	slices := map[string]*python.Assign{} // by name: name = x[…]
	cast := map[string]*python.Assign{}
	var order []string
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Value == nil || a.Op != "" {
			return
		}
		name := boundName(a)
		if sub, isSub := a.Value.(*python.Subscript); isSub && name != "" {
			if _, isPath := path(sub.X); isPath {
				slices[name] = a
			}
			return
		}
		if recv, isCast := castCall(p, a.Value); isCast && isName(recv, name) && slices[name] != nil && cast[name] == nil && upcasts.MatchString(squeeze(p.Tree.Text(a.Value.Pos()))) {
			cast[name] = a
			order = append(order, name)
		}
	})
	found := map[python.Stmt]*analysis.Finding{}
	for _, name := range order {
		if bindings(d, name) == 2 && !readBehindPlace(d, name, cast[name].End) {
			slicedAnew(p, d, name, slices[name], cast[name], found)
		}
	}
	for _, f := range found {
		p.Report(*f)
	}
}

// readBehindPlace reports whether a function reads a name behind a place.
func readBehindPlace(d *python.FuncDef, name string, place uint32) bool {
	found := false
	python.Inspect(d, func(n python.Node) bool {
		if x, ok := n.(*python.Name); ok {
			found = found || x.ID == name && x.Start > place
		}
		return !found
	})
	return found
}

// slicedAnew reports the statement behind a cast that takes the slice again.
// What it takes of several such slices is one finding.
func slicedAnew(p *analysis.Pass, d *python.FuncDef, name string, sliced, cast *python.Assign, found map[python.Stmt]*analysis.Finding) {
	whole, _ := path(sliced.Value.(*python.Subscript).X)
	inBody(d, func(s python.Stmt, _ []python.Node) {
		if s.Pos().Start < cast.End {
			return
		}
		var edits []analysis.Edit
		expressions(p, s, func(n python.Node) {
			if sub, ok := n.(*python.Subscript); ok && sameText(p, sub, sliced.Value) {
				edits = append(edits, analysis.Edit{Span: sub.Pos(), New: name})
			}
		})
		if edits == nil {
			return
		}
		expressions(p, s, func(n python.Node) { // a buffer made beside them must have their dtype
			if at, ok := n.(*python.Attribute); ok && at.Sel == "dtype" && isName(at.X, whole) {
				edits = append(edits, analysis.Edit{Span: at.X.Pos(), New: name})
			}
		})
		reason := p.Reason(cast.Pos(), fmt.Sprintf("%s is cast, and not read again", code(name)))
		if f := found[s]; f != nil {
			f.Because = append(f.Because, reason)
			f.Fix.Edits = append(f.Fix.Edits, edits...)
			return
		}
		f := &analysis.Finding{
			Confidence: analysis.Likely, At: s.Pos(), Scope: scopeOf(p, s), Ops: []python.Span{s.Pos()},
			Message: fmt.Sprintf("%s was cast to float32 for this and is not used: %s is taken as it comes, so the cast has no effect.", code(name), code(p.Tree.Text(sliced.Value.Pos()))),
			Because: []analysis.Reason{reason},
			Fix:     &analysis.Fix{Title: "Use what was cast", Safety: analysis.Safe, Edits: edits},
		}
		found[s] = f
	})
}

// dataFix makes the cast of a parameter work in place.
func dataFix(at uint32, name *python.Name) *analysis.Fix {
	return &analysis.Fix{
		Title: "Cast the parameter in place", Safety: analysis.Safe,
		Edits: []analysis.Edit{insertAt(at, name.ID+".data = "), insertAt(name.Pos().End, ".data")},
	}
}

// parameterLoop is the loop over parameters or buffers whose variable a name
// is, nil if there is none or the name is assigned in between.
func parameterLoop(p *analysis.Pass, name string, around []python.Node) *python.For {
	for i := len(around) - 1; i >= 0; i-- {
		switch n := around[i].(type) {
		case *python.FuncDef, *python.ClassDef:
			return nil
		case *python.For:
			target := n.Target
			pair := false
			if seq, ok := target.(*python.Seq); ok && len(seq.Xs) == 2 {
				target, pair = seq.Xs[1], true
			}
			if !isName(target, name) {
				continue
			}
			switch parameters(n.Iter) {
			case "parameters", "buffers":
				if pair {
					return nil
				}
			case "named_parameters", "named_buffers":
				if !pair {
					return nil
				}
			default:
				return nil
			}
			if assigns(n.Body, name) > 1 {
				return nil
			}
			return n
		}
	}
	return nil
}

// parameters is the method of a module that an iterable comes from.
func parameters(x python.Expr) string {
	call, ok := x.(*python.Call)
	if !ok {
		return ""
	}
	switch f := call.Func.(type) {
	case *python.Attribute:
		return f.Sel
	case *python.Name:
		switch {
		case (f.ID == "list" || f.ID == "tuple" || f.ID == "reversed") && len(call.Args) == 1:
			return parameters(call.Args[0].Value)
		case f.ID == "filter" && len(call.Args) == 2:
			return parameters(call.Args[1].Value)
		}
	}
	return ""
}

// assigns counts the assignments to a name.
func assigns(body []python.Stmt, name string) int {
	n := 0
	for _, s := range body {
		python.Inspect(s, func(x python.Node) bool {
			switch x := x.(type) {
			case *python.Assign:
				for _, t := range x.Targets {
					if isName(t, name) {
						n++
					}
				}
			case *python.For:
				if isName(x.Target, name) {
					n++
				}
			case *python.Walrus:
				if x.Name == name {
					n++
				}
			}
			return true
		})
	}
	return n
}

// trainsCopy finds where a rebound loop variable is made to require gradients.
func trainsCopy(loop *python.For, s *python.Assign, name string) python.Node {
	var found python.Node
	for _, b := range loop.Body {
		python.Inspect(b, func(n python.Node) bool {
			if found != nil || n.Pos().End <= s.Pos().End {
				return found == nil && n.Pos().End > s.Pos().End
			}
			switch n := n.(type) {
			case *python.Assign:
				if at, ok := n.Targets[0].(*python.Attribute); ok && at.Sel == "requires_grad" && isName(at.X, name) {
					if l, ok := n.Value.(*python.Lit); ok && l.Kind == "true" {
						found = n
					}
				}
			case *python.Call:
				if at, ok := n.Func.(*python.Attribute); ok && at.Sel == "requires_grad_" && isName(at.X, name) && len(n.Args) == 0 {
					found = n
				}
			}
			return found == nil
		})
	}
	return found
}

// readAfter reports whether a loop variable is read behind its assignment: in
// the rest of the body, or behind the loop where no other loop binds it.
func readAfter(p *analysis.Pass, loop *python.For, s *python.Assign, name string, around []python.Node) bool {
	body := p.Tree.Body
	if d := function(around); d != nil {
		body = d.Body
	}
	found := false
	for _, b := range body {
		python.Inspect(b, func(n python.Node) bool {
			if found || n.Pos().End <= s.Pos().End {
				return false
			}
			switch n := n.(type) {
			case *python.For:
				if n != loop && n.Pos().Start >= loop.Pos().End && reads(n.Target, name) {
					return false
				}
			case *python.Comp:
				for _, c := range n.Clauses {
					if reads(c.Target, name) {
						return false
					}
				}
			case *python.Name:
				found = found || n.ID == name && n.Pos().Start > s.Pos().End
			}
			return !found
		})
	}
	return found
}
