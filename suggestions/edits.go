package suggestions

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
)

// The reasons for which Apply refuses edits.
var (
	ErrOverlap = errors.New("edits overlap")
	ErrRange   = errors.New("edit out of range")
)

// Apply returns the source with all edits made at once. The order of the edits
// does not matter. It refuses edits that reach outside the source (ErrRange)
// and edits that overlap or insert at the same place (ErrOverlap), since what
// they mean together would depend on their order.
func Apply(source string, edits []analysis.Edit) (string, error) {
	edits, err := ordered(source, edits)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(source[at:e.Span.Start])
		b.WriteString(e.New)
		at = int(e.Span.End)
	}
	b.WriteString(source[at:])
	return b.String(), nil
}

// ordered returns the edits in ascending order, or why Apply refuses them.
func ordered(source string, edits []analysis.Edit) ([]analysis.Edit, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b analysis.Edit) int {
		if a.Span.Start != b.Span.Start {
			return int(int64(a.Span.Start) - int64(b.Span.Start))
		}
		return int(int64(a.Span.End) - int64(b.Span.End))
	})
	for i, e := range edits {
		if e.Span.Start > e.Span.End || int64(e.Span.End) > int64(len(source)) {
			return nil, fmt.Errorf("%w: bytes %d to %d of %d", ErrRange, e.Span.Start, e.Span.End, len(source))
		}
		if i == 0 {
			continue
		}
		// An insertion at the very start of a replaced span is as ambiguous as
		// two insertions at one place; one right behind a span is not.
		if p := edits[i-1].Span; e.Span.Start < p.End || e.Span.Start == p.Start {
			return nil, fmt.Errorf("%w: bytes %d to %d and %d to %d", ErrOverlap, p.Start, p.End, e.Span.Start, e.Span.End)
		}
	}
	return edits, nil
}

// union returns the edits of several fixes, each different one once, in
// ascending order; ErrOverlap when two of them cannot be made together.
func union(source string, fixes ...[]analysis.Edit) ([]analysis.Edit, error) {
	var all []analysis.Edit
	for _, edits := range fixes {
		for _, e := range edits {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return ordered(source, all)
}

// A text is a source cut into lines as git and GitHub count them: by "\n". A
// "\r" belongs to its line.
type text struct {
	source string
	starts []int // offset of each line; a final newline starts none
}

func newText(source string) text {
	t := text{source: source}
	for at := 0; at < len(source); {
		t.starts = append(t.starts, at)
		n := strings.IndexByte(source[at:], '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	return t
}

// count is the number of lines.
func (t text) count() int { return len(t.starts) }

// line returns the 1-based line of an offset. The end of the source belongs to
// the last line.
func (t text) line(offset uint32) int {
	n, found := slices.BinarySearch(t.starts, int(offset))
	if found {
		return n + 1
	}
	return max(n, 1)
}

// start returns the offset at which a 1-based line starts, the length of the
// source for the line behind the last.
func (t text) start(line int) int {
	if line > len(t.starts) {
		return len(t.source)
	}
	return t.starts[line-1]
}

// lines returns lines first to last without their line ends.
func (t text) lines(first, last int) []string {
	return split(t.source[t.start(first):t.start(last+1)])
}

// touched returns the lines of a span; an empty one touches the line it is on.
func (t text) touched(start, end uint32) (first, last int) {
	first = t.line(start)
	if end > start {
		return first, t.line(end - 1)
	}
	return first, first
}

// split cuts text into lines without line ends; a final line end starts none.
func split(s string) []string {
	if s == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return lines
}

// widen returns the smallest range of whole lines that holds the edits, and
// what stands there before and after. It reports false when the edits change
// nothing. The edits must be ordered.
func (t text) widen(edits []analysis.Edit) (first, last int, old, replacement []string, ok bool) {
	if len(edits) == 0 || t.count() == 0 {
		return 0, 0, nil, nil, false
	}
	mended, err := Apply(t.source, edits)
	if err != nil || mended == t.source {
		return 0, 0, nil, nil, false
	}
	first, last = t.touched(edits[0].Span.Start, edits[0].Span.Start)
	for _, e := range edits {
		_, l := t.touched(e.Span.Start, e.Span.End)
		last = max(last, l)
	}
	grown := len(mended) - len(t.source)
	region := func() string { return mended[t.start(first) : t.start(last+1)+grown] }
	// An edit that takes a line end away pulls the next line up, which then is
	// part of what is replaced.
	for last < t.count() && region() != "" && !strings.HasSuffix(region(), "\n") {
		last++
	}
	before, after := t.source[t.start(first):t.start(last+1)], region()
	// A change of the very last line end alone cannot be said in whole lines.
	if strings.HasSuffix(before, "\n") != strings.HasSuffix(after, "\n") && after != "" {
		return 0, 0, nil, nil, false
	}
	old, replacement = split(before), split(after)
	for len(old) > 1 && len(replacement) > 0 && old[0] == replacement[0] {
		old, replacement, first = old[1:], replacement[1:], first+1
	}
	for len(old) > 1 && len(replacement) > 0 && old[len(old)-1] == replacement[len(replacement)-1] {
		old, replacement, last = old[:len(old)-1], replacement[:len(replacement)-1], last-1
	}
	return first, last, old, replacement, true
}

// replaceLines returns the source with lines first to last replaced, as the
// button of a suggestion does it.
func (t text) replaceLines(first, last int, replacement []string) string {
	var b strings.Builder
	b.WriteString(t.source[:t.start(first)])
	for i, l := range replacement {
		b.WriteString(l)
		if i < len(replacement)-1 || t.start(last+1) < len(t.source) || strings.HasSuffix(t.source, "\n") {
			b.WriteByte('\n')
		}
	}
	b.WriteString(t.source[t.start(last+1):])
	return b.String()
}

// endsOpen reports whether line is the last one and has no line end.
func (t text) endsOpen(line int) bool {
	return line == t.count() && !strings.HasSuffix(t.source, "\n")
}
