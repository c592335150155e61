package project_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
)

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		path, text string
		signs      int
	}{
		{"configs/train.yaml", "mixed_precision: bf16\nlr: 1e-4\n", 1},
		{"configs/train.yaml", "trainer:\n  precision: 16-mixed # fast\n", 1},
		{"configs/train.yml", "- dtype: \"bfloat16\"\n", 1},
		{"config.toml", "torch_dtype = 'float16'\n", 1},
		{"ds.json", "{\n  \"bf16\": {\n    \"enabled\": \"auto\"\n  }\n}\n", 1},
		{"ds.json", "{\"fp16\": {\"enabled\": true}}\n", 1},
		{"ds.json", "{\"fp16\": {\"enabled\": false}}\n", 0},
		{"train.yaml", "precision: 32\nhalf_width: 16\nmetric_precision: 16\n# mixed_precision: bf16\n", 0},
		{"train.yaml", "mixed_precision: \"no\"\nbf16: false\n", 0},
		{"train.yaml", strings.Repeat("# data\n", 12_000) + "bf16: true\n", 0},
	} {
		got := project.Settings(tc.path, tc.text)
		if len(got) != tc.signs {
			t.Errorf("%.60q: %d signs, want %d: %+v", tc.text, len(got), tc.signs, got)
		}
		for _, p := range got {
			if p.Path != tc.path || p.Line < 1 {
				t.Errorf("%.60q: a sign at %s:%d", tc.text, p.Path, p.Line)
			}
		}
	}
	for path, want := range map[string]bool{
		"a.yaml": true, "b/c.json": true, "pyproject.toml": true, "package-lock.json": false, ".pre-commit-config.yaml": false, "tests/a.yaml": false, "a.py": false,
	} {
		if project.Setting(path) != want {
			t.Errorf("Setting(%s) is %v", path, !want)
		}
	}
}

func TestRequirement(t *testing.T) {
	for text, want := range map[string]string{
		"dependencies = [\"numpy\", \"torch>=2.1\"]\n":   ">=2.1",
		"dependencies = [\n  'torch == 1.13.*',\n]\n":    "== 1.13.*",
		"[tool.poetry.dependencies]\ntorch = \"^2.0\"\n": "^2.0",
		"dependencies = [\"torchvision>=0.15\"]\n":       "",
	} {
		if got := project.Requirement(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestGlance(t *testing.T) {
	got := project.Glance("import torch, os.path as p\nfrom . import (\n    a,\n    b as c,\n)\nfrom .x.y import *  # all\nd = {\"key\": 1}\nprint(batch['other'], 'word')\n")
	want := project.Outline{
		Imports: []interp.Import{
			{Name: "torch"}, {Name: "os.path"}, {Module: ".", Name: "a", From: true}, {Module: ".", Name: "b", From: true}, {Module: ".x.y", Name: "*", From: true},
		},
		Keys: []string{"key", "other"}, Torch: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestWants asks for the files that have to do with one: what it imports, what
// imports it, and what fills its keys; not for others, nor for what is known.
func TestWants(t *testing.T) {
	texts := map[string]string{
		"pkg/__init__.py": "from .model import Net\n",
		"pkg/layers.py":   "import torch\nfrom .tools import f\n",
		"pkg/tools.py":    "import torch\n",
		"train.py":        "import torch\nfrom pkg.model import Net\n",
		"data.py":         "import numpy as np\nsample = {\"camera\": 1}\n",
		"known.py":        "import torch\nfrom pkg.model import Net\n",
		"other.py":        "import torch\nx = {\"nothing\": 1}\n",
	}
	ix := project.NewIndex()
	for p, text := range texts {
		ix.Files[p] = project.Blob(text)
		ix.Outlines[ix.Files[p]] = project.Glance(text)
	}
	ix.Modules[ix.Files["known.py"]] = &project.Module{}
	delete(ix.Files, "train.py")
	text := "import torch\nfrom .layers import Layer\n\ndef f(batch):\n    return batch[\"camera\"]\n"
	got := project.Wants(map[string]string{"pkg/model.py": text}, ix)
	slices.Sort(got)
	// train.py and known.py have one text, so one summary serves both.
	if want := []string{"data.py", "pkg/__init__.py", "pkg/layers.py", "pkg/tools.py"}; !slices.Equal(got, want) {
		t.Errorf("wants %q, want %q", got, want)
	}
	for i := range 1000 {
		p := fmt.Sprintf("many/m%d.py", i)
		source := fmt.Sprintf("import torch\nfrom pkg.model import Net\nx = %d\n", i)
		ix.Files[p] = project.Blob(source)
		ix.Outlines[ix.Files[p]] = project.Glance(source)
	}
	if got := project.Wants(map[string]string{"pkg/model.py": text}, ix); len(got) != 400 {
		t.Errorf("wants %d files, want 400", len(got))
	}
}

func TestIndexCoding(t *testing.T) {
	m, err := project.Summary("import torch\n\ndef f(x):\n    return torch.ones(3) @ x.float()\n")
	if err != nil {
		t.Fatal(err)
	}
	ix := project.NewIndex()
	ix.Revision, ix.Files["a.py"], ix.Modules["1"] = "abc", "1", m
	data, err := ix.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := project.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ix, again, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-written +read\n%s", diff)
	}
	ix.Version++
	if data, err = ix.Encode(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"another version": data, "no index": []byte("{}"), "cut": data[:len(data)/2], "nothing": nil} {
		if _, err := project.Decode(data); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// TestLinkAdversarial links what refers to itself in circles.
func TestLinkAdversarial(t *testing.T) {
	texts := map[string]string{
		"a/__init__.py": "from .b import *\nfrom b import *\nimport a\n",
		"a/b.py":        "from . import *\nfrom .c import *\nfrom .b import x\n",
		"a/c.py":        "from .b import *\nfrom . import *\nfrom .d import f as x\n",
		"a/d.py":        "from .c import x as f\nfrom a.b.c import g\n\nclass K(K): pass\n\ndef h(x):\n    return h(h(x))\n\ndef i(x):\n    return j(x) + i(x)\n\ndef j(x):\n    return i(x)\n",
		"e.py":          "from a import *\nfrom a.d import h, i, K\n\ndef f(x):\n    return h(x) @ i(f(x))\n\nf(f(f(1)))\nk = K()\nk.to(k.to(k))\n",
	}
	modules := map[string]*project.Module{}
	for p, text := range texts {
		m, err := project.Summary(text)
		if err != nil {
			t.Fatal(err)
		}
		modules[p] = m
	}
	linked := project.Link(nil, modules)
	for p := range texts {
		linked.Constants(p)
		if f := linked.Imported(p); f != nil {
			f("a.b.c.d.e.f")
			f("....x")
		}
	}
	half, double := linked.Signs(nil)
	if len(half)+len(double) > 0 {
		t.Errorf("signs %v %v", half, double)
	}
}
