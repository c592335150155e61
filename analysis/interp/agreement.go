package interp

import (
	"slices"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// An agreement says that a function hands some of its parameters, as they came
// in, to one operation that wants equal dtypes. So a call of the function wants
// them of its arguments.
type agreement struct {
	op     *Op
	params []*dtype.Root
	names  []string
}

// agreement finds the first operation of a function that two or more of its
// parameters meet in with their own dtypes, nil if there is none.
func (e *evaluator) agreement(fn *Function) *agreement {
	if fn.agreed != nil || fn.state != 2 {
		return fn.agreed
	}
	fn.agreed = &agreement{}
	names := map[*dtype.Root]string{}
	for k, p := range fn.Params {
		if p == nil {
			continue
		}
		if r, ok := p.Tensor().DType.Root(); ok && p.tensorish() {
			names[r] = fn.Def.Params[k].Name
		}
	}
	if len(names) < 2 {
		return fn.agreed
	}
	var first *Op
	for _, op := range e.ops {
		if op.Scope != fn.Scope || op.Kind != OpRefuses || op.Autocast.State != AutocastNone || first != nil && op.Node.Pos().Start > first.Node.Pos().Start {
			continue
		}
		if roots := meeting(op, names); len(roots) > 1 {
			first = op
			fn.agreed = &agreement{op: op, params: roots}
		}
	}
	for _, r := range fn.agreed.params {
		fn.agreed.names = append(fn.agreed.names, names[r])
	}
	return fn.agreed
}

// meeting lists the parameters whose own dtypes meet in an operation.
func meeting(op *Op, names map[*dtype.Root]string) []*dtype.Root {
	var roots []*dtype.Root
	for _, o := range op.Operands {
		if r, ok := o.Value.DType.Root(); ok && !o.Soft && names[r] != "" && !slices.Contains(roots, r) {
			roots = append(roots, r)
		}
	}
	return roots
}

// meet records the agreement of a callee as an operation of the call.
func (e *evaluator) meet(x *python.Call, fn *Function, bound map[*dtype.Root]*Value, exprs map[*dtype.Root]python.Expr, result *Value) {
	ag := e.agreement(fn)
	if ag == nil || ag.op == nil {
		return
	}
	var operands []Operand
	for i, r := range ag.params {
		v, at := bound[r], exprs[r]
		if v == nil || at == nil || !v.tensorish() {
			return
		}
		operands = append(operands, Operand{Expr: at, Value: v.Tensor(), Name: ag.names[i]})
	}
	op := e.addOp(x, OpRefuses, ag.op.Name, e.file.Text(x.Func.Pos()), result, ag.op.Message, operands...)
	op.Within = ag.op
}
