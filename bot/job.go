package bot

import (
	"context"
	"fmt"
	"time"
)

// JobVersion is the version of the job format that this build writes. Fields
// are only ever added; a reader accepts every version up to its own.
const JobVersion = 1

// A Job means "look at this pull request"; it never means one commit. The
// newest state is read from GitHub when the job runs.
type Job struct {
	V            int       `json:"v"`
	Installation int64     `json:"installation"`
	Repository   int64     `json:"repository"` // GitHub's id: survives renames and transfers
	Owner        string    `json:"owner"`      // as of the event; may be stale
	Name         string    `json:"name"`
	Pull         int       `json:"pull"`
	Delivery     string    `json:"delivery"` // X-GitHub-Delivery of the newest event
	Event        string    `json:"event"`    // e.g. "pull_request.synchronize"
	Accepted     time.Time `json:"accepted"` // when the webhook was accepted, UTC
	// Rerun says that a person asked for a new look at the same head.
	Rerun bool `json:"rerun,omitempty"`
	// Tried says that something may have been written for this job already: it,
	// or its delivery, was worked on before. The queue sets it; it is not stored.
	Tried bool `json:"-"`
	// At is when the pull request was last changed, as the event tells; zero if it
	// does not. Commented says that there were comments in its diff by then.
	At        time.Time `json:"at,omitzero"`
	Commented bool      `json:"commented,omitempty"`
	// Index is the revision of which the repository's index is to be made; "" to
	// look at the pull request. Such a job has no Pull.
	Index string `json:"index,omitempty"`
	// Branch is the branch whose newest commit Index is.
	Branch string `json:"branch,omitempty"`
	// Command is what is to be done once; nil to look at the pull request.
	Command *Command `json:"command,omitempty"`
}

// EventPush is the event of a push to the default branch.
const EventPush = "push"

// String names the pull request: owner/name#12, or the repository to index.
func (j Job) String() string {
	if j.Index != "" {
		return fmt.Sprintf("index of %s/%s", j.Owner, j.Name)
	}
	return fmt.Sprintf("%s/%s#%d", j.Owner, j.Name, j.Pull)
}

// Drop is an error that ends a job for good: there is nothing to do or nothing
// that could be done, and trying again would not help.
type Drop struct{ Reason string }

// Error returns the reason.
func (d Drop) Error() string { return "dropped: " + d.Reason }

// Retry is an error that hands a job back until After has passed. It does not
// count as an attempt when HandBack is set (lease taken, rate limit, outage).
type Retry struct {
	After    time.Duration
	HandBack bool
	Err      error
	// Outage says that GitHub, or the way to it, is disturbed. With HandBack the
	// delay then grows from After each time in a row.
	Outage bool
	// Whole says that all jobs of the installation have to wait so long, as at a
	// rate limit.
	Whole bool
}

// Error returns the cause and the delay.
func (r Retry) Error() string { return fmt.Sprintf("retry after %s: %v", r.After, r.Err) }

// Unwrap returns the cause.
func (r Retry) Unwrap() error { return r.Err }

// A Fence tells whether whoever works under a context still may: it returns nil
// if the work is his at this moment, else why it is not. Work that was suspended
// (a stopped process, a long pause) may have passed to somebody else without
// having noticed.
type Fence func(context.Context) error

type fenceKey struct{}

// WithFence returns a context whose work has a fence.
func WithFence(ctx context.Context, f Fence) context.Context {
	return context.WithValue(ctx, fenceKey{}, f)
}

// CheckFence asks the context's fence, as everyone has to do before writing. A
// context without one is free to write until it ends.
func CheckFence(ctx context.Context) error {
	if f, ok := ctx.Value(fenceKey{}).(Fence); ok {
		return f(ctx)
	}
	return context.Cause(ctx)
}
