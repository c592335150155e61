package github_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

func TestIdentity(t *testing.T) {
	w := newWorld(t)
	who, err := w.client.Identity(t.Context())
	must(t, err)
	if who.ID != w.app.ID || who.Login() != w.app.Login || len(github.Missing(who.Permissions)) != 0 || who.Ahead.Abs() > 5*time.Second {
		t.Errorf("identity %+v", who)
	}
	w.SetPermissions(w.installation, map[string]string{"contents": "read", "pull_requests": "read"})
	accounts, more, err := w.client.Accounts(t.Context())
	must(t, err)
	if len(accounts) != 1 || more || accounts[0].Installation != w.installation || accounts[0].Login != owner || accounts[0].Suspended {
		t.Fatalf("accounts %+v", accounts)
	}
	if got, want := github.Missing(accounts[0].Permissions), []string{"checks: write", "pull_requests: write"}; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
	id, err := w.client.InstallationOf(t.Context(), owner, name)
	if err != nil || id != w.installation {
		t.Errorf("installation %d, %v", id, err)
	}
	must(t, w.AddRepository(t.Context(), "other", "repo", githubsim.RepositoryOptions{}))
	if _, err := w.client.InstallationOf(t.Context(), "other", "repo"); !errors.As(err, new(bot.Drop)) {
		t.Errorf("not installed: %v", err)
	}

	w.Fault(nil)
	w.app.ID++
	w.restart()
	_, err = w.client.Identity(t.Context())
	if e, ok := errors.AsType[*github.Error](err); !ok || e.Status != 404 {
		t.Errorf("unknown App: %v", err)
	}
}

// TestState reads what an excuse needs, without GraphQL.
func TestState(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	w.review("pull_request.opened")
	snapshot, err := w.client.State(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	wantCalls(t, snapshot.Calls, "pull", "check-runs")
	full, err := w.client.Snapshot(t.Context(), w.job("restart"))
	must(t, err)
	if snapshot.Head != full.Head || snapshot.Owner != owner || snapshot.Name != name || snapshot.URL != full.URL || !slices.Equal(snapshot.CheckRuns, full.CheckRuns) {
		t.Errorf("state %+v\nsnapshot %+v", snapshot, full)
	}
	// It is written once, and the review behind it takes its place.
	for range 2 {
		_, err := w.reviewer.GiveUp(t.Context(), w.job("pull_request.opened"), "odd code")
		must(t, err)
	}
	if _, runs := w.writes(); runs != 2 {
		t.Errorf("%d check runs are written, want the review's and the excuse", runs)
	}
	w.review("pull_request.synchronize")
	if runs := w.CheckRuns(owner, name, snapshot.Head); runs[0].Title != full.CheckRuns[0].Title {
		t.Errorf("after a review stands %+v", runs[0])
	}

	must(t, w.ClosePull(t.Context(), owner, name, w.pull, "ann"))
	if _, err := w.client.State(t.Context(), w.job("pull_request.opened")); !errors.As(err, new(bot.Drop)) {
		t.Errorf("closed: %v", err)
	}
}
