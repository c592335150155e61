package rules

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var promisedCast = &analysis.Rule{
	Name:     "promised-cast",
	Severity: analysis.Medium,
	Doc: `A comment says that a value is cast to float32, and the code moves it only

The comment above a move to the CPU or to a device tells of a cast to float32,
for NumPy or for what has no half precision, and neither the move nor the lines
below it cast.

Evidence: the comment states a cast to float32, the statement right below it
changes the device alone, and no statement of its paragraph casts (likely).

Fix: .float() behind the move.

Silent for values that are float32 anyway, for comments that ask, doubt or deny,
and where anything in the paragraph mentions a dtype.
`,
	Run: func(p *analysis.Pass) {
		for _, c := range p.Tree.Comments {
			if c.Own && promises(c.Text) {
				promised(p, c)
			}
		}
	},
}

// promise matches what states a cast, hedge what takes it back.
var (
	promise = regexp.MustCompile(`(?i)\b(always |we )?(cast|upcast|convert)(s|ed)? (\w+ ){0,2}to (float32|fp32)\b`)
	hedge   = regexp.MustCompile(`(?i)\b(not|no|never|don't|doesn't|avoid|without|instead|should|todo|fixme|if|when|unless|already|may|might|can|could|would|back|why|was|were)\b|\?`)
)

func promises(text string) bool {
	at := promise.FindStringIndex(text)
	return at != nil && !hedge.MatchString(text[:at[1]])
}

// promised looks at the statements below a comment.
func promised(p *analysis.Pass, c python.Comment) {
	line := p.Tree.Line(c.Start) + 1
	for line <= p.Tree.LineCount() && strings.HasPrefix(strings.TrimSpace(p.Tree.Text(p.Tree.LineSpan(line))), "#") {
		line++
	}
	if line > p.Tree.LineCount() {
		return
	}
	span := p.Tree.LineSpan(line)
	text := p.Tree.Text(span)
	at := span.Start + uint32(len(text)-len(strings.TrimLeft(text, " \t")))
	a, ok := p.Tree.StmtAt(at).(*python.Assign)
	if !ok || p.Tree.Line(a.Start) != line || len(a.Targets) != 1 || a.Value == nil {
		return
	}
	call, ok := a.Value.(*python.Call)
	if !ok || !movesOnly(p, call) || paragraphCasts(p, line) {
		return
	}
	recv := call.Func.(*python.Attribute).X
	v := p.Facts.Values[recv]
	if v != nil && v.Kind == interp.KindTensor {
		if d, exact := v.DType.Exact(); exact && !d.Half() || v.DType.IsDefault() {
			return
		}
	}
	name := code(p.Tree.Text(recv.Pos()))
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("The comment above says that %s is cast to float32, and this moves it only: it keeps its dtype, and NumPy has no bfloat16.", name),
		Because: []analysis.Reason{p.Reason(c.Pos(), "says that it is cast"), p.Reason(call.Pos(), "changes the device alone")},
		Fix:     &analysis.Fix{Title: "Cast as the comment says", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(call.End, ".float()")}},
	})
}

// movesOnly reports whether a call is X.cpu(), X.cuda() or X.to(device).
func movesOnly(p *analysis.Pass, call *python.Call) bool {
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return false
	}
	switch at.Sel {
	case "cpu", "cuda":
		return len(call.Args) == 0
	case "to":
		if len(call.Args) != 1 {
			return false
		}
		text, isPath := path(call.Args[0].Value)
		return isPath && strings.HasSuffix(text, "device")
	}
	return false
}

// paragraphCasts reports whether a line or one of those below it, up to the
// next blank one, says anything of a dtype.
func paragraphCasts(p *analysis.Pass, line int) bool {
	for ; line <= p.Tree.LineCount(); line++ {
		text := p.Tree.Text(p.Tree.LineSpan(line))
		if strings.TrimSpace(text) == "" {
			return false
		}
		for _, w := range []string{"float", "dtype", "type", "half", "32", "double"} {
			if strings.Contains(text, w) {
				return true
			}
		}
	}
	return false
}
