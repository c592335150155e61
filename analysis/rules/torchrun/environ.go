package torchrun

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// backtrace takes the place of libc's function of that name, which PyTorch calls
// for each exception to keep the C++ stack. Naming the frames costs 3 to 6 ms of
// processor time, a hundred times what the refused operation costs (measured with
// 1.13), and nobody reads them.
const backtrace = "int backtrace(void **frames, int size) { (void)frames; return size & 0; }\n"

// Environ is the environment for a Python process that imports PyTorch until the
// test ends: that of the test, with one thread and, on Linux with a C compiler,
// without the C++ stacks of exceptions.
func Environ(t testing.TB) []string {
	t.Helper()
	env := append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")
	if runtime.GOOS != "linux" {
		return env
	}
	library := filepath.Join(t.TempDir(), "backtrace.so")
	cc := exec.Command(cmp.Or(os.Getenv("CC"), "cc"), "-shared", "-fPIC", "-x", "c", "-o", library, "-")
	cc.Stdin = strings.NewReader(backtrace)
	if err := cc.Run(); err != nil {
		return env // slower, nothing else
	}
	return append(env, "LD_PRELOAD="+library)
}
