package check

import "testing"

func TestSigns(t *testing.T) {
	for _, tc := range []struct {
		name, path, source string
		half, double       bool
	}{
		{"to", "", "import torch\nx = y.to(torch.bfloat16)", true, false},
		{"dtype", "", "import torch\nx = torch.zeros(3, dtype=torch.half)", true, false},
		{"imported name", "", "from torch import float16 as f16\nx = y.to(dev, dtype=f16)", true, false},
		{"alias", "", "import torch as th\nx = y.to(th.float16)", true, false},
		{"choice", "", "import torch\nweight_dtype = torch.float16 if a.fp16 else torch.float32", true, false},
		{"default of a parameter", "", "import torch\ndef f(dtype=torch.bfloat16): pass", true, false},
		{"half method", "", "model.half()", true, false},
		{"method of a result", "", "m = build().bfloat16()", true, false},
		{"autocast", "", "import torch\nwith torch.autocast('cuda'):\n    pass", true, false},
		{"autocast decorator", "", "from torch.cuda.amp import autocast\n@autocast()\ndef f(): pass", true, false},
		{"bare decorator", "", "from mmcv.runner import auto_fp16\n@auto_fp16\ndef f(): pass", true, false},
		{"scaler", "", "from torch.cuda.amp import GradScaler\ns = GradScaler()", true, false},
		{"policy", "", "p = MixedPrecisionPolicy(param_dtype=x)", true, false},
		{"trainer", "", "t = pl.Trainer(precision='bf16-mixed')", true, false},
		{"trainer 16", "", "t = Trainer(precision=16)", true, false},
		{"trainer 32", "", "t = Trainer(precision=32)", false, false},
		{"accelerator", "", "a = Accelerator(mixed_precision=args.mixed_precision)", true, false},
		{"accelerator no", "", "a = Accelerator(mixed_precision='no')", false, false},
		{"arguments", "", "a = TrainingArguments(bf16=True)", true, false},
		{"arguments off", "", "a = TrainingArguments(fp16=False)", false, false},
		{"from_pretrained", "", "m = A.from_pretrained(x, torch_dtype='float16')", true, false},
		{"flag", "", "p.add_argument('--bf16', action='store_true')", true, false},
		{"flag with short form", "", "p.add_argument('-d', '--mixed_precision')", true, false},
		{"other flag", "", "p.add_argument('--half-width')", false, false},

		{"comment", "", "# use torch.float16 and model.half()\nx = 'autocast(fp16)'", false, false},
		{"name", "", "half_width = w / 2\nprecision = 16\namp = 3\nself.half = 1", false, false},
		{"module function", "", "import mathutils\nmathutils.half()", false, false},
		{"half with arguments", "", "box.half(3)", false, false},
		{"numpy", "", "import numpy as np\nx = y.astype(np.float16)\nz = np.zeros(3, dtype=np.float16)", false, false},
		{"autocast off", "", "import torch\nwith torch.autocast('cuda', enabled=False): pass", false, false},
		{"matmul precision", "", "import torch\ntorch.set_float32_matmul_precision('high')\ntorch.backends.cuda.matmul.allow_tf32 = True", false, false},
		{"comparison", "", "import torch\nif x.dtype == torch.float16: pass", false, false},
		{"test", "tests/a.py", "import torch\nx = y.to(torch.bfloat16)", false, false},
		{"test file", "pkg/test_a.py", "model.half()", false, false},
		{"export script", "tools/export_onnx.py", "model.half()", false, false},
		{"kernel", "", "import triton\nimport torch\nx = y.to(torch.float16)", false, false},

		{"float64", "", "import torch\nx = torch.eye(4, dtype=torch.float64)", false, true},
		{"double method", "", "x = y.double()", false, true},
		{"default dtype", "", "import torch\ntorch.set_default_dtype(d)", false, true},
		{"gradcheck in a test", "tests/test_a.py", "from torch.autograd import gradcheck\nassert gradcheck(f, x)", false, true},
		{"parametrised test", "tests/test_a.py", "import pytest, torch\n@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])\ndef test(dtype): pass", false, true},
		{"numpy float64", "", "import numpy as np\nx = np.zeros(3, dtype=np.float64)", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := tc.path
			if path == "" {
				path = "models/net.py"
			}
			s := Run(t.Context(), whole(path, tc.source+"\n"), Options{}).Signs
			if got := len(s.Half) > 0; got != tc.half {
				t.Errorf("half: %v", s.Half)
			}
			if got := len(s.Double) > 0; got != tc.double {
				t.Errorf("double: %v", s.Double)
			}
		})
	}
}

func TestSignsSay(t *testing.T) {
	s := Run(t.Context(), whole("b.py", "\nmodel.half()\n", "a.py", "import torch\nx = y.to(\n    torch.bfloat16)\n"), Options{}).Signs
	if len(s.Half) != 2 || s.Half[0].Path != "a.py" || s.Half[0].Line != 2 || s.Half[0].Text != "`y.to( torch.bfloat16)`" || s.Half[1].Line != 2 {
		t.Errorf("%+v", s.Half)
	}
}
