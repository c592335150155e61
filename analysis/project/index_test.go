package project_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// gather indexes texts without evaluating them.
func gather(texts map[string]string) (*project.Collection, *project.Index) {
	c := project.NewCollection("", func(string) bool { return false })
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		if c.Wants(p, int64(len(texts[p]))) {
			c.Add(p, texts[p])
		}
	}
	return c, c.Index()
}

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
		{"package-lock.json", "{\"bf16\": true}\n", 0},
		{".pre-commit-config.yaml", "bf16: true\n", 0},
		{"tests/a.yaml", "bf16: true\n", 0},
	} {
		_, ix := gather(map[string]string{tc.path: tc.text})
		got, _ := project.Link(ix, nil).Signs(nil)
		if len(got) != tc.signs {
			t.Errorf("%s, %.60q: %d signs, want %d: %+v", tc.path, tc.text, len(got), tc.signs, got)
		}
		for _, p := range got {
			if p.Path != tc.path || p.Line < 1 {
				t.Errorf("%.60q: a sign at %s:%d", tc.text, p.Path, p.Line)
			}
		}
	}
}

func TestRequirement(t *testing.T) {
	for _, tc := range []struct{ path, text, want, major string }{
		{"pyproject.toml", "[project]\ndependencies = [\"numpy\", \"torch>=2.1\"]\n", ">=2.1", "2"},
		{"pyproject.toml", "[project]\ndependencies = [\n  'torch == 1.13.*',\n]\n", "== 1.13.*", "1"},
		{"pyproject.toml", "[tool.other]\ndependencies = ['torch>=2']\n", "", ""},
		{"pyproject.toml", "[project]\ndependencies = 'torch>=2'\n", "", ""},
		{"pyproject.toml", "[tool.poetry.dependencies]\ntorch = [{version = \"^2.0\", markers = \"a\"}, {version = \"^2.0\"}]\n", "^2.0", "2"},
		{"pyproject.toml", "[tool.poetry.dependencies]\ntorch = [{version = \"^1.13\"}, {version = \"^2.0\"}]\n", "", ""},
		{"pyproject.toml", "[tool.poetry.dependencies]\ntorch = \"^2.0\"\n", "^2.0", "2"},
		{"pyproject.toml", "[tool.poetry.dependencies]\ntorch = {version = \"~2.3\", source = \"cpu\"}\n", "~2.3", "2"},
		{"pyproject.toml", "[project]\ndependencies = [\"torchvision>=0.15\"]\n", "", ""},
		{"setup.cfg", "[options]\ninstall_requires =\n    numpy\n    # torch>=3\n    torch>=1.8,<2.0\n", ">=1.8,<2.0", "1"},
		{"setup.cfg", "[options.extras_require]\ninstall_requires =\n    torch>=2\n[options]\nzip_safe = no\n", "", ""},
		{"setup.py", "from setuptools import setup\nsetup(name='a', install_requires=['numpy', 'torch>=2.0'])\n", ">=2.0", "2"},
		{"setup.py", "import setuptools\nneeds = ('torch (>=1.9,<2)',)\nsetuptools.setup(install_requires=needs)\n", ">=1.9,<2", "1"},
		{"setup.py", "needs = ['torch>=2']\nneeds = open('r').read()\nsetup(install_requires=needs)\n", "", ""},
		{"setup.py", "setup(install_requires=[f'torch>={v}'], extras_require={'a': ['torch>=2']})\n", "", ""},
		{"environment.yml", "dependencies:\n  - python=3.10\n  - pytorch::pytorch=2.1=py3.10_cuda\n  - pytorch-cuda=12.1\n", "=2.1", "2"},
		{"environment.yml", "dependencies:\n  - pip:\n      - torchvision==0.14\n      - torch==1.13.1\n", "==1.13.1", "1"},
		{"environment.yaml", "dependencies:\n  - 'pytorch >=1.8,<2' # old\n", ">=1.8,<2", "1"},
		{"environment.yml", "dependencies:\n  - pytorch 2.1.*\n", "2.1.*", "2"},
		{"requirements.txt", "torch==2.1.0 --hash=sha256:aa \\\n", "==2.1.0", "2"},
		{"requirements.txt", "torch[opt-einsum]>=2\n", ">=2", "2"},
		{"requirements.txt", "# torch==2.0\ntorchvision==0.14\ntorch==1.13.1+cu117 # old\n", "==1.13.1+cu117", "1"},
		{"requirements.txt", "torch>=1.10\n", ">=1.10", ""},
		{"requirements-gpu.txt", "torch~=2.1; python_version > '3.8'\n", "~=2.1", "2"},
		{"requirements.txt", "torch<2.3\n", "<2.3", ""},
		{"requirements.txt", "torch!=2.0.1\n", "!=2.0.1", ""},
		{"docs/requirements.txt", "torch==2.1\n", "", ""},
	} {
		_, ix := gather(map[string]string{tc.path: tc.text})
		got, in := ix.Torch()
		if got != tc.want || (in == tc.path) != (tc.want != "") || project.Major(got) != tc.major {
			t.Errorf("%s %q: %q in %q, of major version %q; want %q, %q", tc.path, tc.text, got, in, project.Major(got), tc.want, tc.major)
		}
	}
	_, ix := gather(map[string]string{"requirements.txt": "torch==1.13\n", "pyproject.toml": "[project]\ndependencies = ['torch>=2']\n"})
	if got, in := ix.Torch(); in != "pyproject.toml" || got != ">=2" {
		t.Errorf("the package's own requirement does not go first: %q in %q", got, in)
	}
}

// TestRequirementFaults says nothing of a file that cannot be read, and why.
func TestRequirementFaults(t *testing.T) {
	_, ix := gather(map[string]string{
		"pyproject.toml": "[project]\ndependencies = ['torch>=2'\nname =\n", "setup.py": "setup(install_requires=['torch>=2'\n", "setup.cfg": "\x00[[[\n= torch\n",
		"environment.yml": "- {torch\n\t- pytorch=", "requirements.txt": "torch>=2.1\n",
	})
	if got, in := ix.Torch(); in != "requirements.txt" || got != ">=2.1" {
		t.Errorf("%q in %q", got, in)
	}
	var faults []string
	for _, f := range ix.Faults() {
		faults = append(faults, f.Path+": "+f.Reason)
	}
	want := []string{"pyproject.toml: line 3 is no TOML that can be read", "setup.py: line 1 is no Python that can be read"}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if ix.Files["setup.py"] == "" {
		t.Error("setup.py is no Python file of the index any more")
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
	if diff := cmp.Diff(ix, again, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(project.Module{})); diff != "" {
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

// TestNear cuts out of an index what has to do with a file, and keeps the signs of
// the rest.
func TestNear(t *testing.T) {
	texts := map[string]string{
		"train.py":        "import torch\nfrom model import Net\nNet().to(torch.bfloat16)\n",
		"model.py":        "import torch\nfrom layers import layer\n",
		"layers.py":       "import torch\ndef layer(x): return x\n",
		"far.py":          "import torch\ntorch.ones(3).half()\n",
		"gone.py":         "import torch\nfrom model import Net\nx = torch.ones(3).double()\n",
		"conf.yaml":       "bf16: true\n",
		"tests/test_a.py": "import torch\ntorch.ones(3).half()\n",
	}
	c, ix := gather(texts)
	for p, text := range c.Texts {
		m, err := project.Summary(text)
		if err != nil {
			t.Fatal(err)
		}
		hash := ix.Files[p]
		ix.Modules[hash], ix.Outlines[hash] = m, ix.Outlines[hash].Of(m)
	}
	data, err := ix.Encode()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := project.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := kept.Near(map[string]string{"model.py": texts["model.py"]}, []string{"gone.py"})
	if err != nil {
		t.Fatal(err)
	}
	near, err := project.Decode(cut)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(near.Files)); !slices.Equal(got, []string{"layers.py", "train.py"}) || len(near.Modules) != 2 {
		t.Errorf("near are %q, %d summaries", got, len(near.Modules))
	}
	half, double := project.Link(near, nil).Signs(nil)
	var places []string
	for _, s := range half {
		places = append(places, fmt.Sprintf("%s:%d", s.Path, s.Line))
	}
	slices.Sort(places)
	if !slices.Equal(places, []string{"conf.yaml:1", "far.py:2", "train.py:3"}) || len(double) > 0 {
		t.Errorf("signs %q and %v", places, double)
	}
}

// TestHints finds a sign in a file that has nothing to do with the checked one.
func TestHints(t *testing.T) {
	c, ix := gather(map[string]string{
		"a.py":            "width = 'half the bfloat16'\n",
		"tests/test_a.py": "import torch\ntorch.ones(3).half()\n",
		"z.py":            "from accelerate import Accelerator\nAccelerator(mixed_precision='bf16')\n",
	})
	ix.Hints(c.Texts)
	half, _ := project.Link(ix, nil).Signs(nil)
	if len(half) != 1 || half[0].Path != "z.py" || half[0].Line != 2 {
		t.Errorf("signs %v", half)
	}
}

// TestCollectionBounds leaves out what is too much, and says so.
func TestCollectionBounds(t *testing.T) {
	c := project.NewCollection("", func(p string) bool { return p == "ignored.py" })
	for p, size := range map[string]int64{"ignored.py": 1, ".hidden/a.py": 1, "venv/a.py": 1, "a.c": 1, "big.py": 2 << 20, "data.json": 1 << 20} {
		if c.Wants(p, size) {
			t.Errorf("%s is wanted", p)
		}
	}
	for i := range project.MaxFiles {
		p := fmt.Sprintf("m%d.py", i)
		if !c.Wants(p, 0) {
			t.Fatalf("%s is not wanted", p)
		}
		c.Add(p, "")
	}
	for i := range 200 {
		c.Wants(fmt.Sprintf("n%d.py", i), 0)
	}
	ix := c.Index()
	if len(ix.Files) != project.MaxFiles || len(ix.Unread) != 100 || ix.Omitted != 101 {
		t.Errorf("%d files, %d named and %d counted as left out", len(ix.Files), len(ix.Unread), ix.Omitted)
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

// Contracts are told by the identities of roots, so an evaluation gives them again.
func TestRootsAreNumberedAlike(t *testing.T) {
	evaluate := func(source string) *interp.Facts {
		tree, err := python.Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		return interp.Eval(tree, interp.Options{})
	}
	const source = "import torch\n\n\nclass M(torch.nn.Module):\n    def __init__(self, d):\n        self.a = torch.nn.Linear(d, d)\n        self.b = d\n\n    def forward(self, x, batch):\n        for k, v in batch.items():\n            x = x + v\n        return self.a(x) + batch[\"y\"]\n"
	m := project.Summarise(evaluate(source))
	for range 20 {
		if !m.Of(evaluate(source)) {
			t.Fatal("a second evaluation has other roots")
		}
	}
	if m.Of(evaluate(strings.ReplaceAll(source, "batch", "sample"))) || m.Of(evaluate("import torch\n")) {
		t.Error("the summary is taken for that of another text")
	}
}
