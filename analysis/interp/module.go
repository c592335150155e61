package interp

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// strictModule reports whether a module refuses an input whose dtype is not
// its parameters', whatever the two are.
func strictModule(m *torch.ModuleFact) bool {
	if !m.HasParams() || m.IDs {
		return false
	}
	for _, pair := range [...][2]dtype.DType{{dtype.Float32, dtype.Float64}, {dtype.Float64, dtype.Float32}, {dtype.BFloat16, dtype.Float32}} {
		if r, ok := m.Result(pair[0], pair[1]); !ok || !r.Raises {
			return false
		}
	}
	return true
}

// keepsInput reports whether a module gives its input's floating dtype wherever
// it does not refuse it.
func keepsInput(m *torch.ModuleFact) bool {
	if m.Container || m.IDs || strictModule(m) {
		return false
	}
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64} {
		r, ok := m.Result(d, d)
		if !ok || len(r.Out) != 1 || r.Out[0] != d {
			return false
		}
	}
	return true
}

// settleModule gives what a module makes of an input, and what it has against
// it, where both dtypes are known without any root. ok is false if not, or if
// it was not measured.
func (e *evaluator) settleModule(fact *torch.ModuleFact, in, params dtype.Type) (outs []dtype.Type, r refusal, ok bool) {
	if !fact.HasParams() && len(fact.Buffers) == 0 {
		params = dtype.Exact(dtype.Float32)
	}
	if !closed(in) || !closed(params) {
		return nil, refusal{}, false
	}
	var combinations [][2]dtype.Type
	for _, i := range in.Alternatives() {
		for _, p := range params.Alternatives() {
			combinations = append(combinations, [2]dtype.Type{i, p})
		}
	}
	worlds, refused := 0, 0
	releases := []*torch.ModuleFact{fact}
	if fact.Releases != nil {
		releases = fact.Releases
	}
	for _, fact := range releases {
		for _, c := range combinations {
			i, p := c[0], c[1]
			worlds++
			x, w, no, ok := e.moduleWorld(fact, i, p)
			if !ok {
				return nil, refusal{}, false
			}
			if no.text != "" {
				if r = no; len(releases) > 1 {
					r.text += " in PyTorch " + fact.Version
				}
				if no.certain {
					refused++
					continue
				}
			}
			if outs == nil {
				outs = make([]dtype.Type, len(w))
			}
			if len(outs) != len(w) {
				return nil, refusal{}, false
			}
			for k, o := range w {
				t := dtype.Exact(o)
				if xd, _ := x.In(nil, dtype.Float32); xd[0] == o {
					t = x
				} else if pd, _ := p.In(nil, dtype.Float32); pd[0] == o && fact.HasParams() {
					t = p
				} else if xd[0].Category() <= dtype.CatInt && o == dtype.Float32 {
					t = e.deflt
				}
				outs[k] = dtype.Join(outs[k], t)
			}
		}
	}
	r.certain = refused == worlds
	return outs, r, true
}

func (e *evaluator) moduleWorld(fact *torch.ModuleFact, in, params dtype.Type) (dtype.Type, []dtype.DType, refusal, bool) {
	one := func(t dtype.Type) dtype.DType { ds, _ := t.In(nil, dtype.Float32); return ds[0] }
	base := baseName(fact.Name)
	if region := e.region(); region.State == AutocastOn || region.State == AutocastMaybe {
		policy := fact.CUDA
		if region.Device == "cpu" {
			policy = fact.CPU
		}
		to := dtype.Type{}
		switch policy {
		case torch.LowerPrecision:
			to = region.DType
		case torch.FP32, torch.FP32SetOpt:
			to = dtype.Exact(dtype.Float32)
		case torch.PromoteWidest:
			to = dtype.Combine(in, params)
		case torch.Banned:
			return in, nil, refusal{text: base + " is not allowed under autocast", certain: true}, true
		}
		if !to.Empty() {
			if region.State == AutocastMaybe || !closed(to) {
				return in, nil, refusal{}, false
			}
			for _, t := range []*dtype.Type{&in, &params} {
				if d := one(*t); d.Floating() && d != dtype.Float64 {
					*t = to
				}
			}
		}
	}
	d, p := one(in), one(params)
	r, ok := fact.Result(d, p)
	if !ok && d.Category() <= dtype.CatInt && fact.HasParams() {
		if fact.IDs {
			return in, []dtype.DType{p}, refusal{}, d != dtype.Bool
		}
		r, ok = fact.Result(dtype.Int64, p)
		if ok && !r.Raises && !r.NotCPU {
			ok = false
		}
	}
	if !ok {
		if strings.HasSuffix(strings.TrimRight(base, "123d"), "Dropout") && d.Category() <= dtype.CatInt { // in training
			return in, nil, refusal{text: fmt.Sprintf("%s refuses %s", base, in), certain: true}, true
		}
		op, found := e.torch.Lookup(functional(base))
		if !found || fact.HasParams() || len(op.Operands) == 0 {
			return in, nil, refusal{}, false
		}
		outs, no, known := e.world(op, []part{{fact: &op.Operands[0], t: in, d: d, rank: dtype.RankDim}}, dtype.Type{}, false, false)
		if !known || no.text == "" && len(outs) == 0 {
			return in, nil, refusal{}, false
		}
		var ds []dtype.DType
		for _, o := range outs {
			ds = append(ds, one(o))
		}
		return in, ds, no, true
	}
	if d == dtype.Float16 && strings.HasSuffix(strings.TrimRight(base, "123d"), "Dropout") { // in training
		r.NotCPU = true
	}
	switch {
	case r.NotCPU && d.Half():
		outs := r.Out
		if outs == nil {
			outs = []dtype.DType{d}
		}
		return in, outs, refusal{text: fmt.Sprintf("%s has no kernel for %s on the CPU in %s", base, d, fact.Version)}, true
	case r.NotCPU:
		return in, nil, refusal{text: fmt.Sprintf("%s refuses %s", base, d), certain: true}, true
	case r.Raises:
		return in, nil, refusal{text: fmt.Sprintf("%s with parameters of %s refuses %s", base, params, in), certain: true}, true
	}
	return in, r.Out, refusal{}, true
}

// functional is the function that a module without parameters calls.
func functional(base string) string {
	switch base {
	case "Sigmoid", "Tanh":
		return "torch." + strings.ToLower(base)
	}
	for _, w := range []string{"ReLU", "GELU", "SiLU", "SELU", "CELU", "ELU", "GLU"} {
		base = strings.Replace(base, w, w[:1]+strings.ToLower(w[1:]), 1)
	}
	var b strings.Builder
	for i, c := range base {
		if c >= 'A' && c <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	name := strings.ToLower(b.String())
	switch name {
	case "b_c_e_loss":
		name = "binary_cross_entropy"
	case "b_c_e_with_logits_loss":
		name = "binary_cross_entropy_with_logits"
	case "m_s_e_loss":
		name = "mse_loss"
	case "cross_entropy_loss":
		name = "cross_entropy"
	case "n_l_l_loss":
		name = "nll_loss"
	case "k_l_div_loss":
		name = "kl_div"
	}
	return "torch.nn.functional." + name
}

// moduleMake is nn.Linear(...): a module of the default dtype, or of dtype=.
func (e *evaluator) moduleMake(x *python.Call, name string, a *args) *Value {
	v := &Value{Kind: KindModule, Name: name, DType: e.deflt, At: x, How: HowCreate, Op: name}
	if d, _ := a.key("dtype"); d != nil && d.Kind != KindNone {
		if t, ok := dtypeOf(d); ok {
			v.DType = t
		}
	}
	base := strings.TrimPrefix(name, "torch.nn.")
	switch base {
	case "Sequential":
		if a.star {
			return e.open(x, e.file.Text(x.Pos()))
		}
		v.DType = dtype.Type{}
		for _, p := range a.pos {
			if p.Kind != KindModule {
				v.DType = dtype.Unknown
				break
			}
			v.Elems = append(v.Elems, p)
			if f, ok := e.torch.Module(p.Name); ok && (f.HasParams() || f.Container) && v.DType.Empty() {
				v.DType = p.DType
			}
		}
		if v.DType.Empty() {
			v.DType = e.deflt
		}
	case "ModuleList": // a list as far as loops and indices are concerned
		if l, _ := a.arg(0, "modules"); l != nil && l.Kind == KindSequence {
			return &Value{Kind: KindSequence, Name: "ModuleList", Elems: l.Elems, Elem: l.Elem}
		}
		if len(a.pos)+len(a.kw) == 0 {
			return &Value{Kind: KindSequence, Name: "ModuleList"}
		}
		return e.open(x, e.file.Text(x.Pos()))
	case "ModuleDict", "ParameterList", "ParameterDict":
		if v := e.container(base, a); v != nil {
			return v
		}
		return e.open(x, e.file.Text(x.Pos()))
	case "DataParallel", "SyncBatchNorm":
		return e.open(x, e.file.Text(x.Pos()))
	}
	return v
}

// moduleMethod is module.to(...), module.half(), …: modules are changed in place.
func (e *evaluator) moduleMethod(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	recvExpr = castObject(recvExpr)
	var t dtype.Type
	set := false
	switch name {
	case "half", "bfloat16", "float", "double":
		t, set = dtype.Exact(castMethods[name]), true
		if castMethods[name].Half() {
			e.frame.scope.Half = append(e.frame.scope.Half, x)
		}
	case "to", "type":
		probe := e.to(x, &Value{Kind: KindTensor, DType: recv.DType}, nil, a)
		if !probe.DType.Equal(recv.DType) {
			t, set = probe.DType, true
		}
	case "cuda", "cpu", "eval", "train", "requires_grad_":
		return recv
	case "apply":
		return e.applyTo(recv, recvExpr, a)
	case "load_state_dict":
		if v, _ := a.key("assign"); v == nil || v.Known && v.Text == "False" {
			return e.open(x, e.file.Text(x.Pos()))
		}
		if path, ok := dotted(recvExpr); ok { // the file's dtypes take the place of the module's
			v := *recv
			v.DType = dtype.Unknown
			e.frame.vars.set(path, &v)
		}
		return e.open(x, e.file.Text(x.Pos()))
	case "parameters":
		return &Value{Kind: KindSequence, Elem: &Value{Kind: KindTensor, DType: recv.DType, Rank: dtype.RankDim}}
	case "forward":
		return e.moduleCall(x, recv, a)
	default:
		return e.open(x, e.file.Text(x.Pos()))
	}
	if !set {
		return recv
	}
	v := *recv
	v.DType, v.At, v.From = t, x, []*Value{recv}
	if path, ok := dotted(recvExpr); ok {
		e.replace(path, recv, &v)
		e.castPart(recvExpr)
	}
	return &v
}

// applyTo is module.apply(f): of its dtype nothing is known where f casts.
func (e *evaluator) applyTo(recv *Value, recvExpr python.Expr, a *args) *Value {
	f, _ := a.arg(0, "fn")
	if f == nil || f.Kind != KindFunction || !castsIn(f.Func.Def) {
		return recv
	}
	v := *recv
	v.DType, v.From, v.Elems = dtype.Unknown, []*Value{recv}, nil
	if path, ok := dotted(recvExpr); ok {
		e.replace(path, recv, &v)
		e.castPart(recvExpr)
	}
	return &v
}

// castsIn reports whether a function calls a method that casts.
func castsIn(d *python.FuncDef) bool {
	found := false
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			if at, ok := n.(*python.Attribute); ok {
				_, cast := castMethods[at.Sel]
				found = found || cast || at.Sel == "to" || at.Sel == "data"
			}
			return !found
		})
	}
	return found
}

// castObject is the module that a chain of casts changes: net of net.half().float().
func castObject(x python.Expr) python.Expr {
	for {
		c, ok := x.(*python.Call)
		if !ok {
			return x
		}
		at, ok := c.Func.(*python.Attribute)
		if !ok {
			return x
		}
		switch at.Sel {
		case "to", "half", "bfloat16", "float", "double", "type", "cuda", "cpu", "eval", "train", "requires_grad_":
			x = at.X
		default:
			return x
		}
	}
}

// moduleCall is module(x).
func (e *evaluator) moduleCall(x *python.Call, m *Value, a *args) *Value {
	if m.Name == "" && len(m.From) == 2 { // one of two
		var v *Value
		for _, f := range m.From {
			el := *f
			if _, ok := m.DType.Root(); ok {
				el.DType = m.DType
			}
			v = joinValues(v, e.moduleCall(x, &el, a))
		}
		return v
	}
	base := strings.TrimPrefix(m.Name, "torch.nn.")
	in, inExpr := a.arg(0, "input", "query", "src")
	e.judge(x, refusal{})
	if base == "Sequential" && len(m.Elems) > 0 && in != nil && in.tensorish() {
		v := in.Tensor()
		for _, el := range m.Elems {
			el := *el
			el.DType = elementType(m, &el)
			v = e.moduleStep(x, &el, v, inExpr, strings.TrimPrefix(el.Name, "torch.nn."))
			if !v.tensorish() {
				return v
			}
		}
		return v
	}
	if in == nil || !in.tensorish() {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if fact, ok := e.torch.Module(m.Name); ok && !fact.HasParams() && len(a.pos) > 1 { // a loss
		if op, ok := e.torch.Lookup(functional(base)); ok {
			v := e.apply(x, op, op.Name, e.file.Text(x.Func.Pos()), nil, nil, a)
			for len(m.From) > 0 { // behind .to()
				m = m.From[0]
			}
			if c, ok := m.At.(*python.Call); ok && v.Kind == KindTensor && len(c.Args) > 0 {
				v.Rank, v.ndim = dtype.RankUnknown, 0 // reduction= may be given
			}
			return v
		}
	}
	v := e.moduleStep(x, m, in.Tensor(), inExpr, base)
	switch base {
	case "LSTM", "GRU", "RNN", "MultiheadAttention":
		return &Value{Kind: KindSequence, Elem: v}
	}
	return v
}

// elementType is the dtype of a layer inside a Sequential: the Sequential's
// own once it follows .to() or was cast.
func elementType(m, el *Value) dtype.Type {
	if _, ok := m.DType.Root(); ok || len(m.From) > 0 {
		return m.DType
	}
	return el.DType
}

func (e *evaluator) moduleStep(x *python.Call, m, in *Value, inExpr python.Expr, base string) *Value {
	written := e.file.Text(x.Func.Pos())
	fact, ok := e.torch.Module(m.Name)
	if !ok || fact.Container {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if strictModule(fact) && inExpr != nil {
		e.markDim(inExpr) // the last dimension is theirs
	}
	outs, no, exact := e.settleModule(fact, in.DType, m.DType)
	if exact && no.text != "" {
		e.judge(x, no)
	}
	var v *Value
	switch {
	case strictModule(fact):
		param := &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: m.At, How: HowAttr, From: []*Value{m}, file: e.file}
		v = &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: x, How: HowModule, Op: written, From: []*Value{in, param}}
		if !m.DType.Known() {
			v.DType = dtype.Unknown
		}
		op, _ := e.torch.Lookup("torch.nn.functional.linear")
		switch base {
		case "LayerNorm", "GroupNorm":
			op, _ = e.torch.Lookup("torch.nn.functional.layer_norm")
		}
		if e.castByAutocast(op, v, nil) {
			v.How = HowAutocast
		}
		msg := "mat1 and mat2 must have the same dtype"
		if r, ok := fact.Result(dtype.Float64, dtype.Float32); ok && r.Message != "" {
			msg = r.Message
		}
		if strings.HasPrefix(base, "Conv") || strings.HasPrefix(base, "LazyConv") {
			msg = "should be the same"
		} else if strings.HasSuffix(base, "Norm") {
			msg = "expected scalar type"
		}
		input := Operand{Expr: inExpr, Value: in, Name: "input"}
		if fact.Releases != nil && exact && !no.certain { // the CPU takes float32 parameters beside a half input (stricterOnCUDA in analysis/torch)
			input.Only = "on CUDA"
		}
		e.addOp(x, OpModule, m.Name, written, v, msg, input, Operand{Expr: x.Func, Value: param, Name: "weight"})
	case fact.IDs:
		v = &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: x, How: HowModule, Op: written, From: []*Value{m}}
	case keepsInput(fact):
		v = in.derived(x, HowModule, written, in)
		if e.castByAutocast(&torch.Op{CUDA: fact.CUDA, CPU: fact.CPU}, v, nil) {
			v.How = HowAutocast
		}
	case exact && len(outs) == 1:
		v = in.derived(x, HowModule, written, in)
	default:
		return e.open(x, e.file.Text(x.Pos()))
	}
	if exact && len(outs) > 0 {
		if e.region().State == AutocastOn && !v.DType.Equal(outs[0]) {
			v.How = HowAutocast
		}
		v.DType = outs[0]
	}
	switch fact.Rank {
	case torch.RankReduces:
		v.Rank, v.ndim = dtype.RankZero, 1
	case torch.RankAtLeast1:
		v.Rank, v.ndim = dtype.RankDim, in.ndim
		if in.Rank != dtype.RankDim || fact.IDs {
			v.ndim = 0
		}
	}
	return v
}
