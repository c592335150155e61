package python

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// str lowers one string or several adjacent ones.
func (l *lowerer) str(n cursor, sp Span) Expr {
	s := &Str{Span: sp}
	if n.is("string") {
		return l.strPart(n, s)
	}
	for c := range n.kids {
		if !c.is("string") || c.broken() || c.cut() || l.strPart(c, s) == nil {
			return nil
		}
	}
	return s
}

// strPart adds one string to s. It returns nil if the string is not closed.
func (l *lowerer) strPart(n cursor, s *Str) Expr {
	first, last := n.first(), n.last()
	if !first.is("string_start") || !last.is("string_end") {
		return nil
	}
	quote := strings.ToLower(strings.TrimRight(first.text(), `"'`))
	text := l.f.Source[first.node().end:last.node().start]
	s.Bytes = s.Bytes || strings.Contains(quote, "b")
	l.interpolations(n, s)
	if strings.ContainsAny(quote, "ft") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "{{", "{"), "}}", "}")
	}
	if strings.Contains(quote, "r") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	} else {
		text = unescape(text, strings.Contains(quote, "b"))
	}
	s.Value += text
	return s
}

// interpolations adds the expressions of an f-string, those of its format
// specifications among them.
func (l *lowerer) interpolations(n cursor, s *Str) {
	for c := range n.kids {
		switch {
		case c.is("interpolation"), c.is("format_expression"):
			switch x := c.field("expression"); {
			case x.is("named_expression") && !c.broken():
				// A walrus needs brackets there: "{x:=5}" is x with the format "=5".
				s.Interp = append(s.Interp, l.optional(x.field("name")))
			case c.broken() || c.cut() || x.null():
				s.Interp = append(s.Interp, l.expr(c))
				continue
			default:
				s.Interp = append(s.Interp, l.expr(x))
			}
			l.interpolations(c, s)
		case c.is("format_specifier"), c.is("string_content"):
			l.interpolations(c, s)
		}
	}
}

// unescape resolves the escapes of a string that is not raw. \N{…} and unknown
// escapes stay as they are. Line ends become "\n", as Python reads them.
func unescape(s string, bytes bool) string {
	if !strings.ContainsAny(s, "\\\r") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\r' {
			b.WriteByte('\n')
			if i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
			continue
		}
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := 0
		switch c := s[i]; c {
		case '\n':
		case '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
		case '\\', '\'', '"':
			b.WriteByte(c)
		case 'a', 'b', 'f', 'n', 'r', 't', 'v':
			b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := 1
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:i+n], 8, 32) // at most 0777
			put(&b, v, bytes)
			i += n - 1
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
		if digits == 0 {
			continue
		}
		if i+digits < len(s) && (digits == 2 || !bytes) {
			if v, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32); err == nil {
				put(&b, v, bytes)
				i += digits
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return b.String()
}

func put(b *strings.Builder, v uint64, bytes bool) {
	switch {
	case bytes:
		b.WriteByte(byte(v))
	case v > utf8.MaxRune:
		b.WriteRune(utf8.RuneError)
	default:
		b.WriteRune(rune(v))
	}
}
