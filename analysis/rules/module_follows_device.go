package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var moduleFollowsDevice = &analysis.Rule{
	Name:     "module-follows-device",
	Severity: analysis.Medium,
	Doc: `A module moves itself to the device of its data and keeps its own dtype

self.to(data.device) in a constructor puts the parameters beside the data, in
float32. With float64 data the first product of the two is refused, or the
parameters stay less exact than the data they are fitted to.

Evidence: the constructor moves self to the device of one of its parameters,
and in the same function hands on the dtype of a parameter (likely).

Fix: self.to(data), which takes device and dtype.

Silent where the module is cast elsewhere in the constructor, and where nothing
there follows a dtype.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, around []python.Node) {
			if d.Name == "__init__" && len(d.Params) > 1 {
				followsDevice(p, d)
			}
		})
	},
}

// followsDevice looks at the moves of self in a constructor.
func followsDevice(p *analysis.Pass, d *python.FuncDef) {
	var move *python.Call
	var of *python.Name
	var follows python.Node
	cast := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok {
				return
			}
			if x, isAttr := argument(call, "dtype").(*python.Attribute); isAttr && x.Sel == "dtype" {
				if n, isName := x.X.(*python.Name); isName && hasParam(d, n.ID) {
					follows = call
				}
			}
			at, isMethod := call.Func.(*python.Attribute)
			if !isMethod || !isName(at.X, "self") {
				return
			}
			if _, _, isCast := castTarget(p, call); isCast || at.Sel == "double" || at.Sel == "type" {
				cast = true
			}
			if at.Sel != "to" || len(call.Args) != 1 {
				return
			}
			x, isAttr := call.Args[0].Value.(*python.Attribute)
			if !isAttr || x.Sel != "device" {
				return
			}
			if n, isName := x.X.(*python.Name); isName && hasParam(d, n.ID) {
				move, of = call, n
			}
		})
	})
	if move == nil || follows == nil || cast || integerName(of.ID) {
		return
	}
	arg := move.Args[0]
	edit := analysis.Edit{Span: arg.Value.Pos(), New: of.ID}
	if arg.Name != "" {
		edit = analysis.Edit{Span: arg.Pos(), New: of.ID}
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, move), Scope: scopeOf(p, move), Ops: []python.Span{move.Pos()},
		Message: fmt.Sprintf("The module follows %s to its device and keeps float32 parameters: with a float64 %s the two have different dtypes. The constructor hands on a dtype elsewhere.", code(of.ID), code(of.ID)),
		Because: []analysis.Reason{p.Reason(move.Pos(), "takes the device alone"), p.Reason(follows.Pos(), "the dtype is followed here")},
		Fix:     &analysis.Fix{Title: "Follow device and dtype", Safety: analysis.Safe, Edits: []analysis.Edit{edit}},
	})
}
