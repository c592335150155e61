package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A surroundings is the files of a change, before or after it, linked with the
// rest of their repository.
type surroundings struct {
	index *project.Index
	own   map[string]*project.Module // summaries of the files without what they import
	cache *Cache
	torch string // see runner

	mu      sync.Mutex // a Linked answers one question at a time
	linked  *project.Linked
	modules map[string]*project.Module // summaries of the files as they are linked
	said    map[string]said
}

// said is what the rest of the repository says of a file.
type said struct {
	module    *project.Module          // that the identities of roots are of, nil if there is none
	contracts map[int]project.Contract // by the identity of the root
	covered   project.Covered
	key       string // tells it apart from what else may be said
}

// A text is one file of a change, before or after it.
type text struct {
	path, source string
	gone         bool // the file is not there
}

// surround links texts with the rest of the repository. It is nil without an
// index. What was learned of the texts is in the cache; slot is where the cache
// keeps the answer.
func (r *runner) surround(texts []text, slot **surroundings) *surroundings {
	if r.opts.Project == nil {
		return nil
	}
	own := make(map[string]*project.Module, len(texts))
	for _, t := range texts {
		own[t.path] = nil // of one that is gone or cannot be parsed
		if !t.gone {
			l, _ := get(r.cache, r.cache.learned, textKey{t.path, t.source})
			own[t.path] = l.module
		}
	}
	if s := r.cache.linked(slot, r.opts.Project, own); s != nil {
		return s
	}
	s := &surroundings{index: r.opts.Project, own: own, cache: r.cache, torch: r.torch, said: map[string]said{}}
	s.linked, s.modules = project.Link(s.index, own), own
	if modules := r.withImports(s, texts); modules != nil {
		s.linked, s.modules = project.Link(s.index, modules), modules
	}
	r.cache.remember(slot, s)
	return s
}

// withImports are the summaries again, with what files import known: they say
// more. It is nil if no file imports a constant.
func (r *runner) withImports(s *surroundings, texts []text) map[string]*project.Module {
	var mu sync.Mutex
	var modules map[string]*project.Module
	each(texts, func(_ int, t text) {
		if t.gone || s.own[t.path] == nil || !s.constants(t.path) {
			return
		}
		defer func() { _ = recover() }() // the file says that the evaluator failed, elsewhere
		i, _ := s.imports(textKey{t.path, t.source}, nil)
		mu.Lock()
		defer mu.Unlock()
		if modules == nil {
			modules = maps.Clone(s.own)
		}
		modules[t.path] = i.module
	})
	return modules
}

// constants reports whether a file imports constants of the repository.
func (s *surroundings) constants(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linked.Constants(path)
}

// importing is what the evaluation of a text asked of its imports, and what it
// gave with the answers.
type importing struct {
	refs    []string
	answers string
	module  *project.Module
}

// imports is the summary of a file with what it imports, from the cache if the
// answers are the same as they were. The tree may be nil; facts are nil if it was
// in the cache.
func (s *surroundings) imports(key textKey, tree *python.File) (importing, *interp.Facts) {
	if i, ok := get(s.cache, s.cache.importing, key); ok && i.answers == s.answers(key.path, i.refs) {
		return i, nil
	}
	if tree == nil {
		var err error
		if tree, err = s.cache.parse(key.source); err != nil {
			return importing{}, nil
		}
	}
	facts, refs := s.evaluate(key.path, tree)
	i := importing{refs: refs, answers: s.answers(key.path, refs), module: project.Summarise(facts)}
	put(s.cache, s.cache.importing, key, i)
	return i, facts
}

// evaluate evaluates a file with what it imports, and returns what it asked for.
func (s *surroundings) evaluate(path string, tree *python.File) (*interp.Facts, []string) {
	var refs []string
	facts := interp.Eval(tree, interp.Options{Torch: s.torch, Imported: func(ref string) *interp.Value {
		refs = append(refs, ref)
		return s.imported(path, ref)
	}})
	slices.Sort(refs)
	return facts, slices.Compact(refs)
}

// imported is the constant behind a reference of a file, nil if it is none.
func (s *surroundings) imported(path, ref string) *interp.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ask := s.linked.Imported(path); ask != nil {
		return ask(ref)
	}
	return nil
}

// answers writes down what references of a file are bound to.
func (s *surroundings) answers(path string, refs []string) string {
	var b strings.Builder
	for _, ref := range refs {
		if v := s.imported(path, ref); v != nil {
			fmt.Fprintf(&b, "%s %d %d %s %t %q %v\n", ref, v.Kind, v.Rank, v.DType, v.Known, v.Text, v.Outside)
		}
	}
	return b.String()
}

// signs adds the signs of the rest of the repository to those of the files.
func (s *surroundings) signs(found analysis.Signs, units []*unit) analysis.Signs {
	if s == nil {
		return found
	}
	touched := map[string]bool{}
	for _, u := range units {
		touched[u.file.Path] = true
	}
	half, double := s.linked.Signs(touched)
	found.Half, found.Double = append(found.Half, reasons(half)...), append(found.Double, reasons(double)...)
	found.Half = found.Half[:min(len(found.Half), maxSigns)]
	found.Double = found.Double[:min(len(found.Double), maxSigns)]
	return found
}

// maxUnread bounds the notes on files that were not read.
const maxUnread = 10

// unread says which files of the repository were not read for what they say of
// the change.
func unread(ix *project.Index) []Note {
	var out []Note
	if ix.Incomplete != "" {
		out = append(out, Note{Path: ".", Text: "the repository was not read to its end for what it says of the change: " + ix.Incomplete})
	}
	for _, f := range ix.Faults() {
		out = append(out, Note{Path: f.Path, Text: "not read for the PyTorch that it asks for: " + f.Reason})
	}
	for i, u := range ix.Unread {
		if i == maxUnread {
			return append(out, Note{Path: u.Path, Text: fmt.Sprintf("… and %d more files were not read for what they say of the change", len(ix.Unread)+ix.Omitted-i)})
		}
		out = append(out, Note{Path: u.Path, Text: "not read for what it says of the change: " + u.Reason})
	}
	return out
}

// ask returns what the rest of the repository says of a text that was linked.
func (s *surroundings) ask(key textKey) said {
	s.mu.Lock()
	known, ok := s.said[key.path]
	s.mu.Unlock()
	if ok {
		return known
	}
	m, answers := s.modules[key.path], ""
	if m != nil && s.constants(key.path) {
		i, _ := s.imports(key, nil)
		m, answers = i.module, i.answers
	}
	out := s.about(key.path, m)
	out.key += answers
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[key.path] = out
	return out
}

// about is what the repository says of a file with a summary.
func (s *surroundings) about(path string, m *project.Module) said {
	if m == nil {
		return said{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := said{module: m}
	out.contracts, out.covered = s.linked.Contracts(path, m)
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(out.contracts)) {
		c := out.contracts[id]
		fmt.Fprintf(&b, "%d %s %v %v %v\n", id, c.Type, c.Rank == dtype.RankDim, c.Why, c.Passed)
	}
	fmt.Fprintf(&b, "covered %v %v\n", out.covered.All(), out.covered.Names())
	out.key = b.String()
	return out
}

// facts evaluates a file, with what it imports.
func (s *surroundings) facts(path string, tree *python.File) *interp.Facts {
	if !s.constants(path) {
		return s.cache.facts(tree, s.torch)
	}
	facts, _ := s.evaluate(path, tree)
	return facts
}

// repository is what the rest of the repository says, for rules. Roots are
// known by their identity, which every evaluation of a text gives anew.
func (s *surroundings) repository(path string, says said, facts *interp.Facts) *analysis.Repository {
	if says.module == nil || !says.module.Of(facts) {
		says = s.about(path, project.Summarise(facts))
	}
	out := &analysis.Repository{Contracts: make(map[*dtype.Root]analysis.Contract, len(says.contracts)), Covered: says.covered.Has, Seen: s.index.Seen()}
	for root := range facts.Origins {
		c, ok := says.contracts[root.ID]
		if !ok {
			continue
		}
		k := analysis.Contract{Type: c.Type, Dim: c.Rank == dtype.RankDim, Because: reasons(c.Why)}
		for _, p := range c.Passed {
			k.Passed = append(k.Passed, analysis.Passed{Type: p.Type, Because: reasons(p.Why)})
		}
		out.Contracts[root] = k
	}
	return out
}
