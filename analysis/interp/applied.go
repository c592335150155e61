package interp

import (
	"maps"
	"slices"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// This file knows objects that are made now and applied later: functools.partial
// and the transforms of torchvision.

// transforms are torchvision's classes by the function that their call is, with the
// names of their own arguments there (torchvision/transforms/transforms.py of
// 0.14.1: each forward or __call__ hands itself on to the function).
var transforms = map[string][]string{
	"ToTensor": {"to_tensor"}, "PILToTensor": {"pil_to_tensor"}, "Normalize": {"normalize", "mean", "std"}, "ConvertImageDtype": {"convert_image_dtype", "dtype"},
	"Resize": {"resize"}, "CenterCrop": {"center_crop"}, "Pad": {"pad"},
}

// partialOf is functools.partial(f, …): f with some of its arguments.
func (e *evaluator) partialOf(x *python.Call, a *args) *Value {
	if len(a.pos) == 0 || a.star {
		return e.open(x, e.file.Text(x.Pos()))
	}
	given := &args{call: x, exprs: a.exprs[1:], pos: a.pos[1:], names: a.names, kw: a.kw, kwX: a.kwX}
	return &Value{Kind: KindPartial, Name: a.pos[0].Name, Recv: a.pos[0], given: given, At: x}
}

// transformOf is one of torchvision's transforms, or several in a row; nil for any
// other name.
func (e *evaluator) transformOf(x *python.Call, name string, a *args) *Value {
	for _, in := range []string{"torchvision.transforms.", "torchvision.transforms.transforms."} {
		base := baseName(name)
		if name != in+base {
			continue
		}
		if base == "Compose" {
			if list, _ := a.arg(0, "transforms"); list != nil && list.Kind == KindSequence && list.Elem == nil {
				return &Value{Kind: KindPartial, Name: name, Elems: list.Elems, At: x}
			}
			return nil
		}
		own, ok := transforms[base]
		if !ok {
			return nil
		}
		given := &args{call: x, names: map[string]int{}}
		for i, param := range own[1:] {
			if v, vx := a.arg(i, param); v != nil {
				given.names[param] = len(given.kw)
				given.kw, given.kwX = append(given.kw, v), append(given.kwX, vx)
			}
		}
		return &Value{Kind: KindPartial, Name: name, Recv: &Value{Kind: KindLibrary, Name: "torchvision.transforms.functional." + own[0]}, given: given, At: x}
	}
	return nil
}

// applied calls an object that was made before.
func (e *evaluator) applied(x *python.Call, p *Value, a *args) *Value {
	if p.Recv == nil { // Compose
		v, vx := a.arg(0)
		for _, step := range p.Elems {
			if v == nil {
				break
			}
			v = e.called(x, step, &args{call: x, exprs: []python.Expr{vx}, pos: []*Value{v}, names: map[string]int{}})
		}
		if v != nil {
			return v
		}
		return e.open(x, e.file.Text(x.Pos()))
	}
	all := &args{
		call: x, star: a.star, names: maps.Clone(p.given.names), kw: slices.Clone(p.given.kw), kwX: slices.Clone(p.given.kwX),
		pos: slices.Concat(p.given.pos, a.pos), exprs: slices.Concat(p.given.exprs, a.exprs),
	}
	for _, name := range slices.Sorted(maps.Keys(a.names)) {
		i := a.names[name]
		if k, ok := all.names[name]; ok {
			all.kw[k], all.kwX[k] = a.kw[i], a.kwX[i]
			continue
		}
		all.names[name] = len(all.kw)
		all.kw, all.kwX = append(all.kw, a.kw[i]), append(all.kwX, a.kwX[i])
	}
	return e.called(x, p.Recv, all)
}

// container is nn.ModuleDict(…), nn.ParameterList(…) and nn.ParameterDict(…): a
// list or a dictionary as far as loops, items and casts are concerned. It is nil
// where nothing is known of what it holds.
func (e *evaluator) container(base string, a *args) *Value {
	held, _ := a.arg(0, "modules", "values", "parameters")
	switch {
	case a.star:
		return nil
	case base == "ParameterList" && held == nil:
		return &Value{Kind: KindSequence, Name: base}
	case base == "ParameterList":
		if held.Kind == KindSequence {
			return &Value{Kind: KindSequence, Name: base, Elems: held.Elems, Elem: held.Elem}
		}
	case held == nil:
		return &Value{Kind: KindDict, Name: base, Fields: map[string]*Value{}, Known: true}
	case held.Kind == KindDict:
		return &Value{Kind: KindDict, Name: base, Fields: held.Fields, Elem: held.Elem, Known: held.Known}
	}
	return nil
}

// holds reports whether a list or a dictionary is one of PyTorch's containers.
func (v *Value) holds() bool {
	switch v.Name {
	case "ModuleList", "ModuleDict", "ParameterList", "ParameterDict":
		return v.Kind == KindSequence || v.Kind == KindDict
	}
	return false
}

// each is a container with every value replaced.
func (v *Value) each(f func(*Value) *Value) *Value {
	n := *v
	n.Elems = make([]*Value, len(v.Elems))
	for i, el := range v.Elems {
		n.Elems[i] = f(el)
	}
	if v.Elems == nil {
		n.Elems = nil
	}
	if v.Fields != nil {
		n.Fields = make(map[string]*Value, len(v.Fields))
		for k, el := range v.Fields {
			n.Fields[k] = f(el)
		}
	}
	if v.Elem != nil {
		n.Elem = f(v.Elem)
	}
	return &n
}

// castContainer is layers.to(…), .half(), …: what it holds is cast. It is nil for
// other methods.
func (e *evaluator) castContainer(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	if !recv.holds() {
		return nil
	}
	var t dtype.Type
	switch name {
	case "cuda", "cpu", "eval", "train", "requires_grad_":
		return recv
	case "half", "bfloat16", "float", "double":
		t = dtype.Exact(castMethods[name])
	case "to", "type":
		probe := e.to(x, &Value{Kind: KindTensor, DType: dtype.Exact(dtype.Complex32)}, nil, a)
		if d, ok := probe.DType.Exact(); ok && d == dtype.Complex32 {
			return recv // a device
		}
		t = probe.DType
	default:
		return nil
	}
	v := recv.each(func(el *Value) *Value { return castWith(el, t) })
	if path, ok := dotted(castObject(recvExpr)); ok {
		e.replace(path, recv, v)
	}
	return v
}

// castWith is what is held by a module that is cast as a whole: modules, instances
// of the file's own, and parameters and buffers of floating dtypes.
func castWith(m *Value, t dtype.Type) *Value {
	n := *m
	switch {
	case m.holds():
		return m.each(func(el *Value) *Value { return castWith(el, t) })
	case m.Kind == KindInstance && m.Class.Module && m.fresh:
		n.DType = t
		return &n
	case m.Kind == KindModule, m.Kind == KindTensor && follows(m):
		if low, _ := m.DType.Categories(); low < dtype.CatFloat {
			return m
		}
		n.DType = t
		n.From = append([]*Value{m}, m.From...)
		return &n
	}
	return m
}

// layer is an item of a Sequential, nil if it is not known.
func (e *evaluator) layer(m *Value, i int) *Value {
	if baseName(m.Name) != "Sequential" {
		return nil
	}
	if i < 0 {
		i += len(m.Elems)
	}
	if i < 0 || i >= len(m.Elems) {
		return nil
	}
	el := *m.Elems[i]
	if fact, ok := e.torch.Module(el.Name); ok && fact.HasParams() || ok && fact.Container {
		el.DType = elementType(m, &el)
	}
	return &el
}

// tensorFunction is torch.Tensor.NAME(x, …): the method, called as a function. It
// is nil for other names.
func (e *evaluator) tensorFunction(x *python.Call, name string, a *args) *Value {
	if len(a.pos) == 0 || !a.pos[0].tensorish() || name != "torch.Tensor."+baseName(name) {
		return nil
	}
	if _, measured := e.torch.Lookup(name); !measured && !isTensorMethod(baseName(name)) {
		return nil
	}
	rest := *a
	rest.pos, rest.exprs = a.pos[1:], a.exprs[1:]
	return e.tensorMethod(x, a.pos[0], a.exprs[0], baseName(name), &rest)
}
