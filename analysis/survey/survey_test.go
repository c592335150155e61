package survey

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func parse(t *testing.T, source string) *python.File {
	t.Helper()
	tree, err := python.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func look(t *testing.T, source string) *Survey {
	t.Helper()
	return Look("a.py", interp.Eval(parse(t, source), interp.Options{}))
}

func TestLeftAlone(t *testing.T) {
	got := LeftAlone(parse(t, `"""Docs.

x = torch.ones(3)
"""
import triton

@triton.jit
def kernel(p):
    code = """
import torch
x = 1
"""

def f():
    """y = torch.zeros(3)

    and more
    """
    exec("""
import torch
""")
    text = """
torch is a library,
which is nice
"""

class C:
    @triton.autotune(configs=[])
    @triton.jit
    def g(q): pass
    SOURCE = """def h(x):
    return torch.ones(3)
"""
`))
	if d := cmp.Diff(Rest{Kernels: []int{8, 30}, Strings: []int{19, 31}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestUnifiers(t *testing.T) {
	got := Unifiers("u.py", parse(t, `
def a(*tensors):
    target = tensors[0].dtype
    return [t.to(target) for t in tensors]

def b(*xs):
    out = []
    for x in xs:
        out.append(x.to(xs[0].dtype) if x.is_floating_point() else x)
    return out

def of_devices(*xs):
    return [x.to(xs[0].device) for x in xs]

def one(x, *others):
    return [o.to(x.dtype) for o in others]

def names_only(*xs):
    return xs[0].dtype

class C:
    def d(self, *xs):
        return [x.to(xs[0].dtype) for x in xs]
`))
	want := []Unifier{{Path: "u.py", Line: 2, Name: "a"}, {Path: "u.py", Line: 6, Name: "b", Floating: true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestLook(t *testing.T) {
	s := look(t, `
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

class Frames(Dataset):
    def __getitem__(self, i):
        k = np.array([[1.0]], dtype=np.float32)
        ids = torch.tensor([1])
        sample = {"k": torch.tensor(k, dtype=torch.float32), "ids": ids, "raw": k}
        sample["pose"] = torch.zeros(4, 4, dtype=torch.float32)
        return sample

class Net(nn.Module):
    def forward(self, x, y):
        z = torch.zeros(3, dtype=x.dtype)
        n = torch.arange(3, dtype=x.dtype)
        o = torch.ones(3, dtype=torch.float32)
        return x @ y + z + o + n

    def turn(self, x):
        return x @ x.T

def train(net, batch):
    return net(batch["k"], batch["ids"])
`)
	texts := func(sites []Site) string {
		var out []string
		for _, s := range sites {
			out = append(out, s.Scope+": "+s.Text)
		}
		return strings.Join(out, "\n")
	}
	if got, want := texts(s.Follows), "Net.forward: torch.zeros(3, dtype=x.dtype)"; got != want {
		t.Errorf("follows %q, want %q", got, want)
	}
	if got, want := texts(s.Pairs), "Net.forward: x @ y"; got != want {
		t.Errorf("pairs %q, want %q", got, want)
	}
	if got, want := texts(s.Forwards), "Net.forward: forward"; got != want {
		t.Errorf("forwards %q, want %q", got, want)
	}
	if len(s.Samples) != 1 || strings.Join(s.Samples[0].Keys, " ") != "k pose raw" || len(s.Samples[0].Sites) != 3 {
		t.Errorf("samples %+v", s.Samples)
	}
	var keys []string
	for _, r := range s.Reads {
		keys = append(keys, r.Key)
	}
	if got := strings.Join(keys, " "); got != "k ids" {
		t.Errorf("reads %q", got)
	}
}

func TestFunctions(t *testing.T) {
	s := look(t, `
import torch
from torch import nn

WIDTH = 12

class Lift(nn.Module):
    """Lifts."""

    def __init__(self, dim: int = 64, *, heads=4, name: str):
        super().__init__()

    def project(
        self,
        points: torch.Tensor,
        k: torch.Tensor,  # [B, 3, 3]
        valid: "torch.Tensor",
    ):
        """Projects.

        Args:
            points (torch.Tensor): [B, N, 3] in metres.
        """
        out = points @ k.to(points.dtype)
        return out, out[valid].float()

    def forward(self, points, scale=1.0):
        """Masks are [B, N]."""
        b, n, c = points.shape
        return points * scale

    @staticmethod
    def norm(rotations, mask):
        """Rotations are [B, J, 3, 3], and the masks are [B, J]."""
        return rotations.norm()

    @property
    def width(self):
        return 3

async def wait(x): return x
def each(xs):
    for x in xs:
        yield x
`)
	byName := map[string]Function{}
	for _, f := range s.Functions {
		byName[f.Scope] = f
	}
	project := byName["Lift.project"]
	want := []Param{
		{Name: "points", Annotation: "torch.Tensor", Dims: []string{"B", "N", "3"}},
		{Name: "k", Annotation: "torch.Tensor", Dims: []string{"B", "3", "3"}, Cast: true},
		{Name: "valid", Annotation: `"torch.Tensor"`, Kind: "bool"},
	}
	if d := cmp.Diff(want, project.Params); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
	for world, want := range map[string][]string{"float32": {"float32", "float32"}, "bfloat16": {"bfloat16", "float32"}, "float64": {"float64", "float32"}} {
		if d := cmp.Diff(want, project.Returns[world]); d != "" {
			t.Errorf("returns in %s (-want +got):\n%s", world, d)
		}
	}
	if d := cmp.Diff(map[string]int{"WIDTH": 12, "dim": 64, "heads": 4}, project.Sizes); d != "" {
		t.Errorf("sizes (-want +got):\n%s", d)
	}
	if len(project.Init) != 3 || !project.Module || project.Class != "Lift" || project.Static {
		t.Errorf("%+v", project)
	}
	forward := byName["Lift.forward"].Params
	if len(forward) != 2 || strings.Join(forward[0].Dims, " ") != "B N 3" || forward[0].Rank != 3 || !forward[1].Default {
		t.Errorf("forward borrows no sizes: %+v", forward)
	}
	norm := byName["Lift.norm"]
	if !norm.Static || strings.Join(norm.Params[0].Dims, " ") != "B J 3 3" || strings.Join(norm.Params[1].Dims, " ") != "B J" {
		t.Errorf("%+v", norm)
	}
	for scope, bar := range map[string]string{"Lift.width": "it is a property", "wait": "it is a coroutine", "each": "it is a generator", "Lift.__init__": "Python calls it by itself"} {
		if got := byName[scope].Bar; got != bar {
			t.Errorf("%s: %q, want %q", scope, got, bar)
		}
	}
}
