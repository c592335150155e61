package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var cacheOfFirstDType = &analysis.Rule{
	Name:     "cache-of-first-dtype",
	Severity: analysis.Medium,
	Preview:  true, // seen in no project yet
	Doc: `A cache keeps the dtype of the first call for all later ones

A mask, a table of cosines or a buffer is made once, in the dtype of the tensor at
hand, and kept. The check before it asks whether there is one and whether it is
large enough or on the right device, not whether it has the dtype: after one call
in float32 (a sanity check, an evaluation) the half ones get float32.

Evidence: under a condition that begins with "is None" the cache is made with the
dtype of a parameter of the function, and is read behind it. Likely where the
condition goes on and compares the cache's size or device, since its author
expects other inputs, and where the cache is global, shared by all models;
otherwise possible.

Fix: the condition asks for the dtype too.

Silent where the condition or any other place of the class reads the cache's
dtype, where the cache is cast when it is read, and where it is emptied elsewhere.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			i, ok := s.(*python.If)
			if !ok || triton(p, around) {
				return
			}
			if d := function(around); d != nil && d.Name != "__init__" {
				class, _ := classAround(around)
				firstDType(p, class, d, i)
			}
		})
	},
}

// firstDType looks at one condition before a cache is made.
func firstDType(p *analysis.Pass, class *python.ClassDef, d *python.FuncDef, i *python.If) {
	cache, more := checkedForNone(i.Cond)
	cond := p.Tree.Text(i.Cond.Pos())
	held := strings.HasPrefix(cache, "self.") && class != nil
	if cache == "" || len(i.Else) > 0 || strings.Contains(cond, "dtype") || !held && !declaredGlobal(d, cache) {
		return
	}
	made, of := madeWithDTypeOf(p, d, i, cache)
	read := readOfCache(d, i, cache)
	if made == nil || read == nil {
		return
	}
	var owner python.Node = d
	if held {
		owner = class
	}
	if asksOrEmpties(p, owner, made, cache) {
		return
	}
	f := analysis.Finding{
		Confidence: analysis.Possible, At: i.Cond.Pos(), Scope: scopeOf(p, i.Cond), Ops: []python.Span{made.Pos()},
		Message: fmt.Sprintf("%s is made with the dtype of %s and kept. The condition does not ask for it: once made in float32, it is float32 for every later %s in half precision, and the other way round.",
			code(cache), code(of), code(of)),
		Because: []analysis.Reason{
			p.Reason(made.Pos(), fmt.Sprintf("made with the dtype of the %s at hand", code(of))),
			p.Reason(i.Cond.Pos(), "made anew under this condition alone"),
			p.Reason(read.Pos(), "used here, whatever its dtype"),
		},
		Fix: &analysis.Fix{Title: "Ask for the dtype too", Safety: analysis.Safe, Edits: []analysis.Edit{
			insertAt(i.Cond.Pos().End, fmt.Sprintf(" or %s.dtype != %s.dtype", cache, of)),
		}},
	}
	if !held || more && strings.Count(cond, cache) > 1 {
		f.Confidence = analysis.Likely
	}
	p.Report(f)
}

// checkedForNone is what a condition holds against None first, and whether it
// goes on with or.
func checkedForNone(cond python.Expr) (cache string, more bool) {
	for {
		b, ok := cond.(*python.BoolOp)
		if !ok {
			break
		}
		if b.Op != "or" {
			return "", false
		}
		cond, more = b.X, true
	}
	c, ok := cond.(*python.Compare)
	if !ok || len(c.Ops) != 1 || c.Ops[0] != "is" {
		return "", false
	}
	if l, isLit := c.Xs[1].(*python.Lit); !isLit || l.Kind != "none" {
		return "", false
	}
	cache, _ = path(c.Xs[0])
	return cache, more
}

// declaredGlobal reports whether a function declares a name global.
func declaredGlobal(d *python.FuncDef, name string) bool {
	return slices.ContainsFunc(d.Body, func(s python.Stmt) bool {
		g, ok := s.(*python.Global)
		return ok && !g.Nonlocal && slices.Contains(g.Names, name)
	})
}

// madeWithDTypeOf is the assignment to a cache under a condition, and the
// parameter whose dtype it is given there.
func madeWithDTypeOf(p *analysis.Pass, d *python.FuncDef, i *python.If, cache string) (made *python.Assign, of string) {
	for _, s := range i.Body {
		a, ok := s.(*python.Assign)
		if !ok || a.Op != "" || a.Value == nil || len(a.Targets) != 1 {
			continue
		}
		if target, _ := path(a.Targets[0]); target != cache {
			continue
		}
		made, of = a, ""
		r, rooted := tensorRoot(p.Facts.Values[a.Value])
		python.Inspect(a.Value, func(n python.Node) bool {
			at, ok := n.(*python.Attribute)
			if ok && at.Sel == "dtype" && rooted && isName(at.X, r) && hasParam(d, r) {
				of = r
			}
			return true
		})
	}
	if of == "" {
		return nil, ""
	}
	return made, of
}

// readOfCache is a place behind a condition where a function reads a cache.
func readOfCache(d *python.FuncDef, i *python.If, cache string) (read python.Node) {
	for _, s := range d.Body {
		python.Inspect(s, func(n python.Node) bool {
			x, ok := n.(python.Expr)
			if !ok || read != nil || n.Pos().End <= i.Pos().End {
				return read == nil
			}
			if text, isPath := path(x); isPath && text == cache && n.Pos().Start > i.Pos().End {
				read = n
			}
			return read == nil
		})
	}
	return read
}

// asksOrEmpties reports whether a class, or a function, does anything else about
// the dtype of its cache: reads it, casts the cache, or makes it anew elsewhere.
func asksOrEmpties(p *analysis.Pass, owner python.Node, made *python.Assign, cache string) bool {
	found := false
	python.Inspect(owner, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.FuncDef:
			return n.Name != "__init__" || n == owner
		case *python.Attribute:
			of, _ := path(n.X)
			switch n.Sel {
			case "dtype", "to", "type", "type_as", "float", "half", "bfloat16", "double":
				found = found || of == cache
			}
		case *python.Assign:
			for _, t := range n.Targets {
				text, _ := path(t)
				found = found || text == cache && n != made
			}
		}
		return !found
	})
	return found
}
