package githubsim

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Side is a side of a diff as GitHub names it.
type Side string

// The sides: the base of the pull request and its head.
const (
	Left  Side = "LEFT"
	Right Side = "RIGHT"
)

// A Hunk is one hunk of a file's diff, with three lines of context.
type Hunk struct {
	Header             string // the whole @@ line
	OldStart, OldLines int
	NewStart, NewLines int
	Lines              []DiffLine
}

// A DiffLine is a line of a hunk.
type DiffLine struct {
	Kind     byte   // ' ' context, '+' added, '-' deleted, '\\' the note on a missing newline
	Old, New int    // 1-based line numbers, 0 on the side that has no such line
	Position int    // lines below the file's first @@ line
	Text     string // without the kind, without the line end
}

// A FileDiff is what a pull request does to one file.
type FileDiff struct {
	Path, PreviousPath   string
	Status               string // "added", "modified", "removed", "renamed" or "changed"
	SHA                  string // blob of the head, of the base for a removed file
	OldMode, Mode        string
	Additions, Deletions int
	Binary               bool
	Patch                string // the hunks, "" when there are none
	Hunks                []Hunk

	oldSHA string
}

// diff compares two commits file by file, with renames, as GitHub's
// pull-request files are made.
func (g *gitDir) diff(ctx context.Context, base, head string) ([]FileDiff, error) {
	// With -z a NUL ends each path, and one more the list; the patch is as always.
	out, err := g.run(ctx, "diff-tree", "-r", "-M50%", "--no-commit-id", "--no-ext-diff", "--no-textconv", "--diff-algorithm=myers",
		"--raw", "-z", "--no-abbrev", "-p", "--unified=3", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", "--inter-hunk-context=0", base, head)
	if err != nil {
		return nil, err
	}
	raw, text, _ := strings.Cut(out, "\x00\x00")
	files, err := parseRaw(raw)
	if err != nil {
		return nil, err
	}
	sections := splitPatch(text)
	next := 0
	take := func() (string, error) {
		if next >= len(sections) {
			return "", fmt.Errorf("git diff: %d sections for %d files", len(sections), len(files))
		}
		next++
		return sections[next-1], nil
	}
	for i := range files {
		f := &files[i]
		section, err := take()
		if err != nil {
			return nil, err
		}
		f.setPatch(section)
		if f.Status == "changed" { // a type change is a removal and an addition in the patch
			if section, err = take(); err != nil {
				return nil, err
			}
			var second FileDiff
			second.setPatch(section)
			f.Patch = strings.TrimPrefix(f.Patch+"\n"+second.Patch, "\n")
			f.Additions += second.Additions
			f.Deletions += second.Deletions
			f.Hunks = parseHunks(f.Patch)
		}
	}
	return files, nil
}

func parseRaw(raw string) ([]FileDiff, error) {
	var files []FileDiff
	fields := strings.Split(strings.TrimSuffix(raw, "\x00"), "\x00")
	for i := 0; i < len(fields) && fields[i] != ""; i++ {
		meta := strings.Fields(strings.TrimPrefix(fields[i], ":"))
		if len(meta) != 5 || i+1 >= len(fields) {
			return nil, fmt.Errorf("git diff: raw record %q", fields[i])
		}
		i++
		f := FileDiff{OldMode: meta[0], Mode: meta[1], oldSHA: meta[2], SHA: meta[3], Path: fields[i]}
		switch meta[4][0] {
		case 'A':
			f.Status = "added"
		case 'D':
			f.Status, f.SHA = "removed", meta[2]
		case 'M':
			f.Status = "modified"
		case 'T':
			f.Status = "changed"
		case 'R':
			f.Status, f.PreviousPath = "renamed", fields[i]
			i++
			if i >= len(fields) {
				return nil, fmt.Errorf("git diff: rename of %q without a new name", f.PreviousPath)
			}
			f.Path = fields[i]
		default:
			return nil, fmt.Errorf("git diff: status %q", meta[4])
		}
		files = append(files, f)
	}
	return files, nil
}

// splitPatch cuts a patch at its "diff --git" lines. Lines of content never
// start so: they have a kind in front.
func splitPatch(text string) []string {
	var sections []string
	const mark = "diff --git "
	for text != "" {
		end := strings.Index(text[1:], "\n"+mark)
		if end < 0 {
			return append(sections, text)
		}
		sections = append(sections, text[:end+2])
		text = text[end+2:]
	}
	return sections
}

func (f *FileDiff) setPatch(section string) {
	if i := strings.Index(section, "\n@@ "); i >= 0 {
		f.Patch = strings.TrimSuffix(section[i+1:], "\n")
		f.Hunks = parseHunks(f.Patch)
		for _, h := range f.Hunks {
			for _, l := range h.Lines {
				switch l.Kind {
				case '+':
					f.Additions++
				case '-':
					f.Deletions++
				}
			}
		}
		return
	}
	f.Binary = strings.Contains(section, "\nBinary files ") || strings.HasPrefix(section, "Binary files ")
}

func parseHunks(patch string) []Hunk {
	var hunks []Hunk
	position := -1
	var left, right int      // next line numbers
	var oldLeft, newLeft int // lines that the hunk still owes: content may look like a header
	for line := range strings.SplitSeq(patch, "\n") {
		position++
		if oldLeft == 0 && newLeft == 0 && strings.HasPrefix(line, "@@ ") {
			h := Hunk{Header: line}
			h.OldStart, h.OldLines, h.NewStart, h.NewLines = parseHeader(line)
			left, right, oldLeft, newLeft = h.OldStart, h.NewStart, h.OldLines, h.NewLines
			hunks = append(hunks, h)
			continue
		}
		if len(hunks) == 0 || line == "" {
			continue
		}
		h := &hunks[len(hunks)-1]
		l := DiffLine{Kind: line[0], Text: line[1:], Position: position}
		switch l.Kind {
		case ' ':
			l.Old, l.New = left, right
			left, right, oldLeft, newLeft = left+1, right+1, oldLeft-1, newLeft-1
		case '-':
			l.Old = left
			left, oldLeft = left+1, oldLeft-1
		case '+':
			l.New = right
			right, newLeft = right+1, newLeft-1
		}
		h.Lines = append(h.Lines, l)
	}
	return hunks
}

// parseHeader reads "@@ -1,2 +3,4 @@ …"; a missing count is 1.
func parseHeader(line string) (oldStart, oldLines, newStart, newLines int) {
	f := strings.Fields(line)
	if len(f) < 3 {
		return 0, 0, 0, 0
	}
	pair := func(s string) (int, int) {
		a, b, ok := strings.Cut(s[1:], ",")
		start, _ := strconv.Atoi(a) // git writes numbers here
		if !ok {
			return start, 1
		}
		n, _ := strconv.Atoi(b)
		return start, n
	}
	oldStart, oldLines = pair(f[1])
	newStart, newLines = pair(f[2])
	return oldStart, oldLines, newStart, newLines
}

func (l DiffLine) number(side Side) int {
	if side == Left {
		return l.Old
	}
	return l.New
}

// find gives the hunk and the line in it that carry a line of one side, -1 if
// the diff does not show that line.
func (f *FileDiff) find(side Side, line int) (hunk, index int) {
	if line <= 0 {
		return -1, -1
	}
	for i, h := range f.Hunks {
		for j, l := range h.Lines {
			if l.number(side) == line {
				return i, j
			}
		}
	}
	return -1, -1
}

// atPosition gives the side and line that a diff position stands for.
func (f *FileDiff) atPosition(position int) (Side, int, bool) {
	for _, h := range f.Hunks {
		for _, l := range h.Lines {
			if l.Position != position {
				continue
			}
			if l.Kind == '-' {
				return Left, l.Old, true
			}
			return Right, l.New, l.New > 0
		}
	}
	return "", 0, false
}

// hunkText is GitHub's diff_hunk: the header and the lines down to index.
func (f *FileDiff) hunkText(hunk, index int) string {
	var b strings.Builder
	h := f.Hunks[hunk]
	b.WriteString(h.Header)
	for _, l := range h.Lines[:index+1] {
		b.WriteByte('\n')
		b.WriteByte(l.Kind)
		b.WriteString(l.Text)
	}
	return b.String()
}

// A lineMap tells where the lines of one version of a file went in another.
type lineMap struct{ hunks []Hunk }

// lines maps the lines start..end; ok is false when one of them was changed
// or deleted, or something was inserted between them.
func (m lineMap) lines(start, end int) (newStart, newEnd int, ok bool) {
	shift := 0
	for _, h := range m.hunks { // made with no context: each hunk is one change
		if h.OldLines == 0 { // an insertion after line OldStart
			if h.OldStart >= end {
				break
			}
			if h.OldStart >= start {
				return 0, 0, false
			}
		} else {
			if h.OldStart > end {
				break
			}
			if h.OldStart+h.OldLines > start {
				return 0, 0, false
			}
		}
		shift += h.NewLines - h.OldLines
	}
	return start + shift, end + shift, true
}

// lineMap compares two blobs.
func (g *gitDir) lineMap(ctx context.Context, oldBlob, newBlob string) (lineMap, error) {
	if oldBlob == newBlob {
		return lineMap{}, nil
	}
	out, err := g.run(ctx, "diff", "--no-ext-diff", "--no-textconv", "--text", "--unified=0", "--inter-hunk-context=0", oldBlob, newBlob)
	if err != nil {
		return lineMap{}, err
	}
	var f FileDiff
	f.setPatch(out)
	return lineMap{hunks: f.Hunks}, nil
}

// lines gives the lines of a text without their ends.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			if !yield(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")) {
				return
			}
		}
	}
}
