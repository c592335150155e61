package github_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
)

// A clock stands still until somebody sleeps.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) sleep(_ context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return nil
}

// limited is a world with a quarter of GitHub's limits, and a bot that keeps
// them by the same clock.
func limited(t *testing.T, core int) (*world, *clock) {
	t.Helper()
	c := &clock{at: time.Now()}
	w := newWorldOf(t, githubsim.Options{
		Clock: c.now, Limits: githubsim.Limits{Core: core},
		Secondary: &githubsim.Secondary{Points: 225, Queries: 500, Content: 20, ContentHour: 125},
	})
	limits := github.DefaultLimits()
	limits.Points, limits.Queries, limits.Content, limits.ContentHour = limits.Points/4, limits.Queries/4, limits.Content/4, limits.ContentHour/4
	w.limits = &limits
	w.restart()
	w.client.SetClock(c.now, c.sleep)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	return w, c
}

// drive does jobs one after another for as long as span takes, as the queue
// would, and returns how many came to an end.
func drive(t *testing.T, w *world, c *clock, span time.Duration, work func(bot.Job) error) (done int) {
	t.Helper()
	job := w.job("pull_request.edited")
	for end := c.now().Add(span); c.now().Before(end); {
		if d := w.client.Admit(job, 0); d > 0 {
			_ = c.sleep(t.Context(), d) // it never fails
			continue
		}
		err := work(job)
		retry, limited := errors.AsType[bot.Retry](err)
		switch {
		case limited && retry.Whole:
			_ = c.sleep(t.Context(), retry.After)
		case err != nil:
			t.Fatal(err)
		default:
			done++
		}
	}
	return done
}

// TestLimits works against each of GitHub's limits: none is ever exceeded, and
// at least nine tenths of what it allows are used.
func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name    string
		core    int
		span    time.Duration
		work    func(w *world) func(bot.Job) error
		allowed int // jobs
	}{
		{"content", 0, 59 * time.Minute, func(w *world) func(bot.Job) error {
			snapshot, err := w.client.Snapshot(t.Context(), w.job("pull_request.edited"))
			must(t, err)
			return func(bot.Job) error {
				_, err := w.client.Post(t.Context(), snapshot, bot.Review{
					Owner: owner, Name: name, Pull: w.pull, Head: snapshot.Head, Body: "b",
					Comments: []bot.ReviewComment{{Path: "a.py", Line: 1, Body: "c"}}, Check: bot.Check{Unchanged: true},
				})
				return err
			}
		}, 125},
		{"points", 50_000, 2 * time.Minute, func(w *world) func(bot.Job) error {
			n := 0
			return func(job bot.Job) error {
				snapshot, err := w.client.Snapshot(t.Context(), job)
				if err != nil {
					return err
				}
				n++
				_, err = w.client.Post(t.Context(), snapshot, bot.Review{
					Owner: owner, Name: name, Pull: w.pull, Head: snapshot.Head,
					Check: bot.Check{Name: "dtypebot", ExternalID: fmt.Sprint(n), Conclusion: "success", Title: "t", Summary: "s"},
				})
				return err
			}
		}, 2 * 225 / 6},
		{"primary", 300, 59 * time.Minute, func(w *world) func(bot.Job) error {
			return func(job bot.Job) error {
				_, err := w.client.State(t.Context(), job)
				return err
			}
		}, 300 / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, c := limited(t, test.core)
			done := drive(t, w, c, test.span, test.work(w))
			if exceeded := w.Exceeded(); len(exceeded) > 0 {
				t.Errorf("limits exceeded: %v", exceeded)
			}
			t.Logf("%d jobs, %d allowed (%d %%)", done, test.allowed, 100*done/test.allowed)
			if done*10 < test.allowed*9 {
				t.Errorf("%d jobs of %d that GitHub allows", done, test.allowed)
			}
		})
	}
}

// TestShare has three processes at one installation: together they keep the
// limits that each of them would use up.
func TestShare(t *testing.T) {
	w, c := limited(t, 0)
	var apps []*github.App
	for range 3 {
		w.restart()
		w.client.SetClock(c.now, c.sleep)
		w.client.Share(3)
		apps = append(apps, w.client)
	}
	snapshot, err := w.client.Snapshot(t.Context(), w.job("pull_request.edited"))
	must(t, err)
	posted := 0
	for end := c.now().Add(2 * time.Minute); c.now().Before(end); _ = c.sleep(t.Context(), time.Second) {
		for _, app := range apps {
			if app.Admit(w.job("pull_request.edited"), 0) > 0 {
				continue
			}
			_, err := app.Post(t.Context(), snapshot, bot.Review{
				Owner: owner, Name: name, Pull: w.pull, Head: snapshot.Head, Body: "b",
				Comments: []bot.ReviewComment{{Path: "a.py", Line: 1, Body: "c"}}, Check: bot.Check{Unchanged: true},
			})
			must(t, err)
			posted++
		}
	}
	if exceeded := w.Exceeded(); len(exceeded) > 0 || posted < 30 { // 40 are allowed, 3 times 6 a minute
		t.Errorf("%d posted, limits exceeded: %v", posted, exceeded)
	}
}

// TestReserve keeps the last requests of the hour for what a person asked for.
func TestReserve(t *testing.T) {
	w, _ := limited(t, 60)
	job := w.job("pull_request.edited")
	for n := 0; w.client.Admit(job, 0) == 0; n++ {
		if _, err := w.client.State(t.Context(), job); err != nil || n == 60 {
			t.Fatal(n, err)
		}
	}
	if d := w.client.Admit(job, 0); d < 10*time.Minute {
		t.Errorf("a push waits %s", d)
	}
	job.Rerun = true
	if d := w.client.Admit(job, 0); d != 0 {
		t.Errorf("a person waits %s", d)
	}
}

// TestConcurrent sends more requests at once than GitHub allows.
func TestConcurrent(t *testing.T) {
	w := newWorldOf(t, githubsim.Options{Latency: 20 * time.Millisecond, Secondary: &githubsim.Secondary{Concurrent: 5}})
	w.limits = &github.Limits{Concurrent: 5}
	w.restart()
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if _, err := w.client.State(t.Context(), w.job("pull_request.edited")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if exceeded := w.Exceeded(); len(exceeded) > 0 {
		t.Errorf("limits exceeded: %v", exceeded)
	}
	beside := 0
	for _, c := range w.Calls() {
		beside = max(beside, c.Beside)
	}
	if beside != 4 {
		t.Errorf("at most %d requests beside another, want 4: the limit is used and kept", beside)
	}
}

// TestSilence obeys a limit that GitHub tells, with each of its forms, and asks
// nothing until the time has come.
func TestSilence(t *testing.T) {
	for name, fault := range map[string]githubsim.Fault{
		"403 and retry-after": {Status: 403, Body: `{"message":"You have exceeded a secondary rate limit"}`, Header: http.Header{"Retry-After": {"120"}}},
		"429 and retry-after": {Status: 429, Body: `{"message":"slow down"}`, Header: http.Header{"Retry-After": {"120"}}},
		"429":                 {Status: 429, Body: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := limited(t, 0)
			w.faultOn("/files", 1, fault)
			job := w.job("pull_request.edited")
			_, err := w.client.Snapshot(t.Context(), job)
			if retry, ok := errors.AsType[bot.Retry](err); !ok || !retry.Whole || !retry.HandBack || retry.After < time.Minute {
				t.Fatalf("error %#v", err)
			}
			w.ResetCalls()
			for range 50 {
				if d := w.client.Admit(job, 0); d <= 0 || d > 2*time.Minute {
					t.Fatalf("admitted after %s", d)
				}
				if _, err := w.client.Snapshot(t.Context(), job); err == nil {
					t.Fatal("GitHub was asked")
				}
			}
			if calls := w.Calls(); len(calls) > 0 {
				t.Errorf("calls against GitHub's word: %v", calls)
			}
			_ = c.sleep(t.Context(), 2*time.Minute)
			if d := w.client.Admit(job, 0); d != 0 {
				t.Errorf("waits %s more", d)
			}
		})
	}
}

// TestDown leaves a GitHub alone that does not answer, and finds it again.
func TestDown(t *testing.T) {
	var down atomic.Bool
	var asked atomic.Int64
	down.Store(true)
	w := newWorld(t)
	inner := contract.Guard(t, w.Sim)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			http.Error(rw, "unicorn", http.StatusBadGateway)
			return
		}
		inner.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	limits := github.Limits{Failures: 5, Rest: 300 * time.Millisecond}
	client, err := github.New(github.Config{AppID: w.app.ID, Key: w.app.PEM, APIURL: front.URL, Limits: &limits})
	must(t, err)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	job := w.job("pull_request.edited")
	for range 100 {
		_, err := client.Snapshot(t.Context(), job)
		if retry, ok := errors.AsType[bot.Retry](err); !ok || !retry.Outage || !retry.HandBack {
			t.Fatalf("error %#v", err)
		}
	}
	if n := asked.Load(); n > 10 {
		t.Errorf("a GitHub that is down was asked %d times", n)
	}
	if d := client.Admit(job, 0); d <= 0 || d > time.Second {
		t.Errorf("the next job waits %s", d)
	}
	down.Store(false)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if client.Admit(job, 0) > 0 {
			continue
		}
		if _, err = client.Snapshot(t.Context(), job); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("GitHub is not found again: %v", err)
		}
	}
}
