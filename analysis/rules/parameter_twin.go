package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// parameterTwins finds a parameter of a module that meets an activation as it is
// stored, where another parameter of the module is cast to the activation's
// dtype. Both are made with a dtype that the constructor is given: what they are
// stored in is not what the module computes in.
func parameterTwins(p *analysis.Pass) {
	functions(p, func(d *python.FuncDef, around []python.Node) {
		class, m := classAround(append(around[:len(around):len(around)], d))
		if class == nil || m != d || strings.HasPrefix(d.Name, "__init") {
			return
		}
		stored := storedParameters(p, class)
		if len(stored) < 2 {
			return
		}
		cast, like := castParameters(p, d, stored)
		for _, op := range p.Facts.Ops {
			if op.Scope == nil || op.Scope.Def != d || op.Kind != interp.OpPromotes || op.Autocast.State == interp.AutocastOn || len(op.Operands) != 2 {
				continue
			}
			for i, odd := range op.Operands {
				name, okN := path(base(odd.Expr))
				x, okX := path(op.Operands[1-i].Expr)
				if !okN || !okX || stored[name] == "" || cast[name] != nil {
					continue
				}
				for other, at := range cast {
					if stored[other] == stored[name] && like[other] == x {
						reportParameter(p, op, odd, other, x, at)
					}
				}
			}
		}
	})
}

// storedParameters are the parameters that a constructor makes with a dtype of
// its own arguments: the text of that dtype by the path of the parameter.
func storedParameters(p *analysis.Pass, class *python.ClassDef) map[string]string {
	out := map[string]string{}
	init := method(class, "__init__")
	if init == nil {
		return out
	}
	inBody(init, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || len(a.Targets) != 1 {
			return
		}
		name, isPath := path(a.Targets[0])
		outer, isCall := a.Value.(*python.Call)
		if !isPath || !isCall || library(p, outer.Func) != "torch.nn.Parameter" || len(outer.Args) == 0 {
			return
		}
		inner, isCall := outer.Args[0].Value.(*python.Call)
		if !isCall {
			return
		}
		if dt, isName := argument(inner, "dtype").(*python.Name); isName && hasParam(init, dt.ID) {
			out[name] = dt.ID
		}
	})
	return out
}

// castParameters are the parameters that a method casts to the dtype of a name,
// with the call that does and that name.
func castParameters(p *analysis.Pass, d *python.FuncDef, stored map[string]string) (cast map[string]*python.Call, like map[string]string) {
	cast, like = map[string]*python.Call{}, map[string]string{}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		own(s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || len(call.Args) == 0 {
				return
			}
			of := ""
			for _, a := range call.Args {
				if at, isAttr := a.Value.(*python.Attribute); isAttr && at.Sel == "dtype" {
					of, _ = path(at.X)
				}
			}
			name := ""
			if at, isMethod := call.Func.(*python.Attribute); isMethod && at.Sel == "to" {
				name, _ = path(at.X)
			} else if strings.Contains(p.Tree.Text(call.Func.Pos()), "cast") {
				name, _ = path(call.Args[0].Value) // a function of the project that casts its first argument
			}
			if of != "" && stored[name] != "" {
				cast[name], like[name] = call, of
			}
		})
	})
	return cast, like
}

func reportParameter(p *analysis.Pass, op *interp.Op, odd interp.Operand, other, x string, at *python.Call) {
	b := base(odd.Expr)
	name := p.Tree.Text(b.Pos())
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statement(op), Scope: scopeOf(p, op.Node), Ops: []python.Span{op.Node.Pos()},
		Message: fmt.Sprintf("%s is cast to the dtype of %s (line %d), %s is not: both are stored in the dtype that the constructor is given. Where that is wider, the result of %s is widened here.",
			code(other), code(x), p.Tree.Line(at.Start), code(name), written(op)),
		Because: []analysis.Reason{p.Reason(at.Pos(), fmt.Sprintf("%s is cast", code(other))), p.Reason(op.Node.Pos(), fmt.Sprintf("%s meets %s as it is stored", code(name), code(x)))},
		Fix:     &analysis.Fix{Title: "Cast it as its twin", Safety: analysis.Safe, Edits: castEdit(p, b, ".to("+x+".dtype)")},
	})
}
