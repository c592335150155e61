package rules

import (
	"fmt"
	"slices"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var dtypeComparedWithText = &analysis.Rule{
	Name:     "dtype-compared-with-text",
	Severity: analysis.Medium,
	Preview:  true, // seen in no project yet
	Doc: `A torch.dtype is compared with a string

torch.float16 == "float16" is False, whatever the tensor: the branch behind such
a comparison is never taken, without an error.

Evidence: the other side certainly is a torch.dtype: the dtype of a tensor that
PyTorch made or that is declared a torch.Tensor (certain).

Fix: torch.float16 in the place of "float16".

Silent for str(x.dtype), for configuration values and parameters, which may be
strings, for NumPy arrays, whose dtypes do compare with their names, and for
strings that name no dtype.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) {
				return
			}
			expressions(p, s, func(n python.Node) {
				if c, ok := n.(*python.Compare); ok {
					comparison(p, c)
				}
			})
		})
	},
}

func comparison(p *analysis.Pass, c *python.Compare) {
	if len(c.Xs) != 2 || !slices.Contains([]string{"==", "!=", "in", "not in"}, c.Ops[0]) {
		return
	}
	left, right := c.Xs[0], c.Xs[1]
	if _, isText := left.(*python.Str); isText && (c.Ops[0] == "==" || c.Ops[0] == "!=") {
		left, right = right, left
	}
	if !isTorchDType(p, left) {
		return
	}
	texts := []python.Expr{right}
	if seq, ok := right.(*python.Seq); ok && (c.Ops[0] == "in" || c.Ops[0] == "not in") {
		texts = seq.Xs
	} else if c.Ops[0] == "in" || c.Ops[0] == "not in" {
		return
	}
	var edits []analysis.Edit
	for _, t := range texts {
		s, ok := t.(*python.Str)
		if !ok || s.Bytes || len(s.Interp) > 0 {
			return
		}
		name := s.Value
		if len(name) > 6 && name[:6] == "torch." {
			name = name[6:]
		}
		if _, known := dtype.ByName(name); !known {
			return
		}
		edits = append(edits, analysis.Edit{Span: s.Pos(), New: "torch." + name})
	}
	if len(edits) == 0 {
		return
	}
	result := "False"
	if c.Ops[0] == "!=" || c.Ops[0] == "not in" {
		result = "True"
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Certain, At: c.Pos(), Scope: scopeOf(p, c),
		Message: fmt.Sprintf("%s is a `torch.dtype`, which equals no string: this comparison is always %s.", code(p.Tree.Text(left.Pos())), result),
		Because: []analysis.Reason{p.Reason(left.Pos(), fmt.Sprintf("%s is a torch.dtype", code(p.Tree.Text(left.Pos())))), p.Reason(c.Pos(), fmt.Sprintf("the other side is text, so this is always %s", result))},
		Fix:     &analysis.Fix{Title: "Compare with the dtype", Safety: analysis.Safe, Edits: edits},
	})
}

// isTorchDType reports whether an expression certainly is a torch.dtype.
func isTorchDType(p *analysis.Pass, x python.Expr) bool {
	v := p.Facts.Values[x]
	if v == nil || v.Kind != interp.KindDType || v.Maybe {
		return false
	}
	if at, ok := x.(*python.Attribute); ok && at.Sel == "dtype" {
		return isTensor(p.Facts.Values[at.X])
	}
	// A parameter that is declared a torch.dtype and compared with text is as
	// likely declared wrongly.
	if v.How == interp.HowKeep && len(v.From) == 1 {
		return isTensor(v.From[0]) // dtype = x.dtype
	}
	return false
}
