// Package queue keeps jobs in JetStream until they have their answer: embedded
// in this process, each write synced before it is acknowledged, or on an
// external cluster.
//
// A review job means "look at this pull request": its subject names the pull
// request, the stream keeps the newest job per subject, and a newer job that
// arrives while an older one runs is run after it. Attempts are counted in the
// store, before the work starts; three that end without an answer make a dead
// letter, which stays until a person retries or drops it.
//
// Installations are taken in turn: a worker's process looks at a window of the
// stream, sorts it into one line per installation, and takes the first job of
// each line in rotation. What one installation queues beyond its share of the
// window is handed back for as long as its line lasts, so that the window always
// moves on to the others. One that has to wait, since GitHub limits it, is passed
// over until then; its jobs hold no worker.
//
// The package does not know what a job does, and it does not talk to GitHub.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dtypebot/dtypebot/bot"
)

// Names of the streams and the consumer; their subjects are
//
//	review.<installation>.<repository>.<pull>   coalesces
//	command.<installation>.<delivery>           never coalesces
//	index.<installation>.<repository>           coalesces
//	dead.<subject of the job>                   the newest dead letter per job
const (
	reviewStream    = "REVIEW"
	commandStream   = "COMMAND"
	indexStream     = "INDEX"
	deadStream      = "DEAD"
	reviewConsumer  = "review"
	commandConsumer = "command"
	indexConsumer   = "index"
	deadPrefix      = "dead."
)

// maxJob bounds a stored job, in bytes; real ones have about 400.
const maxJob = 64 << 10

// A State keeps attempts and leases; [*github.com/dtypebot/dtypebot/bot/store.Store]
// is one. If it has a method Reopen(context.Context) error, that is called when
// an embedded server was started again and forgot what it kept in memory.
type State interface {
	// Begin records that a try at the job starts; see the store.
	Begin(ctx context.Context, key string, job uint64, limit int) (n int, last string, err error)
	// Unfinished reports whether the last try under the key came to no end.
	Unfinished(ctx context.Context, key string, limit int) (bool, error)
	// Fail records how a try ended.
	Fail(ctx context.Context, key string, job uint64, reason string) error
	// HandBack undoes Begin.
	HandBack(ctx context.Context, key string, job uint64, last string) error
	// End forgets the tries.
	End(ctx context.Context, key string) error
	// Done reports whether MarkDone was called for the key in the last days.
	Done(ctx context.Context, key string) (bool, error)
	MarkDone(ctx context.Context, key string) error
	// Hold runs fn while holding the lease of key; false if it is taken.
	Hold(ctx context.Context, key string, fn func(context.Context)) (bool, error)
}

// Outcomes of jobs, as reported to [Options.Observe].
const (
	Done       = "done"
	Dropped    = "dropped"
	HandedBack = "handed_back"
	Retried    = "retried"
	Dead       = "dead"
)

// Options are the settings of [Open]. The zero value is good for one server.
type Options struct {
	// Log gets what happens to jobs; nil discards it.
	Log *slog.Logger
	// Observe is told the outcome of each try at a job and how long it took. It
	// is called from several goroutines and must not block.
	Observe func(job bot.Job, outcome string, took time.Duration)
	// Dead is told of each job that was given up and why, once its dead letter is
	// stored, to say so where people look; nil tells nobody. It is called again
	// after a bot.Retry with HandBack, and when the process ended before it
	// returned; another error is logged.
	Dead func(ctx context.Context, job bot.Job, reason string) error
	// Settle is for how long after the start of an embedded queue a job waits that
	// the last process was working on when it ended: what that one had sent off
	// may still have its effect, and has to be seen by whoever reads what stands.
	// 0 waits for nothing. On a cluster the lease of the dead process does it.
	Settle time.Duration
	// Step, if not nil, is called before and after each writing in a job's life,
	// with names like "before put", for tests that end the process there.
	Step func(point string)
	// Admit is asked before each try how long the job's installation has to wait
	// first, running being how many of its jobs run in this process. That is no
	// try, and costs nothing. It must not block. nil never waits.
	Admit func(job bot.Job, running int) time.Duration
	// Grace is how long running jobs may go on after the context of Work ended;
	// 0 means 20 s.
	Grace time.Duration
	// AckWait is how long a message may go without a heartbeat before it is
	// given to another process; 0 means 30 s.
	AckWait time.Duration
	// Backoff is the delay before the second attempt at a job that failed, the
	// third waits four times as long; 0 means 15 s.
	Backoff time.Duration
	// LeaseRetry is the delay of a job whose pull request another process works
	// on; 0 means 2 s.
	LeaseRetry time.Duration
	// BookLimit bounds each writing about a job, such as of its tries or its
	// acknowledgement; 0 means 5 s.
	BookLimit time.Duration
	// Window is how many jobs a process holds in its lines at once; 0 means 1,024
	// when embedded, else eight per worker.
	Window int
}

// attempts is how many tries a job gets before it is a dead letter.
const attempts = 3

// A Queue puts jobs into its streams and works them off.
type Queue struct {
	srv   *Server
	js    jetstream.JetStream
	state State
	o     Options
	log   *slog.Logger

	opened  time.Time
	reviews jetstream.Stream // REVIEW
	refused atomic.Pointer[refusal]
}

// A refusal is a job that could not be stored, with none stored since.
type refusal struct {
	at  time.Time
	err error
}

// refusalLimit is for how long a refusal makes the queue unready. It ends by
// itself: whoever keeps webhooks away from an unready process would otherwise
// never see it store one again.
const refusalLimit = 30 * time.Second

// Open creates the streams that do not exist yet and opens the queue.
func Open(ctx context.Context, srv *Server, state State, o Options) (*Queue, error) {
	q := &Queue{srv: srv, js: srv.JetStream(), state: state, o: o, log: o.Log, opened: time.Now()}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if q.o.Observe == nil {
		q.o.Observe = func(bot.Job, string, time.Duration) {}
	}
	if q.o.Step == nil {
		q.o.Step = func(string) {}
	}
	def := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	def(&q.o.Grace, 20*time.Second)
	def(&q.o.AckWait, 30*time.Second)
	def(&q.o.Backoff, 15*time.Second)
	def(&q.o.LeaseRetry, 2*time.Second)
	def(&q.o.BookLimit, 5*time.Second)

	if err := q.streams(ctx); err != nil {
		return nil, err
	}
	var err error
	if q.reviews, err = q.js.Stream(ctx, reviewStream); err != nil {
		return nil, fmt.Errorf("open stream %s: %w", reviewStream, err)
	}
	srv.afterReopen(func(ctx context.Context) error {
		if again, ok := state.(interface{ Reopen(context.Context) error }); ok {
			if err := again.Reopen(ctx); err != nil {
				return err
			}
		}
		if err := q.streams(ctx); err != nil {
			return err
		}
		q.refused.Store(nil)
		return nil
	})
	return q, nil
}

// streams creates the streams that do not exist.
func (q *Queue) streams(ctx context.Context) error {
	for _, c := range []jetstream.StreamConfig{
		{
			Name: reviewStream, Description: "pull requests to look at",
			Subjects: []string{"review.*.*.*"}, Retention: jetstream.WorkQueuePolicy,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld,
		},
		{
			Name: commandStream, Description: "buttons and comment commands",
			Subjects: []string{"command.*.*"}, Retention: jetstream.WorkQueuePolicy,
		},
		{
			Name: indexStream, Description: "repositories to index",
			Subjects: []string{"index.*.*"}, Retention: jetstream.WorkQueuePolicy,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld,
		},
		{
			Name: deadStream, Description: "jobs that failed for good",
			Subjects: []string{deadPrefix + ">"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld,
		},
	} {
		c.Storage = jetstream.FileStorage
		c.Replicas = q.srv.Replicas()
		c.MaxMsgSize = 2 * maxJob
		if _, err := q.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("open stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// reviewSubject is the subject of the job, which is also the key of its attempts
// and its lease.
func reviewSubject(job bot.Job) string {
	return fmt.Sprintf("review.%d.%d.%d", job.Installation, job.Repository, job.Pull)
}

// indexSubject is the same of a job that indexes a repository.
func indexSubject(job bot.Job) string {
	return fmt.Sprintf("index.%d.%d", job.Installation, job.Repository)
}

// CommandKey is what a command is remembered by once it is carried out. It is the
// job's subject: each delivery has its own.
func CommandKey(job bot.Job) string {
	return fmt.Sprintf("command.%d.%s", job.Installation, keyChars.ReplaceAllString(job.Delivery, "_"))
}

// Put stores a job; when it returns nil the job is on disk, on an
// external cluster as durably as that stores. A job of the same pull request
// that is still waiting is replaced. There is no message id, as a delivery that
// GitHub sends again is a wish to look again. Put takes at most
// Config.PublishLimit.
func (q *Queue) Put(ctx context.Context, job bot.Job) error {
	lacks := job.Pull <= 0
	switch {
	case job.Index != "":
		lacks = false
	case job.Command != nil:
		lacks = job.Delivery == ""
	}
	if job.Installation <= 0 || job.Repository <= 0 || lacks {
		return fmt.Errorf("queue %s: the job lacks an id", job)
	}
	ctx, cancel := context.WithTimeout(ctx, q.srv.conf.PublishLimit)
	defer cancel()
	stream, subject := reviewStream, reviewSubject(job)
	switch {
	case job.Index != "":
		stream, subject = indexStream, indexSubject(job)
	case job.Command != nil:
		stream, subject = commandStream, CommandKey(job)
	}
	if !job.Rerun && stream == reviewStream {
		// A person's wish for a new look must not get lost in a push that comes
		// right behind it. Losing the race against a worker is harmless.
		job.Rerun = q.waitingRerun(ctx, subject)
	}
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("queue %s: %w", job, err)
	}
	if len(data) > maxJob {
		return fmt.Errorf("queue %s: the job has %d bytes, more than %d", job, len(data), maxJob)
	}
	if err := q.step("put", func() error { return q.publish(ctx, stream, subject, data) }); err != nil {
		if !errors.Is(err, context.Canceled) { // by a client that went away
			q.refused.Store(&refusal{time.Now(), err})
			q.srv.suspect(err)
		}
		return fmt.Errorf("queue %s: %w", job, err)
	}
	q.refused.Store(nil)
	return nil
}

// step does one writing.
func (q *Queue) step(name string, do func() error) error {
	q.o.Step("before " + name)
	err := do()
	q.o.Step("after " + name)
	return err
}

// waitingRerun reports whether the newest stored job of the subject asks for a
// rerun.
func (q *Queue) waitingRerun(ctx context.Context, subject string) bool {
	msg, err := q.reviews.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return false // nearly always there is none; trouble is told by publishing
	}
	var old bot.Job
	return json.Unmarshal(msg.Data, &old) == nil && old.Rerun
}

// publish stores data and waits for the acknowledgement.
func (q *Queue) publish(ctx context.Context, stream, subject string, data []byte) error {
	_, err := q.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data},
		// A subject that another stream of a shared cluster took would be a
		// silent loss.
		jetstream.WithExpectStream(stream),
		// The client would try again for longer than the webhook may take.
		jetstream.WithRetryAttempts(0))
	return err
}

// Ready returns nil while jobs can be stored, as far as is known, else why they
// cannot. A server whose disk is full answers all the same, so what became of
// the last job counts too.
func (q *Queue) Ready(ctx context.Context) error {
	if r := q.refused.Load(); r != nil && time.Since(r.at) < refusalLimit {
		return fmt.Errorf("queue: the last job could not be stored: %w", r.err)
	}
	return q.srv.Ready(ctx)
}

// A Depth says how much is in the queue.
type Depth struct {
	Waiting uint64 // reviews and commands without an answer, running ones included
	Index   uint64 // repositories to index
	Dead    uint64 // dead letters
}

// Depth asks the streams how many messages they hold.
func (q *Queue) Depth(ctx context.Context) (Depth, error) {
	var d Depth
	for name, into := range map[string]*uint64{reviewStream: &d.Waiting, commandStream: &d.Waiting, indexStream: &d.Index, deadStream: &d.Dead} {
		stream, err := q.js.Stream(ctx, name)
		if err != nil {
			return Depth{}, fmt.Errorf("measure stream %s: %w", name, err)
		}
		*into += stream.CachedInfo().State.Msgs
	}
	return d, nil
}

// A DeadLetter is a job that was given up.
type DeadLetter struct {
	ID     string          `json:"-"`   // the job's subject: what Retry and Discard take
	Job    bot.Job         `json:"job"` // zero when it could not be read
	Raw    json.RawMessage `json:"raw"` // the job as it was stored; a JSON string if it was not JSON
	Reason string          `json:"reason"`
	Tries  int             `json:"tries"`
	At     time.Time       `json:"at"`
}

// DeadLetters lists all dead letters, oldest first.
func (q *Queue) DeadLetters(ctx context.Context) ([]DeadLetter, error) {
	stream, err := q.js.Stream(ctx, deadStream)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var letters []DeadLetter
	for seq := uint64(1); ; {
		// The first at or behind seq: what was retried or dropped left gaps.
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(deadPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		letter, err := decodeLetter(msg)
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
		seq = msg.Sequence + 1
	}
	return letters, nil
}

func decodeLetter(msg *jetstream.RawStreamMsg) (DeadLetter, error) {
	letter := DeadLetter{ID: strings.TrimPrefix(msg.Subject, deadPrefix)}
	if err := json.Unmarshal(msg.Data, &letter); err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %s: %w", letter.ID, err)
	}
	return letter, nil
}

// Retry puts the dead letter's job back into its stream, with all its tries,
// and removes the letter.
func (q *Queue) Retry(ctx context.Context, id string) error {
	stream, err := q.js.Stream(ctx, deadStream)
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, deadPrefix+id)
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	letter, err := decodeLetter(msg)
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	if err := q.Put(ctx, letter.Job); err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	if err := stream.DeleteMsg(ctx, msg.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	return nil
}

// Discard removes a dead letter.
func (q *Queue) Discard(ctx context.Context, id string) error {
	stream, err := q.js.Stream(ctx, deadStream)
	if err != nil {
		return fmt.Errorf("drop %s: %w", id, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, deadPrefix+id)
	if err == nil {
		err = stream.DeleteMsg(ctx, msg.Sequence)
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", id, err)
	}
	return nil
}

// bury stores a dead letter; it replaces an older one of the same subject.
func (q *Queue) bury(ctx context.Context, it *item, tries int, reason string) error {
	raw := json.RawMessage(it.msg.Data())
	if !json.Valid(raw) {
		raw, _ = json.Marshal(string(it.msg.Data())) // a string always marshals
	}
	data, err := json.Marshal(DeadLetter{Job: it.job, Raw: raw, Reason: reason, Tries: tries, At: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("write dead letter %s: %w", it.key, err)
	}
	if err := q.publish(ctx, deadStream, deadPrefix+it.key, data); err != nil {
		return fmt.Errorf("write dead letter %s: %w", it.key, err)
	}
	return nil
}
