package dtype

// An OperandKind decides how much an operand counts in promotion.
type OperandKind uint8

// The kinds, strongest first.
const (
	Dim     OperandKind = iota // a tensor with at least one dimension
	ZeroDim                    // a tensor without dimensions
	Scalar                     // a Python number
)

// A Wrapped is one operand of an arithmetic operation: its dtype and its kind.
// A Scalar is Bool, Int64, any floating dtype or any complex one, for Python's
// bool, int, float and complex.
type Wrapped struct {
	DType DType
	Kind  OperandKind
}

// ResultType is torch.result_type for any number of operands, with def as the
// default dtype (torch.get_default_dtype). The highest category wins; inside it
// tensors with dimensions outrank those without, and those outrank numbers. It
// is None without operands, and where dtypes do not promote or are None.
//
// Source: c10/core/ScalarType.h and aten/src/ATen/native/TypeProperties.cpp
// (update_result_type_state, combine_categories); every cell is tested against
// PyTorch.
func ResultType(def DType, xs ...Wrapped) DType {
	var of [Scalar + 1]DType
	for _, x := range xs {
		d := x.DType
		if d == None {
			return None
		}
		if x.Kind == Scalar {
			switch d.Category() {
			case CatFloat:
				d = def
			case CatComplex:
				d = def.complex()
			}
		}
		if of[x.Kind] != None {
			if d = Promote(of[x.Kind], d); d == None {
				return None
			}
		}
		of[x.Kind] = d
	}
	return combine(of[Dim], combine(of[ZeroDim], of[Scalar]))
}

// combine lets the lower kind's dtype count only if its category is higher.
func combine(higher, lower DType) DType {
	switch {
	case lower == None:
		return higher
	case higher == None:
		return lower
	case higher.Category() == CatComplex:
		return higher
	case higher.Category() == CatFloat:
		if lower.Category() == CatComplex {
			return higher.complex()
		}
		return higher
	case higher == Bool || lower.Category() >= CatFloat:
		return Promote(higher, lower)
	}
	return higher
}

// complex is the complex dtype whose parts have a floating dtype; bfloat16 has
// none of its own and takes complex64 (c10::toComplexType).
func (d DType) complex() DType {
	switch d {
	case Float16:
		return Complex32
	case Float64:
		return Complex128
	}
	return Complex64
}
