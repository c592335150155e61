package githubsim

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestObjects makes random changes and asks git what they came to: the same
// trees as git's own index makes of them, and nothing that git finds fault with.
func TestObjects(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.git")
	ctx := t.Context()
	git := func(stdin []byte, env []string, args ...string) string {
		t.Helper()
		out, err := runGit(ctx, dir, stdin, env, args...)
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	if _, err := runGit(ctx, "", nil, nil, "init", "-q", "--bare", dir); err != nil {
		t.Fatal(err)
	}
	g := &gitDir{path: dir}
	t.Cleanup(g.close)
	who := signature{Name: "a <b>\nc", Email: "a@b", When: time.Unix(1_700_000_000, 0)}
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "test-index")}
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "a.py", "a/b.py", "a/c/d.py", "a-b/c.py", "z/a.py", "ä ö.py", "m.py", "m/m/m.py"}
	parent := ""
	for range 8 {
		var changes []change
		for _, name := range names {
			switch random.IntN(4) {
			case 0:
				changes = append(changes, change{Path: name, Data: fmt.Append(nil, random.IntN(5)), Mode: []string{"", "100755", "120000"}[random.IntN(3)]})
			case 1:
				changes = append(changes, change{Path: name, Delete: true})
			}
		}
		// A file and a folder cannot have one name.
		adds := func(path string) bool {
			return slices.ContainsFunc(changes, func(c change) bool { return c.Path == path && !c.Delete })
		}
		changes = slices.DeleteFunc(changes, func(c change) bool { return !c.Delete && strings.HasPrefix(c.Path, "a/") && adds("a") })
		sha, err := g.writeCommit(parent, changes, "Change", who, who)
		must(t, err)
		for _, c := range changes { // git's own way, one at a time
			if c.Delete {
				git(fmt.Appendf(nil, "0 %040d\t%s\x00", 0, c.Path), index, "update-index", "-z", "--index-info")
				continue
			}
			blob := git(c.Data, nil, "hash-object", "-w", "--stdin")
			mode, was := c.Mode, git(nil, index, "ls-files", "-s", "--", ":(literal)"+c.Path)
			if mode == "" {
				mode = "100644"
				if strings.HasSuffix(was, "\t"+c.Path) || strings.HasSuffix(was, `"`) {
					mode = was[:6]
				}
			}
			git(nil, index, "update-index", "--add", "--replace", "--cacheinfo", mode+","+blob+","+c.Path)
		}
		if got, want := git(nil, nil, "rev-parse", sha+"^{tree}"), git(nil, index, "write-tree"); got != want {
			t.Fatalf("%+v\n%s\nwant\n%s", changes, git(nil, nil, "ls-tree", "-r", got), git(nil, nil, "ls-tree", "-r", want))
		}
		parent = sha
	}
	if out := git(nil, nil, "fsck", "--strict", "--no-dangling"); out != "" {
		t.Error(out)
	}
	if got := git(nil, nil, "log", "-1", "--format=%an %ae %at %B", parent); got != "a bc a@b 1700000000 Change" {
		t.Errorf("commit %q", got)
	}
}

// TestHistory compares walks along a history with git's answers, in a history
// with merges, two roots and a line longer than is walked.
func TestHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.git")
	ctx := t.Context()
	if _, err := runGit(ctx, "", nil, nil, "init", "-q", "--bare", dir); err != nil {
		t.Fatal(err)
	}
	g := &gitDir{path: dir}
	t.Cleanup(g.close)
	tree, err := g.writeTree("", nil)
	must(t, err)
	n := 0
	commit := func(parents ...string) string {
		n++
		sha, err := g.commitTree(tree, parents, fmt.Sprint(n), signature{Name: "a", Email: "a", When: time.Unix(int64(n), 0)}, signature{Name: "a", Email: "a", When: time.Unix(int64(n), 0)})
		must(t, err)
		return sha
	}
	root := commit()
	left, right := commit(root), commit(root)
	merge := commit(left, right)
	top, other := commit(merge), commit()
	long := root
	for range lineLimit + 5 {
		long = commit(long)
	}
	all := []string{left, right, top, other, long}
	for _, a := range all {
		for _, b := range all {
			want, _ := g.run(ctx, "merge-base", a, b) // none is an error
			if got := g.mergeBase(ctx, a, b); got != strings.TrimSpace(want) {
				t.Errorf("merge base of %s and %s: %q, want %q", a, b, got, want)
			}
			_, err := g.run(ctx, "merge-base", "--is-ancestor", a, b)
			if got := g.isAncestor(ctx, a, b); got != (err == nil) {
				t.Errorf("%s is an ancestor of %s: %t", a, b, got)
			}
			text, err := g.run(ctx, "rev-list", "--reverse", "--topo-order", b, "^"+a)
			must(t, err)
			list, err := g.commits(ctx, a, b)
			must(t, err)
			var got []string
			for _, c := range list {
				got = append(got, c.SHA)
			}
			if want := strings.Fields(text); !slices.Equal(got, want) {
				t.Errorf("commits of %s..%s: %d, want %d", a, b, len(got), len(want))
			}
		}
	}
}
