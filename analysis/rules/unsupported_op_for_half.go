package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var unsupportedOpForHalf = &analysis.Rule{
	Name:     "unsupported-op-for-half",
	Severity: analysis.Medium,
	Preview:  true, // seen in no project yet
	Doc: `Linear algebra on a half tensor

torch.linalg has no half precision on any device: inv, solve, det, svd, qr,
eigh, cholesky, pinv and their relatives refuse bfloat16 and float16.

Evidence: the tensor is half on every path (certain).

Fix: the tensor is cast to float32 for the operation and its result back to the
tensor's dtype. Where the operation gives several tensors only the input is
cast. What was rounded before stays rounded: a camera matrix is better inverted
before it is made half.

Silent for tensors whose dtype is not known, and inside autocast, which casts
some of them on the CPU.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) || probed(p, around) || autocast(p, around) {
				return
			}
			own(s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok {
					algebra(p, call)
				}
			})
		})
	},
}

// linearAlgebra are the operations that refuse half precision on every device:
// inv, slogdet and pinv check for it, the others have no kernel, neither in
// LAPACK nor in cuSOLVER. True are those whose result is one tensor.
var linearAlgebra = map[string]bool{
	"inv": true, "det": true, "solve": true, "cholesky": true, "pinv": true, "eigvalsh": true, "svdvals": true,
	"svd": false, "qr": false, "eigh": false, "eig": false, "slogdet": false, "lstsq": false,
}

// legacyAlgebra are the same under their older names, as methods too.
var legacyAlgebra = map[string]string{
	"inverse": "inv", "det": "det", "cholesky": "cholesky", "pinverse": "pinv", "svd": "svd", "qr": "qr", "slogdet": "slogdet",
}

// autocast reports whether autocast surrounds a statement, by with or by a
// decorator. What a region switches off counts as one too.
func autocast(p *analysis.Pass, around []python.Node) bool {
	for _, n := range around {
		switch n := n.(type) {
		case *python.With:
			for _, it := range n.Items {
				if strings.Contains(p.Tree.Text(it.Context.Pos()), "autocast") {
					return true
				}
			}
		case *python.FuncDef:
			for _, d := range n.Decorators {
				if text := p.Tree.Text(d.Pos()); strings.Contains(text, "autocast") || strings.Contains(text, "custom_") {
					return true
				}
			}
		}
	}
	return false
}

func algebra(p *analysis.Pass, call *python.Call) {
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return
	}
	name, tensor := "", at.X
	if v := p.Facts.Values[at.X]; v != nil && v.Kind == interp.KindLibrary {
		switch {
		case v.Name == "torch.linalg":
			name = at.Sel
		case v.Name == "torch":
			name = legacyAlgebra[at.Sel]
		}
		if len(call.Args) == 0 || call.Args[0].Star > 0 || call.Args[0].Name != "" {
			return
		}
		tensor = call.Args[0].Value
	} else {
		name = legacyAlgebra[at.Sel]
	}
	single, known := linearAlgebra[name]
	v := p.Facts.Values[tensor]
	d, half := halfExact(v)
	if !known || !half {
		return
	}
	b := base(tensor)
	ref := "torch." + d.String()
	if text, isPath := path(b); isPath {
		ref = text + ".dtype"
	}
	fix := &analysis.Fix{Title: "Compute it in float32", Safety: analysis.Unsafe, Edits: castEdit(p, tensor, ".float()")}
	if single {
		fix.Safety = analysis.Safe
		fix.Edits = append(fix.Edits, insertAt(call.Pos().End, ".to("+ref+")"))
	}
	if name == "solve" || name == "lstsq" { // the right-hand side must be float32 too
		if len(call.Args) != 2 || call.Args[1].Name != "" || call.Args[1].Star > 0 {
			fix = nil
		} else {
			fix.Edits = append(fix.Edits, castEdit(p, call.Args[1].Value, ".float()")...)
		}
	}
	text := code(p.Tree.Text(b.Pos()))
	p.Report(analysis.Finding{
		Confidence: analysis.Certain, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s is %s, and %s takes neither bfloat16 nor float16, on any device: PyTorch stops here.", text, d, code(p.Tree.Text(call.Func.Pos()))),
		Because: append(story(p, v, text), p.Reason(call.Pos(), fmt.Sprintf("%s wants float32 or float64", code(p.Tree.Text(call.Func.Pos()))))),
		Fix:     fix,
	})
}
