package interp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// This file applies a measured op to operands whose dtypes are known without
// any root. Each combination of the operands' alternatives is a world, in which
// the op gives certain dtypes or is refused.

// A part is one operand in one world.
type part struct {
	fact   *torch.Operand
	t      dtype.Type // one alternative
	d      dtype.DType
	rank   dtype.Rank
	number bool
	soft   bool
	vector bool // has one dimension
}

// maxWorlds bounds the combinations of one operation.
const maxWorlds = 64

// settle gives what an op makes of its operands, and what it has against them.
// ok is false if something is not known or not measured; results is then nil.
// dim says that a dim is given, one that only the first result is given out.
func (e *evaluator) settle(op *torch.Op, takes []taken, given dtype.Type, dim, one bool) (results []dtype.Type, r refusal, ok bool) {
	worlds := [][]part{nil}
	several := len(takes) > 1
	for i := range takes {
		v := takes[i].value
		t := v.DType
		if !closed(t) {
			return nil, refusal{}, false
		}
		ranks := []dtype.Rank{v.Rank}
		if v.Rank == dtype.RankUnknown && several {
			ranks = []dtype.Rank{dtype.RankDim, dtype.RankZero}
		}
		var next [][]part
		twin := slices.IndexFunc(takes[:i], func(o taken) bool { return o.value == takes[i].value })
		for _, w := range worlds {
			if twin >= 0 && v.Kind == KindTensor { // x @ x: the same alternative on both sides
				p := w[twin]
				p.fact, p.soft = takes[i].fact, takes[i].soft
				next = append(next, append(append([]part(nil), w...), p))
				continue
			}
			for _, a := range t.Alternatives() {
				ds, _ := a.In(nil, dtype.Float32)
				for _, rank := range ranks {
					p := part{fact: takes[i].fact, t: a, d: ds[0], rank: rank, number: v.Kind == KindNumber, soft: takes[i].soft, vector: v.Rank == dtype.RankDim && v.ndim == 2}
					next = append(next, append(append([]part(nil), w...), p))
				}
			}
		}
		if worlds = next; len(worlds) > maxWorlds {
			return nil, refusal{}, false
		}
	}
	refused, certain, width := 0, 0, -1
	survivors := make([]dtype.Type, len(takes))
	for _, w := range worlds {
		outs, no, known := e.releases(op, w, given, dim, one)
		if !known {
			return nil, refusal{}, false
		}
		if no.text != "" {
			r = no
			refused++
			if no.certain {
				certain++
				continue
			}
		}
		for i, p := range w {
			survivors[i] = dtype.Join(survivors[i], p.t)
		}
		if width < 0 {
			width = len(outs)
			results = make([]dtype.Type, width)
		}
		if len(outs) != width {
			return nil, refusal{}, false
		}
		for i := range outs {
			results[i] = dtype.Join(results[i], outs[i])
		}
	}
	r.certain = refused > 0 && certain == len(worlds)
	e.survivors = nil
	if certain > 0 && !r.certain && (e.stop || e.inlining != nil) {
		e.survivors = survivors
	}
	return results, r, true
}

// narrowSurvivors narrows the operands of an operation that is refused on some
// paths to what they are on the others: behind it only those go on.
func (e *evaluator) narrowSurvivors(operands ...python.Expr) {
	types := e.survivors
	e.survivors = nil
	if len(types) != len(operands) {
		return
	}
	for i, x := range operands {
		path, ok := dotted(x)
		if !ok || types[i].Empty() {
			continue
		}
		if v, ok := e.frame.vars.get(path); ok && v.Kind == KindTensor && closed(v.DType) && !v.DType.Equal(types[i]) {
			n := v.derived(x, HowKeep, "accepted", v)
			n.DType = types[i]
			e.frame.vars.set(path, n)
		}
	}
}

// releases applies an op in one world as each measured release does, where they
// differ. It is refused for certain if all of them refuse, in the words of the
// newest; what comes out is the join of what those give that do not.
func (e *evaluator) releases(op *torch.Op, parts []part, given dtype.Type, dim, one bool) (results []dtype.Type, r refusal, ok bool) {
	if op.Releases == nil {
		return e.world(op, parts, given, dim, one)
	}
	refused, width := 0, -1
	for _, release := range op.Releases {
		own := slices.Clone(parts)
		for i := range own {
			if f := release.Operand(own[i].fact.Name); f != nil {
				own[i].fact = f
			}
		}
		outs, no, known := e.world(release, own, given, dim, one)
		if !known {
			return nil, refusal{}, false
		}
		if r.text == "" && no.text != "" {
			if r = no; no.certain {
				r.text += " in PyTorch " + release.Version
			}
		}
		if no.certain {
			refused++
			continue
		}
		if width >= 0 && width != len(outs) {
			return nil, refusal{}, false
		}
		if width < 0 {
			width, results = len(outs), make([]dtype.Type, len(outs))
		}
		for i := range outs {
			results[i] = dtype.Join(results[i], outs[i])
		}
	}
	r.certain = refused == len(op.Releases)
	return results, r, true
}

// world applies an op in one world.
func (e *evaluator) world(op *torch.Op, parts []part, given dtype.Type, dim, one bool) ([]dtype.Type, refusal, bool) {
	parts, no, ok := e.autocastParts(op, parts, !given.Empty())
	if !ok || no.text != "" {
		return nil, no, ok
	}
	base := baseName(op.Name)
	tensors, dims := 0, false
	alike := true
	first := -1
	for i := range parts {
		p := &parts[i]
		if p.number {
			continue
		}
		tensors++
		dims = dims || p.rank == dtype.RankDim
		if first < 0 {
			first = i
		}
		alike = alike && p.d == parts[first].d
	}
	if first < 0 {
		return nil, refusal{}, false
	}
	var promote []dtype.Operand
	var strict []part
	var paired dtype.Type // what a pair of dtypes gives
	follows := -1
	written := alone(parts, dims)
	for i := range parts {
		p := &parts[i]
		c := p.fact.Class
		switch {
		case i == written:
			c = torch.Follows
		case c == torch.Unmeasured && integerOnly(op):
			c = torch.Promote
		case c == torch.Unmeasured && p.fact.ZeroDim == torch.Ignored:
			c = torch.Ignored
		case op.IntsAreDefault && i > 0 && p.d.Category() <= dtype.CatInt:
			p.t = e.deflt
		}
		o := dtype.Operand{Type: p.t, Rank: p.rank}
		if p.fact.ZeroDim == torch.Promote && !p.number {
			o.Rank = dtype.RankDim
		}
		switch {
		case p.number:
			o.Rank = dtype.RankScalar
			if c == torch.Promote || c == torch.Const {
				promote = append(promote, o)
			}
		case c == torch.Raise:
			if p.rank == dtype.RankZero && dims && (p.fact.ZeroDim == torch.Ignored || p.fact.ZeroDim == torch.Promote) {
				continue
			}
			strict = append(strict, *p)
		case c == torch.Promote, c == torch.Const:
			promote = append(promote, o)
		case c == torch.Follows:
			if follows < 0 {
				follows = i
			}
		case c == torch.Ignored:
		case p.fact.Pairs != nil && tensors > 1:
			d, ok := decided(parts, i)
			switch {
			case !ok:
				return nil, refusal{}, false
			case d == dtype.None:
				return nil, refusal{text: fmt.Sprintf("%s refuses %s as %s", base, p.t, p.fact.Name), certain: true}, true
			}
			paired = dtype.Exact(d)
		default:
			if tensors > 1 && !alike && !p.soft && !(writesFirst(op) && first == 0) {
				return nil, refusal{}, false
			}
		}
	}
	for _, p := range strict {
		if p.d != strict[0].d {
			return nil, refusal{text: fmt.Sprintf("%s refuses %s with %s", base, strict[0].t, p.t), certain: true}, true
		}
	}
	soft := refusal{}
	for _, p := range parts {
		if p.soft && (base != "linear" || !parts[0].vector) && p.d != parts[first].d {
			soft = refusal{text: fmt.Sprintf("%s refuses %s with %s for some shapes", base, parts[first].t, p.t)}
		}
	}
	var t dtype.Type // the common dtype
	switch {
	case !paired.Empty():
		t = paired
	case follows >= 0:
		t = parts[follows].t
	case len(promote) > 0:
		for _, p := range strict {
			promote = append(promote, dtype.Operand{Type: p.t, Rank: p.rank})
		}
		t = dtype.ResultOf(promote...)
	case len(strict) > 0:
		t = strict[0].t
	default:
		t = parts[first].t
	}
	self := parts[first]
	inplace := writesFirst(op) && first == 0
	if inplace && op.KeepsCategory {
		all := make([]dtype.Operand, 0, len(parts))
		for _, p := range parts {
			o := dtype.Operand{Type: p.t, Rank: p.rank}
			if p.number {
				o.Rank = dtype.RankScalar
			}
			if p.fact.Class != torch.Raise {
				all = append(all, o)
			}
		}
		if len(all) > 0 {
			t = dtype.ResultOf(all...)
		}
		if ds, ok := t.In(nil, dtype.Float32); ok && len(ds) == 1 && ds[0].Category() > self.d.Category() {
			return nil, refusal{text: fmt.Sprintf("%s gives %s, which cannot be written to %s", base, t, self.t), certain: true}, true
		}
	}
	if !given.Empty() {
		t = given
	}
	if op.RefusesBool {
		for _, p := range parts {
			if p.d == dtype.Bool {
				return nil, refusal{text: base + " refuses bool", certain: true}, true
			}
		}
	}
	ds, ok := t.In(func(*dtype.Root) dtype.DType { return dtype.None }, dtype.Float32)
	if !ok || len(ds) != 1 {
		return nil, refusal{}, false
	}
	d := ds[0]
	cells := op.Same
	if dim && op.WithDim != nil {
		cells = op.WithDim
	}
	outs, measured := cells[d]
	if !measured && d.Category() <= dtype.CatInt && !contains(op.NotCPU, d) && strings.Contains(base, "dropout") { // dropped tells
		outs, measured = []dtype.DType{d}, true
		if base == "native_dropout" {
			outs = append(outs, dtype.Bool)
		}
	}
	no = soft
	if !measured {
		switch {
		case contains(op.NotCPU, d) && d.Half():
			no = refusal{text: fmt.Sprintf("%s has no kernel for %s on the CPU in %s", base, d, op.Version)}
			if outs, _ = op.Results(d); outs == nil {
				outs = []dtype.DType{d}
			}
		case d.Half() && len(cells[dtype.Float32]) > 0 && len(cells[dtype.Float64]) > 0:
			no = refusal{text: fmt.Sprintf("%s has no kernel for %s on the CPU in %s", base, d, op.Version)}
			if outs, _ = op.Results(d); outs == nil || dim && op.WithDim != nil {
				outs = make([]dtype.DType, len(cells[dtype.Float32]))
				for i, o := range cells[dtype.Float32] {
					if outs[i] = o; o == dtype.Float32 {
						outs[i] = d
					}
				}
			}
		case contains(op.NotCPU, d) || d.Category() <= dtype.CatInt && len(cells[dtype.Float32]) > 0:
			return nil, refusal{text: fmt.Sprintf("%s refuses %s", base, d), certain: true}, true
		default:
			return nil, refusal{}, false
		}
	}
	if one && len(outs) > 1 {
		outs = outs[:1]
	}
	results := make([]dtype.Type, len(outs))
	for i, o := range outs {
		switch {
		case o == dtype.None:
			results[i] = dtype.Type{}
		case inplace && i == 0:
			results[i] = self.t
		case !given.Empty() && i == 0 && op.TakesDType:
			results[i] = given
		case o == d:
			results[i] = t
		case d.Category() <= dtype.CatInt && o == dtype.Float32:
			results[i] = e.deflt
		default:
			results[i] = dtype.Exact(o)
		}
	}
	return results, no, true
}

// autocastParts casts the operands as the region's policy for the op says.
func (e *evaluator) autocastParts(op *torch.Op, parts []part, given bool) ([]part, refusal, bool) {
	r := e.region()
	if r.State != AutocastOn && r.State != AutocastMaybe {
		return parts, refusal{}, true
	}
	policy := op.CUDA
	if r.Device == "cpu" {
		policy = op.CPU
	}
	var to dtype.Type
	switch policy {
	case torch.Passthrough:
		return parts, refusal{}, true
	case torch.LowerPrecision:
		to = r.DType
	case torch.FP32:
		to = dtype.Exact(dtype.Float32)
	case torch.FP32SetOpt:
		if given {
			return parts, refusal{}, true
		}
		to = dtype.Exact(dtype.Float32)
	case torch.PromoteWidest:
		for _, p := range parts {
			if eligible(p) {
				to = dtype.Combine(to, p.t)
			}
		}
	case torch.Banned:
		if r.State == AutocastOn {
			return nil, refusal{text: baseName(op.Name) + " is not allowed under autocast", certain: true}, true
		}
		return nil, refusal{}, false
	}
	if r.State == AutocastMaybe {
		return nil, refusal{}, false
	}
	ds, ok := to.In(nil, dtype.Float32)
	if !ok || len(ds) != 1 {
		return parts, refusal{}, ok || to.Empty()
	}
	cast := append([]part(nil), parts...)
	for i, p := range cast {
		if eligible(p) && p.d != ds[0] {
			cast[i].t, cast[i].d = to, ds[0]
		}
	}
	return cast, refusal{}, true
}

// decided is the dtype that the pair of operand i's dtype and the one of all
// others gives, None if they are refused; ok is false if the others differ.
func decided(parts []part, i int) (d dtype.DType, ok bool) {
	others := dtype.None
	for k, p := range parts {
		if k == i || p.number {
			continue
		}
		if others != dtype.None && others != p.d {
			return dtype.None, false
		}
		others = p.d
	}
	if others == parts[i].d {
		return others, true
	}
	if !others.Floating() || !parts[i].d.Floating() {
		return dtype.None, true // measured for floats; the ops that have pairs refuse integers
	}
	d, ok = parts[i].fact.Pairs[[2]dtype.DType{others, parts[i].d}]
	return d, ok
}

// alone is the tensor whose class no sample shows since all others are ignored:
// what they are written to (masked_fill with a value without dimensions). It is -1
// if there is none.
func alone(parts []part, dims bool) int {
	at, ignored := -1, false
	for i, p := range parts {
		if p.number {
			continue
		}
		c := p.fact.Class
		if c == torch.Unmeasured || p.rank == dtype.RankZero && dims && p.fact.ZeroDim != torch.Unmeasured {
			c = p.fact.ZeroDim
		}
		switch {
		case c == torch.Ignored:
			ignored = true
		case c == torch.Unmeasured && at < 0:
			at = i
		default:
			return -1
		}
	}
	if !ignored {
		return -1
	}
	return at
}

// eligible reports whether autocast may cast an operand: floating tensors but
// float64 (aten/src/ATen/autocast_mode.h, is_eligible).
func eligible(p part) bool { return !p.number && p.d.Floating() && p.d != dtype.Float64 }

func contains(list []dtype.DType, d dtype.DType) bool {
	for _, x := range list {
		if x == d {
			return true
		}
	}
	return false
}

func baseName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// integerOnly reports whether no floating dtype has a kernel. Such ops (gcd,
// bitwise_and, shifts) promote their operands, but the classes are measured
// with floating ones.
func integerOnly(op *torch.Op) bool {
	for _, d := range floats {
		if _, ok := op.Same[d]; ok {
			return false
		}
	}
	return len(op.Same) > 0
}

// writesFirst reports whether the op writes its first operand.
func writesFirst(op *torch.Op) bool {
	base := baseName(op.Name)
	return op.Kind == "inplace" || strings.HasPrefix(base, "__i") && base != "__invert__" || strings.HasSuffix(base, "_") && !strings.HasPrefix(base, "__")
}

// taken is one argument in the place of an operand.
type taken struct {
	fact  *torch.Operand
	value *Value
	soft  bool
}
