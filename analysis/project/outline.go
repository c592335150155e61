package project

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// An Outline says what a file is about as far as a glance shows.
type Outline struct {
	Imports []interp.Import `json:"imports,omitempty"`
	Keys    []string        `json:"keys,omitempty"` // constant keys of dictionaries
	Torch   bool            `json:"torch,omitempty"`
	// Fills are the keys that the file fills, if Known, which says that it was
	// evaluated.
	Fills []string `json:"fills,omitempty"`
	Known bool     `json:"known,omitempty"`
	// Half and Double are the first signs of these precisions, if they were looked
	// for.
	Half   []Sign `json:"half,omitempty"`
	Double []Sign `json:"double,omitempty"`
}

// maxOutlined bounds the signs of one kind in an outline.
const maxOutlined = 2

var (
	importLine = regexp.MustCompile(`(?m)^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]*))`)
	keyWord    = regexp.MustCompile(`["']([A-Za-z_]\w{1,39})["']\s*[:\]]`)
	word       = regexp.MustCompile(`\w+`)
)

// Glance returns the outline of a text without parsing it.
func Glance(source string) Outline {
	var o Outline
	for _, m := range importLine.FindAllStringSubmatch(source, -1) {
		if m[1] != "" {
			for _, name := range strings.Split(strings.Trim(m[2], "()"), ",") {
				if name = strings.TrimSpace(name); name == "*" {
					o.Imports = append(o.Imports, interp.Import{Module: m[1], Name: name, From: true})
				} else if w := word.FindString(name); w != "" {
					o.Imports = append(o.Imports, interp.Import{Module: m[1], Name: w, From: true})
				}
			}
			continue
		}
		for _, name := range strings.Split(m[3], ",") {
			if name, _, _ = strings.Cut(strings.TrimSpace(name), " "); name != "" {
				o.Imports = append(o.Imports, interp.Import{Name: name})
			}
		}
	}
	seen := map[string]bool{}
	for _, m := range keyWord.FindAllStringSubmatch(source, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			o.Keys = append(o.Keys, m[1])
		}
	}
	o.Torch = slices.ContainsFunc(o.Imports, func(i interp.Import) bool {
		top, _, _ := strings.Cut(i.Module+i.Name, ".")
		return strings.HasPrefix(top, "torch") || strings.HasPrefix(top, "numpy")
	})
	return o
}

// signWords are words of which one stands in every sign of half precision, and
// such as stand in signs of double precision.
var signWords = []string{
	"torch.float64", "torch.double", ".double()", "set_default_dtype", "gradcheck",
	"bfloat16", "float16", "half", "bf16", "fp16", "autocast", "GradScaler", "MixedPrecision", "AmpOptimWrapper", "mp_policy", "precision", "force_fp32", "-dtype", "_dtype",
}

// Hints looks for a sign of half precision in files that have no summary, by
// path with their texts, if nothing else shows one, and notes those of double
// precision on the way. Parsing all of them would
// cost more than it tells.
func (ix *Index) Hints(texts map[string]string) {
	if half, _ := ix.signs(); len(half) > 0 {
		return
	}
	for p, hash := range ix.Files {
		if m := ix.Modules[hash]; m != nil && len(m.Half) > 0 && !offPath(p) {
			return
		}
	}
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		hash := ix.Files[p]
		o := ix.Outlines[hash]
		if ix.Modules[hash] != nil || offPath(p) || !slices.ContainsFunc(signWords, func(w string) bool { return strings.Contains(texts[p], w) }) {
			continue
		}
		ix.Outlines[hash] = o.signed(texts[p])
		if len(ix.Outlines[hash].Half) > 0 {
			return
		}
	}
}

// Of is the outline of a file whose summary is known.
func (o Outline) Of(m *Module) Outline {
	o.Imports, o.Half, o.Double = m.Imports, first(m.Half), first(m.Double)
	o.Fills, o.Known = nil, true
	for _, f := range m.Fills {
		o.Fills = append(o.Fills, f.Key)
	}
	slices.Sort(o.Fills)
	o.Fills = slices.Compact(o.Fills)
	return o
}

// signed is the outline of a text with the signs that its tree shows.
func (o Outline) signed(source string) Outline {
	defer func() { _ = recover() }() // what cannot be parsed shows none
	if tree, err := python.Parse(source); err == nil {
		half, double := signs(tree)
		o.Half, o.Double = first(half), first(double)
	}
	return o
}

// first are the signs that an outline keeps.
func first(list []Sign) []Sign { return list[:min(len(list), maxOutlined)] }

// MaxWanted bounds the files that one review asks for.
const MaxWanted = 400

// Wants names the files whose summaries are missing in the index and would tell
// something of the given files, by path with their texts: those that they
// import, those that import them, those that fill the keys that they name, and
// what these import. The nearest come first, at most 400.
func Wants(files map[string]string, ix *Index) []string {
	if !ix.more(files) {
		return nil
	}
	w := &wanting{ix: ix, outlines: map[string]Outline{}, seen: map[string]bool{}}
	for p, hash := range ix.Files {
		switch m := ix.Modules[hash]; {
		case files[p] != "":
		case m != nil:
			w.outlines[p] = ix.Outlines[hash].Of(m)
		default:
			w.outlines[p] = ix.Outlines[hash]
		}
	}
	for p, text := range files {
		w.outlines[p] = Glance(text)
		w.seen[p] = true
	}
	w.index()
	var near []string
	for p := range files {
		near = append(near, p)
	}
	slices.Sort(near)
	// A key is read where a value is passed on and filled anywhere; what it holds
	// is known only if all its fills are.
	readers := near
	for i := 0; i < 4 && len(near) > 0 && len(w.out) < MaxWanted; i++ {
		next := w.forward(near)
		callers := w.backward(near)
		if i < 2 {
			readers = append(readers, callers...)
			next = append(next, w.filling(readers)...)
			readers = callers
		}
		near = append(next, callers...)
	}
	return w.out[:min(len(w.out), MaxWanted)]
}

// more reports whether the index has files beside the given ones of which it
// has no summary.
func (ix *Index) more(files map[string]string) bool {
	for p, hash := range ix.Files {
		if _, given := files[p]; !given && ix.Modules[hash] == nil {
			return true
		}
	}
	return false
}

type wanting struct {
	ix       *Index
	outlines map[string]Outline
	paths    []string            // sorted
	by       map[string][]string // the files that import a module, by its last name
	seen     map[string]bool
	out      []string
}

// index notes who imports modules of which last name.
func (w *wanting) index() {
	w.by = map[string][]string{}
	for p := range w.outlines {
		w.paths = append(w.paths, p)
	}
	slices.Sort(w.paths)
	for _, p := range w.paths {
		for _, i := range w.outlines[p].Imports {
			for _, name := range []string{last(i.Module), last(i.Name)} {
				if list := w.by[name]; name != "" && (len(list) == 0 || list[len(list)-1] != p) {
					w.by[name] = append(list, p)
				}
			}
		}
	}
}

// take adds a file unless it was seen, and reports whether it was new.
func (w *wanting) take(p string) bool {
	if w.seen[p] {
		return false
	}
	w.seen[p] = true
	if w.ix.Modules[w.ix.Files[p]] == nil {
		w.out = append(w.out, p)
	}
	return true
}

// forward takes what files import.
func (w *wanting) forward(list []string) (next []string) {
	for _, p := range list {
		for _, i := range w.outlines[p].Imports {
			for _, q := range w.targets(p, i) {
				if w.take(q) {
					next = append(next, q)
				}
			}
		}
	}
	return next
}

// targets are the files that an import may read.
func (w *wanting) targets(p string, i interp.Import) (out []string) {
	name := strings.TrimLeft(i.Module, ".")
	dirs := []string{"src"}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
		if dir == "." || dir == "/" {
			break
		}
	}
	if dots := len(i.Module) - len(name); dots > 0 {
		dir := path.Dir(p)
		for range dots - 1 {
			dir = path.Dir(dir)
		}
		dirs = []string{dir}
	}
	if !i.From {
		name = i.Name
	}
	for _, dir := range dirs {
		base := path.Join(dir, strings.ReplaceAll(name, ".", "/"))
		for _, q := range []string{base + ".py", path.Join(base, "__init__.py"), path.Join(base, i.Name+".py"), path.Join(base, i.Name, "__init__.py")} {
			if _, ok := w.outlines[q]; ok {
				out = append(out, q)
			}
		}
	}
	return out
}

// backward takes the files that import given ones.
func (w *wanting) backward(list []string) (next []string) {
	for _, p := range list {
		name := strings.TrimSuffix(path.Base(p), ".py")
		if name == "__init__" {
			name = path.Base(path.Dir(p))
		}
		for _, q := range w.by[name] {
			if !w.seen[q] && slices.ContainsFunc(w.outlines[q].Imports, func(i interp.Import) bool { return slices.Contains(w.targets(q, i), p) }) && w.take(q) {
				next = append(next, q)
			}
		}
	}
	return next
}

// filling takes the files that fill a key which one of the given ones names, or
// may do so for all that is known.
func (w *wanting) filling(list []string) (next []string) {
	keys := map[string]bool{}
	for _, p := range list {
		for _, k := range w.outlines[p].Keys {
			keys[k] = true
		}
	}
	for _, p := range w.paths {
		o := w.outlines[p]
		filled := o.Fills
		if !o.Known && o.Torch {
			filled = o.Keys
		}
		if slices.ContainsFunc(filled, func(k string) bool { return keys[k] }) && w.take(p) {
			next = append(next, p)
		}
	}
	return next
}
