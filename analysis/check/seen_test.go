package check

import (
	"context"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// What only the function shows is likely as long as the repository may use
// another precision. If all its files were seen and none does, it is possible.
func TestNoOtherPrecisionInTheRepository(t *testing.T) {
	const text = "import torch\n\n\ndef pool(states, mask):\n    mask = mask.bool()\n    kept = torch.zeros(states.shape, device=states.device)\n    kept[mask] = states[mask]\n    return kept\n"
	index := func(other string) *project.Index {
		c := project.NewCollection("", func(p string) bool { return false })
		if other != "" {
			c.Add("other.py", other)
		}
		return c.Index()
	}
	unread := index("x = 1\n")
	unread.Incomplete = "its archive is too large"
	hinted := index("import torch\n\n\ndef run(m):\n    return m.to(torch.bfloat16)\n")
	hinted.Hints(map[string]string{"other.py": "import torch\n\n\ndef run(m):\n    return m.to(torch.bfloat16)\n"})
	for what, tc := range map[string]struct {
		ix     *project.Index
		change string
		want   analysis.Confidence
	}{
		"no index":                         {nil, "", analysis.Likely},
		"no other file":                    {index(""), "", analysis.Likely},
		"another file without a sign":      {index("x = 1\n"), "", analysis.Possible},
		"another file with a sign":         {hinted, "", analysis.Likely},
		"files that nobody saw":            {unread, "", analysis.Likely},
		"a word of it in the file itself":  {index("x = 1\n"), "\n\ndef half(x):\n    return x.half()\n", analysis.Likely},
		"a cut index without other files":  {&project.Index{Others: 0}, "", analysis.Likely},
		"a cut index that left others out": {&project.Index{Others: 3}, "", analysis.Possible},
	} {
		r := Run(context.Background(), []analysis.File{{Path: "model.py", Source: text + tc.change, Whole: true}}, Options{Project: tc.ix})
		if len(r.Findings) != 1 || r.Findings[0].Confidence != tc.want {
			t.Errorf("%s: %+v, want one that is %s", what, r.Findings, tc.want)
		}
	}
}
