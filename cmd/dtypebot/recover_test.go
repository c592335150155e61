package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/recovery"
)

// recoverSoon looks for missed work all the time.
func recoverSoon() *recovery.Options {
	return &recovery.Options{Every: 50 * time.Millisecond, Look: 20 * time.Millisecond, Settled: time.Millisecond}
}

// openMany opens n pull requests, each with one wrong file.
func (w *world) openMany(n int) []int {
	w.t.Helper()
	var pulls []int
	for i := range n {
		branch := fmt.Sprintf("wrong-%d", i)
		w.commit(githubsim.CommitOptions{Branch: branch, Author: "mona", Files: map[string]string{fmt.Sprintf("lift%d.py", i): wrongFile}})
		pull, err := w.sim.OpenPull(w.t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: branch, Head: branch, Author: "mona"})
		w.check(err)
		pulls = append(pulls, pull)
	}
	return pulls
}

// wrongFile has one mistake.
const wrongFile = `import torch


def lift(x):
    weight = torch.zeros(3, 3, dtype=torch.float64)
    points = torch.ones(4, 3, dtype=torch.float32)
    return torch.matmul(points, weight)
`

// TestMissedDeliveries starts the bot after webhooks that nobody took, and has
// the way to it broken once more while it runs.
func TestMissedDeliveries(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	w.sim.SetWebhook(w.app.ID, "http://127.0.0.1:1/webhook", testSecret) // nobody listens there
	before := w.openMany(2)
	w.check(w.sim.Wait(t.Context()))
	config := w.config()
	config.Recover = recoverSoon()
	_, stop := startApp(t, config)
	for _, n := range before {
		w.until("reviewed after the start", w.completed(n))
		w.once(n)
	}
	last := w.open()
	w.until("reviewed without a webhook", w.completed(last))
	w.once(last)
	stop()
	for _, d := range w.sim.Deliveries() {
		if d.Redelivery {
			t.Errorf("GitHub was asked to deliver %s again", d.GUID)
		}
	}
}

// TestLostQueue ruins the queue of a bot that was stopped with jobs in it.
func TestLostQueue(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	config := w.config()
	config.DataDir = t.TempDir()
	config.Role = roleAll
	config.Recover = recoverSoon()
	a, stop := startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	first := w.open()
	w.until("reviewed", w.completed(first))
	stop()

	pulls := w.openMany(2) // their webhooks fail, and are no way back here
	w.check(w.sim.Wait(t.Context()))
	metas, err := filepath.Glob(filepath.Join(config.DataDir, "queue", "jetstream", "*", "streams", "REVIEW", "meta.*"))
	if err != nil || len(metas) == 0 {
		t.Fatal(metas, err)
	}
	for _, meta := range metas {
		w.check(os.WriteFile(meta, []byte("ruin"), 0o600))
	}
	config.Recover = recoverSoon()
	config.Recover.Settled = time.Hour // no delivery counts as failed: the sweep alone
	_, stop = startApp(t, config)
	for _, n := range slices.Concat(pulls, []int{first}) {
		w.until("reviewed after the sweep", w.completed(n))
		w.once(n)
	}
	stop()
	aside, err := filepath.Glob(filepath.Join(config.DataDir, "queue.damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Errorf("moved aside: %q, %v", aside, err)
	}
}
