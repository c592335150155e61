package project

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// Version is the version of what an encoded Index holds. A change of what a
// Module says, of the evaluator included, is a new version: old indexes are
// built again.
const Version = 3

// An Index is what is known of the Python files of one revision. It is a value:
// whoever changes it makes a new one.
type Index struct {
	Version  int    `json:"version"`
	Revision string `json:"revision,omitempty"` // the commit, "" for a folder
	// Files are the Python files by path, with the hash of their blob.
	Files map[string]string `json:"files"`
	// Outlines tell what files are about, by blob.
	Outlines map[string]Outline `json:"outlines,omitempty"`
	// Modules are the summaries by blob, of those files that were evaluated.
	Modules map[string]*Module `json:"-"`
	// Configs are the configurations and requirements that say something, by path.
	Configs map[string]Config `json:"configs,omitempty"`
	// Unread are Python files that were left out, and why; at most maxUnread.
	// Omitted counts the others.
	Unread  []Unread `json:"unread,omitempty"`
	Omitted int      `json:"omitted,omitempty"`
	// Incomplete says why the files are not all of the revision, "" if they are.
	Incomplete string `json:"incomplete,omitempty"`
	// Cut says that this index, cut out of a larger one, lacks files that have to
	// do with those that it was cut out for, as there are too many.
	Cut bool `json:"cut,omitempty"`
	// Others counts the files that this index, cut out of a larger one, lacks.
	Others int `json:"others,omitempty"`
	// Half and Double are the signs of the files of which this index, cut out of
	// a larger one, has no summary.
	Half   []interp.Place `json:"half,omitempty"`
	Double []interp.Place `json:"double,omitempty"`
}

// An Unread is a file that was left out.
type Unread struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// maxUnread bounds the files that are named as left out.
const maxUnread = 100

// NewIndex returns an index without files.
func NewIndex() *Index {
	return &Index{
		Version: Version, Files: map[string]string{}, Outlines: map[string]Outline{}, Modules: map[string]*Module{}, Configs: map[string]Config{},
	}
}

// Seen reports whether the signs of all Python files of the repository are known,
// and there are others than those that are looked at. Files that are left out may
// show what nobody saw.
func (ix *Index) Seen() bool {
	return len(ix.Files)+ix.Others > 0 && len(ix.Unread)+ix.Omitted == 0 && ix.Incomplete == ""
}

// leave notes a file that was left out.
func (ix *Index) leave(path, reason string) {
	if len(ix.Unread) >= maxUnread {
		ix.Omitted++
		return
	}
	ix.Unread = append(ix.Unread, Unread{Path: path, Reason: reason})
}

// Summary parses, evaluates and summarises one file. A file that cannot be
// parsed, or that is too much work, has none.
func Summary(source string) (m *Module, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("summarise: %v", p)
		}
	}()
	tree, err := python.Parse(source)
	if err != nil {
		return nil, err
	}
	facts := interp.Eval(tree, interp.Options{})
	if facts.Exhausted {
		return nil, errors.New("too much work to evaluate")
	}
	return Summarise(facts), nil
}

// Blob is the hash that git gives to a text.
func Blob(text string) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(text))
	io.WriteString(h, text) //nolint:errcheck // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// A Linked is a revision whose files are linked with each other.
type Linked struct{ l *linker }

// Link links the files of an index, which may be nil, with some of them replaced
// or added by path.
func Link(ix *Index, changed map[string]*Module) *Linked {
	all := map[string]*Module{}
	if ix != nil {
		for p, hash := range ix.Files {
			if m := ix.Modules[hash]; m != nil {
				all[p] = m
			}
		}
	}
	for p, m := range changed {
		if m == nil {
			delete(all, p)
			continue
		}
		all[p] = m
	}
	l := newLinker(all)
	if ix != nil {
		half, double := ix.signs()
		l.half, l.double, l.wild = half, double, l.wild || ix.Cut
	}
	return &Linked{l}
}

// A Contract is what other places of the repository say of a root.
type Contract struct {
	// Type is the dtype that all of them agree on, Unknown if they do not.
	Type dtype.Type
	Rank dtype.Rank
	Why  []interp.Place
	// Passed is what single callers pass to a parameter.
	Passed []Passed
}

// A Passed is what one caller passes to a parameter.
type Passed struct {
	Type dtype.Type
	Why  []interp.Place
}

// A Covered says which functions of a file some caller reaches under autocast.
type Covered struct {
	all   bool
	names map[string]bool
}

// Has reports whether a function, by qualified name, may run under autocast.
func (c Covered) Has(scope string) bool { return c.all || c.names[scope] }

// Contracts returns what the other files, and the callers in the file itself,
// say of the roots of a file, by the identity of the root, and which of its
// functions may run under autocast. The file must be one that was linked with
// the same text; m is its summary by Summarise.
func (k *Linked) Contracts(file string, m *Module) (map[int]Contract, Covered) {
	out := map[int]Contract{}
	l := k.l
	linked := l.at[file]
	if linked == nil {
		return out, Covered{}
	}
	own := linked.m
	linked.m = m
	defer func() { linked.m = own }()
	order := make([]int, len(m.ids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return m.ids[a] - m.ids[b] })
	for _, i := range order {
		l.hops = 0
		n := l.rootType(linked, i+1, nil)
		if n.rank == dtype.RankScalar {
			n = known{} // numbers meet no one
		}
		c := Contract{Type: n.t, Rank: n.rank, Why: short(n.why)}
		if o := m.Roots[i]; o.Kind == interp.OriginParam {
			for _, p := range l.passed(definition{linked, o.In}, o.Name) {
				if p.ok() && p.rank != dtype.RankScalar {
					c.Passed = append(c.Passed, Passed{p.t, short(p.why)})
				}
			}
		}
		if c.Type.Empty() {
			c.Type = dtype.Unknown
		}
		if c.Type.Known() || len(c.Passed) > 0 {
			out[m.ids[i]] = c
		}
	}
	covered := Covered{all: l.allCovered, names: map[string]bool{}}
	for d := range l.covered {
		if d.u == linked {
			covered.names[d.name] = true
		}
	}
	return out, covered
}

// Names are the functions that Has knows of by name, in order.
func (c Covered) Names() []string { return slices.Sorted(maps.Keys(c.names)) }

// All reports whether any function may run under autocast.
func (c Covered) All() bool { return c.all }

// Imported returns what the name behind a reference of a file is bound to, as
// far as that is a constant, for interp.Options.
func (k *Linked) Imported(file string) func(ref string) *interp.Value {
	l := k.l
	u := l.at[file]
	if u == nil {
		return nil
	}
	return func(ref string) *interp.Value {
		l.hops = 0
		t := l.imported(u, ref, 0)
		if t.kind != aValue || t.u == u {
			return nil
		}
		return l.constant(t)
	}
}

// maxWhy bounds the steps of one chain.
const maxWhy = 6

// short is a chain without its middle: where a dtype is made and where it
// arrives say the most.
func short(why []interp.Place) []interp.Place {
	why = unique(why)
	if len(why) <= maxWhy {
		return why
	}
	return append(slices.Clone(why[:maxWhy-1]), why[len(why)-1])
}

// unique drops steps that were said.
func unique(why []interp.Place) (out []interp.Place) {
	for _, p := range why {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Constants reports whether a file imports from a file of the repository that
// binds constants.
func (k *Linked) Constants(file string) bool {
	l := k.l
	u := l.at[file]
	if u == nil {
		return false
	}
	if u.constants == 0 {
		u.constants = 1
		for _, i := range u.m.Imports {
			ref := i.Name
			if i.From {
				ref = i.Module
			}
			l.hops = 0
			t := l.imported(u, ref, 0)
			if i.From && t.kind == aModule {
				if n := l.inModule(t.u, t.name, i.Name, 0); n.kind != aModule && (n.u == nil || n.kind == aFunction || n.kind == aClass) {
					continue
				} else if n.kind == aModule {
					t = n
				}
			}
			if t.kind == aModule && t.u != nil && t.u.bindsConstants() {
				u.constants = 2
			}
		}
	}
	return u.constants == 2
}

// bindsConstants reports whether a module binds dtypes, tensors or settings.
func (u *unit) bindsConstants() bool {
	for _, s := range u.m.Names {
		switch s.Kind {
		case interp.KindDType, interp.KindTensor, interp.KindArray, interp.KindInstance:
			return true
		case interp.KindLibrary: // a package may hand a constant on
			if path.Base(u.path) == "__init__.py" && !strings.HasPrefix(s.Name, "torch") && !strings.HasPrefix(s.Name, "numpy") {
				return true
			}
		}
	}
	return false
}

// Signs returns the signs of half and double precision of the repository but for
// some files.
func (k *Linked) Signs(but map[string]bool) (half, double []interp.Place) {
	for _, u := range k.l.units {
		if !but[u.path] {
			half = append(half, places(u.path, u.m.Half, !u.off)...)
			double = append(double, places(u.path, u.m.Double, true)...)
		}
	}
	rest := func(list []interp.Place) []interp.Place {
		return slices.DeleteFunc(slices.Clone(list), func(p interp.Place) bool { return but[p.Path] })
	}
	return append(half, rest(k.l.half)...), append(double, rest(k.l.double)...)
}

// constant is a value of another file, nil if it is none that is known here.
func (l *linker) constant(t thing) *interp.Value {
	s := t.shape
	v := &interp.Value{Kind: s.Kind, Rank: s.Rank}
	switch s.Kind {
	case interp.KindDType, interp.KindTensor, interp.KindArray:
		k := l.typeOf(t.u, s, t.env)
		if !k.ok() {
			return nil
		}
		v.DType, v.Outside = k.t, k.why
	case interp.KindString:
		v.Text, v.Known = s.Text, s.Text != ""
	default:
		return nil
	}
	return v
}
