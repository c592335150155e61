package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var batchItemWithoutCast = &analysis.Rule{
	Name:     "batch-item-without-cast",
	Severity: analysis.High,
	Doc: `One item of a batch is cast for a model in half precision, another is not

A training script puts a model in a dtype of its choice and casts the images of a
batch to it. The embeddings or masks of the same batch go to the model as the
data loader made them: float32. Its first layer stops.

Evidence: the function moves the model with that dtype, casts another item of the
same batch to it, and hands this item to the model with no cast on the way
(likely).

Fix: the same cast for this item. Safe: in float32 nothing changes.

Silent for ids, labels and lengths, for a model that an accelerator prepares,
which casts by itself, under autocast, and where the item is asked for its dtype.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			b := batches{pass: p, moved: map[string]*python.Call{}, prepared: map[string]bool{}, seen: map[string]bool{}}
			inBody(d, func(s python.Stmt, _ []python.Node) { b.collect(s) })
			for model := range b.prepared {
				delete(b.moved, model)
			}
			if len(b.moved) == 0 || len(b.casts) == 0 {
				return
			}
			var uses []itemUse
			inBody(d, func(s python.Stmt, around []python.Node) {
				if !autocastAround(p, around) {
					expressions(p, s, func(n python.Node) { uses = append(uses, b.handOver(n)...) })
				}
			})
			b.report(uses)
		})
	},
}

// batches is what one function does with the items of a batch.
type batches struct {
	pass     *analysis.Pass
	moved    map[string]*python.Call // models: the call that moves them with a dtype
	prepared map[string]bool         // what an accelerator prepares
	casts    []itemCast
	seen     map[string]bool
}

// An itemCast is the cast of an item: batch["pixels"].to(dtype=weight_dtype).
type itemCast struct {
	call           *python.Call
	batch, key, to string
}

// collect takes the models that a statement moves with a dtype, M.to(…, dtype=D)
// alone, which changes a module and no tensor, and the items that it casts.
func (b *batches) collect(s python.Stmt) {
	if e, ok := s.(*python.ExprStmt); ok {
		if call, isCall := e.X.(*python.Call); isCall {
			if recv, dt, isCast := castTarget(b.pass, call); isCast {
				model, okM := path(recv)
				_, okD := path(dt)
				if okM && okD {
					b.moved[model] = call
				}
			}
		}
	}
	expressions(b.pass, s, func(n python.Node) {
		call, ok := n.(*python.Call)
		if !ok {
			return
		}
		if at, isMethod := call.Func.(*python.Attribute); isMethod && at.Sel == "prepare" {
			for _, a := range call.Args {
				if name, isPath := path(a.Value); isPath {
					b.prepared[name] = true
				}
			}
		}
		recv, dt, isCast := castTarget(b.pass, call)
		if !isCast {
			return
		}
		to, isPath := path(dt)
		if batch, key := itemOf(base(recv)); batch != "" && isPath {
			b.casts = append(b.casts, itemCast{call, batch, key, to})
		}
	})
}

// itemOf reads batch["key"].
func itemOf(x python.Expr) (batch, key string) {
	s, ok := x.(*python.Subscript)
	if !ok || len(s.Index) != 1 {
		return "", ""
	}
	batch, ok = path(s.X)
	text, isText := s.Index[0].(*python.Str)
	if !ok || !isText {
		return "", ""
	}
	return batch, text.Value
}

// handOver looks at a call of a model, or of one of its methods, for items that
// come as the batch has them.
func (b *batches) handOver(n python.Node) (uses []itemUse) {
	call, ok := n.(*python.Call)
	if !ok {
		return nil
	}
	callee, ok := path(call.Func)
	if !ok {
		return nil
	}
	move := b.moved[callee]
	if at, isMethod := call.Func.(*python.Attribute); isMethod && (at.Sel == "encode" || at.Sel == "decode" || at.Sel == "forward") {
		callee, _ = path(at.X)
		move = b.moved[callee]
	}
	if move == nil {
		return nil
	}
	_, dt, _ := castTarget(b.pass, move)
	to, _ := path(dt)
	for _, a := range call.Args {
		v := b.pass.Facts.Values[a.Value]
		if a.Star > 0 || v == nil || a.Name != "" && integerName(a.Name) {
			continue
		}
		uses = append(uses, b.follow(call, move, v, to)...)
	}
	return uses
}

// follow searches the history of an argument for items that were not cast.
func (b *batches) follow(call, move *python.Call, v *interp.Value, to string) []itemUse {
	items := map[*interp.Value]*interp.Value{} // item: the first tensor that was joined from it
	uncast(v, nil, items, 0)
	var out []itemUse
	for item, first := range items {
		at := item.At.(*python.Subscript)
		batch, key := itemOf(at)
		mine := func(c itemCast) bool { return c.batch == batch && c.key == key }
		twin := slices.IndexFunc(b.casts, func(c itemCast) bool { return c.batch == batch && c.to == to && !mine(c) })
		if twin < 0 || b.seen[batch+key] || integerName(key) && first == nil || slices.ContainsFunc(b.casts, mine) {
			continue
		}
		b.seen[batch+key] = true
		u := itemUse{item: at, at: at, call: call, move: move, twin: b.casts[twin], to: to}
		if first != nil {
			u.at = first.At
		}
		out = append(out, u)
	}
	return out
}

// An itemUse is an item that reaches a model without a cast.
type itemUse struct {
	item       *python.Subscript
	at         python.Node // what the cast belongs behind: the item, or the tensor that is stacked from it
	call, move *python.Call
	twin       itemCast
	to         string
}

// uncast finds the items of batches in the history of a value that no cast
// stands behind, each with the first tensor that was joined from it.
func uncast(v, first *interp.Value, out map[*interp.Value]*interp.Value, depth int) {
	if v == nil || depth > 20 || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return
	}
	if low, _ := tensorType(v).Categories(); v.Kind == interp.KindTensor && v.DType.Known() && low != dtype.CatFloat && len(v.DType.Roots()) == 0 {
		return
	}
	switch v.How {
	case interp.HowAttr:
		if batch, _ := itemOf(exprOf(v.At)); batch != "" {
			out[v] = first
		}
	case interp.HowKeep, interp.HowPromote, interp.HowJoin, interp.HowOther:
		if v.How == interp.HowJoin && slices.ContainsFunc(v.From, func(f *interp.Value) bool { return origin(f).How == interp.HowCast }) {
			return
		}
		if v.Op == "torch.stack" || v.Op == "torch.cat" {
			first = v
		}
		for _, from := range v.From {
			uncast(from, first, out, depth+1)
		}
	}
}

func exprOf(n python.Node) python.Expr {
	x, _ := n.(python.Expr)
	return x
}

// report makes one finding of the items of one batch that stand close together.
func (b *batches) report(uses []itemUse) {
	p := b.pass
	slices.SortFunc(uses, func(x, y itemUse) int { return cmp.Compare(x.at.Pos().Start, y.at.Pos().Start) })
	for len(uses) > 0 {
		first := uses[0]
		span := statementOf(p, first.at)
		n := 1
		for n < len(uses) && uses[n].to == first.to && p.Tree.Line(uses[n].at.Pos().Start)-p.Tree.Line(span.End) <= 3 {
			span.End = statementOf(p, uses[n].at).End
			n++
		}
		b.finding(uses[:n], span)
		uses = uses[n:]
	}
}

func (b *batches) finding(uses []itemUse, span python.Span) {
	p, u := b.pass, uses[0]
	twin := code(u.twin.batch + `["` + u.twin.key + `"]`)
	fix := &analysis.Fix{Title: "Cast to `" + u.to + "` here too", Safety: analysis.Safe}
	because := []analysis.Reason{
		p.Reason(u.move.Pos(), fmt.Sprintf("the model is put in %s", code(u.to))),
		p.Reason(u.twin.call.Pos(), fmt.Sprintf("%s is cast to it", twin)),
	}
	var names []string
	for _, u := range uses {
		name := code(p.Tree.Text(u.item.Pos()))
		names = append(names, name)
		because = append(because, p.Reason(u.item.Pos(), fmt.Sprintf("%s is not", name)))
		if m := deviceMove(p, u.item); m != nil && u.at == python.Node(u.item) {
			fix.Edits = append(fix.Edits, insertAt(m.Args[len(m.Args)-1].End, ", dtype="+u.to))
			continue
		}
		fix.Edits = append(fix.Edits, insertAt(u.at.Pos().End, ".to(dtype="+u.to+")"))
	}
	goes, made := "goes", "made it"
	if len(uses) > 1 {
		goes, made = "go", "made them"
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: span, Scope: scopeOf(p, u.at), Ops: []python.Span{u.call.Pos()},
		Message: fmt.Sprintf("%s %s to %s as the data loader %s, while %s of the same batch is cast to %s, the dtype that %s was moved to. In half precision the first layer stops: float32 meets its weight.",
			list(names), goes, code(p.Tree.Text(u.call.Func.Pos())), made, twin, code(u.to), code(p.Tree.Text(u.move.Func.(*python.Attribute).X.Pos()))),
		Because: append(because, p.Reason(u.call.Pos(), "the model takes it")),
		Fix:     fix,
	})
}

// deviceMove is the call X.to(device) that stands around an item, nil if none
// does.
func deviceMove(p *analysis.Pass, item *python.Subscript) *python.Call {
	var found *python.Call
	python.Inspect(p.Tree.StmtAt(item.Start), func(n python.Node) bool {
		call, ok := n.(*python.Call)
		if !ok {
			return true
		}
		if at, isMethod := call.Func.(*python.Attribute); isMethod && at.Sel == "to" && at.X == python.Expr(item) && len(call.Args) > 0 {
			found = call
		}
		return found == nil
	})
	return found
}

// autocastAround reports whether a statement stands under a context manager of
// autocast.
func autocastAround(p *analysis.Pass, around []python.Node) bool {
	return slices.ContainsFunc(around, func(n python.Node) bool {
		w, ok := n.(*python.With)
		return ok && slices.ContainsFunc(w.Items, func(it python.WithItem) bool {
			return strings.Contains(strings.ToLower(p.Tree.Text(it.Context.Pos())), "autocast")
		})
	})
}
