// Package torch knows what PyTorch's and NumPy's functions do to dtypes. The
// facts are data measured by running PyTorch (gen/), embedded and versioned;
// what could not be measured stands in one file of overrides with its source on
// every line.
//
// It holds no rule, does not evaluate code, and says nothing about shapes but
// the rank classes that promotion needs.
package torch

import "github.com/dtypebot/dtypebot/analysis/dtype"

// A Class says how the result's dtype depends on one floating operand when it
// differs from the others.
type Class uint8

// The classes (research: five of them cover 97.8 % of all measured pairs).
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
	Name    string // parameter name, "self" for a method's receiver
	Index   int    // position among the positional parameters; receiver is 0 for methods
	List    bool   // a sequence of tensors (cat, stack, einsum)
	Class   Class
	ZeroDim Class  // for a 0-dim operand beside dim ≥ 1 ones: Ignored is "dominated"
	Message string // stable core of PyTorch's message when it raises
}

// A Policy is what an enabled autocast region does to an op's float operands.
type Policy uint8

// The policies (aten/src/ATen/autocast_mode.h).
const (
	Passthrough    Policy = iota
	LowerPrecision        // cast to the autocast dtype
	FP32                  // cast to float32
	FP32SetOpt            // float32 unless dtype= is given
	PromoteWidest         // cast to the widest of the operands
	Banned                // raises
)

// An Op is one public function, method or operator.
type Op struct {
	Name     string   // "torch.matmul", "torch.Tensor.add_", "torch.nn.functional.linear"
	Kind     string   // "function", "method", "inplace" or "dunder"
	Params   []string // positional parameter names in order, receiver first for methods; nil if unknown
	Operands []Operand
	// Same maps the common dtype of the operands to the results' dtypes: one
	// element for a tensor, several for a tuple; nil where not measured.
	// An element None stands for a result that is not a tensor.
	Same map[dtype.DType][]dtype.DType
	// NotCPU are the dtypes without a CPU kernel in the measured version.
	NotCPU []dtype.DType
	// TakesDType says that dtype= sets the result's dtype.
	TakesDType bool
	CUDA, CPU  Policy
}
