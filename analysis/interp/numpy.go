package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// npFloat64 are NumPy functions that make float64 unless dtype= says otherwise
// (measured with NumPy 1.24).
var npFloat64 = map[string]bool{
	"zeros": true, "ones": true, "empty": true, "eye": true, "identity": true, "linspace": true, "logspace": true, "geomspace": true, "loadtxt": true, "genfromtxt": true,
	"random.rand": true, "random.randn": true, "random.uniform": true, "random.normal": true, "random.random": true, "random.random_sample": true, "random.standard_normal": true,
	"random.beta": true, "random.gamma": true, "random.exponential": true,
}

// npKeep keep the dtype of their first argument.
var npKeep = map[string]bool{
	"transpose": true, "reshape": true, "squeeze": true, "expand_dims": true, "flip": true, "ascontiguousarray": true, "copy": true, "clip": true, "abs": true, "roll": true, "repeat": true, "tile": true, "swapaxes": true, "moveaxis": true, "ravel": true,
	"zeros_like": true, "ones_like": true, "empty_like": true, "full_like": true, "sort": true, "pad": true, "linalg.inv": true, "negative": true, "rot90": true, "fliplr": true, "flipud": true, "broadcast_to": true, "triu": true, "tril": true, "max": true, "min": true, "sum": true, "atleast_2d": true,
	"take": true, "squeeze_": true, "asfortranarray": true, "maximum.reduce": true,
}

// npFloatKeep keep a floating dtype and make float64 of integers.
var npFloatKeep = map[string]bool{
	"sqrt": true, "sin": true, "cos": true, "tan": true, "exp": true, "log": true, "arctan2": true, "deg2rad": true, "radians": true, "mean": true, "std": true, "var": true, "linalg.norm": true, "linalg.inv": true, "linalg.pinv": true, "arccos": true, "arcsin": true, "tanh": true,
}

func array(t dtype.Type, r dtype.Rank) *Value { return &Value{Kind: KindArray, DType: t, Rank: r} }

var float64Type = dtype.Exact(dtype.Float64)

// arrayData is what np.array makes of data.
func (e *evaluator) arrayData(v *Value) dtype.Type {
	switch v.Kind {
	case KindArray, KindNumPy:
		return v.DType
	case KindNumber:
		if v.DType.Equal(e.deflt) || v.DType.Equal(dtype.Default) {
			return float64Type // a Python float
		}
		return v.DType
	case KindSequence:
		if v.Name == "shape" {
			return dtype.Exact(dtype.Int64)
		}
		els := v.Elems
		if v.Elem != nil {
			els = []*Value{v.Elem}
		}
		if len(els) == 0 {
			return float64Type
		}
		acc := dtype.Type{}
		for _, el := range els {
			acc = numpyCombine(acc, e.arrayData(el))
		}
		return acc
	}
	return dtype.Unknown
}

// numpyCombine is np.result_type of arrays on types: float32 with int64 is
// float64, other than in PyTorch.
func numpyCombine(a, b dtype.Type) dtype.Type {
	if a.Empty() {
		return b
	}
	if b.Empty() {
		return a
	}
	return a.Map(func(x dtype.Type) dtype.Type {
		return b.Map(func(y dtype.Type) dtype.Type {
			d, okD := x.Exact()
			f, okF := y.Exact()
			if !okD || !okF {
				return dtype.Unknown
			}
			return dtype.Exact(torch.NumPyResult(d, f))
		})
	})
}

func (e *evaluator) numpyCall(x *python.Call, name string, a *args) *Value {
	given := func(t dtype.Type) dtype.Type {
		if d, _ := a.key("dtype"); d != nil && d.Kind != KindNone {
			if u, ok := dtypeOf(d); ok {
				return u
			}
		}
		return t
	}
	first, _ := a.arg(0)
	done := func(v *Value, from ...*Value) *Value {
		v.At, v.Op, v.From, v.file = x, "np."+name, from, e.file
		if v.How == HowOther {
			v.How = HowCreate
		}
		return v
	}
	switch {
	case npFloat64[name]:
		t := float64Type
		// np.zeros(shape, np.float32): dtype may be positional.
		for i, p := range a.pos {
			if i > 0 && p.Kind == KindDType {
				t = p.DType
			}
		}
		if strings.HasPrefix(name, "random.") && len(a.pos) == 0 && len(a.kw) == 0 {
			return done(&Value{Kind: KindNumPy, DType: float64Type})
		}
		return done(array(given(t), dtype.RankDim))
	case name == "array" || name == "asarray" || name == "stack" || name == "concatenate" || name == "vstack" || name == "hstack" || name == "ascontiguousarray" || name == "dstack" || name == "column_stack" || name == "append":
		if first == nil {
			return unknown()
		}
		t := e.arrayData(first)
		if name == "append" && len(a.pos) > 1 {
			t = numpyCombine(t, e.arrayData(a.pos[1]))
		}
		if len(a.pos) > 1 && a.pos[1].Kind == KindDType {
			t = a.pos[1].DType
		}
		v := array(given(t), dtype.RankUnknown)
		if first.Kind == KindSequence {
			v.Rank = dtype.RankDim
		}
		return done(v, first)
	case name == "full":
		t := dtype.Unknown
		if f, _ := a.arg(1, "fill_value"); f != nil && f.Kind == KindNumber {
			t = e.arrayData(f)
		}
		return done(array(given(t), dtype.RankDim))
	case name == "arange":
		t := dtype.Exact(dtype.Int64)
		for _, p := range a.pos {
			switch {
			case p.Kind == KindNumber && e.arrayData(p).Equal(float64Type):
				t = float64Type
			case p.Kind != KindNumber && !t.Equal(float64Type):
				t = dtype.Unknown
			}
		}
		return done(array(given(t), dtype.RankDim))
	case npFloatKeep[name] || npKeep[name]:
		if first == nil {
			return unknown()
		}
		if first.Kind == KindTensor || first.Kind == KindOpen || first.Kind == KindUnknown {
			return done(array(given(dtype.Unknown), dtype.RankUnknown))
		}
		t := e.arrayData(first)
		if npFloatKeep[name] {
			t = t.Map(func(t dtype.Type) dtype.Type {
				if d, ok := t.Exact(); ok && d.Category() <= dtype.CatInt {
					return float64Type
				}
				return t
			})
		}
		v := array(given(t), first.Rank)
		if first.Kind == KindNumber || first.Kind == KindNumPy {
			v.Kind = KindNumPy
		}
		if name == "mean" || name == "sum" || name == "max" || name == "min" || name == "std" || name == "var" || name == "linalg.norm" {
			v.Rank = dtype.RankUnknown
			if len(a.pos) == 1 && len(a.kw) == 0 {
				v.Kind = KindNumPy
			}
		}
		return done(v, first)
	case name == "where" && len(a.pos) == 3:
		return done(array(numpyCombine(e.arrayData(a.pos[1]), e.arrayData(a.pos[2])), dtype.RankDim), a.pos[1], a.pos[2])
	case name == "random.randint" || name == "random.permutation" || name == "argmax" || name == "argsort" || name == "nonzero" || name == "unique":
		return done(array(given(dtype.Exact(dtype.Int64)), dtype.RankUnknown))
	case name == "dot" || name == "matmul" || name == "multiply" || name == "add" || name == "subtract" || name == "divide" || name == "maximum" || name == "minimum" || name == "cross":
		if len(a.pos) > 1 {
			return e.numpyArith(x, "@", a.exprs[0], a.pos[0], a.exprs[1], a.pos[1])
		}
	}
	return done(array(given(dtype.Unknown), dtype.RankUnknown))
}

func (e *evaluator) arrayMethod(x *python.Call, recv *Value, name string, a *args) *Value {
	v := *recv
	v.At, v.From, v.Op, v.How = x, []*Value{recv}, "."+name+"()", HowKeep
	switch name {
	case "astype":
		d, _ := a.arg(0, "dtype")
		v.DType, v.How = dtype.Unknown, HowCast
		if d != nil {
			if t, ok := dtypeOf(d); ok {
				v.DType = t
			}
		}
		return &v
	case "copy", "reshape", "transpose", "flatten", "ravel", "squeeze", "repeat", "clip", "swapaxes", "round":
		return &v
	case "max", "min", "sum", "mean", "std", "var", "prod":
		v.Kind, v.Rank = KindNumPy, dtype.RankUnknown
		if len(a.pos)+len(a.kw) > 0 {
			v.Kind = KindArray
		}
		if name == "mean" || name == "std" || name == "var" {
			v.DType = v.DType.Map(func(t dtype.Type) dtype.Type {
				if d, ok := t.Exact(); ok && d.Category() <= dtype.CatInt {
					return float64Type
				}
				return t
			})
		}
		return &v
	case "tolist", "item":
		return unknown()
	case "dot":
		if len(a.pos) == 1 {
			return e.numpyArith(x, "@", x.Func, recv, a.exprs[0], a.pos[0])
		}
	}
	return array(dtype.Unknown, dtype.RankUnknown)
}

// numpyArith is arithmetic where an ndarray or a NumPy scalar takes part.
// Python and NumPy scalars do not widen a floating array (NumPy 1.x); with a
// tensor beside an array the dtype is not followed.
func (e *evaluator) numpyArith(at python.Node, op string, xe python.Expr, x *Value, ye python.Expr, y *Value) *Value {
	if x.tensorish() || y.tensorish() || x.Kind == KindUnknown || y.Kind == KindUnknown {
		if x.Kind == KindTensor && y.Kind == KindNumPy {
			return x.derived(at, HowKeep, op, x)
		}
		return &Value{Kind: KindUnknown, At: at, From: []*Value{x, y}}
	}
	scalar := func(v *Value) bool { return v.Kind == KindNumPy || v.Kind == KindNumber }
	v := array(dtype.Unknown, dtype.RankUnknown)
	switch {
	case scalar(x) && scalar(y):
		v.Kind = KindNumPy
		v.DType = dtype.Combine(e.arrayData(x), e.arrayData(y))
	case scalar(x) || scalar(y):
		arr, s := x, y
		if scalar(x) {
			arr, s = y, x
		}
		v.DType, v.Rank = e.arrayData(arr), arr.Rank
		st := e.arrayData(s)
		v.DType = v.DType.Map(func(t dtype.Type) dtype.Type {
			d, ok := t.Exact()
			if ok && d.Category() <= dtype.CatInt {
				if op == "/" {
					return float64Type
				}
				return dtype.Combine(t, st)
			}
			return t
		})
	default:
		v.DType, v.Rank = numpyCombine(e.arrayData(x), e.arrayData(y)), joinRanks(x, y)
		if op == "/" {
			v.DType = v.DType.Map(func(t dtype.Type) dtype.Type {
				if d, ok := t.Exact(); ok && d.Category() <= dtype.CatInt {
					return float64Type
				}
				return t
			})
		}
	}
	v.At, v.How, v.Op, v.From, v.file = at, HowPromote, op, []*Value{x, y}, e.file
	return v
}
