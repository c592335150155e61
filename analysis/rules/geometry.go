package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// matmulLike are the operations whose operand may be a matrix.
func matmulLike(name string) bool {
	switch name {
	case "torch.matmul", "torch.bmm", "torch.mm", "torch.einsum":
		return true
	}
	return false
}

// geometry recognises points that meet a matrix: the matrix is used as nothing
// else, and the points or what comes out are homogeneous.
func (f *finder) geometry(op *interp.Op, a, b interp.Operand) (conflict, bool) {
	if op.Kind != interp.OpRefuses || !matmulLike(op.Name) || len(op.Operands) != 2 || op.Autocast.State == interp.AutocastOn {
		return conflict{}, false
	}
	if len(f.pass.Signs.Half) == 0 && !halfInScope(op.Scope) {
		return conflict{}, false
	}
	for _, pair := range [][2]interp.Operand{{a, b}, {b, a}} {
		points, matrix := pair[0], pair[1]
		r, ok := matrix.Value.DType.Root()
		if !ok || !f.matrixOnly(op.Scope, r) {
			continue
		}
		if slices.Contains(points.Value.DType.Roots(), r) || len(points.Value.DType.Roots()) == 0 {
			continue
		}
		if !homogeneous(points.Value) && !f.divided(op) || f.noPoints(op.Scope, points.Value) {
			continue
		}
		return conflict{op: op, keep: points, odd: matrix, part: matrix.Value, evidence: byGeometry, upstream: f.upstream(points.Value)}, true
	}
	return conflict{}, false
}

// noPoints reports whether what looks like points has a dtype that is not that of
// activations: that of another matrix, which stands in front of them in the product
// that they come from and refused them there, or one that the function is told.
func (f *finder) noPoints(s *interp.Scope, points *interp.Value) bool {
	r, ok := points.DType.Root()
	if ok && ofCaller(s, r.Name) && strings.HasSuffix(r.Name, "dtype") {
		return true
	}
	for i := 0; i < 40 && points != nil; i++ {
		if b, isProduct := points.At.(*python.Binary); isProduct && b.Op == "@" {
			left, right := f.facts.Values[base(b.X)], f.facts.Values[base(b.Y)]
			return left != nil && right != nil && slices.Contains(left.Tensor().DType.Roots(), r) && !slices.Contains(right.Tensor().DType.Roots(), r)
		}
		if points.How != interp.HowKeep && points.How != interp.HowPromote || len(points.From) == 0 {
			break
		}
		points = points.From[0]
	}
	return false
}

func halfInScope(s *interp.Scope) bool { return s != nil && len(s.Half) > 0 }

// homogeneous reports whether ones were appended to the value.
func homogeneous(v *interp.Value) bool {
	o := origin(v)
	if o.Op != "torch.cat" && o.Op != "torch.concat" && o.Op != "torch.concatenate" {
		return false
	}
	for _, from := range o.From {
		m := origin(from)
		if m.Op == "torch.ones" || m.Op == "torch.ones_like" || m.Op == ".new_ones()" {
			return true
		}
	}
	return false
}

// divided reports whether the result of an operation is divided by a part of
// itself: the perspective division.
func (f *finder) divided(op *interp.Op) bool {
	for _, d := range f.facts.Ops {
		if d.Name != "torch.div" || d.Scope != op.Scope || len(d.Operands) != 2 {
			continue
		}
		if comesFrom(d.Operands[0].Value, op.Node) && comesFrom(d.Operands[1].Value, op.Node) && part(d.Operands[0].Value) != nil && lastComponent(part(d.Operands[1].Value)) {
			return true
		}
	}
	return false
}

// comesFrom reports whether a value is the result of an operation, seen
// through whatever keeps the dtype.
func comesFrom(v *interp.Value, at python.Node) bool {
	for i := 0; i < 40 && v != nil; i++ {
		if v.At == at {
			return true
		}
		if v.How != interp.HowKeep && v.How != interp.HowPromote || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// part returns the subscript that was taken on the way, nil if none was.
func part(v *interp.Value) *python.Subscript {
	for i := 0; i < 40 && v != nil; i++ {
		if s, ok := v.At.(*python.Subscript); ok && v.Op == "[]" {
			return s
		}
		if v.How != interp.HowKeep && v.How != interp.HowPromote || len(v.From) == 0 {
			return nil
		}
		v = v.From[0]
	}
	return nil
}

// lastComponent reports whether a subscript takes the last of three or four
// components: [..., 2], [..., 2:3], [..., -1:], [..., 3:].
func lastComponent(s *python.Subscript) bool {
	if s == nil || len(s.Index) < 2 {
		return false
	}
	x := s.Index[len(s.Index)-1]
	switch i := x.(type) {
	case *python.Slice:
		if i.Hi != nil && !next(i.Lo, i.Hi) {
			return false // several components
		}
		x = i.Lo
	case *python.Seq:
		if len(i.Xs) != 1 {
			return false
		}
		x = i.Xs[0]
	}
	if u, ok := x.(*python.Unary); ok && u.Op == "-" {
		l, ok := u.X.(*python.Lit)
		return ok && l.Text == "1"
	}
	l, ok := x.(*python.Lit)
	return ok && (l.Text == "2" || l.Text == "3")
}

// next reports whether hi is the literal that follows lo: 2:3.
func next(lo, hi python.Expr) bool {
	l, okL := lo.(*python.Lit)
	h, okH := hi.(*python.Lit)
	return okL && okH && (l.Text == "2" && h.Text == "3" || l.Text == "3" && h.Text == "4")
}

// upstream lists the matmul-like operations that a value comes from.
func (f *finder) upstream(v *interp.Value) []python.Span {
	var out []python.Span
	for i := 0; i < 40 && v != nil; i++ {
		for _, op := range f.facts.Ops {
			if op.Node == v.At && op.Kind == interp.OpRefuses {
				out = append(out, op.Node.Pos())
			}
		}
		if len(v.From) == 0 {
			break
		}
		v = v.From[0]
	}
	return out
}

// usage counts how the names of one scope are used.
type usage struct {
	matrix map[string]bool // used as an operand of a matmul only
}

// matrixOnly reports whether a root is a parameter (or an item of one) that
// its function uses as a matrix and as nothing else: transposed, sliced,
// inverted, given its shape, multiplied by @.
func (f *finder) matrixOnly(s *interp.Scope, r *dtype.Root) bool {
	if s == nil || s.Def == nil || r.Class == dtype.Integer {
		return false
	}
	u := f.scopes[s]
	if u == nil {
		u = &usage{matrix: map[string]bool{}}
		f.scopes[s] = u
	}
	if m, ok := u.matrix[r.Name]; ok {
		return m
	}
	isParam := false
	for _, p := range s.Def.Params {
		if p.Name == r.Name {
			isParam = true
		}
	}
	m := isParam && usedAsMatrix(s.Def.Body, r.Name)
	u.matrix[r.Name] = m
	return m
}

// shapeOnly are methods and attributes that a matrix may have taken of it.
var shapeOnly = map[string]bool{
	"transpose": true, "T": true, "mT": true, "t": true, "permute": true, "inverse": true, "unsqueeze": true, "squeeze": true, "expand": true, "view": true, "reshape": true, "shape": true,
	"size": true, "dim": true, "ndim": true, "device": true, "dtype": true, "to": true, "contiguous": true, "repeat": true, "clone": true, "detach": true,
}

// usedAsMatrix reports whether every use of a name is one that a matrix has,
// and one of them is a product.
func usedAsMatrix(body []python.Stmt, name string) bool {
	products := 0
	product := func(x python.Expr) bool { // x is an operand: does it lead to the name?
		for {
			switch e := x.(type) {
			case *python.Name:
				return e.ID == name
			case *python.Attribute:
				if !shapeOnly[e.Sel] {
					return false
				}
				x = e.X
			case *python.Call:
				x = e.Func
			case *python.Subscript:
				x = e.X
			default:
				return false
			}
		}
	}
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Binary:
				if n.Op == "@" {
					for _, x := range []python.Expr{n.X, n.Y} {
						if product(x) {
							products++
						}
					}
				}
			case *python.Call:
				at, ok := n.Func.(*python.Attribute)
				if !ok {
					break
				}
				switch at.Sel {
				case "matmul", "bmm", "mm", "einsum", "inverse", "inv":
					for _, a := range n.Args {
						if product(a.Value) {
							products++
						}
					}
				}
			case *python.Compare:
				return false // x is None
			}
			return true
		})
	}
	uses := 0
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Compare:
				return false
			case *python.Attribute:
				if x, ok := n.X.(*python.Name); ok && x.ID == name {
					switch n.Sel {
					case "shape", "device", "dtype", "size", "dim", "ndim":
						return false
					}
				}
			case *python.Name:
				if n.ID == name {
					uses++
				}
			}
			return true
		})
	}
	return products > 0 && uses == products
}
