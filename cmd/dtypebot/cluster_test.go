package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/githubsim/contract"
)

// natsEnv makes TestNATS a NATS server with that configuration file.
const natsEnv = "DTYPEBOT_TEST_NATS"

// TestNATS is not a test of its own.
func TestNATS(t *testing.T) {
	path, ok := os.LookupEnv(natsEnv)
	if !ok {
		t.Skip("runs only as a process of other tests")
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.SyncAlways = true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("DTYPEBOT_TEST_LOG") != "" {
		s.ConfigureLogger()
	}
	s.Start()
	s.WaitForShutdown()
}

// A net of three places for servers and three for bots: network namespaces on
// one bridge, so that each place can be cut off.
type site struct {
	t      *testing.T
	bridge string
	prefix string // of the addresses
}

// newSite needs the rights to make namespaces.
func newSite(t *testing.T) *site {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("slow: set up root on Linux, for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("slow: set up ip (Debian: apt-get install iproute2)")
	}
	n := os.Getpid() % 200
	s := &site{t: t, bridge: fmt.Sprintf("dtb%d", n), prefix: fmt.Sprintf("10.213.%d", n)}
	if err := s.try("link", "add", s.bridge, "type", "bridge"); err != nil {
		t.Skipf("slow: set up the right to make networks, which ip link add lacks here: %v", err)
	}
	t.Cleanup(func() { s.try("link", "del", s.bridge) })
	s.ip("addr", "add", s.prefix+".1/24", "dev", s.bridge)
	s.ip("link", "set", s.bridge, "up")
	for place := range 6 {
		ns, link := s.namespace(place), s.link(place)
		s.ip("netns", "add", ns)
		t.Cleanup(func() { s.try("netns", "del", ns) })
		s.ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", ns)
		s.ip("link", "set", link, "master", s.bridge, "up")
		s.ip("-n", ns, "addr", "add", s.address(place)+"/24", "dev", "eth0")
		s.ip("-n", ns, "link", "set", "eth0", "up")
		s.ip("-n", ns, "link", "set", "lo", "up")
	}
	return s
}

func (s *site) try(args ...string) error { return exec.Command("ip", args...).Run() }

func (s *site) ip(args ...string) {
	s.t.Helper()
	if text, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, text)
	}
}

func (s *site) namespace(place int) string { return s.bridge + "-" + strconv.Itoa(place) }
func (s *site) link(place int) string      { return s.bridge + "v" + strconv.Itoa(place) }
func (s *site) address(place int) string   { return s.prefix + "." + strconv.Itoa(10+place) }

// cut takes a place off the net, and heal puts it back.
func (s *site) cut(place int)  { s.ip("link", "set", s.link(place), "down") }
func (s *site) heal(place int) { s.ip("link", "set", s.link(place), "up") }

// enter is the command that runs another one in a place.
func (s *site) enter(place int) []string {
	return []string{"ip", "netns", "exec", s.namespace(place)}
}

// A cluster is three NATS servers in the places 0 to 2 and three bots in 3 to 5.
type cluster struct {
	*site
	w     *world
	dir   string
	nodes [3]*exec.Cmd
	bots  [3]*process
	url   string // of GitHub's API, as seen from the places
}

func (c *cluster) urls() string {
	var all []string
	for n := range 3 {
		all = append(all, "nats://"+c.address(n)+":4222")
	}
	return strings.Join(all, ",")
}

func (c *cluster) startNode(n int) {
	c.t.Helper()
	config := filepath.Join(c.dir, fmt.Sprintf("node%d.conf", n))
	text := fmt.Sprintf(`server_name: n%d
listen: %q
jetstream { store_dir: %q }
cluster {
  name: c
  listen: %q
  routes: [nats://%s:6222, nats://%s:6222, nats://%s:6222]
}
`, n, c.address(n)+":4222", filepath.Join(c.dir, fmt.Sprintf("node%d", n)), c.address(n)+":6222", c.address(0), c.address(1), c.address(2))
	c.w.check(os.WriteFile(config, []byte(text), 0o600))
	line := append(c.enter(n), os.Args[0], "-test.run=^TestNATS$", "-test.timeout=2h")
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), natsEnv+"="+config)
	cmd.Stderr = os.Stderr
	c.w.check(cmd.Start())
	c.nodes[n] = cmd
	c.t.Cleanup(func() { c.killNode(n) })
}

func (c *cluster) killNode(n int) {
	if c.nodes[n] != nil {
		_ = c.nodes[n].Process.Kill()
		_ = c.nodes[n].Wait() // it was killed
		c.nodes[n] = nil
	}
}

func (c *cluster) startBot(n int) {
	c.t.Helper()
	for range 10 { // a cluster without a leader refuses, and a service manager starts again
		p := c.w.start(victim{
			NATS: c.urls(), Replicas: 3, Workers: 2, API: "http://127.0.0.1:80/", Dial: c.url,
			Listen: c.address(3+n) + ":8080", Admin: c.address(3+n) + ":9464", Dir: filepath.Join(c.dir, fmt.Sprintf("bot%d", n)),
		}, c.enter(3+n)...)
		c.bots[n] = p
		if p.addr != "" {
			return
		}
		<-p.ended
	}
	c.t.Fatalf("bot %d does not start", n)
}

// balance is the address of a proxy that hands webhooks to whatever bot takes
// them.
func (c *cluster) balance() string {
	next := 0
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		next++
		at := next % 3
		mu.Unlock()
		to := &url.URL{Scheme: "http", Host: c.address(3+at) + ":8080"}
		p := httputil.NewSingleHostReverseProxy(to)
		p.Transport = &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, ResponseHeaderTimeout: 5 * time.Second, DisableKeepAlives: true}
		p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
		p.ServeHTTP(w, r)
	}))
	c.t.Cleanup(proxy.Close)
	return proxy.URL + "/webhook"
}

// jetStream is a handle for what a person does to a cluster.
func (c *cluster) jetStream() (*nats.Conn, jetstream.JetStream) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		nc, err := nats.Connect(c.urls(), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
		if err == nil {
			js, err2 := jetstream.New(nc)
			c.w.check(err2)
			ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
			_, err = js.AccountInfo(ctx)
			cancel()
			if err == nil {
				c.t.Cleanup(nc.Close)
				return nc, js
			}
			nc.Close()
		}
		if time.Now().After(end) {
			c.t.Fatalf("the cluster does not form: %v", err)
		}
	}
}

// leader is the node that leads the stream of reviews, -1 if none does.
func (c *cluster) leader(js jetstream.JetStream) int {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "REVIEW")
	if err != nil || s.CachedInfo().Cluster == nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s.CachedInfo().Cluster.Leader, "n"))
	if err != nil {
		return -1
	}
	return n
}

// tell logs what the cluster holds that does not settle.
func (c *cluster) tell(js jetstream.JetStream, l *load) {
	lost, double := l.faults()
	c.t.Logf("lost %q, double %q", lost, double)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range []string{"REVIEW", "COMMAND", "INDEX", "DEAD"} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			c.t.Logf("stream %s: %v", name, err)
			continue
		}
		info := s.CachedInfo()
		c.t.Logf("stream %s: %d messages, %d to %d, leader %+v", name, info.State.Msgs, info.State.FirstSeq, info.State.LastSeq, info.Cluster)
		for consumer := range s.ListConsumers(ctx).Info() {
			c.t.Logf("consumer %s: delivered %d, acknowledged %d, %d unanswered, %d given out again, %d to come, %d ask, leader %s", consumer.Name,
				consumer.Delivered.Stream, consumer.AckFloor.Stream, consumer.NumAckPending, consumer.NumRedelivered, consumer.NumPending, consumer.NumWaiting, consumer.Cluster.Leader)
		}
	}
	for n, p := range c.bots {
		c.t.Logf("bot %d: dead %t, %d jobs, last points %q, said %q", n, p.dead(), p.queued(), p.points[max(0, len(p.points)-6):], p.last())
	}
}

// TestClusterChaos runs three bots on a cluster of three NATS servers, each in a
// network namespace of its own, and disturbs them under a load of pushes: nodes
// and bots are killed, cut off and healed, the leader is moved. In the end
// nothing is lost and nothing stands twice. DTYPEBOT_ROUNDS says how often each
// disturbance comes, DTYPEBOT_KIND which one alone; without the first three of
// them come once.
func TestClusterChaos(t *testing.T) {
	onlySlow(t)
	t.Parallel() // it mostly waits
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("DTYPEBOT_ROUNDS"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	w := newWorld(t)
	l, err := net.Listen("tcp", s.prefix+".1:0")
	w.check(err)
	api := &http.Server{Handler: contract.Guard(t, w.sim), ReadHeaderTimeout: time.Minute}
	go func() { _ = api.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = api.Close() })
	w.sim.SetURL("http://127.0.0.1:80")
	c := &cluster{site: s, w: w, dir: t.TempDir(), url: l.Addr().String()}
	begin := time.Now()
	for n := range 3 {
		c.startNode(n)
	}
	nc, js := c.jetStream()
	for n := range 3 {
		c.startBot(n)
	}
	t.Logf("three nodes and three bots are up after %s", time.Since(begin).Round(100*time.Millisecond))
	w.sim.SetWebhook(w.app.ID, c.balance(), testSecret)
	load := &load{w: w, numbers: w.openMany(6)}
	if took, ok := load.settle(2 * time.Minute); !ok {
		t.Fatalf("not reviewed before any disturbance, after %s", took)
	}

	kinds := map[string]func() (undo func()){
		"node killed": func() func() {
			n := rand.IntN(3)
			c.killNode(n)
			return func() { c.startNode(n) }
		},
		"leading node killed": func() func() {
			n := max(c.leader(js), 0)
			c.killNode(n)
			return func() { c.startNode(n) }
		},
		"leader moved": func() func() {
			_, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.REVIEW", nil, 5*time.Second)
			if err != nil {
				t.Logf("move the leader: %v", err)
			}
			return func() {}
		},
		"node cut off": func() func() {
			n := max(c.leader(js), 0)
			c.cut(n)
			return func() { c.heal(n) }
		},
		"bot cut off": func() func() {
			n := rand.IntN(3)
			c.cut(3 + n)
			return func() { c.heal(3 + n) }
		},
		"bot killed": func() func() {
			n := rand.IntN(3)
			c.bots[n].kill()
			return func() { c.startBot(n) }
		},
		"bot stopped for a while": func() func() {
			n := rand.IntN(3)
			w.check(c.bots[n].signal(syscall.SIGSTOP))
			return func() { w.check(c.bots[n].signal(syscall.SIGCONT)) }
		},
	}
	names := slices.Sorted(maps.Keys(kinds))
	if only := os.Getenv("DTYPEBOT_KIND"); only != "" {
		names = []string{only}
	} else if os.Getenv("DTYPEBOT_ROUNDS") == "" {
		names = []string{"leading node killed", "leader moved", "bot killed"}
	}
	for range rounds {
		for _, kind := range names {
			load.push(4)
			undo := kinds[kind]()
			load.push(4)
			time.Sleep(time.Duration(500+rand.IntN(3000)) * time.Millisecond)
			load.push(4)
			undo()
			took, ok := load.settle(3 * time.Minute)
			t.Logf("%-24s everything is reviewed %s after the end of the disturbance", kind, took.Round(100*time.Millisecond))
			if !ok {
				c.tell(js, load)
				t.Fatalf("%s: does not settle", kind)
			}
		}
	}
	time.Sleep(2 * time.Second)
	lost, double := load.faults()
	t.Logf("%d pushes to %d pull requests: %d lost, %d double", load.pushes, len(load.numbers), len(lost), len(double))
	for _, f := range append(lost, double...) {
		t.Error(f)
	}
}

// A load is pull requests that are pushed to.
type load struct {
	w       *world
	numbers []int
	pushes  int
}

// push pushes n times to any of the pull requests that openMany made.
func (l *load) push(n int) {
	l.w.t.Helper()
	for range n {
		l.pushes++
		l.w.commit(githubsim.CommitOptions{
			Branch: fmt.Sprintf("wrong-%d", rand.IntN(len(l.numbers))), Author: "mona",
			Files: map[string]string{fmt.Sprintf("more%d.py", l.pushes): wrongFile},
		})
	}
}

// settle waits until each newest head has its check run, and tells how long
// that took.
func (l *load) settle(limit time.Duration) (took time.Duration, ok bool) {
	for begin := time.Now(); ; {
		look := time.Now()
		lost, _ := l.faults()
		// To look at a long pull request takes the simulator a while, in which it
		// answers nobody.
		time.Sleep(max(50*time.Millisecond, 5*time.Since(look)))
		took = time.Since(begin)
		if len(lost) == 0 || took > limit {
			return took, len(lost) == 0
		}
	}
}

// faults lists heads without a completed check run, and what stands twice.
func (l *load) faults() (lost, double []string) {
	for _, n := range l.numbers {
		v := l.w.pull(n)
		runs, done := make(map[string]int), false
		for _, run := range v.CheckRuns {
			runs[run.Head]++
			done = done || run.Head == v.HeadSHA && run.Status == "completed"
		}
		if !done {
			lost = append(lost, fmt.Sprintf("#%d: no check run of %s", n, v.HeadSHA))
		}
		for head, k := range runs {
			if k > 1 {
				double = append(double, fmt.Sprintf("#%d: %d check runs of %s", n, k, head))
			}
		}
		threads := make(map[string]int)
		for _, th := range v.Threads {
			if threads[th.Path]++; threads[th.Path] == 2 {
				double = append(double, fmt.Sprintf("#%d: more than one thread on %s", n, th.Path))
			}
		}
	}
	return lost, double
}
