package interp

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// This file follows what functions share with the code around them: names of
// outer scopes that they read or write, defaults, decorators, and attributes that
// are set from outside the class.

// maxResets is how often a function is evaluated again because a name that it
// reads of an outer scope was bound to something else.
const maxResets = 4

// outerName is a name of a frame.
type outerName struct {
	frame *frame
	name  string
}

// captures notes that the functions that are being evaluated depend on a name of
// an outer frame.
func (e *evaluator) captures(f *frame, key string, v *Value) {
	if len(e.active) == 0 || v.Kind == KindLibrary {
		return
	}
	if f.captured == nil {
		f.captured = map[string]map[*Function]bool{}
	}
	readers := f.captured[key]
	if readers == nil {
		readers = map[*Function]bool{}
		f.captured[key] = readers
	}
	for _, fn := range e.active {
		readers[fn] = true
	}
}

// rebound forgets what is known of the functions that read a name of this frame
// that now gets another value: they see the new one when they are called again.
func (e *evaluator) rebound(f *frame, name string, v *Value) {
	readers := f.captured[name]
	if len(readers) == 0 {
		return
	}
	if old, ok := f.vars.get(name); !ok || old == v || equalValue(old, v) {
		return
	}
	delete(f.captured, name)
	for fn := range readers {
		fn.reset()
	}
}

// reset makes the next call evaluate the function anew.
func (fn *Function) reset() {
	if fn.state != 2 {
		return
	}
	if fn.resets++; fn.resets > maxResets {
		fn.unsettled = true
		return
	}
	fn.state, fn.Params, fn.Return, fn.inlined = 0, nil, nil, nil
	if fn.Class != nil && fn.Name == "__init__" {
		fn.Class.ready = false
	}
}

// setOuter is an assignment to a name that global or nonlocal names. What it
// holds behind the call depends on when the function is called.
func (e *evaluator) setOuter(name string, nonlocal bool) {
	owner := e.module
	if nonlocal {
		for f := e.frame.parent; f != nil; f = f.parent {
			if _, ok := f.vars.get(name); ok {
				owner = f
				break
			}
		}
	}
	e.changes(outerName{owner, name})
}

// changes makes a name of an outer frame unknown, and notes that the functions
// that are being evaluated do so.
func (e *evaluator) changes(n outerName) {
	n.frame.vars.deletePaths(n.name)
	v := unknown()
	e.rebound(n.frame, n.name, v)
	n.frame.vars.set(n.name, v)
	for _, fn := range e.active {
		if !slices.Contains(fn.writes, n) {
			fn.writes = append(fn.writes, n)
		}
	}
}

// defaultsOf evaluates the defaults of the parameters, which Python does where the
// function is defined.
func (e *evaluator) defaultsOf(fn *Function, params []python.Param) {
	values := make([]*Value, len(params))
	for i, p := range params {
		if p.Default == nil {
			continue
		}
		values[i] = e.expr(p.Default)
		if len(fn.defaults) > i {
			values[i] = joinValues(fn.defaults[i], values[i])
		}
	}
	fn.defaults = values
}

// byDefault is the value of a parameter that no argument is given for, nil if it
// has none.
func (e *evaluator) byDefault(fn *Function, i int) *Value {
	if i >= len(fn.defaults) || fn.defaults[i] == nil {
		return nil
	}
	return e.current(fn.defaults[i])
}

// decorated is what the decorators make of a function. Those of this file are
// called; one of another file gives the function, unless its name says that it
// casts.
func (e *evaluator) decorated(v *Value, decorators []python.Expr) *Value {
	for _, d := range slices.Backward(decorators) {
		by := e.expr(d)
		switch {
		case by.Kind == KindFunction && by.Func != nil && !by.Func.skip:
			c := e.callOf(d)
			v = e.called(c, by, &args{call: c, exprs: []python.Expr{d}, pos: []*Value{v}, names: map[string]int{}})
		case by.Kind == KindInstance, by.Kind == KindClass, e.callsOwn(d), castsByName(e.file.Text(d.Pos())):
			v = e.open(d, e.file.Text(d.Pos())+"()")
		}
	}
	return v
}

// callOf is a call that the file does not write out: of a decorator, of __enter__.
func (e *evaluator) callOf(x python.Expr) *python.Call {
	c, ok := e.unwritten[x]
	if !ok {
		c = &python.Call{Span: x.Pos(), Func: x}
		e.unwritten[x] = c
	}
	return c
}

// callsOwn reports whether an expression calls a function of this file.
func (e *evaluator) callsOwn(x python.Expr) bool {
	c, ok := x.(*python.Call)
	if !ok {
		return false
	}
	v := e.named(c.Func)
	return v != nil && v.Kind == KindFunction
}

// castsByName knows decorators that cast arguments or results: mmcv's auto_fp16
// and force_fp32 (mmcv/runner/fp16_utils.py) and their like.
func castsByName(text string) bool {
	name, _, _ := strings.Cut(text, "(")
	name = strings.ToLower(baseName(name))
	for _, word := range []string{"fp16", "fp32", "bf16", "cast_", "to_float", "to_half"} {
		if strings.Contains(name, word) {
			return !strings.Contains(name, "autocast")
		}
	}
	return false
}

// setAttribute notes an assignment to an attribute of an object that is not the
// method's own self: what the methods of its class read there is open from now on.
func (e *evaluator) setAttribute(recv *Value, name string) {
	if recv == nil || recv.Kind != KindInstance && recv.Kind != KindClass || recv.Class == nil || recv.Class.changed[name] {
		return
	}
	own := recv.Class
	own.Set[name] = true
	if own.changed == nil {
		own.changed = map[string]bool{}
	}
	own.changed[name] = true
	for _, fn := range e.funcs {
		if fn.Class != nil && fn.Class.derives(own) {
			fn.reset()
		}
	}
}

// derives reports whether a class is another one or has it among its first bases.
func (c *Class) derives(base *Class) bool {
	for depth := 0; c != nil && depth < 20; depth++ {
		if c == base {
			return true
		}
		c = c.base()
	}
	return false
}

// overrides reports whether a class defines anew what a base of it has, so that the
// base's methods may do other things than they do for the base itself.
func (c *Class) overrides(base *Class) bool {
	for depth := 0; c != nil && c != base && depth < 20; depth++ {
		for name := range c.Methods {
			if name != "__init__" && base.method(name) != nil {
				return true
			}
		}
		for name := range c.Attrs {
			if base.has(name) {
				return true
			}
		}
		c = c.base()
	}
	return false
}

// has reports whether a class or one of its bases has an attribute.
func (c *Class) has(name string) bool {
	for depth := 0; c != nil && depth < 20; depth++ {
		if _, ok := c.Attrs[name]; ok || c.Set[name] {
			return true
		}
		c = c.base()
	}
	return false
}

// replace puts a value in the place of another one that was changed by what path
// names, and of every other name of the frame for the same object.
func (e *evaluator) replace(path string, old, v *Value) {
	e.frame.vars.set(path, v)
	if !old.aliased {
		return
	}
	var names []string
	e.frame.vars.each(func(name string, held *Value) {
		e.steps-- // a long file with many names
		if held == old {
			names = append(names, name)
		}
	})
	for _, name := range names {
		e.frame.vars.set(name, v)
	}
}

// mutators are the methods that change a list or a dictionary.
var mutators = map[string]bool{
	"append": true, "extend": true, "insert": true, "pop": true, "clear": true, "update": true, "setdefault": true, "remove": true, "popitem": true, "reverse": true, "sort": true,
}

// changed are the parameters whose items a function changes.
func (fn *Function) changed() map[string]bool {
	if fn.mutates != nil {
		return fn.mutates
	}
	fn.mutates = map[string]bool{}
	note := func(x python.Expr) {
		if n, ok := x.(*python.Name); ok {
			fn.mutates[n.ID] = true
		}
	}
	for _, s := range fn.Def.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Assign:
				for _, t := range n.Targets {
					for _, t := range targets(t) {
						if sub, ok := t.(*python.Subscript); ok {
							note(sub.X)
						}
					}
				}
			case *python.Delete:
				for _, t := range n.Targets {
					if sub, ok := t.(*python.Subscript); ok {
						note(sub.X)
					}
				}
			case *python.Call:
				if at, ok := n.Func.(*python.Attribute); ok && mutators[at.Sel] {
					note(at.X)
				}
			}
			return true
		})
	}
	return fn.mutates
}

// spoil forgets the items of the lists and dictionaries that a call hands to a
// function that changes them.
func (e *evaluator) spoil(fn *Function, recv *Value, a *args) {
	changed := fn.changed()
	if len(changed) == 0 {
		return
	}
	i := 0
	for k, p := range fn.Def.Params {
		if k == 0 && recv != nil && !fn.static {
			continue
		}
		var v *Value
		var x python.Expr
		if p.Star == 0 && !p.KeywordOnly && i < len(a.pos) {
			v, x = a.pos[i], a.exprs[i]
			i++
		} else if p.Star == 0 {
			v, x = a.key(p.Name)
		}
		if v == nil || !changed[p.Name] {
			continue
		}
		if path, ok := dotted(x); ok {
			switch v.Kind {
			case KindDict:
				e.replace(path, v, &Value{Kind: KindDict})
			case KindSequence:
				e.replace(path, v, &Value{Kind: KindSequence, Elem: e.open(itemNode{x}, e.file.Text(x.Pos()))})
			}
		}
	}
}

// sideEffects applies what a call changes besides its result.
func (e *evaluator) sideEffects(fn *Function, recv *Value, a *args) {
	for _, n := range fn.writes {
		e.changes(n)
	}
	e.spoil(fn, recv, a)
}

// setSpecial is an assignment to an attribute that changes the object it belongs
// to: x.data takes the value's dtype, a module's weight may get another one than
// the module had, and what a property's setter keeps is not known. It reports
// whether that was all.
func (e *evaluator) setSpecial(t *python.Attribute, v *Value, s python.Stmt) bool {
	path, ok := dotted(t.X)
	if !ok || path == "self" {
		return false
	}
	recv, held := e.get(path)
	if !held {
		if t.Sel != "data" && t.Sel != "weight" && t.Sel != "bias" {
			return false
		}
		recv = e.quiet(t.X)
	}
	switch {
	case t.Sel == "data" && recv.tensorish():
		n := recv.derived(t, HowCast, ".data", v)
		n.DType = dtype.Unknown
		if v.tensorish() {
			n.DType = v.Tensor().DType
		}
		n.aliased = recv.aliased
		e.replace(path, recv, n)
		if of, ok := t.X.(*python.Attribute); ok {
			e.setParameter(of, n)
		}
		return true
	case recv.Kind == KindModule:
		e.setParameter(t, v)
	case recv.Kind == KindInstance && recv.Class.method(t.Sel) != nil && recv.Class.method(t.Sel).prop:
		e.setAttribute(recv, t.Sel)
		e.forgetPaths(path)
		return true
	}
	e.setAttribute(recv, t.Sel)
	return false
}

// setParameter is an assignment to module.weight: the module's dtype is known no
// more if that is another one.
func (e *evaluator) setParameter(t *python.Attribute, v *Value) {
	path, ok := dotted(t.X)
	if !ok {
		return
	}
	m := e.quiet(t.X)
	if m.Kind != KindModule || v.Kind == KindNone || v.tensorish() && v.Tensor().DType.Equal(m.DType) {
		return
	}
	n := *m
	n.DType, n.From, n.Elems = dtype.Unknown, []*Value{m}, nil
	e.replace(path, m, &n)
}

// castPart notes that a part of an instance was cast by itself.
func (e *evaluator) castPart(x python.Expr) {
	at, ok := x.(*python.Attribute)
	if !ok {
		return
	}
	path, ok := dotted(at.X)
	if !ok || path == "self" {
		return
	}
	if recv, ok := e.get(path); ok {
		e.setAttribute(recv, at.Sel)
	}
}

// setNamed is setattr(object, name, value).
func (e *evaluator) setNamed(x *python.Call, a *args) {
	if len(a.pos) != 3 {
		return
	}
	path, ok := dotted(a.exprs[0])
	if !ok {
		return
	}
	if name := a.pos[1]; name.Kind == KindString && name.Known {
		e.bind(&python.Attribute{Span: x.Span, X: a.exprs[0], Sel: name.Text}, a.pos[2], nil)
		return
	}
	e.forgetPaths(path)
	if recv := a.pos[0]; recv.Kind == KindInstance {
		e.frame.vars.set(path, &Value{Kind: KindOpen, At: x, root: e.rootAt(x, path, dtype.Open), How: HowAttr, file: e.file})
	}
}
