package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPrecisionKept starts the bot again between a comment and its dismissal: both
// are counted in the end, by rule and repository.
func TestPrecisionKept(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	config := w.config()
	config.DataDir = t.TempDir()
	counted := func(a *app, outcome string) {
		t.Helper()
		line := fmt.Sprintf(`dtypebot_comments_total{outcome=%q,repository="octo/lift",rule="matmul-mixed-dtype"} 1`, outcome)
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			_, text := get(t, a.AdminAddr(), "/metrics")
			if strings.Contains(text, line) {
				return
			}
			if time.Since(begin) > serveLimit {
				t.Fatalf("no line %s", line)
			}
		}
	}
	a, stop := startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	n := w.open()
	w.until("the review", w.completed(n))
	counted(a, "posted")
	stop()

	a, _ = startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	w.check(w.sim.ResolveThread(t.Context(), "octo", "lift", n, w.pull(n).Threads[0].Comments[0].ID, "mona"))
	counted(a, "dismissed")
	counted(a, "posted")
}
