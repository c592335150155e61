package python

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// everything holds each kind of node at least once.
const everything = `
@deco
async def f(a: int, /, b=1, *args, c, **kw) -> "T":
    global g
    await x
    async with a as b, c: yield
    return {**d, "k": v, "s": f"{q}"}
class C(B, metaclass=M):
    x: int = y[1:2, ...]
    x += -1
for a, *b in [c for c in d if e]: break
else: pass
while not a and b < c: continue
try: raise X from y
except E as e: pass
finally: del z
match v:
    case P(n) if (m := n): import a.b as c
if a: assert b, (lambda q=1: q)(w if x else y, *l)
a.b + c
x = h(1 2)
print "x"
`

// TestInspectVisitsAll fails if a type of ast.go is never visited, so that a new
// type cannot be forgotten in Children.
func TestInspectVisitsAll(t *testing.T) {
	f := parse(t, everything)
	seen := map[string]bool{}
	f.Inspect(func(n Node) bool {
		seen[reflect.TypeOf(n).Elem().Name()] = true
		return true
	})
	parsed, err := parser.ParseFile(token.NewFileSet(), "ast.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types := 0
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		st, ok := spec.Type.(*ast.StructType)
		if !ok || spec.Name.Name == "Comment" || len(st.Fields.List[0].Names) > 0 {
			return true // not a node: no embedded Span
		}
		types++
		if !seen[spec.Name.Name] {
			t.Errorf("%s is not visited", spec.Name.Name)
		}
		return true
	})
	if types < 40 {
		t.Errorf("only %d node types found in ast.go", types)
	}
}

// TestChildrenYieldsEveryField finds all nodes by reflection and compares.
func TestChildrenYieldsEveryField(t *testing.T) {
	f := parse(t, everything)
	node := reflect.TypeFor[Node]()
	want := map[Node]bool{}
	var collect func(v reflect.Value)
	collect = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Interface:
			if !v.IsNil() {
				collect(v.Elem())
			}
		case reflect.Pointer:
			want[v.Interface().(Node)] = true
			for i := range v.Elem().NumField() {
				collect(v.Elem().Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				e := v.Index(i)
				if e.Kind() == reflect.Struct && e.Addr().Type().Implements(node) {
					e = e.Addr()
				}
				collect(e)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				collect(v.Field(i))
			}
		}
	}
	collect(reflect.ValueOf(f.Body))
	f.Inspect(func(n Node) bool {
		if !want[n] {
			t.Errorf("visited twice or from nowhere: %T %q", n, f.Text(n.Pos()))
		}
		delete(want, n)
		return true
	})
	for n := range want {
		t.Errorf("not visited: %T %q", n, f.Text(n.Pos()))
	}
}

func TestInspectStops(t *testing.T) {
	f := parse(t, "def f():\n    a(b)\nc\n")
	var got []string
	f.Inspect(func(n Node) bool {
		got = append(got, reflect.TypeOf(n).Elem().Name())
		_, isFunc := n.(*FuncDef)
		return !isFunc
	})
	if s := strings.Join(got, " "); s != "FuncDef ExprStmt Name" {
		t.Error(s)
	}
	for range Children(f.Body[0]) {
		break // the rest is not yielded to a function that returned
	}
}

const scopes = `import torch

class LiftNet(nn.Module):
    def forward(self, x):
        def inner():
            return x.float()
        return inner() + 1

    width = 3
y = (LiftNet()
     .forward(2))
`

func TestEnclosing(t *testing.T) {
	f := parse(t, scopes)
	for text, want := range map[string]string{
		"import":    "",
		"self":      "LiftNet.forward",
		"x.float":   "LiftNet.forward.inner",
		"+ 1":       "LiftNet.forward",
		"width":     "LiftNet",
		"    width": "LiftNet",
		".forward(": "",
	} {
		if got := f.Enclosing(at(t, f, text)); got != want {
			t.Errorf("Enclosing(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestStmtAt(t *testing.T) {
	f := parse(t, scopes)
	for text, want := range map[string]string{
		"torch":     "import torch",
		".float":    "return x.float()",
		"+ 1":       "return inner() + 1",
		"3\n":       "width = 3",
		".forward(": "y = (LiftNet()\n     .forward(2))",
	} {
		if got := f.Text(f.StmtAt(at(t, f, text)).Pos()); got != want {
			t.Errorf("StmtAt(%q) = %q, want %q", text, got, want)
		}
	}
	if s := f.StmtAt(at(t, f, "\nclass")); s != nil {
		t.Errorf("between statements there is %q", f.Text(s.Pos()))
	}
	if s := f.StmtAt(uint32(len(f.Source)) + 5); s != nil {
		t.Error("a statement behind the end")
	}
	if e := f.ExprAt(at(t, f, "float")); f.Text(e.Pos()) != "x.float" {
		t.Errorf("ExprAt = %q", f.Text(e.Pos()))
	}
}

// at returns the offset of the first byte of text that is not a line end.
func at(t *testing.T, f *File, text string) uint32 {
	t.Helper()
	i := strings.Index(f.Source, text)
	if i < 0 {
		t.Fatalf("no %q", text)
	}
	return uint32(i)
}

func TestParens(t *testing.T) {
	for _, c := range []struct {
		expr          string
		parens, needs bool
	}{
		{"a", false, false},
		{"(a)", true, false},
		{"( # c\n a )", true, false},
		{"a.b", false, false},
		{"(a).b", false, false},
		{"((a).b)", true, false},
		{"f(a)", false, false},
		{"(f)(a)", false, false},
		{"(f(a))", true, false},
		{"a[0]", false, false},
		{"(a)[(0)]", false, false},
		{"'s' 't'", false, false},
		{"('s' 't')", true, false},
		{"f'{a}'", false, false},
		{"[a]", false, false},
		{"{a}", false, false},
		{"{a: b}", false, false},
		{"[a for a in b]", false, false},
		{"(a for a in b)", true, false},
		{"()", true, false},
		{"(a, b)", true, false},
		{"((a), (b))", true, false},
		{"(a), (b)", false, true},
		{"a, b", false, true},
		{"None", false, false},
		{"...", false, false},
		{"1", false, true},
		{"1.5", false, true},
		{"2j", false, true},
		{"(1)", true, false},
		{"a + b", false, true},
		{"(a) + (b)", false, true},
		{"(a + b)", true, false},
		{"((a) + (b))", true, false},
		{"-a", false, true},
		{"-(a)", false, true},
		{"(-(a))", true, false},
		{"a < b", false, true},
		{"(a) < (b)", false, true},
		{"((a) < (b))", true, false},
		{"a and b", false, true},
		{"(a) and (b)", false, true},
		{"((a) and b)", true, false},
		{"a if b else c", false, true},
		{"(a) if b else (c)", false, true},
		{"((a) if b else (c))", true, false},
		{"lambda: (a)", false, true},
		{"(lambda: (a))", true, false},
		{"await (a)", false, true},
		{"(await a)", true, false},
		{"(yield)", true, false},
		{"(a := b)", true, false},
		{"((a)).b if (c) else (d)", false, true},
	} {
		f := parse(t, "x = "+c.expr+"\n")
		a, ok := f.Body[0].(*Assign)
		if !ok || f.Text(a.Value.Pos()) != c.expr {
			t.Errorf("%s is %s", c.expr, dump(f.Body))
			continue
		}
		if got := Parenthesised(f, a.Value); got != c.parens {
			t.Errorf("Parenthesised(%s) = %v", c.expr, got)
		}
		if got := NeedsParens(f, a.Value); got != c.needs {
			t.Errorf("NeedsParens(%s) = %v", c.expr, got)
		}
	}
}

func TestStatements(t *testing.T) {
	f, err := Parse(`
def f(x):
    try:
        y = [z for z in x]
    except ValueError as e:
        pass
    match y:
        case [1]:
            if x: return lambda: 3
class C: a = 1
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range f.Statements() {
		got = append(got, fmt.Sprintf("%d %T", s.Depth, s.Node))
	}
	want := []string{
		"0 *python.FuncDef", "1 *python.Try", "2 *python.Assign", "2 *python.Handler", "3 *python.Branch", "1 *python.Match", "2 *python.Case", "3 *python.If", "4 *python.Return",
		"0 *python.ClassDef", "1 *python.Assign",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOwn gives every node but the statements to the one statement that it belongs
// to: all lists together are what Inspect visits.
func TestOwn(t *testing.T) {
	f := parse(t, everything)
	want := map[Node]bool{}
	f.Inspect(func(n Node) bool {
		switch n.(type) {
		case Stmt, *Handler, *Case:
		default:
			want[n] = true
		}
		return true
	})
	of := map[Node]Stmt{}
	for _, n := range f.Statements() {
		s, ok := n.Node.(Stmt)
		if !ok {
			continue
		}
		for _, x := range f.Own(s) {
			if of[x] != nil {
				t.Errorf("%T at %d belongs to two statements", x, x.Pos().Start)
			}
			if of[x] = s; !want[x] || !s.Pos().Contains(x.Pos()) {
				t.Errorf("%T at %d does not belong to the %T at %d", x, x.Pos().Start, s, s.Pos().Start)
			}
		}
	}
	var rest []string // of handlers and cases
	for x := range want {
		if of[x] == nil {
			rest = append(rest, f.Source[x.Pos().Start:x.Pos().End])
		}
	}
	t.Logf("%d nodes of statements, of none: %q", len(of), rest)
	if len(of) < 50 || len(rest) > len(of)/10 {
		t.Errorf("%d nodes belong to a statement, %d to none: %q", len(of), len(rest), rest)
	}
}
