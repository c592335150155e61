package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/suggestions"
)

var update = flag.Bool("update", false, "rewrite golden files")

const lift = `class Lift(nn.Module):
    def forward(self, points, extrinsics, intrinsics):
        ones = torch.ones(points.shape[0], 1, device=points.device)
        homo = torch.cat([points, ones], dim=-1)
        cam = homo @ extrinsics.T
        pixels = cam @ intrinsics.T
        return pixels[:, :2] / pixels[:, 2:]

    def save(self, path, feats):
        np.save(path, feats.cpu().numpy())
`

// found returns a finding on the only place of what in lift.
func found(rule, what, message string, sure analysis.Confidence) analysis.Finding {
	at := strings.Index(lift, what)
	before := lift[:at]
	line := strings.Count(before, "\n") + 1
	column := at - strings.LastIndex(before, "\n")
	return analysis.Finding{
		Rule: rule, Severity: analysis.High, Confidence: sure, Path: "models/lift.py", Scope: "Lift.forward",
		At:    python.Span{Start: uint32(at), End: uint32(at + len(what))},
		Start: analysis.Position{Line: line, Column: column}, End: analysis.Position{Line: line, Column: column + len(what)},
		Message: message, Fingerprint: rule + "/" + what,
	}
}

// example is a chain of three findings with one suggestion, a finding without
// one, and a possible finding.
func example() Input {
	ones := found("factory-without-dtype", "torch.ones(points.shape[0], 1, device=points.device)",
		"`ones` takes the device of `points` but not its dtype: **float32**. With bfloat16 points PyTorch stops at line 5: `expected m1 and m2 to have the same dtype`.\n\nThe camera must follow, too.", analysis.Likely)
	ones.Because = []analysis.Reason{
		{Path: "train.py", Line: 88, Text: "`model.to(torch.bfloat16)`"},
		{Path: "models/lift.py", Line: 3, Text: "`torch.ones` without `dtype` is float32"},
	}
	ones.Forms = []analysis.Form{{Title: "From the points themselves", First: 3, Last: 3, Lines: []string{"        ones = torch.ones_like(points[:, :1])"}}}
	camera := found("matmul-mixed-dtype", "homo @ extrinsics.T", "`extrinsics` is float32.", analysis.Certain)
	camera.Because = ones.Because[:1]
	save := found("bfloat16-to-numpy", "feats.cpu().numpy()", "`feats` is bfloat16, which NumPy lacks: `Got unsupported ScalarType BFloat16`.", analysis.Certain)
	maybe := found("promotion", "cam @ intrinsics.T", "May promote.", analysis.Possible)
	maybe.Severity = analysis.Low
	lines := strings.Split(lift, "\n")
	return Input{
		Files: []analysis.File{{Path: "models/lift.py", Source: lift, Whole: true}},
		Report: check.Report{
			Findings: []analysis.Finding{save, ones, camera, maybe}, Known: 2, Suppressed: 1, Files: 12,
			Skipped: []check.Skip{{Path: "big\x1b[31m.py", Reason: "python source is too large"}},
		},
		Plan: suggestions.Plan{
			Comments: []suggestions.Comment{
				{
					Path: "models/lift.py", First: 3, Last: 5, Anchored: true, Findings: []analysis.Finding{ones, camera}, Forms: ones.Forms,
					Suggestion: &suggestions.Suggestion{
						ID: "s1", Safety: analysis.Safe, First: 3, Last: 5, Old: lines[2:5],
						Replacement: []string{
							"        ones = torch.ones(points.shape[0], 1, device=points.device, dtype=points.dtype)",
							lines[3],
							"        cam = homo @ extrinsics.to(homo.dtype).T",
						},
					},
				},
				{Path: "models/lift.py", First: 10, Last: 10, Anchored: true, Findings: []analysis.Finding{save}, Unproven: "it does not hold together with the other suggestions"},
			},
			Possible: []suggestions.Comment{{
				Path: "models/lift.py", First: 6, Last: 6, Findings: []analysis.Finding{maybe},
				Suggestion: &suggestions.Suggestion{ID: "s2", Safety: analysis.Display, First: 6, Last: 6, Old: lines[5:6]},
				Unproven:   "the diff does not show line 6",
			}},
		},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	const path = "testdata/reports.txtar"
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for i < len(a.Files) && a.Files[i].Name != name {
		i++
	}
	if *update {
		if i == len(a.Files) {
			a.Files = append(a.Files, txtar.File{Name: name})
		}
		a.Files[i].Data = got
		if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if i == len(a.Files) {
		t.Fatalf("%s has no section %q; run with -update", path, name)
	}
	if d := cmp.Diff(string(a.Files[i].Data), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestText(t *testing.T) {
	least := example()
	least.Least = analysis.Likely
	copied := example()
	copied.Report = check.Report{Files: 1, Findings: copied.Report.Findings[:1]}
	one := copied.Plan.Comments[1]
	one.Unproven = ""
	one.Copies = []suggestions.Comment{one}
	copied.Plan = suggestions.Plan{Comments: []suggestions.Comment{one}}
	for name, in := range map[string]Input{
		"all.txt": example(), "likely.txt": least, "copies.txt": copied,
		"clean.txt": {Report: check.Report{Files: 1, Known: 4}},
	} {
		var b bytes.Buffer
		if err := Text(&b, in, Never); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

func TestColor(t *testing.T) {
	for _, c := range []struct {
		color   Color
		noColor string
		want    bool
	}{{Always, "", true}, {Always, "1", true}, {Never, "", false}, {Auto, "", false}, {Auto, "1", false}} {
		t.Setenv("NO_COLOR", c.noColor)
		var b bytes.Buffer
		if err := Text(&b, example(), c.color); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "\x1b["); got != c.want {
			t.Errorf("%s with NO_COLOR=%q: colours %v, want %v", c.color, c.noColor, got, c.want)
		}
		if strings.Contains(b.String(), "big\x1b") {
			t.Error("an escape sequence from a path reaches the terminal")
		}
	}
	if _, err := ParseColor("sometimes"); err == nil {
		t.Error("ParseColor accepts anything")
	}
}

func TestPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"`a*b*c` and **bold** and [words](http://x/y)": "`a*b*c` and bold and words",
		"`__init__` is not _emphasis_, `x_y_z`":        "`__init__` is not emphasis, `x_y_z`",
		"one\ntwo\n\nthree":                            "one two\n\nthree",
		"snake_case_name 2 * 3 * 4":                    "snake_case_name 2 * 3 * 4",
		"bell\a and \u202eright":                       "bell<0007> and <202E>right",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	golden(t, "all.json", b.Bytes())

	var d struct {
		Findings []struct {
			Rule       string
			Start, End struct{ Line, Column int }
			Suggestion *struct{ ID string }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	line := strings.Split(lift, "\n")[4]
	for _, f := range d.Findings {
		switch f.Rule {
		case "matmul-mixed-dtype":
			if got := line[f.Start.Column-1 : f.End.Column-1]; got != "homo @ extrinsics.T" {
				t.Errorf("the columns say %q", got)
			}
			fallthrough
		case "factory-without-dtype":
			if f.Suggestion == nil || f.Suggestion.ID != "s1" {
				t.Errorf("%s: suggestion %v, want s1 for both findings of the edit", f.Rule, f.Suggestion)
			}
		case "bfloat16-to-numpy":
			if f.Suggestion != nil {
				t.Error("a suggestion out of nothing")
			}
		}
	}
}

func TestJSONListsAreNeverNull(t *testing.T) {
	var b bytes.Buffer
	in := example()
	in.Report.Skipped, in.Plan = nil, suggestions.Plan{}
	if err := JSON(&b, in); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "null"); got != 4 {
		t.Errorf("%d nulls, want 4: the suggestions alone", got)
	}
	b.Reset()
	if err := JSON(&b, Input{}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"version\": 1,\n  \"findings\": [],\n  \"files\": 0,\n  \"skipped\": []\n}\n"; b.String() != want {
		t.Errorf("got %s", b.String())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteErrorsAreReported(t *testing.T) {
	for name, write := range map[string]func(io.Writer, Input) error{
		"text": func(w io.Writer, in Input) error { return Text(w, in, Never) },
		"json": JSON, "sarif": SARIF, "rdjson": RDJSON, "github": GitHub,
	} {
		if write(broken{}, example()) == nil {
			t.Errorf("%s: a broken pipe goes unnoticed", name)
		}
	}
}
