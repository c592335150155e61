package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

func number(t dtype.Type) *Value { return &Value{Kind: KindNumber, DType: t, Rank: dtype.RankScalar} }

func (e *evaluator) pyInt() *Value { return number(dtype.Exact(dtype.Int64)) }

// sizeOf is one of the sizes of a tensor: a Python int that knows of whom.
func (e *evaluator) sizeOf(from ...*Value) *Value {
	v := e.pyInt()
	v.Name, v.From = "size", from
	return v
}

func (e *evaluator) pyBool() *Value  { return number(dtype.Exact(dtype.Bool)) }
func (e *evaluator) pyFloat() *Value { return number(e.deflt) }

// expr evaluates an expression. It never returns nil.
func (e *evaluator) expr(x python.Expr) *Value {
	if e.spend() {
		return unknown()
	}
	v := e.eval(x)
	if v == nil {
		return unknown()
	}
	if v.Kind == KindNumber {
		v = e.current(v)
	}
	if v.At == nil {
		v.At = x
	}
	if v.file == nil {
		v.file = e.file
	}
	e.note(x, v)
	return v
}

func (e *evaluator) eval(x python.Expr) *Value {
	switch x := x.(type) {
	case *python.Name:
		if v, ok := e.get(x.ID); ok {
			return v
		}
		if v := builtin(x.ID); v.Kind != KindUnknown {
			return v
		}
		return e.global(x.ID)
	case *python.Attribute:
		return e.attribute(x)
	case *python.Call:
		return e.call(x)
	case *python.Subscript:
		return e.subscript(x)
	case *python.Binary:
		l, r := e.expr(x.X), e.expr(x.Y)
		e.useBinary(x, x.Op, x.X, l, x.Y, r)
		if x.Op == "@" {
			return e.matmul(x, "@", "torch.matmul", x.X, l, x.Y, r)
		}
		return e.arith(x, x.Op, x.X, l, x.Y, r)
	case *python.BoolOp:
		return e.boolOp(x)
	case *python.Compare:
		vs := make([]*Value, len(x.Xs))
		tensor := false
		rank := dtype.RankZero
		for i, s := range x.Xs {
			vs[i] = e.expr(s)
			if vs[i].Kind == KindTensor {
				tensor = true
				if vs[i].Rank != dtype.RankZero {
					rank = vs[i].Rank
				}
			}
		}
		switch x.Ops[0] {
		case "in", "not in", "is", "is not":
			return e.pyBool()
		}
		if tensor {
			e.judge(x, refusal{})
			if fact, ok := e.torch.Lookup("torch." + compareName(x.Ops[0])); ok && len(vs) == 2 {
				if _, ok := vs[0].operand(); ok {
					if _, ok := vs[1].operand(); ok {
						_, no, _ := e.settle(fact, pair(fact, vs[0].numberOrTensor(), vs[1].numberOrTensor()), dtype.Type{}, false, false)
						e.judge(x, no)
					}
				}
			}
			r := &Value{Kind: KindTensor, DType: dtype.Exact(dtype.Bool), Rank: rank, How: HowOther, Op: x.Ops[0]}
			if n, ok := maxDims(vs); ok {
				r.withDims(n, true)
			}
			return r
		}
		if vs[0].Kind == KindArray || len(vs) > 1 && vs[1].Kind == KindArray {
			return &Value{Kind: KindArray, DType: dtype.Exact(dtype.Bool), Rank: dtype.RankDim}
		}
		open := false
		for _, v := range vs {
			switch v.Kind {
			case KindOpen:
				open = true
			case KindNumber:
			default:
				return unknown()
			}
		}
		if open { // a mask if the value is a tensor; as a number it is never an index
			return &Value{Kind: KindTensor, DType: dtype.Exact(dtype.Bool), How: HowOther, Op: x.Ops[0]}
		}
		return e.pyBool()
	case *python.Unary:
		v := e.expr(x.X)
		switch {
		case x.Op == "not":
			return e.pyBool()
		case v.Kind == KindOpen:
			return v
		case v.Kind == KindTensor:
			r := v.derived(x, HowKeep, x.Op, v)
			if fact, ok := e.torch.Lookup("torch." + unaryName(x.Op)); ok && len(fact.Operands) > 0 {
				outs, no, ok := e.settle(fact, []taken{{fact: &fact.Operands[0], value: v}}, dtype.Type{}, false, false)
				e.judge(x, no)
				if ok && len(outs) == 1 && !outs[0].Empty() {
					r.DType = outs[0]
				}
			}
			return r
		case v.Kind == KindArray:
			return v.derived(x, HowKeep, x.Op, v)
		case v.Kind == KindNumber:
			n := number(v.DType)
			if d, ok := v.DType.Exact(); ok && d == dtype.Bool {
				n = e.pyInt() // -True
			}
			if v.Known && x.Op == "-" {
				n.Known, n.Text = true, "-"+v.Text
			}
			return n
		}
		return unknown()
	case *python.Cond:
		t := e.truth(x.Test)
		e.expr(x.Test)
		saved := e.frame.vars
		var then, other *Value
		if t != never {
			e.frame.vars = saved.clone()
			e.narrow(x.Test, true)
			then = e.expr(x.Then)
		}
		if t != always {
			e.frame.vars = saved.clone()
			e.narrow(x.Test, false)
			other = e.expr(x.Else)
		}
		e.frame.vars = saved
		return joinValues(then, other)
	case *python.Lambda:
		return e.lambda(x)
	case *python.Seq:
		v := &Value{Kind: KindSequence}
		open := false
		for _, s := range x.Xs {
			if st, ok := s.(*python.Starred); ok {
				in := e.expr(st.X)
				if in.Kind == KindSequence && in.Elem == nil {
					v.Elems = append(v.Elems, in.Elems...)
				} else {
					v.Elems = append(v.Elems, e.iterate(in, st))
					open = true
				}
				continue
			}
			v.Elems = append(v.Elems, e.expr(s))
		}
		if open || x.Kind == "set" {
			return &Value{Kind: KindSequence, Elem: v.element()}
		}
		return v
	case *python.Dict:
		return e.dict(x)
	case *python.Comp:
		return e.comprehension(x)
	case *python.Lit:
		switch x.Kind {
		case "int":
			n := e.pyInt()
			n.Text, n.Known = x.Text, true
			return n
		case "float":
			n := e.pyFloat()
			n.Text, n.Known = x.Text, true
			return n
		case "true", "false":
			n := e.pyBool()
			n.Text, n.Known = x.Text, true
			return n
		case "none":
			return &Value{Kind: KindNone}
		}
		return unknown()
	case *python.Str:
		for _, i := range x.Interp {
			e.expr(i)
		}
		return &Value{Kind: KindString, Text: x.Value, Known: len(x.Interp) == 0 && !x.Bytes}
	case *python.Starred:
		e.expr(x.X)
		return unknown()
	case *python.Walrus:
		v := e.expr(x.Value)
		e.set(x.Name, v)
		return v
	case *python.Await:
		e.expr(x.X)
		return e.open(x, e.file.Text(x.Pos()))
	case *python.Yield:
		if x.X != nil {
			e.expr(x.X)
		}
		return unknown()
	case *python.Slice:
		for _, s := range []python.Expr{x.Lo, x.Hi, x.Step} {
			if s != nil {
				e.expr(s)
			}
		}
		return unknown()
	case *python.BadExpr:
		e.forgetAll(x)
	}
	return unknown()
}

func builtin(name string) *Value {
	switch name {
	case "len", "int", "float", "bool", "str", "list", "tuple", "dict", "set", "max", "min", "sum", "abs", "round", "range", "enumerate", "zip", "isinstance", "hasattr",
		"getattr", "super", "callable", "slice", "frozenset", "bytes", "object", "setattr", "issubclass", "pow", "divmod", "complex", "ord", "chr", "hash", "input", "open", "format", "vars", "globals", "locals", "print", "sorted", "reversed", "map", "filter", "any", "all", "type", "iter", "next", "id", "repr":
		return &Value{Kind: KindLibrary, Name: "builtins." + name}
	case "torch", "numpy":
		return &Value{Kind: KindLibrary, Name: name}
	case "np":
		return &Value{Kind: KindLibrary, Name: "numpy"}
	case "F":
		return &Value{Kind: KindLibrary, Name: "torch.nn.functional"}
	case "nn":
		return &Value{Kind: KindLibrary, Name: "torch.nn"}
	}
	return unknown()
}

// maxUnrolled is how many known elements a comprehension is evaluated for one
// by one.
const maxUnrolled = 8

func (e *evaluator) comprehension(x *python.Comp) *Value {
	saved := e.frame.vars
	e.frame.vars = saved.clone()
	if len(x.Clauses) == 1 && len(x.Clauses[0].Ifs) == 0 && x.Key == nil && x.Kind != "set" {
		// Over a few known elements every element has a value of its own:
		// q, k, v = (rearrange(t) for t in (q, k, v)).
		c := x.Clauses[0]
		if it := e.expr(c.Iter); it.Kind == KindSequence && it.Elem == nil && len(it.Elems) <= maxUnrolled {
			v := &Value{Kind: KindSequence}
			for _, el := range it.Elems {
				e.bind(c.Target, el, nil)
				v.Elems = append(v.Elems, e.expr(x.Elem))
			}
			e.frame.vars = saved
			return v
		}
	}
	for _, c := range x.Clauses {
		it := e.expr(c.Iter)
		e.bind(c.Target, e.iterate(it, c.Iter), nil)
		for _, i := range c.Ifs {
			e.expr(i)
			e.narrow(i, true)
		}
	}
	if x.Key != nil {
		e.expr(x.Key)
	}
	elem := e.expr(x.Elem)
	e.frame.vars = saved
	if x.Kind == "dict" {
		if elem.Kind == KindOpen {
			return e.copied(x, elem)
		}
		return &Value{Kind: KindDict, Elem: elem}
	}
	return &Value{Kind: KindSequence, Elem: elem}
}

// keepAttrs are tensor attributes that are tensors of the same dtype.
var keepAttrs = map[string]bool{"T": true, "mT": true, "H": true, "mH": true, "data": true, "grad": true, "real": false}

func (e *evaluator) attribute(x *python.Attribute) *Value {
	path, isPath := dotted(x)
	if isPath {
		if v, ok := e.get(path); ok {
			return v
		}
	}
	recv := e.expr(x.X)
	switch recv.Kind {
	case KindLibrary:
		name := canonical(recv.Name + "." + x.Sel)
		if t, ok := libraryDType(name); ok {
			return &Value{Kind: KindDType, DType: t, Name: name}
		}
		return e.library(name, member(recv.Ref, x.Sel))
	case KindTensor, KindOpen:
		switch {
		case x.Sel == "dtype":
			t := recv.DType
			if recv.Kind == KindOpen {
				t = dtype.Of(recv.root)
			}
			return &Value{Kind: KindDType, DType: t, At: x, How: HowKeep, From: []*Value{recv}}
		case x.Sel == "device":
			return &Value{Kind: KindDevice, From: []*Value{recv}, At: x}
		case x.Sel == "shape":
			e.markDim(x.X)
			return &Value{Kind: KindSequence, Elem: e.sizeOf(recv), Name: "shape", From: []*Value{recv}}
		case x.Sel == "ndim" || x.Sel == "is_cuda" || x.Sel == "requires_grad" || x.Sel == "names":
			return e.pyInt()
		case keepAttrs[x.Sel]:
			if recv.Kind == KindOpen && x.Sel == "data" { // may be a batch's field
				break
			}
			return recv.derived(x, HowKeep, "."+x.Sel, recv)
		case recv.Kind == KindTensor && (x.Sel == "real" || x.Sel == "imag"):
			return e.cast(x, recv, componentOf(recv.DType), "."+x.Sel)
		case recv.Kind == KindTensor && (recv.symbol() == nil || isTensorMethod(x.Sel)): // a model was cast as well
			return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
		}
		if isTensorMethod(x.Sel) {
			return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
		}
		// An attribute of something unknown: a definition of its own.
		v := &Value{Kind: KindOpen, At: x, How: HowAttr, file: e.file}
		if isPath {
			v.root = e.newRoot(path, dtype.Open)
			e.frame.vars.set(path, v)
		} else {
			v.root = e.rootAt(x, e.file.Text(x.Pos()), dtype.Open)
		}
		e.originates(v, Origin{Kind: OriginMember, Of: recv.symbol(), Name: x.Sel})
		return v
	case KindArray, KindNumPy:
		switch x.Sel {
		case "dtype":
			return &Value{Kind: KindDType, DType: recv.DType, From: []*Value{recv}}
		case "T", "real", "flat":
			return recv
		case "shape":
			return &Value{Kind: KindSequence, Elem: e.pyInt()}
		case "size", "ndim":
			return e.pyInt()
		}
		return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
	case KindModule:
		return e.moduleAttribute(x, recv)
	case KindInstance:
		return e.instanceAttribute(x, recv, path, isPath)
	case KindClass:
		if m := recv.Class.method(x.Sel); m != nil {
			return &Value{Kind: KindFunction, Func: m}
		}
		if recv.Class.Function && x.Sel == "apply" {
			return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
		}
		if v, ok := recv.Class.Attrs[x.Sel]; ok && !recv.Class.Set[x.Sel] {
			return v
		}
		return e.attributeOfUnknown(x, path, isPath)
	case KindDType:
		if x.Sel == "is_floating_point" || x.Sel == "is_complex" || x.Sel == "is_signed" {
			return e.pyBool()
		}
	case KindSequence:
		if v := recv.field(x.Sel); v != nil {
			return v
		}
		return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
	case KindDict, KindString, KindNumber:
		return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
	case KindUnknown:
		return e.attributeOfUnknown(x, path, isPath)
	}
	return unknown()
}

// componentOf is the dtype of the parts of a complex tensor; a real one is its own
// real part.
func componentOf(t dtype.Type) dtype.Type {
	return t.Map(func(a dtype.Type) dtype.Type {
		d, ok := a.Exact()
		switch {
		case !ok && a.IsDefault():
			return a
		case !ok:
			return dtype.Unknown
		case d == dtype.Complex32:
			return dtype.Exact(dtype.Float16)
		case d == dtype.Complex64:
			return dtype.Exact(dtype.Float32)
		case d == dtype.Complex128:
			return dtype.Exact(dtype.Float64)
		}
		return a
	})
}

// fields are the names of the results that PyTorch gives as named tuples, by their
// places (torch/_linalg_utils.py, pytorch.org/docs/1.13: torch.max, torch.sort,
// torch.topk, torch.linalg.qr, svd, eigh, slogdet, lstsq, inv_ex, lu).
var fields = map[string]int{
	"values": 0, "indices": 1, "Q": 0, "R": 1, "U": 0, "S": 1, "V": 2, "Vh": 2, "eigenvalues": 0, "eigenvectors": 1,
	"sign": 0, "logabsdet": 1, "solution": 0, "residuals": 1, "inverse": 0, "result": 0,
}

// field is a named result of an operation, nil if it has none of that name.
func (v *Value) field(name string) *Value {
	i, ok := fields[name]
	if !ok || !v.results {
		return nil
	}
	if name == "U" && len(v.Elems) == 3 && v.Elems[0].Op == "torch.linalg.lu" { // P, L, U
		return v.Elems[2]
	}
	if i < len(v.Elems) {
		return v.Elems[i]
	}
	return v.Elem
}

// libraryDType knows torch.float32, np.float32, jnp is not ours.
func libraryDType(name string) (dtype.Type, bool) {
	if s, ok := strings.CutPrefix(name, "torch."); ok {
		if d, ok := dtype.ByName(s); ok {
			return dtype.Exact(d), true
		}
	}
	if s, ok := strings.CutPrefix(name, "numpy."); ok {
		switch s {
		case "float", "float_", "double":
			return dtype.Exact(dtype.Float64), true
		case "single":
			return dtype.Exact(dtype.Float32), true
		case "int", "int_", "intp":
			return dtype.Exact(dtype.Int64), true
		case "bool_":
			return dtype.Exact(dtype.Bool), true
		case "half", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool":
			d, ok := dtype.ByName(s)
			return dtype.Exact(d), ok
		}
	}
	return dtype.Type{}, false
}

// markDim notes that a name has at least one dimension: it was given to an
// operation that takes no other.
func (e *evaluator) markDim(x python.Expr) {
	path, ok := dotted(x)
	if !ok {
		return
	}
	if v, ok := e.get(path); ok && v.tensorish() && v.Rank == dtype.RankUnknown && v.number.Empty() {
		n := *v
		n.Rank = dtype.RankDim
		e.frame.vars.set(path, &n)
	}
}

// moduleAttribute is module.weight, module.to, …
func (e *evaluator) moduleAttribute(x *python.Attribute, recv *Value) *Value {
	switch x.Sel {
	case "weight", "bias", "in_proj_weight", "in_proj_bias":
		if fact, ok := e.torch.Module(recv.Name); ok && (fact.HasParams() && !fact.Container) {
			return &Value{Kind: KindTensor, DType: recv.DType, Rank: dtype.RankDim, How: HowAttr, From: []*Value{recv}, At: x}
		}
	}
	return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
}

func (e *evaluator) subscript(x *python.Subscript) *Value {
	recv := e.expr(x.X)
	idx := make([]*Value, len(x.Index))
	for i, s := range x.Index {
		idx[i] = e.expr(s)
	}
	switch recv.Kind {
	case KindTensor, KindArray:
		if recv.Kind == KindTensor && recv.Rank == dtype.RankUnknown {
			e.markDim(x.X)
		}
		v := recv.derived(x, HowKeep, "[]", recv)
		if n, ok := indexedDims(recv, x, idx); ok {
			return v.withDims(n, true)
		}
		v.Rank, v.ndim = dtype.RankUnknown, 0
		for i, s := range x.Index {
			if sl, ok := s.(*python.Slice); ok && sl != nil || idx[i].Kind == KindTensor && idx[i].Rank == dtype.RankDim || isNone(s) {
				v.Rank = dtype.RankDim
			}
		}
		return v
	case KindSequence:
		if recv.Name == "shape" {
			if len(x.Index) == 1 && !x.Tuple {
				if _, ok := x.Index[0].(*python.Slice); ok {
					return recv
				}
			}
			return e.sizeOf(recv.From...)
		}
		if len(x.Index) == 1 && !x.Tuple {
			if _, ok := x.Index[0].(*python.Slice); ok {
				return &Value{Kind: KindSequence, Elem: recv.element()}
			}
			if recv.Elem == nil && idx[0].Known {
				if i, ok := smallInt(idx[0].Text); ok {
					if i < 0 {
						i += len(recv.Elems)
					}
					if i >= 0 && i < len(recv.Elems) {
						return recv.Elems[i]
					}
				}
			}
		}
		return recv.element()
	case KindDict:
		if len(idx) == 1 && idx[0].Kind == KindString && idx[0].Known {
			if v, ok := recv.Fields[idx[0].Text]; ok {
				return v
			}
		}
		if recv.Elem != nil {
			return recv.Elem
		}
		return e.itemOf(recv, x, idx)
	case KindModule:
		if i, ok := smallInt(idx[0].Text); ok && len(idx) == 1 && idx[0].Known {
			if el := e.layer(recv, i); el != nil {
				return el
			}
		}
		return e.itemOf(recv, x, idx)
	case KindInstance:
		if get := recv.Class.method("__getitem__"); get != nil && !get.wrapped && len(idx) == 1 && !x.Tuple {
			c := e.callOf(x)
			return e.userCall(c, get, recv, &args{call: c, exprs: x.Index, pos: idx, names: map[string]int{}})
		}
		return e.itemOf(recv, x, idx)
	case KindUnknown:
		return e.itemOf(recv, x, idx)
	case KindOpen:
		// batch["key"] is a definition of its own; x[..., :3] keeps the dtype.
		if len(idx) == 1 && (idx[0].Kind == KindString || idx[0].Kind == KindOpen && !x.Tuple) {
			if idx[0].Kind == KindString && idx[0].Known {
				if path, ok := dotted(x.X); ok {
					key := path + "." + "[" + idx[0].Text + "]"
					if v, ok := e.get(key); ok {
						return v
					}
					v := &Value{Kind: KindOpen, At: x, How: HowAttr, root: e.newRoot(e.file.Text(x.Pos()), dtype.Open), file: e.file}
					e.originates(v, Origin{Kind: OriginKey, Of: recv.symbol(), Name: idx[0].Text})
					e.frame.vars.set(key, v)
					return v
				}
			}
			v := e.open(x, e.file.Text(x.Pos()))
			e.originates(v, Origin{Kind: OriginKey, Of: recv.symbol(), Name: idx[0].Text}) // "" for any key
			return v
		}
		if len(x.Index) == 1 && !x.Tuple {
			if _, ok := x.Index[0].(*python.Slice); !ok && idx[0].Kind != KindTensor {
				// outputs[0] may be an item of a tuple: a definition of its own.
				if idx[0].Known {
					if path, ok := dotted(x.X); ok {
						key := path + ".[" + idx[0].Text + "]"
						if v, ok := e.get(key); ok {
							return v
						}
						v := &Value{Kind: KindOpen, At: x, How: HowAttr, root: e.newRoot(e.file.Text(x.Pos()), dtype.Open), file: e.file}
						if i, ok := smallInt(idx[0].Text); ok {
							e.originates(v, Origin{Kind: OriginItem, Of: recv.symbol(), Index: i})
						}
						e.frame.vars.set(key, v)
						return v
					}
				}
				return e.open(x, e.file.Text(x.Pos()))
			}
			if _, ok := x.Index[0].(*python.Slice); ok {
				// A list may be sliced too; the dtype is the root's in both readings.
				return recv.derived(x, HowKeep, "[]", recv)
			}
		}
		e.markDim(x.X)
		v := recv.derived(x, HowKeep, "[]", recv)
		v.Rank = dtype.RankUnknown
		return v
	}
	return unknown()
}

// indexedDims is the number of dimensions that an index leaves.
func indexedDims(recv *Value, x *python.Subscript, idx []*Value) (int, bool) {
	n, ok := recv.dims()
	if !ok || recv.Kind != KindTensor {
		return 0, false
	}
	lists, most := 0, 0
	for i, s := range x.Index {
		switch s := s.(type) {
		case *python.Slice:
			continue
		case *python.Lit:
			switch s.Kind {
			case "none":
				n++
				continue
			case "ellipsis":
				continue
			case "true", "false":
				return 0, false
			}
		}
		switch v := idx[i]; v.Kind {
		case KindNone:
			n++
		case KindNumber:
			if d, ok := v.DType.Exact(); !ok || d != dtype.Int64 {
				return 0, false
			}
			n--
		case KindSequence:
			lists++
			n--
			most = max(most, 1)
			for _, el := range v.Elems {
				if el.Kind != KindNumber {
					return 0, false
				}
				if d, ok := el.DType.Exact(); !ok || d != dtype.Int64 {
					return 0, false
				}
			}
			if x.Tuple && len(x.Index) == 1 || v.Elem != nil {
				return 0, false
			}
			if seq, ok := s.(*python.Seq); !ok || seq.Kind != "list" {
				return 0, false
			}
		case KindTensor:
			m, ok := v.dims()
			d, exact := v.DType.Exact()
			if !ok || !exact {
				return 0, false
			}
			lists++
			if d == dtype.Bool {
				n -= m
				most = max(most, 1)
				continue
			}
			n--
			most = max(most, m)
		default:
			return 0, false
		}
	}
	return n + most, n+most >= 0
}

func smallInt(s string) (int, bool) {
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	if len(s) == 0 || len(s) > 4 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// arith is X op Y for everything but @.
func (e *evaluator) arith(at python.Node, op string, xe python.Expr, x *Value, ye python.Expr, y *Value) *Value {
	switch {
	case x.Kind == KindNumber && y.Kind == KindNumber:
		t := dtype.Combine(x.DType, y.DType)
		if d, ok := t.Exact(); ok && d == dtype.Bool && op != "&" && op != "|" && op != "^" {
			t = dtype.Exact(dtype.Int64) // True + True
		}
		if op == "/" {
			t = e.deflt
		}
		if op == "**" && y.Known && strings.HasPrefix(y.Text, "-") {
			t = e.deflt
		}
		return number(t)
	case x.Kind == KindArray || y.Kind == KindArray || x.Kind == KindNumPy || y.Kind == KindNumPy:
		return e.numpyArith(at, op, xe, x, ye, y)
	case x.Kind == KindSequence && y.Kind == KindSequence && op == "+":
		if x.Elem == nil && y.Elem == nil {
			return &Value{Kind: KindSequence, Elems: append(append([]*Value{}, x.Elems...), y.Elems...)}
		}
		return &Value{Kind: KindSequence, Elem: joinValues(x.anyElement(), y.element())}
	case x.Kind == KindSequence && (y.Kind == KindNumber || y.Kind == KindOpen || y.Kind == KindUnknown) && op == "*":
		return &Value{Kind: KindSequence, Elem: x.element()}
	case x.Kind == KindString || y.Kind == KindString:
		return &Value{Kind: KindString}
	case x.Kind == KindOpen && y.Kind == KindNumber:
		return e.openNumber(at, op, x)
	case y.Kind == KindOpen && x.Kind == KindNumber:
		return e.openNumber(at, op, y)
	}
	if !x.number.Empty() || !y.number.Empty() {
		return e.perhapsNumbers(at, op, xe, x, ye, y)
	}
	x, y = besideNumber(x, y), besideNumber(y, x)
	a, okA := x.operand()
	b, okB := y.operand()
	if !okA || !okB {
		if x.Kind == KindTensor && x.Rank == dtype.RankDim || y.Kind == KindTensor && y.Rank == dtype.RankDim {
			return &Value{Kind: KindTensor, DType: dtype.Unknown, Rank: dtype.RankDim, At: at, Op: op, From: []*Value{x, y}}
		}
		return &Value{Kind: KindUnknown, At: at, From: []*Value{x, y}}
	}
	t := dtype.ResultOf(a, b)
	if op == "/" || op == "**" && y.Kind == KindNumber && y.DType.Equal(e.deflt) {
		t = e.divided(t)
	}
	name := "torch." + arithName(op)
	fact, measured := e.torch.Lookup(name)
	if measured {
		if _, ok := at.(*python.Assign); ok { // x += y
			if f, ok := e.torch.Lookup("torch.Tensor." + inplaceName(op)); ok {
				fact = f
			}
		}
		outs, no, ok := e.settle(fact, pair(fact, x.numberOrTensor(), y.numberOrTensor()), dtype.Type{}, false, false)
		if ok {
			if op == "**" && no.text == "" && len(outs) == 1 {
				no = negativePower(outs[0], y)
			}
			e.judge(at, no)
			e.narrowSurvivors(xe, ye)
			if len(outs) == 1 && !outs[0].Empty() {
				t = outs[0]
			}
		} else {
			e.judge(at, refusal{})
		}
	}
	v := &Value{Kind: KindTensor, DType: t, Rank: joinRanks(x, y), At: at, How: HowPromote, Op: op, From: []*Value{x, y}}
	if n, ok := maxDims(v.From); ok {
		v.withDims(n, true)
	}
	if x.tensorish() && y.tensorish() {
		e.addOp(at, OpPromotes, "torch."+arithName(op), op, v, "", Operand{Expr: xe, Value: x.Tensor(), Name: "input"}, Operand{Expr: ye, Value: y.Tensor(), Name: "other"})
	}
	return v
}

// besideNumber is an operand beside another: a Python number of unknown kind
// changes no floating tensor.
func besideNumber(v, other *Value) *Value {
	if v.Kind != KindNumber || !v.DType.IsUnknown() || !other.tensorish() {
		return v
	}
	if low, _ := other.Tensor().DType.Categories(); !other.Tensor().DType.Known() || low < dtype.CatFloat {
		return v
	}
	n := *v
	n.DType = dtype.Exact(dtype.Bool)
	return &n
}

// perhapsNumbers is an operator one side of which may be a tensor or a number:
// the results of both.
func (e *evaluator) perhapsNumbers(at python.Node, op string, xe python.Expr, x *Value, ye python.Expr, y *Value) *Value {
	var result *Value
	for _, a := range x.readings() {
		for _, b := range y.readings() {
			result = joinValues(result, e.arith(at, op, xe, a, ye, b))
		}
	}
	return result
}

// readings are a tensor and a number for what may be either, the tensor last.
func (v *Value) readings() []*Value {
	if v.number.Empty() {
		return []*Value{v}
	}
	t := *v
	t.number = dtype.Type{}
	return []*Value{number(v.number), &t}
}

// openNumber is an operation of an open value and a Python number. The value
// may be a number itself, so it stays open.
func (e *evaluator) openNumber(at python.Node, op string, x *Value) *Value {
	v := *x
	v.At, v.How, v.From, v.Op = at, HowKeep, []*Value{x}, op
	return &v
}

// divided is the dtype of a true division: integers become the default dtype.
func (e *evaluator) divided(t dtype.Type) dtype.Type {
	return t.Map(func(a dtype.Type) dtype.Type {
		if d, ok := a.Exact(); ok && d.Category() <= dtype.CatInt {
			return e.deflt
		}
		return a
	})
}

func joinRanks(x, y *Value) dtype.Rank {
	rx, ry := x.Rank, y.Rank
	if x.Kind == KindNumber {
		return ry
	}
	if y.Kind == KindNumber {
		return rx
	}
	if rx == dtype.RankDim || ry == dtype.RankDim {
		return dtype.RankDim
	}
	if rx == dtype.RankZero && ry == dtype.RankZero {
		return dtype.RankZero
	}
	return dtype.RankUnknown
}

func compareName(op string) string {
	switch op {
	case "<":
		return "lt"
	case "<=":
		return "le"
	case ">":
		return "gt"
	case ">=":
		return "ge"
	case "==":
		return "eq"
	}
	return "ne"
}

func unaryName(op string) string {
	switch op {
	case "-":
		return "neg"
	case "~":
		return "bitwise_not"
	}
	return "positive"
}

func arithName(op string) string {
	switch op {
	case "+":
		return "add"
	case "-":
		return "sub"
	case "*":
		return "mul"
	case "/":
		return "div"
	case "**":
		return "pow"
	case "//":
		return "floor_divide"
	case "%":
		return "remainder"
	case "&":
		return "bitwise_and"
	case "|":
		return "bitwise_or"
	case "^":
		return "bitwise_xor"
	case "<<":
		return "bitwise_left_shift"
	case ">>":
		return "bitwise_right_shift"
	}
	return "bitwise"
}

// inplaceName is the method behind an augmented assignment.
func inplaceName(op string) string {
	switch op {
	case "&", "|", "^", "<<", ">>":
		return arithName(op) + "_"
	case "//":
		return "floor_divide_"
	}
	return arithName(op) + "_"
}

// pair gives the two operands of an op the facts of its parameters.
func pair(op *torch.Op, x, y *Value) []taken {
	out := make([]taken, 0, 2)
	for i, v := range []*Value{x, y} {
		fact := &torch.Operand{Class: torch.Promote}
		if i < len(op.Operands) {
			fact = &op.Operands[i]
		}
		out = append(out, taken{fact: fact, value: v})
	}
	return out
}

// numberOrTensor is the value as an operand of arithmetic.
func (v *Value) numberOrTensor() *Value {
	if v.Kind == KindNumber {
		return v
	}
	return v.Tensor()
}

// negativePower is the refusal of integers to a negative integer power.
func negativePower(t dtype.Type, y *Value) refusal {
	low, high := t.Categories()
	if t.Known() && len(t.Roots()) == 0 && low == high && low <= dtype.CatInt && y.Kind == KindNumber && y.Known && strings.HasPrefix(y.Text, "-") {
		return refusal{text: "** refuses an integer to a negative power", certain: true}
	}
	return refusal{}
}

// addOp records an operation. A place that is evaluated again replaces what it
// recorded before: the last round of a loop has the joined values.
func (e *evaluator) addOp(at python.Node, kind OpKind, name, written string, result *Value, message string, operands ...Operand) *Op {
	if e.inlining != nil {
		return &Op{}
	}
	op := &Op{
		Node: at, Stmt: e.stmt, Kind: kind, Name: name, Written: written, Operands: operands, Message: message,
		Autocast: e.region(), Scope: e.frame.scope, Result: result, InScope: e.inScope(),
	}
	if result != nil && result.At == nil {
		result.At = at
	}
	e.ops[at] = op
	return op
}
