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

const casting = `
def under(code, shapes):
    out = []
    for i in range(len(shapes)):
        code = code.replace("$%d" % i, "x[%d]" % i)
    for d in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        x = [torch.ones(s, dtype=d) for s in shapes]
        try:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                r = eval(code, {"torch": torch, "F": torch.nn.functional, "x": x})
        except Exception as e:
            out.append("!" + str(e).split("\n")[0][:40].replace(";", ",").replace("|", " "))
            continue
        t = r[0] if isinstance(r, (tuple, list)) else r
        out.append(str(t.dtype)[6:] if isinstance(t, torch.Tensor) else "-")
    return "|".join(out)
`

// TestAutocastOfEveryOp runs each op that has a template under autocast on the CPU,
// with float32 and with bfloat16, and compares what comes out first with what the
// table's policy makes the evaluator say.
func TestAutocastOfEveryOp(t *testing.T) {
	if os.Getenv("DTYPEBOT_SLOW") == "" {
		t.Skip("slow: set DTYPEBOT_SLOW=1")
	}
	p := torchrun.Start(t)
	facts := torch.At(p.Torch)
	var one []template
	for _, ts := range usable(t, facts, p) {
		one = append(one, ts[0])
	}
	var got []string
	const chunk = 10
	for at := 0; at < len(one); at += chunk {
		var calls []string
		for _, tm := range one[at:min(at+chunk, len(one))] {
			var sizes []string
			for _, s := range tm.shapes {
				if s != "" {
					s += ","
				}
				sizes = append(sizes, "("+s+")")
			}
			calls = append(calls, fmt.Sprintf("under(%q, [%s])", tm.code, strings.Join(sizes, ", ")))
		}
		r := p.Run(t, torchrun.Snippet{Source: harness + casting, Call: `";".join([` + strings.Join(calls, ", ") + "])"})[0]
		if r.Raised != "" {
			t.Fatal(r)
		}
		got = append(got, strings.Split(strings.ReplaceAll(r.Value[1:len(r.Value)-1], `\'`, "'"), ";")...)
	}
	total, agree := 0, 0
	with, byPolicy := map[torch.Policy]int{}, map[torch.Policy]int{}
	var faults []string
	for i, tm := range one {
		op, _ := facts.Lookup(tm.op)
		if op.Composite {
			continue
		}
		with[op.CPU]++
		fine := true
		for k, seen := range strings.Split(got[i], "|") {
			if seen == "-" || strings.HasPrefix(seen, "!") && !aboutDTypes.MatchString(seen) {
				continue
			}
			total++
			if fault := compareCast(tm, []string{"float32", "bfloat16"}[k], seen, p.Torch); fault != "" {
				fine = false
				faults = append(faults, fmt.Sprintf("%s: %s", tm.code, fault))
				continue
			}
			agree++
		}
		if fine {
			byPolicy[op.CPU]++
		}
	}
	sort.Strings(faults)
	for _, f := range faults {
		t.Log(f)
	}
	fmt.Printf("autocast on the CPU: agree %d of %d; lower precision %d of %d ops, float32 %d of %d, none %d of %d\n", agree, total,
		byPolicy[torch.LowerPrecision], with[torch.LowerPrecision], byPolicy[torch.FP32]+byPolicy[torch.FP32SetOpt], with[torch.FP32]+with[torch.FP32SetOpt], byPolicy[torch.Passthrough], with[torch.Passthrough])
	for _, policy := range []torch.Policy{torch.LowerPrecision, torch.FP32, torch.FP32SetOpt, torch.PromoteWidest} {
		if byPolicy[policy] != with[policy] {
			t.Errorf("policy %d: %d of %d ops agree", policy, byPolicy[policy], with[policy])
		}
	}
	if 1000*agree < 995*total {
		t.Errorf("agree %d of %d, want 99.5 %%", agree, total)
	}
}

// compareCast judges one op under autocast with operands of one dtype.
func compareCast(tm template, d, seen, version string) string {
	var text strings.Builder
	text.WriteString("import torch\nimport torch.nn.functional as F\n")
	code := tm.code
	for i, s := range tm.shapes {
		fmt.Fprintf(&text, "x%d = torch.ones(%s, dtype=torch.%s)\n", i, size(s), d)
		code = strings.ReplaceAll(code, fmt.Sprintf("$%d", i), fmt.Sprintf("x%d", i))
	}
	left := "y"
	if tm.tuple {
		left = "y, *rest"
	}
	fmt.Fprintf(&text, "with torch.autocast('cpu', dtype=torch.bfloat16):\n    %s = %s\n", left, code)
	line := 4 + len(tm.shapes)
	obs, raises := observation{}, map[int]string{}
	if strings.HasPrefix(seen, "!") {
		raises[line] = seen[1:]
	} else {
		obs[fmt.Sprintf("%d,y", line)] = map[string]bool{seen: true}
	}
	return judge(text.String(), version, obs, raises, len(raises) > 0).fault
}
