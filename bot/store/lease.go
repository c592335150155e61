package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtypebot/dtypebot/bot"
)

// ErrLeaseLost is the cause of the context of [Store.Hold]'s function when the
// lease could not be kept: someone else may have it now.
var ErrLeaseLost = errors.New("lease lost")

// Hold runs fn while it holds the lease of that key, and reports whether it
// could: false means that somebody else has it, and fn was not called.
//
// The lease is renewed three times per lifetime. If that fails for so long that
// it may have expired, or somebody else has it, fn's context is cancelled with
// the cause [ErrLeaseLost]. The lease is given back when fn returns.
//
// fn's context has a fence (bot.CheckFence) that renews the lease at once: a
// process that was stopped for a while learns there that it lost the lease.
func (s *Store) Hold(ctx context.Context, key string, fn func(context.Context)) (bool, error) {
	revision, err := s.leases.Create(ctx, key, []byte(time.Now().UTC().Format(time.RFC3339Nano)))
	if errors.Is(err, ErrExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the lease: %w", err)
	}

	held, lose := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	kept := make(chan uint64)
	// The heartbeat outlives the caller's context: work that is winding down
	// still needs its lease.
	beat := context.WithoutCancel(ctx)
	fence := make(chan chan error)
	go func() { kept <- s.keep(beat, key, revision, stop, fence, lose) }()
	defer func() {
		close(stop)
		revision := <-kept
		lose(nil)
		if revision != 0 {
			end, cancel := context.WithTimeout(beat, s.leaseTTL/3)
			defer cancel()
			_ = s.leases.Delete(end, key, revision) // else it expires
		}
	}()
	fn(bot.WithFence(held, func(ctx context.Context) error {
		if err := context.Cause(held); err != nil {
			return err
		}
		answer := make(chan error, 1)
		select {
		case fence <- answer:
			return <-answer
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-held.Done(): // keep ended
			return context.Cause(held)
		}
	}))
	return true, nil
}

// keep renews the lease until stop is closed, and returns its last revision, or
// 0 when it was lost. Whoever sends a channel to fence is answered whether the
// lease is held at that moment.
func (s *Store) keep(ctx context.Context, key string, revision uint64, stop <-chan struct{}, fence <-chan chan error, lose context.CancelCauseFunc) uint64 {
	tick := time.NewTicker(s.leaseTTL / 3)
	defer tick.Stop()
	renewed := time.Now()
	for {
		var answer chan error
		select {
		case <-stop:
			return revision
		case <-tick.C:
		case answer = <-fence:
		}
		now := time.Now()
		try, cancel := context.WithTimeout(ctx, s.leaseTTL/6)
		newer, err := s.leases.Update(try, key, []byte(now.UTC().Format(time.RFC3339Nano)), revision)
		cancel()
		if err == nil {
			revision, renewed = newer, now
		}
		// After the second renewal in a row that failed the next would come too
		// late. A fence needs a yes. An answer that was lost after the writing also
		// ends here: giving up work that is still ours costs a repetition, the
		// other way costs a second review.
		lost := err != nil && (answer != nil || errors.Is(err, ErrConflict) || time.Since(renewed) > s.leaseTTL*7/12)
		if lost {
			lose(ErrLeaseLost)
			err = ErrLeaseLost
		}
		if answer != nil {
			answer <- err
		}
		if lost {
			return 0
		}
	}
}
