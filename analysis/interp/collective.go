package interp

import "github.com/dtypebot/dtypebot/analysis/python"

// collectives are the operations of torch.distributed that take what is sent
// and what receives it, by parameter. All of it must have one dtype: run in
// 1.13 with gloo, which refuses the rest of them in Python already
// (torch/distributed/distributed_c10d.py, _ensure_all_tensors_same_dtype).
var collectives = map[string][2]string{
	"all_gather": {"tensor_list", "tensor"}, "gather": {"tensor", "gather_list"}, "scatter": {"tensor", "scatter_list"},
	"reduce_scatter": {"output", "input_list"}, "all_to_all": {"output_tensor_list", "input_tensor_list"}, "all_to_all_single": {"output", "input"},
	"all_gather_into_tensor": {"output_tensor", "input_tensor"}, "reduce_scatter_tensor": {"output", "input"},
}

// collective records a collective operation; ok is false if it is none.
func (e *evaluator) collective(x *python.Call, name string, a *args) (ok bool) {
	params, ok := collectives[baseName(name)]
	if !ok {
		return false
	}
	var operands []Operand
	for i, p := range params {
		v, at := a.arg(i, p)
		if v == nil {
			return true
		}
		if v.Kind == KindSequence {
			v = v.element()
		}
		for _, part := range branches(v, 0) {
			if part.tensorish() {
				operands = append(operands, Operand{Expr: at, Value: part.Tensor(), Name: p})
			}
		}
	}
	if len(operands) > 1 {
		e.addOp(x, OpRefuses, name, e.file.Text(x.Func.Pos()), nil, "Invalid usage of tensors with different dtypes", operands...)
	}
	return true
}

// branches are the values that a joined one may be: the elements of a list
// that was filled in several places.
func branches(v *Value, depth int) []*Value {
	if v.How != HowJoin || depth > 4 {
		return []*Value{v}
	}
	var out []*Value
	for _, from := range v.From {
		out = append(out, branches(from, depth+1)...)
	}
	return out
}
