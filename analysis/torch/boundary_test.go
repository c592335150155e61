package torch

import (
	"os"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// boundaryProgram prints "function kind dtype result", "!" where it raises.
const boundaryProgram = `
import numpy as np, torch
from torch.utils.data import default_collate
D = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]

def say(name, kind, d, f):
    try:
        print(name, kind, d, str(f().dtype)[6:])
    except (TypeError, RuntimeError):
        print(name, kind, d, "!")

def tensor(d):
    return (torch.ones(3, 4, 4) * 0.5).to(getattr(torch, d)) if "float" in d else torch.ones(3, 4, 4, dtype=getattr(torch, d))
`

const collateProgram = boundaryProgram + `
for d in D:
    say("torch.utils.data.default_collate", "tensor", d, lambda: default_collate([tensor(d)] * 2))
    if d != "bfloat16":
        say("torch.utils.data.default_collate", "array", d, lambda: default_collate([np.ones(3, d)] * 2))
        say("torch.utils.data.default_collate", "array", d, lambda: default_collate([np.dtype(d).type(1)] * 2))
for name, v in (("bool", True), ("int64", 1), ("float64", 1.5)):
    say("torch.utils.data.default_collate", "number", name, lambda: default_collate([v, v]))
`

const visionProgram = boundaryProgram + `
import torchvision.transforms.functional as TF
size = {"resize": ([2, 2],), "crop": (0, 0, 2, 2), "center_crop": ([2, 2],), "resized_crop": (0, 0, 2, 2, [4, 4]), "hflip": (), "vflip": (),
        "pad": ([1],), "rgb_to_grayscale": (), "normalize": ([0.5] * 3, [0.5] * 3), "convert_image_dtype": ()}
for d in D:
    if d != "bfloat16":
        say("torchvision.transforms.functional.to_tensor", "array", d, lambda: TF.to_tensor(np.ones((4, 4, 3), d)))
    for name, rest in size.items():
        say("torchvision.transforms.functional." + name, "tensor", d, lambda: getattr(TF, name)(tensor(d), *rest))
    say("torchvision.transforms.functional.erase", "tensor", d, lambda: TF.erase(tensor(d), 0, 0, 2, 2, torch.zeros(1).to(getattr(torch, d))))
`

// outcome is what a fact says of a kind of value, in the words of the programs.
func (f *BoundaryFact) outcome(kind string, d dtype.DType) string {
	o, ok := f.Tensors[d]
	switch kind {
	case "array":
		o, ok = f.Arrays[d]
	case "number":
		o, ok = f.Numbers[d.Category()]
	}
	switch {
	case kind == "tensor" && f.DType != dtype.None:
		return f.DType.String()
	case !ok:
		return "?"
	case o.Refused:
		return "!"
	case o.Own:
		return d.String()
	case o.Default:
		return "float32"
	}
	return o.DType.String()
}

// compare holds what a program printed against the facts.
func compare(t *testing.T, lines []string, least int) {
	t.Helper()
	seen := map[string]bool{}
	for _, line := range lines {
		w := strings.Fields(line)
		f, ok := Boundary(w[0])
		d, _ := dtype.ByName(w[2])
		if !ok {
			t.Fatalf("no fact of %s", w[0])
		}
		seen[w[0]] = true
		if got := f.outcome(w[1], d); got != w[3] {
			t.Errorf("%s of a %s of %s: %s, measured %s", w[0], w[1], w[2], got, w[3])
		}
	}
	if len(seen) < least {
		t.Errorf("%d functions measured, want %d", len(seen), least)
	}
}

func TestCollateIsMeasured(t *testing.T) {
	t.Parallel()
	compare(t, ask(t, collateProgram, "torch", "numpy"), 1)
}

// TestBoundaries measures torchvision's transforms, where it is installed.
func TestBoundaries(t *testing.T) {
	if os.Getenv("DTYPEBOT_TORCHVISION") != "1" {
		t.Skip("slow: set DTYPEBOT_TORCHVISION=1 after apt-get install python3-torchvision")
	}
	compare(t, ask(t, visionProgram, "torch", "numpy", "torchvision"), 12)
}
