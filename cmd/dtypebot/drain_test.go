package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
)

// TestDrain ends a bot that has one job at work and is sent another meanwhile:
// readiness says no first, the webhook is still taken, the job at work ends, and
// the other one is there at the next start.
func TestDrain(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	began, release := make(chan bot.Job, 10), make(chan struct{})
	finished := make(chan bot.Job, 10)
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	a, err := newApp(t.Context(), appConfig{
		serveConfig: serveConfig{
			AppID: 12, Key: []byte(appKey()), Secrets: []string{testSecret}, APIURL: api.URL,
			Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", DataDir: dir, Replicas: 1, Role: roleAll, Workers: 1,
		},
		Drain: 500 * time.Millisecond,
		Handle: func(_ context.Context, j bot.Job) error {
			began <- j
			<-release
			finished <- j
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	if status := push(t, a.Addr(), 1); status != http.StatusAccepted {
		t.Fatal(status)
	}
	nextJob(t, began)
	for end := time.Now().Add(serveLimit); ; time.Sleep(time.Millisecond) {
		if status, _ := get(t, a.Addr(), "/readyz"); status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never ready")
		}
	}
	cancel()
	for end := time.Now().Add(serveLimit); ; time.Sleep(time.Millisecond) {
		if status, _ := get(t, a.Addr(), "/readyz"); status == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(end) {
			t.Fatal("readiness does not drop")
		}
	}
	if status := push(t, a.Addr(), 2); status != http.StatusAccepted {
		t.Errorf("a webhook while the load is moved away: %d", status)
	}
	if status, _ := get(t, a.Addr(), "/healthz"); status != http.StatusOK {
		t.Errorf("health while it ends: %d", status)
	}
	close(release)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(serveLimit):
		t.Fatal("it does not end")
	}
	if j := nextJob(t, finished); j.Pull != 1 || len(began) > 0 {
		t.Errorf("job %d finished, %d more began", j.Pull, len(began))
	}
	jobs, handle := jobsOf()
	_, stop := startApp(t, appConfig{serveConfig: serveConfig{DataDir: dir}, Handle: handle, Queue: queue.Options{LeaseRetry: 10 * time.Millisecond}})
	if j := nextJob(t, jobs); j.Pull != 2 {
		t.Errorf("job %d is left, want 2", j.Pull)
	}
	stop()
}
