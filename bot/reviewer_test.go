package bot_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/suggestions"
)

// fakeGitHub gives one snapshot and keeps what is posted.
type fakeGitHub struct {
	snapshot bot.Snapshot
	err      error
	posted   []bot.Review
}

func (g *fakeGitHub) Snapshot(context.Context, bot.Job) (bot.Snapshot, error) {
	return g.snapshot, g.err
}

func (g *fakeGitHub) State(context.Context, bot.Job) (bot.Snapshot, error) {
	return g.snapshot, g.err
}

func (g *fakeGitHub) Post(_ context.Context, _ bot.Snapshot, review bot.Review) (bot.Posted, error) {
	g.posted = append(g.posted, review)
	return bot.Posted{Comments: review.Comments, Calls: []string{"review", "check-run"}}, nil
}

func (g *fakeGitHub) Begin(context.Context, bot.Snapshot) (int64, error) {
	return 7, nil
}

func TestReview(t *testing.T) {
	job := bot.Job{Owner: "o", Name: "n", Pull: 3}
	finding := analysis.Finding{Rule: "r", Severity: analysis.High, Confidence: analysis.Certain, Message: "m", Fingerprint: "f"}
	plan := suggestions.Plan{Comments: []suggestions.Comment{{
		Path: "a.py", First: 1, Last: 1, Anchored: true, Findings: []analysis.Finding{finding}, Fingerprint: "f",
	}}}
	analyse := func(_ context.Context, files []analysis.File, _ check.Around) (check.Report, suggestions.Plan, error) {
		return check.Report{Files: len(files), Findings: []analysis.Finding{finding}}, plan, nil
	}
	snapshot := bot.Snapshot{
		Job: job, Head: "h", Calls: []string{"files", "graphql"},
		Files: []analysis.File{{Path: "a.py", Hunks: []analysis.Hunk{{Start: 1, End: 2}}}},
	}

	t.Run("posts what was found", func(t *testing.T) {
		g := &fakeGitHub{snapshot: snapshot}
		r := bot.Reviewer{GitHub: g, Analyse: analyse}
		posted, err := r.Review(t.Context(), job)
		if err != nil || len(posted.Comments) != 1 {
			t.Fatalf("posted %v, %v", posted, err)
		}
		if want := []string{"files", "graphql", "review", "check-run"}; !slices.Equal(posted.Calls, want) {
			t.Errorf("calls %v, want %v", posted.Calls, want)
		}
	})
	t.Run("stops before writing when the work is somebody else's", func(t *testing.T) {
		g := &fakeGitHub{snapshot: snapshot}
		r := bot.Reviewer{GitHub: g, Analyse: analyse}
		gone := errors.New("lease lost")
		ctx := bot.WithFence(t.Context(), func(context.Context) error { return gone })
		if _, err := r.Review(ctx, job); !errors.Is(err, gone) || g.posted != nil {
			t.Errorf("posted %v, %v", g.posted, err)
		}
		if _, err := r.GiveUp(ctx, job, "a reason"); !errors.Is(err, gone) || g.posted != nil {
			t.Errorf("said of the end %v, %v", g.posted, err)
		}
	})
	t.Run("does not analyse nothing", func(t *testing.T) {
		g := &fakeGitHub{snapshot: bot.Snapshot{Job: job, Head: "h"}}
		r := bot.Reviewer{GitHub: g, Analyse: func(context.Context, []analysis.File, check.Around) (check.Report, suggestions.Plan, error) {
			t.Error("called")
			return check.Report{}, suggestions.Plan{}, nil
		}}
		if _, err := r.Review(t.Context(), job); err != nil || len(g.posted) != 1 || g.posted[0].Check.Conclusion != "success" {
			t.Fatalf("posted %v, %v", g.posted, err)
		}
	})
	t.Run("an analysis that cannot finish posts nothing", func(t *testing.T) {
		broken := errors.New("killed")
		g := &fakeGitHub{snapshot: snapshot}
		r := bot.Reviewer{GitHub: g, Analyse: func(context.Context, []analysis.File, check.Around) (check.Report, suggestions.Plan, error) {
			return check.Report{}, suggestions.Plan{}, broken
		}}
		if _, err := r.Review(t.Context(), job); !errors.Is(err, broken) || len(g.posted) != 0 {
			t.Fatalf("posted %v, %v", g.posted, err)
		}
	})
	t.Run("says that it is on its way if it takes long", func(t *testing.T) {
		g := &fakeGitHub{snapshot: snapshot}
		r := bot.Reviewer{GitHub: g, Patience: time.Millisecond, Analyse: func(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
			time.Sleep(20 * time.Millisecond)
			return analyse(ctx, files, around)
		}}
		posted, err := r.Review(t.Context(), job)
		if err != nil || g.posted[0].Check.Existing != 7 || !slices.Contains(posted.Calls, "check-run:begin") {
			t.Fatalf("posted %+v, %v", g.posted, err)
		}
	})
	t.Run("Drop and Retry pass unchanged", func(t *testing.T) {
		for _, want := range []error{bot.Drop{Reason: "closed"}, bot.Retry{After: 5, HandBack: true, Err: errors.New("x")}} {
			g := &fakeGitHub{err: want}
			r := bot.Reviewer{GitHub: g, Analyse: analyse}
			if _, err := r.Review(t.Context(), job); err != want {
				t.Errorf("%v became %v", want, err)
			}
		}
	})
}

func TestGiveUp(t *testing.T) {
	job := bot.Job{Owner: "o", Name: "n", Pull: 3, Repository: 9}
	g := &fakeGitHub{snapshot: bot.Snapshot{Job: job, Owner: "o", Name: "n", Pull: 3, Head: "abcdef0123"}}
	r := bot.Reviewer{GitHub: g, Config: bot.Config{Engine: "v1"}}
	if _, err := r.GiveUp(t.Context(), job, "panic: <b>@mona</b> `x`.\ngoroutine 1 [running]"); err != nil {
		t.Fatal(err)
	}
	check := g.posted[0].Check
	if check.Conclusion != "neutral" || check.Title != "Could not be reviewed" || check.Unchanged || check.ExternalID != bot.ExternalID(job) {
		t.Errorf("check run %+v", check)
	}
	const want = "This pull request could not be reviewed at `abcdef0`: panic: \\<b\\>@\u200bmona\\</b\\> `x`. " +
		"Re-run this check to try again; a push does too.\n\ndtypebot `v1`\n"
	if check.Summary != want {
		t.Errorf("summary %q\nwant %q", check.Summary, want)
	}
	// Once it stands it is not written again, unless a person asks.
	g.snapshot.CheckRuns = []bot.CheckRun{{
		ID: 1, Status: "completed", Conclusion: "neutral", ExternalID: check.ExternalID, Head: "abcdef0123", Title: check.Title, Summary: check.Summary,
	}}
	if _, err := r.GiveUp(t.Context(), job, "panic: <b>@mona</b> `x`"); err != nil || !g.posted[1].Check.Unchanged {
		t.Errorf("check run %+v, %v", g.posted[1].Check, err)
	}
}
