package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

var indexedWriteMixed = &analysis.Rule{
	Name:     "indexed-write-mixed",
	Severity: analysis.High,
	Doc: `A value of another dtype is written by index

x[mask] = v, x[[0, 1]] = v, index_put_, index_add_, index_copy_, scatter_ and
masked_scatter_ want a value of x's dtype. Autocast does not touch them: under
autocast a linear layer gives bfloat16 and the container is still float32.

Evidence: both dtypes are known (certain), or one is and the function shows that
the other varies (likely).

Fix: the value is cast to its container's dtype. A container that was created
without a dtype is mended where it is created (factory-without-dtype).

Silent for ints, slices and None as the index, which copy and cast; for Python
numbers and 0-dim values; for x[i] += v; and where the kind of index is unknown.
`,
	Run: func(p *analysis.Pass) {
		for _, c := range conflicts(p) {
			if c.cause != causeWrite {
				continue
			}
			d := exampleDType(p)
			to, value := c.keep, c.odd
			if len(c.op.Operands) > 0 && sameOperand(c.odd, c.op.Operands[0]) {
				to, value = c.odd, c.keep
			}
			toType, valueType := c.types()
			if sameOperand(to, c.odd) {
				toType, valueType = valueType, toType
			}
			message := fmt.Sprintf("%s %s, and %s %s. An indexed write does not cast. ", named(p, to), isWords(toType), named(p, value), isWords(valueType))
			if c.evidence == byProof || c.evidence == byContract {
				message += stops(&c, d, "here")
			} else {
				varies := value
				if closed(value.Value.DType) {
					varies = to
				}
				message += fmt.Sprintf("With %s in %s %s", named(p, varies), d, stops(&c, d, "here"))
			}
			p.Report(analysis.Finding{
				Confidence: c.confidence(), At: statement(c.op), Scope: scopeName(&c),
				Message: message, Because: because(p, &c), Fix: writeFix(p, &c), Ops: operations(&c),
			})
		}
	},
}

// writeFix casts the value, never the container.
func writeFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	if c.op.Kind == interp.OpIndexPut && len(c.op.Operands) > 0 && sameOperand(c.odd, c.op.Operands[0]) {
		swapped := *c
		swapped.keep, swapped.odd = c.odd, c.keep
		return castFix(p, &swapped)
	}
	return castFix(p, c)
}
