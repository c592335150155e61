package check

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// torchTree is where Debian's python3-torch installs 380,000 lines of Python.
const torchTree = "/usr/lib/python3/dist-packages/torch"

// treeFiles reads the installed PyTorch, without the files that check leaves
// alone.
func treeFiles(b *testing.B) (files []analysis.File, lines int) {
	b.Helper()
	if _, err := os.Stat(torchTree); err != nil {
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			b.Fatal("PyTorch is missing: apt-get install python3-torch")
		}
		b.Skip("PyTorch is missing: apt-get install python3-torch")
	}
	err := filepath.WalkDir(torchTree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".py") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(filepath.Dir(torchTree), path)
		if Ignored(name) == "" && !generated(string(text)) && !loneCR(string(text)) {
			files = append(files, analysis.File{Path: name, Source: string(text), Whole: true})
			lines += strings.Count(string(text), "\n")
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return files, lines
}

// cpu is the processor time of the process so far, the collector's included.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs do on one core and reports processor time and lines a second.
func measure(b *testing.B, lines int, do func()) {
	b.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b.ResetTimer()
	start := cpu()
	for b.Loop() {
		do()
	}
	spent := cpu() - start
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(lines*b.N)/spent.Seconds(), "lines/cpu-s")
}

// BenchmarkParseTree parses the installed PyTorch on one core.
func BenchmarkParseTree(b *testing.B) {
	files, lines := treeFiles(b)
	measure(b, lines, func() {
		for _, f := range files {
			_, _ = python.Parse(f.Source) // what cannot be parsed costs time too
		}
	})
}

// BenchmarkCheckTree checks the installed PyTorch on one core: it parses,
// evaluates and runs every rule. It is to take at most twice the time of
// BenchmarkParseTree in the same run.
func BenchmarkCheckTree(b *testing.B) {
	files, lines := treeFiles(b)
	findings := 0
	measure(b, lines, func() {
		r := Run(context.Background(), files, Options{})
		findings = len(r.Findings)
		for _, s := range r.Skipped {
			if strings.Contains(s.Reason, "failed") {
				b.Errorf("%s: %s", s.Path, s.Reason)
			}
		}
	})
	b.ReportMetric(float64(findings), "findings")
}
