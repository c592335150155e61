package main

import (
	"bufio"
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
	"github.com/dtypebot/dtypebot/bot/githubsim/page"
	"github.com/dtypebot/dtypebot/bot/setup"
)

// A fresh is a program without credentials, and a simulated GitHub with its page.
type fresh struct {
	t    *testing.T
	sim  *githubsim.Sim
	url  string // of GitHub
	bin  string
	data string
	cmd  *exec.Cmd
	out  *bufio.Scanner
	log  strings.Builder
}

func newFresh(t *testing.T) *fresh {
	t.Helper()
	requires(t, "git")
	dir := t.TempDir()
	f := &fresh{t: t, bin: filepath.Join(dir, "dtypebot"), data: filepath.Join(dir, "data")}
	exe, err := os.Executable()
	f.check(err)
	f.check(os.Symlink(exe, f.bin)) // under this name the test binary is the command; see TestMain
	f.sim, err = githubsim.New(githubsim.Options{Dir: filepath.Join(dir, "git")})
	f.check(err)
	t.Cleanup(f.sim.Close)
	pages, err := page.New(f.sim, page.Options{Login: "mona"})
	f.check(err)
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/api/", contract.Guard(t, f.sim))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	f.sim.SetURL(f.url)
	return f
}

func (f *fresh) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// start runs serve.
func (f *fresh) start() {
	f.t.Helper()
	f.cmd = exec.CommandContext(f.t.Context(), f.bin, "serve")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GITHUB_") {
			f.cmd.Env = append(f.cmd.Env, v)
		}
	}
	f.cmd.Env = append(f.cmd.Env, "DATA_DIR="+f.data, "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "GITHUB_API_URL="+f.url+"/api/v3/")
	out, err := f.cmd.StderrPipe()
	f.check(err)
	f.check(f.cmd.Start())
	process := f.cmd.Process
	f.t.Cleanup(func() { _ = process.Kill() })
	f.out = bufio.NewScanner(out)
}

// line waits for a line that fits, and returns what its group matched.
func (f *fresh) line(pattern string) string {
	f.t.Helper()
	re := regexp.MustCompile(pattern)
	for f.out.Scan() {
		f.log.WriteString(f.out.Text() + "\n")
		if m := re.FindStringSubmatch(f.out.Text()); m != nil {
			return m[1]
		}
	}
	f.t.Fatalf("no line %s:\n%s", pattern, f.log.String())
	return ""
}

func (f *fresh) stop() {
	f.t.Helper()
	f.check(f.cmd.Process.Signal(os.Interrupt))
	for f.out.Scan() {
		f.log.WriteString(f.out.Text() + "\n")
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("serve: %v\n%s", err, f.log.String())
	}
}

const (
	setupLine  = `^ +(http://\S+/setup\?token=\S+)$`
	servesLine = `dtypebot serves.* listen=(\S+)`
)

// TestServeSetup starts serve without credentials, creates the App in a browser
// without JavaScript, and has a bot that serves, now and after a restart.
func TestServeSetup(t *testing.T) {
	t.Parallel() // it mostly waits
	f := newFresh(t)
	f.start()
	address := f.line(setupLine)
	host := address[:strings.Index(address, "/setup")]
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/setup": 403, "/": 404} {
		resp, err := http.Get(host + path)
		f.check(err)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	v := newVisitor(t)
	form := func(at, text string, more ...string) string {
		t.Helper()
		action := regexp.MustCompile(`<form method="post" action="([^"]+)"`).FindStringSubmatch(text)
		if action == nil {
			t.Fatalf("no form:\n%s", text)
		}
		values := url.Values{}
		for _, in := range regexp.MustCompile(`type="hidden" name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			values.Set(in[1], html.UnescapeString(in[2]))
		}
		for i := 0; i < len(more); i += 2 {
			values.Set(more[i], more[i+1])
		}
		to, err := url.Parse(at)
		f.check(err)
		to, err = to.Parse(html.UnescapeString(action[1]))
		f.check(err)
		resp, err := v.client.PostForm(to.String(), values)
		return v.read(resp, err, http.StatusOK)
	}
	text := form(host, v.get(address), "name", "dtypebot-lab", "address", "https://bot.example.com")
	text = form(f.url, form(host, text))
	if !strings.Contains(text, "dtypebot-lab exists") {
		t.Fatal(text)
	}
	serves := "http://" + f.line(servesLine)
	resp, err := http.Get(serves + "/setup")
	f.check(err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the setup page is still there: %d", resp.StatusCode)
	}
	kept, err := setup.Load(f.data)
	f.check(err)
	f.sim.SetWebhook(kept.AppID, serves+"/webhook", kept.Secret)
	f.check(f.sim.AddRepository(t.Context(), "octo", "lift", githubsim.RepositoryOptions{}))
	_, err = f.sim.Commit(t.Context(), "octo", "lift", githubsim.CommitOptions{Files: map[string]string{"README.md": "# Lift\n"}})
	f.check(err)
	_, err = f.sim.Commit(t.Context(), "octo", "lift", githubsim.CommitOptions{Branch: "topic", Files: map[string]string{"README.md": "# Lifts\n"}})
	f.check(err)
	_, err = f.sim.Install(kept.AppID, "octo/lift")
	f.check(err)
	n, err := f.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Words", Head: "topic"})
	f.check(err)
	(&world{t: t, sim: f.sim}).until("the first review", func() bool {
		view, _ := f.sim.Pull(t.Context(), "octo", "lift", n)
		return len(view.CheckRuns) > 0 && view.CheckRuns[0].Conclusion == "success"
	})
	f.stop()

	f.start()
	f.line(servesLine)
	f.stop()
	if said := f.log.String() + text; strings.Contains(said, kept.Secret) || strings.Contains(said, "PRIVATE KEY") {
		t.Errorf("a secret was shown:\n%s", said)
	}

	// With another GitHub the App is unknown, and that is said before anything listens.
	f.url = "http://127.0.0.1:1"
	f.start()
	rest := ""
	for f.out.Scan() {
		rest += f.out.Text() + "\n"
	}
	if err := f.cmd.Wait(); err == nil || f.cmd.ProcessState.ExitCode() != 2 || !strings.Contains(rest, "GITHUB_API_URL: "+setup.File(f.data)+" has an App of") {
		t.Errorf("another GitHub: %v: %s", err, rest)
	}
}

// TestSetupBrowser creates the App in Chromium, where the page's policy holds and
// cookies go over GitHub's page and back. With -screenshots it takes pictures,
// light and dark, wide and narrow.
func TestSetupBrowser(t *testing.T) {
	if *screenshots == "" {
		onlySlow(t)
	}
	requires(t, "/usr/bin/chromium", "google-chrome", "chromium")
	f := newFresh(t)
	f.start()
	b := newBrowser(t)
	take := func(name string) {
		t.Helper()
		if *screenshots == "" {
			return
		}
		for kind, width := range map[string]int64{"light": 1280, "dark": 1280, "light-phone": 390} {
			b.do(name, chromedp.EmulateViewport(width, 900), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: strings.TrimSuffix(kind, "-phone")}},
				})
				return err
			}))
			f.check(os.WriteFile(filepath.Join(*screenshots, name+"-"+kind+".png"), ask(b, name, chromedp.FullScreenshot(100)), 0o644))
		}
	}
	b.do("open", chromedp.Navigate(f.line(setupLine)), chromedp.WaitVisible(chromedp.CSS("#address")))
	take("setup-form")
	b.do("a wrong address", chromedp.SendKeys(chromedp.CSS("#address"), "https://localhost"), chromedp.Click(chromedp.CSS("button.primary")),
		chromedp.WaitVisible(chromedp.CSS(".bad #address")))
	take("setup-refused")
	b.do("fill", chromedp.SetValue(chromedp.CSS("#address"), "https://bot.example.com"), chromedp.SetValue(chromedp.CSS("#name"), "dtypebot-lab"),
		chromedp.Click(chromedp.CSS("#write")), chromedp.Click(chromedp.CSS("button.primary")), chromedp.WaitVisible(chromedp.CSS("#create")))
	take("setup-confirm")
	b.do("to GitHub", chromedp.Click(chromedp.CSS("#create")), chromedp.WaitVisible(chromedp.CSS("#create-app")))
	take("setup-github")
	b.do("back", chromedp.Click(chromedp.CSS("#create-app")), chromedp.WaitVisible(chromedp.CSS("#install")))
	take("setup-created")
	title := ask(b, "title", chromedp.Text(chromedp.CSS("h1")))
	if !strings.Contains(title, "dtypebot-lab exists") {
		t.Errorf("the last page says %q", title)
	}
	f.line(servesLine)
	f.stop()
}
