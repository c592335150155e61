// Package store keeps the bot's small state in JetStream key-value buckets, on
// the embedded server or on an external cluster: attempts at jobs, leases on
// pull requests, finished commands and counters; and the indexes of repositories,
// which are made again when they are lost.
//
// GitHub stays the database: what is kept here may be lost without posting
// anything twice. The package keeps no source code, no credentials and no queue.
package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Errors of a [Bucket], to be tested with [errors.Is].
var (
	ErrNotFound = errors.New("no such key")
	ErrExists   = errors.New("the key exists")
	ErrConflict = errors.New("the key was changed by another writer")
)

// A Bucket is a set of values by key. A revision identifies one writing of one
// key; it is never 0 and grows with each writing to the bucket. Keys consist of
// letters, digits and -_/=. and neither start nor end with a dot; they match
// with case. Every write that returns nil has been stored as durably as the
// bucket's server does it.
type Bucket interface {
	// Get returns the value and its revision, or [ErrNotFound].
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Put writes the value whatever was there.
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Create writes the value of a key that has none, else returns [ErrExists].
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update writes the value if the key's revision is still the given one, else
	// returns [ErrConflict].
	Update(ctx context.Context, key string, value []byte, revision uint64) (newer uint64, err error)
	// Delete removes the key if its revision is still the given one, else returns
	// [ErrConflict]; revision 0 removes it in any case. A key that does not
	// exist is no error for revision 0.
	Delete(ctx context.Context, key string, revision uint64) error
	// Keys lists the keys that start with prefix, in no order.
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Options are the settings of [Open].
type Options struct {
	// Replicas is the number of copies of each bucket, 1 to 5; 0 means 1.
	Replicas int
	// Embedded says that the server ends with this process. Leases are then kept
	// in its memory, which makes those of an earlier start void by itself.
	Embedded bool
	// LeaseTTL is how long a lease outlives its last heartbeat, at least a
	// second; 0 means 30 s. The heartbeat comes three times as often.
	LeaseTTL time.Duration
}

// How long entries live that nobody removes.
const (
	attemptsTTL = 14 * 24 * time.Hour
	// GitHub redelivers for 3 days, GitHub Enterprise Server for 7.
	doneTTL  = 8 * 24 * time.Hour
	leaseTTL = 30 * time.Second
	// What was fetched back is listed by GitHub for as long as it redelivers.
	recoveryTTL = doneTTL
	// An index that nobody renewed for so long is made again.
	indexTTL = 30 * 24 * time.Hour
	// workersTTL is how long a process counts that does not say that it is there.
	workersTTL = 45 * time.Second
)

// A Store is the bot's buckets.
type Store struct {
	attempts Bucket
	done     Bucket
	counters Bucket
	leases   Bucket
	recovery Bucket
	workers  Bucket
	indexes  jetstream.ObjectStore
	leaseTTL time.Duration
	js       jetstream.JetStream
	options  Options
}

// Open creates the buckets that do not exist yet and opens all.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Store, error) {
	if o.LeaseTTL == 0 {
		o.LeaseTTL = leaseTTL
	}
	s := &Store{leaseTTL: o.LeaseTTL, js: js, options: o}
	leases := jetstream.FileStorage
	if o.Embedded {
		leases = jetstream.MemoryStorage
	}
	for _, b := range []struct {
		into    *Bucket
		name    string
		about   string
		ttl     time.Duration
		storage jetstream.StorageType
	}{
		{&s.attempts, "attempts", "attempts at jobs that have no answer yet", attemptsTTL, jetstream.FileStorage},
		{&s.done, "done", "commands that were carried out, by delivery", doneTTL, jetstream.FileStorage},
		{&s.counters, "counters", "counters that outlive a start", 0, jetstream.FileStorage},
		{&s.recovery, "recovery", "what was fetched back from GitHub", recoveryTTL, jetstream.FileStorage},
		{&s.workers, "workers", "processes that review", workersTTL, leases},
		{&s.leases, "leases", "who works on which pull request", o.LeaseTTL, leases},
	} {
		var err error
		if *b.into, err = open(ctx, js, b.name, b.about, b.ttl, b.storage, o); err != nil {
			return nil, err
		}
	}
	var err error
	s.indexes, err = js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: "indexes", Description: "what is known of repositories", TTL: indexTTL, Storage: jetstream.FileStorage, Replicas: max(o.Replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket indexes: %w", err)
	}
	return s, nil
}

// Reopen makes again what an embedded server forgot that was started again in
// this process: the leases, and everything if its store was damaged. Leases that
// were held are lost, and their holders are told so.
func (s *Store) Reopen(ctx context.Context) error {
	if !s.options.Embedded {
		return nil
	}
	_, err := Open(ctx, s.js, s.options)
	return err // the handles of the buckets go by their names
}

// Here says that the process of that id, which has to be fit for a key, reviews,
// and returns how many do. It has to be called again before a quarter of a minute
// is over.
func (s *Store) Here(ctx context.Context, id string) (processes int, err error) {
	if _, err := s.workers.Put(ctx, id, []byte(time.Now().UTC().Format(time.RFC3339))); err != nil {
		return 0, err
	}
	ids, err := s.workers.Keys(ctx, "")
	return len(ids), err
}

// Gone says that the process does not review any more.
func (s *Store) Gone(ctx context.Context, id string) error { return s.workers.Delete(ctx, id, 0) }

// Recovery is the bucket of what was fetched back from GitHub.
func (s *Store) Recovery() Bucket { return s.recovery }

// OpenBucket opens a bucket of the caller's own on disk, and creates it if it
// does not exist. Entries live for ttl, or for ever if that is 0.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name, about string, ttl time.Duration, o Options) (Bucket, error) {
	return open(ctx, js, name, about, ttl, jetstream.FileStorage, o)
}

func open(ctx context.Context, js jetstream.JetStream, name, about string, ttl time.Duration, storage jetstream.StorageType, o Options) (Bucket, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, Description: about, TTL: ttl, Storage: storage, Replicas: max(o.Replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return bucket{kv}, nil
}

// Done reports whether the command of this delivery was carried out already.
func (s *Store) Done(ctx context.Context, delivery string) (bool, error) {
	_, _, err := s.done.Get(ctx, delivery)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// MarkDone remembers for eight days that the command of this delivery was
// carried out.
func (s *Store) MarkDone(ctx context.Context, delivery string) error {
	_, err := s.done.Put(ctx, delivery, []byte(time.Now().UTC().Format(time.RFC3339)))
	return err
}

// casLimit is how often a writing is tried again because another writer was
// faster; each round one of the writers succeeds.
const casLimit = 100

// Count adds n to the counter of that name and returns its new value.
func (s *Store) Count(ctx context.Context, name string, n int64) (int64, error) {
	for range casLimit {
		value, revision, err := s.counters.Get(ctx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			if _, err = s.counters.Create(ctx, name, strconv.AppendInt(nil, n, 10)); err == nil {
				return n, nil
			}
		case err != nil:
			return 0, err
		default:
			old, bad := strconv.ParseInt(string(value), 10, 64)
			if bad != nil {
				return 0, fmt.Errorf("read counter %s: %w", name, bad)
			}
			if _, err = s.counters.Update(ctx, name, strconv.AppendInt(nil, old+n, 10), revision); err == nil {
				return old + n, nil
			}
		}
		if !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("add to counter %s: %w", name, ErrConflict)
}

// Counters returns all counters whose name starts with prefix.
func (s *Store) Counters(ctx context.Context, prefix string) (map[string]int64, error) {
	keys, err := s.counters.Keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64, len(keys))
	for _, key := range keys {
		value, _, err := s.counters.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if all[key], err = strconv.ParseInt(string(value), 10, 64); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", key, err)
		}
	}
	return all, nil
}

// bucket is a [Bucket] in JetStream.
type bucket struct{ kv jetstream.KeyValue }

// answerLimit is how long the server's answer is waited for, if the caller's time
// is longer. An answer that was lost with the node that had it never comes, and a
// job's time is minutes.
const answerLimit = 5 * time.Second

func (b bucket) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	entry, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, b.wrap("read", key, err)
	}
	return entry.Value(), entry.Revision(), nil
}

func (b bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	revision, err := b.kv.Put(ctx, key, value)
	return revision, b.wrap("write", key, err)
}

func (b bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	revision, err := b.kv.Create(ctx, key, value)
	return revision, b.wrap("create", key, err)
}

func (b bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	newer, err := b.kv.Update(ctx, key, value, revision)
	return newer, b.wrap("update", key, err)
}

func (b bucket) Delete(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	var opts []jetstream.KVDeleteOpt
	if revision != 0 {
		opts = append(opts, jetstream.LastRevision(revision))
	}
	return b.wrap("delete", key, b.kv.Delete(ctx, key, opts...))
}

func (b bucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	list, err := b.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", b.kv.Bucket(), err)
	}
	var keys []string
	for key := range list.Keys() {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", b.kv.Bucket(), err)
	}
	return keys, nil
}

// wrap names the act and the object, and gives the errors that callers test
// for their own names.
func (b bucket) wrap(act, key string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		err = ErrConflict
	case act == "create" && errors.Is(err, jetstream.ErrKeyExists):
		err = ErrExists
	case errors.Is(err, jetstream.ErrKeyExists): // the same code of the server, on a revision
		err = ErrConflict
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		err = ErrNotFound
	}
	return fmt.Errorf("%s %s in bucket %s: %w", act, key, b.kv.Bucket(), err)
}
