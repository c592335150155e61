package check

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
)

// hard are texts that are made to cost an analyser more than they are worth; the
// sizes are divided by n.
// partly says that evaluating them whole is too much work, and that the report
// has to say so.
var hard = []struct {
	name   string
	source func(n int) string
	partly bool
}{
	{"10,000 branches over one name", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x, flags):\n    y = x\n")
		for i := range 10_000 / n {
			fmt.Fprintf(&b, "    if flags[%d]:\n        y = y + torch.ones(3, dtype=torch.float64)\n", i)
		}
		b.WriteString("    return y\n")
		return b.String()
	}, false},
	{"10,000 branches over as many names", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x, flags):\n")
		for i := range 10_000 / n {
			fmt.Fprintf(&b, "    if flags[%d]:\n        y%d = x.half()\n    else:\n        y%d = x\n", i, i, i)
		}
		return b.String()
	}, false},
	{"a chain of 5,000 elifs", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x, k):\n    if k == 0:\n        y = x\n")
		for i := range 5_000 / n {
			fmt.Fprintf(&b, "    elif k == %d:\n        y = x.to(torch.%s)\n", i+1, []string{"half", "float64", "bfloat16"}[i%3])
		}
		b.WriteString("    return y @ x\n")
		return b.String()
	}, false},
	{"mutual recursion of 2,000 functions", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\n")
		count := 2_000 / n
		for i := range count {
			fmt.Fprintf(&b, "def f%d(x, y):\n    a = f%d(x @ y, x)\n    b = f%d(y, x + a)\n    return a + b\n", i, (i+1)%count, (i*7+3)%count)
		}
		b.WriteString("z = f0(torch.ones(3, 3), torch.ones(3, 3, dtype=torch.float64))\n")
		return b.String()
	}, false},
	{"small functions that call each other twice", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f0(x):\n    return x * 2\n")
		for i := range 300 / n {
			fmt.Fprintf(&b, "def f%d(x):\n    return f%d(x) + f%d(x.float())\n", i+1, i, i)
		}
		fmt.Fprintf(&b, "z = f%d(torch.ones(3))\nw = f%d(torch.ones(3).half())\n", 300/n, 300/n)
		return b.String()
	}, false},
	{"unions of unions", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(a, b, c, d, e, g, k):\n    x = a if k else b\n    y = c if k else d\n    z = e if k else g\n")
		for i := range 2_000 / n {
			fmt.Fprintf(&b, "    x, y, z = (x + y if k > %d else x * z), (y - z if k < %d else z), torch.stack([x, y, z])\n", i, i)
		}
		b.WriteString("    return x @ y\n")
		return b.String()
	}, false},
	{"nested loops", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x, n):\n")
		for i := range 40 {
			fmt.Fprintf(&b, "%sfor i%d in range(n):\n", strings.Repeat(" ", i+4), i)
		}
		fmt.Fprintf(&b, "%sx = x + torch.ones(3).double() * i0\n", strings.Repeat(" ", 44))
		return b.String()
	}, false},
	{"one line of 140,000 numbers", func(int) string {
		return "import torch\nx = [" + strings.Repeat("1+1,", 70_000) + "]\ny = torch.ones(3).half() @ torch.ones(3)\n"
	}, true},
	{"nested lambdas", func(n int) string {
		return "import torch\nf = " + strings.Repeat("lambda x: (", 300) + "x + torch.ones(3)" + strings.Repeat(")", 300) + "\ny = f(1)\n"
	}, false},
	{"nested calls, brackets and conditions", func(n int) string {
		return "import torch\ny = " + strings.Repeat("torch.relu(", 900) + "torch.ones(3)" + strings.Repeat(")", 900) +
			"\nz = " + strings.Repeat("[", 900) + "y" + strings.Repeat("]", 900) +
			"\nw = " + strings.Repeat("(y if z else ", 400) + "z" + strings.Repeat(")", 400) + "\n"
	}, false},
	{"one function of 50,000 lines", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x, w):\n")
		for i := range 50_000 / n {
			fmt.Fprintf(&b, "    a%d = x @ w\n", i%700)
		}
		b.WriteString("    return x\n")
		return b.String()
	}, false},
	{"a dictionary of 100,000 entries", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\nd = {\n")
		for i := range 100_000 / n {
			fmt.Fprintf(&b, "'k%d':%d,\n", i, i%9)
		}
		b.WriteString("}\nx = torch.ones(3) * d['k7']\n")
		return b.String()
	}, false},
	{"a dictionary that 20,000 statements fill", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\nd = {}\n")
		for i := range 20_000 / n {
			fmt.Fprintf(&b, "d['k%d'] = torch.ones(3)\n", i)
		}
		return b.String()
	}, false},
	{"a list that 20,000 statements extend", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\nd = []\n")
		for i := range 20_000 / n {
			fmt.Fprintf(&b, "d.append(torch.ones(3))\nd += [%d, torch.zeros(2)]\n", i)
		}
		b.WriteString("x = torch.cat(d)\n")
		return b.String()
	}, false},
	{"3,000 classes, each the base of the next", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\nfrom torch import nn\nclass C0(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.w = nn.Parameter(torch.ones(3))\n")
		for i := range 3_000 / n {
			fmt.Fprintf(&b, "class C%d(C%d):\n    def forward(self, x):\n        return x * self.w + self.v%d\n", i+1, i, i)
		}
		return b.String()
	}, false},
	{"autocast regions in each other", func(n int) string {
		var b strings.Builder
		b.WriteString("import torch\ndef f(x):\n")
		for i := range 90 {
			fmt.Fprintf(&b, "%swith torch.autocast('cuda', enabled=%v):\n", strings.Repeat(" ", i+4), i%2 == 0)
		}
		fmt.Fprintf(&b, "%sreturn x @ x.float()\n", strings.Repeat(" ", 94))
		return b.String()
	}, false},
}

// TestHard: each of them ends within the budget of a file, and a report either
// has it as analysed or says that it was evaluated in part. The whole sizes are
// for DTYPEBOT_SLOW=1.
func TestHard(t *testing.T) {
	n := 20
	if os.Getenv("DTYPEBOT_SLOW") == "1" {
		n = 1
	}
	for _, h := range hard {
		t.Run(h.name, func(t *testing.T) {
			start := cpu()
			r := Run(context.Background(), []analysis.File{{Path: "hard.py", Source: h.source(n), Whole: true}}, Options{})
			spent := cpu() - start
			partly := false
			for _, n := range r.Notes {
				partly = partly || strings.Contains(n.Text, "evaluated only in part")
			}
			t.Logf("%.2f s of processor time, %d findings, skipped %v, in part %v", spent.Seconds(), len(r.Findings), r.Skipped, partly)
			if r.Files+len(r.Skipped) != 1 {
				t.Errorf("%d files analysed, skipped %v", r.Files, r.Skipped)
			}
			for _, s := range r.Skipped { // the parser's limit is one of time, and the machine may be busy
				if !strings.Contains(s.Reason, "takes") {
					t.Errorf("skipped: %s", s.Reason)
				}
			}
			if r.Files == 1 && partly != h.partly {
				t.Errorf("evaluated in part: %v, want %v", partly, h.partly)
			}
			if limit := 10.0; spent.Seconds() > limit {
				t.Errorf("took %.1f s of processor time, more than %g", spent.Seconds(), limit)
			}
		})
	}
}
