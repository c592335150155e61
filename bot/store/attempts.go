package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An attempt record counts the tries at one job that ended without an answer,
// or have not ended. It is written before the work starts, so that work which
// takes the whole process down is counted too.
type attempt struct {
	Job   uint64    `json:"job"` // the sequence number of the job in its stream
	Count int       `json:"count"`
	Last  string    `json:"last,omitempty"` // how the last try ended, "" if it is not known to have ended
	At    time.Time `json:"at"`
}

// Begin records that a try at the job starts, and returns how many tries that
// are and how the last one before ended ("" when it did not come to an end, as
// the process was killed). A different job number under the same key starts
// from 1. At most limit tries are begun: beyond it nothing is written, and n is
// greater than limit.
func (s *Store) Begin(ctx context.Context, key string, job uint64, limit int) (n int, last string, err error) {
	err = s.change(ctx, key, func(a attempt, found bool) (attempt, bool) {
		if a.Job != job {
			a = attempt{Job: job}
		}
		last = a.Last
		n = a.Count + 1
		if n > limit {
			return a, false
		}
		return attempt{Job: job, Count: n, At: time.Now().UTC()}, true
	})
	return n, last, err
}

// Unfinished reports whether the try that was begun last under the key, at
// whatever job, is not known to have ended, or was the last of limit.
func (s *Store) Unfinished(ctx context.Context, key string, limit int) (bool, error) {
	value, _, err := s.attempts.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var a attempt
	if err := json.Unmarshal(value, &a); err != nil {
		return false, fmt.Errorf("read attempts at %s: %w", key, err)
	}
	return a.Count > 0 && (a.Last == "" || a.Count >= limit), nil
}

// Fail records how the try that was begun last ended.
func (s *Store) Fail(ctx context.Context, key string, job uint64, reason string) error {
	return s.change(ctx, key, func(a attempt, found bool) (attempt, bool) {
		if !found || a.Job != job {
			return a, false
		}
		a.Last, a.At = reason, time.Now().UTC()
		return a, true
	})
}

// HandBack undoes Begin: the try did not count. last is what Begin returned.
func (s *Store) HandBack(ctx context.Context, key string, job uint64, last string) error {
	return s.change(ctx, key, func(a attempt, found bool) (attempt, bool) {
		if !found || a.Job != job || a.Count == 0 {
			return a, false
		}
		a.Count--
		a.Last, a.At = last, time.Now().UTC()
		return a, true
	})
}

// End forgets the tries of a key, since its job has its answer.
func (s *Store) End(ctx context.Context, key string) error {
	return s.attempts.Delete(ctx, key, 0)
}

// change replaces the attempt record of key by what edit makes of it; edit may
// be called several times, and says by its second result whether to write.
func (s *Store) change(ctx context.Context, key string, edit func(attempt, bool) (attempt, bool)) error {
	for range casLimit {
		var a attempt
		value, revision, err := s.attempts.Get(ctx, key)
		found := err == nil
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if found {
			if err := json.Unmarshal(value, &a); err != nil {
				return fmt.Errorf("read attempts at %s: %w", key, err)
			}
		}
		a, write := edit(a, found)
		if !write {
			return nil
		}
		value, err = json.Marshal(a)
		if err != nil {
			return fmt.Errorf("write attempts at %s: %w", key, err)
		}
		if found {
			_, err = s.attempts.Update(ctx, key, value, revision)
		} else {
			_, err = s.attempts.Create(ctx, key, value)
		}
		if err == nil || !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write attempts at %s: %w", key, ErrConflict)
}
