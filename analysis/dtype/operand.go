package dtype

// A Rank says what is known of a tensor's number of dimensions.
type Rank uint8

// The ranks. Scalar is a Python number, which promotes weakest of all.
const (
	RankUnknown Rank = iota
	RankZero         // 0-dim tensor
	RankDim          // at least one dimension
	RankScalar       // Python number
)

// String returns "?", "0", "1+" or "scalar".
func (r Rank) String() string {
	switch r {
	case RankZero:
		return "0"
	case RankDim:
		return "1+"
	case RankScalar:
		return "scalar"
	}
	return "?"
}

// JoinRank is what is known where two paths meet.
func JoinRank(a, b Rank) Rank {
	if a == b {
		return a
	}
	return RankUnknown
}

// An Operand is one operand of a promoting operation.
type Operand struct {
	Type Type
	Rank Rank
}

// ResultOf is torch.result_type on abstract operands
// (aten/src/ATen/native/TypeProperties.cpp, result_type): the highest category
// wins; within it tensors of dim >= 1 outrank 0-dim tensors, which outrank
// Python numbers. An operand of unknown rank is taken both ways.
func ResultOf(ops ...Operand) Type {
	for i, op := range ops {
		if op.Rank != RankUnknown {
			continue
		}
		// A lone known category above all others makes the rank irrelevant,
		// but both readings give the same type then anyway.
		as := func(r Rank) Type {
			alt := append([]Operand(nil), ops...)
			alt[i].Rank = r
			return ResultOf(alt...)
		}
		return Join(as(RankDim), as(RankZero))
	}
	var group [RankScalar + 1]Type
	for _, op := range ops {
		if op.Type.IsUnknown() {
			return Unknown
		}
		group[op.Rank] = Combine(group[op.Rank], op.Type)
	}
	return over(over(group[RankDim], group[RankZero]), group[RankScalar])
}

// over combines a stronger group with a weaker one: the weaker one matters only
// on the alternatives where its category is higher.
func over(strong, weak Type) Type {
	if strong.Empty() {
		return weak
	}
	if weak.Empty() {
		return strong
	}
	var out []Type
	for _, s := range strong.alts {
		for _, w := range weak.alts {
			switch {
			case s.unknown || w.unknown:
				return Unknown
			case w.category() <= s.category():
				out = append(out, Type{[]alt{s}})
			case s.open():
				// An open root may well be floating already; code that
				// multiplies it with a float treats it so.
				out = append(out, Type{[]alt{s}})
			case s.category() == CatFloat && s.exactOnly() && w.exactOnly():
				out = append(out, Exact(combine(s.exact, w.exact)))
			default:
				out = append(out, Type{[]alt{promoteAlt(s, w)}})
			}
		}
	}
	return Join(out...)
}
