package suggestions

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func edit(start, end int, new string) analysis.Edit {
	return analysis.Edit{Span: python.Span{Start: uint32(start), End: uint32(end)}, New: new}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []analysis.Edit
		want  string
		err   error
	}{
		{"none", nil, "0123456789", nil},
		{"out of order", []analysis.Edit{edit(8, 9, "b"), edit(1, 3, "a")}, "0a34567b9", nil},
		{"insert at both ends", []analysis.Edit{edit(10, 10, ">"), edit(0, 0, "<")}, "<0123456789>", nil},
		{"touching", []analysis.Edit{edit(1, 3, "a"), edit(3, 5, "b")}, "0ab56789", nil},
		{"insert behind a replaced span", []analysis.Edit{edit(1, 3, "a"), edit(3, 3, "b")}, "0ab3456789", nil},
		{"overlap", []analysis.Edit{edit(1, 4, "a"), edit(3, 5, "b")}, "", ErrOverlap},
		{"two insertions at one place", []analysis.Edit{edit(3, 3, "a"), edit(3, 3, "b")}, "", ErrOverlap},
		{"insert at the start of a replaced span", []analysis.Edit{edit(3, 3, "a"), edit(3, 5, "b")}, "", ErrOverlap},
		{"insert inside", []analysis.Edit{edit(1, 5, "a"), edit(3, 3, "b")}, "", ErrOverlap},
		{"behind the end", []analysis.Edit{edit(9, 11, "a")}, "", ErrRange},
		{"backwards", []analysis.Edit{edit(5, 4, "a")}, "", ErrRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Apply("0123456789", c.edits)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestWiden(t *testing.T) {
	const source = "one\ntwo\nthree\nfour\n"
	for _, c := range []struct {
		name        string
		edits       []analysis.Edit
		first, last int
		replacement []string
		ok          bool
	}{
		{"inside a line", []analysis.Edit{edit(5, 6, "W")}, 2, 2, []string{"tWo"}, true},
		{"behind a line", []analysis.Edit{edit(7, 7, "!")}, 2, 2, []string{"two!"}, true},
		{"at the start of a line", []analysis.Edit{edit(4, 4, "x\n")}, 2, 2, []string{"x", "two"}, true},
		{"two lines apart", []analysis.Edit{edit(0, 1, "O"), edit(8, 9, "T")}, 1, 3, []string{"One", "two", "Three"}, true},
		{"wider than the difference", []analysis.Edit{edit(0, 14, "one\nTWO\nthree\n")}, 2, 2, []string{"TWO"}, true},
		{"line end taken away", []analysis.Edit{edit(7, 8, " ")}, 2, 3, []string{"two three"}, true},
		{"line deleted", []analysis.Edit{edit(4, 8, "")}, 2, 2, nil, true},
		{"behind the last line end", []analysis.Edit{edit(19, 19, "five\n")}, 4, 4, []string{"four", "five"}, true},
		{"the last line end alone", []analysis.Edit{edit(18, 19, "")}, 0, 0, nil, false},
		{"nothing", []analysis.Edit{edit(4, 7, "two")}, 0, 0, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newText(source)
			first, last, old, replacement, ok := w.widen(c.edits)
			if first != c.first || last != c.last || ok != c.ok || !cmp.Equal(replacement, c.replacement) && len(replacement)+len(c.replacement) > 0 {
				t.Fatalf("got %d-%d %q %v; want %d-%d %q %v", first, last, replacement, ok, c.first, c.last, c.replacement, c.ok)
			}
			if !ok {
				return
			}
			if d := cmp.Diff(w.lines(first, last), old); d != "" {
				t.Errorf("old lines (-want +got):\n%s", d)
			}
			want, err := Apply(source, c.edits)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.replaceLines(first, last, replacement); got != want {
				t.Errorf("the lines give %q, the edits %q", got, want)
			}
		})
	}
}

// checkWiden demands that replacing whole lines gives what the edits give, and
// that the range is the smallest.
func checkWiden(t interface {
	Helper()
	Fatalf(string, ...any)
}, source string, edits []analysis.Edit,
) {
	t.Helper()
	edits, err := ordered(source, edits)
	if err != nil {
		return
	}
	want, err := Apply(source, edits)
	if err != nil {
		t.Fatalf("ordered allows what Apply refuses: %v", err)
	}
	w := newText(source)
	first, last, old, replacement, ok := w.widen(edits)
	if !ok || strings.Contains(source+want, "\r") || w.endsOpen(last) {
		return
	}
	if got := w.replaceLines(first, last, replacement); got != want {
		t.Fatalf("%q with %v: lines %d-%d give %q, the edits %q", source, edits, first, last, got, want)
	}
	if !strings.HasPrefix(want, source[:w.start(first)]) || !strings.HasSuffix(want, source[w.start(last+1):]) {
		t.Fatalf("%q with %v: bytes outside lines %d-%d change", source, edits, first, last)
	}
	if len(old) > 1 && len(replacement) > 0 && (old[0] == replacement[0] || old[len(old)-1] == replacement[len(replacement)-1]) {
		t.Fatalf("%q with %v: lines %d-%d are more than needed", source, edits, first, last)
	}
}

func TestLinesGiveWhatEditsGive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.StringMatching(`([ab]{0,3}\n){0,6}[ab]{0,2}`).Draw(t, "source")
		n := rapid.IntRange(1, 4).Draw(t, "n")
		var edits []analysis.Edit
		for range n {
			start := rapid.IntRange(0, len(source)).Draw(t, "start")
			end := rapid.IntRange(start, min(start+6, len(source))).Draw(t, "end")
			edits = append(edits, edit(start, end, rapid.StringMatching(`[abx\n]{0,4}`).Draw(t, "new")))
		}
		checkWiden(t, source, edits)
	})
}

func FuzzWiden(f *testing.F) {
	f.Add("one\ntwo\n", 4, 7, "2", 8, 8, "three\n")
	f.Add("a\r\nb", 1, 2, "", 4, 4, "\n")
	f.Fuzz(func(t *testing.T, source string, s1, e1 int, n1 string, s2, e2 int, n2 string) {
		if min(s1, e1, s2, e2) < 0 || max(s1, e1, s2, e2) > len(source) {
			return
		}
		checkWiden(t, source, []analysis.Edit{edit(s1, e1, n1), edit(s2, e2, n2)})
	})
}
