package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var clipBeforeUnscale = &analysis.Rule{
	Name:     "clip-before-unscale",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `Gradients are clipped while they are still scaled

scaler.scale(loss).backward() multiplies every gradient by the scale, 65536 at
the start. clip_grad_norm_ between that and scaler.step(optimizer) compares the
scaled gradients with its limit: they are cut far too short, and by how much
changes with the scale.

Evidence: the scaled backward pass, the clipping and scaler.step of the same
scaler stand in one function in this order, and nothing there unscales
(certain).

Fix: scaler.unscale_(optimizer) before the clipping. scaler.step knows that the
gradients are unscaled already.

Silent where unscale_ is called, where the clipping stands in a branch without
the scaler, and for clipping that an accelerator or the model does.
`,
	Run: func(p *analysis.Pass) {
		for _, b := range bodies(p) {
			clipping(p, b)
		}
	},
}

// bodies are the statements of the module and of each of its functions.
func bodies(p *analysis.Pass) [][]python.Stmt {
	out := [][]python.Stmt{p.Tree.Body}
	statements(p, func(s python.Stmt, _ []python.Node) {
		if d, ok := s.(*python.FuncDef); ok {
			out = append(out, d.Body)
		}
	})
	return out
}

// A branch is one arm of a condition around a statement.
type branch struct {
	of     *python.If
	orElse bool
}

// branches calls f for the statements of a body in order, but for conditions and
// definitions, with the arms of conditions around each.
func branches(list []python.Stmt, in []branch, f func(s python.Stmt, in []branch)) {
	for _, s := range list {
		switch s := s.(type) {
		case *python.FuncDef, *python.ClassDef:
			continue
		case *python.If:
			branches(s.Body, append(in[:len(in):len(in)], branch{s, false}), f)
			branches(s.Else, append(in[:len(in):len(in)], branch{s, true}), f)
			continue
		}
		f(s, in)
		branches(inside(s), in, f)
	}
}

// A step is one call that takes part, and the branches around it.
type step struct {
	call   *python.Call
	stmt   python.Stmt
	in     []branch
	scaler string
}

// clipping looks at the body of one function.
func clipping(p *analysis.Pass, body []python.Stmt) {
	var scaled, clips, steps []step
	unscaled := false
	branches(body, nil, func(s python.Stmt, in []branch) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok {
				return
			}
			at, ok := call.Func.(*python.Attribute)
			if !ok {
				if f, isName := call.Func.(*python.Name); isName && clipNames[f.ID] {
					clips = append(clips, step{call: call, stmt: s, in: in})
				}
				return
			}
			x, isPath := path(at.X)
			switch {
			case strings.Contains(at.Sel, "unscale"):
				unscaled = true
			case at.Sel == "backward":
				if inner, ok := at.X.(*python.Call); ok && len(inner.Args) == 1 {
					if f, ok := inner.Func.(*python.Attribute); ok && f.Sel == "scale" {
						if of, ok := path(f.X); ok && strings.Contains(strings.ToLower(of), "scaler") {
							scaled = append(scaled, step{call: call, stmt: s, in: in, scaler: of})
						}
					}
				}
			case at.Sel == "step" && isPath && len(call.Args) > 0:
				steps = append(steps, step{call: call, stmt: s, in: in, scaler: x})
			case clipNames[at.Sel] && isPath && strings.HasSuffix("."+x, ".utils"):
				clips = append(clips, step{call: call, stmt: s, in: in})
			}
		})
	})
	if unscaled {
		return
	}
	for _, c := range clips {
		before, after := step{}, []step(nil)
		for _, b := range scaled {
			if b.call.Pos().Start < c.call.Pos().Start && together(c, b) {
				before = b
			}
		}
		if before.call == nil {
			continue
		}
		for _, s := range steps {
			if s.scaler == before.scaler && s.call.Pos().Start > c.call.Pos().Start && together(c, s) {
				after = append(after, s)
			}
		}
		if len(after) == 0 {
			continue
		}
		f := analysis.Finding{
			Confidence: analysis.Certain, At: statementOf(p, c.call), Scope: scopeOf(p, c.call), Ops: []python.Span{after[0].call.Pos()},
			Message: fmt.Sprintf("The gradients are still multiplied by the scale of %s here, so the limit cuts them far too short. %s comes first.", code(before.scaler), code(before.scaler+".unscale_")),
			Because: []analysis.Reason{
				p.Reason(before.call.Pos(), fmt.Sprintf("%s scales the gradients", code(p.Tree.Text(before.call.Pos())))),
				p.Reason(c.call.Pos(), "they are clipped as they are"),
				p.Reason(after[0].call.Pos(), fmt.Sprintf("%s unscales them, too late", code(p.Tree.Text(after[0].call.Pos())))),
			},
		}
		at := c.stmt.Pos().Start
		indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(p.Tree.Line(at)).Start, End: at})
		if o, ok := path(after[0].call.Args[0].Value); ok && len(after) == 1 && strings.TrimSpace(indent) == "" {
			f.Fix = &analysis.Fix{
				Title: "Unscale before clipping", Safety: analysis.Safe,
				Edits: []analysis.Edit{insertAt(at, before.scaler+".unscale_("+o+")\n"+indent)},
			}
		}
		p.Report(f)
	}
}

// clipNames are PyTorch's clipping functions.
var clipNames = map[string]bool{"clip_grad_norm_": true, "clip_grad_norm": true, "clip_grad_value_": true}

// together reports whether a clipping happens whenever another step does, as
// far as its branches show: every condition around it is around the other too,
// or is about something other than precision.
func together(c, other step) bool {
	for _, b := range c.in {
		shared := false
		for _, o := range other.in {
			if o.of == b.of {
				if o.orElse != b.orElse {
					return false
				}
				shared = true
			}
		}
		if shared {
			continue
		}
		if b.orElse {
			return false
		}
		precision := false
		python.Inspect(b.of.Cond, func(n python.Node) bool {
			word := ""
			switch n := n.(type) {
			case *python.Name:
				word = n.ID
			case *python.Attribute:
				word = n.Sel
			case *python.Str:
				word = n.Value
			}
			word = strings.ToLower(word)
			for _, w := range []string{"amp", "scal", "half", "16", "precision", "dtype", "native"} {
				precision = precision || strings.Contains(word, w)
			}
			return !precision
		})
		if precision {
			return false
		}
	}
	return true
}

// inside are the statements of a compound statement other than if.
func inside(s python.Stmt) []python.Stmt {
	var out []python.Stmt
	switch s := s.(type) {
	case *python.For:
		out = append(append(out, s.Body...), s.Else...)
	case *python.While:
		out = append(append(out, s.Body...), s.Else...)
	case *python.With:
		out = s.Body
	case *python.Try:
		out = append(append(append(out, s.Body...), s.Else...), s.Finally...)
	}
	return out
}
