package survey

import (
	"slices"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Unifier is a function that gives all its tensors the dtype of the first,
// such as ensure_same_dtype(*tensors).
type Unifier struct {
	Path string
	Line int
	Name string
	// Floating says that it leaves alone what is not floating-point. Without,
	// a mask in front makes booleans of everything, and ids are rounded.
	Floating bool
}

// Unifiers lists those that a module defines at its top level.
func Unifiers(path string, tree *python.File) []Unifier {
	var out []Unifier
	for _, s := range tree.Body {
		if f, ok := s.(*python.FuncDef); ok {
			if u, ok := unifier(f); ok {
				u.Path, u.Line = path, tree.Line(f.NameSpan.Start)
				add(&out, u)
			}
		}
	}
	return out
}

// unifier recognises a function of one *parameter that gives every element the
// dtype of the first.
func unifier(f *python.FuncDef) (Unifier, bool) {
	if len(f.Params) != 1 || f.Params[0].Star != 1 || f.Params[0].Name == "" {
		return Unifier{}, false
	}
	all := f.Params[0].Name
	first, casts, floating := false, false, false
	python.Inspect(f, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Attribute:
			if x, ok := n.X.(*python.Subscript); ok && n.Sel == "dtype" && isName(x.X, all) && len(x.Index) == 1 {
				i, ok := x.Index[0].(*python.Lit)
				first = first || ok && i.Text == "0"
			}
			floating = floating || n.Sel == "is_floating_point"
		case *python.Comp:
			casts = casts || slices.ContainsFunc(n.Clauses, func(c python.Clause) bool { return isName(c.Iter, all) }) && castsInside(n.Elem)
		case *python.For:
			casts = casts || isName(n.Iter, all) && slices.ContainsFunc(n.Body, func(s python.Stmt) bool { return castsInside(s) })
		}
		return true
	})
	if !first || !casts {
		return Unifier{}, false
	}
	return Unifier{Name: f.Name, Floating: floating}, true
}

func isName(e python.Expr, name string) bool {
	n, ok := e.(*python.Name)
	return ok && n.ID == name
}

// castsInside reports whether a node holds a call of a method that casts.
func castsInside(n python.Node) bool {
	found := false
	python.Inspect(n, func(n python.Node) bool {
		if c, ok := n.(*python.Call); ok {
			if a, ok := c.Func.(*python.Attribute); ok && (a.Sel == "to" || a.Sel == "type" || a.Sel == "type_as") {
				found = true
			}
		}
		return !found
	})
	return found
}
