package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of the indexes of one repository: those that were written last stay.
const (
	maxBranches = 4
	maxIndexes  = 128 << 20 // bytes
)

const (
	// writeLimit is how long an object may take to be written.
	writeLimit = 30 * time.Second
	// An object is read in one second, and one more for each slowest bytes; the
	// next try has twice the second. Its chunks do not come when the object is
	// replaced meanwhile, and nobody says so.
	readTries = 4
	slowest   = 4 << 20
)

// A written is one index of a repository, in the list that an object of the
// repository's name holds.
type written struct {
	Branch string `json:"branch"`
	Bytes  int    `json:"bytes"`
}

// listName is the object that lists the indexes of a repository, the newest
// first, and indexName that of one of them; a branch's name may hold what the
// name of an object must not.
func listName(repository int64) string { return strconv.FormatInt(repository, 10) }

func indexName(repository int64, branch string) string {
	sum := sha1.Sum([]byte(branch))
	return listName(repository) + "." + hex.EncodeToString(sum[:8])
}

// Index returns what is kept of a repository's branch, whole, or ErrNotFound.
func (s *Store) Index(ctx context.Context, repository int64, branch string) ([]byte, error) {
	data, err := s.getObject(ctx, indexName(repository, branch))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read the index of branch %q of repository %d: %w", branch, repository, err)
	}
	return data, nil
}

// IndexDigest returns a digest of what Index returns, without reading it, or
// ErrNotFound.
func (s *Store) IndexDigest(ctx context.Context, repository int64, branch string) (string, error) {
	info, err := s.objectInfo(ctx, indexName(repository, branch))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("look up the index of branch %q of repository %d: %w", branch, repository, err)
	}
	return info.Digest, nil
}

// Indexed lists the branches of a repository of which there may be an index, the
// one that was written last first.
func (s *Store) Indexed(ctx context.Context, repository int64) ([]string, error) {
	list, err := s.written(ctx, repository)
	if err != nil {
		return nil, err
	}
	branches := make([]string, len(list))
	for i, w := range list {
		branches[i] = w.Branch
	}
	return branches, nil
}

func (s *Store) written(ctx context.Context, repository int64) ([]written, error) {
	data, err := s.getObject(ctx, listName(repository))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the indexes of repository %d: %w", repository, err)
	}
	var list []written
	if json.Unmarshal(data, &list) != nil {
		return nil, nil // an index of an older version, whose name this was
	}
	return list, nil
}

// PutIndex keeps the index of a branch for 30 days, in the place of an older one;
// a reader sees the one or the other. Of a repository the newest four stay, and
// 128 MB, this one in any case. Only one at a time may write for a repository.
func (s *Store) PutIndex(ctx context.Context, repository int64, branch string, data []byte) error {
	failed := func(err error) error {
		return fmt.Errorf("write the index of branch %q of repository %d: %w", branch, repository, err)
	}
	list, err := s.written(ctx, repository)
	if err != nil {
		return failed(err)
	}
	list = slices.DeleteFunc(list, func(w written) bool { return w.Branch == branch })
	list = slices.Insert(list, 0, written{branch, len(data)})
	keep := fitting(list)
	if err := s.putObject(ctx, indexName(repository, branch), data); err != nil {
		return failed(err)
	}
	text, err := json.Marshal(list[:keep])
	if err == nil {
		err = s.putObject(ctx, listName(repository), text)
	}
	for _, w := range list[keep:] {
		err = errors.Join(err, s.deleteObject(ctx, indexName(repository, w.Branch)))
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// fitting is how many of the newest indexes stay.
func fitting(list []written) int {
	size := 0
	for i, w := range list {
		if size += w.Bytes; i > 0 && (i >= maxBranches || size > maxIndexes) {
			return i
		}
	}
	return len(list)
}

// ForgetIndex removes the indexes of a repository, if there are any.
func (s *Store) ForgetIndex(ctx context.Context, repository int64) error {
	list, err := s.written(ctx, repository)
	for _, w := range list {
		err = errors.Join(err, s.deleteObject(ctx, indexName(repository, w.Branch)))
	}
	if err == nil { // else there is something left to find
		err = s.deleteObject(ctx, listName(repository))
	}
	if err != nil {
		return fmt.Errorf("forget the indexes of repository %d: %w", repository, err)
	}
	return nil
}

func (s *Store) objectInfo(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return s.indexes.GetInfo(ctx, name)
}

// getObject reads an object, whole.
func (s *Store) getObject(ctx context.Context, name string) (data []byte, err error) {
	patience := time.Second
	for range readTries {
		var info *jetstream.ObjectInfo
		if info, err = s.objectInfo(ctx, name); err != nil {
			return nil, err
		}
		limit := patience + time.Duration(info.Size/slowest)*time.Second
		try, cancel := context.WithTimeout(ctx, limit)
		data, err = s.indexes.GetBytes(try, name)
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, jetstream.ErrObjectNotFound) {
			break
		}
		patience *= 2
	}
	return data, err
}

func (s *Store) putObject(ctx context.Context, name string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	_, err := s.indexes.PutBytes(ctx, name, data)
	return err
}

func (s *Store) deleteObject(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if err := s.indexes.Delete(ctx, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return err
	}
	return nil
}
