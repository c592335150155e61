package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var bfloat16AsFloat16 = &analysis.Rule{
	Name:     "bfloat16-as-float16",
	Severity: analysis.Medium,
	Doc: `bfloat16 is asked for and float16 is used

A branch, or a choice between two dtypes, takes every half precision for
float16. With bfloat16 a float16 tensor then meets bfloat16 ones: matrix
products refuse that, arithmetic promotes both to float32, and numbers above
65504 become infinite.

Evidence: a condition that holds for float16 and for bfloat16 alike guards a
cast to float16; the branch for bfloat16 chooses float16 as the branch for
float16 does; or every mixed precision but "no" means float16 while the file
knows "bf16" (likely).

Fix: the dtype that was tested, torch.bfloat16 in its branch, or a choice by
name.

Silent for a branch that is for bfloat16 alone, which may work round hardware or
NumPy that lacks it, for conditions that ask what is supported, and for files
that do not know bfloat16.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) || probed(p, around) {
				return
			}
			if i, ok := s.(*python.If); ok {
				eitherHalf(p, i)
				twinBranch(p, i)
			}
			expressions(p, s, func(n python.Node) {
				if c, ok := n.(*python.Cond); ok {
					anyPrecision(p, c)
				}
			})
		})
	},
}

// eitherHalf looks at a condition that is true of float16 and of bfloat16.
func eitherHalf(p *analysis.Pass, i *python.If) {
	c, ok := i.Cond.(*python.Compare)
	if !ok || len(c.Xs) != 2 || c.Ops[0] != "in" {
		return
	}
	seq, ok := c.Xs[1].(*python.Seq)
	tested, isPath := path(c.Xs[0])
	if !ok || !isPath {
		return
	}
	half, brain, other := false, false, false
	for _, x := range seq.Xs {
		switch d, _ := dtypeLiteral(p, x); d {
		case dtype.Float16:
			half = true
		case dtype.BFloat16:
			brain = true
		default:
			other = true
		}
	}
	if !half || !brain {
		return
	}
	ref := tested
	if other { // an integer dtype is tested too: it must not be cast to
		ref = fmt.Sprintf("%s if %s.is_floating_point else torch.float16", tested, tested)
	}
	var edits []analysis.Edit
	var first *python.Call
	for _, s := range i.Body {
		if toldApart(p, s) {
			return
		}
		expressions(p, s, func(n python.Node) {
			call, isCall := n.(*python.Call)
			if !isCall {
				return
			}
			if e, found := toFloat16(p, call, ref); found {
				edits = append(edits, e)
				if first == nil {
					first = call
				}
			}
		})
	}
	if first == nil {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, first), Scope: scopeOf(p, first), Ops: []python.Span{first.Pos()},
		Message: fmt.Sprintf("%s may be bfloat16 here, and this gives float16: beside bfloat16 it promotes to float32, or PyTorch refuses it.", code(tested)),
		Because: []analysis.Reason{p.Reason(c.Pos(), "true for bfloat16 as well as for float16"), p.Reason(first.Pos(), fmt.Sprintf("%s gives float16", code(p.Tree.Text(first.Pos()))))},
		Fix:     &analysis.Fix{Title: "Follow `" + tested + "`", Safety: analysis.Safe, Edits: edits},
	})
}

// toldApart reports whether code behind the condition asks for bfloat16 again.
func toldApart(p *analysis.Pass, s python.Stmt) bool {
	found := false
	python.Inspect(s, func(n python.Node) bool {
		if x, ok := n.(python.Expr); ok {
			d, _ := dtypeLiteral(p, x)
			found = found || d == dtype.BFloat16
		}
		return !found
	})
	return found
}

// toFloat16 is the edit that makes a cast to float16 one to ref.
func toFloat16(p *analysis.Pass, call *python.Call, ref string) (analysis.Edit, bool) {
	if at, ok := call.Func.(*python.Attribute); ok && at.Sel == "half" && len(call.Args) == 0 {
		return analysis.Edit{Span: python.Span{Start: at.SelSpan.Start, End: call.End}, New: "to(" + ref + ")"}, true
	}
	if _, x, ok := castTarget(p, call); ok {
		if d, _ := dtypeLiteral(p, x); d == dtype.Float16 {
			return analysis.Edit{Span: x.Pos(), New: ref}, true
		}
	}
	return analysis.Edit{}, false
}

// twinBranch looks at if "fp16": d = torch.float16, elif "bf16": d = the same.
func twinBranch(p *analysis.Pass, i *python.If) {
	if len(i.Else) != 1 {
		return
	}
	e, ok := i.Else[0].(*python.If)
	if !ok {
		return
	}
	a, b := chosenHere(p, i.Body), chosenHere(p, e.Body)
	if a == nil || b == nil || !sameText(p, a.Targets[0], b.Targets[0]) {
		return
	}
	first, second := strings.ToLower(p.Tree.Text(i.Cond.Pos())), strings.ToLower(p.Tree.Text(e.Cond.Pos()))
	if !names16(first) || namesBF16(first) || !namesBF16(second) || names16(second) || strings.Contains(second, "support") {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: b.Pos(), Scope: scopeOf(p, b),
		Message: fmt.Sprintf("The branch for bfloat16 chooses float16, as the branch for float16 does: %s is never bfloat16.", code(p.Tree.Text(b.Targets[0].Pos()))),
		Because: []analysis.Reason{p.Reason(a.Pos(), "float16 for float16"), p.Reason(e.Cond.Pos(), "asks for bfloat16"), p.Reason(b.Pos(), "float16 again")},
		Fix:     &analysis.Fix{Title: "Choose bfloat16", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: b.Value.Pos(), New: "torch.bfloat16"}}},
	})
}

// chosenHere is the only statement of a branch if it chooses float16.
func chosenHere(p *analysis.Pass, body []python.Stmt) *python.Assign {
	if len(body) != 1 {
		return nil
	}
	a, ok := body[0].(*python.Assign)
	if !ok || a.Op != "" || len(a.Targets) != 1 || a.Value == nil {
		return nil
	}
	if d, _ := dtypeLiteral(p, a.Value); d != dtype.Float16 {
		return nil
	}
	return a
}

func namesBF16(s string) bool { return strings.Contains(s, "bf16") || strings.Contains(s, "bfloat16") }

func names16(s string) bool {
	s = strings.NewReplacer("bf16", "", "bfloat16", "").Replace(s)
	return strings.Contains(s, "fp16") || strings.Contains(s, "float16")
}

// anyPrecision looks at a choice between float32 for "no" and float16 for all
// other mixed precisions.
func anyPrecision(p *analysis.Pass, c *python.Cond) {
	test, ok := c.Test.(*python.Compare)
	if !ok || len(test.Xs) != 2 || lastWord(test.Xs[0]) != "mixed_precision" && !strings.HasSuffix(lastWord(test.Xs[0]), "precision") {
		return
	}
	no, isText := test.Xs[1].(*python.Str)
	if !isText || no.Value != "no" {
		return
	}
	full, half := c.Then, c.Else
	if test.Ops[0] == "!=" {
		full, half = half, full
	} else if test.Ops[0] != "==" {
		return
	}
	f, _ := dtypeLiteral(p, full)
	h, _ := dtypeLiteral(p, half)
	known := knowsBF16(p)
	if f != dtype.Float32 || h != dtype.Float16 || known == nil {
		return
	}
	setting := p.Tree.Text(test.Xs[0].Pos())
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: c.Pos(), Scope: scopeOf(p, c), Ops: []python.Span{c.Pos()},
		Message: fmt.Sprintf("With %s = \"bf16\" this is float16: everything but \"no\" is taken for fp16.", code(setting)),
		Because: []analysis.Reason{p.Reason(known.Pos(), "bf16 is one of the choices"), p.Reason(c.Pos(), "float16 for each but \"no\"")},
		Fix: &analysis.Fix{Title: "Choose by name", Safety: analysis.Safe, Edits: []analysis.Edit{
			{Span: c.Pos(), New: fmt.Sprintf(`{"fp16": torch.float16, "bf16": torch.bfloat16}.get(%s, torch.float32)`, setting)},
		}},
	})
}

// knowsBF16 is a place of the file where "bf16" is a choice or is tested for.
func knowsBF16(p *analysis.Pass) python.Node {
	var at python.Node
	p.Tree.Inspect(func(n python.Node) bool {
		var xs []python.Expr
		switch n := n.(type) {
		case *python.Compare:
			xs = n.Xs
		case *python.Seq:
			xs = n.Xs
		case *python.Dict:
			for _, i := range n.Items {
				xs = append(xs, i.Key)
			}
		}
		for _, x := range xs {
			if s, ok := x.(*python.Str); ok && s.Value == "bf16" && at == nil {
				at = n
			}
		}
		return at == nil
	})
	return at
}
