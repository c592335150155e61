package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var copyWithoutDType = &analysis.Rule{
	Name:     "copy-without-dtype",
	Severity: analysis.Medium,
	Doc: `A method makes another object of its class and does not pass its dtype on

The constructor takes dtype and keeps it in self.dtype; a method such as copy()
makes a new object without it. The copy has the default dtype, and what is moved
into it keeps its own.

Evidence: the constructor has a parameter dtype with a default and stores it as
self.dtype, a method makes an object of the same class without dtype, gives it
nothing by * or **, and returns it (likely).

Fix: dtype=self.dtype.

Silent where the new object is cast or its dtype is set, for class methods and
other functions that have no self, and for methods that have a dtype of their
own or say by their name that they change it.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, _ []python.Node) {
			c, ok := s.(*python.ClassDef)
			if !ok {
				return
			}
			at, stored := keepsDType(p, c)
			if stored == nil {
				return
			}
			for _, m := range c.Body {
				if d, isDef := m.(*python.FuncDef); isDef && d.Name != "__init__" && len(d.Params) > 0 && d.Params[0].Name == "self" && !ofPrecision(d.Name) {
					copies(p, c, d, at, stored)
				}
			}
		})
	},
}

// keepsDType is the assignment of a constructor that keeps its parameter dtype
// in self.dtype, and which argument that is, self not counted.
func keepsDType(p *analysis.Pass, c *python.ClassDef) (at int, stored *python.Assign) {
	for _, m := range c.Body {
		d, ok := m.(*python.FuncDef)
		if !ok || d.Name != "__init__" {
			continue
		}
		for i, q := range d.Params {
			if q.Name != "dtype" || q.Default == nil {
				continue
			}
			if q.KeywordOnly {
				i = len(d.Params) + 1
			}
			inBody(d, func(s python.Stmt, _ []python.Node) {
				if a, isAssign := s.(*python.Assign); isAssign && len(a.Targets) == 1 && a.Value != nil && reads(a.Value, "dtype") {
					if text, isPath := path(a.Targets[0]); isPath && text == "self.dtype" {
						at, stored = i-1, a
					}
				}
			})
		}
	}
	return at, stored
}

// copies looks for new objects of the class that a method returns.
func copies(p *analysis.Pass, c *python.ClassDef, d *python.FuncDef, at int, stored *python.Assign) {
	if hasParam(d, "dtype") {
		return
	}
	inBody(d, func(s python.Stmt, _ []python.Node) {
		var call *python.Call
		switch s := s.(type) {
		case *python.Assign:
			if made, ok := s.Value.(*python.Call); ok && len(s.Targets) == 1 && s.Op == "" {
				if name := boundName(s); name != "" && bindings(d, name) == 1 && returned(d, name) && !dtypeSet(d, name) {
					call = made
				}
			}
		case *python.Return:
			call, _ = s.X.(*python.Call)
		}
		if call == nil || !ofClass(p, call.Func, c.Name) || argument(call, "dtype") != nil || !plainArguments(call, at) {
			return
		}
		text := "dtype=self.dtype"
		where := call.Lparen + 1
		if n := len(call.Args); n > 0 {
			text, where = ", "+text, call.Args[n-1].End
		}
		p.Report(analysis.Finding{
			Confidence: analysis.Likely, At: s.Pos(), Scope: scopeOf(p, s), Ops: []python.Span{call.Pos()},
			Message: fmt.Sprintf("%s makes another %s without a dtype: it has the default one, while %s may have any.", code(d.Name), code(c.Name), code("self.dtype")),
			Because: []analysis.Reason{
				p.Reason(stored.Pos(), "the constructor keeps the dtype that it is given"),
				p.Reason(call.Pos(), "none is given here"),
			},
			Fix: &analysis.Fix{Title: "Pass `self.dtype` on", Safety: analysis.Safe, Edits: []analysis.Edit{insertAt(where, text)}},
		})
	})
}

// ofClass reports whether an expression is the class of that name, or the class
// of self.
func ofClass(p *analysis.Pass, x python.Expr, name string) bool {
	text := squeeze(p.Tree.Text(x.Pos()))
	return text == name || text == "type(self)" || text == "self.__class__"
}

// plainArguments reports whether a call has fewer positional arguments than
// would reach the place at, and none that are unpacked.
func plainArguments(call *python.Call, at int) bool {
	n := 0
	for _, a := range call.Args {
		if a.Star > 0 {
			return false
		}
		if a.Name == "" {
			n++
		}
	}
	return n <= at
}

// returned reports whether a function returns a name.
func returned(d *python.FuncDef, name string) bool {
	found := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		if r, ok := s.(*python.Return); ok && isName(r.X, name) {
			found = true
		}
	})
	return found
}

// dtypeSet reports whether a function casts a name or sets the dtype of it.
func dtypeSet(d *python.FuncDef, name string) bool {
	if movedIn(d, name) {
		return true
	}
	found := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		if a, ok := s.(*python.Assign); ok {
			for _, t := range a.Targets {
				if text, isPath := path(t); isPath && strings.HasPrefix(text, name+".") && strings.HasSuffix(text, "dtype") {
					found = true
				}
			}
		}
	})
	return found
}
