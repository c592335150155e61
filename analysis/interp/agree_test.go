package interp_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// harness runs a program and notes what each traced name holds. Conditions that
// depend on data are C[i], so that every path can be run.
const harness = `
import sys

def word(v):
    if isinstance(v, torch.Tensor):
        return str(v.dtype)[6:]
    if isinstance(v, (bool, int, float)):
        return {"bool": "#bool", "int": "#int64", "float": "#float32"}[type(v).__name__]
    return type(v).__name__

def run(text, conds):
    out = []
    def T(line, name, value):
        out.append("%d,%s,%s" % (line, name, word(value)))
    try:
        with torch.no_grad():
            exec(compile(text, "<p>", "exec"), {"torch": torch, "__name__": "p", "T": T, "C": conds})
    except Exception as e:
        line, tb = 0, e.__traceback__
        while tb:
            if tb.tb_frame.f_code.co_filename == "<p>" and tb.tb_frame.f_code.co_name == "<module>":
                line = tb.tb_lineno
            tb = tb.tb_next
        out.append("!%d,%s: %s" % (line, type(e).__name__, str(e).split("\n")[0][:160].replace(";", ",")))
    return ";".join(out)

def shapes(code, shapes):
    torch.default_generator.manual_seed(0)
    xs = [torch.rand(s) * 0.5 + 0.25 for s in shapes]
    for i, x in enumerate(xs):
        code = code.replace("$%d" % i, "x[%d]" % i)
    before = [(x.shape, x.dtype, id(x)) for x in xs]
    try:
        with torch.no_grad():
            r = eval(code, {"torch": torch, "F": torch.nn.functional, "x": xs})
    except Exception as e:
        return "-"
    if [(x.shape, x.dtype, id(x)) for x in xs] != before:
        return "-"
    one = lambda t: ",".join(str(n) for n in t.shape)
    if isinstance(r, torch.Tensor):
        return one(r) if r.layout is torch.strided and not r.is_quantized else "-"
    if isinstance(r, (tuple, list)) and 0 < len(r) <= 4 and all(isinstance(t, torch.Tensor) for t in r):
        return "|" + "|".join(one(t) for t in r)
    return "-"
`

// usable keeps the templates that run in float32, by op.
func usable(t *testing.T, facts *torch.Table, ps ...*torchrun.Process) [][]template {
	var all []template
	for _, name := range facts.Ops() {
		if strings.HasPrefix(name, "torch._") {
			continue
		}
		all = append(all, candidates(facts, name)...)
	}
	const chunk = 60
	var snippets []torchrun.Snippet
	for i := 0; i < len(all); i += chunk {
		var calls []string
		for _, c := range all[i:min(i+chunk, len(all))] {
			var sizes []string
			for _, s := range c.shapes {
				if s == "" {
					sizes = append(sizes, "()")
				} else {
					sizes = append(sizes, "("+s+",)")
				}
			}
			calls = append(calls, fmt.Sprintf("shapes(%q, [%s])", c.code, strings.Join(sizes, ", ")))
		}
		snippets = append(snippets, torchrun.Snippet{Source: harness, Call: `";".join([` + strings.Join(calls, ", ") + "])"})
	}
	results := make([]torchrun.Result, len(snippets))
	var wg sync.WaitGroup
	for k, p := range ps {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := k; i < len(snippets); i += len(ps) {
				results[i] = p.Run(t, snippets[i])[0]
			}
		}()
	}
	wg.Wait()
	by := map[string][]template{}
	n := 0
	for i, r := range results {
		text, err := strconv.Unquote(`"` + strings.Trim(r.Value, `'"`) + `"`)
		if err != nil || r.Raised != "" {
			t.Fatalf("templates: %v %s", err, r)
		}
		got := strings.Split(text, ";")
		for k, c := range all[i*chunk : min(i*chunk+chunk, len(all))] {
			if k >= len(got) || got[k] == "-" {
				continue
			}
			if rest, ok := strings.CutPrefix(got[k], "|"); ok {
				c.tuple, c.out = true, strings.Split(rest, "|")
			} else {
				c.out = []string{got[k]}
			}
			if len(by[c.op]) < 12 && !slices.ContainsFunc(by[c.op], func(d template) bool { return d.code == c.code && slices.Equal(d.shapes, c.shapes) }) {
				by[c.op] = append(by[c.op], c)
				n++
			}
		}
	}
	var out [][]template
	for _, name := range facts.Ops() {
		if len(by[name]) > 0 {
			out = append(out, by[name])
		}
	}
	t.Logf("%d ops in %d calls", len(out), n)
	return out
}

// aboutDTypes tells an error about dtypes from one about shapes or values.
var aboutDTypes = regexp.MustCompile(`dtype|scalar type|not implemented for '|can't be cast|not supported for|unsupported operand type|[Ee]xpected .*(Float|Long|Int|Bool|Half|Double|floating|integral|integer)|of type|data type|type as tensor|same type|boolean|[Bb]ool|float point|floating|integral|integer|complex|scalar types?|Half|BFloat16|Byte|arange|same dtype|promot|result type|numeric|only (support|Tensors of)|with Bool|Long tensors?|type mismatch|must be .*(long|int|float)|Undefined|should be the same|tensor type|autocast`)

type observation map[string]map[string]bool // "line,name" -> dtypes

func TestAgreesWithTorch(t *testing.T) {
	seed, programs := int64(1), 500
	if s := os.Getenv("TORCH_SEED"); s != "" {
		seed, _ = strconv.ParseInt(s, 10, 64)
	}
	if s := os.Getenv("TORCH_PROGRAMS"); s != "" {
		programs, _ = strconv.Atoi(s)
	}
	workers := []*torchrun.Process{torchrun.Start(t)}
	if programs > 2000 { // a second process costs more than it saves before
		workers = append(workers, torchrun.Start(t))
	}
	version := workers[0].Torch
	templates := usable(t, torch.At(version), workers...)
	var (
		mu                                                    sync.Mutex
		total, agree, discarded, unknown, values              int
		mixed, raised, casting, moduled, functioned, branched int
		ops                                                   = map[string]int{}
		faults                                                = map[string]int{}
		example                                               = map[string]string{}
	)
	next := seed * 1_000_003
	var wg sync.WaitGroup
	for _, p := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				mu.Lock()
				if total >= programs {
					mu.Unlock()
					return
				}
				next++
				g := &generator{Rand: rand.New(rand.NewSource(next)), templates: templates}
				mu.Unlock()
				g.program()
				seen, raises, surely, ok := observe(t, p, g)
				mu.Lock()
				if !ok || total >= programs {
					discarded++
					mu.Unlock()
					continue
				}
				total++
				mu.Unlock()
				text := g.text()
				v := judge(text, version, seen, raises, surely)
				mu.Lock()
				for _, o := range g.ops {
					ops[o]++
				}
				kinds := map[string]bool{}
				for _, ds := range seen {
					for d := range ds {
						if d[0] != '#' {
							kinds[d] = true
						}
					}
				}
				count := func(n *int, b bool) {
					if b {
						*n++
					}
				}
				count(&mixed, len(kinds) > 1)
				count(&raised, len(raises) > 0)
				count(&casting, g.tags["autocast"])
				count(&moduled, g.tags["module"])
				count(&functioned, g.tags["function"])
				count(&branched, g.tags["data"])
				values += v.values
				unknown += v.unknown
				if v.fault == "" {
					agree++
				} else {
					key := v.key
					faults[key]++
					if example[key] == "" || len(text) < len(example[key]) {
						example[key] = v.fault + "\n" + text
					}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	keys := make([]string, 0, len(faults))
	for k := range faults {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		return faults[keys[i]] > faults[keys[j]] || faults[keys[i]] == faults[keys[j]] && keys[i] < keys[j]
	})
	show := 5
	if s := os.Getenv("TORCH_SHOW"); s != "" {
		show, _ = strconv.Atoi(s)
	}
	for i, k := range keys {
		if i < show {
			fmt.Printf("---- %d × %s\n%s\n", faults[k], k, example[k])
		}
	}
	often := 0
	for _, n := range ops {
		if n >= 20 {
			often++
		}
	}
	percent := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(total, 1))) }
	fmt.Printf("%d distinct ops, %d of them at least 20 times; %s of the programs mix dtypes, %s raise, %s have autocast, %s a module, %s a function, %s a branch on data; %d of %d values unknown; %d programs discarded\n",
		len(ops), often, percent(mixed), percent(raised), percent(casting), percent(moduled), percent(functioned), percent(branched), unknown, values, discarded)
	fmt.Printf("agree %d of %d\n", agree, total)
	for _, c := range []struct {
		what        string
		n, per, min int // n of per, at least min percent
	}{
		{"mix dtypes", mixed, total, 30},
		{"raise", raised, total, 15},
		{"have autocast", casting, total, 10},
		{"have a module", moduled, total, 10},
		{"have a function", functioned, total, 10},
	} {
		if 100*c.n < c.min*c.per {
			t.Errorf("%d of %d programs %s, want %d %%", c.n, c.per, c.what, c.min)
		}
	}
	if total >= 20_000 && often < 300 {
		t.Errorf("%d ops at least 20 times, want 300", often)
	}
	least := 98.5 // of few programs: two faults more are chance
	if total >= 4000 {
		least = 99.5
	}
	if 100*float64(agree) < least*float64(total) {
		t.Errorf("the evaluator agrees with PyTorch %s in %d of %d programs, want %.1f %%", workers[0].Torch, agree, total, least)
	}
}

func (g *generator) text() string {
	var b strings.Builder
	for _, l := range g.lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// observe runs every path of a program. It is false if one fails for another
// reason than dtypes.
func observe(t *testing.T, p *torchrun.Process, g *generator) (observation, map[int]string, bool, bool) {
	var b strings.Builder
	for _, l := range g.lines {
		b.WriteString(l.oracle + "\n")
	}
	text, _ := json.Marshal(b.String())
	seen := observation{}
	raises := map[int]string{}
	failed := 0
	paths := 1 << g.conds
	if g.conds > 3 {
		return nil, nil, false, false
	}
	for path := range paths {
		conds := make([]string, g.conds)
		for i := range conds {
			conds[i] = "False"
			if path>>i&1 == 1 {
				conds[i] = "True"
			}
		}
		r := p.Run(t, torchrun.Snippet{Source: harness, Call: fmt.Sprintf("run(%s, [%s])", text, strings.Join(conds, ", "))})[0]
		if r.Raised != "" {
			t.Errorf("the harness: %s\n%s", r, b.String())
			return nil, nil, false, false
		}
		if len(r.Value) < 2 || len(r.Value) >= 1000 {
			return nil, nil, false, false
		}
		value := strings.ReplaceAll(r.Value[1:len(r.Value)-1], `\'`, "'")
		if value == "" {
			continue
		}
		for _, item := range strings.Split(value, ";") {
			if rest, ok := strings.CutPrefix(item, "!"); ok {
				n, message, _ := strings.Cut(rest, ",")
				at, _ := strconv.Atoi(n)
				if !aboutDTypes.MatchString(message) || strings.Contains(message, "SyntaxError") {
					if os.Getenv("TORCH_DISCARDED") != "" {
						fmt.Println("discarded", g.lines[max(at-1, 0)].text, "#", message)
					}
					return nil, nil, false, false
				}
				raises[at] = message
				failed++
				continue
			}
			k := strings.LastIndexByte(item, ',')
			if seen[item[:k]] == nil {
				seen[item[:k]] = map[string]bool{}
			}
			seen[item[:k]][item[k+1:]] = true
		}
	}
	return seen, raises, failed == paths, true
}

type verdict struct {
	fault, key      string
	values, unknown int
}

// judge compares what PyTorch did with what the evaluator says.
func judge(text, version string, seen observation, raises map[int]string, surely bool) verdict {
	var v verdict
	tree, err := python.Parse(text)
	if err != nil {
		return verdict{fault: err.Error(), key: "parse"}
	}
	facts := interp.Eval(tree, interp.Options{Stop: true, Torch: version})
	lines := strings.Split(text, "\n")
	shape := regexp.MustCompile(`\bv\d+\b`)
	fail := func(line int, format string, args ...any) {
		at := 0
		if v.fault != "" {
			at, _ = strconv.Atoi(strings.TrimSuffix(strings.Fields(v.fault)[1], ":"))
			if at <= line {
				return
			}
		}
		v.fault = fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...))
		v.key = shape.ReplaceAllString(strings.TrimSpace(lines[line-1]), "v")
		if _, rest, ok := strings.Cut(v.key, " = "); ok && !strings.HasSuffix(strings.Split(v.key, " = ")[0], "]") {
			v.key = rest
		}
	}
	got := map[string][]string{}
	for _, a := range facts.Assigned {
		if a.Scope.Name != "" {
			continue
		}
		key := fmt.Sprintf("%d,%s", tree.Line(a.At.Pos().Start), a.Name)
		val := a.Value
		ds, ok := val.Tensor().DType.In(func(*dtype.Root) dtype.DType { return dtype.None }, dtype.Float32)
		if !ok {
			got[key] = []string{"unknown"}
			continue
		}
		var out []string
		for _, d := range ds {
			s := d.String()
			if val.Kind == interp.KindNumber {
				s = "#" + s
			}
			out = append(out, s)
		}
		got[key] = out
	}
	refused := map[int]string{}
	last := len(lines) // what runs on some path
	if surely {
		last = 0
		for n := range raises {
			last = max(last, n)
		}
	}
	for _, r := range facts.Raises {
		if r.Scope.Name == "" && tree.Line(r.At.Pos().Start) <= last {
			refused[tree.Line(r.At.Pos().Start)] = r.Text
		}
	}
	for key, want := range seen {
		at, name, _ := strings.Cut(key, ",")
		n, _ := strconv.Atoi(at)
		v.values++
		g, ok := got[key]
		if !ok {
			if refused[n] == "" {
				fail(n, "%s is %s, the evaluator has nothing", name, keys(want))
			}
			continue
		}
		if slices.Contains(g, "unknown") {
			v.unknown++
		}
		slices.Sort(g)
		if !slices.Equal(g, keys(want)) {
			fail(n, "%s is %s, the evaluator says %s", name, keys(want), g)
		}
	}
	for n, message := range raises {
		if refused[n] == "" {
			fail(n, "raises %s, the evaluator does not", message)
		}
	}
	for n, text := range refused {
		if raises[n] == "" {
			fail(n, "the evaluator says that it raises: %s", text)
		}
	}
	return v
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
