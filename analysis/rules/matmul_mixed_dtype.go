package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

var matmulMixedDType = &analysis.Rule{
	Name:     "matmul-mixed-dtype",
	Severity: analysis.High,
	Doc: `Two dtypes meet in an operation that wants one

Matrix products (matmul, @, bmm, einsum that sums an index), linear and
convolution layers, attention, lerp, cross and others do not promote: operands
of different dtypes are an error.

Evidence: both dtypes are known on every path (certain); one is known and the
other is that of a parameter or attribute, and the function shows that it varies
(likely); the other operands of the call are cast to one dtype and this one is
not (likely); or homogeneous points meet a matrix that is used as nothing else,
in code that uses half precision: a camera or a pose keeps float32 when the
points are half (likely). Where other files fix both dtypes (a data set fills the
key with float32, a script casts the model), likely as well.
w.to(x.device) in an operation with x is another sign:
the device was copied and the dtype forgotten (likely). A function of the file
that hands its parameters to such an operation wants one dtype of its arguments,
and so do the collectives of torch.distributed.

Fix: the operand that is not the activation is cast to the activation's dtype; a
module's input to its weight's. For projections a float32 form is shown as well,
because half precision moves pixels. Safe: in float32 nothing changes.

Silent inside an autocast region (but for float64, which autocast leaves alone),
for two values of unknown dtype, and for norms kept in float32.
`,
	Run: func(p *analysis.Pass) {
		all := conflicts(p)
		for _, c := range all {
			if c.cause != causeOther {
				continue
			}
			d := exampleDType(p)
			keep, odd := named(p, c.keep), named(p, c.odd)
			if c.op.Kind == interp.OpModule {
				module := written(c.op)
				if c.keep.Name == "weight" {
					keep = "the weight of " + module
				}
				if c.odd.Name == "weight" {
					odd = "the weight of " + module
				}
			}
			var message string
			switch c.evidence {
			case byProof:
				message = fmt.Sprintf("%s %s and %s %s. %s", capital(keep), isWords(c.keep.Value.DType), odd, isWords(c.odd.Value.DType), stops(&c, d, "here"))
			case bySibling:
				message = fmt.Sprintf("%s is cast to %s, %s is not: it keeps its own dtype. Where they differ, %s", capital(keep), knownWords(castType(&c)), odd, stops(&c, d, "here"))
			case byGeometry:
				message = geometryMessage(p, &c, d)
			case byContract:
				message = contractMessage(p, &c, keep, odd)
			default:
				message = rootMessage(p, &c, keep, odd, d)
			}
			fix := castFix(p, &c)
			at := statement(c.op)
			switch {
			case c.move != nil:
				fix = moveFix(p, &c)
			case c.casts != nil:
				at, fix = c.casts.Pos(), togetherFix(p, &c)
				where := fmt.Sprintf("at %s in line %d", written(c.op), p.Tree.Line(c.op.Node.Pos().Start))
				message = fmt.Sprintf("%s and the others are cast to %s here, %s is not: it keeps its own dtype. Where they differ, %s", keep, knownWords(castType(&c)), odd, stops(&c, d, where))
			}
			f := analysis.Finding{
				Confidence: c.confidence(), At: at, Scope: scopeName(&c),
				Message: message, Because: because(p, &c), Fix: fix, Ops: operations(&c),
			}
			switch c.evidence {
			case byGeometry:
				f.Forms = floatForm(p, &c, all)
			case byContract:
				f.Forms = productForm(p, &c)
			}
			p.Report(f)
		}
	},
}

// rootMessage is the message for a known dtype that meets one that varies.
func rootMessage(p *analysis.Pass, c *conflict, keep, odd string, d dtype.DType) string {
	switch {
	case c.move != nil:
		return moveMessage(p, c, d)
	case c.op.Kind == interp.OpModule && c.keep.Name == "weight":
		return fmt.Sprintf("%s %s; %s has the dtype that its model is cast to. In %s %s", odd, isWords(c.odd.Value.DType), written(c.op), d, stops(c, d, "here"))
	}
	return fmt.Sprintf("%s %s; %s has the dtype that it is given. With %s in %s %s", capital(odd), isWords(c.odd.Value.DType), keep, keep, d, stops(c, d, "here"))
}

func capital(s string) string {
	if len(s) > 3 && s[:4] == "the " {
		return "T" + s[1:]
	}
	return s
}

// geometryMessage is the message for points that meet a matrix.
func geometryMessage(p *analysis.Pass, c *conflict, d dtype.DType) string {
	keep, odd := named(p, c.keep), named(p, c.odd)
	m := fmt.Sprintf("%s is used as a matrix only, and nothing here gives it the dtype of %s. ", odd, keep)
	if c.keep.Value.DType.Promoted() {
		m += fmt.Sprintf("With a float32 matrix this line runs only because %s was widened to float32 on the way; once that is mended, PyTorch stops here.", keep)
	} else {
		m += fmt.Sprintf("A camera or a pose usually stays float32; with %s in %s %s", keep, d, stops(c, d, "here"))
	}
	return m + fmt.Sprintf("\n\nThe cast ends the crash and runs the product in %s, which moves projected pixels by about one. If they feed a loss, use the float32 form.", d)
}

// contractMessage is the message for dtypes that other files fix.
func contractMessage(p *analysis.Pass, c *conflict, keep, odd string) string {
	kept, other := c.types()
	d, _ := one(kept)
	m := fmt.Sprintf("%s is %s%s; %s is %s%s. %s", capital(keep), knownWords(kept), since(p, c.kept), odd, knownWords(other), since(p, c.other), stops(c, d, "here"))
	if c.op.Kind == interp.OpRefuses && d.Half() {
		m += fmt.Sprintf("\n\nThe cast ends the crash and computes in %s. If the values need more digits (a camera, positions, a loss), compute in float32.", d)
	}
	return m
}

// since names the place that fixes a dtype, " (`train.py:29`)", "" if it is the
// file's own business.
func since(p *analysis.Pass, s side) string {
	for _, r := range s.because {
		if r.Path != p.Path {
			return fmt.Sprintf(" (%s)", code(fmt.Sprintf("%s:%d", r.Path, r.Line)))
		}
	}
	return ""
}

// castType is the dtype that the siblings are cast to.
func castType(c *conflict) dtype.Type {
	for _, a := range c.keep.Value.DType.Alternatives() {
		if x, ok := a.Exact(); ok && castTo(c.keep.Value, x) {
			return a
		}
	}
	return c.keep.Value.DType
}
