package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/muesli/termenv"

	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
)

// demoLimit is how long a test of the demo waits for any one thing.
const demoLimit = 30 * time.Second

// requires skips a test that lacks a program, or fails it where nothing may be
// skipped.
func requires(t testing.TB, paths ...string) string {
	t.Helper()
	for _, p := range paths {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	text := fmt.Sprintf("%s is missing: apt-get install %s", paths[0], filepath.Base(paths[len(paths)-1]))
	if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// runDemo runs a demo until the end of the test.
func runDemo(t testing.TB, o demoOptions) *demo {
	t.Helper()
	requires(t, "git")
	if o.Out == nil {
		o.Out = termenv.NewOutput(t.Output())
	}
	if o.Addr == "" {
		o.Addr, o.AddrGiven = "127.0.0.1:0", true
	}
	o.NoBrowser = true
	o.API = func(sim *githubsim.Sim) http.Handler { return contract.Guard(t, sim) }
	d, err := startDemo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the demo ended with %v", err)
			}
		case <-time.After(demoLimit):
			t.Error("the demo does not end")
		}
		if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", d.dir, err)
		}
	})
	return d
}

// until waits until a pull request is as wanted.
func (d *demo) until(t testing.TB, p demoPull, what string, cond func(githubsim.PullView) bool) githubsim.PullView {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	var view githubsim.PullView
	if err := d.sim.Until(ctx, func() bool {
		var ok bool
		view, ok = d.sim.Pull(ctx, p.Owner, p.Name, p.Number)
		return ok && cond(view)
	}); err != nil {
		t.Fatalf("%s/%s#%d: %s: %v", p.Owner, p.Name, p.Number, what, err)
	}
	return view
}

// checked says that the newest check run of the head ended.
func checked(conclusion string) func(githubsim.PullView) bool {
	return func(v githubsim.PullView) bool {
		return len(v.CheckRuns) > 0 && v.CheckRuns[0].Status == "completed" && (conclusion == "" || v.CheckRuns[0].Conclusion == conclusion)
	}
}

func (d *demo) address(p demoPull) string {
	return fmt.Sprintf("%s/%s/%s/pull/%d", d.URL, p.Owner, p.Name, p.Number)
}

// A visitor is a browser without JavaScript.
type visitor struct {
	t      testing.TB
	client *http.Client
}

func newVisitor(t testing.TB) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, Timeout: demoLimit}}
}

func (v *visitor) get(address string) string {
	v.t.Helper()
	resp, err := v.client.Get(address)
	return v.read(resp, err, http.StatusOK)
}

func (v *visitor) read(resp *http.Response, err error, status int) string {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if resp.StatusCode != status {
		v.t.Fatalf("%s %s: %s, want %d\n%s", resp.Request.Method, resp.Request.URL, resp.Status, status, body)
	}
	return string(body)
}

// press sends the form that has the action, as the first button of it would,
// with more names and values filled in, and expects to end on a page with the
// status.
func (v *visitor) press(address, html, action string, status int, more ...string) string {
	v.t.Helper()
	form := regexp.MustCompile(`(?s)<form method="post" action="([^"]*/` + action + `)">(.*?)</form>`).FindStringSubmatch(html)
	if form == nil {
		v.t.Fatalf("%s has no form for %s", address, action)
	}
	values := url.Values{}
	for _, input := range regexp.MustCompile(`name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(form[2], -1) {
		values.Set(input[1], input[2])
	}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	base, err := url.Parse(address)
	if err != nil {
		v.t.Fatal(err)
	}
	to, err := base.Parse(form[1])
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.PostForm(to.String(), values)
	return v.read(resp, err, status)
}

// TestDemo goes through both pull requests as a browser without JavaScript does.
// checkThread holds one row of the acceptance table against what stands at the
// simulated GitHub: the place, the suggestion's lines, the float32 form.
func checkThread(t *testing.T, view githubsim.PullView, row wantedComment) {
	t.Helper()
	i := slices.IndexFunc(view.Threads, func(th githubsim.ThreadView) bool {
		start := th.StartLine
		if start == 0 {
			start = th.Line
		}
		return th.Path == row.path && start == row.first && th.Line == row.last
	})
	if i < 0 {
		t.Errorf("no comment at %s:%d-%d", row.path, row.first, row.last)
		return
	}
	th := view.Threads[i]
	if len(th.Suggestion) != row.last-row.first+1 {
		t.Errorf("%s:%d: a suggestion of %d lines: %q", row.path, row.first, len(th.Suggestion), th.Suggestion)
		return
	}
	for n, line := range th.Suggestion {
		wants, edited := row.edits[row.first+n]
		if !edited && line != th.Replaces[n] {
			t.Errorf("%s:%d: changed to %q", row.path, row.first+n, line)
		}
		for _, want := range wants {
			if !regexp.MustCompile(want).MatchString(line) {
				t.Errorf("%s:%d: want %s in %q", row.path, row.first+n, want, line)
			}
		}
	}
	if form := strings.Contains(th.Comments[0].Body, "torch.promote_types("); form != row.form {
		t.Errorf("%s:%d: the float32 form stands there: %v", row.path, row.first, form)
	}
}

func TestDemo(t *testing.T) {
	d := runDemo(t, demoOptions{})
	big, small := d.pulls[0], d.pulls[1]
	v := newVisitor(t)

	d.until(t, small, "the first review", checked("neutral"))
	files := v.get(d.address(small) + "/files")
	if n := strings.Count(files, "Commit suggestion</button>"); n != 1 {
		t.Fatalf("%d suggestions, want 1:\n%s", n, files)
	}
	if list := v.get(d.URL); !strings.Contains(list, "1 dtype mistake in 1 Python file") {
		t.Errorf("the list does not say what was found:\n%s", list)
	}
	v.press(d.address(small)+"/files", files, "suggestion", http.StatusOK)
	view := d.until(t, small, "green", checked("success"))
	text, err := d.sim.File(small.Owner, small.Name, view.Head, "model.py")
	if err != nil || !strings.Contains(text, "dtype=states.dtype") {
		t.Errorf("the file at the head: %v\n%s", err, text)
	}
	if files := v.get(d.address(small) + "/files"); strings.Contains(files, "Commit suggestion</button>") || !strings.Contains(files, "Applied") {
		t.Error("the suggestion can be committed again")
	}
	if page := v.get(d.address(small)); !strings.Contains(page, "No dtype mistakes in 1 Python file") {
		t.Error("the conversation does not say that all is well")
	}

	// A suggestion that was committed before is refused in words.
	refused := v.press(d.address(small)+"/files", files, "suggestion", http.StatusConflict)
	if !strings.Contains(refused, "applied or marked resolved") || !strings.Contains(refused, `role="alert"`) {
		t.Errorf("a stale suggestion: %s", refused)
	}

	if page := v.get(d.address(small) + "/suggestion"); !strings.Contains(page, "No dtype mistakes") {
		t.Error("a refused button's address does not lead back to the pull request")
	}

	// Re-run writes a new check run for the same head.
	before := view.CheckRuns[0].ID
	v.press(d.address(small)+"/checks", v.get(d.address(small)+"/checks"), "rerun", http.StatusOK)
	d.until(t, small, "a second check run", func(v githubsim.PullView) bool { return checked("success")(v) && v.CheckRuns[0].ID != before })

	view = d.until(t, big, "the first review", checked("neutral"))
	if len(view.Threads) != len(wantedComments) {
		t.Fatalf("%d comments, want %d", len(view.Threads), len(wantedComments))
	}
	page := v.get(d.address(big))
	for _, row := range wantedComments {
		if !strings.Contains(page, row.path) {
			t.Errorf("the conversation does not name %s", row.path)
		}
		checkThread(t, view, row)
	}
	if !strings.Contains(page, "5 dtype mistakes") {
		t.Error("the conversation does not count 5 mistakes")
	}
	v.press(d.address(big), page, "suggestion", http.StatusOK) // the first is the strongest
	d.until(t, big, "four left", func(v githubsim.PullView) bool {
		return checked("neutral")(v) && v.HeadSHA != view.HeadSHA && strings.HasPrefix(v.CheckRuns[0].Title, "4 dtype mistakes")
	})
	// People answer, and close and open a conversation.
	files = v.get(d.address(big) + "/files")
	if page := v.press(d.address(big)+"/files", files, "reply", http.StatusConflict); !strings.Contains(page, "needs some text") {
		t.Error("an empty reply is taken, or refused without a word")
	}
	if page := v.press(d.address(big)+"/files", files, "reply", http.StatusOK, "text", "Is it **so**? <script>alert(1)</script>"); !strings.Contains(page, "Is it <strong>so</strong>?") || strings.Contains(page, "alert(1)</script>") {
		t.Error("the reply is missing, or not cleaned")
	}
	resolved := func(n int) func(githubsim.PullView) bool {
		return func(v githubsim.PullView) bool {
			for _, thread := range v.Threads {
				if thread.Resolved {
					n--
				}
			}
			return n == 0
		}
	}
	d.until(t, big, "one resolved", resolved(1)) // by the commit
	files = v.press(d.address(big)+"/files", files, "resolve", http.StatusOK)
	if now, _ := d.sim.Pull(t.Context(), big.Owner, big.Name, big.Number); !resolved(2)(now) {
		t.Error("the conversation is not resolved")
	}
	v.press(d.address(big)+"/files", files, "unresolve", http.StatusOK)
	if now, _ := d.sim.Pull(t.Context(), big.Owner, big.Name, big.Number); !resolved(1)(now) {
		t.Error("the conversation is not open again")
	}
	link := regexp.MustCompile(`href="(/handlab/hand-object-pose/blob/[^"]+)"`).FindStringSubmatch(v.get(d.address(big) + "/checks"))
	if link == nil {
		t.Fatal("the check run links to no line")
	}
	if text := v.get(d.URL + link[1]); !strings.Contains(text, `id="L92"`) && !strings.Contains(text, `id="L196"`) {
		t.Errorf("%s shows no lines", link[1])
	}
}

// A browser is a Chromium with a page of the demo.
type browser struct {
	t   testing.TB
	ctx context.Context
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	exe := requires(t, "/usr/bin/chromium", "google-chrome", "chromium")
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(demoLimit))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // starts it, without a deadline that would end it
		t.Fatal(err)
	}
	return b
}

// ask runs an action, which may wait for the page, and returns its value.
func ask[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, demoLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.fail(what, err)
	}
	return v
}

// do runs actions one after the other.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ask(b, what, chromedp.Steps(actions...))
}

func (b *browser) fail(what string, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	html, _ := chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS("main")))
	b.t.Fatalf("%s: %v\n%.4000s", what, err, html)
}

// becomes waits until an expression is true in the page, which may go to another
// page meanwhile.
func (b *browser) becomes(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, demoLimit)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(demoLimit)))
		if err == nil {
			return
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "-32000") {
			b.fail(what, err)
		}
	}
}

func (b *browser) count(selector string) int {
	b.t.Helper()
	return ask(b, selector, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
}

const commitButtons = ".suggestion button.primary"

// TestDemoBrowser goes through both pull requests in Chromium.
func TestDemoBrowser(t *testing.T) {
	onlySlow(t)
	t.Parallel() // it mostly waits
	requires(t, "/usr/bin/chromium", "google-chrome", "chromium")
	d := runDemo(t, demoOptions{})
	big, small := d.pulls[0], d.pulls[1]
	b := newBrowser(t)

	// The page is opened while the review may still be on its way, and follows by itself.
	b.do("open", chromedp.Navigate(d.address(small)))
	b.becomes("the neutral check", `document.querySelector("#check")?.dataset.state === "neutral"`)
	b.do("files", chromedp.Click(chromedp.CSS(`.tabs a[href$="/files"]`)), chromedp.WaitVisible(chromedp.CSS(commitButtons)))
	comment := ask(b, "read", chromedp.Text(chromedp.CSS(".thread .prose")))
	if !strings.Contains(comment, "kept") || !strings.Contains(comment, "float32") {
		t.Errorf("the comment does not explain itself: %s", comment)
	}
	b.do("commit", chromedp.Click(chromedp.CSS(commitButtons)))
	b.becomes("the comment outdated and folded", `document.querySelectorAll(".thread.folded").length === 1 && !document.querySelector("`+commitButtons+`")`)
	b.becomes("the file changed", `[...document.querySelectorAll("tr.add")].some((r) => r.textContent.includes("dtype=states.dtype"))`)
	b.becomes("the check green", `document.querySelector(".tabs .mark.success") !== null && !document.querySelector("#busy")`)
	b.do("conversation", chromedp.Navigate(d.address(small)), chromedp.WaitVisible(chromedp.CSS(`#check[data-state="success"]`)))

	b.do("open", chromedp.Navigate(d.address(big)))
	b.becomes("the neutral check", `document.querySelector("#check")?.dataset.state === "neutral"`)
	if n := b.count(commitButtons); n != len(wantedComments) {
		t.Fatalf("%d suggestions, want %d", n, len(wantedComments))
	}
	title := ask(b, "title", chromedp.Text(chromedp.CSS("#check .title")))
	if !strings.HasPrefix(title, "5 dtype mistakes") {
		t.Errorf("the check says %q", title)
	}
	// The suggestion with the most lines is the one over the projection.
	b.do("mark the button", chromedp.Evaluate[chromedp.Void](`(() => { const all = [...document.querySelectorAll(".suggestion")];
		all.sort((a, b) => b.querySelectorAll("tr").length - a.querySelectorAll("tr").length)[0].querySelector("button").id = "press"; })()`))
	b.do("commit", chromedp.Click(chromedp.CSS("#press")))
	b.becomes("four left", `document.querySelector("#check .title")?.textContent.startsWith("4 dtype mistakes") && document.querySelectorAll("`+commitButtons+`").length === 4`)
	view := d.until(t, big, "checked", checked("neutral"))
	text, err := d.sim.File(big.Owner, big.Name, view.Head, "models/pixel_aligned.py")
	if err != nil || !strings.Contains(text, "extrinsics.to(points_homo.dtype)") {
		t.Errorf("the projection was not mended: %v", err)
	}
}

// TestDemoPage checks what keeps other sites out.
func TestDemoPage(t *testing.T) {
	t.Parallel() // it mostly waits
	d := runDemo(t, demoOptions{Repo: localRepository(t), Base: "main"})
	small := d.pulls[0]
	view := d.until(t, small, "the first review", checked("neutral"))
	address := d.address(small)
	for _, test := range []struct {
		name, host, origin, site string
		status                   int
	}{
		{"another site", "", "http://evil.example", "cross-site", http.StatusForbidden},
		{"another port", "", "http://127.0.0.1:1", "", http.StatusForbidden},
		{"a name of somebody else", "evil.example", "", "", http.StatusMisdirectedRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			form := url.Values{"comment": {strconv.FormatInt(view.Threads[0].Comments[0].ID, 10)}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/suggestion", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			if test.site != "" {
				req.Header.Set("Sec-Fetch-Site", test.site)
			}
			req.Host = test.host
			resp, err := http.DefaultClient.Do(req)
			newVisitor(t).read(resp, err, test.status)
		})
	}
	if now, _ := d.sim.Pull(t.Context(), small.Owner, small.Name, small.Number); now.HeadSHA != view.HeadSHA {
		t.Error("a foreign request committed a suggestion")
	}
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	if host := strings.TrimPrefix(d.URL, "http://"); !strings.HasPrefix(host, "127.0.0.1:") {
		t.Errorf("the page listens at %s", host)
	}
}

// localRepository makes a repository whose branch main is small_pull's base, and
// whose branch feature/mean, checked out, is its head.
func localRepository(t *testing.T) string {
	t.Helper()
	requires(t, "git")
	dir := filepath.Join(t.TempDir(), "my project")
	gitDo := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	put := func(from string) {
		t.Helper()
		if err := os.CopyFS(dir, os.DirFS("../../testdata/small_pull/"+from)); err != nil {
			t.Fatal(err)
		}
	}
	put("base")
	gitDo("init", "-q", "-b", "main")
	gitDo("add", ".")
	gitDo("commit", "-q", "-m", "Begin")
	gitDo("checkout", "-q", "--orphan", "other")
	gitDo("commit", "-q", "-m", "Elsewhere")
	gitDo("checkout", "-q", "-b", "feature/mean", "main")
	for _, name := range []string{"model.py", "train.py"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("head")
	gitDo("commit", "-q", "-a", "-m", "Pool by a mean\n\nIt is better.")
	return dir
}

// contents is a folder's files, to see that nobody wrote there.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(p)
		out[p] = fmt.Sprintf("%s %s %x", info.ModTime(), info.Mode(), text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDemoRepo reviews the change of a local repository, commits a suggestion,
// and finds the repository as it was.
func TestDemoRepo(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := localRepository(t)
	before := contents(t, dir)
	d := runDemo(t, demoOptions{Repo: dir, Base: "main"})
	if len(d.pulls) != 1 {
		t.Fatalf("%d pull requests", len(d.pulls))
	}
	p := d.pulls[0]
	view := d.until(t, p, "the first review", checked("neutral"))
	if view.Title != "Pool by a mean" || view.Body != "It is better." || view.Base != "main" || view.Head != "feature/mean" || view.Name != "my-project" {
		t.Errorf("%s: %q %q, %s into %s", view.Name, view.Title, view.Body, view.Head, view.Base)
	}
	v := newVisitor(t)
	v.press(d.address(p), v.get(d.address(p)), "suggestion", http.StatusOK)
	d.until(t, p, "green", checked("success"))
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Error("the user's repository changed")
	}
}

// TestDemoRepoTellsOfOtherFiles reviews a change whose mistake only the other files
// of the local repository show.
func TestDemoRepoTellsOfOtherFiles(t *testing.T) {
	t.Parallel() // it mostly waits
	requires(t, "git")
	dir := t.TempDir()
	commit := func(files map[string]string, args ...[]string) {
		t.Helper()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range args {
			if _, err := git(t.Context(), dir, a...); err != nil {
				t.Fatal(err)
			}
		}
	}
	save := []string{"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "Lift"}
	commit(map[string]string{"data.py": indexedData, "run.py": indexedRun}, []string{"init", "-q", "-b", "main"}, []string{"add", "."}, save)
	commit(map[string]string{"model.py": indexedModel}, []string{"checkout", "-q", "-b", "lift"}, []string{"add", "."}, save)
	d := runDemo(t, demoOptions{Repo: dir, Base: "main"})
	view := d.until(t, d.pulls[0], "the first review", checked("neutral"))
	if s := view.CheckRuns[len(view.CheckRuns)-1].Summary; len(view.Threads) != 1 || !strings.Contains(s, "2 other files told") {
		t.Errorf("%d threads, and the check run says\n%s", len(view.Threads), s)
	}
}

// TestDemoFaults gives the verb what it cannot work with: each is told in one
// line before anything is made.
func TestDemoFaults(t *testing.T) {
	dir := localRepository(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	file := filepath.Join(dir, "model.py")
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no base", []string{"--repo", dir}, "--repo needs --base REV"},
		{"base alone", []string{"--base", "main"}, "need --repo DIR"},
		{"no such folder", []string{"--repo", dir + "x", "--base", "main"}, "no such file or directory"},
		{"a file", []string{"--repo", file, "--base", "main"}, "not a folder"},
		{"no repository", []string{"--repo", temporary, "--base", "main"}, "not a git repository"},
		{"no such base", []string{"--repo", dir, "--base", "nowhere"}, "--base nowhere: no such revision"},
		{"no such head", []string{"--repo", dir, "--base", "main", "--head", "nowhere"}, "--head nowhere: no such revision"},
		{"an option", []string{"--repo", dir, "--base=--all"}, "--base --all: no such revision"},
		{"no changes", []string{"--repo", dir, "--base", "main", "--head", "main"}, "there are no changes"},
		{"behind", []string{"--repo", dir, "--base", "HEAD", "--head", "main"}, "there are no changes"},
		{"unrelated", []string{"--repo", dir, "--base", "other"}, "no common history"},
		{"address taken", []string{"--addr", taken.Addr().String()}, "is in use already"},
		{"no address", []string{"--addr", "here"}, `--addr "here" is not an address like`},
		{"not ours", []string{"--addr", "192.0.2.1:0"}, "--addr 192.0.2.1:0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot()
			root.SetOut(io.Discard)
			root.SetArgs(append([]string{"demo", "--no-browser"}, test.args...))
			err := root.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%v, want one line with %q", err, test.want)
			}
			left, err := os.ReadDir(temporary)
			if err != nil || len(left) > 0 {
				t.Errorf("%v is left behind, %v", left, err)
			}
		})
	}
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		root := newRoot()
		root.SetArgs([]string{"demo"})
		if err := root.ExecuteContext(t.Context()); !errors.Is(err, githubsim.ErrNoGit) {
			t.Errorf("%v, want %v", err, githubsim.ErrNoGit)
		}
	})
}

// TestDemoAddresses: without a host nobody else is let in; with one that is not
// this machine's alone, the bot keeps to an address that is.
func TestDemoAddresses(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := localRepository(t)
	for addr, public := range map[string]bool{":0": false, "localhost:0": false, "0.0.0.0:0": true} {
		t.Run(addr, func(t *testing.T) {
			var out strings.Builder
			d := runDemo(t, demoOptions{Repo: dir, Base: "main", Addr: addr, AddrGiven: true, Out: termenv.NewOutput(&out)})
			d.until(t, d.pulls[0], "the first review", checked("neutral"))
			d.mu.Lock() // the terminal's
			text := out.String()
			d.mu.Unlock()
			if d.public() != public || public != strings.Contains(text, "over the network") {
				t.Errorf("public %v, want %v:\n%s", d.public(), public, text)
			}
			if list := newVisitor(t).get(d.URL); !strings.Contains(list, "my-project") {
				t.Error(list)
			}
		})
	}
}

// TestDemoProcess runs the program itself and ends it as Ctrl-C does, and as a
// terminal does that is closed.
func TestDemoProcess(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		t.Run(end.String(), func(t *testing.T) {
			if end == syscall.SIGHUP {
				onlySlow(t)
			}
			demoProcess(t, end)
		})
	}
}

func demoProcess(t *testing.T, end os.Signal) {
	requires(t, "git")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "dtypebot") // under this name the test binary is the command
	if err := os.Symlink(exe, bin); err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	cmd := exec.CommandContext(t.Context(), bin, "demo", "--no-browser", "--addr", "127.0.0.1:0")
	cmd.Dir = dir // it needs nothing but itself and git
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var text strings.Builder
	for lines, reviews := bufio.NewScanner(out), 0; reviews < 2 && lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "review:") {
			reviews++
		}
	}
	for _, want := range []string{"http://127.0.0.1:", "webhook pull_request.opened 202 in", "5 new comments", "1 new comment,", "check neutral"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the terminal lacks %q:\n%s", want, text.String())
		}
	}
	if err := cmd.Process.Signal(end); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the signal: %v\n%s", err, rest)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
}

// screenshots is where TestScreenshots puts its pictures; the README's picture is
// made by
//
//	go test ./cmd/dtypebot -run TestScreenshots -screenshots ../../testdata -only '^review$'
var (
	screenshots     = flag.String("screenshots", "", "`folder` for pictures of the demo")
	screenshotsOnly = flag.String("only", "", "make only the pictures whose name fits the `regexp`")
)

// TestScreenshots takes pictures of the demo's pages, light and dark, wide and
// narrow, before and after a commit.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("makes pictures for people; needs -screenshots FOLDER")
	}
	only := regexp.MustCompile(*screenshotsOnly)
	d := runDemo(t, demoOptions{})
	big, small := d.pulls[0], d.pulls[1]
	d.until(t, big, "the first review", checked(""))
	d.until(t, small, "the first review", checked(""))
	b := newBrowser(t)
	take := func(name string, dark bool, width int64, address, selector string) {
		t.Helper()
		if !only.MatchString(name) {
			return
		}
		scheme := "light"
		if dark {
			scheme = "dark"
		}
		scale, height := 1.0, int64(900)
		if width < 600 {
			scale, height = 2, 844
		}
		if name == "review" {
			scale = 1.25
		}
		b.do(name,
			chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)),
			chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				})
				return err
			}),
			chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS("footer")))
		shot := chromedp.FullScreenshot(100)
		if selector != "" {
			shot = chromedp.Screenshot(chromedp.CSS(selector))
		}
		picture, err := png.Decode(bytes.NewReader(ask(b, name, shot)))
		if err != nil {
			t.Fatal(err)
		}
		if name == "review" {
			picture = fewColours(picture) // it is committed
		}
		var small bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, picture); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), small.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := func(when string) {
		for _, dark := range []bool{false, true} {
			for _, width := range []int64{1280, 390} {
				kind := map[bool]string{false: "light", true: "dark"}[dark] + map[bool]string{true: "-phone"}[width < 600]
				name := func(what string) string { return fmt.Sprintf("%s-%s-%s", what, when, kind) }
				take(name("list"), dark, width, d.URL, "")
				for what, p := range map[string]demoPull{"big": big, "small": small} {
					take(name(what+"-conversation"), dark, width, d.address(p), "")
					take(name(what+"-checks"), dark, width, d.address(p)+"/checks", "")
					take(name(what+"-files"), dark, width, d.address(p)+"/files", "")
					take(name(what+"-thread"), dark, width, d.address(p)+"/files", ".thread")
				}
			}
		}
	}
	take("review", false, 1280, d.address(small)+"/files", ".stack > .file")
	all("before")
	for _, p := range []demoPull{big, small} {
		before, _ := d.sim.Pull(t.Context(), p.Owner, p.Name, p.Number)
		if _, err := d.sim.CommitSuggestion(t.Context(), p.Owner, p.Name, p.Number, before.Threads[0].Comments[0].ID, demoUser); err != nil {
			t.Fatal(err)
		}
		d.until(t, p, "the second review", func(v githubsim.PullView) bool { return v.HeadSHA != before.HeadSHA && checked("")(v) })
	}
	all("after")
}

// fewColours keeps the 256 commonest colours of a picture, which for a page of
// text look like all of them and need a third of the bytes.
func fewColours(from image.Image) image.Image {
	seen := map[color.Color]int{}
	for y := from.Bounds().Min.Y; y < from.Bounds().Max.Y; y++ {
		for x := from.Bounds().Min.X; x < from.Bounds().Max.X; x++ {
			seen[from.At(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(seen), func(a, b color.Color) int { return seen[b] - seen[a] })
	to := image.NewPaletted(from.Bounds(), all[:min(len(all), 256)])
	draw.Draw(to, to.Bounds(), from, from.Bounds().Min, draw.Src)
	return to
}
