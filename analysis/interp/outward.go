package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// An Outward is what a file has to do with the other files of its repository:
// what it shows to them, and which of its roots they may know the dtype of.
type Outward struct {
	Imports   []Import
	Functions []*Function // in the order in which their definitions were reached
	Classes   []*Class
	// Names are the names that the module leaves bound.
	Names map[string]*Value
	// Origins says where a root comes from, as far as that is more than an
	// expression of its own.
	Origins map[*dtype.Root]Origin
	Calls   []*Call // of what is not PyTorch's, NumPy's or Python's own
	Casts   []Cast
	Fills   []Fill
}

// An Import is one imported name: "from Module import Name" or "import Name".
type Import struct {
	Module, Name string // Module has the dots of a relative import
	From         bool
}

// OriginKind says what kind of definition a root is.
type OriginKind uint8

// The kinds of origins.
const (
	OriginParam  OriginKind = iota + 1 // parameter Name of Scope
	OriginAttr                         // attribute Name of Class
	OriginKey                          // Of["Name"]
	OriginMember                       // Of.Name
	OriginItem                         // item Index of Of, any item if it is below 0
	OriginValue                        // any value of the dictionary Of
	OriginCall                         // result of Call
	OriginCopy                         // a dict comprehension whose values are Of
)

// An Origin is the definition that a root stands for.
type Origin struct {
	Kind  OriginKind
	Of    *dtype.Root // nil if nothing is known of it
	Name  string
	Index int
	Scope *Scope
	Class *Class
	Call  *Call
}

// A Call is one call of something that the file alone does not explain, or of a
// function or class of the file.
type Call struct {
	Node     *python.Call
	Scope    *Scope
	Callee   *Value
	Args     []*Value
	Names    map[string]*Value
	Star     bool // *args or **kwargs stand in the call
	Autocast Autocast
}

// A Cast is .to(dtype), .half() and so on of something that may be a module.
type Cast struct {
	Node  *python.Call
	Scope *Scope
	Recv  *Value
	To    dtype.Type
	Args  []*Value // what .to() gets
}

// A Fill is a constant key of a dictionary and the value that it gets.
type Fill struct {
	At    python.Node
	Scope *Scope
	Key   string
	Value *Value
}

// A Place is a place of another file and what stands there.
type Place struct {
	Path string
	Line int // 1-based
	Text string
}

// Static reports whether a method gets neither an instance nor a class.
func (f *Function) Static() bool { return f.static }

// Property reports whether a method is read like an attribute.
func (f *Function) Property() bool { return f.prop }

// Opaque reports whether a call gives something else than the function returns:
// a generator, a coroutine, a kernel.
func (f *Function) Opaque() bool {
	return f.skip || f.state != 2 || f.Def.Async || isGenerator(f.Def)
}

// Root is the root of an attribute that follows the module, nil if there is
// none.
func (c *Class) Root(name string) *dtype.Root { return c.roots[name] }

// Made are the attributes that __init__ leaves in an instance, before anybody
// casts it.
func (c *Class) Made() map[string]*Value { return c.made }

// Symbol is the root of what was cast, moved or called to make the value: that
// of a model for model.to(device). Nil if the value is no such thing.
func (v *Value) Symbol() *dtype.Root { return v.symbol() }

func (v *Value) symbol() *dtype.Root {
	for i := 0; i < 20 && v != nil; i++ {
		switch {
		case v.Kind == KindOpen, v.Kind == KindDict, v.Kind == KindTensor && v.root != nil: // an open value seen as a tensor keeps its root
			return v.root
		case v.Kind != KindTensor || len(v.From) == 0 || v.How != HowKeep && v.How != HowCast || !strings.HasPrefix(v.Op, "."):
			return nil
		}
		v = v.From[0]
	}
	return nil
}

// outward collects an Outward.
type outward struct {
	Outward
	imports   []Import
	functions []*Function
	classes   []*Class
	origins   map[*dtype.Root]Origin
	callAt    map[*python.Call]*Call
	castAt    map[*python.Call]int
	fillAt    map[python.Node]int
}

func newOutward() outward {
	return outward{origins: map[*dtype.Root]Origin{}, callAt: map[*python.Call]*Call{}, castAt: map[*python.Call]int{}, fillAt: map[python.Node]int{}}
}

// gather ends the collection.
func (o *outward) gather(module *frame) Outward {
	out := o.Outward
	out.Imports, out.Functions, out.Classes, out.Origins = o.imports, o.functions, o.classes, o.origins
	out.Names = map[string]*Value{}
	module.vars.each(func(k string, v *Value) {
		if !strings.ContainsAny(k, ".[") {
			out.Names[k] = v
		}
	})
	return out
}

// member is a dotted name below another, which may be dots alone.
func member(of, name string) string {
	if of == "" || strings.HasSuffix(of, ".") {
		return of + name
	}
	return of + "." + name
}

// ownLibrary reports whether a canonical name is one whose functions the
// evaluator knows by itself.
func ownLibrary(name string) bool {
	top, _, _ := strings.Cut(name, ".")
	switch top {
	case "torch", "numpy", "builtins", "math", "typing", "copy", "einops":
		return true
	}
	return false
}

// originates notes where the root of an open value comes from.
func (e *evaluator) originates(v *Value, o Origin) {
	if v.Kind != KindOpen || v.root == nil {
		return
	}
	if _, ok := e.outward.origins[v.root]; !ok {
		e.outward.origins[v.root] = o
	}
}

// calls records a call. A place that is evaluated again replaces what it
// recorded before.
func (e *evaluator) calls(x *python.Call, fn *Value, a *args, result *Value) {
	if e.inlining != nil || e.frame.dead {
		return
	}
	own := result.Kind == KindOpen && result.root != nil && e.roots[x] == result.root
	if fn.Kind == KindLibrary && ownLibrary(fn.Name) && !own {
		return
	}
	c := e.outward.callAt[x]
	if c == nil {
		c = &Call{Node: x, Scope: e.frame.scope}
		e.outward.callAt[x] = c
		e.outward.Calls = append(e.outward.Calls, c)
	}
	c.Callee, c.Args, c.Star, c.Autocast = fn, a.pos, a.star, e.region()
	c.Names = make(map[string]*Value, len(a.names))
	for name, i := range a.names {
		c.Names[name] = a.kw[i]
	}
	if own {
		e.originates(result, Origin{Kind: OriginCall, Call: c})
	}
}

// casts records a cast of something that may be a module.
func (e *evaluator) casts(x *python.Call, m *Value, a *args, result *Value) {
	if e.inlining != nil || e.frame.dead {
		return
	}
	var to dtype.Type
	switch d, fixed := castMethods[m.Name]; {
	case fixed && d.Floating():
		to = dtype.Exact(d)
	case m.Name != "to" && m.Name != "type":
		return
	case m.Recv.Kind == KindInstance:
		probe := e.to(x, &Value{Kind: KindTensor, DType: dtype.Exact(dtype.Complex32)}, nil, a)
		if to = probe.DType; to.Equal(dtype.Exact(dtype.Complex32)) {
			return // a device
		}
	case result.Kind == KindTensor && result.How == HowCast:
		to = result.DType
	default:
		return
	}
	if m.Recv.Kind != KindInstance && m.Recv.symbol() == nil {
		return
	}
	c := Cast{Node: x, Scope: e.frame.scope, Recv: m.Recv, To: to, Args: a.pos}
	if d, _ := a.key("dtype"); d != nil {
		c.Args = []*Value{d}
	}
	if i, ok := e.outward.castAt[x]; ok {
		e.outward.Casts[i] = c
		return
	}
	e.outward.castAt[x] = len(e.outward.Casts)
	e.outward.Casts = append(e.outward.Casts, c)
}

// fills records that a key of a dictionary gets a value.
func (e *evaluator) fills(at python.Node, key string, v *Value) {
	if e.inlining != nil || e.frame.dead {
		return
	}
	f := Fill{At: at, Scope: e.frame.scope, Key: key, Value: v}
	if i, ok := e.outward.fillAt[at]; ok {
		e.outward.Fills[i] = f
		return
	}
	e.outward.fillAt[at] = len(e.outward.Fills)
	e.outward.Fills = append(e.outward.Fills, f)
}

// copied is a dict comprehension: nothing is known of it but the values that it
// copies.
func (e *evaluator) copied(x *python.Comp, elem *Value) *Value {
	of := elem.symbol()
	if of == nil {
		return unknown()
	}
	v := e.open(x, e.file.Text(x.Pos()))
	e.originates(v, Origin{Kind: OriginCopy, Of: of})
	return v
}
