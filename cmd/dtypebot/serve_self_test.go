package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// TestServeOwnEvents learns the App's name after GitHub's disturbance is over,
// and then ignores what its own account does to pull requests.
func TestServeOwnEvents(t *testing.T) {
	w := newWorld(t)
	asked := make(chan struct{}, 100)
	w.sim.Fault(func(r *http.Request) *githubsim.Fault {
		if !strings.HasSuffix(r.URL.Path, "/app") {
			return nil
		}
		asked <- struct{}{}
		return &githubsim.Fault{Status: http.StatusBadGateway, Body: "<html>"}
	})
	a, _ := startApp(t, w.config())
	<-asked
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	n := w.open()
	w.until("the review without a name", w.completed(n))

	w.sim.Fault(nil)
	for begin := time.Now(); a.self() == ""; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > serveLimit {
			t.Fatal("the App's name is not learned")
		}
	}
	if got := a.self(); got != w.app.Login {
		t.Errorf("name %q, want %q", got, w.app.Login)
	}
	answers := func(sender string) (code int) {
		t.Helper()
		before := len(w.sim.Deliveries())
		_, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "By " + sender, Head: "by-" + sender[:4], Author: sender})
		w.check(err)
		w.until("the delivery", func() bool {
			for _, d := range w.sim.Deliveries()[before:] {
				if d.Event == "pull_request" && d.StatusCode != 0 {
					code = d.StatusCode
				}
			}
			return code != 0
		})
		return code
	}
	for sender, want := range map[string]int{"mona": http.StatusAccepted, w.app.Login: http.StatusNoContent} {
		w.commit(githubsim.CommitOptions{Branch: "by-" + sender[:4], Author: sender, Files: map[string]string{"README.md": sender}})
		if got := answers(sender); got != want {
			t.Errorf("an event of %s was answered %d, want %d", sender, got, want)
		}
	}
}
