package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// This file reads what nothing is known of: each name, attribute and item is a
// definition with a root of its own, the same one wherever it is read again
// before something is assigned to what it belongs to.

// global is a name that this file does not bind.
func (e *evaluator) global(name string) *Value {
	v, ok := e.globals[name]
	if !ok {
		v = &Value{Kind: KindOpen, root: e.newRoot(name, dtype.Open), How: HowAttr, Op: name, file: e.file}
		e.globals[name] = v
	}
	c := *v
	return &c
}

// attributeOfUnknown is X.Sel where nothing is known of X.
func (e *evaluator) attributeOfUnknown(x *python.Attribute, path string, isPath bool) *Value {
	switch x.Sel {
	case "shape":
		return &Value{Kind: KindSequence, Elem: e.pyInt(), Name: "shape"}
	case "device":
		return &Value{Kind: KindDevice, At: x}
	case "ndim":
		return e.pyInt()
	case "dtype":
		v := &Value{Kind: KindDType, At: x, How: HowAttr, file: e.file}
		if isPath {
			v.DType = dtype.Of(e.newRoot(path, dtype.Open))
			e.frame.vars.set(path, v)
		} else {
			v.DType = dtype.Of(e.rootAt(x, e.file.Text(x.Pos()), dtype.Open))
		}
		return v
	}
	if isTensorMethod(x.Sel) {
		return &Value{Kind: KindUnknown, Op: "a method of what is unknown"}
	}
	v := &Value{Kind: KindOpen, At: x, How: HowAttr, file: e.file}
	if isPath {
		v.root = e.newRoot(path, dtype.Open)
		e.frame.vars.set(path, v)
	} else {
		v.root = e.rootAt(x, e.file.Text(x.Pos()), dtype.Open)
	}
	return v
}

// item is X[index] where nothing is known of the item.
func (e *evaluator) item(x *python.Subscript, idx []*Value) *Value {
	if len(idx) == 1 && !x.Tuple && idx[0].Known && (idx[0].Kind == KindString || idx[0].Kind == KindNumber) {
		if path, ok := dotted(x.X); ok {
			key := path + ".[" + idx[0].Text + "]"
			if v, ok := e.get(key); ok {
				return v
			}
			v := &Value{Kind: KindOpen, At: x, How: HowAttr, root: e.newRoot(e.file.Text(x.Pos()), dtype.Open), file: e.file}
			e.frame.vars.set(key, v)
			return v
		}
	}
	return e.open(x, e.file.Text(x.Pos()))
}

// itemOf is item, with where it comes from.
func (e *evaluator) itemOf(recv *Value, x *python.Subscript, idx []*Value) *Value {
	v := e.item(x, idx)
	if len(idx) == 1 && !x.Tuple && (idx[0].Kind == KindString || idx[0].Kind == KindOpen) {
		e.originates(v, Origin{Kind: OriginKey, Of: recv.symbol(), Name: idx[0].Text})
	}
	return v
}

// library is a name of a library or of another file, or the value of a constant
// there; ref is the name as the file writes it.
func (e *evaluator) library(name, ref string) *Value {
	if e.imported != nil && !ownLibrary(name) {
		if v := e.imported(ref); v != nil {
			return v
		}
	}
	switch name {
	case "math.pi", "math.e", "math.inf", "math.nan", "math.tau", "numpy.pi", "numpy.inf", "numpy.nan", "numpy.e", "torch.pi", "torch.inf", "torch.nan":
		return e.pyFloat()
	}
	if t, ok := libraryDType(name); ok {
		return &Value{Kind: KindDType, DType: t, Name: name}
	}
	if _, sel, ok := strings.Cut(name, "info()."); ok { // torch.finfo(dtype).max
		switch {
		case sel == "bits" || strings.Contains(name, "iinfo()."):
			return e.pyInt()
		case sel == "max" || sel == "min" || sel == "eps" || sel == "tiny" || sel == "smallest_normal" || sel == "resolution":
			return e.pyFloat()
		}
	}
	return &Value{Kind: KindLibrary, Name: name, Ref: ref}
}

// boolOp is X and Y, X or Y. What stands before "or" is not None behind it.
func (e *evaluator) boolOp(x *python.BoolOp) *Value {
	l := e.expr(x.X)
	if l.truthy() {
		if x.Op == "or" {
			return l
		}
		return e.expr(x.Y)
	}
	saved := e.frame.vars
	e.frame.vars = saved.clone()
	e.narrow(x.X, x.Op == "and")
	r := e.expr(x.Y)
	e.frame.vars = saved
	if x.Op == "or" {
		switch {
		case l.Kind == KindNone:
			return r
		case l.Maybe:
			c := *l
			c.Maybe = false
			l = &c
		}
	}
	return joinValues(l, r)
}

// truthy reports whether a value certainly counts as true: a dtype, a function.
func (v *Value) truthy() bool {
	switch v.Kind {
	case KindDType, KindFunction, KindClass:
		return !v.Maybe && v.root == nil
	}
	return false
}

// maxFields is how many items are known of a dictionary that is filled one by
// one.
const maxFields = 256

// maxItems bounds the items of a dictionary that are looked at for what any of
// them may be.
const maxItems = 64

// dict is a dictionary display.
func (e *evaluator) dict(x *python.Dict) *Value {
	v := &Value{Kind: KindDict, Fields: make(map[string]*Value, len(x.Items))}
	whole := len(x.Items) > 0 && len(x.Items) <= maxItems
	v.Known = true
	var any *Value
	for _, it := range x.Items {
		val := e.expr(it.Value)
		if it.Key == nil { // **rest
			whole = whole && val.Kind == KindDict && val.Elem != nil
			v.Known = v.Known && val.Kind == KindDict && val.Known
			if val.Kind == KindDict {
				for k, f := range val.Fields {
					v.Fields[k] = f
				}
				val = val.Elem
			}
		} else if k := e.expr(it.Key); k.Kind == KindString && k.Known {
			v.Fields[k.Text] = val
			e.fills(it.Value, k.Text, val)
		} else {
			v.Known = false
		}
		if whole {
			any = joinValues(any, val)
		}
	}
	if whole {
		v.Elem = any
	}
	return v
}

// lambda is a function of one expression. It reads the variables of its frame
// as they are when it is called.
func (e *evaluator) lambda(x *python.Lambda) *Value {
	if fn, ok := e.lambdas[x]; ok && e.inlining == nil {
		e.defaultsOf(fn, x.Params)
		return &Value{Kind: KindFunction, Func: fn, Name: "lambda"}
	}
	outer := e.frame.scope
	fn := &Function{
		Name: "lambda", frame: e.frame, body: x.Body, stmt: e.stmt,
		Def:   &python.FuncDef{Span: x.Span, Name: "lambda", Params: x.Params},
		Scope: &Scope{Name: outer.Name, Def: outer.Def, Class: outer.Class, Parent: outer.Parent},
	}
	e.defaultsOf(fn, x.Params)
	if e.inlining == nil {
		e.lambdas[x] = fn
		e.pending = append(e.pending, fn)
	}
	return &Value{Kind: KindFunction, Func: fn, Name: "lambda"}
}

// dictMethod is a method of a dictionary; nil if nothing is known of the result.
func (e *evaluator) dictMethod(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	switch name {
	case "get", "pop", "setdefault":
		key, _ := a.arg(0)
		var v *Value
		if key != nil && key.Kind == KindString && key.Known {
			v = recv.Fields[key.Text]
		}
		if path, ok := dotted(recvExpr); v == nil && ok && recv.Known && key != nil && key.Kind == KindString && key.Known {
			if own, ok := e.frame.vars.get(path); ok && own == recv { // nobody else fills it
				other, _ := a.arg(1, "default")
				if name == "setdefault" {
					e.replace(path, recv, recv.afterKey(name, key, other))
				}
				if other != nil {
					return other
				}
				return &Value{Kind: KindNone}
			}
		}
		if v == nil {
			v = recv.Elem
		}
		if v == nil {
			v = e.open(x, e.file.Text(x.Pos()))
			if key != nil && key.Known {
				e.originates(v, Origin{Kind: OriginKey, Of: recv.root, Name: key.Text})
			}
		}
		other, _ := a.arg(1, "default")
		if path, ok := dotted(recvExpr); ok && name != "get" {
			e.replace(path, recv, recv.afterKey(name, key, other))
		}
		if other != nil {
			return joinValues(v, other)
		}
		if name == "get" {
			return v.maybe()
		}
		return v
	case "keys":
		return &Value{Kind: KindSequence, Elem: &Value{Kind: KindString}}
	case "values", "items":
		el := recv.Elem
		if el == nil {
			el = e.open(x, e.file.Text(x.Pos()))
			e.originates(el, Origin{Kind: OriginValue, Of: recv.root})
		}
		if name == "items" {
			el = &Value{Kind: KindSequence, Elems: []*Value{{Kind: KindString}, el}}
		}
		return &Value{Kind: KindSequence, Elem: el}
	case "copy":
		return recv
	case "update", "clear":
		if path, ok := dotted(recvExpr); ok {
			e.frame.vars.set(path, &Value{Kind: KindDict})
		}
		return &Value{Kind: KindNone}
	}
	return nil
}

// afterKey is a dictionary behind pop(key) or setdefault(key, other).
func (v *Value) afterKey(method string, key, other *Value) *Value {
	n := *v
	n.Known, n.Fields = false, map[string]*Value{}
	if key == nil || key.Kind != KindString || !key.Known { // any of them
		n.Elem = nil
		return &n
	}
	for k, f := range v.Fields {
		n.Fields[k] = f
	}
	delete(n.Fields, key.Text)
	if method == "setdefault" {
		if n.Elem != nil && other != nil {
			n.Elem = joinValues(n.Elem, other)
		}
		if held := v.Fields[key.Text]; held != nil {
			n.Fields[key.Text] = held
		} else if v.Known && other != nil {
			n.Known, n.Fields[key.Text] = true, other
		}
	}
	return &n
}

// dictCall is dict(…).
func (e *evaluator) dictCall(a *args) *Value {
	v := &Value{Kind: KindDict, Fields: make(map[string]*Value, len(a.kw)), Known: len(a.pos) == 0 && !a.star}
	if len(a.pos) > 0 && a.pos[0].Kind == KindDict {
		for k, f := range a.pos[0].Fields {
			v.Fields[k] = f
		}
	}
	for name, i := range a.names {
		v.Fields[name] = a.kw[i]
	}
	if len(a.pos) == 0 && !a.star && len(a.kw) <= maxItems {
		for _, f := range a.kw {
			v.Elem = joinValues(v.Elem, f)
		}
	}
	return v
}
