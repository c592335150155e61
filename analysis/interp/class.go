package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func (e *evaluator) classDef(s *python.ClassDef) {
	name := s.Name
	if p := e.frame.scope; p != nil && p.Name != "" {
		name = p.Name + "." + name
	}
	c := &Class{Name: name, Def: s, Methods: map[string]*Function{}, Attrs: map[string]*Value{}, Set: map[string]bool{}, roots: map[string]*dtype.Root{}}
	c.scope = &Scope{Name: name, Class: c, Parent: e.frame.scope}
	c.self = &Value{Kind: KindInstance, Class: c, At: s, How: HowParam}
	e.outward.classes = append(e.outward.classes, c)
	for _, a := range s.Args {
		v := e.expr(a.Value)
		if a.Name != "" || a.Star > 0 {
			continue
		}
		c.Bases = append(c.Bases, v)
		switch {
		case v.Kind == KindClass:
			c.Module = c.Module || v.Class.Module
			c.Function = c.Function || v.Class.Function
		default:
			c.Module = c.Module || moduleBase(v.Name, e.file.Text(a.Value.Pos()))
			c.Function = c.Function || strings.HasSuffix(v.Name, "autograd.Function")
		}
	}
	for _, d := range s.Decorators {
		e.expr(d)
	}
	e.set(s.Name, &Value{Kind: KindClass, Class: c, Name: name})
	// The body sees names of the enclosing scope; what it assigns are attributes.
	saved := e.frame.vars
	e.frame.vars = saved.clone()
	for _, b := range s.Body {
		switch b := b.(type) {
		case *python.FuncDef:
			fn := e.funcDef(b, c)
			if _, twice := c.Methods[b.Name]; twice && isSetter(e.file, b) {
				assignedAttrs(b, c.Set)
				continue
			}
			c.Methods[b.Name] = fn
			if b.Name != "__init__" {
				assignedAttrs(b, c.Set)
			}
		case *python.Assign:
			e.statement(b)
			if n, ok := b.Targets[0].(*python.Name); ok && b.Annotation != nil && c.isRecord(e.file) {
				c.record = append(c.record, n.ID)
				c.Set[n.ID] = true
			}
			for _, t := range b.Targets {
				if n, ok := t.(*python.Name); ok {
					if v, ok := e.frame.vars.get(n.ID); ok && b.Value != nil {
						c.Attrs[n.ID] = v
					}
				}
			}
		default:
			e.statement(b)
		}
	}
	e.frame.vars = saved
	if _, ok := c.Methods["forward"]; ok && !c.Module {
		for _, b := range c.Bases {
			if b.Kind == KindUnknown || b.Kind == KindOpen || b.Kind == KindLibrary && !strings.HasPrefix(b.Name, "torch.autograd") {
				c.Module = true // derives from something outside the file, and has forward
			}
		}
	}
}

// isRecord reports whether the annotated names of a class are what its instances
// are made from: a dataclass, an attrs class, a NamedTuple or a pydantic model.
func (c *Class) isRecord(f *python.File) bool {
	for _, d := range c.Def.Decorators {
		text, _, _ := strings.Cut(f.Text(d.Pos()), "(")
		if name := baseName(text); name == "dataclass" || name == "define" || name == "frozen" || name == "attrs" || text == "attr.s" {
			return true
		}
	}
	for _, b := range c.Bases {
		if name := baseName(b.Name); name == "NamedTuple" || name == "BaseModel" || name == "BaseSettings" {
			return true
		}
	}
	return false
}

func isSetter(f *python.File, d *python.FuncDef) bool {
	for _, x := range d.Decorators {
		if strings.HasSuffix(f.Text(x.Pos()), ".setter") {
			return true
		}
	}
	return false
}

// moduleBase knows the bases that are nn.Modules by their usual names.
func moduleBase(name, text string) bool {
	switch {
	case name == "torch.nn.Module", strings.HasPrefix(name, "torch.nn.") && len(name) > 9 && name[9] >= 'A' && name[9] <= 'Z':
		return true
	case strings.HasSuffix(text, "PreTrainedModel"), strings.HasSuffix(text, "LightningModule"), strings.HasSuffix(text, "BaseModule"), strings.HasSuffix(text, "ModelMixin"):
		return true
	}
	return false
}

// assignedAttrs collects the attributes of self that a method assigns.
func assignedAttrs(d *python.FuncDef, set map[string]bool) {
	python.Inspect(d, func(n python.Node) bool {
		if a, ok := n.(*python.Assign); ok {
			for _, t := range a.Targets {
				for _, t := range targets(t) {
					if at, ok := t.(*python.Attribute); ok {
						if x, ok := at.X.(*python.Name); ok && x.ID == "self" {
							set[at.Sel] = true
						}
					}
				}
			}
		}
		return true
	})
}

func targets(t python.Expr) []python.Expr {
	if s, ok := t.(*python.Seq); ok {
		return s.Xs
	}
	return []python.Expr{t}
}

// ensure evaluates __init__ once, so that the attributes are known.
func (e *evaluator) ensure(c *Class) {
	if c.ready {
		return
	}
	c.ready = true
	if init := c.Methods["__init__"]; init != nil && init.state == 0 {
		e.summary(init)
	}
}

// method finds a method along the bases that this file shows.
func (c *Class) method(name string) *Function {
	for depth := 0; c != nil && depth < 20; depth++ {
		if m := c.Methods[name]; m != nil {
			return m
		}
		var next *Class
		for _, b := range c.Bases {
			if b.Kind == KindClass {
				next = b.Class
				break
			}
		}
		c = next
	}
	return nil
}

// attr finds an attribute that __init__ leaves, along the bases.
func (c *Class) attr(e *evaluator, name string) (*Value, bool) {
	for depth := 0; c != nil && depth < 20; depth++ {
		e.ensure(c)
		if c.Set[name] {
			return nil, false
		}
		if v, ok := c.Attrs[name]; ok {
			return v, true
		}
		var next *Class
		for _, b := range c.Bases {
			if b.Kind == KindClass {
				next = b.Class
				break
			}
		}
		c = next
	}
	return nil, false
}

// collect keeps what __init__ left in self. Parameters, buffers and submodules
// follow the module's .to(), so each is a root of its own; a plain tensor
// attribute keeps the dtype that it was made with.
func (c *Class) collect(e *evaluator, left *vars) {
	left.each(func(k string, v *Value) {
		name, ok := strings.CutPrefix(k, "self.")
		if !ok || strings.Contains(name, ".") {
			return
		}
		if c.made == nil {
			c.made = map[string]*Value{}
		}
		c.made[name] = v
		if c.Module || v.Kind == KindModule || v.Op == "torch.nn.Parameter" {
			v = c.follow(e, name, v)
		}
		c.Attrs[name] = v
	})
}

func (c *Class) follow(e *evaluator, name string, v *Value) *Value {
	switch {
	case v.Kind == KindInstance && v.fresh: // a submodule is cast with the whole
		f := *v
		f.fresh = false
		return &f
	case c.Module && (v.Kind == KindSequence || v.Kind == KindDict && v.holds()): // the modules of a list, all of one dtype
		return v.each(func(el *Value) *Value { return c.followElement(e, name, el) })
	case v.Kind == KindModule, v.Kind == KindTensor && v.Op == "torch.nn.Parameter", v.Kind == KindTensor && v.Op == "register_buffer":
	default:
		return v
	}
	if low, _ := v.DType.Categories(); v.Kind == KindTensor && !v.DType.IsUnknown() && low < dtype.CatFloat {
		return v // integers are not converted by .to(dtype)
	}
	f := *v
	f.root = c.root(e, name, dtype.Floating)
	f.DType = dtype.Of(f.root)
	f.How = HowAttr
	f.Make = nil
	if v.Kind == KindTensor {
		f.root = nil
	}
	return &f
}

// followElement is follow for an element of a list, if that is a module.
func (c *Class) followElement(e *evaluator, name string, el *Value) *Value {
	if el.Kind == KindModule || el.Kind == KindInstance && el.Class.Module {
		return c.follow(e, name, el)
	}
	return el
}

func (c *Class) root(e *evaluator, name string, class dtype.RootClass) *dtype.Root {
	if r, ok := c.roots[name]; ok {
		return r
	}
	r := e.newRoot("self."+name, class)
	c.roots[name] = r
	e.outward.origins[r] = Origin{Kind: OriginAttr, Class: c, Name: name}
	return r
}

// instanceAttribute is self.X or obj.X.
func (e *evaluator) instanceAttribute(x *python.Attribute, recv *Value, path string, isPath bool) *Value {
	c := recv.Class
	if m := c.method(x.Sel); m != nil {
		if m.prop {
			if !e.summary(m) || m.Return == nil {
				return e.open(x, e.file.Text(x.Pos()))
			}
			if m.Return.Kind == KindUnknown {
				return e.attrRoot(c, x, path, isPath)
			}
			return m.Return
		}
		return &Value{Kind: KindFunction, Func: m, Recv: recv, Name: m.Scope.Name}
	}
	if recv.fresh {
		e.ensure(c)
		if v, ok := recv.madeAttr(x.Sel); ok {
			return v
		}
	}
	if v, ok := c.attr(e, x.Sel); ok {
		if v.Kind == KindNone { // a placeholder: somebody else sets it
			return e.attrRoot(c, x, path, isPath).maybe()
		}
		return v
	}
	if c.Module {
		switch x.Sel {
		case "to", "half", "float", "bfloat16", "double", "cuda", "cpu", "eval", "train", "requires_grad_", "register_buffer", "register_parameter", "parameters", "buffers", "state_dict", "named_parameters", "modules", "apply":
			return &Value{Kind: KindMethod, Recv: recv, Name: x.Sel, At: x}
		}
	}
	return e.attrRoot(c, x, path, isPath)
}

// attrRoot is an attribute of which nothing is known: a root that all methods
// share unless some method assigns the attribute.
func (e *evaluator) attrRoot(c *Class, x *python.Attribute, path string, isPath bool) *Value {
	if c.Set[x.Sel] {
		v := e.open(x, e.file.Text(x.Pos()))
		v.How = HowAttr
		if isPath {
			e.frame.vars.set(path, v)
		}
		return v
	}
	return &Value{Kind: KindOpen, At: x, How: HowAttr, root: c.root(e, x.Sel, dtype.Open), file: e.file}
}
