package githubsim

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"
)

// note posts a review with one comment as the App and gives the comment's id.
func (w *world) note(path string, start, line int, side Side, body string) int64 {
	w.t.Helper()
	c := map[string]any{"path": path, "line": line, "side": side, "body": body}
	if start > 0 {
		c["start_line"] = start
	}
	status, o, _ := w.send("POST", fmt.Sprintf("/repos/acme/models/pulls/%d/reviews", w.pull), map[string]any{"event": "COMMENT", "body": "Look.", "comments": []any{c}})
	if status != 200 {
		w.t.Fatalf("review: %d %v", status, o)
	}
	v := w.view()
	return v.Threads[len(v.Threads)-1].Comments[0].ID
}

func (w *world) view() PullView {
	w.t.Helper()
	v, found := w.Pull(w.ctx, "acme", "models", w.pull)
	if !found {
		w.t.Fatal("no pull request")
	}
	return v
}

func (w *world) threadOf(comment int64) ThreadView {
	w.t.Helper()
	for _, t := range w.view().Threads {
		if t.Comments[0].ID == comment {
			return t
		}
	}
	w.t.Fatalf("no thread of comment %d", comment)
	return ThreadView{}
}

// text is the file that newWorld's pull request leaves, changed line by line.
func (w *world) push(change func(string) string) {
	w.t.Helper()
	old, err := w.File("acme", "models", "feature", "model.py")
	must(w.t, err)
	_, err = w.Commit(w.ctx, "acme", "models", CommitOptions{Branch: "feature", Author: "dev", Files: map[string]string{"model.py": change(old)}})
	must(w.t, err)
}

func TestCommentsFollowTheirLines(t *testing.T) {
	w := newWorld(t)
	line := w.note("model.py", 0, 11, Right, "one line")
	block := w.note("model.py", 31, 32, Right, "two lines")
	left := w.note("model.py", 0, 10, Left, "deleted")
	above := w.note("model.py", 0, 9, Right, "context")
	state := func(id int64) string {
		th := w.threadOf(id)
		return fmt.Sprintf("%d-%d %t", th.StartLine, th.Line, th.Outdated)
	}
	expect := func(what string, want ...string) {
		t.Helper()
		for i, id := range []int64{line, block, left, above} {
			if got := state(id); got != want[i] {
				t.Errorf("%s: comment %d is at %s, want %s", what, i, got, want[i])
			}
		}
	}
	expect("at first", "0-11 false", "31-32 false", "0-10 false", "0-9 false")
	w.push(func(s string) string { return "new first line\n" + s })
	expect("after a line above", "0-12 false", "32-33 false", "0-10 false", "0-10 false")
	w.push(func(s string) string { return strings.Replace(s, "line thirty\n", "line thirty\nin between\n", 1) })
	expect("after a line inside the block", "0-12 false", "0-0 true", "0-10 false", "0-10 false")
	comments, _, err := w.client.PullRequests.ListComments(w.ctx, "acme", "models", w.pull, nil)
	must(t, err)
	if c := comments[1]; c.Line != nil || c.Position != nil || c.GetOriginalLine() != 32 || c.GetOriginalStartLine() != 31 || c.GetOriginalCommitID() != w.head {
		t.Errorf("outdated comment %v", c)
	}
	w.push(func(s string) string { return strings.Replace(s, "in between\n", "", 1) })
	expect("taken back", "0-12 false", "32-33 false", "0-10 false", "0-10 false")
	w.push(func(s string) string { return strings.Replace(s, "line ten and a half", "line 10.5", 1) })
	expect("after its line changed", "0-0 true", "32-33 false", "0-10 false", "0-10 false")
	// The diff no longer shows the place: the change around it is taken back.
	w.push(func(s string) string { return strings.Replace(s, "line thirty\n", "line 30\n", 1) })
	expect("after the hunk went", "0-0 true", "0-0 true", "0-10 false", "0-10 false")
	// A force push to another history keeps what is the same.
	_, err = w.Commit(w.ctx, "acme", "models", CommitOptions{
		Branch: "feature", From: "main", Force: true, Author: "dev",
		Files: map[string]string{"model.py": strings.Replace(numbered(40), "line 10\n", "line ten\nline ten and a half\n", 1)},
	})
	must(t, err)
	expect("after a force push", "0-11 false", "0-0 true", "0-10 false", "0-9 false")
	// The head that was pushed away is no place for a review.
	status, o, _ := w.send("POST", "/repos/acme/models/pulls/1/reviews", map[string]any{"event": "COMMENT", "body": "late", "commit_id": w.head})
	if status != 422 || !strings.Contains(fmt.Sprint(o["errors"]), "not part of the pull request") {
		t.Errorf("a review of a former head: %d %v", status, o)
	}
	v := w.view()
	if v.Reviews[0].Commit != v.HeadSHA {
		t.Errorf("the review names %s, not the head that replaced its commit", v.Reviews[0].Commit)
	}
}

func TestCommitSuggestion(t *testing.T) {
	w := newWorld(t)
	body := "Better so:\n\n````suggestion\nline 10\n```x```\n````\nAnd no other."
	id := w.note("model.py", 10, 11, Right, body)
	same := w.note("model.py", 0, 30+1, Right, "```suggestion\nline thirty\n```")
	none := w.note("model.py", 0, 32, Right, "```python\nx\n```")
	deleted := w.note("model.py", 0, 30, Left, "```suggestion\nx\n```")
	refused := func(comment int64, login, want string) {
		t.Helper()
		before := w.view().HeadSHA
		_, err := w.CommitSuggestion(w.ctx, "acme", "models", w.pull, comment, login)
		if _, isRefusal := errors.AsType[*Refusal](err); !isRefusal || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want a refusal that says %q", err, want)
		}
		if w.view().HeadSHA != before {
			t.Error("the head moved")
		}
	}
	refused(same, "dev", "no changes were made")
	refused(none, "dev", "no suggestion")
	refused(deleted, "dev", "deleted lines")
	refused(id, "stranger", "write access")
	refused(1, "dev", "no comment")
	must(t, w.ClosePull(w.ctx, "acme", "models", w.pull, "dev"))
	refused(id, "dev", "while the pull request is closed")
	must(t, w.ReopenPull(w.ctx, "acme", "models", w.pull, "dev"))
	th := w.threadOf(id)
	if th.Refused != "" || strings.Join(th.Suggestion, "|") != "line 10|```x```" || strings.Join(th.Replaces, "|") != "line ten|line ten and a half" {
		t.Errorf("view %+v", th)
	}
	before, err := w.File("acme", "models", "feature", "model.py")
	must(t, err)
	sha, err := w.CommitSuggestion(w.ctx, "acme", "models", w.pull, id, "dev")
	must(t, err)
	after, err := w.File("acme", "models", sha, "model.py")
	must(t, err)
	if want := strings.Replace(before, "line ten\nline ten and a half\n", "line 10\n```x```\n", 1); after != want {
		t.Errorf("file after the suggestion:\n%s", after)
	}
	v := w.view()
	c := v.Commits[len(v.Commits)-1]
	if v.HeadSHA != sha || c.Author != "dev" || !strings.Contains(c.Message, "Update model.py\n\nCo-authored-by: dtype-bot[bot] <") {
		t.Errorf("commit %+v", c)
	}
	th = w.threadOf(id)
	if !th.Outdated || !th.Applied || th.ResolvedBy != "dev" || th.Line != 0 {
		t.Errorf("thread after %+v", th)
	}
	refused(id, "dev", "has been applied or marked resolved")
	must(t, w.Wait(waitContext(t)))
	var events []string
	for _, d := range w.Deliveries() {
		if d.Event == "pull_request" || d.Event == "pull_request_review_thread" {
			events = append(events, d.Event+"."+d.Action)
		}
	}
	if got := strings.Join(events, " "); got != "pull_request.opened pull_request.closed pull_request.reopened pull_request.synchronize pull_request_review_thread.resolved" {
		t.Errorf("events %s", got)
	}
}

func TestCommitSuggestionsTogether(t *testing.T) {
	w := newWorld(t)
	a := w.note("model.py", 10, 11, Right, "```suggestion\nA\n```")
	b := w.note("model.py", 0, 31, Right, "```suggestion\n```") // deletes the line
	c := w.note("new.py", 0, 3, Right, "```suggestion\ny = x.to(x.dtype)\n```")
	overlap := w.note("model.py", 0, 11, Right, "```suggestion\nB\n```")
	if _, err := w.CommitSuggestions(w.ctx, "acme", "models", w.pull, []int64{a, overlap}, "dev"); err == nil || !strings.Contains(err.Error(), "one suggestion per line") {
		t.Errorf("overlapping: %v", err)
	}
	sha, err := w.CommitSuggestions(w.ctx, "acme", "models", w.pull, []int64{a, b, c}, "dev")
	must(t, err)
	text, err := w.File("acme", "models", sha, "model.py")
	must(t, err)
	want := strings.Replace(numbered(40), "line 10\n", "A\n", 1)
	if want = strings.Replace(want, "line 30\n", "", 1); text != want {
		t.Errorf("model.py\n%s", text)
	}
	if text, err = w.File("acme", "models", sha, "new.py"); err != nil || text != "import torch\nx = torch.zeros(2)\ny = x.to(x.dtype)" {
		t.Errorf("new.py %q %v", text, err)
	}
	if n := len(w.view().Commits); n != 2 {
		t.Errorf("%d commits", n)
	}
}

func TestSuggestionBlocks(t *testing.T) {
	for body, want := range map[string]string{
		"```suggestion\na\nb\n```":                       "[a|b]",
		"```suggestion\r\na\r\n```\r\n":                  "[a]",
		"````suggestion\n```\n````":                      "[```]",
		"~~~suggestion\na\n~~~":                          "[a]",
		"```suggestion\n```":                             "[]",
		"```suggestion\n\n```":                           "[]",
		"```suggestion\n  a":                             "[  a]",
		"```\n```suggestion\na\n```":                     "",
		"    ```suggestion\na\n```":                      "",
		"```suggestion:-0+1\na\n```":                     "",
		"text ```suggestion``` text":                     "",
		"````markdown\n```suggestion\na\n```\n````\nend": "",
		"```suggestion\na\n```\n\n```suggestion\nb\n```": "[a][b]",
	} {
		got := ""
		for _, s := range suggestionsIn(body) {
			got += "[" + strings.Join(s.lines, "|") + "]"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
	if n := len(suggestionsIn("```suggestion\n\n```")[0].lines); n != 1 {
		t.Errorf("an empty line is %d lines", n)
	}
}

func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	w.push(func(s string) string { return s + "more\n" })
	must(t, w.Wait(waitContext(t)))
	var guid string
	for _, d := range w.Deliveries() {
		if !d.Done || d.Status != "OK" || d.StatusCode != 202 {
			t.Errorf("delivery %+v", d)
		}
		if d.Action == "synchronize" {
			guid = d.GUID
		}
	}
	must(t, w.Redeliver(guid))
	must(t, w.Wait(waitContext(t)))
	w.hooks.mu.Lock()
	defer w.hooks.mu.Unlock()
	same := 0
	for i, r := range w.hooks.got {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(w.hooks.bodies[i])
		if got := r.Header.Get("X-Hub-Signature-256"); got != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %s", got)
		}
		if r.Header.Get("X-GitHub-Delivery") != guid {
			continue
		}
		same++
		event, err := github.ParseWebHook(r.Header.Get("X-GitHub-Event"), w.hooks.bodies[i])
		must(t, err)
		e := event.(*github.PullRequestEvent)
		if e.GetAction() != "synchronize" || e.GetBefore() != w.head || e.GetAfter() != e.GetPullRequest().GetHead().GetSHA() ||
			e.GetPullRequest().GetChangedFiles() != 5 || e.GetInstallation().GetID() != w.install || e.GetSender().GetLogin() != "dev" || e.GetRepo().GetFullName() != "acme/models" {
			t.Errorf("event %v", e)
		}
	}
	if same != 2 {
		t.Errorf("the GUID came %d times", same)
	}
}

func TestWebhookFailures(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, func(o *Options, _ *AppOptions) { o.WebhookTimeout = 50 * time.Millisecond })
	w.hooks.mu.Lock()
	w.hooks.status = 500
	w.hooks.mu.Unlock()
	w.Ping(w.app.ID)
	must(t, w.Wait(waitContext(t)))
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	server := newServer(t, slow)
	defer close(release)
	w.SetWebhook(w.app.ID, server, secret)
	w.Ping(w.app.ID)
	must(t, w.Wait(waitContext(t)))
	w.SetWebhook(w.app.ID, "http://127.0.0.1:1/", secret)
	w.Ping(w.app.ID)
	must(t, w.Wait(waitContext(t)))
	all := w.Deliveries()
	got := ""
	for _, d := range all[len(all)-3:] {
		got += fmt.Sprintf("%s %d\n", d.Status, d.StatusCode)
	}
	if want := "Invalid HTTP Response: 500 500\ntimed out 0\nfailed to connect to host 0\n"; got != want {
		t.Errorf("deliveries\n%s", got)
	}
	// Paging goes from the newest to the oldest, by cursor.
	seen := 0
	opts := &github.ListCursorOptions{PerPage: 2}
	for {
		list, resp, err := w.jwt.Apps.ListHookDeliveries(w.ctx, opts)
		must(t, err)
		seen += len(list)
		if resp.Cursor == "" {
			break
		}
		opts.Cursor = resp.Cursor
	}
	if seen != len(all) {
		t.Errorf("%d deliveries listed of %d", seen, len(all))
	}
	w.SetWebhook(w.app.ID, "", "")
	before := len(w.Deliveries())
	w.Ping(w.app.ID)
	if len(w.Deliveries()) != before {
		t.Error("a webhook without an address was sent")
	}
}

func TestAppTokens(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	w := newWorld(t, func(o *Options, _ *AppOptions) { o.Clock = clock })
	key, err := testKey()
	must(t, err)
	ask := func(token, method, path, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(w.ctx, method, w.server.URL+path, strings.NewReader(body))
		must(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		var o map[string]any
		_ = json.Unmarshal(text, &o)
		return resp.StatusCode, o
	}
	sign := func(method jwt.SigningMethod, k any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(k)
		must(t, err)
		return text
	}
	claims := func(iat, exp time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"iat": now.Add(iat).Unix(), "exp": now.Add(exp).Unix(), "iss": fmt.Sprint(w.app.ID)}
	}
	good := sign(jwt.SigningMethodRS256, key, claims(-time.Minute, 9*time.Minute))
	client := claims(0, 10*time.Minute)
	client["iss"] = w.app.ClientID
	stranger := claims(0, time.Minute)
	stranger["iss"] = "77"
	for name, test := range map[string]struct {
		token  string
		status int
		says   string
	}{
		"good":          {good, 200, ""},
		"client id":     {sign(jwt.SigningMethodRS256, key, client), 200, ""},
		"none":          {"", 401, "could not be decoded"},
		"rubbish":       {"a.b.c", 401, "could not be decoded"},
		"cut":           {good[:len(good)-4], 401, "could not be decoded"},
		"HS256":         {sign(jwt.SigningMethodHS256, []byte("x"), claims(0, time.Minute)), 401, "could not be decoded"},
		"RS512":         {sign(jwt.SigningMethodRS512, key, claims(0, time.Minute)), 401, "could not be decoded"},
		"too long":      {sign(jwt.SigningMethodRS256, key, claims(0, 10*time.Minute+2*time.Second)), 401, "too far in the future"},
		"expired":       {sign(jwt.SigningMethodRS256, key, claims(-time.Hour, -time.Second)), 401, "('exp') must be"},
		"of the future": {sign(jwt.SigningMethodRS256, key, claims(time.Minute, 2*time.Minute)), 401, "('iat') must be"},
		"without iat":   {sign(jwt.SigningMethodRS256, key, jwt.MapClaims{"exp": now.Add(time.Minute).Unix(), "iss": fmt.Sprint(w.app.ID)}), 401, "('iat')"},
		"unknown App":   {sign(jwt.SigningMethodRS256, key, stranger), 404, "Integration not found"},
	} {
		if status, o := ask(test.token, "GET", "/app", ""); status != test.status || !strings.Contains(fmt.Sprint(o["message"]), test.says) {
			t.Errorf("%s: %d %v", name, status, o)
		}
	}
	tokens := fmt.Sprintf("/app/installations/%d/access_tokens", w.install)
	make := func(body string) string {
		t.Helper()
		status, o := ask(good, "POST", tokens, body)
		if status != 201 {
			t.Fatalf("token: %d %v", status, o)
		}
		return o["token"].(string)
	}
	token := make("")
	if n := len(token); n < 480 || n > 560 || !strings.HasPrefix(token, fmt.Sprintf("ghs_%d_", w.app.ID)) || strings.Count(token, ".") != 2 {
		t.Errorf("token of %d characters: %s", n, token)
	}
	must(t, w.AddRepository(w.ctx, "acme", "other", RepositoryOptions{}))
	must(t, w.AddRepository(w.ctx, "acme", "open", RepositoryOptions{Public: true}))
	narrow := make(`{"repositories":["models"],"permissions":{"contents":"read"}}`)
	for _, test := range []struct {
		token, method, path string
		status              int
	}{
		{token, "GET", "/repos/acme/models/pulls/1", 200},
		{narrow, "GET", "/repos/acme/models/pulls/1", 403},
		{narrow, "GET", "/repos/acme/models/git/ref/heads/main", 200},
		{narrow, "POST", "/repos/acme/models/check-runs", 403},
		{token, "GET", "/repos/acme/other", 404},
		{token, "GET", "/repos/acme/open", 200},
		{token, "GET", "/repos/acme/open/pulls", 200},
		{token, "POST", "/repos/acme/open/check-runs", 403},
		{token, "GET", "/app", 401},
		{"", "GET", "/repos/acme/models", 401},
		{"ghs_no", "GET", "/repos/acme/models", 401},
	} {
		if status, o := ask(test.token, test.method, test.path, ""); status != test.status {
			t.Errorf("%s %s: %d %v, want %d", test.method, test.path, status, o, test.status)
		}
	}
	w.Suspend(w.install)
	if status, o := ask(good, "POST", tokens, ""); status != 403 || o["message"] != "This installation has been suspended" {
		t.Errorf("token of a suspended installation: %d %v", status, o)
	}
	if status, _ := ask(token, "GET", "/repos/acme/models", ""); status != 403 {
		t.Errorf("suspended: %d", status)
	}
	w.Unsuspend(w.install)
	w.SetPermissions(w.install, map[string]string{"contents": "read"})
	if status, _ := ask(token, "GET", "/repos/acme/models/pulls/1", ""); status != 403 {
		t.Errorf("permission taken away: %d", status)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	if status, o := ask(token, "GET", "/repos/acme/models", ""); status != 401 || o["message"] != "Bad credentials" {
		t.Errorf("an hour later: %d %v", status, o)
	}
	good = sign(jwt.SigningMethodRS256, key, claims(-time.Minute, 9*time.Minute))
	token = make("")
	w.Uninstall(w.install)
	if status, _ := ask(good, "POST", tokens, ""); status != 404 {
		t.Errorf("token of an uninstalled installation: %d", status)
	}
	if status, _ := ask(token, "GET", "/repos/acme/models", ""); status != 401 {
		t.Errorf("uninstalled: %d", status)
	}
}

func TestForks(t *testing.T) {
	w := newWorld(t)
	must(t, w.Fork(w.ctx, "acme", "models", "guest"))
	head, err := w.Commit(w.ctx, "guest", "models", CommitOptions{Branch: "patch", Author: "guest", Files: map[string]string{"guest.py": "x = 1\n"}})
	must(t, err)
	n, err := w.OpenPull(w.ctx, "acme", "models", OpenPullOptions{Head: "patch", HeadOwner: "guest"})
	must(t, err)
	pr, _, err := w.client.PullRequests.Get(w.ctx, "acme", "models", n)
	must(t, err)
	if pr.GetHead().GetRepo().GetFullName() != "guest/models" || !pr.GetMaintainerCanModify() || pr.GetHead().GetLabel() != "guest:patch" || pr.GetUser().GetLogin() != "guest" {
		t.Errorf("pull request %v", pr)
	}
	files, _, err := w.client.PullRequests.ListFiles(w.ctx, "acme", "models", n, nil)
	must(t, err)
	if raw, _, err := w.client.Git.GetBlobRaw(w.ctx, "acme", "models", files[0].GetSHA()); err != nil || string(raw) != "x = 1\n" {
		t.Errorf("a fork's blob through the base: %q %v", raw, err)
	}
	run, _, err := w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", github.CreateCheckRunOptions{Name: "dtypebot", HeadSHA: head})
	must(t, err)
	if len(run.PullRequests) != 0 {
		t.Errorf("a fork's check run names pull requests: %v", run.PullRequests)
	}
	if list, _, err := w.client.PullRequests.ListPullRequestsWithCommit(w.ctx, "acme", "models", head, nil); err != nil || len(list) != 0 {
		t.Errorf("a fork's commit has pull requests: %v %v", list, err)
	}
	w.pull = n
	id := w.note("guest.py", 0, 1, Right, "```suggestion\nx = 2\n```")
	must(t, w.SetPermission("acme", "models", "maintainer", "write"))
	if _, err := w.CommitSuggestion(w.ctx, "acme", "models", n, id, "maintainer"); err != nil {
		t.Errorf("a maintainer's commit: %v", err)
	}
	if text, err := w.File("guest", "models", "patch", "guest.py"); err != nil || text != "x = 2\n" {
		t.Errorf("the fork has %q %v", text, err)
	}
}

func TestRenamed(t *testing.T) {
	w := newWorld(t)
	must(t, w.Rename("acme", "models", "acme", "nets"))
	repo, resp, err := w.client.Repositories.Get(w.ctx, "acme", "models")
	must(t, err)
	if repo.GetFullName() != "acme/nets" || !strings.Contains(resp.Request.URL.Path, "/repositories/") {
		t.Errorf("%s by %s", repo.GetFullName(), resp.Request.URL)
	}
	files, _, err := w.client.PullRequests.ListFiles(w.ctx, "acme", "models", w.pull, nil)
	must(t, err)
	if len(files) != 5 {
		t.Errorf("%d files over the redirect", len(files))
	}
	by, _, err := w.client.Repositories.GetByID(w.ctx, repo.GetID())
	must(t, err)
	if by.GetName() != "nets" {
		t.Errorf("by id %v", by)
	}
}

func TestLimitsAndFaults(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *AppOptions) { o.Limits.Core = 6 })
	const path = "/repos/acme/models"
	_, _, header := w.send("GET", path, nil)
	if header.Get("X-RateLimit-Limit") != "6" || header.Get("X-RateLimit-Remaining") != "5" || header.Get("X-RateLimit-Resource") != "core" || header.Get("X-GitHub-Request-Id") == "" {
		t.Errorf("headers %v", header)
	}
	if status, _, h := w.send("GET", path, nil, "If-None-Match", header.Get("ETag")); status != 304 || h.Get("X-RateLimit-Remaining") != "5" {
		t.Errorf("not modified: %d %v", status, h)
	}
	w.Fault(func(r *http.Request) *Fault {
		switch r.URL.Query().Get("fault") {
		case "status":
			return &Fault{Status: 503, Body: `{"message":"no"}`, Header: http.Header{"Retry-After": {"7"}}}
		case "drop":
			return &Fault{Drop: true}
		case "cut":
			return &Fault{Truncate: 10}
		}
		return nil
	})
	if status, o, h := w.send("GET", path+"?fault=status", nil); status != 503 || o["message"] != "no" || h.Get("Retry-After") != "7" {
		t.Errorf("fault: %d %v", status, o)
	}
	get := func(q string) error {
		req, err := http.NewRequestWithContext(w.ctx, "POST", w.server.URL+path+"/pulls/99/comments"+q, strings.NewReader("{}"))
		must(t, err)
		resp, err := w.client.Client().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	for _, q := range []string{"?fault=drop", "?fault=cut"} {
		if err := get(q); err == nil {
			t.Errorf("%s: no error", q)
		}
	}
	for range 10 {
		w.send("GET", path, nil)
	}
	status, o, h := w.send("GET", path, nil)
	if status != 403 || !strings.Contains(fmt.Sprint(o["message"]), "API rate limit exceeded for installation ID") || h.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("limit: %d %v", status, o)
	}
	n := 0
	for _, c := range w.Calls() {
		if c.Route == "/repos/{owner}/{repo}" && c.App == "dtype-bot" {
			n++
		}
	}
	if n != 13 {
		t.Errorf("%d calls counted", n)
	}
}

func TestPatchesLeftOut(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *AppOptions) { o.Limits.PatchLines = 10 })
	files, _, err := w.client.PullRequests.ListFiles(w.ctx, "acme", "models", w.pull, nil)
	must(t, err)
	for _, f := range files {
		if has := f.Patch != nil; has != (f.GetFilename() != "model.py" && f.GetFilename() != "data.bin") {
			t.Errorf("%s has a patch: %t", f.GetFilename(), has)
		}
	}
	files, resp, err := w.client.PullRequests.ListFiles(w.ctx, "acme", "models", w.pull, &github.ListOptions{PerPage: 2, Page: 2})
	must(t, err)
	if len(files) != 2 || resp.NextPage != 3 || resp.LastPage != 3 || resp.PrevPage != 1 || files[0].GetFilename() != "model.py" {
		t.Errorf("page 2: %v %+v", files, resp)
	}
}

func TestTogether(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 4 {
				if status, o, _ := w.send("GET", fmt.Sprintf("/repos/acme/models/pulls/%d/files", w.pull), nil); status != 200 {
					t.Errorf("files: %d %v", status, o)
				}
				if i == 0 {
					if _, err := w.Commit(w.ctx, "acme", "models", CommitOptions{Branch: "feature", Files: map[string]string{"new.py": fmt.Sprintf("x = %d\n", j)}}); err != nil {
						t.Error(err)
					}
				}
				w.view()
			}
		})
	}
	group.Wait()
	ctx := waitContext(t)
	must(t, w.Wait(ctx))
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Until(short, func() bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting in vain: %v", err)
	}
}

func TestFromLocalRepository(t *testing.T) {
	w := newWorld(t)
	from := w.GitDir("acme", "models")
	before, err := runGit(w.ctx, from, nil, nil, "for-each-ref")
	must(t, err)
	must(t, w.AddRepository(w.ctx, "acme", "copy", RepositoryOptions{
		From: from, DefaultBranch: "base", Branches: map[string]string{"base": "feature~1", "head": w.head[:10]},
	}))
	n, err := w.OpenPull(w.ctx, "acme", "copy", OpenPullOptions{Head: "head"})
	must(t, err)
	if v, _ := w.Pull(w.ctx, "acme", "copy", n); v.HeadSHA != w.head || len(v.Files) != 5 || v.Base != "base" {
		t.Errorf("pull request %+v", v)
	}
	must(t, w.AddRepository(w.ctx, "acme", "whole", RepositoryOptions{From: from}))
	if text, err := w.File("acme", "whole", "main", "README.md"); err != nil || text != "Read me\n" {
		t.Errorf("%q %v", text, err)
	}
	if err := w.AddRepository(w.ctx, "acme", "bad", RepositoryOptions{From: from, DefaultBranch: "b", Branches: map[string]string{"b": "nothing"}}); err == nil || !strings.Contains(err.Error(), `revision "nothing"`) {
		t.Errorf("an unknown revision: %v", err)
	}
	after, err := runGit(w.ctx, from, nil, nil, "for-each-ref")
	must(t, err)
	if string(before) != string(after) {
		t.Error("the source repository changed")
	}
	// A push with git itself.
	clone := t.TempDir() + "/clone"
	for _, args := range [][]string{
		{"clone", "-q", "--branch", "head", w.GitDir("acme", "copy"), clone},
		{"-C", clone, "-c", "user.name=dev", "-c", "user.email=d@e", "commit", "-q", "--allow-empty", "-m", "Again"},
		{"-C", clone, "push", "-q"},
	} {
		_, err := runGit(w.ctx, "", nil, nil, args...)
		must(t, err)
	}
	must(t, w.Refresh(w.ctx, "acme", "copy", "dev"))
	if v, _ := w.Pull(w.ctx, "acme", "copy", n); v.HeadSHA == w.head || len(v.Commits) != 2 {
		t.Errorf("after a push: %+v", v.Commits)
	}
}

// An answer that is lost after its request took effect.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t)
	w.Fault(func(r *http.Request) *Fault {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/check-runs") {
			return &Fault{Drop: true, After: true}
		}
		return nil
	})
	if _, _, err := w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", githubCheck(w.head)); err == nil {
		t.Error("the answer came")
	}
	if runs := w.CheckRuns("acme", "models", w.head); len(runs) == 0 {
		t.Error("the request had no effect")
	}
}

func TestMergeQueue(t *testing.T) {
	w := newWorld(t, func(_ *Options, a *AppOptions) { a.Events = append(a.Events, "merge_group") })
	id := w.note("model.py", 0, 10, Right, "```suggestion\nx\n```")
	sha, err := w.QueueMerge(w.ctx, "acme", "models", w.pull, "dev")
	must(t, err)
	if text, err := w.File("acme", "models", sha, "new.py"); err != nil || !strings.HasPrefix(text, "import torch") {
		t.Errorf("the merge has %q %v", text, err)
	}
	if _, err := w.CommitSuggestion(w.ctx, "acme", "models", w.pull, id, "dev"); err == nil || !strings.Contains(err.Error(), "queued to merge") {
		t.Errorf("a suggestion while queued: %v", err)
	}
	must(t, w.Wait(waitContext(t)))
	for _, d := range w.Deliveries() {
		if d.Event != "merge_group" {
			continue
		}
		event, err := github.ParseWebHook(d.Event, d.Payload)
		must(t, err)
		e := event.(*github.MergeGroupEvent)
		if d.Action != "checks_requested" || e.GetMergeGroup().GetHeadSHA() != sha || e.GetMergeGroup().GetBaseRef() != "refs/heads/main" {
			t.Errorf("event %v", e)
		}
		return
	}
	t.Error("no merge_group")
}

// Buttons of a check run reach its App, whatever it asked for.
func TestButtons(t *testing.T) {
	w := newWorld(t, func(_ *Options, a *AppOptions) { a.Events = []string{"pull_request"} })
	opts := githubCheck(w.head)
	opts.Actions = []*github.CheckRunAction{{Label: "Fix all", Description: "Commit every fix", Identifier: "fix-all"}}
	run, _, err := w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", opts)
	must(t, err)
	w.foreignRun()
	must(t, w.RerequestCheckRun("acme", "models", run.GetID(), "dev"))
	must(t, w.RequestAction("acme", "models", run.GetID(), "fix-all", "dev"))
	must(t, w.RerequestCheckSuite("acme", "models", w.head, w.app.ID, "dev"))
	if err := w.RequestAction("acme", "models", run.GetID(), "other", "dev"); err == nil {
		t.Error("an action that is not offered")
	}
	must(t, w.Wait(waitContext(t)))
	got := ""
	for _, d := range w.Deliveries() {
		if !strings.HasPrefix(d.Event, "check_") || d.Action == "requested" {
			continue
		}
		got += d.App + " " + d.Event + "." + d.Action + "\n"
		event, err := github.ParseWebHook(d.Event, d.Payload)
		must(t, err)
		if e, okay := event.(*github.CheckRunEvent); okay && (e.GetCheckRun().GetExternalID() != "pr=1" || e.GetSender().GetLogin() != "dev" || e.GetCheckRun().GetApp().GetID() != w.app.ID) {
			t.Errorf("event %v", e)
		}
	}
	if want := "dtype-bot check_run.rerequested\ndtype-bot check_run.requested_action\ndtype-bot check_suite.rerequested\n"; got != want {
		t.Errorf("events\n%s", got)
	}
}
