package bot

import (
	"context"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// TestRestsElsewhere tells comments whose reasons lie in other files.
func TestRestsElsewhere(t *testing.T) {
	for body, want := range map[string]bool{
		"`x` is float32 (`data.py:12`).":                             true,
		"1. [`configs/a.yaml:3`](https://h/o/r/blob/x/a.yaml#L3): y": true,
		"[`models/a.py:3`](https://h/o/r/blob/x/models/a.py#L3): y":  false,
		"line 3: `x` is float32; `f(x):12` is no place":              false,
	} {
		if got := (Thread{Path: "models/a.py", Body: body}).restsElsewhere(); got != want {
			t.Errorf("%q: %v, want %v", body, got, want)
		}
	}
}

// shelf is an index that is there or is not.
type shelf struct{ data []byte }

func (s *shelf) Near(context.Context, Snapshot) ([]byte, string) {
	if s.data == nil {
		return nil, Unready
	}
	return s.data, ""
}

func (s *shelf) Forget(context.Context, int64) error { return nil }

// TestOneAnswer looks at a head without an index and then with one, as after a
// crash, and the other way round: the answer that stands stays, unless a person
// asks for another look.
func TestOneAnswer(t *testing.T) {
	x := &shelf{}
	r := Reviewer{Index: x, Analyse: func(_ context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
		report := check.Report{Files: len(files)}
		if around.Index != nil {
			report.Indexed, report.Near = "abc", 3
		}
		return report, suggestions.Plan{}, nil
	}}
	snapshot := Snapshot{Job: Job{Repository: 1, Pull: 2}, Head: "h", Files: []analysis.File{{Path: "a.py"}}}
	look := func() Check {
		review, err := r.compose(t.Context(), snapshot)
		if err != nil {
			t.Fatal(err)
		}
		return review.Check
	}
	stand := func(c Check) {
		snapshot.CheckRuns = []CheckRun{{ID: 1, Head: "h", Status: "completed", ExternalID: c.ExternalID, Title: c.Title, Summary: c.Summary, Conclusion: c.Conclusion}}
	}
	stand(look())
	x.data = []byte("index")
	if c := look(); !c.Unchanged {
		t.Errorf("with an index that came later the check run says anew:\n%s", c.Summary)
	}
	snapshot.Job.Rerun = true
	c := look()
	if c.Unchanged || c.Summary == snapshot.CheckRuns[0].Summary {
		t.Errorf("a re-run does not take the index:\n%s", c.Summary)
	}
	stand(c)
	snapshot.Job.Rerun, x.data = false, nil
	if c := look(); !c.Unchanged {
		t.Errorf("without the index that was there the check run says anew:\n%s", c.Summary)
	}
}
