package survey

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Survey is what one file shows beside its mistakes.
type Survey struct {
	// Follows are creations whose dtype= is that of another tensor.
	Follows []Site
	// Pairs are operations that want one dtype of values that the caller of
	// their function gives: right as long as all callers give one dtype.
	Pairs []Site
	// Samples are the data sets of the file.
	Samples []Sample
	// Reads are subscripts by a constant key outside of data sets.
	Reads []Read
	// Forwards are the forward methods of modules.
	Forwards []Site
	// Functions are the functions and methods of the file.
	Functions []Function
}

// A Site is one place of the file.
type Site struct {
	Path        string
	First, Last int    // 1-based lines, inclusive
	Scope       string // qualified name of the enclosing definition, "" at module level
	Text        string // what stands there, on one line
}

// A Sample is what one data set gives: tensors and arrays that are float32 by
// an explicit dtype.
type Sample struct {
	Path, Class string
	Line        int
	Keys        []string // the keys under which it gives float32, sorted
	Sites       []Site   // where it makes float32
}

// A Read is a value that is taken out of a dictionary.
type Read struct {
	Site
	Key string
}

// most bounds each list of one file.
const most = 500

// Look surveys an evaluated file.
func Look(path string, facts *interp.Facts) *Survey {
	l := looker{path: path, facts: facts, tree: facts.Tree, out: &Survey{}, samples: map[*python.ClassDef]*Sample{}}
	l.classes()
	l.walk(l.tree.Body, nil, nil)
	l.pairs()
	l.functions()
	return l.out
}

// looker is one survey in the making.
type looker struct {
	path    string
	facts   *interp.Facts
	tree    *python.File
	out     *Survey
	known   map[*python.ClassDef]*interp.Class
	samples map[*python.ClassDef]*Sample
}

// classes finds the evaluated classes by their definitions.
func (l *looker) classes() {
	l.known = map[*python.ClassDef]*interp.Class{}
	for _, s := range l.facts.Scopes {
		if s.Class != nil {
			l.known[s.Class.Def] = s.Class
		}
	}
}

func (l *looker) site(at python.Span, scope []string) Site {
	first, last := l.tree.Lines(at)
	return Site{Path: l.path, First: first, Last: last, Scope: strings.Join(scope, "."), Text: oneLine(l.tree.Text(at))}
}

// oneLine puts source text on one line and cuts it.
func oneLine(s string) string {
	const longest = 120
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

func add[T any](list *[]T, x T) {
	if len(*list) < most {
		*list = append(*list, x)
	}
}

// walk goes through statements; class is the innermost class around them.
func (l *looker) walk(body []python.Stmt, scope []string, class *python.ClassDef) {
	for _, s := range body {
		l.node(s, scope, class)
	}
}

func (l *looker) node(n python.Node, scope []string, class *python.ClassDef) {
	switch n := n.(type) {
	case *python.ClassDef:
		inner := append(slices.Clone(scope), n.Name)
		if l.dataset(n) {
			s := &Sample{Path: l.path, Class: strings.Join(inner, "."), Line: l.tree.Line(n.NameSpan.Start)}
			l.samples[n] = s
			l.walk(n.Body, inner, n)
			if len(s.Sites) > 0 {
				slices.Sort(s.Keys)
				s.Keys = slices.Compact(s.Keys)
				add(&l.out.Samples, *s)
			}
			return
		}
		l.walk(n.Body, inner, n)
		return
	case *python.FuncDef:
		inner := append(slices.Clone(scope), n.Name)
		if kernel(l.tree, n) {
			return
		}
		if c := l.known[class]; n.Name == "forward" && c != nil && c.Module {
			add(&l.out.Forwards, l.site(n.NameSpan, inner))
		}
		l.walk(n.Body, inner, class)
		return
	case *python.Call:
		l.call(n, scope, class)
	case *python.Dict:
		l.dict(n, class)
	case *python.Assign:
		l.store(n, class)
	case *python.Subscript:
		if key, ok := constant(n); ok && l.samples[class] == nil {
			add(&l.out.Reads, Read{Site: l.site(n.Pos(), scope), Key: key})
		}
	}
	for c := range python.Children(n) {
		l.node(c, scope, class)
	}
}

// constant returns the key of d["key"].
func constant(s *python.Subscript) (string, bool) {
	if len(s.Index) != 1 {
		return "", false
	}
	return text(s.Index[0])
}

func text(e python.Expr) (string, bool) {
	s, ok := e.(*python.Str)
	if !ok || len(s.Interp) > 0 || s.Bytes {
		return "", false
	}
	return s.Value, true
}

// call looks at creations: those that follow a tensor, and in a data set those
// that are float32 on purpose.
func (l *looker) call(c *python.Call, scope []string, class *python.ClassDef) {
	v := l.facts.Values[c]
	of := keyword(c, "dtype")
	if v == nil || of == nil {
		return
	}
	if s := l.samples[class]; s != nil {
		if d, ok := v.DType.Exact(); ok && d == dtype.Float32 && (v.Kind == interp.KindTensor || v.Kind == interp.KindArray) {
			add(&s.Sites, l.site(c.Pos(), scope))
		}
		return
	}
	a, ok := of.(*python.Attribute)
	if ok && a.Sel == "dtype" && v.Make != nil && v.Make.Call == c && v.Make.DType && plain[v.Make.Name] && len(v.DType.Roots()) > 0 {
		add(&l.out.Follows, l.site(c.Pos(), scope))
	}
}

// plain are the factories whose values are the same in every dtype, as long as
// they are small: not ranges, and not random numbers.
var plain = map[string]bool{
	"torch.zeros": true, "torch.ones": true, "torch.empty": true, "torch.full": true, "torch.eye": true,
	"torch.tensor": true, "torch.as_tensor": true, "torch.asarray": true,
}

func keyword(c *python.Call, name string) python.Expr {
	for _, a := range c.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// dict notes the float32 entries of a data set's dictionaries.
func (l *looker) dict(d *python.Dict, class *python.ClassDef) {
	s := l.samples[class]
	if s == nil {
		return
	}
	for _, item := range d.Items {
		if key, ok := text(item.Key); ok && l.single(item.Value) {
			s.Keys = append(s.Keys, key)
		}
	}
}

// store does the same for d["key"] = value.
func (l *looker) store(a *python.Assign, class *python.ClassDef) {
	s := l.samples[class]
	if s == nil || a.Op != "" || a.Value == nil || !l.single(a.Value) {
		return
	}
	for _, t := range a.Targets {
		if sub, ok := t.(*python.Subscript); ok {
			if key, ok := constant(sub); ok {
				s.Keys = append(s.Keys, key)
			}
		}
	}
}

// single reports whether an expression is a float32 tensor or array.
func (l *looker) single(e python.Expr) bool {
	v := l.facts.Values[e]
	if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindArray {
		return false
	}
	d, ok := v.DType.Exact()
	return ok && d == dtype.Float32
}

// dataset reports whether a class is a data set of torch.utils.data, as far as
// the file shows.
func (l *looker) dataset(n *python.ClassDef) bool {
	for depth := 0; n != nil && depth < 10; depth++ {
		var next *python.ClassDef
		for _, a := range n.Args {
			if a.Name != "" {
				continue
			}
			last := l.tree.Text(a.Value.Pos())
			last = last[strings.LastIndexByte(last, '.')+1:]
			if strings.HasSuffix(last, "Dataset") {
				return true
			}
			if v := l.facts.Values[a.Value]; v != nil && v.Kind == interp.KindClass && v.Class != nil {
				next = v.Class.Def
			}
		}
		n = next
	}
	return false
}

// pairs lists the operations whose operands all come from the caller.
func (l *looker) pairs() {
	for _, op := range l.facts.Ops {
		if op.Kind != interp.OpRefuses || op.Scope == nil || op.Scope.Def == nil || op.Autocast.State != interp.AutocastNone || len(op.Operands) != 2 {
			continue
		}
		a, b := op.Operands[0], op.Operands[1]
		if a.Soft || b.Soft || dtype.Relate(a.Value.DType, b.Value.DType) != dtype.Apart || !given(op.Scope, a.Value) || !given(op.Scope, b.Value) {
			continue
		}
		add(&l.out.Pairs, l.site(op.Node.Pos(), []string{op.Scope.Name}))
	}
	slices.SortStableFunc(l.out.Pairs, func(a, b Site) int { return a.First - b.First })
	l.out.Pairs = slices.CompactFunc(l.out.Pairs, func(a, b Site) bool { return a == b })
}

// given reports whether a dtype is that of parameters of the function alone.
func given(s *interp.Scope, v *interp.Value) bool {
	roots := v.DType.Roots()
	if len(roots) == 0 || v.DType.Widened() {
		return false
	}
	for _, r := range roots {
		if !slices.ContainsFunc(s.Params, func(p *interp.Value) bool {
			of, ok := p.Tensor().DType.Root()
			return ok && of == r
		}) {
			return false
		}
	}
	return true
}
