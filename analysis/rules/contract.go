package rules

import (
	"slices"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// A contract is what the rest of the repository says of two operands.
type contract struct {
	relation dtype.Relation // Undecided if it does not know both
	a, b     side
	because  []analysis.Reason
}

// A side is what is said of one operand.
type side struct {
	t       dtype.Type
	because []analysis.Reason
}

// contract asks the rest of the repository about two operands of which the file
// alone does not know both.
func (f *finder) contract(a, b interp.Operand) contract {
	ta, wa, okA := f.settled(a.Value)
	tb, wb, okB := f.settled(b.Value)
	c := contract{a: side{ta, wa}, b: side{tb, wb}}
	if !okA || !okB {
		return c
	}
	for _, r := range slices.Concat(wa, wb) {
		if !slices.Contains(c.because, r) {
			c.because = append(c.because, r)
		}
	}
	if c.relation = dtype.Relate(ta, tb); c.relation == dtype.Differ && (!floating(ta) || !floating(tb)) {
		c.relation = dtype.Undecided
	}
	return c
}

// settled is the dtype of a value with what the rest of the repository says of
// its roots; ok is false if something stays open.
func (f *finder) settled(v *interp.Value) (t dtype.Type, because []analysis.Reason, ok bool) {
	because = importedFrom(v)
	repository := f.pass.Repository
	if repository == nil || closed(v.DType) {
		return v.DType, because, closed(v.DType)
	}
	t = v.DType.Substitute(func(r *dtype.Root) (dtype.Type, bool) {
		c, known := repository.Contracts[r]
		if !known || !c.Type.Known() || v.DType.Promoted() && !c.Dim {
			return dtype.Unknown, true // a 0-dim tensor would not widen
		}
		because = append(because, c.Because...)
		return c.Type, true
	})
	return t, because, closed(t)
}

// importedFrom are the reasons of a value that was imported: what the file that
// defines it says.
func importedFrom(v *interp.Value) (out []analysis.Reason) {
	for i := 0; i < 40 && v != nil; i++ {
		for _, p := range v.Outside {
			out = append(out, analysis.Reason{Path: p.Path, Line: p.Line, Text: p.Text})
		}
		if len(v.From) == 0 {
			break
		}
		v = v.From[0]
	}
	return out
}

// widened reports whether a promotion with a root widened a value or what it was
// made of.
func widened(v *interp.Value, depth int) bool {
	if v == nil || depth == 0 {
		return false
	}
	return v.DType.Widened() || slices.ContainsFunc(v.From, func(from *interp.Value) bool { return widened(from, depth-1) })
}

// covers reports whether autocast casts the operands of an operation before it:
// inside a region, or in a function that some caller reaches inside one.
func (f *finder) covers(op *interp.Op) bool {
	if op.Kind == interp.OpIndexPut || op.Autocast.State == interp.AutocastOff {
		return false
	}
	if op.Autocast.State != interp.AutocastNone {
		return true
	}
	r := f.pass.Repository
	return r != nil && r.Covered != nil && op.Scope != nil && r.Covered(op.Scope.Name)
}

// fixed is the conflict of two operands whose dtypes the rest of the
// repository fixes.
func (f *finder) fixed(op *interp.Op, a, b interp.Operand, k contract) (conflict, bool) {
	da, okA := one(k.a.t)
	db, okB := one(k.b.t)
	if !okA || !okB {
		return conflict{}, false
	}
	if f.covers(op) && (da == dtype.Float64) == (db == dtype.Float64) {
		return conflict{}, false
	}
	c := conflict{op: op, evidence: byContract, keep: a, odd: b, because: k.because}
	swap := db < da // the narrower one is the activation
	if op.Kind == interp.OpIndexPut || op.Kind == interp.OpModule {
		keep, _ := f.direction(op, a, b)
		swap = sameOperand(keep, b)
	}
	if swap {
		c.keep, c.odd = b, a
	}
	if c.part = f.known(c.odd.Value); c.part == nil {
		c.part = c.odd.Value
	}
	f.blame(&c)
	if c.kept, c.other = k.a, k.b; !sameOperand(c.keep, a) { // blame may have turned them round
		c.kept, c.other = k.b, k.a
	}
	return c, true
}

// one is the dtype of a type that is one on every path, the default as float32.
func one(t dtype.Type) (dtype.DType, bool) {
	ds, ok := t.In(nil, dtype.Float32)
	if !ok || len(ds) != 1 {
		return dtype.None, false
	}
	return ds[0], true
}

// vetoed reports whether some caller passes the very dtype to a root that the
// root is held against, and none passes another. One that passes another is a
// reason.
func (f *finder) vetoed(c *conflict) bool {
	if f.pass.Repository == nil {
		return false
	}
	same := false
	held := c.keep.Value
	if c.odd.Value.DType.Widened() {
		held = c.odd.Value // what was widened is held against what widened it
	}
	for _, r := range held.DType.Roots() {
		for _, p := range f.pass.Repository.Contracts[r].Passed {
			switch dtype.Relate(p.Type, c.part.DType) {
			case dtype.Same:
				same = true
			case dtype.Differ:
				c.because = p.Because
				return false
			}
		}
	}
	return same
}

// types are the dtypes of the two operands for messages: by contract where the
// file does not tell.
func (c *conflict) types() (keep, odd dtype.Type) {
	keep, odd = c.keep.Value.DType, c.odd.Value.DType
	if c.evidence == byContract {
		keep, odd = c.kept.t, c.other.t
	}
	return keep, odd
}
