package page

import (
	"html/template"
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
)

// A span is a piece of a line in one colour.
type span struct{ class, text string }

// maxColoured is the size of a text beyond which it is shown without colours.
const maxColoured = 400_000

// coloured splits a text into its lines' spans; nil when there are no colours
// for the file's language.
func coloured(path, text string) [][]span {
	if len(text) > maxColoured {
		return nil
	}
	lexer := lexers.Match(path)
	if lexer == nil {
		return nil
	}
	tokens, err := chroma.Coalesce(lexer).Tokenise(nil, text)
	if err != nil {
		return nil
	}
	var lines [][]span
	for _, line := range chroma.SplitTokensIntoLines(tokens.Tokens()) {
		var spans []span
		for _, t := range line {
			if text := strings.TrimRight(t.Value, "\r\n"); text != "" {
				spans = append(spans, span{class(t.Type), text})
			}
		}
		lines = append(lines, spans)
	}
	return lines
}

// class is the style sheet's name of a kind of token; "" has the colour of text.
func class(t chroma.TokenType) string {
	switch t {
	case chroma.KeywordConstant, chroma.NameBuiltinPseudo:
		return "kc"
	case chroma.NameFunction, chroma.NameFunctionMagic, chroma.NameClass:
		return "nf"
	case chroma.NameDecorator:
		return "nd"
	case chroma.NameBuiltin, chroma.NameException:
		return "nb"
	case chroma.OperatorWord:
		return "k"
	case chroma.LiteralStringDoc:
		return "c"
	}
	switch {
	case t.InCategory(chroma.Keyword):
		return "k"
	case t.InCategory(chroma.Comment):
		return "c"
	case t.InSubCategory(chroma.LiteralString):
		return "s"
	case t.InSubCategory(chroma.LiteralNumber):
		return "m"
	}
	return ""
}

// A code is a text whose lines can be asked for in colour.
type code struct{ lines [][]span }

// html renders line n, counted from 1, whose text is known to be text, with the
// bytes of the marks stressed. A line of which no colours are known, or others,
// is rendered without.
func (c code) html(n int, text string, marks ...[2]int) template.HTML {
	if n >= 1 && n <= len(c.lines) {
		var b strings.Builder
		for _, s := range c.lines[n-1] {
			b.WriteString(s.text)
		}
		if b.String() == strings.TrimRight(text, "\r") {
			return lineHTML(c.lines[n-1], marks)
		}
	}
	return lineHTML([]span{{"", text}}, marks)
}

// lineHTML is the only place that turns code into HTML.
func lineHTML(spans []span, marks [][2]int) template.HTML {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		for text := s.text; text != ""; {
			n, in := len(text), false
			for _, m := range marks {
				switch {
				case m[0] <= at && at < m[1]:
					in, n = true, min(n, m[1]-at)
				case at < m[0]:
					n = min(n, m[0]-at)
				}
			}
			part := template.HTMLEscapeString(visible(text[:n]))
			if in {
				part = "<mark>" + part + "</mark>"
			}
			if s.class != "" {
				part = `<span class="` + s.class + `">` + part + "</span>"
			}
			b.WriteString(part)
			at += n
			text = text[n:]
		}
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped above
}

// visible makes characters that reorder or hide text visible.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\u200b', r == '\u200e', r == '\u200f', r == '\ufeff':
			return '\u2423'
		case r == 0:
			return '\ufffd'
		}
		return r
	}, text)
}

// A line is a row of code on the page.
type line struct {
	Kind     string // "ctx", "add", "del" or "note"
	Old, New int    // 0 has no number
	HTML     template.HTML
	// Marked says that a comment stands on the line.
	Marked bool
}

// Sign is the line's first column.
func (l line) Sign() string {
	switch l.Kind {
	case "add":
		return "+"
	case "del":
		return "−"
	}
	return ""
}

// Says is the sign in words, for those who cannot see the colour.
func (l line) Says() string {
	switch l.Kind {
	case "add":
		return "added"
	case "del":
		return "removed"
	}
	return ""
}

// changes compares what a suggestion replaces with what it puts there. The
// lines are numbered from first, if that is not 0. Pairs of lines have the
// differing part stressed.
func changes(path string, before, after []string, first int) []line {
	in, before, after := dedent(before, after)
	old := code{coloured(path, strings.Join(before, "\n"))}
	now := code{coloured(path, strings.Join(after, "\n"))}
	number := func(i int) int {
		if first == 0 {
			return 0
		}
		return first + i
	}
	var out []line
	for _, c := range compare(before, after) {
		if c.same {
			for i := range c.n {
				out = append(out, line{Kind: "ctx", Old: number(c.a + i), New: number(c.b + i), HTML: old.html(c.a+i+1, before[c.a+i])})
			}
			continue
		}
		paired := c.n == c.m
		var removed, added []line
		for i := range c.n {
			var marks [][2]int
			if paired {
				marks, _ = differs(before[c.a+i], after[c.b+i])
			}
			removed = append(removed, line{Kind: "del", Old: number(c.a + i), HTML: old.html(c.a+i+1, before[c.a+i], marks...)})
		}
		for i := range c.m {
			var marks [][2]int
			if paired {
				_, marks = differs(before[c.a+i], after[c.b+i])
			}
			added = append(added, line{Kind: "add", New: number(c.b + i), HTML: now.html(c.b+i+1, after[c.b+i], marks...)})
		}
		out = append(append(out, removed...), added...)
	}
	for i := range out {
		if out[i].HTML != "" {
			out[i].HTML = in + out[i].HTML
		}
	}
	return out
}

// dedent takes the common indent from both texts, which a narrow screen leaves
// out.
func dedent(a, b []string) (indent template.HTML, c, d []string) {
	common, some := "", false
	for _, l := range slices.Concat(a, b) {
		own := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		switch {
		case own == l: // a blank line
		case !some:
			common, some = own, true
		default:
			n := 0
			for n < len(common) && n < len(own) && common[n] == own[n] {
				n++
			}
			common = common[:n]
		}
	}
	cut := func(list []string) []string {
		out := slices.Clone(list)
		for i := range out {
			out[i] = strings.TrimPrefix(out[i], common)
		}
		return out
	}
	if common != "" {
		indent = template.HTML(`<span class="in">` + common + `</span>`) //nolint:gosec // blanks and tabs
	}
	return indent, cut(a), cut(b)
}

// A run is n lines of a that are the same as n of b, or are replaced by m of b.
type run struct {
	same       bool
	a, b, n, m int
}

// compare finds the longest common lines. Suggestions are short; beyond some
// size everything counts as replaced.
func compare(a, b []string) []run {
	if len(a)*len(b) > 250_000 {
		return []run{{n: len(a), m: len(b)}}
	}
	longest := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out []run
	for i, j := 0, 0; i < len(a) || j < len(b); {
		r := run{a: i, b: j}
		for i < len(a) && j < len(b) && a[i] == b[j] {
			i, j, r.n, r.same = i+1, j+1, r.n+1, true
		}
		if !r.same {
			for (i < len(a) || j < len(b)) && !(i < len(a) && j < len(b) && a[i] == b[j]) {
				if j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1] {
					i, r.n = i+1, r.n+1
				} else {
					j, r.m = j+1, r.m+1
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// differs gives the bytes between the common beginning and the common end of
// two lines, unless nearly everything differs.
func differs(a, b string) (inA, inB [][2]int) {
	ra, rb := []rune(a), []rune(b)
	head := 0
	for head < len(ra) && head < len(rb) && ra[head] == rb[head] {
		head++
	}
	tail := 0
	for tail < len(ra)-head && tail < len(rb)-head && ra[len(ra)-1-tail] == rb[len(rb)-1-tail] {
		tail++
	}
	if 3*(head+tail) < max(len(ra), len(rb)) {
		return nil, nil
	}
	cut := func(r, other []rune) [][2]int {
		from, to := head, len(r)-tail
		if from == to {
			return nil
		}
		if len(other) == head+tail { // only here is something more
			from, to = slide(r, from, to)
		}
		return [][2]int{{len(string(r[:from])), len(string(r[:to]))}}
	}
	return cut(ra, rb), cut(rb, ra)
}

// slide moves an insertion to the left, as far as it stays the same text, to
// where it begins with a sign: ".to(dtype)" reads better than "o(dtype).t".
func slide(r []rune, from, to int) (int, int) {
	word := func(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }
	for a, b := from, to; ; a, b = a-1, b-1 {
		if !word(r[a]) && (a == 0 || word(r[a-1]) || r[a-1] == ')' || r[a-1] == ']') {
			return a, b
		}
		if a == 0 || r[a-1] != r[b-1] {
			return from, to
		}
	}
}

// tail returns the last n of the lines.
func tail[T any](list []T, n int) []T { return slices.Clip(list[max(0, len(list)-n):]) }
