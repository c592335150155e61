package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var constantOutOfRange = &analysis.Rule{
	Name:     "constant-out-of-range",
	Severity: analysis.High,
	Doc: `A constant does not fit into a half tensor

float16 ends at 65504, and the smallest float32 does not fit into bfloat16
either. masked_fill, full, full_like, new_full and fill_ refuse a constant
beyond that.

Evidence: the tensor has that dtype on every path, and the constant is written
out, or is a name for a number or torch.finfo(torch.float32) (certain). The
function itself made the tensor in the dtype of another one, so it follows the
model into float16, and the files do not use bfloat16 alone (likely).

Fix: torch.finfo(x.dtype).min, or max for a positive constant. Where the dtype
is not known, the constant stays as long as it fits.

Silent for infinities, for tensors whose dtype is not known and that were not
made in another's, such as attention scores, and for additions, where a constant
beyond the range becomes an infinity.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) || probed(p, around) {
				return
			}
			expressions(p, s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok {
					filled(p, call)
				}
			})
		})
	},
}

// largest is the largest number of a half dtype.
func largest(d dtype.DType) float64 {
	if d == dtype.Float16 {
		return 65504
	}
	return 3.3895313892515355e38
}

// filled looks at one call that fills a tensor with a constant.
func filled(p *analysis.Pass, call *python.Call) {
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return
	}
	// Whether the tensor is the first argument, and where the constant is.
	place, tensor := 0, at.X
	args := call.Args
	if v := p.Facts.Values[at.X]; v != nil && v.Kind == interp.KindLibrary {
		if len(args) == 0 || v.Name != "torch" || at.Sel != "masked_fill" && at.Sel != "full_like" {
			return
		}
		tensor, args = args[0].Value, args[1:]
	} else if at.Sel == "full_like" {
		return
	}
	switch at.Sel {
	case "masked_fill", "masked_fill_", "new_full":
		place = 1
	case "full_like", "fill_":
	default:
		return
	}
	for _, a := range call.Args {
		if a.Star > 0 || a.Name == "dtype" {
			return
		}
	}
	var constant python.Expr
	if len(args) > place && args[place].Name == "" {
		constant = args[place].Value
	}
	for _, a := range args {
		if a.Name == "value" || a.Name == "fill_value" {
			constant = a.Value
		}
	}
	if constant == nil {
		return
	}
	x, ok := number(p, constant)
	if !ok || math.IsInf(x, 0) || math.Abs(x) <= largest(dtype.Float16) {
		return
	}
	d, half := halfExact(p.Facts.Values[tensor])
	if !half {
		followsInto(p, call, tensor, constant, x)
		return
	}
	if math.Abs(x) <= largest(d) {
		return
	}
	ref := "torch." + d.String()
	if text, isPath := path(tensor); isPath {
		ref = text + ".dtype"
	}
	limit := "min"
	if x > 0 {
		limit = "max"
	}
	name := code(p.Tree.Text(tensor.Pos()))
	end := "65504"
	if d == dtype.BFloat16 {
		end = "3.39e38"
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Certain, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s is %s, which ends at %s. PyTorch stops here: `value cannot be converted to type at::%s without overflow`.", name, d, end, d.ScalarType()),
		Because: append(story(p, p.Facts.Values[tensor], name), p.Reason(constant.Pos(), fmt.Sprintf("%s is beyond %s", code(p.Tree.Text(constant.Pos())), end))),
		Fix:     &analysis.Fix{Title: "Use the dtype's own limit", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: constant.Pos(), New: "torch.finfo(" + ref + ")." + limit}}},
	})
}

// followsInto reports a constant for a tensor that the function made in the
// dtype of another one.
func followsInto(p *analysis.Pass, call *python.Call, tensor, constant python.Expr, x float64) {
	n, ok := tensor.(*python.Name)
	if !ok || math.Abs(x) <= largest(dtype.BFloat16) && onlyBFloat16(p) {
		return
	}
	made, of := madeLike(p, n)
	if made == nil {
		return
	}
	limit, bound := "min", "max" // the wider of the two, so that float32 keeps the constant
	if x > 0 {
		limit, bound = bound, limit
	}
	number := p.Tree.Text(constant.Pos())
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s has the dtype of %s, and float16 ends at 65504: with %s in float16 PyTorch stops here: `value cannot be converted to type at::Half without overflow`.", code(n.ID), code(of), code(of)),
		Because: []analysis.Reason{p.Reason(made.Pos(), fmt.Sprintf("made in the dtype of %s", code(of))), p.Reason(constant.Pos(), fmt.Sprintf("%s is beyond 65504", code(p.Tree.Text(constant.Pos()))))},
		Fix: &analysis.Fix{Title: "Stop at the dtype's own limit", Safety: analysis.Safe, Edits: []analysis.Edit{
			{Span: constant.Pos(), New: fmt.Sprintf("%s(%s, torch.finfo(%s.dtype).%s)", bound, number, n.ID, limit)},
		}},
	})
}

// onlyBFloat16 reports whether all half precision in the files is bfloat16,
// which holds what float16 does not.
func onlyBFloat16(p *analysis.Pass) bool {
	for _, s := range p.Signs.Half {
		if !strings.Contains(s.Text, "bfloat16") && !strings.Contains(s.Text, "bf16") {
			return false
		}
	}
	return len(p.Signs.Half) > 0
}

// madeLike is the statement that makes a name's only tensor in the dtype of
// another name, and that name.
func madeLike(p *analysis.Pass, n *python.Name) (made python.Node, of string) {
	functions(p, func(d *python.FuncDef, _ []python.Node) {
		if !d.Pos().Contains(n.Pos()) {
			return
		}
		var at *python.Assign
		count := 0
		inBody(d, func(s python.Stmt, _ []python.Node) {
			a, ok := s.(*python.Assign)
			if !ok || a.Value == nil || boundName(a) != n.ID || a.Start > n.Start {
				return
			}
			if l, isLit := a.Value.(*python.Lit); isLit && l.Kind == "none" {
				return
			}
			at, count = a, count+1
		})
		if at == nil || count != 1 {
			return
		}
		call, ok := at.Value.(*python.Call)
		if !ok {
			return
		}
		if like := likeOf(p, call); like != nil && like.ID != n.ID && !integerName(like.ID) && usedAsTensor(p, like.ID) {
			made, of = at, like.ID
		}
	})
	return made, of
}

// likeOf is the name whose dtype a call gives to what it makes or casts.
func likeOf(p *analysis.Pass, call *python.Call) *python.Name {
	if x := argument(call, "dtype"); x != nil {
		at, ok := x.(*python.Attribute)
		if !ok || at.Sel != "dtype" {
			return nil
		}
		n, _ := at.X.(*python.Name)
		return n
	}
	if at, ok := call.Func.(*python.Attribute); ok && len(call.Args) == 1 && (at.Sel == "to" || at.Sel == "type_as") {
		n, _ := followed(p, call)
		return n
	}
	return nil
}

// number reads a constant: a literal, a name for one, or finfo of float32.
func number(p *analysis.Pass, x python.Expr) (float64, bool) {
	switch e := x.(type) {
	case *python.Unary:
		if n, ok := number(p, e.X); ok && e.Op == "-" {
			return -n, true
		}
	case *python.Lit:
		if e.Kind == "int" || e.Kind == "float" {
			return parsed(e.Text)
		}
	case *python.Name:
		if v := p.Facts.Values[x]; v != nil && v.Kind == interp.KindNumber && v.Known {
			return parsed(v.Text)
		}
	case *python.Attribute:
		switch strings.Join(strings.Fields(p.Tree.Text(e.Pos())), "") {
		case "torch.finfo(torch.float32).min", "torch.finfo(torch.float).min":
			return -math.MaxFloat32, true
		case "torch.finfo(torch.float32).max", "torch.finfo(torch.float).max":
			return math.MaxFloat32, true
		}
	}
	return 0, false
}

func parsed(text string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return n, err == nil
}
