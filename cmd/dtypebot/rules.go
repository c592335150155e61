package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/agnivade/levenshtein"
	"github.com/muesli/termenv"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/suggestions/report"
)

func newRules() *cobra.Command {
	var pages, color string
	cmd := &cobra.Command{
		Use:   "rules [RULE]",
		Short: "Show the catalogue, or one rule with its example and fix",
		Long: `Rules lists the rules with their severity. With RULE it shows that rule: what it
finds and why, which evidence it needs, an example with its fix as a diff, and
code about which it is silent. The examples are the rule's own tests.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return ruleNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			when, err := report.ParseColor(color)
			if err != nil {
				return err
			}
			switch {
			case pages != "" && len(args) > 0:
				return errors.New("--pages writes all rules; name none")
			case pages != "":
				return writePages(pages)
			case len(args) == 0:
				return writeCatalogue(cmd.OutOrStdout())
			}
			page, err := newRulePage(args[0])
			if err != nil {
				return err
			}
			return page.text(cmd.OutOrStdout(), when)
		},
	}
	cmd.Flags().StringVar(&color, "color", "auto", "auto, always or never")
	cmd.Flags().StringVar(&pages, "pages", "", "write every rule's page as Markdown into this folder")
	_ = cmd.Flags().MarkHidden("pages") // it exists: the line above makes it
	return cmd
}

func ruleNames() []string {
	var names []string
	for _, r := range rules.All() {
		names = append(names, r.Name)
	}
	return names
}

// ruleTitle is the first line of a rule's text.
func ruleTitle(r *analysis.Rule) string {
	title, _, _ := strings.Cut(r.Doc, "\n")
	return title
}

// offMark says of a rule that it is off by default.
func offMark(r *analysis.Rule) string {
	if r.Preview {
		return " (preview, off by default)"
	}
	return ""
}

func writeCatalogue(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rules.All() {
		fmt.Fprintf(t, "%s\t%s\t%s%s\n", r.Name, r.Severity, ruleTitle(r), offMark(r))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

// A rulePage is what there is to show of one rule.
type rulePage struct {
	rule    *analysis.Rule
	about   string   // the rule's text without its title
	example []string // lines of a diff: " ", "-" or "+" and the line
	silent  string   // code about which the rule says nothing
}

// newRulePage returns the page of a rule. For an unknown name the error names
// those that are near.
func newRulePage(name string) (rulePage, error) {
	r := rules.ByName(name)
	if r == nil {
		return rulePage{}, fmt.Errorf("there is no rule %q; %s", name, nearRules(name))
	}
	data, ok := rules.Fixture(name)
	if !ok {
		return rulePage{}, fmt.Errorf("rule %s has no fixture", name)
	}
	p := rulePage{rule: r}
	_, about, _ := strings.Cut(r.Doc, "\n")
	p.about = strings.TrimSpace(about)
	if r.Preview {
		p.about += "\n\nOff by default: it made no comment yet on the real fixes, the ordinary commits and\nthe packages that it was run over. " + r.Name + " = \"on\" under [rules] in\ndtypebot.toml switches it on."
	}
	var bad, mended string
	for _, f := range txtar.Parse(data).Files {
		text := withoutMarks(string(f.Data))
		switch {
		case f.Name == "example.py":
			bad = text
		case f.Name == "example.py.fixed":
			mended = text
		case strings.HasPrefix(f.Name, "clean"):
			p.silent += text
		}
	}
	p.example = wholeDiff(bad, mended)
	return p, nil
}

// nearRules names the rules that an unknown name may mean.
func nearRules(name string) string {
	asked := strings.ToLower(strings.NewReplacer("_", "-", " ", "-").Replace(name))
	type near struct {
		name     string
		distance int
	}
	var list []near
	for _, known := range ruleNames() {
		d := levenshtein.ComputeDistance(asked, known)
		if asked != "" && strings.Contains(known, asked) {
			d = 0
		}
		for word := range strings.SplitSeq(asked, "-") {
			if len(word) > 3 && slices.Contains(strings.Split(known, "-"), word) {
				d = min(d, 2)
			}
		}
		if d <= max(3, len(known)/3) {
			list = append(list, near{known, d})
		}
	}
	if len(list) == 0 {
		return `"dtypebot rules" lists them`
	}
	slices.SortStableFunc(list, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, n := range list[:min(3, len(list))] {
		if list[0].distance <= 1 && n.distance > list[0].distance {
			break // a slip of the keyboard is a surer sign than a word in common
		}
		names = append(names, n.name)
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

// The marks of fixtures are for tests: what a line must be reported with, and
// how PyTorch runs a function.
var (
	wantMark = regexp.MustCompile(`[ \t]*# want ".*$`)
	runMark  = regexp.MustCompile(`^[ \t]*# (not )?run(\[[^\]]*\])?: `)
)

// withoutMarks drops the marks of a fixture, and with lines that were marks the
// blank lines behind them.
func withoutMarks(text string) string {
	var out []string
	dropped := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if runMark.MatchString(line) {
			dropped = true
			continue
		}
		if dropped && line == "" && len(out) > 0 && out[len(out)-1] == "" {
			continue
		}
		dropped = dropped && line == ""
		out = append(out, wantMark.ReplaceAllString(line, ""))
	}
	return strings.Trim(strings.Join(out, "\n"), "\n") + "\n"
}

var hunkMark = regexp.MustCompile(`^@@ -(\d+)`)

// wholeDiff is the diff of two texts with every line that they share.
func wholeDiff(before, after string) []string {
	old := strings.Split(strings.TrimSuffix(before, "\n"), "\n")
	var out []string
	next := 0 // the line of old that comes next
	keep := func(to int) {
		for ; next < to && next < len(old); next++ {
			out = append(out, " "+old[next])
		}
	}
	inside := false
	for line := range strings.Lines(string(diff.Diff("before", []byte(before), "after", []byte(after)))) {
		line = strings.TrimSuffix(line, "\n")
		if m := hunkMark.FindStringSubmatch(line); m != nil {
			first := 0
			_, _ = fmt.Sscan(m[1], &first) // digits
			keep(first - 1)
			inside = true
			continue
		}
		if !inside {
			continue // the names of the two files
		}
		if line[0] != '+' {
			next++
		}
		out = append(out, line)
	}
	keep(len(old))
	return out
}

// exampleTitle is the heading of the example. A rule that is listed only may
// have no fix.
func (p rulePage) exampleTitle() string {
	if slices.ContainsFunc(p.example, func(line string) bool { return line[0] != ' ' }) {
		return "Example and fix"
	}
	return "Example"
}

// text writes the page for a terminal.
func (p rulePage) text(w io.Writer, color report.Color) error {
	out := termenv.NewOutput(w)
	switch color {
	case report.Always:
		out.Profile = termenv.ANSI
	case report.Never:
		out.Profile = termenv.Ascii
	default:
		// Terminals differ in what they can; 16 colours are the reader's own.
		out.Profile = max(out.EnvColorProfile(), termenv.ANSI)
	}
	bold := func(s string) string { return out.String(s).Bold().String() }
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s%s\n%s\n\n%s\n\n%s\n\n", bold(p.rule.Name), p.rule.Severity, offMark(p.rule), ruleTitle(p.rule), p.about, bold(p.exampleTitle()))
	for _, line := range p.example {
		shown := out.String(strings.TrimRight("  "+line, " "))
		switch line[0] {
		case '-':
			shown = shown.Foreground(out.Color("1"))
		case '+':
			shown = shown.Foreground(out.Color("2"))
		}
		b.WriteString(shown.String() + "\n")
	}
	fmt.Fprintf(&b, "\n%s\n\n", bold("Silent"))
	for line := range strings.Lines(p.silent) {
		b.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
	}
	fmt.Fprintf(&b, "\nTo silence it on one line: # dtypebot: ignore[%s] reason\n", p.rule.Name)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write rule: %w", err)
	}
	return nil
}

// markdown returns the page as it stands in the repository. The rules' texts are
// plain, but hold nothing that Markdown would change; a test sees to that.
func (p rulePage) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Made by \"go generate ./analysis/rules\" from the rule's text and its fixture; do not edit. -->\n\n# %s\n\n%s. Severity: %s%s.\n\n%s\n\n", p.rule.Name, ruleTitle(p.rule), p.rule.Severity, offMark(p.rule), p.about)
	b.WriteString("## " + p.exampleTitle() + "\n\n```diff\n")
	for _, line := range p.example {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "```\n\n## Silent\n\n```python\n%s```\n\nTo silence it on one line: `# dtypebot: ignore[%s] reason`\n", p.silent, p.rule.Name)
	return b.String()
}

// writePages writes the page of every rule into a folder. Pages of rules that are
// gone are left: a test names them.
func writePages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write pages: %w", err)
	}
	for _, name := range ruleNames() {
		p, err := newRulePage(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".md"), []byte(p.markdown()), 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	return nil
}
