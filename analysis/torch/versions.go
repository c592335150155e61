package torch

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

var (
	//go:embed facts-1.13.txt
	facts113 string
	//go:embed facts-2.15.txt
	facts215 string
)

// measured reads the tables of the releases that were measured, newest first,
// when the first fact is asked for.
var measured = sync.OnceValue(func() []*Table {
	var out []*Table
	for _, text := range []string{facts215, facts113} {
		t, err := decode(text)
		if err != nil {
			panic(err) // the tables are part of the program; a test decodes them
		}
		override(t)
		out = append(out, t)
	}
	return out
})

// Measured returns the tables of the releases that were measured, newest first.
func Measured() []*Table { return measured() }

// all merges them once.
var all = sync.OnceValue(func() *Table { return merge(measured()[0], measured()[1]) })

// All returns what holds for every release: where the measured ones differ an
// op has the older answer beside the newer one ([Op.Older]).
func All() *Table { return all() }

// At returns the facts for a version of PyTorch ("1.13.1", "2.6"): the measured
// release of the same major version. All of them answer for the empty version.
func At(version string) *Table {
	major, _, _ := strings.Cut(version, ".")
	for _, t := range Measured() {
		if version != "" && strings.HasPrefix(t.release, major+".") {
			return t
		}
	}
	return All()
}

// Lookup asks [All].
func Lookup(name string) (*Op, bool) { return All().Lookup(name) }

// Module asks [All].
func Module(name string) (*ModuleFact, bool) { return All().Module(name) }

// Factory asks [All].
func Factory(name string) (*FactoryFact, bool) { return All().Factory(name) }

// merge makes one table of two releases. What only one of them has is taken
// as it is, with its version.
func merge(newer, older *Table) *Table {
	t := *newer
	t.release = newer.release + " and " + older.release
	t.ops, t.modules = maps.Clone(older.ops), maps.Clone(older.modules)
	t.factories, t.arrays = maps.Clone(older.factories), maps.Clone(older.arrays)
	for name, n := range newer.ops {
		if o := older.ops[name]; o != nil {
			both := *n
			both.Operands = slices.Clone(n.Operands)
			for i := range both.Operands {
				both.Operands[i].unite(o.Operand(both.Operands[i].Name), n.Version)
			}
			if differ(n, o) {
				both.Older = o
			}
			n = &both
		}
		t.ops[name] = n
	}
	for name, n := range newer.modules {
		if o := older.modules[name]; o != nil && modulesDiffer(n, o) {
			both := *n
			both.Older = o
			n = &both
		}
		t.modules[name] = n
	}
	maps.Copy(t.factories, newer.factories)
	maps.Copy(t.arrays, newer.arrays)
	return &t
}

// differ reports whether two releases give or refuse other dtypes. A kernel
// that only one of them has is no difference: that says nothing of the dtypes.
func differ(a, b *Op) bool {
	for _, o := range a.Operands {
		p := b.Operand(o.Name)
		if p != nil && (classesDiffer(o.Class, p.Class) || classesDiffer(o.ZeroDim, p.ZeroDim) || !maps.Equal(o.Pairs, p.Pairs) && o.Class == p.Class) {
			return true
		}
	}
	return resultsDiffer(a.Same, b.Same) || resultsDiffer(a.WithDim, b.WithDim) || a.CUDA != b.CUDA || a.CPU != b.CPU
}

func classesDiffer(a, b Class) bool { return a != b && a != Unmeasured && b != Unmeasured }

// unite fills in what only the older release's samples show, and notes whether
// only the newer release, newest, refuses.
func (o *Operand) unite(older *Operand, newest string) {
	if older == nil {
		return
	}
	if o.Class == Raise && classesDiffer(o.Class, older.Class) {
		o.Only = newest
	}
	if o.Class == Unmeasured {
		o.Class, o.Message, o.Messages = older.Class, older.Message, older.Messages
	}
	if o.ZeroDim == Unmeasured {
		o.ZeroDim = older.ZeroDim
	}
}

func resultsDiffer(a, b map[dtype.DType][]dtype.DType) bool {
	for d, outs := range a {
		if others, ok := b[d]; ok && len(outs) == len(others) && !slices.Equal(outs, others) {
			return true // another number of results is another sample
		}
	}
	return false
}

func modulesDiffer(a, b *ModuleFact) bool {
	for k, r := range a.cells {
		if s, ok := b.cells[k]; ok && !r.NotCPU && !s.NotCPU && (r.Raises != s.Raises || !slices.Equal(r.Out, s.Out)) {
			return true
		}
	}
	return a.CUDA != b.CUDA || a.CPU != b.CPU
}
