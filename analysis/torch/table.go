package torch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// A Table is what is known of one release of PyTorch, or of all measured ones.
// It was written by gen/generate.py: sections that start with a name in
// brackets, one record a line, fields separated by spaces. Equal facts stand
// once, with all their names. Tables are shared: callers must not change what
// they give.
type Table struct {
	torch, numpy string // as they name themselves
	release      string // as findings name it: "1.13"
	sections     map[string][]string
	dtypes       []dtype.DType // the columns of a result
	messages     []string
	results      []result
	ops          map[string]*Op
	modules      map[string]*ModuleFact
	factories    map[string]*FactoryFact
	arrays       map[string]*NumPyFact
	numpyResult  map[[2]dtype.DType]dtype.DType
}

// A result is one line of the results: what comes out, by dtype.
type result struct {
	same   map[dtype.DType][]dtype.DType
	notCPU []dtype.DType
}

// Version returns the versions of PyTorch and NumPy that were measured, as they
// name themselves ("1.13.0a0" is Debian's 1.13.1).
func (t *Table) Version() (torch, numpy string) { return t.torch, t.numpy }

// Release is the version as findings name it: "1.13".
func (t *Table) Release() string { return t.release }

// Lookup returns the op with a canonical name: "torch.matmul",
// "torch.Tensor.matmul", "torch.Tensor.__matmul__",
// "torch.nn.functional.linear", "torch.linalg.inv", "torch.special.expit",
// "torch.fft.rfft". Aliases (torch.multiply) are ops of their own;
// "torch.functional." is read as "torch.", "torch._C._nn." as
// "torch.nn.functional.".
func (t *Table) Lookup(name string) (*Op, bool) {
	op, ok := t.ops[name]
	if ok {
		return op, true
	}
	for _, a := range [...][2]string{{"torch.functional.", "torch."}, {"torch._C._nn.", "torch.nn.functional."}, {"torch._C._linalg.linalg_", "torch.linalg."}} {
		if rest, found := strings.CutPrefix(name, a[0]); found {
			op, ok = t.ops[a[1]+rest]
			return op, ok
		}
	}
	return nil, false
}

var codes = map[string]dtype.DType{
	"f16": dtype.Float16, "bf16": dtype.BFloat16, "f32": dtype.Float32, "f64": dtype.Float64,
	"i64": dtype.Int64, "i32": dtype.Int32, "i16": dtype.Int16, "i8": dtype.Int8, "u8": dtype.Uint8, "b8": dtype.Bool,
	"c32": dtype.Complex32, "c64": dtype.Complex64, "c128": dtype.Complex128,
	"o": dtype.None,
}

func decode(s string) (*Table, error) {
	t := &Table{sections: map[string][]string{}}
	section, from := "", 0
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			t.sections[section] = lines[from:i]
			section, from = line[1:len(line)-1], i+1
		}
	}
	t.sections[section] = lines[from:]
	if err := t.head(); err != nil {
		return nil, fmt.Errorf("decode the table of facts: %w", err)
	}
	t.ops = make(map[string]*Op, 2*len(t.sections["ops"]))
	for _, line := range t.sections["ops"] {
		if err := t.op(line); err != nil {
			return nil, fmt.Errorf("decode %q: %w", line, err)
		}
	}
	for _, read := range []func() error{t.readModules, t.readFactories, t.readNumPy} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("decode the table of facts: %w", err)
		}
	}
	return t, nil
}

func (t *Table) head() error {
	for _, line := range t.sections["version"] {
		name, v, _ := strings.Cut(line, " ")
		switch name {
		case "torch":
			t.torch = v
			if w := strings.SplitN(v, ".", 3); len(w) == 3 {
				t.release = w[0] + "." + w[1]
			}
		case "numpy":
			t.numpy = v
		}
	}
	for _, line := range t.sections["dtypes"] {
		for c := range strings.SplitSeq(line, ",") {
			d, ok := codes[c]
			if !ok {
				return fmt.Errorf("unknown dtype %q", c)
			}
			t.dtypes = append(t.dtypes, d)
		}
	}
	t.messages = t.sections["messages"]
	for _, line := range t.sections["results"] {
		r := result{same: map[dtype.DType][]dtype.DType{}}
		i := 0
		for cell := range strings.SplitSeq(line, ",") {
			if i == len(t.dtypes) {
				return fmt.Errorf("results %q: more than %d cells", line, i)
			}
			d := t.dtypes[i]
			i++
			switch cell {
			case "!":
				r.notCPU = append(r.notCPU, d)
				continue
			case "?":
				continue
			case "e":
				r.same[d] = []dtype.DType{}
				continue
			}
			outs, err := dtypes(cell, "|")
			if err != nil {
				return err
			}
			r.same[d] = outs
		}
		t.results = append(t.results, r)
	}
	return nil
}

func dtypes(s, sep string) ([]dtype.DType, error) {
	out := make([]dtype.DType, 0, 1+strings.Count(s, sep))
	for c := range strings.SplitSeq(s, sep) {
		d, ok := codes[c]
		if !ok {
			return nil, fmt.Errorf("unknown dtype %q", c)
		}
		out = append(out, d)
	}
	return out, nil
}

// prefixes are the short forms of the modules that names start with.
var prefixes = map[string]string{
	"T": "torch.Tensor", "F": "torch.nn.functional", "linalg": "torch.linalg", "special": "torch.special", "fft": "torch.fft",
}

func expand(short string) string {
	if mod, name, ok := strings.Cut(short, "."); ok {
		if long, known := prefixes[mod]; known {
			return long + "." + name
		}
	}
	return "torch." + short
}

var (
	kinds    = map[string]string{"f": "function", "m": "method", "i": "inplace", "d": "dunder"}
	classes  = map[byte]Class{'-': Unmeasured, 'P': Promote, 'R': Raise, 'C': Const, 'I': Ignored, 'F': Follows, 'M': Mixed}
	policies = map[byte]Policy{'-': Passthrough, 'l': LowerPrecision, 'f': FP32, 's': FP32SetOpt, 'w': PromoteWidest, 'b': Banned}
	ranks    = map[byte]Rank{'?': RankUnknown, 'e': RankElementwise, 'z': RankReduces, '1': RankAtLeast1}
)

// op decodes "names kind params keyword operands results withdim flags dim".
func (t *Table) op(line string) error {
	f := strings.Split(line, " ")
	if len(f) != 9 || len(f[7]) < 5 {
		return fmt.Errorf("%d fields", len(f))
	}
	op := Op{Kind: kinds[f[1]], Params: list(f[2]), Keyword: list(f[3]), Dim: -1, Version: t.release}
	if f[4] != "-" {
		for s := range strings.SplitSeq(f[4], ";") {
			o, err := t.operand(s)
			if err != nil {
				return err
			}
			op.Operands = append(op.Operands, o)
		}
	}
	r, err := t.result(f[5])
	if err != nil {
		return err
	}
	op.Same, op.NotCPU = r.same, r.notCPU
	if f[6] != "-" {
		if r, err = t.result(f[6]); err != nil {
			return err
		}
		op.WithDim = r.same
	}
	op.CUDA, op.CPU, op.Rank = policies[f[7][0]], policies[f[7][1]], ranks[f[7][2]]
	op.TakesDType, op.Varies = f[7][3] == 't', f[7][4] == 'v'
	op.RefusesBool, op.IntsAreDefault, op.KeepsCategory = strings.Contains(f[7][5:], "b"), strings.Contains(f[7][5:], "i"), strings.Contains(f[7][5:], "w")
	if f[8] != "-" {
		if op.Dim, err = strconv.Atoi(f[8]); err != nil {
			return err
		}
	}
	for name := range strings.SplitSeq(f[0], ",") {
		o := op
		o.Name = expand(name)
		t.ops[o.Name] = &o
	}
	return nil
}

func (t *Table) result(s string) (result, error) {
	i, err := strconv.Atoi(s)
	if err != nil || i < 0 || i >= len(t.results) {
		return result{}, fmt.Errorf("no results %q", s)
	}
	return t.results[i], nil
}

// operand decodes "name:index:classes:messages:scalars=pairs".
func (t *Table) operand(s string) (Operand, error) {
	f := strings.Split(s, ":")
	if len(f) != 5 || len(f[2]) != 2 {
		return Operand{}, fmt.Errorf("operand %q", s)
	}
	scalars, pairs, _ := strings.Cut(f[4], "=")
	o := Operand{Name: f[0], Index: -1, Class: classes[f[2][0]], ZeroDim: classes[f[2][1]], Scalar: scalars != ""}
	if n, ok := strings.CutSuffix(o.Name, "+"); ok {
		o.Name, o.Variadic = n, true
	}
	if n, ok := strings.CutSuffix(o.Name, "*"); ok {
		o.Name, o.List = n, true
	}
	var err error
	if f[1] != "" {
		if o.Index, err = strconv.Atoi(f[1]); err != nil {
			return o, err
		}
	}
	if pairs != "" {
		if o.Pairs, err = decodePairs(pairs); err != nil {
			return o, err
		}
	}
	if f[3] != "" {
		for s := range strings.SplitSeq(f[3], "/") {
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(t.messages) {
				return o, fmt.Errorf("operand %q: no message", s)
			}
			o.Messages = append(o.Messages, t.messages[i])
		}
		o.Message = o.Messages[0]
	}
	return o, nil
}

// decodePairs reads what comes out for each pair of different floating dtypes,
// of the other operands and of this one. It is nil for an op of several results:
// one dtype does not tell of all.
func decodePairs(s string) (map[[2]dtype.DType]dtype.DType, error) {
	if strings.Contains(s, "|") {
		return nil, nil
	}
	cells := strings.Split(s, ",")
	out := map[[2]dtype.DType]dtype.DType{}
	for _, others := range moduleParams {
		for _, own := range moduleParams {
			if others == own {
				continue
			}
			if len(cells) == 0 {
				return nil, fmt.Errorf("pairs %q: too few", s)
			}
			d, ok := codes[cells[0]]
			if !ok && cells[0] != "!" {
				return nil, fmt.Errorf("unknown dtype %q", cells[0])
			}
			out[[2]dtype.DType{others, own}] = d
			cells = cells[1:]
		}
	}
	return out, nil
}

func list(s string) []string {
	if s == "-" {
		return nil
	}
	return strings.Split(s, ",")
}
