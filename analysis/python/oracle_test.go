package python

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fact is what both parsers say of one node.
type fact struct {
	kind       string
	start, end int
}

func (f fact) compare(g fact) int {
	if c := strings.Compare(f.kind, g.kind); c != 0 {
		return c
	}
	if f.start != g.start {
		return f.start - g.start
	}
	return f.end - g.end
}

// lead is what may stand before an expression inside its brackets.
var lead = regexp.MustCompile(`^(?:[\s(]|\\\r?\n|#[^\r\n]*)*`)

// facts tells the tree in the words of testdata/oracle.py.
func facts(f *File) []fact {
	var out []fact
	var visit func(n Node, inside bool)
	expr := func(kind string, n Node, inside bool) {
		start := 0
		if !inside {
			start = int(n.Pos().Start)
			start += len(lead.FindString(f.Source[start:]))
		}
		out = append(out, fact{kind, start, 0})
	}
	visit = func(n Node, inside bool) {
		kind := reflect.TypeOf(n).Elem().Name()
		switch n := n.(type) {
		case Stmt:
			out = append(out, fact{kind, int(n.Pos().Start), int(n.Pos().End)})
			if _, ok := n.(*BadStmt); ok {
				return
			}
		case *Arg:
			if n.Star == 1 {
				expr("Starred", n, inside)
			}
		case *Subscript:
			expr(kind, n, inside)
			if _, star := n.Index[0].(*Starred); n.Tuple || star {
				expr("Seq", n.Index[0], inside) // CPython has a tuple there
			}
		case Expr:
			expr(kind, n, inside)
		}
		_, str := n.(*Str)
		for c := range Children(n) {
			visit(c, inside || str)
		}
	}
	for _, s := range f.Body {
		visit(s, false)
	}
	slices.SortFunc(out, fact.compare)
	return out
}

// TestAgainstCPython compares kinds and positions of all statements and
// expressions with those of CPython's own parser, over a part of its library:
// each tenth file up to half a megabyte, with DTYPEBOT_SLOW=1 eight times that.
func TestAgainstCPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		missing(t, "python3 is not there: apt-get install python3")
	}
	lib, err := exec.Command(python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))").Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	met, each, total, limit := 0, 10, int64(0), int64(1<<19)
	if os.Getenv("DTYPEBOT_SLOW") == "1" {
		limit *= 8
	}
	root := strings.TrimSpace(string(lib))
	if dir := os.Getenv("DTYPEBOT_PYTHON_FILES"); dir != "" {
		root, each, limit = dir, 1, 1<<40
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".py") || total > limit {
			return err
		}
		if met++; met%each != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		paths = append(paths, path)
		total += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 10 && limit < 1<<40 {
		missing(t, "the library of "+python+" is not there: apt-get install libpython3-stdlib")
	}
	cmd := exec.Command(python, "testdata/oracle.py")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReaderSize(pipe, 1<<20)
	files, nodes, refused := 0, 0, 0
	for _, path := range paths {
		line, err := out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("oracle on %s: %v\n%s", path, err, stderr.String())
		}
		var raw [][3]any
		if err := json.Unmarshal(line, &raw); err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(string(source))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if raw == nil {
			refused++
			continue
		}
		want := make([]fact, len(raw))
		for i, r := range raw {
			want[i] = fact{r[0].(string), int(r[1].(float64)), int(r[2].(float64))}
		}
		slices.SortFunc(want, fact.compare)
		if d := difference(f, facts(f), want); d != "" {
			t.Errorf("%s: bad %v\n%s", path, f.Bad, d)
		}
		files++
		nodes += len(want)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("oracle: %v\n%s", err, stderr.String())
	}
	t.Logf("%d files, %d nodes, %d files that CPython refuses", files, nodes, refused)
}

// difference lists the first facts that only one side has.
func difference(f *File, got, want []fact) string {
	var b strings.Builder
	n := 0
	for n < 6 && (len(got) > 0 || len(want) > 0) {
		c := 0
		switch {
		case len(got) == 0:
			c = 1
		case len(want) == 0:
			c = -1
		default:
			c = got[0].compare(want[0])
		}
		show := func(who string, x fact) {
			n++
			end := min(x.start+60, len(f.Source))
			fmt.Fprintf(&b, "\tonly %s: %s [%d,%d) line %d: %q\n", who, x.kind, x.start, x.end, f.Line(uint32(x.start)), f.Source[x.start:end])
		}
		switch {
		case c == 0:
			got, want = got[1:], want[1:]
		case c < 0:
			show("here", got[0])
			got = got[1:]
		default:
			show("CPython", want[0])
			want = want[1:]
		}
	}
	return b.String()
}

// missing skips a test that lacks something, or fails it where all is required.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
