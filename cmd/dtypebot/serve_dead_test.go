package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/suggestions"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestServeGivesUp panics while it composes the review: three tries later the
// pull request says so, the process goes on, and a re-run reviews it.
func TestServeGivesUp(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	log := new(lockedBuffer)
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	config.Queue.Backoff = time.Millisecond
	var running atomic.Pointer[app]
	var mended atomic.Bool
	config.Handle = func(ctx context.Context, j bot.Job) error {
		a := running.Load()
		r := *a.reviewer
		if !mended.Load() {
			r.Config.Markdown = func(suggestions.Comment, func(string, int) string) string { panic("odd code") }
		}
		_, err := r.Review(ctx, j)
		return err
	}
	a, stop := startApp(t, config)
	running.Store(a)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	n := w.open()
	w.until("the excuse", w.completed(n))
	p := w.pull(n)
	run := p.CheckRuns[0]
	if len(p.Threads) != 0 || len(p.CheckRuns) != 1 || run.Conclusion != "neutral" || run.Title != "Could not be reviewed" || !strings.Contains(run.Summary, "panic: odd code") {
		t.Errorf("%d threads, check runs %+v", len(p.Threads), p.CheckRuns)
	}
	if text := log.String(); strings.Count(text, "job panicked") != 3 || !strings.Contains(text, "bot.Compose") {
		t.Errorf("the log lacks the stacks:\n%s", text)
	}
	letters, err := a.queue.DeadLetters(t.Context())
	w.check(err)
	if len(letters) != 1 || letters[0].Job.Pull != n {
		t.Errorf("dead letters %+v", letters)
	}

	mended.Store(true)
	w.check(w.sim.RerequestCheckRun("octo", "lift", run.ID, "mona"))
	w.until("the review", func() bool { return len(w.pull(n).Threads) == 1 })
	stop()
	var creates int
	for _, c := range w.sim.Calls() {
		if c.Method == "POST" && strings.HasSuffix(c.Route, "/check-runs") {
			creates++
		}
	}
	if creates != 2 {
		t.Errorf("%d check runs were made, want the excuse and the review's", creates)
	}
}

// TestServeOutage has GitHub fail more often than a job may be tried.
func TestServeOutage(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	var running atomic.Pointer[app]
	var tries atomic.Int32
	config.Handle = func(ctx context.Context, j bot.Job) error {
		if tries.Add(1) == 6 {
			w.sim.Fault(nil)
		}
		err := running.Load().review(ctx, j)
		if retry, ok := errors.AsType[bot.Retry](err); ok { // none of the delay is waited
			retry.After = time.Millisecond
			return retry
		}
		return err
	}
	config.Queue.LeaseRetry = time.Millisecond
	a, stop := startApp(t, config)
	running.Store(a)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	w.sim.Fault(func(*http.Request) *githubsim.Fault { return &githubsim.Fault{Status: 502, Body: "<html>"} })
	n := w.open()
	w.until("the review", w.completed(n))
	stop()
	w.once(n)
	if got := tries.Load(); got < 6 { // other jobs, of the default branch, come through here too
		t.Errorf("%d tries", got)
	}
}
