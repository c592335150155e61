package main

import (
	"bytes"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/rules"
)

// runVerb runs dtypebot in this process.
func runVerb(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	err := root.Execute()
	return out.String(), err
}

func TestRulesVerb(t *testing.T) {
	list, err := runVerb(t, "rules")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	if len(lines) != len(rules.All()) {
		t.Fatalf("%d lines for %d rules:\n%s", len(lines), len(rules.All()), list)
	}
	for i, r := range rules.All() {
		if f := strings.Fields(lines[i]); f[0] != r.Name || f[1] != string(r.Severity) {
			t.Errorf("line %q for rule %s", lines[i], r.Name)
		}
		page, err := runVerb(t, "rules", r.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{r.Name, r.Doc[:40], "Silent\n", "ignore[" + r.Name + "]"} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s has no %q", r.Name, part)
			}
		}
		// What is listed only has no fix; a fix adds lines or takes some away.
		if r.Severity != analysis.Low && !strings.Contains(page, "\n  +") && !strings.Contains(page, "\n  -") {
			t.Errorf("the page of %s shows no fix", r.Name)
		}
		for _, mark := range []string{"# run", "# want", "\x1b"} {
			if strings.Contains(page, mark) {
				t.Errorf("the page of %s has %q", r.Name, mark)
			}
		}
		if coloured, err := runVerb(t, "rules", r.Name, "--color", "always"); err != nil || escapes.ReplaceAllString(coloured, "") != page || coloured == page {
			t.Errorf("the coloured page of %s is another one (%v)", r.Name, err)
		}
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestRulesUnknown(t *testing.T) {
	for asked, want := range map[string]string{
		"matmul":               "did you mean matmul-mixed-dtype?",
		"factory_without_dtyp": "did you mean factory-without-dtype?",
		"bf16-numpy":           "did you mean bf16-to-numpy",
		"speed":                `"dtypebot rules" lists them`,
	} {
		_, err := runVerb(t, "rules", asked)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", asked, err, want)
		}
	}
}

func TestWithoutMarks(t *testing.T) {
	got := withoutMarks("import torch\n\n\ndef f(x):\n    # run: f() => raises \"no\"\n    # run[DT=a|b]: f(DT)\n    y = x  # want \"`x` is\"\n    return y  # kept\n\n\n# run: f(1)\n\n\ndef g():\n    pass\n\n\n# run: g()\n")
	want := "import torch\n\n\ndef f(x):\n    y = x\n    return y  # kept\n\n\ndef g():\n    pass\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestWholeDiff checks that both texts can be read out of the diff.
func TestWholeDiff(t *testing.T) {
	text := strings.Split(strings.Repeat("a b c d e f g h ", 8), " ")
	for i := range 40 {
		changed := slices.Clone(text)
		changed[i] = "new"
		if i%3 == 0 {
			changed = slices.Insert(changed, i+9, "more", "lines")
		}
		if i%4 == 0 {
			changed = slices.Delete(changed, i+20, i+22)
		}
		before, after := strings.Join(text, "\n")+"\n", strings.Join(changed, "\n")+"\n"
		sides := map[byte]string{}
		for _, line := range wholeDiff(before, after) {
			for _, side := range []byte("-+") {
				if line[0] == ' ' || line[0] == side {
					sides[side] += line[1:] + "\n"
				}
			}
		}
		if d := cmp.Diff(before, sides['-']) + cmp.Diff(after, sides['+']); d != "" {
			t.Fatalf("change %d: %s", i, d)
		}
	}
}

// TestRulePages fails when the pages in the repository are not those that the
// rules give now.
func TestRulePages(t *testing.T) {
	dir := filepath.Join("..", "..", "analysis", "rules", "doc")
	fresh := t.TempDir()
	if _, err := runVerb(t, "rules", "--pages", fresh); err != nil {
		t.Fatal(err)
	}
	read := func(dir string) map[string]string {
		out := map[string]string{}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(f)] = string(text)
		}
		return out
	}
	if d := cmp.Diff(read(fresh), read(dir)); d != "" {
		t.Errorf("the pages of the rules are stale; run: go generate ./analysis/rules (-want +got)\n%s", d)
	}
}

// TestRuleTextsAreMarkdown checks that Markdown shows the plain texts of the
// rules as they are.
func TestRuleTextsAreMarkdown(t *testing.T) {
	tags := regexp.MustCompile(`</?p>`)
	for _, r := range rules.All() {
		var b bytes.Buffer
		if err := goldmark.Convert([]byte(r.Doc), &b); err != nil {
			t.Fatal(err)
		}
		shown := strings.Fields(html.UnescapeString(tags.ReplaceAllString(b.String(), "")))
		if d := cmp.Diff(strings.Fields(r.Doc), shown); d != "" {
			t.Errorf("%s (-plain +shown):\n%s", r.Name, d)
		}
	}
}
