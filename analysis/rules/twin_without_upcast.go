package rules

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var twinWithoutUpcast = &analysis.Rule{
	Name:     "twin-without-upcast",
	Severity: analysis.Medium,
	Doc: `The same computation is done in float32 in one place and as it comes in another

Two methods, two branches or two statements compute the same thing, and only one
of them casts up first. In half precision the other overflows or rounds, and the
results of the two do not go together.

Evidence: one of five (likely). A call on an attribute of self stands in two
methods of a class, equal but for .float(). A matrix product stands in two
methods, equal but for self., and in one alone its operands were cast to
float32. Of three statements or more that
differ in the first part of a name only, two names are cast to float32 before
and one is not. In a chain of conditions, two branches or more compute from
a.float() and b.float(), and one subtracts b from a as they come. Of the calls of
one loss in a function two or more cast both tensors up, and one casts neither.

Fix: the same cast.

Silent for a single twin of variables, for values that are integers, for calls
that do not compute, and where both values are used in one place to be compared.
`,
	Run: func(p *analysis.Pass) {
		methodTwins(p)
		productTwins(p)
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			variableTwins(p, d)
			lossTwins(p, d)
			inBody(d, func(s python.Stmt, around []python.Node) {
				if i, ok := s.(*python.If); ok && !elif(i, around) {
					branchTwins(p, i)
				}
			})
		})
	},
}

// upcasts matches a cast to float32 in squeezed source.
var upcasts = regexp.MustCompile(`\.float\(\)|\.to\((dtype=)?torch\.float(32)?\)`)

// numeric are functions whose result in half precision is rounded or
// overflows: a cast before them is made for their sake.
var numeric = map[string]bool{
	"exp": true, "log": true, "softmax": true, "log_softmax": true, "logsumexp": true, "softplus": true, "sigmoid": true, "pow": true, "sum": true, "mean": true, "var": true, "norm": true,
	"cumsum": true, "cumprod": true, "rsqrt": true, "sqrt": true, "sin": true, "cos": true, "expm1": true, "log1p": true,
}

// methodTwins compares the numeric calls of attributes in the methods of each
// class.
func methodTwins(p *analysis.Pass) {
	type twin struct {
		call *python.Call
		attr python.Expr
	}
	raw, up := map[string][]twin{}, map[string]twin{}
	calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
		class, method := classAround(around)
		at, ok := call.Func.(*python.Attribute)
		if class == nil || method == nil || !ok || !numeric[at.Sel] || strings.HasPrefix(method.Name, "__init") || len(call.Args) != 1 || call.Args[0].Name != "" {
			return
		}
		text := squeeze(p.Tree.Text(call.Pos()))
		arg := call.Args[0].Value
		if inner, isCall := arg.(*python.Call); isCall {
			recv, isCast := castCall(p, inner)
			name, isPath := path(recv)
			if isCast && isPath && strings.HasPrefix(name, "self.") && upcasts.MatchString(text) {
				up[class.Name+" "+upcasts.ReplaceAllString(text, "")] = twin{call, recv}
			}
			return
		}
		if name, isPath := path(arg); isPath && strings.HasPrefix(name, "self.") {
			key := class.Name + " " + text
			raw[key] = append(raw[key], twin{call, arg})
		}
	})
	for key, other := range up {
		for _, t := range raw[key] {
			if scopeOf(p, t.call) == scopeOf(p, other.call) {
				continue
			}
			attr := code(p.Tree.Text(t.attr.Pos()))
			reportTwin(p, t.call, []python.Expr{t.attr}, other.call,
				fmt.Sprintf("%s casts %s to float32 for the same call (line %d), this does not: with half parameters the two differ, and the range here is that of the half dtype.",
					code(scopeOf(p, other.call)), attr, p.Tree.Line(other.call.Pos().Start)))
		}
	}
}

// productTwins compares the matrix products in the methods of each class.
func productTwins(p *analysis.Pass) {
	exact := map[string]*interp.Op{} // products of values that were cast to float32
	var others []*interp.Op
	key := func(op *interp.Op) string {
		return op.Scope.Class.Name + " " + strings.ReplaceAll(squeeze(p.Tree.Text(op.Node.Pos())), "self.", "")
	}
	for _, op := range p.Facts.Ops {
		if op.Kind != interp.OpRefuses || op.Scope == nil || op.Scope.Class == nil || len(op.Operands) != 2 {
			continue
		}
		a, b := op.Operands[0].Value, op.Operands[1].Value
		switch {
		case castUp(a) || castUp(b): // the other one has to be float32 too
			exact[key(op)] = op
		case followsDType(a) && followsDType(b):
			others = append(others, op)
		}
	}
	for _, op := range others {
		twin := exact[key(op)]
		if twin == nil || twin.Scope == op.Scope {
			continue
		}
		reportTwin(p, op.Node, []python.Expr{op.Operands[0].Expr, op.Operands[1].Expr}, twin.Node,
			fmt.Sprintf("%s computes the same product from float32 (line %d), this one in the dtype its operands were cast to: in half precision the two differ, and what one does the other does not undo.",
				code(scopeOf(p, twin.Node)), p.Tree.Line(twin.Node.Pos().Start)))
	}
}

// castUp reports whether a value was cast to float32.
func castUp(v *interp.Value) bool {
	o := origin(v)
	d, ok := o.DType.Exact()
	return ok && d == dtype.Float32 && o.How == interp.HowCast
}

// followsDType reports whether a value was cast to a dtype that is not known.
func followsDType(v *interp.Value) bool {
	o := origin(v)
	_, ok := tensorRoot(o)
	return ok && o.How == interp.HowCast
}

// classAround is the innermost class around a statement and its method there.
func classAround(around []python.Node) (*python.ClassDef, *python.FuncDef) {
	for i := range around {
		if c, ok := around[i].(*python.ClassDef); ok && i+1 < len(around) {
			d, _ := around[i+1].(*python.FuncDef)
			return c, d
		}
	}
	return nil, nil
}

// reportTwin reports what lacks the cast of its twin.
func reportTwin(p *analysis.Pass, at python.Node, uncast []python.Expr, other python.Node, message string) {
	var edits []analysis.Edit
	for _, x := range uncast {
		edits = append(edits, castEdit(p, x, ".float()")...)
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, at), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: message,
		Because: []analysis.Reason{p.Reason(other.Pos(), "its twin casts to float32 first"), p.Reason(at.Pos(), "the same without the cast")},
		Fix:     &analysis.Fix{Title: "Cast as the twin does", Safety: analysis.Safe, Edits: edits},
	})
}

// variableTwins compares statements of a function that are equal but for the
// first part of the names of variables.
func variableTwins(p *analysis.Pass, d *python.FuncDef) {
	cast := map[string]*python.Assign{} // names that are cast to float32 themselves
	family := map[string][]string{}     // "logits": new, ref, old
	for _, q := range d.Params {
		if first, rest, ok := strings.Cut(q.Name, "_"); ok && first != "" && rest != "" {
			family[rest] = append(family[rest], first)
		}
	}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Op != "" || a.Value == nil {
			return
		}
		n, isPlain := a.Targets[0].(*python.Name)
		recv, isCast := castCall(p, a.Value)
		if isPlain && isCast && isName(recv, n.ID) && upcasts.MatchString(squeeze(p.Tree.Text(a.Value.Pos()))) {
			cast[n.ID] = a
		}
	})
	for rest, firsts := range family {
		if len(firsts) < 3 {
			continue
		}
		var up []string
		for _, f := range firsts {
			if cast[f+"_"+rest] != nil {
				up = append(up, f)
			}
		}
		if len(up) < 2 {
			continue
		}
		for _, f := range firsts {
			if cast[f+"_"+rest] == nil {
				variableTwin(p, d, rest, f, up, cast)
			}
		}
	}
}

// variableTwin reports the first statement on a variable that is not cast and
// whose twins on two variables that are cast exist.
func variableTwin(p *analysis.Pass, d *python.FuncDef, rest, odd string, up []string, cast map[string]*python.Assign) {
	shapes := map[string]map[string]*python.Assign{} // shape: by first part
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || len(a.Targets) != 1 || a.Op != "" || a.Value == nil || cast[boundName(a)] == a {
			return
		}
		for _, f := range append([]string{odd}, up...) {
			if !reads(a.Value, f+"_"+rest) {
				continue
			}
			shape := regexp.MustCompile(`\b`+regexp.QuoteMeta(f)+`(_|\b)`).ReplaceAllString(squeeze(p.Tree.Text(a.Pos())), "?$1")
			if shapes[shape] == nil {
				shapes[shape] = map[string]*python.Assign{}
			}
			shapes[shape][f] = a
		}
	})
	var at *python.Assign
	for _, by := range shapes {
		if by[odd] != nil && by[up[0]] != nil && by[up[1]] != nil && (at == nil || by[odd].Start < at.Start) {
			at = by[odd]
		}
	}
	if at == nil {
		return
	}
	name := odd + "_" + rest
	var x python.Expr
	python.Inspect(at.Value, func(n python.Node) bool {
		if e, ok := n.(*python.Name); ok && e.ID == name && x == nil {
			x = e
		}
		return true
	})
	if v := p.Facts.Values[x]; v != nil {
		if low, _ := v.DType.Categories(); v.DType.Known() && low != dtype.CatFloat {
			return
		}
	}
	indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(p.Tree.Line(at.Start)).Start, End: at.Start})
	if strings.TrimSpace(indent) != "" {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: at.Pos(), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: fmt.Sprintf("%s and %s are cast to float32 before the same computation, %s is not: in half precision it is rounded, and what compares the three mixes precisions.",
			code(up[0]+"_"+rest), code(up[1]+"_"+rest), code(name)),
		Because: []analysis.Reason{
			p.Reason(cast[up[0]+"_"+rest].Pos(), fmt.Sprintf("%s is cast to float32", code(up[0]+"_"+rest))),
			p.Reason(cast[up[1]+"_"+rest].Pos(), fmt.Sprintf("%s is cast to float32", code(up[1]+"_"+rest))),
			p.Reason(at.Pos(), fmt.Sprintf("%s is used as it comes", code(name))),
		},
		Fix: &analysis.Fix{Title: "Cast `" + name + "` too", Safety: analysis.Safe, Edits: []analysis.Edit{
			insertAt(at.Start, fmt.Sprintf("%s = %s.to(torch.float32)\n%s", name, name, indent)),
		}},
	})
}

// boundName is the plain name that an assignment binds.
func boundName(a *python.Assign) string {
	if n, ok := a.Targets[0].(*python.Name); ok {
		return n.ID
	}
	return ""
}

// elif reports whether an if is the elif of the one around it.
func elif(i *python.If, around []python.Node) bool {
	if len(around) == 0 {
		return false
	}
	outer, ok := around[len(around)-1].(*python.If)
	return ok && len(outer.Else) == 1 && outer.Else[0] == python.Stmt(i)
}

// branchTwins compares the branches of a chain: two that compute from
// a.float() and b.float() against one that subtracts the two as they come.
func branchTwins(p *analysis.Pass, i *python.If) {
	var branches [][]python.Stmt
	for {
		branches = append(branches, i.Body)
		next, ok := (*python.If)(nil), false
		if len(i.Else) == 1 {
			next, ok = i.Else[0].(*python.If)
		}
		if !ok {
			branches = append(branches, i.Else)
			break
		}
		i = next
	}
	pairs := map[string]int{}
	var first python.Node
	for _, b := range branches {
		seen := map[string]bool{}
		for _, s := range b {
			python.Inspect(s, func(n python.Node) bool {
				if key := floatPair(p, n); key != "" && !seen[key] {
					seen[key] = true
					pairs[key]++
					if first == nil {
						first = n
					}
				}
				return true
			})
		}
	}
	for _, b := range branches {
		for _, s := range b {
			expressions(p, s, func(n python.Node) {
				d, ok := n.(*python.Binary)
				if !ok || d.Op != "-" {
					return
				}
				x, okX := d.X.(*python.Name)
				y, okY := d.Y.(*python.Name)
				if !okX || !okY || pairs[x.ID+" "+y.ID] < 2 {
					return
				}
				reportTwin(p, d, []python.Expr{x, y}, first,
					fmt.Sprintf("The other branches compute from %s and %s in float32, this one takes the difference as the two come: in half precision it is rounded before it is squared or summed.", code(x.ID), code(y.ID)))
			})
		}
	}
}

// floatPair is "a b" if a node is a call or a difference of a.float() and
// b.float().
func floatPair(p *analysis.Pass, n python.Node) string {
	var x, y python.Expr
	switch n := n.(type) {
	case *python.Call:
		if len(n.Args) < 2 {
			return ""
		}
		x, y = n.Args[0].Value, n.Args[1].Value
	case *python.Binary:
		x, y = n.X, n.Y
	default:
		return ""
	}
	a, b := floated(p, x), floated(p, y)
	if a == "" || b == "" {
		return ""
	}
	return a + " " + b
}

// floated is the name x of x.float().
func floated(p *analysis.Pass, x python.Expr) string {
	recv, ok := castCall(p, x)
	n, isPlain := recv.(*python.Name)
	if !ok || !isPlain || !upcasts.MatchString(squeeze(p.Tree.Text(x.Pos()))) {
		return ""
	}
	return n.ID
}

// lossTwins compares the calls of one loss in a function: two or more that cast
// both tensors up against one that takes both as they come.
func lossTwins(p *analysis.Pass, d *python.FuncDef) {
	up, raw := map[string][]*python.Call{}, map[string][]*python.Call{}
	inBody(d, func(s python.Stmt, around []python.Node) {
		expressions(p, s, func(n python.Node) {
			call, ok := n.(*python.Call)
			if !ok || len(call.Args) < 2 || autocastAround(p, around) {
				return
			}
			name := library(p, call.Func)
			if !strings.HasPrefix(name, "torch.nn.functional.") || !isLoss(name) {
				return
			}
			x, y := call.Args[0].Value, call.Args[1].Value
			switch {
			case floated(p, x) != "" && floated(p, y) != "":
				up[name] = append(up[name], call)
			case mayBeHalf(p, x) && mayBeHalf(p, y):
				raw[name] = append(raw[name], call)
			}
		})
	})
	for name, calls := range raw {
		if len(up[name]) < 2 || len(calls) > 1 {
			continue
		}
		call, other := calls[0], up[name][0]
		reportTwin(p, call, []python.Expr{call.Args[0].Value, call.Args[1].Value}, other,
			fmt.Sprintf("The other calls of %s here cast both tensors to float32 (line %d), this one takes them as they come: in half precision it is rounded, and where one of the two is float32 the dtypes differ.",
				code(p.Tree.Text(call.Func.Pos())), p.Tree.Line(other.Start)))
	}
}

// mayBeHalf reports whether a name may hold half precision: nothing fixes its
// dtype.
func mayBeHalf(p *analysis.Pass, x python.Expr) bool {
	_, isName := x.(*python.Name)
	v := p.Facts.Values[x]
	return isName && v != nil && (v.Kind == interp.KindOpen || v.Kind == interp.KindTensor) && len(tensorType(v).Roots()) > 0
}
