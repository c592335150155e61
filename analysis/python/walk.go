package python

import (
	"iter"
	"slices"
	"sort"
)

// Children yields the nodes directly below n in the order of the source.
// Parameters, arguments, handlers and cases come as *Param, *Arg, *Handler and
// *Case. What has no span of its own (WithItem, DictItem, Clause) is not a node:
// its expressions are yielded in its place. It panics for a Node of another
// package.
func Children(n Node) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		w := walker{yield: yield}
		w.children(n)
	}
}

// Inspect calls f for n and, as long as f returns true, for what is below it, in
// the order of the source. See Children for the types that f may meet.
func Inspect(n Node, f func(Node) bool) {
	if n == nil || !f(n) {
		return
	}
	w := walker{} // one for the whole tree
	w.yield = func(c Node) bool {
		if f(c) {
			w.children(c)
		}
		return true
	}
	w.children(n)
}

// Inspect calls f for every node of the file, see the function Inspect.
func (f *File) Inspect(visit func(Node) bool) {
	for _, s := range f.Body {
		Inspect(s, visit)
	}
}

// A walker yields nodes until it is told to stop.
type walker struct {
	yield   func(Node) bool
	stopped bool
}

func (w *walker) node(n Node) {
	if !w.stopped && !w.yield(n) {
		w.stopped = true
	}
}

// exprs yields those that are there.
func (w *walker) exprs(xs ...Expr) {
	for _, x := range xs {
		if x != nil {
			w.node(x)
		}
	}
}

func (w *walker) stmts(lists ...[]Stmt) {
	for _, ss := range lists {
		for _, s := range ss {
			w.node(s)
		}
	}
}

func (w *walker) params(ps []Param) {
	for i := range ps {
		w.node(&ps[i])
	}
}

func (w *walker) args(as []Arg) {
	for i := range as {
		w.node(&as[i])
	}
}

func (w *walker) kids(ns []Node) {
	for _, n := range ns {
		w.node(n)
	}
}

func (w *walker) children(n Node) {
	switch n := n.(type) {
	case *FuncDef:
		w.exprs(n.Decorators...)
		w.params(n.Params)
		w.exprs(n.Returns)
		w.stmts(n.Body)
	case *ClassDef:
		w.exprs(n.Decorators...)
		w.args(n.Args)
		w.stmts(n.Body)
	case *Param:
		w.exprs(n.Annotation, n.Default)
	case *Return:
		w.exprs(n.X)
	case *ExprStmt:
		w.exprs(n.X)
	case *Assign:
		w.exprs(n.Targets...)
		w.exprs(n.Annotation, n.Value)
	case *If:
		w.exprs(n.Cond)
		w.stmts(n.Body, n.Else)
	case *For:
		w.exprs(n.Target, n.Iter)
		w.stmts(n.Body, n.Else)
	case *While:
		w.exprs(n.Cond)
		w.stmts(n.Body, n.Else)
	case *With:
		for _, it := range n.Items {
			w.exprs(it.Context, it.As)
		}
		w.stmts(n.Body)
	case *Try:
		w.stmts(n.Body)
		for i := range n.Handlers {
			w.node(&n.Handlers[i])
		}
		w.stmts(n.Else, n.Finally)
	case *Handler:
		w.exprs(n.Type)
		w.stmts(n.Body)
	case *Match:
		w.exprs(n.Subject)
		for i := range n.Cases {
			w.node(&n.Cases[i])
		}
	case *Case:
		w.exprs(n.Guard)
		w.stmts(n.Body)
	case *Raise:
		w.exprs(n.X, n.Cause)
	case *Assert:
		w.exprs(n.Cond, n.Msg)
	case *Delete:
		w.exprs(n.Targets...)
	case *BadStmt:
		w.kids(n.Kids)
	case *Import, *Global, *Branch:

	case *Attribute:
		w.exprs(n.X)
	case *Arg:
		w.exprs(n.Value)
	case *Call:
		w.exprs(n.Func)
		w.args(n.Args)
	case *Subscript:
		w.exprs(n.X)
		w.exprs(n.Index...)
	case *Slice:
		w.exprs(n.Lo, n.Hi, n.Step)
	case *Binary:
		w.exprs(n.X, n.Y)
	case *BoolOp:
		w.exprs(n.X, n.Y)
	case *Compare:
		w.exprs(n.Xs...)
	case *Unary:
		w.exprs(n.X)
	case *Await:
		w.exprs(n.X)
	case *Yield:
		w.exprs(n.X)
	case *Cond:
		w.exprs(n.Then, n.Test, n.Else)
	case *Lambda:
		w.params(n.Params)
		w.exprs(n.Body)
	case *Seq:
		w.exprs(n.Xs...)
	case *Dict:
		for _, it := range n.Items {
			w.exprs(it.Key, it.Value)
		}
	case *Comp:
		w.exprs(n.Key, n.Elem)
		for _, c := range n.Clauses {
			w.exprs(c.Target, c.Iter)
			w.exprs(c.Ifs...)
		}
	case *Str:
		w.exprs(n.Interp...)
	case *Starred:
		w.exprs(n.X)
	case *Walrus:
		w.exprs(n.Value)
	case *BadExpr:
		w.kids(n.Kids)
	case *Name, *Lit:

	default:
		panic("python: not a node of this package")
	}
}

// path calls f for each node that contains the byte at offset, from the outside
// in.
func (f *File) path(offset uint32, visit func(Node)) {
	holds := func(n Node) bool { return n.Pos().Start <= offset && offset < n.Pos().End }
	// A file has few statements above one another and many side by side.
	i := sort.Search(len(f.Body), func(i int) bool { return f.Body[i].Pos().End > offset })
	if i == len(f.Body) || !holds(f.Body[i]) {
		return
	}
	for n := Node(f.Body[i]); n != nil; {
		visit(n)
		var next Node
		for c := range Children(n) {
			if holds(c) {
				next = c
				break
			}
		}
		n = next
	}
}

// StmtAt returns the innermost statement that holds the byte at offset, nil if
// there is none, as between two statements of the module.
func (f *File) StmtAt(offset uint32) Stmt {
	var at Stmt
	f.path(offset, func(n Node) {
		if s, ok := n.(Stmt); ok {
			at = s
		}
	})
	return at
}

// ExprAt returns the innermost expression that holds the byte at offset, nil if
// there is none.
func (f *File) ExprAt(offset uint32) Expr {
	var at Expr
	f.path(offset, func(n Node) {
		if e, ok := n.(Expr); ok {
			at = e
		}
	})
	return at
}

// Enclosing returns the classes and functions around the byte at offset, such
// as "LiftNet.forward", "" at the level of the module. A decorator and the head
// of a definition count as inside it.
func (f *File) Enclosing(offset uint32) string {
	name := ""
	f.path(offset, func(n Node) {
		switch n := n.(type) {
		case *FuncDef:
			name = join(name, n.Name)
		case *ClassDef:
			name = join(name, n.Name)
		}
	})
	return name
}

func join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

// Parenthesised reports whether brackets stand around the whole of e, so that
// text may be put behind it without a change of what e is. A tuple or generator
// in its own brackets counts, a list, set, dictionary or comprehension of one
// does not need any and does not.
func Parenthesised(f *File, e Expr) bool {
	sp := e.Pos()
	if sp.End-sp.Start < 2 || f.Source[sp.Start] != '(' || f.Source[sp.End-1] != ')' {
		return false
	}
	// The first bracket is around e unless the first part of e begins with it.
	switch e := e.(type) {
	case *Slice, *BadExpr:
		return false
	case *Unary, *Await, *Yield, *Lambda, *Starred, *Walrus:
		return true
	default:
		for c := range Children(e) {
			return c.Pos().Start > sp.Start
		}
		return true
	}
}

// NeedsParens reports whether e needs brackets before ".name" or "(…)" may be
// appended to its text. A number does, for "1.to" is no attribute.
func NeedsParens(f *File, e Expr) bool {
	switch e := e.(type) {
	case *Name, *Attribute, *Call, *Subscript, *Str, *Dict:
		return false
	case *Lit:
		if !slices.Contains([]string{"int", "float", "imaginary"}, e.Kind) {
			return false
		}
	case *Seq:
		if e.Kind != "tuple" {
			return false
		}
	case *Comp:
		if e.Kind != "generator" {
			return false
		}
	}
	return !Parenthesised(f, e)
}
