package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/suggestions"
)

var updateDocs = flag.Bool("docs", false, "rewrite the parts of README.md that are made from the code")

// made matches a part of README.md that is made from the code.
var made = regexp.MustCompile(`(?s)(<!-- made: (\w+) -->\n).*?(<!-- end -->)`)

// TestReadme checks that the parts of README.md that are made from the code are
// what the code gives now.
func TestReadme(t *testing.T) {
	parts := map[string]func(*testing.T) string{
		"comment": readmeComment, "rules": readmeRules, "check": readmeCheck, "environment": readmeEnvironment,
	}
	file := filepath.Join("..", "..", "README.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	fresh := made.ReplaceAllStringFunc(string(text), func(part string) string {
		m := made.FindStringSubmatch(part)
		write := parts[m[2]]
		if write == nil {
			t.Fatalf("README.md has a part %q that nothing makes", m[2])
		}
		seen++
		return m[1] + write(t) + m[3]
	})
	if seen != len(parts) {
		t.Errorf("%d parts of README.md are made, want %d", seen, len(parts))
	}
	if *updateDocs && fresh != string(text) {
		if err := os.WriteFile(file, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(fresh, string(text)); d != "" {
		t.Errorf("README.md is stale; run: go test ./cmd/dtypebot -run TestReadme -docs (-want +got)\n%s", d)
	}
}

// smallPull is the project of the README's examples.
var smallPull = filepath.Join("..", "..", "testdata", "small_pull", "head")

func readmeRules(*testing.T) string {
	var b strings.Builder
	b.WriteString("| rule | severity | |\n|---|---|---|\n")
	for _, r := range rules.All() {
		fmt.Fprintf(&b, "| [`%s`](analysis/rules/doc/%s.md) | %s | %s%s |\n", r.Name, r.Name, r.Severity, ruleTitle(r), offMark(r))
	}
	return b.String()
}

// readmeComment is the comment that GitHub gets, as a quotation.
func readmeComment(t *testing.T) string {
	var files []analysis.File
	for _, name := range []string{"model.py", "train.py"} {
		text, err := os.ReadFile(filepath.Join(smallPull, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, analysis.File{Path: name, Source: string(text), Whole: true})
	}
	_, plan, err := analyse(context.Background(), files, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Comments) != 1 {
		t.Fatalf("%d comments on small_pull, want 1", len(plan.Comments))
	}
	var b strings.Builder
	for line := range strings.Lines(suggestions.Markdown(plan.Comments[0], suggestions.MarkdownOptions{})) {
		b.WriteString(strings.TrimRight("> "+line, " \n") + "\n")
	}
	return b.String()
}

// readmeCheck is what check prints.
func readmeCheck(t *testing.T) string {
	out, err := runVerb(t, "check", "--color", "never", "--root", smallPull, filepath.Join(smallPull, "model.py"), filepath.Join(smallPull, "train.py"))
	var code exitCode
	if !errors.As(err, &code) || code != 1 {
		t.Fatalf("check of small_pull: %v, want exit status 1", err)
	}
	return "```\n$ dtypebot check model.py train.py\n" + out + "```\n"
}

func readmeEnvironment(*testing.T) string {
	var b strings.Builder
	b.WriteString("| name | meaning | default |\n|---|---|---|\n")
	for field := range reflect.TypeFor[environment]().Fields() {
		name, def, _ := strings.Cut(field.Tag.Get("env"), ", default=")
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, field.Tag.Get("about"), def)
	}
	return b.String()
}

// TestDesign checks that the decisions are numbered, short and whole.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "DESIGN.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n## ")[1:]
	last := 0
	for _, s := range sections {
		title, body, _ := strings.Cut(s, "\n")
		// A number stays a decision's own, so there may be gaps.
		number, _, _ := strings.Cut(title, ". ")
		n, err := strconv.Atoi(number)
		if err != nil || n <= last {
			t.Errorf("%q stands behind section %d", title, last)
		}
		last = n
		if n := strings.Count(strings.TrimSpace(body), "\n") + 1; n > 10 {
			t.Errorf("%q has %d lines, at most 10 are read", title, n)
		}
		at := -1
		for _, part := range []string{"\nDecided: ", "\nBecause: ", "\nInstead of: ", "\nRevisit when: "} {
			next := strings.Index(body, part)
			if next <= at {
				t.Errorf("%q has no %q in its place", title, strings.TrimSpace(part))
			}
			at = next
		}
	}
	if len(sections) < 16 {
		t.Errorf("%d decisions", len(sections))
	}
}

// TestLinks checks that the files that the documents link to exist.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, doc := range []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md"} {
		file := filepath.Join("..", "..", filepath.FromSlash(doc))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
}

// A manifest is the part of a GitHub App manifest that matters here.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
type manifest struct {
	Name               string            `json:"name"`
	URL                string            `json:"url"`
	Description        string            `json:"description"`
	Public             bool              `json:"public"`
	HookAttributes     map[string]any    `json:"hook_attributes"`
	DefaultEvents      []string          `json:"default_events"`
	DefaultPermissions map[string]string `json:"default_permissions"`
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var m manifest
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManifest checks that the manifest asks for what it says and nothing more,
// and that every event comes with a permission that GitHub demands for it. That
// it asks for enough is checked by the tests of serve, whose App is made of it.
func TestManifest(t *testing.T) {
	m := readManifest(t)
	want := map[string]string{
		"metadata": "read", "contents": "read", "merge_queues": "read", "issues": "read", "pull_requests": "write", "checks": "write",
	}
	if d := cmp.Diff(want, m.DefaultPermissions); d != "" {
		t.Errorf("permissions (-want +got):\n%s", d)
	}
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads
	needs := map[string]string{
		"pull_request": "pull_requests", "check_run": "checks", "check_suite": "checks", "issue_comment": "issues",
		"pull_request_review_thread": "pull_requests", "merge_group": "merge_queues", "push": "contents", "repository": "metadata",
	}
	for _, e := range m.DefaultEvents {
		if p, ok := needs[e]; !ok || m.DefaultPermissions[p] == "" {
			t.Errorf("event %s needs permission %q", e, p)
		}
	}
	if len(m.DefaultEvents) != len(needs) {
		t.Errorf("events %v, want those of %v", m.DefaultEvents, needs)
	}
	for _, e := range []string{"pull_request", "check_run", "check_suite"} { // what bot/webhook makes jobs of
		if !slices.Contains(m.DefaultEvents, e) {
			t.Errorf("the manifest lacks the event %s", e)
		}
	}
	if m.Public || !strings.HasSuffix(fmt.Sprint(m.HookAttributes["url"]), "/webhook") {
		t.Errorf("public %v, hook %v", m.Public, m.HookAttributes)
	}
}

// TestDeployEnvironment checks that the files under deploy and the Dockerfile
// set only variables that serve reads.
func TestDeployEnvironment(t *testing.T) {
	known := map[string]bool{}
	for field := range reflect.TypeFor[environment]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		known[name] = true
	}
	set := regexp.MustCompile(`(?m)^(?:ENV |Environment=|-e )?([A-Z][A-Z_]+)=`)
	for _, name := range []string{"Dockerfile", "deploy/dtypebot.service", "deploy/README.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		found := set.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s sets no variable", name)
		}
		for _, m := range found {
			if !known[m[1]] {
				t.Errorf("%s sets %s, which serve does not read", name, m[1])
			}
		}
	}
	for _, name := range []string{"Dockerfile", ".ci/run"} {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "deploy/build ") {
			t.Errorf("%s does not build with deploy/build", name)
		}
	}
}

// TestDeployNames checks that the tests which the pages on security and
// reliability name exist.
func TestDeployNames(t *testing.T) {
	tests := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(t `)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"SECURITY.md", "RELIABILITY.md"} {
		text, err := os.ReadFile(filepath.Join(root, "deploy", page))
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1)
		if len(named) < 10 {
			t.Errorf("%s names only %q", page, named)
		}
		for _, name := range named {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}
