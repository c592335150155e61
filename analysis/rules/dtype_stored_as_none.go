package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var dtypeStoredAsNone = &analysis.Rule{
	Name:     "dtype-stored-as-none",
	Severity: analysis.Medium,
	Doc: `A move to a device stores None as the dtype

torch._C._nn._parse_to reads the arguments of .to and gives None for what was
not among them: after obj.to("cuda") the dtype is None. An object that keeps
both then forgets its dtype with every move, and what it creates with
dtype=self.dtype has the default one.

Evidence: the dtype that _parse_to gives is stored in an attribute, and nothing
asks whether it is None (likely).

Fix: what was there stays where nothing was given: dtype or self.dtype.

Silent where the dtype is compared with None or tested before.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) { storedNone(p, d) })
	},
}

// storedNone looks at what a function does with the results of _parse_to.
func storedNone(p *analysis.Pass, d *python.FuncDef) {
	parsed := map[string]bool{} // the names of device and dtype
	name := ""                  // that of the dtype
	var from *python.Assign
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Value == nil {
			return
		}
		call, isCall := a.Value.(*python.Call)
		seq, isSeq := a.Targets[0].(*python.Seq)
		if !isCall || !isSeq || len(seq.Xs) < 2 || !strings.HasSuffix(p.Tree.Text(call.Func.Pos()), "_parse_to") {
			return
		}
		device, okA := seq.Xs[0].(*python.Name)
		dt, okB := seq.Xs[1].(*python.Name)
		if okA && okB {
			parsed[device.ID], parsed[dt.ID], name, from = true, true, dt.ID, a
		}
	})
	if name == "" || tested(d, name) {
		return
	}
	var edits []analysis.Edit
	var at *python.Assign
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Op != "" {
			return
		}
		attr, isAttr := a.Targets[0].(*python.Attribute)
		v, isPlain := a.Value.(*python.Name)
		if !isAttr || !isPlain || !parsed[v.ID] || v.ID != name && tested(d, v.ID) {
			return
		}
		edits = append(edits, insertAt(v.End, " or "+p.Tree.Text(attr.Pos())))
		if v.ID == name {
			at = a
		}
	})
	if at == nil {
		return
	}
	target := code(p.Tree.Text(at.Targets[0].Pos()))
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: at.Pos(), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: fmt.Sprintf("`.to(device)` gives no dtype: %s is None then, and %s forgets the dtype it had.", code(name), target),
		Because: []analysis.Reason{p.Reason(from.Pos(), "`_parse_to` gives None for what was not given"), p.Reason(at.Pos(), "stored without a look")},
		Fix:     &analysis.Fix{Title: "Keep what was there", Safety: analysis.Safe, Edits: edits},
	})
}

// tested reports whether a function asks for the truth of a name, or compares
// it, or sets it again.
func tested(d *python.FuncDef, name string) bool {
	found, set := false, 0
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Compare:
				for _, x := range n.Xs {
					found = found || isName(x, name)
				}
			case *python.If:
				found = found || isName(n.Cond, name)
			case *python.Cond:
				found = found || isName(n.Test, name)
			case *python.BoolOp:
				found = found || isName(n.X, name) || isName(n.Y, name)
			case *python.Assign:
				for _, t := range n.Targets {
					if reads(t, name) || isName(t, name) {
						set++
					}
				}
			}
			return !found
		})
	}
	return found || set > 1
}
