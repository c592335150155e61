package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var idsThroughFloat = &analysis.Rule{
	Name:     "ids-through-float",
	Severity: analysis.Medium,
	Doc: `Ids pass through float32 on their way to integers

torch.Tensor and torch.FloatTensor make float32, which holds every integer up to
16,777,216. A larger id is rounded before .long() sees it: 1000092795 becomes
1000092800.

Evidence: a float constructor whose only use is .long() or .int(), around values
that are named as ids (likely): positions and lengths stay small, ids of
documents, images or users do not.

Fix: torch.tensor(ids) makes integers of integers at once.

Silent for other names and for tokens, of which no vocabulary has that many; for
literals, and for tensors that are used as floats.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			expressions(p, s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok {
					ids(p, call)
				}
			})
		})
	},
}

func ids(p *analysis.Pass, call *python.Call) {
	at, ok := call.Func.(*python.Attribute)
	if !ok || at.Sel != "long" && at.Sel != "int" || len(call.Args) != 0 {
		return
	}
	maker, ok := at.X.(*python.Call)
	if !ok || len(maker.Args) != 1 || maker.Args[0].Star > 0 || maker.Args[0].Name != "" {
		return
	}
	v := p.Facts.Values[maker]
	if v == nil || v.Kind != interp.KindTensor || v.Make == nil || v.Make.Call != maker || v.Make.Name != "torch.Tensor" && v.Make.Name != "torch.FloatTensor" {
		return
	}
	data := maker.Args[0].Value
	var named []python.Expr
	if seq, isList := data.(*python.Seq); isList && seq.Kind == "list" {
		named = seq.Xs
	} else if comp, isComp := data.(*python.Comp); isComp && comp.Kind == "list" {
		named = []python.Expr{comp.Elem}
	} else if last := lastWord(data); last == "ids" {
		named = []python.Expr{data} // one number would be a size
	}
	named = slices.DeleteFunc(slices.Clone(named), func(x python.Expr) bool { return strings.Contains(strings.ToLower(p.Tree.Text(x.Pos())), "token") })
	if len(named) == 0 || !slices.ContainsFunc(named, func(x python.Expr) bool { w := lastWord(x); return w == "id" || w == "ids" }) {
		return
	}
	if pv := p.Facts.Values[data]; pv != nil && (pv.Kind == interp.KindTensor || pv.Kind == interp.KindArray) {
		return // not a list: torch.tensor would warn, or copy another dtype
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s makes float32 first, which rounds integers above 16,777,216: an id of 1000092795 comes out as 1000092800.", code(p.Tree.Text(maker.Func.Pos()))),
		Because: []analysis.Reason{p.Reason(maker.Pos(), fmt.Sprintf("%s makes float32", code(p.Tree.Text(maker.Func.Pos())))), p.Reason(call.Pos(), "only then is it made integers")},
		Fix:     &analysis.Fix{Title: "Make integers at once", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: maker.Func.Pos(), New: "torch.tensor"}}},
	})
}

// lastWord is the last word of the name of a value: "ids" of
// self.image_ids[i].
func lastWord(x python.Expr) string {
	for {
		s, ok := x.(*python.Subscript)
		if !ok {
			break
		}
		if len(s.Index) == 1 {
			if key, isText := s.Index[0].(*python.Str); isText {
				return word(key.Value)
			}
		}
		x = s.X
	}
	if text, ok := path(x); ok {
		return word(text)
	}
	return ""
}

func word(name string) string {
	name = strings.ToLower(name)
	return name[strings.LastIndexAny(name, "._")+1:]
}
