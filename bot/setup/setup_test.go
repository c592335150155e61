package setup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
	"github.com/dtypebot/dtypebot/bot/githubsim/page"
	"github.com/dtypebot/dtypebot/bot/setup"
)

// A site is a simulated GitHub with its page, and the wizard in front of it.
type site struct {
	t      *testing.T
	sim    *githubsim.Sim
	github *httptest.Server
	wizard *setup.Wizard
	server *httptest.Server
	dir    string
	log    bytes.Buffer
	client *http.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "data")}
	var err error
	s.sim, err = githubsim.New(githubsim.Options{Dir: t.TempDir()})
	if errors.Is(err, githubsim.ErrNoGit) && os.Getenv("DTYPEBOT_REQUIRE") != "all" {
		t.Skip(err)
	}
	s.check(err)
	t.Cleanup(s.sim.Close)
	pages, err := page.New(s.sim, page.Options{Login: "mona"})
	s.check(err)
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/api/", contract.Guard(t, s.sim))
	s.github = httptest.NewServer(mux)
	t.Cleanup(s.github.Close)
	s.sim.SetURL(s.github.URL)
	s.wizard, err = setup.New(setup.Options{
		DataDir: s.dir, GitHub: github.Config{APIURL: s.github.URL + "/api/v3/"}, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	s.check(err)
	s.server = httptest.NewServer(s.wizard.Handler())
	t.Cleanup(s.server.Close)
	s.client = s.browser()
	return s
}

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// browser is a visitor of his own.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	s.check(err)
	return &http.Client{Jar: jar}
}

func (s *site) read(resp *http.Response, err error) (int, string) {
	s.t.Helper()
	s.check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	s.check(err)
	return resp.StatusCode, string(text)
}

func (s *site) get(address string) (int, string) {
	s.t.Helper()
	return s.read(s.client.Get(address))
}

// press sends the one form of a page, with more values.
func (s *site) press(at, text string, more url.Values) (int, string) {
	s.t.Helper()
	action := regexp.MustCompile(`<form method="post" action="([^"]+)"`).FindStringSubmatch(text)
	if action == nil {
		s.t.Fatalf("no form on %s", text)
	}
	values := url.Values{}
	for _, in := range regexp.MustCompile(`type="hidden" name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		values.Set(in[1], html.UnescapeString(in[2]))
	}
	for name := range more {
		values.Set(name, more.Get(name))
	}
	base, err := url.Parse(at)
	s.check(err)
	to, err := base.Parse(html.UnescapeString(action[1]))
	s.check(err)
	return s.read(s.client.PostForm(to.String(), values))
}

var answers = url.Values{"name": {"Lab bot"}, "address": {"https://bot.example.com"}}

// fill goes to the page that sends the manifest.
func (s *site) fill(more url.Values) (int, string) {
	s.t.Helper()
	status, text := s.get(s.server.URL + s.wizard.Path())
	if status != http.StatusOK || !strings.Contains(text, "Create the GitHub App") {
		s.t.Fatalf("%d %s", status, text)
	}
	values := url.Values{}
	for _, list := range []url.Values{answers, more} {
		for name := range list {
			values.Set(name, list.Get(name))
		}
	}
	return s.press(s.server.URL, text, values)
}

// wantNothing fails if credentials were kept.
func (s *site) wantNothing() {
	s.t.Helper()
	if _, err := setup.Load(s.dir); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("credentials: %v", err)
	}
	select {
	case <-s.wizard.Done():
		s.t.Error("the wizard is done")
	default:
	}
}

// TestWizard creates an App of an organisation, and works with what was kept.
func TestWizard(t *testing.T) {
	s := newSite(t)
	status, text := s.fill(url.Values{"organization": {"lab"}, "write": {"1"}})
	if status != http.StatusOK || !strings.Contains(text, "https://bot.example.com/webhook") || !strings.Contains(text, `class="level write">write`) {
		t.Fatalf("%d %s", status, text)
	}
	status, text = s.press(s.server.URL, text, nil)
	if status != http.StatusOK || !strings.Contains(text, "Create GitHub App for lab") {
		t.Fatalf("%d %s", status, text)
	}
	s.wantNothing()
	status, text = s.press(s.github.URL, text, nil)
	if status != http.StatusOK || !strings.Contains(text, "Lab bot exists") || !strings.Contains(text, s.github.URL+"/apps/lab-bot/installations/new") {
		t.Fatalf("%d %s", status, text)
	}
	<-s.wizard.Done()
	// Nobody answers then: the last page's looks come from the browser's cache.
	resp, err := s.client.Get(s.server.URL + "/setup/page.css")
	if status, _ := s.read(resp, err); status != http.StatusOK || !strings.Contains(resp.Header.Get("Cache-Control"), "max-age") {
		t.Errorf("page.css: %d %v", status, resp.Header)
	}

	kept, err := setup.Load(s.dir)
	s.check(err)
	for name, mode := range map[string]fs.FileMode{setup.File(s.dir): 0o600, s.dir: 0o700 | fs.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: mode %s, want %s, %v", name, info.Mode(), mode, err)
		}
	}
	if files, _ := os.ReadDir(s.dir); len(files) != 1 {
		t.Errorf("files %v, want one", files)
	}
	client, err := github.New(github.Config{AppID: kept.AppID, Key: []byte(kept.Key), APIURL: kept.APIURL})
	s.check(err)
	who, err := client.Identity(t.Context())
	if err != nil || who.Slug != "lab-bot" || who.Permissions["contents"] != "write" || len(github.Missing(who.Permissions)) > 0 {
		t.Errorf("the App is %+v, %v", who, err)
	}
	said := text + s.log.String() + fmt.Sprintf("%v %+v %#v", kept, kept, kept)
	if strings.Contains(said, kept.Secret) || strings.Contains(said, "PRIVATE KEY") {
		t.Errorf("a secret was shown: %s", said)
	}
	if calls := s.sim.Calls(); len(calls) == 0 || calls[0].Route != "/app-manifests/{code}/conversions" || calls[0].Status != http.StatusCreated {
		t.Errorf("calls %+v", calls)
	}
}

// TestWizardToken checks who is let in: the browser that used the token, which
// works once.
func TestWizardToken(t *testing.T) {
	s := newSite(t)
	path := s.wizard.Path()
	refused := func(what, address string) {
		t.Helper()
		if status, text := s.get(s.server.URL + address); status != http.StatusForbidden || strings.Contains(text, "<form") {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	refused("no token", "/setup")
	refused("a wrong token", "/setup?token=guess")
	refused("an empty token", "/setup?token=")
	refused("a code of somebody", "/setup/created?code=x&state=y")
	if status, _ := s.read(s.client.PostForm(s.server.URL+"/setup", answers)); status != http.StatusForbidden {
		t.Errorf("the form without a session: %d", status)
	}
	if status, text := s.get(s.server.URL + path); status != http.StatusOK || strings.Contains(text, strings.TrimPrefix(path, "/setup?token=")) {
		t.Errorf("the token: %d %s", status, text)
	}
	if status, _ := s.get(s.server.URL + "/setup"); status != http.StatusOK {
		t.Errorf("again in the same browser: %d", status)
	}
	s.client = s.browser()
	refused("the token a second time", path)
	s.wantNothing()
}

// TestWizardRefuses checks what the form says no to.
func TestWizardRefuses(t *testing.T) {
	s := newSite(t)
	_, text := s.get(s.server.URL + s.wizard.Path())
	for _, test := range []struct{ field, value, says string }{
		{"address", "", "needs an address"},
		{"address", "http://bot.example.com", "begin with https"},
		{"address", "https://localhost:8080", "cannot reach this machine"},
		{"address", "https://127.0.0.1", "cannot reach this machine"},
		{"address", "https://a:b@bot.example.com", "no address"},
		{"address", "bot", "no address"},
		{"name", "", "needs a name"},
		{"name", strings.Repeat("x", 35), "at most 34"},
		{"organization", "../../x", "no name of an organisation"},
		{"name", `"><script>alert(1)</script>` + strings.Repeat("x", 10), "at most 34"},
	} {
		values := url.Values{"name": {"Lab bot"}, "address": {"https://bot.example.com"}}
		values.Set(test.field, test.value)
		status, got := s.press(s.server.URL, text, values)
		if status != http.StatusUnprocessableEntity || !strings.Contains(got, test.says) || strings.Contains(got, "<script>") {
			t.Errorf("%s %q: %d %s", test.field, test.value, status, got)
		}
	}
	s.wantNothing()
}

// TestWizardState sends codes that do not belong to what was asked for.
func TestWizardState(t *testing.T) {
	s := newSite(t)
	_, text := s.fill(nil)
	state := regexp.MustCompile(`\?state=(\w+)`).FindStringSubmatch(text)[1]
	manifest := html.UnescapeString(regexp.MustCompile(`name="manifest" value="([^"]+)"`).FindStringSubmatch(text)[1])
	code, err := s.sim.CreateFromManifest(manifest, "mallory")
	s.check(err)
	created := func(code, state string) (int, string) {
		return s.get(s.server.URL + "/setup/created?" + url.Values{"code": {code}, "state": {state}}.Encode())
	}
	for _, wrong := range []string{"", "guess"} {
		if status, _ := created(code, wrong); status != http.StatusBadRequest {
			t.Errorf("state %q: %d", wrong, status)
		}
	}
	if status, text := created("../../user", state); status != http.StatusBadGateway || !strings.Contains(text, "does not know the code") {
		t.Errorf("an invented code: %d %s", status, text)
	}
	if status, _ := created(code, state); status != http.StatusBadRequest {
		t.Errorf("a state twice: %d", status)
	}
	s.wantNothing()
	for _, c := range s.sim.Calls() {
		if !strings.HasPrefix(c.Route, "/app-manifests/") {
			t.Errorf("asked GitHub for %s", c.Path)
		}
	}
}

// TestWizardFolder finds out before an App is created that its credentials could
// not be kept, and never replaces some.
func TestWizardFolder(t *testing.T) {
	s := newSite(t)
	s.check(os.WriteFile(s.dir, nil, 0o600)) // a file where the folder should be
	if status, text := s.fill(nil); status != http.StatusInternalServerError || !strings.Contains(text, "could not be kept") {
		t.Errorf("%d %s", status, text)
	}
	s.check(os.Remove(s.dir))
	s.check(os.Mkdir(s.dir, 0o700))
	s.check(os.WriteFile(setup.File(s.dir), []byte("{}"), 0o600))
	_, text := s.get(s.server.URL + "/setup")
	if status, text := s.press(s.server.URL, text, answers); status != http.StatusInternalServerError || !strings.Contains(text, "there already") {
		t.Errorf("%d %s", status, text)
	}
	if _, err := setup.Load(s.dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
	s.check(os.Chmod(setup.File(s.dir), 0o644))
	if _, err := setup.Load(s.dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file for all to read: %v", err)
	}
}

// TestDeployManifest compares the file for those who create the App by hand with
// what the wizard asks for.
func TestDeployManifest(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "deploy", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m setup.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, p := range setup.Permissions(false) {
		want[p.Name] = p.Level
	}
	if fmt.Sprint(m.DefaultPermissions) != fmt.Sprint(want) || fmt.Sprint(m.DefaultEvents) != fmt.Sprint(setup.Events()) {
		t.Errorf("deploy/manifest.json has %v %v, the wizard %v %v", m.DefaultPermissions, m.DefaultEvents, want, setup.Events())
	}
}
