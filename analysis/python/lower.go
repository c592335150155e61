package python

import (
	"slices"
	"strings"
)

// The lowerer turns the flat tree into the typed one. It recurses, but no deeper
// than the flat tree, which was cut when it was copied, and l.depth bounds what
// is nested in the typed tree (an elif chain is flat here and deep there).
type lowerer struct {
	f     *File
	nodes []flatNode
	lang  *lang
	depth int
}

// A cursor is one node; n is -1 for an absent one.
type cursor struct {
	l *lowerer
	n int32
}

func (c cursor) null() bool { return c.n < 0 }

func (c cursor) node() *flatNode { return &c.l.nodes[c.n] }

func (c cursor) span() Span { return Span{c.node().start, c.node().end} }

func (c cursor) named() bool { return c.node().flags&flagNamed != 0 }

func (c cursor) missing() bool { return c.node().flags&flagMissing != 0 }

func (c cursor) cut() bool { return c.node().flags&flagCut != 0 }

func (c cursor) kind() string {
	if s := c.node().symbol; int(s) < len(c.l.lang.kinds) {
		return c.l.lang.kinds[s]
	}
	return "ERROR" // symbol 65535
}

func (c cursor) is(kind string) bool { return !c.null() && c.kind() == kind }

// text returns the source of the node, "" for an absent one.
func (c cursor) text() string {
	if c.null() {
		return ""
	}
	return c.l.f.Text(c.span())
}

// extra reports whether the node may stand anywhere and means nothing.
func (c cursor) extra() bool {
	s := c.node().symbol
	return s == c.l.lang.comment || s == c.l.lang.continuation
}

// all yields every child that is not an extra.
func (c cursor) all(yield func(cursor) bool) {
	if c.null() {
		return
	}
	for j, end := uint32(c.n)+1, c.node().next; j < end; j = c.l.nodes[j].next {
		if k := (cursor{c.l, int32(j)}); !k.extra() && !yield(k) {
			return
		}
	}
}

// kids yields the children that are not punctuation, keywords or extras.
func (c cursor) kids(yield func(cursor) bool) {
	for k := range c.all {
		if k.named() && !yield(k) {
			return
		}
	}
}

func (c cursor) none() cursor { return cursor{c.l, -1} }

func (c cursor) first() cursor {
	for k := range c.kids {
		return k
	}
	return c.none()
}

func (c cursor) last() cursor {
	last := c.none()
	for k := range c.kids {
		last = k
	}
	return last
}

// field returns the first child with that field name.
func (c cursor) field(name string) cursor {
	id := c.l.lang.fields[name]
	for k := range c.all {
		if k.node().field == id {
			return k
		}
	}
	return c.none()
}

// fields yields all children with that field name that are not punctuation.
func (c cursor) fields(name string) func(func(cursor) bool) {
	id := c.l.lang.fields[name]
	return func(yield func(cursor) bool) {
		for k := range c.kids {
			if k.node().field == id && !yield(k) {
				return
			}
		}
	}
}

// token returns the first child that is this keyword or punctuation.
func (c cursor) token(word string) cursor {
	for k := range c.all {
		if !k.named() && k.kind() == word {
			return k
		}
	}
	return c.none()
}

// broken reports whether error recovery put in or took out something directly
// below the node.
func (c cursor) broken() bool {
	for k := range c.all {
		if k.missing() || k.kind() == "ERROR" {
			return true
		}
	}
	return false
}

// survey fills what needs no lowering: comments and bad places.
func (l *lowerer) survey() {
	skip := uint32(0) // end of the ERROR node that was listed last
	for i := range l.nodes {
		c := cursor{l, int32(i)}
		switch {
		case c.kind() == "comment":
			sp := c.span()
			text := strings.TrimRight(c.text(), "\r\n")
			sp.End = sp.Start + uint32(len(text))
			line := l.f.LineSpan(l.f.Line(sp.Start))
			before := strings.TrimPrefix(l.f.Source[line.Start:sp.Start], "\ufeff")
			l.f.Comments = append(l.f.Comments, Comment{Span: sp, Text: text, Own: strings.TrimSpace(before) == ""})
		case uint32(i) < skip:
		case c.missing():
			l.f.Bad = append(l.f.Bad, c.span())
		case c.kind() == "ERROR":
			l.f.Bad = append(l.f.Bad, c.span())
			skip = c.node().next
		case c.kind() == "print_statement", c.kind() == "exec_statement":
			if c.named() {
				l.f.Bad = append(l.f.Bad, c.span())
			}
		}
	}
}

// block lowers the statements below a module or block.
func (l *lowerer) block(n cursor) []Stmt {
	if n.null() {
		return nil
	}
	if n.cut() {
		l.f.Cut = true
		return []Stmt{&BadStmt{Span: n.span()}}
	}
	var out []Stmt
	for c := range n.kids {
		if c.is("ERROR") && !c.cut() {
			out = append(out, l.salvage(c)...)
		} else {
			out = append(out, l.stmt(c))
		}
	}
	return out
}

// salvage lowers what error recovery skipped where statements stand. An ERROR
// may be a whole file with one fault in it: the statements that were whole
// before the fault was met are kept, and only what lies between them is bad.
func (l *lowerer) salvage(n cursor) []Stmt {
	var out []Stmt
	var bad *BadStmt
	for c := range n.all {
		if k := c.kind(); c.named() && isStmt(k) {
			out = append(out, l.stmt(c))
			bad = nil
			continue
		}
		if bad == nil {
			bad = &BadStmt{Span: c.span()}
			out = append(out, bad)
		}
		bad.End = c.node().end
		if c.is("block") {
			for _, s := range l.block(c) {
				bad.Kids = append(bad.Kids, s)
			}
		} else if c.named() {
			bad.Kids = append(bad.Kids, l.expr(c))
		}
	}
	if len(out) == 0 {
		return []Stmt{&BadStmt{Span: n.span()}}
	}
	return out
}

func isStmt(kind string) bool {
	return strings.HasSuffix(kind, "_statement") || strings.HasSuffix(kind, "_definition")
}

// body lowers the block of a clause. What error recovery skipped beside the block
// is in the list as a BadStmt.
func (l *lowerer) body(n cursor) []Stmt {
	var out []Stmt
	inside, done := false, false
	for c := range n.all {
		switch {
		case !inside:
			inside = !c.named() && c.kind() == ":"
		case c.is("block") && !done:
			out = append(out, l.block(c)...)
			done = true
		case c.is("ERROR"):
			out = append(out, l.salvage(c)...)
		case done:
			return out
		}
	}
	return out
}

func (l *lowerer) stmt(n cursor) Stmt {
	l.depth++
	defer func() { l.depth-- }()
	if n.cut() || l.depth > MaxDepth {
		l.f.Cut = true
		return &BadStmt{Span: n.span()}
	}
	if s := l.compound(n); s != nil {
		return s
	}
	// A simple statement with a hole in it is not trusted at all.
	if !n.broken() {
		if s := l.simple(n); s != nil {
			return s
		}
	}
	return &BadStmt{Span: n.span(), Kids: l.nodesIn(n)}
}

// compound lowers a statement with a block, nil for any other. A compound
// statement stays one when its head is bad, so that its body is still seen.
func (l *lowerer) compound(n cursor) Stmt {
	sp := n.span()
	switch n.kind() {
	case "decorated_definition":
		var decs []Expr
		for c := range n.kids {
			if c.is("decorator") {
				decs = append(decs, l.sole(c))
			}
		}
		if d := n.field("definition"); !d.null() {
			switch s := l.stmt(d).(type) {
			case *FuncDef:
				s.Start, s.Decorators = sp.Start, decs
				return s
			case *ClassDef:
				s.Start, s.Decorators = sp.Start, decs
				return s
			}
		}
	case "function_definition":
		name := n.field("name")
		if name.null() {
			return nil
		}
		f := &FuncDef{
			Span: sp, Name: name.text(), NameSpan: name.span(), Async: !n.token("async").null(),
			Params: l.params(n.field("parameters")), Returns: l.optional(n.field("return_type")), Body: l.body(n),
		}
		f.reach(n, f.Body)
		return f
	case "class_definition":
		name := n.field("name")
		if name.null() {
			return nil
		}
		c := &ClassDef{Span: sp, Name: name.text(), NameSpan: name.span(), Args: l.args(n.field("superclasses")), Body: l.body(n)}
		c.reach(n, c.Body)
		return c
	case "if_statement":
		var tails []cursor
		for c := range n.kids {
			if c.is("elif_clause") || c.is("else_clause") {
				tails = append(tails, c)
			}
		}
		s := &If{Span: sp, Cond: l.head(n, "condition"), Body: l.body(n), Else: l.tail(tails)}
		s.reach(n, s.Body, s.Else)
		return s
	case "for_statement":
		s := &For{
			Span: sp, Async: !n.token("async").null(), Target: l.expr(n.field("left")), Iter: l.head(n, "right"),
			Body: l.body(n), Else: l.orElse(n),
		}
		s.reach(n, s.Body, s.Else)
		return s
	case "while_statement":
		s := &While{Span: sp, Cond: l.head(n, "condition"), Body: l.body(n), Else: l.orElse(n)}
		s.reach(n, s.Body, s.Else)
		return s
	case "with_statement":
		s := &With{Span: sp, Async: !n.token("async").null(), Items: l.withItems(n), Body: l.body(n)}
		s.reach(n, s.Body)
		return s
	case "try_statement":
		t := &Try{Span: sp, Body: l.body(n), Else: l.orElse(n)}
		for c := range n.kids {
			switch c.kind() {
			case "except_clause", "except_group_clause":
				t.Handlers = append(t.Handlers, l.handler(c))
			case "finally_clause":
				t.Finally = append(t.Finally, l.body(c)...)
			}
		}
		var last []Stmt
		if k := len(t.Handlers); k > 0 {
			last = t.Handlers[k-1].Body
		}
		t.reach(n, t.Body, last, t.Else, t.Finally)
		return t
	case "match_statement":
		m := &Match{Span: sp, Subject: l.list(slices.Collect(n.fields("subject")), !n.token(",").null())}
		for c := range n.field("body").kids {
			m.Cases = append(m.Cases, l.matchCase(c))
		}
		if k := len(m.Cases); k > 0 {
			m.reach(n, m.Cases[k-1].Body)
		}
		return m
	}
	return nil
}

// reach ends a span with the last statement in it, as Python does: tree-sitter
// counts comments behind it. n is the node of the span.
func (s *Span) reach(n cursor, bodies ...[]Stmt) {
	// What does not end in a statement, such as "else:" with nothing behind it,
	// keeps its end.
	for !n.null() && !n.is("block") {
		last := n.none()
		for c := range n.all {
			last = c
		}
		if n = last; !n.null() && !n.is("block") && !strings.HasSuffix(n.kind(), "_clause") {
			return
		}
	}
	if n.null() || n.first().null() {
		return
	}
	for _, b := range bodies {
		if len(b) > 0 {
			s.End = b[len(b)-1].Pos().End
		}
	}
}

// tail lowers what follows the first clause of an if: each elif is an If that
// reaches to the end of the whole statement.
func (l *lowerer) tail(clauses []cursor) []Stmt {
	if len(clauses) == 0 {
		return nil
	}
	c := clauses[0]
	if c.is("else_clause") {
		return l.body(c)
	}
	l.depth++
	defer func() { l.depth-- }()
	if l.depth > MaxDepth {
		l.f.Cut = true
		return []Stmt{&BadStmt{Span: Span{c.span().Start, clauses[len(clauses)-1].span().End}}}
	}
	s := &If{Span: c.span(), Cond: l.head(c, "condition"), Body: l.body(c), Else: l.tail(clauses[1:])}
	last := clauses[len(clauses)-1]
	s.End = last.span().End
	s.reach(last, s.Body, s.Else)
	return []Stmt{s}
}

// head lowers the expression in the head of a compound statement. It is bad if
// anything of the head is, for what was skipped may have been part of it.
func (l *lowerer) head(n cursor, field string) Expr {
	e := l.expr(n.field(field))
	if e != nil && n.headBroken() {
		return &BadExpr{Span: e.Pos(), Kids: []Node{e}}
	}
	return e
}

// headBroken is broken for what lies before the colon.
func (c cursor) headBroken() bool {
	for k := range c.all {
		if k.missing() || k.is("ERROR") {
			return true
		}
		if !k.named() && k.kind() == ":" {
			return false
		}
	}
	return true
}

func (l *lowerer) orElse(n cursor) []Stmt {
	for c := range n.kids {
		if c.is("else_clause") {
			return l.body(c)
		}
	}
	return nil
}

func (l *lowerer) withItems(n cursor) []WithItem {
	var items []WithItem
	for clause := range n.kids {
		if !clause.is("with_clause") {
			continue
		}
		for c := range clause.kids {
			if !c.is("with_item") {
				continue
			}
			v := c.field("value")
			for v.is("parenthesized_expression") && !v.broken() && !v.cut() && v.first().is("as_pattern") {
				v = v.first() // "with (a as b):"
			}
			if v.is("as_pattern") && !v.broken() {
				items = append(items, WithItem{l.sole(v), l.sole(v.field("alias"))})
			} else {
				items = append(items, WithItem{Context: l.expr(v)})
			}
		}
	}
	return items
}

func (l *lowerer) handler(n cursor) Handler {
	h := Handler{Span: n.span(), Body: l.body(n)}
	h.reach(n, h.Body)
	var xs []cursor
	for c := range n.all {
		if !c.named() && c.kind() == ":" || c.is("block") {
			break
		}
		if c.named() {
			xs = append(xs, c)
		}
	}
	if len(xs) == 1 && xs[0].is("as_pattern") && !xs[0].broken() {
		h.Type, h.Name = l.sole(xs[0]), xs[0].field("alias").text()
	} else {
		// "except A, B" named the exception in Python 2 and is two types since 3.14.
		h.Type = l.list(xs, len(xs) > 1)
	}
	if h.Type != nil && n.headBroken() {
		h.Type = &BadExpr{Span: h.Type.Pos(), Kids: []Node{h.Type}}
	}
	return h
}

func (l *lowerer) matchCase(n cursor) Case {
	if !n.is("case_clause") {
		return Case{Span: n.span(), Body: []Stmt{l.stmt(n)}}
	}
	c := Case{Span: n.span(), Body: l.body(n)}
	c.reach(n, c.Body)
	for k := range n.kids {
		if k.is("case_pattern") {
			c.Binds = binds(k, c.Binds)
		}
	}
	if g := n.field("guard"); !g.null() {
		c.Guard = l.sole(g)
	}
	return c
}

// binds appends the names that a pattern binds. A dotted name is a value.
func binds(n cursor, names []string) []string {
	add := func(c cursor) {
		if s := c.text(); s != "" && s != "_" && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	switch n.kind() {
	case "dotted_name":
		if n.first().n == n.last().n {
			add(n.first())
		}
		return names
	case "splat_pattern":
		add(n.first())
		return names
	}
	first := n.first()
	key := n.l.lang.fields["key"]
	for c := range n.kids {
		switch {
		case c.node().field == key,
			c.n == first.n && (n.is("class_pattern") || n.is("keyword_pattern")):
		case n.is("as_pattern") && c.is("identifier"):
			add(c)
		default:
			names = binds(c, names)
		}
	}
	return names
}

// simple lowers a statement without a block, nil for what is not understood.
func (l *lowerer) simple(n cursor) Stmt {
	sp := n.span()
	switch n.kind() {
	case "expression_statement":
		c := n.first()
		switch {
		case c.is("assignment"):
			return l.assign(c)
		case c.is("augmented_assignment"):
			if c.broken() {
				return nil
			}
			return &Assign{
				Span: sp, Targets: []Expr{l.expr(c.field("left"))},
				Op: strings.TrimSuffix(c.field("operator").text(), "="), Value: l.expr(c.field("right")),
			}
		}
		xs := slices.Collect(n.kids)
		if len(xs) == 0 {
			return nil
		}
		return &ExprStmt{sp, l.list(xs, !n.token(",").null())}
	case "return_statement":
		return &Return{sp, l.optional(n.first())}
	case "import_statement", "import_from_statement", "future_import_statement":
		return l.imports(n)
	case "raise_statement":
		cause := n.field("cause")
		r := &Raise{Span: sp, Cause: l.optional(cause)}
		if x := n.first(); x.n != cause.n {
			r.X = l.optional(x)
		}
		return r
	case "assert_statement":
		xs := slices.Collect(n.kids)
		if len(xs) == 1 {
			return &Assert{Span: sp, Cond: l.expr(xs[0])}
		}
		if len(xs) == 2 {
			return &Assert{Span: sp, Cond: l.expr(xs[0]), Msg: l.expr(xs[1])}
		}
	case "delete_statement":
		d := &Delete{Span: sp}
		for c := range n.kids {
			if c.is("expression_list") && !c.broken() {
				d.Targets = append(d.Targets, l.exprs(c)...)
			} else {
				d.Targets = append(d.Targets, l.expr(c))
			}
		}
		return d
	case "global_statement", "nonlocal_statement":
		g := &Global{Span: sp, Nonlocal: n.is("nonlocal_statement")}
		for c := range n.kids {
			g.Names = append(g.Names, c.text())
		}
		return g
	case "pass_statement", "break_statement", "continue_statement":
		return &Branch{sp, strings.TrimSuffix(n.kind(), "_statement")}
	}
	return nil
}

func (l *lowerer) assign(n cursor) Stmt {
	a := &Assign{Span: n.span()}
	for {
		if n.cut() {
			return nil
		}
		broken := n.broken()
		if broken && !l.badValue(n, a) {
			return nil
		}
		if broken {
			return a
		}
		a.Targets = append(a.Targets, l.expr(n.field("left")))
		if t := n.field("type"); !t.null() {
			a.Annotation = l.expr(t)
		}
		right := n.field("right")
		if a.Annotation != nil && (len(a.Targets) > 1 || right.is("assignment")) {
			return nil // a chain takes no annotation
		}
		if !right.is("assignment") {
			a.Value = l.optional(right)
			return a
		}
		n = right
	}
}

// badValue adds an assignment with a fault behind its "=" to a: the targets hold
// and only the value is bad. It reports false if the fault is elsewhere.
func (l *lowerer) badValue(n cursor, a *Assign) bool {
	eq := n.token("=")
	if eq.null() || eq.missing() || n.field("left").null() || !n.field("type").null() {
		return false
	}
	bad := &BadExpr{}
	for c := range n.all {
		switch {
		case c.n < eq.n && (c.missing() || c.is("ERROR")):
			return false
		case c.n > eq.n && c.named():
			if len(bad.Kids) == 0 {
				bad.Start = c.node().start
			}
			bad.Kids = append(bad.Kids, l.expr(c))
			bad.End = c.node().end
		}
	}
	if len(bad.Kids) == 0 {
		return false
	}
	a.Targets = append(a.Targets, l.expr(n.field("left")))
	a.Value = bad
	return true
}

func (l *lowerer) imports(n cursor) Stmt {
	im := &Import{Span: n.span(), From: !n.is("import_statement")}
	if n.is("future_import_statement") {
		im.Module = "__future__"
	}
	module := n.field("module_name")
	if !module.null() {
		im.Module = dotted(module)
	}
	for c := range n.kids {
		switch {
		case c.n == module.n:
		case c.is("wildcard_import"):
			im.Names = append(im.Names, Alias{Name: "*"})
		case c.is("aliased_import"):
			im.Names = append(im.Names, Alias{dotted(c.field("name")), c.field("alias").text()})
		case c.is("dotted_name"):
			im.Names = append(im.Names, Alias{Name: dotted(c)})
		}
	}
	return im
}

// dotted returns a dotted name without the white space that may stand in it.
func dotted(n cursor) string {
	switch {
	case n.null():
		return ""
	case n.is("identifier"):
		return n.text()
	case n.is("import_prefix"):
		return strings.Repeat(".", strings.Count(n.text(), "."))
	case n.is("relative_import"):
		var b strings.Builder
		for c := range n.kids {
			b.WriteString(dotted(c))
		}
		return b.String()
	}
	var parts []string
	for c := range n.kids {
		parts = append(parts, c.text())
	}
	return strings.Join(parts, ".")
}

// nodesIn lowers whatever lies below a node that was not understood.
func (l *lowerer) nodesIn(n cursor) []Node {
	l.depth++
	defer func() { l.depth-- }()
	if n.cut() || l.depth > MaxDepth {
		l.f.Cut = true
		return nil
	}
	var out []Node
	for c := range n.kids {
		switch k := c.kind(); {
		case k == "block":
			for _, s := range l.block(c) {
				out = append(out, s)
			}
		case isStmt(k):
			out = append(out, l.stmt(c))
		default:
			out = append(out, l.expr(c))
		}
	}
	return out
}

func (l *lowerer) optional(n cursor) Expr {
	if n.null() {
		return nil
	}
	return l.expr(n)
}

// sole lowers the first child.
func (l *lowerer) sole(n cursor) Expr { return l.optional(n.first()) }

func (l *lowerer) exprs(n cursor) []Expr {
	var out []Expr
	for c := range n.kids {
		out = append(out, l.expr(c))
	}
	return out
}

// list lowers expressions that stand side by side: a tuple if there is a comma.
func (l *lowerer) list(xs []cursor, comma bool) Expr {
	if len(xs) == 0 {
		return nil
	}
	if len(xs) == 1 && !comma {
		return l.expr(xs[0])
	}
	last := xs[len(xs)-1]
	t := &Seq{Span: Span{xs[0].span().Start, last.span().End}, Kind: "tuple"}
	if next := last.node().next; int(next) < len(l.nodes) {
		if c := (cursor{l, int32(next)}); !c.named() && c.kind() == "," {
			t.End = c.node().end // the comma that makes one element a tuple
		}
	}
	for _, x := range xs {
		t.Xs = append(t.Xs, l.expr(x))
	}
	return t
}

func (l *lowerer) params(n cursor) []Param {
	var out []Param
	keywordOnly := false
	for c := range n.kids {
		p := Param{Span: c.span(), KeywordOnly: keywordOnly}
		switch c.kind() {
		case "positional_separator":
			continue
		case "keyword_separator":
			p.Star = 1
		case "identifier":
			p.Name = c.text()
		case "list_splat_pattern", "dictionary_splat_pattern":
			splat(c, &p)
		case "typed_parameter":
			if f := c.first(); f.is("identifier") {
				p.Name = f.text()
			} else {
				splat(f, &p)
			}
			p.Annotation = l.optional(c.field("type"))
		case "default_parameter", "typed_default_parameter":
			if f := c.field("name"); f.is("identifier") {
				p.Name = f.text()
			}
			p.Annotation = l.optional(c.field("type"))
			p.Default = l.optional(c.field("value"))
		case "ERROR":
			continue
		}
		// Anything else, such as a tuple of Python 2, keeps its place without a name.
		if p.Star != 0 {
			p.KeywordOnly = false
			keywordOnly = true
		}
		out = append(out, p)
	}
	return out
}

func splat(n cursor, p *Param) {
	switch {
	case n.is("list_splat_pattern"):
		p.Star = 1
	case n.is("dictionary_splat_pattern"):
		p.Star = 2
	default:
		return
	}
	p.Name = n.first().text()
}

func (l *lowerer) args(n cursor) []Arg {
	if n.null() {
		return nil
	}
	if n.is("generator_expression") {
		return []Arg{{Span: n.span(), Value: l.expr(n)}}
	}
	var out []Arg
	for c := range n.kids {
		a := Arg{Span: c.span()}
		switch {
		case c.broken() || c.cut():
			a.Value = l.expr(c)
		case c.is("keyword_argument"):
			a.Name, a.Value = c.field("name").text(), l.expr(c.field("value"))
		case c.is("list_splat"):
			a.Star, a.Value = 1, l.sole(c)
		case c.is("dictionary_splat"):
			a.Star, a.Value = 2, l.sole(c)
		default:
			a.Value = l.expr(c)
			if s, ok := a.Value.(*Starred); ok && s.X.Pos().End == s.End {
				a.Star, a.Value = s.Stars, s.X // see unsplat
			}
		}
		out = append(out, a)
	}
	return out
}

// expr lowers one expression; an absent one is nil.
func (l *lowerer) expr(n cursor) Expr {
	if n.null() {
		return nil
	}
	sp := n.span()
	l.depth++
	defer func() { l.depth-- }()
	for {
		if n.cut() || l.depth > MaxDepth {
			l.f.Cut = true
			return &BadExpr{Span: sp}
		}
		if n.missing() || n.broken() {
			break
		}
		// What has no meaning of its own gives its span to what it holds.
		if k := n.kind(); k != "parenthesized_expression" && k != "parenthesized_list_splat" && k != "type" && !n.lonely() {
			if e := l.plain(n, sp); e != nil {
				return unsplat(e, n.span())
			}
			break
		}
		in := n.first()
		if in.null() {
			break
		}
		n = in
	}
	return &BadExpr{Span: sp, Kids: l.nodesIn(n)}
}

// unsplat mends what the grammar gets wrong in displays: it reads "*a.b()" as
// "(*a).b()". own is the span of e without brackets around it.
func unsplat(e Expr, own Span) Expr {
	var left *Expr
	var span *Span
	switch e := e.(type) {
	case *Attribute:
		left, span = &e.X, &e.Span
	case *Call:
		left, span = &e.Func, &e.Span
	case *Subscript:
		left, span = &e.X, &e.Span
	case *Binary:
		left, span = &e.X, &e.Span
	case *BoolOp:
		left, span = &e.X, &e.Span
	case *Compare:
		left, span = &e.Xs[0], &e.Span
	case *Cond:
		left, span = &e.Then, &e.Span
	default:
		return e
	}
	star, ok := (*left).(*Starred)
	if !ok || star.X.Pos().End != star.End { // "(*a).b" is not Python
		return e
	}
	outer := *span
	*left = star.X
	*span = Span{star.X.Pos().Start, own.End}
	return &Starred{outer, star.Stars, e}
}

// lonely reports whether the node is a pattern in mere parentheses.
func (c cursor) lonely() bool {
	return c.is("tuple_pattern") && c.token(",").null() && !c.first().null()
}

// plain lowers an expression that is not parenthesised; sp is the span to give
// it. It returns nil for what is not understood.
func (l *lowerer) plain(n cursor, sp Span) Expr {
	switch k := n.kind(); k {
	case "identifier":
		return &Name{sp, n.text()}
	case "dotted_name":
		return l.dottedExpr(n, sp)
	case "attribute":
		sel := n.field("attribute")
		if sel.null() {
			return nil
		}
		return &Attribute{sp, l.expr(n.field("object")), sel.text(), sel.span()}
	case "member_type":
		x, sel := n.first(), n.last()
		return &Attribute{sp, l.expr(x), sel.text(), sel.span()}
	case "call":
		a := n.field("arguments")
		if a.null() || a.broken() || a.cut() {
			return nil
		}
		return &Call{sp, l.expr(n.field("function")), l.args(a), a.node().start, a.node().end - 1}
	case "subscript":
		s := &Subscript{Span: sp, X: l.expr(n.field("value")), Tuple: !n.token(",").null()}
		for c := range n.fields("subscript") {
			s.Index = append(s.Index, l.expr(c))
		}
		return s
	case "generic_type":
		p := n.last()
		if !p.is("type_parameter") || p.broken() {
			return nil
		}
		return &Subscript{sp, l.expr(n.first()), l.exprs(p), !p.token(",").null()}
	case "slice":
		s := &Slice{Span: sp}
		at := 0
		for c := range n.all {
			switch {
			case !c.named():
				at++
			case at == 0:
				s.Lo = l.expr(c)
			case at == 1:
				s.Hi = l.expr(c)
			default:
				s.Step = l.expr(c)
			}
		}
		return s
	case "binary_operator":
		// The grammar lets "^" bind tighter than "&"; Python does the reverse. The
		// mix is so rare, and so harmless to dtypes, that it stays as it is.
		op := n.field("operator")
		return &Binary{sp, op.text(), op.span(), l.expr(n.field("left")), l.expr(n.field("right"))}
	case "union_type":
		return l.union(n, sp)
	case "boolean_operator":
		return &BoolOp{sp, n.field("operator").text(), l.expr(n.field("left")), l.expr(n.field("right"))}
	case "comparison_operator":
		c := &Compare{Span: sp}
		for k := range n.all {
			if k.named() {
				c.Xs = append(c.Xs, l.expr(k))
			} else {
				c.Ops = append(c.Ops, k.kind())
			}
		}
		if len(c.Xs) != len(c.Ops)+1 {
			return nil
		}
		return c
	case "unary_operator":
		return &Unary{sp, n.field("operator").text(), l.expr(n.field("argument"))}
	case "not_operator":
		return &Unary{sp, "not", l.expr(n.field("argument"))}
	case "await":
		return &Await{sp, l.sole(n)}
	case "yield":
		return &Yield{sp, !n.token("from").null(), l.sole(n)}
	case "conditional_expression":
		xs := slices.Collect(n.kids)
		if len(xs) != 3 {
			return nil
		}
		return &Cond{Span: sp, Then: l.expr(xs[0]), Test: l.expr(xs[1]), Else: l.expr(xs[2])}
	case "lambda":
		return &Lambda{sp, l.params(n.field("parameters")), l.expr(n.field("body"))}
	case "list", "list_pattern":
		return &Seq{sp, "list", l.exprs(n)}
	case "set":
		return &Seq{sp, "set", l.exprs(n)}
	case "tuple", "tuple_pattern", "expression_list", "pattern_list":
		return &Seq{sp, "tuple", l.exprs(n)}
	case "dictionary":
		d := &Dict{Span: sp}
		for c := range n.kids {
			switch {
			case c.is("pair") && !c.broken() && !c.cut():
				d.Items = append(d.Items, DictItem{l.expr(c.field("key")), l.expr(c.field("value"))})
			case c.is("dictionary_splat"):
				d.Items = append(d.Items, DictItem{nil, l.sole(c)})
			default:
				return nil
			}
		}
		return d
	case "list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression":
		return l.comp(n, sp)
	case "integer":
		return &Lit{sp, number(n.text(), "int"), n.text()}
	case "float":
		return &Lit{sp, number(n.text(), k), n.text()}
	case "none", "true", "false", "ellipsis":
		return &Lit{sp, k, n.text()}
	case "string", "concatenated_string":
		return l.str(n, sp)
	case "list_splat", "list_splat_pattern", "splat_type", "dictionary_splat", "dictionary_splat_pattern":
		stars := 1
		if !n.token("**").null() {
			stars = 2
		}
		x := l.sole(n)
		if x == nil {
			return nil
		}
		return &Starred{sp, stars, x}
	case "named_expression":
		return &Walrus{sp, n.field("name").text(), l.expr(n.field("value"))}
	}
	return nil
}

// union lowers "A | B | C" in an annotation, which the grammar takes to be
// A | (B | C).
func (l *lowerer) union(n cursor, sp Span) Expr {
	start := n.node().start
	var e Expr
	var op cursor
	add := func(c cursor) {
		if x := l.expr(c); e == nil {
			e = x
		} else {
			e = &Binary{Span{start, x.Pos().End}, "|", op.span(), e, x}
		}
	}
	for {
		left, right := n.first(), n.last()
		if n.broken() || n.cut() || n.token("|").null() || left.n == right.n {
			return nil
		}
		add(left)
		op = n.token("|")
		n = right
		for n.is("type") && !n.broken() && !n.cut() && n.first().is("union_type") {
			n = n.first()
		}
		if !n.is("union_type") {
			add(n)
			break
		}
	}
	e.(*Binary).Span = sp
	return e
}

// number tells the kinds apart that the grammar does not: 1j is a float or an
// integer to it.
func number(text, kind string) string {
	if strings.HasSuffix(text, "j") || strings.HasSuffix(text, "J") {
		return "imaginary"
	}
	return kind
}

// dottedExpr lowers a dotted name that stands for an expression.
func (l *lowerer) dottedExpr(n cursor, sp Span) Expr {
	var e Expr
	for c := range n.kids {
		if e == nil {
			e = &Name{c.span(), c.text()}
		} else {
			e = &Attribute{Span{e.Pos().Start, c.span().End}, e, c.text(), c.span()}
		}
	}
	return e
}

func (l *lowerer) comp(n cursor, sp Span) Expr {
	c := &Comp{Span: sp, Kind: strings.TrimSuffix(strings.TrimSuffix(n.kind(), "_comprehension"), "_expression")}
	body := n.field("body")
	if c.Kind == "dictionary" {
		c.Kind = "dict"
		if !body.is("pair") || body.broken() || body.cut() {
			return nil
		}
		c.Key, c.Elem = l.expr(body.field("key")), l.expr(body.field("value"))
	} else {
		c.Elem = l.expr(body)
	}
	for k := range n.kids {
		switch {
		case k.broken() || k.cut():
			return nil
		case k.is("for_in_clause"):
			c.Clauses = append(c.Clauses, Clause{
				Async: !k.token("async").null(), Target: l.expr(k.field("left")),
				Iter: l.list(slices.Collect(k.fields("right")), !k.token(",").null()),
			})
		case k.is("if_clause"):
			if len(c.Clauses) == 0 {
				return nil
			}
			last := &c.Clauses[len(c.Clauses)-1]
			last.Ifs = append(last.Ifs, l.sole(k))
		}
	}
	return c
}
