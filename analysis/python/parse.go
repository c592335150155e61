package python

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	sitter "github.com/smacker/go-tree-sitter"
	grammar "github.com/smacker/go-tree-sitter/python"
)

// MaxSize is the largest source that Parse takes, in bytes. The worst of sources
// needs about 200 bytes of memory for each of its own while it is parsed, so
// this bounds a parse to about 1 GB; ordinary code needs a quarter of that.
// GitHub itself shows no diff of files far smaller.
const MaxSize = 5 << 20

// ParseLimit is how long tree-sitter may work on one file. Ordinary code parses
// at more than 3 MB a second; what takes longer is made to.
const ParseLimit = 4 * time.Second

var (
	// ErrTooLarge says that a source is longer than MaxSize.
	ErrTooLarge = errors.New("python source is too large")
	// ErrTooSlow says that a source did not parse within ParseLimit.
	ErrTooSlow = errors.New("python source takes too long to parse")
	// ErrMemory says that C had no memory for the tree.
	ErrMemory = errors.New("no memory for the syntax tree")
)

// Parse parses one file. Bad syntax is not an error, see File.Bad: any bytes
// give a File. It returns ErrTooLarge, ErrTooSlow or ErrMemory, perhaps wrapped,
// for a source that cannot be analysed at all.
//
// NUL bytes and invalid UTF-8 are accepted in comments and strings and are bad
// syntax elsewhere; a line may end in "\n", "\r\n" or a lone "\r"; a byte order
// mark is skipped. All offsets are those of source as it was given.
func Parse(source string) (*File, error) {
	return parseWithin(source, ParseLimit)
}

func parseWithin(source string, limit time.Duration) (*File, error) {
	if len(source) > MaxSize {
		return nil, fmt.Errorf("%w: %d of at most %d bytes", ErrTooLarge, len(source), MaxSize)
	}
	nodes, free, err := parseFlat(readable(source), limit)
	if err != nil {
		return nil, err
	}
	defer free()
	f := &File{Source: source}
	f.indexLines()
	l := lowerer{f: f, nodes: nodes, lang: language()}
	l.survey()
	f.Body = l.block(cursor{&l, 0})
	slices.SortFunc(f.Bad, func(a, b Span) int { return int(a.Start) - int(b.Start) })
	return f, nil
}

// parseFlat parses src and copies the tree. The nodes lie in C memory until free
// is called.
func parseFlat(src []byte, limit time.Duration) (nodes []flatNode, free func(), err error) {
	// A parser is cheap (about 4 µs) and must not be used again after its limit
	// was hit or a context was cancelled: the next file would fail too. For the
	// same reason no cancellable context is handed in.
	p := sitter.NewParser()
	defer p.Close()
	p.SetLanguage(grammar.GetLanguage())
	p.SetOperationLimit(int(limit / time.Microsecond))
	tree, err := p.ParseCtx(context.Background(), nil, src)
	if errors.Is(err, sitter.ErrOperationLimit) {
		return nil, nil, fmt.Errorf("%w: more than %s for %d bytes", ErrTooSlow, limit, len(src))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("parse python: %w", err) // unreachable unless the grammar is missing
	}
	defer tree.Close()
	nodes, free, ok := flatten(tree.RootNode(), maxTreeDepth)
	if !ok {
		return nil, nil, ErrMemory
	}
	return nodes, free, nil
}

// maxTreeDepth bounds the depth of the copied tree. It is larger than MaxDepth
// because one level of the typed tree is up to four of tree-sitter's.
const maxTreeDepth = 4 * MaxDepth

// readable returns a copy of source for tree-sitter, byte for byte at the same
// offsets; whatever the tree says in text is read from source itself.
//
//   - A lone "\r", which the grammar takes for white space but Python for the end
//     of a line, becomes "\n".
//   - NUL, which the grammar takes for the end of the file, and bytes that are not
//     UTF-8 become a control character: harmless in comments and strings, bad
//     syntax elsewhere.
//   - type, print and exec before a bracket become names of no meaning: the grammar
//     reads "type(self).x = 1" as a type alias and "print (a).b" as Python 2.
//   - "except *T" becomes "except* T", the only spelling of it the grammar knows.
//   - The prefix of a t-string (3.14), unknown to the grammar, becomes f.
func readable(source string) []byte {
	const unreadable = 0x01
	b := []byte(source)
	for i := strings.IndexByte(source, '\r'); i >= 0 && i < len(b); i++ {
		if b[i] == '\r' && (i+1 == len(b) || b[i+1] != '\n') {
			b[i] = '\n'
		}
	}
	for i := strings.IndexByte(source, 0); i >= 0 && i < len(b); i++ {
		if b[i] == 0 {
			b[i] = unreadable
		}
	}
	if !utf8.ValidString(source) {
		for i := 0; i < len(b); {
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				b[i] = unreadable
			}
			i += n
		}
	}
	for _, word := range []string{"type", "print", "exec"} {
		hide(b, source, word)
	}
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("except *"))
		if i < 0 {
			break
		}
		at += i + len("except *")
		copy(b[at-2:], "* ")
	}
	for i, c := range b {
		if c != '"' && c != '\'' || i == 0 {
			continue
		}
		p := i - 1 // at the t of t"", tr"" or rt""
		if p > 0 && (b[p] == 'r' || b[p] == 'R') && (b[p-1] == 't' || b[p-1] == 'T') {
			p--
		}
		if b[p] != 't' && b[p] != 'T' {
			continue
		}
		first := p
		if p > 0 && p == i-1 && (b[p-1] == 'r' || b[p-1] == 'R') {
			first--
		}
		if first == 0 || source[:first] == "\ufeff" || !word(b[first-1]) {
			b[p] = 'f'
		}
	}
	return b
}

// hide changes the last letter of a keyword in b wherever a bracket follows it.
func hide(b []byte, source, keyword string) {
	for at := 0; ; {
		i := strings.Index(source[at:], keyword)
		if i < 0 {
			return
		}
		i += at
		at = i + len(keyword)
		if (i == 0 || source[:i] == "\ufeff" || !word(source[i-1])) && strings.HasPrefix(strings.TrimLeft(source[at:min(at+8, len(source))], " \t"), "(") {
			b[at-1] = '_'
		}
	}
}

// word reports whether a byte may belong to a name.
func word(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

// A lang holds the names of the grammar's symbols and fields.
type lang struct {
	kinds  []string          // by symbol
	fields map[string]uint16 // 0 is no field

	comment, continuation uint16 // the symbols that may stand anywhere
}

// language reads the names once; they are constants of the grammar.
var language = sync.OnceValue(func() *lang {
	l := grammar.GetLanguage()
	t := &lang{fields: make(map[string]uint16)}
	for i := range l.SymbolCount() {
		name := l.SymbolName(sitter.Symbol(i))
		t.kinds = append(t.kinds, name)
		switch name {
		case "comment":
			t.comment = uint16(i)
		case "line_continuation":
			t.continuation = uint16(i)
		}
	}
	for i := 1; ; i++ {
		name := l.FieldName(i)
		if name == "" {
			return t
		}
		t.fields[name] = uint16(i)
	}
})
