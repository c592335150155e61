package rules

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// statements calls f for every statement of the file, in order, with the
// statements, handlers and cases around it, outermost first.
func statements(p *analysis.Pass, f func(s python.Stmt, around []python.Node)) {
	var around []python.Node
	for _, n := range p.Tree.Statements() {
		around = around[:n.Depth]
		if s, ok := n.Node.(python.Stmt); ok {
			f(s, around)
		}
		around = append(around, n.Node)
	}
}

// own calls f for the expressions of a statement itself, not for those of the
// statements inside it. Rules that look at every statement of a file share a list:
// see expressions.
func own(s python.Stmt, f func(python.Node)) {
	python.Inspect(s, func(n python.Node) bool {
		switch n.(type) {
		case python.Stmt, *python.Handler, *python.Case:
			return n == python.Node(s)
		}
		f(n)
		return true
	})
}

// expressions is own from the list that the file's rules share.
func expressions(p *analysis.Pass, s python.Stmt, f func(python.Node)) {
	for _, n := range p.Tree.Own(s) {
		f(n)
	}
}

// function is the innermost function around a statement, nil if there is none.
func function(around []python.Node) *python.FuncDef {
	for i := len(around) - 1; i >= 0; i-- {
		if d, ok := around[i].(*python.FuncDef); ok {
			return d
		}
	}
	return nil
}

// triton reports whether a statement stands in a function of another language.
func triton(p *analysis.Pass, around []python.Node) bool {
	for _, n := range around {
		if d, ok := n.(*python.FuncDef); ok {
			for _, x := range d.Decorators {
				if strings.Contains(p.Tree.Text(x.Pos()), "jit") {
					return true
				}
			}
		}
	}
	return false
}

// probed reports whether a statement may be there for its error or its cost
// alone: inside try, or under a context manager that expects an error.
func probed(p *analysis.Pass, around []python.Node) bool {
	for i := len(around) - 1; i >= 0; i-- {
		switch n := around[i].(type) {
		case *python.Try:
			return true
		case *python.With:
			for _, it := range n.Items {
				if text := strings.ToLower(p.Tree.Text(it.Context.Pos())); strings.Contains(text, "raises") || strings.Contains(text, "suppress") {
					return true
				}
			}
		case *python.FuncDef:
			return false
		}
	}
	return false
}

// scopeOf is the qualified name of the definition around a node.
func scopeOf(p *analysis.Pass, n python.Node) string { return p.Tree.Enclosing(n.Pos().Start) }

// castMethods cast to a fixed dtype when they are called without arguments.
var castMethods = map[string]bool{"float": true, "half": true, "bfloat16": true, "double": true, "long": true, "int": true, "short": true, "byte": true, "bool": true}

// castCall reads x as a call that casts: X.float(), X.to(dtype).
func castCall(p *analysis.Pass, x python.Expr) (recv python.Expr, ok bool) {
	call, isCall := x.(*python.Call)
	if !isCall {
		return nil, false
	}
	at, isMethod := call.Func.(*python.Attribute)
	if !isMethod {
		return nil, false
	}
	if castMethods[at.Sel] && len(call.Args) == 0 {
		return at.X, true
	}
	if at.Sel != "to" {
		return nil, false
	}
	for _, a := range call.Args {
		if a.Star > 0 {
			return nil, false
		}
		if a.Name == "dtype" {
			if l, isLit := a.Value.(*python.Lit); isLit && l.Kind == "none" {
				continue
			}
			return at.X, true
		}
		if v := p.Facts.Values[a.Value]; a.Name == "" && v != nil && v.Kind == interp.KindDType {
			return at.X, true
		}
		// A name says what an argument of unknown value is; whether the call
		// has an effect does not hang on it.
		if path, isPath := path(a.Value); a.Name == "" && isPath && strings.HasSuffix(path, "dtype") {
			return at.X, true
		}
	}
	return nil, false
}

// isTensor reports whether a value certainly is a tensor: PyTorch made it, or
// its declaration says so. What is only used like one may be a module.
func isTensor(v *interp.Value) bool { return tensorWithin(v, 40) }

func tensorWithin(v *interp.Value, depth int) bool {
	if v == nil || v.Kind != interp.KindTensor || v.Maybe || depth == 0 {
		return false
	}
	switch v.How {
	case interp.HowParam, interp.HowCreate, interp.HowNumPy, interp.HowAutocast:
		return true
	case interp.HowAttr:
		return v.Op == "torch.nn.Parameter" || v.Op == "register_buffer"
	case interp.HowKeep, interp.HowCast:
		return len(v.From) > 0 && tensorWithin(v.From[0], depth-1)
	case interp.HowJoin:
		for _, f := range v.From {
			if !tensorWithin(f, depth-1) {
				return false
			}
		}
		return len(v.From) > 0
	case interp.HowPromote:
		for _, f := range v.From {
			if tensorWithin(f, depth-1) {
				return true
			}
		}
	}
	return false
}

// halfExact is the half dtype that a tensor has on every path.
func halfExact(v *interp.Value) (dtype.DType, bool) {
	if v == nil || v.Kind != interp.KindTensor || v.Maybe {
		return dtype.None, false
	}
	d, ok := v.DType.Exact()
	return d, ok && d.Half()
}

// reads reports whether a name is read in n. Functions defined inside count.
func reads(n python.Node, name string) bool {
	found := false
	python.Inspect(n, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Assign:
			if n.Op == "" {
				if n.Value != nil && reads(n.Value, name) {
					found = true
				}
				for _, t := range n.Targets {
					if _, plain := t.(*python.Name); !plain && reads(t, name) {
						found = true
					}
				}
				return false
			}
		case *python.Name:
			found = found || n.ID == name
		}
		return !found
	})
	return found
}

func isName(x python.Expr, name string) bool {
	n, ok := x.(*python.Name)
	return ok && n.ID == name
}

// insertAt is an edit that inserts.
func insertAt(at uint32, text string) analysis.Edit {
	return analysis.Edit{Span: python.Span{Start: at, End: at}, New: text}
}
