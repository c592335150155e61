package project

import (
	"maps"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Module is the summary of one Python file. It holds no path, so that files
// of the same text share it.
type Module struct {
	Imports   []interp.Import      `json:"imports,omitempty"`
	Names     map[string]*Shape    `json:"names,omitempty"` // what the module binds
	Functions map[string]*Function `json:"functions,omitempty"`
	Classes   map[string]*Class    `json:"classes,omitempty"`
	Roots     []Root               `json:"roots,omitempty"`
	Calls     []Call               `json:"calls,omitempty"`
	Casts     []Cast               `json:"casts,omitempty"`
	Fills     []Fill               `json:"fills,omitempty"`
	Half      []Sign               `json:"half,omitempty"`
	Double    []Sign               `json:"double,omitempty"`
	// Default says that the file changes the default dtype.
	Default bool `json:"default,omitempty"`
	// Collates are the functions that the file gives to a loader as collate_fn.
	Collates []string `json:"collates,omitempty"`

	// ids are the identities that Roots had in the evaluation.
	ids []int
}

// A Sign is a place that shows what precision the repository uses on purpose.
type Sign struct {
	Line int    `json:"l"`
	Text string `json:"w"`
}

// A Type is a dtype.Type written down: its alternatives, nil if unknown.
type Type []Alt

// An Alt is one alternative, the promotion of its parts.
type Alt struct {
	Exact   string `json:"x,omitempty"` // PyTorch's name
	Default bool   `json:"d,omitempty"`
	Roots   []int  `json:"r,omitempty"` // from 1 on, in Module.Roots
}

// A Shape is an interp.Value written down.
type Shape struct {
	Kind   interp.Kind       `json:"k"`
	Type   Type              `json:"t,omitempty"`
	Rank   dtype.Rank        `json:"r,omitempty"`
	Root   int               `json:"s,omitempty"` // the root of what it is, from 1 on; 0 if none
	Name   string            `json:"n,omitempty"` // a function or class of the file; the reference of something imported
	Text   string            `json:"x,omitempty"` // a constant string or number
	Items  []*Shape          `json:"i,omitempty"`
	Elem   *Shape            `json:"e,omitempty"`
	Fields map[string]*Shape `json:"f,omitempty"`
	Line   int               `json:"l,omitempty"` // where its dtype was made
	Words  string            `json:"w,omitempty"` // what stands there
}

// A Root is where a root comes from.
type Root struct {
	Kind  interp.OriginKind `json:"k"`
	Of    int               `json:"o,omitempty"` // another root, from 1 on; 0 if unknown
	Name  string            `json:"n,omitempty"`
	In    string            `json:"q,omitempty"` // qualified name of the function or class
	Index int               `json:"i,omitempty"` // of an item
	Call  int               `json:"c,omitempty"` // in Module.Calls
}

// A Function is the summary of a function or method.
type Function struct {
	Params   []Param `json:"p,omitempty"`
	Return   *Shape  `json:"r,omitempty"` // nil if a call gives something else or nothing
	Class    string  `json:"c,omitempty"` // the class that it is a method of
	Static   bool    `json:"s,omitempty"`
	Property bool    `json:"y,omitempty"`
	Line     int     `json:"l,omitempty"`
}

// A Param is one parameter.
type Param struct {
	Name        string `json:"n,omitempty"`
	Star        int    `json:"s,omitempty"`
	KeywordOnly bool   `json:"k,omitempty"`
	None        bool   `json:"o,omitempty"` // is None where a call leaves it out
}

// A Class is the summary of a class.
type Class struct {
	Bases   []*Shape          `json:"b,omitempty"`
	Module  bool              `json:"m,omitempty"`
	Dataset bool              `json:"d,omitempty"` // its dictionaries are samples or batches
	Engine  bool              `json:"e,omitempty"` // an engine decides its dtype
	Attrs   map[string]*Shape `json:"a,omitempty"`
}

// A Call is one call and what it passes.
type Call struct {
	Callee *Shape            `json:"c"`
	Args   []*Shape          `json:"a,omitempty"`
	Names  map[string]*Shape `json:"n,omitempty"`
	Star   bool              `json:"s,omitempty"`
	Cast   bool              `json:"k,omitempty"` // under an autocast region, or one that may be on
	In     string            `json:"q,omitempty"` // the function that it stands in
	Line   int               `json:"l"`
	Words  string            `json:"w,omitempty"`
}

// A Cast is a cast of something that may be a model.
type Cast struct {
	Recv  *Shape   `json:"r"`
	To    Type     `json:"t,omitempty"` // nil if the file alone does not tell
	Args  []*Shape `json:"a,omitempty"` // what .to() gets
	Line  int      `json:"l"`
	Words string   `json:"w,omitempty"`
}

// A Fill is a key of a dictionary that gets a value.
type Fill struct {
	Key   string `json:"k"`
	Value *Shape `json:"v"`
	In    string `json:"q,omitempty"` // the function that it stands in
	Line  int    `json:"l"`
	Words string `json:"w,omitempty"`
}

// Bounds of a Shape: what lies deeper or wider is left out.
const (
	maxDepth  = 5
	maxItems  = 12
	maxFields = 200
)

// Summarise makes the summary of a file that was evaluated, with all its roots,
// for Linked.Contracts. That of Summary, which is stored, has only those that it
// names.
func Summarise(facts *interp.Facts) *Module {
	b := summarise(facts)
	roots := make([]*dtype.Root, 0, len(facts.Origins))
	for r := range facts.Origins {
		roots = append(roots, r)
	}
	slices.SortFunc(roots, func(a, b *dtype.Root) int { return a.ID - b.ID })
	for _, r := range roots {
		b.root(r)
	}
	b.m.ids = b.ids
	return b.m
}

// Of reports whether a summary with all roots is one of these facts, as far as
// the roots tell: evaluating a text again gives the same.
func (m *Module) Of(facts *interp.Facts) bool {
	if len(m.ids) != len(facts.Origins) {
		return false
	}
	number := make(map[int]int, len(m.ids))
	for i, id := range m.ids {
		number[id] = i
	}
	for r, o := range facts.Origins {
		i, ok := number[r.ID]
		if !ok || m.Roots[i].Kind != o.Kind || m.Roots[i].Name != o.Name {
			return false
		}
	}
	return true
}

func summarise(facts *interp.Facts) *summariser {
	b := &summariser{
		facts: facts, tree: facts.Tree, roots: map[*dtype.Root]int{}, calls: map[*interp.Call]int{},
		m: &Module{Names: map[string]*Shape{}, Functions: map[string]*Function{}, Classes: map[string]*Class{}},
	}
	b.m.Imports = facts.Imports
	b.m.Default = strings.Contains(facts.Tree.Source, "set_default_dtype") || strings.Contains(facts.Tree.Source, "set_default_tensor_type")
	for i, c := range facts.Calls {
		b.calls[c] = i
	}
	for _, c := range facts.Calls {
		b.m.Calls = append(b.m.Calls, b.call(c))
	}
	for _, f := range facts.Functions {
		b.m.Functions[f.Scope.Name] = b.function(f)
	}
	for _, c := range facts.Classes {
		b.m.Classes[c.Name] = b.class(c)
	}
	for _, name := range slices.Sorted(maps.Keys(facts.Names)) {
		if s := b.shape(facts.Names[name]); s.Kind != interp.KindUnknown {
			b.m.Names[name] = s
		}
	}
	for _, c := range facts.Casts {
		w := Cast{Recv: b.shape(c.Recv), To: b.typ(c.To), Line: b.line(c.Node), Words: b.words(c.Node)}
		for _, v := range c.Args {
			w.Args = append(w.Args, b.shape(v))
		}
		b.m.Casts = append(b.m.Casts, w)
	}
	for _, f := range facts.Fills {
		w := Fill{Key: f.Key, Value: b.shape(f.Value), Line: b.line(f.At), Words: b.words(f.At)}
		if f.Scope != nil {
			w.In = f.Scope.Name
		}
		b.m.Fills = append(b.m.Fills, w)
	}
	b.m.Half, b.m.Double = signs(facts.Tree)
	return b
}

type summariser struct {
	facts *interp.Facts
	tree  *python.File
	m     *Module
	roots map[*dtype.Root]int
	calls map[*interp.Call]int
	ids   []int // of the roots, by number
}

func (b *summariser) line(n python.Node) int { return b.tree.Line(n.Pos().Start) }

// words is the text of a node on one line, cut at 60 runes.
func (b *summariser) words(n python.Node) string { return oneLine(b.tree.Text(n.Pos())) }

func oneLine(text string) string {
	const most = 61
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		text = string(r[:most-1]) + "…"
	}
	return text
}

// root gives a root its number, 0 if nothing is known of where it comes from.
func (b *summariser) root(r *dtype.Root) int {
	if r == nil {
		return 0
	}
	if i, ok := b.roots[r]; ok {
		return i
	}
	o, ok := b.facts.Origins[r]
	if !ok {
		return 0
	}
	b.m.Roots, b.ids = append(b.m.Roots, Root{}), append(b.ids, r.ID)
	i := len(b.m.Roots)
	b.roots[r] = i
	w := Root{Kind: o.Kind, Of: b.root(o.Of), Name: o.Name, Index: o.Index}
	switch {
	case o.Call != nil:
		w.Call = b.calls[o.Call]
	case o.Class != nil:
		w.In = o.Class.Name
	case o.Scope != nil:
		w.In = o.Scope.Name
	}
	b.m.Roots[i-1] = w
	return i
}

func (b *summariser) typ(t dtype.Type) Type {
	var out Type
	for _, p := range t.Parts() {
		a := Alt{Default: p.Default}
		if p.Exact != dtype.None {
			a.Exact = p.Exact.String()
		}
		for _, r := range p.Roots {
			i := b.root(r)
			if i == 0 {
				return nil
			}
			a.Roots = append(a.Roots, i)
		}
		out = append(out, a)
	}
	return out
}

func (b *summariser) shape(v *interp.Value) *Shape { return b.within(v, 0) }

func (b *summariser) within(v *interp.Value, depth int) *Shape {
	if v == nil || depth > maxDepth || v.Maybe && v.Kind != interp.KindOpen {
		return &Shape{}
	}
	s := &Shape{Kind: v.Kind}
	switch v.Kind {
	case interp.KindTensor, interp.KindArray, interp.KindNumPy, interp.KindNumber, interp.KindDType, interp.KindModule:
		s.Type, s.Rank, s.Root = b.typ(v.DType), v.Rank, b.root(v.Symbol())
		if made := origin(v); made.At != nil && v.Kind != interp.KindNumber {
			s.Line, s.Words = b.line(made.At), b.words(made.At)
		}
		if v.Kind == interp.KindModule {
			s.Name = v.Name
			for _, el := range v.Elems[:min(len(v.Elems), maxItems)] {
				s.Items = append(s.Items, b.within(el, depth+1))
			}
		}
	case interp.KindOpen:
		if s.Root = b.root(v.Symbol()); s.Root == 0 {
			return &Shape{}
		}
	case interp.KindString:
		if !v.Known || len(v.Text) > 40 {
			return &Shape{Kind: v.Kind}
		}
		s.Text = v.Text
	case interp.KindLibrary:
		if s.Name = v.Ref; s.Name == "" {
			return &Shape{}
		}
	case interp.KindFunction:
		s.Name = v.Func.Scope.Name
	case interp.KindClass, interp.KindInstance:
		s.Name = v.Class.Name
	case interp.KindSequence:
		for _, el := range v.Elems[:min(len(v.Elems), maxItems)] {
			s.Items = append(s.Items, b.within(el, depth+1))
		}
		if v.Elem != nil {
			s.Elem = b.within(v.Elem, depth+1)
		}
	case interp.KindDict:
		s.Root = b.root(v.Symbol())
		if v.Elem != nil {
			s.Elem = b.within(v.Elem, depth+1)
		}
		s.Fields = map[string]*Shape{}
		for _, k := range slices.Sorted(maps.Keys(v.Fields)) {
			if len(s.Fields) < maxFields {
				s.Fields[k] = b.within(v.Fields[k], depth+1)
			}
		}
	case interp.KindNone, interp.KindDevice:
	default:
		return &Shape{}
	}
	return s
}

// origin follows a value back through everything that keeps its dtype.
func origin(v *interp.Value) *interp.Value {
	for i := 0; i < 60 && v.How == interp.HowKeep && len(v.From) > 0 && v.From[0] != nil; i++ {
		v = v.From[0]
	}
	return v
}

func (b *summariser) function(f *interp.Function) *Function {
	out := &Function{Static: f.Static(), Property: f.Property(), Line: b.line(f.Def)}
	if f.Class != nil {
		out.Class = f.Class.Name
	}
	for _, p := range f.Def.Params {
		out.Params = append(out.Params, Param{Name: p.Name, Star: p.Star, KeywordOnly: p.KeywordOnly, None: isNone(p.Default)})
	}
	if f.Return != nil && !f.Opaque() {
		out.Return = b.shape(f.Return)
	}
	return out
}

func isNone(x python.Expr) bool {
	l, ok := x.(*python.Lit)
	return ok && l.Kind == "none"
}

func (b *summariser) class(c *interp.Class) *Class {
	out := &Class{Module: c.Module, Attrs: map[string]*Shape{}}
	for _, v := range c.Bases {
		s := b.shape(v)
		out.Bases = append(out.Bases, s)
		last := s.Name[strings.LastIndexByte(s.Name, '.')+1:]
		out.Dataset = out.Dataset || strings.HasSuffix(last, "Dataset")
		out.Engine = out.Engine || strings.HasSuffix(last, "LightningModule") || strings.HasSuffix(last, "LightningDataModule")
	}
	_, items := c.Methods["__getitem__"]
	out.Dataset = out.Dataset || items && c.Methods["__len__"] != nil
	for _, name := range slices.Sorted(maps.Keys(c.Attrs)) {
		if !c.Set[name] {
			out.Attrs[name] = b.shape(c.Attrs[name])
		}
	}
	return out
}

func (b *summariser) call(c *interp.Call) Call {
	out := Call{
		Callee: b.shape(c.Callee), Star: c.Star, Line: b.line(c.Node), Words: b.words(c.Node.Func),
		Cast: c.Autocast.State == interp.AutocastOn || c.Autocast.State == interp.AutocastMaybe,
	}
	if c.Scope != nil {
		out.In = c.Scope.Name
	}
	if c.Callee.Kind == interp.KindFunction && c.Callee.Recv != nil && c.Callee.Recv.Kind == interp.KindInstance {
		out.Callee.Text = "bound"
	}
	for _, v := range c.Args {
		out.Args = append(out.Args, b.shape(v))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Names)) {
		v := c.Names[name]
		if out.Names == nil {
			out.Names = map[string]*Shape{}
		}
		out.Names[name] = b.shape(v)
		if name == "collate_fn" && v.Kind == interp.KindFunction {
			b.m.Collates = append(b.m.Collates, v.Func.Scope.Name)
		}
	}
	return out
}
