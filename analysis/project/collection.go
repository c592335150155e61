package project

import (
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Bounds of what an index takes of a repository.
const (
	MaxFiles   = 20_000    // Python files
	MaxBytes   = 200 << 20 // of all their texts
	MaxFile    = 1 << 20   // bytes of one
	maxConfigs = 500
)

// A Collection gathers the files of one revision for an index, within its
// bounds: Python code, configurations and requirements. Files of hidden folders
// and virtual environments are none of the project's.
type Collection struct {
	// Texts are the Python files to look at, by path.
	Texts map[string]string

	ix      *Index
	ignored func(path string) bool
	size    int64
}

// NewCollection begins an index. ignored tells of Python files that are not worth
// reading.
func NewCollection(revision string, ignored func(path string) bool) *Collection {
	c := &Collection{Texts: map[string]string{}, ix: NewIndex(), ignored: ignored}
	c.ix.Revision = revision
	return c
}

// Wants reports whether a file is to be read; size is in bytes, or -1 if it is
// not known. A file that it leaves out for its size or for the bounds is noted.
func (c *Collection) Wants(p string, size int64) bool {
	if hidden(p) {
		return false
	}
	if configuration(p) && size <= maxSetting && len(c.ix.Configs) < maxConfigs {
		return true
	}
	if path.Ext(p) != ".py" || c.ignored(p) {
		return false
	}
	switch {
	case size > MaxFile:
		c.Leave(p, "over 1 MiB")
	case len(c.ix.Files) >= MaxFiles || c.size+max(size, 0) > MaxBytes:
		c.Leave(p, "the repository is too large")
	default:
		return true
	}
	return false
}

// Leave notes a Python file that is left out.
func (c *Collection) Leave(p, reason string) {
	if path.Ext(p) == ".py" {
		c.ix.leave(p, reason)
	}
}

// Add takes a file that Wants wants.
func (c *Collection) Add(p, text string) {
	if configuration(p) && len(text) <= maxSetting {
		c.config(p, text)
	}
	switch {
	case path.Ext(p) != ".py" || c.ignored(p):
	case len(text) > MaxFile:
		c.Leave(p, "over 1 MiB")
	default:
		c.Texts[p] = text
		c.size += int64(len(text))
		c.ix.Files[p] = Blob(text)
	}
}

// Keep takes a file as another index knows it, by the hash of its blob, and
// reports whether it does.
func (c *Collection) Keep(p, hash string, size int64, from *Index) bool {
	if configuration(p) {
		k, ok := from.Configs[p]
		if !ok || k.Blob != hash {
			return false
		}
		c.ix.Configs[p] = k
		if path.Ext(p) != ".py" || c.ignored(p) {
			return true
		}
	}
	o, ok := from.Outlines[hash]
	if ok {
		c.ix.Files[p], c.ix.Outlines[hash] = hash, o
		c.size += size
	}
	return ok
}

// Incomplete notes that there are files that nobody saw, and why.
func (c *Collection) Incomplete(why string) { c.ix.Incomplete = why }

// Revision is the revision that is gathered.
func (c *Collection) Revision() string { return c.ix.Revision }

// Index is what was gathered, with outlines and without Modules.
func (c *Collection) Index() *Index {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, text := range c.Texts {
		hash := c.ix.Files[p]
		g.Go(func() error {
			outline := Glance(text)
			mu.Lock()
			defer mu.Unlock()
			c.ix.Outlines[hash] = outline
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
	slices.SortFunc(c.ix.Unread, func(a, b Unread) int { return strings.Compare(a.Path, b.Path) })
	return c.ix
}

// hidden reports whether a file lies below a folder that holds no code of the
// project, or is hidden itself.
func hidden(p string) bool {
	return slices.ContainsFunc(strings.Split(p, "/"), func(part string) bool {
		switch part {
		case "venv", "node_modules", "__pycache__", "site-packages":
			return true
		}
		return strings.HasPrefix(part, ".")
	})
}
