package check

import (
	"maps"
	"sync"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Cache remembers what was found out about texts, so that analysing a set of
// files again after one of them changed costs that one file, and those of which
// the repository says something else now. It may be used by several runs at
// once, all with the same options. What was found is kept for all texts; trees
// and facts only of those that come first, up to cacheLimit. Its life is that of
// one job.
type Cache struct {
	mu        sync.Mutex
	size      int // bytes of source whose trees are remembered
	limit     int // of size
	trees     map[string]*python.File
	evaluated map[*python.File]*interp.Facts // without what they import
	learned   map[textKey]learned
	importing map[textKey]importing
	judged    map[judgedKey]judged
	// head are the surroundings of the files as they were last analysed, base those
	// of the files before the change.
	head, base *surroundings
}

// cacheLimit is how much source a cache remembers as trees, in bytes. A tree
// with its facts takes some sixty times its source.
const cacheLimit = 1 << 20

type textKey struct{ path, source string }

type judgedKey struct {
	textKey
	signs      string
	repository string
}

// learned is what one text says by itself.
type learned struct {
	skip   string // why it cannot be parsed
	signs  analysis.Signs
	module *project.Module // nil if nobody asked for it, or the evaluation failed
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{
		limit: cacheLimit, trees: map[string]*python.File{}, evaluated: map[*python.File]*interp.Facts{},
		learned: map[textKey]learned{}, importing: map[textKey]importing{}, judged: map[judgedKey]judged{},
	}
}

// parse is python.Parse, remembered.
func (c *Cache) parse(source string) (*python.File, error) {
	if tree, ok := get(c, c.trees, source); ok {
		return tree, nil
	}
	tree, err := python.Parse(source)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+len(source) <= c.limit {
		c.size += len(source)
		c.trees[source] = tree
	}
	return tree, nil
}

// facts is interp.Eval, remembered for the trees that are.
func (c *Cache) facts(tree *python.File, torch string) *interp.Facts {
	if facts, ok := get(c, c.evaluated, tree); ok {
		return facts
	}
	facts := interp.Eval(tree, interp.Options{Torch: torch})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trees[tree.Source] == tree {
		c.evaluated[tree] = facts
	}
	return facts
}

// get looks a key up in a map of the cache.
func get[K comparable, V any](c *Cache, m map[K]V, key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := m[key]
	return v, ok
}

// put sets a key of a map of the cache.
func put[K comparable, V any](c *Cache, m map[K]V, key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[key] = v
}

// linked returns the surroundings of the same summaries, nil if there are none.
// Then those of a slot are forgotten: who analyses other texts does not come back
// to them, and two of a large repository would not fit into memory.
func (c *Cache) linked(slot **surroundings, ix *project.Index, own map[string]*project.Module) *surroundings {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range []*surroundings{c.head, c.base} {
		if s != nil && s.index == ix && maps.Equal(s.own, own) {
			return s
		}
	}
	*slot = nil
	return nil
}

// remember fills a slot.
func (c *Cache) remember(slot **surroundings, s *surroundings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*slot = s
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
