package githubsim

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Objects are written here, one file each as git has them: a commit by git
// itself takes six processes and one for every file.
// https://git-scm.com/book/en/v2/Git-Internals-Git-Objects

// write stores an object and gives its name.
func (g *gitDir) write(kind string, data []byte) (string, error) {
	whole := append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...)
	sum := sha1.Sum(whole)
	sha := hex.EncodeToString(sum[:])
	dir := filepath.Join(g.path, "objects", sha[:2])
	file := filepath.Join(dir, sha[2:])
	if _, err := os.Stat(file); err == nil {
		return sha, nil
	}
	var packed bytes.Buffer
	z := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(z)
	z.Reset(&packed)
	_, err := z.Write(whole)
	if err = errors.Join(err, z.Close(), os.MkdirAll(dir, 0o755)); err != nil {
		return "", fmt.Errorf("write a %s: %w", kind, err)
	}
	if err := replaceFile(file, packed.Bytes(), 0o444); err != nil {
		return "", fmt.Errorf("write a %s: %w", kind, err)
	}
	return sha, nil
}

// deflaters are kept, as making one costs more than an object.
var deflaters = sync.Pool{New: func() any {
	z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed) // a level that exists
	return z
}}

// replaceFile puts a file in its place as a whole.
func replaceFile(file string, data []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(file), "tmp_obj_*") // a name that git removes when it cleans up
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Chmod(mode), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// A change is what a commit does to one file.
type change struct {
	Path   string
	Data   []byte // the whole new content
	Mode   string // "" keeps the mode the file has, or is 100644
	Delete bool
}

// writeCommit makes a commit with the given changes on top of parent ("" for
// the first one) and gives its name; no ref moves.
func (g *gitDir) writeCommit(parent string, changes []change, message string, author, committer signature) (string, error) {
	tree, err := g.writeTree(parent, changes)
	if err != nil {
		return "", err
	}
	var parents []string
	if parent != "" {
		parents = []string{parent}
	}
	return g.commitTree(tree, parents, message, author, committer)
}

// writeTree makes the tree of a revision ("" for an empty one) with changes.
func (g *gitDir) writeTree(rev string, changes []change) (string, error) {
	if rev != "" {
		rev += "^{tree}"
	}
	sha, err := g.changeTree(rev, changes)
	if sha == "" && err == nil {
		sha, err = g.write("tree", nil)
	}
	return sha, err
}

// changeTree makes the tree at rev with changes, whose paths begin there; "" if
// nothing is left.
func (g *gitDir) changeTree(rev string, changes []change) (string, error) {
	var entries []treeEntry
	if rev != "" {
		var err error
		if entries, err = g.entries(rev); err != nil {
			return "", err
		}
	}
	below := make(map[string][]change) // of folders
	for _, c := range changes {
		name, rest, deeper := strings.Cut(c.Path, "/")
		if deeper {
			c.Path = rest
			below[name] = append(below[name], c)
			continue
		}
		i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.Path == name })
		if c.Delete {
			if i >= 0 && entries[i].Type != "tree" {
				entries = slices.Delete(entries, i, i+1)
			}
			continue
		}
		blob, err := g.write("blob", c.Data)
		if err != nil {
			return "", err
		}
		if i < 0 {
			i, entries = len(entries), append(entries, treeEntry{Path: name, Mode: "100644"})
		} else if entries[i].Type == "tree" {
			entries[i].Mode = "100644"
		}
		entries[i].SHA, entries[i].Type = blob, "blob"
		if c.Mode != "" {
			entries[i].Mode = c.Mode
		}
	}
	for name, list := range below {
		var err error
		if entries, err = g.changeFolder(entries, name, list); err != nil {
			return "", err
		}
	}
	return g.writeEntries(entries)
}

// changeFolder makes one folder among entries with changes.
func (g *gitDir) changeFolder(entries []treeEntry, name string, changes []change) ([]treeEntry, error) {
	i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.Path == name })
	was := ""
	if i >= 0 && entries[i].Type == "tree" {
		was = entries[i].SHA
	}
	sha, err := g.changeTree(was, changes)
	switch {
	case err != nil:
		return nil, err
	case sha == "" && was == "": // nothing was there and nothing came
	case sha == "":
		entries = slices.Delete(entries, i, i+1)
	case i < 0:
		entries = append(entries, treeEntry{Path: name, Mode: "040000", Type: "tree", SHA: sha})
	default:
		entries[i] = treeEntry{Path: name, Mode: "040000", Type: "tree", SHA: sha}
	}
	return entries, nil
}

// writeEntries stores a tree in git's order; "" if it is empty.
func (g *gitDir) writeEntries(entries []treeEntry) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	key := func(e treeEntry) string {
		if e.Type == "tree" {
			return e.Path + "/"
		}
		return e.Path
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(key(a), key(b)) })
	var data []byte
	for _, e := range entries {
		id, err := hex.DecodeString(e.SHA)
		if err != nil {
			return "", fmt.Errorf("write a tree: %s: %w", e.Path, err)
		}
		data = append(fmt.Appendf(data, "%s %s\x00", strings.TrimPrefix(e.Mode, "0"), e.Path), id...)
	}
	return g.write("tree", data)
}

// entries reads one tree; sizes are not among what it holds.
func (g *gitDir) entries(rev string) ([]treeEntry, error) {
	o, err := g.object(rev)
	if err != nil {
		return nil, err
	}
	if o.Type != "tree" {
		return nil, errNoObject
	}
	var list []treeEntry
	for data := o.Data; len(data) > 0; {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, named := strings.Cut(string(head), " ")
		if !ok || !named || len(rest) < sha1.Size {
			return nil, fmt.Errorf("tree %s: damaged", o.SHA)
		}
		e := treeEntry{Mode: mode, Type: "blob", SHA: hex.EncodeToString(rest[:sha1.Size]), Path: name, Size: -1}
		switch mode {
		case "40000":
			e.Mode, e.Type = "040000", "tree"
		case "160000":
			e.Type = "commit" // a submodule
		}
		list, data = append(list, e), rest[sha1.Size:]
	}
	return list, nil
}

// commitTree makes a commit of a tree.
func (g *gitDir) commitTree(tree string, parents []string, message string, author, committer signature) (string, error) {
	text := fmt.Appendf(nil, "tree %s\n", tree)
	for _, p := range parents {
		text = fmt.Appendf(text, "parent %s\n", p)
	}
	text = fmt.Appendf(text, "author %s\ncommitter %s\n\n%s\n", author.line(), committer.line(), message)
	return g.write("commit", text)
}

// line is a signature as a commit has it.
func (g signature) line() string {
	plain := strings.NewReplacer("<", "", ">", "", "\n", "")
	return fmt.Sprintf("%s <%s> %d +0000", plain.Replace(g.Name), plain.Replace(g.Email), g.When.Unix())
}
