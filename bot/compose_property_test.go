package bot_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/suggestions"
)

// drawFixture draws a pull request with up to 80 mistakes, some of which share a
// fingerprint, some outside the diff, and some texts too long for GitHub.
func drawFixture(t *rapid.T) fixture {
	paths := []string{"a.py", "pkg/b.py", "tests/t.py", "scripts/x.py", "gone.py"}
	f := fixture{config: bot.Config{Engine: "v1", Markdown: words, MaxComments: rapid.IntRange(0, 15).Draw(t, "cap")}}
	f.snapshot = bot.Snapshot{
		Job:   bot.Job{Repository: 7, Pull: 3},
		Owner: "o", Name: "n", Pull: 3,
		URL:   "https://github.com/o/n",
		Head:  strings.Repeat("a", 40),
		Draft: rapid.IntRange(0, 9).Draw(t, "draft") == 0,
	}
	for _, p := range paths[:4] {
		f.snapshot.Files = append(f.snapshot.Files, analysis.File{
			Path:  p,
			Hunks: []analysis.Hunk{{Start: 1, End: 40}, {Start: 60, End: 59}, {Start: 80, End: 99}},
		})
	}
	f.report = check.Report{Files: 4, Known: rapid.IntRange(0, 2).Draw(t, "known")}
	if rapid.IntRange(0, 5).Draw(t, "skip") == 0 {
		f.report.Skipped = []check.Skip{{Path: "z.py", Reason: "deep"}}
	}
	long := rapid.IntRange(0, 9).Draw(t, "long") == 0
	for i := range rapid.IntRange(0, 80).Draw(t, "n") {
		first := rapid.IntRange(1, 110).Draw(t, "first")
		message := rapid.StringN(0, 40, 200).Draw(t, "message")
		if long {
			message = strings.Repeat("ü` |\n", 4000) + message
		}
		finding := analysis.Finding{
			Rule:        "rule",
			Severity:    rapid.SampledFrom([]analysis.Severity{analysis.High, analysis.Medium, analysis.Low}).Draw(t, "severity"),
			Confidence:  rapid.SampledFrom([]analysis.Confidence{analysis.Certain, analysis.Likely, analysis.Possible}).Draw(t, "confidence"),
			Message:     message,
			Fingerprint: fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "fp")),
		}
		c := suggestions.Comment{
			Path:        rapid.SampledFrom(paths).Draw(t, "path"),
			First:       first,
			Last:        first + rapid.IntRange(0, 5).Draw(t, "more"),
			Anchored:    rapid.IntRange(0, 5).Draw(t, "anchored") > 0,
			Findings:    []analysis.Finding{finding},
			Fingerprint: finding.Fingerprint,
		}
		if i%7 == 0 {
			f.plan.Possible = append(f.plan.Possible, c)
		} else {
			f.plan.Comments = append(f.plan.Comments, c)
		}
	}
	return f
}

// TestComposeHolds checks what must be true of every review, and that a second
// look at a head whose threads hold the first one's comments posts nothing.
func TestComposeHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFixture(t)
		review := f.compose()
		most := f.config.MaxComments
		if most == 0 {
			most = bot.DefaultMaxComments
		}
		if len(review.Comments) > most {
			t.Fatalf("%d comments, the cap is %d", len(review.Comments), most)
		}
		if (review.Body == "") != (len(review.Comments) == 0) {
			t.Fatalf("%d comments with the body %q", len(review.Comments), review.Body)
		}
		if f.snapshot.Draft && len(review.Comments) > 0 {
			t.Fatal("comments on a draft")
		}
		for _, c := range review.Comments {
			first := c.Line
			if c.StartLine != 0 {
				first = c.StartLine
				if c.StartLine >= c.Line {
					t.Fatalf("start line %d does not precede line %d", c.StartLine, c.Line)
				}
			}
			if !(1 <= first && c.Line <= 40 || 80 <= first && c.Line <= 99) {
				t.Fatalf("a comment on lines %d to %d, outside the hunks", first, c.Line)
			}
			if marker, ok := bot.ParseMarker(c.Body); !ok || marker.Fingerprint != c.Fingerprint || marker.Head != f.snapshot.Head {
				t.Fatalf("marker of the body: %v, %v", marker, ok)
			}
			checkText(t, "comment", c.Body, bot.MaxBody)
		}
		run := review.Check
		checkText(t, "title", run.Title, bot.MaxTitle)
		checkText(t, "summary", run.Summary, bot.MaxSummary)
		if strings.Count(run.Summary, "<details>") != strings.Count(run.Summary, "</details>") {
			t.Fatalf("a fold is left open:\n%s", run.Summary)
		}
		if !strings.Contains(run.Summary, "**Looked at:**") {
			t.Fatalf("the summary does not say what was looked at:\n%s", run.Summary)
		}
		if len(run.Annotations) > 500 {
			t.Fatalf("%d annotations", len(run.Annotations))
		}
		posted := slices.ContainsFunc(f.plan.Comments, func(c suggestions.Comment) bool { return c.Confidence() != analysis.Possible })
		if want := !posted && len(f.report.Skipped) == 0; (run.Conclusion == "success") != want {
			t.Fatalf("conclusion %s", run.Conclusion)
		}

		// The second look.
		for _, c := range review.Comments {
			f.snapshot.Threads = append(f.snapshot.Threads, bot.Thread{Path: c.Path, Line: c.Line, Fingerprint: c.Fingerprint})
		}
		f.snapshot.CheckRuns = []bot.CheckRun{{
			ID: 5, Status: "completed", Conclusion: run.Conclusion, ExternalID: run.ExternalID,
			Head: f.snapshot.Head, Title: run.Title, Summary: run.Summary,
		}}
		again := f.compose()
		if len(again.Comments) > 0 {
			t.Fatalf("%d comments are posted again", len(again.Comments))
		}
		if !again.Check.Unchanged {
			t.Fatalf("the check run changed:\n%s\n%s\n---\n%s\n%s", run.Title, run.Summary, again.Check.Title, again.Check.Summary)
		}
		f.snapshot.Job.Rerun = true
		if f.compose().Check.Unchanged {
			t.Fatal("a person asked for a re-run and gets no answer")
		}
	})
}

func checkText(t *rapid.T, what, text string, limit int) {
	if len(text) > limit || !utf8.ValidString(text) {
		t.Fatalf("%s: %d bytes (at most %d), valid UTF-8 %v", what, len(text), limit, utf8.ValidString(text))
	}
}

// TestCut cuts Markdown at every length.
func TestCut(t *testing.T) {
	marker := bot.Marker{Fingerprint: "f", Head: "h"}.String()
	text := "Prose with ünïcode.\n\n<details><summary>Why</summary>\n\n1. one\n2. two\n\n</details>\n\n````suggestion\nx = `1`\n```\ny = 2\n````\n\nThe end.\n\n" + marker
	for limit := 120; limit <= len(text)+5; limit++ {
		got := bot.Cut(text, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("limit %d: %d bytes: %q", limit, len(got), got)
		}
		if n := strings.Count(got, "````"); n != 0 && n != 2 {
			t.Fatalf("limit %d: an open fence: %q", limit, got)
		}
		if strings.Contains(got, "````suggestion") && !strings.Contains(got, "y = 2\n````\n") {
			t.Fatalf("limit %d: a part of a suggestion: %q", limit, got)
		}
		if strings.Count(got, "<details>") != strings.Count(got, "</details>") {
			t.Fatalf("limit %d: an open fold: %q", limit, got)
		}
		if m, ok := bot.ParseMarker(got); !ok || m.Fingerprint != "f" {
			t.Fatalf("limit %d: the marker is lost: %q", limit, got)
		}
		if limit >= len(text) && got != text {
			t.Fatalf("limit %d: cut without need", limit)
		}
	}
}

// TestMarker checks that a marker survives any value and cannot be forged by
// quoted code.
func TestMarker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := bot.Marker{
			Fingerprint: rapid.String().Draw(t, "fp"),
			Rule:        rapid.String().Draw(t, "rule"),
			Head:        rapid.String().Draw(t, "head"),
		}
		line := m.String()
		if strings.ContainsAny(line, "\n\r") || strings.Count(line, "-->") != 1 {
			t.Fatalf("marker %q", line)
		}
		if got, ok := bot.ParseMarker("text\n\n" + line + "\r\n"); !ok || !cmp.Equal(got, m) {
			t.Fatalf("ParseMarker(%q) = %v, %v", line, got, ok)
		}
		if got, ok := bot.ParseMarker(line + "\nmore"); ok {
			t.Fatalf("quoted marker taken: %v", got)
		}
	})
}
