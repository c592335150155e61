package torchrun

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func load(t *testing.T, name string) Fixture {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return Fixture{Name: name, Archive: archive}
}

func TestRun(t *testing.T) {
	results := Run(t, []Snippet{
		{Call: "torch.rand(2, 3, dtype=DT) @ torch.rand(3, 2)", DT: "bfloat16"},
		{Source: "def f(x):\n    y = x\n    return y @ torch.rand(2, 2)\n", Call: "f(torch.rand(2, 2, dtype=DT))", DT: "float64"},
		{Call: "x = torch.rand(2, 2); y = [x, np.ones(2)]; n = 3; (x @ x, y)", Autocast: true, Names: []string{"x", "y", "n", "z"}},
		{Source: "torch.set_default_dtype(torch.float64)", Call: "torch.zeros(1)"},
		{Call: "torch.zeros(1)"},
		{Call: "print('noise'); 1 + 1"},
		{Source: "def (:", Call: "1"},
		{Call: "torch.rand(3)"},
		{Call: "torch.rand(3) + 0"},
		{Call: "torch.rand(3).to(torch.bfloat16)"},
	})
	want := []string{
		`raises "RuntimeError: expected scalar type BFloat16 but found Float"`,
		`raises "RuntimeError: expected scalar type Double but found Float"`,
		"dtype bfloat16, float32, float64",
		"dtype float64",
		"dtype float32", // the default dtype does not outlive its snippet
		`value "2"`,
		`raises "SyntaxError: invalid syntax (<source>, line 1)"`,
		"dtype float32",
		"dtype float32",
		"dtype bfloat16",
	}
	for i, r := range results {
		if r.String() != want[i] {
			t.Errorf("snippet %d: %s, want %s", i, r, want[i])
		}
	}
	if got := results[1].Line; got != 3 {
		t.Errorf("raised on line %d of the source, want 3", got)
	}
	names := results[2].Names
	if names["x"] != "float32" || names["n"] != "int" {
		t.Errorf("names %v", names)
	}
	if _, ok := names["z"]; ok {
		t.Errorf("a name that was never assigned has dtype %q", names["z"])
	}
	if results[7].Digest != results[8].Digest || results[7].Digest == results[9].Digest {
		t.Error("digests do not tell equal results from different ones")
	}
}

func TestFixtures(t *testing.T) {
	CheckFixtures(t, load(t, "product"), load(t, "positions"))
}

// Each change breaks a good fixture in one way that must be noticed.
func TestFixtureFaults(t *testing.T) {
	p := Start(t)
	for _, test := range []struct{ name, fixture, old, new, want string }{
		{"original does not raise", "product", "return points @ camera  #", "return points @ camera.to(points)  #", "example.py:5: DT=bfloat16: dtype bfloat16, want raises"},
		{"other message", "product", "expected scalar type", "cannot cast", "want raises"},
		{"mended raises", "product", "camera.to(points.dtype)", "camera", "example.py.fixed:5: DT=bfloat16: raises"},
		{"mended of wrong dtype", "product", "points @ camera.to(points.dtype)", "points.float() @ camera", "example.py.fixed:5: DT=bfloat16: dtype float32, want dtype bfloat16"},
		{"other bits", "product", "points @ camera.to(points.dtype)", "points @ (2 * camera).to(points.dtype)", "other bits"},
		{"breaks what ran", "product", "points @ camera.to(points.dtype)", "points.to(camera.dtype) @ camera.double()", "the original runs, the mended text raises"},
		{"clean raises", "product", "camera.to(points)\n", "camera\n", "clean.py:8"},
		{"clean expects to raise", "product", "=> dtype DT, float32", `=> raises "x"`, "clean code must not raise"},
		{"nothing to run", "product", "# not run: the operation needs a GPU", "", "clean_gpu.py:0: no"},
		{"no reason", "product", "# not run: the operation needs a GPU", "# not run:", "why?"},
		{"unknown option", "product", "run[DT=bfloat16]:", "run[DT=bfloat16, gpu]:", "unknown option"},
		{"unknown dtype", "product", "run[DT=bfloat16]:", "run[DT=bf16]:", "is no dtype"},
		{"unknown outcome", "product", "=> dtype DT, float32", "=> dtypes DT", "unknown outcome"},
		{"value", "positions", "^512$", "^511$", "want value"},
		{"other bits, unsafe", "product", "A fixture of", "unsafe: other numbers\nA fixture of", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := load(t, test.fixture)
			before := string(txtar.Format(f.Archive))
			text := strings.ReplaceAll(before, test.old, test.new)
			if text == before {
				t.Fatalf("%s does not hold %q", test.fixture, test.old)
			}
			if test.want == "" {
				text = strings.ReplaceAll(text, "camera.to(points.dtype)", "(2 * camera).to(points.dtype)")
			}
			f.Archive = txtar.Parse([]byte(text))
			got := strings.Join(checkFixture(t, p, f), "\n")
			if test.want == "" && got != "" || test.want != "" && !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A recorder notes how a test ended instead of ending it.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.ended = "failed: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.ended = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestMissing(t *testing.T) {
	t.Setenv("DTYPEBOT_PYTHON", filepath.Join(t.TempDir(), "python"))
	for require, want := range map[string]string{"": "skipped: ", "all": "failed: "} {
		t.Setenv("DTYPEBOT_REQUIRE", require)
		for name, need := range map[string]func(testing.TB){
			"Start":  func(t testing.TB) { Start(t) },
			"Python": func(t testing.TB) { Python(t) },
		} {
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				need(r)
			}()
			<-done
			if !strings.HasPrefix(r.ended, want) || !strings.HasSuffix(r.ended, install) {
				t.Errorf("%s with DTYPEBOT_REQUIRE=%q: %q", name, require, r.ended)
			}
		}
	}
}
