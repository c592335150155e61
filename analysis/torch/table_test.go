package torch

import (
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
