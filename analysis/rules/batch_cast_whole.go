package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var batchCastWhole = &analysis.Rule{
	Name:     "batch-cast-whole",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `Every tensor of a batch is cast to half precision, ids too

A batch is moved and cast in one comprehension. bfloat16 holds whole numbers
exactly only up to 256, float16 up to 2048: token 257 becomes 256, and an
embedding refuses the rest or looks up another word.

Evidence: a comprehension over the items of a dictionary casts every value to
bfloat16 or float16 under no condition, and the function takes ids or labels out
of the result or out of that dictionary (likely).

Fix: the cast for floating tensors alone; a device in the same call is kept for
all.

Silent where a condition chooses, for casts to float32, and where no ids are
named.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				expressions(p, s, func(n python.Node) {
					if c, ok := n.(*python.Comp); ok {
						wholeBatch(p, d, s, c)
					}
				})
			})
		})
	},
}

// wholeBatch reports a comprehension that casts every value of a dictionary.
func wholeBatch(p *analysis.Pass, d *python.FuncDef, s python.Stmt, c *python.Comp) {
	if c.Kind != "dict" || len(c.Clauses) != 1 || len(c.Clauses[0].Ifs) > 0 {
		return
	}
	of, value := itemsOf(c)
	call, ok := c.Elem.(*python.Call)
	if of == "" || !ok {
		return
	}
	recv, is := castToHalf(p, call)
	if recv == nil || !isName(recv, value) {
		return
	}
	name := ""
	if a, isAssign := s.(*python.Assign); isAssign && len(a.Targets) == 1 {
		name = boundName(a)
	}
	taken := idsTaken(d, of, name)
	if taken == nil {
		return
	}
	text := p.Tree.Text(call.Pos())
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: s.Pos(), Scope: scopeOf(p, s), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s casts every tensor of %s, ids too: %s holds whole numbers only up to %d, so that token 32001 becomes 32000.",
			code(text), code(of), is, integersTo(is)),
		Because: []analysis.Reason{p.Reason(call.Pos(), "every value is cast"), p.Reason(taken.Pos(), "these are whole numbers")},
		Fix: &analysis.Fix{Title: "Cast floating tensors alone", Safety: analysis.Safe, Edits: []analysis.Edit{
			insertAt(call.End, fmt.Sprintf(" if %s.is_floating_point() else %s", value, movedAlone(p, call, value))),
		}},
	})
}

// itemsOf is the dictionary over whose items a comprehension goes, and the name
// of the value.
func itemsOf(c *python.Comp) (of, value string) {
	it, ok := c.Clauses[0].Iter.(*python.Call)
	pair, isPair := c.Clauses[0].Target.(*python.Seq)
	if !ok || !isPair || len(pair.Xs) != 2 || len(it.Args) > 0 {
		return "", ""
	}
	at, isMethod := it.Func.(*python.Attribute)
	name, isPlain := pair.Xs[1].(*python.Name)
	if !isMethod || !isPlain || at.Sel != "items" {
		return "", ""
	}
	of, _ = path(at.X)
	return of, name.ID
}

// castToHalf is what a call casts to a half dtype that is known, nil if it casts
// nothing so.
func castToHalf(p *analysis.Pass, call *python.Call) (python.Expr, dtype.DType) {
	if at, ok := call.Func.(*python.Attribute); ok && len(call.Args) == 0 {
		switch at.Sel {
		case "half":
			return at.X, dtype.Float16
		case "bfloat16":
			return at.X, dtype.BFloat16
		}
	}
	recv, x, ok := castTarget(p, call)
	if !ok {
		return nil, dtype.None
	}
	v := p.Facts.Values[x]
	if v == nil {
		return nil, dtype.None
	}
	is, exact := v.DType.Exact()
	if !exact || !is.Half() {
		return nil, dtype.None
	}
	return recv, is
}

// idsTaken is where a function takes ids or labels out of one of two dictionaries.
func idsTaken(d *python.FuncDef, names ...string) python.Node {
	var found python.Node
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			sub, ok := n.(*python.Subscript)
			if !ok || found != nil || len(sub.Index) != 1 {
				return found == nil
			}
			key, isText := sub.Index[0].(*python.Str)
			of, _ := path(sub.X)
			if isText && (word(key.Value) == "ids" || word(key.Value) == "labels") && (of == names[0] || of == names[1]) {
				found = sub
			}
			return true
		})
	}
	return found
}

// movedAlone is the value moved to the device that a cast names, or as it is.
func movedAlone(p *analysis.Pass, call *python.Call, value string) string {
	if x := argument(call, "device"); x != nil {
		return value + ".to(" + p.Tree.Text(x.Pos()) + ")"
	}
	for _, a := range call.Args {
		if text := p.Tree.Text(a.Value.Pos()); a.Name == "" && lastWord(a.Value) == "device" {
			return value + ".to(" + text + ")"
		}
	}
	return value
}
