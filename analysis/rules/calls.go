package rules

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// calls calls f for every call of the file outside Triton kernels, with the
// statement that it stands in and what is around that.
func calls(p *analysis.Pass, f func(call *python.Call, s python.Stmt, around []python.Node)) {
	statements(p, func(s python.Stmt, around []python.Node) {
		if triton(p, around) {
			return
		}
		expressions(p, s, func(n python.Node) {
			if call, ok := n.(*python.Call); ok {
				f(call, s, around)
			}
		})
	})
}

// functions calls f for every function of the file outside Triton kernels.
func functions(p *analysis.Pass, f func(d *python.FuncDef, around []python.Node)) {
	statements(p, func(s python.Stmt, around []python.Node) {
		d, ok := s.(*python.FuncDef)
		if ok && !triton(p, append(around[:len(around):len(around)], d)) {
			f(d, around)
		}
	})
}

// library is the canonical name of what an import gives: "torch.zeros" of
// torch.zeros, "" of everything else.
func library(p *analysis.Pass, x python.Expr) string {
	if v := p.Facts.Values[x]; v != nil && v.Kind == interp.KindLibrary {
		return v.Name
	}
	if at, ok := x.(*python.Attribute); ok {
		if of := library(p, at.X); of != "" {
			return of + "." + at.Sel
		}
	}
	return ""
}

// dtypeLiteral is the dtype that an expression spells: torch.float16.
func dtypeLiteral(p *analysis.Pass, x python.Expr) (dtype.DType, bool) {
	at, ok := x.(*python.Attribute)
	if !ok || library(p, at.X) != "torch" {
		return dtype.None, false
	}
	return dtype.ByName(at.Sel)
}

// argument is the value of a keyword argument, nil if it is not given.
func argument(call *python.Call, name string) python.Expr {
	for _, a := range call.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// castTarget is the expression of the dtype that X.to(…) or X.type(…) casts to.
func castTarget(p *analysis.Pass, call *python.Call) (recv, dt python.Expr, ok bool) {
	at, isMethod := call.Func.(*python.Attribute)
	if !isMethod || at.Sel != "to" && at.Sel != "type" {
		return nil, nil, false
	}
	if x := argument(call, "dtype"); x != nil {
		return at.X, x, true
	}
	for _, a := range call.Args {
		if a.Name != "" || a.Star > 0 {
			continue
		}
		if v := p.Facts.Values[a.Value]; v != nil && v.Kind == interp.KindDType {
			return at.X, a.Value, true
		}
		if text, isPath := path(a.Value); isPath && strings.HasSuffix(text, "dtype") {
			return at.X, a.Value, true
		}
	}
	return nil, nil, false
}

// sameText reports whether two pieces of source are equal but for white space.
func sameText(p *analysis.Pass, a, b python.Node) bool {
	return squeeze(p.Tree.Text(a.Pos())) == squeeze(p.Tree.Text(b.Pos()))
}

// squeeze takes all white space out of a piece of source.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
