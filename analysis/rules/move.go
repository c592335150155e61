package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// moved finds an operand that was moved to the device of the tensor that it
// meets, w.to(x.device), and not cast to its dtype: whoever wrote that knew
// that the two come from different places. It takes code that uses dtypes other
// than the default one.
func (f *finder) moved(op *interp.Op) (conflict, bool) {
	if op.Kind == interp.OpPromotes || f.varies(op.Scope) == nil && len(f.pass.Signs.Half) == 0 {
		return conflict{}, false
	}
	for i, odd := range op.Operands {
		for j, keep := range op.Operands {
			if i == j || odd.Soft || keep.Soft || !guiding(keep) {
				continue
			}
			if v := move(odd.Value, keep.Value.DType, 0); v != nil && (setUp(v) != setUp(v.Beside) || madeHere(v, op.Scope, 0)) {
				return conflict{op: op, keep: keep, odd: odd, part: v, evidence: byRoot, sign: v.At, move: v}, true
			}
		}
	}
	return conflict{}, false
}

// setUp reports whether a value is a parameter or a table of the object itself:
// what came in or was computed follows other rules than what was set up.
func setUp(v *interp.Value) bool {
	return slices.ContainsFunc(attributes(v, 0), func(p string) bool { return strings.HasPrefix(p, "self.") })
}

// madeHere reports whether a value was computed in a function from nothing but
// what the function made: a filter, a table.
func madeHere(v *interp.Value, s *interp.Scope, depth int) bool {
	if depth > 20 || !closed(v.DType) {
		return false
	}
	if v.How == interp.HowCreate {
		return v.Make != nil && v.Make.Scope == s
	}
	tensors := 0
	for _, from := range v.From {
		if from.Kind != interp.KindTensor {
			continue
		}
		if !madeHere(from, s, depth+1) {
			return false
		}
		tensors++
	}
	return tensors > 0
}

// move searches the history of a value for one that was put on the device of a
// tensor whose dtype is to be met, and has a dtype of its own.
func move(v *interp.Value, to dtype.Type, depth int) *interp.Value {
	if v == nil || depth > 12 || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return nil
	}
	t := tensorType(v)
	if v.Beside != nil && v.At != nil && t.Known() && dtype.Relate(t, to) == dtype.Apart && strings.HasPrefix(v.Op, ".to") {
		if slices.ContainsFunc(tensorType(v.Beside).Roots(), func(r *dtype.Root) bool { return slices.Contains(to.Roots(), r) }) {
			return v
		}
	}
	if v.How != interp.HowKeep && v.How != interp.HowPromote {
		return nil
	}
	for _, from := range v.From {
		if m := move(from, to, depth+1); m != nil {
			return m
		}
	}
	return nil
}

// moveMessage is the message for an operand that was moved and not cast.
func moveMessage(p *analysis.Pass, c *conflict, d dtype.DType) string {
	call := p.Tree.Text(c.move.At.Pos())
	return fmt.Sprintf("%s takes the device of %s and keeps its own dtype. Where they differ, %s", code(call), named(p, c.keep), stops(c, d, "here"))
}

// moveFix adds the dtype to the move.
func moveFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	call, ok := c.move.At.(*python.Call)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	for _, a := range call.Args {
		at, ok := a.Value.(*python.Attribute)
		if !ok || at.Sel != "device" {
			continue
		}
		ref := p.Tree.Text(at.X.Pos()) + ".dtype"
		return &analysis.Fix{
			Title: "Move it with `dtype=" + ref + "`", Safety: analysis.Safe,
			Edits: []analysis.Edit{insertAt(call.Args[len(call.Args)-1].End, ", dtype="+ref)},
		}
	}
	return castFix(p, c)
}
