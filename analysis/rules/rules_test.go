package rules_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
)

var update = flag.Bool("update", false, "rewrite the .fixed sections")

func fixture(t *testing.T, name string) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func section(a *txtar.Archive, name string) (string, bool) {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

// run runs one rule on one text, every line new.
func run(t *testing.T, rule *analysis.Rule, source string) []analysis.Finding {
	t.Helper()
	r := check.Run(context.Background(), []analysis.File{{Path: "example.py", Source: source, Whole: true}}, check.Options{Rules: []*analysis.Rule{rule}})
	for _, s := range r.Skipped {
		t.Fatalf("%s skipped: %s", s.Path, s.Reason)
	}
	var posted []analysis.Finding
	for _, f := range r.Findings {
		// What a rule of low severity finds is listed, not posted.
		if f.Confidence.Rank() >= analysis.Likely.Rank() || rule.Severity == analysis.Low {
			posted = append(posted, f)
		}
	}
	return posted
}

var want = regexp.MustCompile(`# want "((?:[^"\\]|\\.)*)"`)

// TestFixtures checks of every rule that it reports where its fixture wants it
// and nowhere else, that its fixes give the mended text, that the rule is
// silent about that text, and that it is silent about the clean sections.
func TestFixtures(t *testing.T) {
	for _, rule := range rules.All() {
		t.Run(rule.Name, func(t *testing.T) {
			a := fixture(t, rule.Name)
			source, ok := section(a, "example.py")
			if !ok {
				t.Fatal("no example.py")
			}
			findings := run(t, rule, source)
			if len(findings) == 0 {
				t.Error("no finding in example.py")
			}
			compareWants(t, source, findings)
			fixed := apply(t, source, findings)
			if *update {
				setSection(a, "example.py.fixed", fixed)
				if err := os.WriteFile(filepath.Join("testdata", rule.Name+".txtar"), txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, _ := section(a, "example.py.fixed")
			if d := cmp.Diff(golden, fixed); d != "" {
				t.Errorf("fixed text (-want +got):\n%s", d)
			}
			for _, f := range run(t, rule, fixed) {
				if f.Fix != nil {
					t.Errorf("the mended text is reported again: line %d: %s", f.Start.Line, f.Message)
				}
			}
			clean := false
			for _, f := range a.Files {
				if ok, _ := filepath.Match("clean*.py", f.Name); !ok {
					continue
				}
				clean = true
				for _, x := range run(t, rule, string(f.Data)) {
					t.Errorf("%s:%d: reported: %s", f.Name, x.Start.Line, x.Message)
				}
			}
			if !clean {
				t.Error("no clean section")
			}
		})
	}
}

func setSection(a *txtar.Archive, name, text string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(text)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
}

// compareWants compares findings with the want comments, both ways.
func compareWants(t *testing.T, source string, findings []analysis.Finding) {
	t.Helper()
	wants := map[int]*regexp.Regexp{}
	for i, line := range strings.Split(source, "\n") {
		if m := want.FindStringSubmatch(line); m != nil {
			re, err := regexp.Compile(m[1])
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			wants[i+1] = re
		}
	}
	for _, f := range findings {
		re := wants[f.Start.Line]
		switch {
		case re == nil:
			t.Errorf("line %d: not wanted: %s", f.Start.Line, f.Message)
		case !re.MatchString(f.Message):
			t.Errorf("line %d: want %q in: %s", f.Start.Line, re, f.Message)
		}
		delete(wants, f.Start.Line)
	}
	for line, re := range wants {
		t.Errorf("line %d: no finding, want %q", line, re)
	}
}

// apply applies the fixes of all findings.
func apply(t *testing.T, source string, findings []analysis.Finding) string {
	t.Helper()
	var edits []analysis.Edit
	for _, f := range findings {
		if f.Fix == nil && f.Severity == analysis.Low {
			continue // listed only
		}
		if f.Fix == nil {
			t.Errorf("line %d: no fix", f.Start.Line)
			continue
		}
		for _, e := range f.Fix.Edits {
			if !slices.Contains(edits, e) {
				edits = append(edits, e)
			}
		}
	}
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].Span.Start > edits[j].Span.Start })
	for _, e := range edits {
		source = source[:e.Span.Start] + e.New + source[e.Span.End:]
	}
	if f, err := python.Parse(source); err != nil || len(f.Bad) > 0 {
		t.Errorf("the mended text does not parse: %v %v", err, f)
	}
	return source
}

// TestTorch runs every fixture under real PyTorch: the bad text must misbehave
// as it claims, the mended and the clean ones must not.
func TestTorch(t *testing.T) {
	var fs []torchrun.Fixture
	for _, rule := range rules.All() {
		fs = append(fs, torchrun.Fixture{Name: rule.Name, Archive: fixture(t, rule.Name)})
	}
	torchrun.CheckFixtures(t, fs...)
}

// TestCatalogue checks that every fixture has a rule, and every rule a name,
// words and a file.
func TestCatalogue(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rules.All() {
		if names[r.Name] {
			t.Errorf("%s stands twice", r.Name)
		}
		names[r.Name] = true
		title, text, _ := strings.Cut(r.Doc, "\n\n")
		if title == "" || strings.HasSuffix(title, ".") || len(title) > 80 {
			t.Errorf("%s: bad title %q", r.Name, title)
		}
		for _, part := range []string{"Evidence:", "Fix:", "Silent "} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: its page has no %q", r.Name, part)
			}
		}
		if r.Severity.Rank() == 0 {
			t.Errorf("%s has no severity", r.Name)
		}
		file := strings.ReplaceAll(r.Name, "-", "_") + ".go"
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".txtar"); !names[name] {
			t.Errorf("%s has no rule", f)
		}
	}
}
