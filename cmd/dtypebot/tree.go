package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/patch"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/suggestions"
)

// A tree is the folder that check works on. Files are read and written through
// an os.Root, so that neither a diff nor a symbolic link leads out of it.
type tree struct {
	dir   string // absolute
	root  *os.Root
	paths []string // slash-separated, relative to dir; "." is all
}

// openTree finds the root and checks that every path exists inside it.
func openTree(dir string, paths []string) (*tree, error) {
	var err error
	if dir == "" {
		if dir, err = defaultRoot(paths); err != nil {
			return nil, err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	t := &tree{dir: dir, root: root}
	for _, p := range paths {
		rel, err := t.relative(p)
		if err != nil {
			t.close()
			return nil, err
		}
		t.paths = append(t.paths, rel)
	}
	return t, nil
}

// settings reads the settings at the root, as the App reads them from the base
// branch.
func (t *tree) settings() (bot.Settings, []bot.Fault, error) {
	for _, name := range []string{bot.SettingsName, bot.PyprojectName} {
		text, err := t.root.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return bot.Settings{}, nil, fmt.Errorf("read settings: %w", err)
		}
		if f := (bot.SettingsFile{Name: name, Text: string(text), Pyproject: name == bot.PyprojectName}); f.Has() {
			settings, faults := bot.ReadSettings(f)
			return settings, faults, nil
		}
	}
	return bot.Settings{}, nil, nil
}

func (t *tree) close() { _ = t.root.Close() } // only reads are open

// defaultRoot is the repository that the first path or the current folder is
// in, else the current folder if the path is below it, else the path's folder.
func defaultRoot(paths []string) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the current folder: %w", err)
	}
	start := here
	if len(paths) > 0 {
		if start, err = filepath.Abs(paths[0]); err != nil {
			return "", fmt.Errorf("find %s: %w", paths[0], err)
		}
		info, err := os.Stat(start)
		if err != nil {
			return "", fmt.Errorf("check %s: %w", paths[0], bare(err))
		}
		if !info.IsDir() {
			start = filepath.Dir(start)
		}
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if rel, err := filepath.Rel(here, start); err == nil && filepath.IsLocal(rel) {
		return here, nil
	}
	return start, nil
}

// relative turns a path of the command line into one of the tree.
func (t *tree) relative(p string) (string, error) {
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("check %s: %w", p, bare(err))
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", fmt.Errorf("check %s: %w", p, err)
	}
	rel, err := filepath.Rel(t.dir, abs)
	if err != nil || !filepath.IsLocal(rel) {
		// The root's own name is resolved; the path may use another one.
		if abs, err = filepath.EvalSymlinks(abs); err == nil {
			rel, err = filepath.Rel(t.dir, abs)
		}
	}
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("check %s: it is not inside the root %s", p, t.dir)
	}
	return filepath.ToSlash(rel), nil
}

// bare drops the operation and the path from an error that is told with both.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (t *tree) read(p string) (string, error) {
	text, err := t.root.ReadFile(filepath.FromSlash(p))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p, bare(err))
	}
	return string(text), nil
}

// all returns the files below the paths, every line of them new.
func (t *tree) all() ([]analysis.File, error) {
	starts := t.paths
	if len(starts) == 0 {
		starts = []string{"."}
	}
	seen := map[string]bool{}
	var files []analysis.File
	for _, start := range starts {
		err := fs.WalkDir(t.root.FS(), start, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return fmt.Errorf("read %s: %w", p, bare(err))
			}
			if d.IsDir() {
				if p != start && t.boring(p, d.Name()) {
					return fs.SkipDir
				}
				return nil
			}
			named := p == start
			if seen[p] || !named && (!code(p) || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".")) {
				return nil
			}
			seen[p] = true
			if check.Ignored(p) != "" { // it is named with the reason, not read
				files = append(files, analysis.File{Path: p, Whole: true})
				return nil
			}
			text, err := t.read(p)
			if err != nil {
				return err
			}
			files = append(files, analysis.File{Path: p, Source: text, Whole: true})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// code reports whether a file is Python in some form, looked at or not.
func code(p string) bool {
	ext := path.Ext(p)
	return ext == ".py" || ext == ".pyi" || ext == ".ipynb"
}

// boring reports whether a folder holds no code of the project.
func (t *tree) boring(p, name string) bool {
	switch name {
	case "venv", "node_modules", "__pycache__", "site-packages":
		return true
	}
	if strings.HasPrefix(name, ".") {
		return true
	}
	_, err := t.root.Stat(path.Join(p, "pyvenv.cfg")) // a virtual environment by another name
	return err == nil
}

// A change is what a diff does to the Python files of a folder.
type change struct {
	files   []analysis.File   // that it changes, with their text before it
	deleted []string          // texts of those that it deletes
	beside  map[string]string // that it changes too and nobody asked for, as they are now
	gone    []string          // paths that it deletes or renames
}

// changed reads what a diff changes.
func (t *tree) changed(r io.Reader) (c change, err error) {
	parsed, err := patch.Parse(r)
	if err != nil {
		return change{}, err
	}
	c.beside = map[string]string{}
	seen := map[string]bool{}
	for _, f := range parsed {
		p := f.Path()
		if path.Ext(p) != ".py" || f.Binary {
			continue
		}
		if !filepath.IsLocal(filepath.FromSlash(p)) {
			return change{}, fmt.Errorf("the diff names %q, which is outside the root", p)
		}
		if seen[p] {
			return change{}, fmt.Errorf("the diff names %s twice", p)
		}
		seen[p] = true
		if f.Renamed {
			c.gone = append(c.gone, f.OldPath)
		}
		if f.Deleted {
			c.gone = append(c.gone, p)
			c.deleted = append(c.deleted, strings.Join(f.Removed(), ""))
			continue
		}
		info, err := t.root.Lstat(filepath.FromSlash(p))
		if errors.Is(err, fs.ErrNotExist) && emptied(f) {
			// Plain diffs do not say that a file is gone, only that it is empty.
			c.gone = append(c.gone, p)
			c.deleted = append(c.deleted, strings.Join(f.Removed(), ""))
			continue
		}
		if err != nil {
			return change{}, fmt.Errorf("the diff changes %s: %w in %s", p, bare(err), t.dir)
		}
		if !info.Mode().IsRegular() {
			continue // a symbolic link's "text" is its target
		}
		text, err := t.read(p)
		if err != nil {
			return change{}, err
		}
		base, err := f.Reverse(text)
		if err != nil {
			return change{}, err
		}
		if !t.wanted(p) {
			// It is not reported on, but code may have moved out of it, and it says
			// things of the others.
			c.beside[p] = text
			c.deleted = append(c.deleted, strings.Join(f.Removed(), ""))
			continue
		}
		c.files = append(c.files, analysis.File{Path: p, Source: text, Base: base, Added: f.Added, Hunks: f.AnalysisHunks()})
	}
	return c, nil
}

// emptied reports whether a diff leaves nothing of a file.
func emptied(f patch.File) bool {
	return !slices.ContainsFunc(f.Hunks, func(h patch.Hunk) bool { return h.NewLines > 0 })
}

func (t *tree) wanted(p string) bool {
	return len(t.paths) == 0 || slices.ContainsFunc(t.paths, func(w string) bool {
		return w == "." || w == p || strings.HasPrefix(p, w+"/")
	})
}

// gitDiff returns the change from the common ancestor of a revision and HEAD to
// the files as they are, and that ancestor.
func (t *tree) gitDiff(ctx context.Context, rev string) (diff string, ancestor revision, err error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return "", revision{}, errors.New("--base needs the git program, which is not installed")
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, git, append([]string{"-C", t.dir}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
		var out, problem bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problem
		if err := cmd.Run(); err != nil {
			if said := strings.TrimSpace(problem.String()); said != "" {
				first, _, _ := strings.Cut(said, "\n")
				return "", errors.New(first)
			}
			return "", err
		}
		return out.String(), nil
	}
	if _, err := run("rev-parse", "--git-dir"); err != nil {
		return "", revision{}, fmt.Errorf("--base %s: %w", rev, err)
	}
	commit, err := run("rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return "", revision{}, fmt.Errorf("--base %s: the repository has no such revision", rev)
	}
	from, err := run("merge-base", strings.TrimSpace(commit), "HEAD")
	if err != nil {
		return "", revision{}, fmt.Errorf("--base %s: it has no common ancestor with HEAD", rev)
	}
	// Whatever the user's configuration says, the output must be a plain diff
	// with prefixes and paths relative to the root.
	diff, err = run("-c", "core.quotePath=true", "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames",
		"--src-prefix=a/", "--dst-prefix=b/", "--relative", "--unified=3", "--submodule=short", strings.TrimSpace(from), "--", "*.py")
	if err != nil {
		return "", revision{}, fmt.Errorf("--base %s: %w", rev, err)
	}
	return diff, revision{dir: t.dir, commit: strings.TrimSpace(from)}, nil
}

// mend writes the plan's suggestions to the files and returns how many there
// were in how many files. All texts are made before the first one is written.
func (t *tree) mend(files []analysis.File, plan suggestions.Plan, least analysis.Confidence, unsafe bool) (edits, changed int, err error) {
	type job struct{ path, text string }
	var jobs []job
	for _, f := range files {
		text, n, err := plan.Mend(f.Path, f.Source, least, unsafe)
		if err != nil {
			return 0, 0, err
		}
		if text != f.Source {
			jobs = append(jobs, job{f.Path, text})
			edits += n
		}
	}
	for _, j := range jobs {
		if err := t.replace(j.path, j.text); err != nil {
			return 0, 0, err
		}
	}
	return edits, len(jobs), nil
}

// replace gives a file a new text; a reader sees the old or the new one whole.
func (t *tree) replace(p, text string) (err error) {
	p = filepath.FromSlash(p)
	info, err := t.root.Stat(p)
	if err != nil {
		return fmt.Errorf("write %s: %w", p, bare(err))
	}
	temp := p + ".dtypebot-tmp"
	f, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("write %s: %w", p, bare(err))
	}
	defer func() {
		if err != nil {
			_ = t.root.Remove(temp) // the first error is the one to tell
		}
	}()
	_, err = f.WriteString(text)
	// The mode given at creation is cut by the umask.
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	if err = t.root.Rename(temp, p); err != nil {
		return fmt.Errorf("write %s: %w", p, bare(err))
	}
	return nil
}
