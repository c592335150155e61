package interp

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// A Use is one operand of an operation at which dtypes meet.
type Use struct {
	At    python.Node // the operation
	Op    string      // "@", "+", "torch.cat", "torch.nn.Linear"
	Expr  python.Expr // the operand; nil for a module's parameters
	Value *Value
}

// Unknown reports whether nothing is known of the operand's dtype, not even that
// it is that of one definition.
func (u Use) Unknown() bool { return !u.Value.Tensor().DType.Known() }

// Rooted reports whether the dtype is known as that of a definition only: a
// parameter, an attribute, the result of a call.
func (u Use) Rooted() bool { return !u.Unknown() && len(u.Value.Tensor().DType.Roots()) > 0 }

// First is the value that was unknown first: the operand or what it was made
// from.
func (u Use) First() *Value {
	v := u.Value
	for range 50 {
		next := v.unknownSource()
		if next == nil {
			break
		}
		v = next
	}
	return v
}

// Cause says why nothing is known of an operand: what gave the value that was
// the first one unknown.
func (u Use) Cause() string {
	v := u.First()
	switch {
	case len(v.From) == 2 && v.At != nil && operatorOf(v.At) != "":
		return fmt.Sprintf("operator %s of %s and %s", operatorOf(v.At), v.From[0].Kind, v.From[1].Kind)
	case v.Kind == KindUnknown && v.Op != "":
		return v.Op
	case v.Kind == KindOpen:
		return "a value without a root"
	case v.Op != "":
		return "a result of " + v.Op
	}
	switch x := v.At.(type) {
	case *python.Name:
		return "a name that is not bound here"
	case *python.Attribute:
		return "an attribute ." + x.Sel
	case *python.Subscript:
		return "an item"
	case *python.Call:
		if f, ok := x.Func.(*python.Attribute); ok {
			return "a call of ." + f.Sel
		}
		return "a call"
	case *python.Binary:
		return "operator " + x.Op
	}
	return "another expression"
}

// unknownSource is the value that a value has its unknown dtype from.
func (v *Value) unknownSource() *Value {
	for _, f := range v.From {
		if f != nil && f.maybeTensor() && !f.Tensor().DType.Known() {
			return f
		}
	}
	return nil
}

// maybeTensor reports whether a value may be a tensor.
func (v *Value) maybeTensor() bool {
	return v != nil && (v.Kind == KindTensor || v.Kind == KindOpen || v.Kind == KindUnknown)
}

// use lists the operands of an operation at which at least min may be tensors.
// The last evaluation of a place replaces the earlier ones.
func (e *evaluator) use(at python.Node, op string, min int, operands ...Operand) {
	if e.uses == nil || e.inlining != nil || e.frame.dead {
		return
	}
	var list []Use
	for _, o := range operands {
		if o.Value.maybeTensor() {
			list = append(list, Use{At: at, Op: op, Expr: o.Expr, Value: o.Value})
		}
	}
	if len(list) < min {
		list = nil
	}
	e.uses[at] = list
}

// useBinary is an operator between two tensors. What is no tensor on one side,
// a list or an array, makes it another operator.
func (e *evaluator) useBinary(at python.Node, op string, xe python.Expr, x *Value, ye python.Expr, y *Value) {
	if e.uses != nil {
		e.use(at, op, 2, Operand{Expr: xe, Value: x}, Operand{Expr: ye, Value: y})
	}
}

// useCall is a call of a function of PyTorch, of a method of a tensor, or of a
// module of torch.nn with parameters.
func (e *evaluator) useCall(x *python.Call, fn *Value, a *args) {
	if e.uses == nil {
		return
	}
	switch fn.Kind {
	case KindLibrary:
		e.useFunction(x, fn.Name, a)
	case KindMethod:
		if fn.Recv.tensorish() {
			e.useMethod(x, fn.Recv, fn.Name, a)
		}
	case KindUnknown:
		if f, ok := x.Func.(*python.Attribute); ok {
			e.useMethod(x, unknown(), f.Sel, a)
		}
	case KindModule:
		if fact, ok := e.torch.Module(fn.Name); ok && fact.HasParams() && !fact.IDs {
			in, inX := a.arg(0, "input", "query", "src")
			e.use(x, fn.Name, 1, Operand{Expr: inX, Value: in}, Operand{Value: &Value{Kind: KindTensor, DType: fn.DType, At: fn.At, From: fn.From}})
		} else if op, ok := e.torch.Lookup(functional(strings.TrimPrefix(fn.Name, "torch.nn."))); ok && len(a.pos) > 1 {
			e.useOp(x, op, nil, a)
		}
	}
}

func (e *evaluator) useFunction(x *python.Call, name string, a *args) {
	var list []Operand
	switch baseName(name) {
	case "where":
		if len(a.pos) == 3 && strings.HasPrefix(name, "torch.") {
			e.use(x, name, 2, Operand{Expr: a.exprs[1], Value: a.pos[1]}, Operand{Expr: a.exprs[2], Value: a.pos[2]})
		}
		return
	case "einsum":
		for i := 1; i < len(a.pos); i++ {
			list = append(list, Operand{Expr: a.exprs[i], Value: a.pos[i]})
		}
		e.use(x, name, 1, list...)
		return
	case "stack", "cat", "concat", "concatenate", "hstack", "vstack", "dstack", "column_stack":
		if v, vx := a.arg(0, "tensors"); v != nil && strings.HasPrefix(name, "torch.") {
			e.use(x, name, 1, elements(vx, v)...)
		}
		return
	case "scaled_dot_product_attention":
		for i, n := range []string{"query", "key", "value"} {
			v, vx := a.arg(i, n)
			list = append(list, Operand{Expr: vx, Value: v})
		}
		e.use(x, name, 1, list...)
		return
	}
	if op, ok := e.torch.Lookup(name); ok {
		e.useOp(x, op, nil, a)
	}
}

// elements are the elements of a list of tensors, or the whole of what is no
// list as far as anyone knows.
func elements(x python.Expr, v *Value) []Operand {
	if v.Kind != KindSequence || v.Elem != nil {
		if v.Kind == KindSequence {
			v = v.Elem
		}
		return []Operand{{Expr: x, Value: v}}
	}
	list := make([]Operand, len(v.Elems))
	for i, el := range v.Elems {
		list[i] = Operand{Expr: x, Value: el}
	}
	return list
}

// useMethod is a method with another tensor. Of a receiver that may be anything
// only those count that nothing but a tensor has.
func (e *evaluator) useMethod(x *python.Call, recv *Value, name string, a *args) {
	op, ok := e.torch.Lookup("torch.Tensor." + name)
	if !ok {
		return
	}
	if recv.Kind != KindTensor {
		switch name {
		case "matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "lerp", "lerp_", "index_add_", "index_copy_", "scatter_", "scatter_add_", "masked_scatter_", "index_put_":
		default:
			return
		}
	}
	e.useOp(x, op, recv, a)
}

// useOp is a measured op that two or more tensors go into.
func (e *evaluator) useOp(x *python.Call, op *torch.Op, recv *Value, a *args) {
	var list []Operand
	for i := range op.Operands {
		o := &op.Operands[i]
		if o.Class != torch.Raise && o.Class != torch.Promote && o.Class != torch.Follows {
			continue
		}
		k := o.Index
		if recv != nil {
			if k == 0 {
				f, _ := x.Func.(*python.Attribute)
				if f != nil {
					list = append(list, Operand{Expr: f.X, Value: recv})
				}
				continue
			}
			k--
		}
		v, vx := a.arg(k, o.Name)
		if v == nil {
			continue
		}
		if o.List {
			list = append(list, elements(vx, v)...)
			continue
		}
		list = append(list, Operand{Expr: vx, Value: v})
	}
	if len(list) > 1 {
		e.use(x, op.Name, 2, list...)
	}
}

// useStore is target[index] = value. A dict takes no slice, and a list no tuple.
func (e *evaluator) useStore(t *python.Subscript, recv *Value, at python.Node, value *Value) {
	if e.uses == nil || at == nil {
		return
	}
	if recv.Kind != KindTensor && !sliced(t) {
		return
	}
	e.use(at, "index_put", 2, Operand{Expr: t.X, Value: recv}, Operand{Value: value})
}

func sliced(t *python.Subscript) bool {
	for _, x := range t.Index {
		switch x := x.(type) {
		case *python.Slice:
			if t.Tuple {
				return true
			}
		case *python.Lit:
			if x.Kind == "ellipsis" {
				return true
			}
		}
	}
	return false
}

// operatorOf is the operator of an expression or an augmented assignment, "" if
// it has none.
func operatorOf(n python.Node) string {
	switch n := n.(type) {
	case *python.Binary:
		return n.Op
	case *python.Assign:
		return n.Op
	}
	return ""
}
