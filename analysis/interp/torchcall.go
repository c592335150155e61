package interp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

func (e *evaluator) libraryCall(x *python.Call, name string, a *args) *Value {
	if f, ok := torch.Boundary(name); ok {
		return e.boundary(x, f, a)
	}
	switch {
	case strings.HasPrefix(name, "builtins."):
		return e.builtinCall(x, strings.TrimPrefix(name, "builtins."), a)
	case strings.HasPrefix(name, "numpy."):
		return e.numpyCall(x, strings.TrimPrefix(name, "numpy."), a)
	case strings.HasPrefix(name, "math."):
		switch baseName(name) {
		case "floor", "ceil", "trunc", "gcd", "lcm", "isqrt", "comb", "perm", "factorial":
			return e.pyInt()
		case "isnan", "isinf", "isfinite", "isclose":
			return e.pyBool()
		}
		return e.pyFloat()
	case name == "functools.partial":
		return e.partialOf(x, a)
	case strings.HasPrefix(name, "torchvision.transforms."):
		if v := e.transformOf(x, name, a); v != nil {
			return v
		}
	case name == "einops.rearrange" || name == "einops.repeat" || name == "einops.reduce":
		if v, _ := a.arg(0); v != nil && v.tensorish() {
			return v.derived(x, HowKeep, name, v).reranked(dtype.RankUnknown)
		}
	case name == "copy.deepcopy" || name == "copy.copy" || name == "typing.cast":
		if len(a.pos) > 0 {
			return a.pos[len(a.pos)-1]
		}
	case strings.HasPrefix(name, "torch."):
		return e.torchCall(x, name, a)
	case strings.HasPrefix(name, "flash_attn.") || strings.HasPrefix(name, "xformers."):
		return e.open(x, e.file.Text(x.Pos()))
	}
	return e.open(x, e.file.Text(x.Pos()))
}

func (e *evaluator) builtinCall(x *python.Call, name string, a *args) *Value {
	first, _ := a.arg(0)
	switch name {
	case "len", "int", "id":
		return e.pyInt()
	case "round":
		if len(a.pos) == 1 {
			return e.pyInt()
		}
		if first != nil && first.Kind == KindNumber {
			return number(first.DType)
		}
	case "float":
		return e.pyFloat()
	case "bool", "isinstance", "hasattr", "any", "all":
		return e.pyBool()
	case "str", "repr", "print", "type":
		return &Value{Kind: KindString}
	case "list", "tuple", "sorted", "reversed", "set", "iter":
		if first != nil && first.Kind == KindSequence {
			if name == "list" || name == "tuple" {
				return first
			}
			return &Value{Kind: KindSequence, Elem: first.element()}
		}
		if first != nil && (first.Kind == KindTensor || first.Kind == KindOpen) {
			return &Value{Kind: KindSequence, Elem: e.iterate(first, x)}
		}
	case "dict":
		return e.dictCall(a)
	case "callable", "issubclass":
		return e.pyBool()
	case "range":
		return &Value{Kind: KindSequence, Elem: e.pyInt()}
	case "enumerate":
		if first != nil {
			return &Value{Kind: KindSequence, Elem: &Value{Kind: KindSequence, Elems: []*Value{e.pyInt(), e.iterate(first, x)}}}
		}
	case "zip":
		item := &Value{Kind: KindSequence}
		for i, p := range a.pos {
			item.Elems = append(item.Elems, e.iterate(p, a.exprs[i]))
		}
		return &Value{Kind: KindSequence, Elem: item}
	case "abs", "max", "min", "sum":
		if first != nil && first.Kind == KindNumber {
			t := first.DType
			for _, p := range a.pos[1:] {
				if p.Kind != KindNumber {
					return e.open(x, e.file.Text(x.Pos()))
				}
				t = dtype.Join(t, p.DType)
			}
			return number(t)
		}
		if op, ok := e.torch.Lookup("torch.abs"); ok && name == "abs" && first != nil && first.Kind == KindTensor {
			return e.apply(x, op, op.Name, "abs", nil, nil, a)
		}
		if first != nil && first.tensorish() && name == "abs" {
			return first.derived(x, HowKeep, name, first)
		}
		if first != nil && first.Kind == KindSequence && first.element().Kind == KindNumber {
			return number(first.element().DType)
		}
	case "next":
		if first != nil {
			return e.iterate(first, x)
		}
	case "super":
		return unknown()
	case "setattr":
		e.setNamed(x, a)
		return &Value{Kind: KindNone}
	case "getattr":
		if len(a.pos) >= 2 && a.pos[1].Kind == KindString && a.pos[1].Known && first != nil && first.Kind == KindLibrary {
			if t, ok := libraryDType(first.Name + "." + a.pos[1].Text); ok {
				return &Value{Kind: KindDType, DType: t}
			}
		}
	}
	return e.open(x, e.file.Text(x.Pos()))
}

// dtypeOf reads a value as a dtype argument; ok is false where it says nothing.
func dtypeOf(v *Value) (dtype.Type, bool) {
	switch v.Kind {
	case KindDType:
		return v.DType, true
	case KindOpen:
		return dtype.Of(v.root), true
	case KindNone:
		return dtype.Type{}, false
	case KindLibrary:
		switch v.Name {
		case "builtins.float":
			return dtype.Exact(dtype.Float64), true
		case "builtins.int":
			return dtype.Exact(dtype.Int64), true
		case "builtins.bool":
			return dtype.Exact(dtype.Bool), true
		}
	case KindString:
		if v.Known {
			if d, ok := dtype.ByName(v.Text); ok { // NumPy takes names
				return dtype.Exact(d), true
			}
		}
	}
	return dtype.Unknown, true
}

// propagates notes an expression like x.dtype, type_as or new_* in the scope.
func (e *evaluator) propagates(at python.Node) {
	s := e.frame.scope
	for _, n := range s.Propagates {
		if n == at {
			return
		}
	}
	s.Propagates = append(s.Propagates, at)
}

func (e *evaluator) torchCall(x *python.Call, name string, a *args) *Value {
	base := name[strings.LastIndexByte(name, '.')+1:]
	if v := e.tensorFunction(x, name, a); v != nil {
		return v
	}
	if f, ok := e.torch.Factory(strings.Replace(name, "torch.cuda.", "torch.", 1)); ok && f.Class != torch.FactoryReceiver && name != "torch.from_numpy" && name != "torch.nn.Parameter" {
		return e.factory(x, name, f, a)
	}
	switch name {
	case "torch.from_numpy":
		return e.fromNumPy(x, name, a)
	case "torch.is_tensor", "torch.is_autocast_enabled", "torch.equal", "torch.allclose", "torch.is_floating_point":
		return e.pyBool()
	case "torch.get_default_dtype":
		return &Value{Kind: KindDType, DType: e.deflt}
	case "torch.get_autocast_gpu_dtype", "torch.get_autocast_dtype", "torch.get_autocast_cpu_dtype":
		return &Value{Kind: KindDType, DType: dtype.Of(e.rootAt(x, name+"()", dtype.Floating))}
	case "torch.numel":
		return e.pyInt()
	case "torch.result_type":
		if len(a.pos) == 2 {
			l, okL := a.pos[0].operand()
			r, okR := a.pos[1].operand()
			if okL && okR {
				return &Value{Kind: KindDType, DType: dtype.ResultOf(l, r)}
			}
		}
		return &Value{Kind: KindDType, DType: dtype.Unknown}
	case "torch.promote_types":
		if len(a.pos) == 2 {
			l, okL := dtypeOf(a.pos[0])
			r, okR := dtypeOf(a.pos[1])
			if okL && okR {
				return &Value{Kind: KindDType, DType: dtype.Combine(l, r)}
			}
		}
		return &Value{Kind: KindDType, DType: dtype.Unknown}
	case "torch.finfo", "torch.iinfo", "torch.device":
		if base == "device" {
			return &Value{Kind: KindDevice}
		}
		return &Value{Kind: KindLibrary, Name: name + "()"}
	case "torch.Size":
		return &Value{Kind: KindSequence, Name: "shape", Elem: e.pyInt()}
	case "torch.nn.Parameter":
		if v, _ := a.arg(0, "data"); v != nil && v.tensorish() {
			p := v.derived(x, HowAttr, name, v)
			p.Make = nil
			return p
		}
		return &Value{Kind: KindTensor, DType: e.deflt, Op: name, How: HowAttr, At: x}
	case "torch.nn.init.normal_", "torch.nn.init.zeros_":
		return unknown()
	case "torch.where":
		return e.where(x, a)
	case "torch.einsum":
		return e.einsum(x, a)
	case "torch.save", "torch.load", "torch.manual_seed", "torch.no_grad", "torch.set_grad_enabled", "torch.inference_mode":
		return unknown()
	case "torch.stack", "torch.cat", "torch.concat", "torch.concatenate", "torch.hstack", "torch.vstack", "torch.dstack", "torch.column_stack":
		return e.cat(x, name, a)
	}
	if strings.HasPrefix(name, "torch.distributed.") && e.collective(x, name, a) {
		return unknown()
	}
	if strings.HasPrefix(name, "torch.nn.functional.") && base == "scaled_dot_product_attention" {
		return e.sdpa(x, name, a)
	}
	if name == "torch.nn.functional._scaled_dot_product_attention" { // 1.13: output and weights
		v := e.sdpa(x, "torch.nn.functional.scaled_dot_product_attention", a)
		return &Value{Kind: KindSequence, Elems: []*Value{v, v}}
	}
	if strings.HasPrefix(name, "torch.nn.") && base[0] >= 'A' && base[0] <= 'Z' {
		return e.moduleMake(x, name, a)
	}
	if strings.HasSuffix(name, "_like") {
		return e.like(x, name, a)
	}
	if op, ok := e.torch.Lookup(name); ok {
		return e.apply(x, op, name, e.file.Text(x.Func.Pos()), nil, nil, a)
	}
	return e.open(x, e.file.Text(x.Pos()))
}

// factory is a call of a function that makes a tensor.
func (e *evaluator) factory(x *python.Call, name string, fact *torch.FactoryFact, a *args) *Value {
	t := e.deflt
	rank := e.sizeRank(a, name)
	switch fact.Class {
	case torch.FactoryFixed:
		t = dtype.Exact(fact.DType)
		if rank == dtype.RankUnknown {
			rank = dtype.RankDim
		}
	case torch.FactoryData:
		data, _ := a.arg(0, "data", "obj", "s", "mean")
		switch {
		case name == "torch.Tensor":
			if data != nil && data.Kind == KindNumber {
				rank = dtype.RankDim
			}
		case name == "torch.normal" && sized(a): // tensors stand for numbers then
			rank = dtype.RankDim
		case name == "torch.normal":
			for _, p := range a.pos[:min(2, len(a.pos))] {
				switch {
				case p.tensorish():
					v := e.created(x, name, p.Tensor().DType, p.Rank, a)
					e.judge(x, refusesDType(fact, v.DType, true))
					return v
				case p.Kind != KindNumber:
					t = dtype.Unknown
				}
			}
			rank = dtype.RankDim
		case data == nil:
			return unknown()
		case data.Kind == KindArray || data.Kind == KindNumPy:
			return e.fromNumPy(x, name, a)
		default:
			var ok bool
			if t, rank, ok = e.dataType(data); !ok {
				t = dtype.Unknown // a list, an array or a tensor: not known
			}
		}
	case torch.FactoryNumbers:
		switch name {
		case "torch.full":
			fill, _ := a.arg(1, "fill_value")
			t = dtype.Unknown
			if fill != nil && (fill.Kind == KindOpen || fill.Kind == KindNumber && fill.DType.IsUnknown()) {
				t = e.someNumber()
			} else if fill != nil && fill.Kind == KindNumber {
				t = fill.DType
			} else if fill != nil && fill.Kind == KindTensor {
				t = fill.DType // converted to a number
				if low, high := t.Categories(); t.Known() && low == high && low == dtype.CatFloat {
					t = e.deflt
				}
			}
		case "torch.arange":
			t = dtype.Exact(dtype.Int64)
			for i, p := range a.pos {
				if i > 2 {
					break
				}
				t = e.arangeType(t, p)
			}
			for _, k := range []string{"start", "end", "step"} {
				if v, _ := a.key(k); v != nil {
					t = e.arangeType(t, v)
				}
			}
			rank = dtype.RankDim
		}
	}
	if name == "torch.range" {
		rank = dtype.RankDim
	}
	v := e.created(x, name, t, rank, a)
	e.judge(x, refusesDType(fact, v.DType, v.Make != nil && v.Make.DType))
	return v
}

// sized reports whether torch.normal is given a size.
func sized(a *args) bool {
	size, _ := a.arg(2, "size")
	return size != nil
}

// someNumber is what a Python number gives of which only that is known.
func (e *evaluator) someNumber() dtype.Type {
	return dtype.Join(dtype.Exact(dtype.Bool), dtype.Exact(dtype.Int64), e.deflt)
}

// refusesDType is the refusal of a factory that has no kernel for a dtype.
func refusesDType(fact *torch.FactoryFact, t dtype.Type, given bool) refusal {
	if !given && fact.Class != torch.FactoryReceiver || len(fact.Accepts) == 0 {
		return refusal{}
	}
	d, ok := t.Exact()
	if !ok || d.Category() > dtype.CatFloat || d == dtype.Float8E4M3 || d == dtype.Float8E5M2 || fact.AcceptsDType(d) {
		return refusal{}
	}
	return refusal{text: fmt.Sprintf("%s does not make %s", fact.Name, d), certain: !d.Half()}
}

func (e *evaluator) arangeType(t dtype.Type, v *Value) dtype.Type {
	switch {
	case t.IsUnknown():
		return t
	case v.Kind == KindNumber && v.DType.Equal(e.deflt):
		return e.deflt
	case v.Kind == KindNumber, v.Kind == KindOpen && t.Equal(e.deflt):
		return t
	case v.Kind == KindOpen:
		return dtype.Exact(dtype.Int64) // a length, nearly always
	}
	return dtype.Unknown
}

// created finishes a factory call: dtype= and device= and where they come from.
func (e *evaluator) created(x *python.Call, name string, t dtype.Type, rank dtype.Rank, a *args) *Value {
	v := &Value{Kind: KindTensor, DType: t, Rank: rank, At: x, How: HowCreate, Op: name, file: e.file}
	if n, ok := e.createdDims(name, a); ok {
		v.withDims(n, true)
	}
	m := &Creation{Call: x, Name: name, Scope: e.frame.scope, InScope: e.inScope()}
	if d, dx := a.key("dtype"); d != nil && d.Kind != KindNone {
		if u, ok := dtypeOf(d); ok {
			v.DType = u
			m.DType = true
			if d.Kind == KindDType && len(d.From) == 1 {
				m.DTypeOf = d.From[0].Make
			}
			if d.Kind == KindDType && len(u.Roots()) > 0 {
				e.propagates(dx)
			}
			if e.halfLiteral(d) {
				e.frame.scope.Half = append(e.frame.scope.Half, dx)
			}
		}
	}
	if d, dx := a.key("device"); d != nil {
		m.Device = dx
		if d.Kind == KindDevice && len(d.From) == 1 {
			m.DeviceOf = d.From[0]
		} else if at, ok := dx.(*python.Attribute); ok && at.Sel == "device" {
			m.DeviceOf = e.quiet(at.X)
		}
	}
	for _, p := range a.pos {
		shapeSources(p, &m.ShapeOf, 0)
	}
	v.Make = m
	return v
}

// createdDims is the number of dimensions of a new tensor.
func (e *evaluator) createdDims(name string, a *args) (int, bool) {
	switch name {
	case "torch.eye", "torch.tril_indices", "torch.triu_indices":
		return 2, true
	case "torch.linspace", "torch.logspace", "torch.arange", "torch.range", "torch.hann_window", "torch.hamming_window", "torch.blackman_window", "torch.bartlett_window", "torch.kaiser_window", "torch.randperm", "torch.fft.fftfreq", "torch.fft.rfftfreq":
		return 1, true
	case "torch.randint":
		for _, p := range a.pos {
			if p.Kind == KindSequence {
				return sizeDims([]*Value{p})
			}
		}
		if v, _ := a.key("size"); v != nil {
			return sizeDims([]*Value{v})
		}
	case "torch.zeros", "torch.ones", "torch.empty", "torch.rand", "torch.randn":
		list := a.pos
		if v, _ := a.key("size"); v != nil {
			list = []*Value{v}
		}
		return sizeDims(list)
	case "torch.full", "torch.empty_strided":
		if v, _ := a.arg(0, "size"); v != nil {
			return sizeDims([]*Value{v})
		}
	case "torch.tensor", "torch.as_tensor", "torch.asarray":
		if v, _ := a.arg(0, "data", "obj"); v != nil {
			return dataDims(v, 0)
		}
	case "torch.scalar_tensor":
		return 0, true
	}
	return 0, false
}

// dataDims is how deep lists are nested.
func dataDims(v *Value, depth int) (int, bool) {
	switch v.Kind {
	case KindNumber:
		return 0, true
	case KindTensor:
		return v.dims()
	case KindSequence:
		if v.Name == "shape" || v.Elem == nil && len(v.Elems) == 0 {
			return 1, true
		}
		if depth < 6 {
			n, ok := dataDims(v.element(), depth+1)
			return n + 1, ok
		}
	}
	return 0, false
}

func shapeSources(v *Value, out *[]*Value, depth int) {
	if v == nil || depth > 3 {
		return
	}
	if v.Name == "size" && v.Kind == KindNumber {
		*out = append(*out, v.From...)
		return
	}
	if v.Kind == KindSequence {
		if v.Name == "shape" {
			*out = append(*out, v.From...)
			return
		}
		for _, el := range v.Elems {
			shapeSources(el, out, depth+1)
		}
	}
}

func (e *evaluator) halfLiteral(v *Value) bool {
	d, ok := v.DType.Exact()
	return v.Kind == KindDType && ok && d.Half()
}

// sizeRank is the rank that size arguments give.
func (e *evaluator) sizeRank(a *args, name string) dtype.Rank {
	v, _ := a.arg(0, "size", "shape")
	switch {
	case name == "torch.linspace" || name == "torch.logspace" || strings.HasSuffix(name, "_window") || name == "torch.eye":
		return dtype.RankDim
	case v == nil:
		if a.star {
			return dtype.RankUnknown
		}
		return dtype.RankDim // torch.Tensor()
	case v.Kind == KindNumber:
		return dtype.RankDim
	case v.Kind == KindSequence && v.Elem == nil:
		if len(v.Elems) == 0 {
			return dtype.RankZero
		}
		return dtype.RankDim
	case v.Kind == KindSequence:
		return dtype.RankDim
	case v.Kind == KindOpen && len(a.pos) > 1:
		return dtype.RankDim
	}
	return dtype.RankUnknown
}

// dataType is what torch.tensor makes of Python data.
func (e *evaluator) dataType(v *Value) (dtype.Type, dtype.Rank, bool) {
	switch v.Kind {
	case KindNumber:
		if v.DType.IsUnknown() {
			return e.someNumber(), dtype.RankZero, true
		}
		return v.DType, dtype.RankZero, true
	case KindTensor:
		return v.DType, v.Rank, true
	case KindSequence:
		if v.Name == "shape" {
			return dtype.Exact(dtype.Int64), dtype.RankDim, true
		}
		els := v.Elems
		if v.Elem != nil {
			els = []*Value{v.Elem}
		}
		if len(els) == 0 && v.Elem == nil {
			return e.deflt, dtype.RankDim, true
		}
		acc := dtype.Type{}
		floats := false
		unknowns := false
		for _, el := range els {
			t, _, ok := e.dataType(el)
			if !ok || el.Kind == KindTensor {
				// A tensor element gives only its category; an open one may be a number.
				unknowns = true
				continue
			}
			if t.Equal(e.deflt) {
				floats = true
			}
			acc = dtype.Combine(acc, t)
		}
		if floats && !acc.IsUnknown() { // one float makes it the default dtype unless NumPy values mix in
			return e.deflt, dtype.RankDim, true
		}
		if unknowns || acc.Empty() {
			return dtype.Unknown, dtype.RankDim, true
		}
		return acc, dtype.RankDim, true
	case KindNumPy:
		return v.DType, dtype.RankZero, true
	}
	return dtype.Unknown, dtype.RankUnknown, false
}

// like is zeros_like(x), rand_like(x), …
func (e *evaluator) like(x *python.Call, name string, a *args) *Value {
	v, _ := a.arg(0, "input")
	if v == nil || !v.tensorish() {
		return e.open(x, e.file.Text(x.Pos()))
	}
	r := v.derived(x, HowKeep, name, v)
	r.Make = nil
	if d, dx := a.key("dtype"); d != nil && d.Kind != KindNone {
		if u, ok := dtypeOf(d); ok {
			r.DType, r.How = u, HowCreate
			if e.halfLiteral(d) {
				e.frame.scope.Half = append(e.frame.scope.Half, dx)
			}
		}
	} else if len(v.Tensor().DType.Roots()) > 0 {
		e.propagates(x)
	}
	if f, ok := e.torch.Factory(name); ok {
		e.judge(x, refusesDType(f, r.DType, true))
	}
	return r
}

// where is torch.where: with scalars its branches promote like arithmetic.
func (e *evaluator) where(x *python.Call, a *args) *Value {
	if len(a.pos) != 3 {
		return unknown()
	}
	l, r := a.pos[1], a.pos[2]
	lo, ok1 := l.operand()
	ro, ok2 := r.operand()
	if !ok1 || !ok2 {
		return e.open(x, e.file.Text(x.Pos()))
	}
	v := &Value{Kind: KindTensor, DType: dtype.ResultOf(lo, ro), Rank: joinRanks(l, r), At: x, How: HowPromote, Op: "torch.where", From: []*Value{l, r}}
	if c := a.pos[0]; c.Kind == KindTensor && c.Rank == dtype.RankDim {
		v.Rank = dtype.RankDim
	}
	if n, ok := maxDims(a.pos); ok {
		v.withDims(n, true)
	}
	if l.Kind == KindNumber && r.Kind == KindNumber { // made tensors of dim 0
		v.DType = dtype.Combine(l.DType, r.DType)
	}
	if l.tensorish() && r.tensorish() {
		e.addOp(x, OpPromotes, "torch.where", e.file.Text(x.Func.Pos()), v, "", Operand{Expr: a.exprs[1], Value: l.Tensor(), Name: "x"}, Operand{Expr: a.exprs[2], Value: r.Tensor(), Name: "y"})
	}
	return v
}

// cat is cat, stack and their relatives: every element counts, whatever its
// rank (measured: stack of 0-dim tensors promotes fully).
func (e *evaluator) cat(x *python.Call, name string, a *args) *Value {
	v, sx := a.arg(0, "tensors")
	if v == nil || v.Kind != KindSequence {
		return e.open(x, e.file.Text(x.Pos()))
	}
	els := v.Elems
	var exprs []python.Expr
	if s, ok := sx.(*python.Seq); ok && len(s.Xs) == len(els) {
		exprs = s.Xs
	}
	if v.Elem != nil {
		els = []*Value{v.Elem}
	}
	t := dtype.Type{}
	var operands []Operand
	for i, el := range els {
		if !el.tensorish() {
			t = dtype.Unknown
			continue
		}
		el = el.Tensor()
		t = dtype.Combine(t, el.DType)
		if exprs != nil {
			operands = append(operands, Operand{Expr: exprs[i], Value: el, Name: "tensors"})
			if baseName(name) != "stack" && baseName(name) != "hstack" && baseName(name) != "vstack" && baseName(name) != "dstack" && baseName(name) != "column_stack" {
				e.markDim(exprs[i]) // cat takes no 0-dim tensor
			}
		}
	}
	if t.Empty() {
		t = dtype.Unknown
	}
	r := &Value{Kind: KindTensor, DType: t, Rank: dtype.RankDim, At: x, How: HowPromote, Op: name, From: els}
	if n, ok := maxDims(els); ok {
		switch baseName(name) {
		case "stack":
			n++
		case "hstack":
			n = max(n, 1)
		case "vstack", "column_stack":
			n = max(n, 2)
		case "dstack":
			n = max(n, 3)
		}
		if n > 0 {
			r.withDims(n, true)
		}
	}
	if len(operands) > 1 {
		e.addOp(x, OpPromotes, name, e.file.Text(x.Func.Pos()), r, "", operands...)
	}
	return r
}

// matmul is @ and everything of its family with two operands.
func (e *evaluator) matmul(at python.Node, written, name string, xe python.Expr, x *Value, ye python.Expr, y *Value) *Value {
	if x.Kind == KindArray || y.Kind == KindArray {
		return e.numpyArith(at, "@", xe, x, ye, y)
	}
	if x.Kind == KindUnknown && y.tensorish() { // a tensor too, since the product takes nothing else
		x = x.asTensor()
	}
	if y.Kind == KindUnknown && x.tensorish() {
		y = y.asTensor()
	}
	if !x.tensorish() || !y.tensorish() {
		if x.tensorish() || y.tensorish() {
			return &Value{Kind: KindTensor, DType: dtype.Unknown, At: at, From: []*Value{x, y}}
		}
		return e.open(at, e.file.Text(at.Pos()))
	}
	op, ok := e.torch.Lookup(name)
	if !ok {
		op, _ = e.torch.Lookup("torch.matmul")
	}
	return e.refuse(at, op, name, written, "", Operand{Expr: xe, Value: x.Tensor(), Name: "input"}, Operand{Expr: ye, Value: y.Tensor(), Name: "other"})
}

// refuse records an operation that wants equal dtypes and gives its result:
// behind it the operands are taken as equal, for otherwise it had raised.
func (e *evaluator) refuse(at python.Node, op *torch.Op, name, written, equation string, operands ...Operand) *Value {
	v := &Value{Kind: KindTensor, At: at, How: HowOther, Op: written}
	for _, o := range operands {
		v.From = append(v.From, o.Value)
	}
	v.DType = agreed(operands)
	message := "expected scalar type"
	if op != nil {
		for i := range op.Operands {
			if m := op.Operands[i].Message; m != "" {
				message = m
				break
			}
		}
	}
	cast := false
	if outs, no, ok := e.settleAll(op, operands); ok {
		e.judge(at, no)
		if len(operands) == 2 {
			e.narrowSurvivors(operands[0].Expr, operands[1].Expr)
		}
		if len(outs) == 1 && !outs[0].Empty() {
			cast = !v.DType.Equal(outs[0]) && e.region().State == AutocastOn
			v.DType = outs[0]
		}
	} else {
		cast = e.castByAutocast(op, v, nil)
		if !cast {
			e.judge(at, differ(written, operands))
		}
	}
	for _, o := range operands { // a product takes no 0-dim tensor
		e.markDim(o.Expr)
	}
	if len(operands) == 2 && op != nil && slices.Contains([]string{"torch.matmul", "torch.mm", "torch.bmm", "torch.mv", "torch.dot"}, op.Name) {
		if n, ok := matmulDims(operands[0].Value, operands[1].Value); ok {
			v.withDims(n, true)
		}
	}
	rec := e.addOp(at, OpRefuses, name, written, v, message, operands...)
	rec.Equation = equation
	if cast {
		v.How = HowAutocast
	}
	return v
}

// settleAll settles an op whose operands all take the op's first place.
func (e *evaluator) settleAll(op *torch.Op, operands []Operand) ([]dtype.Type, refusal, bool) {
	if op == nil {
		return nil, refusal{}, false
	}
	takes := make([]taken, len(operands))
	for i, o := range operands {
		takes[i] = taken{fact: &torch.Operand{Class: torch.Raise}, value: o.Value}
	}
	return e.settle(op, takes, dtype.Type{}, false, false)
}

// agreed is the dtype behind an operation that wants equal ones: the first
// that is known, a root before the default. It is unknown where a root meets what
// is, or was promoted with, one certain dtype: the root is then that dtype, and the
// result is no more the root's than it is the other's.
func agreed(operands []Operand) dtype.Type {
	best, root, certain := dtype.Unknown, dtype.Type{}, false
	for _, o := range operands {
		t := o.Value.DType
		if !t.Known() {
			continue
		}
		certain = certain || slices.ContainsFunc(t.Parts(), func(p dtype.Part) bool { return p.Exact != dtype.None })
		if _, isRoot := t.Root(); isRoot && root.Empty() {
			root = t
		}
		if best.IsUnknown() {
			best = t
		}
	}
	switch {
	case root.Empty():
		return best
	case certain:
		return dtype.Unknown
	}
	return root
}

// castByAutocast applies the policy of the region to a result. It reports
// whether the region may change dtypes at all.
func (e *evaluator) castByAutocast(op *torch.Op, v *Value, dtypeGiven *Value) bool {
	r := e.region()
	if r.State != AutocastOn && r.State != AutocastMaybe || op == nil {
		return false
	}
	policy := op.CUDA
	if r.Device == "cpu" {
		policy = op.CPU
	}
	if v.DType.IsUnknown() && policy == torch.Passthrough {
		return false
	}
	if d, ok := v.DType.Exact(); ok && d == dtype.Float64 {
		return false // float64 is never eligible (autocast_mode.h is_eligible)
	}
	if low, _ := v.DType.Categories(); !v.DType.IsUnknown() && low < dtype.CatFloat {
		return false
	}
	var t dtype.Type
	switch policy {
	case torch.LowerPrecision:
		t = r.DType
	case torch.FP32:
		t = dtype.Exact(dtype.Float32)
	case torch.FP32SetOpt:
		if dtypeGiven != nil {
			return false
		}
		t = dtype.Exact(dtype.Float32)
	default:
		return false
	}
	if r.State == AutocastMaybe {
		t = dtype.Unknown
	}
	v.DType = t
	return true
}

// einsum contracts (and then wants equal dtypes) when an index of its inputs
// is missing in its output; otherwise it multiplies and promotes.
func (e *evaluator) einsum(x *python.Call, a *args) *Value {
	if len(a.pos) < 3 || a.pos[0].Kind != KindString || !a.pos[0].Known {
		return e.open(x, e.file.Text(x.Pos()))
	}
	eq := strings.ReplaceAll(a.pos[0].Text, " ", "")
	var operands []Operand
	for i := 1; i < len(a.pos); i++ {
		if !a.pos[i].tensorish() {
			return &Value{Kind: KindTensor, DType: dtype.Unknown}
		}
		operands = append(operands, Operand{Expr: a.exprs[i], Value: a.pos[i].Tensor(), Name: "operand"})
	}
	in, out, explicit := strings.Cut(eq, "->")
	contracts := !explicit
	for _, c := range in {
		if c >= 'A' && c <= 'z' && explicit && !strings.ContainsRune(out, c) {
			contracts = true
		}
	}
	op, _ := e.torch.Lookup("torch.bmm")
	if contracts {
		return e.refuse(x, op, "torch.einsum", e.file.Text(x.Func.Pos()), eq, operands...)
	}
	t := dtype.Type{}
	v := &Value{Kind: KindTensor, At: x, How: HowPromote, Op: "torch.einsum", Rank: dtype.RankDim}
	for _, o := range operands {
		t = dtype.Combine(t, o.Value.DType)
		v.From = append(v.From, o.Value)
	}
	v.DType = t
	e.castByAutocast(op, v, nil)
	e.addOp(x, OpPromotes, "torch.einsum", e.file.Text(x.Func.Pos()), v, "", operands...)
	return v
}

// sdpa is scaled_dot_product_attention: query, key and value must agree
// (aten/src/ATen/native/transformers/attention.cpp, validate_sdpa_input).
func (e *evaluator) sdpa(x *python.Call, name string, a *args) *Value {
	var operands []Operand
	for i, n := range []string{"query", "key", "value"} {
		if v, vx := a.arg(i, n); v != nil && v.tensorish() {
			operands = append(operands, Operand{Expr: vx, Value: v.Tensor(), Name: n})
		}
	}
	if len(operands) == 0 {
		return e.open(x, e.file.Text(x.Pos()))
	}
	op, _ := e.torch.Lookup("torch.bmm")
	v := e.refuse(x, op, name, e.file.Text(x.Func.Pos()), "", operands...)
	if rec, ok := e.ops[x]; ok {
		rec.Message = "Expected query, key, and value to have the same dtype"
	}
	v.Rank = dtype.RankDim
	return v
}

// fromNumPy is torch.from_numpy, torch.tensor and torch.as_tensor of NumPy data.
func (e *evaluator) fromNumPy(x *python.Call, name string, a *args) *Value {
	data, dx := a.arg(0, "data", "obj", "ndarray")
	if data == nil {
		return unknown()
	}
	if name == "torch.from_numpy" && data.Kind == KindOpen { // it takes nothing but an array
		v := e.created(x, name, dtype.Of(data.root), dtype.RankUnknown, a)
		v.How, v.From = HowNumPy, []*Value{data}
		return v
	}
	if data.Kind != KindArray && data.Kind != KindNumPy {
		return &Value{Kind: KindTensor, DType: dtype.Unknown, Rank: dtype.RankUnknown, At: x, How: HowNumPy, Op: name}
	}
	v := e.created(x, name, data.DType, dtype.RankUnknown, a)
	v.How, v.From = HowNumPy, []*Value{data}
	if data.Kind == KindNumPy {
		v.Rank = dtype.RankZero
	} else {
		v.Rank = data.Rank
	}
	if v.Make != nil && !v.Make.DType {
		e.addOp(x, OpFromNumPy, name, e.file.Text(x.Func.Pos()), v, "", Operand{Expr: dx, Value: data, Name: "data"})
	}
	return v
}

// apply runs a measured op on its arguments.
func (e *evaluator) apply(x *python.Call, op *torch.Op, name, written string, recv *Value, recvExpr python.Expr, a *args) *Value {
	if rounded, ok := e.roundedDivision(op, a); ok {
		if op = rounded; op == nil {
			return e.open(x, e.file.Text(x.Pos()))
		}
	}
	find := func(o *torch.Operand) (*Value, python.Expr) {
		i := o.Index
		if recv != nil {
			if i == 0 {
				return recv, recvExpr
			}
			i--
		}
		v, vx := a.arg(i, o.Name)
		return v, vx
	}
	var operands []Operand
	var strict, promote, soft []Operand
	var takes []taken
	var follows *Value
	t := dtype.Type{}
	rank := dtype.RankZero
	known := true
	tensors := 0
	for i := range op.Operands {
		o := &op.Operands[i]
		v, vx := find(o)
		if v == nil {
			continue
		}
		list := []*Value{v}
		if o.List && v.Kind == KindSequence {
			list = v.Elems
			if v.Elem != nil {
				list = []*Value{v.Elem}
			}
		}
		for _, el := range list {
			if el.Kind == KindNumber {
				if op.Dim >= 0 && o.Index == op.Dim && op.WithDim != nil {
					continue // max(x, 0): a dim
				}
				takes = append(takes, taken{fact: o, value: el})
				if o.Class == torch.Promote {
					promote = append(promote, Operand{Expr: vx, Value: el, Name: o.Name})
				}
				continue
			}
			if el.Kind == KindNone {
				continue
			}
			if !el.tensorish() {
				if el.Kind == KindUnknown || el.Kind == KindSequence {
					known = false
				}
				continue
			}
			tv := el.Tensor()
			tensors++
			if tv.Rank != dtype.RankZero {
				if rank == dtype.RankZero || tv.Rank == dtype.RankDim {
					rank = tv.Rank
				}
			}
			opd := Operand{Expr: vx, Value: tv, Name: o.Name, Only: o.Only}
			operands = append(operands, opd)
			takes = append(takes, taken{fact: o, value: tv, soft: o.Name == "bias" && o.Class != torch.Raise})
			if o.Name == "bias" && o.Class != torch.Raise {
				opd.Soft = true
				soft = append(soft, opd)
				continue
			}
			switch o.Class {
			case torch.Raise:
				if tv.Rank == dtype.RankZero && o.ZeroDim != torch.Raise && len(op.Operands) > 1 {
					continue
				}
				strict = append(strict, opd)
			case torch.Promote:
				promote = append(promote, opd)
			case torch.Follows:
				follows = tv
			case torch.Const, torch.Ignored:
			default:
				if len(op.Operands) > 1 {
					known = false
				} else {
					strict = append(strict, opd)
				}
			}
		}
	}
	mask := broadcasts(op, a, recv != nil)
	if mask != nil && rank == dtype.RankZero {
		rank = mask.Rank
	}
	// A method's receiver that no measured operand names.
	if len(op.Operands) == 0 && recv != nil && recv.tensorish() {
		r := recv.Tensor()
		operands = append(operands, Operand{Expr: recvExpr, Value: r, Name: "self"})
		takes = append(takes, taken{fact: &torch.Operand{}, value: r})
		strict = append(strict, operands[0])
		rank = r.Rank
		tensors++
	} else if len(op.Operands) == 0 && len(a.pos) > 0 && a.pos[0].tensorish() {
		r := a.pos[0].Tensor()
		operands = append(operands, Operand{Expr: a.exprs[0], Value: r, Name: "input"})
		takes = append(takes, taken{fact: &torch.Operand{}, value: r})
		strict = append(strict, operands[0])
		rank = r.Rank
		tensors++
	}
	switch {
	case follows != nil:
		t = follows.DType
	case len(strict) > 0 && len(promote) == 0:
		t = agreed(strict)
		if len(strict) == 1 {
			t = strict[0].Value.DType
		}
	case len(promote) > 0:
		ops := make([]dtype.Operand, 0, len(promote))
		for _, p := range append(promote, strict...) {
			o, _ := p.Value.operand()
			ops = append(ops, o)
		}
		t = dtype.ResultOf(ops...)
	case len(operands) > 0:
		t = operands[0].Value.DType
	default:
		t = dtype.Unknown
	}
	if !known {
		t = dtype.Unknown
	}
	if tensors == 0 {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if s := e.region().State; op.Composite && (s == AutocastOn || s == AutocastMaybe) {
		e.judge(x, refusal{})
		return e.open(x, e.file.Text(x.Pos()))
	}
	if v := e.weighted(x, op, operands); v != nil {
		return v
	}
	if drawn(op, a, recv != nil) {
		e.judge(x, refusal{})
		v := operands[0].Value.derived(x, HowKeep, written, operands[0].Value)
		v.Make = nil
		return v
	}
	given, gx := a.key("dtype")
	if given != nil && given.Kind == KindNone {
		given = nil
	}
	results := op.Same
	dimGiven := e.dimGiven(op, recv, a)
	if dimGiven && op.WithDim != nil {
		results = op.WithDim
	}
	width, mixed := resultWidth(results)
	if mixed && op.Varies {
		width = 0
	}
	how := HowKeep
	if tensors > 1 {
		how = HowPromote
	}
	var set dtype.Type
	if given != nil && op.TakesDType {
		set = dtype.Unknown
		if u, ok := dtypeOf(given); ok {
			set = u
		}
	}
	settled, no, exact := e.settle(op, takes, set, dimGiven, withoutIndices(op, a, recv))
	if exact {
		if no.text == "" && strings.Contains(name, "dropout") {
			no = dropped(op, a, recv != nil, operands)
		}
		if no.text == "" && strings.HasPrefix(name, "torch.linalg.") {
			no = bySingularValues(op, a, operands)
		}
		e.judge(x, no)
		if len(operands) == len(takes) {
			list := make([]python.Expr, len(operands))
			for i, o := range operands {
				list[i] = o.Expr
			}
			e.narrowSurvivors(list...)
		}
		if n := len(settled); n > 0 {
			width = n
		}
	} else if e.region().State == AutocastNone || e.region().State == AutocastOff {
		e.judge(x, differ(written, strict))
	} else {
		e.judge(x, refusal{})
	}
	one := func(i int) *Value {
		v := &Value{Kind: KindTensor, At: x, How: how, Op: written}
		for _, o := range operands {
			v.From = append(v.From, o.Value)
		}
		shapes := v.From
		if mask != nil {
			shapes = append(slices.Clip(shapes), mask)
		}
		e.ranked(v, op, shapes, rank, a, recv != nil, dimGiven)
		v.DType = sameOf(results, i, t)
		if v.DType.Empty() { // not a tensor
			return unknown()
		}
		if given != nil && op.TakesDType && i == 0 {
			if u, ok := dtypeOf(given); ok {
				v.DType, v.How = u, HowCast
				if len(u.Roots()) > 0 {
					e.propagates(gx)
				}
			}
		}
		if exact && i < len(settled) {
			if !v.DType.Equal(settled[i]) && e.region().State == AutocastOn {
				v.How = HowAutocast
			}
			v.DType = settled[i]
			if v.DType.Empty() {
				return unknown()
			}
		} else if i == 0 && e.castByAutocast(op, v, given) {
			v.How = HowAutocast
		}
		if tensors == 1 && v.How == HowKeep && len(operands) == 1 && v.DType.Equal(operands[0].Value.DType) {
			v.Make = operands[0].Value.Make
		}
		return v
	}
	if out, _ := a.key("out"); out != nil && out.tensorish() { // it is what comes out
		return out.derived(x, HowKeep, written, out)
	}
	var result *Value
	switch {
	case width == 0 && op.Varies:
		result = e.open(x, e.file.Text(x.Pos()))
		if strings.HasSuffix(name, "split") || strings.HasSuffix(name, "chunk") || strings.HasSuffix(name, "unbind") || strings.HasSuffix(name, "meshgrid") {
			el := one(0)
			el.DType = t
			el.How = HowKeep
			result = &Value{Kind: KindSequence, Elem: el}
		}
	case width <= 1:
		result = one(0)
	default:
		result = &Value{Kind: KindSequence, results: true}
		for i := range width {
			result.Elems = append(result.Elems, one(i))
		}
	}
	rv := result
	if rv.Kind == KindSequence {
		rv = rv.element()
	}
	switch {
	case len(strict) > 1:
		kind := OpRefuses
		if writes[name[strings.LastIndexByte(name, '.')+1:]] {
			kind = OpIndexPut
		}
		msg := ""
		for i := range op.Operands {
			if op.Operands[i].Class == torch.Raise && op.Operands[i].Message != "" {
				msg = op.Operands[i].Message
				break
			}
		}
		e.addOp(x, kind, name, written, rv, msg, append(strict, soft...)...)
	case len(promote) > 1 && len(operands) > 1:
		e.addOp(x, OpPromotes, name, written, rv, "", operands...)
	}
	return result
}

// roundedDivision is the op that torch.div is with rounding_mode=: it keeps
// integers, as floor_divide does (pytorch.org/docs/1.13, torch.div). ok is false
// for any other call; op is nil where the mode is not known.
func (e *evaluator) roundedDivision(op *torch.Op, a *args) (rounded *torch.Op, ok bool) {
	mode, _ := a.key("rounding_mode")
	if mode == nil || mode.Kind == KindNone {
		return nil, false
	}
	if mode.Kind != KindString || !mode.Known {
		return nil, true
	}
	name := strings.TrimSuffix(op.Name, baseName(op.Name)) + "floor_divide"
	if strings.HasSuffix(op.Name, "_") {
		name += "_"
	}
	rounded, _ = e.torch.Lookup(name)
	return rounded, true
}

// dropped is the refusal of float16 (no bernoulli_ kernel on the CPU; run in
// 1.13) and of integers by dropout in training, which
// scales what it keeps: "result type Float can't be cast to the desired output
// type Long". Out of training it passes them on.
func dropped(op *torch.Op, a *args, method bool, operands []Operand) refusal {
	if len(operands) == 0 {
		return refusal{}
	}
	low, high := operands[0].Value.DType.Categories()
	d, exact := operands[0].Value.DType.Exact()
	half := exact && d == dtype.Float16 && op.Name != "torch.native_dropout" // of its own kernel
	if !half && (low != high || low > dtype.CatInt) {
		return refusal{}
	}
	for _, name := range []string{"training", "train"} {
		i := slices.Index(op.Params, name)
		if i < 0 {
			continue
		}
		v, _ := a.arg(i, name)
		if v != nil && (!v.Known || v.Text == "False") || v == nil && strings.Contains(op.Name, "alpha_dropout") {
			return refusal{} // training=False is the default of the alpha forms
		}
	}
	if half {
		return refusal{text: fmt.Sprintf("%s has no kernel for float16 on the CPU in %s", baseName(op.Name), op.Version)}
	}
	return refusal{text: fmt.Sprintf("%s refuses %s", baseName(op.Name), operands[0].Value.DType), certain: true}
}

// bySingularValues is the refusal of a half matrix by the norms that need its
// singular values: ord=2, -2 or "nuc" ("Low precision dtypes not supported"; run in
// 1.13). The other orders have half kernels.
func bySingularValues(op *torch.Op, a *args, operands []Operand) refusal {
	base := baseName(op.Name)
	if len(operands) != 1 || base != "matrix_norm" && base != "norm" {
		return refusal{}
	}
	if n, ok := operands[0].Value.dims(); base == "norm" && (!ok || n != 2) {
		return refusal{}
	}
	if dim, _ := a.arg(2, "dim"); dim != nil && dim.Kind == KindNumber && base == "norm" { // of vectors
		return refusal{}
	}
	ord, _ := a.arg(1, "ord")
	d, ok := operands[0].Value.DType.Exact()
	if ord == nil || !ord.Known || !ok || !d.Half() || !slices.Contains([]string{"2", "-2", "nuc"}, ord.Text) {
		return refusal{}
	}
	return refusal{text: fmt.Sprintf("%s with ord=%s has no kernel for %s", base, ord.Text, d)}
}

// broadcasts is the mask or the condition of an op, nil if it has none: its dtype
// does not count, its shape does.
func broadcasts(op *torch.Op, a *args, method bool) *Value {
	for _, name := range []string{"mask", "condition"} {
		i := slices.Index(op.Params, name)
		if i < 0 {
			continue
		}
		if method {
			i--
		}
		if v, _ := a.arg(i, name); v != nil && v.Kind == KindTensor {
			return v
		}
	}
	return nil
}

// drawn reports whether a call of bernoulli is given its probability, and takes
// from its first operand nothing but the shape and the dtype. Source:
// pytorch.org/docs/1.13, torch.Tensor.bernoulli; run for integers and bool.
func drawn(op *torch.Op, a *args, method bool) bool {
	i := 1
	if method {
		i = 0
	}
	p, _ := a.arg(i, "p")
	return baseName(op.Name) == "bernoulli" && p != nil && p.Kind == KindNumber
}

// weighted is bincount with weights, which gives float32 for float32 ones and
// float64 for all others (run in 1.13); nil for any other call.
func (e *evaluator) weighted(x *python.Call, op *torch.Op, operands []Operand) *Value {
	if baseName(op.Name) != "bincount" || len(operands) < 2 {
		return nil
	}
	e.judge(x, refusal{})
	w := operands[1].Value
	v := &Value{Kind: KindTensor, DType: dtype.Unknown, Rank: dtype.RankDim, At: x, How: HowPromote, Op: op.Name, From: []*Value{operands[0].Value, w}}
	if closed(w.DType) {
		v.DType = w.DType.Map(func(t dtype.Type) dtype.Type {
			if ds, _ := t.In(nil, dtype.Float32); ds[0] == dtype.Float32 {
				return t
			}
			return dtype.Exact(dtype.Float64)
		})
	}
	return v
}

// withoutIndices reports whether a pooling gives no indices: they come with
// return_indices=True only, with which it was measured.
func withoutIndices(op *torch.Op, a *args, recv *Value) bool {
	i := slices.Index(op.Params, "return_indices")
	if i < 0 {
		return false
	}
	if recv != nil {
		i--
	}
	if strings.HasSuffix(op.Name, "_with_indices") {
		return false
	}
	v, _ := a.arg(i, "return_indices")
	return v == nil || v.Known && v.Text == "False"
}

// writes are the in-place operations whose source must have the container's
// dtype (measured; facts 34).
var writes = map[string]bool{
	"index_put_": true, "index_put": true, "index_add_": true, "index_add": true, "index_copy_": true, "index_copy": true, "scatter_": true, "scatter": true, "scatter_add_": true,
	"scatter_add": true, "scatter_reduce_": true, "scatter_reduce": true, "masked_scatter_": true, "masked_scatter": true, "index_reduce_": true, "put_": true,
}

func (e *evaluator) dimGiven(op *torch.Op, recv *Value, a *args) bool {
	for _, k := range []string{"dim", "axis"} {
		if v, _ := a.key(k); v != nil && v.Kind != KindNone {
			return true
		}
	}
	if op.Dim >= 0 {
		i := op.Dim
		if recv != nil {
			i--
		}
		if v, _ := a.arg(i); v != nil && (v.Kind == KindNumber || v.Kind == KindSequence) {
			return true
		}
	}
	return false
}

func (e *evaluator) resultRank(op *torch.Op, in dtype.Rank, dim bool, a *args) dtype.Rank {
	switch op.Rank {
	case torch.RankElementwise:
		return in
	case torch.RankAtLeast1:
		return dtype.RankDim
	case torch.RankReduces:
		if dim {
			if k, _ := a.key("keepdim"); k != nil && k.Known && k.Text == "True" {
				return dtype.RankDim
			}
			return dtype.RankUnknown
		}
		if r, _ := a.key("reduction"); r != nil {
			if r.Kind == KindString && r.Known && r.Text != "none" {
				return dtype.RankZero
			}
			return dtype.RankUnknown
		}
		return dtype.RankZero
	}
	return dtype.RankUnknown
}

// resultWidth is how many tensors an op gives; mixed says that it differs.
func resultWidth(same map[dtype.DType][]dtype.DType) (n int, mixed bool) {
	for _, r := range same {
		if n != 0 && len(r) != n {
			mixed = true
		}
		n = max(n, len(r))
	}
	return n, mixed
}

// floats are the dtypes on which a result must agree to be said of a root.
var floats = []dtype.DType{dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64}

// sameOf maps the operands' dtype to the i-th result's. A root keeps its dtype
// if the op keeps all floating ones. An empty type is not a tensor.
func sameOf(same map[dtype.DType][]dtype.DType, i int, t dtype.Type) dtype.Type {
	keeps, constant, first := true, true, dtype.None
	measured := false
	for _, f := range floats {
		r, ok := same[f]
		if !ok || i >= len(r) {
			continue
		}
		if !measured {
			first = r[i]
		}
		measured = true
		keeps = keeps && r[i] == f
		constant = constant && r[i] == first
	}
	if !measured {
		for _, d := range []dtype.DType{dtype.Int64, dtype.Bool} {
			if r, ok := same[d]; ok && i < len(r) {
				measured = true
				first = r[i]
				keeps = keeps && r[i] == d
				constant = constant && r[i] == first
			}
		}
	}
	if !measured {
		return dtype.Unknown
	}
	if constant && first == dtype.None {
		return dtype.Type{}
	}
	return t.Map(func(a dtype.Type) dtype.Type {
		if d, ok := a.Exact(); ok {
			if r, ok := same[d]; ok && i < len(r) {
				return dtype.Exact(r[i])
			}
			if d.Floating() && keeps {
				return a
			}
			if constant {
				return dtype.Exact(first)
			}
			return dtype.Unknown
		}
		switch {
		case keeps:
			return a
		case constant:
			return dtype.Exact(first)
		}
		return dtype.Unknown
	})
}
