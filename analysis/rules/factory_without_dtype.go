package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
)

var factoryWithoutDType = &analysis.Rule{
	Name:     "factory-without-dtype",
	Severity: analysis.High,
	Doc: `A tensor is created without a dtype and meets one of another dtype

torch.zeros, torch.ones, torch.tensor([1.0]) and their relatives give the
default dtype, float32, unless dtype= says otherwise. When such a tensor meets a
bfloat16, float16 or float64 tensor in an operation that refuses the mix (a
matrix product, a convolution, an indexed write), directly or after a cat or an
addition has widened the result, PyTorch stops. In a cat, a where or arithmetic
nothing stops, and a bfloat16 computation goes on in float32.

Evidence: both dtypes are known (certain), or one is the dtype of a parameter or
attribute and the function shows that it varies: the device is copied from that
tensor and the dtype is not, another dtype is propagated in the function, or
half precision is named in it (likely). Without such a sign it is only listed.
A tensor that only widens a result has to be made for the one that it meets:
with its device, or with its shape in a class or function that follows dtypes.
A function of the file that makes the tensor is looked through.

Fix: dtype= of the tensor that it meets, and device= where that is missing too.
Random numbers, tables and torch.eye are cast after the call instead: the values
stay the same, and torch.eye refuses bfloat16 in PyTorch 1.13. Where a logarithm or
a decomposition stands in between, the cast comes behind it. Safe: in float32
nothing changes.

Silent when the tensor never reaches such an operation, is 0-dim where only
promotion happens, follows the other tensor (zeros_like, new_zeros, type_as),
meets it inside an autocast region, widens a loss, or widens what is cast after or
added in place; beside what a plain function of another file gives; and for ids,
which count.
`,
	Run: func(p *analysis.Pass) {
		for _, c := range careless(p) {
			d := exampleDType(p)
			if k, ok := c.keep.Value.DType.Exact(); ok {
				d = k
			}
			if k, ok := one(c.kept.t); ok {
				d = k
			}
			fix, like := factoryFix(p, &c)
			keep := named(p, c.keep)
			if like != "" {
				keep = code(like)
			}
			what := code(c.make.Name)
			if n := createdName(p, &c); n != "" {
				what = code(n)
			}
			message := fmt.Sprintf("%s is created without a dtype, so it is float32 whatever dtype %s has.", what, keep)
			if copiesDevice(c.make, &c) {
				message = fmt.Sprintf("%s takes the device of %s but not its dtype: it is float32.", what, keep)
			}
			if _, exact := c.keep.Value.DType.Exact(); exact {
				message = fmt.Sprintf("%s is created without a dtype, so it is float32; %s is %s.", what, named(p, c.keep), d)
			}
			line := p.Tree.Line(c.op.Node.Pos().Start)
			where := fmt.Sprintf("at %s in line %d", written(c.op), line)
			if c.promotes {
				where = fmt.Sprintf("%s in line %d", written(c.op), line)
			}
			if p.Tree.Line(c.make.Call.Start) == line {
				where = "here"
				if c.promotes {
					where = written(c.op)
				}
			}
			message += "\n\n"
			switch {
			case c.promotes && c.op.Name == "":
				message += fmt.Sprintf("With %s in %s, %s has float32 to mix with it: the result is float32, or an error behind it.", keep, d, where)
			case c.promotes:
				given := d.String()
				if strings.Contains(strings.ToLower(keep), "mask") {
					given = "int64, as tokenizers make masks, or in " + given
				}
				message += fmt.Sprintf("With %s in %s, %s gives %s: no error here, but the result no longer has the dtype of %s.", keep, given, where, wide(c.op.Result.DType, d), keep)
			case c.evidence == byProof:
				message += stops(&c, d, where)
			case c.odd.Value.DType.Promoted():
				message += fmt.Sprintf("With %s in %s the mix is widened to %s on the way, and %s", keep, d, wide(c.odd.Value.DType, d), stops(&c, d, where))
			default:
				message += fmt.Sprintf("With %s in %s %s", keep, d, stops(&c, d, where))
			}
			p.Report(analysis.Finding{
				Confidence: c.confidence(), At: statementOf(p, c.make.Call), Scope: scopeName(&c),
				Message: message, Because: because(p, &c), Fix: fix, Ops: operations(&c),
			})
		}
	},
}

// careless lists one conflict for each factory call: one that stops before one
// that only promotes, then the surest.
func careless(p *analysis.Pass) []conflict {
	var out []conflict
	for _, c := range conflicts(p) {
		if c.cause != causeFactory {
			continue
		}
		at := slices.IndexFunc(out, func(o conflict) bool { return o.make == c.make })
		switch {
		case at < 0:
			out = append(out, c)
		case c.confidence().Rank() > out[at].confidence().Rank(), c.confidence() == out[at].confidence() && !c.promotes && out[at].promotes:
			out[at] = c
		}
	}
	return out
}

// createdName is the name that the created tensor is assigned to.
func createdName(p *analysis.Pass, c *conflict) string {
	for _, a := range p.Facts.Assigned {
		if a.Value.Make == c.make && origin(a.Value).At == c.make.Call {
			return a.Name
		}
	}
	return ""
}

// wide is the dtype of a promoted type when the roots are d.
func wide(t dtype.Type, d dtype.DType) string {
	if w := in(t, d); w != dtype.None {
		return w.String()
	}
	return "float32"
}

func scopeName(c *conflict) string {
	if c.op.Scope == nil {
		return ""
	}
	return c.op.Scope.Name
}
