package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A produced is what one call of a module gives, on its way into another one.
type produced struct {
	by   *python.Call // the call that gives it
	into *python.Call // the call that takes it
	cast *python.Call // the cast in between, nil if there is none
}

// producerTwins finds what a module gave and goes into another one as it is,
// where what the same module gave elsewhere in the function is cast before.
func producerTwins(p *analysis.Pass) {
	functions(p, func(d *python.FuncDef, around []python.Node) {
		class, m := classAround(append(around[:len(around):len(around)], d))
		if class == nil || m != d {
			return
		}
		by := map[string][]produced{}
		inBody(d, func(s python.Stmt, around []python.Node) {
			expressions(p, s, func(n python.Node) {
				call, ok := n.(*python.Call)
				if !ok || moduleCall(call, class) == "" || autocastAround(p, around) {
					return
				}
				for _, a := range call.Args {
					if x, ok := producedBy(p, d, class, a.Value); ok {
						x.into = call
						by[moduleCall(x.by, class)] = append(by[moduleCall(x.by, class)], x)
					}
				}
			})
		})
		for _, all := range by {
			reportProduced(p, all)
		}
	})
}

// moduleCall is the attribute of self that a call runs, "" if it runs a method
// of the class or anything else.
func moduleCall(call *python.Call, class *python.ClassDef) string {
	name, ok := path(call.Func)
	if !ok || !strings.HasPrefix(name, "self.") || strings.Count(name, ".") != 1 || method(class, name[len("self."):]) != nil {
		return ""
	}
	return name
}

// producedBy follows an argument back to the call of a module in the same
// function, through views and at most one cast.
func producedBy(p *analysis.Pass, d *python.FuncDef, class *python.ClassDef, x python.Expr) (produced, bool) {
	v := p.Facts.Values[x]
	var out produced
	for i := 0; i < 20 && v != nil; i++ {
		call, isCall := v.At.(*python.Call)
		if isCall && (call.Start < d.Start || call.End > d.End) {
			return produced{}, false
		}
		switch {
		case isCall && moduleCall(call, class) != "" && v.How != interp.HowCast && v.How != interp.HowKeep:
			out.by = call
			return out, true
		case isCall && v.How == interp.HowCast && out.cast == nil:
			_, dt, ok := castTarget(p, call)
			if _, exact := tensorType(v).Exact(); !ok || exact {
				return produced{}, false
			}
			if _, isPath := path(dt); !isPath {
				return produced{}, false
			}
			out.cast = call
		case v.How != interp.HowKeep:
			return produced{}, false
		}
		if len(v.From) == 0 {
			return produced{}, false
		}
		v = v.From[0]
	}
	return produced{}, false
}

// reportProduced reports what misses the cast that all others of one module
// have.
func reportProduced(p *analysis.Pass, all []produced) {
	var twin, odd *produced
	for i := range all {
		x := &all[i]
		switch {
		case x.cast != nil:
			twin = x
		case odd == nil:
			odd = x
		case odd.by != x.by:
			return
		}
	}
	if twin == nil || odd == nil || twin.by == odd.by {
		return
	}
	v := p.Facts.Values[odd.by]
	if v == nil || !floating(tensorType(v)) && v.Kind != interp.KindOpen {
		return
	}
	at := twin.cast.Func.(*python.Attribute)
	to := p.Tree.Text(python.Span{Start: at.X.Pos().End, End: twin.cast.End})
	by := code(p.Tree.Text(odd.by.Func.Pos()))
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, odd.by), Scope: scopeOf(p, odd.by), Ops: []python.Span{odd.into.Pos()},
		Message: fmt.Sprintf("What %s gives is cast before %s takes it (line %d). Here it goes into %s as it is, and with layers in %s PyTorch stops, as it would there.",
			by, code(p.Tree.Text(twin.into.Func.Pos())), p.Tree.Line(twin.cast.Start), code(p.Tree.Text(odd.into.Func.Pos())), exampleDType(p)),
		Because: []analysis.Reason{
			p.Reason(twin.cast.Pos(), fmt.Sprintf("what %s gives is cast here", by)),
			p.Reason(odd.by.Pos(), "the same module gives this"),
			p.Reason(odd.into.Pos(), "another module takes it as it is"),
		},
		Fix: &analysis.Fix{Title: "Cast it as its twin", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(odd.by.End, to)}},
	})
}
