package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// duration reads one of the environment's settings of the long tests; a test
// whose setting is missing is skipped if there is no other value.
func duration(t *testing.T, name, otherwise string) time.Duration {
	t.Helper()
	text := cmp.Or(os.Getenv(name), otherwise)
	if text == "" {
		t.Skipf("slow: set %s, e.g. to 30m", name)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// syncTime is how long the disk takes to sync a small write, in the middle of
// many.
func syncTime(t *testing.T, dir string) time.Duration {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []time.Duration
	for range 100 {
		begin := time.Now()
		if _, err := f.Write(make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// TestLoad sends signed webhooks at 1,000 a second, for as long as DTYPEBOT_LOAD
// says. Each is answered 202 after a sync; 99 of 100 within 100 ms.
func TestLoad(t *testing.T) {
	span := duration(t, "DTYPEBOT_LOAD", "")
	const rate, clients = 1000, 32
	dir := t.TempDir()
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 2 * clients
	a, stop := startApp(t, appConfig{
		serveConfig: serveConfig{DataDir: dir}, Log: slog.New(slog.DiscardHandler), Handle: func(context.Context, bot.Job) error { return nil },
	})
	memory := func() float64 { return gauges(t, a.AdminAddr().String())["process_resident_memory_bytes"] / 1e6 }
	due := make(chan int, 10*rate)
	var mu sync.Mutex
	var took []time.Duration
	var refused atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for n := range due {
				begin := time.Now()
				if status, err := pushTo(a.Addr().String(), n%500+1); err != nil || status != http.StatusAccepted {
					refused.Add(1)
				}
				mu.Lock()
				took = append(took, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	begin := time.Now()
	var before float64
	sent := 0
	for at := time.Duration(0); at < span; at = time.Since(begin) {
		for ; sent < int(at.Seconds()*rate); sent++ {
			due <- sent // blocks when the bot is far behind
		}
		if before == 0 && at > span/4 {
			before = memory()
		}
		time.Sleep(time.Millisecond)
	}
	close(due)
	group.Wait()
	elapsed := time.Since(begin)
	after := memory()
	stop()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d webhooks in %s: %.0f/s, p50 %s, p99 %s, %d not 202; memory %.0f MB after a quarter, %.0f MB at the end; the disk syncs in %s",
		len(took), elapsed.Round(time.Second), float64(len(took))/elapsed.Seconds(), took[len(took)/2].Round(time.Microsecond), p99.Round(time.Millisecond),
		refused.Load(), before, after, syncTime(t, dir).Round(time.Microsecond))
	if p99 > 100*time.Millisecond || refused.Load() > 0 || float64(len(took)) < 0.95*rate*elapsed.Seconds() {
		t.Error("less than a thousand a second, slower than 100 ms, or refused")
	}
	if after > before*1.2+20 {
		t.Errorf("memory grows from %.0f to %.0f MB", before, after)
	}
}

// gauges reads the metrics of a process that have no labels.
func gauges(t *testing.T, admin string) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.Contains(name, "{") {
			values[name] = v
		}
	}
	return values
}

// TestBurst pushes DTYPEBOT_BURST times to a fortieth as many pull requests, as
// fast as the simulator takes it: in the end each newest head is reviewed
// exactly once.
func TestBurst(t *testing.T) {
	pushes, err := strconv.Atoi(cmp.Or(os.Getenv("DTYPEBOT_BURST"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	if pushes == 0 {
		t.Skip("slow: set DTYPEBOT_BURST, e.g. to 20000")
	}
	// As fast as this machine goes, 5,000 requests are used up within minutes, and
	// the rest would wait for the next hour.
	w := newWorldWith(t, githubsim.Options{Limits: githubsim.Limits{Core: 1 << 30}})
	config := w.config()
	config.Analyse = analyse
	a, stop := startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	l := &load{w: w, numbers: w.openMany(max(pushes/40, 1))}
	begin := time.Now()
	for range pushes {
		l.pushes++
		// The same file each time: the newest push says what is wrong.
		n := rand.IntN(len(l.numbers))
		w.commit(githubsim.CommitOptions{
			Branch: fmt.Sprintf("wrong-%d", n), Author: "mona",
			Files: map[string]string{fmt.Sprintf("lift%d.py", n): fmt.Sprintf("# push %d\n", l.pushes) + wrongFile},
		})
	}
	pushed := time.Since(begin)
	took, ok := l.settle(10 * time.Minute)
	if !ok {
		t.Fatalf("does not settle; of %d requests %d were refused for a limit", len(w.sim.Calls()), len(w.sim.Exceeded()))
	}
	time.Sleep(2 * time.Second)
	stop()
	lost, double := l.faults()
	for _, f := range append(lost, double...) {
		t.Error(f)
	}
	newest := 0
	for _, n := range l.numbers {
		v := w.pull(n)
		for _, run := range v.CheckRuns {
			if run.Head == v.HeadSHA {
				newest++
			}
		}
	}
	t.Logf("%d pushes to %d pull requests in %s, settled %s later: %d requests, %d check runs of newest heads, %d lost, %d double",
		pushes, len(l.numbers), pushed.Round(time.Second), took.Round(time.Second), len(w.sim.Calls()), newest, len(lost), len(double))
	if newest != len(l.numbers) {
		t.Errorf("%d check runs of %d newest heads", newest, len(l.numbers))
	}
}

// TestSoak lets a bot run for as long as DTYPEBOT_SOAK says, under pushes and
// faults of GitHub, and looks whether what it holds stays the same.
func TestSoak(t *testing.T) {
	span := duration(t, "DTYPEBOT_SOAK", "")
	// So many pushes take more than GitHub's 5,000 requests of an hour.
	w := newWorldWith(t, githubsim.Options{Limits: githubsim.Limits{Core: 1 << 30}})
	var faults atomic.Int64
	w.sim.Fault(func(r *http.Request) *githubsim.Fault {
		if strings.HasPrefix(r.URL.Path, "/app") || rand.IntN(20) > 0 {
			return nil
		}
		faults.Add(1)
		return []*githubsim.Fault{
			{Status: 502, Body: "<html>"},
			{Drop: true},
			{Drop: true, After: true},
			{Truncate: 20},
			{Delay: 500 * time.Millisecond},
			{Status: 429, Body: "{}", Header: http.Header{"Retry-After": {"1"}}},
			{Status: 200, Body: "{"},
		}[rand.IntN(7)]
	})
	dir := t.TempDir()
	p := w.start(victim{Dir: dir, Workers: 2})
	l := &load{w: w, numbers: w.openMany(5)}
	type sample struct{ goroutines, memory, files, disk float64 }
	var samples []sample
	begin := time.Now()
	lastSample, lastNew := begin, begin
	for time.Since(begin) < span {
		l.w.commit(githubsim.CommitOptions{
			Branch: fmt.Sprintf("wrong-%d", rand.IntN(5)), Author: "mona",
			Files: map[string]string{"turn.py": fmt.Sprintf("# push %d\n", l.pushes) + wrongFile},
		})
		l.pushes++
		if rand.IntN(10) == 0 { // somebody else's
			if resp, err := http.Post("http://"+p.addr+"/webhook", "application/json", strings.NewReader("{}")); err == nil {
				_ = resp.Body.Close()
			}
		}
		if time.Since(lastNew) > time.Minute { // check runs of old heads pile up at the simulator alone
			lastNew = time.Now()
			w.sim.ResetCalls()
		}
		if time.Since(lastSample) > max(span/60, time.Second) {
			lastSample = time.Now()
			g := gauges(t, p.admin)
			samples = append(samples, sample{g["go_goroutines"], g["process_resident_memory_bytes"] / 1e6, g["process_open_fds"], size(t, dir) / 1e6})
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
	}
	w.sim.Fault(nil)
	took, ok := l.settle(12 * time.Minute) // an outage's delay grows to ten minutes
	lost, double := l.faults()
	t.Logf("%s, %d pushes, %d faults of GitHub; settled %s after the end, %d lost, %d double", span, l.pushes, faults.Load(), took.Round(time.Second), len(lost), len(double))
	if !ok || len(double) > 0 {
		t.Error(lost, double)
	}
	third := len(samples) / 3
	if third < 3 {
		t.Fatalf("only %d samples", len(samples))
	}
	for name, of := range map[string]func(sample) float64{
		"goroutines": func(s sample) float64 { return s.goroutines }, "memory, MB": func(s sample) float64 { return s.memory },
		"open files": func(s sample) float64 { return s.files }, "disk, MB": func(s sample) float64 { return s.disk },
	} {
		middle := func(part []sample) float64 {
			var all []float64
			for _, s := range part {
				all = append(all, of(s))
			}
			slices.Sort(all)
			return all[len(all)/2]
		}
		first, second, last := middle(samples[:third]), middle(samples[third:2*third]), middle(samples[2*third:])
		t.Logf("%-11s %7.1f, %7.1f, %7.1f in the middle of each third", name, first, second, last)
		if last > second*1.25+10 {
			t.Errorf("%s grows: %.1f, %.1f, %.1f", name, first, second, last)
		}
	}
}

// size is how much the files of a folder hold, in bytes.
func size(t *testing.T, dir string) (sum float64) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += float64(info.Size())
		}
		return nil
	})
	return sum
}
