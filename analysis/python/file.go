package python

import (
	"sort"
	"sync"
)

// A File is one parsed source file. It is immutable after Parse.
type File struct {
	Source   string
	Body     []Stmt
	Comments []Comment
	// Bad lists the places that did not parse; the rest of the tree holds.
	Bad []Span
	// Cut says that the tree was deeper than MaxDepth somewhere, and what lay
	// deeper is BadExpr or BadStmt.
	Cut bool

	lines []uint32 // offset of the first byte of each line

	once       sync.Once
	statements []Nested
	onceOwn    sync.Once
	own        map[Stmt][]Node
}

// A Nested is a statement, or a handler or case with statements, and how many of
// those stand around it.
type Nested struct {
	Node  Node
	Depth int
}

// Statements lists all statements, handlers and cases in the order of the
// source, each before those inside it. The list is made once, since every rule
// asks for it; callers must not change it.
func (f *File) Statements() []Nested {
	f.once.Do(func() { f.statements = nested(f.Body, func(Node) bool { return true }) })
	return f.statements
}

// Inner lists the statements, handlers and cases of the function's body, in the
// order of the source, without functions and classes inside it. The list is made
// once; callers must not change it.
func (f *FuncDef) Inner() []Nested {
	f.once.Do(func() {
		f.inner = nested(f.Body, func(n Node) bool {
			switch n.(type) {
			case *FuncDef, *ClassDef:
				return false
			}
			return true
		})
	})
	return f.inner
}

// nested lists the statements, handlers and cases that are wanted, each before
// those inside it.
func nested(body []Stmt, want func(Node) bool) (list []Nested) {
	var add func(n Node, depth int)
	add = func(n Node, depth int) {
		switch n.(type) {
		case Stmt, *Handler, *Case:
		default:
			return
		}
		if !want(n) {
			return
		}
		list = append(list, Nested{n, depth})
		if Compound(n) {
			for c := range Children(n) {
				add(c, depth+1)
			}
		}
	}
	for _, s := range body {
		add(s, 0)
	}
	return list
}

// Compound reports whether statements may stand inside a statement, handler or
// case. Expressions hold none.
func Compound(n Node) bool {
	switch n.(type) {
	case *ExprStmt, *Assign, *Return, *Import, *Branch, *Raise, *Assert, *Delete, *Global:
		return false
	}
	return true
}

// Own lists the nodes of a statement of the file that belong to no statement,
// handler or case inside it, in the order of the source and without the statement
// itself. The lists are made once, since every rule asks for them; callers must
// not change them.
func (f *File) Own(s Stmt) []Node {
	f.onceOwn.Do(func() {
		f.own = make(map[Stmt][]Node, len(f.Statements()))
		var nodes []Node // one array for all
		for _, n := range f.Statements() {
			s, ok := n.Node.(Stmt)
			if !ok {
				continue
			}
			from := len(nodes)
			Inspect(s, func(n Node) bool {
				switch n.(type) {
				case Stmt, *Handler, *Case:
					return n == Node(s)
				}
				nodes = append(nodes, n)
				return true
			})
			f.own[s] = nodes[from:len(nodes):len(nodes)]
		}
	})
	return f.own[s]
}

// MaxDepth is how deeply nested a tree is lowered. A 4 MB "1+1+…" otherwise
// ends the process with a stack overflow that recover cannot catch.
const MaxDepth = 1000

// indexLines fills lines. A line ends in "\n", "\r\n" or a lone "\r".
func (f *File) indexLines() {
	f.lines = append(f.lines[:0], 0)
	for i := 0; i < len(f.Source); i++ {
		switch f.Source[i] {
		case '\r':
			if i+1 < len(f.Source) && f.Source[i+1] == '\n' {
				i++
			}
			f.lines = append(f.lines, uint32(i+1))
		case '\n':
			f.lines = append(f.lines, uint32(i+1))
		}
	}
}

// Line returns the 1-based line of a byte offset.
func (f *File) Line(offset uint32) int {
	return sort.Search(len(f.lines), func(i int) bool { return f.lines[i] > offset })
}

// Position returns the 1-based line and the 1-based column in bytes.
func (f *File) Position(offset uint32) (line, column int) {
	line = f.Line(offset)
	return line, int(offset-f.lines[line-1]) + 1
}

// LineCount returns the number of lines; a final newline does not start one.
func (f *File) LineCount() int {
	n := len(f.lines)
	if n > 1 && int(f.lines[n-1]) == len(f.Source) {
		n--
	}
	return n
}

// LineSpan returns the span of a 1-based line with its line end.
func (f *File) LineSpan(line int) Span {
	end := uint32(len(f.Source))
	if line < len(f.lines) {
		end = f.lines[line]
	}
	return Span{f.lines[line-1], end}
}

// Text returns the source of a span.
func (f *File) Text(s Span) string { return f.Source[s.Start:s.End] }

// Lines returns the first and last 1-based line that a span touches.
func (f *File) Lines(s Span) (first, last int) {
	first = f.Line(s.Start)
	if s.End > s.Start {
		return first, f.Line(s.End - 1)
	}
	return first, first
}
