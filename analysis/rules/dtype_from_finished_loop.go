package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var dtypeFromFinishedLoop = &analysis.Rule{
	Name:     "dtype-from-finished-loop",
	Severity: analysis.Medium,
	Doc: `A loop reads the dtype that another loop left behind

Python keeps the variable of a loop after its end. A later loop over tensors
that reads it sees the last dtype of the first loop for every tensor, and not
the tensor's own.

Evidence: the name is a dtype by its name, only a loop that is over binds it,
and the later loop reads the dtype of its own variable elsewhere in its body
(likely).

Fix: the dtype of the later loop's variable.

Silent where the first loop may end with break, which leaves the name behind on
purpose, and where the name is bound anywhere else.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) { leftBehind(p, d) })
	},
}

// leftBehind looks for names of finished loops in a function.
func leftBehind(p *analysis.Pass, d *python.FuncDef) {
	for i, s := range d.Body {
		first, ok := s.(*python.For)
		if !ok || breaks(first.Body) {
			continue
		}
		for _, name := range bound(first.Target) {
			if !strings.HasSuffix(name, "dtype") || bindings(d, name) != 1 {
				continue
			}
			for _, later := range d.Body[i+1:] {
				if second, isLoop := later.(*python.For); isLoop {
					readBehind(p, name, first, second)
				}
			}
		}
	}
}

// readBehind reports the reads of a name in the body of a later loop whose
// variable has a dtype of its own.
func readBehind(p *analysis.Pass, name string, first, second *python.For) {
	own, of := map[string]bool{}, ""
	for _, n := range bound(second.Target) {
		own[n] = true
	}
	var at *python.Name
	for _, s := range second.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Attribute:
				if x, ok := n.X.(*python.Name); ok && n.Sel == "dtype" && own[x.ID] {
					of = x.ID
				}
			case *python.Name:
				if n.ID == name && at == nil {
					at = n
				}
			}
			return true
		})
	}
	if at == nil || of == "" {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, at), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: fmt.Sprintf("%s is what the loop over %s left behind, the same for every %s here; its own dtype is `%s.dtype`.", code(name), code(p.Tree.Text(first.Iter.Pos())), code(of), of),
		Because: []analysis.Reason{p.Reason(first.Pos(), fmt.Sprintf("this loop binds %s, and it is over", code(name))), p.Reason(at.Pos(), "read in a loop that does not bind it")},
		Fix:     &analysis.Fix{Title: "Use `" + of + ".dtype`", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: at.Pos(), New: of + ".dtype"}}},
	})
}

// bound are the names that a target binds.
func bound(target python.Expr) []string {
	var out []string
	python.Inspect(target, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Attribute, *python.Subscript:
			return false
		case *python.Name:
			out = append(out, n.ID)
		}
		return true
	})
	return out
}

// bindings counts how often a function binds a name: as a parameter, by an
// assignment, in a loop, with an as, or inside an expression.
func bindings(d *python.FuncDef, name string) int {
	n := 0
	count := func(x python.Expr) {
		for _, b := range bound(x) {
			if b == name {
				n++
			}
		}
	}
	for _, q := range d.Params {
		if q.Name == name {
			n++
		}
	}
	for _, s := range d.Body {
		python.Inspect(s, func(x python.Node) bool {
			switch x := x.(type) {
			case *python.Assign:
				for _, t := range x.Targets {
					count(t)
				}
			case *python.For:
				count(x.Target)
			case *python.With:
				for _, i := range x.Items {
					if i.As != nil {
						count(i.As)
					}
				}
			case *python.Comp:
				for _, c := range x.Clauses {
					count(c.Target)
				}
			case *python.Walrus:
				if x.Name == name {
					n++
				}
			case *python.Global:
				n += 2
			}
			return true
		})
	}
	return n
}

// breaks reports whether a loop's body may end it.
func breaks(body []python.Stmt) bool {
	found := false
	for _, s := range body {
		python.Inspect(s, func(n python.Node) bool {
			if b, ok := n.(*python.Branch); ok {
				found = found || b.Kind == "break"
			}
			return !found
		})
	}
	return found
}
