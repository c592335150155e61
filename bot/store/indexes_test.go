package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot/store"
)

// TestIndexes keeps the indexes of the branches that were written last, and
// forgets all of a repository and none of another.
func TestIndexes(t *testing.T) {
	s := open(t, start(t, t.TempDir(), true))
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.PutIndex(ctx, 2, "main", []byte("another")))
	for i := range 5 {
		check(s.PutIndex(ctx, 1, fmt.Sprintf("release/%d *>.", i), []byte{byte(i)}))
	}
	check(s.PutIndex(ctx, 1, "release/3 *>.", []byte("newer")))
	branches, err := s.Indexed(ctx, 1)
	check(err)
	if want := []string{"release/3 *>.", "release/4 *>.", "release/2 *>.", "release/1 *>."}; !slices.Equal(branches, want) {
		t.Errorf("indexed %q, want %q", branches, want)
	}
	if _, err := s.Index(ctx, 1, "release/0 *>."); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the oldest: %v, want ErrNotFound", err)
	}
	data, err := s.Index(ctx, 1, "release/3 *>.")
	check(err)
	if string(data) != "newer" {
		t.Errorf("read %q", data)
	}
	before, err := s.IndexDigest(ctx, 1, "release/3 *>.")
	check(err)
	check(s.PutIndex(ctx, 1, "release/3 *>.", []byte("newest")))
	if after, err := s.IndexDigest(ctx, 1, "release/3 *>."); err != nil || after == before {
		t.Errorf("digest %q, %v after %q", after, err, before)
	}
	check(s.ForgetIndex(ctx, 1))
	check(s.ForgetIndex(ctx, 1))
	if branches, err := s.Indexed(ctx, 1); err != nil || len(branches) > 0 {
		t.Errorf("forgotten, and still %q, %v", branches, err)
	}
	if _, err := s.IndexDigest(ctx, 1, "release/3 *>."); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("forgotten: %v, want ErrNotFound", err)
	}
	if data, err := s.Index(ctx, 2, "main"); err != nil || string(data) != "another" {
		t.Errorf("another repository's: %q, %v", data, err)
	}
}

// TestIndexWhileWritten reads an index that is replaced all the time: each look
// gets one of those that were written, and soon.
func TestIndexWhileWritten(t *testing.T) {
	s := open(t, start(t, t.TempDir(), true))
	put := func(i int) {
		data := bytes.Repeat([]byte{byte(i)}, 300<<10) // several chunks
		if err := s.PutIndex(t.Context(), 1, "main", data); err != nil {
			t.Error(err)
		}
	}
	put(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60 {
			put(i)
		}
	}()
	slow, looks := time.Duration(0), 0
	for writing := true; writing; looks++ {
		select {
		case <-done:
			writing = false
		default:
		}
		begin := time.Now()
		data, err := s.Index(t.Context(), 1, "main")
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != 300<<10 || bytes.Count(data, data[:1]) != len(data) {
			t.Fatalf("read %d bytes, not all of one writing", len(data))
		}
		slow = max(slow, time.Since(begin))
	}
	t.Logf("%d looks, the slowest took %s", looks, slow)
	if slow > 10*time.Second {
		t.Errorf("a look took %s", slow)
	}
}
