package torch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// A ModuleFact is what a torch.nn class does to dtypes when it is called.
// Facts are shared: callers must not change them.
type ModuleFact struct {
	Name string // "torch.nn.Linear"
	// Params are the floating parameters of its own (weight, bias), as the
	// plainest constructor call makes them. Buffers are the floating buffers
	// (running_mean); both follow .to(dtype), half() and the like.
	Params, Buffers []string
	// Nested says that parameters live in submodules too (MultiheadAttention).
	Nested bool
	// Container says that it only holds modules or parameters: Sequential gives
	// what its last child gives, the others cannot be called.
	Container bool
	// IDs says that the inputs are integers (Embedding): the result has the
	// parameters' dtype.
	IDs bool
	// TakesDType says that the constructor has dtype=.
	TakesDType bool
	// Preserves says that it has no parameters and every floating dtype it has
	// a kernel for comes out as it went in, one tensor.
	Preserves bool
	// CUDA and CPU are what an autocast region makes of it.
	CUDA, CPU Policy
	Rank      Rank // of the first result
	Version   string
	Note      string // what other versions do, with its source
	// Releases are the facts of each measured release where they differ, as
	// [Op.Releases] are. Result then refuses what one of them refuses.
	Releases []*ModuleFact

	cells map[[2]dtype.DType]ModuleResult // by parameters' and input's dtype
}

// A ModuleResult is the outcome of calling a module.
type ModuleResult struct {
	// Out are the results' dtypes, states included (LSTM has three); nil when it
	// raises.
	Out []dtype.DType
	// Raises says that the dtypes do not go together; Message is the stable core
	// of what PyTorch says.
	Raises  bool
	Message string
	// NotCPU says that the measured version has no CPU kernel; Out then is what
	// the other dtypes let expect of a device that has one, nil if they differ.
	NotCPU bool
}

// HasParams reports whether it has floating parameters of its own or in
// submodules, so that their dtype counts.
func (m *ModuleFact) HasParams() bool { return len(m.Params) > 0 || m.Nested }

// Result returns what a call with inputs of one dtype gives in a module whose
// parameters and floating buffers have another. Without parameters params is
// ignored. It is false for what was not measured, and where training and
// evaluation differ.
func (m *ModuleFact) Result(input, params dtype.DType) (ModuleResult, bool) {
	if !m.HasParams() && len(m.Buffers) == 0 {
		params = dtype.None
	}
	r, ok := m.cells[[2]dtype.DType{params, input}]
	return r, ok
}

// Module returns the facts of a class of torch.nn by canonical name
// ("torch.nn.Linear"); names under torch.nn.modules are understood.
func (t *Table) Module(name string) (*ModuleFact, bool) {
	if i := strings.LastIndexByte(name, '.'); i > 0 && strings.HasPrefix(name, "torch.nn.modules.") {
		name = "torch.nn" + name[i:]
	}
	m, ok := t.modules[name]
	return m, ok
}

var (
	moduleParams = []dtype.DType{dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64}
	moduleInputs = []dtype.DType{dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64, dtype.Int64}
)

func (t *Table) readModules() error {
	t.modules = map[string]*ModuleFact{}
	for _, line := range t.sections["containers"] {
		for name := range strings.SplitSeq(line, ",") {
			name = "torch.nn." + name
			t.modules[name] = &ModuleFact{Name: name, Container: true, Nested: true, Version: t.release}
		}
	}
	for _, line := range t.sections["modules"] {
		if err := t.module(line); err != nil {
			return fmt.Errorf("module %q: %w", line, err)
		}
	}
	return nil
}

// module decodes "name params buffers flags rows": a row for each dtype of the
// parameters, or one if there are none, with a cell for each of the input.
func (t *Table) module(line string) error {
	f := strings.Split(line, " ")
	if len(f) != 5 || len(f[3]) != 6 {
		return fmt.Errorf("%d fields", len(f))
	}
	m := &ModuleFact{
		Name: "torch.nn." + f[0], Params: list(f[1]), Buffers: list(f[2]), CUDA: policies[f[3][0]], CPU: policies[f[3][1]],
		TakesDType: f[3][2] == 't', IDs: f[3][3] == 'i', Nested: f[3][4] == 'n', Rank: ranks[f[3][5]], Version: t.release,
		cells: map[[2]dtype.DType]ModuleResult{},
	}
	rows := strings.Split(f[4], ";")
	for i, row := range rows {
		p := dtype.None
		if len(rows) > 1 {
			p = moduleParams[i]
		}
		cells := strings.Split(row, ",")
		if len(cells) != len(moduleInputs) {
			return fmt.Errorf("%d cells", len(cells))
		}
		for j, cell := range cells {
			r, known, err := t.moduleCell(cell)
			if err != nil {
				return err
			}
			if known {
				m.cells[[2]dtype.DType{p, moduleInputs[j]}] = r
			}
		}
	}
	m.infer()
	t.modules[m.Name] = m
	return nil
}

func (t *Table) moduleCell(cell string) (r ModuleResult, known bool, err error) {
	switch {
	case cell == "~" || cell == "?":
		return r, false, nil
	case cell == "!":
		return ModuleResult{NotCPU: true}, true, nil
	case cell[0] == 'R':
		i, err := strconv.Atoi(cell[1:])
		msgs := t.sections["module_messages"]
		if err != nil || i >= len(msgs) {
			return r, false, fmt.Errorf("cell %q", cell)
		}
		return ModuleResult{Raises: true, Message: msgs[i]}, true, nil
	}
	r.Out, err = dtypes(cell, "|")
	return r, err == nil, err
}

// infer fills in Preserves, and what a missing CPU kernel would give: if equal
// dtypes of parameters and input come out unchanged for float32 and float64,
// they do for the halves.
func (m *ModuleFact) infer() {
	same := func(d dtype.DType) *ModuleResult {
		r, ok := m.Result(d, d)
		if !ok {
			return nil
		}
		return &r
	}
	is := func(r *ModuleResult, d dtype.DType) bool {
		if r == nil || len(r.Out) == 0 {
			return false
		}
		for _, o := range r.Out {
			if o != d {
				return false
			}
		}
		return true
	}
	single, double := same(dtype.Float32), same(dtype.Float64)
	keeps := is(single, dtype.Float32) && is(double, dtype.Float64)
	if keeps {
		for _, d := range moduleParams[:2] {
			if r := same(d); r != nil && r.NotCPU {
				r.Out = make([]dtype.DType, len(single.Out))
				for i := range r.Out {
					r.Out[i] = d
				}
				p := dtype.None
				if m.HasParams() || len(m.Buffers) > 0 {
					p = d
				}
				m.cells[[2]dtype.DType{p, d}] = *r
			}
		}
	}
	m.Preserves = keeps && !m.HasParams() && len(m.Buffers) == 0 && len(single.Out) == 1
	for _, d := range moduleParams {
		if r := same(d); r != nil && !is(r, d) {
			m.Preserves = false
		}
	}
}
