package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var inputOfAnotherDType = &analysis.Rule{
	Name:     "input-of-another-dtype",
	Severity: analysis.High,
	Doc: `A module's input is cast to its dtype in one place, to a fixed one in another

A pipeline casts latents to the dtype of its autoencoder before it decodes them.
The image that the same autoencoder encodes is cast to a dtype parameter, and the
only caller gives float32. With an autoencoder in half precision encoding stops.

Evidence: a class casts an input to self.M.dtype for M; another input of M is
cast to a parameter of its method, and what the class hands in for that is one
dtype, written out (likely).

Fix: the other input is cast to the module's dtype as well. Safe: in float32
nothing changes.

Silent where some caller hands in the module's dtype or one that is not known,
where nobody in the file calls the method, and where the tensor goes elsewhere
too.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, _ []python.Node) {
			if c, ok := s.(*python.ClassDef); ok {
				otherInputs(p, c)
			}
		})
		functions(p, func(d *python.FuncDef, _ []python.Node) { movedToModule(p, d) })
	},
}

// A feed is an input of a module that a cast stands before.
type feed struct {
	method *python.FuncDef
	call   *python.Call // of the module or its encode or decode
	arg    *python.Name
	cast   *python.Call
	to     python.Expr
}

// otherInputs compares what the modules of a class are given in its methods.
func otherInputs(p *analysis.Pass, c *python.ClassDef) {
	feeds := map[string][]feed{}
	var modules []string
	for _, s := range c.Body {
		d, ok := s.(*python.FuncDef)
		if !ok {
			continue
		}
		inBody(d, func(s python.Stmt, _ []python.Node) {
			expressions(p, s, func(n python.Node) {
				call, ok := n.(*python.Call)
				if !ok {
					return
				}
				m := fedModule(call)
				for _, a := range call.Args {
					if f, ok := castFeed(p, d, call, a.Value); ok && m != "" {
						if feeds[m] == nil {
							modules = append(modules, m)
						}
						feeds[m] = append(feeds[m], f)
					}
				}
			})
		})
	}
	for _, m := range modules {
		own := slices.IndexFunc(feeds[m], func(f feed) bool { return p.Tree.Text(f.to.Pos()) == m+".dtype" })
		if own < 0 {
			continue
		}
		seen := map[*python.Call]bool{}
		for _, f := range feeds[m] {
			if given, at, ok := handedFixed(p, c, f); ok && !seen[f.cast] && goesOnlyInto(p, f, m) {
				seen[f.cast] = true
				reportOtherInput(p, m, feeds[m][own], f, given, at)
			}
		}
	}
}

// fedModule is the module of self that a call runs, "" if it is another call.
func fedModule(call *python.Call) string {
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return ""
	}
	var x python.Expr = at
	if at.Sel == "encode" || at.Sel == "decode" {
		x = at.X
	}
	name, ok := path(x)
	if !ok || !strings.HasPrefix(name, "self.") || strings.Count(name, ".") != 1 {
		return ""
	}
	return name
}

// castFeed reads an argument as a name that was cast in the same method, and
// may have been computed with since.
func castFeed(p *analysis.Pass, d *python.FuncDef, call *python.Call, x python.Expr) (feed, bool) {
	n, ok := x.(*python.Name)
	v := p.Facts.Values[x]
	for i := 0; i < 20 && v != nil && v.Kind == interp.KindTensor && (v.How == interp.HowKeep || v.How == interp.HowPromote) && len(v.From) > 0; i++ {
		v = v.From[0]
	}
	if !ok || v == nil || v.Kind != interp.KindTensor || v.How != interp.HowCast {
		return feed{}, false
	}
	cast, ok := v.At.(*python.Call)
	if !ok || cast.Start < d.Start || cast.End > d.End {
		return feed{}, false
	}
	_, to, ok := castTarget(p, cast)
	return feed{d, call, n, cast, to}, ok
}

// handedFixed is the dtype that a class hands in for the parameter that a feed
// is cast to, with one place where it does.
func handedFixed(p *analysis.Pass, c *python.ClassDef, f feed) (given dtype.DType, at python.Node, ok bool) {
	param, isName := f.to.(*python.Name)
	place := -1
	if isName {
		place = slices.IndexFunc(f.method.Params, func(q python.Param) bool { return q.Name == param.ID })
	}
	if place < 1 || bindings(f.method, param.ID) != 1 {
		return dtype.None, nil, false
	}
	ok = true
	python.Inspect(c, func(n python.Node) bool {
		call, isCall := n.(*python.Call)
		if !isCall {
			return true
		}
		if name, isPath := path(call.Func); !isPath || name != "self."+f.method.Name {
			return true
		}
		var x python.Expr
		for i, a := range call.Args {
			if a.Name == param.ID || a.Name == "" && i == place-1 {
				x = a.Value
			}
		}
		d, isLit := dtype.None, false
		if x != nil {
			d, isLit = dtypeLiteral(p, x)
		}
		if ok = ok && isLit && (given == dtype.None || given == d); ok {
			given, at = d, x
		}
		return true
	})
	return given, at, ok && at != nil
}

// goesOnlyInto reports whether the name that a cast is bound to is read behind
// it for one module alone.
func goesOnlyInto(p *analysis.Pass, f feed, module string) bool {
	a, ok := p.Tree.StmtAt(f.cast.Start).(*python.Assign)
	if !ok || len(a.Targets) != 1 || !isName(a.Targets[0], f.arg.ID) {
		return false
	}
	read, fed := 0, 0
	python.Inspect(f.method, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Name:
			if n.ID == f.arg.ID && n.Start > a.End {
				read++
			}
		case *python.Call:
			if n.Start > a.End && fedModule(n) == module && takes(n, f.arg.ID) {
				fed++
			}
		}
		return true
	})
	return fed > 0 && read == fed
}

func reportOtherInput(p *analysis.Pass, module string, twin, f feed, given dtype.DType, at python.Node) {
	to := code(p.Tree.Text(f.to.Pos()))
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, f.cast), Scope: scopeOf(p, f.cast), Ops: []python.Span{f.call.Pos()},
		Message: fmt.Sprintf("%s is cast to %s, which is %s (line %d), and goes into %s. What that gets elsewhere is cast to %s (line %d): where it is loaded in another dtype, its first layer stops here.",
			code(f.arg.ID), to, given, p.Tree.Line(at.Pos().Start), code(p.Tree.Text(f.call.Func.Pos())), code(module+".dtype"), p.Tree.Line(twin.cast.Start)),
		Because: []analysis.Reason{
			p.Reason(at.Pos(), fmt.Sprintf("%s is given as %s", given, to)),
			p.Reason(f.cast.Pos(), fmt.Sprintf("%s is cast to it", code(f.arg.ID))),
			p.Reason(f.call.Pos(), fmt.Sprintf("%s takes it", code(module))),
			p.Reason(twin.cast.Pos(), fmt.Sprintf("another input is cast to the dtype of %s", code(module))),
		},
		Fix: &analysis.Fix{Title: "Cast it to the module's dtype", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: f.to.Pos(), New: module + ".dtype"}}},
	})
}

// movedToModule finds a tensor that is moved to the device of what then takes
// it, and keeps the dtype of the caller.
func movedToModule(p *analysis.Pass, d *python.FuncDef) {
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || len(a.Targets) != 1 || !tensorParam(p, d, boundName(a)) {
			return
		}
		move, ok := a.Value.(*python.Call)
		if !ok || len(move.Args) != 1 {
			return
		}
		to, isMethod := move.Func.(*python.Attribute)
		of, isAttr := move.Args[0].Value.(*python.Attribute)
		if !isMethod || !isAttr || to.Sel != "to" || of.Sel != "device" || bindings(d, boundName(a)) != 2 {
			return
		}
		if b, computed := to.X.(*python.Binary); !computed || !reads(b, boundName(a)) {
			return
		}
		owner, isPath := path(of.X)
		if !isPath || !strings.HasPrefix(owner, "self.") {
			return
		}
		call := partTakes(d, owner, boundName(a), a.End)
		if call == nil {
			return
		}
		at := call.Func.(*python.Attribute)
		module := p.Tree.Text(at.X.Pos())
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%s is moved to the device of %s and keeps the dtype of the caller. %s has the dtype that it was loaded in: where the two differ, its first layer stops in line %d.",
				code(boundName(a)), code(owner), capital(code(module)), p.Tree.Line(call.Start)),
			Because: []analysis.Reason{p.Reason(move.Pos(), "the device is copied, the dtype is not"), p.Reason(call.Pos(), fmt.Sprintf("a part of %s takes it", code(owner)))},
			Fix:     &analysis.Fix{Title: "Move it with the dtype", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(move.Args[0].End, ", "+module+".dtype")}},
		})
	})
}

// tensorParam reports whether a name is a parameter that is declared a tensor.
func tensorParam(p *analysis.Pass, d *python.FuncDef, name string) bool {
	return slices.ContainsFunc(d.Params, func(q python.Param) bool {
		return q.Name == name && q.Annotation != nil && strings.HasSuffix(p.Tree.Text(q.Annotation.Pos()), "Tensor") && !integerName(name)
	})
}

// partTakes is the call behind a place that encodes or decodes a name with a part
// of owner: self.model.vae.encode(name).
func partTakes(d *python.FuncDef, owner, name string, behind uint32) *python.Call {
	var found *python.Call
	inBody(d, func(s python.Stmt, _ []python.Node) {
		own(s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || found != nil || call.Start < behind || !takes(call, name) {
				return
			}
			if callee, isPath := path(call.Func); isPath && strings.HasPrefix(callee, owner+".") && (strings.HasSuffix(callee, ".encode") || strings.HasSuffix(callee, ".decode")) {
				found = call
			}
		})
	})
	return found
}
