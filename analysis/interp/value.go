package interp

import (
	"slices"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// Kind says what sort of thing a value is.
type Kind uint8

// The kinds.
const (
	KindUnknown Kind = iota // nothing is known
	KindOpen                // a parameter or attribute: a tensor if it is used as one
	KindTensor
	KindArray    // numpy.ndarray
	KindNumPy    // numpy scalar
	KindNumber   // Python int, float or bool; DType holds its category as int64, default or bool
	KindString   // Text holds the value if Known
	KindNone     // None
	KindDType    // a torch or numpy dtype; DType is the dtype that it denotes
	KindDevice   // a torch.device or a string that names one
	KindModule   // an nn.Module; DType is the dtype of its parameters
	KindSequence // tuple or list; Elems if the length is known, else Elem
	KindDict     // Fields holds the constant string keys
	KindFunction // a function of this file
	KindClass    // a class of this file
	KindInstance // an instance of a class of this file
	KindLibrary  // something imported: Name is its canonical dotted name
	KindMethod   // a bound method: Recv and Name
	KindPartial  // functools.partial and the like: Recv is called, with what was given before
)

// A Value is what the evaluator knows of one Python value. Values are immutable
// once they are stored, but for the fields of an instance.
type Value struct {
	Kind  Kind
	DType dtype.Type
	Rank  dtype.Rank

	Name   string            // KindLibrary, KindMethod, KindModule (class name)
	Text   string            // KindString, or the source of a KindNumber literal
	Known  bool              // KindString and KindNumber: Text is the value; KindDict: Fields are all items
	Elems  []*Value          // KindSequence of known length
	Elem   *Value            // KindSequence of unknown length: any element; KindDict: any item, nil if nothing is known of some
	Fields map[string]*Value // KindDict: the items with constant keys; KindInstance: what __init__ left in this one
	Recv   *Value            // KindMethod
	Func   *Function
	Class  *Class
	Maybe  bool   // may also be None
	Ref    string // KindLibrary: the imported name as it is written, with the dots of a relative import
	// Outside says what another file has to do with a value that was imported.
	Outside []Place

	// Where the value comes from: the expression that made it, what that
	// expression did, and the values it was made from.
	At   python.Node
	How  How
	Op   string // the operation in the words of the source: "torch.ones", "@"
	From []*Value
	Make *Creation // how a factory was called, kept through views and moves
	// Beside is the tensor to whose device it was moved without its dtype.
	Beside *Value

	// number is set for a tensor that may as well be a Python number: the
	// number's dtype.
	number dtype.Type
	// narrowed is what the value was before a test of its kind.
	narrowed *Value
	fresh    bool        // KindInstance: made in sight
	given    *args       // KindPartial: the arguments that it was made with
	results  bool        // KindSequence: the results of one operation
	bound    bool        // a name was bound to it
	aliased  bool        // more than one name was
	ndim     uint8       // number of dimensions and one more; 0 if unknown
	root     *dtype.Root // KindOpen: the root of its dtype when it is used as a tensor
	file     *python.File
}

// How says what an expression did to the dtype of its value.
type How uint8

// The ways.
const (
	HowOther    How = iota
	HowParam        // a parameter
	HowAttr         // an attribute of self or of another object
	HowCreate       // a factory
	HowKeep         // kept the dtype of From[0]
	HowCast         // was cast
	HowPromote      // was promoted from From
	HowCall         // result of a function of this file
	HowJoin         // two paths met
	HowModule       // result of a module call
	HowNumPy        // left NumPy: torch.from_numpy and friends
	HowAutocast     // result of an autocast operation
)

// A Creation is one call of a factory, or of a function of this file that
// gives what a factory made in it.
type Creation struct {
	Call   *python.Call
	Name   string // canonical: "torch.zeros"
	DType  bool   // dtype= was given
	Device python.Expr
	// DeviceOf is the tensor whose device was copied, nil if none.
	DeviceOf *Value
	// Called says that a function of this file made the tensor, and this is
	// the call of that function.
	Called bool
	// DTypeOf is how the tensor was created whose dtype was taken, nil if
	// dtype= is missing or anything else.
	DTypeOf *Creation
	// ShapeOf are the tensors whose sizes were used.
	ShapeOf []*Value
	Scope   *Scope
	// InScope are the tensor-like names at the call.
	InScope Names
}

func unknown() *Value { return &Value{Kind: KindUnknown} }

// tensorish reports whether the value may be used as a tensor whose dtype is
// worth tracking.
func (v *Value) tensorish() bool {
	return v != nil && (v.Kind == KindTensor || v.Kind == KindOpen)
}

// Tensor returns the value seen as a tensor: an open value becomes a tensor of
// its root.
func (v *Value) Tensor() *Value {
	if v.Kind == KindOpen && v.root != nil {
		t := *v
		t.Kind, t.DType = KindTensor, dtype.Of(v.root)
		return &t
	}
	return v
}

// asTensor is what nothing is known of, known to be a tensor.
func (v *Value) asTensor() *Value {
	return &Value{Kind: KindTensor, DType: dtype.Unknown, At: v.At, From: []*Value{v}, file: v.file}
}

// operand returns the value as an operand of a promotion and whether it can be
// one. Python numbers are scalars; NumPy values are not handled here.
func (v *Value) operand() (dtype.Operand, bool) {
	switch v.Kind {
	case KindTensor:
		return dtype.Operand{Type: v.DType, Rank: v.Rank}, true
	case KindOpen:
		return dtype.Operand{Type: dtype.Of(v.root), Rank: v.Rank}, true
	case KindNumber:
		return dtype.Operand{Type: v.DType, Rank: dtype.RankScalar}, true
	}
	return dtype.Operand{Type: dtype.Unknown}, false
}

// dims is the number of dimensions, if it is known.
func (v *Value) dims() (int, bool) {
	switch {
	case v.Rank == dtype.RankZero:
		return 0, true
	case v.Rank == dtype.RankDim && v.ndim > 1:
		return int(v.ndim) - 1, true
	}
	return 0, false
}

// withDims sets the number of dimensions.
func (v *Value) withDims(n int, known bool) *Value {
	switch {
	case !known || n < 0:
		v.ndim, v.Rank = 0, dtype.RankUnknown
	case n == 0:
		v.ndim, v.Rank = 1, dtype.RankZero
	default:
		v.ndim, v.Rank = uint8(min(n, 100)+1), dtype.RankDim
	}
	return v
}

// with returns a copy with another way of coming about.
func (v *Value) derived(at python.Node, how How, op string, from ...*Value) *Value {
	d := *v
	d.At, d.How, d.Op, d.From = at, how, op, from
	d.root = nil
	d.number, d.narrowed = dtype.Type{}, nil
	if d.Kind == KindOpen {
		d.Kind, d.DType = KindTensor, dtype.Of(v.root)
	}
	if how != HowKeep {
		d.Make, d.Beside = nil, nil
	}
	return &d
}

// joinValues is what is known where two paths meet.
func joinValues(a, b *Value) *Value {
	switch {
	case a == b, b == nil:
		return a
	case a == nil:
		return b
	case a.narrowed != nil && a.narrowed == b:
		return b
	case b.narrowed != nil && (b.narrowed == a || b.narrowed == a.narrowed):
		return b.narrowed
	case a.Kind == KindNone && b.Kind == KindNone:
		return a
	case a.Kind == KindNone:
		return b.maybe()
	case b.Kind == KindNone:
		return a.maybe()
	}
	if a.tensorish() && b.tensorish() {
		if a.Kind == KindOpen && b.Kind == KindOpen && a.root == b.root {
			return a
		}
		x, y := a.Tensor(), b.Tensor()
		if a.Kind != b.Kind && x.DType.Equal(y.DType) && a.number.Empty() && b.number.Empty() { // narrowed on one path
			if a.Kind == KindOpen {
				return a
			}
			return b
		}
		j := &Value{Kind: KindTensor, number: dtype.Join(a.number, b.number), DType: dtype.Join(x.DType, y.DType), Rank: dtype.JoinRank(x.Rank, y.Rank), How: HowJoin, From: []*Value{a, b}, At: a.At, Maybe: a.Maybe || b.Maybe, file: a.file}
		if x.ndim == y.ndim {
			j.ndim = x.ndim
		}
		if x.Make != nil && y.Make != nil && x.Make.Call == y.Make.Call {
			j.Make = x.Make
		}
		return j
	}
	if a.Kind != b.Kind {
		return joinKinds(a, b)
	}
	switch a.Kind {
	case KindArray, KindNumPy, KindNumber, KindDType, KindModule:
		j := *a
		j.DType, j.Rank = dtype.Join(a.DType, b.DType), dtype.JoinRank(a.Rank, b.Rank)
		j.Known = a.Known && b.Known && a.Text == b.Text
		j.From, j.How = []*Value{a, b}, HowJoin
		if a.Make != b.Make {
			j.Make = nil
		}
		if a.Name != b.Name {
			j.Name = ""
		}
		return &j
	case KindString:
		if a.Known && b.Known && a.Text == b.Text {
			return a
		}
		return &Value{Kind: KindString}
	case KindDevice:
		return a
	case KindSequence:
		if len(a.Elems) == len(b.Elems) && a.Elem == nil && b.Elem == nil {
			j := &Value{Kind: KindSequence, Name: sameName(a, b), Elems: make([]*Value, len(a.Elems))}
			for i := range a.Elems {
				j.Elems[i] = joinValues(a.Elems[i], b.Elems[i])
			}
			return j
		}
		j := &Value{Kind: KindSequence, Name: sameName(a, b), Elem: joinValues(a.anyElement(), b.anyElement())}
		if j.Elem == nil {
			return a
		}
		return j
	case KindDict:
		j := &Value{Kind: KindDict, Name: sameName(a, b), Fields: map[string]*Value{}}
		for k, x := range a.Fields {
			if y, ok := b.Fields[k]; ok {
				j.Fields[k] = joinValues(x, y)
			}
		}
		if a.Elem != nil && b.Elem != nil {
			j.Elem = joinValues(a.Elem, b.Elem)
		}
		return j
	case KindInstance:
		if a.Class == b.Class {
			if a.fresh && b.fresh && a.DType.Equal(b.DType) && sameFields(a, b) || !a.fresh {
				return a
			}
			j := *a
			j.fresh, j.Fields, j.DType = false, nil, dtype.Join(a.DType, b.DType)
			return &j
		}
	case KindLibrary:
		if a.Name == b.Name {
			return a
		}
	case KindFunction:
		if a.Func == b.Func {
			return a
		}
	case KindClass:
		if a.Class == b.Class {
			return a
		}
	}
	return differentKinds(a, b)
}

// sameName is the name that two values share, "" if they do not.
func sameName(a, b *Value) string {
	if a.Name != b.Name {
		return ""
	}
	return a.Name
}

// sameFields reports whether two instances hold the same.
func sameFields(a, b *Value) bool {
	if len(a.Fields) != len(b.Fields) {
		return false
	}
	for k, x := range a.Fields {
		if y, ok := b.Fields[k]; !ok || x != y && !equalValue(x, y) {
			return false
		}
	}
	return true
}

// joinKinds joins values of two kinds. An open value may well be of the other
// one's kind; a tensor or a number is a tensor that may be a number.
func joinKinds(a, b *Value) *Value {
	if b.Kind == KindOpen || b.Kind == KindNumber {
		a, b = b, a
	}
	switch {
	case a.Kind == KindOpen && b.Kind == KindNumber, a.Kind == KindNumber && b.Kind == KindOpen:
		if b.Kind == KindOpen {
			return b
		}
		return a
	case a.Kind == KindNumber && b.Kind == KindTensor:
		j := *b
		j.number, j.How, j.From, j.Maybe = dtype.Join(a.DType, b.number), HowJoin, []*Value{a, b}, a.Maybe || b.Maybe
		return &j
	case a.Kind == KindOpen && (b.Kind == KindDType || b.Kind == KindArray):
		j := *b
		j.DType, j.Rank, j.ndim = dtype.Join(dtype.Of(a.root), b.DType), dtype.RankUnknown, 0
		j.From, j.How, j.Maybe, j.root = []*Value{a, b}, HowJoin, a.Maybe || b.Maybe, nil
		return &j
	case a.Kind == KindOpen && b.Kind == KindDevice:
		return b
	case a.Kind == KindDevice && b.Kind == KindString: // x.device if on_gpu else "cpu"
		return a
	case a.Kind == KindString && b.Kind == KindDevice:
		return b
	case a.Kind == KindOpen && b.Kind == KindString:
		return &Value{Kind: KindString}
	}
	return differentKinds(a, b)
}

func differentKinds(a, b *Value) *Value {
	if a.Kind == KindUnknown || b.Kind == KindUnknown {
		return &Value{Kind: KindUnknown, From: []*Value{a, b}}
	}
	return &Value{Kind: KindUnknown, Op: "two paths of different kinds: " + a.Kind.String() + ", " + b.Kind.String()}
}

// maybe returns the value that may also be None.
func (v *Value) maybe() *Value {
	if v.Maybe || v.Kind == KindUnknown {
		return v
	}
	m := *v
	m.Maybe = true
	return &m
}

// withItem is a list one item of which was assigned.
func (v *Value) withItem(idx []*Value, item *Value) *Value {
	n := &Value{Kind: KindSequence, Name: v.Name, aliased: v.aliased}
	if len(idx) == 1 && idx[0].Known && v.Elem == nil {
		if i, ok := smallInt(idx[0].Text); ok && i >= -len(v.Elems) && i < len(v.Elems) {
			n.Elems = slices.Clone(v.Elems)
			n.Elems[(i+len(v.Elems))%len(v.Elems)] = item
			return n
		}
	}
	n.Elem = joinValues(v.element(), item)
	return n
}

// element returns any element of a sequence; of an empty one nothing is known.
func (v *Value) element() *Value {
	if el := v.anyElement(); el != nil {
		return el
	}
	return &Value{Kind: KindUnknown, Op: "an element of an empty list"}
}

// anyElement is any element, nil if there is none.
func (v *Value) anyElement() *Value {
	if v.Elem != nil {
		return v.Elem
	}
	var j *Value
	for _, e := range v.Elems {
		j = joinValues(j, e)
	}
	return j
}

// equalValue reports whether two values are the same for the purpose of ending
// a loop.
func equalValue(a, b *Value) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind || a.fresh != b.fresh || a.ndim != b.ndim || a.Rank != b.Rank || a.Maybe != b.Maybe || a.root != b.root || a.Name != b.Name || a.Text != b.Text ||
		a.Func != b.Func || a.Class != b.Class || !a.DType.Equal(b.DType) || !a.number.Equal(b.number) || (a.Elem == nil) != (b.Elem == nil) || len(a.Elems) != len(b.Elems) || len(a.Fields) != len(b.Fields) {
		return false
	}
	if a.Elem != nil && !equalValue(a.Elem, b.Elem) {
		return false
	}
	if !slices.EqualFunc(a.Elems, b.Elems, equalValue) {
		return false
	}
	for k, x := range a.Fields {
		if y := b.Fields[k]; y == nil || !equalValue(x, y) {
			return false
		}
	}
	return true
}
