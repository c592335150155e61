package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var kernelBufferOfFixedType = &analysis.Rule{
	Name:     "kernel-buffer-of-fixed-type",
	Severity: analysis.Medium,
	Doc: `The output of a kernel is a FloatTensor, whatever the input is

A custom kernel writes into a tensor that Python makes for it. FloatTensor is
float32; the kernel goes by the input's dtype, and with a half or float64 input
it stops, or reads memory as what it is not.

Evidence: in the forward of an autograd Function the sizes of FloatTensor are
those of an input, and one call that is not PyTorch's takes both (likely).

Fix: input.new_empty with the same sizes.

Silent where the sizes come from elsewhere, where the input is cast, and for
buffers that are filled with a number after they are made, which are often
distances that the kernel keeps in float32.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, around []python.Node) {
			class, method := classAround(append(around[:len(around):len(around)], d))
			if class != nil && method == d && d.Name == "forward" && autogradFunction(p, class) {
				buffers(p, d)
			}
		})
	},
}

// buffers looks at the tensors that a forward makes for a kernel.
func buffers(p *analysis.Pass, d *python.FuncDef) {
	sizes := sizesOf(d)
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Value == nil || boundName(a) == "" {
			return
		}
		made := floatTensor(p, a.Value)
		if made == nil {
			return
		}
		for _, arg := range made.Args {
			n, isName := arg.Value.(*python.Name)
			if !isName || sizes[n.ID] == "" || integerName(sizes[n.ID]) {
				continue
			}
			input := sizes[n.ID]
			kernel := takesBoth(p, d, boundName(a), input)
			if kernel == nil || castsBefore(p, d, input) {
				continue
			}
			args := p.Tree.Text(python.Span{Start: made.Lparen + 1, End: made.Rparen})
			p.Report(analysis.Finding{
				Confidence: analysis.Likely, At: a.Pos(), Scope: scopeOf(p, a), Ops: []python.Span{made.Pos()},
				Message: fmt.Sprintf("%s is float32 whatever %s is, and %s takes both: with a half or float64 %s the kernel meets two dtypes.",
					code(boundName(a)), code(input), code(p.Tree.Text(kernel.Func.Pos())), code(input)),
				Because: []analysis.Reason{p.Reason(made.Pos(), fmt.Sprintf("has the sizes of %s and not its dtype", code(input))), p.Reason(kernel.Pos(), "takes both")},
				Fix:     &analysis.Fix{Title: "Make it like the input", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: a.Value.Pos(), New: input + ".new_empty(" + args + ")"}}},
			})
			return
		}
	})
}

// sizesOf maps the names that a function unpacks sizes into to the parameter
// that they are of.
func sizesOf(d *python.FuncDef) map[string]string {
	out := map[string]string{}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 {
			return
		}
		seq, isSeq := a.Targets[0].(*python.Seq)
		x := a.Value
		if call, isCall := x.(*python.Call); isCall && len(call.Args) == 0 {
			x = call.Func
		}
		at, isAttr := x.(*python.Attribute)
		if !isSeq || !isAttr || at.Sel != "size" && at.Sel != "shape" {
			return
		}
		n, isName := at.X.(*python.Name)
		if !isName || !hasParam(d, n.ID) {
			return
		}
		for _, t := range seq.Xs {
			if size, plain := t.(*python.Name); plain && size.ID != "_" && out[size.ID] == "" {
				out[size.ID] = n.ID
			}
		}
	})
	return out
}

// floatTensor is a call of FloatTensor with sizes, possibly moved to a device.
func floatTensor(p *analysis.Pass, x python.Expr) *python.Call {
	call, ok := x.(*python.Call)
	if !ok {
		return nil
	}
	if at, isMethod := call.Func.(*python.Attribute); isMethod && (at.Sel == "to" || at.Sel == "cuda") {
		return floatTensor(p, at.X)
	}
	name := library(p, call.Func)
	if name != "torch.FloatTensor" && name != "torch.cuda.FloatTensor" || len(call.Args) == 0 {
		return nil
	}
	for _, a := range call.Args {
		if _, isSeq := a.Value.(*python.Seq); isSeq || a.Star > 0 || a.Name != "" {
			return nil
		}
	}
	return call
}

// takesBoth is a call of a function that is not PyTorch's and takes two names.
func takesBoth(p *analysis.Pass, d *python.FuncDef, a, b string) *python.Call {
	var found *python.Call
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if ok && found == nil && takes(call, a) && takes(call, b) && !strings.HasPrefix(library(p, call.Func), "torch.") {
				found = call
			}
		})
	})
	return found
}
