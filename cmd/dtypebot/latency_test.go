package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// TestLatency gives each answer of GitHub's 100 ms: a pull request of ten files
// with mistakes has its review four answers and 150 ms after the webhook. The
// best of five counts, as the machine may have other things to do.
func TestLatency(t *testing.T) {
	onlySlow(t)
	const answer = 100 * time.Millisecond
	const limit = 4*answer + 150*time.Millisecond
	w := newWorldWith(t, githubsim.Options{Latency: answer})
	config := w.config()
	reviewed := make(chan bot.Job, 10)
	config.Reviewed = func(job bot.Job, posted bot.Posted) {
		if job.Command == nil {
			reviewed <- job
		}
	}
	a, stop := startApp(t, config)
	defer stop()
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	for try := range 5 {
		branch := fmt.Sprint("feature", try)
		files := map[string]string{}
		for i := range 10 {
			files[fmt.Sprintf("m%d/lift%d.py", try, i)] = strings.Replace(wrongLift, "def lift", fmt.Sprintf("def lift%d", i), 1)
		}
		w.commit(githubsim.CommitOptions{Branch: branch, Author: "mona", Files: files})
		w.sim.ResetCalls()
		n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Lift", Head: branch, Author: "mona"})
		w.check(err)
		var job bot.Job
		select {
		case job = <-reviewed:
		case <-time.After(serveLimit):
			t.Fatal("no review")
		}
		if p := w.pull(n); len(p.Threads) != 10 {
			t.Fatalf("%d threads", len(p.Threads))
		}
		for _, c := range w.sim.Calls() {
			if !strings.HasSuffix(c.Route, "/reviews") {
				continue
			}
			took := c.At.Add(answer).Sub(job.Accepted)
			t.Logf("try %d: %s", try, took.Round(time.Millisecond))
			if took <= limit {
				return
			}
		}
	}
	t.Errorf("no review within %s", limit)
}
