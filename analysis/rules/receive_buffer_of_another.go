package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var receiveBufferOfAnother = &analysis.Rule{
	Name:     "receive-buffer-of-another",
	Severity: analysis.High,
	Doc: `A collective receives into buffers that have another tensor's dtype

all_gather and its kin want one dtype of what is sent and of what receives it.
Buffers made with dtype=loss.dtype receive rewards: where the loss is float32 and
the rewards are half, the collective stops, or the bytes are read as what they
are not.

Evidence: the buffers are made in the function with the dtype of one tensor, and
what is sent is another one, whose dtype does not come from the first (likely).

Fix: the dtype of what is sent.

Silent where what is sent was made from the tensor whose dtype the buffers have.
`,
	Run: func(p *analysis.Pass) {
		var all []otherBuffer
		for _, op := range p.Facts.Ops {
			if !strings.HasPrefix(op.Name, "torch.distributed.") || len(op.Operands) != 2 {
				continue
			}
			for i := range op.Operands {
				if b, ok := bufferOfAnother(p, op, op.Operands[i], op.Operands[1-i]); ok {
					all = append(all, b)
				}
			}
		}
		for len(all) > 0 {
			n := 1
			for n < len(all) && all[n].of == all[0].of && all[n].op.Scope == all[0].op.Scope && p.Tree.Line(all[n].dt.Start)-p.Tree.Line(all[0].dt.Start) < 10 {
				n++
			}
			reportBuffers(p, all[:n])
			all = all[n:]
		}
	},
}

// An otherBuffer is a receive buffer that has the dtype of another tensor.
type otherBuffer struct {
	op       *interp.Op
	made     *python.Call
	dt       *python.Attribute // of.dtype, as it is written
	of, sent string
}

// bufferOfAnother compares what receives with what is sent.
func bufferOfAnother(p *analysis.Pass, op *interp.Op, into, sent interp.Operand) (otherBuffer, bool) {
	m := source(into.Value).Make
	if m == nil || m.Scope != op.Scope || source(into.Value).How != interp.HowCreate {
		return otherBuffer{}, false
	}
	dt, ok := argument(m.Call, "dtype").(*python.Attribute)
	if !ok || dt.Sel != "dtype" {
		return otherBuffer{}, false
	}
	of, ok := path(dt.X)
	name, isPath := path(sent.Expr)
	theirs, one := sent.Value.DType.Root()
	its, known := into.Value.DType.Root()
	if !ok || !isPath || !one || !known || its == theirs || of == name || madeFrom(sent.Value, of, 0) {
		return otherBuffer{}, false
	}
	return otherBuffer{op, m.Call, dt, of, name}, true
}

// reportBuffers makes one finding of buffers that stand together.
func reportBuffers(p *analysis.Pass, all []otherBuffer) {
	var sent []string
	var because []analysis.Reason
	fix := &analysis.Fix{Title: "Give them the dtype of what is sent", Safety: analysis.Safe}
	span := python.Span{Start: all[0].made.Start, End: all[len(all)-1].made.End}
	var ops []python.Span
	for _, b := range all {
		sent = append(sent, code(b.sent))
		ops = append(ops, b.op.Node.Pos())
		because = append(because, p.Reason(b.made.Pos(), fmt.Sprintf("made with the dtype of %s", code(b.of))), p.Reason(b.op.Node.Pos(), fmt.Sprintf("%s is sent", code(b.sent))))
		fix.Edits = append(fix.Edits, analysis.Edit{Span: b.dt.Pos(), New: b.sent + ".dtype"})
	}
	has := "which has a dtype of its own"
	if len(sent) > 1 {
		has = "which have dtypes of their own"
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: span, Scope: scopeOf(p, all[0].made), Ops: ops,
		Message: fmt.Sprintf("The buffers have the dtype of %s and receive %s, %s. %s wants one dtype of both: where they differ, PyTorch stops.", code(all[0].of), list(sent), has, written(all[0].op)),
		Because: because, Fix: fix,
	})
}

// madeFrom reports whether a name is read where a value comes from.
func madeFrom(v *interp.Value, name string, depth int) bool {
	if v == nil || depth > 12 {
		return false
	}
	first, _, _ := strings.Cut(name, ".")
	if x := exprOf(v.At); x != nil && reads(x, first) {
		return true
	}
	for _, from := range v.From {
		if madeFrom(from, name, depth+1) {
			return true
		}
	}
	return false
}
