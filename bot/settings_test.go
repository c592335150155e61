package bot_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
)

// exampleSettings is the example of README.md; a test compares them.
const exampleSettings = `include = ["src/", "*.py"]          # what to look at; without it, every Python file
exclude = ["**/legacy/**", "vendor/"] # patterns without a slash match at any depth
min-confidence = "certain"           # likely or certain: what becomes a comment or an annotation
comments = "check-only"              # review, or check-only: annotations and no comments
max-comments = 5                     # of one head; the rest is annotated (default 10)
drafts = "review"                    # check: annotations; review: as any other; skip: nothing
skip-labels = ["no dtype review"]    # a pull request with one of them is not looked at
review-labels = ["ready"]            # if given, only pull requests with one of them are
fail-on = "high"                     # never, high, medium or low: what fails the check (default never)
compute-dtype = "bfloat16"           # what models run in, when the code does not show it
torch-version = "2.4"                # else the requirements of the repository tell  
geometry = "float32"                 # cast, or float32: which form of a fix is the suggestion

[rules]
positions-in-half = "off"
clip-before-unscale = "on"           # a preview
cast-without-effect = "low"          # another severity
`

func TestReadmeSettings(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```toml\n"+exampleSettings+"```\n") {
		t.Error("the example of README.md is another than the one that is tested")
	}
}

func TestReadSettings(t *testing.T) {
	want := bot.Settings{
		Include: []string{"src/", "*.py"}, Exclude: []string{"**/legacy/**", "vendor/"},
		MinConfidence: analysis.Certain, CheckOnly: true, MaxComments: 5, Drafts: bot.DraftsReview,
		SkipLabels: []string{"no dtype review"}, ReviewLabels: []string{"ready"}, FailOn: analysis.High,
		Tuning: check.Tuning{
			Rules:   map[string]string{"positions-in-half": "off", "clip-before-unscale": "on", "cast-without-effect": "low"},
			Compute: "bfloat16", Torch: "2.4", Geometry: "float32",
			Where: analysis.Reason{Path: "dtypebot.toml", Line: 10, Text: "models run in bfloat16 here"},
		},
	}
	got, faults := bot.ReadSettings(bot.SettingsFile{Name: "dtypebot.toml", Text: exampleSettings})
	if diff := cmp.Diff(want, got); diff != "" || len(faults) > 0 {
		t.Errorf("%v\n%s", faults, diff)
	}
	// An owner's defaults hold where the repository says nothing.
	got, _ = bot.ReadSettings(
		bot.SettingsFile{Name: ".github: dtypebot.toml", Text: exampleSettings},
		bot.SettingsFile{Name: "pyproject.toml", Pyproject: true, Text: "[tool.dtypebot]\nmax-comments = 3\nfail-on = \"never\"\nrules = { positions-in-half = \"on\" }\n"},
	)
	want.MaxComments, want.FailOn = 3, ""
	want.Tuning.Rules["positions-in-half"] = "on"
	want.Tuning.Where.Path = ".github: dtypebot.toml"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is wrong is told with its line, and the rest holds.
func TestSettingsFaults(t *testing.T) {
	pyproject := func(s string) bot.SettingsFile {
		return bot.SettingsFile{Name: "pyproject.toml", Text: s, Pyproject: true}
	}
	own := func(s string) bot.SettingsFile { return bot.SettingsFile{Name: "dtypebot.toml", Text: s} }
	for _, test := range []struct {
		file bot.SettingsFile
		want []string
		max  int
	}{
		{own("# x\nmax_comments = 3\n\nmax-comments = 4\n"), []string{`dtypebot.toml:2: unknown key "max_comments"; did you mean "max-comments"?`}, 4},
		{own("max-comments = 4\n[rules]\nno-such = \"off\"\nCast_without_effect = \"off\"\n"), []string{
			`dtypebot.toml:3: unknown rule "no-such"`,
			`dtypebot.toml:4: unknown rule "Cast_without_effect"; did you mean "cast-without-effect"?`,
		}, 4},
		{own("[rules]\ncast-without-effect = false\n"), []string{`dtypebot.toml:2: rules.cast-without-effect: want "on", "off", "high", "medium" or "low"`}, 0},
		{own("rules = 3\n"), []string{`dtypebot.toml:1: rules: want a table`}, 0},
		{own("max-comments = 0\n"), []string{`dtypebot.toml:1: max-comments: want a number, 1 or more`}, 0},
		{own("exclude = [\"a[\"]\nfail-on = \"all\"\n"), []string{`dtypebot.toml:1: exclude: "a[" is not a pattern`, `dtypebot.toml:2: fail-on: want "never", "high", "medium" or "low"`}, 0},
		{own("exclude = \"a\"\ntorch-version = 2.4\n"), []string{`dtypebot.toml:1: exclude: want a list of texts`, `dtypebot.toml:2: torch-version: want a text like "2.4"`}, 0},
		{own("max-comments = 4\nexclude = [\n"), []string{"dtypebot.toml:2: not read: array is incomplete"}, 0},
		{pyproject("[project]\nname = \"x\"\n[tool.dtypebot]\nmax-comments = 4\nspeed = 1\n[tool.dtypebot.rules]\nx = \"off\"\n"), []string{
			`pyproject.toml:5: unknown key "speed"`, `pyproject.toml:7: unknown rule "x"`,
		}, 4},
		{pyproject("tool.dtypebot.max-comments = 4\ntool.dtypebot.speed = 4\n"), []string{`pyproject.toml:2: unknown key "speed"`}, 4},
		{pyproject("[tool]\ndtypebot = 3\n"), []string{`pyproject.toml: not read: tool.dtypebot is not a table`}, 0},
		{pyproject("[tool.black]\nline = 3\n"), nil, 0},
		{own(""), nil, 0},
	} {
		s, faults := bot.ReadSettings(test.file)
		var got []string
		for _, f := range faults {
			got = append(got, f.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" || s.MaxComments != test.max {
			t.Errorf("%q: %d comments\n%s", test.file.Text, s.MaxComments, diff)
		}
	}
	if pyproject("# dtypebot is elsewhere\n[tool.black]\n").Has() || !pyproject("[tool.dtypebot]\n").Has() || own(" \n").Has() {
		t.Error("Has")
	}
}

func TestWants(t *testing.T) {
	s := bot.Settings{Include: []string{"src/", "*.py"}, Exclude: []string{"**/legacy/**", "vendor/", "gen_*.py"}}
	for path, want := range map[string]bool{
		"src/a.py": true, "a.py": true, "x/y.py": true, "src/legacy/a.py": false, "legacy/a.py": false, "vendor/a.py": false, "x/vendor/a.py": false,
		"vendored.py": true, "src/gen_a.py": false, "notes.txt": false,
	} {
		if got := s.Wants(path); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
	if !(bot.Settings{}).Wants("any.py") {
		t.Error("without patterns")
	}
}

func FuzzReadSettings(f *testing.F) {
	f.Add(exampleSettings)
	f.Add("[tool.dtypebot]\nrules.x = 'off'\n[[a]]\nb={c=1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, pyproject := range []bool{false, true} {
			file := bot.SettingsFile{Name: "f", Text: text, Pyproject: pyproject}
			_ = file.Has()
			a, faults := bot.ReadSettings(file)
			b, again := bot.ReadSettings(file)
			if !cmp.Equal(a, b) || !cmp.Equal(faults, again) {
				t.Fatal("two answers to one question")
			}
		}
	})
}
