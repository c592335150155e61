package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// GitHub is what the pipe needs of GitHub; bot/github satisfies it.
type GitHub interface {
	// Snapshot reads everything that a review of the job's pull request needs,
	// all of one head. It returns Drop when there is nothing to review (closed,
	// deleted, uninstalled) and Retry when it should be asked again later.
	Snapshot(ctx context.Context, job Job) (Snapshot, error)
	// State reads what Excuse needs and no more, by other calls than Snapshot, as
	// those may be what fails: the head of the job's pull request and the own
	// check runs on it. It returns Drop and Retry like Snapshot.
	State(ctx context.Context, job Job) (Snapshot, error)
	// Post writes a review: at most one review with comments, then the check
	// run. What GitHub refuses to take as a comment becomes an annotation.
	Post(ctx context.Context, snapshot Snapshot, review Review) (Posted, error)
	// Begin says by a check run that the review is on its way, and returns its id.
	Begin(ctx context.Context, snapshot Snapshot) (int64, error)
}

// Posted says what was written for one job.
type Posted struct {
	Comments []ReviewComment // that GitHub took
	Threads  []ThreadChange  // that were made
	Outcomes []Outcome       // of comments, these and earlier ones
	Refused  []ReviewComment // that GitHub refused; they are annotations now
	Reviews  int             // 0 or 1; more only when GitHub refused comments
	CheckRun int64           // id of the check run that stands, 0 if none was written
	Calls    []string        // the API calls made, by name, in order: Snapshot's, then Post's
}

// An Analyser finds the mistakes of the files and plans what to say of them.
// around is what the change has around them. It reads nothing but its arguments. An error means that it could not finish (time,
// memory); a file that cannot be analysed is a Skip in the report.
type Analyser func(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error)

// An Index knows what the files of a repository say of each other.
type Index interface {
	// Near returns what the rest of the repository says of the snapshot's files, for
	// check.Around. If there is nothing yet it returns why, as a clause for people;
	// it does not wait for it.
	Near(ctx context.Context, snapshot Snapshot) (index []byte, missing string)
	// Forget removes what is kept of a repository.
	Forget(ctx context.Context, repository int64) error
}

// A Reviewer is the whole pipe for one job. All fields are needed, but for Desk
// and Put, which only commands need, Index and Patience.
type Reviewer struct {
	GitHub GitHub
	Desk   Desk // for commands
	// Index knows the rest of repositories; nil knows nothing.
	Index Index
	// Put stores a job that a command makes.
	Put func(ctx context.Context, job Job) error
	// Patience is how long a review may take before a check run says that it is on
	// its way; 0 means three seconds.
	Patience time.Duration
	Analyse  Analyser
	Config   Config
}

// Review looks at the job's pull request and posts what there is to say. It may
// be called any number of times for one head: what already stands is not posted
// again. A job whose pull request needs no look any more returns Drop.
func (r *Reviewer) Review(ctx context.Context, job Job) (Posted, error) {
	start := time.Now()
	snapshot, err := r.GitHub.Snapshot(ctx, job)
	if err != nil {
		return Posted{}, border("read "+job.String(), err)
	}
	begun := r.begin(ctx, snapshot, start)
	review, err := r.compose(ctx, snapshot)
	if id := begun(); id != 0 {
		snapshot.Calls = append(slices.Clone(snapshot.Calls), "check-run:begin")
		snapshot.CheckRuns = append([]CheckRun{{
			ID: id, Status: "in_progress", ExternalID: ExternalID(job), Head: snapshot.Head,
		}}, snapshot.CheckRuns...)
		review.Check.settle(snapshot)
	}
	if err != nil {
		return Posted{Calls: snapshot.Calls}, err
	}
	if err := CheckFence(ctx); err != nil {
		return Posted{Calls: snapshot.Calls}, border("post the review of "+job.String(), err)
	}
	posted, err := r.GitHub.Post(ctx, snapshot, review)
	posted.Calls = append(append([]string(nil), snapshot.Calls...), posted.Calls...)
	if err != nil {
		return posted, border("post the review of "+job.String(), err)
	}
	return posted, nil
}

// defaultPatience is how long a review may take before people are told that it
// is on its way. Most take less than a second.
const defaultPatience = 3 * time.Second

// begin has a check run say that the review is on its way if the review is not
// over in time. The function that it returns ends that, and returns the id of
// the check run, 0 if there is none. That it could not be written costs nothing.
func (r *Reviewer) begin(ctx context.Context, snapshot Snapshot, start time.Time) func() int64 {
	var id int64
	done := make(chan struct{})
	timer := time.AfterFunc(cmp.Or(r.Patience, defaultPatience)-time.Since(start), func() {
		defer close(done)
		id, _ = r.GitHub.Begin(ctx, snapshot)
	})
	return func() int64 {
		if !timer.Stop() {
			<-done
		}
		return id
	}
}

// Look does all of Review but the posting: what it returns would be written now.
func (r *Reviewer) Look(ctx context.Context, job Job) (Snapshot, Review, error) {
	snapshot, err := r.GitHub.Snapshot(ctx, job)
	if err != nil {
		return Snapshot{}, Review{}, border("read "+job.String(), err)
	}
	review, err := r.compose(ctx, snapshot)
	return snapshot, review, err
}

// compose analyses a snapshot and composes the review.
func (r *Reviewer) compose(ctx context.Context, snapshot Snapshot) (Review, error) {
	if reason := snapshot.Settings.unwanted(snapshot.Draft, snapshot.Labels); reason != "" {
		return Declined(snapshot, reason, r.Config), nil
	}
	var report check.Report
	var plan suggestions.Plan
	var err error
	if len(snapshot.Files) > 0 {
		if report, plan, err = r.Analyse(ctx, snapshot.Files, r.around(ctx, &snapshot)); err != nil {
			return Review{}, border("analyse "+snapshot.Job.String(), err)
		}
	}
	return Compose(snapshot, report, plan, r.Config), nil
}

// around is what the snapshot's files have around them. It notes in the snapshot
// what is not known.
func (r *Reviewer) around(ctx context.Context, snapshot *Snapshot) check.Around {
	around := check.Around{Deleted: snapshot.Deleted, Tuning: snapshot.Settings.Tuning}
	switch {
	case r.Index == nil:
	case !snapshot.Job.Rerun && snapshot.reviewedWithout():
		// One head gets one answer, however often an event comes or a process dies.
		snapshot.Unindexed = Unready
	default:
		around.Index, snapshot.Unindexed = r.Index.Near(ctx, *snapshot)
	}
	return around
}

// Unready says why the rest of a repository was not read, as a clause for people.
const Unready = "its index is not ready. Re-run this check later to have them read"

// reviewedWithout reports whether the head was answered without an index.
func (s Snapshot) reviewedWithout() bool {
	return slices.ContainsFunc(s.CheckRuns, func(run CheckRun) bool {
		return run.Head == s.Head && run.Status == "completed" && run.ExternalID == ExternalID(s.Job) && strings.Contains(run.Summary, notRead+": "+Unready)
	})
}

// GiveUp says on the job's pull request that it could not be reviewed, and why.
// It may be called any number of times: what stands already is not written
// again.
func (r *Reviewer) GiveUp(ctx context.Context, job Job, reason string) (Posted, error) {
	if job.Command != nil {
		return Posted{}, r.apologise(ctx, job)
	}
	snapshot, err := r.GitHub.State(ctx, job)
	if err != nil {
		return Posted{}, border("read "+job.String(), err)
	}
	if err := CheckFence(ctx); err != nil {
		return Posted{Calls: snapshot.Calls}, border("say that "+job.String()+" could not be reviewed", err)
	}
	posted, err := r.GitHub.Post(ctx, snapshot, Excuse(snapshot, reason, r.Config))
	posted.Calls = append(append([]string(nil), snapshot.Calls...), posted.Calls...)
	if err != nil {
		return posted, border("say that "+job.String()+" could not be reviewed", err)
	}
	return posted, nil
}

// border names the act; Drop and Retry pass as they are, since the queue tells
// them apart by type and they name their cause themselves.
func border(act string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[Drop](err); ok {
		return err
	}
	if _, ok := errors.AsType[Retry](err); ok {
		return err
	}
	return fmt.Errorf("%s: %w", act, err)
}
