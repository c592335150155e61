package suggestions

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A tiny is a rule for tests: every match of pattern is a finding, which goes
// when insert is put into the match, so many bytes before its end.
type tiny struct {
	name     string
	pattern  *regexp.Regexp
	insert   string
	before   int
	severity analysis.Severity
	sure     analysis.Confidence
	safety   analysis.Safety
	ops      *regexp.Regexp // every match is an operation of the finding
	nofix    bool
	forms    []analysis.Form
}

// tinies is an analyser made of tiny rules. raise computes the operations that
// raise from the text.
type tinies struct {
	rules []tiny
	raise func(source string) []string
	calls int
}

func (a *tinies) recheck(_ context.Context, files []analysis.File) check.Report {
	a.calls++
	r := check.Report{Raises: map[string][]string{}, Files: len(files)}
	for _, f := range files {
		t := newText(f.Source)
		for _, rule := range a.rules {
			for _, m := range rule.pattern.FindAllStringIndex(f.Source, -1) {
				r.Findings = append(r.Findings, rule.finding(f, t, m))
			}
		}
		if a.raise != nil {
			r.Raises[f.Path] = a.raise(f.Source)
		}
	}
	slices.SortStableFunc(r.Findings, func(f, g analysis.Finding) int {
		if c := strings.Compare(f.Path, g.Path); c != 0 {
			return c
		}
		return int(f.At.Start) - int(g.At.Start)
	})
	return r
}

func (rule tiny) finding(f analysis.File, t text, m []int) analysis.Finding {
	at := python.Span{Start: uint32(m[0]), End: uint32(m[1])}
	first, last := t.touched(at.Start, at.End)
	g := analysis.Finding{
		Rule: rule.name, Path: f.Path, Scope: "forward", At: at,
		Severity: rule.severity, Confidence: rule.sure,
		Start:   analysis.Position{Line: first, Column: m[0] - t.start(first) + 1},
		End:     analysis.Position{Line: last, Column: m[1] - t.start(last) + 1},
		Message: fmt.Sprintf("`%s` has the wrong dtype.", f.Source[m[0]:m[1]]),
		Forms:   rule.forms,
	}
	if g.Severity == "" {
		g.Severity = analysis.High
	}
	if g.Confidence == "" {
		g.Confidence = analysis.Likely
	}
	g.Fingerprint = rule.name + ":" + strings.Join(t.lines(first, last), "\n")
	if rule.ops != nil {
		for _, o := range rule.ops.FindAllStringIndex(f.Source, -1) {
			g.Ops = append(g.Ops, python.Span{Start: uint32(o[0]), End: uint32(o[1])})
		}
	}
	if !rule.nofix {
		where := at.End - uint32(rule.before)
		safety := rule.safety
		if safety == "" {
			safety = analysis.Safe
		}
		g.Fix = &analysis.Fix{
			Title: "Mend " + rule.name, Safety: safety,
			Edits: []analysis.Edit{{Span: python.Span{Start: where, End: where}, New: rule.insert}},
		}
	}
	return g
}

// propose runs Propose on the files with the findings on lines that are new.
func (a *tinies) propose(t *testing.T, opts Options, files ...analysis.File) Plan {
	t.Helper()
	whole := slices.Clone(files)
	r := a.recheck(t.Context(), whole)
	r.Findings = slices.DeleteFunc(r.Findings, func(f analysis.Finding) bool {
		i := slices.IndexFunc(files, func(g analysis.File) bool { return g.Path == f.Path })
		if files[i].Whole {
			return false
		}
		for _, h := range files[i].Hunks {
			if slices.Contains(h.New, f.Start.Line) {
				return false
			}
		}
		return true
	})
	opts.Recheck = a.recheck
	return Propose(t.Context(), files, r, opts)
}

func whole(source string) analysis.File {
	return analysis.File{Path: "a.py", Source: source, Whole: true}
}

// hunk returns a hunk in which every line is new.
func hunk(first, last int) analysis.Hunk {
	h := analysis.Hunk{Start: first, End: last}
	for l := first; l <= last; l++ {
		h.New = append(h.New, l)
	}
	return h
}

// half is a rule whose matches "bad(…)" become "bad(…).half()".
var half = tiny{name: "half", pattern: regexp.MustCompile(`bad\(\w*\)\n`), insert: ".half()", before: 1}

// project is the audit's projection: lines 92, 95 to 99 and 107.
func project() string {
	var b strings.Builder
	for i := 1; i < 90; i++ {
		fmt.Fprintf(&b, "    step_%d = %d\n", i, i)
	}
	b.WriteString(strings.Join([]string{
		"        # homogeneous coordinates",                        // 90
		"        ones = (",                                         // 91
		"            torch.ones(B, N, 1, device=points_3d.device)", // 92
		"        )", // 93
		"        points_homo = torch.cat([points_3d, ones], dim=-1)",              // 94
		"        points_cam = torch.matmul(",                                      // 95
		"            points_homo,",                                                // 96
		"            extrinsics",                                                  // 97
		"            .transpose(-1, -2),",                                         // 98
		"        )[..., :3]",                                                      // 99
		"        depth = points_cam[..., 2:3]",                                    // 100
		"        depth = depth.clamp(min=1e-6)",                                   // 101
		"        valid = depth > 0",                                               // 102
		"        if self.debug:",                                                  // 103
		"            print(depth.shape)",                                          // 104
		"        normalised = points_cam / depth",                                 // 105
		"        # to pixels",                                                     // 106
		"        pixels = torch.matmul(points_cam, intrinsics.transpose(-1, -2))", // 107
		"        return pixels, valid, normalised",                                // 108
	}, "\n") + "\n")
	return b.String()
}

// projection is an analyser for project: it says what PyTorch did with bf16
// points and float32 cameras, measured for every subset of the three fixes.
func projection() *tinies {
	both := regexp.MustCompile(`torch\.matmul\(`)
	return &tinies{
		rules: []tiny{
			{name: "factory-without-dtype", pattern: regexp.MustCompile(`torch\.ones\([^)=]*device=points_3d\.device\)`), insert: ", dtype=points_3d.dtype", before: 1, ops: both},
			{name: "matmul-mixed-dtype", pattern: regexp.MustCompile(`\bextrinsics\s`), insert: ".to(points_homo.dtype)", before: 1, ops: both},
			{name: "matmul-mixed-dtype", pattern: regexp.MustCompile(`\bintrinsics\.tr`), insert: ".to(points_cam.dtype)", before: 3, ops: both},
		},
		raise: func(s string) []string {
			d := strings.Contains(s, "dtype=points_3d.dtype")
			e := strings.Contains(s, "extrinsics.to(")
			k := strings.Contains(s, "intrinsics.to(")
			switch {
			case d && !e:
				return []string{"forward matmul points_homo extrinsics"}
			case d && e && !k:
				return []string{"forward matmul points_cam intrinsics"}
			}
			return nil
		},
	}
}

func TestFixesThatNeedEachOtherAreOneSuggestion(t *testing.T) {
	a := projection()
	source := project()
	file := analysis.File{Path: "models/pixel_aligned.py", Source: source, Hunks: []analysis.Hunk{hunk(88, 108)}}
	report := a.recheck(t.Context(), []analysis.File{file})
	if len(report.Findings) != 3 {
		t.Fatalf("the test's own rules find %d mistakes, want 3", len(report.Findings))
	}
	plan := Propose(t.Context(), []analysis.File{file}, report, Options{Recheck: a.recheck})
	if len(plan.Comments) != 1 {
		t.Fatalf("%d comments, want 1: %+v", len(plan.Comments), plan.Comments)
	}
	c := plan.Comments[0]
	if c.First != 92 || c.Last != 107 || !c.Anchored || len(c.Findings) != 3 || c.Suggestion == nil || c.Unproven != "" {
		t.Fatalf("comment on %d-%d, anchored %v, %d findings, suggestion %v, unproven %q",
			c.First, c.Last, c.Anchored, len(c.Findings), c.Suggestion, c.Unproven)
	}
	want := strings.Split(strings.TrimSuffix(source, "\n"), "\n")[91:107]
	want[0] = "            torch.ones(B, N, 1, device=points_3d.device, dtype=points_3d.dtype)"
	want[5] = "            extrinsics.to(points_homo.dtype)"
	want[15] = "        pixels = torch.matmul(points_cam, intrinsics.to(points_cam.dtype).transpose(-1, -2))"
	if d := cmp.Diff(want, c.Suggestion.Replacement); d != "" {
		t.Errorf("replacement (-want +got):\n%s", d)
	}
	if len(c.Suggestion.Edits) != 3 {
		t.Errorf("%d edits, want the audit's three", len(c.Suggestion.Edits))
	}
	// Applied, nothing is left to say.
	mended, n, err := plan.Mend(file.Path, source, analysis.Likely, false)
	if err != nil || n != 1 {
		t.Fatalf("Mend: %d suggestions, %v", n, err)
	}
	file.Source = mended
	if again := Propose(t.Context(), []analysis.File{file}, a.recheck(t.Context(), []analysis.File{file}), Options{Recheck: a.recheck}); len(again.All()) != 0 {
		t.Errorf("after the suggestion there are still %d comments", len(again.All()))
	}
}
