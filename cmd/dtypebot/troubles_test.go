package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// TestGitHubTroubles has GitHub answer wrongly for a while, in each way it knows:
// when that is over the reviews come by themselves, once, without a restart.
func TestGitHubTroubles(t *testing.T) {
	onlySlow(t)
	t.Parallel() // it mostly waits
	w := newWorld(t)
	config := w.config()
	config.Analyse = analyse
	limits := github.DefaultLimits()
	limits.Rest, limits.Spacing = 100*time.Millisecond, 0
	config.Limits = &limits
	config.Queue.Backoff, config.Queue.LeaseRetry = time.Millisecond, time.Millisecond
	var reviewer atomic.Pointer[app]
	config.Handle = func(ctx context.Context, j bot.Job) error {
		err := reviewer.Load().review(ctx, j)
		if retry, ok := errors.AsType[bot.Retry](err); ok { // delays are for real GitHubs
			retry.After, retry.Outage = 20*time.Millisecond, false
			return retry
		}
		return err
	}
	a, stop := startApp(t, config)
	reviewer.Store(a)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	for i, fault := range []githubsim.Fault{
		{Status: 502, Body: "<html>unicorn"},
		{Status: 500, Body: `{"message":"Server Error"}`},
		{Status: 503},
		{Drop: true},
		{Drop: true, After: true},
		{Truncate: 30},
		{Delay: 50 * time.Millisecond, Drop: true},
		{Status: 429, Body: `{}`, Header: http.Header{"Retry-After": {"1"}}},
	} {
		var left atomic.Int64
		left.Store(12) // more than the failures that rest GitHub
		w.sim.Fault(func(r *http.Request) *githubsim.Fault {
			if left.Add(-1) < 0 {
				return nil
			}
			f := fault
			return &f
		})
		if fault.Status == 429 {
			left.Store(1) // the next would be against GitHub's word
		}
		branch := fmt.Sprintf("trouble-%d", i)
		w.commit(githubsim.CommitOptions{Branch: branch, Author: "mona", Files: map[string]string{branch + ".py": wrongFile}})
		n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: branch, Head: branch, Author: "mona"})
		w.check(err)
		w.until(fmt.Sprintf("the review after %+v", fault), w.completed(n))
		if left.Load() >= 0 {
			t.Errorf("%+v: reviewed before the trouble was over", fault)
		}
		for end := time.Now().Add(serveLimit); ; time.Sleep(time.Millisecond) {
			d, err := a.queue.Depth(t.Context())
			w.check(err)
			if d.Dead != 0 {
				t.Fatalf("%+v: the job was given up", fault)
			}
			if d.Waiting == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%+v: the job does not end", fault)
			}
		}
		w.once(n)
	}
	stop()
}
