// Package torch knows what PyTorch's and NumPy's functions do to dtypes. The
// facts are data measured by running PyTorch (gen/), embedded, a [Table] for each
// release that was measured; what could not be measured stands in one file of
// overrides with its source on every line. [At] gives the facts of a version,
// [All] what the measured ones say together and where they differ.
//
// It holds no rule, does not evaluate code, and says nothing about shapes but
// the rank classes that promotion needs.
package torch

import "github.com/dtypebot/dtypebot/analysis/dtype"

//go:generate /usr/bin/python3 gen/generate.py

// A Class says how the result's dtype depends on one floating operand when it
// differs from the others.
type Class uint8

// The classes. Five of them cover 97.8 % of all measured (op, operand) pairs.
const (
	Unmeasured Class = iota // no fact: unknown
	Promote                 // torch.promote_types of the operands
	Raise                   // a different dtype is an error
	Const                   // the result does not depend on it
	Ignored                 // the operand's dtype is ignored, the result follows the others
	Follows                 // the result has this operand's dtype whatever the others are
	Mixed                   // depends on more than the pair (equation, shape): unknown
)

// An Operand is one tensor argument of an op.
type Operand struct {
	Name  string // parameter name, "self" for a method's receiver
	Index int    // position among the positional parameters; receiver is 0 for methods; -1 if keyword-only
	// List says that the parameter takes a sequence of tensors (cat, stack).
	// With Variadic set it takes all further positional arguments instead, each
	// a tensor (block_diag) or the only one a sequence (meshgrid, einsum).
	List     bool
	Variadic bool
	// Class holds where this operand and the others have dim ≥ 1. Operands of
	// one category (floating) are measured; integers and booleans beside them
	// promote wherever Class is Promote.
	Class   Class
	ZeroDim Class  // for a 0-dim operand beside dim ≥ 1 ones: Ignored is "dominated"
	Message string // stable core of PyTorch's message when it raises: a substring without dtypes
	// Messages are all cores that were seen, the most frequent first: which one
	// a call gives depends on shapes and on the pair of dtypes.
	Messages []string
	// Only says where Class is Raise if not everywhere: in one measured release
	// ("2.15") or "on CUDA". It is empty in the table of one release.
	Only string
	// Scalar says that a Python number is accepted in the operand's place.
	Scalar bool
	// Pairs says for a Mixed operand whose pair of dtypes decides what comes out,
	// by the dtype that the other operands have and its own; None where that is
	// refused. It is nil for all others.
	Pairs map[[2]dtype.DType]dtype.DType
}

// A Policy is what an enabled autocast region does to an op's float operands.
type Policy uint8

// The policies (aten/src/ATen/autocast_mode.h). None of them touches float64.
const (
	Passthrough    Policy = iota
	LowerPrecision        // cast to the autocast dtype
	FP32                  // cast to float32
	FP32SetOpt            // float32 unless dtype= is given
	PromoteWidest         // cast to the widest of the operands
	Banned                // raises
)

// A Rank says what is known of the result's number of dimensions, as far as
// promotion cares: whether it is zero.
type Rank uint8

// The rank classes, measured on shapes of up to four dimensions.
const (
	// RankUnknown: it depends on shapes or on an argument's value.
	RankUnknown Rank = iota
	// RankElementwise is the highest rank of the tensor operands.
	RankElementwise
	// RankReduces is 0-dim whatever the operands, unless dim= (or axis=) or, for
	// losses, reduction="none" is given: with reduction="none" it is that of the
	// operands, with a dim one less, with keepdim=True the same.
	RankReduces
	// RankAtLeast1 never is 0-dim.
	RankAtLeast1
)

// An Op is one public function, method or operator. Ops are shared: callers
// must not change them.
type Op struct {
	Name   string   // "torch.matmul", "torch.Tensor.add_", "torch.nn.functional.linear"
	Kind   string   // "function", "method", "inplace" or "dunder"
	Params []string // positional parameter names in order, receiver first for methods; nil if unknown
	// Keyword are the keyword-only parameters, without out.
	Keyword  []string
	Operands []Operand
	// Same maps the common dtype of the operands to the results' dtypes: one
	// element for a tensor, several for a tuple; nil where not measured.
	// An element None stands for a result that is not a tensor. A dtype that the
	// op refuses is missing.
	Same map[dtype.DType][]dtype.DType
	// WithDim is Same for a call with dim= (max gives values and indices); nil if
	// it does not differ.
	WithDim map[dtype.DType][]dtype.DType
	// Varies says that the number or the dtypes of the results depend on the
	// arguments (split, unique, stft): Same is then one of several answers.
	Varies bool
	// NotCPU are the dtypes without a CPU kernel in the measured version. Later
	// versions and CUDA have more: float16 matmul runs on the CPU from 2.2 on
	// (pytorch#55755, #96292).
	NotCPU []dtype.DType
	// TakesDType says that dtype= sets the result's dtype.
	TakesDType bool
	// RefusesBool says that a bool operand is refused where integers are not
	// (subtraction).
	RefusesBool bool
	// IntsAreDefault says that integers count as the default dtype beside floats
	// (ldexp multiplies by 2.0**other).
	IntsAreDefault bool
	// KeepsCategory says that an in-place op refuses to write a result of a higher
	// category ("result type Float can't be cast to the desired output type Long").
	KeepsCategory bool
	CUDA, CPU     Policy
	// Composite says that the op computes products inside, which autocast casts
	// one by one: what comes out then is not known.
	Composite bool
	Rank      Rank
	// Dim is the position at which an int or a tuple of ints is the dim (or
	// axis) parameter in any overload, -1 if there is none. Where Params names
	// another parameter there (torch.max), the argument's type decides.
	Dim int
	// Version is the measured release of the facts ("1.13"), or the first that
	// has the op.
	Version string
	// Releases are the facts of each measured release, newest first, where they
	// differ; nil where one answer holds for all, and in the table of one release.
	Releases []*Op
	// Note is what other versions do, with its source; "" if nothing is known
	// to differ.
	Note string
}

// Operand returns the operand with a parameter's name, nil if there is none.
func (o *Op) Operand(name string) *Operand {
	for i := range o.Operands {
		if o.Operands[i].Name == name {
			return &o.Operands[i]
		}
	}
	return nil
}

// Results returns what the op gives for operands of one dtype: the measured
// answer, or where a kernel is missing in the measured version (NotCPU) the one
// that float32 and float64 agree on, and measured false. It is nil where nothing
// can be said.
func (o *Op) Results(d dtype.DType) (outs []dtype.DType, measured bool) {
	if outs, ok := o.Same[d]; ok {
		return outs, true
	}
	single, double := o.Same[dtype.Float32], o.Same[dtype.Float64]
	if !d.Half() || len(single) == 0 || len(single) != len(double) {
		return nil, false
	}
	for i := range single {
		switch {
		case single[i] == dtype.Float32 && double[i] == dtype.Float64:
			outs = append(outs, d)
		case single[i] == double[i]:
			outs = append(outs, single[i])
		default:
			return nil, false
		}
	}
	return outs, false
}
