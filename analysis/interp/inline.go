package interp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A call whose arguments are known without any root is evaluated with these
// arguments, since a summary cannot say what a branch on a dtype or an integer
// makes of it. So is a call of a small function with any arguments: which of its
// branches runs often depends on whether an argument is None. Such an evaluation records nothing of its own; it runs under the
// caller's autocast region, as the call does.

const (
	maxInlineDepth  = 4
	maxInlined      = 16 // calls with different arguments, by function
	maxInlinedSmall = 64
	maxSmall        = 6 // statements of a small function
)

// inlining is one evaluation of a callee.
type inlining struct{ raised []refusal }

// inlined is what a call with certain arguments gives.
type inlined struct {
	ret    *Value
	raises refusal
	left   map[string]*Value // what an __init__ leaves in self
}

// inline evaluates a call with its arguments; ok is false if they are not known
// well enough or the budget is used up.
func (e *evaluator) inline(fn *Function, recv *Value, a *args) (result inlined, ok bool) {
	if a.star || e.inlineDepth >= maxInlineDepth || e.steps <= 0 || fn.skip || fn.Def.Async || fn.state != 2 || isGenerator(fn.Def) {
		return inlined{}, false
	}
	var key strings.Builder
	any := recv != nil && recv.fresh
	small := fn.small()
	for _, list := range [][]*Value{a.pos, a.kw} {
		for _, v := range list {
			if !concrete(v, &key, 0) && !(small && describe(v, &key, 0)) {
				return inlined{}, false
			}
			any = any || small || v.Kind == KindTensor || v.Kind == KindSequence || v.Kind == KindDType
		}
		key.WriteByte(';')
	}
	if !any && !small {
		return inlined{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(a.names)) {
		key.WriteString(name + ",")
	}
	if recv != nil {
		if recv.Kind == KindInstance && recv.fresh {
			fmt.Fprintf(&key, "fresh %p %s %p", recv.Class, recv.DType, recv.Fields)
		}
	}
	r := e.region()
	key.WriteString(e.deflt.String() + string('0'+r.State) + r.Device + r.DType.String())
	k := key.String()
	if done, ok := fn.inlined[k]; ok {
		return done, done.ret != nil || done.raises.text != ""
	}
	if len(fn.inlined) >= maxInlined && !(small && len(fn.inlined) < maxInlinedSmall) {
		return inlined{}, false
	}
	if fn.inlined == nil {
		fn.inlined = map[string]inlined{}
	}
	fn.inlined[k] = inlined{} // a recursion gives up

	savedFrame, savedCast, savedStmt, savedInline := e.frame, e.autocast, e.stmt, e.inlining
	scope := *fn.Scope
	scope.Half, scope.Propagates = nil, nil
	state := &inlining{}
	e.inlining = state
	e.inlineDepth++
	e.active = append(e.active, fn)
	e.frame = &frame{vars: newVars(), parent: fn.frame, scope: &scope}
	e.autocast = append([]Autocast(nil), e.autocast...)
	for _, d := range fn.Def.Decorators {
		if a, ok := e.autocastRegion(d); ok {
			e.autocast = append(e.autocast, a)
		}
	}
	if e.bindArgs(fn, recv, a) {
		e.body(fn)
		result.ret = e.frame.ret
		if fn.Name == "__init__" {
			result.left = attributesOf(e.frame.vars)
		}
		for _, r := range state.raised {
			if result.raises.text == "" || r.certain {
				result.raises = r
			}
		}
		if result.ret != nil {
			result.raises.certain = false
		}
	}
	e.frame, e.autocast, e.stmt, e.inlining = savedFrame, savedCast, savedStmt, savedInline
	e.inlineDepth--
	e.active = e.active[:len(e.active)-1]
	if fn.inlined == nil { // it was reset while it ran
		fn.inlined = map[string]inlined{}
	}
	fn.inlined[k] = result
	return result, result.ret != nil || result.raises.text != ""
}

// bindArgs gives the parameters the values of the arguments.
func (e *evaluator) bindArgs(fn *Function, recv *Value, a *args) bool {
	used := 0
	i := 0
	for k, p := range fn.Def.Params {
		if k == 0 && recv != nil && !fn.static && p.Star == 0 {
			e.frame.vars.set(p.Name, recv)
			continue
		}
		switch {
		case p.Star == 1:
			if p.Name != "" {
				e.frame.vars.set(p.Name, &Value{Kind: KindSequence, Elems: a.pos[min(i, len(a.pos)):]})
			}
			i = len(a.pos)
			continue
		case p.Star == 2:
			rest := &Value{Kind: KindDict, Fields: map[string]*Value{}, Known: true}
			for name, k := range a.names {
				if !slices.ContainsFunc(fn.Def.Params, func(q python.Param) bool { return q.Name == name && q.Star == 0 }) {
					rest.Fields[name] = a.kw[k]
					used++
				}
			}
			e.frame.vars.set(p.Name, rest)
			continue
		case !p.KeywordOnly && i < len(a.pos):
			e.frame.vars.set(p.Name, a.pos[i])
			i++
			continue
		}
		if v, _ := a.key(p.Name); v != nil {
			e.frame.vars.set(p.Name, v)
			used++
			continue
		}
		if p.Default == nil {
			return false
		}
		v := e.byDefault(fn, k)
		if v == nil {
			return false
		}
		e.frame.vars.set(p.Name, v)
	}
	return i >= len(a.pos) && used == len(a.kw)
}

// concrete reports whether a value is known without any root, and writes what
// tells it from others.
func concrete(v *Value, key *strings.Builder, depth int) bool {
	if v == nil || depth > 3 || v.Maybe {
		return false
	}
	switch v.Kind {
	case KindTensor, KindNumber, KindDType, KindModule:
		if !closed(v.DType) {
			return false
		}
		key.WriteString(v.Kind.String() + " " + v.Name + v.DType.String() + v.Rank.String())
		if v.Known {
			key.WriteString(v.Text)
		}
		if n, ok := v.dims(); ok {
			key.WriteByte(byte('0' + n))
		}
		for _, el := range v.Elems {
			if !concrete(el, key, depth+1) {
				return false
			}
		}
	case KindString:
		key.WriteString("'" + v.Text + "'")
	case KindNone, KindDevice:
		key.WriteString(v.Kind.String())
	case KindFunction:
		key.WriteString("def " + v.Name)
	case KindSequence:
		if v.Elem != nil {
			return false
		}
		key.WriteByte('[')
		for _, el := range v.Elems {
			if !concrete(el, key, depth+1) {
				return false
			}
		}
		key.WriteByte(']')
	default:
		return false
	}
	key.WriteByte(',')
	return true
}

// small reports whether a function has only few simple statements.
func (f *Function) small() bool {
	if f.size == 0 {
		f.size = 1
		for _, s := range f.Def.Body {
			python.Inspect(s, func(n python.Node) bool {
				switch n.(type) {
				case *python.For, *python.While, *python.With, *python.Try, *python.FuncDef, *python.ClassDef, *python.Comp:
					f.size += maxSmall
				case python.Stmt:
					f.size++
				}
				return f.size <= 2*maxSmall
			})
		}
	}
	return f.size <= maxSmall+1
}

// describe writes what tells a value of any kind from others: roots by their
// numbers. It is false where that takes too much.
func describe(v *Value, key *strings.Builder, depth int) bool {
	if v == nil || depth > 3 {
		return false
	}
	fmt.Fprintf(key, "%d %s%s%d%t%s", v.Kind, v.DType, v.Rank, v.ndim, v.Maybe, v.number)
	for _, r := range v.DType.Roots() {
		fmt.Fprintf(key, "#%d", r.ID)
	}
	switch v.Kind {
	case KindUnknown, KindNone, KindDevice, KindTensor, KindNumPy, KindArray, KindDType:
	case KindOpen:
		fmt.Fprintf(key, "#%d", v.root.ID)
	case KindNumber, KindString:
		fmt.Fprintf(key, "%t%q", v.Known, v.Text)
	case KindModule, KindLibrary:
		key.WriteString(v.Name)
	case KindFunction:
		fmt.Fprintf(key, "%p", v.Func)
	case KindClass, KindInstance:
		fmt.Fprintf(key, "%p%t", v.Class, v.fresh)
	case KindSequence:
		if v.Elem != nil && !describe(v.Elem, key, depth+1) {
			return false
		}
	default:
		return false
	}
	if len(v.Elems) > 16 {
		return false
	}
	for _, el := range v.Elems {
		if !describe(el, key, depth+1) {
			return false
		}
	}
	key.WriteByte(',')
	return true
}

// attributesOf is what the variables of an __init__ hold of self.
func attributesOf(left *vars) map[string]*Value {
	m := map[string]*Value{}
	left.each(func(k string, v *Value) {
		if name, ok := strings.CutPrefix(k, "self."); ok && !strings.Contains(name, ".") {
			m[name] = v
		}
	})
	return m
}

// recorded is what the call of a dataclass leaves in the instance, nil if the class
// is none or has bases or a __post_init__ that may do more.
func (c *Class) recorded(a *args) map[string]*Value {
	if len(c.record) == 0 || len(c.Bases) > 0 || a.star || c.Methods["__post_init__"] != nil || len(a.pos) > len(c.record) {
		return nil
	}
	m := map[string]*Value{}
	for i, name := range c.record {
		switch v, _ := a.key(name); {
		case i < len(a.pos):
			m[name] = a.pos[i]
		case v != nil:
			m[name] = v
		case c.Attrs[name] != nil && c.Attrs[name].Kind != KindOpen: // field(…) may do anything
			m[name] = c.Attrs[name]
		}
	}
	return m
}

// madeAttr is an attribute of an instance that was made in sight: what __init__
// left, with the instance's own cast applied.
func (v *Value) madeAttr(name string) (*Value, bool) {
	c := v.Class
	for depth := 0; c != nil && depth < 20; depth++ {
		if c.Set[name] && !slices.Contains(c.record, name) || c.changed[name] {
			return nil, false
		}
		m, ok := v.Fields[name]
		if !ok {
			m, ok = c.made[name]
		}
		if ok && v.DType.Empty() {
			return m, true
		}
		if ok {
			return castWith(m, v.DType), true
		}
		c = c.base()
	}
	return nil, false
}

// parameters is the dtype of the parameters of an instance made in sight, as
// far as its attributes show them all.
func (v *Value) parameters() dtype.Type {
	if !v.fresh || !v.DType.Empty() {
		return v.DType
	}
	t := dtype.Type{}
	for _, m := range v.Class.made {
		switch {
		case m.Kind == KindModule, m.Kind == KindTensor && m.Op == "torch.nn.Parameter":
			t = dtype.Join(t, m.DType)
		case m.Kind == KindOpen, m.Kind == KindInstance, m.Kind == KindUnknown:
			return dtype.Unknown
		}
	}
	if len(t.Alternatives()) > 1 || v.Class.base() != nil {
		return dtype.Unknown
	}
	return t
}

// follows reports whether a tensor attribute is converted with its module.
func follows(v *Value) bool { return v.Op == "torch.nn.Parameter" || v.Op == "register_buffer" }

// base is the first base that this file shows.
func (c *Class) base() *Class {
	for _, b := range c.Bases {
		if b.Kind == KindClass {
			return b.Class
		}
	}
	return nil
}

// castInstance is instance.to(…), .half(), …: of an instance made in sight the
// dtype is known, of another one its parameters may have any.
func (e *evaluator) castInstance(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	v := *recv
	switch name {
	case "cuda", "cpu", "eval", "train", "requires_grad_":
		return recv
	case "to":
		probe := e.to(x, &Value{Kind: KindTensor, DType: dtype.Exact(dtype.Complex32)}, nil, a)
		if d, ok := probe.DType.Exact(); ok && d == dtype.Complex32 {
			return recv // a device
		}
		v.DType = probe.DType
	default:
		v.DType = dtype.Exact(castMethods[name])
	}
	if !v.fresh {
		v.DType = dtype.Unknown
	}
	if path, ok := dotted(castObject(recvExpr)); ok && v.fresh {
		e.replace(path, recv, &v)
		e.castPart(castObject(recvExpr))
	}
	return &v
}
