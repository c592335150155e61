package python

import (
	"errors"
	"testing"
)

// FuzzParse checks that any bytes give a tree whose spans can be relied on.
func FuzzParse(f *testing.F) {
	for _, c := range syntax(f) {
		f.Add(c.source)
	}
	f.Add(everything)
	f.Add("\ufeffa = '\x00\xff'\r\tb\x00 \xff\r\n")
	f.Add("x = ((((((((1))))))))")
	f.Fuzz(func(t *testing.T, source string) {
		file, err := Parse(source)
		if err != nil {
			if errors.Is(err, ErrTooSlow) || errors.Is(err, ErrTooLarge) {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		checkSpans(t, file)
		checkCovered(t, file)
		for i := range len(source) {
			if s := file.StmtAt(uint32(i)); s != nil && (s.Pos().Start > uint32(i) || s.Pos().End <= uint32(i)) {
				t.Fatalf("statement %v at %d", s.Pos(), i)
			}
			file.Enclosing(uint32(i))
		}
		file.Inspect(func(n Node) bool {
			if e, ok := n.(Expr); ok {
				NeedsParens(file, e)
			}
			return true
		})
	})
}
