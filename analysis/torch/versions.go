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
// op has an answer for each ([Op.Releases]).
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
		if o := older.ops[name]; o != nil && o.Version == older.release { // not one that an override added
			n = mergeOps(n, o)
		}
		t.ops[name] = n
	}
	for name, n := range newer.modules {
		if o := older.modules[name]; o != nil && o.Version == older.release {
			n = n.withPolicies(o)
			if modulesDiffer(n, o) {
				n = mergeModules(n, o)
			}
		}
		t.modules[name] = n
	}
	for name, n := range newer.factories {
		if o := older.factories[name]; o != nil {
			both := *n
			both.Accepts = slices.DeleteFunc(slices.Clone(n.Accepts), func(d dtype.DType) bool { return !o.AcceptsDType(d) })
			n = &both
		}
		t.factories[name] = n
	}
	for name, n := range newer.arrays {
		if o := older.arrays[name]; o != nil && (o.Class != n.Class || resultsDiffer(n.Same, o.Same)) {
			both := *n
			both.Class, both.Same = NumPyUnknown, nil // 2.x keeps float32 in more places
			n = &both
		}
		t.arrays[name] = n
	}
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

// mergeOps is the newer op with what only the older one's samples show. Where
// the two differ its operands are Raise if one release refuses them.
func mergeOps(n, o *Op) *Op {
	both := *n
	both.Operands = slices.Clone(n.Operands)
	for i := range both.Operands {
		a, b := &both.Operands[i], o.Operand(both.Operands[i].Name)
		if b == nil {
			continue
		}
		if a.Class == Unmeasured {
			a.Class, a.Message, a.Messages = b.Class, b.Message, b.Messages
		}
		if a.ZeroDim == Unmeasured {
			a.ZeroDim = b.ZeroDim
		}
		switch {
		case a.Class == Raise && b.Class != Raise && b.Class != Unmeasured:
			a.Only = n.Version
		case a.Class != Raise && b.Class == Raise:
			a.Class, a.Message, a.Messages, a.Pairs, a.Only = Raise, b.Message, b.Messages, nil, o.Version
		}
	}
	if differ(n, o) {
		both.Releases = []*Op{n, o}
	}
	for _, name := range stricterOnCUDA {
		if n.Name == name {
			for i := range both.Operands {
				both.Operands[i].Only = "on CUDA"
			}
		}
	}
	return &both
}

// withPolicies takes the older release's policies where the newer one's modules
// could not be run under autocast, which reads as none.
func (m *ModuleFact) withPolicies(older *ModuleFact) *ModuleFact {
	both := *m
	if both.CUDA == Passthrough {
		both.CUDA = older.CUDA
	}
	if both.CPU == Passthrough {
		both.CPU = older.CPU
	}
	return &both
}

// mergeModules is the newer module, refusing what one of the releases refuses.
func mergeModules(n, o *ModuleFact) *ModuleFact {
	both := *n
	both.cells = maps.Clone(n.cells)
	for k, r := range o.cells {
		if r.Raises {
			both.cells[k] = r
		}
	}
	both.Releases = []*ModuleFact{n, o}
	return &both
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

// Differing are the ops about which the measured releases disagree, sorted.
func Differing() []string {
	var out []string
	for _, name := range All().Ops() {
		if All().ops[name].Releases != nil {
			out = append(out, name)
		}
	}
	return out
}
