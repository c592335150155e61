package torch

import (
	"regexp"
	"slices"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

func TestTableDecodes(t *testing.T) {
	for _, text := range []string{facts113, facts215} {
		tab, err := decode(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tab.Release(), func(t *testing.T) { checkTable(t, tab) })
	}
}

func checkTable(t *testing.T, tab *Table) {
	if n := len(tab.ops); n < 1280 {
		t.Errorf("%d ops, want at least 1280", n)
	}
	if torch, numpy := tab.Version(); torch == "" || numpy == "" {
		t.Errorf("versions %q and %q", torch, numpy)
	}
	for name, op := range tab.ops {
		if op.Name != name || op.Kind == "" {
			t.Errorf("%s: name %q, kind %q", name, op.Name, op.Kind)
		}
		for _, o := range op.Operands {
			if o.Index >= 0 && o.Index < len(op.Params) && op.Params[o.Index] != o.Name && !slices.Contains(ambiguous, name) {
				t.Errorf("%s: operand %s at %d, but parameters %v", name, o.Name, o.Index, op.Params)
			}
		}
	}
}

// ambiguous are ops whose overloads have tensors at different positions.
var ambiguous = []string{"torch.scatter", "torch.Tensor.scatter"}

func TestLookup(t *testing.T) {
	for _, name := range []string{
		"torch.matmul", "torch.Tensor.matmul", "torch.Tensor.__matmul__", "torch.nn.functional.linear", "torch.linalg.inv",
		"torch.fft.rfft", "torch.special.expit", "torch.multiply", "torch.functional.einsum", "torch._C._nn.gelu",
	} {
		if _, ok := Lookup(name); !ok {
			t.Errorf("no %s", name)
		}
	}
	if _, ok := Lookup("torch.no_such_op"); ok {
		t.Error("an op that does not exist was found")
	}
	op, _ := Lookup("torch.matmul")
	if o := op.Operand("other"); o == nil || o.Class != Raise || o.Index != 1 || o.Message == "" {
		t.Errorf("matmul: other = %+v", o)
	}
	op, _ = Lookup("torch.Tensor.add_")
	if o := op.Operand("self"); o == nil || o.Class != Follows || op.Operand("other").Class != Ignored {
		t.Errorf("add_: %+v", op.Operands)
	}
	op, _ = Lookup("torch.cat")
	if o := op.Operand("tensors"); o == nil || o.Class != Promote || !o.List || o.Index != 0 {
		t.Errorf("cat: %+v", op.Operands)
	}
	op, _ = Lookup("torch.Tensor.max")
	if got := op.WithDim[dtype.BFloat16]; !slices.Equal(got, []dtype.DType{dtype.BFloat16, dtype.Int64}) {
		t.Errorf("max(dim): %v", got)
	}
}

// TestReleases checks what the table of all releases makes of differences that
// were read in PyTorch's history, too.
func TestReleases(t *testing.T) {
	names := []string{}
	for _, tab := range Measured() {
		names = append(names, tab.Release())
	}
	if !slices.Equal(names, []string{"2.15", "1.13"}) {
		t.Errorf("releases %q", names)
	}
	for version, release := range map[string]string{"1.13.1": "1.13", "1.12": "1.13", "2.0": "2.15", "2.15.0+cpu": "2.15", "": "2.15 and 1.13", "3.0": "2.15 and 1.13"} {
		if got := At(version).Release(); got != release {
			t.Errorf("At(%q) is %s, want %s", version, got, release)
		}
	}
	for _, c := range []struct {
		name, operand string
		only          string // the release that refuses
		differs       bool
	}{
		{"torch.matmul", "other", "", false},
		{"torch.baddbmm", "input", "2.15", true},                     // 1.13 ignores it
		{"torch.nn.functional.layer_norm", "input", "on CUDA", true}, // pytorch PR #81851
		{"torch.lerp", "weight", "", true},                           // 0-dim weights, pytorch PR #141117
		{"torch.nn.functional.interpolate", "input", "", true},       // cast by CUDA's autocast
		{"torch.nn.functional.rms_norm", "input", "", false},         // 1.13 has none
	} {
		op, ok := Lookup(c.name)
		if !ok || op.Operand(c.operand) == nil {
			t.Errorf("no %s of %s", c.operand, c.name)
			continue
		}
		if got := op.Operand(c.operand).Only; got != c.only || (op.Releases != nil) != c.differs {
			t.Errorf("%s: refused by %q alone, differs %v", c.name, got, op.Releases != nil)
		}
	}
	if n := len(Differing()); n < 20 || n > 120 {
		t.Errorf("%d ops differ between the releases: %q", n, Differing())
	}
	if p, _ := At("1.13").Lookup("torch.prelu"); p.Operand("weight").Pairs[[2]dtype.DType{dtype.BFloat16, dtype.Float32}] != dtype.BFloat16 {
		t.Errorf("prelu of bfloat16 with float32 weights: %+v", p.Operands)
	}
	norm, _ := At("2.15").Lookup("torch.nn.functional.layer_norm")
	if d := norm.Operand("input").Pairs[[2]dtype.DType{dtype.Float32, dtype.BFloat16}]; d != dtype.BFloat16 {
		t.Errorf("layer_norm of bfloat16 with float32 weights gives %s", d)
	}
	if d, ok := norm.Operand("input").Pairs[[2]dtype.DType{dtype.BFloat16, dtype.Float32}]; !ok || d != dtype.None {
		t.Errorf("layer_norm of float32 with bfloat16 weights gives %s", d)
	}
}

// TestSourcesOfOverrides checks that what is said of other releases and of autocast
// on CUDA, which nobody measured here, names where it is from.
func TestSourcesOfOverrides(t *testing.T) {
	source := regexp.MustCompile(`\(.*(pytorch(#| PR #)\d+|aten/src/|torch/|attention\.cpp|pytorch\.org).*\)$`)
	noted := 0
	for _, n := range notes {
		noted++
		if !source.MatchString(n.note) {
			t.Errorf("%s: no source: %s", n.names[0], n.note)
		}
	}
	for _, op := range added("1.13") {
		if op.Note == "" {
			continue
		}
		noted++
		if !source.MatchString(op.Note) {
			t.Errorf("%s: no source: %s", op.Name, op.Note)
		}
	}
	if noted == 0 {
		t.Error("nothing to check")
	}
}
