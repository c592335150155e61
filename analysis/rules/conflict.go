package rules

import (
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
)

func (v evidence) confidence() analysis.Confidence {
	switch v {
	case byProof:
		return analysis.Certain
	case byRootOnly:
		return analysis.Possible
	}
	return analysis.Likely
}

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
	// upstream are operations that keep's value comes from, as far as they
	// are themselves operations of interest.
	upstream []python.Span
}

// conflicts finds the refusing operations of a file whose operands differ.
func conflicts(p *analysis.Pass) []conflict {
	f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
	var out []conflict
	for _, op := range p.Facts.Ops {
		switch op.Kind {
		case interp.OpRefuses, interp.OpModule, interp.OpIndexPut:
			out = append(out, f.conflict(op)...)
		}
	}
	return out
}

type finder struct {
	pass   *analysis.Pass
	facts  *interp.Facts
	scopes map[*interp.Scope]*usage
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
				case c.evidence.confidence().Rank() > found[at].evidence.confidence().Rank():
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
	if rel == dtype.Differ {
		c := conflict{op: op, evidence: byProof}
		c.keep, c.odd = f.direction(op, a, b)
		c.part = c.odd.Value
		f.blame(&c)
		return []conflict{c}
	}
	if strings.HasSuffix(op.Name, "Norm") || strings.HasSuffix(op.Name, "_norm") {
		return nil // float32 norms beside half activations are a choice
	}
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
	f.blame(&c)
	if len(out) > 0 && c.make == nil {
		return out
	}
	if s := f.localSign(&c); s != nil {
		c.evidence, c.sign = byRoot, s
	}
	return append(out, c)
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

// blame finds the cause of a conflict.
func (f *finder) blame(c *conflict) {
	o := origin(c.part)
	switch {
	case fromNumPy(c.part):
		c.cause = causeNumPy
	case o.Make != nil && !o.Make.DType && o.Make.Scope == c.op.Scope && (o.How == interp.HowCreate):
		c.cause, c.make = causeFactory, o.Make
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
		k := origin(c.keep.Value)
		if k.Make != nil && !k.Make.DType && k.Make.Scope == c.op.Scope && k.How == interp.HowCreate {
			c.keep, c.odd = c.odd, c.keep
			c.cause, c.make, c.part = causeFactory, k.Make, c.odd.Value
		}
	}
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

// localSign finds what in the function says that the root's dtype varies. What
// it takes depends on how the known dtype came about: a tensor created without
// a dtype needs its device copied from another tensor, a dtype propagated
// elsewhere in the function, or a word of half precision in it; a
// literal dtype is meant; a cast must be followed by
// arithmetic, for a cast right before the operation is meant for it. float64 is
// chosen on purpose as long as nothing proves otherwise.
func (f *finder) localSign(c *conflict) python.Node {
	o := origin(c.part)
	if d, ok := c.part.DType.Exact(); ok && d == dtype.Float64 {
		return nil
	}
	s := c.op.Scope
	if s == nil || c.op.Autocast.State == interp.AutocastOff && !outside(c.keep.Value) {
		return nil
	}
	switch {
	case c.cause == causeWrite && strings.HasSuffix(o.Op, "_like") && o.How == interp.HowCreate:
		return o.At // zeros_like(h, dtype=float32): whoever writes that knows that h may be narrower
	case o.Make != nil && o.Make.DType:
		return nil // float32 was asked for
	case o.Make != nil && copiesDevice(o.Make, c):
		return o.Make.Call
	case c.cause == causePromoted:
	case o.How == interp.HowCast || o.How == interp.HowPromote || o.How == interp.HowOther:
		if !outside(c.keep.Value) {
			return nil
		}
		return upcast(c)
	}
	if len(s.Propagates) > 0 {
		return s.Propagates[0]
	}
	if len(s.Half) > 0 {
		return s.Half[0]
	}
	if s.Class != nil {
		for _, o := range f.facts.Scopes {
			if o.Class == s.Class && len(o.Half) > 0 {
				return o.Half[0]
			}
		}
	}
	return nil
}

// copiesDevice reports whether a factory takes the device of a tensor that has
// the other dtype, or at least of something that certainly is a tensor:
// args.device says nothing.
func copiesDevice(m *interp.Creation, c *conflict) bool {
	v := m.DeviceOf
	if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return false
	}
	if v.Kind == interp.KindTensor {
		return true
	}
	for _, r := range v.Tensor().DType.Roots() {
		if slices.Contains(c.keep.Value.DType.Roots(), r) || slices.Contains(c.odd.Value.DType.Roots(), r) {
			return true
		}
	}
	return false
}

// outside reports whether a value came into an autocast(enabled=False) region
// from outside: a parameter of the function. What modules compute inside has
// the dtype of their parameters, which are float32 where autocast is used.
func outside(v *interp.Value) bool {
	for i := 0; i < 60 && v != nil; i++ {
		if v.How == interp.HowParam {
			return true
		}
		if v.How != interp.HowKeep || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// upcast finds where a value of a dtype that varies was made float32 to be
// computed with, and then meets a value whose dtype varies too: whoever casts
// up knows that the value may be narrower. A module's parameters are no such
// value, since images are cast to float32 as well.
func upcast(c *conflict) python.Node {
	if c.op.Kind == interp.OpModule || c.part != c.odd.Value {
		return nil
	}
	if r, ok := c.keep.Value.DType.Root(); ok && strings.HasPrefix(r.Name, "self.") {
		return nil
	}
	computed := false
	v := c.part
	for i := 0; i < 60 && v != nil && len(v.From) > 0; i++ {
		switch v.How {
		case interp.HowCast:
			// softmax(x, dtype=float32) computes and casts at once.
			computed = computed || !strings.HasPrefix(v.Op, ".")
			if d, ok := v.DType.Exact(); ok && d == dtype.Float32 && computed && len(v.From[0].DType.Roots()) > 0 {
				return v.At
			}
			return nil
		case interp.HowPromote:
			computed = true
		}
		v = v.From[0]
	}
	return nil
}

// sibling finds an operand that is left out where the others of the call are
// cast to one dtype.
func (f *finder) sibling(op *interp.Op) (conflict, bool) {
	var cast []interp.Operand
	for _, o := range op.Operands {
		if v := origin(o.Value); v.How == interp.HowCast && v.At != nil && floating(o.Value.DType) {
			cast = append(cast, o)
		}
	}
	if len(cast) == 0 {
		return conflict{}, false
	}
	to := cast[0].Value.DType
	for _, o := range cast[1:] {
		if !o.Value.DType.Equal(to) {
			return conflict{}, false
		}
	}
	var odd []interp.Operand
	agree, target := 0, false
	if _, exact := to.Exact(); exact {
		target = true
	}
	for _, o := range op.Operands {
		switch {
		case o.Value.DType.Equal(to):
			agree++
			// The dtype that the others are cast to is that of an operand.
			target = target || origin(o.Value).How != interp.HowCast
		case floating(o.Value.DType) && dtype.Relate(o.Value.DType, to) == dtype.Apart:
			odd = append(odd, o)
		default:
			return conflict{}, false
		}
	}
	if len(odd) == 1 {
		if how := origin(odd[0].Value).How; how != interp.HowParam && how != interp.HowAttr {
			return conflict{}, false // what a module or a function gave may well follow the others
		}
	}
	if len(odd) == 1 && odd[0].Name == "bias" && slices.ContainsFunc(op.Operands, func(o interp.Operand) bool {
		return o.Name == "weight" && origin(o.Value).How == interp.HowParam
	}) {
		return conflict{}, false // weight and bias of one layer, handed in together
	}
	if len(odd) != 1 || agree < 2 || !target {
		return conflict{}, false
	}
	if of, ok := odd[0].Value.DType.Root(); ok && strings.HasPrefix(of.Name, "self.") {
		if r, ok := to.Root(); ok && strings.HasPrefix(r.Name, "self.") {
			return conflict{}, false // parameters of one module follow each other
		}
	}
	c := conflict{op: op, keep: cast[0], odd: odd[0], part: odd[0].Value, evidence: bySibling}
	if op.Kind == interp.OpIndexPut {
		c.cause = causeWrite
	}
	return c, true
}

// leftOut finds an operand that a branch forgot: on some path the others are
// cast to one exact dtype, and this one never is.
func (f *finder) leftOut(op *interp.Op) (conflict, bool) {
	var to dtype.DType
	var cast, odd []interp.Operand
	for _, o := range op.Operands {
		d := dtype.None
		for _, a := range o.Value.DType.Alternatives() {
			if x, ok := a.Exact(); ok && castTo(o.Value, x) {
				d = x
			}
		}
		switch {
		case !floating(o.Value.DType), o.Soft:
			return conflict{}, false
		case d == dtype.None:
			odd = append(odd, o)
		case to != dtype.None && d != to:
			return conflict{}, false
		default:
			to = d
			cast = append(cast, o)
		}
	}
	if len(cast) < 2 || len(odd) != 1 {
		return conflict{}, false
	}
	for _, a := range odd[0].Value.DType.Alternatives() {
		if x, ok := a.Exact(); ok && x == to || len(a.Roots()) == 0 {
			return conflict{}, false
		}
	}
	return conflict{op: op, keep: cast[0], odd: odd[0], part: odd[0].Value, evidence: bySibling}, true
}

// castTo reports whether an explicit cast gave one of a value's alternatives.
func castTo(v *interp.Value, d dtype.DType) bool {
	v = origin(v)
	if x, ok := v.DType.Exact(); ok {
		return x == d && v.How == interp.HowCast
	}
	if v.How != interp.HowJoin {
		return false
	}
	for _, from := range v.From {
		if from.Kind == interp.KindTensor && castTo(from, d) {
			return true
		}
	}
	return false
}

// matmulLike are the operations whose operand may be a matrix.
func matmulLike(name string) bool {
	switch name {
	case "torch.matmul", "torch.bmm", "torch.mm", "torch.einsum":
		return true
	}
	return false
}

// geometry recognises points that meet a matrix: the matrix is used as nothing
// else, and the points or what comes out are homogeneous.
func (f *finder) geometry(op *interp.Op, a, b interp.Operand) (conflict, bool) {
	if op.Kind != interp.OpRefuses || !matmulLike(op.Name) || len(op.Operands) != 2 || op.Autocast.State == interp.AutocastOn {
		return conflict{}, false
	}
	if len(f.pass.Signs.Half) == 0 && !halfInScope(op.Scope) {
		return conflict{}, false
	}
	for _, pair := range [][2]interp.Operand{{a, b}, {b, a}} {
		points, matrix := pair[0], pair[1]
		r, ok := matrix.Value.DType.Root()
		if !ok || !f.matrixOnly(op.Scope, r) {
			continue
		}
		if slices.Contains(points.Value.DType.Roots(), r) || len(points.Value.DType.Roots()) == 0 {
			continue
		}
		if !homogeneous(points.Value) && !f.divided(op) {
			continue
		}
		return conflict{op: op, keep: points, odd: matrix, part: matrix.Value, evidence: byGeometry, upstream: f.upstream(points.Value)}, true
	}
	return conflict{}, false
}

func halfInScope(s *interp.Scope) bool { return s != nil && len(s.Half) > 0 }

// homogeneous reports whether ones were appended to the value.
func homogeneous(v *interp.Value) bool {
	o := origin(v)
	if o.Op != "torch.cat" && o.Op != "torch.concat" && o.Op != "torch.concatenate" {
		return false
	}
	for _, from := range o.From {
		m := origin(from)
		if m.Op == "torch.ones" || m.Op == "torch.ones_like" || m.Op == ".new_ones()" {
			return true
		}
	}
	return false
}

// divided reports whether the result of an operation is divided by a part of
// itself: the perspective division.
func (f *finder) divided(op *interp.Op) bool {
	for _, d := range f.facts.Ops {
		if d.Name != "torch.div" || d.Scope != op.Scope || len(d.Operands) != 2 {
			continue
		}
		if comesFrom(d.Operands[0].Value, op.Node) && comesFrom(d.Operands[1].Value, op.Node) && part(d.Operands[0].Value) != nil && lastComponent(part(d.Operands[1].Value)) {
			return true
		}
	}
	return false
}

// comesFrom reports whether a value is the result of an operation, seen
// through whatever keeps the dtype.
func comesFrom(v *interp.Value, at python.Node) bool {
	for i := 0; i < 40 && v != nil; i++ {
		if v.At == at {
			return true
		}
		if v.How != interp.HowKeep && v.How != interp.HowPromote || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// part returns the subscript that was taken on the way, nil if none was.
func part(v *interp.Value) *python.Subscript {
	for i := 0; i < 40 && v != nil; i++ {
		if s, ok := v.At.(*python.Subscript); ok && v.Op == "[]" {
			return s
		}
		if v.How != interp.HowKeep && v.How != interp.HowPromote || len(v.From) == 0 {
			return nil
		}
		v = v.From[0]
	}
	return nil
}

// lastComponent reports whether a subscript takes the last of three or four
// components: [..., 2], [..., 2:3], [..., -1:], [..., 3:].
func lastComponent(s *python.Subscript) bool {
	if s == nil || len(s.Index) < 2 {
		return false
	}
	x := s.Index[len(s.Index)-1]
	switch i := x.(type) {
	case *python.Slice:
		if i.Hi != nil && !next(i.Lo, i.Hi) {
			return false // several components
		}
		x = i.Lo
	case *python.Seq:
		if len(i.Xs) != 1 {
			return false
		}
		x = i.Xs[0]
	}
	if u, ok := x.(*python.Unary); ok && u.Op == "-" {
		l, ok := u.X.(*python.Lit)
		return ok && l.Text == "1"
	}
	l, ok := x.(*python.Lit)
	return ok && (l.Text == "2" || l.Text == "3")
}

// next reports whether hi is the literal that follows lo: 2:3.
func next(lo, hi python.Expr) bool {
	l, okL := lo.(*python.Lit)
	h, okH := hi.(*python.Lit)
	return okL && okH && (l.Text == "2" && h.Text == "3" || l.Text == "3" && h.Text == "4")
}

// upstream lists the matmul-like operations that a value comes from.
func (f *finder) upstream(v *interp.Value) []python.Span {
	var out []python.Span
	for i := 0; i < 40 && v != nil; i++ {
		for _, op := range f.facts.Ops {
			if op.Node == v.At && op.Kind == interp.OpRefuses {
				out = append(out, op.Node.Pos())
			}
		}
		if len(v.From) == 0 {
			break
		}
		v = v.From[0]
	}
	return out
}

// usage counts how the names of one scope are used.
type usage struct {
	matrix map[string]bool // used as an operand of a matmul only
}

// matrixOnly reports whether a root is a parameter (or an item of one) that
// its function uses as a matrix and as nothing else: transposed, sliced,
// inverted, given its shape, multiplied by @.
func (f *finder) matrixOnly(s *interp.Scope, r *dtype.Root) bool {
	if s == nil || s.Def == nil || r.Class == dtype.Integer {
		return false
	}
	u := f.scopes[s]
	if u == nil {
		u = &usage{matrix: map[string]bool{}}
		f.scopes[s] = u
	}
	if m, ok := u.matrix[r.Name]; ok {
		return m
	}
	isParam := false
	for _, p := range s.Def.Params {
		if p.Name == r.Name {
			isParam = true
		}
	}
	m := isParam && usedAsMatrix(s.Def.Body, r.Name)
	u.matrix[r.Name] = m
	return m
}

// shapeOnly are methods and attributes that a matrix may have taken of it.
var shapeOnly = map[string]bool{
	"transpose": true, "T": true, "mT": true, "t": true, "permute": true, "inverse": true, "unsqueeze": true, "squeeze": true, "expand": true, "view": true, "reshape": true, "shape": true,
	"size": true, "dim": true, "ndim": true, "device": true, "dtype": true, "to": true, "contiguous": true, "repeat": true, "clone": true, "detach": true,
}

// usedAsMatrix reports whether every use of a name is one that a matrix has,
// and one of them is a product.
func usedAsMatrix(body []python.Stmt, name string) bool {
	products := 0
	product := func(x python.Expr) bool { // x is an operand: does it lead to the name?
		for {
			switch e := x.(type) {
			case *python.Name:
				return e.ID == name
			case *python.Attribute:
				if !shapeOnly[e.Sel] {
					return false
				}
				x = e.X
			case *python.Call:
				x = e.Func
			case *python.Subscript:
				x = e.X
			default:
				return false
			}
		}
	}
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Binary:
				if n.Op == "@" {
					for _, x := range []python.Expr{n.X, n.Y} {
						if product(x) {
							products++
						}
					}
				}
			case *python.Call:
				at, ok := n.Func.(*python.Attribute)
				if !ok {
					break
				}
				switch at.Sel {
				case "matmul", "bmm", "mm", "einsum", "inverse", "inv":
					for _, a := range n.Args {
						if product(a.Value) {
							products++
						}
					}
				}
			case *python.Compare:
				return false // x is None
			}
			return true
		})
	}
	uses := 0
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Compare:
				return false
			case *python.Attribute:
				if x, ok := n.X.(*python.Name); ok && x.ID == name {
					switch n.Sel {
					case "shape", "device", "dtype", "size", "dim", "ndim":
						return false
					}
				}
			case *python.Name:
				if n.ID == name {
					uses++
				}
			}
			return true
		})
	}
	return products > 0 && uses == products
}
