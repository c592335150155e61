package check

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/patch"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// callRule reports every call of a function of one name. The reasons are the
// assignments to the names that it is called with, and a name called sure makes
// the finding certain.
func callRule(rule, function string) *analysis.Rule {
	return &analysis.Rule{Name: rule, Severity: analysis.High, Run: func(p *analysis.Pass) {
		assigned := map[string]python.Span{}
		p.Tree.Inspect(func(n python.Node) bool {
			if a, ok := n.(*python.Assign); ok {
				if name, ok := a.Targets[0].(*python.Name); ok {
					assigned[name.ID] = a.Span
				}
			}
			c, ok := n.(*python.Call)
			if !ok {
				return true
			}
			if f, ok := c.Func.(*python.Name); !ok || f.ID != function {
				return true
			}
			f := analysis.Finding{At: c.Span, Confidence: analysis.Likely, Message: "bad call"}
			for _, a := range c.Args {
				if name, ok := a.Value.(*python.Name); ok {
					if at, ok := assigned[name.ID]; ok {
						f.Because = append(f.Because, p.Reason(at, "assigned here"))
						if strings.Contains(p.Tree.Text(at), "sure") {
							f.Confidence = analysis.Certain
						}
					}
				}
			}
			p.Report(f)
			return true
		})
	}}
}

var badRule = callRule("bad-call", "bad")

// change builds the files of a change with real git diff output.
func change(t testing.TB, base, head map[string]string) ([]analysis.File, []string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal("git is missing: apt-get install git")
		}
		t.Skip("git is missing: apt-get install git")
	}
	dir := t.TempDir()
	for side, files := range map[string]map[string]string{"a": base, "b": head} {
		if err := os.MkdirAll(filepath.Join(dir, side), 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			full := filepath.Join(dir, side, name)
			if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(git, "-c", "core.autocrlf=false", "diff", "--no-index", "--no-prefix", "-M", "a", "b")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, _ := cmd.Output() // exit status 1 says that they differ
	parsed, err := patch.Parse(strings.NewReader(string(out)))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var files []analysis.File
	var deleted []string
	for _, f := range parsed {
		// The folders are called like the prefixes, which git left away; the
		// parser drops them like prefixes, or keeps them when they differ.
		path := strings.TrimPrefix(f.Path(), "b/")
		if f.Deleted {
			deleted = append(deleted, strings.Join(f.Removed(), ""))
			continue
		}
		text, err := f.Reverse(head[path])
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, analysis.File{Path: path, Source: head[path], Base: text, Added: f.Added, Hunks: f.AnalysisHunks()})
	}
	return files, deleted
}

// lines lists where the findings are, as "path:line".
func lines(r Report) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s:%d", f.Path, f.Start.Line))
	}
	return out
}

const faulty = `import torch


class Net:
    def forward(self, x, K):
        y = bad(x, K, "scale")
        if y is not None:
            z = bad(y, [1, 2, 3], scale=1E5)
        return bad(x, y), z


def project(points, camera, size):
    return bad(points, camera.matrix[0, 1], size)
`

// blacked is faulty as a formatter may lay it out.
const blacked = `import torch

class Net:

    def forward(self,
                x, K):
        y = bad(
            x,
            K,
            'scale',
        )  # new comment
        if (y is not None):
            z = (
                bad(y, [
                    1, 2,
                    3,
                ], scale=1e5)
            )
        return (bad(x,
                    y), z)

def project(
    points,
    camera,
    size,
):
    return bad(points, camera.matrix[
        0, 1], size)
`

func TestNews(t *testing.T) {
	other := "import os\n\n\ndef helper(a):\n    return os.path.join(a)\n"
	indented := "import torch\n\nif torch:\n" + strings.ReplaceAll("    "+strings.ReplaceAll(faulty[len("import torch\n\n\n"):], "\n", "\n    "), "    \n", "\n")
	for _, tc := range []struct {
		name       string
		base, head map[string]string
		want       []string
		known      int
	}{
		{
			name: "an added file is all new",
			head: map[string]string{"a.py": faulty},
			want: []string{"a.py:6", "a.py:8", "a.py:9", "a.py:13"},
		},
		{
			name:  "reformatting with old faults",
			base:  map[string]string{"a.py": faulty},
			head:  map[string]string{"a.py": blacked},
			known: 4,
		},
		{
			name:  "reformatting back",
			base:  map[string]string{"a.py": blacked},
			head:  map[string]string{"a.py": faulty},
			known: 4,
		},
		{
			name:  "re-indentation",
			base:  map[string]string{"a.py": faulty},
			head:  map[string]string{"a.py": indented},
			known: 4,
		},
		{
			name:  "line ends and tabs",
			base:  map[string]string{"a.py": faulty},
			head:  map[string]string{"a.py": strings.ReplaceAll(strings.ReplaceAll(faulty, "    ", "\t"), "\n", "\r\n")},
			known: 4,
		},
		{
			name:  "a file renamed without change",
			base:  map[string]string{"a.py": faulty + other},
			head:  map[string]string{"b.py": faulty + other + "x = 1\n"},
			known: 4,
		},
		{
			name:  "code moved to a new file and out of a file that stays",
			base:  map[string]string{"a.py": faulty + other},
			head:  map[string]string{"a.py": other, "b.py": faulty},
			known: 4,
		},
		{
			name:  "code moved and reformatted out of a deleted file",
			base:  map[string]string{"a.py": faulty, "c.py": other},
			head:  map[string]string{"b.py": "# the beginning\n\n" + blacked + "\nx = 1\n", "c.py": other + "y = 2\n"},
			known: 4,
		},
		{
			name:  "copied code is new where it is a second one",
			base:  map[string]string{"a.py": "def f(x):\n    return bad(x)\n"},
			head:  map[string]string{"a.py": "def f(x):\n    return bad(x)\n\n\ndef g(x):\n    return bad(x)\n"},
			want:  []string{"a.py:6"},
			known: 1,
		},
		{
			name:  "a second fault in the same function with the same text",
			base:  map[string]string{"a.py": "def f(x):\n    bad(x)\n    x.go()\n    x.stop()\n"},
			head:  map[string]string{"a.py": "def f(x):\n    bad(x)\n    x.go()\n    bad(x)\n    x.stop()\n"},
			want:  []string{"a.py:4"},
			known: 1,
		},
		{
			name:  "a new fault among reformatted ones",
			base:  map[string]string{"a.py": faulty},
			head:  map[string]string{"a.py": strings.Replace(blacked, "return (bad(x,", "return (bad(x + 1,", 1)},
			want:  []string{"a.py:19"},
			known: 3,
		},
		{
			name:  "the operand changed, the call did not",
			base:  map[string]string{"a.py": "def f(x):\n    y = x\n    z = 1\n    u = 2\n    return bad(y)\n"},
			head:  map[string]string{"a.py": "def f(x):\n    y = sure(x)\n    z = 1\n    u = 2\n    return bad(y)\n"},
			want:  []string{"a.py:5"}, // the base had it too, but less certain
			known: 0,
		},
		{
			name:  "the operand changed and the finding is as sure as before",
			base:  map[string]string{"a.py": "def f(x):\n    y = x\n    return bad(y)\n"},
			head:  map[string]string{"a.py": "def f(x):\n    y = x + 1\n    return bad(y)\n"},
			known: 1,
		},
		{
			name:  "an edit elsewhere",
			base:  map[string]string{"a.py": faulty},
			head:  map[string]string{"a.py": "import numpy\n" + faulty},
			known: 4,
		},
		{
			name:  "a line that shares its place with a new statement",
			base:  map[string]string{"a.py": "bad(1)\n"},
			head:  map[string]string{"a.py": "bad(1); bad(2)\n"},
			want:  []string{"a.py:1"},
			known: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files, deleted := change(t, tc.base, tc.head)
			for _, cache := range []*Cache{nil, NewCache()} {
				r := Run(t.Context(), files, Options{Rules: []*analysis.Rule{badRule}, Deleted: deleted, Cache: cache})
				want := tc.want
				if want == nil {
					want = []string{}
				}
				if d := cmp.Diff(want, lines(r)); d != "" {
					t.Error(d)
				}
				if r.Known != tc.known {
					t.Errorf("%d are known, want %d", r.Known, tc.known)
				}
				if len(r.Skipped) > 0 {
					t.Errorf("skipped: %v", r.Skipped)
				}
			}
		})
	}
}

func whole(files ...string) []analysis.File {
	var out []analysis.File
	for i := 0; i < len(files); i += 2 {
		out = append(out, analysis.File{Path: files[i], Source: files[i+1], Whole: true})
	}
	return out
}

func TestFingerprint(t *testing.T) {
	opts := Options{Rules: []*analysis.Rule{badRule}}
	one := Run(t.Context(), whole("a.py", faulty), opts).Findings
	two := Run(t.Context(), whole("a.py", "\n# moved\n"+blacked), opts).Findings
	if len(one) != 4 || len(two) != 4 {
		t.Fatalf("%d and %d findings", len(one), len(two))
	}
	seen := map[string]bool{}
	for i := range one {
		if one[i].Fingerprint != two[i].Fingerprint {
			t.Errorf("the fingerprint of line %d depends on layout", one[i].Start.Line)
		}
		if seen[one[i].Fingerprint] || len(one[i].Fingerprint) != 16 {
			t.Errorf("fingerprint %q", one[i].Fingerprint)
		}
		seen[one[i].Fingerprint] = true
	}
	if one[0].Scope != "Net.forward" || one[3].Scope != "project" {
		t.Errorf("scopes %q, %q", one[0].Scope, one[3].Scope)
	}
	other := Run(t.Context(), whole("b.py", faulty), opts).Findings
	if other[0].Fingerprint == one[0].Fingerprint {
		t.Error("the fingerprint does not depend on the path")
	}
	elsewhere := Run(t.Context(), whole("a.py", strings.ReplaceAll(faulty, "forward", "backward")), opts).Findings
	if elsewhere[0].Fingerprint == one[0].Fingerprint || elsewhere[3].Fingerprint != one[3].Fingerprint {
		t.Error("the fingerprint must depend on the enclosing definition and on no other")
	}
	// The text is in comments on GitHub: a change here orphans them.
	if got, want := one[0].Fingerprint, fingerprint("bad-call", "a.py", "Net.forward", `y=bad(x,K,"scale")`); got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
}

func TestSuppression(t *testing.T) {
	const source = `bad(1)  # dtypebot: ignore[bad-call] known
bad(2)  # dtypebot:ignore
# dtypebot: ignore[bad-call] the camera is cast
# by the caller
bad(3)
bad(
    4,  # dtypebot: ignore[ other , bad-call ]
    x,
)
bad(5)  # dtypebot: ignore[other]
# dtypebot: ignore[bad-call]

bad(6)
s = "# dtypebot: ignore"; bad(7)
if bad(8):
    # dtypebot: ignore[bad-call]
    bad(9)
    pass  # dtypebot: ignore
bad(10)  # dtypebot: ignore[no-such-rule, bad-call]
bad(11)  # dtypebot: ignore[]
# dtypebot: ignore
for i in bad(12):
    bad(13)
x = 1  # dtypebot: ignore
bad(14)
`
	other := &analysis.Rule{Name: "other", Run: func(*analysis.Pass) {}}
	r := Run(t.Context(), whole("a.py", source), Options{Rules: []*analysis.Rule{badRule, other}})
	want := []string{"a.py:10", "a.py:13", "a.py:14", "a.py:15", "a.py:20", "a.py:23", "a.py:25"}
	if d := cmp.Diff(want, lines(r)); d != "" {
		t.Error(d)
	}
	if r.Suppressed != 7 {
		t.Errorf("suppressed %d", r.Suppressed)
	}
	notes := []Note{
		{"a.py", 19, `the suppression names "no-such-rule", which is no rule`},
		{"a.py", 20, "the suppression names no rule between its brackets"},
	}
	if d := cmp.Diff(notes, r.Notes); d != "" {
		t.Error(d)
	}
}

func TestSurvivesRules(t *testing.T) {
	panics := &analysis.Rule{Name: "broken", Run: func(p *analysis.Pass) {
		p.Report(analysis.Finding{At: python.Span{Start: 0, End: 1}, Confidence: analysis.Certain})
		if p.Path == "b.py" {
			panic("broken")
		}
	}}
	r := Run(t.Context(), whole("b.py", "bad(1)\n", "a.py", "bad(2)\n"), Options{Rules: []*analysis.Rule{panics, badRule}})
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Path+" "+f.Rule)
	}
	if d := cmp.Diff([]string{"a.py broken", "a.py bad-call", "b.py bad-call"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Skip{{"b.py", "rule broken failed on this file"}}, r.Skipped); d != "" {
		t.Error(d)
	}
	if r.Files != 2 {
		t.Errorf("%d files", r.Files)
	}
}

func TestBudget(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := &analysis.Rule{Name: "stuck", Run: func(p *analysis.Pass) {
		if p.Path == "b.py" {
			<-release
		}
	}}
	r := Run(t.Context(), whole("a.py", "bad(1)\n", "b.py", "bad(1)\n"), Options{Rules: []*analysis.Rule{badRule, stuck}, FileBudget: 500 * time.Millisecond})
	if d := cmp.Diff([]string{"a.py:1"}, lines(r)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Skip{{"b.py", "takes longer than 500ms to analyse"}}, r.Skipped); d != "" {
		t.Error(d)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := &analysis.Rule{Name: "stop", Run: func(*analysis.Pass) { cancel() }}
	r := Run(ctx, whole("a.py", "bad(1)\n"), Options{Rules: []*analysis.Rule{stop, badRule}})
	if len(r.Findings) > 0 || len(r.Skipped) != 1 || r.Skipped[0].Reason != "not reached: context canceled" || r.Files != 0 {
		t.Errorf("%+v", r)
	}
}

func TestSkips(t *testing.T) {
	const pb = "# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\nbad(1)\n"
	files := whole(
		"third_party/x/a.py", "bad(1)\n", "stub.pyi", "bad(1)\n", "nb.ipynb", "{}", "pb2.py", pb,
		"auto.py", "#!/usr/bin/env python\n# This file was automatically generated from b.py. Do NOT edit it.\nbad(1)\n",
		"prose.py", "# Scores images generated by the model.\nbad(1)\n", "late.py", "x = 1\n# Generated by hand\nbad(1)\n",
		"cr.py", "x = 1\rbad(1)\n", "vendor.py", "bad(1)\n", "bom.py", "\ufeffbad(1)\n",
	)
	r := Run(t.Context(), files, Options{Rules: []*analysis.Rule{badRule}})
	if d := cmp.Diff([]string{"bom.py:1", "late.py:3", "prose.py:2", "vendor.py:1"}, lines(r)); d != "" {
		t.Error(d)
	}
	want := []Skip{
		{"auto.py", "generated code"},
		{"cr.py", "lines that end in a lone carriage return"},
		{"nb.ipynb", "a notebook"},
		{"pb2.py", "generated code"},
		{"stub.pyi", "a stub file, it has no code"},
		{"third_party/x/a.py", "vendored code (third_party)"},
	}
	if d := cmp.Diff(want, r.Skipped); d != "" {
		t.Error(d)
	}
}

// TestOrder checks that the report does not depend on the order of the files,
// and that what a rule says twice is one finding.
func TestOrder(t *testing.T) {
	twice := callRule("twice", "bad")
	run := twice.Run
	twice.Run = func(p *analysis.Pass) { run(p); run(p) }
	files := whole("c.py", "f(bad(2))\nbad(1)\n", "a.py", "bad(bad(1))\n", "b.py", "x\n")
	opts := Options{Rules: []*analysis.Rule{twice, badRule}}
	want := Run(t.Context(), files, opts)
	if len(want.Findings) != 8 {
		t.Errorf("%d findings", len(want.Findings))
	}
	slices.Reverse(files)
	if d := cmp.Diff(want, Run(t.Context(), files, opts)); d != "" {
		t.Error(d)
	}
	if !slices.IsSortedFunc(want.Findings, func(a, b analysis.Finding) int {
		if a.Path != b.Path {
			return strings.Compare(a.Path, b.Path)
		}
		return int(a.At.Start) - int(b.At.Start)
	}) {
		t.Errorf("order: %v", lines(want))
	}
}

func TestDefaultRules(t *testing.T) {
	r := Run(t.Context(), whole("a.py", "x = 1\n"), Options{})
	if r.Files != 1 || len(r.Skipped) > 0 {
		t.Errorf("%+v", r)
	}
}
