package project

import (
	"path"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// maxHops bounds how far a question is followed from one definition to the next.
const maxHops = 24

// maxSteps bounds the work for one question.
const maxSteps = 4000

// A unit is one file of the repository.
type unit struct {
	path string
	m    *Module
	off  bool // a test or a conversion script: it is followed, but proves nothing

	constants uint8 // see Linked.Constants: 0 not asked, 1 no, 2 yes
	stars     []*unit
	starred   bool
}

// A definition is a function or class of a unit, by qualified name.
type definition struct {
	u    *unit
	name string
}

// A thing is what a name or an expression stands for.
type thing struct {
	kind  thingKind
	u     *unit
	name  string // of a function or class; of a module, its path without ".py"
	class definition
	shape *Shape // of a value
	env   *env
}

type thingKind uint8

const (
	nothing thingKind = iota
	aModule
	aFunction // with class set when it is a bound method
	aClass
	anInstance
	aValue
)

// An env is what a call passes to the parameters of a function.
type env struct {
	of   definition
	args map[string]bound
}

// bound is an expression and where it stands.
type bound struct {
	u     *unit
	shape *Shape
	env   *env
}

// A site is one call of a function.
type site struct {
	u    *unit
	call *Call
	args map[string]bound
	// whole says that the arguments of the call are all known.
	whole bool
}

// A linker follows names between the files of one revision.
type linker struct {
	units        []*unit // by path
	at           map[string]*unit
	callers      map[definition][]site
	casts        map[definition]*castings
	created      map[definition][]creation // instances of a class and its subclasses
	half, double []interp.Place            // signs in configurations and in files without a summary
	fills        map[string][]fillAt
	wild         bool // the values of some batch are cast without naming them, or not all fills are known
	otherDefault bool // some file changes the default dtype
	// covered are the functions that some caller reaches under autocast; all
	// says that it may be any.
	covered    map[definition]bool
	allCovered bool

	folders map[string]bool             // that files lie in
	tops    map[where][]string          // answers of homes
	lines   map[definition][]definition // answers of bases

	hops     int
	busy     map[question]bool
	cut      int // how often a cycle or a bound ended a question early
	asks     int // how often the callers of a function were asked
	bindings map[definition]bound
	params   map[asked]known
	keys     map[string]known
}

// asked is a question that is answered once.
type asked struct {
	d    definition
	name string
}

// A question is what a resolution is about, for cutting cycles.
type question struct {
	u    *unit
	root int
	env  *env
}

type fillAt struct {
	u *unit
	f *Fill
}

// where is a module's first name and the folder of the file that imports it.
type where struct{ dir, first string }

// newLinker links the modules of a revision.
func newLinker(modules map[string]*Module) *linker {
	l := &linker{at: map[string]*unit{}, busy: map[question]bool{}, bindings: map[definition]bound{}, params: map[asked]known{}, keys: map[string]known{}, fills: map[string][]fillAt{}, folders: map[string]bool{}, tops: map[where][]string{}, lines: map[definition][]definition{}}
	for p, m := range modules {
		u := &unit{path: p, m: m, off: offPath(p)}
		l.units = append(l.units, u)
		l.at[p] = u
		for dir := path.Dir(p); dir != "." && dir != "/" && !l.folders[dir]; dir = path.Dir(dir) {
			l.folders[dir] = true
		}
	}
	slices.SortFunc(l.units, func(a, b *unit) int { return strings.Compare(a.path, b.path) })
	for _, u := range l.units {
		if u.off {
			continue
		}
		l.otherDefault = l.otherDefault || u.m.Default
		for i := range u.m.Fills {
			f := &u.m.Fills[i]
			l.fills[f.Key] = append(l.fills[f.Key], fillAt{u, f})
		}
		l.wild = l.wild || slices.ContainsFunc(u.m.Casts, func(c Cast) bool { return u.castsItems(c) })
	}
	l.link()
	l.casts = l.gatherCasts()
	l.cover()
	// What was asked before all this was known was answered too early.
	l.params, l.keys, l.cut = map[asked]known{}, map[string]known{}, 0
	return l
}

// castsItems reports whether a cast is of an item of a dictionary whose key is
// not named.
func (u *unit) castsItems(c Cast) bool {
	if c.Recv.Root == 0 {
		return false
	}
	r := u.m.Roots[c.Recv.Root-1]
	switch r.Kind {
	case interp.OriginKey:
		return r.Name == ""
	case interp.OriginValue:
		return true
	}
	for i := 0; i < 4 && r.Kind == interp.OriginItem && r.Of > 0; i++ {
		r = u.m.Roots[r.Of-1]
	}
	return r.Kind == interp.OriginCall && u.memberCall(r, "items", "values") != 0
}

// memberCall is the root whose method a call root is the result of, 0 if it is
// no call of a method of these names.
func (u *unit) memberCall(r Root, names ...string) int {
	callee := u.m.Calls[r.Call].Callee
	if callee.Root == 0 {
		return 0
	}
	m := u.m.Roots[callee.Root-1]
	if m.Kind == interp.OriginMember && slices.Contains(names, m.Name) {
		return m.Of
	}
	return 0
}

// A creation is a call that makes an instance.
type creation struct {
	u    *unit
	call *Call
}

// A target is what one call calls.
type target struct {
	of    definition // the function; the zero value if it is not known
	makes definition // the class whose instance the call makes; the zero value if it makes none
	site  site
	asked bool // its callers had to be asked
}

// link finds the callers of every function. A callee may be a parameter that
// only its callers know: each round knows the callers of the round before, and
// resolves the calls again that asked for them.
func (l *linker) link() {
	var targets []target
	for round := range 3 {
		callers := map[definition][]site{}
		n := 0
		for _, u := range l.units {
			if u.off {
				continue
			}
			for i := range u.m.Calls {
				if round == 0 {
					targets = append(targets, target{})
				}
				t := &targets[n]
				if n++; round == 0 || t.asked {
					*t = l.target(u, &u.m.Calls[i])
				}
				if t.of.u != nil {
					callers[t.of] = append(callers[t.of], t.site)
				}
			}
		}
		l.callers = callers
	}
	l.created = map[definition][]creation{}
	n := 0
	for _, u := range l.units {
		if u.off {
			continue
		}
		for i := range u.m.Calls {
			if d := targets[n].makes; d.u != nil {
				for _, b := range l.bases(d) {
					l.created[b] = append(l.created[b], creation{u, &u.m.Calls[i]})
				}
			}
			n++
		}
	}
}

// target finds the function that a call calls, and what it passes.
func (l *linker) target(u *unit, c *Call) target {
	before := l.asks
	callee := l.ask(u, c.Callee, nil)
	f, ok := l.function(callee)
	t := target{asked: l.asks != before}
	if callee.kind == aClass {
		t.makes = definition{callee.u, callee.name}
	}
	if ok {
		args, whole := l.bind(f, u, c, nil)
		t.of, t.site = definition{f.u, f.name}, site{u: u, call: c, args: args, whole: whole}
	}
	return t
}

// function is the function that a call of a thing runs.
func (l *linker) function(t thing) (thing, bool) {
	switch t.kind {
	case aFunction:
		return t, true
	case aClass:
		t = l.method(definition{t.u, t.name}, "__init__")
	case anInstance:
		of := definition{t.u, t.name}
		if t = l.method(of, "forward"); t.kind == nothing {
			t = l.method(of, "__call__")
		}
	}
	return t, t.kind == aFunction
}

// bind gives the arguments of a call to the parameters of a function; whole is
// false if some may be missing.
func (l *linker) bind(f thing, u *unit, c *Call, e *env) (args map[string]bound, whole bool) {
	fn := f.u.m.Functions[f.name]
	args, whole = map[string]bound{}, !c.Star
	i := 0
	for k, p := range fn.Params {
		if k == 0 && fn.Class != "" && !fn.Static && p.Star == 0 {
			if f.class.u == nil { // Class.method(instance, …)
				i++
			}
			continue
		}
		if p.Star > 0 {
			if p.Star == 1 {
				i = len(c.Args)
			}
			continue
		}
		if s, ok := c.Names[p.Name]; ok {
			args[p.Name] = bound{u, s, e}
			continue
		}
		if !p.KeywordOnly && i < len(c.Args) {
			args[p.Name] = bound{u, c.Args[i], e}
			i++
		}
	}
	return args, whole
}

// ask is resolve with a fresh budget.
func (l *linker) ask(u *unit, s *Shape, e *env) thing {
	l.hops = 0
	return l.resolve(u, s, e)
}

// resolve finds what an expression stands for.
func (l *linker) resolve(u *unit, s *Shape, e *env) thing {
	if s == nil {
		return thing{}
	}
	if l.hops > maxSteps {
		l.cut++
		return thing{}
	}
	l.hops++
	switch s.Kind {
	case interp.KindLibrary:
		return l.imported(u, s.Name, 0)
	case interp.KindFunction:
		if f, ok := u.m.Functions[s.Name]; ok {
			t := thing{kind: aFunction, u: u, name: s.Name}
			if s.Text == "bound" {
				t.class = definition{u, f.Class}
			}
			return t
		}
	case interp.KindClass:
		return thing{kind: aClass, u: u, name: s.Name}
	case interp.KindInstance:
		return thing{kind: anInstance, u: u, name: s.Name}
	case interp.KindUnknown, interp.KindNone:
		return thing{}
	}
	if s.Root > 0 {
		if t := l.root(u, s.Root, e); t.kind != nothing || s.Kind == interp.KindOpen {
			return t
		}
	}
	return thing{kind: aValue, u: u, shape: s, env: e}
}

// root finds what a root stands for.
func (l *linker) root(u *unit, i int, e *env) thing {
	q := question{u, -i, e}
	if l.busy[q] || len(l.busy) > maxHops {
		l.cut++
		return thing{}
	}
	l.busy[q] = true
	defer delete(l.busy, q)
	r := u.m.Roots[i-1]
	switch r.Kind {
	case interp.OriginParam:
		return l.param(u, r, e)
	case interp.OriginAttr:
		return l.attr(definition{u, r.In}, r.Name)
	case interp.OriginKey:
		if d := l.root(u, max(r.Of, 1), e); r.Of > 0 && d.kind == aValue && d.shape.Kind == interp.KindDict {
			if f, ok := d.shape.Fields[r.Name]; ok {
				return l.resolve(d.u, f, d.env)
			}
		}
	case interp.OriginMember:
		if r.Of > 0 {
			return l.member(l.root(u, r.Of, e), r.Name)
		}
	case interp.OriginItem:
		if r.Of > 0 {
			return l.item(l.root(u, r.Of, e), r.Index)
		}
	case interp.OriginCall:
		return l.result(u, &u.m.Calls[r.Call], e)
	}
	return thing{}
}

// param is what a parameter stands for: what the call passes, or what every
// known caller passes.
func (l *linker) param(u *unit, r Root, e *env) thing {
	d := definition{u, r.In}
	if e != nil && e.of == d {
		b, ok := e.args[r.Name]
		if !ok {
			return thing{}
		}
		return l.resolve(b.u, b.shape, b.env)
	}
	l.asks++
	var all thing
	for _, s := range l.callers[d] {
		b, ok := s.args[r.Name]
		if !ok {
			return thing{}
		}
		t := l.resolve(b.u, b.shape, b.env)
		switch {
		case t.kind == nothing:
			return thing{}
		case all.kind == nothing:
			all = t
		case all.kind != t.kind || all.u != t.u || all.name != t.name || all.shape != t.shape:
			return thing{}
		}
	}
	return all
}

// item is an element of a sequence.
func (l *linker) item(t thing, i int) thing {
	if t.kind != aValue || t.shape.Kind != interp.KindSequence {
		return thing{}
	}
	switch s := t.shape; {
	case s.Elem != nil:
		return l.resolve(t.u, s.Elem, t.env)
	case i < 0 && len(s.Items) == 1:
		return l.resolve(t.u, s.Items[0], t.env)
	case i >= 0 && i < len(s.Items):
		return l.resolve(t.u, s.Items[i], t.env)
	}
	return thing{}
}

// follows are the methods and functions that give back the model they get.
var follows = map[string]bool{
	"to": true, "cuda": true, "cpu": true, "eval": true, "train": true, "half": true, "bfloat16": true, "float": true, "double": true, "requires_grad_": true, "type": true,
	"compile": true, "DataParallel": true, "DistributedDataParallel": true, "DDP": true, "deepcopy": true, "convert_sync_batchnorm": true, "unwrap_model": true,
}

// result is what a call gives.
func (l *linker) result(u *unit, c *Call, e *env) thing {
	t := l.resolve(u, c.Callee, e)
	if s := container(c); s != nil {
		return thing{kind: aValue, u: u, shape: s, env: e}
	}
	switch t.kind {
	case aClass:
		return thing{kind: anInstance, u: t.u, name: t.name}
	case aFunction, anInstance:
		f, ok := l.function(t)
		if !ok {
			return thing{}
		}
		fn := f.u.m.Functions[f.name]
		if fn.Return == nil {
			return thing{}
		}
		args, _ := l.bind(f, u, c, e)
		return l.resolve(f.u, fn.Return, &env{of: definition{f.u, f.name}, args: args})
	case nothing:
		return l.handedBack(u, c, e)
	}
	return thing{}
}

// container is the sequence of modules that a call of nn.ModuleList or
// nn.Sequential makes, nil for other calls.
func container(c *Call) *Shape {
	if c.Callee.Kind != interp.KindLibrary || len(c.Args) == 0 {
		return nil
	}
	switch last(c.Callee.Name) {
	case "ModuleList":
		return c.Args[0]
	case "Sequential":
		return &Shape{Kind: interp.KindSequence, Items: c.Args}
	}
	return nil
}

// handedBack is the model that model.eval() or torch.compile(model) gives.
func (l *linker) handedBack(u *unit, c *Call, e *env) thing {
	switch s := c.Callee; {
	case s.Kind == interp.KindLibrary && follows[last(s.Name)] && len(c.Args) > 0:
		if t := l.resolve(u, c.Args[0], e); t.kind == anInstance {
			return t
		}
	case s.Root > 0:
		if r := u.m.Roots[s.Root-1]; r.Kind == interp.OriginMember && r.Of > 0 && follows[r.Name] {
			if t := l.root(u, r.Of, e); t.kind == anInstance {
				return t
			}
		}
	}
	return thing{}
}

// member is t.name.
func (l *linker) member(t thing, name string) thing {
	switch t.kind {
	case aModule:
		return l.inModule(t.u, t.name, name, 0)
	case aClass, anInstance:
		d := definition{t.u, t.name}
		if m := l.method(d, name); m.kind == aFunction {
			f := m.u.m.Functions[m.name]
			if f.Property {
				if f.Return == nil {
					return thing{}
				}
				return l.resolve(m.u, f.Return, nil)
			}
			if t.kind == aClass {
				m.class = definition{}
			}
			return m
		}
		return l.attr(d, name)
	}
	return thing{}
}

// bases are a class and its bases, nearest first. The answer is kept unless it
// depends on what callers pass, or was cut short.
func (l *linker) bases(d definition) []definition {
	if line, ok := l.lines[d]; ok {
		return line
	}
	cut, asks := l.cut, l.asks
	line := l.line(d)
	if l.cut == cut && l.asks == asks {
		l.lines[d] = line
	}
	return line
}

// line is bases, looked for.
func (l *linker) line(d definition) []definition {
	var out []definition
	var walk func(d definition)
	walk = func(d definition) {
		if d.u == nil || len(out) > 12 || slices.Contains(out, d) {
			return
		}
		c := d.u.m.Classes[d.name]
		if c == nil {
			return
		}
		out = append(out, d)
		for _, b := range c.Bases {
			if t := l.resolve(d.u, b, nil); t.kind == aClass {
				walk(definition{t.u, t.name})
			}
		}
	}
	walk(d)
	return out
}

// method finds a method along the bases, bound to the class.
func (l *linker) method(d definition, name string) thing {
	for _, b := range l.bases(d) {
		if _, ok := b.u.m.Functions[b.name+"."+name]; ok {
			return thing{kind: aFunction, u: b.u, name: b.name + "." + name, class: d}
		}
	}
	return thing{}
}

// attr finds an attribute that __init__ leaves, along the bases, or a method.
func (l *linker) attr(d definition, name string) thing {
	for _, b := range l.bases(d) {
		if s, ok := b.u.m.Classes[b.name].Attrs[name]; ok {
			return l.resolve(b.u, s, nil)
		}
	}
	return l.method(d, name)
}

// imported resolves a dotted reference of a file, relative ones with their dots.
func (l *linker) imported(u *unit, ref string, depth int) thing {
	if depth > 12 {
		return thing{}
	}
	name := strings.TrimLeft(ref, ".")
	dir := path.Dir(u.path)
	if dots := len(ref) - len(name); dots > 0 {
		for range dots - 1 {
			dir = path.Dir(dir)
		}
		return l.inFolder(dir, name, depth)
	}
	first, _, _ := strings.Cut(name, ".")
	for _, dir := range l.homes(where{dir, first}) {
		if t := l.inFolder(dir, name, depth); t.kind != nothing {
			return t
		}
	}
	return thing{}
}

// homes are the folders in which an absolute name may begin, the nearest first:
// it begins with a module, never with what a package binds. Most names begin with
// a library, and are asked for again and again.
func (l *linker) homes(w where) []string {
	if homes, ok := l.tops[w]; ok {
		return homes
	}
	var homes []string
	for dir := w.dir; ; dir = path.Dir(dir) {
		if l.module(path.Join(dir, w.first)).kind != nothing {
			homes = append(homes, dir)
		}
		if dir == "." || dir == "/" {
			break
		}
	}
	if l.module(path.Join("src", w.first)).kind != nothing {
		homes = append(homes, "src")
	}
	l.tops[w] = homes
	return homes
}

// inFolder resolves a dotted name below a folder.
func (l *linker) inFolder(dir, name string, depth int) thing {
	if name == "" {
		return l.module(dir)
	}
	first, rest, more := strings.Cut(name, ".")
	t := l.inModuleOrFolder(dir, first, depth)
	for more && t.kind != nothing {
		first, rest, more = strings.Cut(rest, ".")
		if t.kind == aModule {
			t = l.inModule(t.u, t.name, first, depth+1)
		} else {
			t = l.member(t, first)
		}
	}
	return t
}

// inModuleOrFolder is a module of a folder, or a name of its package.
func (l *linker) inModuleOrFolder(dir, name string, depth int) thing {
	if t := l.module(path.Join(dir, name)); t.kind != nothing {
		return t
	}
	if p := l.at[path.Join(dir, "__init__.py")]; p != nil {
		return l.bound(p, name, depth)
	}
	return thing{}
}

// module is the module or package at a path without ".py".
func (l *linker) module(p string) thing {
	if u := l.at[p+".py"]; u != nil {
		return thing{kind: aModule, u: u, name: p}
	}
	if u := l.at[path.Join(p, "__init__.py")]; u != nil {
		return thing{kind: aModule, u: u, name: p}
	}
	if l.folders[p] { // a package without __init__.py
		return thing{kind: aModule, name: p}
	}
	return thing{}
}

// inModule is a name of a module or package.
func (l *linker) inModule(u *unit, p, name string, depth int) thing {
	if u != nil {
		if t := l.bound(u, name, depth+1); t.kind != nothing {
			return t
		}
		if path.Base(u.path) != "__init__.py" {
			return thing{}
		}
	}
	return l.module(path.Join(p, name))
}

// bound is what a module binds a name to.
func (l *linker) bound(u *unit, name string, depth int) thing {
	b := l.binding(u, name)
	switch {
	case b.shape == nil || depth > 12:
		return thing{}
	case b.shape.Kind == interp.KindLibrary:
		return l.imported(b.u, b.shape.Name, depth+1)
	}
	return l.resolve(b.u, b.shape, nil)
}

// binding finds where a module binds a name: itself, or a module that it imports
// with a star. Each question is answered once, since packages import each other
// with stars.
func (l *linker) binding(u *unit, name string) bound {
	q := definition{u, name}
	if b, ok := l.bindings[q]; ok {
		return b
	}
	l.bindings[q] = bound{} // for a cycle
	b := bound{u: u, shape: u.m.Names[name]}
	if b.shape == nil {
		for _, s := range l.stars(u) {
			if b = l.binding(s, name); b.shape != nil {
				break
			}
		}
	}
	l.bindings[q] = b
	return b
}

// stars are the modules that a module imports with a star.
func (l *linker) stars(u *unit) []*unit {
	if u.starred {
		return u.stars
	}
	u.starred = true
	for _, i := range u.m.Imports {
		if i.From && i.Name == "*" && strings.Trim(i.Module, ".") != "" {
			if t := l.imported(u, i.Module, 0); t.kind == aModule && t.u != nil && t.u != u {
				u.stars = append(u.stars, t.u)
			}
		}
	}
	return u.stars
}

// floats reports whether a part that is known is floating.
func (a Alt) floats() bool {
	d, _ := dtype.ByName(a.Exact)
	return a.Default || d.Floating()
}

// combine is the dtype.Type of a Type, with its roots resolved by root; Unknown if
// one has none.
func (l *linker) combine(t Type, root func(int) known) (dtype.Type, []interp.Place) {
	var all []dtype.Type
	var why []interp.Place
alternatives:
	for _, a := range t {
		acc := dtype.Type{}
		if a.Exact != "" {
			d, _ := dtype.ByName(a.Exact)
			acc = dtype.Exact(d)
		}
		if a.Default {
			acc = dtype.Combine(acc, dtype.Default)
		}
		for _, i := range a.Roots {
			k := root(i)
			if k.none {
				continue alternatives // a path that is not taken
			}
			parts := len(a.Roots)
			if a.Exact != "" || a.Default {
				parts++
			}
			if k.ok() && parts > 1 && k.rank == dtype.RankScalar && a.floats() {
				continue // a Python number does not widen a floating tensor
			}
			if !k.ok() || parts > 1 && k.rank != dtype.RankDim {
				return dtype.Unknown, nil
			}
			acc = dtype.Combine(acc, k.t)
			why = append(why, k.why...)
		}
		all = append(all, acc)
	}
	if len(all) == 0 {
		return dtype.Unknown, nil
	}
	return dtype.Join(all...), why
}
