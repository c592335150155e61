package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// alike finds tensors that were made after another one, with its whole shape
// and on its device, torch.randn(x.shape, device=x.device), and then go where
// that one goes: into the same call, or into a sum. It is what randn_like gives
// but for the dtype, so what becomes of them need not be understood.
func (f *finder) alike() []conflict {
	var out []conflict
	for _, a := range f.facts.Assigned {
		m := a.Value.Make
		if m == nil || m.DType || m.Called || m.Scope != a.Scope || source(a.Value).How != interp.HowCreate || !closed(a.Value.DType) || !floating(a.Value.DType) {
			continue
		}
		x := f.model(m)
		if x == nil {
			continue
		}
		if c, ok := f.goesAlong(a, m, x); ok {
			out = append(out, c)
		}
	}
	return out
}

// model is the expression of the tensor whose whole shape and device a created
// one has, nil if there is none.
func (f *finder) model(m *interp.Creation) python.Expr {
	if m.DeviceOf == nil || len(m.Call.Args) == 0 {
		return nil
	}
	var x python.Expr
	switch s := m.Call.Args[0].Value.(type) {
	case *python.Attribute:
		if s.Sel == "shape" {
			x = s.X
		}
	case *python.Call:
		if at, ok := s.Func.(*python.Attribute); ok && at.Sel == "size" && len(s.Args) == 0 {
			x = at.X
		}
	}
	text, ok := path(x)
	v := f.facts.Values[x]
	if !ok || v == nil || integerName(text) || strings.Contains(text, "target") {
		return nil
	}
	if r := tensorType(v).Roots(); !floating(tensorType(v)) || len(r) != 1 || !slices.Equal(r, tensorType(m.DeviceOf).Roots()) {
		return nil
	}
	return x
}

// goesAlong finds where a created tensor meets its model: one call with both,
// or arithmetic with the created one in it. A comparison, a mask by it, or a
// cast is something else.
func (f *finder) goesAlong(a interp.Assigned, m *interp.Creation, x python.Expr) (conflict, bool) {
	body := f.pass.Tree.Body
	if a.Scope.Def != nil {
		body = a.Scope.Def.Body
	}
	like, _ := path(x)
	var at python.Node
	var odd python.Expr
	written, spoiled := "", false
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Call:
				if n.Start <= m.Call.End {
					break
				}
				if recv, ok := castCall(f.pass, n); ok && isName(recv, a.Name) {
					spoiled = true
				}
				name := f.pass.Tree.Text(n.Func.Pos())
				mine, its := argumentNamed(n, a.Name), argumentNamed(n, like)
				if at == nil && mine != nil && its != nil && !isLoss(name) {
					at, odd, written = n, mine, name
				}
			case *python.Binary:
				if n.Start <= m.Call.End || n.Op == "@" || at != nil {
					break
				}
				for _, side := range []python.Expr{n.X, n.Y} {
					if isName(side, a.Name) {
						at, odd, written = n, side, n.Op
					}
				}
			case *python.Compare:
				spoiled = spoiled || slices.ContainsFunc(n.Xs, func(x python.Expr) bool { return isName(x, a.Name) })
			case *python.Assign:
				if n.Start > m.Call.End && slices.ContainsFunc(n.Targets, func(t python.Expr) bool { return isName(t, a.Name) }) {
					spoiled = true
				}
			}
			return true
		})
	}
	if at == nil || spoiled {
		return conflict{}, false
	}
	op := &interp.Op{Node: at, Stmt: f.pass.Tree.StmtAt(at.Pos().Start), Kind: interp.OpPromotes, Written: written, Scope: a.Scope, InScope: m.InScope, Result: &interp.Value{}}
	if inLoss(f.pass, op) || f.undone(op) {
		return conflict{}, false
	}
	keep, made := interp.Operand{Expr: x, Value: f.facts.Values[x].Tensor()}, interp.Operand{Expr: odd, Value: a.Value}
	op.Operands = []interp.Operand{keep, made}
	return conflict{op: op, keep: keep, odd: made, part: a.Value, evidence: byRoot, cause: causeFactory, make: m, promotes: true, sign: m.Call}, true
}

// argumentNamed is the argument of a call that is a path, nil if none is.
func argumentNamed(call *python.Call, name string) python.Expr {
	for _, a := range call.Args {
		if p, ok := path(a.Value); ok && p == name {
			return a.Value
		}
	}
	return nil
}
