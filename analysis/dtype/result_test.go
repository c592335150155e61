package dtype_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// codes are the names of the table of measured facts.
var codes = map[string]dtype.DType{
	"f16": dtype.Float16, "bf16": dtype.BFloat16, "f32": dtype.Float32, "f64": dtype.Float64,
	"i64": dtype.Int64, "i32": dtype.Int32, "i16": dtype.Int16, "i8": dtype.Int8, "u8": dtype.Uint8, "b8": dtype.Bool,
	"c32": dtype.Complex32, "c64": dtype.Complex64, "c128": dtype.Complex128,
}

// wrapped reads "d:f32", "z:i64" or "s:f".
func wrapped(t *testing.T, s string) dtype.Wrapped {
	t.Helper()
	kind, what, _ := strings.Cut(s, ":")
	if kind == "s" {
		return dtype.Wrapped{Kind: dtype.Scalar, DType: map[string]dtype.DType{
			"f": dtype.Float64, "i": dtype.Int64, "b": dtype.Bool, "c": dtype.Complex128,
		}[what]}
	}
	d, ok := codes[what]
	if !ok {
		t.Fatalf("operand %q", s)
	}
	return dtype.Wrapped{Kind: map[string]dtype.OperandKind{"d": dtype.Dim, "z": dtype.ZeroDim}[kind], DType: d}
}

// section returns the lines of one section of the measured facts.
func section(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("../torch/facts-1.13.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n["+name+"]\n")
	if !ok {
		t.Fatalf("no section %s", name)
	}
	rest, _, _ = strings.Cut(rest, "\n[")
	return strings.Split(strings.TrimSpace(rest), "\n")
}

func TestResultTypeIsPyTorchs(t *testing.T) {
	cells := 0
	for _, line := range section(t, "result_type") {
		f := strings.Fields(line)
		a := wrapped(t, f[0])
		for _, cell := range f[1:] {
			other, want, _ := strings.Cut(cell, "=")
			if got := dtype.ResultType(dtype.Float32, a, wrapped(t, other)); got != codes[want] {
				t.Errorf("result_type(%s, %s) = %s, PyTorch says %s", f[0], other, got, codes[want])
			}
			cells++
		}
	}
	if cells != 180 {
		t.Errorf("%d cells, want 180", cells)
	}
}

// python runs a program under the system's Python, which must have PyTorch.
func python(t *testing.T, program string) string {
	t.Helper()
	const interpreter = "/usr/bin/python3"
	if err := exec.Command(interpreter, "-c", "import importlib.util as u,sys; sys.exit(u.find_spec('torch') is None)").Run(); err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatalf("%s has no torch: apt-get install python3-torch", interpreter)
		}
		t.Skipf("%s has no torch: apt-get install python3-torch", interpreter)
	}
	out, err := exec.Command(interpreter, "-W", "ignore", "-c", program).Output()
	if err != nil {
		t.Fatalf("run PyTorch: %v", err)
	}
	return string(out)
}

// live asks the installed PyTorch for result_type of all pairs of operands of
// all kinds and dtypes, of triples of a sample, under three default dtypes.
const live = `
import torch
C = dict(f16=torch.float16, bf16=torch.bfloat16, f32=torch.float32, f64=torch.float64, i64=torch.int64, i32=torch.int32, i16=torch.int16,
         i8=torch.int8, u8=torch.uint8, b8=torch.bool, c32=torch.complex32, c64=torch.complex64, c128=torch.complex128)
N = {v: k for k, v in C.items()}
ops = {}
for k, d in C.items():
    ops['d:' + k] = torch.empty(2, dtype=d)
    ops['z:' + k] = torch.empty((), dtype=d)
ops.update({'s:f': 1.5, 's:i': 2, 's:b': True, 's:c': 1j})
for d in ('f32', 'f64', 'bf16'):
    torch.set_default_dtype(C[d])
    for a, x in ops.items():
        for b, y in ops.items():
            print(d, a, b, N[torch.result_type(x, y)])
`

func TestResultTypeIsTheInstalledPyTorchs(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(python(t, live)), "\n")
	if want := 3 * 30 * 30; len(lines) != want {
		t.Fatalf("%d cells, want %d", len(lines), want)
	}
	for _, line := range lines {
		f := strings.Fields(line)
		a, b := wrapped(t, f[1]), wrapped(t, f[2])
		if got := dtype.ResultType(codes[f[0]], a, b); got != codes[f[3]] {
			t.Errorf("default %s: result_type(%s, %s) = %s, PyTorch says %s", f[0], f[1], f[2], got, codes[f[3]])
		}
	}
}

func TestResultTypeOfManyDoesNotDependOnOrder(t *testing.T) {
	var all []dtype.Wrapped
	for _, d := range []dtype.DType{dtype.Bool, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64} {
		for _, k := range []dtype.OperandKind{dtype.Dim, dtype.ZeroDim, dtype.Scalar} {
			all = append(all, dtype.Wrapped{DType: d, Kind: k})
		}
	}
	for _, a := range all {
		for _, b := range all {
			for _, c := range all {
				want := dtype.ResultType(dtype.Float32, a, b, c)
				for _, p := range [][3]dtype.Wrapped{{a, c, b}, {b, a, c}, {c, b, a}} {
					if got := dtype.ResultType(dtype.Float32, p[:]...); got != want {
						t.Fatalf("%v gives %s, another order %s", fmt.Sprint(p), got, want)
					}
				}
			}
		}
	}
}

func TestResultTypeOfNothing(t *testing.T) {
	if got := dtype.ResultType(dtype.Float32); got != dtype.None {
		t.Errorf("no operands: %s", got)
	}
	if got := dtype.ResultType(dtype.Float32, dtype.Wrapped{}, dtype.Wrapped{DType: dtype.Float16}); got != dtype.None {
		t.Errorf("an unknown operand: %s", got)
	}
}
