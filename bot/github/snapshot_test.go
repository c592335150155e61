package github

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/analysis/check"
)

// The hashes are those of git hash-object.
func TestMatches(t *testing.T) {
	const (
		sha1Hello   = "ce013625030ba8dba906f756967f9e9ca394464a"
		sha256Hello = "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"
		sha1Empty   = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
	)
	if !matches("hello\n", sha1Hello) || !matches("", sha1Empty) || !matches("hello\n", sha256Hello) {
		t.Error("a right hash is refused")
	}
	if matches("hello", sha1Hello) || matches("hello\r\n", sha1Hello) || matches("", "") || matches("hello\n", sha1Hello[:39]) {
		t.Error("a wrong hash is taken")
	}
}

func TestCommitOf(t *testing.T) {
	head := strings.Repeat("0a", 20)
	for address, want := range map[string]string{
		"https://api.github.com/repos/o/n/contents/a.py?ref=" + head:            head,
		"https://api.github.com/repos/o/n/contents/ref%3Dx.py?ref=" + head:      head,
		"https://api.github.com/repos/o/n/contents/a.py?ref=main":               "",
		"https://api.github.com/repos/o/n/contents/a.py?ref=" + head[:39] + "/": "",
		"https://api.github.com/repos/o/n/contents/a.py":                        "",
		":": "",
		"":  "",
	} {
		if got := commitOf(&github.CommitFile{ContentsURL: &address}); got != want {
			t.Errorf("commitOf(%q) = %q, want %q", address, got, want)
		}
	}
	address := "https://api.github.com/repos/o/n/contents/a.py?ref=" + head
	if got := commitOf(&github.CommitFile{ContentsURL: &address, Status: github.String("removed")}); got != "" {
		t.Errorf("a removed file's commit %q was taken for the head", got)
	}
}

func TestPython(t *testing.T) {
	file := func(name, status string, changes int, patch string) *github.CommitFile {
		f := &github.CommitFile{Filename: &name, Status: &status, Changes: &changes, SHA: github.String(strings.Repeat("1", 40))}
		if patch != "" {
			f.Patch = &patch
		}
		return f
	}
	list := []*github.CommitFile{
		file("a.py", "added", 1, "@@"),
		file("b.py", "modified", 1, "@@"),
		file("c.py", "renamed", 1, "@@"),
		file("d.py", "renamed", 0, ""),
		file("e.py", "removed", 1, "@@"),
		file("f.PY.txt", "added", 1, "@@"),
		file("g.pyi", "added", 1, "@@"),
		file("h.py", "modified", 0, ""), // mode only
		file("i.py", "modified", 900, ""),
		file("j.ipynb", "modified", 900, ""),
		file("k.ipynb", "removed", 1, ""),
	}
	var names []string
	files, skipped := python(list)
	for _, f := range files {
		names = append(names, f.path)
	}
	if got, want := strings.Join(names, " "), "a.py b.py c.py i.py"; got != want {
		t.Errorf("python files %q, want %q; skipped %v", got, want, skipped)
	}
	if want := []check.Skip{{Path: "g.pyi", Reason: "a stub file, it has no code"}, {Path: "j.ipynb", Reason: "a notebook"}}; !slices.Equal(skipped, want) {
		t.Errorf("skipped %v, want %v", skipped, want)
	}
	if !files[0].added || files[1].added || !files[1].hasPatch || files[3].hasPatch {
		t.Errorf("files %+v", files)
	}

	list = nil
	for range maxFiles + 2 {
		list = append(list, file("x.py", "added", 1, "@@"))
	}
	files, skipped = python(list)
	if len(files) != maxFiles || len(skipped) != 2 || skipped[0] != (check.Skip{Path: "x.py", Reason: "more than 500 Python files"}) {
		t.Errorf("%d files, skipped %v", len(files), skipped)
	}
}
