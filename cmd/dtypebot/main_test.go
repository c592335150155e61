package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// TestMain makes the commands of the scripts: dtypebot itself, and checkones,
// which is dtypebot with one rule that does not change when the catalogue does.
//
// Tests that run at once mostly wait, so more of them run than there are
// processors; -parallel says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"dtypebot": main,
		"checkones": func() {
			root := newRoot()
			for _, c := range root.Commands() {
				if c.Name() == "check" {
					root.RemoveCommand(c)
				}
			}
			root.AddCommand(checkCommand([]*analysis.Rule{onesRule}))
			err := root.Execute()
			var code exitCode
			switch {
			case errors.As(err, &code):
				os.Exit(int(code))
			case err != nil:
				fmt.Fprintln(os.Stderr, "dtypebot:", err)
				os.Exit(2)
			}
		},
	})
}

// slow says that tests may take their time.
func slow() bool { return os.Getenv("DTYPEBOT_SLOW") == "1" }

// onlySlow skips what takes too long for every run.
func onlySlow(t testing.TB) {
	t.Helper()
	if !slow() {
		t.Skip("slow: set DTYPEBOT_SLOW=1")
	}
}

// onesRule reports calls of torch.ones without a dtype, as possible on lines
// that say "maybe", with an unsafe fix where they say "unsafe".
var onesRule = &analysis.Rule{Name: "ones", Severity: analysis.High, Run: func(p *analysis.Pass) {
	var look func(e python.Expr)
	look = func(e python.Expr) {
		c, ok := e.(*python.Call)
		if !ok {
			return
		}
		for _, a := range c.Args {
			if a.Name == "dtype" {
				return
			}
			look(a.Value)
		}
		if f, ok := c.Func.(*python.Attribute); !ok || f.Sel != "ones" {
			return
		}
		line := p.Tree.Text(p.Tree.LineSpan(p.Tree.Line(c.Start)))
		f := analysis.Finding{At: c.Span, Confidence: analysis.Likely, Message: "`torch.ones` without a dtype.", Fix: &analysis.Fix{
			Title: "Give it one", Safety: analysis.Safe,
			Edits: []analysis.Edit{{Span: python.Span{Start: c.Rparen, End: c.Rparen}, New: ", dtype=x.dtype"}},
		}}
		if strings.Contains(line, "maybe") {
			f.Confidence = analysis.Possible
		}
		if strings.Contains(line, "unsafe") {
			f.Fix.Safety = analysis.Unsafe
		}
		p.Report(f)
	}
	for _, s := range p.Tree.Body {
		if a, ok := s.(*python.Assign); ok {
			look(a.Value)
		}
	}
}}

func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal("git is missing: apt-get install git")
		}
		t.Skip("git is missing: apt-get install git")
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
			e.Setenv("GIT_CONFIG_SYSTEM", "/dev/null")
			for _, who := range []string{"AUTHOR", "COMMITTER"} {
				e.Setenv("GIT_"+who+"_NAME", "a")
				e.Setenv("GIT_"+who+"_EMAIL", "a@example.com")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// status N COMMAND… runs a command that must exit with status N.
			"status": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: status N COMMAND…")
				}
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = fmt.Sprint(exit.ExitCode())
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if got != args[0] {
					ts.Fatalf("exit status %s, want %s", got, args[0])
				}
			},
			// readme FILE PATTERN writes the one "run:" of README.md that matches, as
			// for a pull request to main.
			"readme": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: readme FILE PATTERN")
				}
				found := regexp.MustCompile(`(?m)^ +- run: (`+args[1]+`.*)$`).FindAllStringSubmatch(string(readme), -1)
				if len(found) != 1 {
					ts.Fatalf("README.md has %d steps that match %q", len(found), args[1])
				}
				step := strings.ReplaceAll(found[0][1], "${{ github.base_ref }}", "main")
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(step+"\n"), 0o600))
			},
			// crlf FILE… turns the line ends of files into "\r\n".
			"crlf": func(ts *testscript.TestScript, neg bool, args []string) {
				for _, name := range args {
					text := "\ufeff" + strings.ReplaceAll(ts.ReadFile(name), "\n", "\r\n")
					ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o640))
				}
			},
		},
	})
}
