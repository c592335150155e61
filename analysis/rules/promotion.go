package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// forgotten finds a promotion whose wide operand was created here for the
// other one: with its device, or with its shape in a function that propagates
// dtypes, but without its dtype. Nothing stops; the result just no longer has
// the dtype of the tensor that everything around follows.
func (f *finder) forgotten(op *interp.Op) []conflict {
	promotes := op.Kind == interp.OpPromotes
	if len(op.Operands) < 2 || inLoss(f.pass, op) || promotes && (op.Result == nil || op.Result.DType.Known() && !op.Result.DType.Widened()) {
		return nil
	}
	if op.Autocast.State == interp.AutocastOn || op.Autocast.State == interp.AutocastMaybe {
		return nil
	}
	var out []conflict
	for i, odd := range op.Operands {
		m := f.careless(op, odd.Value)
		if m == nil {
			continue
		}
		for j, keep := range op.Operands {
			if i == j || !guiding(keep) && !extended(op, keep) || dtype.Relate(keep.Value.DType, odd.Value.DType) != dtype.Apart {
				continue
			}
			c := conflict{op: op, keep: keep, odd: odd, part: odd.Value, evidence: byRoot, cause: causeFactory, make: m, promotes: promotes}
			if c.sign = f.madeFor(&c); c.sign == nil || promotes && (f.undone(op) || f.given(keep.Value)) {
				continue
			}
			return append(out, c)
		}
	}
	return out
}

// given reports whether a value's dtype is that of what a plain function of another
// file gives: a file read, a metric counted, of which nothing says that its dtype
// varies.
func (f *finder) given(v *interp.Value) bool {
	roots := v.DType.Roots()
	return len(roots) > 0 && !slices.ContainsFunc(roots, func(r *dtype.Root) bool { return !f.byFunction(r) })
}

// byFunction reports whether a root is the result of a call of a function by its
// name or through a module that was imported, or an item of it.
func (f *finder) byFunction(r *dtype.Root) bool {
	for range 10 {
		o, ok := f.facts.Origins[r]
		if !ok {
			return false
		}
		if o.Kind == interp.OriginCall {
			return o.Call != nil && o.Call.Callee != nil && o.Call.Callee.Kind == interp.KindLibrary
		}
		if o.Of == nil {
			return false
		}
		r = o.Of
	}
	return false
}

// careless returns the call that created a value in this function without a
// dtype, nil if there is none or the value is 0-dim and widens nothing.
func (f *finder) careless(op *interp.Op, v *interp.Value) *interp.Creation {
	if !closed(v.DType) {
		if v = madeBranch(v, op.Scope); v == nil {
			return nil
		}
	}
	if !floating(v.DType) || v.Rank == dtype.RankZero {
		return nil
	}
	m := forgot(source(v), op.Scope)
	if m == nil || strings.HasSuffix(m.Name, "_window") {
		return nil // windows are for spectra, which are float32
	}
	if a, ok := f.pass.Tree.StmtAt(m.Call.Start).(*python.Assign); ok && len(a.Targets) == 1 && idsName(boundName(a)) {
		return nil // ids count: in half precision neighbours would become equal
	}
	return m
}

// idsName reports whether a name is that of ids or indices.
func idsName(name string) bool {
	return slices.ContainsFunc(strings.Split(strings.ToLower(name), "_"), func(w string) bool {
		return w == "id" || w == "ids" || w == "idx" || w == "index" || w == "indices"
	})
}

// madeBranch returns the one branch on which a value was created here without
// a dtype, where it is what was given on the others: a parameter's default.
func madeBranch(v *interp.Value, s *interp.Scope) *interp.Value {
	v = source(v)
	if v.How != interp.HowJoin {
		return nil
	}
	var made *interp.Value
	for _, from := range v.From {
		t := tensorType(from)
		switch {
		case closed(t) && forgot(source(from), s) != nil && made == nil:
			made = from
		case len(t.Roots()) == 0 || t.Widened():
			return nil
		}
	}
	return made
}

// inLoss reports whether an operation belongs to a loss, which is float32 for
// good reasons: by its function, or by what it is assigned to.
func inLoss(p *analysis.Pass, op *interp.Op) bool {
	if isLoss(op.Name) || op.Scope != nil && strings.Contains(strings.ToLower(op.Scope.Name), "loss") {
		return true
	}
	a, ok := op.Stmt.(*python.Assign)
	return ok && len(a.Targets) > 0 && strings.Contains(strings.ToLower(p.Tree.Text(a.Targets[0].Pos())), "loss")
}

// guiding reports whether an operand has the dtype of roots alone that are no
// integers', and has dimensions: something whose dtype a result should keep.
func guiding(o interp.Operand) bool {
	text, ok := path(base(o.Expr))
	return guides(o) && (!ok || !integerName(text) && !strings.Contains(text, "target"))
}

// guides is guiding, whatever the operand is called.
func guides(o interp.Operand) bool {
	v := o.Value
	if v.Kind != interp.KindTensor || v.Rank == dtype.RankZero || !floating(v.DType) || v.DType.HasDefault() {
		return false
	}
	for _, a := range v.DType.Alternatives() {
		if len(a.Roots()) == 0 || a.Widened() {
			return false
		}
	}
	return true
}

// extended reports whether a cat makes a mask longer: whatever dtype the mask
// has, int64 and bool among them, what is put behind it is to have the same.
func extended(op *interp.Op, o interp.Operand) bool {
	switch op.Name {
	case "torch.cat", "torch.concat", "torch.concatenate":
		text, ok := path(base(o.Expr))
		return ok && strings.Contains(text, "mask") && guides(o)
	}
	return false
}

// madeFor is the sign that a tensor was created for the one that it meets: it
// has its device, or it has its shape and the function propagates dtypes or
// uses half precision elsewhere.
func (f *finder) madeFor(c *conflict) python.Node {
	of := func(v *interp.Value) bool {
		return v != nil && (v.Kind == interp.KindTensor || v.Kind == interp.KindOpen) && slices.ContainsFunc(tensorType(v).Roots(), func(r *dtype.Root) bool {
			return slices.Contains(c.keep.Value.DType.Roots(), r)
		})
	}
	if of(c.make.DeviceOf) {
		return c.make.Call
	}
	if !slices.ContainsFunc(c.make.ShapeOf, of) {
		return nil
	}
	if strings.HasPrefix(c.op.Name, "torch.distributed.") {
		return c.make.Call // a receive buffer of its size
	}
	return f.varies(c.op.Scope)
}

// varies is the sign that a function, or a method of its class, knows dtypes
// other than the default one: it propagates one or names half precision.
func (f *finder) varies(s *interp.Scope) python.Node {
	if s == nil {
		return nil
	}
	for _, o := range f.facts.Scopes {
		if o != s && (s.Class == nil || o.Class != s.Class) {
			continue
		}
		if len(o.Propagates) > 0 {
			return o.Propagates[0]
		}
		if len(o.Half) > 0 {
			return o.Half[0]
		}
	}
	return nil
}

// inPlace reports whether x += y writes into x: a piece of a tensor, or a tensor
// that has its dtype from elsewhere. Of a number y makes a new tensor.
func (f *finder) inPlace(x python.Expr) bool {
	if _, ok := x.(*python.Subscript); ok {
		return true
	}
	v := f.facts.Values[x]
	if v == nil {
		return false
	}
	if _, piece := v.At.(*python.Subscript); piece && v.Kind == interp.KindOpen {
		return true
	}
	return v.Kind == interp.KindTensor && !v.Maybe && len(v.DType.Roots()) > 0 && !v.DType.Widened()
}

// undone reports whether what an operation gives is cast afterwards, in its
// function: by a cast, or by an addition in place to a tensor that keeps its
// dtype.
func (f *finder) undone(op *interp.Op) bool {
	if a, ok := op.Stmt.(*python.Assign); ok && a.Op != "" && python.Node(a.Value) == op.Node && f.inPlace(a.Targets[0]) {
		return true
	}
	var in python.Span
	if op.Scope != nil && op.Scope.Def != nil {
		in = op.Scope.Def.Pos()
	}
	for x, v := range f.facts.Values {
		if v.How == interp.HowCast && in.Start <= x.Pos().Start && (in.End == 0 || x.Pos().End <= in.End) && inHistory(v, op.Node) {
			return true
		}
	}
	return false
}
