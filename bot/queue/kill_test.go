package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
)

// childEnv makes TestChild the victim of the tests below: "<what>:<data folder>".
const childEnv = "DTYPEBOT_TEST_CHILD"

// TestChild is not a test of its own.
func TestChild(t *testing.T) {
	what, dir, ok := strings.Cut(os.Getenv(childEnv), ":")
	if !ok {
		t.Skip("runs only as a process of the other tests")
	}
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	switch what {
	case "put": // store jobs until killed, and tell which are stored
		for n := 1; ; n++ {
			f.put(n, "d")
			fmt.Println("stored", n)
		}
	case "work": // be killed in the middle of the work
		f.work(1, func(context.Context, bot.Job) error {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			panic(err) // unreachable unless there is no SIGKILL
		})
		select {}
	case "lock":
		fmt.Println("locked")
		select {}
	}
}

// child starts this test binary as a process that does TestChild.
func child(t *testing.T, what, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+what+":"+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

// TestKilledAfterPut kills a process that stores jobs: whatever Put has
// acknowledged is there after the next start.
func TestKilledAfterPut(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	cmd, out := child(t, "put", dir)
	var stored int
	for out.Scan() {
		if _, err := fmt.Sscanf(out.Text(), "stored %d", &stored); err == nil && stored == 25 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for out.Scan() { // what it wrote before it died
		_, _ = fmt.Sscanf(out.Text(), "stored %d", &stored)
	}
	_ = cmd.Wait() // it was killed
	if stored < 25 {
		t.Fatalf("the process stored %d jobs", stored)
	}

	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	seen := make(map[int]int)
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		seen[j.Pull]++
		return nil
	})
	depth, err := f.q.Depth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.outcomes(max(stored, int(depth.Waiting)))
	stop()
	for n := 1; n <= stored; n++ {
		if seen[n] != 1 {
			t.Errorf("job %d of %d ran %d times", n, stored, seen[n])
		}
	}
	f.depth(0, 0)
}

// TestKilledAtWork has a job that takes its process down each time. The tries
// are counted before the work starts, so the fourth start does not try again,
// and it does not wait for the acknowledgement that the dead process owes.
func TestKilledAtWork(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.put(1, "deadly")
	f.srv.Close()
	for range 3 {
		cmd, _ := child(t, "work", dir)
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("the process was not killed: %v", err)
		}
	}
	f = open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.depth(1, 0)
	stop := f.work(1, func(context.Context, bot.Job) error {
		t.Error("tried a fourth time")
		return nil
	})
	if diff := cmp.Diff([]string{"1 dead"}, f.outcomes(1)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	stop()
	f.depth(0, 1)
	letters, err := f.q.DeadLetters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].Reason != "the process ended during the last try" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

// TestSettle starts again after a process that died at work: what that one was
// at waits, and what it was not at does not.
func TestSettle(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.put(1, "deadly")
	f.srv.Close()
	cmd, _ := child(t, "work", dir)
	_ = cmd.Wait() // it kills itself
	const settle = 1500 * time.Millisecond
	before := time.Now()
	f = open(t, queue.Config{DataDir: dir}, queue.Options{Settle: settle})
	opened := time.Now() // the queue itself counts from a time between the two
	f.put(1, "newer")    // another job of the same pull request
	f.put(2, "d")
	type run struct {
		pull  int
		after time.Duration
	}
	runs := make(chan run, 10)
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		runs <- run{j.Pull, time.Since(opened)}
		return nil
	})
	if r := wait(t, runs); r.pull != 2 || r.after > settle {
		t.Errorf("first %+v, want pull request 2 at once", r)
	}
	if r := wait(t, runs); r.pull != 1 || r.after < settle-opened.Sub(before) {
		t.Errorf("then %+v, want pull request 1 after %s", r, settle)
	}
	stop()
}

// TestOtherProcess has another process in the folder.
func TestOtherProcess(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	cmd, out := child(t, "lock", dir)
	for out.Scan() && out.Text() != "locked" {
	}
	_, err := queue.Start(t.Context(), queue.Config{DataDir: dir})
	if locked, ok := errors.AsType[*queue.LockedError](err); !ok || locked.PID != cmd.Process.Pid {
		t.Errorf("second process: %v, want process %d named", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	open(t, queue.Config{DataDir: dir}, queue.Options{}).put(1, "d") // no stale lock
}

// BenchmarkPut measures how many jobs are stored a second, each synced.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			q := open(b, queue.Config{DataDir: b.TempDir()}, queue.Options{}).q
			b.ResetTimer()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for n := 1; pb.Next(); n++ {
					if err := q.Put(b.Context(), job(n%500+1, "d")); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}
