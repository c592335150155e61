package check

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A surroundings is the files of a change, before or after it, linked with the
// rest of their repository.
type surroundings struct {
	mu     sync.Mutex // a Linked answers one question at a time
	linked *project.Linked
	cache  *Cache
	torch  string // see runner
}

// A text is one file of a change, before or after it.
type text struct {
	path, source string
	tree         *python.File // nil if it was let go, or not parsed yet
	gone         bool         // the file is not there
}

// surround links texts with the rest of the repository. It is nil without an
// index.
func (r *runner) surround(texts []text) *surroundings {
	if r.opts.Project == nil {
		return nil
	}
	summaries := make([]*project.Module, len(texts))
	r.eachTree(texts, func(i int, tree *python.File) { summaries[i] = r.opts.Cache.summary(tree, r.torch) })
	modules := make(map[string]*project.Module, len(texts))
	for i, t := range texts {
		modules[t.path] = summaries[i] // nil for one that is gone or cannot be parsed
	}
	s := &surroundings{linked: project.Link(r.opts.Project, modules), cache: r.opts.Cache, torch: r.torch}
	again := false
	r.eachTree(texts, func(i int, tree *python.File) {
		if s.constants(texts[i].path) {
			// What is imported is known now, so the summary says more.
			summaries[i] = project.Summarise(s.facts(texts[i].path, tree))
		}
	})
	for i, t := range texts {
		if summaries[i] != modules[t.path] {
			modules[t.path], again = summaries[i], true
		}
	}
	if again {
		s.linked = project.Link(r.opts.Project, modules)
	}
	return s
}

// eachTree runs do for every text that can be parsed, on all cores.
func (r *runner) eachTree(texts []text, do func(i int, tree *python.File)) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range texts {
		if t.gone {
			continue
		}
		g.Go(func() error {
			tree := t.tree
			if tree == nil {
				var err error
				if tree, err = r.opts.Cache.parse(t.source); err != nil {
					return nil // the file says why it is not analysed, elsewhere
				}
			}
			defer func() { _ = recover() }() // and so it does when the evaluator fails
			do(i, tree)
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
}

// constants reports whether a file imports constants of the repository.
func (s *surroundings) constants(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linked.Constants(path)
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
	for i, u := range ix.Unread {
		if i == maxUnread {
			return append(out, Note{Path: u.Path, Text: fmt.Sprintf("… and %d more files were not read for what they say of the change", len(ix.Unread)+ix.Omitted-i)})
		}
		out = append(out, Note{Path: u.Path, Text: "not read for what it says of the change: " + u.Reason})
	}
	return out
}

// facts evaluates a file, with what it imports.
func (s *surroundings) facts(path string, tree *python.File) *interp.Facts {
	if !s.constants(path) {
		return s.cache.facts(tree, s.torch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return interp.Eval(tree, interp.Options{Torch: s.torch, Imported: s.linked.Imported(path)})
}

// repository is what the rest of the repository says of a file, nil without an
// index.
func (s *surroundings) repository(path string, facts *interp.Facts) *analysis.Repository {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	contracts, covered := s.linked.Contracts(path, facts)
	s.mu.Unlock()
	out := &analysis.Repository{Contracts: make(map[*dtype.Root]analysis.Contract, len(contracts)), Covered: covered.Has}
	for root, c := range contracts {
		k := analysis.Contract{Type: c.Type, Dim: c.Rank == dtype.RankDim, Because: reasons(c.Why)}
		for _, p := range c.Passed {
			k.Passed = append(k.Passed, analysis.Passed{Type: p.Type, Because: reasons(p.Why)})
		}
		out.Contracts[root] = k
	}
	return out
}

// repositoryKey tells apart what the rest of the repository says of a file, as
// far as a rule can see it.
func repositoryKey(r *analysis.Repository, facts *interp.Facts) string {
	if r == nil {
		return ""
	}
	var lines []string
	for root, c := range r.Contracts {
		lines = append(lines, fmt.Sprintf("%d %s %v %v %v", root.ID, c.Type, c.Dim, c.Because, c.Passed))
	}
	for _, s := range facts.Scopes {
		if r.Covered(s.Name) {
			lines = append(lines, "covered "+s.Name)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
