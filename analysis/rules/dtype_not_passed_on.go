package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var dtypeNotPassedOn = &analysis.Rule{
	Name:     "dtype-not-passed-on",
	Severity: analysis.Medium,
	Doc: `A constructor takes a dtype and makes one of its tensors without it

Whoever makes the object says which dtype it is to have, and one tensor or layer
inside has the default dtype, float32. It meets the others later.

Evidence: the constructor of a class without bases has a dtype that is float64 or
half when nobody says otherwise, keeps it, and a floating tensor is made there
without a dtype and not cast (likely). Or the function gives its parameter dtype to at least two layers of one
class and not to one more of that class (likely).

Fix: dtype=dtype. Safe only for float32; the tensor's dtype is another one with
the default of the parameter.

Silent for modules' buffers, which follow the module, for whole numbers, for layers of which only one is made, where dtype= or
unpacked arguments are given, where the tensor is cast or its value is taken, and
where a condition on precision stands around.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, around []python.Node) {
			for i := range d.Params {
				if q := &d.Params[i]; q.Name == "dtype" && q.Star == 0 && bindings(d, "dtype") == 1 && d.Name == "__init__" {
					if plainClass(p, around) {
						tensorsWithout(p, d, q)
					}
					layersWithout(p, d)
				}
			}
		})
	},
}

// plainClass reports whether a constructor stands in a class without bases that
// keeps its dtype.
func plainClass(p *analysis.Pass, around []python.Node) bool {
	if len(around) == 0 {
		return false
	}
	c, ok := around[len(around)-1].(*python.ClassDef)
	if !ok || len(c.Args) > 0 {
		return false
	}
	_, stored := keepsDType(p, c)
	return stored != nil
}

// tensorsWithout reports tensors that a constructor makes without its dtype,
// which is no float32 by default.
func tensorsWithout(p *analysis.Pass, d *python.FuncDef, q *python.Param) {
	if q.Default == nil {
		return
	}
	is, ok := dtypeLiteral(p, q.Default)
	if !ok || !is.Half() && is != dtype.Float64 {
		return
	}
	inBody(d, func(s python.Stmt, around []python.Node) {
		if precisionAround(p, around) {
			return
		}
		expressions(p, s, func(n python.Node) {
			call, isCall := n.(*python.Call)
			if !isCall {
				return
			}
			v := p.Facts.Values[call]
			if v == nil || v.Make == nil || v.Make.Call != call || v.Make.DType || v.Make.Called || !v.DType.IsDefault() || treated(p, d, s, call) {
				return
			}
			p.Report(analysis.Finding{
				Confidence: analysis.Likely, At: s.Pos(), Scope: scopeOf(p, s), Ops: []python.Span{call.Pos()},
				Message: fmt.Sprintf("The constructor takes `dtype`, which is %s if nobody says otherwise, but %s is made without it: float32.",
					is, code(p.Tree.Text(call.Pos()))),
				Because: []analysis.Reason{p.Reason(q.Pos(), fmt.Sprintf("%s by default", is)), p.Reason(call.Pos(), "no dtype is given here")},
				Fix:     passOn(call),
			})
		})
	})
}

// treated reports whether what a call makes is cast, or only its value is taken.
func treated(p *analysis.Pass, d *python.FuncDef, s python.Stmt, call *python.Call) bool {
	text := squeeze(p.Tree.Text(s.Pos()))
	for _, w := range []string{".to(", ".type(", ".type_as(", ".float(", ".double(", ".half(", ".item(", ".cuda(", ".cpu(", ".long(", ".int(", ".bool(", "dtype="} {
		if strings.Contains(text, w) {
			return true
		}
	}
	a, ok := s.(*python.Assign)
	return ok && len(a.Targets) == 1 && boundName(a) != "" && movedIn(d, boundName(a)) || strings.HasSuffix(squeeze(p.Tree.Text(call.Func.Pos())), "Tensor")
}

// layersWithout reports the layer of a class that is made without the dtype
// which the others of that class are given.
func layersWithout(p *analysis.Pass, d *python.FuncDef) {
	with, without := map[string]int{}, map[string][]*python.Call{}
	var order []string
	inBody(d, func(s python.Stmt, around []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || !strings.HasPrefix(library(p, call.Func), "torch.nn.") || !layer(library(p, call.Func)) || strings.HasSuffix(library(p, call.Func), "Parameter") {
				return
			}
			name := library(p, call.Func)
			switch {
			case isName(argument(call, "dtype"), "dtype"):
				with[name]++
			case argument(call, "dtype") == nil && plainArguments(call, len(call.Args)) && !precisionAround(p, around):
				if without[name] == nil {
					order = append(order, name)
				}
				without[name] = append(without[name], call)
			}
		})
	})
	for _, name := range order {
		if len(without[name]) != 1 || with[name] < 2 {
			continue
		}
		call := without[name][0]
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%d other layers of this class are given `dtype` here, this one is not: it is float32.", with[name]),
			Because: []analysis.Reason{p.Reason(call.Pos(), "no dtype is given here")},
			Fix:     passOn(call),
		})
	}
}

// passOn gives a call the dtype of the function.
func passOn(call *python.Call) *analysis.Fix {
	at, text := call.Lparen+1, "dtype=dtype"
	if n := len(call.Args); n > 0 {
		at, text = call.Args[n-1].End, ", dtype=dtype"
	}
	return &analysis.Fix{Title: "Pass `dtype` on", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(at, text)}}
}
