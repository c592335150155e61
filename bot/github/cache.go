package github

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultCacheSize bounds the files of a Cache, in bytes.
	DefaultCacheSize = 1 << 30
	// cacheAge is how long a text is kept that nobody asks for.
	cacheAge = 30 * 24 * time.Hour
	// sweepEvery is how often old texts are looked for.
	sweepEvery = 24 * time.Hour
)

// A Cache keeps the texts of blobs on disk, by repository and hash. What a hash
// names never changes, so nothing in it can be out of date; what it gives is
// checked against the hash all the same. It may be used by many goroutines. A nil
// Cache keeps nothing.
type Cache struct {
	dir   string
	limit int64

	mu    sync.Mutex // guards what follows
	size  int64      // bytes of all texts, about
	swept time.Time
}

// OpenCache opens the cache in a folder of its own, and makes that if it is
// missing. limit is in bytes, DefaultCacheSize if 0.
func OpenCache(dir string, limit int64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	c := &Cache{dir: dir, limit: cmp.Or(limit, DefaultCacheSize)}
	if err := c.sweep(time.Now()); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	return c, nil
}

// path is where a text is; "" for what is no hash.
func (c *Cache) path(repository int64, sha string) string {
	if c == nil || repository <= 0 || len(sha) != 40 && len(sha) != 64 || strings.Trim(sha, "0123456789abcdef") != "" {
		return ""
	}
	return filepath.Join(c.dir, strconv.FormatInt(repository, 10), sha[:2], sha)
}

// get returns the text of a blob.
func (c *Cache) get(repository int64, sha string) (string, bool) {
	p := c.path(repository, sha)
	if p == "" {
		return "", false
	}
	data, err := os.ReadFile(p)
	if err != nil || !matches(string(data), sha) { // not kept, or damaged
		return "", false
	}
	now := time.Now()
	_ = os.Chtimes(p, now, now) // it is wanted; else it goes a little early
	return string(data), true
}

// put keeps the text of a blob. What cannot be kept is fetched again.
func (c *Cache) put(repository int64, sha, text string) {
	p := c.path(repository, sha)
	if p == "" {
		return
	}
	if _, err := os.Stat(p); err == nil {
		return
	}
	if os.MkdirAll(filepath.Dir(p), 0o700) != nil {
		return
	}
	// A reader must never see a part of it, nor a crash leave one.
	f, err := os.CreateTemp(filepath.Dir(p), "part-*")
	if err != nil {
		return
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the sweep removes it else
		return
	}
	c.mu.Lock()
	c.size += int64(len(text))
	due := c.size > c.limit || time.Since(c.swept) > sweepEvery
	c.mu.Unlock()
	if due {
		_ = c.sweep(time.Now()) // the next one tries again
	}
}

// Forget removes what is kept of a repository, which left the App.
func (c *Cache) Forget(repository int64) error {
	if c == nil || repository <= 0 {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(c.dir, strconv.FormatInt(repository, 10))); err != nil {
		return fmt.Errorf("forget repository %d: %w", repository, err)
	}
	return nil
}

// sweep removes what is older than cacheAge, and of the rest the least wanted
// until nine tenths of the limit are left.
func (c *Cache) sweep(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	type kept struct {
		path string
		size int64
		used time.Time
	}
	var all []kept
	var size int64
	err := filepath.WalkDir(c.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		part := strings.HasPrefix(d.Name(), "part-") && now.Sub(info.ModTime()) > time.Hour
		if part || now.Sub(info.ModTime()) > cacheAge {
			return ignoreMissing(os.Remove(p))
		}
		all = append(all, kept{p, info.Size(), info.ModTime()})
		size += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	if size > c.limit {
		slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
		for _, k := range all {
			if size <= c.limit/10*9 {
				break
			}
			if err := ignoreMissing(os.Remove(k.path)); err != nil {
				return err
			}
			size -= k.size
		}
	}
	c.size, c.swept = size, now
	return nil
}

// ignoreMissing is for files that another goroutine removed meanwhile.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
