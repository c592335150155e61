package bot_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/suggestions"
)

// nasty are pieces of text that do something in Markdown on GitHub.
var nasty = []string{
	"@octocat", "@org/team", "a@b.co", "<img src=x>", "<script>", "</details>", "<!--", "-->", "[a](https://evil.example)",
	"![a](https://evil.example/x.png)", "https://evil.example", "www.evil.example", "ftp://evil.example", "http://evil.example",
	"`", "``", "```", "|", "\\", "\\|", "\\`", "#1", "org/repo#2", "*", "**", "_", "~~", "&lt;", "&#64;", "$x$", "[a]: https://evil.example",
	"[^1]", "<https://evil.example>", "mailto:a@b.co", "- [ ] ", "\u202e", "\u200b", "\x00", "\xff", " ", "x", "word", "é",
}

func drawNasty(t *rapid.T, label string, breaks bool) string {
	pieces := nasty
	if breaks {
		pieces = append(append([]string(nil), nasty...), "\n", "\r\n", "\n# ", "\n> ", "\n- ", "\n    ", "\n```\n", "\n|a|b|\n|-|-|\n")
	}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, label), "")
}

var (
	tag     = regexp.MustCompile(`</?([a-zA-Z0-9]+)[^>]*>|<!--.*?-->`)
	href    = regexp.MustCompile(`href="([^"]*)"`)
	inCode  = regexp.MustCompile(`(?s)<code>.*?</code>`)
	mention = regexp.MustCompile(`(?:^|[^\w])@[A-Za-z0-9]`)
	issue   = regexp.MustCompile(`#[0-9]`)
)

// TestSummaryIsInert renders check runs of hostile repositories as GitHub does
// and looks for anything but text.
func TestSummaryIsInert(t *testing.T) {
	allowed := map[string]bool{}
	for _, name := range strings.Fields("p table thead tbody tr th td code strong em del details summary ul li a") {
		allowed[name] = true
	}
	renderer := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	rapid.Check(t, func(t *rapid.T) {
		path := drawNasty(t, "path", true) + ".py"
		message := drawNasty(t, "message", true)
		finding := analysis.Finding{
			Rule: "rule", Severity: analysis.High, Confidence: analysis.Certain, Message: message, Fingerprint: drawNasty(t, "fp", true),
		}
		c := suggestions.Comment{Path: path, First: 1, Last: 1, Findings: []analysis.Finding{finding}, Fingerprint: finding.Fingerprint}
		snapshot := bot.Snapshot{
			URL: "https://github.com/o/n", Head: strings.Repeat("a", 40), Changed: 2,
			Title: drawNasty(t, "title", true), Author: drawNasty(t, "author", true),
			Skipped: []check.Skip{{Path: drawNasty(t, "skipped", true), Reason: drawNasty(t, "reason", true)}},
		}
		run := bot.Compose(snapshot, check.Report{Files: 1}, suggestions.Plan{
			Comments: []suggestions.Comment{c}, Possible: []suggestions.Comment{c},
		}, bot.Config{Engine: "v1"}).Check
		var out bytes.Buffer
		if err := renderer.Convert([]byte(run.Summary), &out); err != nil {
			t.Fatal(err)
		}
		page := out.String()
		fail := func(what string) { t.Fatalf("%s\n--- Markdown\n%s\n--- HTML\n%s", what, run.Summary, page) }
		for _, m := range tag.FindAllStringSubmatch(page, -1) {
			if !allowed[strings.ToLower(m[1])] {
				fail(fmt.Sprintf("the tag %s", m[0]))
			}
		}
		for _, m := range href.FindAllStringSubmatch(page, -1) {
			if !strings.HasPrefix(m[1], "https://github.com/o/n/blob/") {
				fail("a link to " + m[1])
			}
		}
		text := tag.ReplaceAllString(inCode.ReplaceAllString(page, "C"), "")
		if mention.MatchString(text) {
			fail("a mention")
		}
		if issue.MatchString(text) {
			fail("an issue number")
		}
		if n := strings.Count(page, "<tr>"); n != 2 {
			fail(fmt.Sprintf("%d rows of a table of 2", n))
		}
		if n := strings.Count(page, "<td>"); n != 4 {
			fail(fmt.Sprintf("%d cells", n))
		}
		if strings.Count(page, "<details>") != 1 || strings.Count(page, "</details>") != 1 {
			fail("a broken fold")
		}
	})
}
