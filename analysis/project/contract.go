package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// known is what is known of a dtype without any root. The zero value is
// nothing.
type known struct {
	t    dtype.Type
	rank dtype.Rank
	why  []interp.Place
	// none says that it is None: what is computed with it is not reached.
	none bool
}

func (k known) ok() bool { return k.t.Known() }

// because puts a step before the reasons.
func (k known) because(u *unit, line int, format string, args ...any) known {
	if line > 0 {
		k.why = append([]interp.Place{{Path: u.path, Line: line, Text: fmt.Sprintf(format, args...)}}, k.why...)
	}
	return k
}

// code quotes words as inline code.
func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + s + " ``"
	}
	return "`" + s + "`"
}

// typeOf is the dtype of an expression.
func (l *linker) typeOf(u *unit, s *Shape, e *env) known {
	if s == nil {
		return known{}
	}
	if l.hops > maxSteps {
		l.cut++
		return known{}
	}
	l.hops++
	switch s.Kind {
	case interp.KindOpen:
		if s.Root > 0 {
			return l.rootType(u, s.Root, e)
		}
	case interp.KindLibrary:
		if t := l.imported(u, s.Name, 0); t.kind == aValue && t.shape.Kind != interp.KindLibrary {
			return l.typeOf(t.u, t.shape, t.env)
		}
	case interp.KindTensor, interp.KindArray, interp.KindNumPy, interp.KindNumber, interp.KindDType:
		k := known{rank: s.Rank}
		k.t, k.why = l.combine(s.Type, func(i int) known { return l.rootType(u, i, e) })
		if !k.ok() || k.t.HasDefault() && l.otherDefault {
			return known{}
		}
		if s.Words != "" && len(k.why) == 0 {
			k = k.because(u, s.Line, "%s is %s", code(s.Words), words(k.t))
		}
		return k
	}
	return known{}
}

// words names a dtype that is known without any root.
func words(t dtype.Type) string {
	if t.IsDefault() {
		return "float32"
	}
	return strings.ReplaceAll(t.String(), "|", " or ")
}

// rootType is the dtype of a root.
func (l *linker) rootType(u *unit, i int, e *env) known {
	q := question{u, i, e}
	if l.busy[q] || len(l.busy) > maxHops {
		l.cut++
		return known{}
	}
	l.busy[q] = true
	defer delete(l.busy, q)
	r := u.m.Roots[i-1]
	switch r.Kind {
	case interp.OriginParam:
		d := definition{u, r.In}
		if e != nil && e.of == d {
			if b, ok := e.args[r.Name]; ok {
				k := l.typeOf(b.u, b.shape, b.env)
				k.none = b.shape.Kind == interp.KindNone
				return k
			}
			return known{none: d.leavesNone(r.Name)}
		}
		return l.agreed(d, r.Name)
	case interp.OriginAttr:
		return l.attrType(definition{u, r.In}, r.Name)
	case interp.OriginKey:
		if r.Of > 0 {
			if d := l.root(u, r.Of, e); d.kind == aValue && d.shape.Kind == interp.KindDict {
				switch f, ok := d.shape.Fields[r.Name]; {
				case ok:
					return l.typeOf(d.u, f, d.env)
				case d.shape.Elem != nil:
					return l.typeOf(d.u, d.shape.Elem, d.env)
				case d.shape.Root == 0:
					return known{}
				}
			}
			if l.plain(u, r.Of, e, 0) {
				return l.keyType(r.Name)
			}
		}
	case interp.OriginMember, interp.OriginItem:
		if t := l.root(u, i, e); t.kind == aValue {
			return l.typeOf(t.u, t.shape, t.env)
		}
		if r.Kind == interp.OriginMember && r.Of > 0 {
			if o := l.root(u, r.Of, e); o.kind == anInstance {
				return l.attrType(definition{o.u, o.name}, r.Name)
			}
		}
	case interp.OriginCall:
		if k := l.resultType(u, &u.m.Calls[r.Call], e); k.ok() {
			return k
		}
	}
	return l.settings(l.root(u, i, e))
}

// settings is the dtype that an object holds in its attribute dtype: that of
// cfg.dtype, which looks like the dtype of a tensor.
func (l *linker) settings(t thing) known {
	if t.kind != anInstance {
		return known{}
	}
	if a := l.attr(definition{t.u, t.name}, "dtype"); a.kind == aValue && a.shape.Kind == interp.KindDType {
		return l.typeOf(a.u, a.shape, a.env)
	}
	return known{}
}

// resultType is the dtype of what a call gives.
func (l *linker) resultType(u *unit, c *Call, e *env) known {
	t := l.resolve(u, c.Callee, e)
	f, ok := l.function(t)
	if !ok || t.kind == aClass || l.allCovered || c.Cast || l.covered[definition{u, c.In}] {
		return known{}
	}
	fn := f.u.m.Functions[f.name]
	if fn.Return == nil || fn.Property {
		return known{}
	}
	args, _ := l.bind(f, u, c, e)
	k := l.typeOf(f.u, fn.Return, &env{of: definition{f.u, f.name}, args: args})
	if !k.ok() || k.rank == dtype.RankScalar {
		return known{}
	}
	if len(k.why) == 0 || k.why[0].Path != f.u.path {
		k = k.because(f.u, fn.Line, "%s returns %s", code(last(f.name)), words(k.t))
	}
	return k
}

// agreed is the dtype that every known caller passes to a parameter.
func (l *linker) agreed(d definition, param string) known {
	if k, ok := l.params[asked{d, param}]; ok {
		return k
	}
	before := l.cut
	k := agreement(l.passed(d, param))
	if l.cut == before {
		l.params[asked{d, param}] = k
	}
	return k
}

// agreement is what all say, nothing if one says nothing or something else.
func agreement(list []known) known {
	var all known
	for _, p := range list {
		if p.none {
			continue
		}
		if !p.ok() || all.ok() && dtype.Relate(all.t, p.t) != dtype.Same {
			return known{}
		}
		if all.ok() {
			all.rank = dtype.JoinRank(all.rank, p.rank)
			continue // one caller's reasons are enough
		}
		all = p
	}
	return all
}

// passed is what each known caller passes to a parameter; what is not known of
// is the zero value.
func (l *linker) passed(d definition, param string) []known {
	var out []known
	for _, s := range l.callers[d] {
		b, ok := s.args[param]
		if !ok || !s.whole {
			out = append(out, known{none: s.whole && d.leavesNone(param)})
			continue
		}
		k := l.typeOf(b.u, b.shape, b.env)
		k.none = b.shape.Kind == interp.KindNone
		if k.ok() {
			k.why = slices.Concat(k.why, []interp.Place{{Path: s.u.path, Line: s.call.Line, Text: fmt.Sprintf("%s gets it as %s", code(s.call.Words), code(param))}})
		}
		out = append(out, k)
	}
	return out
}

// leavesNone reports whether a parameter is None where a call leaves it out.
func (d definition) leavesNone(param string) bool {
	f := d.u.m.Functions[d.name]
	return f != nil && slices.ContainsFunc(f.Params, func(p Param) bool { return p.Name == param && p.None })
}

// attrType is the dtype of an attribute of a class: what __init__ left, or, if it
// follows its module, what the module is cast to.
func (l *linker) attrType(d definition, name string) known {
	for _, b := range l.bases(d) {
		c := b.u.m.Classes[b.name]
		s, ok := c.Attrs[name]
		if !ok {
			continue
		}
		if !b.u.follows(b.name, name, s) {
			return l.typeOf(b.u, s, nil)
		}
		k := l.cast(d)
		if !k.ok() && d != b {
			k = l.cast(b)
		}
		if g := l.casts[b]; g != nil && g.odd[name] {
			return known{}
		}
		if g := l.casts[d]; g != nil && g.odd[name] {
			return known{}
		}
		k.rank = s.Rank
		if s.Kind == interp.KindModule {
			k.rank = dtype.RankDim
		}
		return k
	}
	return known{}
}

// follows reports whether an attribute is a parameter, buffer or submodule whose
// dtype is that of its module.
func (u *unit) follows(class, name string, s *Shape) bool {
	if s.Kind != interp.KindModule && s.Kind != interp.KindTensor || len(s.Type) != 1 || len(s.Type[0].Roots) != 1 || s.Type[0].Exact != "" || s.Type[0].Default {
		return false
	}
	r := u.m.Roots[s.Type[0].Roots[0]-1]
	return r.Kind == interp.OriginAttr && r.In == class && r.Name == name
}

// castings are the casts of the models that a class is part of.
type castings struct {
	to      []known
	unknown bool            // an engine or a cast of which nothing is known
	odd     map[string]bool // attributes that are cast by themselves
	covers  map[*Call]bool  // the creations of the instances that are cast
}

// cast is the dtype that every cast of a class agrees on, if every instance is
// cast: one that is not keeps the dtype that it was made with.
func (l *linker) cast(d definition) known {
	g := l.casts[d]
	if g == nil || g.unknown || len(g.to) == 0 || !l.covering(d) {
		return known{}
	}
	for _, k := range g.to[1:] {
		if dtype.Relate(g.to[0].t, k.t) != dtype.Same {
			return known{}
		}
	}
	return g.to[0]
}

// covering reports whether all instances of a class that somebody is seen to make
// are cast.
func (l *linker) covering(d definition) bool {
	g := l.casts[d]
	return g != nil && !slices.ContainsFunc(l.created[d], func(c creation) bool { return !g.covers[c.call] })
}

// reaches notes which instances a cast reaches: the one that the value comes
// from, or the only one that there is.
func (l *linker) reaches(g *castings, d definition, u *unit, s *Shape) {
	if made := l.creation(u, s.Root); made != nil {
		g.covers[made] = true
	} else if len(l.created[d]) == 1 {
		g.covers[l.created[d][0].call] = true
	}
}

// creation is the call that made the instance of a root of a file, behind calls of
// methods that give it back; nil if it is not seen.
func (l *linker) creation(u *unit, root int) *Call {
	for i := 0; i < 6 && root > 0; i++ {
		r := u.m.Roots[root-1]
		if r.Kind != interp.OriginCall {
			return nil
		}
		c := &u.m.Calls[r.Call]
		if l.resolve(u, c.Callee, nil).kind == aClass {
			return c
		}
		if root = c.Callee.Root; root == 0 {
			return nil
		}
		m := u.m.Roots[root-1]
		if m.Kind != interp.OriginMember || !follows[m.Name] {
			return nil
		}
		root = m.Of
	}
	return nil
}

// harmless are functions that may get a model and leave its dtype alone.
var harmless = map[string]bool{
	"print": true, "len": true, "isinstance": true, "hasattr": true, "getattr": true, "sum": true, "list": true, "id": true, "type": true, "save": true, "watch": true, "summary": true,
	"append": true, "info": true, "debug": true, "add_graph": true, "count_parameters": true, "register_module": true, "add_module": true,
}

// gatherCasts collects what happens to the models of the repository.
func (l *linker) gatherCasts() map[definition]*castings {
	out := map[definition]*castings{}
	l.casts = out
	of := func(d definition) *castings {
		if out[d] == nil {
			out[d] = &castings{odd: map[string]bool{}, covers: map[*Call]bool{}}
		}
		return out[d]
	}
	for _, u := range l.units {
		for name, c := range u.m.Classes {
			if c.Engine {
				of(definition{u, name}).unknown = true
			}
		}
		if u.off {
			continue
		}
		for i := range u.m.Casts {
			l.noteCast(u, &u.m.Casts[i], of)
		}
		for i := range u.m.Calls {
			l.noteEngine(u, &u.m.Calls[i], of)
		}
	}
	l.spread(of)
	return out
}

// noteCast notes a cast of an instance, of one of its attributes, or of its
// modules one by one.
func (l *linker) noteCast(u *unit, c *Cast, of func(definition) *castings) {
	l.hops = 0
	t := l.resolve(u, c.Recv, nil)
	if t.kind == anInstance {
		k, device := l.castTo(u, c)
		if device {
			return
		}
		d := definition{t.u, t.name}
		g := of(d)
		l.reaches(g, d, u, c.Recv)
		if !k.ok() {
			g.unknown = true
			return
		}
		g.to = append(g.to, k.because(u, c.Line, "%s casts the model", code(c.Words)))
		return
	}
	for i, r := 0, c.Recv.Root; i < 6 && r > 0; i++ {
		root := u.m.Roots[r-1]
		owner := root.Of
		if root.Kind == interp.OriginCall {
			owner = u.memberCall(root, "modules", "children", "named_modules", "named_children", "parameters", "named_parameters", "buffers", "named_buffers")
		}
		if owner > 0 {
			if o := l.root(u, owner, nil); o.kind == anInstance {
				g := of(definition{o.u, o.name})
				if root.Kind == interp.OriginMember {
					g.odd[root.Name] = true
				} else {
					g.unknown = true
				}
				return
			}
		}
		r = root.Of
		if root.Kind == interp.OriginCall {
			r = owner
		}
	}
}

// castTo is the dtype of a cast; device says that it is none.
func (l *linker) castTo(u *unit, c *Cast) (k known, device bool) {
	k.t, _ = l.combine(c.To, func(i int) known { return l.rootType(u, i, nil) })
	if k.ok() {
		return k, false
	}
	for _, s := range c.Args {
		t := l.resolve(u, s, nil)
		if t.kind != aValue {
			return known{}, false
		}
		switch t.shape.Kind {
		case interp.KindDType:
			k = l.typeOf(t.u, t.shape, t.env)
			return known{t: k.t}, false
		case interp.KindDevice, interp.KindString:
			device = true
		default:
			return known{}, false
		}
	}
	return known{}, device
}

// noteEngine notes a model that is given to something that may cast it.
func (l *linker) noteEngine(u *unit, c *Call, of func(definition) *castings) {
	l.hops = 0
	args := slices.Clone(c.Args)
	for _, s := range c.Names {
		args = append(args, s)
	}
	for _, s := range args {
		t := l.resolve(u, s, nil)
		if t.kind != anInstance || t.u.m.Classes[t.name] == nil {
			continue
		}
		name := calleeName(u, c)
		if harmless[name] || follows[name] || l.resolve(u, c.Callee, nil).kind != nothing {
			continue
		}
		if r := c.Callee.Root; r > 0 && u.m.Roots[r-1].Kind == interp.OriginParam {
			continue // a callback
		}
		if container(c) != nil {
			continue
		}
		of(definition{t.u, t.name}).unknown = true
	}
	if name := calleeName(u, c); name == "load_state_dict" && c.Names["assign"] != nil || name == "apply" && len(c.Args) == 1 {
		if r := c.Callee.Root; r > 0 && u.m.Roots[r-1].Of > 0 {
			if t := l.root(u, u.m.Roots[r-1].Of, nil); t.kind == anInstance {
				of(definition{t.u, t.name}).unknown = true
			}
		}
	}
}

// calleeName is the last part of what a call calls.
func calleeName(u *unit, c *Call) string {
	if s := c.Callee; s.Name != "" {
		return last(s.Name)
	} else if s.Root > 0 {
		return u.m.Roots[s.Root-1].Name
	}
	return last(c.Words)
}

// spread carries what happens to a model to its bases and to its parts.
func (l *linker) spread(of func(definition) *castings) {
	var queue []definition
	for d := range l.casts {
		queue = append(queue, d)
	}
	slices.SortFunc(queue, func(a, b definition) int {
		if c := strings.Compare(a.u.path, b.u.path); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	done := map[[2]definition]bool{}
	for range 8 {
		var next []definition
		for _, d := range queue {
			for _, p := range l.parts(d) {
				if p == d || done[[2]definition{d, p}] {
					continue
				}
				done[[2]definition{d, p}] = true
				from, to := l.casts[d], of(p)
				to.unknown = to.unknown || from.unknown
				to.to = append(to.to, from.to...)
				l.carry(d, p, to)
				next = append(next, p)
			}
		}
		queue = next
	}
}

// carry notes the instances of a part that are cast with the whole: for a base
// those of the class itself, for a submodule those that the class makes.
func (l *linker) carry(d, part definition, to *castings) {
	line := l.bases(d)
	if slices.Contains(line, part) {
		for c := range l.casts[d].covers {
			to.covers[c] = true
		}
		return
	}
	if !l.covering(d) {
		return
	}
	for _, c := range l.created[part] {
		if slices.ContainsFunc(line, func(b definition) bool { return c.u == b.u && strings.HasPrefix(c.call.In, b.name+".") }) {
			to.covers[c.call] = true
		}
	}
}

// parts are the bases of a class and the classes of its submodules.
func (l *linker) parts(d definition) []definition {
	var out []definition
	for _, b := range l.bases(d) {
		out = append(out, b)
		c := b.u.m.Classes[b.name]
		for _, s := range c.Attrs {
			out = append(out, l.instances(b.u, s, 0)...)
		}
	}
	slices.SortFunc(out, func(a, b definition) int {
		if c := strings.Compare(a.u.path, b.u.path); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return slices.Compact(out)
}

// instances are the classes of the modules that an expression holds.
func (l *linker) instances(u *unit, s *Shape, depth int) []definition {
	if s == nil || depth > 3 {
		return nil
	}
	t := l.ask(u, s, nil)
	switch t.kind {
	case anInstance:
		return []definition{{t.u, t.name}}
	case aValue:
		var out []definition
		for _, s := range append([]*Shape{t.shape.Elem}, t.shape.Items...) {
			out = append(out, l.instances(t.u, s, depth+1)...)
		}
		return out
	}
	return nil
}

// plain reports whether the values of a dictionary are those that a loader gave:
// an item of an iteration, a parameter that gets one, or a copy that casts
// nothing.
func (l *linker) plain(u *unit, i int, e *env, depth int) bool {
	if depth > 10 || i == 0 {
		return false
	}
	r := u.m.Roots[i-1]
	switch r.Kind {
	case interp.OriginItem:
		return true
	case interp.OriginKey:
		return l.plain(u, r.Of, e, depth+1)
	case interp.OriginParam:
		d := definition{u, r.In}
		if e != nil && e.of == d {
			b, ok := e.args[r.Name]
			return ok && l.plain(b.u, b.shape.Root, b.env, depth+1)
		}
		for _, s := range l.callers[d] {
			b, ok := s.args[r.Name]
			if !ok || b.shape.Kind != interp.KindOpen && b.shape.Kind != interp.KindDict || !l.plain(b.u, b.shape.Root, b.env, depth+1) {
				return false
			}
		}
		return true
	case interp.OriginCopy:
		return l.copies(u, r.Of, e, depth)
	case interp.OriginCall:
		c := &u.m.Calls[r.Call]
		f, ok := l.function(l.resolve(u, c.Callee, e))
		if !ok {
			return false
		}
		fn := f.u.m.Functions[f.name]
		if fn.Return == nil || fn.Return.Kind != interp.KindOpen && fn.Return.Kind != interp.KindDict {
			return false
		}
		args, _ := l.bind(f, u, c, e)
		return l.plain(f.u, fn.Return.Root, &env{of: definition{f.u, f.name}, args: args}, depth+1)
	}
	return false
}

// copies reports whether a value is an item of a plain dictionary's items().
func (l *linker) copies(u *unit, i int, e *env, depth int) bool {
	for range 4 {
		if i == 0 {
			return false
		}
		r := u.m.Roots[i-1]
		switch r.Kind {
		case interp.OriginItem:
			i = r.Of
		case interp.OriginValue:
			return l.plain(u, r.Of, e, depth+1)
		case interp.OriginCall:
			return l.plain(u, u.memberCall(r, "items"), e, depth+1)
		default:
			return false
		}
	}
	return false
}

// keyType is the dtype that the data sets of the repository fill a key with.
func (l *linker) keyType(key string) known {
	if l.wild {
		return known{}
	}
	if k, ok := l.keys[key]; ok {
		return k
	}
	before := l.cut
	k := l.filled(key)
	if l.cut == before {
		l.keys[key] = k
	}
	return k
}

// filled is the dtype that every fill of a key agrees on.
func (l *linker) filled(key string) known {
	var all known
	sampled := false
	for _, f := range l.fills[key] {
		k := l.typeOf(f.u, f.f.Value, nil)
		sample := l.samples(f.u, f.f.In)
		if k.ok() {
			k = collated(f.f.Value, k, sample)
		}
		if !k.ok() || all.ok() && dtype.Relate(all.t, k.t) != dtype.Same {
			return known{}
		}
		k = k.because(f.u, f.f.Line, "the key %s is %s", code(fmt.Sprintf("%q", key)), words(k.t))
		switch {
		case !all.ok():
			all = k
		default:
			all.why = append(all.why, k.why...)
		}
		sampled = sampled || sample
	}
	if !sampled {
		return known{}
	}
	all.rank = dtype.RankDim // a batch has a dimension more
	return all
}

// collated is what default_collate makes of a value
// (torch/utils/data/_utils/collate.py): arrays keep their dtype, Python's floats
// become float64 and its integers int64.
func collated(s *Shape, k known, sample bool) known {
	if s.Kind != interp.KindNumber {
		return k
	}
	d, ok := k.t.Exact()
	switch {
	case !sample:
		return known{}
	case k.t.IsDefault():
		k.t = dtype.Exact(dtype.Float64)
	case !ok || d != dtype.Int64:
		return known{}
	}
	return k
}

// samples reports whether the dictionaries of a function are samples of a data
// set or batches.
func (l *linker) samples(u *unit, scope string) bool {
	if strings.Contains(strings.ToLower(last(scope)), "collate") || slices.Contains(u.m.Collates, scope) {
		return true
	}
	f := u.m.Functions[scope]
	if f == nil || f.Class == "" {
		return false
	}
	return slices.ContainsFunc(l.bases(definition{u, f.Class}), func(d definition) bool { return d.u.m.Classes[d.name].Dataset })
}

// cover finds the functions that some caller reaches under autocast.
func (l *linker) cover() {
	l.covered = map[definition]bool{}
	for _, u := range l.units {
		if u.off {
			continue
		}
		for i := range u.m.Calls {
			c := &u.m.Calls[i]
			if c.Cast && !l.allCovered {
				// A model of which nothing is known may be any.
				l.allCovered = l.ask(u, c.Callee, nil).kind == nothing && u.callsModel(c)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for d, sites := range l.callers {
			if l.covered[d] {
				continue
			}
			if slices.ContainsFunc(sites, func(s site) bool { return s.call.Cast || l.covered[definition{s.u, s.call.In}] }) {
				l.covered[d], changed = true, true
			}
		}
	}
}

// callsModel reports whether a call may run a model: it calls a parameter, an
// attribute, an item or what another call gave.
func (u *unit) callsModel(c *Call) bool {
	if c.Callee.Root == 0 {
		return false
	}
	switch r := u.m.Roots[c.Callee.Root-1]; r.Kind {
	case interp.OriginParam, interp.OriginAttr, interp.OriginItem, interp.OriginKey, interp.OriginCall:
		return true
	case interp.OriginMember:
		return r.Name == "forward" || r.Name == "model" || r.Name == "module" || strings.HasSuffix(r.Name, "_step") || strings.HasSuffix(r.Name, "_model")
	}
	return false
}
