package patch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
)

// gitDiff returns a function that has git print the change from one folder of
// texts to another; a name that is missing on one side was added or deleted.
func gitDiff(t testing.TB, base, head map[string]string) func(flags ...string) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal("git is missing: apt-get install git")
		}
		t.Skip("git is missing: apt-get install git")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	write := func(files map[string]string) {
		for name, text := range files {
			full := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("init", "-q", "-b", "main")
	write(base)
	run("add", "-A")
	run("commit", "-q", "--allow-empty", "-m", "base")
	for name := range base {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(head)
	run("add", "-A")
	return func(flags ...string) string {
		t.Helper()
		return run(append(append([]string{"diff", "--cached"}, flags...), "HEAD")...)
	}
}

func parse(t testing.TB, diff string) []File {
	t.Helper()
	files, err := Parse(strings.NewReader(diff))
	if err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	return files
}

func TestParse(t *testing.T) {
	base := map[string]string{
		"edit.py":        "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n",
		"gone.py":        "one\ntwo\n",
		"d/old name.py":  "1\n2\n3\n4\n5\n6\n7\n8\n",
		"crlf.py":        "a\r\nb\r\n",
		"noeol.py":       "a\nb",
		"pkg/ü \"q\".py": "x\n",
		"bin.dat":        "\x00\x01",
	}
	head := map[string]string{
		"edit.py":        "a\nb\nc\nD\nD2\ne\nf\ng\nh\ni\n",
		"new.py":         "x = 1\n",
		"d/new name.py":  "1\n2\n3\n4\n5\n6\n7\neight\n",
		"crlf.py":        "a\r\nB\r\n",
		"noeol.py":       "a\nb\n",
		"pkg/ü \"q\".py": "y\n",
		"bin.dat":        "\x00\x02",
	}
	diff := gitDiff(t, base, head)
	for _, flags := range [][]string{{"-M"}, {"-M", "--no-prefix"}, {"-M", "--src-prefix=i/", "--dst-prefix=w/"}, {"-M", "-U0"}, {"-M", "--binary"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			got := map[string]File{}
			for _, f := range parse(t, diff(flags...)) {
				got[f.Path()] = f
			}
			if len(got) != 8 {
				t.Errorf("got %d files: %v", len(got), got)
			}
			if f := got["new.py"]; !f.Added || f.OldPath != "" || f.Deleted {
				t.Errorf("added file: %+v", f)
			}
			if f := got["gone.py"]; !f.Deleted || f.NewPath != "" || strings.Join(f.Removed(), "") != "one\ntwo\n" {
				t.Errorf("deleted file: %+v", f)
			}
			if f := got["d/new name.py"]; !f.Renamed || f.OldPath != "d/old name.py" || f.NewPath != "d/new name.py" {
				t.Errorf("renamed file: %+v", f)
			}
			if f := got["bin.dat"]; !f.Binary {
				t.Errorf("binary file: %+v", f)
			}
			for path, f := range got {
				if f.Binary || f.Deleted {
					continue
				}
				text, err := f.Reverse(head[path])
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if want := base[f.OldPath]; text != want {
					t.Errorf("%s reversed is %q, not %q", path, text, want)
				}
			}
		})
	}
}

func TestAnalysisHunks(t *testing.T) {
	base := map[string]string{"x.py": "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n"}
	head := map[string]string{"x.py": "1\n2\n3\n4\nnew\nnew\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n18\n19\n20\n"}
	diff := gitDiff(t, base, head)
	got := parse(t, diff())[0].AnalysisHunks()
	want := []analysis.Hunk{{Start: 2, End: 9, New: []int{5, 6}}, {Start: 15, End: 20}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got = parse(t, diff("-U0"))[0].AnalysisHunks()
	want = []analysis.Hunk{{Start: 5, End: 6, New: []int{5, 6}}, {Start: 18, End: 17}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestPlainUnified reads what difflib and diff -u write.
func TestPlainUnified(t *testing.T) {
	const hunk = "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
	for _, tc := range []struct{ name, diff, want string }{
		{"difflib with prefixes", "--- a/m/x.py\n+++ b/m/x.py\n" + hunk, "m/x.py"},
		{"without prefixes", "--- m/x.py\n+++ m/x.py\n" + hunk, "m/x.py"},
		{"diff -u with times", "--- a/m/x.py\t2024-01-01 00:00:00.000000000 +0000\n+++ b/m/x.py\t2024-01-02 00:00:00.000000000 +0000\n" + hunk, "m/x.py"},
		{"git line without its metadata", "diff --git a/m/x.py b/m/x.py\n--- a/m/x.py\n+++ b/m/x.py\n" + hunk, "m/x.py"},
		{"behind a commit message", "From 123\nSubject: x\n\n---\n m/x.py | 2 +-\n\ndiff --git a/m/x.py b/m/x.py\n--- a/m/x.py\n+++ b/m/x.py\n" + hunk, "m/x.py"},
		{"a folder called b", "--- b/x.py\n+++ b/x.py\n" + hunk + "--- y.py\n+++ y.py\n" + hunk, "b/x.py"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := parse(t, tc.diff)[0]
			if f.Path() != tc.want {
				t.Errorf("path %q, want %q", f.Path(), tc.want)
			}
			if base, err := f.Reverse("a\nc\n"); err != nil || base != "a\nb\n" {
				t.Errorf("reversed: %q, %v", base, err)
			}
		})
	}
}

func TestParseNothing(t *testing.T) {
	if files, err := Parse(strings.NewReader(" \n")); err != nil || len(files) != 0 {
		t.Errorf("blank: %v, %v", files, err)
	}
	if _, err := Parse(strings.NewReader("no diff\n")); err == nil {
		t.Error("a text that is no diff is accepted")
	}
	if _, err := Parse(strings.NewReader("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1 @@\n-a\n+b\n")); err == nil {
		t.Error("a hunk that is cut short is accepted")
	}
}

func TestParseGitHub(t *testing.T) {
	f, err := ParseGitHub("a \"b\".py", "@@ -1,2 +1,3 @@ def f():\n a\n-b\n\\ No newline at end of file\n+c\n+d\n\\ No newline at end of file")
	if err != nil {
		t.Fatal(err)
	}
	if base, err := f.Reverse("a\nc\nd"); err != nil || base != "a\nb" {
		t.Errorf("reversed: %q, %v", base, err)
	}
	if d := cmp.Diff([]analysis.Hunk{{Start: 1, End: 3, New: []int{2, 3}}}, f.AnalysisHunks()); d != "" {
		t.Error(d)
	}
	if f, err := ParseGitHub("x.py", ""); err != nil || len(f.Hunks) != 0 {
		t.Errorf("empty patch: %v, %v", f, err)
	}
	for _, bad := range []string{"hello", "@@ -1 +1 @@\n-a\n+b\ndiff --git a/y b/y\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b"} {
		if _, err := ParseGitHub("x.py", bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestReverseMisfit(t *testing.T) {
	f := parse(t, "--- a/x.py\n+++ b/x.py\n@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n")[0]
	for _, tc := range []struct {
		head string
		line int
		says string
	}{
		{"a\nb\nX\nd\n", 3, `the diff does not fit x.py at line 3: the file has "X", the diff "C"`},
		{"a\nb\nC\n", 4, "the diff does not fit x.py at line 4: the file ends at line 3"},
		{"", 2, "the diff does not fit x.py at line 2: the file ends at line 0"},
		{"a\nb\nC\nd", 4, "the diff does not fit x.py at line 4: one of them has a line end there and the other has not"},
	} {
		_, err := f.Reverse(tc.head)
		var m *Misfit
		if !errors.As(err, &m) || m.Line != tc.line || err.Error() != tc.says {
			t.Errorf("%q: %v", tc.head, err)
		}
	}
	twice := File{NewPath: "x.py", Hunks: append(f.Hunks, f.Hunks...)}
	if _, err := twice.Reverse("a\nb\nC\nd\n"); err == nil {
		t.Error("overlapping hunks are accepted")
	}
}

// TestReverseRandom checks the law: a real git diff reversed on the head gives
// the base, whatever the texts, and the added lines are those of the head.
func TestReverseRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "", " ", "\tx", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "\\ No newline at end of file", "diff --git a/x b/x", "ü", "a\rb", "c\x0cd", "\ufeff", "z\r"}
	text := func() []string {
		lines := make([]string, rnd.IntN(40))
		for i := range lines {
			lines[i] = pieces[rnd.IntN(len(pieces))]
		}
		return lines
	}
	join := func(lines []string) string {
		s := strings.Join(lines, "\n")
		if s != "" && rnd.IntN(4) > 0 {
			s += "\n"
		}
		return s
	}
	base, head := map[string]string{}, map[string]string{}
	for i := range 200 {
		name := fmt.Sprintf("d%d/%d.py", i%7, i)
		lines := text()
		base[name] = join(lines)
		for range rnd.IntN(6) { // edit some lines
			if len(lines) == 0 {
				break
			}
			at := rnd.IntN(len(lines))
			switch rnd.IntN(3) {
			case 0:
				lines = append(lines[:at:at], lines[at+1:]...)
			case 1:
				lines = append(lines[:at:at], append([]string{pieces[rnd.IntN(len(pieces))]}, lines[at:]...)...)
			default:
				lines = append(lines[:at:at], append([]string{"new"}, lines[at+1:]...)...)
			}
		}
		head[name] = join(lines)
	}
	diff := gitDiff(t, base, head)
	for _, flags := range [][]string{{"--no-renames", "--text"}, {"--no-renames", "--text", "-U0"}, {"--text", "-M", "-U1", "--patience"}} {
		files := parse(t, diff(flags...))
		if len(files) < 100 {
			t.Fatalf("only %d files differ", len(files))
		}
		for _, f := range files {
			if f.Deleted {
				continue
			}
			text := head[f.NewPath]
			got, err := f.Reverse(text)
			if err != nil {
				t.Errorf("%s: %v", f.NewPath, err)
				continue
			}
			if got != base[f.OldPath] {
				t.Errorf("%s: reversed to %q, want %q", f.NewPath, got, base[f.OldPath])
			}
			lines := splitLines(text)
			var added, want []string
			for _, h := range f.AnalysisHunks() {
				for _, n := range h.New {
					if n < h.Start || n > h.End {
						t.Errorf("%s: line %d outside %d-%d", f.NewPath, n, h.Start, h.End)
					}
					added = append(added, lines[n-1])
				}
			}
			for _, h := range f.Hunks {
				for _, l := range h.Lines {
					if l.Op == Add {
						want = append(want, l.Text)
					}
				}
			}
			if d := cmp.Diff(want, added); d != "" {
				t.Errorf("%s: %s", f.NewPath, d)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("diff --git a/x.py b/x.py\nindex 1..2 100644\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n", "a\nc\n")
	f.Add("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n", "")
	f.Add("diff --git \"a/\\303\\274\" \"b/\\303\\274\"\nnew file mode 100644\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\n", "")
	f.Add("--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n", "x")
	f.Add("@@ -1 +1 @@\n-a\n+b", "b\n")
	f.Fuzz(func(t *testing.T, diff, head string) {
		files, err := Parse(strings.NewReader(diff))
		if err != nil {
			files = nil
		}
		if g, err := ParseGitHub("x.py", diff); err == nil {
			files = append(files, g)
		}
		for _, file := range files {
			file.AnalysisHunks()
			base, err := file.Reverse(head)
			if err != nil {
				continue
			}
			// Reversing the reversed diff on the base must give the head back.
			back := File{NewPath: file.Path()}
			for _, h := range file.Hunks {
				r := Hunk{OldStart: h.NewStart, OldLines: h.NewLines, NewStart: h.OldStart, NewLines: h.OldLines}
				for _, l := range h.Lines {
					switch l.Op {
					case Add:
						l.Op = Remove
					case Remove:
						l.Op = Add
					}
					r.Lines = append(r.Lines, l)
				}
				back.Hunks = append(back.Hunks, r)
			}
			if again, err := back.Reverse(base); err == nil && again != head {
				t.Errorf("%q -> %q -> %q", head, base, again)
			}
		}
	})
}
