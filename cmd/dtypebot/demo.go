package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/muesli/termenv"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/page"
	"github.com/dtypebot/dtypebot/testdata"
)

func newDemo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try the whole bot against a GitHub simulated on this machine",
		Long: `Demo starts a simulated GitHub and the real bot in front of it, all on this
machine: webhooks, queue, worker and API client are those of serve. It opens two
pull requests and prints the address of a page that shows the reviews; a
suggestion can be committed there, and the push is reviewed again.

With --repo it opens one pull request, from the changes between two revisions of
a local git repository, and reads what the other files of the base say.
It works on a temporary copy; your repository is only read. Ctrl-C ends the demo and removes everything it made.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal that is closed must not leave the temporary folders either,
			// nor must one that stops to listen ("| head").
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			context.AfterFunc(ctx, stop) // the next signal has its usual effect
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			o.AddrGiven = cmd.Flags().Changed("addr")
			if o.Repo == "" && (o.Base != "" || o.Head != "") {
				return errors.New("--base and --head need --repo DIR")
			}
			o.Out = termenv.NewOutput(cmd.OutOrStdout())
			d, err := startDemo(ctx, o)
			if err != nil {
				if ctx.Err() != nil {
					return nil // ended by the user
				}
				return err
			}
			return d.Run(ctx)
		},
	}
	cmd.Flags().StringVar(&o.Repo, "repo", "", "local git `DIR` whose change is reviewed")
	cmd.Flags().StringVar(&o.Base, "base", "", "`REV` that the change is based on; with --repo")
	cmd.Flags().StringVar(&o.Head, "head", "", "`REV` with the change (default HEAD); with --repo")
	cmd.Flags().StringVar(&o.Addr, "addr", demoAddr, "`HOST:PORT` of the page; without HOST it is this machine's alone")
	cmd.Flags().BoolVar(&o.NoBrowser, "no-browser", false, "do not open the page in a browser")
	return cmd
}

// demoAddr is where the page is unless the port is taken.
const demoAddr = "127.0.0.1:8642"

// demoUser opens the pull requests and presses the page's buttons.
const demoUser = "you"

// A demoOptions is what the flags say.
type demoOptions struct {
	Repo, Base, Head string
	Addr             string
	AddrGiven        bool // an address that was asked for is not replaced by another
	NoBrowser        bool
	Out              *termenv.Output
	Log              *slog.Logger // of the bot; nil discards
	// API makes the handler of the simulated GitHub; nil is its own.
	API func(*githubsim.Sim) http.Handler
}

// A demo is the simulated GitHub, its page and the bot in front of it.
type demo struct {
	options demoOptions
	dir     string // temporary
	sim     *githubsim.Sim
	app     *app
	servers []net.Listener
	handler http.Handler
	URL     string // of the page, no slash at the end
	pulls   []demoPull
	change  *localChange // with --repo

	mu   sync.Mutex // guards the terminal and seen
	seen map[int64]bool
}

// A demoPull is a pull request that the demo opened.
type demoPull struct {
	Owner, Name string
	Number      int
	Try         string // what to do with it
}

// startDemo makes everything and listens, but answers nothing yet: Run or Close
// must follow. What it made is removed when it fails.
func startDemo(ctx context.Context, o demoOptions) (_ *demo, err error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, githubsim.ErrNoGit
	}
	d := &demo{options: o, seen: map[int64]bool{}}
	if o.Repo != "" { // its faults are told before anything is made
		if d.change, err = readChange(ctx, o.Repo, o.Base, cmp.Or(o.Head, "HEAD")); err != nil {
			return nil, err
		}
	}
	if d.dir, err = os.MkdirTemp("", "dtypebot-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.listen(ctx); err != nil {
		return nil, err
	}
	api := "http://" + d.servers[len(d.servers)-1].Addr().String() // always this machine's

	if d.sim, err = githubsim.New(githubsim.Options{Dir: filepath.Join(d.dir, "git"), URL: api}); err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(o.Addr)
	site, err := page.New(d.sim, page.Options{Login: demoUser, Host: host, Log: o.Log})
	if err != nil {
		return nil, err
	}
	handler := d.sim.Handler()
	if o.API != nil {
		handler = o.API(d.sim)
	}
	mux := http.NewServeMux()
	mux.Handle("/", site)
	for _, root := range []string{"/api/", "/repos/", "/repositories/", "/_codeload/"} {
		mux.Handle(root, handler)
	}
	d.handler = mux

	secret := rand.Text()
	registered, err := d.sim.RegisterApp(githubsim.AppOptions{
		Name: bot.CheckName, Owner: demoUser, Secret: secret,
		Events: []string{"pull_request", "check_run", "check_suite"},
		Permissions: map[string]string{
			"metadata": "read", "contents": "read", "merge_queues": "read", "pull_requests": "write", "checks": "write", "issues": "read",
		},
	})
	if err != nil {
		return nil, err
	}
	d.app, err = newApp(ctx, appConfig{
		serveConfig: serveConfig{
			AppID: registered.ID, Key: registered.PEM, Secrets: []string{secret}, APIURL: api + "/api/v3/",
			Listen: "127.0.0.1:0", DataDir: filepath.Join(d.dir, "data"), Role: roleAll, Workers: 2, Replicas: 1,
		},
		Log: o.Log, Reviewed: d.reviewed,
		// Whoever shows a repository of theirs expects to see what its other files
		// tell, at once. In those of the demo the changed files tell everything.
		Index: d.change != nil, EagerIndex: true,
	})
	if err != nil {
		return nil, err
	}
	d.sim.SetWebhook(registered.ID, "http://"+d.app.Addr().String()+"/webhook", secret)
	if err := d.prepare(ctx, registered.ID); err != nil {
		return nil, err
	}
	return d, nil
}

// listen opens the page's port, and one of this machine alone for the bot if the
// page's is another.
func (d *demo) listen(ctx context.Context) error {
	host, port, err := net.SplitHostPort(d.options.Addr)
	if err != nil {
		return fmt.Errorf("--addr %q is not an address like %s", d.options.Addr, demoAddr)
	}
	if host == "" {
		host = "127.0.0.1" // nobody else is let in unless that is asked for
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		if d.options.AddrGiven {
			return fmt.Errorf("--addr %s is in use already", d.options.Addr)
		}
		l, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return fmt.Errorf("--addr %s: %w", d.options.Addr, err)
	}
	d.servers = append(d.servers, l)
	at := l.Addr().(*net.TCPAddr)
	shown := at.IP.String()
	if at.IP.IsUnspecified() {
		shown = "127.0.0.1"
	}
	d.URL = "http://" + net.JoinHostPort(shown, fmt.Sprint(at.Port))
	if !at.IP.IsLoopback() {
		if l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		d.servers = append(d.servers, l)
	}
	return nil
}

// public reports whether others than this machine reach the page.
func (d *demo) public() bool { return len(d.servers) > 1 }

// prepare makes the repositories with their pull requests. The bot hears of them
// when Run begins; its port is open already.
func (d *demo) prepare(ctx context.Context, appID int64) error {
	if d.change != nil {
		return d.openChange(ctx, appID)
	}
	files := func(dir string, leave func(string) bool) (map[string]string, error) {
		tree, err := fs.Sub(testdata.Projects, dir)
		if err != nil {
			return nil, err
		}
		out := map[string]string{}
		err = fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || leave(name) {
				return err
			}
			text, err := fs.ReadFile(tree, name)
			out[name] = string(text)
			return err
		})
		return out, err
	}
	all := func(string) bool { return false }
	skeleton, err := files("manipulation_transformer", func(name string) bool { return path.Base(name) != "__init__.py" })
	if err != nil {
		return err
	}
	skeleton["README.md"], skeleton[".gitignore"], skeleton["requirements.txt"] = poseReadme, "__pycache__/\n*.pt\n", "torch>=1.13\nnumpy\n"
	added, err := files("manipulation_transformer", func(name string) bool { return name == "smoke.py" || path.Base(name) == "__init__.py" })
	if err != nil {
		return err
	}
	before, err := files("small_pull/base", all)
	if err != nil {
		return err
	}
	before["README.md"] = classifierReadme
	after, err := files("small_pull/head", all)
	if err != nil {
		return err
	}
	for _, p := range []struct {
		demoPull
		branch, title, body, first, second string
		base, head                         map[string]string
	}{
		{
			demoPull{Owner: "handlab", Name: "hand-object-pose", Try: "a model and its training: five comments, one of them over three lines that need each other"},
			"pose-transformer", "Add hand-object pose transformer", poseBody, "Begin the project", "Add the model, its losses and the data set", skeleton, added,
		},
		{
			demoPull{Owner: "textlab", Name: "sequence-classifier", Try: "one comment: commit its suggestion and see the check turn green"},
			"masked-mean", "Pool the encoder's states by a masked mean", classifierBody, "A classifier of padded sequences", "Pool by a masked mean", before, after,
		},
	} {
		if err := d.openPull(ctx, appID, p.demoPull, githubsim.RepositoryOptions{}, func() (githubsim.OpenPullOptions, error) {
			if _, err := d.sim.Commit(ctx, p.Owner, p.Name, githubsim.CommitOptions{Message: p.first, Files: p.base, Author: demoUser}); err != nil {
				return githubsim.OpenPullOptions{}, err
			}
			_, err := d.sim.Commit(ctx, p.Owner, p.Name, githubsim.CommitOptions{Branch: p.branch, Message: p.second, Files: p.head, Author: demoUser})
			return githubsim.OpenPullOptions{Title: p.title, Body: p.body, Head: p.branch, Author: demoUser}, err
		}); err != nil {
			return err
		}
	}
	return nil
}

const poseReadme = `# hand-object-pose

Estimates the pose of a hand and of the objects around it from one calibrated camera.
Training runs in bfloat16: ` + "`python train.py`" + `.
`

const poseBody = `The model reads an image and the camera, lifts its queries with pixel-aligned features, and predicts hand joints and object poses.

- ` + "`models/`" + `: transformer, hand encoder, pixel-aligned sampling
- ` + "`training/losses.py`" + `: rotations, joints, reprojection, penetration
- ` + "`data/`" + `: the data set, in float32 as its workers do not know the model's dtype

` + "`train.py`" + ` casts model and losses to bfloat16.`

const classifierReadme = `# sequence-classifier

Classifies padded sequences. ` + "`python train.py`" + ` trains in bfloat16 on made-up data.
`

const classifierBody = `The state of the first token is a poor summary of long sequences, so the head now gets the mean over all tokens that count.`

// openPull makes a repository with the App on it, lets fill put commits in, and
// opens the pull request.
func (d *demo) openPull(ctx context.Context, appID int64, p demoPull, o githubsim.RepositoryOptions, fill func() (githubsim.OpenPullOptions, error)) error {
	if err := d.sim.AddRepository(ctx, p.Owner, p.Name, o); err != nil {
		return err
	}
	if err := d.sim.SetPermission(p.Owner, p.Name, demoUser, "write"); err != nil {
		return err
	}
	if _, err := d.sim.Install(appID, p.Owner+"/"+p.Name); err != nil {
		return err
	}
	open, err := fill()
	if err != nil {
		return err
	}
	if p.Number, err = d.sim.OpenPull(ctx, p.Owner, p.Name, open); err != nil {
		return err
	}
	d.pulls = append(d.pulls, p)
	return nil
}

// Run answers, reviews and tells what happens until ctx ends. It closes the demo.
func (d *demo) Run(ctx context.Context) error {
	defer d.Close()
	d.banner()
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range d.servers {
		d.app.serve(ctx, g, l, &http.Server{Handler: d.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second})
	}
	g.Go(func() error { return d.app.Run(ctx) })
	g.Go(func() error { return d.watch(ctx) })
	if !d.options.NoBrowser {
		openBrowser(d.URL)
	}
	err := g.Wait()
	d.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.options.Out, "\n  Stopped; the temporary repositories are removed.\n")
	return err
}

// Close ends the simulator and removes the temporary folders; it may be called
// again. Run does it at its end.
func (d *demo) Close() {
	if d.app != nil {
		d.app.Close()
	}
	if d.sim != nil {
		d.sim.Close()
	}
	for _, l := range d.servers {
		_ = l.Close() // closed already after Run
	}
	_ = os.RemoveAll(d.dir) // what cannot be removed is temporary all the same
}

// banner says what runs and what to do.
func (d *demo) banner() {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.options.Out
	bold := func(s string) string { return out.String(s).Bold().String() }
	dim := func(s string) string { return out.String(s).Faint().String() }
	fmt.Fprintf(out, "\n  %s %s\n\n", bold("dtypebot demo"), dim("· a simulated GitHub, the real bot, nothing leaves this machine"))
	fmt.Fprintf(out, "  Open  %s\n\n", out.String(d.URL).Bold().Underline().Foreground(out.Color("13")))
	for _, p := range d.pulls {
		fmt.Fprintf(out, "  %s  %s\n", bold(fmt.Sprintf("%s/%s#%d", p.Owner, p.Name, p.Number)), dim(fmt.Sprintf("%s/%s/%s/pull/%d", d.URL, p.Owner, p.Name, p.Number)))
		fmt.Fprintf(out, "      %s\n", p.Try)
	}
	fmt.Fprintf(out, "\n  %s\n", dim("Press “Commit suggestion” under a comment: the push is reviewed again. Ctrl-C ends the demo."))
	if d.public() {
		fmt.Fprintf(out, "  %s\n", out.String("Whoever reaches "+d.servers[0].Addr().String()+" over the network can use this page.").Foreground(out.Color("11")))
	}
	fmt.Fprintln(out)
}

// tell prints one line of what happens.
func (d *demo) tell(mark, colour, pull, text, detail string) {
	out := d.options.Out
	fmt.Fprintf(out, "  %s  %s %s  %s %s\n", out.String(time.Now().Format("15:04:05")).Faint(), out.String(mark).Foreground(out.Color(colour)),
		pull, text, out.String(detail).Faint())
}

// watch tells of each webhook when it was answered.
func (d *demo) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		// The next wait begins with what is new since this one.
		if err := d.sim.Until(ctx, func() bool {
			for _, delivery := range d.sim.Deliveries() {
				if d.news(delivery) {
					return true
				}
			}
			return false
		}); err != nil {
			return nil // ctx ended
		}
		d.deliveries()
	}
	return nil
}

// news reports whether a webhook was answered and not told of.
func (d *demo) news(delivery githubsim.Delivery) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return delivery.Done && !d.seen[delivery.ID]
}

// deliveries tells of the webhooks that were answered since the last time.
func (d *demo) deliveries() {
	list := d.sim.Deliveries()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, delivery := range list {
		if !delivery.Done || d.seen[delivery.ID] {
			continue
		}
		d.seen[delivery.ID] = true
		if delivery.StatusCode == http.StatusNoContent {
			continue // of no concern to the bot, such as the installation or its own check run
		}
		colour := "12"
		if delivery.StatusCode/100 != 2 {
			colour = "9"
		}
		answer := delivery.Status
		if delivery.StatusCode != 0 {
			answer = fmt.Sprint(delivery.StatusCode)
		}
		event := delivery.Event
		if delivery.Action != "" {
			event += "." + delivery.Action
		}
		d.tell("→", colour, pullOfDelivery(delivery.Payload), "webhook "+event, fmt.Sprintf("%s in %s", answer, delivery.Duration.Round(time.Millisecond)))
	}
}

// pullOfDelivery names the pull request or repository that a webhook is about.
func pullOfDelivery(payload []byte) string {
	var p struct {
		Number     int
		Repository struct {
			FullName string `json:"full_name"`
		}
	}
	if err := json.Unmarshal(payload, &p); err != nil || p.Repository.FullName == "" {
		return ""
	}
	if p.Number == 0 {
		return p.Repository.FullName
	}
	return fmt.Sprintf("%s#%d", p.Repository.FullName, p.Number)
}

// reviewed tells of a finished review; the bot's workers call it.
func (d *demo) reviewed(job bot.Job, posted bot.Posted) {
	took := time.Since(job.Accepted).Round(time.Millisecond)
	d.deliveries() // the webhook comes first
	var run githubsim.CheckRunView
	if view, ok := d.sim.Pull(context.Background(), job.Owner, job.Name, job.Pull); ok && len(view.CheckRuns) > 0 {
		run = view.CheckRuns[0]
	}
	comments := fmt.Sprintf("%d new comments", len(posted.Comments))
	if len(posted.Comments) == 1 {
		comments = "1 new comment"
	}
	mark, colour := "●", "11"
	if run.Conclusion == "success" {
		mark, colour = "✓", "10"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tell(mark, colour, job.String(), fmt.Sprintf("review: %s, check %s: %s", comments, run.Conclusion, run.Title),
		fmt.Sprintf("%s after the webhook, %d API calls", took, len(posted.Calls)))
}

// openBrowser shows the page if there is a screen. That it cannot is no trouble:
// the address is on the terminal.
func openBrowser(address string) {
	name := "xdg-open"
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name = "explorer"
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return
		}
	}
	cmd := exec.Command(name, address) //nolint:noctx // the browser outlives the demo
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}

// A localChange is the change between two revisions of somebody's repository.
type localChange struct {
	dir                string // of its git folder
	name               string
	base, head         string // commits
	baseName, headName string // branches to make
	subject, body      string
}

// git runs git in a folder, without writing there and free of the variables that
// a surrounding git (a hook, say) has set.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"}, args...)...)
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	cmd.WaitDelay = 2 * time.Second
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		if text := strings.TrimSpace(errText.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// readChange finds the two revisions.
func readChange(ctx context.Context, dir, baseRev, headRev string) (*localChange, error) {
	if baseRev == "" {
		return nil, errors.New("--repo needs --base REV, the revision that the change is based on")
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("--repo: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("--repo %s: not a folder", dir)
	}
	folder, err := git(ctx, dir, "rev-parse", "--absolute-git-dir")
	if err != nil {
		if strings.Contains(err.Error(), "not a git repository") {
			return nil, fmt.Errorf("--repo %s: not a git repository", dir)
		}
		return nil, fmt.Errorf("--repo %s: %w", dir, err)
	}
	c := &localChange{dir: folder}
	top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil { // a bare repository has none
		top = strings.TrimSuffix(folder, ".git")
	}
	c.name = strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, filepath.Base(top)), ".-")
	c.name = cmp.Or(c.name, "repository")
	for _, rev := range []struct {
		flag, rev string
		sha, name *string
	}{{"--base", baseRev, &c.base, &c.baseName}, {"--head", headRev, &c.head, &c.headName}} {
		if *rev.sha, err = git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev.rev+"^{commit}"); err != nil {
			return nil, fmt.Errorf("%s %s: no such revision in %s", rev.flag, rev.rev, dir)
		}
		if full, err := git(ctx, dir, "rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", rev.rev); err == nil {
			full = full[strings.LastIndexByte(full, '\n')+1:] // older gits repeat the option
			*rev.name, _ = strings.CutPrefix(full, "refs/heads/")
			if *rev.name == full {
				*rev.name = ""
			}
		}
	}
	c.baseName = cmp.Or(c.baseName, "base")
	if c.headName == "" || c.headName == c.baseName {
		c.headName = "change"
		if c.baseName == c.headName {
			c.headName = "the-change"
		}
	}
	merge, err := git(ctx, dir, "merge-base", c.base, c.head)
	if err != nil {
		return nil, fmt.Errorf("%s and %s have no common history in %s", baseRev, headRev, dir)
	}
	if _, err := git(ctx, dir, "diff", "--quiet", "--no-ext-diff", "--no-textconv", merge, c.head); err == nil {
		return nil, fmt.Errorf("there are no changes between %s and %s in %s", baseRev, headRev, dir)
	} else if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		return nil, fmt.Errorf("--repo %s: %w", dir, err)
	}
	text, err := git(ctx, dir, "show", "--no-patch", "--no-show-signature", "--format=%B", c.head)
	if err != nil {
		return nil, fmt.Errorf("--repo %s: %w", dir, err)
	}
	c.subject, c.body, _ = strings.Cut(text, "\n")
	c.subject = cmp.Or(strings.TrimSpace(c.subject), "Change")
	return c, nil
}

// openChange opens a pull request of a local repository, on a temporary bare
// clone of the two revisions.
func (d *demo) openChange(ctx context.Context, appID int64) error {
	c := d.change
	source := filepath.Join(d.dir, "source.git")
	if err := os.MkdirAll(source, 0o700); err != nil {
		return err
	}
	if _, err := git(ctx, source, "init", "-q", "--bare", "."); err != nil {
		return err
	}
	// It borrows the repository's objects; the simulator's clone then copies what
	// the two branches need.
	objects, err := git(ctx, c.dir, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(source, "objects", "info", "alternates"), []byte(objects+"\n"), 0o600); err != nil {
		return err
	}
	if shallow, err := git(ctx, c.dir, "rev-parse", "--path-format=absolute", "--git-path", "shallow"); err == nil {
		if data, err := os.ReadFile(shallow); err == nil {
			if err := os.WriteFile(filepath.Join(source, "shallow"), data, 0o600); err != nil {
				return err
			}
		}
	}
	for name, sha := range map[string]string{c.baseName: c.base, c.headName: c.head} {
		if _, err := git(ctx, source, "update-ref", "refs/heads/"+name, sha); err != nil {
			return err
		}
	}
	if _, err := git(ctx, source, "symbolic-ref", "HEAD", "refs/heads/"+c.baseName); err != nil {
		return err
	}
	p := demoPull{Owner: "local", Name: c.name, Try: fmt.Sprintf("%s, %.7s into %s", c.subject, c.head, c.baseName)}
	return d.openPull(ctx, appID, p, githubsim.RepositoryOptions{From: source, DefaultBranch: c.baseName}, func() (githubsim.OpenPullOptions, error) {
		return githubsim.OpenPullOptions{Title: c.subject, Body: strings.TrimSpace(c.body), Base: c.baseName, Head: c.headName, Author: demoUser}, nil
	})
}
