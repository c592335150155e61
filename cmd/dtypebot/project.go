package main

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// Bounds of what is read of a repository around the files that are checked.
const (
	maxProjectFiles = 20_000
	maxProjectBytes = 200 << 20
	maxProjectFile  = 1 << 20
	maxSettings     = 500
)

var errTooLarge = errors.New("over 1 MiB")

// A source gives the texts of a repository. Walk calls visit for its files; a
// text is read only when it is asked for.
type source interface {
	walk(ctx context.Context, visit func(p string, read func() (string, error)) error) error
}

// projectOf indexes the repository around files: it glances at every Python file,
// and summarises those that have to do with the given ones.
func projectOf(ctx context.Context, from source, files []analysis.File) (*project.Index, error) {
	ix := project.NewIndex()
	touched := make(map[string]string, len(files))
	for _, f := range files {
		touched[f.Path] = f.Source
	}
	texts := map[string]string{}
	size, settings := 0, 0
	leave := func(p, reason string) { ix.Unread = append(ix.Unread, project.Unread{Path: p, Reason: reason}) }
	err := from.walk(ctx, func(p string, read func() (string, error)) error {
		if project.Setting(p) && settings < maxSettings {
			settings++
			text, err := read()
			if err != nil {
				return nil // it is no more than a sign
			}
			ix.Half = append(ix.Half, project.Settings(p, text)...)
			if p == "pyproject.toml" {
				ix.Torch = project.Requirement(text)
			}
			return nil
		}
		if touched[p] != "" || check.Ignored(p) != "" {
			return nil
		}
		if len(texts) >= maxProjectFiles || size >= maxProjectBytes {
			leave(p, "the repository is too large")
			return nil
		}
		text, err := read()
		switch {
		case err != nil:
			leave(p, err.Error())
		default:
			texts[p] = text
			size += len(text)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	glance(ix, texts)
	for range 2 {
		wanted := project.Wants(touched, ix)
		if len(wanted) == 0 {
			break
		}
		summarise(ctx, ix, texts, wanted)
	}
	slices.SortFunc(ix.Unread, func(a, b project.Unread) int { return strings.Compare(a.Path, b.Path) })
	return ix, ctx.Err()
}

// glance notes the outlines of texts in an index.
func glance(ix *project.Index, texts map[string]string) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, text := range texts {
		g.Go(func() error {
			hash, outline := project.Blob(text), project.Glance(text)
			mu.Lock()
			defer mu.Unlock()
			ix.Files[p], ix.Outlines[hash] = hash, outline
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
}

// summarise adds the summaries of files to an index.
func summarise(ctx context.Context, ix *project.Index, texts map[string]string, paths []string) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range paths {
		text, ok := texts[p]
		if !ok || ctx.Err() != nil {
			continue
		}
		g.Go(func() error {
			m, err := project.Summary(text)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				ix.Unread = append(ix.Unread, project.Unread{Path: p, Reason: err.Error()})
				m = &project.Module{} // so that nobody asks for it again
			}
			ix.Modules[ix.Files[p]] = m
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
}

// walk gives the files of a folder: those below hidden folders, virtual
// environments and the like are none of the project's.
func (t *tree) walk(ctx context.Context, visit func(p string, read func() (string, error)) error) error {
	return fs.WalkDir(t.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if d != nil && d.IsDir() {
				return fs.SkipDir // what cannot be read says nothing
			}
			return nil
		}
		if d.IsDir() {
			if p != "." && t.boring(p, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") || path.Ext(p) != ".py" && !project.Setting(p) {
			return nil
		}
		return visit(p, func() (string, error) {
			if info, err := d.Info(); err != nil || info.Size() > maxProjectFile {
				return "", errTooLarge
			}
			text, err := t.root.ReadFile(filepath.FromSlash(p))
			return string(text), err
		})
	})
}
