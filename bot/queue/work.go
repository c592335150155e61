package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dtypebot/dtypebot/bot"
)

// ErrShutdown is the cause of a handler's context when its grace is over.
var ErrShutdown = errors.New("shutting down")

// ErrStuck is what Work returns when handlers did not end in time although
// their context was cancelled. Their jobs count as tried.
var ErrStuck = errors.New("jobs did not stop in time")

// stopLimit is how long a handler may take to return after its context ended.
const stopLimit = 5 * time.Second

// newerVersionDelay is how long a job waits that a newer build has written, for
// the newer build to take it.
const newerVersionDelay = time.Minute

// Work runs handle for each review job and command, n at once, and beside them
// for one job at a time that indexes a repository, until ctx ends. What handle
// returns decides what becomes of the job:
//
//   - nil, or a [bot.Drop]: it has its answer and is removed;
//   - a [bot.Retry]: it comes back after the delay, or later when it failed
//     before; with HandBack as if it had never been tried; with Outage too, the
//     delay doubles each time in a row, to ten minutes;
//   - another error, or a panic: it comes back after a growing delay.
//
// A job that was tried three times without an answer becomes a dead letter,
// also when the process ended during the tries. While a job runs no other job of
// the same pull request runs, in any process.
//
// When ctx ends no further job is started. Running ones may finish within
// Options.Grace; then their context is cancelled, and those that return an
// error are handed back. Work returns nil after a shutdown in good order.
func (q *Queue) Work(ctx context.Context, n int, handle func(context.Context, bot.Job) error) error {
	if n < 1 {
		return fmt.Errorf("work on the queue: %d workers", n)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Nobody waits for an index, so its jobs have a line of their own and never
	// hold a worker.
	var indexing sync.WaitGroup
	var indexed error
	indexing.Go(func() {
		defer stop()
		indexed = q.workOn(ctx, []string{indexStream}, 1, handle)
	})
	err := q.workOn(ctx, []string{reviewStream, commandStream}, n, handle)
	stop()
	indexing.Wait()
	return errors.Join(err, indexed)
}

// workOn is Work for some of the streams.
func (q *Queue) workOn(ctx context.Context, streams []string, n int, handle func(context.Context, bot.Job) error) error {
	window := q.o.Window
	if window == 0 {
		window = 8 * n
		if q.srv.Embedded() {
			window = 1024 // there is no other process that could have the jobs
		}
	}
	var consumers []jetstream.Consumer
	for _, stream := range streams {
		consumer, err := q.firstConsumer(ctx, stream)
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		if err != nil {
			return err
		}
		consumers = append(consumers, consumer)
	}
	hard, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	w := &work{
		q: q, n: n, window: window, handle: handle, hard: hard,
		line: newLine(max(window/4, 1)), outages: make(map[string]int),
	}
	w.line.admit = q.o.Admit
	w.took.Store(int64(2 * time.Second)) // a guess, until there are jobs

	var fetching, working sync.WaitGroup
	broken := make([]error, len(consumers))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for i, consumer := range consumers {
		fetching.Go(func() {
			broken[i] = w.fetch(ctx, consumer)
			stop()
		})
	}
	beating := make(chan struct{})
	go w.beat(beating)
	defer close(beating)
	for range n {
		working.Go(func() {
			for it := w.line.take(); it != nil; it = w.line.take() {
				w.run(it)
			}
		})
	}

	<-ctx.Done()
	left := w.line.close()
	fetching.Wait()
	for _, it := range append(left, w.line.close()...) {
		q.note(it, "hand back", w.nak(it, 0))
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	grace := time.AfterFunc(q.o.Grace, func() { kill(ErrShutdown) })
	defer grace.Stop()
	stuck := time.NewTimer(q.o.Grace + stopLimit)
	defer stuck.Stop()
	select {
	case <-done:
		return errors.Join(broken...)
	case <-stuck.C:
		return ErrStuck
	}
}

// firstConsumer creates or opens the consumer of a stream, as often as it takes
// while the server is away or being repaired. It gives up on a connection that is
// closed and on what an external server refuses.
func (q *Queue) firstConsumer(ctx context.Context, stream string) (jetstream.Consumer, error) {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 10 * time.Second
	for {
		try, cancel := context.WithTimeout(ctx, q.o.BookLimit)
		c, err := q.consumer(try, stream)
		cancel()
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		refused, ok := errors.AsType[*jetstream.APIError](err)
		if q.srv.nc.IsClosed() || ok && refused.Code < 500 && !q.srv.Embedded() {
			return nil, err
		}
		turned := q.srv.nextStart()
		q.srv.suspect(err)
		wait := pause.NextBackOff()
		q.log.Warn("begin to work on the queue", "again in", wait.Round(time.Millisecond), "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-turned:
		case <-time.After(wait):
		}
	}
}

// consumer creates or opens the consumer of a stream.
func (q *Queue) consumer(ctx context.Context, stream string) (jetstream.Consumer, error) {
	name := reviewConsumer
	switch stream {
	case commandStream:
		name = commandConsumer
	case indexStream:
		name = indexConsumer
	}
	c, err := q.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable:       name,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       q.o.AckWait,
		MaxDeliver:    -1, // attempts are counted in the store
		MaxAckPending: -1,
		// On an embedded server what was delivered but not answered before the
		// last start has nobody who works on it: forgetting it makes the jobs
		// available at once.
		MemoryStorage: q.srv.Embedded(),
	})
	if err != nil {
		return nil, fmt.Errorf("open consumer %s: %w", name, err)
	}
	return c, nil
}

// work is one call of Work.
type work struct {
	q      *Queue
	n      int
	window int
	handle func(context.Context, bot.Job) error
	hard   context.Context // of the handlers
	line   *line
	took   atomic.Int64 // nanoseconds of a job, moving average

	mu      sync.Mutex     // guards outages
	outages map[string]int // by key, how often in a row an outage handed the job back
}

// fetch moves messages from the stream to the line until ctx ends.
func (w *work) fetch(ctx context.Context, consumer jetstream.Consumer) error {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 10 * time.Second
	for ctx.Err() == nil {
		room := w.line.room(w.window)
		if room == 0 {
			return nil
		}
		turned := w.q.srv.nextStart()
		err := w.fetchOnce(ctx, consumer, room, turned)
		if ctx.Err() != nil {
			return nil
		}
		again := false
		select {
		case <-turned:
			again = true // the consumer is gone
		default:
		}
		if err == nil && !again {
			pause.Reset()
			continue
		}
		if !again {
			w.q.log.Warn("fetch jobs", "error", err)
			w.q.srv.suspect(err)
			if w.q.srv.nc.IsClosed() {
				return fmt.Errorf("fetch jobs: %w", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-turned:
			case <-time.After(pause.NextBackOff()):
			}
		}
		// It may have been deleted, or lost with a memory-only server.
		made, err := w.q.consumer(ctx, consumer.CachedInfo().Stream)
		if err != nil {
			w.q.log.Warn("fetch jobs", "error", err)
			continue
		}
		consumer = made
	}
	return nil
}

// fetchWait is how long one request for jobs stays open at the server.
const fetchWait = 10 * time.Second

// fetchOnce does one request for jobs. It is given up when turned is closed,
// since nobody will answer it then.
func (w *work) fetchOnce(ctx context.Context, consumer jetstream.Consumer, room int, turned <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	go func() {
		select {
		case <-turned:
			cancel()
		case <-ctx.Done():
		}
	}()
	batch, err := consumer.Fetch(room, jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		w.accept(msg)
	}
	if err := batch.Error(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// accept puts a message into the line.
func (w *work) accept(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		w.q.log.Error("read a message's metadata", "subject", msg.Subject(), "error", err)
		return // delivered again when AckWait is over
	}
	it := &item{msg: msg, seq: meta.Sequence.Stream, key: msg.Subject(), again: meta.NumDelivered > 1}
	if parts := strings.Split(it.key, "."); len(parts) > 1 {
		it.from = parts[1]
	}
	if it.bad = json.Unmarshal(msg.Data(), &it.job); it.bad == nil && it.job.Index == "" {
		it.pull = reviewSubject(it.job)
	} else {
		it.pull = it.key
	}
	stale, over := w.line.add(it)
	if stale != nil {
		w.q.note(stale, "acknowledge a replaced job", stale.msg.Ack())
	}
	if over {
		pause := min(w.line.pauseOf(it.from), pausedLimit)
		w.q.note(it, "hand back", msg.NakWithDelay(max(w.overDelay(meta.NumDelivered), pause)))
	}
}

// pausedLimit is the longest that a job is handed back at a time because its
// installation has to wait.
const pausedLimit = 5 * time.Minute

// overDelay is for how long a message is handed back whose installation has its
// share of the window already: about half the time that its line needs, but at
// first less, doubled with each delivery, as that time is only a guess.
func (w *work) overDelay(delivered uint64) time.Duration {
	const shortest, longest = 500 * time.Millisecond, 30 * time.Second
	half := time.Duration(w.took.Load()) * time.Duration(w.line.share) / time.Duration(2*w.n)
	limit := min(shortest<<min(delivered-1, 10), longest)
	return min(max(half, shortest), limit)
}

// beat keeps the messages that are held from being delivered to others.
func (w *work) beat(stop <-chan struct{}) {
	tick := time.NewTicker(w.q.o.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			for _, it := range w.line.held() {
				w.q.note(it, "heartbeat", w.heartbeat(it))
			}
		}
	}
}

// heartbeat keeps the item's message from being delivered again.
func (w *work) heartbeat(it *item) error {
	it.answer.Lock()
	defer it.answer.Unlock()
	if !w.line.keeps(it) { // handed back since it was looked for
		return nil
	}
	return it.msg.InProgress()
}

// run tries one item and removes it from the line.
func (w *work) run(it *item) {
	defer w.line.finish(it)
	start := time.Now()
	outcome := w.try(it)
	if outcome != HandedBack {
		w.mu.Lock()
		delete(w.outages, it.key)
		w.mu.Unlock()
	}
	took := time.Since(start)
	w.took.Store((3*w.took.Load() + int64(took)) / 4)
	w.q.o.Observe(it.job, outcome, took)
}

// try takes the lease, counts the try, runs the handler and settles the message.
func (w *work) try(it *item) (outcome string) {
	q := w.q
	if it.bad != nil {
		return w.dead(w.hard, it, 0, fmt.Sprintf("the stored job cannot be read: %v", it.bad))
	}
	if it.job.V > bot.JobVersion {
		return w.handBack(it, newerVersionDelay, "written by a newer version")
	}
	if it.job.Command != nil {
		book, cancel := w.book()
		done, err := q.state.Done(book, it.key)
		cancel()
		q.note(it, "ask whether the command was carried out", err)
		if done {
			w.end(it)
			return Dropped
		}
	}
	q.o.Step("before lease")
	held, err := q.state.Hold(w.hard, it.pull, func(ctx context.Context) {
		q.o.Step("after lease")
		if left := w.settling(it); left > 0 {
			outcome = w.handBack(it, left, "what the last process sent off may still have its effect")
			return
		}
		book, cancel := w.book()
		q.o.Step("before begin")
		n, last, err := q.state.Begin(book, it.key, it.seq, attempts)
		q.o.Step("after begin")
		cancel()
		if err != nil {
			q.note(it, "count the try", err)
			q.srv.suspect(err)
			outcome = w.handBack(it, q.o.Backoff, "the try could not be counted")
			return
		}
		if n > attempts {
			if last == "" {
				last = "the process ended during the last try"
			}
			outcome = w.dead(ctx, it, attempts, last)
			return
		}
		it.job.Tried = n > 1 || it.again || w.seen(it)
		outcome = w.settle(ctx, it, n, last, w.call(ctx, it.job))
	})
	q.o.Step("after release")
	if err != nil {
		q.note(it, "take the lease", err)
	}
	if !held {
		return w.handBack(it, q.o.LeaseRetry, "another process works on the pull request")
	}
	return outcome
}

// settling is how long the item has to wait for the effects of a process that
// ended while it worked on the same key; see Options.Settle.
func (w *work) settling(it *item) time.Duration {
	left := w.q.o.Settle - time.Since(w.q.opened)
	if left <= 0 || !w.q.srv.Embedded() {
		return 0
	}
	book, cancel := w.book()
	defer cancel()
	unfinished, err := w.q.state.Unfinished(book, it.key, attempts)
	w.q.note(it, "look for an unfinished try", err)
	if !unfinished && err == nil {
		return 0
	}
	return left
}

// seen reports whether the item's delivery was worked off before, by any
// process. An embedded queue has only this one, which knows by itself.
func (w *work) seen(it *item) bool {
	if w.q.srv.Embedded() || it.job.Delivery == "" {
		return false
	}
	book, cancel := w.book()
	defer cancel()
	done, err := w.q.state.Done(book, deliveryKey(it))
	w.q.note(it, "look whether the delivery was worked off", err)
	return done || err != nil
}

// deliveryKey is what a delivery's answer is remembered by.
func deliveryKey(it *item) string {
	return it.key + "." + keyChars.ReplaceAllString(it.job.Delivery, "_")
}

var keyChars = regexp.MustCompile(`[^A-Za-z0-9-]`)

// call runs the handler; a panic is an error.
func (w *work) call(ctx context.Context, job bot.Job) (err error) {
	defer w.recovered(job, &err)
	return w.handle(ctx, job)
}

// settle decides what becomes of an item whose try n ended with err. ctx is the
// handler's.
func (w *work) settle(ctx context.Context, it *item, n int, last string, err error) string {
	q := w.q
	var drop bot.Drop
	var retry bot.Retry
	switch {
	case err == nil:
		if it.job.Command != nil {
			book, cancel := w.book()
			q.note(it, "remember the command", q.state.MarkDone(book, it.key))
			cancel()
		}
		w.end(it)
		return Done
	case errors.As(err, &drop):
		q.log.Info("job dropped", "pull", it.job.String(), "delivery", it.job.Delivery, "reason", drop.Reason)
		w.end(it)
		return Dropped
	case ctx.Err() != nil: // the lease was lost, or the grace is over
		w.uncount(it, last)
		return w.handBack(it, q.o.LeaseRetry, context.Cause(ctx).Error())
	case errors.As(err, &retry) && retry.HandBack:
		w.uncount(it, last)
		// Without a delay a refusal would turn in circles.
		after := max(retry.After, q.o.LeaseRetry)
		if retry.Whole {
			w.line.pause(it.from, retry.After)
		}
		if retry.Outage {
			after = w.outage(it, after)
			q.log.Warn("outage", "pull", it.job.String(), "delivery", it.job.Delivery, "again in", after.Round(time.Millisecond), "error", err)
		}
		return w.handBack(it, after, err.Error())
	}
	if n >= attempts {
		return w.dead(ctx, it, n, err.Error())
	}
	book, cancel := w.book()
	defer cancel()
	q.note(it, "record the failure", q.step("fail", func() error { return q.state.Fail(book, it.key, it.seq, err.Error()) }))
	delay := retry.After
	if delay <= 0 || n > 1 {
		// The first time the handler knows best; when that was too early the
		// tries are spread, so that they outlast a short disturbance.
		delay = max(delay, q.delay(n))
	}
	q.log.Warn("job failed", "pull", it.job.String(), "delivery", it.job.Delivery, "try", n, "again in", delay.Round(time.Millisecond), "error", err)
	q.note(it, "delay", q.step("delay", func() error { return w.nak(it, delay) }))
	return Retried
}

// outageLimit is the longest that an outage's delay grows to: so long does a job
// wait at most after the end of the outage.
const outageLimit = 10 * time.Minute

// outage is how long a job waits that an outage hands back: twice as long as
// the last time, spread a little, so that not all come back at once. The count
// is this process's; a restart begins anew, and a try then does no harm.
func (w *work) outage(it *item, after time.Duration) time.Duration {
	w.mu.Lock()
	n := w.outages[it.key]
	w.outages[it.key] = n + 1
	w.mu.Unlock()
	grown := min(after<<min(n, 20), max(outageLimit, after))
	return grown + rand.N(grown/5+1)
}

// delay is how long a job waits after its n-th try failed.
func (q *Queue) delay(n int) time.Duration {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = q.o.Backoff
	b.Multiplier = 4
	b.RandomizationFactor = 0.2
	b.MaxInterval = time.Hour
	var d time.Duration
	for range n {
		d = b.NextBackOff()
	}
	return d
}

// end removes an item that has its answer. The tries are forgotten last: if that
// is missed they expire, as their job's number never comes again.
func (w *work) end(it *item) {
	book, cancel := w.book()
	defer cancel()
	if !w.q.srv.Embedded() && it.job.Delivery != "" {
		w.q.note(it, "remember the delivery", w.q.state.MarkDone(book, deliveryKey(it)))
	}
	w.finish(book, it)
}

// finish removes an item for good.
func (w *work) finish(book context.Context, it *item) {
	w.q.note(it, "acknowledge", w.q.step("acknowledge", func() error { return it.msg.DoubleAck(book) }))
	w.q.note(it, "forget the tries", w.q.step("forget", func() error { return w.q.state.End(book, it.key) }))
}

// dead makes the item a dead letter. If that fails it stays in the stream and
// gets here again. ctx is the one in which the lease is held.
func (w *work) dead(ctx context.Context, it *item, tries int, reason string) string {
	book, cancel := w.book()
	defer cancel()
	// Whatever becomes of the rest, if the item comes again it is for this reason:
	// another one would be told beside it.
	w.remember(it, reason)
	if err := w.q.step("bury", func() error { return w.q.bury(book, it, tries, reason) }); err != nil {
		w.q.note(it, "bury", err)
		w.q.note(it, "delay", w.nak(it, w.q.o.Backoff))
		return Retried
	}
	w.q.log.Error("job given up", "pull", it.job.String(), "delivery", it.job.Delivery, "tries", tries, "reason", reason)
	if err := w.tell(ctx, it, reason); err != nil {
		var retry bot.Retry
		if ctx.Err() != nil || errors.As(err, &retry) && retry.HandBack {
			// It is found given up again, and told again.
			return w.handBack(it, w.outage(it, max(retry.After, w.q.o.LeaseRetry)), err.Error())
		}
		w.q.note(it, "tell that the job was given up", err)
	}
	w.finish(book, it)
	return Dead
}

// remember records why a job is given up that comes again.
func (w *work) remember(it *item, reason string) {
	book, cancel := w.book()
	defer cancel()
	w.q.note(it, "record the failure", w.q.step("remember", func() error { return w.q.state.Fail(book, it.key, it.seq, reason) }))
}

// tellLimit bounds a call of Options.Dead.
const tellLimit = time.Minute

// tell passes the end of a job on; a panic is an error.
func (w *work) tell(ctx context.Context, it *item, reason string) (err error) {
	if w.q.o.Dead == nil || it.bad != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	defer w.recovered(it.job, &err)
	return w.q.o.Dead(ctx, it.job, reason)
}

// recovered makes an error of a panic.
func (w *work) recovered(job bot.Job, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
		w.q.log.Error("job panicked", "pull", job.String(), "delivery", job.Delivery, "panic", p, "stack", string(debug.Stack()))
	}
}

// handBack lets the item come again after a delay; it does not count as a try.
func (w *work) handBack(it *item, delay time.Duration, reason string) string {
	w.q.log.Debug("job handed back", "pull", it.job.String(), "delivery", it.job.Delivery, "for", delay, "reason", reason)
	w.q.note(it, "hand back", w.q.step("hand back", func() error { return w.nak(it, delay) }))
	return HandedBack
}

// nak lets the message of an item come again after a delay.
func (w *work) nak(it *item, delay time.Duration) error {
	it.answer.Lock()
	defer it.answer.Unlock()
	w.line.letGo(it)
	return it.msg.NakWithDelay(delay)
}

// uncount undoes the count of the try that runs.
func (w *work) uncount(it *item, last string) {
	book, cancel := w.book()
	defer cancel()
	w.q.note(it, "uncount the try", w.q.step("uncount", func() error { return w.q.state.HandBack(book, it.key, it.seq, last) }))
}

// book returns a context for writings about a job, which go on during shutdown.
func (w *work) book() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(w.hard), w.q.o.BookLimit)
}

// note logs an error of something that is repaired by itself: the message is
// delivered again.
func (q *Queue) note(it *item, act string, err error) {
	if err != nil {
		q.log.Warn(act, "pull", it.job.String(), "subject", it.key, "error", err)
	}
}
