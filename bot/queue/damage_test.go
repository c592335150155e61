package queue_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot/queue"
)

// spoil changes the files of the store whose path contains part and ends in
// suffix; a nil change removes them.
func spoil(t *testing.T, dir, part, suffix string, change func([]byte) []byte) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "queue"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.Contains(path, part) || !strings.HasSuffix(path, suffix) {
			return err
		}
		n++
		if change == nil {
			return os.Remove(path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(data), 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files of %s%s spoiled: %v", n, part, suffix, err)
	}
}

func flip(data []byte) []byte {
	for i := len(data) / 2; i < min(len(data), len(data)/2+40); i++ {
		data[i] ^= 0x55
	}
	return data
}

// TestDamage spoils a store in several ways: each is noticed at the next start,
// and the queue stores all the same.
func TestDamage(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		lost  string // the start of it
		aside bool
	}{
		{"nothing", func(*testing.T, string) {}, "", false},
		{"index", func(t *testing.T, dir string) { spoil(t, dir, "/REVIEW/", "index.db", flip) }, "", false}, // is made from the messages
		{"messages", func(t *testing.T, dir string) { spoil(t, dir, "/REVIEW/", ".blk", flip) }, "stream REVIEW ends at", false},
		{"messages cut", func(t *testing.T, dir string) {
			spoil(t, dir, "/REVIEW/", ".blk", func(data []byte) []byte { return data[:len(data)/2] })
		}, "stream REVIEW holds", false},
		{"messages gone", func(t *testing.T, dir string) { spoil(t, dir, "/REVIEW/", ".blk", nil) }, "stream REVIEW holds 0", false},
		{"description", func(t *testing.T, dir string) { spoil(t, dir, "/REVIEW/", "meta.inf", flip) }, "the store could not be read", true},
		{"description gone", func(t *testing.T, dir string) { spoil(t, dir, "/KV_attempts/", "meta.inf", nil) }, "the store could not be read", true},
		{"everything", func(t *testing.T, dir string) { spoil(t, dir, "", "", flip) }, "the store could not be read", true},
		{"stream gone", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "queue")); err != nil {
				t.Fatal(err)
			}
		}, "stream REVIEW ends at 0", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := open(t, queue.Config{DataDir: dir}, queue.Options{})
			for n := 1; n <= 8; n++ {
				f.put(n, "d")
			}
			f.srv.Close()
			test.spoil(t, dir)
			f = open(t, queue.Config{DataDir: dir}, queue.Options{})
			if lost := f.srv.Lost(); !strings.HasPrefix(lost, test.lost) || test.lost == "" && lost != "" {
				t.Errorf("lost %q, want %q", lost, test.lost)
			}
			aside, err := filepath.Glob(filepath.Join(dir, "queue.damaged-*", "jetstream"))
			if err != nil || (len(aside) == 1) != test.aside {
				t.Errorf("moved aside: %q, %v", aside, err)
			}
			f.put(100, "d")
			if err := f.srv.Ready(t.Context()); err != nil {
				t.Errorf("not ready: %v", err)
			}
		})
	}
}

// TestNoDamage has a store that cannot be opened for want of rights, which is
// nothing to throw away.
func TestNoDamage(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("runs only as a process of a user without all rights")
	}
	dir := t.TempDir()
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.put(1, "d")
	f.srv.Close()
	locked := filepath.Join(dir, "queue", "jetstream", "$G", "streams", "REVIEW", "meta.inf")
	if err := os.Chmod(locked, 0); err != nil {
		t.Fatal(err)
	}
	_, err := queue.Start(context.Background(), queue.Config{DataDir: dir})
	if err == nil {
		t.Fatal("started without a stream")
	}
	if err := os.Chmod(locked, 0o600); err != nil {
		t.Fatal(err)
	}
	f = open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.depth(1, 0)
}

// TestSlowStart has a server that does not come up in time, as on a disk that is
// busy: the start fails, and the jobs are there at the next.
func TestSlowStart(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	f := open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.put(1, "d")
	f.srv.Close()
	if srv, err := queue.Start(t.Context(), queue.Config{DataDir: dir, StartLimit: time.Nanosecond}); err == nil {
		srv.Close()
		t.Fatal("started in no time")
	} else if !strings.Contains(err.Error(), "not ready in time") {
		t.Errorf("the error is %q", err)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "queue.damaged-*")); err != nil || len(aside) > 0 {
		t.Errorf("moved aside: %q, %v", aside, err)
	}
	f = open(t, queue.Config{DataDir: dir}, queue.Options{})
	f.depth(1, 0)
	if lost := f.srv.Lost(); lost != "" {
		t.Errorf("lost: %s", lost)
	}
}
