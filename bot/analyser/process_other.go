//go:build !unix

package analyser

import (
	"os"
	"os/exec"
	"runtime/debug"
)

func self() (string, error) { return os.Executable() }

// isolate does nothing: the process alone is killed with its context.
func isolate(*exec.Cmd) {}

// resident is known on Linux only.
func resident(int) (int64, bool) { return 0, false }

// Confine makes the garbage collector work harder near the limit. There are no
// hard limits but the parent's deadline.
func Confine(l Limits) error {
	if l.Memory > 0 {
		debug.SetMemoryLimit(l.Memory / 4 * 3)
	}
	return nil
}
