package interp

import (
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// boundary is a call of a transform of torchvision, or of the function that makes
// a batch. What the table does not tell of the value stays open.
func (e *evaluator) boundary(x *python.Call, f *torch.BoundaryFact, a *args) *Value {
	v, _ := a.arg(0, f.Params[0])
	if f.Batch {
		v = alikeIn(v)
	}
	if v == nil || a.star {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if f.DType != dtype.None {
		return e.boundaryCast(x, f, v, a)
	}
	t, refused, ok := e.outcomes(f, v)
	if !ok {
		return e.open(x, e.file.Text(x.Pos()))
	}
	r := refusal{}
	if refused {
		r = refusal{text: baseName(f.Name) + " refuses " + v.DType.String(), certain: true}
	}
	e.judge(x, r)
	out := &Value{Kind: KindTensor, DType: t, Rank: dtype.RankDim, At: x, How: HowKeep, Op: f.Name, From: []*Value{v}, file: e.file}
	if v.Kind != KindTensor {
		out.How = HowNumPy
	}
	return out
}

// boundaryCast is a call whose dtype= tells what comes out of a tensor.
func (e *evaluator) boundaryCast(x *python.Call, f *torch.BoundaryFact, v *Value, a *args) *Value {
	if v.Kind != KindTensor {
		return e.open(x, e.file.Text(x.Pos()))
	}
	t := dtype.Exact(f.DType)
	if d, _ := a.arg(1, "dtype"); d != nil {
		var ok bool
		if t, ok = dtypeOf(d); !ok {
			t = dtype.Unknown
		}
	}
	return e.cast(x, v, t, f.Name)
}

// outcomes is what comes out of a value, whether all of it is refused, and whether
// the table tells. What keeps every floating dtype keeps that of a definition.
func (e *evaluator) outcomes(f *torch.BoundaryFact, v *Value) (t dtype.Type, refused, ok bool) {
	table := f.Tensors
	switch v.Kind {
	case KindArray, KindNumPy:
		table = f.Arrays
	case KindNumber:
		return e.numberOutcome(f, v)
	case KindTensor:
	default:
		return dtype.Unknown, false, false
	}
	if !closed(v.DType) {
		for _, d := range floats {
			if !table[d].Own {
				return dtype.Unknown, false, false
			}
		}
		return v.DType, false, v.DType.Known()
	}
	refused = true
	for _, alternative := range v.DType.Alternatives() {
		ds, _ := alternative.In(nil, dtype.Float32)
		o, known := table[ds[0]]
		switch {
		case !known:
			return dtype.Unknown, false, false
		case o.Refused:
			continue
		case o.Default:
			alternative = e.deflt
		case !o.Own:
			alternative = dtype.Exact(o.DType)
		}
		t, refused = dtype.Join(t, alternative), false
	}
	if refused {
		t = dtype.Unknown
	}
	return t, refused, true
}

// numberOutcome is what comes out of Python's numbers.
func (e *evaluator) numberOutcome(f *torch.BoundaryFact, v *Value) (t dtype.Type, refused, ok bool) {
	low, high := v.DType.Categories()
	o, known := f.Numbers[high]
	if low != high || !known || !v.DType.Known() {
		return dtype.Unknown, false, false
	}
	return dtype.Exact(o.DType), false, true
}

// alikeIn is one element of a list whose elements are of one kind and dtype, nil
// if they are not: then the first one, or all, may decide.
func alikeIn(v *Value) *Value {
	if v == nil || v.Kind != KindSequence {
		return nil
	}
	if v.Elem != nil {
		return v.Elem
	}
	for _, el := range v.Elems {
		if el.Kind != v.Elems[0].Kind || !el.DType.Equal(v.Elems[0].DType) {
			return nil
		}
	}
	if len(v.Elems) == 0 {
		return nil
	}
	return v.Elems[0]
}
