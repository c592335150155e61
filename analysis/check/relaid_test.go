package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// everyCall reports every call, so that every line is a candidate.
var everyCall = &analysis.Rule{Name: "every-call", Run: func(p *analysis.Pass) {
	p.Tree.Inspect(func(n python.Node) bool {
		if c, ok := n.(*python.Call); ok {
			p.Report(analysis.Finding{At: c.Span, Confidence: analysis.Likely})
		}
		return true
	})
}}

// relay has Python itself print files from their syntax trees: other quotes,
// other line breaks, no comments, no redundant parentheses.
const relay = `import ast, pathlib, sys
out = pathlib.Path(sys.argv[1])
for i, name in enumerate(sys.argv[2:]):
    source = pathlib.Path(name).read_text(encoding="utf-8")
    tree = ast.parse(source)
    (out / f"{i}.base").write_text(source, encoding="utf-8")
    (out / f"{i}.head").write_text(ast.unparse(tree) + "\n", encoding="utf-8")
`

// TestRelaid checks on real code that a formatter of any taste brings nothing in.
func TestRelaid(t *testing.T) {
	interpreter, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal("python3 is missing: apt-get install python3")
		}
		t.Skip("python3 is missing: apt-get install python3")
	}
	where, err := exec.Command(interpreter, "-c", "import argparse; print(argparse.__file__)").Output()
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Dir(strings.TrimSpace(string(where)))
	names := []string{"argparse", "dataclasses", "asyncio/streams", "statistics", "inspect", "tarfile"}
	if more := os.Getenv("DTYPEBOT_RELAID"); more != "" { // further files, separated by blanks
		names = append(names, strings.Fields(more)...)
	}
	dir := t.TempDir()
	args := []string{"-c", relay, dir}
	for _, n := range names {
		if !filepath.IsAbs(n) {
			n = filepath.Join(lib, n+".py")
		}
		args = append(args, n)
	}
	if out, err := exec.Command(interpreter, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, n := range names {
		base, head := filepath.Join(dir, strconv.Itoa(i)+".base"), filepath.Join(dir, strconv.Itoa(i)+".head")
		f := analysis.File{Path: "a.py", Source: read(t, head), Base: read(t, base)}
		// The diff tool may have paired nothing: then every line is added.
		h := analysis.Hunk{Start: 1, End: lineCount(f.Source)}
		for l := h.Start; l <= h.End; l++ {
			h.New = append(h.New, l)
		}
		f.Hunks = []analysis.Hunk{h}
		r := Run(t.Context(), []analysis.File{f}, Options{Rules: []*analysis.Rule{everyCall}})
		if r.Known < 100 {
			t.Errorf("%s: only %d calls; skipped %v", n, r.Known, r.Skipped)
		}
		lines := strings.SplitAfter(f.Source, "\n")
		for _, found := range r.Findings {
			t.Errorf("%s: new at %d: %s", n, found.Start.Line, lines[found.Start.Line-1])
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
