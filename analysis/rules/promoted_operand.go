package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
)

var promotedOperand = &analysis.Rule{
	Name:     "promoted-operand",
	Severity: analysis.Medium,
	Doc: `A promotion widens a tensor on its way to an operation that wants one dtype

cat, stack, where and arithmetic of bfloat16 with a float32 tensor of one or more
dimensions give float32 without a word. The error comes later, where the result
meets a tensor that kept its dtype.

Evidence: the promotion's result reaches an operation that refuses the mix, and
both dtypes are known (certain) or the function shows that the narrow one varies
(likely). A promotion that reaches no such operation is no comment.

Fix: the wide operand is cast where the promotion happens, not the result.

Silent for Python numbers and 0-dim tensors, which do not widen a tensor; for
in-place operations, which keep the dtype; for results that are cast; and where
what it meets goes into a solver, which takes no half precision.
`,
	Run: func(p *analysis.Pass) {
		for _, c := range conflicts(p) {
			if c.cause != causePromoted {
				continue
			}
			d := exampleDType(p)
			keep, odd := named(p, c.keep), named(p, c.odd)
			widened := []string{odd}
			for _, o := range alsoOdd(&c) {
				widened = append(widened, named(p, o))
			}
			has, is := "has", "it is"
			if len(widened) > 1 {
				has, is = "have", "they are"
			}
			message := fmt.Sprintf("%s %s been widened: a %s tensor was mixed in on the way, so with %s in %s %s %s. %s",
				list(widened), has, knownWords(c.part.DType), keep, d, is, wide(c.odd.Value.DType, d), stops(&c, d, "here"))
			p.Report(analysis.Finding{
				Confidence: c.confidence(), At: statement(c.op), Scope: scopeName(&c),
				Message: message, Because: because(p, &c), Fix: promotedFix(p, &c), Ops: operations(&c),
			})
		}
	},
}
