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

var filledBufferWithoutDType = &analysis.Rule{
	Name:     "filled-buffer-without-dtype",
	Severity: analysis.Medium,
	Doc: `A tensor is filled with pieces of another one and made without its dtype

A padded or reordered copy is made with torch.zeros or torch.empty and filled by
writes to slices. Such writes cast silently, so nothing stops: the copy is
float32, and a bfloat16 tensor leaves the function as float32, a float64 one
with half of its digits.

Evidence: everything that is written to the new tensor has the dtype of one
parameter or attribute, nothing is computed with it, it is returned or written
on, and its device is copied from that tensor (likely). Where it is returned, it
is enough that the function or its class propagates a dtype elsewhere or names
half precision (likely).

Fix: dtype= of what it is filled with. Safe: in float32 nothing changes.

Silent for accumulators, for tensors that are computed with or handed on, for
the tensors of a list, for ids, masks and lengths, in losses, where the function
says that it gives float32, and where the result is cast.
`,
	Run: func(p *analysis.Pass) {
		f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				if a, ok := s.(*python.Assign); ok {
					f.filled(d, a)
				}
			})
		})
	},
}

// filled reports the assignment of a new tensor that is only filled.
func (f *finder) filled(d *python.FuncDef, a *python.Assign) {
	p := f.pass
	call, isCall := a.Value.(*python.Call)
	if !isCall || a.Op != "" || len(a.Targets) != 1 || strings.Contains(strings.ToLower(d.Name), "loss") {
		return
	}
	name, v := boundName(a), p.Facts.Values[call]
	if name == "" || integerName(name) || bindings(d, name) != 1 || v == nil || v.Make == nil || v.Make.Call != call || v.Make.Called || v.Make.DType || !v.DType.IsDefault() {
		return
	}
	switch v.Make.Name {
	case "torch.zeros", "torch.ones", "torch.empty", "torch.full":
	default:
		return
	}
	writes, ok := f.pieces(d, name)
	if !ok {
		return
	}
	t := tensorType(p.Facts.Values[writes[0].Value])
	if r, isRoot := t.Root(); !isRoot || !hasParam(d, r.Name) && !strings.HasPrefix(r.Name, "self.") || saysFloat32(d) {
		return // tensors of a list are put together as they are wanted
	}
	sign := f.filledSign(d, name, v.Make, t)
	ref, named := nameOf(v.Make.InScope, t)
	if sign == nil || !named || integerName(ref) {
		return
	}
	of, example := strings.TrimSuffix(ref, ".dtype"), exampleDType(p)
	because := []analysis.Reason{p.Reason(call.Pos(), fmt.Sprintf("%s has no dtype, so it is float32", code(name)))}
	for _, w := range writes[:min(len(writes), 3)] {
		because = append(because, p.Reason(w.Pos(), fmt.Sprintf("a piece of %s is written to it", code(of))))
	}
	if sign != python.Node(call) {
		because = append(because, p.Reason(sign.Pos(), "here a dtype is followed"))
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{writes[0].Pos()},
		Message: fmt.Sprintf("%s is filled with pieces of %s alone, but it is made without a dtype: float32.\n\nWith %s in %s the writes cast, nothing stops, and what leaves here is float32.",
			code(name), code(of), code(of), example),
		Because: because,
		Fix: &analysis.Fix{Title: "Create it with `dtype=" + ref + "`", Safety: analysis.Safe, Edits: []analysis.Edit{
			insertAt(call.Args[len(call.Args)-1].End, ", dtype="+ref),
		}},
	})
}

// pieces are the writes to slices of a name, if a function does nothing else
// with it but return it and write it on, and all that is written has the dtype
// of one root.
func (f *finder) pieces(d *python.FuncDef, name string) (writes []*python.Assign, ok bool) {
	ok = true
	known := map[python.Expr]bool{} // the places where the name may stand
	var of dtype.Type
	inBody(d, func(s python.Stmt, _ []python.Node) {
		switch s := s.(type) {
		case *python.Return:
			for _, x := range results(s.X) {
				known[piece(x)] = true
			}
		case *python.Assign:
			target, isSub := s.Targets[0].(*python.Subscript)
			if !isSub || len(s.Targets) != 1 || s.Op != "" || s.Value == nil {
				return
			}
			if !isName(target.X, name) {
				known[piece(s.Value)] = true // written on
				return
			}
			known[target.X] = true
			t := tensorType(f.value(s.Value))
			if !rootsAlone(t) || writes != nil && !t.Equal(of) || f.refused(s) {
				ok = false
			}
			if text, isPath := path(piece(s.Value)); isPath && integerName(text) {
				ok = false
			}
			of = t
			writes = append(writes, s)
		}
	})
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			if x, isPlain := n.(*python.Name); isPlain && x.ID == name && x.Start > d.Body[0].Pos().Start && !known[x] && !f.binds(x) {
				ok = false
			}
			return ok
		})
	}
	return writes, ok && writes != nil && len(known) > len(writes)
}

// refused reports whether a write goes by an index that refuses another dtype:
// factory-without-dtype speaks of those.
func (f *finder) refused(a *python.Assign) bool {
	return slices.ContainsFunc(f.facts.Ops, func(op *interp.Op) bool { return op.Kind == interp.OpIndexPut && op.Node == python.Node(a) })
}

// value is what is known of an expression; never nil.
func (f *finder) value(x python.Expr) *interp.Value {
	if v := f.facts.Values[x]; v != nil {
		return v
	}
	return &interp.Value{Kind: interp.KindUnknown}
}

// binds reports whether a name stands there as the target of an assignment.
func (f *finder) binds(x *python.Name) bool { return f.facts.Values[x] == nil }

// results are the expressions of a return.
func results(x python.Expr) []python.Expr {
	if seq, ok := x.(*python.Seq); ok {
		return seq.Xs
	}
	return []python.Expr{x}
}

// piece is what an expression is a slice or another shape of.
func piece(x python.Expr) python.Expr {
	for {
		x = base(x)
		sub, ok := x.(*python.Subscript)
		if !ok {
			return x
		}
		x = sub.X
	}
}

// rootsAlone reports whether a type is the dtype of roots that may be floating,
// not mixed with anything.
func rootsAlone(t dtype.Type) bool {
	if !floating(t) || t.HasDefault() || t.Widened() {
		return false
	}
	return !slices.ContainsFunc(t.Alternatives(), func(a dtype.Type) bool { return len(a.Roots()) == 0 })
}

// saysFloat32 reports whether a function's documentation names float32: then it
// is meant.
func saysFloat32(d *python.FuncDef) bool {
	e, ok := d.Body[0].(*python.ExprStmt)
	if !ok {
		return false
	}
	s, ok := e.X.(*python.Str)
	text := ""
	if ok {
		text = strings.ToLower(s.Value)
	}
	return strings.Contains(text, "float32") || strings.Contains(text, "fp32")
}

// filledSign is what shows that the dtype of what a buffer is filled with varies.
func (f *finder) filledSign(d *python.FuncDef, name string, m *interp.Creation, t dtype.Type) python.Node {
	if m.DeviceOf != nil && slices.ContainsFunc(tensorType(m.DeviceOf).Roots(), func(r *dtype.Root) bool { return slices.Contains(t.Roots(), r) }) {
		return m.Call
	}
	if !returned(d, name) {
		return nil
	}
	return f.varies(m.Scope)
}
