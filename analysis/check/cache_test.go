package check

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// The files of a small repository: what model.py is given depends on data.py,
// what other.py holds on nobody.
func linkedFiles() []analysis.File {
	return []analysis.File{
		{Path: "data.py", Whole: true, Source: "import torch\n\nfrom model import project\n\n\ndef load():\n    return project(torch.zeros(3, 3))\n"},
		{Path: "model.py", Whole: true, Source: "import torch\n\n\ndef project(points):\n    return points @ torch.ones(3, 3, dtype=torch.float64)\n"},
		{Path: "other.py", Whole: true, Source: "import torch\n\n\ndef alone(x):\n    return x * 2\n"},
	}
}

// Analysing again what did not change finds everything in the cache; a changed
// file costs itself and those of which it says something else.
func TestCacheCostsWhatChanged(t *testing.T) {
	options := Options{Project: project.NewIndex(), Cache: NewCache()}
	c := options.Cache
	files := linkedFiles()
	first := Run(context.Background(), files, options)
	if len(c.learned) != 3 || len(c.judged) != 3 {
		t.Fatalf("%d texts learned and %d judged, want 3 of each", len(c.learned), len(c.judged))
	}
	linked := c.head
	if again := Run(context.Background(), files, options); cmp.Diff(first, again) != "" || c.head != linked {
		t.Errorf("a second run says something else: %s", cmp.Diff(first, again))
	}
	for _, change := range []struct {
		what   string
		file   int
		source string
		judged int
	}{
		{"a file that tells nobody anything", 2, "import torch\n\n\ndef alone(x):\n    return x * 3\n", 1},
		{"a caller that passes another dtype", 0, "import torch\n\nfrom model import project\n\n\ndef load():\n    return project(torch.zeros(3, 3, dtype=torch.int64))\n", 2},
	} {
		files := linkedFiles()
		files[change.file].Source = change.source
		before := len(c.judged)
		cached := Run(context.Background(), files, options)
		if got := len(c.judged) - before; got != change.judged {
			t.Errorf("%s: %d files judged again, want %d", change.what, got, change.judged)
		}
		plain := options
		plain.Cache = nil
		if diff := cmp.Diff(Run(context.Background(), files, plain), cached); diff != "" {
			t.Errorf("%s: the cache says something else (-without, +with):\n%s", change.what, diff)
		}
	}
}

// What a file imports is asked again of other surroundings, and evaluated again
// only if the answer differs.
func TestCacheOfImportedConstants(t *testing.T) {
	files := []analysis.File{
		{Path: "setting.py", Whole: true, Source: "import torch\n\nDTYPE = torch.float64\n"},
		{Path: "use.py", Whole: true, Source: "import torch\n\nfrom setting import DTYPE\n\n\ndef f():\n    return torch.ones(3, 3) @ torch.ones(3, 3, dtype=DTYPE)\n"},
	}
	options := Options{Project: project.NewIndex(), Cache: NewCache()}
	if r := Run(context.Background(), files, options); len(r.Findings) != 1 {
		t.Fatalf("%d findings, want the product of two dtypes", len(r.Findings))
	}
	files[0].Source = "import torch\n\nUNUSED = 1\nDTYPE = torch.float64\n"
	if r := Run(context.Background(), files, options); len(r.Findings) != 1 {
		t.Errorf("%d findings after a line moved, want 1", len(r.Findings))
	}
	files[0].Source = "import torch\n\nDTYPE = torch.float32\n"
	if r := Run(context.Background(), files, options); len(r.Findings) != 0 {
		t.Errorf("%v after the constant became float32, want nothing", r.Findings)
	}
}
