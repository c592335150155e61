// Package python is the analyser's Python front end: it parses one source file
// with tree-sitter, copies the whole tree out of C memory at once and lowers it
// to the small typed syntax tree of this file. No C memory outlives Parse, so
// everything behind it is plain Go that may be shared between goroutines.
//
// The tree is slightly unfaithful to Python's own: elif is a nested If,
// parentheses are gone (an expression's span includes the parentheses around
// it, see Parenthesised), and whatever is not understood is a BadStmt or
// BadExpr that keeps its children, never an error.
//
// The package does not resolve names, does not check that a program is valid,
// and does not execute or import anything.
package python

import "sync"

// A Span is a range of bytes of the source, end exclusive.
type Span struct{ Start, End uint32 }

// Pos returns the span itself, so that every node that embeds one is a Node.
func (s Span) Pos() Span { return s }

// Contains reports whether t lies within s.
func (s Span) Contains(t Span) bool { return s.Start <= t.Start && t.End <= s.End }

// A Node is a statement, an expression or a part of one.
type Node interface{ Pos() Span }

// A Stmt is one statement of the list above it.
type Stmt interface {
	Node
	stmt()
}

// An Expr is one expression. Its span includes parentheses around it.
type Expr interface {
	Node
	expr()
}

// A Comment is one comment, from "#" to the end of its line.
type Comment struct {
	Span
	Text string
	// Own says that nothing but white space stands before it on its line.
	Own bool
}

// Definitions.
type (
	// Param is one parameter: name, *name (Star 1) or **name (Star 2). A bare
	// "*" is a Param with Star 1 and no name; "/" is left out.
	Param struct {
		Span
		Name                string
		Star                int
		KeywordOnly         bool // stands behind * or *name
		Annotation, Default Expr // nil if absent
	}
	// FuncDef is def or async def. Its span includes the decorators.
	FuncDef struct {
		Span
		Name       string
		NameSpan   Span
		Async      bool
		Decorators []Expr
		Params     []Param
		Returns    Expr // annotation, nil if absent
		Body       []Stmt

		once  sync.Once
		inner []Nested // see Inner
	}
	// ClassDef is a class. Its span includes the decorators.
	ClassDef struct {
		Span
		Name       string
		NameSpan   Span
		Decorators []Expr
		Args       []Arg // bases and keywords
		Body       []Stmt
	}
)

// Statements.
type (
	// Return is return X; X is nil for a bare return.
	Return struct {
		Span
		X Expr
	}
	// ExprStmt is an expression that stands alone.
	ExprStmt struct {
		Span
		X Expr
	}
	// Assign is t1 = t2 = Value, t: Annotation = Value, or t Op= Value.
	// Op is "" for a plain assignment and "+", "@", … for an augmented one.
	// Value is nil for a bare annotation.
	Assign struct {
		Span
		Targets    []Expr
		Annotation Expr
		Op         string
		Value      Expr
	}
	// If is if/elif/else; an elif is the only statement of Else.
	If struct {
		Span
		Cond       Expr
		Body, Else []Stmt
	}
	// For is for Target in Iter.
	For struct {
		Span
		Async        bool
		Target, Iter Expr
		Body, Else   []Stmt
	}
	// While is while Cond.
	While struct {
		Span
		Cond       Expr
		Body, Else []Stmt
	}
	// WithItem is one context manager; As is nil if absent.
	WithItem struct{ Context, As Expr }
	// With is with or async with.
	With struct {
		Span
		Async bool
		Items []WithItem
		Body  []Stmt
	}
	// Handler is one except clause. Type and Name may be absent.
	Handler struct {
		Span
		Type Expr
		Name string
		Body []Stmt
	}
	// Try is try/except/else/finally.
	Try struct {
		Span
		Body     []Stmt
		Handlers []Handler
		Else     []Stmt
		Finally  []Stmt
	}
	// Case is one case of a match; the names that its pattern binds are listed.
	Case struct {
		Span
		Binds []string
		Guard Expr
		Body  []Stmt
	}
	// Match is a match statement.
	Match struct {
		Span
		Subject Expr
		Cases   []Case
	}
	// Alias is "Name as As"; As is "" if absent.
	Alias struct{ Name, As string }
	// Import is "import a.b as c" (Module "") or "from Module import …".
	// Module keeps its leading dots; Name "*" is a star import.
	Import struct {
		Span
		Module string
		From   bool
		Names  []Alias
	}
	// Raise is raise X from Cause; both may be nil.
	Raise struct {
		Span
		X, Cause Expr
	}
	// Assert is assert Cond, Msg.
	Assert struct {
		Span
		Cond, Msg Expr
	}
	// Delete is del a, b.
	Delete struct {
		Span
		Targets []Expr
	}
	// Global is global or nonlocal.
	Global struct {
		Span
		Nonlocal bool
		Names    []string
	}
	// Branch is pass, break or continue; Kind is that word.
	Branch struct {
		Span
		Kind string
	}
	// BadStmt is a statement that was not understood, or a type alias. Kids
	// are the statements and expressions inside it.
	BadStmt struct {
		Span
		Kids []Node
	}
)

// Expressions.
type (
	// Name is an identifier.
	Name struct {
		Span
		ID string
	}
	// Attribute is X.Sel.
	Attribute struct {
		Span
		X       Expr
		Sel     string
		SelSpan Span
	}
	// Arg is one argument: Value, Name=Value, *Value (Star 1), **Value (Star 2).
	Arg struct {
		Span
		Name  string
		Star  int
		Value Expr
	}
	// Call is Func(Args). Lparen and Rparen are the offsets of the brackets.
	Call struct {
		Span
		Func           Expr
		Args           []Arg
		Lparen, Rparen uint32
	}
	// Subscript is X[Index, …]; Tuple says that there was a comma.
	Subscript struct {
		Span
		X     Expr
		Index []Expr
		Tuple bool
	}
	// Slice is Lo:Hi:Step, each may be nil.
	Slice struct {
		Span
		Lo, Hi, Step Expr
	}
	// Binary is X Op Y for arithmetic and bit operators, "@" among them.
	Binary struct {
		Span
		Op     string
		OpSpan Span
		X, Y   Expr
	}
	// BoolOp is X and Y, X or Y.
	BoolOp struct {
		Span
		Op   string
		X, Y Expr
	}
	// Compare is Xs[0] Ops[0] Xs[1] Ops[1] …; Ops hold "not in" and "is not" too.
	Compare struct {
		Span
		Ops []string
		Xs  []Expr
	}
	// Unary is -X, +X, ~X or not X.
	Unary struct {
		Span
		Op string
		X  Expr
	}
	// Await is await X.
	Await struct {
		Span
		X Expr
	}
	// Yield is yield X or yield from X; X may be nil.
	Yield struct {
		Span
		From bool
		X    Expr
	}
	// Cond is Then if Test else Else.
	Cond struct {
		Span
		Test, Then, Else Expr
	}
	// Lambda is lambda Params: Body.
	Lambda struct {
		Span
		Params []Param
		Body   Expr
	}
	// Seq is a display: Kind is "list", "tuple" or "set".
	Seq struct {
		Span
		Kind string
		Xs   []Expr
	}
	// DictItem is Key: Value, or **Value when Key is nil.
	DictItem struct{ Key, Value Expr }
	// Dict is a dictionary display.
	Dict struct {
		Span
		Items []DictItem
	}
	// Clause is "for Target in Iter" followed by its conditions.
	Clause struct {
		Async        bool
		Target, Iter Expr
		Ifs          []Expr
	}
	// Comp is a comprehension: Kind is "list", "set", "dict" or "generator".
	// For a dict, Key is set and Elem is the value.
	Comp struct {
		Span
		Kind      string
		Key, Elem Expr
		Clauses   []Clause
	}
	// Lit is a literal: Kind is "int", "float", "imaginary", "none", "true",
	// "false" or "ellipsis"; Text is its source.
	Lit struct {
		Span
		Kind, Text string
	}
	// Str is a string, possibly of several adjacent parts. Value is the text
	// with simple escapes resolved, valid if there is no interpolation; Interp
	// are the expressions inside an f-string.
	Str struct {
		Span
		Value  string
		Bytes  bool
		Interp []Expr
	}
	// Starred is *X (Stars 1) or **X (Stars 2) in a display or a target.
	Starred struct {
		Span
		Stars int
		X     Expr
	}
	// Walrus is Name := Value.
	Walrus struct {
		Span
		Name  string
		Value Expr
	}
	// BadExpr is an expression that was not understood.
	BadExpr struct {
		Span
		Kids []Node
	}
)

func (*FuncDef) stmt()  {}
func (*ClassDef) stmt() {}
func (*Return) stmt()   {}
func (*ExprStmt) stmt() {}
func (*Assign) stmt()   {}
func (*If) stmt()       {}
func (*For) stmt()      {}
func (*While) stmt()    {}
func (*With) stmt()     {}
func (*Try) stmt()      {}
func (*Match) stmt()    {}
func (*Import) stmt()   {}
func (*Raise) stmt()    {}
func (*Assert) stmt()   {}
func (*Delete) stmt()   {}
func (*Global) stmt()   {}
func (*Branch) stmt()   {}
func (*BadStmt) stmt()  {}

func (*Name) expr()      {}
func (*Attribute) expr() {}
func (*Call) expr()      {}
func (*Subscript) expr() {}
func (*Slice) expr()     {}
func (*Binary) expr()    {}
func (*BoolOp) expr()    {}
func (*Compare) expr()   {}
func (*Unary) expr()     {}
func (*Await) expr()     {}
func (*Yield) expr()     {}
func (*Cond) expr()      {}
func (*Lambda) expr()    {}
func (*Seq) expr()       {}
func (*Dict) expr()      {}
func (*Comp) expr()      {}
func (*Lit) expr()       {}
func (*Str) expr()       {}
func (*Starred) expr()   {}
func (*Walrus) expr()    {}
func (*BadExpr) expr()   {}
