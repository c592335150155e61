package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
)

var numpyFloat64Leak = &analysis.Rule{
	Name:     "numpy-float64-leak",
	Severity: analysis.High,
	Doc: `NumPy's float64 default reaches an operation that wants another dtype

NumPy makes float64 of Python floats, np.zeros, np.eye, np.linspace, uint8 / 255
and np.vstack of a float32 array with a list. torch.from_numpy, torch.tensor and
torch.as_tensor keep that, and matrix products, layers and indexed writes then
refuse it beside float32 or half tensors. Autocast leaves float64 alone.

Evidence: the array is float64 on every path and the other operand's dtype is
known (certain). Against a parameter of unknown dtype it is only listed.

Fix: the tensor is cast to the other operand's dtype where they meet.

Silent for arrays whose dtype is given or follows a float32 array, and for
float64 tensors that meet only their like.
`,
	Run: func(p *analysis.Pass) {
		for _, c := range conflicts(p) {
			if c.cause != causeNumPy {
				continue
			}
			confidence := c.confidence()
			if c.evidence != byProof && c.evidence != byContract {
				confidence = analysis.Possible
			}
			d := exampleDType(p)
			keep, odd := named(p, c.keep), named(p, c.odd)
			message := fmt.Sprintf("%s is float64: that is NumPy's default, and %s keeps it. %s is %s. %s",
				odd, code(leak(&c)), keep, knownWords(c.keep.Value.DType), stops(&c, d, "here"))
			p.Report(analysis.Finding{
				Confidence: confidence, At: statement(c.op), Scope: scopeName(&c),
				Message: message, Because: because(p, &c), Fix: writeFix(p, &c), Ops: operations(&c),
			})
		}
	},
}

// leak names the function through which the array became a tensor.
func leak(c *conflict) string {
	v := c.part
	for i := 0; i < 40 && v != nil; i++ {
		if v.Make != nil && v.Op == v.Make.Name {
			return v.Op
		}
		if len(v.From) == 0 {
			break
		}
		v = v.From[0]
	}
	return "torch.from_numpy"
}
