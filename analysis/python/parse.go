package python

import (
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

// MaxSize is the largest source that Parse takes, in bytes. GitHub itself shows
// no diff for files far smaller than this.
const MaxSize = 8 << 20

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
	if len(source) > MaxSize {
		return nil, fmt.Errorf("%w: %d of at most %d bytes", ErrTooLarge, len(source), MaxSize)
	}
	nodes, err := parseFlat(readable(source))
	if err != nil {
		return nil, err
	}
	f := &File{Source: source}
	f.indexLines()
	l := lowerer{f: f, nodes: nodes, lang: language()}
	l.survey()
	f.Body = l.block(cursor{&l, 0})
	slices.SortFunc(f.Bad, func(a, b Span) int { return int(a.Start) - int(b.Start) })
	return f, nil
}

// parseFlat parses src and copies the tree. All C memory is freed when it returns.
func parseFlat(src []byte) ([]flatNode, error) {
	// A parser is cheap (about 4 µs) and must not be used again after its limit
	// was hit or a context was cancelled: the next file would fail too. For the
	// same reason no cancellable context is handed in.
	p := sitter.NewParser()
	defer p.Close()
	p.SetLanguage(grammar.GetLanguage())
	p.SetOperationLimit(int(ParseLimit / time.Microsecond))
	tree, err := p.ParseCtx(context.Background(), nil, src)
	if errors.Is(err, sitter.ErrOperationLimit) {
		return nil, fmt.Errorf("%w: more than %s for %d bytes", ErrTooSlow, ParseLimit, len(src))
	}
	if err != nil {
		return nil, fmt.Errorf("parse python: %w", err) // unreachable unless the grammar is missing
	}
	defer tree.Close()
	nodes, ok := flatten(tree.RootNode(), maxTreeDepth)
	if !ok {
		return nil, ErrMemory
	}
	return nodes, nil
}

// maxTreeDepth bounds the depth of the copied tree. It is larger than MaxDepth
// because one level of the typed tree is up to four of tree-sitter's.
const maxTreeDepth = 4 * MaxDepth

// readable returns a copy of source for tree-sitter, byte for byte at the same
// offsets. A lone "\r", which the grammar takes for white space but Python for
// the end of a line, becomes "\n". NUL, which the grammar takes for the end of
// the file, and bytes that are not UTF-8 become a control character: harmless
// in comments and strings, bad syntax elsewhere.
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
	return b
}

// A lang holds the names of the grammar's symbols and fields.
type lang struct {
	kinds  []string          // by symbol
	fields map[string]uint16 // 0 is no field
}

// language reads the names once; they are constants of the grammar.
var language = sync.OnceValue(func() *lang {
	l := grammar.GetLanguage()
	t := &lang{fields: make(map[string]uint16)}
	for i := range l.SymbolCount() {
		t.kinds = append(t.kinds, l.SymbolName(sitter.Symbol(i)))
	}
	for i := 1; ; i++ {
		name := l.FieldName(i)
		if name == "" {
			return t
		}
		t.fields[name] = uint16(i)
	}
})
