package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var boolMaskAdded = &analysis.Rule{
	Name:     "bool-mask-added",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `A bool mask is cast to numbers and added to attention scores

Attention takes two kinds of masks. A bool one leaves out what it names; one of
numbers is added to the scores before softmax. Cast to the query's dtype, True and
False become 1 and 0, and added they leave nothing out: what should be masked
keeps more than a third of its weight.

Evidence: the tensor is bool on every path, is cast to a floating dtype, and
nothing but views stands between the cast and the place where it is added: the
mask of scaled_dot_product_attention or of nn.MultiheadAttention, or a sum that
softmax takes (certain).

Fix: the bool mask as it is, or masked_fill before softmax. Shown as code: the two
kinds of attention read True in opposite ways, and which one was meant the code
does not say.

Silent for a mask that is computed with after the cast, (1 - mask) * min and
masked_fill alike, for bool masks, and for masks of unknown dtype.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, s python.Stmt, around []python.Node) {
			for _, x := range attentionMasks(p, call) {
				if casts := castsOfBool(p.Facts.Values[x]); casts != nil {
					reportAddedMask(p, x, call, casts, uncastMask(p, casts))
				}
			}
			if x := softmaxOf(p, call); x != nil {
				addedToScores(p, call, x)
			}
		})
	},
}

// attentionMasks are the masks that a call hands to attention as PyTorch has it.
func attentionMasks(p *analysis.Pass, call *python.Call) []python.Expr {
	var names []string
	at := 3
	v := p.Facts.Values[call.Func]
	switch {
	case library(p, call.Func) == "torch.nn.functional.scaled_dot_product_attention":
		names = []string{"attn_mask"}
	case v != nil && v.Kind == interp.KindModule && v.Name == "torch.nn.MultiheadAttention":
		names = []string{"key_padding_mask", "attn_mask"}
	default:
		return nil
	}
	var out []python.Expr
	for _, n := range names {
		if x := argument(call, n); x != nil {
			out = append(out, x)
		}
	}
	if len(call.Args) > at && call.Args[at].Name == "" && call.Args[at].Star == 0 {
		out = append(out, call.Args[at].Value)
	}
	return out
}

// castsOfBool are the casts, the last one first, that made numbers of a tensor
// that is bool on every path. Nil if it was not made so, or was computed with.
func castsOfBool(v *interp.Value) []*python.Call {
	var casts []*python.Call
	for range 40 {
		if v == nil || v.Kind != interp.KindTensor || v.Maybe || len(v.From) == 0 {
			return nil
		}
		switch {
		case v.How == interp.HowCast:
			call, ok := v.At.(*python.Call)
			if !ok || !floating(v.DType) {
				return nil
			}
			casts = append(casts, call)
			if d, exact := v.From[0].DType.Exact(); exact && d == dtype.Bool && !v.From[0].Maybe {
				return casts
			}
		case !view(v):
			return nil
		}
		v = v.From[0]
	}
	return nil
}

// view reports whether a value shows another one's numbers as they are.
func view(v *interp.Value) bool {
	if v.How != interp.HowKeep {
		return false
	}
	switch name := strings.TrimSuffix(v.Op[strings.LastIndexByte(v.Op, '.')+1:], "()"); name {
	case "[]", "unsqueeze", "squeeze", "view", "reshape", "expand", "expand_as", "repeat", "repeat_interleave", "transpose", "permute",
		"contiguous", "to", "cuda", "cpu", "flatten", "clone", "detach", "T":
		return true
	}
	return false
}

// softmaxOf is what a call takes the softmax of, nil if it is another call.
func softmaxOf(p *analysis.Pass, call *python.Call) python.Expr {
	switch library(p, call.Func) {
	case "torch.softmax", "torch.nn.functional.softmax":
		if len(call.Args) > 0 && call.Args[0].Name == "" && call.Args[0].Star == 0 {
			return call.Args[0].Value
		}
		return argument(call, "input")
	case "":
		if at, ok := call.Func.(*python.Attribute); ok && at.Sel == "softmax" && isTensor(p.Facts.Values[at.X]) {
			return at.X
		}
	}
	return nil
}

// addedToScores reports a bool mask that is an addend of what softmax takes.
func addedToScores(p *analysis.Pass, softmax *python.Call, x python.Expr) {
	var sum python.Node = x
	for v := p.Facts.Values[x]; v != nil; v = v.From[0] {
		if sum = v.At; len(v.From) == 0 || !view(v) && v.How != interp.HowCast {
			break
		}
	}
	switch sum := sum.(type) {
	case *python.Binary:
		if sum.Op != "+" {
			return
		}
		for _, pair := range [][2]python.Expr{{sum.X, sum.Y}, {sum.Y, sum.X}} {
			if casts := castsOfBool(p.Facts.Values[pair[0]]); casts != nil {
				reportAddedMask(p, pair[0], softmax, casts, filledMask(p, sum, pair[1], casts))
			}
		}
	case *python.Assign:
		if casts := castsOfBool(p.Facts.Values[sum.Value]); sum.Op == "+" && casts != nil {
			reportAddedMask(p, sum.Value, softmax, casts, nil)
		}
	}
}

// uncastMask takes the casts of a mask away; nil where mask = mask would be left.
func uncastMask(p *analysis.Pass, casts []*python.Call) *analysis.Fix {
	first := casts[len(casts)-1]
	if a, ok := p.Tree.StmtAt(first.Start).(*python.Assign); ok && len(a.Targets) == 1 && sameText(p, a.Targets[0], receiver(first)) {
		return nil
	}
	f := &analysis.Fix{Title: "Hand over the bool mask", Safety: analysis.Unsafe}
	for _, c := range casts {
		f.Edits = append(f.Edits, analysis.Edit{Span: python.Span{Start: receiver(c).Pos().End, End: c.End}})
	}
	return f
}

// filledMask fills the scores where the mask is False, if the one cast stands in
// the sum itself.
func filledMask(p *analysis.Pass, sum *python.Binary, scores python.Expr, casts []*python.Call) *analysis.Fix {
	if len(casts) != 1 || casts[0] != sum.X && casts[0] != sum.Y || python.NeedsParens(p.Tree, scores) {
		return nil
	}
	mask := p.Tree.Text(receiver(casts[0]).Pos())
	if _, ok := path(receiver(casts[0])); !ok {
		mask = "(" + mask + ")"
	}
	return &analysis.Fix{Title: "Fill where the mask is False", Safety: analysis.Display, Edits: []analysis.Edit{{
		Span: sum.Pos(), New: p.Tree.Text(scores.Pos()) + ".masked_fill(~" + mask + ", float(\"-inf\"))",
	}}}
}

// receiver is what a call of a method is called on.
func receiver(call *python.Call) python.Expr { return call.Func.(*python.Attribute).X }

func reportAddedMask(p *analysis.Pass, x python.Expr, into *python.Call, casts []*python.Call, fix *analysis.Fix) {
	cast := casts[len(casts)-1]
	mask, where := code(p.Tree.Text(receiver(cast).Pos())), ""
	if line := p.Tree.Line(into.Start); line != p.Tree.Line(cast.Start) {
		where = fmt.Sprintf(" in line %d", line)
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Certain, At: statementOf(p, cast), Scope: scopeOf(p, into), Ops: []python.Span{into.Pos()},
		Message: fmt.Sprintf("%s is a bool mask; cast, it is 1 and 0. %s gets these added to its scores%s, and nothing is left out: what should be masked keeps more than a third of its weight.",
			mask, code(p.Tree.Text(into.Func.Pos())), where),
		Because: []analysis.Reason{
			p.Reason(cast.Pos(), fmt.Sprintf("%s makes 1 and 0 of True and False", code(p.Tree.Text(cast.Pos())))),
			p.Reason(x.Pos(), fmt.Sprintf("%s is added as it is", code(p.Tree.Text(x.Pos())))),
		},
		Fix: fix,
	})
}
