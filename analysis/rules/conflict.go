package rules

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// Evidence says why two dtypes are believed to differ; the confidence follows
// from it.
type evidence uint8

const (
	byProof    evidence = iota // both dtypes are known on every path
	byRoot                     // a root against a known dtype, with a local sign
	byRootOnly                 // the same without a local sign
	bySibling                  // the other operands of the call are cast, this one is not
	byGeometry                 // a matrix of its own dtype meets homogeneous points
	byContract                 // other places of the repository fix both dtypes
)

// cause says which mistake makes the dtypes differ; each belongs to one rule.
type cause uint8

const (
	causeOther    cause = iota // two values of different dtypes meet
	causeFactory               // a tensor was created without a dtype
	causePromoted              // a promotion made one of them wider
	causeNumPy                 // NumPy's float64 came in
	causeWrite                 // an indexed write of a value of another dtype
)

// A conflict is one operation that refuses the dtypes of two operands.
type conflict struct {
	op       *interp.Op
	keep     interp.Operand // the operand whose dtype the fix keeps
	odd      interp.Operand // the operand that has the other dtype
	evidence evidence
	cause    cause
	// part is the value inside odd (or odd itself) that has the known dtype.
	part *interp.Value
	// make is the factory call that made part, nil if none did in this scope.
	make *interp.Creation
	// sign is the place of the local sign, nil if none is needed.
	sign python.Node
	// promotes says that the operation takes both and gives the wider one.
	promotes bool
	// move is the value that was moved to another's device and not cast, nil
	// if none was.
	move *interp.Value
	// casts is the assignment that casts the operand's siblings at once,
	// q, k = q.float(), k.float(); nil if they are cast one by one.
	casts *python.Assign
	// upstream are operations that keep's value comes from, as far as they
	// are themselves operations of interest.
	upstream []python.Span
	// because is what other places of the repository say, kept and other what
	// they say of the two operands; these only with byContract.
	because     []analysis.Reason
	kept, other side
}

// confidence follows from the evidence. What only some versions or devices
// refuse is not certain.
func (c *conflict) confidence() analysis.Confidence {
	switch {
	case c.evidence == byProof && c.only() == "":
		return analysis.Certain
	case c.evidence == byRootOnly:
		return analysis.Possible
	}
	return analysis.Likely
}

// only says where PyTorch refuses the pair if not everywhere: "2.15", "on CUDA".
func (c *conflict) only() string { return cmp.Or(c.keep.Only, c.odd.Only) }

// conflicts finds the refusing operations of a file whose operands differ.
func conflicts(p *analysis.Pass) []conflict {
	f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
	var out []conflict
	for _, op := range p.Facts.Ops {
		switch {
		case op.Within != nil:
			out = append(out, f.handedIn(op)...)
		case op.Kind == interp.OpPromotes:
			out = append(out, f.forgotten(op)...)
		case wantsOne(op):
			out = append(out, f.conflict(op)...)
		}
	}
	out = append(out, f.alike()...)
	if !f.otherPrecision() {
		for i := range out {
			if out[i].evidence == byRoot {
				out[i].evidence = byRootOnly
			}
		}
	}
	return out
}

// otherPrecision reports whether the repository may use another precision than
// the default one: it shows a sign of it, the file has a word of it, or not all
// files were seen. Then what the function shows counts as the repository's.
func (f *finder) otherPrecision() bool {
	r := f.pass.Repository
	return r == nil || !r.Seen || len(f.pass.Signs.Half)+len(f.pass.Signs.Double) > 0 ||
		slices.ContainsFunc(f.facts.Scopes, func(s *interp.Scope) bool { return len(s.Half) > 0 })
}

// wantsOne reports whether an operation wants equal dtypes.
func wantsOne(op *interp.Op) bool {
	return op.Kind == interp.OpRefuses || op.Kind == interp.OpModule || op.Kind == interp.OpIndexPut
}

// handedIn returns the conflicts of a call whose callee hands its parameters to
// an operation that wants equal dtypes. What is wrong there already, or rests
// on how the callee uses them, is said there.
func (f *finder) handedIn(op *interp.Op) []conflict {
	if slices.ContainsFunc(f.conflict(op.Within), func(c conflict) bool { return c.evidence != byRootOnly }) {
		return nil
	}
	return slices.DeleteFunc(f.conflict(op), func(c conflict) bool { return c.evidence != byProof && c.evidence != byRoot })
}

type finder struct {
	pass   *analysis.Pass
	facts  *interp.Facts
	scopes map[*interp.Scope]*usage
	casts  map[*interp.Scope][]castOperand // see castOperands
	strict map[python.Node]*interp.Op      // see met
}

// floating reports whether a type is floating on all alternatives, as far as
// is known.
func floating(t dtype.Type) bool {
	low, high := t.Categories()
	return t.Known() && low == dtype.CatFloat && high == dtype.CatFloat
}

// closed reports whether a type is known without any root.
func closed(t dtype.Type) bool { return t.Known() && len(t.Roots()) == 0 }

// conflict returns what is wrong with one operation: usually nothing, at most
// one mistake of each cause.
func (f *finder) conflict(op *interp.Op) []conflict {
	covered := op.Kind != interp.OpIndexPut && (op.Autocast.State == interp.AutocastOn || op.Autocast.State == interp.AutocastMaybe)
	var found []conflict
	for i, a := range op.Operands {
		for _, b := range op.Operands[i+1:] {
			if a.Soft || b.Soft {
				continue
			}
			for _, c := range f.pair(op, a, b, covered) {
				at := slices.IndexFunc(found, func(o conflict) bool { return o.cause == c.cause && o.make == c.make })
				switch {
				case at < 0:
					found = append(found, c)
				case c.confidence().Rank() > found[at].confidence().Rank():
					found[at] = c
				}
			}
		}
	}
	if len(op.Operands) > 2 && !covered {
		if s, ok := f.leftOut(op); ok {
			return []conflict{s}
		}
	}
	strong := slices.ContainsFunc(found, func(c conflict) bool { return c.evidence != byRootOnly })
	if !strong {
		if made := f.forgotten(op); len(made) > 0 {
			return made
		}
		if m, ok := f.moved(op); ok && !covered {
			return []conflict{m}
		}
	}
	if !strong && len(op.Operands) > 2 && !covered {
		if s, ok := f.sibling(op); ok {
			return []conflict{s}
		}
	}
	return found
}

// pair compares two operands of an operation.
func (f *finder) pair(op *interp.Op, a, b interp.Operand, covered bool) []conflict {
	ta, tb := a.Value.DType, b.Value.DType
	if !floating(ta) || !floating(tb) {
		return nil
	}
	rel := dtype.Relate(ta, tb)
	if rel != dtype.Apart && rel != dtype.Differ {
		return nil
	}
	if covered { // autocast casts everything but float64 before such an operation
		da, okA := ta.Exact()
		db, okB := tb.Exact()
		if rel != dtype.Differ || !okA || !okB || (da == dtype.Float64) == (db == dtype.Float64) {
			return nil
		}
	}
	k := f.contract(a, b)
	if rel == dtype.Differ {
		c := conflict{op: op, evidence: byProof}
		c.keep, c.odd = f.direction(op, a, b)
		c.part = c.odd.Value
		f.blame(&c)
		if len(k.because) > 0 { // the proof is another file's
			c.evidence, c.because = byContract, k.because
			c.kept, c.other = side{t: c.keep.Value.DType}, side{t: c.odd.Value.DType}
		}
		return []conflict{c}
	}
	if strings.HasSuffix(op.Name, "Norm") || strings.HasSuffix(op.Name, "_norm") {
		return nil // float32 norms beside half activations are a choice
	}
	if k.relation == dtype.Same && !widened(a.Value, 12) && !widened(b.Value, 12) {
		return nil // whatever they are, they agree; and not since one was widened
	}
	out := f.alone(op, a, b)
	if k.relation != dtype.Differ {
		return out
	}
	likely := false
	for i := range out {
		if out[i].evidence != byRootOnly {
			likely, out[i].because = true, k.because
		}
	}
	if c, ok := f.fixed(op, a, b, k); ok && !likely {
		return []conflict{c}
	}
	return out
}

// alone compares two operands by what the file itself shows.
func (f *finder) alone(op *interp.Op, a, b interp.Operand) []conflict {
	var out []conflict
	if g, ok := f.geometry(op, a, b); ok {
		out = append(out, g)
	}
	pa, pb := f.known(a.Value), f.known(b.Value)
	if (pa == nil) == (pb == nil) {
		// Two roots, or promote(x, float32) against promote(y, float32):
		// nothing holds one against the other.
		return out
	}
	c := conflict{op: op, keep: a, odd: b, part: pb, evidence: byRootOnly}
	if pa != nil {
		c.keep, c.odd, c.part = b, a, pa
	}
	if !plausible(c.keep.Value.DType, c.odd.Value.DType) || len(c.part.DType.Alternatives()) > 1 {
		// float32 or bfloat16 by a condition: the condition may well follow the root.
		return out
	}
	if withoutHalf(op.Name) || f.met(c.keep.Value, c.part.DType) || c.odd.Value.DType.Widened() && f.neverHalf(op.Scope, c.keep.Value.DType) {
		return out
	}
	f.blame(&c)
	if len(out) > 0 && c.make == nil {
		return out
	}
	if s := f.localSign(&c); s != nil && !f.vetoed(&c) {
		c.evidence, c.sign = byRoot, s
	}
	return append(out, c)
}

// withoutHalf reports an operation that takes neither half dtype on any device:
// with the root in half precision it stops whatever the other operand is.
func withoutHalf(op string) bool {
	name, ok := strings.CutPrefix(op, "torch.linalg.")
	_, known := linearAlgebra[strings.TrimSuffix(name, "_ex")]
	return ok && known
}

// neverHalf reports whether a type's roots cannot be half: the function, or one
// around it, hands them to an operation that takes no half precision. With them in
// float64 what float32 has widened is float64, too.
func (f *finder) neverHalf(s *interp.Scope, t dtype.Type) bool {
	return slices.ContainsFunc(f.facts.Ops, func(op *interp.Op) bool {
		return withoutHalf(op.Name) && outermost(op.Scope) == outermost(s) && slices.ContainsFunc(op.Operands, func(o interp.Operand) bool {
			return slices.ContainsFunc(o.Value.DType.Roots(), func(r *dtype.Root) bool { return slices.Contains(t.Roots(), r) })
		})
	})
}

// outermost is the function around all functions around a scope.
func outermost(s *interp.Scope) *interp.Scope {
	for s != nil && s.Parent != nil && s.Parent.Def != nil {
		s = s.Parent
	}
	return s
}

// met reports whether a value came out of an operation that wants one dtype and
// got another operand of the given one: it has that dtype too, or the operation
// raised, which is said there.
func (f *finder) met(v *interp.Value, t dtype.Type) bool {
	if f.strict == nil {
		f.strict = map[python.Node]*interp.Op{}
		for _, op := range f.facts.Ops {
			if wantsOne(op) && op.Kind != interp.OpIndexPut && op.Within == nil {
				f.strict[op.Node] = op
			}
		}
	}
	op := f.strict[origin(v).At]
	return op != nil && slices.ContainsFunc(op.Operands, func(o interp.Operand) bool { return !o.Soft && o.Value.DType.Equal(t) })
}

// plausible rejects pairs that differ only if the root is narrower than what
// nobody would call a mistake: promote(x, default) against the default.
func plausible(root, other dtype.Type) bool {
	if len(root.Roots()) == 0 {
		return false
	}
	return !root.Widened() || !closed(other)
}

// direction decides which of two known operands a fix keeps: the container of
// a write, the parameters of a module, else the narrower one, else the first.
func (f *finder) direction(op *interp.Op, a, b interp.Operand) (keep, odd interp.Operand) {
	switch {
	case op.Kind == interp.OpIndexPut, op.Kind == interp.OpModule:
		if a.Name == "self" || a.Name == "weight" || a.Name == "input" && op.Kind == interp.OpIndexPut {
			return a, b
		}
		return b, a
	}
	da, okA := a.Value.DType.Exact()
	db, okB := b.Value.DType.Exact()
	switch {
	case okA && okB && db < da:
		return b, a
	case okA && da == dtype.Float64 && !okB:
		return b, a
	case !okA && okB && db.Half():
		return b, a
	}
	return a, b
}
