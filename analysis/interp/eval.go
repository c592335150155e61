package interp

import (
	"sort"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// A frame is the variables of one scope. vars is replaced while branches are
// evaluated; keys are names and dotted paths ("self.cache").
type frame struct {
	vars   *vars
	parent *frame
	scope  *Scope
	// globals are the names that a global or nonlocal statement names; true
	// for nonlocal.
	globals map[string]bool
	// captured are the functions that read a name of this frame from inside.
	captured map[string]map[*Function]bool
	dead     bool
	// breaks and continues collect the states that leave the loop body.
	breaks, continues []*vars
	inLoop            bool
	ret               *Value
}

// evaluator walks one file. Each function is evaluated once with roots for its
// parameters; a call of it substitutes the roots in what it returns.
type evaluator struct {
	file     *python.File
	facts    *Facts
	frame    *frame
	module   *frame
	autocast []Autocast
	stmt     python.Stmt
	ops      map[python.Node]*Op
	assigned map[python.Node]map[string]int
	roots    map[python.Node]*dtype.Root
	nextRoot int
	steps    int
	depth    int
	// callDepth counts callees that are evaluated from their callers.
	callDepth int
	deflt     dtype.Type // what torch.get_default_dtype() gives here
	defaults  defaults
	pending   []*Function
	active    []*Function // being evaluated, the innermost last
	funcs     map[*python.FuncDef]*Function
	lambdas   map[*python.Lambda]*Function
	unwritten map[python.Expr]*python.Call
	globals   map[string]*Value // names that the file does not bind
	raises    map[python.Node]*Raise
	stop      bool         // Options.Stop
	torch     *torch.Table // of Options.Torch
	// inlining is set while a callee is evaluated with a call's arguments.
	inlining    *inlining
	inlineDepth int
	// survivors are the types of the operands of the operation settled last on
	// the paths that it does not refuse; nil if it refuses none or all.
	survivors []dtype.Type
	// uses are the operands by operation; nil if nobody asks for them.
	uses     map[python.Node][]Use
	outward  outward
	imported func(ref string) *Value // Options.Imported, may be nil
}

// Eval evaluates a whole file. It never fails: what it does not understand is
// unknown, and what lies beyond the budget is silent.
func Eval(tree *python.File, opts Options) *Facts {
	steps := opts.Steps
	if steps == 0 {
		steps = max(200_000, 200*tree.LineCount())
	}
	e := &evaluator{
		file: tree, facts: &Facts{Tree: tree, Values: map[python.Expr]*Value{}}, ops: map[python.Node]*Op{}, roots: map[python.Node]*dtype.Root{},
		assigned: map[python.Node]map[string]int{}, funcs: map[*python.FuncDef]*Function{}, lambdas: map[*python.Lambda]*Function{}, unwritten: map[python.Expr]*python.Call{}, globals: map[string]*Value{}, steps: steps, deflt: dtype.Default,
		raises: map[python.Node]*Raise{}, stop: opts.Stop, torch: torch.At(opts.Torch), outward: newOutward(), imported: opts.Imported,
	}
	if opts.Uses {
		e.uses = map[python.Node][]Use{}
	}
	e.defaults = defaultChanges(tree)
	if e.defaults.anywhere {
		e.deflt = dtype.Unknown
	}
	scope := &Scope{}
	e.facts.Scopes = append(e.facts.Scopes, scope)
	e.module = &frame{vars: newVars(), scope: scope}
	e.frame = e.module
	e.block(tree.Body)
	e.module.dead = false
	e.drain()
	for _, op := range e.ops {
		e.facts.Ops = append(e.facts.Ops, op)
	}
	sort.Slice(e.facts.Ops, func(i, j int) bool {
		a, b := e.facts.Ops[i], e.facts.Ops[j]
		if p, q := a.Node.Pos(), b.Node.Pos(); p != q {
			if p.Start != q.Start {
				return p.Start < q.Start
			}
			return p.End < q.End
		}
		return a.Kind < b.Kind
	})
	for _, r := range e.raises {
		e.facts.Raises = append(e.facts.Raises, r)
	}
	sort.Slice(e.facts.Raises, func(i, j int) bool {
		p, q := e.facts.Raises[i].At.Pos(), e.facts.Raises[j].At.Pos()
		return p.Start < q.Start || p.Start == q.Start && p.End < q.End
	})
	sort.SliceStable(e.facts.Assigned, func(i, j int) bool {
		return e.facts.Assigned[i].At.Pos().Start < e.facts.Assigned[j].At.Pos().Start
	})
	sort.SliceStable(e.facts.Scopes, func(i, j int) bool { return e.facts.Scopes[i].start() < e.facts.Scopes[j].start() })
	for _, list := range e.uses {
		e.facts.Uses = append(e.facts.Uses, list...)
	}
	sort.SliceStable(e.facts.Uses, func(i, j int) bool {
		p, q := e.facts.Uses[i].At.Pos(), e.facts.Uses[j].At.Pos()
		return p.Start < q.Start || p.Start == q.Start && p.End < q.End
	})
	e.facts.Exhausted = e.steps <= 0
	e.facts.Outward = e.outward.gather(e.module)
	return e.facts
}

func (s *Scope) start() uint32 {
	if s.Def == nil {
		return 0
	}
	return s.Def.Pos().Start
}

// drain evaluates the functions and classes that no call has reached yet.
func (e *evaluator) drain() {
	for i := 0; i < len(e.pending); i++ {
		e.summary(e.pending[i])
	}
	e.pending = nil
}

// spend counts one step and reports whether the budget is used up.
func (e *evaluator) spend() bool {
	e.steps--
	return e.steps <= 0
}

func (e *evaluator) block(list []python.Stmt) {
	for _, s := range list {
		if e.frame.dead || e.spend() {
			return
		}
		e.statement(s)
	}
}

func (e *evaluator) statement(s python.Stmt) {
	outer := e.stmt
	e.stmt = s
	defer func() { e.stmt = outer }()
	switch s := s.(type) {
	case *python.ExprStmt:
		e.expr(s.X)
		if e.defaults.top > 0 {
			e.setDefault(s.X)
		}
	case *python.Assign:
		e.assign(s)
	case *python.Return:
		v := &Value{Kind: KindNone}
		if s.X != nil {
			v = e.expr(s.X)
		}
		e.frame.ret = joinValues(e.frame.ret, v)
		e.frame.dead = true
	case *python.If:
		e.ifStmt(s)
	case *python.For:
		it := e.expr(s.Iter)
		e.loop(func() {
			e.bind(s.Target, e.iterate(it, s.Iter), s)
		}, s.Body, s.Else)
	case *python.While:
		e.loop(func() { e.expr(s.Cond) }, s.Body, s.Else)
	case *python.With:
		e.withStmt(s)
	case *python.Try:
		before, returned := e.frame.vars.clone(), e.frame.ret
		e.frame.ret = nil
		e.block(s.Body)
		if !e.frame.dead {
			e.block(s.Else)
		}
		after, dead := e.frame.vars, e.frame.dead
		ends := []*vars{}
		if !dead {
			ends = append(ends, after)
		}
		for _, h := range s.Handlers {
			e.frame.vars, e.frame.dead = joinVars(before, after), false
			if h.Type != nil {
				e.expr(h.Type)
			}
			if h.Name != "" {
				e.set(h.Name, unknown())
			}
			e.block(h.Body)
			if !e.frame.dead {
				ends = append(ends, e.frame.vars)
			}
		}
		e.resume(ends, before)
		wasDead, inside := e.frame.dead, e.frame.ret
		e.frame.dead, e.frame.ret = false, nil
		e.block(s.Finally)
		if !e.frame.dead { // what leaves a finally block takes the place of what left the try
			e.frame.ret = joinReturns(inside, e.frame.ret)
		}
		e.frame.ret = joinReturns(returned, e.frame.ret)
		e.frame.dead = e.frame.dead || wasDead
	case *python.Match:
		e.expr(s.Subject)
		before := e.frame.vars
		ends := []*vars{before}
		for _, c := range s.Cases {
			e.frame.vars, e.frame.dead = before.clone(), false
			for _, b := range c.Binds {
				e.set(b, unknown())
			}
			if c.Guard != nil {
				e.expr(c.Guard)
			}
			e.block(c.Body)
			if !e.frame.dead {
				ends = append(ends, e.frame.vars)
			}
		}
		e.resume(ends, before)
	case *python.Import:
		e.importStmt(s)
	case *python.Raise:
		if s.X != nil {
			e.expr(s.X)
		}
		e.frame.dead = true
	case *python.Assert:
		e.expr(s.Cond)
		e.narrow(s.Cond, true)
	case *python.Delete:
		for _, t := range s.Targets {
			if n, ok := t.(*python.Name); ok {
				e.forget(n.ID)
			}
		}
	case *python.Global:
		if e.frame == e.module {
			return
		}
		if e.frame.globals == nil {
			e.frame.globals = map[string]bool{}
		}
		for _, n := range s.Names {
			e.frame.globals[n] = s.Nonlocal
		}
	case *python.Branch:
		switch s.Kind {
		case "break":
			e.frame.breaks = append(e.frame.breaks, e.frame.vars)
			e.frame.dead = true
		case "continue":
			e.frame.continues = append(e.frame.continues, e.frame.vars)
			e.frame.dead = true
		}
	case *python.FuncDef:
		e.funcDef(s, nil)
	case *python.ClassDef:
		e.classDef(s)
	case *python.BadStmt:
		e.forgetAll(s)
	}
}

// joinReturns joins what two parts of a function return, of which each may return
// nothing.
func joinReturns(a, b *Value) *Value {
	if a == nil && b == nil {
		return nil
	}
	return joinValues(a, b)
}

// forgetAll makes every name that a statement that was not understood may
// assign unknown.
func (e *evaluator) forgetAll(n python.Node) {
	python.Inspect(n, func(n python.Node) bool {
		if n, ok := n.(*python.Name); ok {
			e.forget(n.ID)
		}
		return true
	})
}

// resume continues with the join of the ends; none means unreachable.
func (e *evaluator) resume(ends []*vars, fallback *vars) {
	if len(ends) == 0 {
		e.frame.vars, e.frame.dead = fallback, true
		return
	}
	j := ends[0]
	for _, m := range ends[1:] {
		j = joinVars(j, m)
	}
	e.frame.vars, e.frame.dead = j, false
}

func (e *evaluator) ifStmt(s *python.If) {
	truth := e.truth(s.Cond)
	e.expr(s.Cond)
	before := e.frame.vars
	var ends []*vars
	if truth != never {
		e.frame.vars = before.clone()
		e.narrow(s.Cond, true)
		e.block(s.Body)
		if !e.frame.dead {
			ends = append(ends, e.frame.vars)
		}
	}
	e.frame.dead = false
	if truth != always {
		e.frame.vars = before.clone()
		e.narrow(s.Cond, false)
		e.block(s.Else)
		if !e.frame.dead {
			ends = append(ends, e.frame.vars)
		}
	}
	e.resume(ends, before)
}

// loop evaluates a body until the state is stable; after three rounds what
// still changes is unknown.
func (e *evaluator) loop(head func(), body, orElse []python.Stmt) {
	f := e.frame
	breaks, continues, inLoop := f.breaks, f.continues, f.inLoop
	f.breaks, f.inLoop = nil, true
	entry := f.vars.clone()
	for round := 0; ; round++ {
		f.continues = nil
		f.vars = entry.clone()
		head()
		e.block(body)
		var end *vars
		if !f.dead {
			end = f.vars
		}
		for _, c := range f.continues {
			if end == nil {
				end = c
			} else {
				end = joinVars(end, c)
			}
		}
		f.dead = false
		if end == nil {
			break
		}
		next := joinVars(entry, end)
		if equalVars(entry, next) || e.steps <= 0 {
			break
		}
		if round >= 2 {
			var changed []string
			next.each(func(k string, v *Value) {
				if old, ok := entry.get(k); ok && old != v && !equalValue(old, v) {
					changed = append(changed, k)
				}
			})
			for _, k := range changed {
				next.set(k, unknown())
			}
			if round > 3 {
				entry = next
				break
			}
		}
		entry = next
	}
	f.vars = entry.clone()
	if len(orElse) > 0 {
		e.block(orElse)
	}
	ends := f.breaks
	if !f.dead {
		ends = append(ends, f.vars)
	}
	e.resume(ends, entry)
	f.breaks, f.continues, f.inLoop = breaks, continues, inLoop
}

func (e *evaluator) withStmt(s *python.With) {
	pushed := 0
	deflt := e.deflt
	defer func() { e.deflt = deflt }()
	for _, item := range s.Items {
		v := e.expr(item.Context)
		if t, ok := e.defaultContext(item.Context); ok {
			e.deflt = t
		}
		a, ok := e.autocastRegion(item.Context)
		if !ok {
			a, ok = e.storedRegion(item.Context, v)
		}
		if ok {
			e.autocast = append(e.autocast, a)
			e.frame.scope.Half = append(e.frame.scope.Half, item.Context)
			pushed++
		}
		if item.As != nil {
			e.bind(item.As, e.entered(item.Context, v), s)
		}
	}
	e.block(s.Body)
	e.autocast = e.autocast[:len(e.autocast)-pushed]
}

// entered is what a with statement binds: what __enter__ of a class of this file
// gives. Of other contexts nothing is known.
func (e *evaluator) entered(x python.Expr, v *Value) *Value {
	if v.Kind != KindInstance {
		if v.Kind == KindOpen || v.Kind == KindLibrary {
			return unknown()
		}
		return v
	}
	enter := v.Class.method("__enter__")
	if enter == nil || enter.wrapped {
		return unknown()
	}
	c := e.callOf(x)
	return e.userCall(c, enter, v, &args{call: c, names: map[string]int{}})
}

// region returns the innermost autocast region.
func (e *evaluator) region() Autocast {
	if n := len(e.autocast); n > 0 {
		return e.autocast[n-1]
	}
	return Autocast{}
}

// get resolves a name or dotted path.
func (e *evaluator) get(key string) (*Value, bool) {
	for f := e.frame; f != nil; f = f.parent {
		if v, ok := f.vars.get(key); ok {
			if f != e.frame {
				e.captures(f, key, v)
			}
			return v, true
		}
	}
	return nil, false
}

func (e *evaluator) set(name string, v *Value) {
	f := e.frame
	if nonlocal, ok := f.globals[name]; ok {
		e.setOuter(name, nonlocal)
		return
	}
	e.forgetPaths(name)
	e.rebound(f, name, v)
	f.vars.set(name, v)
}

// forgetPaths drops what is known of the attributes and items of a name.
func (e *evaluator) forgetPaths(name string) {
	e.frame.vars.deletePaths(name)
}

func (e *evaluator) forget(name string) {
	e.forgetPaths(name)
	e.frame.vars.set(name, unknown())
}

// inScope are the names of the current function at this place.
func (e *evaluator) inScope() Names { return Names{e.frame.vars.root} }

func (e *evaluator) importStmt(s *python.Import) {
	for _, n := range s.Names {
		e.outward.imports = append(e.outward.imports, Import{Module: s.Module, Name: n.Name, From: s.From})
		switch {
		case n.Name == "*":
			continue
		case s.From:
			as := n.As
			if as == "" {
				as = n.Name
			}
			e.frame.vars.set(as, e.library(canonical(s.Module+"."+n.Name), member(s.Module, n.Name)))
		case n.As != "":
			e.frame.vars.set(n.As, e.library(canonical(n.Name), n.Name))
		default:
			top, _, _ := strings.Cut(n.Name, ".")
			e.frame.vars.set(top, e.library(canonical(top), top))
		}
	}
}

// canonical maps the names under which PyTorch's functions are reached to one.
func canonical(name string) string {
	name = strings.TrimPrefix(name, ".")
	switch {
	case name == "np":
		return "numpy"
	case strings.HasPrefix(name, "torch.nn.modules."):
		return "torch.nn." + name[strings.LastIndexByte(name, '.')+1:]
	case strings.HasPrefix(name, "torch.functional."):
		return "torch." + strings.TrimPrefix(name, "torch.functional.")
	}
	return name
}

func (e *evaluator) newRoot(name string, class dtype.RootClass) *dtype.Root {
	e.nextRoot++
	return &dtype.Root{ID: e.nextRoot, Name: name, Class: class}
}

// rootAt returns the root of one definition, the same one in every round of a
// loop.
func (e *evaluator) rootAt(n python.Node, name string, class dtype.RootClass) *dtype.Root {
	if r, ok := e.roots[n]; ok {
		return r
	}
	r := e.newRoot(name, class)
	e.roots[n] = r
	return r
}

func (e *evaluator) funcDef(s *python.FuncDef, c *Class) *Function {
	if fn, ok := e.funcs[s]; ok { // a loop comes by again
		e.defaultsOf(fn, s.Params)
		if c == nil {
			e.set(s.Name, e.decorated(&Value{Kind: KindFunction, Func: fn, Name: fn.Scope.Name}, s.Decorators))
		}
		return fn
	}
	fn := &Function{Name: s.Name, Def: s, Class: c, frame: e.frame}
	name := s.Name
	parent := e.frame.scope
	if c != nil {
		parent = c.scope
	}
	if parent != nil && parent.Name != "" {
		name = parent.Name + "." + name
	}
	fn.Scope = &Scope{Name: name, Def: s, Class: c, Parent: e.frame.scope}
	e.outward.functions = append(e.outward.functions, fn)
	for _, d := range s.Decorators {
		switch text := e.file.Text(d.Pos()); {
		case strings.HasPrefix(text, "triton.") || strings.Contains(text, "triton.jit") || strings.HasSuffix(text, "overload"):
			fn.skip = true
		case text == "staticmethod":
			fn.static = true
		case text == "classmethod":
			fn.class_ = true
		case text == "property" || strings.HasSuffix(text, "cached_property"):
			fn.prop = true
		}
	}
	e.defaultsOf(fn, s.Params)
	v := e.decorated(&Value{Kind: KindFunction, Func: fn, Name: name}, s.Decorators)
	fn.wrapped = v.Func != fn
	if c == nil {
		e.set(s.Name, v)
	}
	e.facts.Scopes = append(e.facts.Scopes, fn.Scope)
	e.funcs[s] = fn
	if !fn.skip {
		e.pending = append(e.pending, fn)
	}
	return fn
}
