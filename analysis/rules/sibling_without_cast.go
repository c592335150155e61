package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var siblingWithoutCast = &analysis.Rule{
	Name:     "sibling-without-cast",
	Severity: analysis.Medium,
	Doc: `One of two is cast, the other is not

One arm of an if casts a table to the dtype of the tensor that it meets, the
other arm does not; of two statistics of one layer only the mean is cast; one
of two equal products casts its weight; what one module gives is cast before a
second one takes it, and not before a third; one arm makes coefficients in the
dtype of the tensor that they meet, the other in the default one; of two
parameters that a module stores in a dtype it is given, one is cast to the
activation's. Whoever wrote the cast knew that the
dtypes differ. Without it the product stops, or the sum is silently float32.

Evidence: the cast of the twin, to exactly the dtype of what both meet, and that
this value is known not to have that dtype; that both come from one module and go into
others; or that the arm without a dtype computes from numbers alone (likely).

Fix: the cast of the twin. Safe: in float32 nothing changes.

Silent when the condition is about dtypes, precision or the device, for losses,
for two values of which nothing is known to differ, and inside autocast.
`,
	Run: func(p *analysis.Pass) {
		seen := map[python.Span]bool{}
		for _, t := range twins(p) {
			span := statementOf(p, t.at)
			if seen[span] {
				continue
			}
			seen[span] = true
			p.Report(t.finding(p, span))
		}
		producerTwins(p)
		parameterTwins(p)
		for _, t := range madeTwins(p) {
			p.Report(t.finding(p))
		}
	},
}

func (t *twin) finding(p *analysis.Pass, span python.Span) analysis.Finding {
	d := exampleDType(p)
	keep := named(p, t.keep)
	c := &conflict{op: t.op, keep: t.keep, odd: t.odd, part: t.odd.Value, evidence: bySibling, promotes: t.op.Kind == interp.OpPromotes}
	line, here := p.Tree.Line(t.op.Node.Pos().Start), p.Tree.Line(span.Start)
	where := fmt.Sprintf("at %s in line %d", written(t.op), line)
	if line == here {
		where = "here"
	}
	message := fmt.Sprintf("%s (line %d), this one is not: %s keeps a dtype of its own.\n\n", t.like, p.Tree.Line(t.cast.Start), code(p.Tree.Text(t.at.Pos())))
	if c.promotes {
		message += fmt.Sprintf("With %s in %s the result of %s is widened %s and no longer has the dtype of %s.", keep, d, written(t.op), where, keep)
	} else {
		message += fmt.Sprintf("Where it is not the dtype of %s, %s", keep, stops(c, d, where))
	}
	because := []analysis.Reason{p.Reason(t.cast.Pos(), "its twin is cast here: "+code(p.Tree.Text(t.cast.Pos())))}
	because = append(because, story(p, t.odd.Value, named(p, t.odd))...)
	because = append(because, p.Reason(t.op.Node.Pos(), fmt.Sprintf("both meet %s, in %s", keep, written(t.op))))
	return analysis.Finding{
		Confidence: c.confidence(), At: span, Scope: scopeName(c), Message: capital(message), Because: because, Ops: operations(c),
		Fix: &analysis.Fix{Title: "Cast it as its twin", Safety: analysis.Safe, Edits: castEdit(p, t.at, t.to)},
	}
}
