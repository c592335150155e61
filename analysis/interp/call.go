package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// args are the evaluated arguments of one call.
type args struct {
	call  *python.Call
	exprs []python.Expr
	pos   []*Value
	names map[string]int // keyword -> index into kwExprs and kw
	kwX   []python.Expr
	kw    []*Value
	star  bool // *args or **kwargs stand in the call
}

// arg returns an argument by position or keyword.
func (a *args) arg(i int, names ...string) (*Value, python.Expr) {
	if i >= 0 && i < len(a.pos) {
		return a.pos[i], a.exprs[i]
	}
	for _, n := range names {
		if k, ok := a.names[n]; ok {
			return a.kw[k], a.kwX[k]
		}
	}
	return nil, nil
}

func (a *args) key(name string) (*Value, python.Expr) { return a.arg(-1, name) }

func (e *evaluator) args(x *python.Call) *args {
	a := &args{call: x, names: map[string]int{}}
	for _, g := range x.Args {
		v := e.expr(g.Value)
		switch {
		case g.Star == 1 && v.Kind == KindSequence && v.Elem == nil:
			for _, el := range v.Elems {
				a.pos, a.exprs = append(a.pos, el), append(a.exprs, g.Value)
			}
		case g.Star > 0:
			a.star = true
		case g.Name != "":
			a.names[g.Name] = len(a.kw)
			a.kw, a.kwX = append(a.kw, v), append(a.kwX, g.Value)
		default:
			a.pos, a.exprs = append(a.pos, v), append(a.exprs, g.Value)
		}
	}
	return a
}

func (e *evaluator) call(x *python.Call) *Value {
	fn := e.expr(x.Func)
	a := e.args(x)
	e.useCall(x, fn, a)
	e.depth++
	defer func() { e.depth-- }()
	if e.depth > 200 {
		return unknown()
	}
	v := e.called(x, fn, a)
	e.calls(x, fn, a, v)
	return v
}

// called is the value of a call.
func (e *evaluator) called(x *python.Call, fn *Value, a *args) *Value {
	switch fn.Kind {
	case KindLibrary:
		return e.libraryCall(x, fn.Name, a)
	case KindMethod:
		return e.methodCall(x, fn, a)
	case KindFunction:
		if fn.Func.Class != nil && fn.Func.wrapped {
			return e.open(x, e.file.Text(x.Pos()))
		}
		if fn.Func.static || fn.Func.Class == nil || fn.Recv == nil {
			return e.userCall(x, fn.Func, nil, a)
		}
		return e.userCall(x, fn.Func, fn.Recv, a)
	case KindPartial:
		return e.applied(x, fn, a)
	case KindClass:
		return e.construct(x, fn.Class, a)
	case KindInstance:
		for _, name := range []string{"forward", "__call__"} {
			if m := fn.Class.method(name); m != nil && !m.wrapped && (fn.DType.Empty() || fn.fresh && closed(fn.DType)) {
				return e.userCall(x, m, fn, a)
			}
		}
	case KindModule:
		return e.moduleCall(x, fn, a)
	case KindDType: // np.float32(x)
		if strings.HasPrefix(fn.Name, "numpy.") {
			if v, _ := a.arg(0); v != nil && (v.Kind == KindArray || v.Kind == KindSequence) {
				return &Value{Kind: KindArray, DType: fn.DType, Rank: dtype.RankDim}
			}
			return &Value{Kind: KindNumPy, DType: fn.DType}
		}
	}
	return e.open(x, e.file.Text(x.Pos()))
}

// construct is Class(...): an instance.
func (e *evaluator) construct(x *python.Call, c *Class, a *args) *Value {
	e.ensure(c)
	v := &Value{Kind: KindInstance, Class: c, At: x, fresh: true}
	if init := c.method("__init__"); init != nil && !init.wrapped {
		e.sideEffects(init, v, a)
		if made, ok := e.inline(init, v, a); ok {
			v.Fields = made.left
		}
	} else if init == nil {
		v.Fields = c.recorded(a)
	}
	return v
}

// maxCallDepth bounds the evaluation of callees from callers: what lies deeper
// is evaluated later, from the top.
const maxCallDepth = 12

// userCall is a call of a function of this file: the summary with the
// parameters' roots replaced by what the arguments are.
func (e *evaluator) userCall(x *python.Call, fn *Function, recv *Value, a *args) *Value {
	if fn.skip || e.callDepth > maxCallDepth {
		return e.open(x, e.file.Text(x.Pos()))
	}
	e.callDepth++
	ok := e.summary(fn)
	e.callDepth--
	e.sideEffects(fn, recv, a)
	if fn.unsettled {
		return e.open(x, e.file.Text(x.Pos()))
	}
	if !ok || fn.Return == nil || isGenerator(fn.Def) || fn.Def.Async {
		return e.open(x, e.file.Text(x.Pos()))
	}
	exact, known := e.inline(fn, recv, a)
	e.judge(x, refusal{})
	if known {
		if r := exact.raises; r.text != "" {
			r.text = fn.Name + ": " + r.text
			e.judge(x, r)
		}
	}
	if recv != nil && (recv.fresh && !recv.DType.Empty() || recv.Kind == KindInstance && fn.Class != nil && recv.Class.overrides(fn.Class)) {
		if known && exact.ret != nil {
			return exact.ret
		}
		return e.open(x, e.file.Text(x.Pos())) // the summary is of another dtype or class
	}
	bound, exprs := map[*dtype.Root]*Value{}, map[*dtype.Root]python.Expr{}
	params := fn.Params
	defs := fn.Def.Params
	skipped := 0
	if recv != nil && !fn.static && len(params) > 0 {
		params, defs, skipped = params[1:], defs[1:], 1
	}
	i := 0
	for k, p := range params {
		d := defs[k]
		if p == nil || p.root == nil && p.Kind != KindTensor {
			if d.Star == 0 && !d.KeywordOnly {
				i++
			}
			continue
		}
		root := p.root
		if root == nil {
			root, _ = p.DType.Root()
		}
		if root == nil {
			i++
			continue
		}
		var v *Value
		switch {
		case d.Star > 0:
		case !d.KeywordOnly && i < len(a.pos):
			v, exprs[root] = a.pos[i], a.exprs[i]
			i++
		default:
			v, exprs[root] = a.key(d.Name)
			if !d.KeywordOnly {
				i++
			}
			if v == nil && d.Default != nil && !a.star {
				v = e.byDefault(fn, k+skipped)
			}
		}
		if v == nil {
			v = unknown()
		}
		bound[root] = v
	}
	r := e.substitute(fn.Return, bound, 0)
	e.meet(x, fn, bound, exprs, r)
	if known && exact.ret != nil {
		if r.Kind != KindTensor || exact.ret.Kind != KindTensor {
			return exact.ret
		}
		c := *r
		c.DType, c.Rank, c.ndim = exact.ret.DType, exact.ret.Rank, exact.ret.ndim
		r = &c
	}
	if r.Kind == KindUnknown || r.Kind == KindNone {
		if r.Kind == KindNone {
			return r
		}
		return e.open(x, e.file.Text(x.Pos()))
	}
	if r == fn.Return || r.Kind == KindTensor {
		c := *r
		c.At, c.How, c.Op, c.From = x, HowCall, e.file.Text(x.Func.Pos()), append([]*Value{fn.Return}, a.pos...)
		c.Make = e.madeBy(x, fn, a)
		return &c
	}
	return r
}

// madeBy is how a function of this file created what it returns, seen from its
// call: nil unless a factory made it there without a dtype.
func (e *evaluator) madeBy(x *python.Call, fn *Function, a *args) *Creation {
	from := made(fn.Return, 0)
	if from == nil || from.DType || from.Scope != fn.Scope && !from.Called || from.DeviceOf != nil || len(from.ShapeOf) > 0 {
		return nil // made for one of the callee's own tensors: its mistake
	}
	m := &Creation{Call: x, Name: fn.Name, Called: true, Scope: e.frame.scope, InScope: e.inScope()}
	for _, list := range [][]*Value{a.pos, a.kw} {
		for _, v := range list {
			if v.Kind == KindDevice && len(v.From) == 1 {
				m.Device, m.DeviceOf = from.Device, v.From[0]
			}
		}
	}
	return m
}

// made follows a value of the default dtype back to the factory that made it,
// through what keeps or promotes default dtypes.
func made(v *Value, depth int) *Creation {
	if v == nil || depth > 20 || v.Kind != KindTensor || !v.DType.IsDefault() {
		return nil
	}
	if v.Make != nil {
		return v.Make
	}
	if v.How != HowKeep && v.How != HowPromote {
		return nil
	}
	for _, f := range v.From {
		if m := made(f, depth+1); m != nil {
			return m
		}
	}
	return nil
}

// substitute replaces parameters by arguments in a value.
func (e *evaluator) substitute(v *Value, bound map[*dtype.Root]*Value, depth int) *Value {
	if v == nil || depth > 6 {
		return unknown()
	}
	switch v.Kind {
	case KindOpen:
		if b, ok := bound[v.root]; ok {
			return b
		}
		return v
	case KindTensor, KindDType, KindArray:
		t := v.DType.Substitute(func(r *dtype.Root) (dtype.Type, bool) {
			b, ok := bound[r]
			if !ok {
				return dtype.Type{}, false
			}
			switch b.Kind {
			case KindTensor, KindDType:
				return b.DType, true
			case KindOpen:
				return dtype.Of(b.root), true
			}
			return dtype.Unknown, true
		})
		if t.Equal(v.DType) {
			return v
		}
		c := *v
		c.DType = t
		return &c
	case KindSequence:
		c := &Value{Kind: KindSequence, Name: v.Name}
		if v.Elem != nil {
			c.Elem = e.substitute(v.Elem, bound, depth+1)
		}
		for _, el := range v.Elems {
			c.Elems = append(c.Elems, e.substitute(el, bound, depth+1))
		}
		return c
	case KindDict:
		c := &Value{Kind: KindDict, Fields: map[string]*Value{}}
		for k, f := range v.Fields {
			c.Fields[k] = e.substitute(f, bound, depth+1)
		}
		return c
	}
	return v
}

func isGenerator(d *python.FuncDef) bool {
	found := false
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n.(type) {
			case *python.Yield:
				found = true
			case *python.FuncDef, *python.Lambda, *python.ClassDef:
				return false
			}
			return !found
		})
	}
	return found
}

// summary evaluates a function once. It reports whether the summary is ready;
// in a recursion it is not.
func (e *evaluator) summary(fn *Function) bool {
	switch fn.state {
	case 1:
		return false
	case 2:
		return true
	}
	fn.state = 1
	e.active = append(e.active, fn)
	defer func() { e.active = e.active[:len(e.active)-1] }()
	if fn.Class != nil && fn.Name != "__init__" {
		e.ensure(fn.Class)
		if fn.state == 2 {
			return true
		}
	}
	savedFrame, savedCast, savedStmt, savedDefault := e.frame, e.autocast, e.stmt, e.deflt
	if e.defaults.top > 1 {
		e.deflt = dtype.Unknown // whenever it is called
	} else if e.defaults.top == 0 && !e.defaults.anywhere {
		e.deflt = dtype.Default // not that of a context around this call
	}
	e.frame = &frame{vars: newVars(), parent: fn.frame, scope: fn.Scope}
	e.autocast = nil
	for _, d := range fn.Def.Decorators {
		if a, ok := e.autocastRegion(d); ok {
			e.autocast = append(e.autocast, a)
			fn.Scope.Half = append(fn.Scope.Half, d)
		}
	}
	for i, p := range fn.Def.Params {
		v := e.param(fn, i, p)
		fn.Params = append(fn.Params, v)
		if p.Name != "" {
			e.frame.vars.set(p.Name, v)
		}
	}
	fn.Scope.Params = fn.Params
	e.body(fn)
	fn.Return = e.frame.ret
	fn.Scope.Return = fn.Return
	if fn.Class != nil && fn.Name == "__init__" {
		fn.Class.collect(e, e.frame.vars)
	}
	e.frame, e.autocast, e.stmt, e.deflt = savedFrame, savedCast, savedStmt, savedDefault
	fn.state = 2
	return true
}

// body evaluates the statements of a function, or the expression of a lambda.
func (e *evaluator) body(fn *Function) {
	if fn.body != nil {
		e.stmt = fn.stmt
		e.frame.ret = e.expr(fn.body)
		return
	}
	e.block(fn.Def.Body)
	if !e.frame.dead {
		e.frame.ret = joinValues(e.frame.ret, &Value{Kind: KindNone})
	}
}

// param returns the value of a parameter inside its function.
func (e *evaluator) param(fn *Function, i int, p python.Param) *Value {
	if i == 0 && fn.Class != nil && !fn.static && p.Star == 0 {
		if fn.class_ {
			return &Value{Kind: KindClass, Class: fn.Class}
		}
		return fn.Class.self
	}
	switch p.Star {
	case 1:
		return &Value{Kind: KindSequence, Elem: e.open(paramNode{p.Span}, "*"+p.Name)}
	case 2:
		return &Value{Kind: KindDict, At: paramNode{p.Span}, How: HowParam, Op: p.Name}
	}
	v := e.annotated(p.Annotation, p.Name, paramNode{p.Span})
	if p.Default != nil {
		switch d := p.Default.(type) {
		case *python.Lit:
			if d.Kind == "none" {
				return v.maybe()
			}
			if v.Kind == KindOpen {
				n := *e.eval(d)
				n.Known = false
				return &n
			}
		case *python.Str:
			if v.Kind == KindOpen {
				return &Value{Kind: KindString}
			}
		default:
			if v.Kind == KindOpen {
				if dv := e.quiet(d); dv.Kind == KindDType {
					return &Value{Kind: KindDType, DType: dtype.Of(v.root), root: v.root, How: HowParam, At: v.At, file: e.file}
				}
			}
		}
	}
	return v
}

// paramNode is a parameter as a key of roots.
type paramNode struct{ python.Span }

// annotated returns the value that an annotation promises for a name.
func (e *evaluator) annotated(ann python.Expr, name string, at python.Node) *Value {
	v := &Value{Kind: KindOpen, At: at, root: e.rootAt(at, name, dtype.Open), How: HowParam, Op: name, file: e.file}
	if _, ok := at.(paramNode); ok {
		e.originates(v, Origin{Kind: OriginParam, Scope: e.frame.scope, Name: name})
	}
	if ann == nil {
		return v
	}
	text, maybe := annotation(e.file.Text(ann.Pos()))
	if a := e.promised(text, v, 0); a != nil {
		v = a
	}
	if v.How == HowOther {
		v.How, v.At = HowParam, at
	}
	if maybe {
		v = v.maybe()
	}
	return v
}
