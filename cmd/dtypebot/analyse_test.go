package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
)

// TestServeAnalyses checks that an app analyses in a child, through the hidden
// verb, and gets what this process gets.
func TestServeAnalyses(t *testing.T) {
	a, _ := startApp(t, appConfig{})
	var files []analysis.File
	for _, name := range []string{"model.py", "train.py"} {
		text, err := os.ReadFile(filepath.Join(smallPull, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, analysis.File{Path: name, Source: string(text), Whole: true})
	}
	wantReport, wantPlan, err := analyse(t.Context(), files, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if len(wantPlan.Comments) == 0 {
		t.Fatal("no comments")
	}
	before := childTime(t)
	report, plan, err := a.reviewer.Analyse(t.Context(), files, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if after := childTime(t); after <= before {
		t.Errorf("children have used %d µs before and %d µs after", before, after)
	}
	if d := cmp.Diff(wantReport, report); d != "" {
		t.Errorf("report (-here +child)\n%s", d)
	}
	if d := cmp.Diff(wantPlan, plan); d != "" {
		t.Errorf("plan (-here +child)\n%s", d)
	}
}

// childTime is the processor time of all ended children, in microseconds.
func childTime(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		t.Fatal(err)
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}

// TestAnalyseChild checks that people do not see the verb.
func TestAnalyseChild(t *testing.T) {
	help, err := runVerb(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(help, newAnalyseChild().Name()) {
		t.Errorf("the help shows the verb:\n%s", help)
	}
}
