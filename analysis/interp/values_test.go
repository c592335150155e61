package interp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
)

// The files of testdata/values say what is known of a name behind the statement
// that assigns it: "x = torch.ones(4)  # is default". Alternatives are separated
// by "|", a number's dtype follows "#", and anything else is its kind. PyTorch
// runs each file and has to agree wherever no definition ("of:") is named, but for
// files that begin with "# not run:". The files issue_*.py hold what the evaluator
// has to know of values, modules, autocast and calls.
var isComment = regexp.MustCompile(`^(\s*)([a-zA-Z_]\w*)(\s*[-+*/@&|]?=\s*.*?)\s+# is (\S+)$`)

func valueFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/values/*.py")
	if err != nil || len(paths) == 0 {
		t.Fatalf("testdata/values: %v", err)
	}
	files := map[string]string{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(p)] = string(text)
	}
	return files
}

// told is what the evaluator says of a value, as the comments do.
func told(v *interp.Value) string {
	text := v.Tensor().DType.String()
	switch v.Kind {
	case interp.KindTensor, interp.KindOpen:
		return text
	case interp.KindNumber:
		return "#" + text
	case interp.KindDType, interp.KindArray, interp.KindModule:
		return v.Kind.String() + ":" + text
	}
	return v.Kind.String()
}

func TestValues(t *testing.T) {
	for name, text := range valueFiles(t) {
		t.Run(name, func(t *testing.T) {
			tree, err := python.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			facts := interp.Eval(tree, interp.Options{})
			known := map[string]string{}
			for _, a := range facts.Assigned {
				known[fmt.Sprint(tree.Line(a.At.Pos().Start), a.Name)] = told(a.Value)
			}
			compared := 0
			for i, line := range strings.Split(text, "\n") {
				m := isComment.FindStringSubmatch(line)
				if m == nil {
					if strings.Contains(line, "# is ") {
						t.Errorf("line %d: not understood: %s", i+1, line)
					}
					continue
				}
				compared++
				if got := known[fmt.Sprint(i+1, m[2])]; got != m[4] {
					t.Errorf("line %d: %s is %s, want %s", i+1, m[2], got, m[4])
				}
			}
			if compared == 0 {
				t.Error("nothing to compare")
			}
		})
	}
}

const valuesHarness = `
def word(v):
    if isinstance(v, torch.Tensor):
        return str(v.dtype)[6:]
    if isinstance(v, (bool, int, float)):
        return {"bool": "#bool", "int": "#int64", "float": "#float32"}[type(v).__name__]
    if isinstance(v, torch.dtype):
        return "dtype:" + str(v)[6:]
    return type(v).__name__ + ":" + str(getattr(v, "dtype", "")).replace("ndarray", "array")

def judge(text, want):
    bad, seen = [], set()
    def T(line, name, value):
        seen.add(line)
        if word(value) not in want[line]:
            bad.append("line %d: %s is %s, not %s" % (line, name, word(value), want[line]))
    with torch.no_grad():
        exec(compile(text, "<p>", "exec"), {"torch": torch, "__name__": "p", "T": T})
    return bad[0] if bad else len(seen)
`

// TestValuesInTorch lets PyTorch judge the comments. It says nothing of modules,
// of other kinds and of what depends on a definition.
func TestValuesInTorch(t *testing.T) {
	p := torchrun.Start(t)
	for name, text := range valueFiles(t) {
		if strings.HasPrefix(text, "# not run: ") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			lines := strings.Split(text, "\n")
			want := map[string][]string{}
			for i, line := range lines {
				m := isComment.FindStringSubmatch(line)
				if m == nil || strings.Contains(m[4], "of:") || strings.HasPrefix(m[4], "module:") || !strings.ContainsAny(m[4], "0123456789#") && !strings.Contains(m[4], "default") && !strings.Contains(m[4], "bool") {
					continue
				}
				lines[i] = fmt.Sprintf("%s%s%s; T(%d, %q, %s)", m[1], m[2], m[3], i+1, m[2], m[2])
				kind, list := "", m[4]
				if k, rest, ok := strings.Cut(list, ":"); ok {
					kind, list = k+":", rest
				} else if rest, ok := strings.CutPrefix(list, "#"); ok {
					kind, list = "#", rest
				}
				for _, d := range strings.Split(strings.ReplaceAll(list, "default", "float32"), "|") {
					want[strconv.Itoa(i+1)] = append(want[strconv.Itoa(i+1)], kind+d)
				}
			}
			program, _ := json.Marshal(strings.Join(lines, "\n")) // texts always marshal
			allowed, _ := json.Marshal(want)
			r := p.Run(t, torchrun.Snippet{Source: valuesHarness, Call: fmt.Sprintf("judge(%s, {int(k): v for k, v in %s.items()})", program, allowed)})[0]
			if r.Value != strconv.Itoa(len(want)) {
				t.Errorf("want %d values, got %s", len(want), r)
			}
		})
	}
}
