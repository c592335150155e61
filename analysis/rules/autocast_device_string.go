package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var autocastDeviceString = &analysis.Rule{
	Name:     "autocast-device-string",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `autocast is given a device where it wants a device type

torch.autocast takes "cuda" or "cpu". It refuses "cuda:0", and a torch.device
too: User specified autocast device_type must be 'cuda' or 'cpu' (1.13). A text
made of a device works on the CPU and stops on the first GPU, where it is
"cuda:0".

Evidence: a literal with a colon or a value that is a torch.device (certain), or
str() of a torch.device (likely).

Fix: the device's type.

Silent for names of which nothing is known, which usually hold "cuda", and for
torch.cuda.amp.autocast, which takes no device.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, s python.Stmt, around []python.Node) {
			switch library(p, call.Func) {
			case "torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast":
			default:
				return
			}
			x := argument(call, "device_type")
			if x == nil && len(call.Args) > 0 && call.Args[0].Name == "" && call.Args[0].Star == 0 {
				x = call.Args[0].Value
			}
			if x != nil && !probed(p, around) {
				deviceType(p, call, x)
			}
		})
	},
}

// deviceType reports an argument that is no device type.
func deviceType(p *analysis.Pass, call *python.Call, x python.Expr) {
	f := analysis.Finding{Confidence: analysis.Certain, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()}}
	text := p.Tree.Text(x.Pos())
	var edit analysis.Edit
	switch {
	case isDevice(p, x):
		f.Message = fmt.Sprintf("%s is a torch.device, and autocast wants the type of one. PyTorch stops here: `User specified autocast device_type must be 'cuda' or 'cpu'`.", code(text))
		edit = insertAt(x.Pos().End, ".type")
	case numbered(x):
		f.Message = fmt.Sprintf("autocast wants the type of a device, without a number. PyTorch stops at %s: `User specified autocast device_type must be 'cuda' or 'cpu'`.", code(text))
		edit = analysis.Edit{Span: x.Pos(), New: text[:1] + strings.SplitN(text[1:], ":", 2)[0] + text[:1]}
	case asText(p, x) != nil:
		inner := asText(p, x)
		f.Confidence = analysis.Likely
		f.Message = fmt.Sprintf("On a GPU %s is \"cuda:0\", and autocast wants \"cuda\". PyTorch stops there: `User specified autocast device_type must be 'cuda' or 'cpu'`.", code(text))
		edit = analysis.Edit{Span: x.Pos(), New: p.Tree.Text(inner.Pos()) + ".type"}
	default:
		return
	}
	f.Because = []analysis.Reason{p.Reason(x.Pos(), "stands where a device type is wanted")}
	f.Fix = &analysis.Fix{Title: "Pass the device's type", Safety: analysis.Safe, Edits: []analysis.Edit{edit}}
	p.Report(f)
}

// isDevice reports whether an expression certainly is a torch.device: a call of
// it, a tensor's .device, or a name of either.
func isDevice(p *analysis.Pass, x python.Expr) bool {
	v := p.Facts.Values[x]
	if v == nil || v.Kind != interp.KindDevice || v.Maybe {
		return false
	}
	if call, ok := v.At.(*python.Call); ok {
		return library(p, call.Func) == "torch.device"
	}
	return len(v.From) == 1 && isTensor(v.From[0])
}

// numbered reports whether an expression is a text such as "cuda:0".
func numbered(x python.Expr) bool {
	s, ok := x.(*python.Str)
	return ok && len(s.Interp) == 0 && (strings.HasPrefix(s.Value, "cuda:") || strings.HasPrefix(s.Value, "cpu:"))
}

// asText is the device that an expression makes a text of, nil if it makes none.
func asText(p *analysis.Pass, x python.Expr) python.Expr {
	call, ok := x.(*python.Call)
	if !ok || len(call.Args) != 1 || call.Args[0].Name != "" || !isName(call.Func, "str") {
		return nil
	}
	if inner := call.Args[0].Value; isDevice(p, inner) {
		return inner
	}
	return nil
}
