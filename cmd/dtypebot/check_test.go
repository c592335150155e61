package main

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/dtypebot/dtypebot/analysis/rules"
)

// TestCheckSARIF checks what code scanning gets of the README's example: valid
// by the standard's schema, with every rule that ran, in GitHub's limits.
// https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
func TestCheckSARIF(t *testing.T) {
	out, err := runVerb(t, "check", "--format", "sarif", "--root", smallPull, smallPull)
	var code exitCode
	if !errors.As(err, &code) || code != 1 {
		t.Fatalf("check of small_pull: %v, want exit status 1", err)
	}
	report, err := sarif.FromString(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Validate(); err != nil {
		t.Fatal(err)
	}
	run := report.Runs[0]
	listed := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		listed[*r.ID] = true
		for _, d := range []*sarif.MultiformatMessageString{r.ShortDescription, r.FullDescription, r.Help} {
			if d == nil || *d.Text == "" || d != r.Help && utf8.RuneCountInString(*d.Text) > 1024 {
				t.Errorf("%s: description %+v", *r.ID, d)
			}
		}
	}
	ran := 0
	for _, r := range rules.All() {
		if !r.Preview {
			ran++
			if !listed[r.Name] {
				t.Errorf("%s ran and is not listed", r.Name)
			}
		}
	}
	if len(listed) != ran {
		t.Errorf("%d rules are listed, %d ran", len(listed), ran)
	}
	if len(run.Results) == 0 || len(run.Results[0].Fixes) != 1 || run.Results[0].PartialFingerprints["finding/v1"] == "" {
		t.Errorf("%d results, the first without a fix or a fingerprint", len(run.Results))
	}
}
