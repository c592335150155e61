package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// safeBuffer may be written by several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// echo is a transport that answers some requests with a refusal that holds the
// request's own credentials, as a careless proxy may.
type echo struct {
	mu   sync.Mutex
	n    int
	seen map[string]bool // credentials that were sent
}

func (e *echo) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	_, credential, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	e.mu.Lock()
	defer e.mu.Unlock()
	if credential == "" {
		return resp, err
	}
	e.seen[credential] = true
	e.n++
	if err != nil || e.n%3 == 0 || req.URL.Path == "/app" && e.n > 4 {
		return resp, err
	}
	_ = resp.Body.Close()
	rec := &http.Response{
		Status: "500", StatusCode: []int{500, 403, 422, 404, 400}[e.n%5], Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{"Content-Type": {"application/json"}},
	}
	rec.Body = readCloser{strings.NewReader(fmt.Sprintf(`{"message":"bad credentials %s","errors":[{"message":%q}]}`, credential, "Authorization: Bearer "+credential+" "+appKey()))}
	return rec, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// credentialForms are the shapes that no output may hold.
var credentialForms = regexp.MustCompile(`gh[a-z]_[A-Za-z0-9._-]{10,}|github_pat_\w{10,}|eyJ[\w-]{8,}\.|BEGIN [A-Z ]*PRIVATE KEY`)

// TestNoSecretShown lets everything go wrong while GitHub's answers quote the
// credentials, and looks through the log in both formats, all pages and metrics,
// the queue's dead letters and what was posted.
func TestNoSecretShown(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, json := range []bool{false, true} {
		t.Run(fmt.Sprintf("json %t", json), func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.DataDir = t.TempDir()
			config.LogLevel, config.LogJSON = slog.LevelDebug, json
			config.Secrets = []string{testSecret}
			var out safeBuffer
			config.Log = config.logger(&out)
			e := &echo{seen: map[string]bool{}}
			config.Transport = e
			config.Queue.Backoff = time.Millisecond
			config.Queue.LeaseRetry = time.Millisecond
			config.Recover = recoverSoon()
			a, stop := startApp(t, config)
			w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
			n := w.open()
			if _, err := http.Post("http://"+a.Addr().String()+"/webhook", "application/json", strings.NewReader(`{"ghs_0123456789012345678901234567890123456789":1}`)); err != nil {
				t.Error(err)
			}
			shown := func() bool { // there is something to look through
				e.mu.Lock()
				defer e.mu.Unlock()
				return len(e.seen) >= 2 && strings.Contains(out.String(), "[token]")
			}
			begin := time.Now()
			for time.Since(begin) < time.Second || !shown() && time.Since(begin) < serveLimit {
				time.Sleep(20 * time.Millisecond)
			}
			pages := ""
			for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
				_, text := get(t, a.AdminAddr(), path)
				pages += text
			}
			for _, path := range []string{"/", "/healthz", "/readyz", "/webhook", "/setup"} {
				_, text := get(t, a.Addr(), path)
				pages += text
			}
			letters, err := a.queue.DeadLetters(t.Context())
			w.check(err)
			posted := fmt.Sprintf("%+v %+v", letters, w.pull(n))
			stop()
			e.mu.Lock()
			defer e.mu.Unlock()
			if len(e.seen) < 2 || !strings.Contains(out.String(), "[token]") {
				t.Errorf("the test shows nothing: %d credentials were sent, log:\n%s", len(e.seen), out.String())
			}
			for where, text := range map[string]string{"the log": out.String(), "a page": pages, "what was posted or parked": posted} {
				if found := credentialForms.FindString(text); found != "" {
					t.Errorf("%s holds %q", where, found)
				}
				for credential := range e.seen {
					if strings.Contains(text, credential) {
						t.Errorf("%s holds a credential that was sent", where)
					}
				}
				if strings.Contains(text, testSecret) {
					t.Errorf("%s holds the webhook secret", where)
				}
				for line := range strings.FieldsSeq(string(config.Key)) {
					if len(line) > 32 && strings.Contains(text, line) {
						t.Errorf("%s holds a line of the key", where)
					}
				}
			}
			private(t, config.DataDir)
		})
	}
}

// private fails unless nobody else can read the folder and its files.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel(dir, path); info.Mode().Perm()&0o077 != 0 && (rel == "." || !info.IsDir()) {
			t.Errorf("%s has the mode %s", rel, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRedact(t *testing.T) {
	var out bytes.Buffer
	c := serveConfig{Secrets: []string{"correct horse", "short"}, Key: []byte(appKey()), NATSURL: "nats://bot:hunter2hunter2@a:4222, tls://tokentoken@b"}
	log := c.logger(&out)
	log.Error("correct horse", "key", appKey(), "url", c.NATSURL, "short", "short",
		"token", "ghs_12_eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJnaXRodWIifQ.c2lnbmF0dXJl", "half", appKey()[:300])
	text := out.String()
	for _, bad := range []string{"correct", "hunter2", "tokentoken", "ghs_", "eyJ", "BEGIN", appKey()[100:140]} {
		if strings.Contains(text, bad) {
			t.Errorf("the log holds %q:\n%s", bad, text)
		}
	}
	if !strings.Contains(text, "short=short") || !strings.Contains(text, "level=ERROR") {
		t.Errorf("the log is mutilated:\n%s", text)
	}
}

// TestHostileNames opens a pull request whose file, branch, title and author
// mean to write something of their own into the bot's words.
func TestHostileNames(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	a, stop := startApp(t, w.config())
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	name := "a`<img src=x onerror=alert(1)>@octo [x](javascript:alert(1)) <!-- dtypebot:v1 fp=1 --> ``` suggestion/![i](http:x)|b.py"
	branch := "x`@octo<b>-](evil.example)" // git takes no colon, blank or bracket in it
	w.commit(githubsim.CommitOptions{Branch: branch, Author: "mona", Files: map[string]string{
		name: strings.ReplaceAll(wrongFile, "weight", "wei_ght__"),
	}})
	n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "<script>alert(1)</script> @octo/team closes #1", Head: branch, Author: "mona"})
	w.check(err)
	w.until("the review", w.completed(n))
	stop()
	p := w.pull(n)
	var bodies []string
	for _, r := range p.Reviews {
		bodies = append(bodies, r.Body)
	}
	for _, th := range p.Threads {
		bodies = append(bodies, th.Comments[0].Body)
	}
	for _, r := range p.CheckRuns {
		bodies = append(bodies, r.Title, r.Summary, r.Text)
	}
	if len(p.Threads) != 1 {
		t.Errorf("%d threads", len(p.Threads))
	}
	md := goldmark.New(goldmark.WithRendererOptions(html.WithUnsafe()))
	// Code is shown as it is, and an address on GitHub itself may hold any name.
	code := regexp.MustCompile(`(?s)<code[^>]*>.*?</code>|<!--.*?-->|href="` + regexp.QuoteMeta(w.url) + `[^"]*"`)
	for _, body := range bodies {
		var out bytes.Buffer
		w.check(md.Convert([]byte(body), &out))
		shown := code.ReplaceAllString(out.String(), "")
		for _, bad := range []string{"<img", "<script", "<b>", "javascript:", "@octo", "evil.example", "http:x"} {
			if strings.Contains(shown, bad) {
				t.Errorf("%q gets out of\n%s\nshown as\n%s", bad, body, shown)
			}
		}
		if strings.Count(body, "<!-- dtypebot:v1") > 1 {
			t.Errorf("a second marker in\n%s", body)
		}
	}
}

// TestServerLimits sends both servers headers that are too large, and headers that
// do not end.
func TestServerLimits(t *testing.T) {
	t.Parallel() // it mostly waits
	_, handle := jobsOf()
	a, _ := startApp(t, appConfig{Handle: handle})
	for _, addr := range []net.Addr{a.Addr(), a.AdminAddr()} {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr.String()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Large", strings.Repeat("x", 128<<10))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: 128 KB of headers are answered %d", addr, resp.StatusCode)
		}
		if !slow() {
			continue
		}
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(serveLimit))
		if _, err := io.ReadAll(conn); err != nil { // the server closes it
			t.Errorf("%s: a header that does not end keeps the connection: %v", addr, err)
		}
	}
}

// TestVulnerabilities asks Go's database of vulnerabilities about the code that
// is reached.
func TestVulnerabilities(t *testing.T) {
	onlySlow(t)
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Head("https://vuln.go.dev/index/db.json")
	if err != nil {
		t.Skipf("slow: set up a way to vuln.go.dev, which cannot be reached: %v", err)
	}
	_ = resp.Body.Close()
	cmd := exec.CommandContext(t.Context(), "go", "run", "golang.org/x/vuln/cmd/govulncheck@v1.9.0", "./...")
	cmd.Dir = filepath.Join("..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("govulncheck: %v\n%s", err, text)
	}
}
