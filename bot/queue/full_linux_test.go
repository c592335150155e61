package queue_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
)

// smallDisk mounts a disk of 24 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		const why = "a small disk cannot be mounted (run the test as root): "
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" && os.Geteuid() == 0 {
			t.Fatal(why, err)
		}
		t.Skip(why, err)
	}
	t.Cleanup(func() {
		// Detached (MNT_DETACH): the server's last files may be closed later.
		if err := syscall.Unmount(dir, 2); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// putUntil puts jobs until one is stored (or refused), and returns its number.
func (f *fixture) putUntil(pull int, stored bool) int {
	f.t.Helper()
	for begin := time.Now(); time.Since(begin) < limit; pull++ {
		if err := f.q.Put(f.t.Context(), job(pull, "d")); (err == nil) == stored {
			return pull
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.t.Fatalf("no job in time whose being stored is %t", stored)
	return 0
}

// TestFullDisk fills the disk under the queue and under the workers, and makes
// space again: the queue heals by itself, and every job that it took is worked
// on, in the order of its coming or later.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	f := open(t, queue.Config{DataDir: filepath.Join(disk, "data"), PublishLimit: time.Second}, queue.Options{})
	seen := make(chan int, 1000)
	stop := f.work(2, func(_ context.Context, j bot.Job) error {
		seen <- j.Pull
		return nil
	})
	defer stop()
	f.put(1, "d")
	if got := wait(t, seen); got != 1 {
		t.Fatalf("job %d", got)
	}
	for round := range 2 {
		first := 100 + 1000*round
		fill(t, filepath.Join(disk, "ballast"))
		refused := f.putUntil(first, false)
		if err := f.q.Ready(t.Context()); err == nil {
			t.Error("ready on a full disk")
		}
		if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
			t.Fatal(err)
		}
		f.putUntil(refused+1, true)
		again := refused + 500
		f.put(again, "d")
		want := make(map[int]bool)
		for n := first; n < refused; n++ {
			want[n] = true
		}
		want[again] = true
		for len(want) > 0 {
			delete(want, wait(t, seen))
		}
	}
	if err := f.q.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// impatient gives up soon on a server that does not answer.
func impatient(t *testing.T) *fixture {
	return open(t, queue.Config{DataDir: t.TempDir(), PublishLimit: time.Second}, queue.Options{BookLimit: time.Second})
}

// TestStoreGivesUp has the embedded server end its store under running work, as
// it does when it runs out of resources: what was taken is worked on.
func TestStoreGivesUp(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	started, release, done := make(chan int, 100), make(chan struct{}), make(chan int, 100)
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		started <- j.Pull
		<-release
		done <- j.Pull
		return nil
	})
	defer stop()
	for pull := 1; pull <= 3; pull++ {
		f.put(pull, "d")
	}
	wait(t, started)
	if err := f.srv.EndStore(); err != nil {
		t.Fatal(err)
	}
	if err := f.q.Put(t.Context(), job(4, "d")); err == nil {
		t.Error("stored without a store")
	}
	stored := f.putUntil(5, true)
	close(release)
	left := map[int]bool{1: true, 2: true, 3: true, stored: true}
	for len(left) > 0 {
		delete(left, wait(t, done))
	}
	if err := f.q.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) { // until all are off the queue
		d, err := f.q.Depth(t.Context())
		if err == nil && d == (queue.Depth{}) {
			break
		}
		if time.Since(begin) > limit {
			t.Fatalf("depth %+v, %v", d, err)
		}
	}
}

// TestStartsWhileRepaired begins to work when the server cannot answer: the work
// begins when it can.
func TestStartsWhileRepaired(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	if err := f.srv.EndStore(); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 100)
	stop := f.work(1, func(_ context.Context, j bot.Job) error {
		done <- j.Pull
		return nil
	})
	stored := f.putUntil(1, true)
	for wait(t, done) != stored {
	}
	stop()
}

// A lateEnd is a connection whose end is noticed late.
type lateEnd struct{ net.Conn }

func (c lateEnd) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		time.Sleep(300 * time.Millisecond) // the server is there again long before
	}
	return n, err
}

// TestLateConnection has the embedded server start again while the connection
// to the old one still looks alive: what is asked of the new server must not go
// over it, as there is nobody to answer.
func TestLateConnection(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	f.srv.Wrap(func(c net.Conn) net.Conn { return lateEnd{c} })
	done := make(chan int, 100)
	stop := f.work(2, func(_ context.Context, j bot.Job) error {
		done <- j.Pull
		return nil
	})
	defer stop()
	f.put(1, "d")
	wait(t, done)
	for round := 1; round <= 2; round++ { // the second time over a connection that is wrapped
		if err := f.srv.EndStore(); err != nil {
			t.Fatal(err)
		}
		stored := f.putUntil(100*round, true)
		for wait(t, done) != stored {
		}
	}
}
