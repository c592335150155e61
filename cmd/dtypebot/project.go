package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// A source gives the files of a repository to a collection.
type source interface {
	collect(ctx context.Context, into *project.Collection) error
}

// projectOf indexes the repository around files: it glances at every Python file,
// and summarises those that have to do with the given ones. around is the change
// that they belong to.
func projectOf(ctx context.Context, from source, files []analysis.File, around change) (*project.Index, error) {
	touched := make(map[string]string, len(files))
	for _, f := range files {
		touched[f.Path] = f.Source
	}
	c := project.NewCollection("", func(p string) bool {
		_, ok := touched[p]
		_, now := around.beside[p]
		return ok || now || slices.Contains(around.gone, p) || check.Ignored(p) != ""
	})
	if err := from.collect(ctx, c); err != nil {
		return nil, err
	}
	for p, text := range around.beside {
		if _, ok := touched[p]; !ok && check.Ignored(p) == "" {
			c.Add(p, text)
		}
	}
	ix := c.Index()
	for range 2 {
		wanted := project.Wants(touched, ix)
		if len(wanted) == 0 {
			break
		}
		summarise(ctx, ix, c.Texts, wanted)
		if ix.Cut = len(wanted) == project.MaxWanted; ix.Cut {
			break
		}
	}
	ix.Hints(c.Texts)
	return ix, ctx.Err()
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
	slices.SortFunc(ix.Unread, func(a, b project.Unread) int { return strings.Compare(a.Path, b.Path) })
}

// collect gives the files of a folder.
func (t *tree) collect(ctx context.Context, into *project.Collection) error {
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
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || !into.Wants(p, info.Size()) {
			return nil
		}
		text, err := t.root.ReadFile(filepath.FromSlash(p))
		if err != nil {
			into.Leave(p, bare(err).Error())
			return nil
		}
		into.Add(p, string(text))
		return nil
	})
}

// A revision is a commit of the git repository that a folder is in.
type revision struct {
	dir    string // the folder; paths are relative to it
	commit string
}

// collect gives the files of the commit below the folder, as git stores them.
func (r revision) collect(ctx context.Context, into *project.Collection) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := r.git(ctx, "ls-tree", "-r", "-z", "--long", r.commit).Output()
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", r.commit, complaint(err))
	}
	cat := r.git(ctx, "cat-file", "--batch")
	ask, err := cat.StdinPipe()
	if err != nil {
		return fmt.Errorf("read the files of %s: %w", r.commit, err)
	}
	answer, err := cat.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read the files of %s: %w", r.commit, err)
	}
	if err := cat.Start(); err != nil {
		return fmt.Errorf("read the files of %s: %w", r.commit, err)
	}
	out := bufio.NewReader(answer)
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		about, p, _ := strings.Cut(entry, "\t")
		f := strings.Fields(about) // mode, type, hash, size
		if len(f) != 4 || f[0] != "100644" && f[0] != "100755" {
			continue // a symbolic link or a submodule
		}
		size, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil || !into.Wants(p, size) {
			continue
		}
		text, err := blob(ask, out, f[2])
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", p, r.commit, err)
		}
		into.Add(p, text)
	}
	_ = ask.Close() // tells git to end
	if err := cat.Wait(); err != nil {
		return fmt.Errorf("read the files of %s: %w", r.commit, err)
	}
	return nil
}

// git is a git command in the folder, whatever the environment says of git's own
// folders.
func (r revision) git(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1")
	return cmd
}

// complaint is what a command said on its standard error, if anything.
func complaint(err error) error {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if line, _, _ := strings.Cut(strings.TrimSpace(string(e.Stderr)), "\n"); line != "" {
			return errors.New(line)
		}
	}
	return err
}

// blob asks a running "git cat-file --batch" for a blob.
func blob(ask io.Writer, answer *bufio.Reader, hash string) (string, error) {
	if _, err := io.WriteString(ask, hash+"\n"); err != nil {
		return "", err
	}
	head, err := answer.ReadString('\n')
	if err != nil {
		return "", err
	}
	f := strings.Fields(head) // hash, type, size
	if len(f) != 3 || f[1] != "blob" {
		return "", fmt.Errorf("git says %q", strings.TrimSpace(head))
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 || size > project.MaxFile {
		return "", fmt.Errorf("git says %q", strings.TrimSpace(head))
	}
	var text bytes.Buffer
	if _, err := io.CopyN(&text, answer, size+1); err != nil {
		return "", err
	}
	return string(text.Bytes()[:size]), nil
}
