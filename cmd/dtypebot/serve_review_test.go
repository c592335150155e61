package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
)

// world is a simulated GitHub with one repository, octo/lift, in which the App
// is installed.
type world struct {
	t   *testing.T
	sim *githubsim.Sim
	app githubsim.App
	url string
}

func newWorld(t *testing.T) *world { return newWorldWith(t, githubsim.Options{}) }

func newWorldWith(t *testing.T, o githubsim.Options) *world {
	t.Helper()
	o.Dir = t.TempDir()
	sim, err := githubsim.New(o)
	if errors.Is(err, githubsim.ErrNoGit) {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	api := httptest.NewServer(contract.Guard(t, sim))
	t.Cleanup(api.Close)
	sim.SetURL(api.URL)
	w := &world{t: t, sim: sim, url: api.URL + "/"}
	m := readManifest(t) // what it does not ask for, the simulator refuses
	w.app, err = sim.RegisterApp(githubsim.AppOptions{
		Name: "dtypebot", Secret: testSecret, Events: m.DefaultEvents, Permissions: m.DefaultPermissions,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.check(sim.AddRepository(t.Context(), "octo", "lift", githubsim.RepositoryOptions{}))
	w.commit(githubsim.CommitOptions{Files: map[string]string{"README.md": "# Lift\n"}})
	_, err = sim.Install(w.app.ID, "octo/lift")
	w.check(err)
	w.check(sim.SetPermission("octo", "lift", "mona", "write"))
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) commit(o githubsim.CommitOptions) {
	w.t.Helper()
	_, err := w.sim.Commit(w.t.Context(), "octo", "lift", o)
	w.check(err)
}

// wrongLift is a file with one mistake.
const wrongLift = `import torch


def lift(x):
    weight = torch.zeros(3, 3, dtype=torch.float64)
    points = torch.ones(4, 3, dtype=torch.float32)
    return torch.matmul(points, weight)
`

// open opens a pull request that adds one wrong file, and returns its number.
func (w *world) open() int {
	w.t.Helper()
	w.commit(githubsim.CommitOptions{Branch: "feature", Author: "mona", Files: map[string]string{"lift.py": wrongLift}})
	n, err := w.sim.OpenPull(w.t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Lift", Head: "feature", Author: "mona"})
	w.check(err)
	return n
}

// config is an app's configuration for this world.
func (w *world) config() appConfig {
	return appConfig{serveConfig: serveConfig{AppID: w.app.ID, Key: w.app.PEM, APIURL: w.url}}
}

// until waits for something to become true in the world.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*serveLimit)
	defer cancel()
	if err := w.sim.Until(ctx, cond); err != nil {
		w.t.Fatalf("%s: %v; calls: %+v", what, err, w.sim.Calls())
	}
}

// pull is the pull request as it looks now.
func (w *world) pull(n int) githubsim.PullView {
	w.t.Helper()
	p, ok := w.sim.Pull(w.t.Context(), "octo", "lift", n)
	if !ok {
		w.t.Fatalf("no pull request %d", n)
	}
	return p
}

// once fails unless the pull request has one review, one comment and one check
// run, which is completed.
func (w *world) once(n int) {
	w.t.Helper()
	p := w.pull(n)
	if len(p.Reviews) != 1 || len(p.Threads) != 1 || len(p.CheckRuns) != 1 || p.CheckRuns[0].Status != "completed" {
		w.t.Errorf("%d reviews, %d threads, check runs %+v; want one of each", len(p.Reviews), len(p.Threads), p.CheckRuns)
	}
}

func (w *world) completed(n int) func() bool {
	return func() bool {
		p := w.pull(n)
		return len(p.CheckRuns) > 0 && p.CheckRuns[0].Status == "completed"
	}
}

// TestServeReviews goes from the opened pull request to the review on it.
func TestServeReviews(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	limits := github.DefaultLimits()
	config.Limits = &limits
	reviewed := make(chan bot.Posted, 10)
	config.Reviewed = func(_ bot.Job, p bot.Posted) { reviewed <- p }
	a, stop := startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	n := w.open()
	w.until("the review", w.completed(n))
	w.once(n)
	select {
	case p := <-reviewed:
		if len(p.Comments) != 1 || p.CheckRun == 0 {
			t.Errorf("posted %+v", p)
		}
	case <-time.After(serveLimit):
		t.Error("Reviewed was not called")
	}
	// The same delivery again posts nothing twice.
	for _, d := range w.sim.Deliveries() {
		if d.StatusCode >= 300 {
			t.Errorf("%s.%s was answered %d %s", d.Event, d.Action, d.StatusCode, d.Status)
		}
		if d.Event == "pull_request" {
			w.check(w.sim.Redeliver(d.GUID))
		}
	}
	select {
	case <-reviewed:
	case <-time.After(serveLimit):
		t.Error("the second delivery was not worked on")
	}
	w.once(n)
	// The button asks for a new look.
	w.check(w.sim.RerequestCheckRun("octo", "lift", w.pull(n).CheckRuns[0].ID, "mona"))
	select {
	case p := <-reviewed:
		if len(p.Comments) != 0 || p.Reviews != 0 {
			t.Errorf("after a re-run: posted %+v", p)
		}
	case <-time.After(serveLimit):
		t.Error("the re-run was not worked on")
	}
	_, text := get(t, a.AdminAddr(), "/metrics")
	for _, want := range []string{
		`dtypebot_github_calls_total{call="review"} 1`,
		`dtypebot_github_rate_remaining{installation="50000",limit="core"} 49`, // of 5,000
		`dtypebot_github_rate_remaining{installation="50000",limit="content_hour"} 474`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	stop()
}

// TestServeKilledReview kills the process as soon as GitHub has its 202. The
// next start posts exactly one review and completes one check run.
func TestServeKilledReview(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeChild$")
	cmd.Env = append(os.Environ(), serveChild+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	w.check(err)
	w.check(cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "listens %s", &addr)
	}
	w.sim.SetWebhook(w.app.ID, "http://"+addr+"/webhook", testSecret)
	n := w.open()
	w.until("the delivery", func() bool {
		for _, d := range w.sim.Deliveries() {
			if d.Event == "pull_request" && d.StatusCode == http.StatusAccepted {
				return true
			}
		}
		return false
	})
	w.check(cmd.Process.Kill())
	_ = cmd.Wait() // it was killed

	config := w.config()
	config.DataDir = dir
	a, stop := startApp(t, config)
	w.until("the review", w.completed(n))
	stop()
	w.once(n)
	if d, err := a.queue.Depth(t.Context()); err == nil {
		t.Errorf("the queue answers after the end: %+v", d)
	}
}

// TestServeAnswerLost loses GitHub's answer to each writing once, after it took
// effect: the next try finds what stands, and posts nothing twice.
func TestServeAnswerLost(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	config := w.config()
	// Whatever delay is asked for after a failure, none is waited.
	var reviewer atomic.Pointer[app]
	config.Handle = func(ctx context.Context, j bot.Job) error {
		err := reviewer.Load().review(ctx, j)
		if retry, ok := errors.AsType[bot.Retry](err); ok {
			retry.After = time.Millisecond
			return retry
		}
		return err
	}
	config.Queue.Backoff, config.Queue.LeaseRetry = time.Millisecond, time.Millisecond
	a, stop := startApp(t, config)
	reviewer.Store(a)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	var mu sync.Mutex
	lost := make(map[string]bool)
	w.sim.Fault(func(r *http.Request) *githubsim.Fault {
		mu.Lock()
		defer mu.Unlock()
		what := ""
		for _, end := range []string{"/reviews", "/check-runs"} {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, end) {
				what = end
			}
		}
		if what == "" || lost[what] {
			return nil
		}
		lost[what] = true
		return &githubsim.Fault{Drop: true, After: true}
	})
	n := w.open()
	w.until("the review", func() bool {
		mu.Lock()
		both := len(lost) == 2
		mu.Unlock()
		return both && w.completed(n)()
	})
	for begin := time.Now(); ; time.Sleep(time.Millisecond) { // until the job is off the queue
		d, err := a.queue.Depth(t.Context())
		w.check(err)
		if d.Dead != 0 {
			t.Fatal("the job was given up")
		}
		if d.Waiting == 0 {
			break
		}
		if time.Since(begin) > serveLimit {
			t.Fatal("the job does not end")
		}
	}
	stop()
	w.once(n)
}
