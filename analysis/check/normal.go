package check

import (
	"fmt"
	"math/big"
	"sort"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// A place is one statement with what is needed to compare it with others. Of a
// statement that holds others (def, if, with, …) only the head is meant.
type place struct {
	stmt        python.Stmt
	span        python.Span // the whole statement
	first, last int         // lines of the statement, or of its head
	scope       string      // qualified name of the enclosing definition
	text        string      // layout-free text, see normalText
}

// places lists all statements of a file in the order of the source, each before
// those inside it.
func places(f *python.File) []place {
	p := placer{f: f}
	p.block(f.Body, "")
	sort.SliceStable(p.out, func(i, j int) bool { return p.out[i].span.Start < p.out[j].span.Start })
	return p.out
}

type placer struct {
	f   *python.File
	out []place
}

func (p *placer) block(body []python.Stmt, scope string) {
	for _, s := range body {
		p.stmt(s, scope)
	}
}

func (p *placer) stmt(s python.Stmt, scope string) {
	span := s.Pos()
	pl := place{stmt: s, span: span, scope: scope, text: normalText(p.f, s)}
	pl.first, pl.last = p.f.Lines(span)
	inner := scope
	switch s := s.(type) {
	case *python.FuncDef:
		inner = qualify(scope, s.Name)
	case *python.ClassDef:
		inner = qualify(scope, s.Name)
	}
	kids := inside(s)
	if len(kids) > 0 {
		if last := p.headEnd(span.Start, kids[0].Pos().Start); last < pl.last {
			pl.last = max(pl.first, last)
		}
	}
	p.out = append(p.out, pl)
	p.block(kids, inner)
}

// inside lists the statements right below a statement.
func inside(n python.Node) []python.Stmt {
	var out []python.Stmt
	for k := range python.Children(n) {
		switch k := k.(type) {
		case python.Stmt:
			out = append(out, k)
		case *python.Handler, *python.Case, *python.BadExpr:
			out = append(out, inside(k)...)
		}
	}
	return out
}

// headEnd returns the last line of the text between two offsets, leaving out
// white space and comments on lines of their own at its end.
func (p *placer) headEnd(from, to uint32) int {
	cs := p.f.Comments
	i := sort.Search(len(cs), func(i int) bool { return cs[i].Start >= to }) - 1
	for to > from {
		switch c := p.f.Source[to-1]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			to--
		case i >= 0 && cs[i].Own && cs[i].End >= to && cs[i].Start >= from:
			to = cs[i].Start
			i--
		default:
			return p.f.Line(to - 1)
		}
	}
	return p.f.Line(from)
}

func qualify(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

// at returns the innermost statement that contains an offset, or nil.
func at(all []place, offset uint32) *place {
	i := sort.Search(len(all), func(i int) bool { return all[i].span.Start > offset })
	for i--; i >= 0; i-- {
		if s := all[i].span; s.Start <= offset && offset < max(s.End, s.Start+1) {
			return &all[i]
		}
	}
	return nil
}

// normalText writes a statement, or the head of one that holds others, in one
// fixed layout: no white space, comments, redundant parentheses, trailing
// commas or choice of quotes. Two statements with one text differ in layout
// only. The text is part of fingerprints, so it must not change lightly.
func normalText(f *python.File, s python.Stmt) string {
	w := writer{f: f}
	w.stmt(s)
	return w.b.String()
}

type writer struct {
	f *python.File
	b strings.Builder
}

func (w *writer) put(parts ...string) {
	for _, p := range parts {
		w.b.WriteString(p)
	}
}

// raw writes the source without white space, quotes and line continuations.
func (w *writer) raw(s python.Span) {
	for _, r := range w.f.Text(s) {
		switch r {
		case ' ', '\t', '\n', '\r', '\f', '\\', '"', '\'':
		default:
			w.b.WriteRune(r)
		}
	}
}

// number writes 0xFF like 255 and 1E5 like 100000.0; other literals are words.
func (w *writer) number(e *python.Lit) {
	text := strings.ToLower(e.Text)
	switch e.Kind {
	case "int":
		if n, ok := new(big.Int).SetString(text, 0); ok && len(text) < 100 {
			text = n.String()
		}
	case "float":
		if x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil {
			text = strconv.FormatFloat(x, 'g', -1, 64) + "f"
		}
	}
	w.put(text)
}

// joined writes a string with interpolations, perhaps of several parts, without
// the quotes, prefixes, escapes and white space that a formatter may change.
func (w *writer) joined(e *python.Str) {
	w.put(`f"`)
	defer w.put(`"`)
	src, interp := w.f.Source, e.Interp
	quote := "" // of the part around pos, "" between parts
	for pos := e.Start; pos < e.End; {
		for len(interp) > 0 && interp[0].Pos().Start < pos {
			interp = interp[1:] // inside a format, written as text
		}
		rest := src[pos:e.End]
		switch c := rest[0]; {
		case quote != "" && len(interp) > 0 && interp[0].Pos().Start == pos && interp[0].Pos().End > pos:
			w.expr(interp[0])
			pos = interp[0].Pos().End
			continue
		case quote == "" && (c == '"' || c == '\''):
			quote = rest[:1]
			if triple := strings.Repeat(quote, 3); strings.HasPrefix(rest, triple) {
				quote = triple
			}
			pos += uint32(len(quote))
			continue
		case quote == "" && c == '#': // a comment between parts may hold quotes
			if end := strings.IndexByte(rest, '\n'); end > 0 {
				pos += uint32(end)
				continue
			}
		case quote == "": // prefix, white space or parenthesis
		case strings.HasPrefix(rest, quote):
			pos += uint32(len(quote))
			quote = ""
			continue
		case c == '\\' && len(rest) > 1:
			if rest[1] != '\n' && rest[1] != '\r' {
				w.b.WriteByte(rest[1])
			}
			pos++
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		default:
			w.b.WriteByte(c)
		}
		pos++
	}
}

func (w *writer) stmt(s python.Stmt) {
	switch s := s.(type) {
	case *python.FuncDef:
		w.decorators(s.Decorators)
		if s.Async {
			w.put("async ")
		}
		w.put("def ", s.Name, "(")
		w.params(s.Params)
		w.put(")")
		w.prefixed("->", s.Returns)
	case *python.ClassDef:
		w.decorators(s.Decorators)
		w.put("class ", s.Name, "(")
		w.args(s.Args)
		w.put(")")
	case *python.Return:
		w.put("return ")
		w.expr(s.X)
	case *python.ExprStmt:
		w.expr(s.X)
	case *python.Assign:
		for i, t := range s.Targets {
			if i > 0 {
				w.put("=")
			}
			w.expr(t)
		}
		w.prefixed(":", s.Annotation)
		w.prefixed(s.Op+"=", s.Value)
	case *python.If:
		w.put("if ")
		w.expr(s.Cond)
	case *python.For:
		if s.Async {
			w.put("async ")
		}
		w.put("for ")
		w.expr(s.Target)
		w.put(" in ")
		w.expr(s.Iter)
	case *python.While:
		w.put("while ")
		w.expr(s.Cond)
	case *python.With:
		if s.Async {
			w.put("async ")
		}
		w.put("with ")
		for i, item := range s.Items {
			if i > 0 {
				w.put(",")
			}
			w.expr(item.Context)
			w.prefixed(" as ", item.As)
		}
	case *python.Try:
		w.put("try")
		for _, h := range s.Handlers {
			w.prefixed(" except ", h.Type)
			if h.Name != "" {
				w.put(" as ", h.Name)
			}
		}
	case *python.Match:
		w.put("match ")
		w.expr(s.Subject)
		for _, c := range s.Cases {
			w.put(" case ", strings.Join(c.Binds, ","))
			w.prefixed(" if ", c.Guard)
		}
	case *python.Import:
		if s.From {
			w.put("from ", s.Module, " ")
		}
		w.put("import ")
		for i, n := range s.Names {
			if i > 0 {
				w.put(",")
			}
			w.put(n.Name)
			if n.As != "" {
				w.put(" as ", n.As)
			}
		}
	case *python.Raise:
		w.put("raise ")
		w.expr(s.X)
		w.prefixed(" from ", s.Cause)
	case *python.Assert:
		w.put("assert ")
		w.expr(s.Cond)
		w.prefixed(",", s.Msg)
	case *python.Delete:
		w.put("del ")
		w.list(s.Targets)
	case *python.Global:
		if s.Nonlocal {
			w.put("nonlocal ")
		} else {
			w.put("global ")
		}
		w.put(strings.Join(s.Names, ","))
	case *python.Branch:
		w.put(s.Kind)
	default:
		w.raw(s.Pos())
	}
}

func (w *writer) decorators(list []python.Expr) {
	for _, d := range list {
		w.put("@")
		w.expr(d)
		w.put(" ")
	}
}

// prefixed writes a prefix and an expression, or nothing if there is none.
func (w *writer) prefixed(prefix string, e python.Expr) {
	if e != nil {
		w.put(prefix)
		w.expr(e)
	}
}

func (w *writer) list(list []python.Expr) {
	for i, e := range list {
		if i > 0 {
			w.put(",")
		}
		w.expr(e)
	}
}

func (w *writer) args(list []python.Arg) {
	for i, a := range list {
		if i > 0 {
			w.put(",")
		}
		w.put(strings.Repeat("*", a.Star))
		if a.Name != "" {
			w.put(a.Name, "=")
		}
		w.expr(a.Value)
	}
}

func (w *writer) params(list []python.Param) {
	for i, p := range list {
		if i > 0 {
			w.put(",")
		}
		w.put(strings.Repeat("*", p.Star), p.Name)
		w.prefixed(":", p.Annotation)
		w.prefixed("=", p.Default)
	}
}

// expr writes operators with parentheses, so that the text shows the tree and
// not the parentheses that the author chose.
func (w *writer) expr(e python.Expr) {
	switch e := e.(type) {
	case nil:
	case *python.Name:
		w.put(e.ID)
	case *python.Attribute:
		w.expr(e.X)
		w.put(".", e.Sel)
	case *python.Call:
		w.expr(e.Func)
		w.put("(")
		w.args(e.Args)
		w.put(")")
	case *python.Subscript:
		w.expr(e.X)
		index, tuple := e.Index, e.Tuple
		if len(index) == 1 && !tuple {
			if t, ok := index[0].(*python.Seq); ok && t.Kind == "tuple" && len(t.Xs) > 0 {
				index, tuple = t.Xs, true // x[(i, j)] is x[i, j]
			}
		}
		w.put("[")
		w.list(index)
		if tuple && len(index) == 1 {
			w.put(",")
		}
		w.put("]")
	case *python.Slice:
		w.expr(e.Lo)
		w.put(":")
		w.expr(e.Hi)
		w.prefixed(":", e.Step)
	case *python.Binary:
		w.put("(")
		w.expr(e.X)
		w.put(e.Op)
		w.expr(e.Y)
		w.put(")")
	case *python.BoolOp:
		w.put("(")
		w.expr(e.X)
		w.put(" ", e.Op, " ")
		w.expr(e.Y)
		w.put(")")
	case *python.Compare:
		w.put("(")
		for i, x := range e.Xs {
			if i > 0 && i <= len(e.Ops) {
				w.put(" ", e.Ops[i-1], " ")
			}
			w.expr(x)
		}
		w.put(")")
	case *python.Unary:
		w.put("(", e.Op, " ")
		w.expr(e.X)
		w.put(")")
	case *python.Await:
		w.put("await ")
		w.expr(e.X)
	case *python.Yield:
		w.put("(yield ")
		if e.From {
			w.put("from ")
		}
		w.expr(e.X)
		w.put(")")
	case *python.Cond:
		w.put("(")
		w.expr(e.Then)
		w.put(" if ")
		w.expr(e.Test)
		w.put(" else ")
		w.expr(e.Else)
		w.put(")")
	case *python.Lambda:
		w.put("(lambda ")
		w.params(e.Params)
		w.put(":")
		w.expr(e.Body)
		w.put(")")
	case *python.Seq:
		brackets := map[string]string{"list": "[]", "set": "{}", "tuple": "()"}[e.Kind]
		if brackets == "" {
			brackets = "()"
		}
		w.put(brackets[:1])
		w.list(e.Xs)
		if e.Kind == "tuple" && len(e.Xs) == 1 {
			w.put(",")
		}
		w.put(brackets[1:])
	case *python.Dict:
		w.put("{")
		for i, item := range e.Items {
			if i > 0 {
				w.put(",")
			}
			if item.Key == nil {
				w.put("**")
			} else {
				w.expr(item.Key)
				w.put(":")
			}
			w.expr(item.Value)
		}
		w.put("}")
	case *python.Comp:
		w.put(e.Kind, "<")
		w.expr(e.Key)
		w.put(":")
		w.expr(e.Elem)
		for _, c := range e.Clauses {
			if c.Async {
				w.put(" async")
			}
			w.put(" for ")
			w.expr(c.Target)
			w.put(" in ")
			w.expr(c.Iter)
			for _, i := range c.Ifs {
				w.put(" if ")
				w.expr(i)
			}
		}
		w.put(">")
	case *python.Lit:
		w.number(e)
	case *python.Str:
		if len(e.Interp) > 0 {
			w.joined(e)
			return
		}
		if e.Bytes {
			w.put("b")
		}
		w.put(strconv.Quote(e.Value))
	case *python.Starred:
		w.put(strings.Repeat("*", e.Stars))
		w.expr(e.X)
	case *python.Walrus:
		w.put("(", e.Name, ":=")
		w.expr(e.Value)
		w.put(")")
	case *python.BadExpr:
		w.raw(e.Span)
	default:
		panic(fmt.Sprintf("check: unknown expression %T", e))
	}
}
