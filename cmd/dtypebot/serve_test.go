package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/sethvargo/go-envconfig"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
)

// serveLimit is how long these tests wait for something that has to happen.
const serveLimit = 20 * time.Second

const testSecret = "It's a Secret to Everybody"

// appKey is a private key as GitHub gives it to an App.
var appKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// goodEnv is an environment without faults.
func goodEnv() map[string]string {
	return map[string]string{"GITHUB_APP_ID": "12", "GITHUB_PRIVATE_KEY": appKey(), "GITHUB_WEBHOOK_SECRET": testSecret}
}

func TestServeConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name string
		set  map[string]string
		want func(*serveConfig) // what differs from the defaults
	}{
		{"defaults", nil, func(*serveConfig) {}},
		{"empty is unset", map[string]string{"LISTEN_ADDR": "", "ROLE": " ", "NATS_URL": ""}, func(*serveConfig) {}},
		{"secrets", map[string]string{"GITHUB_WEBHOOK_SECRET": "old, new"}, func(c *serveConfig) { c.Secrets = []string{"old", "new"} }},
		{
			"files",
			map[string]string{
				"GITHUB_PRIVATE_KEY": "", "GITHUB_PRIVATE_KEY_FILE": file("key", appKey()),
				"GITHUB_WEBHOOK_SECRET": "", "GITHUB_WEBHOOK_SECRET_FILE": file("secrets", "one,and the same\r\ntwo\n"),
			},
			func(c *serveConfig) { c.Secrets = []string{"one,and the same", "two"} },
		},
		{
			"all else",
			map[string]string{
				"GITHUB_API_URL": "https://ghe.example/api/v3/", "GITHUB_GRAPHQL_URL": "https://ghe.example/api/graphql",
				"LISTEN_ADDR": "[::1]:80", "ADMIN_ADDR": "127.0.0.1:0", "DATA_DIR": "/d", "NATS_URL": "nats://a:4222,tls://b", "NATS_CREDS": file("creds", "x"),
				"NATS_CA": file("ca", "x"), "NATS_REPLICAS": "3", "ROLE": "worker", "WORKERS": "9", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json",
			},
			func(c *serveConfig) {
				*c = serveConfig{
					AppID: c.AppID, Key: c.Key, Secrets: c.Secrets,
					APIURL: "https://ghe.example/api/v3/", GraphQLURL: "https://ghe.example/api/graphql", Listen: "[::1]:80", Admin: "127.0.0.1:0", DataDir: "/d",
					NATSURL: "nats://a:4222,tls://b", NATSCreds: filepath.Join(dir, "creds"), NATSCA: filepath.Join(dir, "ca"),
					Replicas: 3, Role: "worker", Workers: 9, LogLevel: slog.LevelDebug, LogJSON: true,
				}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := goodEnv()
			for k, v := range test.set {
				env[k] = v
			}
			want := serveConfig{
				AppID: 12, Key: []byte(appKey()), Secrets: []string{testSecret}, APIURL: "https://api.github.com/",
				Listen: ":8080", Admin: "127.0.0.1:9464", DataDir: "./data", Replicas: 1, Role: "all", Workers: 4,
			}
			test.want(&want)
			got, err := readConfig(t.Context(), envconfig.MapLookuper(env))
			if err != nil {
				t.Fatal(err)
			}
			// The library takes the text as it is, and so the file.
			got.Key, want.Key = bytes.TrimSpace(got.Key), bytes.TrimSpace(want.Key)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServeFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gap := filepath.Join(t.TempDir(), "gap")
	if err := os.WriteFile(gap, []byte("a\n\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		set  map[string]string
		want []string // the starts of the faults
	}{
		{
			"no credentials, and more",
			map[string]string{"GITHUB_APP_ID": "", "GITHUB_PRIVATE_KEY": "", "GITHUB_WEBHOOK_SECRET": "", "ROLE": "worker", "NATS_URL": "nats://a", "WORKERS": "0"},
			[]string{`WORKERS: "0"`, "ROLE: worker needs the App's credentials"},
		},
		{
			"some",
			map[string]string{"GITHUB_APP_ID": "", "GITHUB_PRIVATE_KEY": ""},
			[]string{"GITHUB_APP_ID: missing", "GITHUB_PRIVATE_KEY: missing (or GITHUB_PRIVATE_KEY_FILE)"},
		},
		{"no secret", map[string]string{"GITHUB_WEBHOOK_SECRET": ""}, []string{"GITHUB_WEBHOOK_SECRET: missing"}},
		{"id", map[string]string{"GITHUB_APP_ID": "dtypebot"}, []string{`GITHUB_APP_ID: "dtypebot" is not the id`}},
		{"id 0", map[string]string{"GITHUB_APP_ID": "0"}, []string{`GITHUB_APP_ID: "0" is not the id`}},
		{"PEM", map[string]string{"GITHUB_PRIVATE_KEY": "-----BEGIN"}, []string{"GITHUB_PRIVATE_KEY: not an RSA private key"}},
		{"key twice", map[string]string{"GITHUB_PRIVATE_KEY_FILE": "/k"}, []string{"GITHUB_PRIVATE_KEY: set together with GITHUB_PRIVATE_KEY_FILE"}},
		{
			"key file",
			map[string]string{"GITHUB_PRIVATE_KEY": "", "GITHUB_PRIVATE_KEY_FILE": "/no/such/file"},
			[]string{"GITHUB_PRIVATE_KEY_FILE: open /no/such/file: no such file"},
		},
		{
			"key file empty",
			map[string]string{"GITHUB_PRIVATE_KEY": "", "GITHUB_PRIVATE_KEY_FILE": empty},
			[]string{"GITHUB_PRIVATE_KEY_FILE: " + empty + " is empty"},
		},
		{"empty element", map[string]string{"GITHUB_WEBHOOK_SECRET": "a,,b,"}, []string{"GITHUB_WEBHOOK_SECRET: element 2 is empty", "GITHUB_WEBHOOK_SECRET: element 4 is empty"}},
		{"empty line", map[string]string{"GITHUB_WEBHOOK_SECRET": "", "GITHUB_WEBHOOK_SECRET_FILE": gap}, []string{"GITHUB_WEBHOOK_SECRET_FILE: line 2 is empty"}},
		{"API", map[string]string{"GITHUB_API_URL": "api.github.com"}, []string{`GITHUB_API_URL: "api.github.com" is not an http address`}},
		{"API in the clear", map[string]string{"GITHUB_API_URL": "http://ghe.example/"}, []string{"GITHUB_API_URL: "}},
		{"GraphQL", map[string]string{"GITHUB_GRAPHQL_URL": "ftp://x/"}, []string{`GITHUB_GRAPHQL_URL: "ftp://x/" is not an http address`}},
		{"address", map[string]string{"LISTEN_ADDR": "8080", "ADMIN_ADDR": ":http"}, []string{`LISTEN_ADDR: "8080"`, `ADMIN_ADDR: ":http"`}},
		{"port", map[string]string{"LISTEN_ADDR": ":65536"}, []string{`LISTEN_ADDR: ":65536"`}},
		{"one address", map[string]string{"ADMIN_ADDR": ":8080"}, []string{`ADMIN_ADDR: :8080 is LISTEN_ADDR already`}},
		{"level", map[string]string{"LOG_LEVEL": "loud"}, []string{`LOG_LEVEL: "loud" is none of`}},
		{"format", map[string]string{"LOG_FORMAT": "xml"}, []string{`LOG_FORMAT: "xml" is neither`}},
		{"role", map[string]string{"ROLE": "boss"}, []string{`ROLE: "boss" is none of`}},
		{"lonely role", map[string]string{"ROLE": "webhook"}, []string{`ROLE: webhook needs NATS_URL`}},
		{"workers", map[string]string{"WORKERS": "many"}, []string{`WORKERS: "many"`}},
		{"NATS", map[string]string{"NATS_URL": "http://user:hunter2@x", "NATS_REPLICAS": "6"}, []string{`NATS_REPLICAS: "6"`, `NATS_URL: scheme "http"`}},
		{"NATS files", map[string]string{"NATS_CREDS": "/no/creds"}, []string{"NATS_CREDS: set without NATS_URL", "NATS_CREDS: open /no/creds"}},
		{
			"all at once",
			map[string]string{"GITHUB_APP_ID": "x", "GITHUB_PRIVATE_KEY": "y", "GITHUB_WEBHOOK_SECRET": ",", "LISTEN_ADDR": "z", "LOG_LEVEL": "w"},
			[]string{"GITHUB_APP_ID", "GITHUB_PRIVATE_KEY", "GITHUB_WEBHOOK_SECRET: element 1", "GITHUB_WEBHOOK_SECRET: element 2", "LISTEN_ADDR", "LOG_LEVEL"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := goodEnv()
			for k, v := range test.set {
				env[k] = v
			}
			_, err := readConfig(t.Context(), envconfig.MapLookuper(env))
			if err == nil {
				t.Fatal("no fault found")
			}
			lines := strings.Split(err.Error(), "\n  ")[1:]
			ok := slices.EqualFunc(lines, test.want, strings.HasPrefix)
			if !ok {
				t.Errorf("faults:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(test.want, "\n"))
			}
			if text := err.Error(); strings.Contains(text, testSecret) || strings.Contains(text, "hunter2") || strings.Contains(text, "PRIVATE KEY-----") {
				t.Errorf("the message shows a secret: %s", text)
			}
		})
	}
}

func TestServeHelp(t *testing.T) {
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetArgs([]string{"serve", "--help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"GITHUB_APP_ID", "GITHUB_PRIVATE_KEY", "GITHUB_PRIVATE_KEY_FILE", "GITHUB_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET_FILE",
		"GITHUB_API_URL", "GITHUB_GRAPHQL_URL", "LISTEN_ADDR", "ADMIN_ADDR", "DATA_DIR", "NATS_URL", "NATS_CREDS", "NATS_CA", "NATS_REPLICAS",
		"ROLE", "WORKERS", "LOG_LEVEL", "LOG_FORMAT",
	} {
		if !strings.Contains(out.String(), "\n  "+name+" ") {
			t.Errorf("the help does not list %s", name)
		}
	}
}

// startApp runs an app on loopback; stop ends it in good order.
func startApp(t testing.TB, config appConfig) (a *app, stop func()) {
	t.Helper()
	if config.AppID == 0 {
		config.AppID, config.Key = 12, []byte(appKey())
	}
	config.Secrets = []string{testSecret}
	config.Listen, config.Admin, config.Workers, config.Replicas = "127.0.0.1:0", "127.0.0.1:0", 2, 1
	if config.Role == "" {
		config.Role = roleAll
	}
	if config.APIURL == "" {
		api := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(api.Close)
		config.APIURL = api.URL
	}
	if config.DataDir == "" {
		config.DataDir = t.TempDir()
	}
	if config.Log == nil && testing.Verbose() { // a test that reads the log has its own
		config.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	a, err := newApp(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(shutdownGrace + serveLimit):
			t.Error("the app does not end")
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// push sends the webhook of a push to a pull request and returns the status.
func push(t testing.TB, addr net.Addr, pull int) int {
	t.Helper()
	status, err := pushTo(addr.String(), pull)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func pushTo(addr string, pull int) (status int, err error) {
	body := fmt.Sprintf(`{"action":"synchronize","number":%d,"pull_request":{"number":%[1]d},`+
		`"repository":{"id":9,"name":"lift","owner":{"login":"octo"}},"installation":{"id":7},"sender":{"login":"mona"}}`, pull)
	mac := hmac.New(sha256.New, []byte(testSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/webhook", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "pull_request")
	req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("guid-%d", pull))
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// get returns the status and body of a page.
func get(t *testing.T, addr net.Addr, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + addr.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// jobsOf is a handler that passes its jobs on.
func jobsOf() (<-chan bot.Job, func(context.Context, bot.Job) error) {
	jobs := make(chan bot.Job, 100)
	return jobs, func(_ context.Context, j bot.Job) error { jobs <- j; return nil }
}

func nextJob(t *testing.T, jobs <-chan bot.Job) bot.Job {
	t.Helper()
	select {
	case j := <-jobs:
		return j
	case <-time.After(serveLimit):
		t.Fatal("no job came in time")
		panic("unreachable")
	}
}

// TestServe sends a webhook and sees it become a job; then it looks at the
// other pages.
func TestServe(t *testing.T) {
	jobs, handle := jobsOf()
	a, stop := startApp(t, appConfig{Handle: handle})
	if status := push(t, a.Addr(), 3); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	if j := nextJob(t, jobs); j.Pull != 3 || j.Installation != 7 || j.Delivery != "guid-3" || time.Since(j.Accepted) > time.Minute {
		t.Errorf("job %+v", j)
	}
	for _, page := range []struct {
		addr   net.Addr
		path   string
		status int
	}{
		{a.Addr(), "/healthz", 200},
		{a.Addr(), "/readyz", 200},
		{a.Addr(), "/metrics", 404}, // the world need not see these
		{a.Addr(), "/debug/pprof/", 404},
		{a.Addr(), "/webhook", 405},
		{a.AdminAddr(), "/healthz", 200},
		{a.AdminAddr(), "/readyz", 200},
		{a.AdminAddr(), "/debug/pprof/", 200},
		{a.AdminAddr(), "/webhook", 404},
	} {
		if status, body := get(t, page.addr, page.path); status != page.status {
			t.Errorf("%s%s: status %d, want %d: %s", page.addr, page.path, status, page.status, body)
		}
	}
	_, text := get(t, a.AdminAddr(), "/metrics")
	for _, line := range []string{
		`dtypebot_webhooks_total{event="pull_request",outcome="accepted"} 1`,
		`dtypebot_queue_jobs{state="dead"} 0`,
		"dtypebot_job_seconds_bucket",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	stop()
	if _, err := http.Get("http://" + a.Addr().String() + "/healthz"); err == nil {
		t.Error("the port is open after the end")
	}
}

// TestServeWithoutGitHub has nobody at the address of the API: webhooks are
// accepted and queued all the same, and /readyz says what is wrong.
func TestServeWithoutGitHub(t *testing.T) {
	asked := make(chan struct{}, 100)
	broken := fmt.Errorf("no route to GitHub")
	jobs, handle := jobsOf()
	a, _ := startApp(t, appConfig{Handle: handle, serveConfig: serveConfig{APIURL: "http://127.0.0.1:1/"}, Transport: transport(func(*http.Request) (*http.Response, error) {
		asked <- struct{}{}
		return nil, broken
	})})
	if status := push(t, a.Addr(), 3); status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	nextJob(t, jobs)
	<-asked
	for begin := time.Now(); a.api.state() == nil && time.Since(begin) < serveLimit; {
		time.Sleep(time.Millisecond) // the answer is noted just after it was given
	}
	if status, body := get(t, a.AdminAddr(), "/readyz"); status != 503 || !strings.Contains(body, broken.Error()) {
		t.Errorf("/readyz of the operator: %d %q", status, body)
	}
	if status, body := get(t, a.Addr(), "/readyz"); status != 503 || strings.Contains(body, broken.Error()) {
		t.Errorf("/readyz of the world: %d %q", status, body)
	}
	if status, _ := get(t, a.Addr(), "/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// TestServeStoreGone ends the queue below the app: a webhook must not be
// answered as if it were safe.
func TestServeStoreGone(t *testing.T) {
	_, handle := jobsOf()
	config := appConfig{Handle: handle, serveConfig: serveConfig{
		AppID: 12, Key: []byte(appKey()), Secrets: []string{testSecret}, APIURL: "http://127.0.0.1:1/", DataDir: t.TempDir(), Role: roleAll, Workers: 1, Listen: "127.0.0.1:0",
	}}
	a, err := newApp(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.AdminAddr() != nil {
		t.Error("there is an admin address without ADMIN_ADDR")
	}
	s := httptest.NewServer(a.public)
	defer s.Close()
	a.server.Close()
	if status := push(t, s.Listener.Addr(), 3); status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", status)
	}
	if status, _ := get(t, s.Listener.Addr(), "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d, want 503", status)
	}
}

// TestServeRoles has one process that receives and another that works, on an
// external queue.
func TestServeRoles(t *testing.T) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(serveLimit) {
		t.Fatal("the server did not start")
	}
	door, _ := startApp(t, appConfig{serveConfig: serveConfig{NATSURL: ns.ClientURL(), Role: roleWebhook}, Handle: func(context.Context, bot.Job) error {
		t.Error("the receiver works")
		return nil
	}})
	if status := push(t, door.Addr(), 3); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	jobs, handle := jobsOf()
	worker, _ := startApp(t, appConfig{serveConfig: serveConfig{NATSURL: ns.ClientURL(), Role: roleWorker}, Handle: handle})
	if j := nextJob(t, jobs); j.Pull != 3 {
		t.Errorf("job %+v", j)
	}
	if status := push(t, worker.Addr(), 3); status != http.StatusNotFound {
		t.Errorf("the worker answers a webhook with %d", status)
	}
}

// TestServeTwice starts a second app in the same data folder.
func TestServeTwice(t *testing.T) {
	_, handle := jobsOf()
	a, _ := startApp(t, appConfig{Handle: handle})
	config := a.config
	_, err := newApp(t.Context(), config)
	want := &queue.LockedError{Dir: config.DataDir, PID: os.Getpid()}
	if err == nil || err.Error() != want.Error() {
		t.Errorf("second start: %v, want: %v", err, want)
	}
	config.DataDir = t.TempDir()
	config.Listen = a.Addr().String()
	if _, err := newApp(t.Context(), config); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the port is taken, and the error is %v", err)
	}
}

// serveChild makes TestServeChild run an app in this data folder whose jobs
// never end.
const serveChild = "DTYPEBOT_TEST_SERVE"

func TestServeChild(t *testing.T) {
	dir := os.Getenv(serveChild)
	if dir == "" {
		t.Skip("runs only as a process of TestServeKilled")
	}
	a, _ := startApp(t, appConfig{serveConfig: serveConfig{DataDir: dir}, Handle: func(context.Context, bot.Job) error { select {} }})
	fmt.Println("listens", a.Addr())
	select {}
}

// TestServeKilled kills the process with SIGKILL as soon as it has answered
// 202: the next start finds the job exactly once.
func TestServeKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeChild$")
	cmd.Env = append(os.Environ(), serveChild+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "listens %s", &addr)
	}
	status, err := pushTo(addr, 3)
	if kill := cmd.Process.Kill(); kill != nil {
		t.Fatal(kill)
	}
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("status %d, %v", status, err)
	}
	_ = cmd.Wait() // it was killed

	jobs, handle := jobsOf()
	a, stop := startApp(t, appConfig{serveConfig: serveConfig{DataDir: dir}, Handle: handle})
	if j := nextJob(t, jobs); j.Pull != 3 || j.Delivery != "guid-3" {
		t.Errorf("job %+v", j)
	}
	push(t, a.Addr(), 4) // what comes behind shows that nothing else is there
	if j := nextJob(t, jobs); j.Pull != 4 {
		t.Errorf("job %+v", j)
	}
	stop()
	if len(jobs) != 0 {
		t.Errorf("%+v ran too", <-jobs)
	}
}

// TestServeProcess runs the program itself: it ends well on SIGTERM, and badly
// on faults, before it creates anything.
func TestServeProcess(t *testing.T) {
	t.Parallel() // it mostly waits
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// Under the name of the command the test binary is the command; see TestMain.
	bin := filepath.Join(dir, "dtypebot")
	if err := os.Symlink(exe, bin); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	base := append(os.Environ(), "DATA_DIR="+data, "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "LOG_FORMAT=json", "GITHUB_API_URL=http://127.0.0.1:1/",
		"GITHUB_APP_ID=12", "GITHUB_WEBHOOK_SECRET="+testSecret)

	bad := exec.CommandContext(t.Context(), bin, "serve")
	bad.Env = append(base, "GITHUB_PRIVATE_KEY=nonsense")
	text, _ := bad.CombinedOutput()
	if code := bad.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(text), "GITHUB_PRIVATE_KEY: not an RSA") {
		t.Errorf("a bad key: exit %d: %s", code, text)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data folder was made in spite of faults")
	}

	good := exec.CommandContext(t.Context(), bin, "serve")
	good.Env = append(base, "GITHUB_PRIVATE_KEY="+appKey())
	stderr, err := good.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = good.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	var log strings.Builder
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), `"dtypebot serves"`) {
			break
		}
	}
	if err := good.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
	}
	if err := good.Wait(); err != nil {
		t.Errorf("after a signal: %v\n%s", err, log.String())
	}
	if strings.Contains(log.String(), testSecret) || strings.Contains(log.String(), "PRIVATE KEY") {
		t.Errorf("the log shows a secret:\n%s", log.String())
	}
}

// BenchmarkWebhook measures deliveries a second, each signed, sent over
// loopback, synced to disk and answered.
func BenchmarkWebhook(b *testing.B) {
	block := make(chan struct{})
	a, stop := startApp(b, appConfig{Handle: func(ctx context.Context, _ bot.Job) error {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return ctx.Err()
	}})
	addr := a.Addr().String()
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 1; pb.Next(); n++ {
			start := time.Now()
			if status, err := pushTo(addr, n); status != http.StatusAccepted {
				b.Errorf("status %d, %v", status, err)
				return
			}
			d := time.Since(start)
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		}
	})
	b.StopTimer()
	close(block)
	stop()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "webhooks/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
