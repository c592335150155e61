package rules

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var dtypeArgumentIgnored = &analysis.Rule{
	Name:     "dtype-argument-ignored",
	Severity: analysis.Medium,
	Doc: `A function takes a dtype and does not use it

The caller says which dtype it wants, and the function uses a fixed one, or
casts whatever it gets. Nothing fails in the function; the result meets the
caller's dtype later.

Evidence: the parameter is a dtype by its name or its annotation, nothing in the
function reads it, and the function gives a half dtype of its own to a call that
takes one (likely). A pair such as src_type and dst_type, of which the second is
cast to and the first is only handed on to the function itself (likely).

Fix: the parameter in the place of the fixed dtype; for a pair, the cast is made
of values that have the first dtype.

Silent for functions without a fixed half dtype, for methods of classes with
bases, which may have to take the parameter, for overloads and abstract
functions, and where the documentation says that the parameter is not used.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, around []python.Node) {
			if len(d.Decorators) > 0 && strings.Contains(p.Tree.Text(python.Span{Start: d.Start, End: d.NameSpan.Start}), "overload") || inherits(around) {
				return
			}
			if !slices.ContainsFunc(d.Params, func(q python.Param) bool { return dtypeParam(p, &q) || castSource(&q) }) || unusedByDesign(p, d) {
				return // the texts come last: they are the dearest to look through
			}
			for i := range d.Params {
				q := &d.Params[i]
				switch {
				case q.Star > 0 || !dtypeParam(p, q) && !castSource(q):
				case !readIn(d, q.Name):
					fixedInstead(p, d, q)
				default:
					handedOn(p, d, q)
				}
			}
		})
	},
}

// inherits reports whether a function is a method of a class with bases other
// than nn.Module and object.
func inherits(around []python.Node) bool {
	if len(around) == 0 {
		return false
	}
	c, ok := around[len(around)-1].(*python.ClassDef)
	if !ok {
		return false
	}
	for _, a := range c.Args {
		if text, isPath := path(a.Value); a.Name == "" && (!isPath || word(text) != "module" && text != "object") {
			return true
		}
	}
	return false
}

// said matches what documentation says of a parameter that is there for show.
var said = regexp.MustCompile(`(?i)\b(unused|not used|ignored?|deprecated|no effect|compatib)`)

func unusedByDesign(p *analysis.Pass, d *python.FuncDef) bool {
	if len(d.Body) == 0 {
		return true
	}
	if e, ok := d.Body[0].(*python.ExprStmt); ok {
		if s, isText := e.X.(*python.Str); isText && said.MatchString(s.Value) {
			return true
		}
	}
	first := sort.Search(len(p.Tree.Comments), func(i int) bool { return p.Tree.Comments[i].Start >= d.Start })
	for _, c := range p.Tree.Comments[first:] {
		if c.Start >= d.End {
			break
		}
		if said.MatchString(c.Text) {
			return true
		}
	}
	return false
}

// readIn reports whether anything in a function's body reads a name, or could
// without writing it.
func readIn(d *python.FuncDef, name string) bool {
	for _, s := range d.Body {
		if reads(s, name) || reads(s, "locals") || reads(s, "vars") {
			return true
		}
		if x, ok := s.(*python.Delete); ok && len(x.Targets) > 0 {
			return true
		}
	}
	return false
}

// dtypeParam reports whether a parameter is a dtype.
func dtypeParam(p *analysis.Pass, q *python.Param) bool {
	return q.Name == "dtype" || strings.HasSuffix(q.Name, "_dtype") || q.Annotation != nil && strings.Contains(p.Tree.Text(q.Annotation.Pos()), "torch.dtype")
}

// castSource reports whether a parameter is the dtype to cast from, by its name.
func castSource(q *python.Param) bool {
	first, kind, _ := strings.Cut(q.Name, "_")
	return (kind == "type" || kind == "dtype") && (first == "src" || first == "source" || first == "from")
}

// fixedInstead reports the one half dtype that a function uses in the place of
// the parameter.
func fixedInstead(p *analysis.Pass, d *python.FuncDef, q *python.Param) {
	if !dtypeParam(p, q) {
		return
	}
	var fixed []python.Expr
	var at *python.Call
	var is dtype.DType
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			call, ok := n.(*python.Call)
			if !ok {
				return true
			}
			x := argument(call, "dtype")
			if x == nil {
				_, x, _ = castTarget(p, call)
			}
			if x == nil || library(p, call.Func) == "torch.autocast" {
				return true
			}
			if t, isLiteral := dtypeLiteral(p, x); isLiteral && t.Half() {
				fixed, at, is = append(fixed, x), call, t
			}
			return true
		})
	}
	if len(fixed) != 1 {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, at), Scope: scopeOf(p, at), Ops: []python.Span{at.Pos()},
		Message: fmt.Sprintf("%s takes %s and never reads it: this is %s whatever the caller asks for.", code(d.Name), code(q.Name), is),
		Because: []analysis.Reason{
			p.Reason(q.Pos(), fmt.Sprintf("the parameter %s is not read in %s", code(q.Name), code(d.Name))),
			p.Reason(fixed[0].Pos(), fmt.Sprintf("%s stands in its place", code(p.Tree.Text(fixed[0].Pos())))),
		},
		Fix: &analysis.Fix{Title: "Use `" + q.Name + "`", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: fixed[0].Pos(), New: q.Name}}},
	})
}

// handedOn reports a source dtype that only calls of the function itself take,
// while a destination beside it is cast to.
func handedOn(p *analysis.Pass, d *python.FuncDef, q *python.Param) {
	if !castSource(q) {
		return
	}
	_, kind, _ := strings.Cut(q.Name, "_")
	inner := 0 // reads of the name in calls of the function itself
	all := 0
	var cast *python.Call
	var recv *python.Name
	var to string
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Name:
				if n.ID == q.Name {
					all++
				}
			case *python.Call:
				if isName(n.Func, d.Name) {
					for _, a := range n.Args {
						if isName(a.Value, q.Name) {
							inner++
						}
					}
				}
				if at, isMethod := n.Func.(*python.Attribute); isMethod && at.Sel == "to" && len(n.Args) == 1 {
					dst, isPlain := n.Args[0].Value.(*python.Name)
					x, plainRecv := at.X.(*python.Name)
					if isPlain && plainRecv && strings.HasSuffix(dst.ID, "_"+kind) && dst.ID != q.Name {
						cast, recv, to = n, x, dst.ID
					}
				}
			}
			return true
		})
	}
	if cast == nil || all == 0 || all != inner {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, cast), Scope: scopeOf(p, cast), Ops: []python.Span{cast.Pos()},
		Message: fmt.Sprintf("%s is never compared with anything, it is only handed on: this casts every tensor to %s, integers and masks too.", code(q.Name), code(to)),
		Because: []analysis.Reason{
			p.Reason(q.Pos(), fmt.Sprintf("only calls of %s itself take %s", code(d.Name), code(q.Name))),
			p.Reason(cast.Pos(), "the cast does not look at the dtype that the tensor has"),
		},
		Fix: &analysis.Fix{Title: "Cast what has `" + q.Name + "`", Safety: analysis.Safe, Edits: []analysis.Edit{
			{Span: cast.Pos(), New: fmt.Sprintf("(%s if %s.dtype == %s else %s)", p.Tree.Text(cast.Pos()), recv.ID, q.Name, recv.ID)},
		}},
	})
}
