package torch

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
)

// python is the interpreter whose PyTorch the tests ask: $DTYPEBOT_PYTHON, or
// Debian's.
var python = cmp.Or(os.Getenv("DTYPEBOT_PYTHON"), "/usr/bin/python3")

// ask runs a Python program that needs modules and returns its lines.
func ask(t *testing.T, program string, modules ...string) []string {
	t.Helper()
	check := "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))"
	if err := exec.Command(python, append([]string{"-c", check}, modules...)...).Run(); err != nil {
		missing := python + " lacks torch or numpy: apt-get install python3-torch python3-numpy"
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	cmd := exec.Command(python, "-W", "ignore", "-")
	cmd.Env = torchrun.Environ(t)
	cmd.Stdin = strings.NewReader(program)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run Python: %v\n%s", err, stderr.String())
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// installed is the table of the release that is installed. Without one the test
// is skipped.
func installed(t *testing.T) *Table {
	t.Helper()
	v := ask(t, "import torch\nprint(torch.__version__)", "torch")[0]
	for _, tab := range Measured() {
		if strings.HasPrefix(v, tab.Release()+".") {
			return tab
		}
	}
	t.Skipf("PyTorch %s is installed, which was not measured", v)
	return nil
}

// calls are calls that the table was not built from: other shapes, and operands
// by keyword. The operand in the first column has the dtype of B, all others
// that of A; V is a vector of three, M a square matrix, N a batch of them.
var calls = []struct{ op, operand, call string }{
	{"torch.add", "other", "torch.add(A.M, B.N)"},
	{"torch.Tensor.__mul__", "other", "A.N * B.M"},
	{"torch.Tensor.__truediv__", "other", "A.V / B.M"},
	{"torch.Tensor.__iadd__", "other", "A.N.__iadd__(B.M)"},
	{"torch.Tensor.mul_", "other", "A.N.mul_(B.V)"},
	{"torch.Tensor.sub_", "self", "B.N.sub_(A.V)"},
	{"torch.Tensor.copy_", "src", "A.M.copy_(B.V)"},
	{"torch.Tensor.__lt__", "other", "A.M < B.M"},
	{"torch.matmul", "other", "torch.matmul(A.N, other=B.M)"},
	{"torch.matmul", "input", "torch.matmul(B.N, A.V)"},
	{"torch.Tensor.__matmul__", "other", "A.N @ B.N"},
	{"torch.mm", "mat2", "torch.mm(A.M, mat2=B.M)"},
	{"torch.bmm", "mat2", "torch.bmm(A.N, B.N)"},
	{"torch.mv", "vec", "torch.mv(A.M, B.V)"},
	{"torch.dot", "tensor", "torch.dot(A.V, B.V)"},
	{"torch.outer", "vec2", "torch.outer(A.V, B.V)"},
	{"torch.addmm", "mat1", "torch.addmm(A.M, B.M, A.M)"},
	{"torch.addmm", "input", "torch.addmm(B.V, A.M, A.M)"},
	{"torch.baddbmm", "input", "torch.baddbmm(B.N, A.N, A.N)"},
	{"torch.cat", "tensors", "torch.cat([A.M, A.M, B.M], dim=1)"},
	{"torch.stack", "tensors", "torch.stack((B.V, A.V, A.V), -1)"},
	{"torch.hstack", "tensors", "torch.hstack([A.V, B.V])"},
	{"torch.diff", "append", "torch.diff(A.M, append=B.M)"},
	{"torch.where", "other", "torch.where(A.M > 0, A.M, B.M)"},
	{"torch.where", "input", "torch.where(A.M > 0, B.V, A.M)"},
	{"torch.maximum", "other", "torch.maximum(A.M, B.V)"},
	{"torch.clamp", "min", "torch.clamp(A.M, min=B.V)"},
	{"torch.pow", "exponent", "torch.pow(A.M, B.M)"},
	{"torch.atan2", "other", "torch.atan2(A.V, B.V)"},
	{"torch.lerp", "end", "torch.lerp(A.M, B.M, 0.5)"},
	{"torch.lerp", "weight", "torch.lerp(A.M, A.M, B.M)"},
	{"torch.cross", "other", "torch.cross(A.M, B.M, dim=1)"},
	{"torch.cdist", "x2", "torch.cdist(A.M, B.M)"},
	{"torch.meshgrid", "tensors", "torch.meshgrid(A.V, B.V, indexing='ij')"},
	{"torch.kron", "other", "torch.kron(A.M, B.V)"},
	{"torch.isclose", "other", "torch.isclose(A.V, B.V)"},
	{"torch.equal", "other", "torch.equal(A.V, B.V)"},
	{"torch.complex", "imag", "torch.complex(A.V, B.V)"},
	{"torch.linalg.solve", "B", "torch.linalg.solve(A.M, B.V)"},
	{"torch.linalg.multi_dot", "tensors", "torch.linalg.multi_dot([A.M, B.M])"},
	{"torch.Tensor.index_add_", "source", "A.M.index_add_(0, I, B.M)"},
	{"torch.Tensor.index_copy_", "source", "A.M.index_copy_(0, I, B.M)"},
	{"torch.Tensor.scatter_", "src", "A.M.scatter_(0, torch.zeros(1, 3, dtype=torch.int64), B.M)"},
	{"torch.Tensor.scatter_add_", "src", "A.M.scatter_add_(0, torch.zeros(1, 3, dtype=torch.int64), B.M)"},
	{"torch.Tensor.masked_scatter_", "source", "A.M.masked_scatter_(A.M > 0, B.M)"},
	{"torch.Tensor.index_put_", "values", "A.M.index_put_((I,), B.M)"},
	{"torch.Tensor.type_as", "other", "A.M.type_as(B.V)"},
	{"torch.Tensor.expand_as", "other", "A.V.expand_as(B.M)"},
	{"torch.nn.functional.linear", "weight", "F.linear(A.N, weight=B.M)"},
	{"torch.nn.functional.linear", "input", "F.linear(B.M, A.M, bias=A.V)"},
	{"torch.nn.functional.conv1d", "weight", "F.conv1d(A.N, B.N)"},
	{"torch.nn.functional.mse_loss", "target", "F.mse_loss(A.N, B.N)"},
	{"torch.nn.functional.huber_loss", "target", "F.huber_loss(A.N, B.N, reduction='sum')"},
	{"torch.nn.functional.binary_cross_entropy_with_logits", "target", "F.binary_cross_entropy_with_logits(A.M, B.M)"},
	{"torch.nn.functional.layer_norm", "weight", "F.layer_norm(A.M, (3,), B.V, A.V)"},
	{"torch.nn.functional.layer_norm", "input", "F.layer_norm(B.N, (3,), A.V, A.V)"},
	{"torch.nn.functional.bilinear", "input2", "F.bilinear(A.M, B.M, A.N)"},
	{"torch.nn.functional.cosine_similarity", "x2", "F.cosine_similarity(A.M, B.M)"},
}

const callProgram = `
import sys, torch
import torch.nn.functional as F
C = {'float16': torch.float16, 'bfloat16': torch.bfloat16, 'float32': torch.float32, 'float64': torch.float64}
I = torch.tensor([0, 1, 2])
class T:
    def __init__(self, d):
        self.V = (torch.rand(3) + .1).to(d)
        self.M = (torch.rand(3, 3) + torch.eye(3)).to(d)
        self.N = (torch.rand(2, 3, 3) + .1).to(d)
def sig(r):
    if isinstance(r, torch.Tensor): return str(r.dtype)[6:]
    if isinstance(r, (tuple, list)): return '|'.join(sig(x) for x in r)
    return 'none'
for n, call in enumerate(CALLS):
    for a in C:
        for b in C:
            if a == b: continue
            try: r = sig(eval(call, dict(torch=torch, F=F, I=I, A=T(C[a]), B=T(C[b]))))
            except Exception as e: r = 'E:' + str(e).split('\n')[0]
            print(n, a, b, r, sep='\t')
`

// predict is what the facts say of a call whose operand o has dtype b and the
// others a; ok is false where they say nothing.
func predict(op *Op, o *Operand, a, b dtype.DType) (want string, ok bool) {
	if op.Same[a] == nil || op.Same[b] == nil {
		return "", false
	}
	of := func(d dtype.DType) (string, bool) {
		outs, ok := op.Same[d]
		var names []string
		for _, o := range outs {
			names = append(names, o.String())
		}
		return strings.Join(names, "|"), ok
	}
	switch o.Class {
	case Raise:
		return "E:", true
	case Promote:
		return of(dtype.Promote(a, b))
	case Const, Ignored:
		return of(a)
	case Follows:
		return of(b)
	}
	return "", false
}

func TestFactsPredictUnseenCalls(t *testing.T) {
	t.Parallel()
	var list []string
	for _, c := range calls {
		list = append(list, fmt.Sprintf("%q", c.call))
	}
	facts := installed(t)
	lines := ask(t, "CALLS = ["+strings.Join(list, ",")+"]\n"+callProgram, "torch")
	predicted := map[string]int{}
	for _, line := range lines {
		f := strings.SplitN(line, "\t", 4)
		var n int
		if _, err := fmt.Sscan(f[0], &n); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		c := calls[n]
		op, ok := facts.Lookup(c.op)
		if !ok {
			t.Fatalf("no %s", c.op)
		}
		o := op.Operand(c.operand)
		if o == nil {
			t.Fatalf("%s has no operand %s but %+v", c.op, c.operand, op.Operands)
		}
		a, _ := dtype.ByName(f[1])
		b, _ := dtype.ByName(f[2])
		want, ok := predict(op, o, a, b)
		if !ok {
			continue
		}
		predicted[c.call]++
		got := f[3]
		if want != "E:" {
			if got != want {
				t.Errorf("%s with %s and %s: facts say %s, PyTorch %s", c.call, a, b, want, got)
			}
			continue
		}
		if !strings.HasPrefix(got, "E:") {
			t.Errorf("%s with %s and %s: facts say that it raises, PyTorch gives %s", c.call, a, b, got)
		} else if !slices.ContainsFunc(o.Messages, func(m string) bool { return strings.Contains(got, m) }) {
			t.Errorf("%s with %s and %s: %q holds none of %q", c.call, a, b, got, o.Messages)
		}
	}
	for _, c := range calls {
		if predicted[c.call] == 0 {
			t.Errorf("%s: nothing predicted", c.call)
		}
	}
}

const moduleProgram = `
import torch
from torch import nn
C = {'float16': torch.float16, 'bfloat16': torch.bfloat16, 'float32': torch.float32, 'float64': torch.float64}
for n, (make, shape) in enumerate(MODULES):
    for p in C:
        for d in C:
            try:
                r = eval(make, dict(nn=nn)).to(C[p])(torch.rand(*shape).to(C[d]))
                r = r[0] if isinstance(r, tuple) else r
                r = str(r.dtype)[6:]
            except Exception as e: r = 'E:' + str(e).split('\n')[0]
            print(n, p, d, r, sep='\t')
`

// modules are built with other arguments than the table was.
var modules = [][2]string{
	{"nn.Linear(7,5,bias=False)", "(2,2,7)"},
	{"nn.Conv2d(2,4,3,padding=1)", "(2,2,6,6)"},
	{"nn.LayerNorm((4,5))", "(3,4,5)"},
	{"nn.GroupNorm(1,4)", "(2,4)"},
	{"nn.BatchNorm2d(4)", "(2,4,3,3)"},
	{"nn.ReLU(inplace=True)", "(3,)"},
	{"nn.GELU()", "(2,2)"},
	{"nn.Dropout(0.1)", "(5,)"},
	{"nn.Softmax(dim=0)", "(4,)"},
	{"nn.GRU(3,5,batch_first=True)", "(2,4,3)"},
	{"nn.Flatten(0)", "(2,3)"},
	{"nn.MaxPool2d(3,1)", "(1,5,5)"},
	{"nn.Identity()", "(1,)"},
	{"nn.PReLU(4)", "(1,4)"},
	{"nn.Upsample(scale_factor=3,mode='bilinear')", "(1,1,3,3)"},
}

func TestModulesPredictUnseenCalls(t *testing.T) {
	t.Parallel()
	var list []string
	for _, m := range modules {
		list = append(list, fmt.Sprintf("(%q, %s)", m[0], m[1]))
	}
	facts := installed(t)
	for _, line := range ask(t, "MODULES = ["+strings.Join(list, ",")+"]\n"+moduleProgram, "torch") {
		f := strings.SplitN(line, "\t", 4)
		var n int
		if _, err := fmt.Sscan(f[0], &n); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		name, _, _ := strings.Cut(modules[n][0], "(")
		m, ok := facts.Module("torch." + name)
		if !ok {
			t.Fatalf("no torch.%s", name)
		}
		p, _ := dtype.ByName(f[1])
		d, _ := dtype.ByName(f[2])
		r, ok := m.Result(d, p)
		switch got := f[3]; {
		case !ok || r.NotCPU || strings.Contains(got, "not implemented for"):
			continue // dropout in training has no float16 kernel
		case r.Raises:
			// Which of its checks refuses depends on the shape.
			if !strings.HasPrefix(got, "E:") {
				t.Errorf("%s, parameters %s, input %s: facts say it raises, PyTorch gives %s", modules[n][0], p, d, got)
			}
		case got != r.Out[0].String():
			t.Errorf("%s, parameters %s, input %s: facts say %s, PyTorch %s", modules[n][0], p, d, r.Out[0], got)
		}
	}
}

const numpyProgram = `
import numpy as np
D = {'bool': np.bool_, 'uint8': np.uint8, 'int8': np.int8, 'int16': np.int16, 'int32': np.int32, 'int64': np.int64,
     'float16': np.float16, 'float32': np.float32, 'float64': np.float64, 'complex64': np.complex64, 'complex128': np.complex128}
P = {'bool': True, 'int64': 2, 'float64': 1.5, 'complex128': 1j}
print(np.__version__)
for a in D:
    for b in D:
        print('array', a, b, np.result_type(np.ones(2, D[a]), np.ones(2, D[b])))
        print('scalar', a, b, np.result_type(np.ones(2, D[a]), D[b](1)))
    for b in P:
        print('python', a, b, np.result_type(np.ones(2, D[a]), P[b]))
`

func TestNumPyPromotionIsNumPys(t *testing.T) {
	t.Parallel()
	lines := ask(t, numpyProgram, "numpy")
	arrays := 0
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		a, _ := dtype.ByName(f[1])
		b, _ := dtype.ByName(f[2])
		want, _ := dtype.ByName(f[3])
		var got dtype.DType
		switch f[0] {
		case "array":
			got = NumPyResult(a, b)
			arrays++
		case "scalar":
			if strings.HasPrefix(lines[0], "2.") {
				continue // NEP 50: see NumPyScalar
			}
			got = NumPyScalar(a, b, false)
		case "python":
			got = NumPyScalar(a, b, true)
		}
		if got != want {
			t.Errorf("%s %s with %s: %s, NumPy says %s", f[0], a, b, got, f[3])
		}
	}
	if arrays != 121 {
		t.Errorf("%d pairs of arrays, want 121", arrays)
	}
}

// generate runs the generator and returns what it writes.
func generate(t *testing.T, options ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "facts.txt")
	if b, err := exec.Command(python, append([]string{"gen/generate.py", "-o", out}, options...)...).CombinedOutput(); err != nil {
		t.Fatalf("run the generator: %v\n%s", err, b)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// TestTableIsWhatPyTorchSays writes the table of the installed release again,
// which takes 30 to 80 seconds, and compares every byte. It runs with
// DTYPEBOT_SLOW=1, where the very versions are installed: 1.13 as Debian has
// it, or with DTYPEBOT_PYTHON the other.
func TestTableIsWhatPyTorchSays(t *testing.T) {
	if os.Getenv("DTYPEBOT_SLOW") != "1" {
		t.Skip("slow: set DTYPEBOT_SLOW=1")
	}
	tab := installed(t)
	torch, numpy := tab.Version()
	have := ask(t, "import torch, numpy\nprint(torch.__version__)\nprint(numpy.__version__)", "torch", "numpy")
	if have[0] != torch || have[1] != numpy {
		t.Skipf("torch %s and numpy %s are installed, the table is of %s and %s: pip install torch==%s numpy==%s", have[0], have[1], torch, numpy, torch, numpy)
	}
	facts, err := os.ReadFile("facts-" + tab.Release() + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	got := generate(t)
	if got == string(facts) {
		return
	}
	lines := map[string]bool{}
	for line := range strings.SplitSeq(string(facts), "\n") {
		lines[line] = true
	}
	for line := range strings.SplitSeq(got, "\n") {
		if !lines[line] {
			t.Errorf("new: %s", line)
		}
	}
	t.Errorf("facts-%s.txt is not what the generator writes: run %s gen/generate.py in analysis/torch", tab.Release(), python)
}

func TestOverridesNameWhatExists(t *testing.T) {
	tab := All()
	for _, n := range notes {
		for _, name := range n.names {
			if tab.ops[name] == nil && tab.modules[name] == nil {
				t.Errorf("a note for %s, which is neither an op nor a module", name)
			}
		}
	}
	for _, r := range ranksOf {
		for _, name := range r.names {
			if tab.ops[name] == nil {
				t.Errorf("a rank for %s, which is no op", name)
			}
		}
	}
}
