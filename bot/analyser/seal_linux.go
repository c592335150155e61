package analyser

import (
	"fmt"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
)

// sealed are the system calls that a child has no use for: it reads its standard
// input, computes, and writes its standard output. What somebody achieved who
// got hold of it through the parser would need them: the network, other
// programs, other processes, and files, among them the App's key and the
// parent's environment in /proc.
var sealed = []string{
	"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "io_uring_setup",
	"execve", "execveat", "fork", "vfork",
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd",
	"open", "openat", "openat2", "creat", "open_by_handle_at", "memfd_create", "truncate",
	"unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
	"mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "chmod", "fchmodat", "chown", "fchownat",
	"mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open", "keyctl", "add_key", "request_key",
}

// seal takes these system calls away from this process for good: they fail with
// EPERM. A kernel or a processor without such filters leaves the other limits.
func seal() error {
	info, err := arch.GetInfo("")
	if err != nil || !seccomp.Supported() {
		return nil
	}
	var names []string
	for _, name := range sealed {
		if _, ok := info.SyscallNames[name]; ok { // some exist on old processors only
			names = append(names, name)
		}
	}
	err = seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync, // in all threads
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: names}},
		},
	})
	if err != nil {
		return fmt.Errorf("take system calls away: %w", err)
	}
	return nil
}
