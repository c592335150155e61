//go:build unix && !linux

package analyser

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func self() (string, error) { return os.Executable() }

// isolate gives the process of a command a group and a folder of its own, and
// has it killed with its context.
func isolate(cmd *exec.Cmd) {
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// resident is known on Linux only.
func resident(int) (int64, bool) { return 0, false }

// Confine makes the garbage collector work harder near the limit. There are no
// hard limits but the parent's deadline. Polite requests to end are for the parent.
func Confine(l Limits) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if l.Memory > 0 {
		debug.SetMemoryLimit(l.Memory / 4 * 3)
	}
	return nil
}
