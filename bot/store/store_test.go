package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dtypebot/dtypebot/bot/store"
)

// limit is how long a test waits for something that has to happen.
const limit = 20 * time.Second

// ttl is the lifetime of leases here, the shortest that is allowed.
const ttl = time.Second

// A place is a JetStream to keep buckets in.
type place struct {
	embedded bool
	js       jetstream.JetStream
	close    func()
}

// start starts a server in dir, reached in process or by the network.
func start(t *testing.T, dir string, embedded bool) *place {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		DontListen: embedded, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	if !ns.ReadyForConnections(limit) {
		t.Fatal("the server did not start")
	}
	var nc *nats.Conn
	if embedded {
		nc, err = nats.Connect("", nats.InProcessServer(ns))
	} else {
		nc, err = nats.Connect(ns.ClientURL())
	}
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{embedded: embedded, js: js, close: sync.OnceFunc(func() {
		nc.Close()
		ns.Shutdown()
		ns.WaitForShutdown()
	})}
	t.Cleanup(p.close)
	return p
}

func open(t *testing.T, p *place) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), p.js, store.Options{Embedded: p.embedded, LeaseTTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// places runs a test on an embedded and on an external server.
func places(t *testing.T, test func(t *testing.T, p *place)) {
	t.Run("embedded", func(t *testing.T) { test(t, start(t, t.TempDir(), true)) })
	t.Run("external", func(t *testing.T) { test(t, start(t, t.TempDir(), false)) })
}

// TestBucket is the contract of Bucket.
func TestBucket(t *testing.T) {
	places(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		b, err := store.OpenBucket(ctx, p.js, "test", "", 0, store.Options{Embedded: p.embedded})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of nothing: %v", err)
		}
		if _, err := b.Update(ctx, "a", nil, 7); !errors.Is(err, store.ErrConflict) {
			t.Errorf("Update of nothing: %v", err)
		}
		if err := b.Delete(ctx, "a", 0); err != nil {
			t.Errorf("Delete of nothing: %v", err)
		}
		r1, err := b.Create(ctx, "a", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Create(ctx, "a", []byte("2")); !errors.Is(err, store.ErrExists) {
			t.Errorf("second Create: %v", err)
		}
		r2, err := b.Update(ctx, "a", []byte("2"), r1)
		if err != nil || r2 <= r1 {
			t.Errorf("Update: %d after %d, %v", r2, r1, err)
		}
		if _, err := b.Update(ctx, "a", []byte("3"), r1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("Update of an old revision: %v", err)
		}
		if err := b.Delete(ctx, "a", r1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("Delete of an old revision: %v", err)
		}
		if value, r, err := b.Get(ctx, "a"); string(value) != "2" || r != r2 || err != nil {
			t.Errorf("Get: %q, %d, %v", value, r, err)
		}
		for _, key := range []string{"dir.a", "dir.b", "dir/c", "Dir.a"} {
			if _, err := b.Put(ctx, key, []byte(key)); err != nil {
				t.Errorf("Put %s: %v", key, err)
			}
		}
		keys, err := b.Keys(ctx, "dir.")
		slices.Sort(keys)
		if diff := cmp.Diff([]string{"dir.a", "dir.b"}, keys); diff != "" || err != nil {
			t.Errorf("Keys: %v (-want +got):\n%s", err, diff)
		}
		if err := b.Delete(ctx, "a", r2); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if _, _, err := b.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get after Delete: %v", err)
		}
		if _, err := b.Create(ctx, "a", []byte("again")); err != nil {
			t.Errorf("Create after Delete: %v", err)
		}
		for _, key := range []string{"", "a b", ".a", "a.", "a>b", "a*b", "ä"} {
			if _, err := b.Put(ctx, key, nil); err == nil {
				t.Errorf("Put accepts the key %q", key)
			}
		}
		keys, err = b.Keys(ctx, "")
		if len(keys) != 5 || err != nil {
			t.Errorf("Keys: %q, %v", keys, err)
		}
	})
}

func TestAttempts(t *testing.T) {
	places(t, func(t *testing.T, p *place) {
		s, ctx := open(t, p), t.Context()
		begin := func(job uint64, wantN int, wantLast string) {
			t.Helper()
			n, last, err := s.Begin(ctx, "review.1.2.3", job, 3)
			if n != wantN || last != wantLast || err != nil {
				t.Errorf("Begin of job %d: try %d, last %q, %v; want try %d, last %q", job, n, last, err, wantN, wantLast)
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		begin(5, 1, "")
		begin(5, 2, "") // the process ended in between
		do(s.Fail(ctx, "review.1.2.3", 5, "broken"))
		begin(5, 3, "broken")
		do(s.HandBack(ctx, "review.1.2.3", 5, "broken"))
		begin(5, 3, "broken")
		do(s.Fail(ctx, "review.1.2.3", 5, "broken again"))
		begin(5, 4, "broken again")
		begin(5, 4, "broken again") // a try that was refused is not counted
		begin(6, 1, "")             // a newer job of the pull request
		do(s.Fail(ctx, "review.1.2.3", 5, "of the older"))
		do(s.HandBack(ctx, "review.1.2.3", 5, "of the older"))
		begin(6, 2, "")
		do(s.End(ctx, "review.1.2.3"))
		begin(6, 1, "")
		do(s.End(ctx, "review.9.9.9"))
		do(s.Fail(ctx, "review.9.9.9", 1, "nothing to fail"))
		if n, _, err := s.Begin(ctx, "review.9.9.9", 1, 3); n != 1 || err != nil {
			t.Errorf("try %d, %v", n, err)
		}
	})
}

func TestDone(t *testing.T) {
	p := start(t, t.TempDir(), true)
	s, ctx := open(t, p), t.Context()
	const guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	for _, want := range []bool{false, true, true} {
		done, err := s.Done(ctx, guid)
		if done != want || err != nil {
			t.Errorf("Done = %t, %v, want %t", done, err, want)
		}
		if err := s.MarkDone(ctx, guid); err != nil {
			t.Error(err)
		}
	}
}

func TestCounters(t *testing.T) {
	p := start(t, t.TempDir(), true)
	s, ctx := open(t, p), t.Context()
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for range 10 {
				if _, err := s.Count(ctx, "refused.draft", 2); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	if n, err := s.Count(ctx, "other", -1); n != -1 || err != nil {
		t.Errorf("Count = %d, %v", n, err)
	}
	got, err := s.Counters(ctx, "refused.")
	if diff := cmp.Diff(map[string]int64{"refused.draft": 80}, got); diff != "" || err != nil {
		t.Errorf("Counters: %v (-want +got):\n%s", err, diff)
	}
}

// hold takes a lease in a goroutine; the function that it returns gives it back.
func hold(t *testing.T, s *store.Store, key string) (release func()) {
	t.Helper()
	holding, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		held, err := s.Hold(context.Background(), key, func(context.Context) {
			close(holding)
			<-end
		})
		if err == nil && !held {
			err = errors.New("the lease was taken")
		}
		done <- err
	}()
	select {
	case <-holding:
	case err := <-done:
		t.Fatal(err)
	case <-time.After(limit):
		t.Fatal("no lease in time")
	}
	return func() {
		t.Helper()
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// free reports whether the lease of key can be had.
func free(t *testing.T, s *store.Store, key string) bool {
	t.Helper()
	called := false
	held, err := s.Hold(t.Context(), key, func(context.Context) { called = true })
	if err != nil {
		t.Fatal(err)
	}
	if called != held {
		t.Errorf("Hold = %t, the function was called: %t", held, called)
	}
	return held
}

func TestLease(t *testing.T) {
	places(t, func(t *testing.T, p *place) {
		t.Parallel()
		a, b := open(t, p), open(t, p)
		release := hold(t, a, "review.1.2.3")
		if !free(t, b, "review.1.2.4") {
			t.Error("the lease of another pull request is taken")
		}
		// Heartbeats keep it for longer than it lives.
		for end := time.Now().Add(ttl * 5 / 2); time.Now().Before(end); time.Sleep(ttl / 10) {
			if free(t, b, "review.1.2.3") {
				t.Fatal("two hold the lease")
			}
		}
		release()
		if !free(t, b, "review.1.2.3") {
			t.Error("the lease was not given back")
		}
	})
}

// leases opens the bucket of the leases past the store.
func leases(t *testing.T, p *place) jetstream.KeyValue {
	t.Helper()
	kv, err := p.js.KeyValue(t.Context(), "leases")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true)
	s := open(t, p)
	// A holder that died: nobody renews.
	if _, err := leases(t, p).Create(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if free(t, s, "k") {
		t.Error("the lease of the dead is free at once")
	}
	for !free(t, s, "k") {
		if time.Since(begin) > limit {
			t.Fatal("the lease does not expire")
		}
		time.Sleep(ttl / 20) // polling is what workers do too
	}
	if took := time.Since(begin); took < ttl/2 || took > 4*ttl {
		t.Errorf("a lease of %s expired after %s", ttl, took)
	}
}

func TestLeaseLost(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true)
	s, kv := open(t, p), leases(t, p)
	for name, spoil := range map[string]func() error{
		"taken":   func() error { _, err := kv.Put(t.Context(), "k", []byte("another")); return err },
		"removed": func() error { return kv.Purge(t.Context(), "k") },
	} {
		held, err := s.Hold(t.Context(), "k", func(ctx context.Context) {
			if err := spoil(); err != nil {
				t.Error(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(limit):
			}
			if context.Cause(ctx) != store.ErrLeaseLost {
				t.Errorf("%s: cause %v", name, context.Cause(ctx))
			}
		})
		if !held || err != nil {
			t.Errorf("%s: %t, %v", name, held, err)
		}
		if name == "taken" {
			if entry, err := kv.Get(t.Context(), "k"); err != nil || string(entry.Value()) != "another" {
				t.Errorf("the new holder's lease was removed: %v", err)
			}
		}
		if err := kv.Purge(t.Context(), "k"); err != nil {
			t.Error(err)
		}
	}
}

// TestLeaseServerGone ends the server below a lease.
func TestLeaseServerGone(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true)
	s := open(t, p)
	begin := time.Now()
	_, _ = s.Hold(t.Context(), "k", func(ctx context.Context) {
		p.close()
		select {
		case <-ctx.Done():
		case <-time.After(limit):
			t.Error("the holder is not told")
		}
		if took := time.Since(begin); took > ttl*5/4 {
			t.Errorf("a lease of %s was believed in for %s", ttl, took)
		}
	})
	if err := fmt.Sprint(s.MarkDone(t.Context(), "x")); err == "<nil>" {
		t.Error("stored without a server")
	}
}

// TestLeaseOfEarlierStart restarts an embedded server while a lease is held.
func TestLeaseOfEarlierStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	s := open(t, p)
	if err := s.MarkDone(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	if _, err := leases(t, p).Create(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	p.close()
	s = open(t, start(t, dir, true))
	if !free(t, s, "k") {
		t.Error("a lease of an earlier start counts")
	}
	if done, err := s.Done(t.Context(), "kept"); !done || err != nil {
		t.Errorf("what was done is forgotten: %v", err)
	}
}

// TestDisk begins and ends tries until what they leave would be some 8 MB: the
// server compacts a file of more than 2 MB that is mostly gone, so that it does
// not grow for ever.
func TestDisk(t *testing.T) {
	if os.Getenv("DTYPEBOT_SLOW") != "1" {
		t.Skip("slow: set DTYPEBOT_SLOW=1")
	}
	dir := t.TempDir()
	s, ctx := open(t, start(t, dir, true)), t.Context()
	largest, written := int64(0), 0
	for n := uint64(1); n <= 16_000; n++ {
		key := fmt.Sprintf("review.1.2.%d", n%500)
		if _, _, err := s.Begin(ctx, key, n, 3); err != nil {
			t.Fatal(err)
		}
		if err := s.End(ctx, key); err != nil {
			t.Fatal(err)
		}
		written += 2 * 250
		if n%500 != 0 {
			continue
		}
		var size int64
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // removed meanwhile
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, size)
	}
	t.Logf("%.1f MB at most, of %.1f MB written", float64(largest)/1e6, float64(written)/1e6)
	if largest > 6e6 {
		t.Errorf("the store grows to %.1f MB", float64(largest)/1e6)
	}
}
