package github_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/suggestions"
)

var noPlan suggestions.Plan

// threads is how many comments stand, as GitHub tells.
func (w *world) threads() []bot.Thread {
	w.t.Helper()
	snapshot, err := w.client.Snapshot(w.t.Context(), w.job("pull_request.edited"))
	must(w.t, err)
	return snapshot.Threads
}

// checkRuns are those that stand, as GitHub tells.
func (w *world) checkRuns() []bot.CheckRun {
	w.t.Helper()
	snapshot, err := w.client.Snapshot(w.t.Context(), w.job("pull_request.edited"))
	must(w.t, err)
	return snapshot.CheckRuns
}

// The process dies between the review and the check run, or GitHub's answer is
// lost: the next attempt posts what is missing and nothing twice.
func TestCrashBetweenReviewAndCheckRun(t *testing.T) {
	for what, fault := range map[string]struct {
		part  string
		fault githubsim.Fault
	}{
		"before the check run":       {"/check-runs", githubsim.Fault{Drop: true}},
		"the review's answer lost":   {"/reviews", githubsim.Fault{Drop: true, After: true}},
		"the check run's is lost":    {"/check-runs", githubsim.Fault{Drop: true, After: true}},
		"server error after writing": {"/reviews", githubsim.Fault{Status: 502, Body: "<html>", After: true}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\ny = MIX 2\n"})
			w.faultOn(fault.part, 1, fault.fault)
			if _, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened")); err == nil {
				t.Fatal("no error although an answer is missing")
			}
			w.Fault(nil)
			w.restart()
			w.review("pull_request.opened")
			if n := len(w.threads()); n != 2 {
				t.Errorf("%d comments stand, want 2", n)
			}
			if runs := w.checkRuns(); len(runs) != 1 || runs[0].Status != "completed" || runs[0].Conclusion != "neutral" {
				t.Errorf("check runs %+v", runs)
			}
		})
	}
}

// The lease is lost between two writings: the second is not done.
func TestFencedWrites(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	lost := errors.New("lost")
	asked := 0
	ctx := bot.WithFence(t.Context(), func(context.Context) error {
		if asked++; asked > 2 { // the first is asked before the whole, the second before the review
			return lost
		}
		return nil
	})
	if _, err := w.reviewer.Review(ctx, w.job("pull_request.opened")); !errors.Is(err, lost) {
		t.Errorf("error %v, want the fence's", err)
	}
	if reviews, runs := w.writes(); reviews != 1 || runs != 0 {
		t.Errorf("%d reviews and %d check runs were written, want the review alone", reviews, runs)
	}
}

// planned makes a reviewer that finds exactly these.
func (w *world) planned(comments ...suggestions.Comment) {
	w.reviewer.Analyse = func(_ context.Context, files []analysis.File, _ check.Around) (check.Report, suggestions.Plan, error) {
		return check.Report{Files: len(files)}, suggestions.Plan{Comments: comments}, nil
	}
}

// liar lets comments through that GitHub will refuse, as if the local model of
// its rules were wrong.
type liar struct{ bot.GitHub }

func (l liar) Snapshot(ctx context.Context, job bot.Job) (bot.Snapshot, error) {
	s, err := l.GitHub.Snapshot(ctx, job)
	for i := range s.Files {
		s.Files[i].Hunks = []analysis.Hunk{{Start: 1, End: 1000}}
	}
	return s, err
}

func TestBadAnchorsCostOnlyThemselves(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("pad = 0\n", 60)
	w.open(map[string]string{"a.py": long}, map[string]string{"a.py": "x = 1\n" + long + "y = 2\n"})
	var comments []suggestions.Comment
	for i, line := range []int{1, 2, 30, 61, 62, 3} { // 30 is outside the diff
		comments = append(comments, comment("a.py", line, line, fmt.Sprint("c", i)))
	}
	comments = append(comments, comment("a.py", 2, 61, "over two hunks"), comment("a.py", 60, 62, "three lines"))
	w.planned(comments...)
	w.reviewer.GitHub = liar{w.client}
	posted := w.review("pull_request.opened")
	if len(posted.Comments) != 6 || len(posted.Refused) != 2 {
		t.Fatalf("%d comments posted, %d refused: %v", len(posted.Comments), len(posted.Refused), posted.Calls)
	}
	if n := len(w.threads()); n != 6 {
		t.Errorf("%d comments stand, want 6", n)
	}
	var body string
	for _, c := range w.Calls() {
		if strings.HasSuffix(c.Route, "/check-runs") {
			body = c.Body
		}
	}
	if strings.Count(body, `"annotation_level"`) != 2 || !strings.Contains(body, "did not accept 2 comments") || strings.Contains(body, "<!-- dtypebot") {
		t.Errorf("check run %s", body)
	}
}

func TestMultiLineComment(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = (\n  1\n)\n"})
	w.planned(comment("a.py", 1, 3, "three lines"))
	w.review("pull_request.opened")
	for _, c := range w.Calls() {
		if strings.HasSuffix(c.Route, "/reviews") {
			for _, part := range []string{`"line":3`, `"start_line":1`, `"side":"RIGHT"`, `"start_side":"RIGHT"`, `"event":"COMMENT"`, `"commit_id":"`} {
				if !strings.Contains(c.Body, part) {
					t.Errorf("no %s in %s", part, c.Body)
				}
			}
		}
	}
	if threads := w.threads(); len(threads) != 1 || threads[0].Line != 3 || threads[0].Path != "a.py" || threads[0].Fingerprint != "a.py three lines" {
		t.Errorf("threads %+v", threads)
	}
}

// A marker counts only in the App's own comments.
func TestPastedMarker(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	other, err := w.RegisterApp(githubsim.AppOptions{Name: "copycat", Key: key(), Permissions: map[string]string{"contents": "read", "pull_requests": "write", "checks": "write"}})
	must(t, err)
	theirs, err := w.Install(other.ID, owner+"/"+name)
	must(t, err)
	ours := *w
	w.app, w.installation = other, theirs
	w.restart()
	if posted := w.review("pull_request.opened"); len(posted.Comments) != 1 {
		t.Fatalf("the other App posted %+v", posted)
	}
	w.app, w.installation = ours.app, ours.installation
	w.restart()
	if posted := w.review("pull_request.opened"); len(posted.Comments) != 1 || posted.CheckRun == 0 {
		t.Errorf("another App's marker was honoured: %+v", posted)
	}
	if n := len(w.threads()); n != 1 {
		t.Errorf("%d own threads", n)
	}
}

func TestReviewsNotPermitted(t *testing.T) {
	w := newWorld(t)
	w.SetPermissions(w.installation, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "read", "checks": "write"})
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	posted := w.review("pull_request.opened")
	if len(posted.Refused) != 1 || posted.CheckRun == 0 {
		t.Errorf("posted %+v", posted)
	}
}

func TestCheckRunsNotPermitted(t *testing.T) {
	w := newWorld(t)
	w.SetPermissions(w.installation, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "write", "checks": "read"})
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	_, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
	if drop, ok := errors.AsType[bot.Drop](err); !ok || !strings.Contains(drop.Reason, "check runs") {
		t.Errorf("error %v", err)
	}
}

// A push that mends the mistake turns the check green and takes the comment back.
func TestNextPush(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\ny = 1\n"}, map[string]string{"a.py": "x = MIX\ny = MIX 2\n"})
	w.review("pull_request.opened")
	w.commit("topic", map[string]string{"a.py": "x = 3\ny = MIX 2\n"})
	posted := w.review("pull_request.synchronize")
	wantCalls(t, posted.Calls, "files", "graphql", "threads", "check-run")
	if threads := w.threads(); len(threads) != 1 || threads[0].Line != 2 {
		t.Errorf("threads %+v", threads)
	}
	w.commit("topic", map[string]string{"a.py": "x = 3\ny = 4\n"})
	w.review("pull_request.synchronize")
	if runs := w.checkRuns(); len(runs) != 1 || runs[0].Conclusion != "success" {
		t.Errorf("check runs %+v", runs)
	}
	if threads := w.threads(); len(threads) != 0 {
		t.Errorf("threads %+v", threads)
	}
	if reviews, _ := w.writes(); reviews != 1 {
		t.Errorf("%d reviews", reviews)
	}
}

// The head moves between reading and writing: the comments of the older head
// are refused or stand on it, and the next look writes no second ones.
func TestHeadMovesBeforePosting(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	first := true
	w.Fault(func(r *http.Request) *githubsim.Fault {
		if first && strings.HasSuffix(r.URL.Path, "/reviews") {
			first = false
			_, err := w.Commit(t.Context(), owner, name, githubsim.CommitOptions{Branch: "topic", Force: true, Files: map[string]string{"a.py": "x = MIX\nz = 1\n"}})
			must(t, err)
		}
		return nil
	})
	_, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
	if _, ok := errors.AsType[bot.Retry](err); !ok {
		t.Fatalf("a head that was pushed away: %v", err)
	}
	w.review("pull_request.synchronize")
	if n := len(w.threads()); n != 1 {
		t.Errorf("%d threads", n)
	}
}

func TestAnnotationsRefused(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	far := comment("a.py", 900, 900, "far")
	far.Anchored = false
	w.planned(far)
	w.faultOn("/check-runs", 1, githubsim.Fault{Status: 422, Body: `{"message":"Invalid request.\n\nNo subschema in \"anyOf\" matched."}`})
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "graphql", "check-run", "check-run:plain")
	if posted.CheckRun == 0 {
		t.Error("no check run")
	}
}

// Whatever the local model of GitHub's rules lets through, GitHub takes.
func TestAnchorsAreTaken(t *testing.T) {
	w := newWorld(t)
	w.reviewer.Config.MaxComments = 1000
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 8 {
		var base, head []string
		for i := range 30 + random.IntN(60) {
			line := fmt.Sprintf("line %d\n", i)
			switch random.IntN(12) {
			case 0:
				head = append(head, "new "+line)
			case 1:
				base = append(base, line)
			case 2:
				base, head = append(base, line), append(head, "changed "+line)
			default:
				base, head = append(base, line), append(head, line)
			}
		}
		if round%2 == 0 { // no line end at the end
			head = append(head, "last")
		}
		branch := fmt.Sprint("topic", round)
		path := fmt.Sprintf("pkg/r%d.py", round)
		w.commit("", map[string]string{path: strings.Join(base, "")})
		w.commit(branch, map[string]string{path: strings.Join(head, "")})
		w.pull = w.openPull(githubsim.OpenPullOptions{Head: branch})
		var comments []suggestions.Comment
		for i := range 60 {
			first := 1 + random.IntN(len(head)+3)
			last := first + random.IntN(6)
			comments = append(comments, comment(path, first, last, fmt.Sprint(i)))
		}
		w.planned(comments...)
		posted := w.review("pull_request.opened")
		if len(posted.Refused) > 0 || posted.Reviews != 1 || len(posted.Comments) == 0 {
			t.Errorf("round %d: %d comments, %d refused, %d reviews: %v", round, len(posted.Comments), len(posted.Refused), posted.Reviews, posted.Calls)
		}
	}
}

// A draft is commented when it becomes ready, at the same head.
func TestDraftBecomesReady(t *testing.T) {
	w := newWorld(t)
	w.commit("", map[string]string{"a.py": "x = 1\n"})
	w.commit("topic", map[string]string{"a.py": "x = MIX\n"})
	w.pull = w.openPull(githubsim.OpenPullOptions{Head: "topic", Draft: true})
	if posted := w.review("pull_request.opened"); len(posted.Comments) != 0 || posted.CheckRun == 0 {
		t.Fatalf("a draft: %+v", posted)
	}
	must(t, w.SetDraft(t.Context(), owner, name, w.pull, false, "octocat"))
	if posted := w.review("pull_request.ready_for_review"); len(posted.Comments) != 1 || posted.CheckRun == 0 {
		t.Fatalf("ready: %+v", posted)
	}
	if posted := w.review("pull_request.ready_for_review"); len(posted.Comments) != 0 || posted.CheckRun != 0 {
		t.Fatalf("again: %+v", posted)
	}
}

// One head, two pull requests: each has its check run and nothing is written
// again.
func TestTwoPullRequestsOfOneHead(t *testing.T) {
	w := newWorld(t)
	w.commit("", map[string]string{"a.py": "x = 1\n", "b.py": "y = 1\n"})
	w.commit("release", map[string]string{"b.py": "y = 2\n"})
	w.commit("topic", map[string]string{"a.py": "x = MIX\n"})
	first := w.openPull(githubsim.OpenPullOptions{Head: "topic"})
	second := w.openPull(githubsim.OpenPullOptions{Head: "topic", Base: "release"})
	for round := range 3 {
		for _, w.pull = range []int{first, second} {
			posted := w.review("pull_request.opened")
			if wrote := posted.CheckRun != 0; wrote != (round == 0) || len(posted.Comments) > 0 != wrote {
				t.Errorf("round %d, pull request %d: %+v", round, w.pull, posted)
			}
		}
	}
}

// A hundred and more threads are read to the last.
func TestManyThreads(t *testing.T) {
	w := newWorld(t)
	w.reviewer.Config.MaxComments = 1000
	var head strings.Builder
	for i := range 130 {
		fmt.Fprintf(&head, "x = MIX %d\n", i)
	}
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": head.String()})
	w.review("pull_request.opened")
	posted := w.review("pull_request.edited")
	wantCalls(t, posted.Calls, "files", "graphql", "graphql:threads")
	if len(posted.Comments) != 0 {
		t.Errorf("%d comments are posted again", len(posted.Comments))
	}
}
