// Package torchrun runs Python snippets under real PyTorch, for tests. What
// PyTorch does is the measure of every rule: code that a rule calls wrong must
// misbehave, its mended form must not, and what the rule is silent about must
// run.
//
// # Snippets
//
// [Start] begins one Python process that imports PyTorch once; [Process.Run]
// feeds it snippets and says of each which exception it raised, or which dtypes
// came out. Every snippet gets a fresh namespace that holds torch, nn, F, np
// and DT (the dtype of its world), and starts from the same random seed.
//
// # Fixtures
//
// A rule's fixture is a txtar archive with the sections example.py,
// example.py.fixed and clean*.py. Comments in example.py and clean*.py say how
// to run them:
//
//	# run[DT=bfloat16]: project(torch.rand(5, 3, dtype=DT), torch.eye(3)) => raises "expected scalar type" => dtype DT
//	# run[DT=float32, autocast]: project(torch.rand(5, 3), torch.eye(3)) => dtype bfloat16
//	# run: ids = torch.arange(300); table(ids).unique().numel() => value "300"
//
// In brackets stand the dtype of the world, DT (float32 when it is missing, or
// several: DT=bfloat16|float64), and autocast for torch.autocast("cpu",
// dtype=torch.bfloat16) around the call. The call is one or more statements;
// the value of the last one is the result. A call that needs more than a line
// belongs in a function of the section. What comes out is one of
//
//	raises "regexp"       an exception whose type and message, joined by ": ", match
//	dtype bfloat16, DT    the dtypes of the result's tensors and arrays in order
//	value "regexp"        the repr of the result matches
//	runs                  it does not raise
//
// The first outcome is that of the section. In example.py a second arrow names
// the outcome of example.py.fixed; without it the mended text must just run.
// A section that cannot run says why instead: "# not run: needs a GPU".
// [CheckFixture] also runs every call of example.py in float32, float64 and
// bfloat16, outside and inside autocast: where the original ran, the mended
// text must run too, and unless the archive's comment has a line that starts
// with "unsafe:", float32 outside autocast must give the same bits.
//
// The package is for tests alone; nothing that ships imports it. It does not
// sandbox what it runs, and knows nothing of rules.
package torchrun

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

//go:embed runner.py
var runner string

// install is what to do when PyTorch is missing.
const install = "apt-get install python3-torch"

// A Snippet is code to run and the world to run it in.
type Snippet struct {
	// Source is a module, run first and outside of autocast.
	Source string
	// Call is one or more statements. The value of the last one is the result
	// if it is an expression.
	Call string
	// DT is what the name DT stands for, without "torch."; float32 when empty.
	DT string
	// Autocast runs Call under torch.autocast("cpu", dtype=torch.bfloat16).
	Autocast bool
	// Names are variables whose dtypes to report.
	Names []string
}

// A Result is what became of a snippet.
type Result struct {
	// Raised is the exception's type, empty when nothing was raised. Message is
	// its first line, Line the last line of Source that it passed, or 0.
	Raised  string `json:"raised"`
	Message string `json:"message"`
	Line    int    `json:"line"`
	// Dtypes are those of the tensors and arrays in the result, in order,
	// through lists, tuples and dicts.
	Dtypes []string `json:"dtypes"`
	// Digest is equal for results of equal dtypes, shapes and bits.
	Digest string `json:"digest"`
	// Value is the result's repr, at most 1000 characters.
	Value string `json:"value"`
	// Names gives for each asked name its dtype, or its type when it holds no
	// tensor. A name that was never assigned is missing.
	Names map[string]string `json:"names"`
}

// String says what became of the snippet in the words of a fixture.
func (r Result) String() string {
	if r.Raised != "" {
		return fmt.Sprintf("raises %q", r.Raised+": "+r.Message)
	}
	if len(r.Dtypes) == 0 {
		return fmt.Sprintf("value %q", r.Value)
	}
	var out bytes.Buffer
	for i, d := range r.Dtypes {
		if i > 0 {
			out.WriteString(", ")
		}
		out.WriteString(d)
	}
	return "dtype " + out.String()
}

// Python returns the interpreter that has PyTorch: $DTYPEBOT_PYTHON, or
// /usr/bin/python3. Without PyTorch the test is skipped, or fails if
// $DTYPEBOT_REQUIRE is "all".
func Python(t testing.TB) string {
	t.Helper()
	python := interpreter()
	probe := `import importlib.util as u, sys; sys.exit(not (u.find_spec("torch") and u.find_spec("numpy")))`
	if err := exec.Command(python, "-c", probe).Run(); err != nil {
		missing(t, fmt.Sprintf("%s has no torch and numpy", python))
	}
	return python
}

func interpreter() string {
	if python := os.Getenv("DTYPEBOT_PYTHON"); python != "" {
		return python
	}
	return "/usr/bin/python3"
}

// missing ends the test for want of PyTorch.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
		t.Fatalf("%s; %s", what, install)
	}
	t.Skipf("%s; %s", what, install)
}

// A Process is a Python process with PyTorch imported. It may be used from
// several tests at once; they take turns.
type Process struct {
	// Torch is the version of PyTorch.
	Torch string

	mu     sync.Mutex
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *lockedBuffer
}

// Start begins a process that ends with the test. Importing PyTorch takes one
// or two seconds: share the process. Without PyTorch the test is skipped, or
// fails if $DTYPEBOT_REQUIRE is "all".
func Start(t testing.TB) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(interpreter(), "-c", runner), stderr: new(lockedBuffer)}
	p.cmd.Stderr = p.stderr
	p.cmd.Env = Environ(t)
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		missing(t, err.Error())
	}
	p.in, p.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		p.in.Close()
		// A snippet that hangs in native code would hold the test for ever.
		timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
		defer timer.Stop()
		_ = p.cmd.Wait()
	})

	var hello struct{ Torch, Missing string }
	if err := p.read(&hello); err != nil {
		t.Fatalf("start %s: %v", p.cmd.Path, err)
	}
	if hello.Missing != "" {
		missing(t, fmt.Sprintf("%s: %s", p.cmd.Path, hello.Missing))
	}
	p.Torch = hello.Torch
	return p
}

// Run runs snippets one after another and returns a result for each. The test
// ends if the process does.
func (p *Process) Run(t testing.TB, snippets ...Snippet) []Result {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	results := make([]Result, len(snippets))
	for i, s := range snippets {
		if s.DT == "" {
			s.DT = "float32"
		}
		if s.Names == nil {
			s.Names = []string{}
		}
		line, err := json.Marshal(map[string]any{
			"source": s.Source, "call": s.Call, "dt": s.DT, "autocast": s.Autocast, "names": s.Names,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.in.Write(append(line, '\n')); err != nil {
			t.Fatalf("run snippet %q: %v\n%s", s.Call, err, p.stderr)
		}
		if err := p.read(&results[i]); err != nil {
			t.Fatalf("run snippet %q: %v", s.Call, err)
		}
	}
	return results
}

// read reads one answer. The runner gives a snippet 20 seconds of Python; twice
// that means that it hangs in native code.
func (p *Process) read(into any) error {
	timer := time.AfterFunc(40*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the runner's answer: %w\n%s", err, p.stderr)
	}
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("decode the runner's answer %q: %w", line, err)
	}
	return nil
}

// Run starts a process, runs the snippets and returns a result for each.
func Run(t testing.TB, snippets []Snippet) []Result {
	t.Helper()
	return Start(t).Run(t, snippets...)
}

// A lockedBuffer collects what the process writes to standard error while
// another goroutine may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
