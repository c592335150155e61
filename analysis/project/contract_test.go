package project_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/rules/torchrun"
)

// faultMark ends the line at which PyTorch stops.
const faultMark = "# FAULT"

// A small is one project of testdata: of several files, with a fault that no
// file shows by itself, or right.
type small struct {
	name  string
	files map[string]string
	path  string // where PyTorch stops, "" if nowhere
	line  int
}

func smalls(t *testing.T) []small {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 30 {
		t.Fatalf("%d projects, %v", len(names), err)
	}
	var out []small
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s := small{name: strings.TrimSuffix(filepath.Base(name), ".txtar"), files: map[string]string{}}
		for _, f := range archive.Files {
			s.files[f.Name] = string(f.Data)
			for n, line := range strings.Split(string(f.Data), "\n") {
				if strings.HasSuffix(line, faultMark) {
					s.path, s.line = f.Name, n+1
				}
			}
		}
		if strings.HasPrefix(s.name, "fault-") != (s.path != "") {
			t.Fatalf("%s: a project with a fault has one line that ends with %s, others none", s.name, faultMark)
		}
		out = append(out, s)
	}
	return out
}

// posted runs the driver on the files and returns the places of what would be
// posted, each once.
func posted(t *testing.T, files map[string]string, around *project.Index) (places []place, found []analysis.Finding) {
	t.Helper()
	var list []analysis.File
	for p, text := range files {
		list = append(list, analysis.File{Path: p, Source: text, Whole: true})
	}
	report := check.Run(t.Context(), list, check.Options{Project: around})
	if len(report.Skipped) > 0 {
		t.Fatalf("skipped: %+v", report.Skipped)
	}
	for _, f := range report.Findings {
		if f.Confidence.Rank() >= analysis.Likely.Rank() {
			found = append(found, f)
			if at := (place{f.Path, f.Start.Line}); !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
	}
	return places, found
}

type place struct {
	path string
	line int
}

// indexed indexes what Wants asks for around some files.
func indexed(t *testing.T, all, touched map[string]string) *project.Index {
	t.Helper()
	ix := project.NewIndex()
	for p, text := range all {
		if touched[p] == "" {
			ix.Files[p] = project.Blob(text)
			ix.Outlines[ix.Files[p]] = project.Glance(text)
		}
	}
	for range 2 {
		for _, p := range project.Wants(touched, ix) {
			m, err := project.Summary(all[p])
			if err != nil {
				t.Fatal(err)
			}
			ix.Modules[ix.Files[p]] = m
		}
	}
	data, err := ix.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := project.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// Limits of TestContracts: what is found may only grow, what is false must not
// be.
const (
	leastFound = 21
	mostFalse  = 0
)

// TestContracts looks at more than thirty projects of several files: those with a fault
// must be found by what other files say, and the right ones are silent.
func TestContracts(t *testing.T) {
	found, missed, wrong, faults := 0, 0, 0, 0
	for _, s := range smalls(t) {
		places, findings := posted(t, s.files, project.NewIndex())
		want := place{s.path, s.line}
		if s.path == "" {
			for _, f := range findings {
				wrong++
				t.Logf("false: %s: %s:%d %s (%s): %s %v", s.name, f.Path, f.Start.Line, f.Rule, f.Confidence, f.Message, f.Because)
			}
			continue
		}
		faults++
		switch i := slices.Index(places, want); {
		case i < 0:
			missed++
			t.Logf("missed: %s: %s:%d", s.name, s.path, s.line)
		default:
			found++
		}
		for _, f := range findings {
			if (place{f.Path, f.Start.Line}) != want {
				wrong++
				t.Logf("false: %s: %s:%d %s: %s", s.name, f.Path, f.Start.Line, f.Rule, f.Message)
				continue
			}
			if f.Confidence != analysis.Likely {
				t.Errorf("%s: what other files say is %s, not likely", s.name, f.Confidence)
			}
			if !slices.ContainsFunc(f.Because, func(r analysis.Reason) bool { return r.Path != f.Path }) {
				t.Errorf("%s: no other file is among the reasons: %+v", s.name, f.Because)
			}
		}
		// The file that stops, alone, shows nothing; with the index of the
		// others it does.
		touched := map[string]string{s.path: s.files[s.path]}
		if places, _ := posted(t, touched, nil); slices.Contains(places, want) {
			t.Errorf("%s: the file shows the fault by itself", s.name)
		}
		if slices.Contains(places, want) {
			if places, _ := posted(t, touched, indexed(t, s.files, touched)); !slices.Contains(places, want) {
				t.Errorf("%s: not found in a review of %s alone", s.name, s.path)
			}
		}
	}
	t.Logf("%d faults: %d found, %d missed, %d false", faults, found, missed, wrong)
	if found < leastFound || wrong > mostFalse {
		t.Errorf("%d of %d faults found, want at least %d; %d false, want at most %d", found, faults, leastFound, wrong, mostFalse)
	}
}

// TestContractsRun runs the projects under PyTorch: those with a fault stop at
// their mark, the others do not stop.
func TestContractsRun(t *testing.T) {
	t.Parallel()
	python := torchrun.Python(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/run.py")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{script}
	want := map[string]place{}
	for _, s := range smalls(t) {
		for _, p := range slices.Sorted(maps.Keys(s.files)) {
			full := filepath.Join(dir, s.name, filepath.FromSlash(p))
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(s.files[p]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, filepath.Join(dir, s.name))
		want[s.name] = place{s.path, s.line}
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run the projects: %v\n%s", err, problem.String())
	}
	ran := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); ran++ {
		var end struct {
			Name, Path, Error string
			Line              int
		}
		if err := json.Unmarshal(lines.Bytes(), &end); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if got := (place{path.Clean("/" + filepath.ToSlash(end.Path))[1:], end.Line}); got != want[end.Name] {
			t.Errorf("%s: PyTorch stops at %s:%d (%s), want %s:%d", end.Name, got.path, got.line, end.Error, want[end.Name].path, want[end.Name].line)
		}
	}
	if ran != len(want) {
		t.Errorf("%d projects ran, want %d", ran, len(want))
	}
}
