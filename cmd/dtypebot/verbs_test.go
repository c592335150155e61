package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// env is the environment of the world's App.
func (w *world) env() map[string]string {
	return map[string]string{
		"GITHUB_APP_ID": itoa(w.app.ID), "GITHUB_PRIVATE_KEY": string(w.app.PEM), "GITHUB_WEBHOOK_SECRET": testSecret,
		"GITHUB_API_URL": w.url, "DATA_DIR": filepath.Join(w.t.TempDir(), "data"),
	}
}

func itoa(n int64) string {
	text, _ := json.Marshal(n) // a number always marshals
	return string(text)
}

// runEnv runs a verb with an environment of its own.
func runEnv(t *testing.T, verb func(envconfig.Lookuper) *cobra.Command, env map[string]string, args ...string) (string, error) {
	t.Helper()
	cmd := verb(envconfig.MapLookuper(env))
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// wantText fails unless all of want are in the text.
func wantText(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(text, s) {
			t.Errorf("%q is missing in:\n%s", s, text)
		}
	}
}

// nothingWritten fails if a request changed something at GitHub.
func (w *world) nothingWritten() {
	w.t.Helper()
	for _, c := range w.sim.Calls() {
		if c.Method != http.MethodGet && c.Method != http.MethodHead && c.Route != "/graphql" && !strings.HasSuffix(c.Route, "/access_tokens") {
			w.t.Errorf("%s %s was called", c.Method, c.Path)
		}
		if c.Route == "/graphql" && strings.Contains(c.Body, `"mutation`) {
			w.t.Errorf("a mutation was sent: %s", c.Body)
		}
	}
}

func TestReviewVerb(t *testing.T) {
	w := newWorld(t)
	n := w.open()
	app := w.env()
	text, err := runEnv(t, reviewCommand, app, "octo/lift#1", "--dry-run")
	w.check(err)
	wantText(t, text, "octo/lift#1 at ", ": Lift\n", "==== comment 1 of 1 on lift.py:7\n", "float64", "```", "==== check run dtypebot, neutral (new): 1 dtype mistake in 1 Python file\n")
	// A plain token sees the same; the App's credentials are not needed then.
	token := map[string]string{"GITHUB_API_URL": w.url, tokenVariable: w.token()}
	again, err := runEnv(t, reviewCommand, token, "octo/lift#1", "--dry-run")
	w.check(err)
	if again != text {
		t.Errorf("by a token:\n%s\nas the App:\n%s", again, text)
	}
	w.nothingWritten()

	for _, test := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{[]string{"octo/lift#1"}, app, "--dry-run"},
		{[]string{"octo/lift", "--dry-run"}, app, "OWNER/REPO#N"},
		{[]string{"octo/lift#0", "--dry-run"}, app, "OWNER/REPO#N"},
		{[]string{"octo/none#1", "--dry-run"}, app, "not installed on octo/none"},
		{[]string{"octo/none#1", "--dry-run"}, token, "no repository octo/none"},
		{[]string{"octo/lift#1", "--dry-run"}, map[string]string{}, "no credentials"},
		{[]string{"octo/lift#1", "--dry-run"}, map[string]string{"GITHUB_APP_ID": "1"}, "GITHUB_PRIVATE_KEY: missing"},
		{[]string{"octo/lift#1", "--dry-run"}, map[string]string{"GITHUB_API_URL": w.url, tokenVariable: "ghp_wrongwrongwrongwrong"}, "401"},
	} {
		out, err := runEnv(t, reviewCommand, test.env, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("%q: %v, want %q; output %q", test.args, err, test.want, out)
		}
	}
	w.check(w.sim.ClosePull(t.Context(), "octo", "lift", n, "mona"))
	text, err = runEnv(t, reviewCommand, app, "octo/lift#1", "--dry-run")
	w.check(err)
	wantText(t, text, "nothing would be posted: the pull request is closed")
}

// token is one that reads the world's repository.
func (w *world) token() string {
	w.t.Helper()
	var seen string
	record := roundTripper(func(r *http.Request) (*http.Response, error) {
		if auth := r.Header.Get("Authorization"); strings.Contains(r.URL.Path, "/graphql") {
			seen = auth[strings.LastIndexByte(auth, ' ')+1:]
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	config := w.config()
	config.Transport, config.DataDir, config.Listen, config.Secrets, config.Replicas = record, w.t.TempDir(), "127.0.0.1:0", []string{testSecret}, 1
	a, err := newApp(w.t.Context(), config)
	w.check(err)
	defer a.Close()
	installation, repository, err := a.client.Locate(w.t.Context(), "octo", "lift")
	w.check(err)
	_, _, err = a.reviewer.Look(w.t.Context(), bot.Job{Installation: installation, Repository: repository, Owner: "octo", Name: "lift", Pull: 1})
	w.check(err)
	return seen
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestReplayVerb(t *testing.T) {
	w := newWorld(t)
	bodies := make(chan []byte, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		if r.Header.Get("X-GitHub-Event") == "pull_request" {
			bodies <- b.Bytes()
		}
	}))
	t.Cleanup(hook.Close)
	w.sim.SetWebhook(w.app.ID, hook.URL, testSecret)
	w.open()
	var payload json.RawMessage
	select {
	case payload = <-bodies:
	case <-time.After(serveLimit):
		t.Fatal("no webhook")
	}
	dir := t.TempDir()
	save := func(name string, v any) string {
		data, err := json.Marshal(v)
		w.check(err)
		path := filepath.Join(dir, name)
		w.check(os.WriteFile(path, data, 0o600))
		return path
	}
	type obj = map[string]any
	bare := save("bare.json", payload)
	env := w.env()
	var first string
	for _, args := range [][]string{
		{bare, "--event", "pull_request"},
		{save("headers.json", obj{"headers": obj{"x-github-event": "pull_request"}, "payload": payload})},
		{save("lists.json", obj{"headers": obj{"X-Github-Event": []string{"pull_request"}}, "payload": string(payload)})},
		{save("event.json", obj{"event": "pull_request", "payload": payload})},
		{save("api.json", obj{"id": 1, "event": "pull_request", "request": obj{"headers": obj{}, "payload": payload}})},
	} {
		text, err := runEnv(t, replayCommand, env, args...)
		w.check(err)
		wantText(t, text, "==== comment 1 of 1 on lift.py:7\n", "==== check run dtypebot, neutral (new)")
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%q prints\n%s\nwant\n%s", args, text, first)
		}
	}
	text, err := runEnv(t, replayCommand, env, save("star.json", obj{"event": "star", "payload": obj{"action": "created"}}))
	w.check(err)
	wantText(t, text, "asks for nothing")
	w.nothingWritten()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{bare}, "give --event"},
		{[]string{filepath.Join(dir, "none.json")}, "no such file"},
		{[]string{save("event2.json", obj{"event": "push", "payload": payload}), "--event", "pull_request"}, "it is push"},
		{[]string{save("empty.json", obj{"event": "pull_request"})}, "it has no payload"},
		{[]string{save("list.json", []int{1})}, "cannot unmarshal"},
		{[]string{save("bad.json", obj{"event": "pull_request", "payload": obj{"action": "opened", "installation": obj{"id": 1}}})}, "malformed"},
	} {
		if _, err := runEnv(t, replayCommand, env, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}

func TestQueueVerb(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	env := map[string]string{"DATA_DIR": dir}
	if _, err := runEnv(t, queueCommand, env, "list"); err == nil || !strings.Contains(err.Error(), "there is no queue") {
		t.Errorf("without a queue: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("list makes the folder")
	}
	// Three jobs are given up.
	config := appConfig{serveConfig: serveConfig{DataDir: dir}, Handle: func(context.Context, bot.Job) error { return errors.New("odd code\nand more") }}
	config.Queue.Backoff = time.Millisecond
	a, stop := startApp(t, config)
	for pull := 1; pull <= 3; pull++ {
		push(t, a.Addr(), pull)
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if d, err := a.queue.Depth(t.Context()); err == nil && d.Dead == 3 && d.Waiting == 0 {
			break
		}
		if time.Since(begin) > serveLimit {
			t.Fatal("the jobs are not given up")
		}
	}
	if _, err := runEnv(t, queueCommand, env, "list"); err == nil || !strings.Contains(err.Error(), "in use by process") || !strings.Contains(err.Error(), "end that serve first") {
		t.Errorf("beside serve: %v", err)
	}
	stop()

	text, err := runEnv(t, queueCommand, env, "list")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^review\.7\.9\.1 +octo/lift#1 +3 +\d{4}-\d\d-\d\dT\S+Z +odd code$`).MatchString(text) {
		t.Errorf("list:\n%s", text)
	}
	text, err = runEnv(t, queueCommand, env, "list", "--format", "json")
	var list struct {
		Version int
		Letters []struct{ ID, Reason string }
	}
	if err := errors.Join(err, json.Unmarshal([]byte(text), &list)); err != nil || list.Version != 1 || len(list.Letters) != 3 || list.Letters[0].Reason != "odd code\nand more" {
		t.Errorf("list as JSON: %v\n%s", err, text)
	}
	for _, args := range [][]string{{"retry"}, {"drop", "--all", "x"}, {"drop", "octo/lift#1", "review.1.2.3"}, {"list", "--format", "xml"}} {
		if _, err := runEnv(t, queueCommand, env, args...); err == nil {
			t.Errorf("queue %q is taken", args)
		}
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"drop", "octo/lift#1"}, "dropped: review.7.9.1 (octo/lift#1)\n"},
		{[]string{"retry", "review.7.9.2"}, "queued again: review.7.9.2 (octo/lift#2)\n"},
		{[]string{"drop", "--all"}, "dropped: review.7.9.3 (octo/lift#3)\n"},
		{[]string{"drop", "--all"}, "no dead letters\n"},
		{[]string{"list"}, "no dead letters\n"},
	} {
		if text, err := runEnv(t, queueCommand, env, test.args...); err != nil || text != test.want {
			t.Errorf("queue %q: %v, %q; want %q", test.args, err, text, test.want)
		}
	}
	// What was retried is worked on by the next serve.
	jobs, handle := jobsOf()
	config.Handle = handle
	_, stop = startApp(t, config)
	if j := nextJob(t, jobs); j.Pull != 2 {
		t.Errorf("job %+v", j)
	}
	stop()
}

func TestDoctorVerb(t *testing.T) {
	w := newWorld(t)
	env := w.env()
	verdicts := func(text string) (all []string) {
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 2 {
				all = append(all, f[0]+" "+f[1])
			}
		}
		return all
	}
	want := func(env map[string]string, failed bool, lines ...string) string {
		t.Helper()
		text, err := runEnv(t, doctorCommand, env)
		if (err != nil) != failed || failed && err != exitCode(2) {
			t.Errorf("error %v, want a failure %t", err, failed)
		}
		if got := verdicts(text); !slices.Equal(got, lines) {
			t.Errorf("got %q\nwant %q\n%s", got, lines, text)
		}
		return text
	}
	text := want(env, false, "ok configuration", "ok API", "ok clock", "ok credentials", "ok permissions", "ok events", "ok installations", "ok queue", "ok disk")
	wantText(t, text, "the App is dtypebot", "checks: write, contents: read, pull_requests: write", "that of GitHub", "none yet in DATA_DIR")
	if strings.Contains(text, testSecret) || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	w.nothingWritten()

	// An App that may too little, and a clock that is late.
	poor, err := w.sim.RegisterApp(githubsim.AppOptions{Name: "poor", Permissions: map[string]string{"contents": "read"}})
	w.check(err)
	env["GITHUB_APP_ID"], env["GITHUB_PRIVATE_KEY"] = itoa(poor.ID), string(poor.PEM)
	text = want(env, true, "ok configuration", "ok API", "ok clock", "ok credentials", "fail permissions", "fail events", "warn installations", "ok queue", "ok disk")
	wantText(t, text, "lacks checks: write, pull_requests: write", "not subscribed to pull_request")

	env["GITHUB_APP_ID"] = itoa(w.app.ID) // with another's key
	want(env, true, "ok configuration", "ok API", "ok clock", "fail credentials", "ok queue", "ok disk")

	late := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		rw.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(late.Close)
	env["GITHUB_API_URL"] = late.URL
	text = want(env, true, "ok configuration", "ok API", "fail clock", "fail credentials", "ok queue", "ok disk")
	wantText(t, text, "10m0s ahead of GitHub's")

	// Nobody there, no credentials, and a folder that is a file.
	late.Close()
	file := filepath.Join(t.TempDir(), "file")
	w.check(os.WriteFile(file, nil, 0o600))
	text = want(map[string]string{"GITHUB_API_URL": late.URL, "DATA_DIR": file, "WORKERS": "0"}, true,
		"fail configuration", "fail configuration", "fail API", "ok queue", "fail disk")
	wantText(t, text, "not a directory", "WORKERS")
	text = want(map[string]string{"GITHUB_API_URL": late.URL, "DATA_DIR": t.TempDir()}, true, "fail configuration", "fail API", "ok queue", "ok disk")
	wantText(t, text, "no credentials: start serve and open the page")
}
