package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
	"github.com/dtypebot/dtypebot/suggestions"
)

// projectDir holds the project that the first acceptance test reviews. Its
// README names the lines that are wrong.
const projectDir = "../../testdata/manipulation_transformer"

// readProject returns the texts of a project by slash-separated path.
func readProject(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".py" {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// writeProject writes a project into a new folder.
func writeProject(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for p, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// additions is a diff that adds files.
func additions(files map[string]string) string {
	var diff strings.Builder
	for _, p := range slices.Sorted(maps.Keys(files)) {
		lines := strings.SplitAfter(files[p], "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		fmt.Fprintf(&diff, "diff --git a/%[1]s b/%[1]s\nnew file mode 100644\n--- /dev/null\n+++ b/%[1]s\n@@ -0,0 +1,%[2]d @@\n", p, len(lines))
		for _, line := range lines {
			diff.WriteString("+" + line)
		}
		if len(lines) > 0 && !strings.HasSuffix(lines[len(lines)-1], "\n") {
			diff.WriteString("\n\\ No newline at end of file\n")
		}
	}
	return diff.String()
}

// A reviewed project is a project and what check says of the diff that adds
// it. smoke.py is not part of the diff.
type reviewed struct {
	*rewriting
	project map[string]string // with smoke.py
	report  check.Report
	plan    suggestions.Plan
}

// review reviews the pull request that adds a project.
func review(t *testing.T, project map[string]string, r *rewriting) reviewed {
	t.Helper()
	pull := maps.Clone(project)
	delete(pull, "smoke.py")
	found, plan := checkDiff(t, pull, additions(pull))
	return reviewed{rewriting: r, project: project, report: found, plan: plan}
}

// checkDiff does what the verb check does with --diff.
func checkDiff(t *testing.T, head map[string]string, diff string) (check.Report, suggestions.Plan) {
	t.Helper()
	tree, err := openTree(writeProject(t, head), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	changed, err := tree.changed(strings.NewReader(diff))
	if err != nil {
		t.Fatal(err)
	}
	around, err := projectOf(t.Context(), tree, changed.files, changed)
	if err != nil {
		t.Fatal(err)
	}
	files := changed.files
	options := check.Options{Deleted: changed.deleted, Cache: check.NewCache(), Project: around}
	found := check.Run(t.Context(), files, options)
	return found, suggestions.Propose(t.Context(), files, found, suggestions.Options{
		Recheck: func(ctx context.Context, files []analysis.File) check.Report {
			return check.Run(ctx, files, options)
		},
	})
}

// A wanted comment is a row of the acceptance table. Names, paths and lines are
// the original's; the rewriting leads to those of the twin.
type wantedComment struct {
	path        string
	first, last int
	// edits are what the suggestion must put into lines: regular expressions
	// over the new line. All other lines stay as they are.
	edits map[int][]string
	// form says that the float32 form stands under the suggestion.
	form bool
}

var wantedComments = []wantedComment{
	{
		path: "models/pixel_aligned.py", first: 92, last: 107, form: true,
		edits: map[int][]string{
			92:  {`torch\.ones\(.*\bdtype=points_3d\.dtype\b`, `\bdevice=points_3d\.device\b`},
			98:  {`[^.\w]extrinsics\.to\(points_homo\.dtype\)\.transpose\(-1, -2\)`},
			107: {`[^.\w]intrinsics\.to\(points_cam\.dtype\)\.transpose\(-1, -2\)`},
		},
	},
	{
		path: "training/losses.py", first: 196, last: 196,
		edits: map[int][]string{196: {`\bdtype=pred_rotation\.dtype\b`, `\bdevice=pred_rotation\.device\b`}},
	},
	{
		path: "training/losses.py", first: 263, last: 263,
		edits: map[int][]string{263: {`\bdtype=(pred_joints|fingers)\.dtype\b`, `\bdevice=pred_joints\.device\b`}},
	},
	{
		path: "training/losses.py", first: 395, last: 395, form: true,
		edits: map[int][]string{395: {`[^.\w]intrinsics\.to\(joints_3d\.dtype\)\.transpose\(-1, -2\)`}},
	},
	{
		path: "training/losses.py", first: 726, last: 726,
		edits: map[int][]string{726: {`\bdtype=(gap|pred_distances)\.dtype\b`, `\bdevice=(gap|pred_distances)\.device\b`}},
	},
}

// silentLines are statements that no finding of any confidence may touch, by
// file and a text that stands in the line once.
var silentLines = []struct{ kind, path, text string }{
	{"0-dim accumulator", "training/losses.py", "total = torch.zeros((), device=self.log_variances.device)"},
	{"0-dim accumulator", "training/losses.py", "total = torch.zeros((), device=joints.device)"},
	{"0-dim accumulator", "training/losses.py", "total = torch.tensor(0.0, device=losses[0].device)"},
	{"0-dim accumulator", "training/losses.py", "total = total + loss"},
	{"float32 loss weights", "training/losses.py", "weights = torch.ones(pred_joints.shape[1], device=pred_joints.device)"},
	{"float32 loss weights", "training/losses.py", "axis_weights = torch.tensor([1.0, 1.0, self.depth_weight], device=pred.device)"},
	{"float32 loss weights", "training/losses.py", "error = (pred.float() - target.float()).abs() * axis_weights"},
	{"float32 loss weights", "training/losses.py", "counts = torch.tensor(self.counts, dtype=torch.float32, device=device)"},
	{"like", "training/losses.py", "difference, torch.zeros_like(difference)"},
	{"like", "training/losses.py", "flip = torch.ones_like(s)"},
	{"like", "models/encoders/hand_encoder.py", "fallback = torch.zeros_like(x_axis)"},
	{"difference in float32", "training/losses.py", "difference = pred_joints.float() - target_joints.float()"},
	{"difference in float32", "training/losses.py", "error = (pred.float() - target.float()).norm(dim=-1) * 1000.0"},
	{"matrix product in float32", "training/losses.py", "identity = torch.eye(3, device=matrices.device)"},
	{"positions", "training/losses.py", "xs = torch.arange(self.width, device=pixels.device, dtype=torch.float32)"},
	{"slice write", "training/losses.py", "padded[index, :frames] = clip[:frames]"},
	{"dtype given", "models/encoders/hand_encoder.py", "rotations = torch.zeros(batch_size, NUM_JOINTS, 3, 3, device=device, dtype=joints.dtype)"},
	{"dtype given", "models/encoders/hand_encoder.py", "origins = torch.zeros(batch_size, NUM_JOINTS, 3, device=device, dtype=joints.dtype)"},
	{"dtype given", "models/encoders/hand_encoder.py", "y_global = torch.tensor([0, 1, 0], device=device, dtype=z_axis.dtype)"},
	{"cast", "models/transformer.py", "image = image.to(self.stem.weight.dtype)"},
}

// TestAcceptance holds the table of the audit's findings against the review of
// the pull request that brings the project in.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	project := readProject(t, projectDir)
	v := review(t, project, unchanged())
	v.check(t)
	v.run(t)
}

// TestAcceptanceRenamed does the same with every name, file and line changed:
// nothing may be keyed to the project. What is equal to PyTorch in another name is
// run with DTYPEBOT_SLOW=1 only.
func TestAcceptanceRenamed(t *testing.T) {
	t.Parallel()
	project, r := rewrite(t, readProject(t, projectDir))
	v := review(t, project, r)
	v.check(t)
	if slow() {
		v.run(t)
	}
}

func (v reviewed) check(t *testing.T) {
	for _, row := range wantedComments {
		t.Run(fmt.Sprintf("%s %d-%d", row.path, row.first, row.last), func(t *testing.T) { v.wantComment(t, row) })
	}
	t.Run("silent twins", v.wantSilence)
	t.Run("nothing else", v.wantNothingElse)
	t.Run("nothing skipped", func(t *testing.T) {
		for _, skip := range v.report.Skipped {
			t.Errorf("%s was not analysed: %s", skip.Path, skip.Reason)
		}
		if got, want := v.report.Files, len(v.project)-1; got != want {
			t.Errorf("%d files were analysed, want all %d", got, want)
		}
	})
	t.Run("hand_encoder.py 191, 221-224 by contract", v.wantContract)
	t.Run("enhanced_dexycb.py 333-334, 374-383 as reasons", v.wantReasons)
}

// run has PyTorch run what the review makes of the project.
func (v reviewed) run(t *testing.T) {
	t.Run("mended", v.wantMended)
	t.Run("float32 forms", v.wantForms)
}

// wantComment looks for the one comment of a row.
func (v reviewed) wantComment(t *testing.T, row wantedComment) {
	p, first, last := v.path(row.path), v.line(row.path, row.first), v.line(row.path, row.last)
	var c *suggestions.Comment
	for i := range v.plan.Comments {
		if x := &v.plan.Comments[i]; x.Path == p && x.First == first && x.Last == last {
			c = x
		}
	}
	if c == nil {
		t.Fatalf("no comment on %s:%d-%d; there are\n%s", p, first, last, v.list())
	}
	if c.Severity() != analysis.High {
		t.Errorf("severity %s, want high", c.Severity())
	}
	if c.Confidence().Rank() < analysis.Likely.Rank() {
		t.Errorf("confidence %s, want likely at least", c.Confidence())
	}
	if !c.Anchored {
		t.Error("the comment has no place in the diff")
	}
	s := c.Suggestion
	if s == nil {
		t.Fatalf("no suggestion: %s", c.Unproven)
	}
	if s.Safety != analysis.Safe || s.First != first || s.Last != last {
		t.Errorf("suggestion %s over %d-%d, want safe over %d-%d", s.Safety, s.First, s.Last, first, last)
	}
	if len(s.Replacement) != len(s.Old) {
		t.Fatalf("the suggestion replaces %d lines by %d:\n%s", len(s.Old), len(s.Replacement), strings.Join(s.Replacement, "\n"))
	}
	edited := map[int]bool{}
	for n, patterns := range row.edits {
		at := v.line(row.path, n) - first
		edited[at] = true
		for _, pattern := range patterns {
			if got := s.Replacement[at]; !regexp.MustCompile(v.text(pattern)).MatchString(got) {
				t.Errorf("line %d becomes %q, want %s", first+at, got, v.text(pattern))
			}
		}
	}
	for i, line := range s.Replacement {
		if !edited[i] && line != s.Old[i] {
			t.Errorf("line %d becomes %q although it was right: %q", first+i, line, s.Old[i])
		}
	}
	if row.form && !slices.ContainsFunc(c.Forms, isFloat32Form) {
		t.Errorf("the float32 form is missing under the suggestion; forms: %+v", c.Forms)
	}
}

// isFloat32Form recognises the code that keeps a projection in float32: it must
// switch autocast off and must not cut float64.
func isFloat32Form(f analysis.Form) bool {
	code := strings.Join(f.Lines, "\n")
	return strings.Contains(code, "enabled=False") && strings.Contains(code, "torch.promote_types(") && strings.Contains(code, "torch.float32")
}

func (v reviewed) wantSilence(t *testing.T) {
	for _, twin := range silentLines {
		p, text := v.path(twin.path), v.text(twin.text)
		line := 0
		for i, l := range strings.Split(v.project[p], "\n") {
			if strings.Contains(l, text) {
				if line != 0 {
					t.Fatalf("%s has %q twice", p, text)
				}
				line = i + 1
			}
		}
		if line == 0 {
			t.Fatalf("%s has no %q", p, text)
		}
		for _, f := range v.report.Findings {
			if f.Path == p && f.Start.Line <= line && line <= f.End.Line {
				t.Errorf("%s: %s:%d: %s (%s): %s", twin.kind, p, line, f.Rule, f.Confidence, f.Message)
			}
		}
	}
}

func (v reviewed) wantNothingElse(t *testing.T) {
	if got := len(v.plan.Comments); got != len(wantedComments) {
		t.Errorf("%d comments, want %d:\n%s", got, len(wantedComments), v.list())
	}
}

// list shows the plan, a comment a line.
func (v reviewed) list() string {
	var b strings.Builder
	for _, c := range v.plan.Comments {
		fmt.Fprintf(&b, "\t%s:%d-%d", c.Path, c.First, c.Last)
		for _, f := range c.Findings {
			fmt.Fprintf(&b, " %s (%s)", f.Rule, f.Confidence)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// caller is a file that gives rotations and vertices of the data set to the
// functions of the hand encoder, whose own caller gives predictions.
const caller = `"""Turns predicted joints by the rotations of the data set."""

import torch
from torch.utils.data import DataLoader

from data.enhanced_dexycb import EnhancedDexYCB
from models.encoders.hand_encoder import JointFrames
from models.transformer import ManipulationTransformer


def turn_all(root: str):
    model = ManipulationTransformer().to(torch.bfloat16)
    for batch in DataLoader(EnhancedDexYCB(root, "val"), batch_size=4):
        outputs = model(batch["image"], batch["extrinsics"], batch["intrinsics"])
        yield JointFrames.rotate(batch["object_rotations"][:, 0], outputs["joints"])
`

// wantContract lets other files give two dtypes to the products of the hand
// encoder, which are silent as long as nothing says that their operands differ.
func (v reviewed) wantContract(t *testing.T) {
	const encoder, transformer = "models/encoders/hand_encoder.py", "models/transformer.py"
	products := []struct{ first, last int }{{191, 191}, {221, 221}}
	for _, f := range v.report.Findings {
		if f.Path == v.path(encoder) {
			t.Errorf("%s:%d: %s although nothing says that the dtypes differ", f.Path, f.Start.Line, f.Rule)
		}
	}
	project := maps.Clone(v.project)
	old, given := v.text("self.hand_object(joints, translations)"), v.text("self.hand_object(joints, extrinsics[:, :3, :3])")
	if !strings.Contains(project[v.path(transformer)], old) {
		t.Fatalf("%s has no %s", v.path(transformer), old)
	}
	project[v.path(transformer)] = strings.Replace(project[v.path(transformer)], old, given, 1)
	project["turn_all.py"] = v.text(caller)
	w := review(t, project, v.rewriting)
	for _, row := range products {
		first, last := v.line(encoder, row.first), v.line(encoder, row.last)
		i := slices.IndexFunc(w.plan.Comments, func(c suggestions.Comment) bool {
			return c.Path == v.path(encoder) && c.First <= first && last <= c.Last
		})
		if i < 0 {
			t.Errorf("no comment on %s:%d-%d; there are\n%s", v.path(encoder), first, last, w.list())
			continue
		}
		c := w.plan.Comments[i]
		if c.Confidence() != analysis.Likely {
			t.Errorf("%s:%d is %s, want likely", c.Path, c.First, c.Confidence())
		}
		if !slices.ContainsFunc(c.Forms, isFloat32Form) {
			t.Errorf("%s:%d: no float32 form: %+v", c.Path, c.First, c.Forms)
		}
		if !v.reasons(c, "data/enhanced_dexycb.py", 330, 383) {
			t.Errorf("%s:%d: the data set is no reason: %+v", c.Path, c.First, c.Because())
		}
	}
}

// wantReasons wants the data set's float32 in the reasons of the projection.
func (v reviewed) wantReasons(t *testing.T) {
	p, line := v.path("training/losses.py"), v.line("training/losses.py", 395)
	for _, c := range v.plan.Comments {
		if c.Path != p || c.First != line {
			continue
		}
		for _, lines := range [][2]int{{333, 334}, {374, 383}} {
			if !v.reasons(c, "data/enhanced_dexycb.py", lines[0], lines[1]) {
				t.Errorf("enhanced_dexycb.py %d-%d is not among the reasons: %+v", lines[0], lines[1], c.Because())
			}
		}
		if !v.reasons(c, "train.py", 36, 36) {
			t.Errorf("the cast of the model is not among the reasons: %+v", c.Because())
		}
		return
	}
	t.Errorf("no comment on %s:%d", p, line)
}

// reasons reports whether a comment names a place of the project.
func (v reviewed) reasons(c suggestions.Comment, p string, first, last int) bool {
	return slices.ContainsFunc(c.Because(), func(r analysis.Reason) bool {
		for n := first; n <= last; n++ {
			if r.Path == v.path(p) && r.Line == v.line(p, n) {
				return true
			}
		}
		return false
	})
}

// wantMended commits every suggestion and runs the project under PyTorch: in
// bfloat16 and float64 it must run, in float32 give the same bits as before.
func (v reviewed) wantMended(t *testing.T) {
	t.Parallel()
	python := torchrun.Python(t)
	mended := maps.Clone(v.project)
	for p, text := range v.project {
		var err error
		if mended[p], _, err = v.plan.Mend(p, text, analysis.Likely, false); err != nil {
			t.Fatal(err)
		}
	}
	smoke(t, python, writeProject(t, mended), "--original", writeProject(t, v.project))
}

// wantForms puts the float32 forms in place of the lines that they are shown
// for, commits the other suggestions, and runs the result: a form that does not
// run, or that is not exact, misleads who copies it.
func (v reviewed) wantForms(t *testing.T) {
	t.Parallel()
	mended := maps.Clone(v.project)
	type change struct {
		first, last int
		lines       []string
	}
	changes := map[string][]change{}
	for _, c := range v.plan.Comments {
		formed := false
		for _, f := range c.Forms {
			if !isFloat32Form(f) {
				continue
			}
			formed = true
			changes[c.Path] = append(changes[c.Path], change{f.First, f.Last, f.Lines})
			lines := strings.Split(v.project[c.Path], "\n")
			last := strings.TrimSpace(f.Lines[len(f.Lines)-1])
			if next := strings.TrimSpace(lines[f.Last]); next == last {
				t.Errorf("%s:%d-%d: the form ends with %q, which the next line does again", c.Path, f.First, f.Last, last)
			}
		}
		if s := c.Suggestion; !formed && s != nil {
			changes[c.Path] = append(changes[c.Path], change{s.First, s.Last, s.Replacement})
		}
	}
	for p, list := range changes {
		lines := strings.Split(mended[p], "\n")
		slices.SortFunc(list, func(a, b change) int { return b.first - a.first })
		for i, c := range list {
			if i > 0 && c.last >= list[i-1].first {
				t.Fatalf("%s: what is shown for %d-%d and for line %d overlaps", p, c.first, c.last, list[i-1].first)
			}
			lines = slices.Replace(lines, c.first-1, c.last, c.lines...)
		}
		mended[p] = strings.Join(lines, "\n")
	}
	smoke(t, torchrun.Python(t), writeProject(t, mended), "--original", writeProject(t, v.project), "--forms")
}

// smoke runs the project's own check.
func smoke(t *testing.T, python, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, append([]string{"smoke.py"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("python3 smoke.py %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The project must do under PyTorch what the table says of it, and the twin
// must do the same as the project.
func TestAcceptanceProject(t *testing.T) {
	onlySlow(t)
	t.Parallel()
	python := torchrun.Python(t)
	project := readProject(t, projectDir)
	t.Run("original", func(t *testing.T) { smoke(t, python, writeProject(t, project)) })
	t.Run("renamed", func(t *testing.T) {
		onlySlow(t)
		twin, _ := rewrite(t, project)
		smoke(t, python, writeProject(t, twin), "--float32")
	})
}

// The table names lines; this holds the files to it.
func TestAcceptanceLines(t *testing.T) {
	project := readProject(t, projectDir)
	twin, r := rewrite(t, project)
	for _, want := range []struct {
		path string
		line int
		text string
	}{
		{"models/pixel_aligned.py", 92, "ones = torch.ones(B, N, 1, device=points_3d.device)"},
		{"models/pixel_aligned.py", 95, "points_cam = torch.matmul("},
		{"models/pixel_aligned.py", 98, "extrinsics.transpose(-1, -2)"},
		{"models/pixel_aligned.py", 99, ")[..., :3]"},
		{"models/pixel_aligned.py", 107, "points_2d_homo = torch.matmul(points_cam, intrinsics.transpose(-1, -2))"},
		{"training/losses.py", 196, "half_turn = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], device=pred_rotation.device)"},
		{"training/losses.py", 263, "wrist = torch.zeros(batch_size, 1, 3, device=pred_joints.device)"},
		{"training/losses.py", 395, "joints_2d_proj = torch.matmul(joints_3d, intrinsics.transpose(-1, -2))"},
		{"training/losses.py", 726, "filled = torch.zeros(gap.shape)"},
		{"models/encoders/hand_encoder.py", 142, "dtype=joints.dtype)"},
		{"models/encoders/hand_encoder.py", 143, "dtype=joints.dtype)"},
		{"models/encoders/hand_encoder.py", 171, "y_global = torch.tensor([0, 1, 0], device=device, dtype=z_axis.dtype)"},
		{"models/encoders/hand_encoder.py", 191, "torch.matmul("},
		{"models/encoders/hand_encoder.py", 221, "torch.matmul("},
		{"models/encoders/hand_encoder.py", 222, "torch.matmul("},
		{"models/encoders/hand_encoder.py", 224, "torch.matmul("},
		{"data/enhanced_dexycb.py", 333, "rows = [[fx"},
		{"data/enhanced_dexycb.py", 334, "intrinsics = np.array(rows, dtype=np.float32)"},
		{"data/enhanced_dexycb.py", 374, "dtype=torch.float32)"},
		{"data/enhanced_dexycb.py", 383, "dtype=torch.float32)"},
		{"train.py", 36, "model = model.to(torch.bfloat16)"},
	} {
		if line := strings.Split(project[want.path], "\n")[want.line-1]; !strings.Contains(line, want.text) {
			t.Errorf("%s:%d is %q, want %q", want.path, want.line, line, want.text)
		}
		p, n := r.path(want.path), r.line(want.path, want.line)
		if path.Base(p) == path.Base(want.path) || n == want.line {
			t.Errorf("%s:%d is %s:%d in the twin, want another name and line", want.path, want.line, p, n)
		}
		if line := strings.Split(twin[p], "\n")[n-1]; !strings.Contains(line, r.text(want.text)) {
			t.Errorf("%s:%d is %q, want %q", p, n, line, r.text(want.text))
		}
	}
}

// A pull request that only lays old code out anew brings nothing in.
func TestAcceptanceReformatted(t *testing.T) {
	t.Parallel()
	base := readProject(t, projectDir)
	delete(base, "smoke.py")
	head := (&rewriting{lines: map[string][]int{}}).relaid(base)
	for p, edits := range map[string][2]string{
		"models/pixel_aligned.py": {
			"torch.matmul(points_cam, intrinsics.transpose(-1, -2))",
			"torch.matmul(\n            points_cam,\n            intrinsics.transpose(-1, -2),\n        )",
		},
		"training/losses.py": {
			"torch.matmul(joints_3d, intrinsics.transpose(-1, -2))",
			"torch.matmul(\n            joints_3d, intrinsics.transpose(-1, -2)  # [B, 21, 3]\n        )",
		},
	} {
		if !strings.Contains(head[p], edits[0]) {
			t.Fatalf("%s has no %q", p, edits[0])
		}
		head[p] = strings.Replace(head[p], edits[0], edits[1], 1)
	}
	found, plan := checkDiff(t, head, gitDiff(t, base, head))
	if len(found.Findings) != 0 || len(plan.Comments) != 0 {
		t.Errorf("new findings in old code: %+v", found.Findings)
	}
	// Silence must come from the comparison, not from blindness.
	if found.Known < len(wantedComments) {
		t.Errorf("%d findings known from the base, want %d at least", found.Known, len(wantedComments))
	}
}

// The demo's second pull request: one fault, and nothing left once its
// suggestion is committed.
func TestAcceptanceSmallPull(t *testing.T) {
	onlySlow(t)
	t.Parallel()
	dir := "../../testdata/small_pull"
	base, head := readProject(t, filepath.Join(dir, "base")), readProject(t, filepath.Join(dir, "head"))

	_, plan := checkDiff(t, head, gitDiff(t, base, head))
	if len(plan.Comments) != 1 || plan.Comments[0].Suggestion == nil {
		t.Fatalf("want one comment with a suggestion, got %+v", plan.Comments)
	}
	c := plan.Comments[0]
	got := strings.Join(c.Suggestion.Replacement, "\n")
	want := "        kept = torch.zeros(states.shape, device=states.device, dtype=states.dtype)"
	if c.Path != "model.py" || c.Severity() != analysis.High || got != want {
		t.Errorf("%s:%d, %s:\n%s\nwant model.py, high:\n%s", c.Path, c.First, c.Severity(), got, want)
	}

	mended := maps.Clone(head)
	for p, text := range head {
		var err error
		if mended[p], _, err = plan.Mend(p, text, analysis.Likely, false); err != nil {
			t.Fatal(err)
		}
	}
	found, plan := checkDiff(t, mended, gitDiff(t, base, mended))
	if len(found.Findings) != 0 || len(plan.Comments) != 0 {
		t.Errorf("left after the suggestion: %+v", found.Findings)
	}

	t.Run("runs", func(t *testing.T) {
		python := torchrun.Python(t)
		train := func(project map[string]string) string {
			cmd := exec.CommandContext(t.Context(), python, "train.py", "--steps=2")
			cmd.Dir = writeProject(t, project)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return string(out)
			}
			return ""
		}
		if slow() {
			if out := train(base); out != "" {
				t.Errorf("the base fails:\n%s", out)
			}
		}
		if out := train(head); !strings.Contains(out, "Index put requires the source and destination dtypes match") {
			t.Errorf("the head does not fail as it should: %s", out)
		}
		if out := train(mended); out != "" {
			t.Errorf("the mended head fails:\n%s", out)
		}
	})
}

// gitDiff is git's diff between two projects.
func gitDiff(t *testing.T, before, after map[string]string) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed; apt-get install git")
	}
	dir := t.TempDir()
	for name, files := range map[string]map[string]string{"a": before, "b": after} {
		if err := os.Rename(writeProject(t, files), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), git, "diff", "--no-index", "--no-prefix", "--no-color", "a", "b")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("git diff: %v", err)
	}
	return string(out)
}
