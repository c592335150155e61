package bot_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/suggestions"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata")

// words renders comments without the words of package suggestions, so that the
// fixtures change with Compose alone.
func words(c suggestions.Comment, link func(string, int) string) string {
	body := c.Findings[0].Message + "\n"
	if c.Suggestion != nil {
		body += "```suggestion\n" + strings.Join(c.Suggestion.Replacement, "\n") + "\n```\n"
	}
	for _, r := range c.Findings[0].Because {
		body += fmt.Sprintf("\n- %s (%s)", r.Text, link(r.Path, r.Line))
	}
	return body
}

type fixture struct {
	snapshot bot.Snapshot
	report   check.Report
	plan     suggestions.Plan
	config   bot.Config
}

func (f fixture) compose() bot.Review {
	return bot.Compose(f.snapshot, f.report, f.plan, f.config)
}

func readFixture(t *testing.T, archive *txtar.Archive) fixture {
	t.Helper()
	f := fixture{config: bot.Config{Engine: "v0.1.0", Markdown: words}}
	into := map[string]any{"snapshot.json": &f.snapshot, "report.json": &f.report, "plan.json": &f.plan}
	for _, file := range archive.Files {
		target, ok := into[file.Name]
		if !ok {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(file.Data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(target); err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
	}
	return f
}

// page is everything that a person reads, in the order of the page.
func page(r bot.Review) string {
	var b strings.Builder
	if r.Body != "" {
		fmt.Fprintf(&b, "=== review\n%s\n", r.Body)
	}
	for _, c := range r.Comments {
		fmt.Fprintf(&b, "=== comment on %q, lines %d to %d\n%s\n", c.Path, c.StartLine, c.Line, c.Body)
	}
	fmt.Fprintf(&b, "=== check run: %s, %s\n%s", r.Check.Conclusion, r.Check.Title, r.Check.Summary)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// data is the review without the texts that page shows.
func data(t *testing.T, r bot.Review) string {
	t.Helper()
	r.Body, r.Check.Summary = "", ""
	comments := append([]bot.ReviewComment(nil), r.Comments...)
	for i := range comments {
		comments[i].Body = ""
	}
	r.Comments = comments
	out, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

func TestCompose(t *testing.T) {
	paths, err := filepath.Glob("testdata/compose/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := readFixture(t, archive)
			review := f.compose()
			if diff := cmp.Diff(review, f.compose()); diff != "" {
				t.Errorf("Compose gives two answers to one question:\n%s", diff)
			}
			want := map[string]string{"review.json": data(t, review), "review.md": page(review)}
			if *update {
				rewrite(t, path, archive, want)
				return
			}
			seen := 0
			for _, file := range archive.Files {
				expected, ok := want[file.Name]
				if !ok {
					continue
				}
				seen++
				if diff := cmp.Diff(string(file.Data), expected); diff != "" {
					t.Errorf("%s (-want +got):\n%s", file.Name, diff)
				}
			}
			if seen != len(want) {
				t.Errorf("%d of %d expected sections; run go test ./bot -update and read them", seen, len(want))
			}
		})
	}
}

func rewrite(t *testing.T, path string, archive *txtar.Archive, want map[string]string) {
	t.Helper()
	out := &txtar.Archive{Comment: archive.Comment}
	for _, file := range archive.Files {
		if _, ok := want[file.Name]; !ok {
			out.Files = append(out.Files, file)
		}
	}
	for _, name := range []string{"review.json", "review.md"} {
		out.Files = append(out.Files, txtar.File{Name: name, Data: []byte(want[name])})
	}
	if err := os.WriteFile(path, txtar.Format(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
