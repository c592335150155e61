package githubsim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
)

// testKey is made once: a key of 2048 bits takes a while.
var testKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// A world is a Sim with an App, a repository and a pull request in it.
type world struct {
	*Sim
	t       testing.TB
	ctx     context.Context
	server  *httptest.Server
	hooks   *receiver
	app     App
	install int64
	client  *github.Client // with the installation's token
	jwt     *github.Client // with the App's JWT
	pull    int
	head    string
}

// A receiver takes the webhooks.
type receiver struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies [][]byte
	status int
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got, h.bodies = append(h.got, r), append(h.bodies, body)
	w.WriteHeader(h.status)
}

const secret = "a webhook's secret"

// fullPermissions are those of the bot, with contents: write for suggestions.
func fullPermissions() map[string]string {
	return map[string]string{"contents": "read", "pull_requests": "write", "checks": "write"}
}

func needGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal("git is missing: apt-get install git")
		}
		t.Skip("git is missing: apt-get install git")
	}
}

// numbered gives the lines "line 1" … "line n".
func numbered(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func newWorld(t testing.TB, change ...func(*Options, *AppOptions)) *world {
	t.Helper()
	needGit(t)
	w := &world{t: t, ctx: t.Context(), hooks: &receiver{status: http.StatusAccepted}}
	hook := httptest.NewServer(w.hooks)
	t.Cleanup(hook.Close)
	key, err := testKey()
	must(t, err)
	opts := Options{Dir: t.TempDir()}
	app := AppOptions{
		Name: "Dtype Bot", Permissions: fullPermissions(), WebhookURL: hook.URL + "/webhook", Secret: secret, Key: key,
		Events: []string{"pull_request", "check_run", "check_suite", "pull_request_review", "pull_request_review_comment", "pull_request_review_thread", "issue_comment", "push", "repository"},
	}
	for _, f := range change {
		f(&opts, &app)
	}
	w.Sim, err = New(opts)
	must(t, err)
	t.Cleanup(w.Close)
	w.server = httptest.NewServer(contract.Guard(t, w.Sim))
	t.Cleanup(w.server.Close)
	w.SetURL(w.server.URL)
	w.app, err = w.RegisterApp(app)
	must(t, err)
	must(t, w.AddRepository(w.ctx, "acme", "models", RepositoryOptions{}))
	_, err = w.Commit(w.ctx, "acme", "models", CommitOptions{Message: "Begin", Files: map[string]string{
		"model.py": numbered(40), "old name.py": "def f():\n    return 1\n\n\ndef g():\n    return 2\n", "gone.py": "gone\n", "data.bin": "\x00\x01", "README.md": "Read me\n", "pkg/__init__.py": "",
	}})
	must(t, err)
	w.install, err = w.Install(w.app.ID, "acme/models")
	must(t, err)
	text := strings.Replace(numbered(40), "line 10\n", "line ten\nline ten and a half\n", 1)
	text = strings.Replace(text, "line 30\n", "line thirty\n", 1)
	w.head, err = w.Commit(w.ctx, "acme", "models", CommitOptions{
		Branch: "feature", Message: "Change the model", Author: "dev",
		Files: map[string]string{
			"model.py": text, "new.py": "import torch\nx = torch.zeros(2)\ny = x", "new name.py": "def f():\n    return 1\n\n\ndef g():\n    return 3\n", "data.bin": "\x00\x02",
		},
		Delete: []string{"gone.py", "old name.py"},
	})
	must(t, err)
	w.pull, err = w.OpenPull(w.ctx, "acme", "models", OpenPullOptions{Title: "Change the model", Head: "feature", Author: "dev"})
	must(t, err)
	w.connect()
	must(t, w.Wait(w.ctx))
	return w
}

func (w *world) connect() {
	w.t.Helper()
	tr, err := ghinstallation.NewAppsTransport(http.DefaultTransport, w.app.ID, w.app.PEM)
	must(w.t, err)
	tr.BaseURL = w.server.URL
	w.jwt = github.NewClient(&http.Client{Transport: tr})
	in, err := ghinstallation.New(http.DefaultTransport, w.app.ID, w.install, w.app.PEM)
	must(w.t, err)
	in.BaseURL = w.server.URL
	in.InstallationTokenOptions = &github.InstallationTokenOptions{} // without, it sends null
	w.client = github.NewClient(&http.Client{Transport: in})
	base := w.server.URL + "/"
	for _, c := range []*github.Client{w.jwt, w.client} {
		c.BaseURL, err = c.BaseURL.Parse(base)
		must(w.t, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send makes a request with the installation's token and gives status and answer.
func (w *world) send(method, path string, body any, header ...string) (int, map[string]any, http.Header) {
	w.t.Helper()
	text, err := json.Marshal(body)
	must(w.t, err)
	req, err := http.NewRequestWithContext(w.ctx, method, w.server.URL+path, strings.NewReader(string(text)))
	must(w.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Client().Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	must(w.t, err)
	var o map[string]any
	_ = json.Unmarshal(out, &o) // lists and empty answers give none
	return resp.StatusCode, o, resp.Header
}

func TestFirstReview(t *testing.T) {
	w := newWorld(t)
	files, _, err := w.client.PullRequests.ListFiles(w.ctx, "acme", "models", w.pull, nil)
	must(t, err)
	got := ""
	for _, f := range files {
		got += fmt.Sprintf("%s %s %q +%d -%d %t\n", f.GetStatus(), f.GetFilename(), f.GetPreviousFilename(), f.GetAdditions(), f.GetDeletions(), f.Patch != nil)
	}
	want := `modified data.bin "" +0 -0 false
removed gone.py "" +0 -1 true
modified model.py "" +3 -2 true
renamed new name.py "old name.py" +1 -1 true
added new.py "" +3 -0 true
`
	if got != want {
		t.Errorf("files\n%swant\n%s", got, want)
	}
	if p := files[2].GetPatch(); !strings.HasPrefix(p, "@@ -7,7 +7,8 @@ line 6\n line 7\n line 8\n line 9\n-line 10\n+line ten\n") {
		t.Errorf("patch of model.py: %s", p)
	}
	if p := files[4].GetPatch(); p != "@@ -0,0 +1,3 @@\n+import torch\n+x = torch.zeros(2)\n+y = x\n\\ No newline at end of file" {
		t.Errorf("patch of new.py: %s", p)
	}
	raw, _, err := w.client.Git.GetBlobRaw(w.ctx, "acme", "models", files[4].GetSHA())
	must(t, err)
	if string(raw) != "import torch\nx = torch.zeros(2)\ny = x" {
		t.Errorf("blob %q", raw)
	}
	review, _, err := w.client.PullRequests.CreateReview(w.ctx, "acme", "models", w.pull, &github.PullRequestReviewRequest{
		CommitID: github.String(w.head), Event: github.String("COMMENT"), Body: github.String("Two notes."),
		Comments: []*github.DraftReviewComment{
			{Path: github.String("model.py"), Line: github.Int(10), Side: github.String("RIGHT"), Body: github.String("one")},
			{Path: github.String("model.py"), StartLine: github.Int(30), Line: github.Int(31), Side: github.String("RIGHT"), StartSide: github.String("RIGHT"), Body: github.String("two")},
		},
	})
	must(t, err)
	if review.GetState() != "COMMENTED" || review.GetUser().GetLogin() != "dtype-bot[bot]" || review.GetUser().GetType() != "Bot" {
		t.Errorf("review %v", review)
	}
	comments, _, err := w.client.PullRequests.ListComments(w.ctx, "acme", "models", w.pull, nil)
	must(t, err)
	if len(comments) != 2 || comments[0].GetLine() != 10 || comments[1].GetStartLine() != 30 || comments[1].GetPullRequestReviewID() != review.GetID() {
		t.Errorf("comments %v", comments)
	}
	run, _, err := w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", github.CreateCheckRunOptions{
		Name: "dtypebot", HeadSHA: w.head, ExternalID: github.String("pr=1"), Status: github.String("completed"), Conclusion: github.String("neutral"),
		Output: &github.CheckRunOutput{Title: github.String("2 findings"), Summary: github.String("…")},
	})
	must(t, err)
	runs, _, err := w.client.Checks.ListCheckRunsForRef(w.ctx, "acme", "models", w.head, &github.ListCheckRunsOptions{AppID: github.Int64(w.app.ID)})
	must(t, err)
	if runs.GetTotal() != 1 || runs.CheckRuns[0].GetID() != run.GetID() || runs.CheckRuns[0].PullRequests[0].GetNumber() != w.pull {
		t.Errorf("check runs %v", runs)
	}
}

func waitContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newServer(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// githubCheck is a completed check run with an annotation.
func githubCheck(head string) github.CreateCheckRunOptions {
	return github.CreateCheckRunOptions{
		Name: "dtypebot", HeadSHA: head, ExternalID: github.String("pr=1"), Status: github.String("completed"), Conclusion: github.String("neutral"),
		Output: &github.CheckRunOutput{Title: github.String("One finding"), Summary: github.String("…"), Annotations: []*github.CheckRunAnnotation{{
			Path: github.String("model.py"), StartLine: github.Int(10), EndLine: github.Int(10), AnnotationLevel: github.String("warning"), Message: github.String("here"),
		}}},
	}
}

// BenchmarkReview reads and writes what a review takes: files, one GraphQL
// query with 50 blobs, a review, a check run.
func BenchmarkReview(b *testing.B) {
	w := newWorld(b)
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("pkg/m%02d.py", i)] = numbered(200)
	}
	head, err := w.Commit(w.ctx, "acme", "models", CommitOptions{Branch: "feature", Files: files})
	must(b, err)
	v, _ := w.Pull(w.ctx, "acme", "models", w.pull)
	query := "{ repository(owner: \"acme\", name: \"models\") { pullRequest(number: 1) { headRefOid reviewThreads(first: 100) { nodes { id } } }"
	for i, f := range v.Files {
		query += fmt.Sprintf(" b%d: object(oid: %q) { ... on Blob { text } }", i, f.SHA)
	}
	query += "} }"
	calls := []struct {
		name, method, path string
		body               any
	}{
		{"files", "GET", "/repos/acme/models/pulls/1/files?per_page=100", nil},
		{"graphql", "POST", "/graphql", map[string]any{"query": query}},
		{"review", "POST", "/repos/acme/models/pulls/1/reviews", map[string]any{
			"event": "COMMENT", "body": "b", "commit_id": head, "comments": []any{map[string]any{"path": "new.py", "line": 1, "body": "c"}},
		}},
		{"check", "POST", "/repos/acme/models/check-runs", githubCheck(head)},
	}
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			w.mu.Lock()
			w.opts.Limits.Core, w.rates = 1<<30, map[string]*rate{}
			w.mu.Unlock()
			for b.Loop() {
				if status, o, _ := w.send(c.method, c.path, c.body); status/100 != 2 {
					b.Fatal(status, o)
				}
			}
		})
	}
}
