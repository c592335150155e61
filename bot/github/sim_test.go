package github_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
	"github.com/dtypebot/dtypebot/suggestions"
)

// A world is a simulated GitHub with one repository, one App on it and the bot
// in front of it.
type world struct {
	*githubsim.Sim
	t            *testing.T
	transport    http.RoundTripper // of the bot, nil for the usual one
	limits       *github.Limits
	cache        *github.Cache
	base         string // path of the API below the server, "/api/v3" as on an Enterprise Server
	app          githubsim.App
	server       *httptest.Server
	client       *github.App
	installation int64
	reviewer     bot.Reviewer
	pull         int
}

const owner, name = "lab", "nets"

// key is one App's key for all tests: making one takes long.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newWorld(t *testing.T) *world { return newWorldWith(t, githubsim.Limits{}) }

func newWorldWith(t *testing.T, limits githubsim.Limits) *world {
	t.Helper()
	return newWorldOf(t, githubsim.Options{Limits: limits})
}

func newWorldOf(t *testing.T, o githubsim.Options) *world {
	t.Helper()
	o.Dir = t.TempDir()
	sim, err := githubsim.New(o)
	if errors.Is(err, githubsim.ErrNoGit) && os.Getenv("DTYPEBOT_REQUIRE") != "all" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(sim.Close)
	w := &world{Sim: sim, t: t, server: httptest.NewServer(contract.Guard(t, sim))}
	t.Cleanup(w.server.Close)
	sim.SetURL(w.server.URL)
	must(t, sim.AddRepository(t.Context(), owner, name, githubsim.RepositoryOptions{}))
	w.app, err = sim.RegisterApp(githubsim.AppOptions{
		Name:        "dtypebot",
		Key:         key(),
		Permissions: map[string]string{"contents": "read", "pull_requests": "write", "checks": "write"},
		Events:      []string{"pull_request", "check_run", "check_suite", "issue_comment", "pull_request_review_thread", "merge_group", "repository"},
	})
	must(t, err)
	w.installation, err = sim.Install(w.app.ID, owner+"/"+name)
	must(t, err)
	w.restart()
	return w
}

// restart makes a new process of the bot: nothing is remembered.
func (w *world) restart() {
	w.t.Helper()
	client, err := github.New(github.Config{AppID: w.app.ID, Key: w.app.PEM, APIURL: w.server.URL + w.base, UserAgent: "dtypebot/test", Transport: w.transport, Limits: w.limits, Cache: w.cache})
	must(w.t, err)
	w.client = client
	w.reviewer = bot.Reviewer{GitHub: client, Desk: client, Analyse: analyse, Config: bot.Config{Engine: "test"}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit pushes files to a branch and returns the head.
func (w *world) commit(branch string, files map[string]string, deleted ...string) string {
	w.t.Helper()
	sha, err := w.Commit(w.t.Context(), owner, name, githubsim.CommitOptions{Branch: branch, Files: files, Delete: deleted})
	must(w.t, err)
	return sha
}

// open opens a pull request that turns base into head.
func (w *world) open(base, head map[string]string, deleted ...string) {
	w.t.Helper()
	w.commit("", base)
	w.commit("topic", head, deleted...)
	w.pull = w.openPull(githubsim.OpenPullOptions{Title: "Change", Head: "topic"})
}

func (w *world) openPull(opts githubsim.OpenPullOptions) int {
	w.t.Helper()
	n, err := w.OpenPull(w.t.Context(), owner, name, opts)
	must(w.t, err)
	return n
}

// job is what the webhook makes of an event.
func (w *world) job(event string) bot.Job {
	return bot.Job{
		V: bot.JobVersion, Installation: w.installation, Repository: 700_000,
		Owner: owner, Name: name, Pull: w.pull, Event: event, Accepted: time.Now(),
	}
}

func (w *world) review(event string) bot.Posted {
	w.t.Helper()
	posted, err := w.reviewer.Review(w.t.Context(), w.job(event))
	must(w.t, err)
	return posted
}

// analyse stands in for the analyser: every new line that holds MIX is a mistake.
func analyse(_ context.Context, files []analysis.File, _ check.Around) (check.Report, suggestions.Plan, error) {
	report := check.Report{Files: len(files)}
	var plan suggestions.Plan
	for _, f := range files {
		lines := strings.Split(f.Source, "\n")
		for _, h := range f.Hunks {
			for _, n := range h.New {
				if !strings.Contains(lines[n-1], "MIX") {
					continue
				}
				plan.Comments = append(plan.Comments, comment(f.Path, n, n, lines[n-1]))
			}
		}
	}
	return report, plan, nil
}

func comment(path string, first, last int, text string) suggestions.Comment {
	finding := analysis.Finding{
		Rule: "matmul-mixed-dtype", Severity: analysis.High, Confidence: analysis.Certain, Path: path,
		Message: "`a` is bfloat16, `b` float32.", Fingerprint: fmt.Sprintf("%s %s", path, strings.TrimSpace(text)), Pathless: strings.TrimSpace(text),
	}
	return suggestions.Comment{
		Path: path, First: first, Last: last, Anchored: true,
		Findings: []analysis.Finding{finding}, Fingerprint: finding.Fingerprint,
	}
}

// writes counts the requests that change something, by route.
func (w *world) writes() (reviews, checkRuns int) {
	for _, c := range w.Calls() {
		if c.Method == http.MethodGet || c.Status/100 != 2 {
			continue
		}
		switch {
		case strings.HasSuffix(c.Route, "/reviews"):
			reviews++
		case strings.Contains(c.Route, "/check-runs"):
			checkRuns++
		}
	}
	return reviews, checkRuns
}

// api counts the requests for the App's work without the token.
func (w *world) api() int {
	n := 0
	for _, c := range w.Calls() {
		if !strings.HasSuffix(c.Route, "/access_tokens") {
			n++
		}
	}
	return n
}

func wantCalls(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestCalls(t *testing.T) {
	tests := []struct {
		name string
		head map[string]string
		want []string
	}{
		{"no Python file: 2", map[string]string{"README.md": "new\n"}, []string{"files", "check-run"}},
		{"clean: 3", map[string]string{"a.py": "x = 2\n"}, []string{"files", "graphql", "check-run"}},
		{"findings: 4", map[string]string{"a.py": "x = MIX\n", "b.py": "y = MIX\n"}, []string{"files", "graphql", "review", "check-run"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"README.md": "old\n", "a.py": "x = 1\n"}, test.head)
			posted := w.review("pull_request.opened")
			wantCalls(t, posted.Calls, test.want...)
			if n := w.api(); n != len(test.want) {
				t.Errorf("%d requests reached GitHub, want %d", n, len(test.want))
			}

			// The same event again, another event for the same head, and the
			// same after a restart write nothing.
			for _, event := range []string{"pull_request.opened", "pull_request.edited", "restart"} {
				if event == "restart" {
					w.restart()
				}
				w.ResetCalls()
				posted := w.review(event)
				if reviews, runs := w.writes(); reviews != 0 || runs != 0 {
					t.Errorf("%s: %d reviews and %d check runs are written again", event, reviews, runs)
				}
				wantCalls(t, posted.Calls, "files", "graphql")
			}

			// A person asks for a re-run: one write.
			w.ResetCalls()
			job := w.job("check_run.rerequested")
			job.Rerun = true
			if _, err := w.reviewer.Review(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			if reviews, runs := w.writes(); reviews != 0 || runs != 1 {
				t.Errorf("a re-run: %d reviews and %d check runs", reviews, runs)
			}
		})
	}
}

func TestEnterpriseServer(t *testing.T) {
	w := newWorld(t)
	w.base = "/api/v3"
	w.restart()
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "graphql", "review", "check-run")
}
