package analyser

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// TestMain makes the test's program a child, one that works or one that
// misbehaves when it sees certain files.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "parent" {
		c := &Child{Args: []string{"misbehave"}, started: func(pid int, _ []analysis.File) { fmt.Println(pid) }}
		_, _, _ = c.Analyse(context.Background(), []analysis.File{file("hang.py")}, check.Around{})
		os.Exit(1)
	}
	if len(os.Args) > 1 && slices.Contains([]string{Verb, "misbehave"}, os.Args[1]) {
		if err := child(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(verb string, args []string) error {
	var l Limits
	flags := flag.NewFlagSet(verb, flag.ExitOnError)
	flags.Int64Var(&l.Memory, "memory", 0, "")
	flags.DurationVar(&l.CPU, "cpu", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := Confine(l); err != nil {
		return err
	}
	if dir, err := os.Getwd(); verb == Verb && (err != nil || dir != "/" || len(os.Environ()) > 0 || syscall.Getpgrp() != os.Getpid()) {
		return fmt.Errorf("in %s (%v) and group %d of process %d, with %q", dir, err, syscall.Getpgrp(), os.Getpid(), os.Environ())
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if verb == "misbehave" {
		misbehave(input)
	}
	return Serve(context.Background(), bytes.NewReader(input), os.Stdout)
}

// misbehave does what the paths of the files say, in this order.
func misbehave(request []byte) {
	says := func(word string) bool { return bytes.Contains(request, []byte(`"`+word+`.py"`)) }
	switch {
	case says("panic"):
		panic("a fault")
	case says("overflow"):
		debug.SetMaxStack(1 << 20)
		var deeper func(int) int
		deeper = func(n int) int { return deeper(n+1) + 1 }
		fmt.Fprintln(os.Stderr, deeper(0))
	case says("killed"):
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case says("fault"):
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case says("terminated"): // as all processes of a service are at its end
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	case says("reach"):
		reach()
	case says("hang"), says("one") && says("two"):
		time.Sleep(time.Hour)
	case says("spin"):
		for i := 0; ; i++ { // without an end
		}
	case says("bomb"):
		bomb()
	case says("garbage"):
		fmt.Println("Traceback (most recent call last):")
		os.Exit(0)
	case says("more"):
		fmt.Println(`{"Report":{"Files":1},"Plan":{}} {}`)
		os.Exit(0)
	case says("silent"):
		os.Exit(0)
	case says("flood"):
		text := bytes.Repeat([]byte(" "), 1<<20)
		for {
			if _, err := os.Stdout.Write(text); err != nil {
				os.Exit(0)
			}
		}
	case says("complain"):
		text := bytes.Repeat([]byte("a complaint\n"), 1<<16)
		for range 20 {
			_, _ = os.Stderr.Write(text)
		}
		os.Exit(1)
	}
}

// bomb takes memory until somebody minds.
func bomb() {
	var held [][]byte
	for {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
		if len(held) > 1<<12 {
			os.Exit(7) // 32 GB, and nobody did
		}
	}
}

// bad is a file with a mistake, for which there is a suggestion.
const bad = `import torch


def scale(x):
    x = x.to(torch.bfloat16)
    w = torch.ones(4, 4)
    return x @ w
`

func file(path string) analysis.File { return analysis.File{Path: path, Source: bad, Whole: true} }

// misbehaving is a child that does what files say, and counts its runs.
func misbehaving(t *testing.T) (*Child, *int) {
	if resident, ok := resident(os.Getpid()); !ok || resident == 0 {
		t.Skip("memory is watched on Linux only")
	}
	runs := new(int)
	return &Child{
		Args: []string{"misbehave"}, Memory: 256 << 20, Deadline: 5 * time.Second, FileDeadline: 2 * time.Second, MaxAnswer: 4 << 20,
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		started: func(int, []analysis.File) { *runs++ },
		env:     []string{"GORACE=atexit_sleep_ms=0"}, // the race detector sleeps a second at each end
	}, runs
}

// TestChild checks that a child gives what this process gives, on everything
// that the rules' fixtures bring up.
func TestChild(t *testing.T) {
	t.Parallel() // it mostly waits for processes
	fixtures, err := filepath.Glob(filepath.Join("..", "..", "analysis", "rules", "testdata", "*.txtar"))
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var files []analysis.File
	for _, name := range fixtures {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".py") {
				files = append(files, analysis.File{Path: filepath.Base(name) + "/" + f.Name, Source: string(f.Data), Whole: true})
			}
		}
	}
	files = append(files,
		analysis.File{Path: "latin.py", Source: "# coding: latin-1\n" + strings.Replace(bad, "4, 4)", "4, 4)  # carr\xe9, \U0010ffff", 1), Whole: true},
		analysis.File{Path: "generated.py", Source: "# Generated by the protocol buffer compiler.  DO NOT EDIT!\n", Whole: true},
		analysis.File{Path: "odd\u2028<&>.py", Source: strings.Replace(bad, "scale", "skalieren_\u00e4", 1), Base: "import torch\n\n\n# \xff\n", Hunks: []analysis.Hunk{{Start: 1, End: 7, New: []int{4, 5, 6, 7}}}},
		analysis.File{Path: "broken.py", Source: "def (:\n", Added: true, Hunks: []analysis.Hunk{{Start: 1, End: 1, New: []int{1}}}},
	)
	around := check.Around{Deleted: []string{"y = '\xe9'\n", ""}}

	findings, comments, skipped, raises, half, bytewise := 0, 0, 0, 0, 0, false
	for some := range slices.Chunk(files, 16) { // the more suggestions, the longer it takes to prove them together
		report, plan, err := Analyse(t.Context(), some, around)
		if err != nil {
			t.Fatal(err)
		}
		findings, comments, skipped = findings+len(report.Findings), comments+len(plan.Comments), skipped+len(report.Skipped)
		raises, half = raises+len(report.Raises), half+len(report.Signs.Half)
		bytewise = bytewise || slices.ContainsFunc(plan.Comments, func(c suggestions.Comment) bool {
			return c.Suggestion != nil && slices.ContainsFunc(c.Suggestion.Old, func(line string) bool { return !utf8.ValidString(line) })
		})
		gotReport, gotPlan, err := new(Child).Analyse(t.Context(), some, around)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(report, gotReport); d != "" {
			t.Errorf("report (-here +child)\n%s", d)
		}
		if d := cmp.Diff(plan, gotPlan); d != "" {
			t.Errorf("plan (-here +child)\n%s", d)
		}
	}
	if findings < 20 || comments < 20 || skipped == 0 || raises == 0 || half == 0 {
		t.Errorf("the fixtures show too little: %d findings, %d comments, %d skipped, %d raises, %d signs", findings, comments, skipped, raises, half)
	}
	if !bytewise {
		t.Error("no suggestion replaces a line that is no UTF-8")
	}
}

// TestRequest checks that every file and every byte arrives.
func TestRequest(t *testing.T) {
	var f analysis.File
	fill(reflect.ValueOf(&f).Elem())
	f.Source, f.Base = "\xff\x00\u2028", "\xfe"
	files, around := []analysis.File{f, {}}, check.Around{Deleted: []string{"\xfd", ""}, Tuning: check.Tuning{Rules: map[string]string{"r": "off"}, Compute: "bfloat16"}, Index: []byte{0xff, 0}}
	input, err := encodeRequest(files, around)
	if err != nil {
		t.Fatal(err)
	}
	gotFiles, gotAround, texts, err := decodeRequest(bytes.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(files, gotFiles); d != "" {
		t.Errorf("files (-want +got)\n%s", d)
	}
	if texts != nil {
		t.Errorf("texts to summarise: %q", texts)
	}
	if d := cmp.Diff(around, gotAround); d != "" {
		t.Errorf("around (-want +got)\n%s", d)
	}
}

// fill gives every field that v reaches a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i)) // panics on a field that is not exported, which JSON would drop
		}
	case reflect.Slice:
		if v.Type().Elem() == v.Type() || v.Type().String() == "[]suggestions.Comment" && v.Len() == 0 && depth > 1 {
			return
		}
		depth++
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
		depth--
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("s1") // also the first suggestion's name
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Uint32:
		v.SetUint(7)
	default:
		panic("fill: " + v.Type().String())
	}
}

// depth keeps fill from filling copies of copies.
var depth int

// TestMergeKeeps checks that merge forgets no field.
func TestMergeKeeps(t *testing.T) {
	var a answer
	fill(reflect.ValueOf(&a).Elem())
	want := a
	want.Plan.Comments[0].Copies = nil // their suggestions have names of their own
	want.Plan.Possible[0].Copies = nil
	want.Plan.Possible[0].Suggestion.ID = "s2"
	a.Plan.Possible[0].Suggestion.ID = ""
	if d := cmp.Diff(want, merge([]answer{a, {}})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMisbehaviour(t *testing.T) {
	for _, test := range []struct{ does, reason string }{
		{"panic", "the analysis of this file crashed"},
		{"overflow", "the analysis of this file crashed"},
		{"killed", "the analysis of this file crashed"},
		{"fault", "the analysis of this file crashed"},
		{"garbage", "the analysis of this file crashed"},
		{"more", "the analysis of this file crashed"},
		{"silent", "the analysis of this file crashed"},
		{"complain", "the analysis of this file crashed"},
		{"hang", "the analysis of this file took longer than 2 s"},
		{"bomb", "the analysis of this file needed more than 256 MB"},
		{"flood", "the analysis of this file gave more than 4 MB of results"},
	} {
		t.Run(test.does, func(t *testing.T) {
			t.Parallel() // it mostly waits for processes
			c, runs := misbehaving(t)
			if test.does != "hang" {
				c.Deadline, c.FileDeadline = time.Minute, time.Minute
			} else {
				c.Deadline = c.FileDeadline
			}
			culprit := file(test.does + ".py")
			files := []analysis.File{file("a.py"), file("b.py"), culprit, file("c.py")}
			report, plan, err := c.Analyse(t.Context(), files, check.Around{})
			if err != nil {
				t.Fatal(err)
			}
			if want := []check.Skip{{Path: culprit.Path, Reason: test.reason}}; !cmp.Equal(report.Skipped, want) {
				t.Errorf("skipped %v, want %v", report.Skipped, want)
			}
			want, wantPlan, err := Analyse(t.Context(), []analysis.File{files[0], files[1], files[3]}, check.Around{})
			if err != nil {
				t.Fatal(err)
			}
			if len(wantPlan.Comments) != 3 {
				t.Fatalf("%d comments, want 3", len(wantPlan.Comments))
			}
			report.Skipped = nil
			if d := cmp.Diff(want, report); d != "" {
				t.Errorf("report of the others (-want +got)\n%s", d)
			}
			if d := cmp.Diff(wantPlan, plan); d != "" {
				t.Errorf("plan of the others (-want +got)\n%s", d)
			}
			if *runs != 7 { // whole, nothing, halves, halves, the sound ones
				t.Errorf("%d runs, want 7", *runs)
			}
		})
	}
}

// TestRealBomb checks that a file which the analyser itself needs too much memory
// for is skipped: half a megabyte of statements takes some 300 of memory.
func TestRealBomb(t *testing.T) {
	t.Parallel() // it mostly waits for processes
	c, _ := misbehaving(t)
	c.Args, c.env, c.Deadline, c.FileDeadline, c.Memory = nil, nil, time.Minute, time.Minute, 128<<20
	report, plan, err := c.Analyse(t.Context(), []analysis.File{file("a.py"), {Path: "b.py", Source: strings.Repeat("a=1\n", 1<<17), Whole: true}}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []check.Skip{{Path: "b.py", Reason: "the analysis of this file needed more than 128 MB"}}; !cmp.Equal(report.Skipped, want) {
		t.Errorf("skipped %v, want %v", report.Skipped, want)
	}
	if report.Files != 1 || len(plan.Comments) != 1 {
		t.Errorf("%d files and %d comments, want one each", report.Files, len(plan.Comments))
	}
}

// TestOnlyFile checks the one that has no others.
func TestOnlyFile(t *testing.T) {
	c, _ := misbehaving(t)
	report, _, err := c.Analyse(t.Context(), []analysis.File{file("panic.py")}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Files != 0 || len(report.Skipped) != 1 {
		t.Errorf("report %+v", report)
	}
}

// TestTerminated checks that a child finishes when its service is told to end.
func TestTerminated(t *testing.T) {
	c, runs := misbehaving(t)
	report, _, err := c.Analyse(t.Context(), []analysis.File{file("terminated.py")}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Files != 1 || *runs != 1 {
		t.Errorf("%d files in %d runs, want one in one", report.Files, *runs)
	}
}

// TestTogether checks that files which are too much together are analysed apart.
func TestTogether(t *testing.T) {
	t.Parallel() // it mostly waits for processes
	c, _ := misbehaving(t)
	c.Deadline = time.Second
	report, plan, err := c.Analyse(t.Context(), []analysis.File{file("one.py"), file("two.py")}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Files != 2 || len(report.Skipped) != 0 || len(plan.Comments) != 2 {
		t.Errorf("%d files, skipped %v, %d comments", report.Files, report.Skipped, len(plan.Comments))
	}
	var ids []string
	for _, comment := range plan.Comments {
		ids = append(ids, comment.Suggestion.ID)
	}
	if !slices.Equal(ids, []string{"s1", "s2"}) {
		t.Errorf("suggestions are called %q", ids)
	}
}

// TestBounds checks that many bad files do not take runs without end, and that
// each file is either analysed or skipped.
func TestBounds(t *testing.T) {
	c, runs := misbehaving(t)
	c.Log = nil
	var files []analysis.File
	for i := range 32 {
		f := file(fmt.Sprintf("f%02d.py", i))
		if i >= 16 && i%2 == 0 {
			f.Path = "panic.py"
		}
		files = append(files, f)
	}
	report, _, err := c.Analyse(t.Context(), files, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	if most := 2*bits.Len(32) + 10; *runs > most {
		t.Errorf("%d runs, want at most %d", *runs, most)
	}
	if report.Files < 16 || report.Files+len(report.Skipped) != len(files) {
		t.Errorf("%d files and %d skipped of %d", report.Files, len(report.Skipped), len(files))
	}
	for _, s := range report.Skipped {
		if s.Reason != unreached && s.Path != "panic.py" {
			t.Errorf("skipped %v", s)
		}
	}
}

// TestNoChild checks that a program that does not work is no file's fault.
func TestNoChild(t *testing.T) {
	for name, c := range map[string]*Child{
		"missing": {Binary: filepath.Join(t.TempDir(), "none")},
		"wrong":   {Args: []string{"-test.run=^$"}},
	} {
		if _, _, err := c.Analyse(t.Context(), []analysis.File{file("a.py")}, check.Around{}); err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "missing" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCancel checks that a context that ends takes the process with it, and that
// nothing is tried again.
func TestCancel(t *testing.T) {
	c, runs := misbehaving(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var pid int
	c.Deadline = time.Minute
	c.started = func(p int, _ []analysis.File) {
		*runs++
		pid = p
		cancel(enough)
	}
	if _, _, err := c.Analyse(ctx, []analysis.File{file("a.py"), file("hang.py")}, check.Around{}); !errors.Is(err, enough) {
		t.Errorf("error %v, want the cause", err)
	}
	if err := syscall.Kill(-pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child's group: %v, want none", err)
	}
	if *runs != 1 {
		t.Errorf("%d runs, want 1", *runs)
	}
}

// TestParentKilled checks that a child does not outlive its parent.
func TestParentKilled(t *testing.T) {
	if _, ok := resident(os.Getpid()); !ok {
		t.Skip("a child ends with its parent on Linux only")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), program, "parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanned := fmt.Fscan(out, &pid)
	_ = parent.Process.Kill()
	_ = parent.Wait() // killed
	if scanned != nil {
		t.Fatal(scanned)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) { // gone, or nobody has buried it yet
			return
		}
		if time.Now().After(end) {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			t.Fatalf("the child lives: %s", stat)
		}
	}
}

// TestInherited checks that a child closes what the program was started with.
func TestInherited(t *testing.T) {
	if _, ok := resident(os.Getpid()); !ok {
		t.Skip("descriptors are closed on Linux only")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, err := encodeRequest([]analysis.File{file("hang.py")}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "misbehave")
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(input), []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	_ = w.Close()
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The pipe ends when the child, which goes on, has closed its end.
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read from the pipe: %v, want its end", err)
	}
}

// TestConfine checks the limits that a child sets itself, without a parent that
// watches.
func TestConfine(t *testing.T) {
	t.Parallel() // it mostly waits for processes
	if _, ok := resident(os.Getpid()); !ok {
		t.Skip("limits are set on Linux only")
	}
	run := func(does string, flags ...string) (*exec.Cmd, string) {
		t.Helper()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		input, err := encodeRequest([]analysis.File{file(does + ".py")}, check.Around{})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, program, append([]string{"misbehave"}, flags...)...)
		var said strings.Builder
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &said
		if err := cmd.Run(); err == nil {
			t.Fatalf("%s ended well", does)
		}
		if ctx.Err() != nil {
			t.Fatalf("%s was not ended by its limit", does)
		}
		return cmd, said.String()
	}
	if _, said := run("bomb", "--memory=67108864"); !strings.Contains(said, "out of memory") && !strings.Contains(said, "failed to allocate") { // the race detector's words
		t.Errorf("a bomb said %.200q", said)
	}
	cmd, _ := run("spin", "--cpu=1s")
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		t.Errorf("what spins ended with %v", cmd.ProcessState)
	}
}

// TestSealed has a child reach for what it must not have.
func TestSealed(t *testing.T) {
	if _, ok := resident(os.Getpid()); !ok {
		t.Skip("system calls are taken away on Linux only")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, err := encodeRequest([]analysis.File{file("reach.py")}, check.Around{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "misbehave", "--memory=268435456")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdin = bytes.NewReader(input)
	said, err := cmd.CombinedOutput()
	if want := "connect: refused\nread the parent's environment: refused\nread a file: refused\nwrite a file: refused\nrun a program: refused\n"; string(said) != want || err != nil {
		t.Errorf("%v; the child says\n%s\nwant\n%s", err, said, want)
	}
}

// reach tries to leave the process and tells what came of it.
func reach() {
	try := func(what string, err error) {
		if errors.Is(err, syscall.EPERM) {
			fmt.Printf("%s: refused\n", what)
		} else {
			fmt.Printf("%s: %v\n", what, err)
		}
	}
	_, err := net.Dial("tcp", "127.0.0.1:1")
	try("connect", err)
	_, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
	try("read the parent's environment", err)
	_, err = os.ReadFile("/etc/passwd")
	try("read a file", err)
	try("write a file", os.WriteFile(filepath.Join(os.TempDir(), "dtypebot-reach"), nil, 0o600))
	_, err = syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
	try("run a program", err)
	os.Exit(0)
}

// TestEscape checks that every text survives, as UTF-8 on the way.
func TestEscape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SampledFrom([]string{"a", "f4", "\xff", "\xf4\x8f", "\xbf\xbf", string(mark), "\ufffd", "\u00e9", "\x00"}))
		s := strings.Join(pieces.Draw(t, "pieces"), "")
		e := escape(s)
		if !utf8.ValidString(e) {
			t.Fatalf("%q is escaped as %q, which is no UTF-8", s, e)
		}
		if got := unescape(e); got != s {
			t.Fatalf("%q is escaped as %q and comes back as %q", s, e, got)
		}
	})
}

func BenchmarkChild(b *testing.B) {
	var files []analysis.File
	for i := range 10 {
		files = append(files, file(fmt.Sprintf("f%d.py", i)))
	}
	for name, analyse := range map[string]func(context.Context, []analysis.File, check.Around) error{
		"here": func(ctx context.Context, files []analysis.File, around check.Around) error {
			_, _, err := Analyse(ctx, files, around)
			return err
		},
		"child": func(ctx context.Context, files []analysis.File, around check.Around) error {
			_, _, err := new(Child).Analyse(ctx, files, around)
			return err
		},
	} {
		for _, n := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := analyse(b.Context(), files[:n], check.Around{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestSummarise summarises texts in a child. One that takes too much memory has no
// summary and costs the others nothing.
func TestSummarise(t *testing.T) {
	t.Parallel() // it mostly waits for processes
	texts := []string{"import torch\n\n\ndef f():\n    return torch.ones(3)\n", strings.Repeat("a=1\n", 1<<17), "x = '\xff'\n"}
	c := &Child{Memory: 150 << 20}
	if _, ok := resident(os.Getpid()); !ok {
		t.Skip("memory is watched on Linux only")
	}
	got, err := c.Summarise(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || !strings.Contains(got[0].Module, `"f":`) || got[2].Module == "" {
		t.Errorf("summaries %+v", got)
	}
	if got[1].Module != "" || !strings.Contains(got[1].Reason, "150 MB") {
		t.Errorf("the summary of what is too large: %+v", got[1])
	}
}
