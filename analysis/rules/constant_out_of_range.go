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
	Preview:  true, // seen in no project yet
	Doc: `A constant does not fit into a half tensor

float16 ends at 65504, and the smallest float32 does not fit into bfloat16
either. masked_fill, full_like, new_full and fill_ refuse a constant beyond
that.

Evidence: the tensor has that dtype on every path, and the constant is written
out, or is a name for a number or torch.finfo(torch.float32) (certain).

Fix: torch.finfo(x.dtype).min, or max for a positive constant.

Silent for infinities, for tensors whose dtype is not known, and for additions,
where a constant beyond the range becomes an infinity.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) || probed(p, around) {
				return
			}
			own(s, func(n python.Node) {
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
	d, half := halfExact(p.Facts.Values[tensor])
	if constant == nil || !half {
		return
	}
	x, ok := number(p, constant)
	if !ok || math.IsInf(x, 0) || math.Abs(x) <= largest(d) {
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
