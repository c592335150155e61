package githubsim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A gitDir runs git on one bare repository. Objects are read through one
// long-lived "git cat-file --batch" process, since a pull request reads many.
type gitDir struct {
	path string

	mu    sync.Mutex // guards what follows
	batch *catFile
	known map[string]commitInfo // by full name; commits never change
}

// A catFile is a running "git cat-file --batch".
type catFile struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// An object is a git object as cat-file gives it.
type object struct {
	SHA  string
	Type string // "blob", "tree", "commit" or "tag"
	Data []byte
}

// errNoObject says that a revision names nothing in the repository.
var errNoObject = errors.New("no such object")

// gitEnv is the whole environment of every git process: no configuration of
// the machine or the user can change a result.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=/nonexistent",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1",
	}
}

// gitArgs come before every command: hooks never run, nothing is packed in the
// background, and a repository owned by another user can be read.
var gitArgs = []string{
	"-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "safe.directory=*",
	"-c", "core.quotePath=false", "-c", "protocol.ext.allow=never", "-c", "commit.gpgSign=false",
}

func gitCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	all := append([]string{}, gitArgs...)
	if dir != "" {
		all = append(all, "--git-dir", dir)
	}
	cmd := exec.CommandContext(ctx, "git", append(all, args...)...)
	cmd.Env = gitEnv()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func runGit(ctx context.Context, dir string, stdin []byte, env []string, args ...string) ([]byte, error) {
	cmd := gitCommand(ctx, dir, args...)
	cmd.Env = append(cmd.Env, env...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errOut.String()))
	}
	return out.Bytes(), nil
}

func (g *gitDir) run(ctx context.Context, args ...string) (string, error) {
	out, err := runGit(ctx, g.path, nil, nil, args...)
	return string(out), err
}

// object reads the object that rev names ("<sha>", "<sha>:path", "refs/…").
func (g *gitDir) object(rev string) (object, error) {
	if strings.ContainsAny(rev, "\n\x00") || rev == "" {
		return object{}, errNoObject
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o, err := g.read(rev)
	if err != nil && !errors.Is(err, errNoObject) {
		g.stop() // the process died: one new one is tried
		o, err = g.read(rev)
	}
	return o, err
}

func (g *gitDir) read(rev string) (object, error) {
	if g.batch == nil {
		// The process outlives the call that starts it, hence no context; close ends it.
		cmd := gitCommand(context.Background(), g.path, "cat-file", "--batch")
		in, err := cmd.StdinPipe()
		if err != nil {
			return object{}, fmt.Errorf("git cat-file: %w", err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return object{}, fmt.Errorf("git cat-file: %w", err)
		}
		if err := cmd.Start(); err != nil {
			return object{}, fmt.Errorf("git cat-file: %w", err)
		}
		g.batch = &catFile{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<16)}
	}
	if _, err := io.WriteString(g.batch.in, rev+"\n"); err != nil {
		return object{}, fmt.Errorf("git cat-file %s: %w", rev, err)
	}
	head, err := g.batch.out.ReadString('\n')
	if err != nil {
		return object{}, fmt.Errorf("git cat-file %s: %w", rev, err)
	}
	head = strings.TrimSuffix(head, "\n")
	if strings.HasSuffix(head, " missing") || strings.HasSuffix(head, " ambiguous") {
		return object{}, errNoObject
	}
	f := strings.Fields(head)
	if len(f) != 3 {
		return object{}, fmt.Errorf("git cat-file %s: answer %q", rev, head)
	}
	size, err := strconv.Atoi(f[2])
	if err != nil {
		return object{}, fmt.Errorf("git cat-file %s: answer %q", rev, head)
	}
	data := make([]byte, size+1) // the object and a newline
	if _, err := io.ReadFull(g.batch.out, data); err != nil {
		return object{}, fmt.Errorf("git cat-file %s: %w", rev, err)
	}
	return object{SHA: f[0], Type: f[1], Data: data[:size]}, nil
}

func (g *gitDir) stop() {
	if g.batch != nil {
		g.batch.in.Close()
		_ = g.batch.cmd.Wait() // it was told to end; its exit status says nothing
		g.batch = nil
	}
}

func (g *gitDir) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop()
}

// commitSHA resolves a branch, tag, sha or full ref to a commit, "" if there is none.
func (g *gitDir) commitSHA(rev string) string {
	if rev == "" || strings.HasPrefix(rev, "-") || strings.ContainsAny(rev, " \t\n:^~") {
		return ""
	}
	for _, r := range []string{"refs/heads/" + rev, "refs/tags/" + rev, rev} {
		if o, err := g.object(r + "^{commit}"); err == nil && o.Type == "commit" {
			return o.SHA
		}
	}
	return ""
}

// refs gives every ref below prefix with its object's name.
func (g *gitDir) refs(ctx context.Context, prefix string) (map[string]string, error) {
	out, err := g.run(ctx, "for-each-ref", "--format=%(objectname) %(refname)", prefix)
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		if sha, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			refs[ref] = sha
		}
	}
	return refs, nil
}

// A commitInfo is a parsed commit object.
type commitInfo struct {
	SHA, Tree         string
	Parents           []string
	Author, Committer signature
	Message           string
}

type signature struct {
	Name, Email string
	When        time.Time
}

func (g *gitDir) commit(sha string) (commitInfo, error) {
	g.mu.Lock()
	c, known := g.known[sha]
	g.mu.Unlock()
	if known {
		return c, nil
	}
	o, err := g.object(sha + "^{commit}")
	if err != nil {
		return commitInfo{}, err
	}
	c = commitInfo{SHA: o.SHA}
	head, message, _ := strings.Cut(string(o.Data), "\n\n")
	c.Message = strings.TrimRight(message, "\n")
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author = parseSignature(value)
		case "committer":
			c.Committer = parseSignature(value)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil || len(g.known) >= 10*lineLimit {
		g.known = make(map[string]commitInfo)
	}
	g.known[c.SHA] = c
	return c, nil
}

func parseSignature(s string) signature {
	name, rest, _ := strings.Cut(s, " <")
	email, when, _ := strings.Cut(rest, "> ")
	seconds, _, _ := strings.Cut(when, " ")
	n, _ := strconv.ParseInt(seconds, 10, 64) // git writes a number; anything else is the epoch
	return signature{Name: name, Email: email, When: time.Unix(n, 0).UTC()}
}

// A treeEntry is one entry of a tree.
type treeEntry struct {
	Mode, Type, SHA, Path string
	Size                  int // -1 when it has none
}

func (g *gitDir) tree(ctx context.Context, rev string, recursive bool) ([]treeEntry, error) {
	args := []string{"ls-tree", "-z", "-l"}
	if recursive {
		args = append(args, "-r", "-t")
	}
	out, err := g.run(ctx, append(args, rev)...)
	if err != nil {
		return nil, err
	}
	var list []treeEntry
	for rec := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		meta, path, ok := strings.Cut(rec, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 4 {
			continue
		}
		size, err := strconv.Atoi(f[3])
		if err != nil {
			size = -1
		}
		list = append(list, treeEntry{Mode: f[0], Type: f[1], SHA: f[2], Path: path, Size: size})
	}
	return list, nil
}
