package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func (e *evaluator) assign(s *python.Assign) {
	if s.Value == nil { // a bare annotation
		if n, ok := s.Targets[0].(*python.Name); ok {
			if v := e.annotated(s.Annotation, n.ID, n); v.Kind != KindOpen {
				e.set(n.ID, v)
			}
		}
		return
	}
	if s.Op != "" {
		e.augmented(s)
		return
	}
	v := e.expr(s.Value)
	for _, t := range s.Targets {
		e.bind(t, v, s)
	}
}

// augmented is x += y: an in-place operation keeps x's dtype for a tensor.
func (e *evaluator) augmented(s *python.Assign) {
	target := s.Targets[0]
	x := e.expr(target)
	y := e.expr(s.Value)
	e.useBinary(s, s.Op, target, x, s.Value, y)
	if x.Kind == KindTensor || x.Kind == KindOpen && y.tensorish() {
		x = x.Tensor()
		if s.Op != "@" && s.Op != "" {
			_, okX := x.operand()
			_, okY := y.operand()
			e.judge(s, refusal{})
			if f, ok := e.torch.Lookup("torch.Tensor." + inplaceName(s.Op)); ok && okX && okY {
				_, no, _ := e.settle(f, pair(f, x, y.numberOrTensor()), dtype.Type{}, false, false)
				if no.text == "" && s.Op == "**" {
					no = negativePower(x.DType, y)
				}
				e.judge(s, no)
				e.narrowSurvivors(target, s.Value)
				if v, ok := target.(*python.Name); ok && no.text != "" && !no.certain {
					if n, ok := e.get(v.ID); ok && n.Kind == KindTensor {
						x = n
					}
				}
			}
		}
		if s.Op == "@" {
			v := e.matmul(s, "@", "torch.matmul", target, x, s.Value, y)
			e.bind(target, v, s)
			return
		}
		if x.DType.IsUnknown() {
			e.rebind(target, &Value{Kind: KindTensor, DType: dtype.Unknown, At: s, From: []*Value{x, y}, file: e.file}, s)
			return
		}
		// A Python number made from an open value (n += 1) keeps its root too.
		v := x.derived(s, HowKeep, s.Op+"=", x, y)
		e.rebind(target, v, s)
		return
	}
	e.rebind(target, e.arith(s, s.Op, target, x, s.Value, y), s)
}

// rebind is bind for a target that was read: subscripts are left alone.
func (e *evaluator) rebind(t python.Expr, v *Value, s python.Stmt) {
	switch t.(type) {
	case *python.Name, *python.Attribute:
		e.bind(t, v, s)
	}
}

// bind assigns a value to a target.
func (e *evaluator) bind(t python.Expr, v *Value, s python.Stmt) {
	switch t := t.(type) {
	case *python.Name:
		if v.Kind == KindOpen && v.root != nil && strings.HasSuffix(v.root.Name, ")") {
			v.root.Name = t.ID // the result of an unknown call takes the name that it gets
		}
		v.aliased = v.aliased || v.bound
		v.bound = true
		e.set(t.ID, v)
		e.record(t, t.ID, v, s)
	case *python.Attribute:
		if e.setSpecial(t, v, s) {
			return
		}
		if path, ok := dotted(t); ok {
			e.forgetPaths(path)
			e.frame.vars.set(path, v)
			if path == "self."+t.Sel && e.frame.scope.Class != nil {
				e.record(t, path, v, s)
			}
		} else {
			e.expr(t.X)
		}
	case *python.Subscript:
		e.store(t, v, s)
	case *python.Starred:
		e.bind(t.X, &Value{Kind: KindSequence, Elem: v}, s)
	case *python.Seq:
		e.unpack(t.Xs, v, s)
	default:
		e.forgetAll(t)
	}
}

func (e *evaluator) record(at python.Node, name string, v *Value, s python.Stmt) {
	if s == nil || e.frame.dead || e.inlining != nil {
		return
	}
	m := e.assigned[s]
	if m == nil {
		m = map[string]int{}
		e.assigned[s] = m
	}
	a := Assigned{Scope: e.frame.scope, At: at, Name: name, Value: v}
	if i, ok := m[name]; ok {
		e.facts.Assigned[i] = a
		return
	}
	m[name] = len(e.facts.Assigned)
	e.facts.Assigned = append(e.facts.Assigned, a)
}

func (e *evaluator) unpack(targets []python.Expr, v *Value, s python.Stmt) {
	if v.Kind == KindSequence && v.Elem == nil {
		star := -1
		for i, t := range targets {
			if _, ok := t.(*python.Starred); ok {
				star = i
			}
		}
		switch {
		case star < 0 && len(targets) == len(v.Elems):
			for i, t := range targets {
				e.bind(t, v.Elems[i], s)
			}
			return
		case star >= 0 && len(v.Elems) >= len(targets)-1:
			tail := len(targets) - star - 1
			for i, t := range targets[:star] {
				e.bind(t, v.Elems[i], s)
			}
			rest := targets[star].(*python.Starred)
			e.bind(rest.X, &Value{Kind: KindSequence, Elems: v.Elems[star : len(v.Elems)-tail]}, s)
			for i, t := range targets[star+1:] {
				e.bind(t, v.Elems[len(v.Elems)-tail+i], s)
			}
			return
		}
	}
	for i, t := range targets {
		item := e.iterate(v, t)
		if item.Kind == KindUnknown || item.Kind == KindOpen {
			// Each target is a definition of its own.
			of := v.symbol()
			if v.Kind == KindSequence {
				of = item.symbol()
			}
			item = e.open(t, e.file.Text(t.Pos()))
			e.originates(item, Origin{Kind: OriginItem, Of: of, Index: i})
		}
		if st, ok := t.(*python.Starred); ok {
			e.bind(st.X, &Value{Kind: KindSequence, Elem: item}, s)
			continue
		}
		e.bind(t, item, s)
	}
}

// open returns a value of a root of its own: the result of something unknown.
// The root is the same one whenever the place is evaluated again.
func (e *evaluator) open(at python.Node, name string) *Value {
	if len(name) > 60 {
		name = name[:57] + "…)"
	}
	return &Value{Kind: KindOpen, At: at, root: e.rootAt(at, name, dtype.Open), How: HowOther, file: e.file}
}

// itemNode is an item of an iterable as a key of roots, beside the iterable.
type itemNode struct{ python.Node }

// iterate returns an element of an iterable.
func (e *evaluator) iterate(v *Value, at python.Node) *Value {
	switch v.Kind {
	case KindSequence:
		return v.element()
	case KindTensor:
		n, ok := v.dims()
		return v.derived(at, HowKeep, "iteration", v).withDims(n-1, ok && n > 0)
	case KindDict:
		return &Value{Kind: KindString}
	}
	item := e.open(itemNode{at}, e.file.Text(at.Pos()))
	item.Op, item.From = "iteration", []*Value{v}
	e.originates(item, Origin{Kind: OriginItem, Of: v.symbol(), Index: -1})
	return item
}

func (v *Value) reranked(r dtype.Rank) *Value {
	if v.Rank == r {
		return v
	}
	c := *v
	c.Rank, c.ndim = r, 0
	return &c
}

// dotted returns the path of an attribute chain over a name.
func dotted(x python.Expr) (string, bool) {
	switch x := x.(type) {
	case *python.Name:
		return x.ID, true
	case *python.Attribute:
		if p, ok := dotted(x.X); ok {
			return p + "." + x.Sel, true
		}
	}
	return "", false
}

// truthValue is what is known of a condition without evaluating it.
type truthValue uint8

const (
	sometimes truthValue = iota
	always
	never
)

// truth knows only what names a fixed value: True, False, TYPE_CHECKING, and
// comparisons of a value with None.
func (e *evaluator) truth(c python.Expr) truthValue {
	switch c := c.(type) {
	case *python.Lit:
		switch c.Kind {
		case "true":
			return always
		case "false", "none":
			return never
		}
	case *python.Unary:
		if c.Op == "not" {
			switch e.truth(c.X) {
			case always:
				return never
			case never:
				return always
			}
		}
	case *python.Call:
		if inner := e.condition(c); inner != nil {
			return e.truth(inner)
		}
		if t := e.kindTruth(c); t != sometimes {
			return t
		}
		return e.floatingTruth(c)
	case *python.BoolOp:
		l, r := e.truth(c.X), e.truth(c.Y)
		switch {
		case c.Op == "and" && (l == never || r == never), c.Op == "or" && l == never && r == never:
			return never
		case c.Op == "or" && (l == always || r == always), c.Op == "and" && l == always && r == always:
			return always
		}
	case *python.Compare:
		if len(c.Xs) == 2 && (c.Ops[0] == "in" || c.Ops[0] == "not in") {
			return e.amongDTypes(c)
		}
		if len(c.Xs) == 2 && (c.Ops[0] == "==" || c.Ops[0] == "!=" || c.Ops[0] == "is" || c.Ops[0] == "is not") && !isNone(c.Xs[1]) {
			return e.dtypeTruth(c)
		}
		if len(c.Xs) == 2 && (c.Ops[0] == "is" || c.Ops[0] == "is not") && isNone(c.Xs[1]) {
			path, ok := dotted(c.Xs[0])
			if !ok {
				return sometimes
			}
			v, ok := e.get(path)
			if !ok {
				return sometimes
			}
			isNone := sometimes
			switch {
			case v.Kind == KindNone:
				isNone = always
			case v.Kind != KindUnknown && v.Kind != KindOpen && v.Kind != KindNumber && v.Kind != KindString && !v.Maybe && v.How != HowParam:
				isNone = never
			}
			if c.Ops[0] == "is not" {
				switch isNone {
				case always:
					return never
				case never:
					return always
				}
			}
			return isNone
		}
	}
	return sometimes
}

// dtypeTruth knows comparisons of dtypes that are known without any root.
func (e *evaluator) dtypeTruth(c *python.Compare) truthValue {
	x, y := e.quiet(c.Xs[0]), e.quiet(c.Xs[1])
	if x.Kind != KindDType || y.Kind != KindDType || !e.settled(x.DType) || !e.settled(y.DType) || len(x.DType.Alternatives())+len(y.DType.Alternatives()) > 2 {
		return sometimes
	}
	equal := dtype.Relate(x.DType, y.DType) == dtype.Same
	if equal == (c.Ops[0] == "==" || c.Ops[0] == "is") {
		return always
	}
	return never
}

// amongDTypes knows x.dtype in (torch.float16, torch.bfloat16) of dtypes that are
// known without any root.
func (e *evaluator) amongDTypes(c *python.Compare) truthValue {
	seq, ok := c.Xs[1].(*python.Seq)
	if !ok {
		return sometimes
	}
	x := e.quiet(c.Xs[0])
	if x.Kind != KindDType || !e.settled(x.DType) {
		return sometimes
	}
	d, one := x.DType.Exact()
	if !one {
		return sometimes
	}
	among := false
	for _, s := range seq.Xs {
		v := e.quiet(s)
		f, ok := v.DType.Exact()
		if v.Kind != KindDType || !ok {
			return sometimes
		}
		among = among || f == d
	}
	if among == (c.Ops[0] == "in") {
		return always
	}
	return never
}

// settled reports whether a condition may be decided by a type: what depends on
// the default dtype is left open where code is reviewed for any caller.
func (e *evaluator) settled(t dtype.Type) bool {
	return closed(t) && (!t.HasDefault() || e.stop || e.inlining != nil)
}

// floatingCall is x of x.is_floating_point(), torch.is_floating_point(x) and
// x.dtype.is_floating_point.
func floatingCall(c *python.Call) python.Expr {
	f, ok := c.Func.(*python.Attribute)
	if !ok || f.Sel != "is_floating_point" {
		return nil
	}
	if len(c.Args) == 1 {
		return c.Args[0].Value
	}
	return f.X
}

func (e *evaluator) floatingTruth(c *python.Call) truthValue {
	x := floatingCall(c)
	if x == nil {
		return sometimes
	}
	v := e.quiet(x)
	if v.Kind != KindTensor || !e.settled(v.DType) {
		return sometimes
	}
	switch low, high := v.DType.Categories(); {
	case low >= dtype.CatFloat && high == dtype.CatFloat:
		return always
	case high < dtype.CatFloat:
		return never
	}
	return sometimes
}

// keepAlternatives narrows the dtype of a name to some alternatives.
func (e *evaluator) keepAlternatives(at python.Node, x python.Expr, keep func(dtype.Type) bool) {
	path, ok := dotted(x)
	if !ok {
		return
	}
	v, ok := e.get(path)
	if !ok || v.Kind != KindTensor || !e.settled(v.DType) {
		return
	}
	t := v.DType.Map(func(a dtype.Type) dtype.Type {
		if keep(a) {
			return a
		}
		return dtype.Type{}
	})
	if t.Empty() || t.Equal(v.DType) {
		return
	}
	n := v.derived(at, HowKeep, "checked", v)
	n.DType = t
	e.frame.vars.set(path, n)
}

func isNone(x python.Expr) bool {
	l, ok := x.(*python.Lit)
	return ok && l.Kind == "none"
}

// narrow applies what a condition says of the names in it.
func (e *evaluator) narrow(c python.Expr, holds bool) {
	switch c := c.(type) {
	case *python.Unary:
		if c.Op == "not" {
			e.narrow(c.X, !holds)
		}
	case *python.Call:
		if inner := e.condition(c); inner != nil {
			e.narrow(inner, holds)
			return
		}
		e.narrowKind(c, holds)
		if x := floatingCall(c); x != nil {
			e.keepAlternatives(c, x, func(a dtype.Type) bool { _, high := a.Categories(); return (high == dtype.CatFloat) == holds })
		}
	case *python.BoolOp:
		if (c.Op == "and") == holds {
			e.narrow(c.X, holds)
			e.narrow(c.Y, holds)
		}
	case *python.Compare:
		if len(c.Xs) != 2 {
			return
		}
		op := c.Ops[0]
		switch {
		case (op == "is" || op == "is not") && isNone(c.Xs[1]):
			path, ok := dotted(c.Xs[0])
			if !ok {
				return
			}
			v, ok := e.get(path)
			if !ok {
				return
			}
			if (op == "is") == holds {
				if v.Maybe || v.Kind == KindOpen || v.Kind == KindUnknown {
					e.frame.vars.set(path, &Value{Kind: KindNone})
				}
			} else if v.Maybe {
				n := *v
				n.Maybe = false
				e.frame.vars.set(path, &n)
			}
		case op == "==" || op == "!=" || op == "is" || op == "is not":
			if (op == "==" || op == "is") == holds {
				e.equate(c.Xs[0], c.Xs[1])
			} else if at, ok := c.Xs[0].(*python.Attribute); ok && at.Sel == "dtype" {
				if y := e.quiet(c.Xs[1]); y.Kind == KindDType {
					if _, ok := y.DType.Exact(); ok {
						e.keepAlternatives(c, at.X, func(a dtype.Type) bool { return dtype.Relate(a, y.DType) == dtype.Differ })
					}
				}
			}
		case op == "in" && holds:
			if seq, ok := c.Xs[1].(*python.Seq); ok {
				var types []dtype.Type
				for _, x := range seq.Xs {
					v := e.quiet(x)
					if v.Kind != KindDType {
						return
					}
					types = append(types, v.DType)
				}
				e.narrowDType(c.Xs[0], dtype.Join(types...))
			}
		}
	}
}

// equate narrows a.dtype == b.dtype and a.dtype == torch.float16.
func (e *evaluator) equate(a, b python.Expr) {
	x, y := e.quiet(a), e.quiet(b)
	if y.Kind == KindDType && y.DType.Known() {
		if e.narrowDType(a, y.DType) {
			return
		}
	}
	if x.Kind == KindDType && x.DType.Known() {
		e.narrowDType(b, x.DType)
	}
}

// narrowDType sets the dtype of NAME in NAME.dtype.
func (e *evaluator) narrowDType(at python.Expr, t dtype.Type) bool {
	attr, ok := at.(*python.Attribute)
	if !ok || attr.Sel != "dtype" {
		return false
	}
	path, ok := dotted(attr.X)
	if !ok {
		return false
	}
	v, ok := e.get(path)
	if !ok || !v.tensorish() {
		return false
	}
	n := v.Tensor().derived(at, HowKeep, "checked", v)
	n.DType = t
	e.frame.vars.set(path, n)
	return true
}

// quiet evaluates an expression for its value alone; a second evaluation of an
// expression records nothing new.
func (e *evaluator) quiet(x python.Expr) *Value { return e.expr(x) }
