package check

import "github.com/dtypebot/dtypebot/analysis/python"

// walk calls visit for n and everything below it, in the order of the source as
// far as the tree keeps it. Where visit returns false, it goes no deeper.
func walk(n python.Node, visit func(python.Node) bool) {
	if n == nil || !visit(n) {
		return
	}
	for _, k := range children(n) {
		walk(k, visit)
	}
}

// children lists the nodes directly below n.
func children(n python.Node) []python.Node {
	var out []python.Node
	expr := func(list ...python.Expr) {
		for _, e := range list {
			if e != nil {
				out = append(out, e)
			}
		}
	}
	body := func(list []python.Stmt) {
		for _, s := range list {
			out = append(out, s)
		}
	}
	params := func(list []python.Param) {
		for _, p := range list {
			expr(p.Annotation, p.Default)
		}
	}
	args := func(list []python.Arg) {
		for _, a := range list {
			expr(a.Value)
		}
	}
	switch n := n.(type) {
	case *python.FuncDef:
		expr(n.Decorators...)
		params(n.Params)
		expr(n.Returns)
		body(n.Body)
	case *python.ClassDef:
		expr(n.Decorators...)
		args(n.Args)
		body(n.Body)
	case *python.Return:
		expr(n.X)
	case *python.ExprStmt:
		expr(n.X)
	case *python.Assign:
		expr(n.Targets...)
		expr(n.Annotation, n.Value)
	case *python.If:
		expr(n.Cond)
		body(n.Body)
		body(n.Else)
	case *python.For:
		expr(n.Target, n.Iter)
		body(n.Body)
		body(n.Else)
	case *python.While:
		expr(n.Cond)
		body(n.Body)
		body(n.Else)
	case *python.With:
		for _, i := range n.Items {
			expr(i.Context, i.As)
		}
		body(n.Body)
	case *python.Try:
		body(n.Body)
		for _, h := range n.Handlers {
			expr(h.Type)
			body(h.Body)
		}
		body(n.Else)
		body(n.Finally)
	case *python.Match:
		expr(n.Subject)
		for _, c := range n.Cases {
			expr(c.Guard)
			body(c.Body)
		}
	case *python.Raise:
		expr(n.X, n.Cause)
	case *python.Assert:
		expr(n.Cond, n.Msg)
	case *python.Delete:
		expr(n.Targets...)
	case *python.BadStmt:
		out = append(out, n.Kids...)
	case *python.Attribute:
		expr(n.X)
	case *python.Call:
		expr(n.Func)
		args(n.Args)
	case *python.Subscript:
		expr(n.X)
		expr(n.Index...)
	case *python.Slice:
		expr(n.Lo, n.Hi, n.Step)
	case *python.Binary:
		expr(n.X, n.Y)
	case *python.BoolOp:
		expr(n.X, n.Y)
	case *python.Compare:
		expr(n.Xs...)
	case *python.Unary:
		expr(n.X)
	case *python.Await:
		expr(n.X)
	case *python.Yield:
		expr(n.X)
	case *python.Cond:
		expr(n.Then, n.Test, n.Else)
	case *python.Lambda:
		params(n.Params)
		expr(n.Body)
	case *python.Seq:
		expr(n.Xs...)
	case *python.Dict:
		for _, i := range n.Items {
			expr(i.Key, i.Value)
		}
	case *python.Comp:
		expr(n.Key, n.Elem)
		for _, c := range n.Clauses {
			expr(c.Target, c.Iter)
			expr(c.Ifs...)
		}
	case *python.Str:
		expr(n.Interp...)
	case *python.Starred:
		expr(n.X)
	case *python.Walrus:
		expr(n.Value)
	case *python.BadExpr:
		out = append(out, n.Kids...)
	}
	return out
}
