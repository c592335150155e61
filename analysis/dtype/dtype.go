// Package dtype is the lattice of abstract dtypes and PyTorch's promotion on
// it. DType is one concrete dtype; Type is what the evaluator knows: up to eight
// alternatives, each exact, a root ("the dtype of parameter points"), the
// default dtype, the promotion of a set of those, or unknown.
//
// It knows nothing of tensors, operations or source code, and it never guesses:
// what it cannot say is Unknown.
package dtype

// A DType is one of PyTorch's dtypes. The zero value is none.
type DType uint8

// The dtypes. Their order is the order of widening inside a category.
const (
	None DType = iota
	Bool
	Uint8
	Int8
	Int16
	Int32
	Int64
	Float8E4M3
	Float8E5M2
	Float16
	BFloat16
	Float32
	Float64
	Complex32
	Complex64
	Complex128
)

var names = [...]string{
	None: "none", Bool: "bool", Uint8: "uint8", Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
	Float8E4M3: "float8_e4m3fn", Float8E5M2: "float8_e5m2", Float16: "float16", BFloat16: "bfloat16", Float32: "float32", Float64: "float64",
	Complex32: "complex32", Complex64: "complex64", Complex128: "complex128",
}

// String returns PyTorch's name without "torch.".
func (d DType) String() string { return names[d] }

// scalarTypes are the names that PyTorch's error messages use
// (c10/core/ScalarType.h, AT_FORALL_SCALAR_TYPES).
var scalarTypes = [...]string{
	Bool: "Bool", Uint8: "Byte", Int8: "Char", Int16: "Short", Int32: "Int", Int64: "Long",
	Float8E4M3: "Float8_e4m3fn", Float8E5M2: "Float8_e5m2", Float16: "Half", BFloat16: "BFloat16", Float32: "Float", Float64: "Double",
	Complex32: "ComplexHalf", Complex64: "ComplexFloat", Complex128: "ComplexDouble",
}

// ScalarType returns the name that PyTorch's messages use: Float for float32.
func (d DType) ScalarType() string { return scalarTypes[d] }

var byName = map[string]DType{
	"bool": Bool, "uint8": Uint8, "int8": Int8, "int16": Int16, "short": Int16, "int32": Int32, "int": Int32, "int64": Int64, "long": Int64,
	"float8_e4m3fn": Float8E4M3, "float8_e5m2": Float8E5M2,
	"float16": Float16, "half": Float16, "bfloat16": BFloat16, "float32": Float32, "float": Float32, "float64": Float64, "double": Float64,
	"complex32": Complex32, "chalf": Complex32, "complex64": Complex64, "cfloat": Complex64, "complex128": Complex128, "cdouble": Complex128,
}

// ByName returns the dtype that torch.NAME is, and whether there is one.
func ByName(name string) (DType, bool) {
	d, ok := byName[name]
	return d, ok
}

// A Category orders dtypes for promotion: a higher one wins.
type Category uint8

// The categories of c10::toOpMathType's neighbours; CatNone is unknown.
const (
	CatNone Category = iota
	CatBool
	CatInt
	CatFloat
	CatComplex
)

// Category returns the dtype's category.
func (d DType) Category() Category {
	switch {
	case d == None:
		return CatNone
	case d == Bool:
		return CatBool
	case d <= Int64:
		return CatInt
	case d <= Float64:
		return CatFloat
	}
	return CatComplex
}

// Floating reports whether it is a real floating-point dtype.
func (d DType) Floating() bool { return d.Category() == CatFloat }

// Half reports whether it is float16 or bfloat16.
func (d DType) Half() bool { return d == Float16 || d == BFloat16 }

// Promote is torch.promote_types. It is commutative and associative within a
// category, and has Bool as its neutral element. Float8 does not promote with
// anything else, not even Bool; the result is then None.
func Promote(a, b DType) DType {
	if a > b {
		a, b = b, a
	}
	switch {
	case a == b:
		return b
	case a == None, a == Float8E4M3, a == Float8E5M2, b == Float8E4M3, b == Float8E5M2:
		return None
	case a == Bool:
		return b
	case a <= Int64 && b <= Int64:
		if a == Uint8 { // no common unsigned type: uint8 with int8 is int16
			if b == Int8 {
				return Int16
			}
			return b
		}
		return b
	case a <= Int64:
		return b
	case a == Float16 && b == BFloat16:
		return Float32
	case b <= Float64:
		return b
	case a <= Float64: // a real float with a complex
		switch {
		case b == Complex128 || a == Float64:
			return Complex128
		case b == Complex64 || a != Float16:
			return Complex64
		}
		return Complex32
	}
	return b
}
