package python

import (
	"context"
	"os"
	"reflect"
	"regexp"
	"testing"

	sitter "github.com/smacker/go-tree-sitter"
	grammar "github.com/smacker/go-tree-sitter/python"
)

// TestNodeLayout guards the one assumption that the compiler cannot check: that
// a sitter.Node begins with the TSNode of C, 32 bytes long.
func TestNodeLayout(t *testing.T) {
	first := reflect.TypeFor[sitter.Node]().Field(0)
	if first.Offset != 0 || first.Type.Size() != 32 || first.Type.Kind() != reflect.Struct {
		t.Errorf("sitter.Node begins with %s %s of %d bytes at %d", first.Name, first.Type, first.Type.Size(), first.Offset)
	}
	if size := reflect.TypeFor[flatNode]().Size(); size != 20 {
		t.Errorf("flatNode has %d bytes, flat_node of C has 20", size)
	}
}

// TestFlatIsTheTree walks the tree with the API of the binding and compares each
// node with the flat copy.
func TestFlatIsTheTree(t *testing.T) {
	sources := map[string]string{"everything": everything, "empty": ""}
	for _, c := range syntax(t) {
		sources[c.source] = c.source
	}
	for name, source := range sources {
		p := sitter.NewParser()
		p.SetLanguage(grammar.GetLanguage())
		tree, err := p.ParseCtx(context.Background(), nil, []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		nodes, free, ok := flatten(tree.RootNode(), 1<<20)
		if !ok {
			t.Fatal("no memory")
		}
		i := 0
		var walk func(n *sitter.Node, field string)
		walk = func(n *sitter.Node, field string) {
			me := i
			if me >= len(nodes) {
				t.Fatalf("%q: only %d nodes", name, len(nodes))
			}
			i++
			c := cursor{&lowerer{nodes: nodes, lang: language()}, int32(me)}
			if v := nodes[me]; v.start != n.StartByte() || v.end != n.EndByte() || c.kind() != n.Type() ||
				c.named() != n.IsNamed() || c.missing() != n.IsMissing() {
				t.Errorf("%q: node %d is %s %+v, want %s %s field %q", name, me, c.kind(), v, n.Type(), n, field)
			}
			// The binding gives the field of a sibling to what may stand anywhere.
			if !c.extra() && c.kind() != "ERROR" && nodes[me].field != language().fields[field] {
				t.Errorf("%q: node %d has field %d, want %q", name, me, nodes[me].field, field)
			}
			for j := range int(n.ChildCount()) {
				walk(n.Child(j), n.FieldNameForChild(j))
			}
			if int(nodes[me].next) != i {
				t.Errorf("%q: node %d ends at %d, want %d", name, me, nodes[me].next, i)
			}
		}
		walk(tree.RootNode(), "")
		if i != len(nodes) {
			t.Errorf("%q: %d nodes, want %d", name, len(nodes), i)
		}
		free()
		tree.Close()
		p.Close()
	}
}

var (
	fieldCalls = regexp.MustCompile(`\.(?:field|fields)\("(\w+)"\)`)
	isCalls    = regexp.MustCompile(`\.is\("(\w+)"\)`)
)

// TestGrammarNames fails if a name that the lowerer asks for is not one of the
// grammar's, as after an update that renames it.
func TestGrammarNames(t *testing.T) {
	l := language()
	kinds := map[string]bool{}
	for _, k := range l.kinds {
		kinds[k] = true
	}
	for _, path := range []string{"lower.go", "str.go"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fieldCalls.FindAllStringSubmatch(string(text), -1) {
			if l.fields[m[1]] == 0 {
				t.Errorf("%s: the grammar has no field %q", path, m[1])
			}
		}
		for _, m := range isCalls.FindAllStringSubmatch(string(text), -1) {
			if !kinds[m[1]] && m[1] != "ERROR" {
				t.Errorf("%s: the grammar has no symbol %q", path, m[1])
			}
		}
	}
}
