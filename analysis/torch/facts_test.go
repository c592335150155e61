package torch

import (
	"slices"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// old is the table of 1.13, whose answers these tests know.
func old() *Table { return At("1.13") }

func TestPoliciesAndRanks(t *testing.T) {
	for _, c := range []struct {
		name      string
		cuda, cpu Policy
		rank      Rank
	}{
		{"torch.matmul", LowerPrecision, LowerPrecision, RankUnknown},
		{"torch.bmm", LowerPrecision, LowerPrecision, RankElementwise},
		{"torch.nn.functional.linear", LowerPrecision, LowerPrecision, RankAtLeast1},
		{"torch.nn.functional.scaled_dot_product_attention", LowerPrecision, LowerPrecision, RankAtLeast1},
		{"torch.nn.functional.layer_norm", FP32, Passthrough, RankElementwise},
		{"torch.nn.functional.softmax", FP32SetOpt, Passthrough, RankElementwise},
		{"torch.Tensor.sum", FP32SetOpt, Passthrough, RankReduces},
		{"torch.Tensor.mean", Passthrough, Passthrough, RankReduces},
		{"torch.Tensor.square", FP32, Passthrough, RankElementwise},
		{"torch.cat", Passthrough, Passthrough, RankAtLeast1},
		{"torch.dot", PromoteWidest, Passthrough, RankReduces},
		{"torch.index_copy", Passthrough, PromoteWidest, RankUnknown},
		{"torch.nn.functional.binary_cross_entropy", Banned, FP32, RankReduces},
		{"torch.nn.functional.mse_loss", FP32, FP32, RankReduces},
		{"torch.squeeze", Passthrough, Passthrough, RankUnknown},
		{"torch.linalg.det", Passthrough, Passthrough, RankUnknown},
	} {
		op, ok := old().Lookup(c.name)
		if !ok {
			t.Errorf("no %s", c.name)
			continue
		}
		if op.CUDA != c.cuda || op.CPU != c.cpu || op.Rank != c.rank {
			t.Errorf("%s: cuda %d, cpu %d, rank %d, want %d, %d, %d", c.name, op.CUDA, op.CPU, op.Rank, c.cuda, c.cpu, c.rank)
		}
	}
}

func TestResultsWithoutKernel(t *testing.T) {
	op, _ := old().Lookup("torch.mm")
	if outs, measured := op.Results(dtype.Float16); measured || !slices.Equal(outs, []dtype.DType{dtype.Float16}) {
		t.Errorf("mm of float16: %v, measured %v", outs, measured)
	}
	if outs, measured := op.Results(dtype.BFloat16); !measured || !slices.Equal(outs, []dtype.DType{dtype.BFloat16}) {
		t.Errorf("mm of bfloat16: %v, measured %v", outs, measured)
	}
	if outs, _ := op.Results(dtype.Bool); outs != nil {
		t.Errorf("mm of bool: %v", outs)
	}
	op, _ = old().Lookup("torch.sqrt")
	if outs, _ := op.Results(dtype.Int64); !slices.Equal(outs, []dtype.DType{dtype.Float32}) {
		t.Errorf("sqrt of int64: %v", outs)
	}
}

func TestModules(t *testing.T) {
	m, ok := old().Module("torch.nn.modules.linear.Linear")
	if !ok || m.Name != "torch.nn.Linear" || !slices.Equal(m.Params, []string{"weight", "bias"}) || !m.TakesDType || m.Preserves {
		t.Fatalf("Linear: %+v", m)
	}
	if r, ok := m.Result(dtype.Float32, dtype.BFloat16); !ok || !r.Raises || r.Message == "" {
		t.Errorf("Linear of float32 in bfloat16: %+v", r)
	}
	if r, ok := m.Result(dtype.Float16, dtype.Float16); !ok || !r.NotCPU || !slices.Equal(r.Out, []dtype.DType{dtype.Float16}) {
		t.Errorf("Linear of float16 in float16: %+v", r)
	}
	m, _ = old().Module("torch.nn.BatchNorm2d")
	if r, _ := m.Result(dtype.BFloat16, dtype.Float32); !slices.Equal(r.Out, []dtype.DType{dtype.BFloat16}) {
		t.Errorf("BatchNorm2d of bfloat16 in float32: %+v", r)
	}
	if r, _ := m.Result(dtype.Float32, dtype.BFloat16); !r.Raises {
		t.Errorf("BatchNorm2d of float32 in bfloat16: %+v", r)
	}
	m, _ = old().Module("torch.nn.Embedding")
	if r, _ := m.Result(dtype.Int64, dtype.BFloat16); !m.IDs || !slices.Equal(r.Out, []dtype.DType{dtype.BFloat16}) {
		t.Errorf("Embedding in bfloat16: %+v", r)
	}
	m, _ = old().Module("torch.nn.LSTM")
	if r, _ := m.Result(dtype.Float64, dtype.Float64); len(r.Out) != 3 {
		t.Errorf("LSTM: %+v", r)
	}
	for _, name := range []string{"Dropout", "ReLU", "GELU", "MaxPool2d", "Identity", "Flatten", "Softmax", "CircularPad2d", "AvgPool3d"} {
		if m, ok := old().Module("torch.nn." + name); !ok || !m.Preserves || m.HasParams() {
			t.Errorf("%s does not preserve: %+v", name, m)
		}
	}
	for _, name := range []string{"Linear", "PReLU", "LayerNorm", "Sequential", "Embedding", "MultiheadAttention"} {
		if m, ok := old().Module("torch.nn." + name); !ok || m.Preserves || !m.HasParams() {
			t.Errorf("%s preserves: %+v", name, m)
		}
	}
}

func TestFactories(t *testing.T) {
	for name, class := range map[string]FactoryClass{
		"torch.zeros": FactoryDefault, "torch.eye": FactoryDefault, "torch.linspace": FactoryNumbers, "torch.randint": FactoryFixed,
		"torch.full": FactoryNumbers, "torch.arange": FactoryNumbers, "torch.tensor": FactoryData, "torch.from_numpy": FactoryData,
		"torch.FloatTensor": FactoryFixed, "torch.LongTensor": FactoryFixed, "torch.zeros_like": FactoryReceiver,
		"torch.Tensor.new_tensor": FactoryReceiver, "torch.hann_window": FactoryDefault, "torch.nn.Parameter": FactoryData, "torch.normal": FactoryData,
	} {
		if f, ok := old().Factory(name); !ok || f.Class != class {
			t.Errorf("%s: %+v, want class %d", name, f, class)
		}
	}
	f, _ := old().Factory("torch.full")
	if f.Numbers[dtype.CatInt].DType != dtype.Int64 || !f.Numbers[dtype.CatFloat].Default || !slices.Equal(f.Values, []int{1}) {
		t.Errorf("full: %+v", f)
	}
	f, _ = old().Factory("torch.tensor")
	if !f.Arrays.Own || !f.Tensors.Own || !f.Numbers[dtype.CatFloat].Default || f.Numbers[dtype.CatBool].DType != dtype.Bool {
		t.Errorf("tensor: %+v", f)
	}
	f, _ = old().Factory("torch.Tensor")
	if !f.Arrays.Default || !f.Tensors.Own || !f.Numbers[dtype.CatInt].Default || f.TakesDType() {
		t.Errorf("Tensor: %+v", f)
	}
	f, _ = old().Factory("torch.eye")
	if f.AcceptsDType(dtype.BFloat16) || !f.AcceptsDType(dtype.Float16) {
		t.Errorf("eye accepts %v", f.Accepts)
	}
	f, _ = old().Factory("torch.FloatTensor")
	if f.DType != dtype.Float32 {
		t.Errorf("FloatTensor: %+v", f)
	}
}

func TestNumPy(t *testing.T) {
	for name, class := range map[string]NumPyClass{
		"numpy.zeros": Float64Default, "numpy.linspace": Float64Default, "numpy.random.rand": Float64Default, "numpy.eye": Float64Default,
		"numpy.random.Generator.random": Float64Default, "numpy.interp": Float64Default, "numpy.array": FromData, "numpy.asarray": FromData,
		"numpy.full": FromData, "numpy.arange": FromData, "numpy.sqrt": Keep, "numpy.ndarray.mean": Keep, "numpy.linalg.inv": Keep, "numpy.zeros_like": Keep,
		"numpy.concatenate": PromoteArrays, "numpy.vstack": PromoteArrays, "numpy.multiply": PromoteArrays, "numpy.where": PromoteArrays,
		"numpy.argmax": Int, "numpy.random.randint": Int, "numpy.isnan": Constant, "numpy.float32": Constant, "numpy.percentile": BySame,
	} {
		if f, ok := old().NumPy(name); !ok || f.Class != class {
			t.Errorf("%s: %+v, want class %d", name, f, class)
		}
	}
	f, _ := old().NumPy("numpy.concatenate")
	if !f.List || !slices.Equal(f.Arrays, []int{0}) {
		t.Errorf("concatenate: %+v", f)
	}
	f, _ = old().NumPy("numpy.divide")
	if !slices.Equal(f.Same[dtype.Uint8], []dtype.DType{dtype.Float64}) {
		t.Errorf("divide of uint8: %v", f.Same[dtype.Uint8])
	}
	f, _ = old().NumPy("numpy.zeros")
	if i := slices.Index(f.Params, "dtype"); i != 1 || !f.TakesDType || f.DType != dtype.Float64 {
		t.Errorf("zeros: %+v", f)
	}
}
