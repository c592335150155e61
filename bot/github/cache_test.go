package github

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func blobName(text string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text))
	return hex.EncodeToString(sum[:])
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := OpenCache(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	text := "x = 1\n"
	name := blobName(text)
	if _, ok := c.get(7, name); ok {
		t.Error("what was never kept")
	}
	c.put(7, name, text)
	if got, ok := c.get(7, name); !ok || got != text {
		t.Errorf("got %q", got)
	}
	if _, ok := c.get(8, name); ok {
		t.Error("one repository reads another's")
	}
	for _, bad := range []string{"", "../../etc/passwd", strings.Repeat("A", 40), name[:39]} {
		c.put(7, bad, text)
		if _, ok := c.get(7, bad); ok {
			t.Errorf("kept under %q", bad)
		}
	}
	for p, want := range map[string]os.FileMode{c.path(7, name): 0o600, dir: 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", p, info, err)
		}
	}
	// Damage is no answer.
	if err := os.WriteFile(c.path(7, name), []byte("y = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.get(7, name); ok {
		t.Error("a damaged text")
	}
	if err := c.Forget(7); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "7")); !os.IsNotExist(err) {
		t.Errorf("what was forgotten: %v", err)
	}
	var none *Cache
	none.put(7, name, text)
	if _, ok := none.get(7, name); ok || none.Forget(7) != nil {
		t.Error("no cache")
	}
}

// The least wanted texts go first, and all that are thirty days old.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCache(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 30 {
		text := fmt.Sprintf("%0100d", i)
		names = append(names, blobName(text))
		c.put(1, names[i], text)
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(c.path(1, names[i]), at, at); err == nil && i == 20 {
			c.get(1, names[15]) // wanted: it is the newest now
		}
	}
	kept := 0
	for _, n := range names {
		if _, err := os.Stat(c.path(1, n)); err == nil {
			kept++
		}
	}
	if kept > 10 || kept < 5 {
		t.Errorf("%d of 100 bytes each are kept in 1000", kept)
	}
	if _, err := os.Stat(c.path(1, names[0])); err == nil {
		t.Error("the oldest is kept")
	}
	last := c.path(1, names[29])
	old := time.Now().Add(-31 * 24 * time.Hour)
	if err := os.Chtimes(last, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(dir, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(last); err == nil {
		t.Error("a text of 31 days is kept")
	}
}
