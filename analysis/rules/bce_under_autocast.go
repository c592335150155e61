package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var bceUnderAutocast = &analysis.Rule{
	Name:     "bce-under-autocast",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `binary_cross_entropy is called under autocast on CUDA

A sigmoid in half precision is exactly 1 from 9 on, and the logarithm of what is
left over is -inf. PyTorch therefore refuses binary_cross_entropy and BCELoss
under autocast on CUDA: they "are unsafe to autocast".

Evidence: the call stands in a with of torch.autocast for "cuda", or of
torch.cuda.amp.autocast, that nothing switches off (certain).

Fix: binary_cross_entropy_with_logits of what goes into the sigmoid, where the
sigmoid stands in the call. Elsewhere the loss is computed without autocast, in
float32.

Silent for the forms with logits, outside autocast, where enabled= is given, in a
region that is switched off inside, and for the CPU, where autocast casts it to
float32.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
			if isBCE(p, call) && underCUDAAutocast(p, around) && !probed(p, around) {
				reportBCE(p, call)
			}
		})
	},
}

// isBCE reports a call of the loss on probabilities.
func isBCE(p *analysis.Pass, call *python.Call) bool {
	if len(call.Args) < 2 || call.Args[0].Name != "" || call.Args[1].Name != "" {
		return false
	}
	v := p.Facts.Values[call.Func]
	return library(p, call.Func) == "torch.nn.functional.binary_cross_entropy" || v != nil && v.Kind == interp.KindModule && v.Name == "torch.nn.BCELoss" && !v.Maybe
}

// underCUDAAutocast reports whether the innermost autocast around a statement is
// one of CUDA that is certainly on.
func underCUDAAutocast(p *analysis.Pass, around []python.Node) bool {
	for i := len(around) - 1; i >= 0; i-- {
		switch n := around[i].(type) {
		case *python.FuncDef:
			return false
		case *python.With:
			for _, it := range n.Items {
				if strings.Contains(strings.ToLower(p.Tree.Text(it.Context.Pos())), "autocast") {
					return cudaAutocast(p, it.Context)
				}
			}
		}
	}
	return false
}

// cudaAutocast reports a call that opens a region on CUDA, without enabled=.
func cudaAutocast(p *analysis.Pass, x python.Expr) bool {
	call, ok := x.(*python.Call)
	if !ok || argument(call, "enabled") != nil {
		return false
	}
	switch library(p, call.Func) {
	case "torch.cuda.amp.autocast", "torch.cuda.amp.autocast_mode.autocast":
		return len(call.Args) == 0 || call.Args[0].Name != "" // the first one is enabled
	case "torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast":
		device := argument(call, "device_type")
		if device == nil && len(call.Args) > 0 && call.Args[0].Name == "" {
			device = call.Args[0].Value
		}
		text, isText := device.(*python.Str)
		return isText && text.Value == "cuda"
	}
	return false
}

func reportBCE(p *analysis.Pass, call *python.Call) {
	name := p.Tree.Text(call.Func.Pos())
	p.Report(analysis.Finding{
		Confidence: analysis.Certain, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("PyTorch refuses %s under autocast on CUDA: `torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.` The form with logits is allowed.", code(name)),
		Because: []analysis.Reason{p.Reason(call.Pos(), "takes probabilities, under autocast")},
		Fix:     logitsFix(p, call),
		Forms:   withoutAutocast(p, call),
	})
}

// logitsFix takes the logits, if the sigmoid stands in the call of the function.
func logitsFix(p *analysis.Pass, call *python.Call) *analysis.Fix {
	if library(p, call.Func) == "" {
		return nil // a module
	}
	sigmoid, ok := call.Args[0].Value.(*python.Call)
	if !ok {
		return nil
	}
	var logits python.Expr
	switch library(p, sigmoid.Func) {
	case "torch.sigmoid", "torch.nn.functional.sigmoid":
		if len(sigmoid.Args) == 1 && sigmoid.Args[0].Star == 0 {
			logits = sigmoid.Args[0].Value
		}
	case "":
		if at, isMethod := sigmoid.Func.(*python.Attribute); isMethod && at.Sel == "sigmoid" && len(sigmoid.Args) == 0 {
			logits = at.X
		}
	}
	if logits == nil {
		return nil
	}
	return &analysis.Fix{Title: "Take the logits", Safety: analysis.Unsafe, Edits: []analysis.Edit{
		insertAt(call.Func.Pos().End, "_with_logits"),
		{Span: sigmoid.Pos(), New: p.Tree.Text(logits.Pos())},
	}}
}

// withoutAutocast shows the line of a call outside autocast, in float32.
func withoutAutocast(p *analysis.Pass, call *python.Call) []analysis.Form {
	first, last := p.Tree.Lines(statementOf(p, call))
	if first != last {
		return nil
	}
	span := p.Tree.LineSpan(first)
	line := strings.TrimRight(p.Tree.Text(span), "\r\n")
	for _, i := range []int{1, 0} {
		x := call.Args[i].Value
		if python.NeedsParens(p.Tree, x) {
			return nil
		}
		at := x.Pos().End - span.Start
		line = line[:at] + ".float()" + line[at:]
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	return []analysis.Form{{Title: "Without autocast", First: first, Last: last, Lines: []string{
		indent + `with torch.autocast("cuda", enabled=False):`, "    " + line,
	}}}
}
