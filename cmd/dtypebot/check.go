package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/suggestions"
	"github.com/dtypebot/dtypebot/suggestions/report"
)

// checkOptions are the flags of check.
type checkOptions struct {
	root, diff, base   string
	format, confidence string
	color              string
	fix, unsafe        bool
	confidenceGiven    bool // by the flag, which goes before the settings

	rules []*analysis.Rule // nil for the catalogue
}

func newCheck() *cobra.Command { return checkCommand(nil) }

// checkCommand returns the verb with other rules than the catalogue's.
func checkCommand(only []*analysis.Rule) *cobra.Command {
	o := checkOptions{rules: only}
	cmd := &cobra.Command{
		Use:   "check [PATH…]",
		Short: "Find mixed dtypes in files, in a diff, or in what a branch changed",
		Long: `Check analyses Python files and prints what it finds.

Without --diff and --base every line of the PATHs counts as new; without PATHs
the whole root is read, but for hidden folders, virtual environments and
node_modules.

With --diff FILE (or "-" for standard input) only what the diff brings in is
reported. The diff must belong to the files as they are now; paths in it are
relative to --root.

With --base REV the diff is made by git: from the last common ancestor of REV
and HEAD (as in "git diff REV...") to the files as they are now, committed or
not. Files that git does not track yet are not part of it; "git add -N" makes
them.

PATHs narrow --diff and --base to these files and folders.

Settings are read from dtypebot.toml at the root, else from [tool.dtypebot] in
pyproject.toml: files, rules, the least confidence. Faults in them are told on
standard error; the rest of the file holds. Flags go before settings.

--format sarif is for code scanning, rdjson for reviewdog, and github makes
annotations in GitHub Actions. Files that were skipped and remarks on the run
are in sarif and github; with text and rdjson they are on standard error.

With --fix safe suggestions are written to the files. What is printed is what
was found before.

The exit status is 0 if there is nothing at or above --min-confidence (with
--fix: nothing left), 1 if there is, and 2 in case of trouble.`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			o.confidenceGiven = cmd.Flags().Changed("min-confidence")
			return o.run(ctx, paths, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "folder that paths are relative to (default: the repository's root, else the current folder)")
	f.StringVar(&o.diff, "diff", "", "report only what this unified diff brings in; - reads standard input")
	f.StringVar(&o.base, "base", "", "report only what was changed since the common ancestor with this revision")
	f.StringVar(&o.format, "format", "text", "text, json, sarif, rdjson (reviewdog) or github (workflow commands)")
	f.StringVar(&o.confidence, "min-confidence", string(analysis.Likely), "certain, likely or possible: what is shown (json shows all) and the exit status counts")
	f.StringVar(&o.color, "color", "auto", "auto, always or never")
	f.BoolVar(&o.fix, "fix", false, "apply the safe suggestions")
	f.BoolVar(&o.unsafe, "unsafe-fixes", false, "with --fix, apply the unsafe suggestions too")
	return cmd
}

// run does the check. It returns exitCode(1) if there are findings.
func (o checkOptions) run(ctx context.Context, paths []string, stdin io.Reader, stdout, stderr io.Writer) error {
	color, err := o.valid()
	if err != nil {
		return err
	}
	defer frugal()()
	tree, err := openTree(o.root, paths)
	if err != nil {
		return err
	}
	defer tree.close()
	change, rest, err := o.read(ctx, tree, stdin)
	if err != nil {
		return err
	}
	settings, faults, err := tree.settings()
	if err != nil {
		return err
	}
	for _, f := range faults {
		fmt.Fprintln(stderr, f)
	}
	files := slices.DeleteFunc(change.files, func(f analysis.File) bool { return !settings.Wants(f.Path) })
	if !o.confidenceGiven && settings.MinConfidence != "" {
		o.confidence = string(settings.MinConfidence)
	}

	// The cache makes proving a suggestion cost one file, not all of them.
	around, err := projectOf(ctx, rest, files, change)
	if err != nil {
		return err
	}
	options := check.Options{Rules: o.rules, Deleted: change.deleted, Project: around, Cache: check.NewCache()}.Tuned(settings.Tuning)
	found, plan := examine(ctx, files, options, o.fix)
	if err := ctx.Err(); err != nil {
		return errors.New("interrupted")
	}

	least := analysis.Confidence(o.confidence)
	fixed := ""
	if o.fix {
		n, m, err := tree.mend(files, plan, least, o.unsafe)
		if err != nil {
			return err
		}
		fixed = fmt.Sprintf("applied %s in %s", plural(n, "suggestion"), plural(m, "file"))
	}

	in := report.Input{Files: files, Report: found, Plan: plan, Least: least, Rules: ran(options.Rules), Version: version}
	remarks := false // whether the format leaves the run's remarks to standard error
	switch o.format {
	case "json":
		in.Least = "" // programs choose for themselves
		err = report.JSON(stdout, in)
	case "sarif":
		err = report.SARIF(stdout, in)
	case "rdjson":
		err, remarks = report.RDJSON(stdout, in), true
		for _, s := range found.Skipped {
			fmt.Fprintf(stderr, "skipped %q: %s\n", s.Path, s.Reason)
		}
	case "github":
		err = report.GitHub(stdout, in)
	default:
		err, remarks = report.Text(stdout, in, color), true
	}
	for _, n := range found.Notes {
		if remarks {
			fmt.Fprintf(stderr, "%s: %s\n", place(n), n.Text)
		}
	}
	if err != nil {
		return err
	}
	if fixed != "" {
		fmt.Fprintln(stderr, fixed)
	}
	if slices.ContainsFunc(found.Findings, func(f analysis.Finding) bool {
		return f.Confidence.Rank() >= least.Rank() && !(o.fix && applied(plan, f, least, o.unsafe))
	}) {
		return exitCode(1)
	}
	return nil
}

// ran returns the rules that a check with these runs.
func ran(list []*analysis.Rule) []*analysis.Rule {
	if list != nil {
		return list
	}
	return slices.DeleteFunc(rules.All(), func(r *analysis.Rule) bool { return r.Preview })
}

// examine analyses files and plans what to say of them. crlf says that
// suggestions are applied by their bytes, not by GitHub's button.
func examine(ctx context.Context, files []analysis.File, options check.Options, crlf bool) (check.Report, suggestions.Plan) {
	found := check.Run(ctx, files, options)
	return found, suggestions.Propose(ctx, files, found, suggestions.Options{
		CRLF: crlf, Float32: options.Tuning.Geometry == check.GeometryFloat32,
		Recheck: func(ctx context.Context, files []analysis.File) check.Report {
			return check.Run(ctx, files, options)
		},
	})
}

// valid checks the flags that need no file.
func (o checkOptions) valid() (report.Color, error) {
	switch o.format {
	case "text", "json", "sarif", "rdjson", "github":
	default:
		return "", fmt.Errorf("--format %q: want text, json, sarif, rdjson or github", o.format)
	}
	if analysis.Confidence(o.confidence).Rank() == 0 {
		return "", fmt.Errorf("--min-confidence %q: want certain, likely or possible", o.confidence)
	}
	if o.diff != "" && o.base != "" {
		return "", errors.New("--diff and --base exclude each other")
	}
	if o.unsafe && !o.fix {
		return "", errors.New("--unsafe-fixes does nothing without --fix")
	}
	return report.ParseColor(o.color)
}

// read gives what is to be analysed, and where the rest of the repository is
// read from: as it was before the change, if git can tell.
func (o checkOptions) read(ctx context.Context, tree *tree, stdin io.Reader) (change, source, error) {
	switch {
	case o.base != "":
		diff, ancestor, err := tree.gitDiff(ctx, o.base)
		if err != nil {
			return change{}, nil, err
		}
		c, err := tree.changed(strings.NewReader(diff))
		return c, ancestor, err
	case o.diff == "-":
		c, err := tree.changed(stdin)
		return c, tree, err
	case o.diff != "":
		f, err := os.Open(o.diff)
		if err != nil {
			return change{}, nil, fmt.Errorf("read diff: %w", err)
		}
		defer f.Close()
		c, err := tree.changed(f)
		return c, tree, err
	}
	files, err := tree.all()
	return change{files: files}, tree, err
}

// applied reports whether --fix mended a finding.
func applied(plan suggestions.Plan, f analysis.Finding, least analysis.Confidence, unsafe bool) bool {
	return slices.ContainsFunc(plan.All(), func(c suggestions.Comment) bool {
		s := c.Suggestion
		return s != nil && c.Confidence().Rank() >= least.Rank() &&
			(s.Safety == analysis.Safe || s.Safety == analysis.Unsafe && unsafe) &&
			slices.ContainsFunc(c.Findings, func(g analysis.Finding) bool {
				return g.Path == f.Path && g.Rule == f.Rule && g.At == f.At
			})
	})
}

func place(n check.Note) string {
	if n.Line == 0 {
		return n.Path
	}
	return fmt.Sprintf("%s:%d", n.Path, n.Line)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
