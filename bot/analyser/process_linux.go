package analyser

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// self is the program that runs, even after its file was replaced or deleted.
func self() (string, error) {
	const exe = "/proc/self/exe"
	if _, err := os.Stat(exe); err == nil {
		return exe, nil
	}
	return os.Executable()
}

// isolate gives the process of a command a group and a folder of its own, and
// has it killed with its parent and with its context.
func isolate(cmd *exec.Cmd) {
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// resident is how much memory a process holds, in bytes, and whether that is
// known.
func resident(pid int) (int64, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(text) // size, resident, … in pages: proc_pid_statm(5)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}

// dataSlack is how much writable memory a process may have mapped above its
// limit on what it holds: Go maps in steps of 64 MB, and a thread's stack takes
// 8 MB of which little is touched.
const dataSlack = 1 << 30

// Confine limits this process; only a child calls it. The garbage collector works
// harder near the limit, memory far above it is refused, and the processor time
// is bounded in case that the parent does not live to end it. When the machine
// runs out of memory the kernel takes this process first. Descriptors that the
// program was started with, beside the standard three, are closed. No file can be
// opened, no connection made and no program run afterwards. Polite requests
// to end are for the parent, which lets reviews finish and kills what it must.
func Confine(l Limits) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if l.Memory > 0 {
		debug.SetMemoryLimit(l.Memory / 4 * 3)
		mapped, err := writable()
		if err != nil {
			return err
		}
		// RLIMIT_AS would count what Go only reserves.
		if err := limit("data", unix.RLIMIT_DATA, uint64(mapped+l.Memory+dataSlack)); err != nil {
			return err
		}
	}
	if l.CPU > 0 {
		// Go ignores SIGXCPU of the soft limit; the hard one kills.
		if err := limit("processor time", unix.RLIMIT_CPU, uint64(max(1, l.CPU.Seconds()))); err != nil {
			return err
		}
	}
	if err := limit("core files", unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // a wish; /proc may be read-only
	if err := closeInherited(); err != nil {
		return err
	}
	return seal()
}

func limit(what string, resource int, value uint64) error {
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
		return fmt.Errorf("limit %s to %d: %w", what, value, err)
	}
	return nil
}

// writable is how much writable memory this process has mapped, in bytes. The
// race detector maps a lot.
func writable() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 6 {
		return 0, fmt.Errorf("read /proc/self/statm: %q", text)
	}
	pages, err := strconv.ParseInt(string(fields[5]), 10, 64) // data + stack
	return pages * int64(os.Getpagesize()), err
}

// closeInherited closes every descriptor that was open before this program
// started: Go marks its own to be closed on exec, others are not marked.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd) // nothing can be done about one that does not close
		}
	}
	return nil
}
