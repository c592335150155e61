package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// castMethods are the methods that cast to a fixed dtype.
var castMethods = map[string]dtype.DType{
	"float": dtype.Float32, "half": dtype.Float16, "bfloat16": dtype.BFloat16, "double": dtype.Float64, "long": dtype.Int64, "int": dtype.Int32,
	"short": dtype.Int16, "byte": dtype.Uint8, "char": dtype.Int8, "bool": dtype.Bool,
}

// moveMethods move or copy a tensor and keep its dtype and its origin.
var moveMethods = map[string]bool{
	"cuda": true, "cpu": true, "clone": true, "detach": true, "contiguous": true, "requires_grad_": true, "pin_memory": true, "view_as": true, "expand_as": true,
	"xpu": true, "npu": true, "detach_": true, "share_memory_": true, "retain_grad": true,
}

// shapeMethods change the shape and never leave a 0-dim tensor in practice.
var shapeMethods = map[string]bool{
	"view": true, "reshape": true, "permute": true, "transpose": true, "t": true, "unsqueeze": true, "flatten": true, "expand": true, "repeat": true, "unfold": true,
	"swapaxes": true, "movedim": true, "flip": true, "roll": true, "repeat_interleave": true, "tile": true, "unflatten": true, "narrow": true, "triu": true, "tril": true,
	"transpose_": true, "unsqueeze_": true, "index_select": true, "gather": true, "masked_select": true, "broadcast_to": true, "diag_embed": true, "swapdims": true, "adjoint": true,
}

// isTensorMethod reports whether a name is a method that tensors have and that
// other objects rarely have.
func isTensorMethod(name string) bool {
	if _, ok := castMethods[name]; ok || moveMethods[name] || shapeMethods[name] {
		return true
	}
	switch name {
	case "to", "type", "type_as", "size", "dim", "numel", "item", "tolist", "numpy", "squeeze", "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "backward", "chunk", "split", "unbind":
		return true
	}
	_, ok := torch.Lookup("torch.Tensor." + name)
	switch name {
	case "index", "values", "indices", "data", "max", "min", "sum", "apply_", "map_", "where", "any", "all", "sort", "norm", "random_", "copy_":
		return ok
	}
	return ok
}

func (e *evaluator) methodCall(x *python.Call, m *Value, a *args) *Value {
	v := e.methodOf(x, m, a)
	e.casts(x, m, a, v)
	return v
}

func (e *evaluator) methodOf(x *python.Call, m *Value, a *args) *Value {
	recv := m.Recv
	at, _ := x.Func.(*python.Attribute)
	var recvExpr python.Expr
	if at != nil {
		recvExpr = at.X
	}
	switch recv.Kind {
	case KindTensor, KindOpen:
		return e.tensorMethod(x, recv, recvExpr, m.Name, a)
	case KindArray, KindNumPy:
		return e.arrayMethod(x, recv, m.Name, a)
	case KindModule:
		return e.moduleMethod(x, recv, recvExpr, m.Name, a)
	case KindInstance:
		switch m.Name {
		case "to", "half", "float", "bfloat16", "double", "cuda", "cpu", "eval", "train", "requires_grad_":
			return e.castInstance(x, recv, recvExpr, m.Name, a)
		case "register_buffer":
			name, _ := a.arg(0, "name")
			t, _ := a.arg(1, "tensor")
			if name != nil && t != nil && name.Kind == KindString && name.Known {
				path := "self." + name.Text
				if t.Kind == KindTensor {
					b := *t
					b.Op = "register_buffer"
					b.From = []*Value{t}
					t = &b
				}
				e.frame.vars.set(path, t)
			}
			return &Value{Kind: KindNone}
		case "parameters":
			if t := recv.parameters(); closed(t) {
				return &Value{Kind: KindSequence, Elem: &Value{Kind: KindTensor, DType: t, At: x, How: HowAttr, Op: "parameters()"}}
			}
			return &Value{Kind: KindSequence, Elem: e.open(x, e.file.Text(x.Pos()))}
		}
	case KindSequence:
		if v := e.castContainer(x, recv, recvExpr, m.Name, a); v != nil {
			return v
		}
		if m.Name == "append" || m.Name == "extend" || m.Name == "insert" {
			if path, ok := dotted(recvExpr); ok && len(a.pos) > 0 {
				el := a.pos[len(a.pos)-1]
				if m.Name == "extend" {
					el = e.iterate(el, x)
				}
				n := &Value{Kind: KindSequence, Name: recv.Name, Elem: joinValues(recv.anyElement(), el), aliased: recv.aliased}
				e.replace(path, recv, n)
			}
			return &Value{Kind: KindNone}
		}
		if recv.Name == "shape" {
			return e.pyInt()
		}
	case KindDict:
		if v := e.castContainer(x, recv, recvExpr, m.Name, a); v != nil {
			return v
		}
		if v := e.dictMethod(x, recv, recvExpr, m.Name, a); v != nil {
			return v
		}
	case KindClass: // Function.apply(…) calls forward(ctx, …)
		if fwd := recv.Class.method("forward"); fwd != nil && fwd.static {
			b := *a
			b.pos = append([]*Value{unknown()}, a.pos...)
			b.exprs = append([]python.Expr{x.Func}, a.exprs...)
			return e.userCall(x, fwd, nil, &b)
		}
	case KindString:
		return &Value{Kind: KindString}
	case KindNumber:
		return e.pyInt()
	}
	return e.open(x, e.file.Text(x.Pos()))
}

// tensorMethod is x.method(...).
func (e *evaluator) tensorMethod(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	if d, ok := castMethods[name]; ok && len(a.pos) == 0 {
		if d.Half() {
			e.frame.scope.Half = append(e.frame.scope.Half, x)
		}
		return e.cast(x, recv, dtype.Exact(d), "."+name+"()")
	}
	switch {
	case name == "to" || name == "type":
		return e.to(x, recv, recvExpr, a)
	case name == "type_as":
		e.propagates(x)
		if o, _ := a.arg(0, "other"); o != nil && o.tensorish() {
			return e.cast(x, recv, o.Tensor().DType, ".type_as()")
		}
		return e.cast(x, recv, dtype.Unknown, ".type_as()")
	case moveMethods[name]:
		if recv.Kind == KindOpen {
			v := *recv
			v.At, v.How, v.From, v.Op = x, HowKeep, []*Value{recv}, "."+name+"()"
			return &v
		}
		return recv.derived(x, HowKeep, "."+name+"()", recv)
	case shapeMethods[name]:
		if name == "view" && len(a.pos) == 1 && a.pos[0].Kind == KindDType {
			return e.cast(x, recv, a.pos[0].DType, ".view()")
		}
		v := recv.derived(x, HowKeep, "."+name+"()", recv)
		op, ok := e.torch.Lookup("torch.Tensor." + name)
		if ok && recv.Kind == KindTensor && len(op.Operands) == 1 {
			_, no, _ := e.settle(op, []taken{{fact: &op.Operands[0], value: recv}}, dtype.Type{}, false, false)
			e.judge(x, no)
		}
		if ok {
			if n, known := e.resultDims(op, []*Value{recv}, a, true, false); known {
				return v.withDims(n, true)
			}
		}
		v.ndim = 0
		return v.reranked(dtype.RankDim)
	case strings.HasPrefix(name, "new_") || name == "new":
		v := recv.derived(x, HowKeep, "."+name+"()", recv)
		v.Make = nil
		v.Rank, v.ndim = e.sizeRank(a, name), 0
		if name == "new_tensor" {
			v.Rank = dtype.RankUnknown
		} else if name == "new_full" {
			v.withDims(sizeDims(a.pos[:min(1, len(a.pos))]))
		} else if n, ok := sizeDims(a.pos); ok {
			v.withDims(n, true)
		}
		if d, _ := a.key("dtype"); d != nil && d.Kind != KindNone {
			if t, ok := dtypeOf(d); ok {
				v.DType, v.How = t, HowCreate
			}
		} else if len(v.DType.Roots()) > 0 {
			e.propagates(x)
		}
		return v
	}
	switch name {
	case "size", "dim", "numel", "ndimension", "nelement", "element_size", "stride", "data_ptr", "get_device", "storage_offset":
		if name == "size" && len(a.pos) == 0 {
			e.markDim(recvExpr)
			return &Value{Kind: KindSequence, Name: "shape", Elem: e.sizeOf(recv), From: []*Value{recv}}
		}
		if name == "size" {
			e.markDim(recvExpr)
		}
		if name == "size" || name == "numel" {
			return e.sizeOf(recv)
		}
		return e.pyInt()
	case "item", "tolist":
		if recv.Kind == KindTensor && name == "item" {
			if low, high := recv.DType.Categories(); recv.DType.Known() && low == high && low == dtype.CatInt {
				return e.pyInt()
			} else if recv.DType.Known() && high == dtype.CatBool {
				return e.pyBool()
			}
			return e.pyFloat()
		}
		if name == "item" { // a number, of which kind is unknown
			return number(dtype.Unknown)
		}
		return unknown()
	case "is_floating_point", "is_contiguous", "is_complex", "allclose", "equal", "is_cuda", "requires_grad":
		return e.pyBool()
	case "numpy", "__array__":
		t := recv.Tensor()
		v := &Value{Kind: KindArray, DType: t.DType, Rank: t.Rank, At: x, How: HowKeep, Op: ".numpy()", From: []*Value{t}}
		e.addOp(x, OpToNumPy, "torch.Tensor.numpy", ".numpy()", v, "Got unsupported ScalarType", Operand{Expr: recvExpr, Value: t, Name: "self"})
		return v
	case "matmul", "mm", "bmm", "mv", "dot":
		o, ox := a.arg(0, "other", "mat2", "vec", "tensor")
		if o == nil {
			return unknown()
		}
		if recv.Kind == KindOpen && !o.tensorish() {
			return e.open(x, e.file.Text(x.Pos()))
		}
		return e.matmul(x, e.file.Text(x.Func.Pos()), "torch."+name, recvExpr, recv, ox, o)
	case "squeeze", "squeeze_":
		if n, ok := recv.dims(); ok && n == 0 {
			return recv.derived(x, HowKeep, "."+name+"()", recv)
		}
		return recv.derived(x, HowKeep, "."+name+"()", recv).reranked(dtype.RankUnknown)
	case "unbind":
		n, ok := recv.dims()
		return &Value{Kind: KindSequence, Elem: recv.derived(x, HowKeep, "."+name+"()", recv).withDims(n-1, ok)}
	case "chunk", "split", "tensor_split", "split_with_sizes":
		return &Value{Kind: KindSequence, Elem: recv.derived(x, HowKeep, "."+name+"()", recv)}
	case "lerp_", "lerp":
		recv = recv.Tensor()
	}
	op, ok := e.torch.Lookup("torch.Tensor." + name)
	if !ok {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if recv.Kind == KindOpen && !clearlyTensor(name) {
		// The receiver may be anything that has such a method.
		any := false
		for _, p := range a.pos {
			any = any || p.tensorish()
		}
		if !any && len(a.pos) > 0 {
			return e.open(x, e.file.Text(x.Pos()))
		}
	}
	return e.apply(x, op, op.Name, e.file.Text(x.Func.Pos()), recv.Tensor(), recvExpr, a)
}

// clearlyTensor are methods that only tensors (and arrays) have.
func clearlyTensor(name string) bool {
	switch name {
	case "index_add_", "index_copy_", "scatter_", "scatter_add_", "masked_scatter_", "index_put_", "addmm_", "baddbmm_", "softmax", "sigmoid", "relu", "exp", "log", "sqrt", "rsqrt", "sin", "cos",
		"tanh", "clamp", "mean", "sum", "std", "var", "norm", "abs", "pow", "argmax", "cumsum", "prod", "add", "sub", "mul", "div", "lerp", "lerp_", "square", "topk", "amax", "amin":
		return true
	}
	return strings.HasSuffix(name, "_") || strings.HasPrefix(name, "index_") || strings.HasPrefix(name, "masked_")
}

// cast is an explicit cast.
func (e *evaluator) cast(x python.Node, recv *Value, t dtype.Type, op string) *Value {
	if recv.Kind == KindOpen {
		recv = recv.Tensor()
	}
	if recv.DType.Known() && recv.DType.Equal(t) {
		return recv.derived(x, HowKeep, op, recv)
	}
	v := recv.derived(x, HowCast, op, recv)
	v.DType = t
	return v
}

// to is x.to(...) and x.type(...) of a tensor: a device, a dtype, both, or
// another tensor.
func (e *evaluator) to(x *python.Call, recv *Value, recvExpr python.Expr, a *args) *Value {
	op := ".to()"
	if at, ok := x.Func.(*python.Attribute); ok && at.Sel == "type" {
		op = ".type()"
	}
	var t dtype.Type
	set := false
	use := func(v *Value, vx python.Expr) {
		switch v.Kind {
		case KindDType:
			t, set = v.DType, true
			if len(t.Roots()) > 0 {
				e.propagates(vx)
			}
			if e.halfLiteral(v) {
				e.frame.scope.Half = append(e.frame.scope.Half, x)
			}
		case KindTensor:
			t, set = v.DType, true
			e.propagates(vx)
		case KindLibrary:
			if u, ok := dtypeOf(v); ok {
				t, set = u, true
			}
		case KindString:
			if op == ".type()" {
				t, set = dtype.Unknown, true
			}
		case KindOpen:
			// A name alone says whether it is a device or a dtype; what it
			// does not say is unknown.
			word := strings.ToLower(e.file.Text(vx.Pos()))
			switch {
			case strings.Contains(word, "dtype") || strings.Contains(word, "precision"):
				t, set = dtype.Of(v.root), true
				e.propagates(vx)
			case strings.Contains(word, "device") || strings.Contains(word, "rank") || strings.Contains(word, "gpu"):
			default: // keeps the dtype if it is a device
				t, set = dtype.Join(recv.Tensor().DType, dtype.Of(v.root)), true
			}
		case KindUnknown:
			word := strings.ToLower(e.file.Text(vx.Pos()))
			if !strings.Contains(word, "device") && !strings.Contains(word, "rank") {
				t, set = dtype.Unknown, true
			}
		}
	}
	var beside *Value
	for i, p := range a.pos {
		if i < 2 {
			use(p, a.exprs[i])
			if b := copiesDevice(recv, p); b != nil {
				beside = b
			}
		}
	}
	if d, _ := a.key("device"); d != nil {
		beside = copiesDevice(recv, d)
	}
	if d, dx := a.key("dtype"); d != nil {
		if d.Kind == KindOpen {
			t, set = dtype.Of(d.root), true
			e.propagates(dx)
		} else if d.Kind != KindNone {
			use(d, dx)
			if !set {
				t, set = dtype.Unknown, true
			}
		}
	}
	if o, ox := a.key("other"); o != nil {
		use(o, ox)
	}
	if a.star {
		t, set = dtype.Unknown, true
	}
	if !set {
		if recv.Kind == KindOpen {
			v := *recv
			v.At, v.How, v.From, v.Op, v.Beside = x, HowKeep, []*Value{recv}, op, beside
			return &v
		}
		v := recv.derived(x, HowKeep, op, recv)
		v.Beside = beside
		return v
	}
	return e.cast(x, recv, t, op)
}

// copiesDevice returns the tensor whose device a value is put on, nil if the
// argument is no tensor's device, and notes it for a created tensor.
func copiesDevice(recv, device *Value) *Value {
	if device.Kind != KindDevice || len(device.From) != 1 {
		return nil
	}
	if recv.Make != nil && recv.Make.DeviceOf == nil {
		recv.Make.DeviceOf = device.From[0]
	}
	return device.From[0]
}

// store is target[index] = value.
func (e *evaluator) store(t *python.Subscript, v *Value, s python.Stmt) {
	recv := e.expr(t.X)
	idx := make([]*Value, len(t.Index))
	for i, x := range t.Index {
		idx[i] = e.expr(x)
	}
	e.useStore(t, recv, s, v)
	if len(idx) == 1 && idx[0].Kind == KindString && idx[0].Known {
		e.fills(s, idx[0].Text, v)
	}
	if recv.Kind == KindDict {
		if len(idx) == 1 && idx[0].Kind == KindString && idx[0].Known {
			if path, ok := dotted(t.X); ok {
				n := &Value{Kind: KindDict, Name: recv.Name, Fields: map[string]*Value{}, root: recv.root, Known: recv.Known}
				for k, f := range recv.Fields {
					n.Fields[k] = f
				}
				n.Fields[idx[0].Text] = v
				if len(recv.Fields) >= maxFields { // each store copies them
					n = &Value{Kind: KindDict, Name: recv.Name}
				} else if recv.Elem != nil || recv.Known && len(recv.Fields) == 0 {
					n.Elem = joinValues(recv.Elem, v)
				}
				n.aliased = recv.aliased
				e.replace(path, recv, n)
			}
		} else if path, ok := dotted(t.X); ok { // any item may have changed
			n := &Value{Kind: KindDict, Name: recv.Name, aliased: recv.aliased}
			if recv.Elem != nil || recv.Known && len(recv.Fields) == 0 { // every item is known: any of them
				n.Elem = joinValues(recv.Elem, v)
			}
			e.replace(path, recv, n)
		}
		return
	}
	if recv.Kind == KindOpen && len(idx) == 1 && idx[0].Kind == KindString {
		if path, ok := dotted(t.X); ok && idx[0].Known {
			e.frame.vars.set(path+".["+idx[0].Text+"]", v)
		}
		return
	}
	if recv.Kind == KindSequence {
		if path, ok := dotted(t.X); ok {
			e.replace(path, recv, recv.withItem(idx, v))
		}
		return
	}
	e.judge(s, refusal{})
	if !recv.tensorish() || !v.tensorish() || !advanced(t, idx) {
		return
	}
	if v.Rank == dtype.RankZero && maskWrite(t, idx) {
		return // x[mask] = 0-dim is masked_fill, which converts
	}
	if v.Rank != dtype.RankUnknown || !maskWrite(t, idx) {
		e.judge(s, differ("index_put", []Operand{{Value: recv.Tensor()}, {Value: v.Tensor()}}))
	}
	if v.Rank == dtype.RankZero {
		return
	}
	as, ok := s.(*python.Assign)
	if !ok || as.Op != "" || len(as.Targets) != 1 {
		return
	}
	if recv.Kind == KindOpen && idx[0].Kind != KindTensor {
		return // may be a dict or a list
	}
	e.addOp(s, OpIndexPut, "torch.Tensor.__setitem__", e.file.Text(t.Pos()), nil, "Index put requires the source and destination dtypes match",
		Operand{Expr: t.X, Value: recv.Tensor(), Name: "self"}, Operand{Expr: as.Value, Value: v.Tensor(), Name: "value"})
}

// maskWrite reports whether the index is one boolean mask.
func maskWrite(t *python.Subscript, idx []*Value) bool {
	if len(idx) != 1 || idx[0].Kind != KindTensor {
		return false
	}
	d, ok := idx[0].DType.Exact()
	return ok && d == dtype.Bool
}

// advanced reports whether an index certainly makes the write an index_put:
// a boolean mask, a list, or an index tensor with dimensions. Ints, slices,
// None, Ellipsis and 0-dim integers copy and cast (measured).
func advanced(t *python.Subscript, idx []*Value) bool {
	for i, x := range t.Index {
		switch x := x.(type) {
		case *python.Slice:
			continue
		case *python.Seq:
			if x.Kind == "list" {
				return true
			}
		case *python.Unary:
			if x.Op == "~" && idx[i].Kind == KindTensor {
				return true
			}
		}
		v := idx[i]
		if v.Kind != KindTensor {
			continue
		}
		if v.How == HowParam && len(v.DType.Roots()) > 0 {
			return true // declared a tensor: a mask or indices; a 0-dim one is not declared so
		}
		if d, ok := v.DType.Exact(); ok && d == dtype.Bool && v.Rank != dtype.RankZero {
			return true
		}
		if v.Rank == dtype.RankDim {
			if low, high := v.DType.Categories(); v.DType.Known() && len(v.DType.Roots()) == 0 && low == high && low <= dtype.CatInt {
				return true
			}
		}
	}
	return false
}
