package check_test

import (
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// TestTorch reports what one release refuses and the other does not according to
// what the repository says it runs: by its settings, else by its requirements.
func TestTorch(t *testing.T) {
	const source = `import torch


def update(a: torch.Tensor):
    start = torch.zeros(2, 3, 3, dtype=torch.float32)
    left = torch.ones(2, 3, 3, dtype=torch.bfloat16)
    return torch.baddbmm(start, left, left)
`
	for _, tc := range []struct {
		name, setting, requirements, release string
		found                                bool
		confidence                           analysis.Confidence
	}{
		{"nothing is said", "", "", "", true, analysis.Likely},
		{"the settings say 1.13", "1.13", "torch>=2.1\n", "1.13", false, ""},
		{"the settings say 2.4", "2.4", "torch<2\n", "2.15", true, analysis.Certain},
		{"the requirements say 1", "", "torch>=1.10,<2\n", "1.13", false, ""},
		{"the requirements say 2", "", "torch~=2.1\n", "2.15", true, analysis.Certain},
		{"the requirements leave it open", "", "torch>=1.10\n", "", true, analysis.Likely},
	} {
		c := project.NewCollection("", func(string) bool { return false })
		c.Add("requirements.txt", tc.requirements)
		options := check.Options{Project: c.Index(), Tuning: check.Tuning{Torch: tc.setting}}
		for range 2 { // the second time from the cache
			report := check.Run(t.Context(), []analysis.File{{Path: "a.py", Source: source, Whole: true}}, options)
			if report.Torch != tc.release {
				t.Errorf("%s: facts of %q, want %q", tc.name, report.Torch, tc.release)
			}
			switch {
			case len(report.Findings) > 1, tc.found != (len(report.Findings) == 1):
				t.Errorf("%s: findings %+v", tc.name, report.Findings)
			case tc.found && report.Findings[0].Confidence != tc.confidence:
				t.Errorf("%s: %s, want %s", tc.name, report.Findings[0].Confidence, tc.confidence)
			}
			if options.Cache == nil {
				options.Cache = check.NewCache()
			}
		}
	}
}
