package interp

import (
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// Options steer an evaluation. The zero value is ready to use.
type Options struct {
	// Steps bounds the work: how many expressions may be evaluated. Zero
	// means 200 per line of source, and at least 200,000.
	Steps int
	// Stop ends a path at an operation that certainly raises, as running it
	// would. Without it the evaluation goes on behind the operation as if its
	// operands agreed, so that one fault does not hide the next.
	Stop bool
	// Torch is the version of PyTorch whose facts hold ("1.13", "2.6"). When it
	// is empty, only what all measured versions refuse is certain.
	Torch string
	// Uses asks for Facts.Uses.
	Uses bool
	// Imported returns what another file binds to a name, as far as that is a
	// constant: "configs.DTYPE", relative names with their dots. Nil, and a nil
	// result, mean that nothing is known.
	Imported func(ref string) *Value
}

// Facts is what the evaluator found in one file.
type Facts struct {
	Tree *python.File
	// Ops are the operations that may refuse their operands' dtypes, in the
	// order of the source.
	Ops []*Op
	// Scopes are the functions and methods of the file and the module itself,
	// in the order of the source.
	Scopes []*Scope
	// Assigned lists what is known of each assigned name, in order.
	Assigned []Assigned
	// Raises are the operations that PyTorch refuses for the dtypes of their
	// operands, in the order of the source.
	Raises []*Raise
	// Values is what is known of the names, attributes, subscripts and calls
	// of the file, joined over every evaluation of them. What is missing was
	// not evaluated, or only for the arguments of one call.
	Values map[python.Expr]*Value
	// Uses are the operands that are or may be tensors of the operations at which
	// dtypes meet, in the order of the source: matrix products and the other
	// functions and methods of PyTorch that promote or refuse, operators between
	// two such operands, modules with parameters, indexed writes. What is surely
	// no tensor (a number, a text, a list, an array) is left out. An operation
	// that is not recognised as one, since nothing is known of what is called, is
	// missing. Only with Options.Uses.
	Uses []Use
	// Exhausted says that the budget ran out; what was not evaluated is silent.
	Exhausted bool
	// Outward is what the file shows to the other files of its repository, and
	// what it takes from them.
	Outward
}

// Assigned is one assignment to a name and the value that it got.
type Assigned struct {
	Scope *Scope
	At    python.Node
	Name  string
	Value *Value
}

// note joins what one evaluation of an expression gave into Facts.Values.
func (e *evaluator) note(x python.Expr, v *Value) {
	if e.frame.dead || e.inlining != nil {
		return
	}
	switch x.(type) {
	case *python.Name, *python.Attribute, *python.Subscript, *python.Call:
		if old, ok := e.facts.Values[x]; ok && !equalValue(old, v) {
			v = joinValues(old, v)
		}
		e.facts.Values[x] = v
	}
}

// A Raise is an operation that PyTorch refuses for the dtypes of its operands.
type Raise struct {
	Scope *Scope
	Stmt  python.Stmt // the innermost statement
	At    python.Node // the operation
	// Certain says that it raises whenever it is reached, on every device;
	// otherwise it depends on the path or on a missing kernel.
	Certain bool
	Text    string // what is refused, in the words of a message
}

// OpKind says how an operation treats a dtype that does not fit.
type OpKind uint8

// The kinds of operations.
const (
	OpRefuses   OpKind = iota // operands of different dtypes are an error: matmul, linear, lerp, …
	OpModule                  // call of an nn.Module whose parameters must have the input's dtype
	OpIndexPut                // x[index] = value, index_put_, index_add_, scatter_, …: value must have x's dtype
	OpPromotes                // operands of different dtypes are promoted: cat, stack, arithmetic
	OpToNumPy                 // a tensor becomes an ndarray: bfloat16 is refused
	OpFromNumPy               // an ndarray becomes a tensor
)

// An Operand is one tensor operand of an Op.
type Operand struct {
	Expr  python.Expr
	Value *Value
	Name  string // parameter name: "input", "weight", "value", "self"
	// Soft operands are refused for some shapes only: a bias (measured with
	// linear: 2-D and contiguous 3-D inputs refuse it, others do not).
	Soft bool
	// Only says where the operation refuses the operand if not everywhere: "2.15"
	// or "on CUDA", behind "PyTorch".
	Only string
}

// An Op is one operation of the program.
type Op struct {
	Node     python.Node // the expression, or the assignment of an indexed write
	Stmt     python.Stmt
	Kind     OpKind
	Name     string // canonical: "torch.matmul", "torch.nn.Linear"
	Written  string // as the source has it: "torch.matmul", "@", "self.proj"
	Operands []Operand
	Message  string // stable core of PyTorch's message
	Autocast Autocast
	Scope    *Scope
	Result   *Value
	// InScope are the tensor-like names at this place.
	InScope Names
	// Within is the operation inside a function of this file that wants equal
	// dtypes of its parameters, if this Op is a call of that function.
	Within *Op
	// Equation is einsum's, if it is a literal.
	Equation string
}

// AutocastState says whether an autocast region surrounds a place.
type AutocastState uint8

// The states. A function that no region surrounds lexically may still be
// called inside one: AutocastNone.
const (
	AutocastNone AutocastState = iota
	AutocastOn
	AutocastMaybe // enabled= is not a literal, or a custom_fwd decorator
	AutocastOff   // enabled=False
)

// Autocast is the innermost lexical autocast region.
type Autocast struct {
	State  AutocastState
	Device string     // "cuda", "cpu" or "" if unknown
	DType  dtype.Type // Unknown if unknown
	At     python.Node
}

// A Scope is one function, method, or the module.
type Scope struct {
	Name   string // qualified: "LiftNet.forward"; "" for the module
	Def    *python.FuncDef
	Class  *Class
	Parent *Scope
	Params []*Value
	Return *Value // what it returns, joined; nil if nothing
	// Casts counts explicit dtype propagation in this scope: .to(x.dtype),
	// dtype=x.dtype, type_as, new_*, *_like.
	Propagates []python.Node
	// Half lists words of half precision in this scope: half literals,
	// .half(), autocast.
	Half []python.Node
}

// A Class is one class of the file.
type Class struct {
	Name     string
	Def      *python.ClassDef
	Bases    []*Value
	Module   bool // derives from torch.nn.Module, as far as the file shows
	Function bool // derives from torch.autograd.Function
	Methods  map[string]*Function
	// Attrs are the attributes that __init__ leaves, Set those that other
	// methods assign too.
	Attrs map[string]*Value
	Set   map[string]bool
	self  *Value
	ready bool
	roots map[string]*dtype.Root
	scope *Scope
	made  map[string]*Value // what __init__ leaves in an instance made in sight
	// record are the fields of a dataclass, in order; changed are the attributes
	// that are set from outside the class.
	record  []string
	changed map[string]bool
}

// A Function is one function of the file.
type Function struct {
	Name  string
	Def   *python.FuncDef
	Class *Class // nil for a plain function
	Scope *Scope
	// Params are the values that the parameters have inside.
	Params []*Value
	Return *Value
	state  uint8 // 0 not evaluated, 1 being evaluated, 2 done
	frame  *frame
	static bool
	class_ bool
	prop   bool
	skip   bool        // triton, overload: not evaluated
	body   python.Expr // of a lambda
	stmt   python.Stmt // in which a lambda stands
	agreed *agreement
	// inlined are the calls that were evaluated with their arguments.
	inlined map[string]inlined
	size    int // see small; 0 before it was asked
	// defaults are what the parameters' defaults gave where it was defined.
	defaults []*Value
	wrapped  bool            // a decorator makes something else of it
	writes   []outerName     // what global and nonlocal statements let it assign
	mutates  map[string]bool // see changed; nil before it was asked
	resets   int
	// unsettled says that what it reads of outer scopes changes too often.
	unsettled bool
}
