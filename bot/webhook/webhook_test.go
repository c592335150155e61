package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/bot"
)

// recorder is a queue that remembers, or fails.
type recorder struct {
	jobs []bot.Job
	err  error
}

func (r *recorder) Put(_ context.Context, job bot.Job) error {
	if r.err != nil {
		return r.err
	}
	r.jobs = append(r.jobs, job)
	return nil
}

var accepted = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newHandler(t *testing.T, q Queue, o Options) *Handler {
	t.Helper()
	if o.Secrets == nil {
		o.Secrets = []string{"old", "new"}
	}
	h, err := New(q, o)
	if err != nil {
		t.Fatal(err)
	}
	h.now = func() time.Time { return accepted }
	return h
}

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// deliver sends a signed delivery; edit may spoil it.
func deliver(h http.Handler, event, body string, edit func(*http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-Hub-Signature-256", sign("new", body))
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

const (
	where  = `"repository":{"id":9,"name":"lift","full_name":"octo/lift","owner":{"login":"octo"}},"installation":{"id":7},"sender":{"login":"mona","type":"User"}`
	opened = `{"action":"opened","number":3,"pull_request":{"number":3},` + where + `}`
)

// TestSignature is GitHub's published example.
func TestSignature(t *testing.T) {
	h := newHandler(t, &recorder{}, Options{Secrets: []string{"It's a Secret to Everybody"}})
	const good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if !h.signed([]byte("Hello, World!"), good) {
		t.Error("GitHub's example is refused")
	}
	for _, bad := range []string{
		"", "sha256=", good[7:], strings.Replace(good, "sha256", "sha1", 1), good[:len(good)-1], good + "00",
		good[:len(good)-1] + "8", "sha256=" + strings.Repeat("z", 64),
	} {
		if h.signed([]byte("Hello, World!"), bad) {
			t.Errorf("signature %q is accepted", bad)
		}
	}
	if h.signed([]byte("Hello, World?"), good) {
		t.Error("another body is accepted")
	}
}

func TestNewRefusesSecrets(t *testing.T) {
	for _, secrets := range [][]string{nil, {}, {""}, {"good", ""}, {"good", " \n"}} {
		if _, err := New(&recorder{}, Options{Secrets: secrets}); err == nil {
			t.Errorf("secrets %q are accepted", secrets)
		}
	}
}

func TestAnswers(t *testing.T) {
	sha1Of := func(body string) string {
		mac := hmac.New(sha1.New, []byte("new"))
		mac.Write([]byte(body))
		return "sha1=" + hex.EncodeToString(mac.Sum(nil))
	}
	for _, test := range []struct {
		name, event, body string
		edit              func(*http.Request)
		stored            error
		want              int
		jobs              int
	}{
		{name: "stored", event: "pull_request", body: opened, want: 202, jobs: 1},
		{name: "older secret", event: "pull_request", body: opened, want: 202, jobs: 1, edit: func(r *http.Request) {
			r.Header.Set("X-Hub-Signature-256", sign("old", opened))
		}},
		{name: "ping", event: "ping", body: `{"zen":"Keep it logically awesome."}`, want: 204},
		{name: "unknown event", event: "star", body: `[`, want: 204},
		{name: "no installation", event: "pull_request", body: `{"action":"opened","number":3,"pull_request":{"number":3},"repository":{"id":9,"name":"l","owner":{"login":"o"}}}`, want: 204},
		{name: "not JSON", event: "pull_request", body: `{"action":`, want: 400},
		{name: "empty body", event: "pull_request", body: ``, want: 400},
		{name: "no pull request", event: "pull_request", body: `{"action":"opened",` + where + `}`, want: 400},
		{name: "no event", event: "", body: opened, want: 400},
		{name: "no delivery", event: "pull_request", body: opened, want: 400, edit: func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }},
		{name: "no signature", event: "pull_request", body: opened, want: 401, edit: func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }},
		{name: "only SHA-1", event: "pull_request", body: opened, want: 401, edit: func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set("X-Hub-Signature", sha1Of(opened))
		}},
		{name: "wrong secret", event: "pull_request", body: opened, want: 401, edit: func(r *http.Request) {
			r.Header.Set("X-Hub-Signature-256", sign("other", opened))
		}},
		{name: "empty secret", event: "pull_request", body: opened, want: 401, edit: func(r *http.Request) {
			r.Header.Set("X-Hub-Signature-256", sign("", opened))
		}},
		{name: "GET", event: "pull_request", body: opened, want: 405, edit: func(r *http.Request) { r.Method = http.MethodGet }},
		{name: "not stored", event: "pull_request", body: opened, stored: errors.New("disk full"), want: 503},
		{name: "form", event: "pull_request", body: url.Values{"payload": {opened}}.Encode(), want: 202, jobs: 1, edit: func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := &recorder{err: test.stored}
			var outcomes []string
			h := newHandler(t, q, Options{Observe: func(_, outcome string) { outcomes = append(outcomes, outcome) }})
			resp := deliver(h, test.event, test.body, test.edit)
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d", resp.StatusCode, test.want)
			}
			if len(q.jobs) != test.jobs {
				t.Errorf("%d jobs, want %d", len(q.jobs), test.jobs)
			}
			if after := resp.Header.Get("Retry-After"); (after != "") != (test.want == 503) {
				t.Errorf("Retry-After %q with status %d", after, test.want)
			}
			if counted := test.want != 405; counted != (len(outcomes) == 1) {
				t.Errorf("outcomes %q", outcomes)
			}
		})
	}
}

func TestJob(t *testing.T) {
	q := &recorder{}
	deliver(newHandler(t, q, Options{}), "pull_request", opened, nil)
	want := []bot.Job{{
		V: 1, Installation: 7, Repository: 9, Owner: "octo", Name: "lift", Pull: 3,
		Delivery: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Event: "pull_request.opened", Accepted: accepted,
	}}
	if diff := cmp.Diff(want, q.jobs); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

// endless is a body that never ends, and counts what was read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return len(p), nil
}

func TestBodyLimit(t *testing.T) {
	h := newHandler(t, &recorder{}, Options{})
	body := &endless{}
	resp := deliver(h, "pull_request", "", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(body), -1 })
	if resp.StatusCode != 413 {
		t.Errorf("an endless body: status %d, want 413", resp.StatusCode)
	}
	if body.read > 2*MaxBody {
		t.Errorf("%d bytes were read", body.read)
	}
	body = &endless{}
	resp = deliver(h, "pull_request", "", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(body), MaxBody+1 })
	if resp.StatusCode != 413 || body.read != 0 {
		t.Errorf("a body announced too large: status %d after %d bytes, want 413 after none", resp.StatusCode, body.read)
	}
	large := strings.Replace(opened, `{"action"`, `{"pad":"`+strings.Repeat("x", MaxBody-len(opened)-9)+`","action"`, 1)
	if len(large) != MaxBody {
		t.Fatalf("the test's body has %d bytes", len(large))
	}
	if resp := deliver(h, "pull_request", large, nil); resp.StatusCode != 202 {
		t.Errorf("a body of exactly the limit: status %d, want 202", resp.StatusCode)
	}
}

// TestSlowBody holds a connection open that never sends its body.
func TestSlowBody(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	deadline := make(chan time.Time, 1)
	h := newHandler(t, &recorder{}, Options{})
	req := httptest.NewRequest(http.MethodPost, "/webhook", r)
	go func() {
		d := <-deadline
		if left := time.Until(d); left > readLimit || left < readLimit/2 {
			w.CloseWithError(fmt.Errorf("deadline in %s", left))
		}
		w.CloseWithError(errors.New("i/o timeout"))
	}()
	resp := &withDeadline{ResponseRecorder: httptest.NewRecorder(), deadline: deadline}
	h.ServeHTTP(resp, req)
	if resp.Code != 400 {
		t.Errorf("status %d, want 400", resp.Code)
	}
}

type withDeadline struct {
	*httptest.ResponseRecorder
	deadline chan time.Time
}

func (w *withDeadline) SetReadDeadline(d time.Time) error {
	w.deadline <- d
	return nil
}

func said(login, kind, body string) string {
	return `{"action":"created","issue":{"number":3,"user":{"login":"ann"},"pull_request":{}},"comment":{"id":4,"node_id":"N","body":"` + body + `","user":{"login":"` + login + `","type":"` + kind + `"}},` + where + `}`
}

func TestDecode(t *testing.T) {
	self := identity{app: 5, login: "dtypebot[bot]"}
	base := `"base":{"repo":{"id":9}}`
	for _, test := range []struct {
		name, event, body string
		pulls             []int
		rerun             bool
	}{
		{name: "opened", event: "pull_request", body: opened, pulls: []int{3}},
		{name: "reopened", event: "pull_request", body: `{"action":"reopened","pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "pushed", event: "pull_request", body: `{"action":"synchronize","pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "ready", event: "pull_request", body: `{"action":"ready_for_review","pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "new base", event: "pull_request", body: `{"action":"edited","changes":{"base":{"ref":{"from":"main"}}},"pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "new title", event: "pull_request", body: `{"action":"edited","changes":{"title":{"from":"x"}},"pull_request":{"number":3},` + where + `}`},
		{name: "null base", event: "pull_request", body: `{"action":"edited","changes":{"base":null},"pull_request":{"number":3},` + where + `}`},
		{name: "closed", event: "pull_request", body: `{"action":"closed","pull_request":{"number":3},` + where + `}`},
		{name: "labeled", event: "pull_request", body: `{"action":"labeled","pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "an order", event: "issue_comment", body: said("mona", "User", "@dtypebot fix"), pulls: []int{3}},
		{name: "talk", event: "issue_comment", body: said("mona", "User", "fixed it")},
		{name: "a bot's order", event: "issue_comment", body: said("other[bot]", "Bot", "@dtypebot fix")},
		{name: "an order in an issue", event: "issue_comment", body: strings.Replace(said("mona", "User", "@dtypebot fix"), `"pull_request":{}`, `"pull_request":null`, 1)},
		{name: "edited order", event: "issue_comment", body: strings.Replace(said("mona", "User", "@dtypebot fix"), "created", "edited", 1)},
		{name: "merge group", event: "merge_group", body: `{"action":"checks_requested","merge_group":{"head_sha":"` + strings.Repeat("a", 40) + `"},` + where + `}`, pulls: []int{0}},
		{name: "push", event: "push", body: `{"ref":"refs/heads/main","after":"` + strings.Repeat("a", 40) + `",` + strings.Replace(where, `"id":9`, `"id":9,"default_branch":"main"`, 1) + `}`, pulls: []int{0}},
		{name: "push to another branch", event: "push", body: `{"ref":"refs/heads/work","after":"` + strings.Repeat("a", 40) + `",` + strings.Replace(where, `"id":9`, `"id":9,"default_branch":"main"`, 1) + `}`},
		{name: "branch deleted", event: "push", body: `{"ref":"refs/heads/main","after":"` + strings.Repeat("0", 40) + `","deleted":true,` + strings.Replace(where, `"id":9`, `"id":9,"default_branch":"main"`, 1) + `}`},
		{name: "button", event: "check_run", body: `{"action":"requested_action","requested_action":{"identifier":"fix"},"check_run":{"external_id":"pr=3;repo=9;v=1","head_sha":"x","app":{"id":5}},` + where + `}`, pulls: []int{3}},
		{name: "button to look again", event: "check_run", body: `{"action":"requested_action","requested_action":{"identifier":"rerun"},"check_run":{"external_id":"pr=3;repo=9;v=1","app":{"id":5}},` + where + `}`, pulls: []int{3}, rerun: true},
		{name: "another button", event: "check_run", body: `{"action":"requested_action","requested_action":{"identifier":"x"},"check_run":{"external_id":"pr=3;repo=9;v=1","app":{"id":5}},` + where + `}`},
		{name: "left", event: "installation", body: `{"action":"deleted","repositories":[{"id":4},{"id":9}],"installation":{"id":7}}`, pulls: []int{0}},
		{name: "assigned", event: "pull_request", body: `{"action":"assigned","pull_request":{"number":3},` + where + `}`},
		{name: "resolved", event: "pull_request_review_thread", body: `{"action":"resolved","pull_request":{"number":3},` + where + `}`, pulls: []int{3}},
		{name: "own resolved", event: "pull_request_review_thread", body: strings.Replace(`{"action":"resolved","pull_request":{"number":3},`+where+`}`, "mona", "dtypebot[bot]", 1)},
		{name: "own push", event: "pull_request", body: strings.Replace(opened, "mona", "dtypebot[bot]", 1)},
		{name: "another bot's push", event: "pull_request", body: strings.Replace(opened, "mona", "renovate[bot]", 1), pulls: []int{3}},
		{
			name: "re-run on a fork", event: "check_run", rerun: true, pulls: []int{12},
			body: `{"action":"rerequested","check_run":{"external_id":"pr=12;repo=9;v=1","app":{"id":5},"pull_requests":[]},` + where + `}`,
		},
		{
			name: "re-run, list", event: "check_run", rerun: true, pulls: []int{4},
			body: `{"action":"rerequested","check_run":{"external_id":"","app":{"id":5},"pull_requests":[{"number":4,` + base + `}]},` + where + `}`,
		},
		{
			name: "re-run, id of another repository", event: "check_run", rerun: true, pulls: []int{4},
			body: `{"action":"rerequested","check_run":{"external_id":"pr=12;repo=8;v=1","app":{"id":5},"pull_requests":[{"number":4,` + base + `}]},` + where + `}`,
		},
		{
			name: "re-run of another App", event: "check_run",
			body: `{"action":"rerequested","check_run":{"external_id":"pr=12;repo=9;v=1","app":{"id":6}},` + where + `}`,
		},
		{
			name: "own re-run", event: "check_run", rerun: true, pulls: []int{12},
			body: strings.Replace(`{"action":"rerequested","check_run":{"external_id":"pr=12;repo=9;v=1","app":{"id":5}},`+where+`}`, "mona", "dtypebot[bot]", 1),
		},
		{name: "completed", event: "check_run", body: `{"action":"completed","check_run":{"external_id":"pr=12;repo=9;v=1"},` + where + `}`},
		{
			name: "suite", event: "check_suite", rerun: true, pulls: []int{4, 5},
			body: `{"action":"rerequested","check_suite":{"app":{"id":5},"pull_requests":[{"number":4,` + base + `},{"number":4,` + base + `},{"number":5,` + base + `},{"number":6,"base":{"repo":{"id":8}}}]},` + where + `}`,
		},
		{name: "suite on a fork", event: "check_suite", body: `{"action":"rerequested","check_suite":{"app":{"id":5},"pull_requests":[]},` + where + `}`},
		{name: "suite of a push", event: "check_suite", body: `{"action":"requested","check_suite":{"app":{"id":5},"pull_requests":[{"number":4}]},` + where + `}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			jobs, err := decode(test.event, []byte(test.body), self)
			if err != nil {
				t.Fatal(err)
			}
			var pulls []int
			for _, job := range jobs {
				pulls = append(pulls, job.Pull)
				if job.Rerun != test.rerun {
					t.Errorf("Rerun = %t", job.Rerun)
				}
			}
			if diff := cmp.Diff(test.pulls, pulls); diff != "" {
				t.Errorf("pulls (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, event := range []string{"pull_request", "check_run", "check_suite", "issue_comment", "installation", "ping"} {
		f.Add(event, []byte(said("mona", "User", "@dtypebot fix")))
		f.Add(event, []byte(opened))
		f.Add(event, []byte(`{"action":"rerequested","check_run":{"external_id":"pr=12;repo=9;v=1"},"check_suite":{"pull_requests":[{"number":4}]},`+where+`}`))
		f.Add(event, []byte(`{"action":"edited","changes":{"base":{}},"pull_request":{},"number":-1,`+where+`}`))
		f.Add(event, []byte(`null`))
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		jobs, err := decode(event, body, identity{app: 5, login: "dtypebot[bot]"})
		if err != nil && (jobs != nil || !errors.Is(err, errMalformed)) {
			t.Fatalf("%d jobs with error %v", len(jobs), err)
		}
		if len(jobs) > maxPulls {
			t.Fatalf("%d jobs", len(jobs))
		}
		for _, job := range jobs {
			if job.V != bot.JobVersion || job.Installation <= 0 || job.Repository <= 0 || job.Command == nil && (job.Pull <= 0 || job.Owner == "" || job.Name == "") {
				t.Fatalf("incomplete job %+v", job)
			}
			if !strings.HasPrefix(job.Event, event+".") {
				t.Fatalf("event %q of a %q", job.Event, event)
			}
		}
		if bytes.Equal(body, []byte("null")) && len(jobs) != 0 {
			t.Fatal("jobs out of nothing")
		}
	})
}
