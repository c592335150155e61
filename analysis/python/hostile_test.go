package python

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostile feeds what is written to break a parser. Each source must end soon
// and in bounded memory, with a tree or with ErrTooSlow; the tree must be sound.
// The sources are a sixteenth of their size unless DTYPEBOT_SLOW is 1; at their
// whole size, on one core of 2026, none takes longer than 3 s, most well below
// 1 s.
func TestHostile(t *testing.T) {
	part := 16
	if os.Getenv("DTYPEBOT_SLOW") == "1" {
		part = 1
	}
	kb, mb, many := 1<<10/part, 1<<20/part, 100_000/part
	repeat := strings.Repeat
	indent := func() string {
		var b strings.Builder
		for i := range 1500 {
			b.WriteString(repeat(" ", i) + "if a:\n")
		}
		return b.String() + repeat(" ", 1500) + "b\nc\n"
	}
	for name, c := range map[string]struct {
		source string
		cut    bool // must be cut at MaxDepth
		whole  bool // must parse without a bad place
	}{
		"long row of 1+1":             {"x = 1" + repeat("+1", 2*mb) + "\n", true, true},
		"many open brackets":          {repeat("[", many), false, false},
		"many brackets":               {repeat("[", many) + repeat("]", many) + "\n", true, true},
		"many parentheses":            {"x = " + repeat("(", many) + "1" + repeat(")", many) + "\n", true, true},
		"many mixed brackets":         {repeat("([{", many/3), false, false},
		"many calls":                  {repeat("f(", many) + repeat(")", many) + "\n", true, true},
		"many f-strings":              {repeat("f'{", many/5), false, false},
		"many not":                    {repeat("not ", many) + "x\n", true, true},
		"many lambda":                 {repeat("lambda: ", many) + "0\n", true, true},
		"many targets":                {repeat("a = ", many) + "0\n", true, true},
		"many attributes":             {"a" + repeat(".a", many) + "\n", true, true},
		"many comparisons":            {repeat("a < ", many/5) + "0\n", false, true},
		"many elif":                   {"if a: b\n" + repeat("elif a: b\n", many), true, true},
		"many ifs in a line":          {repeat("if a: ", many/5), false, false},
		"many decorators":             {repeat("@a\n", many/5) + "def f(): pass\n", false, true},
		"1500 levels of blocks":       {indent(), false, false}, // the grammar itself gives up
		"long line":                   {"x = [" + repeat("1, ", mb/3) + "]\n", false, true},
		"long name":                   {repeat("a", mb) + " = 1\n", false, true},
		"long string":                 {"x = '" + repeat("a", mb) + "'\n", false, true},
		"open string":                 {"x = '''" + repeat("a\n", 16*kb), false, false},
		"long row of NUL":             {repeat("\x00", mb), false, false},
		"long row of no UTF-8":        {repeat("\xff\xfe", mb/2), false, false},
		"long row of carriage return": {repeat("\r", mb), false, true},
		"continuations":               {repeat("\\\n", 8*kb), false, true},
		"quotes":                      {repeat("'", mb-1), false, false},
		"legacy print":                {repeat("print ", 16*kb), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			f, err := Parse(c.source)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			// The limit is on tree-sitter's part of the work; the rest is linear.
			if took > 3*ParseLimit {
				t.Errorf("took %s", took)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 100*uint64(len(c.source))+64<<20 {
				t.Errorf("allocated %d MB for %d bytes", got>>20, len(c.source))
			}
			if errors.Is(err, ErrTooSlow) {
				t.Logf("too slow after %s", took)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Cut != c.cut {
				t.Errorf("Cut = %v", f.Cut)
			}
			if whole := len(f.Bad) == 0; whole != c.whole {
				t.Errorf("%d bad places", len(f.Bad))
			}
			depth(t, f)
			f.StmtAt(uint32(len(c.source) / 2))
			f.Enclosing(uint32(len(c.source) / 2))
			t.Logf("%s, %d MB of Go memory", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

// depth checks that no walk of the tree can run out of stack.
func depth(t *testing.T, f *File) {
	var deepest int
	var walk func(n Node, d int)
	walk = func(n Node, d int) {
		deepest = max(deepest, d)
		for c := range Children(n) {
			walk(c, d+1)
		}
	}
	for _, s := range f.Body {
		walk(s, 1)
	}
	if deepest > 3*MaxDepth {
		t.Errorf("the tree is %d deep", deepest)
	}
}

// TestDeepIsCutOnlyThere checks that what lies beside too deep a place stays.
func TestDeepIsCutOnlyThere(t *testing.T) {
	f := parse(t, "a = 1\nb = "+strings.Repeat("-", 2*MaxDepth)+"1\ndef f():\n    return 2\n")
	if !f.Cut || len(f.Body) != 3 || dump(f.Body[0]) != "(Assign Targets=[a] Value=int:1)" || dump(f.Body[2]) != `(FuncDef Name="f" Body=[(Return X=int:2)])` {
		t.Errorf("cut %v, %d statements", f.Cut, len(f.Body))
	}
	f = parse(t, "b = "+strings.Repeat("f(", MaxDepth/2-10)+strings.Repeat(")", MaxDepth/2-10)+"\n")
	if f.Cut {
		t.Error("a tree of half the depth is cut")
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := Parse(strings.Repeat("#", MaxSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := Parse(strings.Repeat("#", MaxSize)); err != nil {
		t.Error(err)
	}
}

// TestTooSlow shows that the limit holds and that the next file is not harmed.
func TestTooSlow(t *testing.T) {
	for range 20 {
		if _, err := parseWithin(strings.Repeat("a = b + c\n", 200_000), 5*time.Millisecond); !errors.Is(err, ErrTooSlow) {
			t.Errorf("error %v", err)
		}
		if f, err := Parse("a = 1\n"); err != nil || len(f.Body) != 1 {
			t.Errorf("the next file: %v", err)
		}
	}
}

// TestBytes checks texts that editors and old systems write.
func TestBytes(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		bad    int
		at     []int // where the statements of the module begin
	}{
		"byte order mark":       {"\ufeffa = 1\nb = 2\n", 0, []int{3, 9}},
		"CRLF":                  {"a = 1\r\nif b:\r\n    c\r\nd\r\n", 0, []int{0, 7, 21}},
		"lone CR":               {"a = 1\rif b:\r    c\rd\r", 0, []int{0, 6, 18}},
		"mixed line ends":       {"a\r\nb\rc\nd", 0, []int{0, 3, 5, 7}},
		"form feed":             {"a\n\fb\n\f\nc\n", 0, []int{0, 3, 7}},
		"NUL in a string":       {"a = 'x\x00y'\nb\n", 0, []int{0, 10}},
		"NUL in a comment":      {"a # \x00\nb\n", 0, []int{0, 6}},
		"NUL in code":           {"a\nb = \x00 1\nc\n", 1, []int{0, 2, 10}},
		"Latin-1 in a string":   {"a = 'caf\xe9'\nb\n", 0, []int{0, 11}},
		"Latin-1 in a comment":  {"# caf\xe9\nb\n", 0, []int{7}},
		"truncated UTF-8":       {"a = 'x\xe2\x82'\nb\n", 0, []int{0, 10}},
		"wide characters":       {"a = '\U0001f600'\nb\n", 0, []int{0, 11}},
		"tabs":                  {"if a:\n\tb\n        c\nd\n", 0, []int{0, 19}},
		"continued by CRLF":     {"a = 1 + \\\r\n  2\r\nb\r\n", 0, []int{0, 16}},
		"no line end":           {"if a:\n  b", 0, []int{0}},
		"only white space":      {" \t\n\n  ", 0, nil},
		"line end in a string":  {"a = '''x\r\ny\rz'''\rb", 0, []int{0, 17}},
		"byte order mark alone": {"\ufeff", 0, nil},
	} {
		f := parse(t, c.source)
		var at []int
		for _, s := range f.Body {
			at = append(at, int(s.Pos().Start))
		}
		if len(f.Bad) != c.bad || len(at) != len(c.at) {
			t.Errorf("%s: bad %v, statements at %v, want %v", name, f.Bad, at, c.at)
			continue
		}
		for i := range at {
			if at[i] != c.at[i] {
				t.Errorf("%s: statements at %v, want %v", name, at, c.at)
				break
			}
		}
	}
	f := parse(t, "a = '''x\r\ny\rz'''\n")
	if s := f.Body[0].(*Assign).Value.(*Str).Value; s != "x\ny\nz" {
		t.Errorf("line ends in a string: %q", s)
	}
}
