// Package patch reads diffs: the output of git diff and of other tools that
// write unified diffs, and the header-less patch text that GitHub gives for one
// file. It answers what the analysis asks of a diff: which head lines it shows
// and adds, and what the file was before.
//
// Lines are what git and GitHub call lines: they end in "\n" and nowhere else,
// so a "\r" before it belongs to the line, and a form feed or a lone "\r" ends
// nothing.
//
// It does not apply patches forward, does not look for a place where a patch
// that has drifted might fit, does not decode binary patches and does not read
// combined diffs of merges ("diff --cc").
package patch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"github.com/dtypebot/dtypebot/analysis"
)

// A File is what a diff says of one file.
type File struct {
	// OldPath and NewPath are slash-separated paths without the prefixes "a/"
	// and "b/". OldPath is empty for an added file, NewPath for a deleted one.
	OldPath, NewPath string

	Added, Deleted bool
	// Renamed and Copied say that OldPath is another path than NewPath, and
	// that git saw them as one file.
	Renamed, Copied bool
	// Binary says that the diff does not show the change as text.
	Binary bool
	// Mode is the mode at the head as far as the diff tells it, else 0. It
	// tells symbolic links, whose "text" is their target.
	Mode fs.FileMode

	// Hunks are in the order of the diff; they are empty when only the name or
	// the mode changed.
	Hunks []Hunk
}

// A Hunk is one "@@" section. Positions are 1-based; when a side has no lines,
// its position is that of the line before.
type Hunk struct {
	OldStart, OldLines int
	NewStart, NewLines int
	Lines              []Line
}

// An Op says on which sides of the diff a line stands.
type Op byte

// The operations, written as in a diff.
const (
	Context Op = ' '
	Add     Op = '+'
	Remove  Op = '-'
)

// A Line is one line of a hunk. Text has its line end, if it has one.
type Line struct {
	Op   Op
	Text string
}

// Path returns the path at the head, or the old one of a deleted file.
func (f File) Path() string {
	if f.NewPath != "" {
		return f.NewPath
	}
	return f.OldPath
}

// Parse reads a diff of any number of files. Text before, between and behind
// them (commit messages, mail headers) is passed over. A text in which there is
// no diff at all is an error unless it is blank.
func Parse(r io.Reader) ([]File, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read diff: %w", err)
	}
	text, git := prefixed(text)
	parsed, _, err := gitdiff.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read diff: %s", strings.TrimPrefix(err.Error(), "gitdiff: "))
	}
	if len(parsed) == 0 && len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("read diff: there is no diff in it")
	}
	files := make([]File, len(parsed))
	strip := !git && len(parsed) > 0
	for i, p := range parsed {
		files[i] = convert(p)
		strip = strip && hasTreePrefix(files[i].Path())
	}
	if strip {
		// Plain unified diffs (diff -u, difflib) may or may not bear git's
		// prefixes. A folder that is really called "b" is told from the prefix
		// by some other file that is not in it.
		for i := range files {
			files[i].OldPath = dropTreePrefix(files[i].OldPath)
			files[i].NewPath = dropTreePrefix(files[i].NewPath)
		}
	}
	return files, nil
}

// ParseGitHub reads the patch field that GitHub gives for one file: hunks
// without any header. An empty patch (a rename, a binary or too large file) is
// a file without hunks. Whether the file was added, renamed or deleted is not
// in the patch; the caller sets those fields.
func ParseGitHub(path, patch string) (File, error) {
	f := File{OldPath: path, NewPath: path}
	if patch == "" {
		return f, nil
	}
	if !strings.HasPrefix(patch, "@@ -") {
		return f, fmt.Errorf("read patch of %s: it does not begin with a hunk", path)
	}
	if !strings.HasSuffix(patch, "\n") {
		patch += "\n"
	}
	parsed, _, err := gitdiff.Parse(strings.NewReader("diff --git a/f b/f\n--- a/f\n+++ b/f\n" + patch))
	if err != nil {
		return f, fmt.Errorf("read patch of %s: %s", path, strings.TrimPrefix(err.Error(), "gitdiff: "))
	}
	if len(parsed) != 1 {
		return f, fmt.Errorf("read patch of %s: it is about %d files", path, len(parsed))
	}
	f.Hunks = convert(parsed[0]).Hunks
	return f, nil
}

func convert(p *gitdiff.File) File {
	f := File{
		OldPath: p.OldName, NewPath: p.NewName,
		Added: p.IsNew, Deleted: p.IsDelete, Renamed: p.IsRename, Copied: p.IsCopy,
		Binary: p.IsBinary, Mode: p.NewMode,
	}
	if f.Mode == 0 {
		f.Mode = p.OldMode // git names the mode once when it did not change
	}
	if f.Added {
		f.OldPath = ""
	}
	if f.Deleted {
		f.NewPath = ""
	}
	f.Hunks = make([]Hunk, len(p.TextFragments))
	for i, t := range p.TextFragments {
		h := Hunk{
			OldStart: int(t.OldPosition), OldLines: int(t.OldLines),
			NewStart: int(t.NewPosition), NewLines: int(t.NewLines),
			Lines: make([]Line, len(t.Lines)),
		}
		for j, l := range t.Lines {
			op := Context
			switch l.Op {
			case gitdiff.OpAdd:
				op = Add
			case gitdiff.OpDelete:
				op = Remove
			}
			h.Lines[j] = Line{op, l.Line}
		}
		f.Hunks[i] = h
	}
	return f
}

// prefixed gives the headers of diffs made with diff.noprefix the prefixes that
// the parser drops, and reports whether there is any git header.
func prefixed(text []byte) (_ []byte, git bool) {
	const head = "diff --git "
	if !bytes.HasPrefix(text, []byte(head)) && !bytes.Contains(text, []byte("\n"+head)) {
		return text, false
	}
	lines := strings.SplitAfter(string(text), "\n")
	out := make([]byte, 0, len(text)+64)
	bare := false // inside the header of a file without prefixes
	for i, s := range lines {
		switch {
		case strings.HasPrefix(s, head):
			names := strings.TrimRight(s[len(head):], "\r\n")
			from, to, ok := bareNames(names, lines[i+1:])
			if bare = ok; bare {
				s = head + withPrefix("a/", from) + " " + withPrefix("b/", to) + "\n"
			}
		case strings.HasPrefix(s, "@@ "):
			bare = false
		case bare && strings.HasPrefix(s, "--- ") && !strings.HasPrefix(s, "--- /dev/null"):
			s = "--- " + withPrefix("a/", s[4:])
		case bare && strings.HasPrefix(s, "+++ ") && !strings.HasPrefix(s, "+++ /dev/null"):
			s = "+++ " + withPrefix("b/", s[4:])
		}
		out = append(out, s...)
	}
	return out, true
}

// bareNames splits the names of a "diff --git" line that have no prefixes. With
// prefixes the two names of one file differ, and those of a rename differ from
// the names in the lines that follow.
func bareNames(names string, rest []string) (from, to string, ok bool) {
	if half := len(names) / 2; len(names)%2 == 1 && names[half] == ' ' && names[:half] == names[half+1:] && half > 0 {
		return names[:half], names[:half], true
	}
	for _, l := range rest {
		l = strings.TrimRight(l, "\r\n")
		switch kind, name, _ := strings.Cut(l, " "); kind {
		case "similarity", "dissimilarity", "old", "new", "index":
		case "rename", "copy":
			if name, ok := strings.CutPrefix(name, "from "); ok {
				from = name
			} else if name, ok := strings.CutPrefix(name, "to "); ok {
				to = name
			}
		default:
			return from, to, from != "" && names == from+" "+to
		}
	}
	return from, to, from != "" && names == from+" "+to
}

// withPrefix puts a prefix before a name that may be quoted.
func withPrefix(prefix, name string) string {
	if strings.HasPrefix(name, `"`) {
		return `"` + prefix + name[1:]
	}
	return prefix + name
}

func hasTreePrefix(p string) bool { return strings.HasPrefix(p, "a/") || strings.HasPrefix(p, "b/") }

func dropTreePrefix(p string) string {
	if hasTreePrefix(p) {
		return p[2:]
	}
	return p
}

// Reverse returns the file as it was before the change, given its text at the
// head. The error of a diff that does not belong to this text is a *Misfit.
func (f File) Reverse(head string) (string, error) {
	if f.Binary {
		return "", fmt.Errorf("reverse diff of %s: the file is binary", f.Path())
	}
	lines := splitLines(head)
	var base strings.Builder
	base.Grow(len(head))
	next := 0 // index of the first head line that is not copied yet
	for _, h := range f.Hunks {
		at := h.NewStart - 1
		if h.NewLines == 0 {
			at = h.NewStart
		}
		if at < next {
			return "", &Misfit{Path: f.Path(), Line: h.NewStart, Reason: "its hunks overlap or are out of order"}
		}
		if at > len(lines) {
			return "", &Misfit{Path: f.Path(), Line: at + 1, Reason: fmt.Sprintf("the file ends at line %d", len(lines))}
		}
		for _, l := range lines[next:at] {
			base.WriteString(l)
		}
		next = at
		for _, l := range h.Lines {
			if l.Op != Remove {
				if next >= len(lines) {
					return "", &Misfit{Path: f.Path(), Line: next + 1, Reason: fmt.Sprintf("the file ends at line %d", len(lines)), Want: l.Text}
				}
				if lines[next] != l.Text {
					return "", &Misfit{Path: f.Path(), Line: next + 1, Want: l.Text, Got: lines[next]}
				}
				next++
			}
			if l.Op != Add {
				base.WriteString(l.Text)
			}
		}
	}
	for _, l := range lines[next:] {
		base.WriteString(l)
	}
	return base.String(), nil
}

// A Misfit says where a diff does not fit the text it is reversed on.
type Misfit struct {
	Path      string
	Line      int    // 1-based line of the head
	Want, Got string // the line in the diff and in the file, if it is about one
	Reason    string // else why
}

func (m *Misfit) Error() string {
	where := fmt.Sprintf("the diff does not fit %s at line %d: ", m.Path, m.Line)
	if m.Reason != "" {
		return where + m.Reason
	}
	got, want := strings.TrimSuffix(m.Got, "\n"), strings.TrimSuffix(m.Want, "\n")
	if got == want {
		return where + "one of them has a line end there and the other has not"
	}
	return where + fmt.Sprintf("the file has %s, the diff %s", clip(got), clip(want))
}

// clip quotes a line and shortens it for a message.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// AnalysisHunks returns the head lines that each hunk shows, its context among
// them, and the lines that it adds.
func (f File) AnalysisHunks() []analysis.Hunk {
	out := make([]analysis.Hunk, len(f.Hunks))
	for i, h := range f.Hunks {
		start := h.NewStart
		if h.NewLines == 0 {
			start++ // the position is that of the line before
		}
		a := analysis.Hunk{Start: start, End: start + h.NewLines - 1}
		line := start
		for _, l := range h.Lines {
			if l.Op == Add {
				a.New = append(a.New, line)
			}
			if l.Op != Remove {
				line++
			}
		}
		out[i] = a
	}
	return out
}

// Removed returns the lines that the diff takes away, with their line ends.
func (f File) Removed() []string {
	var out []string
	for _, h := range f.Hunks {
		for _, l := range h.Lines {
			if l.Op == Remove {
				out = append(out, l.Text)
			}
		}
	}
	return out
}

// splitLines splits after every "\n"; the parts joined are the text.
func splitLines(text string) []string {
	out := make([]string, 0, strings.Count(text, "\n")+1)
	for line := range strings.Lines(text) {
		out = append(out, line)
	}
	return out
}
