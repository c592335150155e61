package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
	"github.com/dtypebot/dtypebot/suggestions"
	"github.com/dtypebot/dtypebot/suggestions/report"
)

// auditRow is a row of the acceptance table, column "in audit".
type auditRow struct {
	path     string
	lines    []int
	kind     string // part of its title
	priority string
}

var auditRows = []auditRow{
	{"models/pixel_aligned.py", []int{92}, "created without a dtype", "HIGH"},
	{"models/pixel_aligned.py", []int{95, 107}, "wants one", "HIGH"},
	{"training/losses.py", []int{196, 263, 726}, "created without a dtype", "HIGH"},
	{"training/losses.py", []int{395}, "wants one", "HIGH"},
	{"models/encoders/hand_encoder.py", []int{191, 221, 222, 224}, "Two dtypes from the caller", "MEDIUM"},
	{"data/enhanced_dexycb.py", []int{157}, "Float32 from data sets", "LOW"},
	{"models/encoders/hand_encoder.py", []int{26}, "No check of autocast", "LOW"},
}

// auditOf audits a project without its own check.
func auditOf(t *testing.T, project map[string]string) report.Audit {
	t.Helper()
	project = maps.Clone(project)
	delete(project, "smoke.py")
	audit, err := auditOptions{}.audit(t.Context(), writeProject(t, project))
	if err != nil {
		t.Fatal(err)
	}
	return audit
}

// TestAudit holds the table of the audit's findings against the verb, for the
// project and for its twin with every name, file and line changed.
func TestAudit(t *testing.T) {
	t.Parallel()
	project := readProject(t, projectDir)
	original := auditOf(t, project)
	t.Run("project", func(t *testing.T) { checkAudit(t, original, unchanged()) })
	twin, r := rewrite(t, project)
	renamed := auditOf(t, twin)
	t.Run("twin", func(t *testing.T) { checkAudit(t, renamed, r) })
	t.Run("same report", func(t *testing.T) {
		if d := cmp.Diff(outline(original, r), outline(renamed, unchanged())); d != "" {
			t.Errorf("the twin's report is another one (-project +twin):\n%s", d)
		}
	})
}

func checkAudit(t *testing.T, a report.Audit, r *rewriting) {
	for _, row := range auditRows {
		for _, line := range row.lines {
			p, n := r.path(row.path), r.line(row.path, line)
			if !slices.ContainsFunc(a.Kinds, func(k report.Kind) bool {
				return strings.Contains(k.Title, row.kind) && k.Priority == row.priority &&
					slices.ContainsFunc(k.Entries, func(e report.Entry) bool { return e.Path == p && e.First == n })
			}) {
				t.Errorf("%s:%d is not listed as %q, %s", p, n, row.kind, row.priority)
			}
		}
	}
	var good []int
	for _, g := range a.Good {
		if g.Path != r.path("models/encoders/hand_encoder.py") {
			t.Errorf("good practice at %s:%d", g.Path, g.First)
		}
		good = append(good, g.First)
	}
	var wantGood []int
	for _, line := range []int{142, 143, 171} {
		wantGood = append(wantGood, r.line("models/encoders/hand_encoder.py", line))
	}
	if d := cmp.Diff(wantGood, good); d != "" {
		t.Errorf("good practice (-want +got):\n%s", d)
	}
	checkSample(t, a, r)
	for _, twin := range silentLines {
		if twin.kind == "dtype given" {
			continue // listed as good practice
		}
		for _, k := range a.Kinds {
			for _, e := range k.Entries {
				if e.Path == r.path(twin.path) && k.Rule != "" && strings.Contains(e.Text, r.text(twin.text)) {
					t.Errorf("%s: %s:%d is listed as %q", twin.kind, e.Path, e.First, k.Title)
				}
			}
		}
	}
	if a.Summary.High != 7 || a.Summary.Medium != 0 || a.Summary.Low != 0 || a.Summary.Fixes != 5 {
		t.Errorf("%+v, want 7 high and 5 fixes", a.Summary)
	}
}

// checkSample checks the one entry of the data set: float32 here, meets half
// there, cast there.
func checkSample(t *testing.T, a report.Audit, r *rewriting) {
	for _, k := range a.Kinds {
		if k.Title != "Float32 from data sets" {
			continue
		}
		if len(k.Entries) != 1 {
			t.Fatalf("%d entries of data sets, want one", len(k.Entries))
		}
		issue := k.Entries[0].Issue
		for _, line := range []int{334, 374, 383} {
			if n := r.line("data/enhanced_dexycb.py", line); !namesLine(issue, n) {
				t.Errorf("line %d is missing in: %s", n, issue)
			}
		}
		for p, line := range map[string]int{"models/pixel_aligned.py": 107, "training/losses.py": 395, "train.py": 44} {
			if at := fmt.Sprintf("%s:%d", r.path(p), r.line(p, line)); !strings.Contains(issue, at) {
				t.Errorf("%s is missing in: %s", at, issue)
			}
		}
		if !strings.Contains(issue, "Cast there: fix") {
			t.Errorf("no fix is named in: %s", issue)
		}
		return
	}
	t.Error("the data set is not listed")
}

// namesLine reports whether a list such as "3, 5-9" holds a line.
func namesLine(text string, line int) bool {
	list, _, _ := strings.Cut(text, ". ")
	for _, m := range regexp.MustCompile(`(\d+)(?:-(\d+))?`).FindAllStringSubmatch(list, -1) {
		var first, last int
		_, _ = fmt.Sscan(m[1], &first)
		last = first
		if m[2] != "" {
			_, _ = fmt.Sscan(m[2], &last)
		}
		if first <= line && line <= last {
			return true
		}
	}
	return false
}

// outline is what a report lists, without words; names and lines are rewritten.
func outline(a report.Audit, r *rewriting) []string {
	var out []string
	for _, k := range a.Kinds {
		for _, e := range k.Entries {
			out = append(out, fmt.Sprintf("%s %s %s:%d %s", k.Priority, k.Title, r.path(e.Path), r.line(e.Path, e.First), e.Confidence))
		}
	}
	for _, f := range a.Fixes {
		out = append(out, fmt.Sprintf("fix %s:%d-%d %s", r.path(f.Path), r.line(f.Path, f.First), r.line(f.Path, f.Last), f.Safety))
	}
	for _, adv := range a.Advice {
		out = append(out, adv.Title)
	}
	slices.Sort(out)
	return out
}

// TestAuditFormats checks that the formats say the same and hold together.
func TestAuditFormats(t *testing.T) {
	t.Parallel()
	dir := writeProject(t, map[string]string{
		"model.py":          readSmall(t),
		"src/hostile.py":    "import torch\n\n\ndef f(x: torch.Tensor):\n    y = torch.ones(3, dtype=x.dtype) # </script><b>`\n    return x.half() @ y.bfloat16()\n",
		"kernel.py":         "import triton\n\n\n@triton.jit\ndef add(p, q):\n    p = p.to(q.dtype)\n",
		"gen.py":            "# Generated by a program. DO NOT EDIT.\nimport torch\n",
		"third_party/x.py":  "import torch\n",
		"look.ipynb":        "{}",
		"types.pyi":         "x: int\n",
		"strings.py":        "import torch\nCODE = \"\"\"\nimport torch\nx = torch.ones(3)\n\"\"\"\n",
		".hidden/hidden.py": "import torch\n",
	})
	out := filepath.Join(t.TempDir(), "report")
	texts := map[string]string{}
	for _, format := range []string{"markdown", "html", "json"} {
		if _, err := runVerb(t, "audit", dir, "--format", format, "--out", out); err == nil || err.Error() != "exit status 1" {
			t.Fatalf("%s: %v, want exit status 1", format, err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		texts[format] = string(text)
		for _, name := range []string{"kernel.py", "gen.py", "third_party/x.py", "look.ipynb", "types.pyi", "strings.py", "Triton kernel", "a notebook", "a stub file", "generated code", "vendored code", "inside a string"} {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s does not say %q", format, name)
			}
		}
		if strings.Contains(string(text), "hidden.py") {
			t.Errorf("%s names a hidden file", format)
		}
	}
	for _, section := range []string{"## Summary", "## Key findings", "## Recommended fixes", "## Priority fixes", "## Testing recommendations", "## Not looked at"} {
		if !strings.Contains(texts["markdown"], "\n"+section+"\n") {
			t.Errorf("Markdown has no %q", section)
		}
	}
	if strings.Contains(texts["html"], "<b>`") || strings.Count(texts["html"], "</script>") != 1 {
		t.Error("code of the repository became markup")
	}
	for _, link := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(texts["html"], -1) {
		if !strings.HasPrefix(link[1], "#") {
			t.Errorf("the page needs %s", link[1])
		} else if !strings.Contains(texts["html"], `id="`+link[1][1:]+`"`) {
			t.Errorf("nothing is called %s", link[1])
		}
	}
	var a report.Audit
	d := json.NewDecoder(bytes.NewReader([]byte(texts["json"])))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.Version != 1 || a.Name != filepath.Base(dir) || len(a.Kinds) == 0 || a.Tests == "" || strings.Contains(texts["json"], ": null") {
		t.Errorf("JSON: version %d, name %q, %d kinds", a.Version, a.Name, len(a.Kinds))
	}

	for _, args := range [][]string{{"audit"}, {"audit", dir, "--format", "pdf"}, {"audit", filepath.Join(dir, "model.py")}, {"audit", filepath.Join(dir, "none")}} {
		if _, err := runVerb(t, args...); err == nil || err.Error() == "exit status 1" {
			t.Errorf("%q: %v, want trouble", args, err)
		}
	}
	tests := filepath.Join(t.TempDir(), "tests.py")
	if said, err := runVerb(t, "audit", writeProject(t, map[string]string{"a.py": "x = 1\n"}), "--out", out, "--tests", tests); err != nil {
		t.Errorf("nothing to say: %v, want status 0: %s", err, said)
	}
	if _, err := os.Stat(tests); err == nil {
		t.Error("a file without tests was written")
	}
	if _, err := runVerb(t, "audit", dir, "--out", out, "--tests", tests); err == nil {
		t.Error("want exit status 1")
	}
	if text, err := os.ReadFile(tests); err != nil || string(text) != a.Tests {
		t.Errorf("--tests wrote something else (%v)", err)
	}
}

func readSmall(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(smallPull, "model.py"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runTests writes the generated tests of an audit beside a project, runs them
// under PyTorch, and returns how each ended.
func runTests(t *testing.T, project map[string]string, tests string) map[string]string {
	t.Helper()
	project = maps.Clone(project)
	project["tests/test_dtypes.py"] = tests
	cmd := exec.CommandContext(t.Context(), torchrun.Python(t), "-m", "unittest", "-v", "tests/test_dtypes.py")
	cmd.Dir = writeProject(t, project)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1", "PYTHONWARNINGS=ignore")
	out, err := cmd.CombinedOutput()
	ended := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^test_(\w+) .*\.\.\. (ok|FAIL|ERROR|skipped.*)$`).FindAllStringSubmatch(string(out), -1) {
		ended[m[1]] = m[2]
	}
	if len(ended) == 0 {
		t.Fatalf("no test ran: %v\n%s", err, out)
	}
	return ended
}

// The generated tests fail before the fixes in half precision and float64, and
// pass in float32.
func TestAuditTests(t *testing.T) {
	onlySlow(t)
	t.Parallel()
	project := map[string]string{"model.py": readSmall(t), "train.py": "import torch\nfrom model import Classifier\n\nmodel = Classifier().to(torch.bfloat16)\n"}
	tests := auditOf(t, project).Tests
	again := maps.Clone(project)
	again["tests/test_dtypes.py"] = tests
	if a := auditOf(t, again); a.Summary.Files != len(project) || len(a.Skipped) != 1 || a.Skipped[0].Reason != "generated code" {
		t.Errorf("the tests are audited themselves: %d files, skipped %v", a.Summary.Files, a.Skipped)
	}
	ended := runTests(t, project, tests)
	for name, want := range map[string]string{
		"model_MaskedMean_forward_bfloat16_plain":    "ERROR",
		"model_MaskedMean_forward_float64_plain":     "ERROR",
		"model_MaskedMean_forward_float32_plain":     "ok",
		"model_MaskedMean_forward_float32_autocast":  "ok",
		"model_MaskedMean_forward_bfloat16_autocast": "ERROR", // an indexed write is not autocast
	} {
		if ended[name] != want {
			t.Errorf("%s: %q, want %s", name, ended[name], want)
		}
	}
}

// The tests of the big project and of its twin: before the fixes exactly the
// functions with mistakes fail, after them nothing does.
func TestAuditTestsWhole(t *testing.T) {
	onlySlow(t)
	project := readProject(t, projectDir)
	twin, _ := rewrite(t, project)
	for name, project := range map[string]map[string]string{"project": project, "twin": twin} {
		delete(project, "smoke.py")
		tests := auditOf(t, project).Tests
		failed, skipped := 0, 0
		for test, end := range runTests(t, project, tests) {
			if end != "ok" && !strings.HasPrefix(end, "skipped") && strings.Contains(test, "_float32_") {
				t.Errorf("%s, before: %s: %s", name, test, end)
			}
			if end == "ERROR" || end == "FAIL" {
				failed++
			}
		}
		_, plan := checkDiff(t, project, additions(project))
		mended := maps.Clone(project)
		for p, text := range project {
			var err error
			if mended[p], _, err = plan.Mend(p, text, analysis.Likely, false); err != nil {
				t.Fatal(err)
			}
		}
		after := runTests(t, mended, tests)
		for test, end := range after {
			switch {
			case strings.HasPrefix(end, "skipped"):
				skipped++
			case end != "ok":
				t.Errorf("%s, mended: %s: %s", name, test, end)
			}
		}
		t.Logf("%s: %d tests, %d fail before the fixes, none after, %d skipped", name, len(after), failed, skipped)
		if failed < 15 || skipped > len(after)/5 {
			t.Errorf("%s: %d of %d fail before the fixes, %d are skipped", name, failed, len(after), skipped)
		}
	}
}

// A function with many casts: the repository's own function is named in the
// comment, else a safe one is shown in the report.
func TestAuditUnifier(t *testing.T) {
	t.Parallel()
	const unifier = `def ensure_same_dtype(*tensors):
    target = tensors[0].dtype
    return [t.to(target) if isinstance(t, torch.Tensor) else t for t in tensors]
`
	const project = `import torch


def project(points: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor):
    """Points are [N, 3]."""
    ones = torch.ones(points.shape[0], 1, dtype=points.dtype, device=points.device)
    homo = torch.cat([points, ones], dim=-1)
    left = homo @ a.T
    right = homo @ b.T
    top = homo @ c.T
    return left, right, top


model = torch.nn.Linear(3, 3).to(torch.bfloat16)
`
	for _, test := range []struct {
		name, helper string
		named, shown bool
	}{
		{"own", unifier, true, true},
		{"renamed", strings.NewReplacer("ensure_same_dtype", "unify", "tensors", "xs").Replace(unifier), true, true},
		{"careful", strings.Replace(unifier, "isinstance(t, torch.Tensor)", "t.is_floating_point()", 1), true, false},
		{"none", "", false, true},
		{"other", "def first(*tensors):\n    return tensors[0].dtype\n", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"project.py": project, "help.py": "import torch\n\n\n" + test.helper}
			_, plan := checkDiff(t, files, additions(files))
			said := ""
			for _, c := range plan.Comments {
				said += suggestions.Markdown(c, suggestions.MarkdownOptions{})
			}
			if got := strings.Contains(said, "(`help.py:4`), which gives all its tensors"); got != test.named {
				t.Errorf("named: %v, want %v in\n%s", got, test.named, said)
			}
			if strings.Contains(said, "cast_like") {
				t.Errorf("a function is made up in\n%s", said)
			}
			var text bytes.Buffer
			if err := report.AuditMarkdown(&text, auditOf(t, files)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(text.String(), "t.to(reference.dtype) if t.is_floating_point() else t"); got != test.shown {
				t.Errorf("safe variant shown: %v, want %v", got, test.shown)
			}
		})
	}
}

// Code that asks for the dtype of CUDA's autocast is listed when it is added.
func TestAuditGetter(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.py": "import torch\n\n\ndef f(x):\n    if torch.is_autocast_enabled():\n        x = x.to(torch.get_autocast_gpu_dtype())\n    return x\n"}
	_, plan := checkDiff(t, files, additions(files))
	if len(plan.Comments) != 0 || len(plan.Possible) != 1 || !strings.Contains(plan.Possible[0].Findings[0].Message, "`torch.get_autocast_dtype(x.device.type)`") {
		t.Errorf("want it listed and not commented on: %+v", plan)
	}
	a := auditOf(t, files)
	if a.Summary.Possible != 1 || len(a.Kinds) != 1 || a.Kinds[0].Entries[0].First != 6 {
		t.Errorf("want it in the audit: %+v", a.Kinds)
	}
}
