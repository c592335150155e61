package rules_test

import (
	"context"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// TestFixturesOfEachRelease checks that the wants hold whichever measured release's
// facts are chosen: what a finding quotes is the part of PyTorch's message that the
// releases share, or that of the chosen one.
func TestFixturesOfEachRelease(t *testing.T) {
	for _, table := range torch.Measured() {
		release := table.Release()
		t.Run(release, func(t *testing.T) {
			for _, rule := range rules.All() {
				t.Run(rule.Name, func(t *testing.T) {
					source, _ := section(fixture(t, rule.Name), "example.py")
					r := check.Run(context.Background(), []analysis.File{{Path: "example.py", Source: source, Whole: true}}, check.Options{Rules: []*analysis.Rule{rule}, Tuning: check.Tuning{Torch: release}})
					var found []analysis.Finding
					for _, f := range r.Findings {
						if f.Confidence.Rank() >= analysis.Likely.Rank() || rule.Severity == analysis.Low {
							found = append(found, f)
						}
					}
					compareWants(t, source, found)
				})
			}
		})
	}
}
