package interp

import (
	"hash/fnv"
	"iter"
	"strings"
)

// vars are the variables of a frame by name and dotted path. Copies share what
// they have in common, and joining two costs what they differ by, so that a
// thousand branches over a thousand names stay cheap: a treap whose shape
// follows from its keys alone.
type vars struct{ root *binding }

type binding struct {
	key         string
	value       *Value
	prio        uint32
	left, right *binding
}

func newVars() *vars { return &vars{} }

func (v *vars) clone() *vars { return &vars{root: v.root} }

func (v *vars) get(key string) (*Value, bool) {
	for b := v.root; b != nil; {
		switch {
		case key == b.key:
			return b.value, true
		case key < b.key:
			b = b.left
		default:
			b = b.right
		}
	}
	return nil, false
}

func priority(key string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key))
	x := h.Sum32()
	x ^= x >> 16 // FNV's high bits hardly depend on the last byte
	x *= 0x85ebca6b
	x ^= x >> 13
	return x
}

// above reports whether a stands above b.
func above(a, b *binding) bool { return a.prio > b.prio || a.prio == b.prio && a.key < b.key }

func (v *vars) set(key string, value *Value) {
	v.root = insert(v.root, &binding{key: key, value: value, prio: priority(key)})
}

func insert(t, n *binding) *binding {
	switch {
	case t == nil:
		return n
	case n.key == t.key:
		c := *t
		c.value = n.value
		return &c
	case above(n, t):
		n.left, _, n.right = split(t, n.key)
		return n
	}
	c := *t
	if n.key < t.key {
		c.left = insert(t.left, n)
	} else {
		c.right = insert(t.right, n)
	}
	return &c
}

// split gives what stands before and behind a key, and its own binding.
func split(t *binding, key string) (left, at, right *binding) {
	switch {
	case t == nil:
		return nil, nil, nil
	case key == t.key:
		return t.left, t, t.right
	}
	c := *t
	if key < t.key {
		left, at, c.left = split(t.left, key)
		return left, at, &c
	}
	c.right, at, right = split(t.right, key)
	return &c, at, right
}

func merge(a, b *binding) *binding {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case above(a, b):
		c := *a
		c.right = merge(a.right, b)
		return &c
	}
	c := *b
	c.left = merge(a, b.left)
	return &c
}

// deletePaths forgets the attributes and items of a name: all keys that start
// with it and a dot.
func (v *vars) deletePaths(name string) {
	low, high := name+".", name+"/" // "/" follows "."
	if !hasBetween(v.root, low, high) {
		return
	}
	left, at, rest := split(v.root, low)
	_, end, right := split(rest, high)
	_ = at // the name itself never ends in a dot
	if end != nil {
		right = insert(right, &binding{key: end.key, value: end.value, prio: end.prio})
	}
	v.root = merge(left, right)
}

func hasBetween(t *binding, low, high string) bool {
	for t != nil {
		switch {
		case t.key < low:
			t = t.right
		case t.key >= high:
			t = t.left
		default:
			return true
		}
	}
	return false
}

// each calls f with all bindings in the order of their keys.
func (v *vars) each(f func(key string, value *Value)) { v.root.each(f) }

func (b *binding) each(f func(key string, value *Value)) {
	if b != nil {
		b.left.each(f)
		f(b.key, b.value)
		b.right.each(f)
	}
}

// Names are the names of a function, and its dotted paths, that may hold tensors at
// one place. Every operation has them; nothing is listed before it is asked for.
type Names struct{ root *binding }

// Get returns what a name holds, nil if that is no tensor on some path.
func (n Names) Get(name string) *Value {
	v, ok := (&vars{n.root}).get(name)
	if !ok || !listed(name, v) {
		return nil
	}
	return v
}

// All yields the names in their order.
func (n Names) All() iter.Seq2[string, *Value] {
	return func(yield func(string, *Value) bool) {
		n.root.first(func(k string, v *Value) bool { return !listed(k, v) || yield(k, v) })
	}
}

func listed(name string, v *Value) bool {
	return v.tensorish() && !v.Maybe && !strings.Contains(name, "[")
}

// first calls f with the bindings until it returns false.
func (b *binding) first(f func(key string, value *Value) bool) bool {
	return b == nil || b.left.first(f) && f(b.key, b.value) && b.right.first(f)
}

// joinVars joins two states. A name that only one path binds keeps its value:
// reading it on the other path would be an error of its own; a dotted path is
// forgotten, since on the other path the attribute is what it was.
func joinVars(a, b *vars) *vars { return &vars{root: joinBindings(a.root, b.root)} }

func joinBindings(a, b *binding) *binding {
	switch {
	case a == b:
		return a
	case a == nil:
		return names(b)
	case b == nil:
		return names(a)
	}
	var l, at, r *binding
	if above(b, a) {
		l, at, r = split(a, b.key)
		left, right := joinBindings(l, b.left), joinBindings(r, b.right)
		if at == nil {
			return rooted(b, b.value, left, right, !strings.Contains(b.key, "."))
		}
		return rooted(b, joinValues(at.value, b.value), left, right, true)
	}
	l, at, r = split(b, a.key)
	left, right := joinBindings(a.left, l), joinBindings(a.right, r)
	if at == nil {
		return rooted(a, a.value, left, right, !strings.Contains(a.key, "."))
	}
	v := a.value
	if v != at.value {
		v = joinValues(v, at.value)
	}
	return rooted(a, v, left, right, true)
}

// names are the bindings of plain names.
func names(b *binding) *binding {
	if b == nil {
		return nil
	}
	return rooted(b, b.value, names(b.left), names(b.right), !strings.Contains(b.key, "."))
}

// rooted is b with other children, b itself if nothing changed.
func rooted(b *binding, v *Value, left, right *binding, keep bool) *binding {
	switch {
	case !keep:
		return merge(left, right)
	case v == b.value && left == b.left && right == b.right:
		return b
	}
	return &binding{key: b.key, value: v, prio: b.prio, left: left, right: right}
}

func equalVars(a, b *vars) bool { return equalBindings(a.root, b.root) }

func equalBindings(a, b *binding) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.key == b.key && equalValue(a.value, b.value) && equalBindings(a.left, b.left) && equalBindings(a.right, b.right)
}
