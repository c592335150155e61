package queue_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
	"github.com/dtypebot/dtypebot/bot/store"
)

// TestMain lets more tests run at once than there are processors, as those that
// may mostly wait; -parallel says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// limit is how long a test waits for something that has to happen.
const limit = 20 * time.Second

type fixture struct {
	t   testing.TB
	srv *queue.Server
	st  *store.Store
	q   *queue.Queue
	out chan string // "pull outcome" of each try
}

// open starts an embedded server in dir, with short delays.
func open(t testing.TB, c queue.Config, o queue.Options) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	f := &fixture{t: t, out: make(chan string, 1000)}
	var log *slog.Logger
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c.Log, o.Log = log, log
	var err error
	if f.srv, err = queue.Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.srv.Close)
	f.st, err = store.Open(ctx, f.srv.JetStream(), store.Options{Embedded: f.srv.Embedded(), Replicas: f.srv.Replicas(), LeaseTTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if o.Observe == nil {
		o.Observe = func(job bot.Job, outcome string, _ time.Duration) {
			f.out <- fmt.Sprintf("%d %s", job.Pull, outcome)
		}
	}
	if o.Backoff == 0 {
		o.Backoff = 10 * time.Millisecond
	}
	if o.LeaseRetry == 0 {
		o.LeaseRetry = 10 * time.Millisecond
	}
	if o.AckWait == 0 {
		// A message that is on its way when a fetch is given up comes again
		// after this time.
		o.AckWait = 5 * time.Second
	}
	if f.q, err = queue.Open(ctx, f.srv, f.st, o); err != nil {
		t.Fatal(err)
	}
	return f
}

func embedded(t *testing.T) *fixture {
	return open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{})
}

// put stores a job for a pull request.
func (f *fixture) put(pull int, delivery string) {
	f.t.Helper()
	if err := f.q.Put(f.t.Context(), job(pull, delivery)); err != nil {
		f.t.Fatal(err)
	}
}

func job(pull int, delivery string) bot.Job {
	return bot.Job{V: bot.JobVersion, Installation: 7, Repository: 9, Owner: "octo", Name: "lift", Pull: pull, Delivery: delivery, Event: "pull_request.synchronize"}
}

// work runs the workers until stop is called, which waits for them.
func (f *fixture) work(n int, handle func(context.Context, bot.Job) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.q.Work(ctx, n, handle) }()
	return sync.OnceFunc(func() {
		f.t.Helper()
		cancel()
		if err := wait(f.t, done); err != nil {
			f.t.Errorf("Work: %v", err)
		}
	})
}

// wait receives a value in time.
func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(limit):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// outcomes receives the outcomes of n tries.
func (f *fixture) outcomes(n int) []string {
	f.t.Helper()
	var all []string
	for range n {
		all = append(all, wait(f.t, f.out))
	}
	return all
}

// depth fails unless the stream and the dead letters have as many messages.
func (f *fixture) depth(waiting, dead uint64) {
	f.t.Helper()
	d, err := f.q.Depth(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if want := (queue.Depth{Waiting: waiting, Dead: dead}); d != want {
		f.t.Errorf("depth %+v, want %+v", d, want)
	}
}

func TestCoalesce(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	for _, p := range []int{1, 2, 1} {
		f.put(p, fmt.Sprintf("d%d", p))
	}
	f.put(2, "newest")
	f.depth(2, 0)
	seen := make(chan string, 10)
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		seen <- fmt.Sprintf("%s %s", j, j.Delivery)
		return nil
	})
	got := []string{wait(t, seen), wait(t, seen)}
	if diff := cmp.Diff([]string{"octo/lift#1 d1", "octo/lift#2 newest"}, got); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	f.outcomes(2)
	stop()
	f.depth(0, 0)
	// The same delivery again is a new wish: there is no message id.
	f.put(1, "d1")
	f.depth(1, 0)
}

func TestRerunSurvivesPush(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	rerun := job(1, "button")
	rerun.Rerun = true
	if err := f.q.Put(t.Context(), rerun); err != nil {
		t.Fatal(err)
	}
	f.put(1, "push")
	got := make(chan bot.Job, 1)
	stop := f.work(1, func(_ context.Context, j bot.Job) error { got <- j; return nil })
	defer stop()
	want := job(1, "push")
	want.Rerun = true
	if diff := cmp.Diff(want, wait(t, got)); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

// TestReplacedInFlight pushes while a job of the same pull request runs: the
// newer one runs once, after it, and the acknowledgement of the older one does
// not take it away.
func TestReplacedInFlight(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	started, release := make(chan string, 10), make(chan struct{})
	var mu sync.Mutex
	running := make(map[int]bool)
	stop := f.work(4, func(_ context.Context, j bot.Job) error {
		mu.Lock()
		if running[j.Pull] {
			t.Errorf("%s runs beside another job of its pull request", j.Delivery)
		}
		running[j.Pull] = true
		mu.Unlock()
		started <- j.Delivery
		<-release
		mu.Lock()
		running[j.Pull] = false
		mu.Unlock()
		return nil
	})
	defer stop()
	f.put(1, "old")
	if got := wait(t, started); got != "old" {
		t.Fatalf("%s runs first", got)
	}
	f.put(1, "replaced")
	f.put(1, "new")
	other := job(2, "other")
	if err := f.q.Put(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	f.depth(2, 0)
	close(release) // "other" may run already
	got := map[string]int{wait(t, started): 1}
	got[wait(t, started)]++
	if diff := cmp.Diff(map[string]int{"new": 1, "other": 1}, got); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	f.outcomes(3)
	stop()
	f.depth(0, 0)
	if len(started) != 0 {
		t.Errorf("%s ran too", <-started)
	}
}

func TestPoison(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, test := range []struct {
		name   string
		handle func() error
		reason string
	}{
		{"error", func() error { return errors.New("no such luck") }, "no such luck"},
		{"retry", func() error { return bot.Retry{After: time.Millisecond, Err: errors.New("later")} }, "retry after 1ms: later"},
		{"panic", func() error { panic("at the disco") }, "panic: at the disco"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := embedded(t)
			stop := f.work(1, func(context.Context, bot.Job) error { return test.handle() })
			f.put(1, "poison")
			want := []string{"1 retried", "1 retried", "1 dead"}
			if diff := cmp.Diff(want, f.outcomes(3)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			stop()
			f.depth(0, 1)
			letters, err := f.q.DeadLetters(t.Context())
			if err != nil || len(letters) != 1 {
				t.Fatalf("dead letters %v, %v", letters, err)
			}
			l := letters[0]
			if l.ID != "review.7.9.1" || l.Reason != test.reason || l.Tries != 3 || l.Job != job(1, "poison") || time.Since(l.At) > limit {
				t.Errorf("dead letter %+v", l)
			}

			// Given another chance it has all its tries again.
			if err := f.q.Retry(t.Context(), l.ID); err != nil {
				t.Fatal(err)
			}
			f.depth(1, 0)
			stop = f.work(1, func(context.Context, bot.Job) error { return test.handle() })
			if diff := cmp.Diff(want, f.outcomes(3)); diff != "" {
				t.Errorf("outcomes after Retry (-want +got):\n%s", diff)
			}
			stop()
			if err := f.q.Discard(t.Context(), l.ID); err != nil {
				t.Fatal(err)
			}
			f.depth(0, 0)
			if err := f.q.Discard(t.Context(), l.ID); err == nil {
				t.Error("a letter that does not exist was dropped")
			}
		})
	}
}

func TestUnreadableJob(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	if _, err := f.srv.JetStream().Publish(t.Context(), "review.7.9.1", []byte("\xff{")); err != nil {
		t.Fatal(err)
	}
	stop := f.work(1, func(context.Context, bot.Job) error {
		t.Error("the handler was called")
		return nil
	})
	f.outcomes(1)
	stop()
	f.depth(0, 1)
	if _, err := f.q.DeadLetters(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDeadIsTold tells of a job that was given up until somebody hears it, and
// then not again.
func TestDeadIsTold(t *testing.T) {
	t.Parallel() // it mostly waits
	told := make(chan string, 10)
	n := 0
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{Dead: func(_ context.Context, j bot.Job, reason string) error {
		told <- fmt.Sprint(j.Pull, " ", reason)
		if n++; n < 3 {
			return bot.Retry{After: time.Millisecond, HandBack: true, Outage: true, Err: errors.New("502")}
		}
		panic("a fault of the teller")
	}})
	stop := f.work(1, func(context.Context, bot.Job) error { panic("odd code") })
	f.put(1, "d")
	want := []string{"1 retried", "1 retried", "1 handed_back", "1 handed_back", "1 dead"}
	if diff := cmp.Diff(want, f.outcomes(len(want))); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for range 3 {
		if got := wait(t, told); got != "1 panic: odd code" {
			t.Errorf("told %q", got)
		}
	}
	stop()
	f.depth(0, 1)
}

// TestHandBack hands a job back more often than it may be tried.
func TestHandBack(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	n := 0
	stop := f.work(1, func(context.Context, bot.Job) error {
		n++
		switch {
		case n == 1:
			return errors.New("a try that counts")
		case n <= 8:
			return bot.Retry{After: time.Millisecond, HandBack: true, Err: errors.New("rate limit")}
		case n == 9:
			return fmt.Errorf("wrapped: %w", errors.New("the second that counts"))
		}
		return nil
	})
	f.put(1, "d")
	want := []string{"1 retried"}
	for range 7 {
		want = append(want, "1 handed_back")
	}
	want = append(want, "1 retried", "1 done")
	if diff := cmp.Diff(want, f.outcomes(len(want))); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	stop()
	f.depth(0, 0)
}

// TestHandBackSoon hands a job back for less time than it takes to let it go: it
// comes again at once, and not when its message was silent for too long.
func TestHandBackSoon(t *testing.T) {
	t.Parallel() // it mostly waits
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{AckWait: limit, Step: func(point string) {
		if point == "after release" {
			time.Sleep(50 * time.Millisecond)
		}
	}})
	n := 0
	stop := f.work(1, func(context.Context, bot.Job) error {
		if n++; n < 4 {
			return bot.Retry{HandBack: true, Err: errors.New("not now")}
		}
		return nil
	})
	defer stop()
	f.put(1, "d")
	begin := time.Now()
	want := []string{"1 handed_back", "1 handed_back", "1 handed_back", "1 done"}
	if diff := cmp.Diff(want, f.outcomes(len(want))); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if took := time.Since(begin); took > limit/2 {
		t.Errorf("took %s", took)
	}
}

// TestOutage hands a job back far more often than it may be tried: each delay is
// longer than the one before, and none of it counts.
func TestOutage(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	var tried []time.Time
	stop := f.work(1, func(context.Context, bot.Job) error {
		tried = append(tried, time.Now())
		if len(tried) <= 6 {
			return bot.Retry{After: 10 * time.Millisecond, HandBack: true, Outage: true, Err: errors.New("502")}
		}
		return nil
	})
	f.put(1, "d")
	var want []string
	for range 6 {
		want = append(want, "1 handed_back")
	}
	want = append(want, "1 done")
	if diff := cmp.Diff(want, f.outcomes(len(want))); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	stop()
	for i := 1; i < len(tried); i++ {
		if waited, least := tried[i].Sub(tried[i-1]), 10*time.Millisecond<<(i-1); waited < least {
			t.Errorf("try %d came after %s, want at least %s", i+1, waited, least)
		}
	}
	f.depth(0, 0)
}

func TestDrop(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	stop := f.work(1, func(context.Context, bot.Job) error {
		return fmt.Errorf("snapshot: %w", bot.Drop{Reason: "closed"})
	})
	f.put(1, "d")
	if diff := cmp.Diff([]string{"1 dropped"}, f.outcomes(1)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	stop()
	f.depth(0, 0)
}

// TestLeaseTaken has somebody else hold the pull request's lease for a while.
func TestLeaseTaken(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	holding, release, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(released)
		held, err := f.st.Hold(context.Background(), "review.7.9.1", func(context.Context) {
			close(holding)
			<-release
		})
		if !held || err != nil {
			t.Errorf("Hold: %t, %v", held, err)
		}
	}()
	wait(t, holding)
	stop := f.work(1, func(context.Context, bot.Job) error { return nil })
	f.put(1, "d")
	want := []string{"1 handed_back", "1 handed_back", "1 handed_back", "1 handed_back"}
	if diff := cmp.Diff(want, f.outcomes(4)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	close(release)
	wait(t, released)
	for wait(t, f.out) != "1 done" {
	}
	stop()
	f.depth(0, 0)
}

// TestTurns has one installation with many jobs and another with two, which
// arrive last.
func TestTurns(t *testing.T) {
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{Window: 8})
	for i := 1; i <= 12; i++ {
		f.put(i, "big")
	}
	for i := 101; i <= 102; i++ {
		j := job(i, "small")
		j.Installation = 8
		if err := f.q.Put(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	done := make(chan struct{})
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		if len(order) == 0 {
			time.Sleep(100 * time.Millisecond) // the work, during which the window is sorted
		}
		order = append(order, j.Delivery)
		if len(order) == 14 {
			close(done)
		}
		return nil
	})
	wait(t, done)
	stop()
	last := 0
	for i, o := range order {
		if o == "small" {
			last = i
		}
	}
	if last > 5 {
		t.Errorf("the small installation had to wait: %v", order)
	}
	f.depth(0, 0)
}

// TestShutdown stops the workers while one job runs that ends by itself, one
// that has to be stopped, and one that waits.
func TestShutdown(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	f := open(t, queue.Config{DataDir: dir}, queue.Options{Grace: 200 * time.Millisecond})
	started := make(chan int, 3)
	finish := make(chan struct{})
	stop := f.work(2, func(ctx context.Context, j bot.Job) error {
		started <- j.Pull
		if j.Pull == 1 {
			<-finish
			if ctx.Err() != nil {
				t.Error("the context ended before the grace was over")
			}
			return nil
		}
		<-ctx.Done()
		if context.Cause(ctx) != queue.ErrShutdown {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		return ctx.Err()
	})
	f.put(1, "ends")
	f.put(2, "hangs")
	wait(t, started)
	wait(t, started)
	f.put(3, "waits")
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	stop()
	got := map[string]bool{wait(t, f.out): true, wait(t, f.out): true}
	if diff := cmp.Diff(map[string]bool{"1 done": true, "2 handed_back": true}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	f.depth(2, 0)
	// Not one of the interruptions counts.
	for range 4 {
		if n, _, err := f.st.Begin(t.Context(), "review.7.9.2", 2, 3); n != 1 || err != nil {
			t.Fatalf("try %d, %v", n, err)
		}
		if err := f.st.HandBack(t.Context(), "review.7.9.2", 2, ""); err != nil {
			t.Fatal(err)
		}
	}
	f.srv.Close()

	// The folder is free again, in the same process, and nothing was lost.
	f = open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.depth(2, 0)
	stop = f.work(2, func(context.Context, bot.Job) error { return nil })
	f.outcomes(2)
	stop()
	f.depth(0, 0)
}

func TestSecondProcess(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder has mode %v", info.Mode())
	}
	_, err = queue.Start(t.Context(), queue.Config{DataDir: dir})
	if locked, ok := errors.AsType[*queue.LockedError](err); !ok || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Errorf("second start: %v", err)
	}
	f.put(1, "the first goes on")
}

// TestNoListener compares the listening sockets of this process before and
// after the start of an embedded server.
func TestNoListener(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("needs /proc/net/tcp")
	}
	before := listening(t)
	embedded(t)
	if diff := cmp.Diff(before, listening(t)); diff != "" {
		t.Errorf("listening sockets (-before +after):\n%s", diff)
	}
	url := external(t)
	if cmp.Equal(before, listening(t)) {
		t.Errorf("the test does not see the server on %s", url)
	}
}

// listening returns the listening TCP sockets of this process.
func listening(t *testing.T) []string {
	t.Helper()
	own := make(map[string]bool)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			own[link] = true
		}
	}
	var all []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(text)) {
			// sl local_address rem_address st … inode: see proc_net_tcp.txt of the kernel
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && own["socket:["+f[9]+"]"] {
				all = append(all, f[1])
			}
		}
	}
	return all
}

// external starts a server on loopback, as a stand-in for a cluster.
func external(t *testing.T) string {
	t.Helper()
	ns := listener(t, server.Options{Port: server.RANDOM_PORT, StoreDir: t.TempDir()})
	return ns.ClientURL()
}

func listener(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.JetStream, o.NoSigs, o.NoLog = "127.0.0.1", true, true, true
	ns, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(limit) {
		t.Fatal("the server did not start")
	}
	return ns
}

// TestExternalRestart has the external server go away under the workers and
// come back.
func TestExternalRestart(t *testing.T) {
	t.Parallel()
	o := server.Options{Port: server.RANDOM_PORT, StoreDir: t.TempDir()}
	ns := listener(t, o)
	o.Port = ns.Addr().(*net.TCPAddr).Port
	f := open(t, queue.Config{URL: ns.ClientURL()}, queue.Options{})
	stop := f.work(2, func(context.Context, bot.Job) error { return nil })
	f.put(1, "before")
	f.outcomes(1)
	ns.Shutdown()
	ns.WaitForShutdown()
	begin := time.Now()
	if err := f.q.Put(t.Context(), job(2, "during")); err == nil {
		t.Error("stored without a server")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	listener(t, o)
	for begin := time.Now(); f.q.Put(t.Context(), job(3, "after")) != nil; {
		if time.Since(begin) > limit {
			t.Fatal("the connection does not come back")
		}
		time.Sleep(20 * time.Millisecond) // GitHub's next delivery
	}
	if got := f.outcomes(1); got[0] != "3 done" {
		t.Errorf("outcome %s", got[0])
	}
	stop()
}

// TestExternalTLS connects to a server with a certificate of a private
// authority.
func TestExternalTLS(t *testing.T) {
	t.Parallel() // it mostly waits
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ns := listener(t, server.Options{Port: server.RANDOM_PORT, StoreDir: t.TempDir(), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "tls://" + ns.Addr().String()
	if _, err := queue.Start(t.Context(), queue.Config{URL: url}); err == nil {
		t.Error("an unknown authority is believed")
	}
	open(t, queue.Config{URL: url, CA: ca}, queue.Options{}).put(1, "d")
}

// TestExternal has two processes' worth of workers on one external server.
func TestExternal(t *testing.T) {
	t.Parallel() // it mostly waits
	url := external(t)
	a := open(t, queue.Config{URL: url}, queue.Options{})
	b := open(t, queue.Config{URL: url}, queue.Options{})
	if a.srv.Embedded() {
		t.Error("an external server says it is embedded")
	}
	var mu sync.Mutex
	running := make(map[int]bool)
	count := make(map[string]int)
	all := make(chan struct{}, 100)
	handle := func(_ context.Context, j bot.Job) error {
		mu.Lock()
		if running[j.Pull] {
			t.Errorf("two jobs of pull request %d at once", j.Pull)
		}
		running[j.Pull] = true
		count[j.Delivery]++
		mu.Unlock()
		time.Sleep(time.Millisecond) // the work
		mu.Lock()
		running[j.Pull] = false
		mu.Unlock()
		all <- struct{}{}
		return nil
	}
	for p := 1; p <= 20; p++ {
		a.put(p, fmt.Sprint("d", p))
	}
	stopA, stopB := a.work(2, handle), b.work(2, handle)
	for range 20 {
		wait(t, all)
	}
	stopA()
	stopB()
	a.depth(0, 0)
	for d, n := range count {
		if n != 1 {
			t.Errorf("%s ran %d times", d, n)
		}
	}
	if err := b.q.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestExternalGone(t *testing.T) {
	t.Parallel() // it mostly waits
	_, err := queue.Start(t.Context(), queue.Config{URL: "nats://127.0.0.1:1"})
	if err == nil {
		t.Fatal("there is nobody, and no error")
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	for _, j := range []bot.Job{{}, {Installation: 1, Repository: 1}, {Installation: 1, Pull: 1}, {Repository: 1, Pull: 1}, {Installation: -1, Repository: 1, Pull: 1}} {
		if err := f.q.Put(t.Context(), j); err == nil {
			t.Errorf("%+v is stored", j)
		}
	}
	f.depth(0, 0)
	f.srv.Close()
	start := time.Now()
	if err := f.q.Put(t.Context(), job(1, "d")); err == nil {
		t.Error("stored without a server")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	if err := f.q.Ready(t.Context()); err == nil {
		t.Error("ready without a server")
	}
}

// TestReadyTellsRefusal takes the stream away under a server that answers.
func TestReadyTellsRefusal(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	f.put(1, "d")
	if err := f.q.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.srv.JetStream().DeleteStream(t.Context(), "REVIEW"); err != nil {
		t.Fatal(err)
	}
	if err := f.q.Put(t.Context(), job(1, "d")); err == nil {
		t.Fatal("stored without a stream")
	}
	if err := f.q.Ready(t.Context()); err == nil {
		t.Error("ready although the last job was refused")
	}
	if _, err := queue.Open(t.Context(), f.srv, f.st, queue.Options{}); err != nil { // makes it again
		t.Fatal(err)
	}
	f.put(1, "d")
	if err := f.q.Ready(t.Context()); err != nil {
		t.Errorf("after a job was stored: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.q.Put(gone, job(1, "d")); err == nil {
		t.Error("stored for a client that is gone")
	}
	if err := f.q.Ready(t.Context()); err != nil {
		t.Errorf("after a client went away: %v", err)
	}
}

// TestPaused has an installation at GitHub's limit, with many jobs: it is tried
// once per pause, and others do not wait for it.
func TestPaused(t *testing.T) {
	t.Parallel() // it mostly waits
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{Window: 64})
	const pause = 400 * time.Millisecond
	for n := 1; n <= 40; n++ {
		f.put(n, "d")
	}
	var mu sync.Mutex
	var tried []time.Time
	quiet := make(chan time.Time, 10)
	free := false
	stop := f.work(4, func(_ context.Context, j bot.Job) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case j.Installation != 7:
			quiet <- time.Now()
		case !free:
			tried = append(tried, time.Now())
			return bot.Retry{After: pause, HandBack: true, Whole: true, Err: errors.New("limited")}
		}
		return nil
	})
	time.Sleep(pause / 2)
	start := time.Now()
	other := job(1, "d")
	other.Installation = 8
	if err := f.q.Put(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if took := wait(t, quiet).Sub(start); took > time.Second {
		t.Errorf("the quiet installation waited %s", took)
	}
	time.Sleep(2 * pause)
	mu.Lock()
	if n := len(tried); n < 2 || n > 4*4 { // four workers begin at once
		t.Errorf("tried %d times in three pauses", n)
	}
	free = true
	mu.Unlock()
	for done := 0; done < 41; {
		if strings.HasSuffix(wait(t, f.out), " done") {
			done++
		}
	}
	stop()
	f.depth(0, 0)
}

// TestAdmit asks before a job starts; what has to wait is no try.
func TestAdmit(t *testing.T) {
	t.Parallel() // it mostly waits
	var mu sync.Mutex
	asked := 0
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{Admit: func(j bot.Job, running int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if running > 0 { // one at a time
			return 5 * time.Millisecond
		}
		if asked < 4 {
			return 20 * time.Millisecond
		}
		return 0
	}})
	for n := 1; n <= 5; n++ {
		f.put(n, "d")
	}
	var running sync.Mutex
	start := time.Now()
	stop := f.work(4, func(context.Context, bot.Job) error {
		if !running.TryLock() {
			t.Error("two at once")
			return nil
		}
		defer running.Unlock()
		time.Sleep(2 * time.Millisecond)
		return nil
	})
	f.outcomes(5)
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("did not wait: %s", took)
	}
	stop()
	f.depth(0, 0)
}

// savedJob is a job as the first version of this format wrote it.
const savedJob = `{"v":1,"installation":7,"repository":9,"owner":"octo","name":"lift","pull":3,` +
	`"delivery":"72d3162e-cc78-11e3-81ab-4c9367dc0958","event":"pull_request.opened","accepted":"2026-11-26T08:15:30.123456789Z","rerun":true}`

// TestVersions has jobs of an older, this and a newer version in the queue, as
// while one process after the other is replaced: the newer one waits for a
// process that knows it, and is neither lost nor counted as tried.
func TestVersions(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	js := f.srv.JetStream()
	newer := strings.Replace(strings.Replace(savedJob, `"v":1`, fmt.Sprintf(`"v":%d,"new":{"field":[1]}`, bot.JobVersion+1), 1), `"pull":3`, `"pull":4`, 1)
	for subject, text := range map[string]string{"review.7.9.3": savedJob, "review.7.9.4": newer} {
		if _, err := js.Publish(t.Context(), subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan bot.Job, 10)
	stop := f.work(2, func(_ context.Context, j bot.Job) error {
		got <- j
		return nil
	})
	f.outcomes(2)
	stop()
	want := bot.Job{
		V: 1, Installation: 7, Repository: 9, Owner: "octo", Name: "lift", Pull: 3,
		Delivery: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Event: "pull_request.opened",
		Accepted: time.Date(2026, 11, 26, 8, 15, 30, 123456789, time.UTC), Rerun: true,
	}
	if diff := cmp.Diff(want, wait(t, got)); diff != "" || len(got) > 0 {
		t.Errorf("the old job (-want +got), and %d more:\n%s", len(got), diff)
	}
	f.depth(1, 0)
}
