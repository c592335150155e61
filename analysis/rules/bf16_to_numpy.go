package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

var bf16ToNumPy = &analysis.Rule{
	Name:     "bf16-to-numpy",
	Severity: analysis.High,
	Doc: `A bfloat16 tensor is handed to NumPy

NumPy has no bfloat16: .numpy() on a bfloat16 tensor is an error. float16 has a
NumPy dtype and passes.

Evidence: the tensor is bfloat16 on every path (certain). That a project uses
bfloat16 somewhere is none.

Fix: .float() before .numpy(); every bfloat16 value is exact in float32.

Silent for every tensor whose dtype is not known to be bfloat16, and after
.float() or .to(torch.float32).
`,
	Run: func(p *analysis.Pass) {
		for _, op := range p.Facts.Ops {
			if op.Kind != interp.OpToNumPy || len(op.Operands) != 1 {
				continue
			}
			o := op.Operands[0]
			if d, ok := o.Value.DType.Exact(); !ok || d != dtype.BFloat16 || o.Expr == nil {
				continue
			}
			c := conflict{op: op, keep: o, odd: o, part: o.Value}
			reasons := story(p, o.Value, named(p, o))
			p.Report(analysis.Finding{
				Confidence: analysis.Certain, At: statement(op), Scope: scopeName(&c),
				Message: fmt.Sprintf("%s is bfloat16 and NumPy has no such type. PyTorch stops here: `Got unsupported ScalarType BFloat16`.", named(p, o)),
				Because: reasons,
				Fix:     &analysis.Fix{Title: "Convert to float32 first", Safety: analysis.Safe, Edits: castEdit(p, o.Expr, ".float()")},
				Ops:     operations(&c),
			})
		}
	},
}
