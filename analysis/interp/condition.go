package interp

import (
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// This file knows conditions about the kind of a value: isinstance, callable,
// torch.is_tensor, and functions of the file that only test their parameter.

// condition is what a call tests where the called function of this file does
// nothing but return a test of its one parameter: exists(x) with
// "return x is not None" tests x is not None. It is nil for anything else.
func (e *evaluator) condition(c *python.Call) python.Expr {
	name, ok := c.Func.(*python.Name)
	if !ok || len(c.Args) != 1 || c.Args[0].Name != "" || c.Args[0].Star > 0 {
		return nil
	}
	if _, ok := dotted(c.Args[0].Value); !ok {
		return nil
	}
	v, ok := e.get(name.ID)
	if !ok || v.Kind != KindFunction || v.Func.Class != nil {
		return nil
	}
	def := v.Func.Def
	if len(def.Params) != 1 || len(def.Body) == 0 || len(def.Decorators) > 0 {
		return nil
	}
	ret, ok := def.Body[len(def.Body)-1].(*python.Return)
	if !ok || ret.X == nil || len(def.Body) > 2 {
		return nil
	}
	if len(def.Body) == 2 { // a docstring may stand before it
		doc, ok := def.Body[0].(*python.ExprStmt)
		if !ok {
			return nil
		}
		if _, ok := doc.X.(*python.Str); !ok {
			return nil
		}
	}
	return replaced(ret.X, def.Params[0].Name, c.Args[0].Value)
}

// replaced is a test with an argument in the place of a parameter; nil if the
// test is none that narrows.
func replaced(x python.Expr, param string, arg python.Expr) python.Expr {
	switch x := x.(type) {
	case *python.Unary:
		if inner := replaced(x.X, param, arg); x.Op == "not" && inner != nil {
			return &python.Unary{Span: x.Span, Op: x.Op, X: inner}
		}
	case *python.Compare:
		if n, ok := x.Xs[0].(*python.Name); ok && n.ID == param && len(x.Xs) == 2 && isNone(x.Xs[1]) {
			return &python.Compare{Span: x.Span, Ops: x.Ops, Xs: []python.Expr{arg, x.Xs[1]}}
		}
	}
	return nil
}

// kindTest is a test of the kind of a value: the value and the classes.
func (e *evaluator) kindTest(c *python.Call) (x python.Expr, classes []string) {
	_, ok := dotted(c.Func)
	if !ok || len(c.Args) == 0 || len(c.Args) > 2 || c.Args[0].Star > 0 {
		return nil, nil
	}
	v := e.named(c.Func)
	if v == nil || v.Kind != KindLibrary {
		return nil, nil
	}
	switch v.Name {
	case "torch.is_tensor":
		return c.Args[0].Value, []string{"torch.Tensor"}
	case "builtins.isinstance":
	default:
		return nil, nil
	}
	if len(c.Args) != 2 {
		return nil, nil
	}
	list := []python.Expr{c.Args[1].Value}
	if seq, ok := list[0].(*python.Seq); ok {
		list = seq.Xs
	}
	for _, x := range list {
		v := e.named(x)
		if v == nil || v.Kind != KindLibrary {
			return nil, nil
		}
		classes = append(classes, v.Name)
	}
	return c.Args[0].Value, classes
}

// named is what a dotted name of a library or a builtin stands for.
func (e *evaluator) named(x python.Expr) *Value {
	switch x := x.(type) {
	case *python.Name:
		if v, ok := e.get(x.ID); ok {
			return v
		}
		return builtin(x.ID)
	case *python.Attribute:
		if v := e.named(x.X); v != nil && v.Kind == KindLibrary {
			return &Value{Kind: KindLibrary, Name: canonical(v.Name + "." + x.Sel)}
		}
	}
	return nil
}

// kindOf is the kind that an instance of a class has, KindUnknown where that
// says nothing.
func kindOf(class string) Kind {
	switch class {
	case "torch.Tensor":
		return KindTensor
	case "numpy.ndarray":
		return KindArray
	case "builtins.int", "builtins.float", "builtins.bool":
		return KindNumber
	case "builtins.str":
		return KindString
	case "builtins.list", "builtins.tuple":
		return KindSequence
	case "builtins.dict":
		return KindDict
	case "torch.dtype":
		return KindDType
	}
	return KindUnknown
}

// kindTruth decides a test of a value whose kind is certain.
func (e *evaluator) kindTruth(c *python.Call) truthValue {
	if t := e.callableTruth(c); t != sometimes {
		return t
	}
	x, classes := e.kindTest(c)
	path, ok := dotted(orName(x))
	if !ok {
		return sometimes
	}
	v, ok := e.get(path)
	if !ok || v.Maybe || v.How == HowParam || !v.number.Empty() {
		return sometimes
	}
	switch v.Kind {
	case KindTensor, KindArray, KindString, KindDict, KindDType, KindNone:
	case KindNumber, KindSequence: // an int may be asked for a float, a list for a tuple
		for _, c := range classes {
			if kindOf(c) == v.Kind {
				return sometimes
			}
		}
	default:
		return sometimes
	}
	for _, c := range classes {
		switch kindOf(c) {
		case KindUnknown:
			return sometimes
		case v.Kind:
			return always
		}
	}
	return never
}

// callableTruth knows callable(x) and inspect.isfunction(x).
func (e *evaluator) callableTruth(c *python.Call) truthValue {
	f := e.named(c.Func)
	if f == nil || f.Kind != KindLibrary || f.Name != "builtins.callable" && f.Name != "inspect.isfunction" || len(c.Args) != 1 {
		return sometimes
	}
	path, ok := dotted(c.Args[0].Value)
	if !ok {
		return sometimes
	}
	v, ok := e.get(path)
	if !ok || v.Maybe || v.How == HowParam {
		return sometimes
	}
	switch v.Kind {
	case KindFunction:
		return always
	case KindTensor, KindArray, KindNumber, KindString, KindNone, KindDType, KindDevice, KindSequence, KindDict:
		return never
	}
	return sometimes
}

func orName(x python.Expr) python.Expr {
	if x == nil {
		return &python.Lit{}
	}
	return x
}

// narrowKind applies what a test says of the kind of an open value.
func (e *evaluator) narrowKind(c *python.Call, holds bool) {
	x, classes := e.kindTest(c)
	path, ok := dotted(orName(x))
	if !ok {
		return
	}
	v, ok := e.get(path)
	if !ok {
		return
	}
	if !holds {
		if len(classes) == 1 && kindOf(classes[0]) == KindTensor && v.Kind == KindTensor && !v.number.Empty() {
			e.frame.vars.set(path, number(v.number))
		}
		return
	}
	kind := kindOf(classes[0])
	for _, c := range classes {
		if kindOf(c) != kind {
			return
		}
	}
	switch {
	case kind == KindTensor && v.Kind == KindTensor && !v.number.Empty():
		e.frame.vars.set(path, v.readings()[1])
		return
	case v.Kind != KindOpen && v.Kind != KindUnknown:
		return
	}
	if v.Kind == KindUnknown {
		v = e.open(c, path)
	}
	n := *v
	n.Kind, n.root, n.Maybe, n.narrowed = kind, nil, false, v
	switch kind {
	case KindTensor, KindArray, KindDType:
		n.DType = dtype.Of(v.root)
	case KindNumber:
		n.DType, n.Rank = dtype.Unknown, dtype.RankScalar
		if len(classes) == 1 {
			switch classes[0] {
			case "builtins.int":
				n.DType = dtype.Exact(dtype.Int64)
			case "builtins.float":
				n.DType = e.deflt
			case "builtins.bool":
				n.DType = dtype.Exact(dtype.Bool)
			}
		}
	case KindSequence:
		n.Elem = e.open(c, path+"[…]")
	case KindString, KindDict:
	default:
		return
	}
	e.frame.vars.set(path, &n)
}
