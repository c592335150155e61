package interp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
)

// oddHarness runs a program and notes what each name holds behind the statement
// of the module that assigns it. A program ends where it raises.
const oddHarness = `
import ast
import sys

def word(v):
    if isinstance(v, torch.nn.Parameter) or isinstance(v, torch.Tensor):
        return str(v.dtype)[6:]
    if isinstance(v, (bool, int, float)):
        return "#" + type(v).__name__
    if isinstance(v, torch.dtype):
        return "dtype:" + str(v)[6:]
    return "-"

class Trace(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        return node
    visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = visit_FunctionDef

    def noted(self, targets):
        return [ast.parse("T(%d, %r, %s)" % (n.lineno, n.id, n.id)).body[0]
                for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]

    def visit_Assign(self, node):
        return [node] + self.noted(node.targets)

    def visit_AugAssign(self, node):
        return [node] + self.noted([node.target])

    visit_AnnAssign = visit_AugAssign

    def visit_For(self, node):
        self.generic_visit(node)
        node.body = self.noted([node.target]) + node.body
        return node

def trace(text):
    out = []
    def T(line, name, value):
        out.append("%d,%s,%s" % (line, name, word(value)))
    def watch(frame, event, arg):
        if frame.f_code.co_filename != "<p>":
            return None
        if event == "exception" and frame.f_code.co_name == "<module>":
            out.append("?%d,," % frame.f_lineno)
        return watch
    default = torch.get_default_dtype()
    sys.settrace(watch)
    try:
        with torch.no_grad():
            tree = ast.fix_missing_locations(Trace().visit(ast.parse(text)))
            exec(compile(tree, "<p>", "exec"), {"torch": torch, "__name__": "p", "T": T})
    except Exception as e:
        line, tb = 0, e.__traceback__
        while tb:
            if tb.tb_frame.f_code.co_filename == "<p>" and tb.tb_frame.f_code.co_name == "<module>":
                line = tb.tb_lineno
            tb = tb.tb_next
        out.append("!%d,%s,%s" % (line, type(e).__name__, str(e).split("\n")[0][:120].replace(";", " ").replace(",", " ")))
    finally:
        sys.settrace(None)
        torch.set_default_dtype(default)
    return ";".join(out)
`

// TestOddPrograms runs legal but unusual programs and compares every name that a
// statement of the module assigns. What the evaluator does not know is counted;
// what it says and PyTorch does not is an error.
func TestOddPrograms(t *testing.T) {
	if os.Getenv("DTYPEBOT_SLOW") == "" {
		t.Skip("slow: set DTYPEBOT_SLOW=1")
	}
	archive, err := txtar.ParseFile("testdata/odd.txtar")
	if err != nil {
		t.Fatal(err)
	}
	p := torchrun.Start(t)
	var right, wider, unknown, wrong int
	for _, f := range archive.Files {
		text, _ := json.Marshal(string(f.Data))
		r := p.Run(t, torchrun.Snippet{Source: oddHarness, Call: fmt.Sprintf("trace(%s)", text)})[0]
		if r.Raised != "" || len(r.Value) < 2 {
			t.Fatalf("%s: %s", f.Name, r)
		}
		o := compareOdd(string(f.Data), p.Torch, strings.Split(r.Value[1:len(r.Value)-1], ";"))
		right, wider, unknown, wrong = right+o.right, wider+o.wider, unknown+len(o.unknown), wrong+len(o.wrong)
		for _, w := range o.wrong {
			t.Errorf("%s: %s", f.Name, w)
		}
		for _, u := range o.unknown {
			t.Logf("unknown: %s: %s", f.Name, u)
		}
	}
	fmt.Printf("%d programs: %d values right, %d among others, %d unknown, %d wrong\n", len(archive.Files), right, wider, unknown, wrong)
}

// An oddity is how a program's values compare.
type oddity struct {
	right, wider   int
	unknown, wrong []string
}

func compareOdd(text, version string, observed []string) (o oddity) {
	tree, err := python.Parse(text)
	if err != nil {
		return oddity{wrong: []string{err.Error()}}
	}
	facts := interp.Eval(tree, interp.Options{Stop: true, Torch: version})
	got := map[string][]string{}
	for _, a := range facts.Assigned {
		if a.Scope.Name == "" {
			got[fmt.Sprintf("%d,%s", tree.Line(a.At.Pos().Start), a.Name)] = oddWords(a.Value)
		}
	}
	refused := map[int]*interp.Raise{}
	for _, r := range facts.Raises {
		if r.Scope.Name == "" {
			refused[tree.Line(r.At.Pos().Start)] = r
		}
	}
	seen, raisedAt, caught := observation{}, 0, map[int]bool{}
	for _, item := range observed {
		parts := strings.SplitN(item, ",", 3)
		if len(parts) != 3 {
			continue
		}
		if line, ok := strings.CutPrefix(parts[0], "?"); ok {
			n, _ := strconv.Atoi(line)
			caught[n] = true
			continue
		}
		if line, ok := strings.CutPrefix(parts[0], "!"); ok {
			raisedAt, _ = strconv.Atoi(line)
			switch r := refused[raisedAt]; {
			case r == nil:
				o.unknown = append(o.unknown, "line "+item)
			default:
				o.right++
			}
			continue
		}
		key := parts[0] + "," + parts[1]
		if seen[key] == nil {
			seen[key] = map[string]bool{}
		}
		seen[key][parts[2]] = true
	}
	for line, r := range refused {
		if r.Certain && !caught[line] && (raisedAt == 0 || line < raisedAt) {
			o.wrong = append(o.wrong, fmt.Sprintf("line %d: said to raise: %s", line, r.Text))
		}
	}
	for key, want := range seen {
		words := keys(want)
		if slices.Equal(words, []string{"-"}) {
			continue
		}
		g := got[key]
		switch {
		case len(g) == 0 || slices.Contains(g, "unknown"):
			o.unknown = append(o.unknown, fmt.Sprintf("%s is %s", key, words))
		case slices.Equal(g, words):
			o.right++
		case !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(g, w) }):
			o.wider++
		default:
			o.wrong = append(o.wrong, fmt.Sprintf("%s is %s, the evaluator says %s", key, words, g))
		}
	}
	slices.Sort(o.unknown)
	slices.Sort(o.wrong)
	return o
}

// oddWords is what the evaluator says of a value in the words of the harness.
func oddWords(v *interp.Value) []string {
	prefix := ""
	switch v.Kind {
	case interp.KindNumber:
		low, high := v.DType.Categories()
		if low != high || !v.DType.Known() {
			return []string{"unknown"}
		}
		return []string{[]string{"", "#bool", "#int", "#float", "#complex"}[high]}
	case interp.KindDType:
		prefix = "dtype:"
	case interp.KindTensor:
	case interp.KindOpen, interp.KindUnknown:
		return []string{"unknown"}
	default:
		return []string{"-"}
	}
	ds, ok := v.DType.In(func(*dtype.Root) dtype.DType { return dtype.None }, dtype.Float32)
	if !ok || slices.Contains(ds, dtype.None) {
		return []string{"unknown"}
	}
	var out []string
	for _, d := range ds {
		out = append(out, prefix+d.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}
