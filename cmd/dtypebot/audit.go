package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/survey"
	"github.com/dtypebot/dtypebot/suggestions"
	"github.com/dtypebot/dtypebot/suggestions/report"
)

type auditOptions struct{ format, out, tests string }

func newAudit() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "audit DIR",
		Short: "Write a report on the dtypes of a whole repository",
		Long: `Audit analyses every Python file below DIR and writes a report: what was found
by kind and priority, what is done well, the fixes with the cases where they are
wrong, and tests for the functions that it names.

The tests need PyTorch and nothing else: python3 -m unittest test_dtypes.py, or
pytest. --tests writes them to a file; they find the project from their own
folder upward. Audit runs no code of the repository, nor the tests.

Hidden folders, virtual environments and node_modules are left out. Notebooks,
stub files, generated and vendored code are named and not looked at.

The exit status is 0 if nothing certain or likely was found, 1 if something was,
and 2 in case of trouble.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			return o.run(ctx, dirs[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "markdown", "markdown, html or json")
	f.StringVar(&o.out, "out", "", "write the report to this file instead of standard output")
	f.StringVar(&o.tests, "tests", "", "write the tests to this file as well")
	return cmd
}

func (o auditOptions) run(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	write := map[string]func(io.Writer, report.Audit) error{
		"markdown": report.AuditMarkdown, "html": report.AuditHTML, "json": report.AuditJSON,
	}[o.format]
	if write == nil {
		return fmt.Errorf("--format %q: want markdown, html or json", o.format)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("audit %s: %w", dir, bare(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("audit %s: it is not a folder", dir)
	}
	audit, err := o.audit(ctx, dir)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := write(&text, audit); err != nil {
		return err
	}
	if o.tests != "" && audit.Tests == "" {
		fmt.Fprintln(stderr, "no tests: the report names no function")
	}
	if err := o.save(text.Bytes(), audit.Tests, stdout); err != nil {
		return err
	}
	if audit.Summary.High+audit.Summary.Medium+audit.Summary.Low > 0 {
		return exitCode(1)
	}
	return nil
}

// audit analyses the folder. The tests are made for the code as it is with all
// suggestions, so that is surveyed as well.
func (o auditOptions) audit(ctx context.Context, dir string) (report.Audit, error) {
	defer frugal()()
	tree, err := openTree(dir, nil)
	if err != nil {
		return report.Audit{}, err
	}
	defer tree.close()
	files, err := tree.all()
	if err != nil {
		return report.Audit{}, err
	}
	settings, faults, err := tree.settings()
	if err != nil {
		return report.Audit{}, err
	}
	files = slices.DeleteFunc(files, func(f analysis.File) bool { return !settings.Wants(f.Path) })
	around, err := projectOf(ctx, tree, files, change{})
	if err != nil {
		return report.Audit{}, err
	}
	options := check.Options{Survey: true, Project: around, Cache: check.NewCache()}.Tuned(settings.Tuning)
	found, plan := examine(ctx, files, options, true)
	for _, f := range faults {
		found.Notes = append(found.Notes, check.Note{Path: f.File, Line: f.Line, Text: f.Text})
	}
	mended, err := surveyMended(ctx, files, plan, options)
	if err != nil {
		return report.Audit{}, err
	}
	if ctx.Err() != nil {
		return report.Audit{}, errors.New("interrupted")
	}
	return report.NewAudit(report.AuditInput{
		Input:  report.Input{Files: files, Report: found, Plan: plan, Rules: ran(options.Rules), Version: version},
		Name:   filepath.Base(tree.dir),
		Mended: mended,
	}), nil
}

// surveyMended surveys the files with all suggestions made.
func surveyMended(ctx context.Context, files []analysis.File, plan suggestions.Plan, options check.Options) ([]*survey.Survey, error) {
	files = slices.Clone(files)
	for i, f := range files {
		text, _, err := plan.Mend(f.Path, f.Source, analysis.Likely, false)
		if err != nil {
			return nil, err
		}
		files[i].Source = text
	}
	return check.Run(ctx, files, options).Surveys, nil
}

// save writes the report and the tests.
func (o auditOptions) save(text []byte, tests string, stdout io.Writer) error {
	if o.tests != "" && tests != "" {
		if err := os.WriteFile(o.tests, []byte(tests), 0o644); err != nil {
			return fmt.Errorf("write tests: %w", err)
		}
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, text, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		return nil
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
