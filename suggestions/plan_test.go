package suggestions

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// numbered returns n numbered lines, with some replaced.
func numbered(n int, with map[int]string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		l, ok := with[i]
		if !ok {
			l = fmt.Sprintf("x%d = %d", i, i)
		}
		b.WriteString(l + "\n")
	}
	return b.String()
}

func TestSuggestionStaysInItsHunk(t *testing.T) {
	source := numbered(30, map[int]string{10: "a = bad(x)"})
	for _, c := range []struct {
		name     string
		hunks    []analysis.Hunk
		because  []analysis.Reason
		button   bool
		anchored bool
		line     int
		unproven string
	}{
		{"in the hunk", []analysis.Hunk{hunk(8, 12)}, nil, true, true, 10, ""},
		{"the hunk's only line", []analysis.Hunk{hunk(10, 10)}, nil, true, true, 10, ""},
		{"outside", []analysis.Hunk{hunk(12, 20)}, nil, false, false, 10, "the diff does not show line 10"},
		{
			"its cause is shown",
			[]analysis.Hunk{{Start: 1, End: 6, New: []int{4}}},
			[]analysis.Reason{{Path: "a.py", Line: 4}, {Path: "a.py", Line: 2}, {Path: "b.py", Line: 3}},
			false, true, 4, "the diff does not show line 10",
		},
		{"a hunk that only deletes", []analysis.Hunk{{Start: 10, End: 9}}, nil, false, false, 10, "the diff does not show line 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &tinies{rules: []tiny{half}}
			f := analysis.File{Path: "a.py", Source: source, Hunks: c.hunks}
			r := a.recheck(t.Context(), []analysis.File{f})
			r.Findings[0].Because = c.because
			plan := Propose(t.Context(), []analysis.File{f}, r, Options{Recheck: a.recheck})
			got := plan.Comments[0]
			if got.Suggestion == nil {
				t.Fatalf("no code at all: %q", got.Unproven)
			}
			if button := got.Suggestion.Safety == analysis.Safe; button != c.button || got.Anchored != c.anchored || got.First != c.line || got.Unproven != c.unproven {
				t.Errorf("button %v, anchored %v, line %d, unproven %q; want %v, %v, %d, %q",
					button, got.Anchored, got.First, got.Unproven, c.button, c.anchored, c.line, c.unproven)
			}
			if d := cmp.Diff([]string{"a = bad(x).half()"}, got.Suggestion.Replacement); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSuggestionMayNotSpanTwoHunks(t *testing.T) {
	f := analysis.File{Path: "a.py", Source: project(), Hunks: []analysis.Hunk{hunk(88, 96), hunk(97, 108)}}
	plan := projection().propose(t, Options{}, f)
	if len(plan.Comments) != 1 {
		t.Fatalf("%d comments, want 1", len(plan.Comments))
	}
	c := plan.Comments[0]
	if c.Suggestion == nil || c.Suggestion.Safety != analysis.Display || c.Unproven != "the diff does not show lines 92 to 107 in one piece" || !c.Anchored || c.Last > 96 {
		t.Errorf("lines %d-%d, anchored %v, %q: %+v", c.First, c.Last, c.Anchored, c.Unproven, c.Suggestion)
	}
	// Applied by bytes it needs no hunk.
	if mended := projection().propose(t, Options{CRLF: true}, f).Comments[0]; mended.Suggestion.Safety != analysis.Safe {
		t.Errorf("by bytes: %q", mended.Unproven)
	}
	// One that is too long to be judged in a review is code as well.
	f.Hunks = []analysis.Hunk{hunk(88, 108)}
	c = projection().propose(t, Options{MaxLines: 15}, f).Comments[0]
	if c.Suggestion.Safety != analysis.Display || c.Unproven != "it spans 16 lines" {
		t.Errorf("%q: %+v", c.Unproven, c.Suggestion)
	}
}

// TestOtherFindingsMayMove puts an insertion before, at the start of and behind
// a finding that the change does not mend.
func TestOtherFindingsMayMove(t *testing.T) {
	wrap := tiny{name: "wrap", pattern: regexp.MustCompile(`= keep`), insert: "wrapped + ", before: 4}
	keep := tiny{name: "keep", pattern: regexp.MustCompile(`keep\(\)`), nofix: true}
	a := &tinies{rules: []tiny{wrap, keep, half}}
	plan := a.propose(t, Options{}, whole("z = keep() + bad(x)\ny = keep()\n"))
	for _, c := range plan.Comments {
		if c.Findings[0].Rule != "keep" && (c.Suggestion == nil || c.Suggestion.Safety != analysis.Safe) {
			t.Errorf("%s: no button: %q", c.Findings[0].Rule, c.Unproven)
		}
	}
}

func TestLineEnds(t *testing.T) {
	for _, c := range []struct {
		name, source, mended string
		button               bool
	}{
		{"LF", "x = 1\na = bad(x)\ny = 2\n", "x = 1\na = bad(x).half()\ny = 2\n", true},
		{"CRLF", "x = 1\r\na = bad(x)\r\ny = 2\r\n", "x = 1\r\na = bad(x).half()\r\ny = 2\r\n", false},
		{"mixed", "x = 1\r\na = bad(x)\ny = 2\n", "x = 1\r\na = bad(x).half()\ny = 2\n", false},
		{"last line open", "x = 1\na = bad(x)", "x = 1\na = bad(x).half()", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule := half
			rule.pattern = regexp.MustCompile(`bad\(\w*\)(?:$|\r?\n)`)
			rule.before = len(rule.pattern.FindString(c.source)) - len("bad(x)")
			a := &tinies{rules: []tiny{rule}}
			review := a.propose(t, Options{}, whole(c.source)).Comments[0]
			if button := review.Suggestion.Safety == analysis.Safe; button != c.button || button == (review.Unproven != "") {
				t.Errorf("review: button %v, want %v; unproven %q", button, c.button, review.Unproven)
			}
			plan := a.propose(t, Options{CRLF: true}, whole(c.source))
			got, n, err := plan.Mend("a.py", c.source, analysis.Likely, false)
			if err != nil || n != 1 || got != c.mended {
				t.Errorf("Mend: %q, %d, %v; want %q", got, n, err, c.mended)
			}
		})
	}
}

func TestNewLinesEndAsTheFileDoes(t *testing.T) {
	rule := tiny{name: "two lines", pattern: regexp.MustCompile(`= bad\(x\)\r\n`), insert: ".half()\nb = a", before: 2}
	source := "x = 1\r\na = bad(x)\r\ny = 2\r\n"
	a := &tinies{rules: []tiny{rule}}
	plan := a.propose(t, Options{CRLF: true}, whole(source))
	got, _, err := plan.Mend("a.py", source, "", false)
	if want := "x = 1\r\na = bad(x).half()\r\nb = a\r\ny = 2\r\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestProofRefuses(t *testing.T) {
	const source = "def f(x):\n    a = bad(x)\n    return a\n"
	for _, c := range []struct {
		name   string
		change func(*tiny, *tinies)
		why    string
		code   bool // shown as code nevertheless
	}{
		{"the mistake stays", func(r *tiny, _ *tinies) {
			r.insert, r.before = "  # noqa", 0
			r.pattern = regexp.MustCompile(`bad\(\w*\)`)
		}, "the mistake would still be there", false},
		{"syntax error", func(r *tiny, _ *tinies) { r.insert = ".half((" }, "the result would not parse", false},
		{"nothing changes", func(r *tiny, _ *tinies) { r.insert = "" }, "it changes nothing", false},
		{"outside the file", func(r *tiny, _ *tinies) { r.before = -1000 }, "its edits do not fit together", false},
		{
			"another rule objects", func(_ *tiny, a *tinies) {
				a.rules = append(a.rules, tiny{name: "no-half", pattern: regexp.MustCompile(`\.half\(\)`), nofix: true})
			}, "on its own it would bring a new mistake: `.half()` has the wrong dtype", true,
		},
		{
			"another operation raises", func(_ *tiny, a *tinies) {
				a.raise = func(s string) []string {
					if strings.Contains(s, ".half()") {
						return []string{"matmul", "matmul"}
					}
					return []string{"matmul"}
				}
			}, "on its own it would make another operation refuse its operands", true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &tinies{rules: []tiny{half}}
			c.change(&a.rules[0], a)
			got := a.propose(t, Options{}, whole(source)).Comments[0]
			if got.Unproven != c.why || (got.Suggestion != nil) != c.code {
				t.Errorf("unproven %q, suggestion %+v; want %q, code %v", got.Unproven, got.Suggestion, c.why, c.code)
			}
			if got.Suggestion != nil && got.Suggestion.Safety != analysis.Display {
				t.Errorf("an unproven fix has the safety %q", got.Suggestion.Safety)
			}
			if !got.Anchored || got.First != 2 {
				t.Errorf("anchored %v on line %d, want line 2", got.Anchored, got.First)
			}
		})
	}
}

func TestOneEditIsOneComment(t *testing.T) {
	second := half
	second.name, second.severity = "second", analysis.Medium
	a := &tinies{rules: []tiny{second, half}}
	plan := a.propose(t, Options{}, whole("a = bad(x)\n"))
	if len(plan.Comments) != 1 || len(plan.Comments[0].Findings) != 2 || plan.Comments[0].Findings[0].Rule != "half" {
		t.Fatalf("want one comment with both findings, the strongest first: %+v", plan.Comments)
	}
}

func TestCopiesAreOneComment(t *testing.T) {
	a := &tinies{rules: []tiny{half}}
	plan := a.propose(t, Options{}, whole(numbered(40, map[int]string{5: "a = bad(x)", 20: "a = bad(x)", 33: "a  =  bad(x)", 35: "b = bad(x)"})))
	if len(plan.Comments) != 2 || len(plan.Comments[0].Copies) != 2 {
		t.Fatalf("want a comment with two copies and another: %+v", plan.Comments)
	}
	c := plan.Comments[0]
	if c.First != 5 || c.Copies[0].First != 20 || c.Copies[1].First != 33 {
		t.Errorf("lines %d, %d, %d; want 5, 20, 33", c.First, c.Copies[0].First, c.Copies[1].First)
	}
	if got := Markdown(c, MarkdownOptions{}); !strings.Contains(got, "Also at lines 20, 33.") {
		t.Errorf("the copies are not listed:\n%s", got)
	}
	if len(plan.All()) != 4 {
		t.Errorf("All gives %d comments, want 4", len(plan.All()))
	}
	ids := map[string]bool{}
	for _, c := range plan.All() {
		ids[c.Suggestion.ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("ids %v, want four different ones", ids)
	}
}

func TestTheCopyWithTheButtonLeads(t *testing.T) {
	a := &tinies{rules: []tiny{half}}
	source := numbered(40, map[int]string{5: "a = bad(x)", 20: "a = bad(x)"})
	f := analysis.File{Path: "a.py", Source: source, Hunks: []analysis.Hunk{hunk(15, 25)}}
	plan := Propose(t.Context(), []analysis.File{f}, a.recheck(t.Context(), []analysis.File{f}), Options{Recheck: a.recheck})
	if len(plan.Comments) != 1 || plan.Comments[0].First != 20 || len(plan.Comments[0].Copies) != 1 || plan.Comments[0].Copies[0].First != 5 {
		t.Errorf("%+v", plan.Comments)
	}
}

func TestARiskyFixDoesNotSpoilTheButtonBesideIt(t *testing.T) {
	risky := tiny{name: "other", pattern: regexp.MustCompile(`worse\(\w*\)[ ]`), insert: ".float()", before: 1, safety: analysis.Unsafe}
	a := &tinies{rules: []tiny{half, risky}}
	plan := a.propose(t, Options{}, whole("a = worse(x) + bad(x)\n"))
	got := map[string]analysis.Safety{}
	for _, c := range plan.Comments {
		got[c.Findings[0].Rule] = c.Suggestion.Safety
	}
	if d := cmp.Diff(map[string]analysis.Safety{"half": analysis.Safe, "other": analysis.Unsafe}, got); d != "" {
		t.Error(d)
	}
}

func TestOverlappingSuggestionsAreJoined(t *testing.T) {
	low := tiny{name: "other", pattern: regexp.MustCompile(`worse\(\w*\)[ ]`), insert: ".float()", before: 1, severity: analysis.Low}
	a := &tinies{rules: []tiny{half, low}}
	plan := a.propose(t, Options{}, whole("a = worse(x) + bad(x)\n"))
	if len(plan.Comments) != 1 || len(plan.Comments[0].Findings) != 2 {
		t.Fatalf("want one comment: %+v", plan.Comments)
	}
	if got, want := plan.Comments[0].Suggestion.Replacement[0], "a = worse(x).float() + bad(x).half()"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// The two together raise: the stronger stays a button, the other is code.
	a.raise = func(s string) []string {
		if strings.Contains(s, ".float()") && strings.Contains(s, ".half()") {
			return []string{"add"}
		}
		return nil
	}
	plan = a.propose(t, Options{}, whole("a = worse(x) + bad(x)\n"))
	if len(plan.Comments) != 2 {
		t.Fatalf("want two comments: %+v", plan.Comments)
	}
	first, second := plan.Comments[0], plan.Comments[1]
	if first.Findings[0].Rule != "half" || first.Suggestion.Safety != analysis.Safe || second.Suggestion.Safety != analysis.Display || second.Unproven == "" {
		t.Errorf("first %+v, second %+v (%q)", first.Suggestion, second.Suggestion, second.Unproven)
	}
}

func TestSuggestionsHoldTogether(t *testing.T) {
	a := &tinies{rules: []tiny{half}}
	a.raise = func(s string) []string { // any one may be mended, not all of them
		if strings.Count(s, ".half()") > 2 {
			return []string{"stack"}
		}
		return nil
	}
	plan := a.propose(t, Options{}, whole(numbered(9, map[int]string{1: "a = bad(x)", 4: "b = bad(x)", 7: "c = bad(x)"})))
	var safety []analysis.Safety
	for _, c := range plan.Comments {
		safety = append(safety, c.Suggestion.Safety)
	}
	if d := cmp.Diff([]analysis.Safety{analysis.Safe, analysis.Safe, analysis.Display}, safety); d != "" {
		t.Error(d)
	}
}

func TestTogetherAcrossFiles(t *testing.T) {
	a := &tinies{rules: []tiny{half}}
	inner := a.recheck
	recheck := func(ctx context.Context, files []analysis.File) check.Report {
		r := inner(ctx, files)
		if strings.Contains(files[0].Source, ".half()") && strings.Contains(files[1].Source, ".half()") {
			r.Raises["b.py"] = append(r.Raises["b.py"], "call of a.f")
		}
		return r
	}
	files := []analysis.File{whole("a = bad(x)\n"), {Path: "b.py", Source: "a = bad(x)\n", Whole: true}}
	plan := Propose(t.Context(), files, recheck(t.Context(), files), Options{Recheck: recheck})
	if plan.Comments[0].Suggestion.Safety != analysis.Safe || plan.Comments[1].Suggestion.Safety != analysis.Display {
		t.Errorf("%+v, %+v; want a button for the first alone", plan.Comments[0].Suggestion, plan.Comments[1].Suggestion)
	}
}

// TestOneMistakeIsOneComment has a mistake, bad(x), and another finding that is
// gone when it is mended.
func TestOneMistakeIsOneComment(t *testing.T) {
	op := python.Span{Start: 3, End: 4}
	for _, c := range []struct {
		name     string
		second   analysis.Finding // what it shares with the first
		nofix    bool
		comments int
	}{
		{"its consequence", analysis.Finding{Because: []analysis.Reason{{Path: "a.py", Line: 2}}}, false, 1},
		{"its consequence without a fix", analysis.Finding{Because: []analysis.Reason{{Path: "a.py", Line: 2}}}, true, 1},
		{"the same operation", analysis.Finding{Ops: []python.Span{op}}, false, 1},
		{"a reason elsewhere", analysis.Finding{Because: []analysis.Reason{{Path: "b.py", Line: 2}, {Path: "a.py", Line: 3}}}, false, 2},
		{"nothing", analysis.Finding{}, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			use := tiny{name: "use", pattern: regexp.MustCompile(`use\(a\)\n`), insert: ".float()", before: 1, nofix: c.nofix}
			a := &tinies{rules: []tiny{half, use}}
			recheck := func(ctx context.Context, files []analysis.File) check.Report {
				r := a.recheck(ctx, files)
				mended := strings.Contains(files[0].Source, ".half()")
				r.Findings = slices.DeleteFunc(r.Findings, func(f analysis.Finding) bool { return f.Rule == "use" && mended })
				for i := range r.Findings {
					if r.Findings[i].Rule == "use" {
						r.Findings[i].Because, r.Findings[i].Ops = c.second.Because, c.second.Ops
					} else {
						r.Findings[i].Ops = []python.Span{op}
					}
				}
				return r
			}
			f := whole("x = 1\na = bad(x)\ny = 2\nb = use(a)\n")
			plan := Propose(t.Context(), []analysis.File{f}, recheck(t.Context(), []analysis.File{f}), Options{Recheck: recheck})
			if len(plan.Comments) != c.comments {
				t.Fatalf("%d comments, want %d: %+v", len(plan.Comments), c.comments, plan.Comments)
			}
			if first := plan.Comments[0]; first.Last != 2 || len(first.Findings) != 3-c.comments {
				t.Errorf("lines %d-%d with %d findings", first.First, first.Last, len(first.Findings))
			}
		})
	}
}

func TestAFixMayNeedOneThatWasThereBefore(t *testing.T) {
	// Line 5 was there before; only both together do not raise.
	old := tiny{name: "old", pattern: regexp.MustCompile(`late\(\w*\)\n`), insert: ".float()", before: 1}
	a := &tinies{rules: []tiny{half, old}, raise: func(s string) []string {
		if strings.Contains(s, ".half()") && !strings.Contains(s, ".float()") {
			return []string{"late"}
		}
		return nil
	}}
	f := analysis.File{
		Path: "a.py", Source: numbered(8, map[int]string{3: "a = bad(x)", 5: "b = late(a)"}),
		Hunks: []analysis.Hunk{{Start: 1, End: 6, New: []int{3}}},
	}
	plan := a.propose(t, Options{}, f)
	if len(plan.Comments) != 1 || plan.Comments[0].Suggestion == nil || plan.Comments[0].First != 3 || plan.Comments[0].Last != 5 || plan.Comments[0].Unproven != "" {
		t.Errorf("want one suggestion over lines 3 to 5: %+v", plan.Comments)
	}
}

func TestAFixBringsTheFixesThatItNeeds(t *testing.T) {
	// late(a) is wrong only once a is half, and then again only later(b).
	late := tiny{name: "late", pattern: regexp.MustCompile(`late\(\w*\)\n`), insert: ".float()", before: 1}
	later := tiny{name: "later", pattern: regexp.MustCompile(`later\(\w*\)\n`), insert: ".int()", before: 1}
	for _, c := range []struct {
		name   string
		nofix  bool
		button bool
	}{{"all can be mended", false, true}, {"the last cannot", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			rules := []tiny{half, late, later}
			rules[2].nofix = c.nofix
			a := &tinies{rules: rules}
			recheck := func(ctx context.Context, files []analysis.File) check.Report {
				r := a.recheck(ctx, files)
				r.Findings = slices.DeleteFunc(r.Findings, func(f analysis.Finding) bool {
					return f.Rule == "late" && !strings.Contains(files[0].Source, ".half()") ||
						f.Rule == "later" && !strings.Contains(files[0].Source, ".float()")
				})
				return r
			}
			source := numbered(9, map[int]string{2: "a = bad(x)", 4: "b = late(a)", 7: "c = later(b)"})
			f := whole(source)
			plan := Propose(t.Context(), []analysis.File{f}, recheck(t.Context(), []analysis.File{f}), Options{Recheck: recheck})
			if len(plan.Comments) != 1 || len(plan.Comments[0].Findings) != 1 {
				t.Fatalf("%+v", plan.Comments)
			}
			got := plan.Comments[0]
			if button := got.Suggestion.Safety == analysis.Safe; button != c.button {
				t.Fatalf("button %v, want %v: %q", button, c.button, got.Unproven)
			}
			if !c.button {
				return
			}
			if got.First != 2 || got.Last != 7 || len(got.Needs) != 2 || got.Needs[0].Start.Line != 4 || got.Needs[1].Start.Line != 7 {
				t.Errorf("lines %d-%d, needs %+v; want 2-7 with lines 4 and 7", got.First, got.Last, got.Needs)
			}
			mended, _, err := plan.Mend("a.py", source, "", false)
			want := numbered(9, map[int]string{2: "a = bad(x).half()", 4: "b = late(a).float()", 7: "c = later(b).int()"})
			if err != nil || mended != want {
				t.Errorf("mended %q, %v", mended, err)
			}
			if body := Markdown(got, MarkdownOptions{}); !strings.Contains(body, "lines 2, 4 and 7") || !strings.Contains(body, "- Line 7: ") {
				t.Errorf("the body does not explain the edits:\n%s", body)
			}
		})
	}
}

func TestPlanOrder(t *testing.T) {
	a := &tinies{rules: []tiny{
		{name: "low", pattern: regexp.MustCompile(`low\(\)`), severity: analysis.Low, sure: analysis.Certain, nofix: true},
		{name: "sure", pattern: regexp.MustCompile(`sure\(\)`), severity: analysis.High, sure: analysis.Certain, nofix: true},
		{name: "high", pattern: regexp.MustCompile(`high\(\)`), severity: analysis.High, sure: analysis.Likely, nofix: true},
		{name: "maybe", pattern: regexp.MustCompile(`maybe\(\)`), severity: analysis.High, sure: analysis.Possible, nofix: true},
	}}
	plan := a.propose(t, Options{},
		analysis.File{Path: "b.py", Source: "high()\nsure()\n", Whole: true},
		analysis.File{Path: "a.py", Source: "low()\nmaybe()\nz = high()\nhigh()\n", Whole: true})
	var got []string
	for _, c := range plan.Comments {
		got = append(got, fmt.Sprintf("%s:%d %s", c.Path, c.First, c.Findings[0].Rule))
	}
	if d := cmp.Diff([]string{"b.py:2 sure", "a.py:3 high", "a.py:4 high", "b.py:1 high", "a.py:1 low"}, got); d != "" {
		t.Error(d)
	}
	if len(plan.Possible) != 1 || plan.Possible[0].Findings[0].Rule != "maybe" {
		t.Errorf("possible: %+v", plan.Possible)
	}
}

func TestNothingIsSuggestedWithoutTime(t *testing.T) {
	a := &tinies{rules: []tiny{half}}
	f := whole("a = bad(x)\n")
	r := a.recheck(t.Context(), []analysis.File{f})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, opts := range map[string]Options{"cancelled": {Recheck: a.recheck}, "no analyser": {}} {
		plan := Propose(ctx, []analysis.File{f}, r, opts)
		if len(plan.Comments) != 1 || plan.Comments[0].Suggestion != nil || plan.Comments[0].Unproven == "" {
			t.Errorf("%s: %+v", name, plan.Comments)
		}
	}
}

func TestUnsafeAndDisplayAreNoButtons(t *testing.T) {
	for _, safety := range []analysis.Safety{analysis.Unsafe, analysis.Display} {
		rule := half
		rule.safety = safety
		a := &tinies{rules: []tiny{rule}}
		plan := a.propose(t, Options{}, whole("a = bad(x)\n"))
		if s := plan.Comments[0].Suggestion; s == nil || s.Safety != safety {
			t.Fatalf("%s: %+v", safety, s)
		}
		if got := Markdown(plan.Comments[0], MarkdownOptions{}); strings.Contains(got, "suggestion\n") || !strings.Contains(got, ".half()") {
			t.Errorf("%s: want code without a button:\n%s", safety, got)
		}
		_, n, _ := plan.Mend("a.py", "a = bad(x)\n", analysis.Likely, false)
		_, m, _ := plan.Mend("a.py", "a = bad(x)\n", analysis.Likely, true)
		if want := map[analysis.Safety]int{analysis.Unsafe: 1}[safety]; n != 0 || m != want {
			t.Errorf("%s: Mend applies %d, with unsafe %d", safety, n, m)
		}
	}
}

// TestPlanLaws builds random files of tiny mistakes that may need each other,
// and demands what every plan must hold.
func TestPlanLaws(t *testing.T) {
	statements := []string{"x = 1", "a = bad(x)", "b = one(x)", "c = two(x)", "d = one(x) + two(x)", "e = hopeless(x)", "f = (\n    one(x),\n    3)"}
	fixed := func(name string) *regexp.Regexp { return regexp.MustCompile(name + `\(x\)(?:[^.])`) }
	a := &tinies{
		rules: []tiny{
			half,
			{name: "one", pattern: fixed("one"), insert: ".half()", before: 1, severity: analysis.Medium},
			{name: "two", pattern: fixed("two"), insert: ".half()", before: 1, sure: analysis.Certain},
			{name: "hopeless", pattern: fixed("hopeless"), insert: "  # no", before: 1, sure: analysis.Possible},
		},
		// one and two must be mended in pairs.
		raise: func(s string) []string {
			if strings.Count(s, "one(x).half()") != strings.Count(s, "two(x).half()") {
				return []string{"pair"}
			}
			return nil
		},
	}
	rapid.Check(t, func(r *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom(statements), 1, 9).Draw(r, "lines")
		source := strings.Join(lines, "\n") + "\n"
		w := newText(source)
		cutAt := rapid.IntRange(1, w.count()).Draw(r, "cut")
		f := analysis.File{Path: "a.py", Source: source, Hunks: []analysis.Hunk{hunk(1, cutAt)}}
		if cutAt < w.count() {
			f.Hunks = append(f.Hunks, hunk(cutAt+1, w.count()))
		}
		report := a.recheck(context.Background(), []analysis.File{f})
		plan := Propose(context.Background(), []analysis.File{f}, report, Options{Recheck: a.recheck})

		// Every finding is said once.
		said := map[string]int{}
		for _, c := range plan.All() {
			for _, g := range c.Findings {
				said[fmt.Sprint(g.Rule, g.At)]++
			}
		}
		if len(said) != len(report.Findings) {
			r.Fatalf("%d of %d findings are said", len(said), len(report.Findings))
		}
		for k, n := range said {
			if n != 1 {
				r.Fatalf("finding %s is said %d times", k, n)
			}
		}
		// Buttons lie in one hunk each and do not overlap.
		var buttons []Comment
		for _, c := range plan.All() {
			if c.Suggestion == nil || c.Suggestion.Safety != analysis.Safe {
				continue
			}
			s := c.Suggestion
			sameHunk := s.Last <= cutAt || s.First > cutAt
			if !c.Anchored || !sameHunk || c.First != s.First || c.Last != s.Last {
				r.Fatalf("button on lines %d-%d is not in one hunk", s.First, s.Last)
			}
			for _, d := range buttons {
				if s.First <= d.Last && d.First <= s.Last {
					r.Fatalf("buttons %d-%d and %d-%d overlap", s.First, s.Last, d.First, d.Last)
				}
			}
			buttons = append(buttons, c)
			// Alone: the findings go, nothing comes, nothing raises.
			after := a.recheck(context.Background(), []analysis.File{whole(w.replaceLines(s.First, s.Last, s.Replacement))})
			if len(after.Findings) != len(report.Findings)-len(c.Findings) || len(after.Raises["a.py"]) > 0 {
				r.Fatalf("button on %d-%d leaves %d of %d findings, raises %v", s.First, s.Last, len(after.Findings), len(report.Findings), after.Raises)
			}
		}
		// All, from the last to the first as clicks would: the same as Mend.
		slices.SortFunc(buttons, func(c, d Comment) int { return d.First - c.First })
		clicked := source
		for _, c := range buttons {
			clicked = newText(clicked).replaceLines(c.First, c.Last, c.Suggestion.Replacement)
		}
		mended, n, err := plan.Mend("a.py", source, "", false)
		if err != nil || n != len(buttons) || mended != clicked {
			r.Fatalf("clicks give %q, Mend %q (%d of %d), %v", clicked, mended, n, len(buttons), err)
		}
		// A second look offers nothing for what was mended.
		again := whole(mended)
		second := a.recheck(context.Background(), []analysis.File{again})
		if len(second.Raises["a.py"]) > 0 {
			r.Fatalf("all together raise")
		}
		left := 0
		for _, c := range plan.All() {
			if c.Suggestion == nil || c.Suggestion.Safety != analysis.Safe {
				left += len(c.Findings)
			}
		}
		if len(second.Findings) != left {
			r.Fatalf("%d findings are left, want %d", len(second.Findings), left)
		}
	})
}
