package python

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write testdata/syntax.txtar anew")

// A syntaxCase is one section of testdata/syntax.txtar.
type syntaxCase struct{ name, source, tree string }

// syntax reads the table of odd and ordinary syntax.
func syntax(t testing.TB) []syntaxCase {
	t.Helper()
	a, err := txtar.ParseFile("testdata/syntax.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var out []syntaxCase
	for i := 0; i+1 < len(a.Files); i += 2 {
		py, tree := a.Files[i], a.Files[i+1]
		name, ok := strings.CutSuffix(py.Name, ".py")
		if !ok || tree.Name != name+".tree" {
			t.Fatalf("sections %s and %s do not belong together", py.Name, tree.Name)
		}
		out = append(out, syntaxCase{name, string(py.Data), string(tree.Data)})
	}
	return out
}

// parse parses what must not be refused, and checks the spans of the tree.
func parse(t testing.TB, source string) *File {
	t.Helper()
	f, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	checkSpans(t, f)
	return f
}

// tree writes one line per statement of the module, then the rest of the File.
func tree(f *File) string {
	var b strings.Builder
	for _, s := range f.Body {
		fmt.Fprintln(&b, dump(s))
	}
	for _, c := range f.Comments {
		own := ""
		if c.Own {
			own = " own"
		}
		fmt.Fprintf(&b, "comment%s %q\n", own, c.Text)
	}
	for _, s := range f.Bad {
		fmt.Fprintf(&b, "bad %d %q\n", s.Start, f.Text(s))
	}
	return b.String()
}

func TestSyntax(t *testing.T) {
	a := &txtar.Archive{}
	if *update {
		old, err := txtar.ParseFile("testdata/syntax.txtar")
		if err != nil {
			t.Fatal(err)
		}
		a.Comment = old.Comment
	}
	for _, c := range syntax(t) {
		got := tree(parse(t, c.source))
		if *update {
			a.Files = append(a.Files, txtar.File{Name: c.name + ".py", Data: []byte(c.source)}, txtar.File{Name: c.name + ".tree", Data: []byte(got)})
			continue
		}
		if got != c.tree {
			t.Errorf("%s:\n%s\ngot\n%swant\n%s", c.name, c.source, got, c.tree)
		}
		// A tree does not depend on how lines end; a final line end is optional.
		for ending, eol := range map[string]string{"CRLF": "\r\n", "CR": "\r"} {
			f := parse(t, strings.ReplaceAll(c.source, "\n", eol))
			if g := dump(f.Body); g != dump(parse(t, c.source).Body) && !strings.Contains(c.source, "\\\n") {
				t.Errorf("%s with %s:\n%s\nwant\n%s", c.name, ending, g, dump(parse(t, c.source).Body))
			}
		}
		bom := parse(t, "\ufeff"+c.source)
		if g := dump(bom.Body); g != dump(parse(t, c.source).Body) {
			t.Errorf("%s with a byte order mark:\n%s", c.name, g)
		}
		if len(bom.Body) > 0 && bom.Body[0].Pos().Start < 3 {
			t.Errorf("%s: the first statement begins at %d, inside the byte order mark", c.name, bom.Body[0].Pos().Start)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/syntax.txtar", txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSpans checks what everything behind the parser relies on: spans lie in
// the source and in their parent; siblings come in order and do not overlap.
func checkSpans(t testing.TB, f *File) {
	t.Helper()
	in := func(parent Span, kids []Node) {
		end := parent.Start
		for _, k := range kids {
			sp := k.Pos()
			if sp.Start > sp.End || !parent.Contains(sp) {
				t.Fatalf("%T %v is not inside %v\n%q", k, sp, parent, f.Source)
			}
			if sp.Start < end {
				t.Fatalf("%T %v begins before %d, where its sibling ends\n%q", k, sp, end, f.Source)
			}
			end = sp.End
		}
	}
	whole := Span{0, uint32(len(f.Source))}
	var body []Node
	for _, s := range f.Body {
		body = append(body, s)
	}
	in(whole, body)
	f.Inspect(func(n Node) bool {
		in(n.Pos(), slices.Collect(Children(n)))
		switch n := n.(type) {
		case *FuncDef:
			if f.Text(n.NameSpan) != n.Name || !n.Contains(n.NameSpan) {
				t.Fatalf("name %q of a function is %q", n.Name, f.Text(n.NameSpan))
			}
		case *Attribute:
			if f.Text(n.SelSpan) != n.Sel || !n.Contains(n.SelSpan) {
				t.Fatalf("attribute %q is %q", n.Sel, f.Text(n.SelSpan))
			}
		case *Call:
			if f.Source[n.Lparen] != '(' || f.Source[n.Rparen] != ')' {
				t.Fatalf("brackets of %q", f.Text(n.Span))
			}
		case *Binary:
			if f.Text(n.OpSpan) != n.Op || n.OpSpan.Start < n.X.Pos().End || n.OpSpan.End > n.Y.Pos().Start {
				t.Fatalf("operator %q is %q", n.Op, f.Text(n.OpSpan))
			}
		}
		return true
	})
	end := uint32(0)
	for _, c := range f.Comments {
		if c.Start < end || f.Text(c.Span) != c.Text || !strings.HasPrefix(c.Text, "#") || strings.ContainsAny(c.Text, "\r\n") {
			t.Fatalf("comment %v %q", c.Span, c.Text)
		}
		end = c.End
	}
	for _, s := range f.Bad {
		if !whole.Contains(s) || s.Start > s.End {
			t.Fatalf("bad place %v", s)
		}
	}
}

// checkCovered checks that every byte of a program that means something lies in
// exactly one statement of the module. That no two overlap, checkSpans says.
func checkCovered(t testing.TB, f *File) {
	t.Helper()
	b := readable(f.Source) // as the grammar saw it
	blank := func(s Span) {
		for i := s.Start; i < s.End; i++ {
			b[i] = ' '
		}
	}
	for _, s := range f.Body {
		blank(s.Pos())
	}
	for _, c := range f.Comments {
		blank(c.Span)
	}
	for _, s := range f.Bad { // with the line ends that recovery has put in
		blank(s)
	}
	rest := strings.TrimPrefix(string(b), "\ufeff")
	if i := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune(" \t\f\r\n;\\\v\u200b\u2060\ufeff", r) }); i >= 0 {
		t.Fatalf("not covered: %q of\n%q\n%s", rest[i:min(i+20, len(rest))], f.Source, dump(f.Body))
	}
}
