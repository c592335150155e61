package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/recovery"
	"github.com/dtypebot/dtypebot/suggestions"
)

// victimEnv makes TestVictim a bot that ends itself; it holds a victim as JSON.
const victimEnv = "DTYPEBOT_TEST_VICTIM"

// A victim is a bot in a process of its own. It exists in test programs only:
// the points at which it ends itself are the queue's Options.Step and its
// transport.
type victim struct {
	Dir, API string
	App      int64
	Key      []byte
	Listen   string // 127.0.0.1:0 if ""
	Admin    string
	Dial     string // where GitHub's API is connected to, whatever API says
	NATS     string // embedded if ""
	Replicas int
	Workers  int
	Settle   time.Duration
	Kill     int // the number of the point at which it kills itself, from 1; 0 never
	Log      bool
}

// TestVictim is not a test of its own.
func TestVictim(t *testing.T) {
	text, ok := os.LookupEnv(victimEnv)
	if !ok {
		t.Skip("runs only as a process of other tests")
	}
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if err := v.run(); err != nil {
		t.Fatal(err)
	}
}

func (v victim) run() error {
	var mu sync.Mutex
	n := 0
	point := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		n++
		fmt.Println("point", n, name)
		if n == v.Kill {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it is on its way
		}
	}
	log := slog.New(slog.DiscardHandler)
	if v.Log {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if v.Dial != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, v.Dial)
		}
	}
	config := appConfig{
		serveConfig: serveConfig{
			AppID: v.App, Key: v.Key, Secrets: []string{testSecret}, APIURL: v.API, Listen: cmp.Or(v.Listen, "127.0.0.1:0"),
			Admin: cmp.Or(v.Admin, "127.0.0.1:0"), DataDir: v.Dir, NATSURL: v.NATS, Replicas: max(v.Replicas, 1), Role: roleAll, Workers: max(v.Workers, 1),
		},
		Log:       log,
		Transport: &pointed{next: transport, point: point},
		Analyse:   analysePoison,
		Index:     true,
		Recover:   &recovery.Options{Every: 200 * time.Millisecond, Look: 100 * time.Millisecond, Settled: 50 * time.Millisecond},
	}
	config.Queue.Step, config.Queue.Settle = point, v.Settle
	config.Queue.Backoff = 10 * time.Millisecond
	config.Queue.LeaseRetry = 100 * time.Millisecond
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a, err := newApp(ctx, config)
	if err != nil {
		return err
	}
	fmt.Println("listens", a.Addr(), a.AdminAddr())
	return a.Run(ctx)
}

// analysePoison fails on files that say so.
func analysePoison(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
	for _, f := range files {
		if strings.Contains(string(f.Source), "POISON") {
			return check.Report{}, suggestions.Plan{}, errors.New("poison")
		}
	}
	return analyse(ctx, files, around)
}

// A pointed transport has a point before and after each request of a job.
type pointed struct {
	next  http.RoundTripper
	point func(string)
}

func (p *pointed) RoundTrip(req *http.Request) (*http.Response, error) {
	path := req.URL.Path
	if !strings.HasPrefix(path, "/repos/") && !strings.HasPrefix(path, "/_codeload/") && path != "/graphql" && !strings.HasSuffix(path, "/access_tokens") || strings.HasSuffix(path, "/pulls") {
		return p.next.RoundTrip(req) // of nobody's job
	}
	name := req.Method + " " + path[strings.LastIndexByte(path, '/')+1:]
	for _, what := range []string{"/tarball/", "/_codeload/", "/git/trees/", "/git/blobs/"} { // of the index
		if strings.Contains(path, what) {
			name = req.Method + " " + strings.Trim(what, "/")
		}
	}
	p.point("before " + name)
	resp, err := p.next.RoundTrip(req)
	p.point("after " + name)
	return resp, err
}

// A process is a victim that runs.
type process struct {
	cmd    *exec.Cmd
	addr   string // of the webhooks
	admin  string
	ended  chan struct{}
	mu     sync.Mutex
	points []string
	said   []string // other lines
}

// start runs a victim in front of a world, by a command that gets its own
// command line, such as one that changes the network namespace.
func (w *world) start(v victim, prefix ...string) *process {
	w.t.Helper()
	v.App, v.Key = w.app.ID, w.app.PEM
	v.API = cmp.Or(v.API, w.url)
	text, err := json.Marshal(v)
	w.check(err)
	line := append(prefix, os.Args[0], "-test.run=^TestVictim$", "-test.timeout=2h")
	p := &process{cmd: exec.Command(line[0], line[1:]...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	w.check(err)
	w.check(p.cmd.Start())
	w.t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for p.addr == "" && lines.Scan() {
		p.line(lines.Text())
	}
	go func() {
		for lines.Scan() {
			p.line(lines.Text())
		}
		_ = p.cmd.Wait() // it was killed
		close(p.ended)
	}()
	if p.addr != "" && v.NATS == "" { // else there are several
		w.sim.SetWebhook(w.app.ID, "http://"+p.addr+"/webhook", testSecret)
	}
	return p
}

func (p *process) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, name, ok := strings.Cut(text, "point "); ok {
		_, name, _ = strings.Cut(name, " ")
		p.points = append(p.points, name)
		return
	}
	if n, _ := fmt.Sscanf(text, "listens %s %s", &p.addr, &p.admin); n == 0 {
		p.said = append(p.said, text)
	}
}

// last is what the process said last, but for its points.
func (p *process) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.said[max(0, len(p.said)-8):], "\n")
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

func (p *process) dead() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// queued is how many jobs wait, those for indexes among them, by the metrics of
// the process; -1 if it does not answer.
func (p *process) queued() int {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	all, found := 0, 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for _, state := range []string{"waiting", "index"} {
			if value, ok := strings.CutPrefix(lines.Text(), `dtypebot_queue_jobs{state="`+state+`"} `); ok {
				n, err := strconv.Atoi(value)
				if err != nil {
					return -1
				}
				all, found = all+n, found+1
			}
		}
	}
	if found != 2 {
		return -1
	}
	return all
}

// A crash is one row of the matrix: the life of a pull request, in which the
// process ends at a point.
type crash struct {
	w     *world
	dir   string
	kill  int
	alive *process
}

// until waits for something, and starts the bot again when it has died. It
// returns an error when that does not come.
func (c *crash) until(what string, cond func() bool) error {
	for end := time.Now().Add(3 * serveLimit); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return nil
		}
		if c.alive.dead() {
			if c.kill == 0 {
				return fmt.Errorf("%s: the bot died by itself: %s", what, c.alive.last())
			}
			c.kill = 0
			c.alive = c.w.start(victim{Dir: c.dir})
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: does not come", what)
		}
	}
}

// life opens a pull request, reviews it, pushes a second mistake, reviews that;
// or, with poison, one whose analysis always fails. Whenever the bot dies, it is
// started again. It returns the points that were passed without a death.
func (w *world) life(kill int, poison bool) (points []string, err error) {
	c := &crash{w: w, dir: w.t.TempDir(), kill: kill}
	c.alive = w.start(victim{Dir: c.dir, Kill: kill})
	defer func() { c.alive.kill() }()
	branch := fmt.Sprintf("life-%d-%t-%d", kill, poison, rand.Int())
	text := "# " + branch + "\n" + wrongFile // else two lives may have one commit
	if poison {
		text = "# POISON\n" + text
	}
	commit := func(name string) {
		w.commit(githubsim.CommitOptions{Branch: branch, Author: "mona", Files: map[string]string{name: text}})
	}
	commit("a.py")
	n, err := w.sim.OpenPull(w.t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: branch, Head: branch, Author: "mona"})
	w.check(err)
	defer func() { w.check(w.sim.ClosePull(w.t.Context(), "octo", "lift", n, "mona")) }() // no sweep shall find it
	settled := func() bool { return c.alive.queued() == 0 }
	reviewed := func() bool {
		p := w.pull(n)
		for _, r := range p.CheckRuns {
			if r.Head == p.HeadSHA && r.Status == "completed" {
				return true
			}
		}
		return false
	}
	steps := func(what string) error {
		return errors.Join(c.until(what+": a check run", reviewed), c.until(what+": an empty queue", settled))
	}
	if err := steps("after opening"); err != nil {
		return nil, err
	}
	if !poison {
		commit("b.py")
		if err := steps("after a push"); err != nil {
			return nil, err
		}
	}
	time.Sleep(100 * time.Millisecond) // what would be done twice is done now
	if err := settledOnce(w.pull(n), poison); err != nil {
		return nil, err
	}
	c.alive.mu.Lock()
	defer c.alive.mu.Unlock()
	return c.alive.points, nil
}

// settledOnce tells what is missing of a settled pull request, or stands twice.
func settledOnce(p githubsim.PullView, poison bool) error {
	var faults []error
	threads := make(map[string]int)
	for _, t := range p.Threads {
		threads[t.Path]++
	}
	runs := make(map[string]int)
	for _, r := range p.CheckRuns {
		runs[r.Head]++
		if r.Status != "completed" {
			faults = append(faults, fmt.Errorf("a check run is %s", r.Status))
		}
	}
	for head, n := range runs {
		if n != 1 {
			faults = append(faults, fmt.Errorf("%d check runs of %s", n, head))
		}
	}
	want := map[string]int{"a.py": 1, "b.py": 1}
	if poison {
		want = nil
		for _, r := range p.CheckRuns {
			if r.Conclusion != "neutral" {
				faults = append(faults, fmt.Errorf("the check run of what was given up is %s", r.Conclusion))
			}
		}
	}
	for path, n := range threads {
		if n != want[path] {
			faults = append(faults, fmt.Errorf("%d threads on %s, want %d", n, path, want[path]))
		}
	}
	for path := range want {
		if threads[path] == 0 {
			faults = append(faults, fmt.Errorf("no thread on %s", path))
		}
	}
	return errors.Join(faults...)
}

// TestCrashMatrix ends the process at the points of a job's life: before and
// after each writing of the queue and the leases, and each request to GitHub.
// After the next start nothing is lost and nothing stands twice. All points are
// taken with DTYPEBOT_POINTS=all, every twelfth with DTYPEBOT_SLOW=1, else one or
// two of the first life.
func TestCrashMatrix(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t)
	lives := []bool{false, true}
	if !slow() && os.Getenv("DTYPEBOT_POINTS") == "" {
		lives = lives[:1]
	}
	for _, poison := range lives {
		points, err := w.life(0, poison)
		if err != nil {
			t.Fatal(err)
		}
		if len(points) < 20 {
			t.Fatalf("only %d points: %v", len(points), points)
		}
		step := len(points)/2 + 1
		switch {
		case os.Getenv("DTYPEBOT_POINTS") == "all":
			step = 1
		case slow():
			step = 12
		}
		begin := time.Now()
		faults := 0
		for at := 1 + rand.IntN(step); at <= len(points); at += step {
			if at%10 == 0 { // each life's failed deliveries are fetched back in the next
				w = newWorld(t)
			}
			if _, err := w.life(at, poison); err != nil {
				faults++
				t.Errorf("killed at point %d of %d (%s), poison %t: %v", at, len(points), points[at-1], poison, err)
			}
		}
		t.Logf("poison %t: %d points, every %d. taken, %d with faults, %s", poison, len(points), step, faults, time.Since(begin).Round(time.Second))
		if step == 1 {
			t.Logf("the points: %s", strings.Join(points, ", "))
		}
	}
}

// TestRandomKills kills the bot at random times under a load of pushes. How
// often is told by DTYPEBOT_KILLS, 20 times by default.
func TestRandomKills(t *testing.T) {
	onlySlow(t)
	t.Parallel() // it mostly waits
	kills, err := strconv.Atoi(cmp.Or(os.Getenv("DTYPEBOT_KILLS"), "20"))
	if err != nil {
		t.Fatal(err)
	}
	const pulls = 8
	// The simulator is slower than this only when the machine is very busy.
	const settled = 4 * time.Second
	// So many starts use up an hour's requests: with GitHub's 5,000 the jobs of the
	// last kills wait for the next hour.
	w := newWorldWith(t, githubsim.Options{Limits: githubsim.Limits{Core: 1 << 30}})
	dir := t.TempDir()
	p := w.start(victim{Dir: dir, Workers: 4, Settle: settled})
	l := &load{w: w, numbers: w.openMany(pulls)}
	for range kills {
		l.push(1 + rand.IntN(4))
		// Some die at once, others do work first.
		time.Sleep([]time.Duration{100 * time.Millisecond, time.Second, settled + time.Second}[rand.IntN(3)] + time.Duration(rand.IntN(400))*time.Millisecond)
		p.kill()
		p = w.start(victim{Dir: dir, Workers: 4, Settle: settled})
	}
	for end := time.Now().Add(10 * serveLimit); p.queued() != 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d jobs stay in the queue; of %d requests %d were refused for a limit", p.queued(), len(w.sim.Calls()), len(w.sim.Exceeded()))
		}
	}
	if took, ok := l.settle(serveLimit); !ok {
		t.Fatalf("the queue is empty, and not all is reviewed after %s", took)
	}
	time.Sleep(500 * time.Millisecond) // what would be done twice is done now
	lost, double := l.faults()
	for _, f := range append(lost, double...) {
		t.Error(f)
	}
	t.Logf("%d kills, %d pushes to %d pull requests, %d requests: %d lost, %d double", kills, l.pushes, pulls, len(w.sim.Calls()), len(lost), len(double))
}
