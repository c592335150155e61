package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// A LockedError says that another process works in the data folder.
type LockedError struct {
	Dir string
	PID int // of the other process; 0 when it could not be read
}

// Error names the folder and the process.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("data folder %s is in use by process %d", e.Dir, e.PID)
}

// dataLock is the lock on a data folder. The kernel gives it free when the
// process ends, in whatever way, so there are no stale locks.
type dataLock struct{ file *flock.Flock }

// lockDir creates dir, makes it private and locks it; the lock file tells the
// process id to whoever comes second.
func lockDir(dir string) (*dataLock, error) {
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	file := flock.New(path, flock.SetPermissions(0o600))
	ok, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if !ok {
		text, _ := os.ReadFile(path) // without it the message is only shorter
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, &LockedError{Dir: dir, PID: pid}
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		_ = file.Unlock()
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return &dataLock{file: file}, nil
}

func (l *dataLock) release() { _ = l.file.Unlock() }
