package github_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/suggestions"
)

// A lyingResolver says of all threads that they may be resolved.
type lyingResolver struct{ bot.GitHub }

func (l *lyingResolver) Snapshot(ctx context.Context, job bot.Job) (bot.Snapshot, error) {
	s, err := l.GitHub.Snapshot(ctx, job)
	for i := range s.Threads {
		s.Threads[i].MayResolve = true
	}
	return s, err
}

// found is what the stand-in for the analyser finds in a snapshot.
func found(t *testing.T, snapshot bot.Snapshot) (check.Report, suggestions.Plan) {
	t.Helper()
	report, plan, err := analyse(t.Context(), snapshot.Files, check.Around{Deleted: snapshot.Deleted})
	must(t, err)
	return report, plan
}

// view is the pull request as people see it.
func (w *world) view() githubsim.PullView {
	w.t.Helper()
	v, ok := w.Pull(w.t.Context(), owner, name, w.pull)
	if !ok {
		w.t.Fatalf("no pull request %d", w.pull)
	}
	return v
}

// grant gives the installation permissions beside the usual ones.
func (w *world) grant(more ...string) {
	permissions := map[string]string{"metadata": "read", "contents": "read", "pull_requests": "write", "checks": "write"}
	for _, p := range more {
		permissions[p] = "write"
	}
	w.SetPermissions(w.installation, permissions)
	w.restart() // GitHub's tokens keep what they were made with
}

// mistake opens a pull request with one mistake, has it reviewed, and returns
// the comment.
func (w *world) mistake() int64 {
	w.t.Helper()
	must(w.t, w.SetPermission(owner, name, "ann", "write"))
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	w.review("pull_request.opened")
	return w.view().Threads[0].Comments[0].ID
}

func (w *world) fix() bot.Posted {
	w.t.Helper()
	w.commit("topic", map[string]string{"a.py": "x = 3\n"})
	return w.review("pull_request.synchronize")
}

func outcomes(p bot.Posted) string {
	var all []string
	for _, o := range p.Outcomes {
		all = append(all, o.What)
	}
	return strings.Join(all, " ")
}

// A mistake that is gone: its thread is resolved if the App may, else the comment
// is taken back if nobody answered or reacted, else it says so itself, or a reply
// does. The same look again does nothing.
func TestGone(t *testing.T) {
	for _, test := range []struct {
		what         string
		contents     bool // the App may write to the code, and so resolve
		reply, react bool
		threads      int
		resolved     bool
		first, last  string // what the first and last comment begin with
		comments     int
	}{
		{what: "nobody spoke", threads: 0},
		{what: "somebody reacted", react: true, threads: 1, first: "Fixed in `", last: "Fixed in `", comments: 1},
		{what: "somebody answered", reply: true, threads: 1, first: "`a` is bfloat16", last: "Fixed in `", comments: 3},
		{what: "the App may resolve", contents: true, threads: 1, resolved: true, first: "`a` is bfloat16", last: "`a` is bfloat16", comments: 1},
		{what: "the App may resolve what was answered", contents: true, reply: true, threads: 1, resolved: true, first: "`a` is bfloat16", last: "Why?", comments: 2},
	} {
		t.Run(test.what, func(t *testing.T) {
			w := newWorld(t)
			if test.contents {
				w.grant("contents")
			}
			id := w.mistake()
			if test.reply {
				_, err := w.Reply(t.Context(), owner, name, w.pull, id, "ann", "Why?")
				must(t, err)
			}
			if test.react {
				must(t, w.React(owner, name, w.pull, id, "ann", "heart"))
			}
			posted := w.fix()
			wantCalls(t, posted.Calls, "files", "graphql", "threads", "check-run")
			if got := outcomes(posted); got != bot.OutcomeFixed {
				t.Errorf("outcomes %q", got)
			}
			for range 2 {
				threads := w.view().Threads
				if len(threads) != test.threads {
					t.Fatalf("%d threads, want %d", len(threads), test.threads)
				}
				for _, th := range threads {
					last := th.Comments[len(th.Comments)-1]
					if (th.ResolvedBy != "") != test.resolved || len(th.Comments) != test.comments ||
						!strings.Contains(th.Comments[0].Body, test.first) || !strings.Contains(last.Body, test.last) {
						t.Errorf("thread %+v", th)
					}
				}
				again := w.review("pull_request.edited")
				wantCalls(t, again.Calls, "files", "graphql")
			}
		})
	}
}

// GitHub may forbid what it said was allowed: then the next best is done, and
// nothing is claimed that did not happen.
func TestGoneAndForbidden(t *testing.T) {
	w := newWorld(t)
	w.grant("contents")
	w.mistake()
	w.SetPermissions(w.installation, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "write", "checks": "write"})
	w.restart()
	w.reviewer.GitHub = &lyingResolver{w.client}
	posted := w.fix()
	wantCalls(t, posted.Calls, "files", "graphql", "threads", "threads:otherwise", "check-run")
	if threads := w.view().Threads; len(threads) != 0 {
		t.Errorf("threads %+v", threads)
	}
}

// A mistake that comes back is said again, in its own thread where that can be
// opened.
func TestBack(t *testing.T) {
	for _, contents := range []bool{false, true} {
		w := newWorld(t)
		if contents {
			w.grant("contents")
		}
		id := w.mistake()
		_, err := w.Reply(t.Context(), owner, name, w.pull, id, "ann", "Why?")
		must(t, err)
		w.fix()
		w.commit("topic", map[string]string{"a.py": "x = MIX\n"})
		posted := w.review("pull_request.synchronize")
		open := 0
		for _, th := range w.view().Threads {
			if th.ResolvedBy == "" && !strings.Contains(th.Comments[len(th.Comments)-1].Body, "Fixed in") {
				open++
			}
		}
		if open != 1 || (len(posted.Comments) == 0) != contents {
			t.Errorf("contents %t: %d open threads, %d new comments", contents, open, len(posted.Comments))
		}
	}
}

// People dismiss a mistake by resolving its thread or by a thumbs-down of
// somebody who may write; it stays dismissed while it stands, and no longer.
func TestDismissed(t *testing.T) {
	for _, test := range []struct {
		what      string
		dismiss   func(w *world, id int64) error
		dismissed bool
		asks      bool // who voted
	}{
		{"resolved", func(w *world, id int64) error {
			return w.ResolveThread(t.Context(), owner, name, w.pull, id, "ann")
		}, true, false},
		{"voted down", func(w *world, id int64) error { return w.React(owner, name, w.pull, id, "ann", "-1") }, true, true},
		{"voted down by a stranger", func(w *world, id int64) error { return w.React(owner, name, w.pull, id, "eve", "-1") }, false, true},
		{"liked", func(w *world, id int64) error { return w.React(owner, name, w.pull, id, "ann", "+1") }, false, false},
		{"answered", func(w *world, id int64) error {
			_, err := w.Reply(t.Context(), owner, name, w.pull, id, "ann", "No.")
			return err
		}, false, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			w := newWorld(t)
			id := w.mistake()
			must(t, test.dismiss(w, id))
			posted := w.review("pull_request.edited")
			if asked := slices.Contains(posted.Calls, "permission"); asked != test.asks {
				t.Errorf("calls %q", posted.Calls)
			}
			if got := outcomes(posted) == bot.OutcomeDismissed; got != test.dismissed {
				t.Errorf("outcomes %q", outcomes(posted))
			}
			summary := func() bool { return strings.Contains(w.view().CheckRuns[0].Summary, "dismissed") }
			if summary() != test.dismissed {
				t.Errorf("check run %s", w.view().CheckRuns[0].Summary)
			}
			// A push that leaves it: it stays so, counted once.
			w.commit("topic", map[string]string{"a.py": "# moved\nx = MIX\n"})
			posted = w.review("pull_request.synchronize")
			if len(posted.Comments) != 0 || summary() != test.dismissed || outcomes(posted) != "" {
				t.Errorf("after a push: %+v", posted)
			}
			w.fix()
			w.commit("topic", map[string]string{"a.py": "x = MIX\n"})
			if posted := w.review("pull_request.synchronize"); summary() || len(w.view().Threads) == 0 {
				t.Errorf("when it is back: %+v", posted)
			}
		})
	}
}

// A comment posted twice is taken back once, unless people speak under both.
func TestTwins(t *testing.T) {
	for _, answered := range []bool{false, true} {
		w := newWorld(t)
		w.mistake()
		job := w.job("pull_request.edited")
		snapshot, review, err := w.reviewer.Look(t.Context(), job)
		must(t, err)
		snapshot.Threads = nil
		report, plan := found(t, snapshot)
		twin := bot.Compose(snapshot, report, plan, w.reviewer.Config)
		review.Comments, review.Body = twin.Comments, twin.Body
		_, err = w.client.Post(t.Context(), snapshot, review)
		must(t, err)
		threads := w.view().Threads
		if len(threads) != 2 {
			t.Fatalf("%d threads", len(threads))
		}
		if answered {
			_, err := w.Reply(t.Context(), owner, name, w.pull, threads[1].Comments[0].ID, "ann", "Twice?")
			must(t, err)
		}
		w.review("pull_request.edited")
		open := 0
		for _, th := range w.view().Threads {
			if th.ResolvedBy == "" && len(th.Comments) == 1 {
				open++
			}
		}
		if open != 1 {
			t.Errorf("answered %t: %d", answered, open)
		}
		wantCalls(t, w.review("pull_request.edited").Calls, "files", "graphql")
	}
}

// TestRenamedFile renames files under their threads: they stand for their mistakes
// still, and nothing is said again.
func TestRenamedFile(t *testing.T) {
	long := strings.Join(pads(24), "\n") + "\n"
	for _, test := range []struct {
		name       string
		base, head map[string]string
	}{
		{"a file of the pull request", map[string]string{"x.py": "x = 1\n"}, map[string]string{"a.py": long + "y = MIX\n"}},
		{"a file of the base", map[string]string{"a.py": long}, map[string]string{"a.py": long + "y = MIX\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.open(test.base, test.head)
			w.review("pull_request.opened")
			first := w.view().Threads[0].Comments[0].ID
			steps := []struct {
				files  map[string]string
				gone   string
				stands bool
			}{
				{map[string]string{"b.py": long + "y = MIX\n"}, "a.py", true},              // as it was
				{map[string]string{"c.py": "z = 0\n" + long + " y = MIX\n"}, "b.py", true}, // with changes
				{map[string]string{"c.py": "z = 0\n" + long + "y = 1\n"}, "", false},
			}
			for _, s := range steps {
				var gone []string
				if s.gone != "" {
					gone = []string{s.gone}
				}
				w.commit("topic", s.files, gone...)
				posted := w.review("pull_request.synchronize")
				threads := w.view().Threads
				if len(posted.Comments) != 0 {
					t.Errorf("%v: said again: %v", s.files, posted.Comments)
				}
				if !s.stands {
					if len(threads) != 0 {
						t.Errorf("the mistake is gone, its comment is not: %+v", threads)
					}
					continue
				}
				if len(threads) != 1 || threads[0].Comments[0].ID != first || threads[0].Resolved {
					t.Errorf("%v: threads %+v", s.files, threads)
				}
				if run := w.view().CheckRuns[0]; run.Conclusion != "neutral" || !strings.Contains(run.Summary, slices.Sorted(maps.Keys(s.files))[0]) {
					t.Errorf("check run %s %s", run.Conclusion, run.Summary)
				}
			}
		})
	}
}
