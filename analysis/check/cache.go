package check

import (
	"sync"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Cache remembers what was found out about texts, so that analysing a set of
// files again after one of them changed costs that one file. It may be used by
// several runs at once, all with the same options. It keeps what comes first and
// stops at cacheLimit: its life is that of one job.
type Cache struct {
	mu     sync.Mutex
	size   int // bytes of source remembered
	trees  map[string]*python.File
	judged map[judgedKey]judged
	// evaluated and summaries are of texts, without what they import.
	evaluated map[string]*interp.Facts
	summaries map[string]*project.Module
}

// cacheLimit is how much source a cache remembers, in bytes. A tree takes some
// forty times its source.
const cacheLimit = 8 << 20

// room counts a text and reports whether it still fits.
func (c *Cache) room(source string) bool {
	if c.size+len(source) > cacheLimit {
		return false
	}
	c.size += len(source)
	return true
}

type judgedKey struct {
	path, source string
	signs        string
	repository   string
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{
		trees: map[string]*python.File{}, judged: map[judgedKey]judged{},
		evaluated: map[string]*interp.Facts{}, summaries: map[string]*project.Module{},
	}
}

// parse is python.Parse, remembered. A nil cache remembers nothing.
func (c *Cache) parse(source string) (*python.File, error) {
	if c == nil {
		return python.Parse(source)
	}
	c.mu.Lock()
	tree := c.trees[source]
	c.mu.Unlock()
	if tree != nil {
		return tree, nil
	}
	tree, err := python.Parse(source)
	if err == nil {
		c.mu.Lock()
		if c.room(source) {
			c.trees[source] = tree
		}
		c.mu.Unlock()
	}
	return tree, err
}

func (c *Cache) get(k judgedKey) (judged, bool) {
	if c == nil {
		return judged{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	j, ok := c.judged[k]
	return j, ok
}

func (c *Cache) put(k judgedKey, j judged) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room(k.source) {
		c.judged[k] = j
	}
}

// facts is interp.Eval, remembered.
func (c *Cache) facts(tree *python.File, torch string) *interp.Facts {
	if c == nil {
		return interp.Eval(tree, interp.Options{Torch: torch})
	}
	c.mu.Lock()
	facts := c.evaluated[tree.Source]
	c.mu.Unlock()
	if facts != nil && facts.Tree == tree {
		return facts
	}
	facts = interp.Eval(tree, interp.Options{Torch: torch})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room(tree.Source) {
		c.evaluated[tree.Source] = facts
	}
	return facts
}

// summary is the summary of a text, remembered.
func (c *Cache) summary(tree *python.File, torch string) *project.Module {
	if c == nil {
		return project.Summarise(interp.Eval(tree, interp.Options{Torch: torch}))
	}
	c.mu.Lock()
	m := c.summaries[tree.Source]
	c.mu.Unlock()
	if m == nil {
		m = project.Summarise(c.facts(tree, torch))
		c.mu.Lock()
		c.summaries[tree.Source] = m
		c.mu.Unlock()
	}
	return m
}

// signsKey tells signs apart as far as a rule can see them.
func signsKey(s analysis.Signs) string {
	var b []byte
	for _, list := range [][]analysis.Reason{s.Half, s.Double} {
		for _, r := range list {
			b = append(b, r.Path...)
			b = append(b, 0, byte(r.Line), byte(r.Line>>8), byte(r.Line>>16))
			b = append(b, r.Text...)
			b = append(b, 0)
		}
		b = append(b, 1)
	}
	return string(b)
}
