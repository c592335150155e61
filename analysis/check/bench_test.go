package check

import (
	"context"
	"fmt"
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

// BenchmarkCheckLines checks more and more lines on one core. The time of one
// line is to stay the same.
func BenchmarkCheckLines(b *testing.B) {
	files, _ := treeFiles(b)
	for _, want := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(want), func(b *testing.B) {
			var some []analysis.File
			lines := 0
			step := max(1, len(files)*want/380_000)
			for i := 0; lines < want; i++ {
				f := files[(i*len(files)/min(step, len(files))+i/len(files))%len(files)] // from all over the tree
				f.Path = fmt.Sprintf("%d/%s", i, f.Path)
				lines += strings.Count(f.Source, "\n")
				some = append(some, f)
			}
			measure(b, lines, func() { Run(context.Background(), some, Options{}) })
		})
	}
}

// BenchmarkCheckLongFile checks one file of 20,000 lines on one core.
func BenchmarkCheckLongFile(b *testing.B) {
	files, _ := treeFiles(b)
	var text strings.Builder
	lines := 0
	for _, f := range files {
		if strings.Contains(f.Source, "from __future__") {
			continue
		}
		text.WriteString(f.Source + "\n")
		if lines = strings.Count(text.String(), "\n"); lines >= 20_000 {
			break
		}
	}
	one := []analysis.File{{Path: "long.py", Source: text.String(), Whole: true}}
	measure(b, lines, func() {
		if r := Run(context.Background(), one, Options{}); r.Files != 1 {
			b.Errorf("skipped: %v", r.Skipped)
		}
	})
}
