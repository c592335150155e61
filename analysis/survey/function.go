package survey

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Function is what is known about calling a function or method.
type Function struct {
	Path   string
	Line   int
	Scope  string // qualified name: "Lift.forward"
	Name   string
	Class  string // of a method, else ""
	Module bool   // the class is an nn.Module
	Static bool   // it needs no instance
	// Params are its parameters without self.
	Params []Param
	// Init are the parameters of the class's constructor, without self; nil for
	// a class without one of its own.
	Init []Param
	// Sizes are the names that stand for a number: constants of the module and
	// numbers that the constructor has as defaults.
	Sizes map[string]int
	// Returns gives, for each world (a dtype that all values of unknown dtype
	// have), the dtypes of the tensors that it returns, in order; "" is unknown.
	// Parameters that it casts by itself are float32 in every world.
	Returns map[string][]string
	// Bar says why it cannot be called from outside, "" if it can.
	Bar string
}

// A Param is one parameter.
type Param struct {
	Name       string
	Annotation string // as it is written, "" if absent
	Default    bool
	Star       int
	// Dims are the sizes of the tensor's dimensions as the code documents them:
	// numbers and names; nil if it does not.
	Dims []string
	Rank int // the number of dimensions where only that is known, else 0
	// Kind is "bool" for masks, "int" for ids, else "".
	Kind string
	// Cast says that the function casts it to another tensor's dtype, so that it
	// may come in a dtype of its own.
	Cast bool
}

// Worlds are the dtypes that Returns is given for.
var Worlds = []dtype.DType{dtype.Float32, dtype.BFloat16, dtype.Float64}

// functions lists the module's functions and the methods of its classes.
func (l *looker) functions() {
	constants := l.constants()
	for _, s := range l.facts.Scopes {
		if s.Def == nil || s.Parent != nil && s.Parent.Name != "" && s.Class == nil || strings.Count(s.Name, ".") > 1 {
			continue // inside another function or class
		}
		if s.Class != nil && s.Name != s.Class.Name+"."+s.Def.Name {
			continue // a function inside a method
		}
		add(&l.out.Functions, l.function(s, constants))
	}
	borrow(l.out.Functions)
}

func (l *looker) function(s *interp.Scope, constants map[string]int) Function {
	f := Function{
		Path: l.path, Line: l.tree.Line(s.Def.NameSpan.Start), Scope: s.Name, Name: s.Def.Name, Sizes: map[string]int{},
		Bar: l.bar(s.Def),
	}
	for name, n := range constants {
		f.Sizes[name] = n
	}
	params := s.Def.Params
	if s.Class != nil {
		f.Class, f.Module = s.Class.Name, s.Class.Module
		f.Static = decorated(l.tree, s.Def, "staticmethod") || decorated(l.tree, s.Def, "classmethod")
		if init := s.Class.Methods["__init__"]; init != nil {
			f.Init = l.params(init.Def, rest(init.Def.Params))
			for _, p := range init.Def.Params {
				if n, ok := number(p.Default); ok {
					f.Sizes[p.Name] = n
				}
			}
		}
		if !decorated(l.tree, s.Def, "staticmethod") {
			params = rest(params)
		}
	}
	f.Params = l.params(s.Def, params)
	f.Returns = l.returns(s, f.Params)
	return f
}

func rest(ps []python.Param) []python.Param {
	if len(ps) == 0 {
		return nil
	}
	return ps[1:]
}

// bar says why a function cannot be called from outside.
func (l *looker) bar(d *python.FuncDef) string {
	yields := false
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n.(type) {
			case *python.FuncDef, *python.ClassDef, *python.Lambda:
				return false
			case *python.Yield:
				yields = true
			}
			return true
		})
	}
	switch {
	case d.Async:
		return "it is a coroutine"
	case yields:
		return "it is a generator"
	case decorated(l.tree, d, "property") || decorated(l.tree, d, "cached_property"):
		return "it is a property"
	case kernel(l.tree, d):
		return "it is a Triton kernel"
	case strings.HasPrefix(d.Name, "__") && d.Name != "__call__":
		return "Python calls it by itself"
	}
	return ""
}

func decorated(tree *python.File, d *python.FuncDef, name string) bool {
	return slices.ContainsFunc(d.Decorators, func(e python.Expr) bool {
		t := tree.Text(e.Pos())
		return t == name || strings.HasSuffix(t, "."+name)
	})
}

// constants are the names that the module binds to whole numbers.
func (l *looker) constants() map[string]int {
	out := map[string]int{}
	for _, s := range l.tree.Body {
		a, ok := s.(*python.Assign)
		if !ok || a.Op != "" || len(a.Targets) != 1 {
			continue
		}
		name, ok := a.Targets[0].(*python.Name)
		if n, is := number(a.Value); ok && is {
			out[name.ID] = n
		}
	}
	return out
}

// largest is the largest size that is worth making a tensor of.
const largest = 4096

func number(e python.Expr) (int, bool) {
	l, ok := e.(*python.Lit)
	if !ok || l.Kind != "int" {
		return 0, false
	}
	n, err := strconv.Atoi(l.Text)
	return n, err == nil && n > 0 && n <= largest
}

func (l *looker) params(d *python.FuncDef, ps []python.Param) []Param {
	doc := docstring(d)
	out := []Param{}
	for _, p := range ps {
		if p.Star > 0 && p.Name == "" {
			continue // the bare star
		}
		q := Param{Name: p.Name, Default: p.Default != nil, Star: p.Star}
		if p.Annotation != nil {
			q.Annotation = oneLine(l.tree.Text(p.Annotation.Pos()))
		}
		q.Dims = dims(p.Name, doc, l.remark(p.Span))
		q.Rank, q.Kind, q.Cast = l.uses(d, p.Name), l.kind(d, p.Name), l.casts(d, p.Name)
		out = append(out, q)
	}
	return out
}

func docstring(d *python.FuncDef) string {
	if len(d.Body) == 0 {
		return ""
	}
	e, ok := d.Body[0].(*python.ExprStmt)
	if !ok {
		return ""
	}
	s, ok := text(e.X)
	if !ok {
		return ""
	}
	return s
}

// remark is the comment on the line of a parameter.
func (l *looker) remark(at python.Span) string {
	line := l.tree.Line(at.Start)
	for _, c := range l.tree.Comments {
		if l.tree.Line(c.Start) == line {
			return c.Text
		}
	}
	return ""
}

// shape matches sizes in brackets: [B, N, 3], (B, T, C), (N,).
const shape = `[\[(]\s*((?:\d+|[A-Za-z]\w*)(?:\s*,\s*(?:\d+|[A-Za-z]\w*))*)\s*,?\s*[\])]`

var (
	anyShape = regexp.MustCompile(shape)
	typeWord = regexp.MustCompile(`(?i)tensor|array|optional|int|float|bool|str`)
)

// dims finds the documented sizes of a parameter: behind its name in the
// docstring ("points: [B, N, 3] points", "Rotates points [B, N, 3]"), or in the
// comment on its line.
func dims(name, doc, remark string) []string {
	quoted := regexp.QuoteMeta(name)
	described := regexp.MustCompile(`(?m)^\s*(?::param\s+)?\*{0,2}` + quoted + `\s*(?:\(.*?\)\s*)?:(.*)$`)
	if m := described.FindStringSubmatch(doc); m != nil {
		if found := shapeIn(m[0]); found != nil {
			return found
		}
	}
	beside := regexp.MustCompile(`\b` + quoted + `\s+` + shape)
	if m := beside.FindStringSubmatch(doc); m != nil {
		return split(m[1])
	}
	if found := shapeIn(remark); found != nil {
		return found
	}
	for _, m := range plural.FindAllStringSubmatch(doc, -1) {
		for _, word := range strings.Fields(strings.ToLower(strings.ReplaceAll(m[1], ",", " "))) {
			if word = strings.TrimSuffix(word, "s"); len(word) > 2 && word != "and" && word != "the" && strings.Contains(name, word) {
				return split(m[2])
			}
		}
	}
	return nil
}

// plural matches "Rotations and masks are [B, M]".
var plural = regexp.MustCompile(`((?:\w+(?:,\s*|\s+and\s+|\s+))+)are\s+` + shape)

// borrow fills in the sizes that another function of the file documents for a
// parameter of the same name.
func borrow(fs []Function) {
	known := map[string][]string{}
	for _, f := range fs {
		for _, p := range f.Params {
			if old, ok := known[p.Name]; len(p.Dims) > 0 && (!ok || slices.Equal(old, p.Dims)) {
				known[p.Name] = p.Dims
			} else if len(p.Dims) > 0 {
				known[p.Name] = nil // documented in two ways
			}
		}
	}
	for i := range fs {
		for j := range fs[i].Params {
			if p := &fs[i].Params[j]; p.Dims == nil && (p.Rank == 0 || p.Rank == len(known[p.Name])) {
				p.Dims = known[p.Name]
			}
		}
	}
}

// shapeIn returns the first shape of a text that is no type in brackets.
func shapeIn(s string) []string {
	for _, m := range anyShape.FindAllStringSubmatch(s, -1) {
		if !typeWord.MatchString(m[1]) {
			return split(m[1])
		}
	}
	return nil
}

func split(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		out = append(out, strings.TrimSpace(part))
	}
	return out
}

// uses finds the number of dimensions in "B, N, _ = points.shape".
func (l *looker) uses(d *python.FuncDef, name string) int {
	rank := 0
	python.Inspect(d, func(n python.Node) bool {
		a, ok := n.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Value == nil {
			return true
		}
		names, ok := a.Targets[0].(*python.Seq)
		if ok && sizesOf(a.Value, name) && !slices.ContainsFunc(names.Xs, func(x python.Expr) bool { _, star := x.(*python.Starred); return star }) {
			rank = len(names.Xs)
		}
		return true
	})
	return rank
}

// sizesOf recognises name.shape and name.size().
func sizesOf(e python.Expr, name string) bool {
	if c, ok := e.(*python.Call); ok {
		if len(c.Args) > 0 {
			return false
		}
		a, ok := c.Func.(*python.Attribute)
		return ok && a.Sel == "size" && isName(a.X, name)
	}
	a, ok := e.(*python.Attribute)
	return ok && a.Sel == "shape" && isName(a.X, name)
}

// kind tells masks and ids from what a function does with them.
func (l *looker) kind(d *python.FuncDef, name string) string {
	kind := ""
	python.Inspect(d, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Unary:
			if n.Op == "~" && isName(n.X, name) {
				kind = "bool"
			}
		case *python.Binary:
			if (n.Op == "&" || n.Op == "|") && (isName(n.X, name) || isName(n.Y, name)) {
				kind = "bool"
			}
		case *python.Subscript:
			if len(n.Index) == 1 && isName(n.Index[0], name) {
				kind = "bool"
			}
		case *python.Call:
			if kind != "" || len(n.Args) == 0 || !isName(n.Args[0].Value, name) {
				break
			}
			switch f := l.tree.Text(n.Func.Pos()); {
			case strings.HasSuffix(f, ".where"), strings.HasSuffix(f, ".masked_fill"), strings.HasSuffix(f, ".masked_select"):
				kind = "bool"
			case strings.HasSuffix(f, ".embedding"), strings.HasSuffix(f, ".one_hot"):
				kind = "int"
			}
		}
		return true
	})
	return kind
}

// casts reports whether a function casts a parameter to another tensor's dtype,
// as in camera.to(points.dtype).
func (l *looker) casts(d *python.FuncDef, name string) bool {
	cast := false
	python.Inspect(d, func(n python.Node) bool {
		c, ok := n.(*python.Call)
		if !ok {
			return true
		}
		if a, ok := c.Func.(*python.Attribute); ok && isName(a.X, name) {
			v := l.facts.Values[c]
			cast = cast || v != nil && v.How == interp.HowCast && len(v.DType.Roots()) > 0
		}
		return true
	})
	return cast
}

// returns are the dtypes of the returned tensors in every world.
func (l *looker) returns(s *interp.Scope, ps []Param) map[string][]string {
	if s.Return == nil {
		return nil
	}
	values := []*interp.Value{s.Return}
	if s.Return.Kind == interp.KindSequence {
		values = s.Return.Elems
	}
	own := map[string]bool{}
	for _, p := range ps {
		own[p.Name] = p.Cast
	}
	out := map[string][]string{}
	for _, world := range Worlds {
		var row []string
		for _, v := range values {
			row = append(row, inWorld(v, world, own))
		}
		out[world.String()] = row
	}
	return out
}

// inWorld is the dtype of a value when everything of unknown dtype has that of
// the world, but for parameters that are cast.
func inWorld(v *interp.Value, world dtype.DType, cast map[string]bool) string {
	if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return ""
	}
	ds, ok := v.Tensor().DType.In(func(r *dtype.Root) dtype.DType {
		switch {
		case r.Class == dtype.Integer:
			return dtype.Int64
		case cast[r.Name]:
			return dtype.Float32
		}
		return world
	}, dtype.Float32)
	if !ok || len(ds) == 0 || ds[0] == dtype.None || slices.ContainsFunc(ds, func(d dtype.DType) bool { return d != ds[0] }) {
		return ""
	}
	return ds[0].String()
}
