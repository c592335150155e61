package interp_test

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

const each = `
import itertools

NAMES = ["float32", "float64", "bfloat16", "float16", "int64", "bool", "int32", "uint8"]

def every(code, shapes, lo, hi):
    for i in range(len(shapes)):
        code = code.replace("$%d" % i, "x[%d]" % i)
    compiled = compile(code, "<p>", "eval")
    out = []
    for names in itertools.islice(itertools.product(range(8 if len(shapes) < 3 else 3), repeat=len(shapes)), lo, hi):
        torch.manual_seed(0)
        x = [torch.ones(s, dtype=getattr(torch, NAMES[n])) for s, n in zip(shapes, names)]
        try:
            with torch.no_grad():
                r = eval(compiled, {"torch": torch, "F": torch.nn.functional, "x": x})
        except Exception as e:
            out.append("!" + str(e).split("\n")[0][:70].replace(";", ","))
            continue
        ts = r if isinstance(r, (tuple, list)) else [r]
        out.append("|".join(str(t.dtype)[6:] if isinstance(t, torch.Tensor) else type(t).__name__ for t in ts))
    return out
`

// TestEveryOp compares the evaluator with PyTorch for every op alone and every
// pair of dtypes. It takes minutes and only runs when TORCH_EACH is set.
func TestEveryOp(t *testing.T) {
	if os.Getenv("TORCH_EACH") == "" {
		t.Skip("slow: set TORCH_EACH=1")
	}
	p := torchrun.Start(t)
	version := p.Torch
	names := []string{"float32", "float64", "bfloat16", "float16", "int64", "bool", "int32", "uint8"}
	total, agree := 0, 0
	type fault struct {
		n    int
		text []string
	}
	faults := map[string]*fault{}
	for _, ts := range usable(t, torch.At(version), p) {
		seen := map[string]bool{}
		for _, tm := range ts {
			kind := strings.Join(tm.shapes, ";")
			if len(seen) >= 4 || len(tm.shapes) > 3 || seen[kind] {
				continue
			}
			seen[kind] = true
			var sizes []string
			for _, s := range tm.shapes {
				if s == "" {
					sizes = append(sizes, "()")
				} else {
					sizes = append(sizes, "("+s+",)")
				}
			}
			base := 8
			if len(tm.shapes) == 3 {
				base = 3
			}
			count := 1
			for range tm.shapes {
				count *= base
			}
			chunk := 12
			for at := 0; at < count; at += chunk {
				r := p.Run(t, torchrun.Snippet{Source: harness + each, Call: fmt.Sprintf(`";".join(every(%q, [%s], %d, %d))`, tm.code, strings.Join(sizes, ", "), at, at+chunk)})[0]
				if r.Raised != "" || len(r.Value) >= 1000 {
					t.Logf("%s: %s", tm.code, r)
					break
				}
				for k, got := range strings.Split(strings.ReplaceAll(r.Value[1:len(r.Value)-1], `\'`, "'"), ";") {
					n := at + k
					var text strings.Builder
					text.WriteString("import torch\nimport torch.nn.functional as F\n")
					code := tm.code
					div := count
					label := []string{}
					for i, s := range tm.shapes {
						div /= base
						d := names[n/div%base]
						label = append(label, d)
						fmt.Fprintf(&text, "x%d = torch.ones(%s, dtype=torch.%s)\n", i, size(s), d)
						code = strings.ReplaceAll(code, fmt.Sprintf("$%d", i), fmt.Sprintf("x%d", i))
					}
					line := 3 + len(tm.shapes)
					obs := observation{}
					raises := map[int]string{}
					if m, ok := strings.CutPrefix(got, "!"); ok {
						if !aboutDTypes.MatchString(m) {
							continue
						}
						raises[line] = m
						text.WriteString("y0 = " + code + "\n")
					} else {
						outs := strings.Split(got, "|")
						var ys []string
						for i, o := range outs {
							ys = append(ys, fmt.Sprintf("y%d", i))
							obs[fmt.Sprintf("%d,y%d", line, i)] = map[string]bool{o: true}
						}
						left := strings.Join(ys, ", ")
						if tm.tuple && len(ys) == 1 {
							left += ","
						}
						text.WriteString(left + " = " + code + "\n")
					}
					total++
					v := judge(text.String(), version, obs, raises, len(raises) > 0)
					if v.fault == "" {
						agree++
						continue
					}
					f := faults[tm.op]
					if f == nil {
						f = &fault{}
						faults[tm.op] = f
					}
					f.n++
					if len(f.text) < 6 {
						f.text = append(f.text, fmt.Sprintf("%s (%s)(%s): %s", tm.code, kind, strings.Join(label, ", "), v.fault))
					}
				}
			}
		}
	}
	var ops []string
	for op := range faults {
		ops = append(ops, op)
	}
	sort.Slice(ops, func(i, j int) bool {
		return faults[ops[i]].n > faults[ops[j]].n || faults[ops[i]].n == faults[ops[j]].n && ops[i] < ops[j]
	})
	for _, op := range ops {
		fmt.Printf("---- %d × %s\n\t%s\n", faults[op].n, op, strings.Join(faults[op].text, "\n\t"))
	}
	fmt.Printf("agree %d of %d, %d ops with faults\n", agree, total, len(ops))
}
