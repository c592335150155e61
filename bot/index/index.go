// Package index keeps what the files of repositories say of each other, for the
// App: a project.Index for each branch that pull requests are based on, of its
// newest commit.
//
// A review takes from it what has to do with its files, and, unless it is Eager,
// waits for nothing: if
// there is no index of the base branch's newest commit, a job is queued that makes
// it, and the review does without. Pushes to the default branch queue one too, for
// repositories that have an index of it. The job reads what differs from the
// branch's last index, or from that of another branch, or everything from one
// archive, summarises what is new in a child process, and stores the whole,
// encoded. What is lost or damaged is made again. The indexes that were opened
// last stay open between jobs.
//
// It keeps few branches per repository, does not look again at pull requests that
// were reviewed without it, and keeps no texts.
package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/analyser"
)

const (
	// batch is how much source is summarised in one child process, in bytes.
	batch = 2 << 20
	// maxIndex bounds an encoded index, in bytes.
	maxIndex = 64 << 20
	// maxOpen bounds what stays open between jobs, in bytes and in number.
	maxOpen      = 64 << 20
	maxOpenCount = 8
)

// A Source reads the files of a revision; bot/github's App is one.
type Source interface {
	// Gather reads the files of the revision job.Index. known is an earlier index of
	// the repository, or nil. It returns the calls that it made in any case.
	Gather(ctx context.Context, job bot.Job, known *project.Index, ignored func(path string) bool) (*project.Collection, []string, error)
}

// A Store keeps encoded indexes by repository and branch; bot/store's Store is
// one.
type Store interface {
	// Index returns an index, whole, or an error.
	Index(ctx context.Context, repository int64, branch string) ([]byte, error)
	// IndexDigest tells whether Index would return something else than before.
	IndexDigest(ctx context.Context, repository int64, branch string) (string, error)
	// Indexed lists the branches with an index, the one written last first.
	Indexed(ctx context.Context, repository int64) ([]string, error)
	// PutIndex may forget indexes of other branches.
	PutIndex(ctx context.Context, repository int64, branch string, data []byte) error
	ForgetIndex(ctx context.Context, repository int64) error
}

// An Index satisfies bot.Index. All fields but Eager are needed. It may be used by several
// goroutines at once.
type Index struct {
	Source Source
	Store  Store
	// Summarise summarises texts, one result for each.
	Summarise func(ctx context.Context, texts []string) ([]analyser.Summary, error)
	// Put queues a job.
	Put func(ctx context.Context, job bot.Job) error
	Log *slog.Logger
	// Eager says that a review makes the index that it lacks and waits for it.
	Eager bool

	mu     sync.Mutex
	opened []opened // the one that was used last is the last
}

// An opened is an index that is open.
type opened struct {
	repository     int64
	branch, digest string
	kept           *project.Kept
}

var _ bot.Index = (*Index)(nil)

// errOlder says why an index is not used: what files said in another commit may
// not hold any more, and a wrong comment costs more than one that comes later.
var errOlder = errors.New("it is not of the base branch's newest commit")

// Near cuts out of the repository's index what has to do with the snapshot's
// files. If there is none, or none of the base branch's newest commit, it queues a
// job that makes it.
func (x *Index) Near(ctx context.Context, snapshot bot.Snapshot) (near []byte, missing string) {
	kept, err := x.current(ctx, snapshot)
	if err != nil && x.Eager && snapshot.Tip != "" {
		if _, err = x.Work(ctx, indexJob(snapshot)); err == nil {
			kept, err = x.current(ctx, snapshot)
		}
	}
	if err != nil {
		x.Log.Info("reviewed without an index", "pull", snapshot.Job.String(), "reason", err)
		x.want(ctx, snapshot)
		return nil, bot.Unready
	}
	files := make(map[string]string, len(snapshot.Files))
	for _, f := range snapshot.Files {
		files[f.Path] = f.Source
	}
	if near, err = kept.Near(files, snapshot.Gone); err != nil {
		x.Log.Warn("cut the index", "pull", snapshot.Job.String(), "error", err)
		return nil, bot.Unready
	}
	return near, ""
}

// current is the index of the base branch's newest commit.
func (x *Index) current(ctx context.Context, snapshot bot.Snapshot) (*project.Kept, error) {
	kept, err := x.open(ctx, snapshot.Job.Repository, snapshot.BaseRef)
	if err == nil && kept.Index.Revision != snapshot.Tip {
		err = errOlder
	}
	return kept, err
}

// indexJob is the job for the index of the base branch.
func indexJob(snapshot bot.Snapshot) bot.Job {
	return bot.Job{
		V: bot.JobVersion, Installation: snapshot.Job.Installation, Repository: snapshot.Job.Repository, Owner: snapshot.Owner, Name: snapshot.Name,
		Index: snapshot.Tip, Branch: snapshot.BaseRef, Event: "index", Delivery: snapshot.Job.Delivery, Accepted: time.Now().UTC(),
	}
}

// want queues a job for the index of the base branch.
func (x *Index) want(ctx context.Context, snapshot bot.Snapshot) {
	if snapshot.Tip == "" {
		return
	}
	if err := x.Put(ctx, indexJob(snapshot)); err != nil { // the next review asks again
		x.Log.Warn("queue an index", "pull", snapshot.Job.String(), "error", err)
	}
}

// open reads the index of a branch, unless it is open.
func (x *Index) open(ctx context.Context, repository int64, branch string) (*project.Kept, error) {
	digest, err := x.Store.IndexDigest(ctx, repository, branch)
	if err != nil {
		return nil, err
	}
	if kept := x.use(repository, branch, digest); kept != nil {
		return kept, nil
	}
	data, err := x.Store.Index(ctx, repository, branch)
	if err != nil {
		return nil, err
	}
	kept, err := project.Open(data)
	if err == nil {
		x.keep(opened{repository, branch, digest, kept})
	}
	return kept, err
}

// use returns an index that is open, nil if it is not. One that is out of date is
// closed.
func (x *Index) use(repository int64, branch, digest string) *project.Kept {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.opened, func(o opened) bool { return o.repository == repository && o.branch == branch })
	if i < 0 {
		return nil
	}
	o := x.opened[i]
	x.opened = slices.Delete(x.opened, i, i+1)
	if o.digest != digest {
		return nil
	}
	x.opened = append(x.opened, o)
	return o.kept
}

// keep leaves an index open, and closes those that were not used for the longest
// time as far as the bounds ask for it.
func (x *Index) keep(o opened) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.opened = append(x.opened, o)
	size := 0
	for i := len(x.opened) - 1; i >= 0; i-- {
		size += x.opened[i].kept.Size()
		if size > maxOpen || len(x.opened)-i > maxOpenCount {
			x.opened = slices.Delete(x.opened, 0, i+1)
			return
		}
	}
}

// nearest returns the index of a branch, else the one of the repository that was
// written last, nil if there is none that can be read. own says that it is the
// branch's.
func (x *Index) nearest(ctx context.Context, repository int64, branch string) (kept *project.Kept, own bool) {
	if kept, err := x.open(ctx, repository, branch); err == nil {
		return kept, true
	}
	branches, err := x.Store.Indexed(ctx, repository)
	if err != nil {
		x.Log.Warn("look for an index of another branch", "repository", repository, "error", err)
	}
	for _, other := range branches {
		if kept, err := x.open(ctx, repository, other); err == nil {
			return kept, other == branch
		}
	}
	return nil, false
}

// Forget removes a repository's indexes.
func (x *Index) Forget(ctx context.Context, repository int64) error {
	x.mu.Lock()
	x.opened = slices.DeleteFunc(x.opened, func(o opened) bool { return o.repository == repository })
	x.mu.Unlock()
	return x.Store.ForgetIndex(ctx, repository)
}

// Work makes the index that a job asks for, and returns the calls that it made.
// It may be called again after an error.
func (x *Index) Work(ctx context.Context, job bot.Job) (calls []string, err error) {
	start := time.Now()
	kept, own := x.nearest(ctx, job.Repository, job.Branch)
	switch {
	case !own && job.Event == bot.EventPush:
		return nil, bot.Drop{Reason: "nobody asked for an index of the branch"}
	case own && kept.Index.Revision == job.Index:
		return nil, nil
	}
	var known *project.Index
	if kept != nil {
		known = kept.Index
	}
	c, calls, err := x.Source.Gather(ctx, job, known, func(p string) bool { return check.Ignored(p) != "" })
	if err != nil {
		return calls, err
	}
	data, ix, err := x.build(ctx, c, kept)
	if err != nil {
		return calls, fmt.Errorf("make the %s: %w", job, err)
	}
	if err := bot.CheckFence(ctx); err != nil {
		return calls, err
	}
	if err := x.Store.PutIndex(ctx, job.Repository, job.Branch, data); err != nil {
		return calls, err
	}
	x.Log.Info("indexed", "repository", job.Owner+"/"+job.Name, "branch", job.Branch, "revision", job.Index, "files", len(ix.Files), "left out", len(ix.Unread)+ix.Omitted,
		"new", len(c.Texts), "bytes", len(data), "calls", len(calls), "took", time.Since(start).Round(time.Millisecond))
	return calls, nil
}

var errTooLarge = errors.New("the index grows too large")

// build encodes what was gathered: summaries that are known are copied, the
// others are made.
func (x *Index) build(ctx context.Context, c *project.Collection, kept *project.Kept) ([]byte, *project.Index, error) {
	ix := c.Index()
	w := project.NewWriter()
	var paths []string
	size := 0
	flush := func() error {
		err := x.add(ctx, w, ix, c, paths)
		paths, size = nil, 0
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(ix.Files)) {
		if kept != nil {
			switch copied, err := w.Copy(ix.Files[p], kept); {
			case err != nil:
				return nil, nil, err
			case copied:
				ix.Outlines[ix.Files[p]] = kept.Index.Outlines[ix.Files[p]]
				continue
			}
		}
		text, ok := c.Texts[p]
		if !ok {
			continue
		}
		if paths, size = append(paths, p), size+len(text); size < batch {
			continue
		}
		if err := flush(); err != nil {
			return x.close(w, ix, err)
		}
	}
	return x.close(w, ix, flush())
}

// close encodes the rest. An index that grew too large is kept as far as it got.
func (x *Index) close(w *project.Writer, ix *project.Index, err error) ([]byte, *project.Index, error) {
	if errors.Is(err, errTooLarge) {
		ix.Incomplete = "its index is too large"
		err = nil
	}
	if err != nil {
		return nil, nil, err
	}
	data, err := w.Close(ix)
	return data, ix, err
}

// add summarises files.
func (x *Index) add(ctx context.Context, w *project.Writer, ix *project.Index, c *project.Collection, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = c.Texts[p]
	}
	summaries, err := x.Summarise(ctx, texts)
	if err != nil {
		return err
	}
	for i, p := range paths {
		data := []byte(summaries[i].Module)
		if len(data) == 0 {
			c.Leave(p, summaries[i].Reason)
			data = []byte("{}") // so that it is not tried again before it changes
		}
		m := &project.Module{}
		if err := json.Unmarshal(data, m); err != nil {
			return fmt.Errorf("summarise %s: %w", p, err)
		}
		if w.Size()+len(data)/4 > maxIndex {
			return errTooLarge
		}
		if err := w.Add(ix.Files[p], data); err != nil {
			return err
		}
		ix.Outlines[ix.Files[p]] = ix.Outlines[ix.Files[p]].Of(m)
	}
	return nil
}
