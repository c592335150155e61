package rules

import (
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// known returns the value with a known dtype that makes v's dtype differ from
// its roots': v itself, or a part of the promotion that made it. Nil if v is
// made of roots alone.
func (f *finder) known(v *interp.Value) *interp.Value {
	if closed(v.DType) {
		return v
	}
	for _, a := range v.DType.Alternatives() {
		if !a.Widened() && !closed(a) {
			return nil // on some path it has a root's dtype
		}
	}
	return f.widest(v, map[*interp.Value]bool{}, 0)
}

// widest searches the history of a promoted value for the part that is known.
func (f *finder) widest(v *interp.Value, seen map[*interp.Value]bool, depth int) *interp.Value {
	if v == nil || seen[v] || depth > 40 {
		return nil
	}
	seen[v] = true
	if v.Kind == interp.KindTensor && closed(v.DType) && floating(v.DType) && v.Rank != dtype.RankZero {
		return v
	}
	if len(v.DType.Roots()) > 0 && !v.DType.Widened() {
		return nil // only roots
	}
	for _, from := range v.From {
		if from.Kind != interp.KindTensor {
			continue
		}
		if w := f.widest(from, seen, depth+1); w != nil {
			return w
		}
	}
	return nil
}

// origin follows a value back through everything that keeps its dtype.
func origin(v *interp.Value) *interp.Value {
	for i := 0; i < 60; i++ {
		if v.How != interp.HowKeep || len(v.From) == 0 {
			return v
		}
		v = v.From[0]
	}
	return v
}

// source is origin, and passes arithmetic with Python numbers as well, and
// functions of the file that give the dtype of their one tensor.
func source(v *interp.Value) *interp.Value {
	for i := 0; i < 60; i++ {
		v = origin(v)
		if from := passed(v); from != nil {
			v = from
			continue
		}
		var tensor *interp.Value
		tensors := 0
		for _, from := range v.From {
			if from.Kind == interp.KindTensor || from.Kind == interp.KindOpen {
				tensor = from
				tensors++
			}
		}
		if v.How != interp.HowPromote || tensors != 1 || !tensorType(tensor).Equal(v.DType) {
			return v
		}
		v = tensor
	}
	return v
}

// passed is the argument whose dtype a call of a function of this file gives,
// nil if v is no such call or more than one argument is a tensor.
func passed(v *interp.Value) *interp.Value {
	if v.How != interp.HowCall || v.Make != nil || len(v.From) < 2 {
		return nil
	}
	var tensor *interp.Value
	for _, a := range v.From[1:] { // the first is what the function returns
		if a.Kind != interp.KindTensor && a.Kind != interp.KindOpen {
			continue
		}
		if tensor != nil {
			return nil
		}
		tensor = a
	}
	if tensor == nil || !tensorType(tensor).Equal(v.DType) {
		return nil
	}
	return tensor
}

// blame finds the cause of a conflict.
func (f *finder) blame(c *conflict) {
	switch {
	case fromNumPy(c.part):
		c.cause = causeNumPy
	case forgot(source(c.part), c.op.Scope) != nil:
		c.cause, c.make = causeFactory, forgot(source(c.part), c.op.Scope)
	case c.part != c.odd.Value && c.odd.Value.DType.Promoted():
		c.cause = causePromoted
	case c.op.Kind == interp.OpIndexPut:
		c.cause = causeWrite
	}
	if c.cause == causeOther && c.op.Kind == interp.OpIndexPut {
		c.cause = causeWrite
	}
	// The container of a write may be the one that was created carelessly.
	if c.cause == causeWrite {
		if m := forgot(source(c.keep.Value), c.op.Scope); m != nil {
			c.keep, c.odd = c.odd, c.keep
			c.cause, c.make, c.part = causeFactory, m, c.odd.Value
		}
	}
}

// forgot returns the call in a scope that created a value without a dtype, nil
// if it was made otherwise: a factory, a function of this file that calls one,
// or the factory whose dtype another one was given.
func forgot(v *interp.Value, s *interp.Scope) *interp.Creation {
	m := v.Make
	if m == nil || m.Scope != s || v.How != interp.HowCreate && v.How != interp.HowJoin && !(v.How == interp.HowCall && m.Called) {
		return nil
	}
	if m.DType {
		if m = m.DTypeOf; m == nil || m.DType || m.Scope != s {
			return nil
		}
	}
	return m
}

// fromNumPy reports whether an exact float64 came out of NumPy.
func fromNumPy(v *interp.Value) bool {
	d, ok := v.DType.Exact()
	if !ok || d != dtype.Float64 {
		return false
	}
	for i := 0; i < 40 && v != nil; i++ {
		if v.How == interp.HowNumPy {
			return true
		}
		if v.How != interp.HowKeep && v.How != interp.HowPromote || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}
