// Package recovery finds the work that no webhook brought. GitHub sends a
// delivery once and not again by itself, so those that failed (the bot was
// down, its disk full, the network cut) are fetched back from GitHub's list at
// the start and then every hour. When the queue itself was lost, or is new, all
// open pull requests that were updated lately are looked at.
//
// What it finds goes the way of every webhook: a job is stored, and the review
// reads first what stands already. So nothing here has to be exact, and nothing
// is posted twice.
//
// It does not ask GitHub to deliver again, since the way from GitHub to the bot
// may be what is broken. It does not look at pull requests itself.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/store"
)

// GitHub is what the recovery reads; bot/github has it.
type GitHub interface {
	// Deliveries lists a page of webhook deliveries, newest first.
	Deliveries(ctx context.Context, cursor string) (page []bot.Delivery, next string, err error)
	// Payload fetches what a delivery brought.
	Payload(ctx context.Context, delivery int64) ([]byte, error)
	// Installations lists the installations that are not suspended.
	Installations(ctx context.Context) ([]int64, error)
	// OpenPulls calls each for the open pull requests updated after since.
	OpenPulls(ctx context.Context, installation int64, since time.Time, each func(bot.OpenPull) error) error
}

// A Queue stores the jobs that the sweep makes.
type Queue interface {
	Put(ctx context.Context, job bot.Job) error
}

// A Leases lets one process at a time do something; bot/store has it.
type Leases interface {
	Hold(ctx context.Context, key string, fn func(context.Context)) (bool, error)
}

// Options are the settings of [New]. All but the times and Log are needed.
type Options struct {
	GitHub GitHub
	Queue  Queue
	Leases Leases
	// Done is where it is remembered what was fetched back; its entries have to
	// live longer than GitHub lists deliveries.
	Done store.Bucket
	// Wants reports whether an event can make a job, and Take stores the jobs of
	// a delivery. An error of Take that wraps ErrMalformed is for good.
	Wants func(event, action string) bool
	Take  func(ctx context.Context, event, delivery string, payload []byte) error
	// Lost tells why jobs may be gone that were accepted, "" if none are; Found is
	// told when a sweep for that reason is over.
	Lost  func() string
	Found func(lost string)
	// Every is the pause between two looks at the deliveries; 0 means an hour.
	Every time.Duration
	// Look is how often it is asked whether a sweep is due; 0 means a minute.
	Look time.Duration
	// Settled is how old a delivery has to be before it counts as failed, as a
	// newer one may be listed before its answer; 0 means a minute.
	Settled time.Duration
	Log     *slog.Logger // nil discards
}

// ErrMalformed is wrapped by errors of Options.Take that stay as they are.
var ErrMalformed = errors.New("the delivery is malformed")

const (
	// Recent is how far back a sweep looks for pull requests.
	Recent = 7 * 24 * time.Hour
	// overlap is how far before the last look the next one begins.
	overlap = 15 * time.Minute
	// most bounds the deliveries that one look fetches, and the pages that it
	// reads. An App has 5,000 requests an hour for this.
	most      = 1000
	mostPages = 500
)

const (
	lease       = "recovery"
	sweptKey    = "swept"    // the time of the last whole sweep
	untilKey    = "until"    // everything older was fetched back
	deliveryKey = "delivery" // + "." + GUID: this one was fetched back
)

// A Recovery is the work in the background.
type Recovery struct {
	o      Options
	log    *slog.Logger
	swept  map[int64]bool // installations that an unfinished sweep is done with
	looked time.Time      // when the deliveries were looked at
}

// New makes a Recovery; Run runs it.
func New(o Options) *Recovery {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every == 0 {
		o.Every = time.Hour
	}
	if o.Look == 0 {
		o.Look = time.Minute
	}
	if o.Settled == 0 {
		o.Settled = time.Minute
	}
	return &Recovery{o: o, log: o.Log, swept: make(map[int64]bool)}
}

// Run recovers until ctx ends. Of several processes one at a time does it.
func (r *Recovery) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = min(r.o.Look, 5*time.Second), max(r.o.Look, 5*time.Minute)
	for ctx.Err() == nil {
		wait := r.o.Look
		err := r.turn(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			pause.Reset()
		} else {
			wait = pause.NextBackOff()
			if retry, ok := errors.AsType[bot.Retry](err); ok {
				wait = max(wait, retry.After)
			}
			r.log.Warn("recover missed work", "again in", wait.Round(time.Millisecond), "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// turn does what is due, if no other process is about it.
func (r *Recovery) turn(ctx context.Context) (err error) {
	due, err := r.due(ctx)
	if err != nil || !due && time.Since(r.looked) < r.o.Every {
		return err
	}
	_, held := r.o.Leases.Hold(ctx, lease, func(ctx context.Context) {
		if due, err = r.due(ctx); err != nil { // another process may have done it meanwhile
			return
		}
		start := time.Now()
		if due {
			err = r.sweep(ctx)
		}
		if err == nil && time.Since(r.looked) >= r.o.Every {
			if err = r.deliveries(ctx); err == nil {
				r.looked = start
			}
		}
	})
	return errors.Join(err, held)
}

// due reports whether a sweep is due: the queue lost jobs, or the bucket knows of
// no sweep, as it is new or was lost with the queue.
func (r *Recovery) due(ctx context.Context) (bool, error) {
	if r.o.Lost() != "" {
		return true, nil
	}
	_, _, err := r.o.Done.Get(ctx, sweptKey)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// sweep makes a job for each open pull request that was updated lately. When it
// fails it goes on later where it was.
func (r *Recovery) sweep(ctx context.Context) error {
	lost := r.o.Lost()
	r.log.Info("look at all open pull requests", "since", Recent, "lost", lost)
	installations, err := r.o.GitHub.Installations(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	now, jobs := time.Now(), 0
	var failed []error
	for _, installation := range installations {
		if r.swept[installation] {
			continue
		}
		err := r.o.GitHub.OpenPulls(ctx, installation, now.Add(-Recent), func(p bot.OpenPull) error {
			jobs++
			return r.o.Queue.Put(ctx, bot.Job{
				V: bot.JobVersion, Installation: installation, Repository: p.Repository, Owner: p.Owner, Name: p.Name, Pull: p.Number,
				Event: "sweep", Accepted: time.Now().UTC(),
			})
		})
		if drop, ok := errors.AsType[bot.Drop](err); ok {
			r.log.Info("installation left out", "installation", installation, "reason", drop.Reason)
			err = nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // one installation's trouble must not hold up the others
			failed = append(failed, fmt.Errorf("sweep installation %d: %w", installation, err))
			continue
		}
		r.swept[installation] = true
	}
	r.log.Info("open pull requests queued", "jobs", jobs, "installations", len(r.swept), "failed", len(failed))
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if _, err := r.o.Done.Put(ctx, sweptKey, []byte(now.UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	clear(r.swept)
	r.o.Found(lost)
	return nil
}

// deliveries fetches back those that failed.
func (r *Recovery) deliveries(ctx context.Context) error {
	start := time.Now()
	until, err := r.until(ctx)
	if err != nil {
		return err
	}
	missed, whole, err := r.missed(ctx, until)
	if err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	fetched := 0
	for _, d := range missed {
		done, err := r.fetch(ctx, d)
		if err != nil {
			return fmt.Errorf("fetch delivery %s back: %w", d.GUID, err)
		}
		if done {
			fetched++
		}
	}
	if fetched > 0 || !whole {
		r.log.Info("deliveries fetched back", "count", fetched, "failed", len(missed), "all", whole)
	}
	if !whole {
		return nil // the next look begins at the same place and finds the others
	}
	_, err = r.o.Done.Put(ctx, untilKey, []byte(start.Add(-overlap).UTC().Format(time.RFC3339)))
	return err
}

// until is the time before which nothing is left to fetch.
func (r *Recovery) until(ctx context.Context) (time.Time, error) {
	text, _, err := r.o.Done.Get(ctx, untilKey)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", untilKey, err)
	}
	return at, nil
}

// goodGUID is a GUID that can be a key of a bucket.
var goodGUID = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// missed lists the newest attempt of each delivery after until that no attempt
// brought here and that was not fetched back, newest first. whole is false if
// there are more.
func (r *Recovery) missed(ctx context.Context, until time.Time) (missed []bot.Delivery, whole bool, err error) {
	delivered := make(map[string]bool)
	seen := make(map[string]bool)
	newest := time.Now().Add(-r.o.Settled)
	cursor := ""
	for range mostPages {
		page, next, err := r.o.GitHub.Deliveries(ctx, cursor)
		if err != nil {
			return nil, false, err
		}
		for _, d := range page {
			if d.At.Before(until) {
				return missed, true, nil
			}
			if d.Delivered {
				delivered[d.GUID] = true // a later attempt, as the list begins with the newest
			}
			if delivered[d.GUID] || seen[d.GUID] || d.At.After(newest) || !r.o.Wants(d.Event, d.Action) || !goodGUID.MatchString(d.GUID) {
				continue
			}
			seen[d.GUID] = true
			if fetched, err := r.fetched(ctx, d.GUID); err != nil || fetched {
				if err != nil {
					return nil, false, err
				}
				continue
			}
			if len(missed) == most {
				return missed, false, nil
			}
			missed = append(missed, d)
		}
		if next == "" {
			return missed, true, nil
		}
		cursor = next
	}
	return missed, false, nil
}

func (r *Recovery) fetched(ctx context.Context, guid string) (bool, error) {
	_, _, err := r.o.Done.Get(ctx, deliveryKey+"."+guid)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// fetch stores the jobs of one delivery and remembers it.
func (r *Recovery) fetch(ctx context.Context, d bot.Delivery) (done bool, err error) {
	payload, err := r.o.GitHub.Payload(ctx, d.ID)
	if _, ok := errors.AsType[bot.Retry](err); ok || ctx.Err() != nil {
		return false, err
	}
	if err != nil {
		r.log.Warn("a delivery cannot be fetched back", "delivery", d.GUID, "event", d.Event, "error", err)
		return false, nil // gone from the list by the next time
	}
	err = r.o.Take(ctx, d.Event, d.GUID, payload)
	if err != nil && !errors.Is(err, ErrMalformed) {
		return false, err
	}
	if err != nil {
		r.log.Warn("a delivery that was fetched back", "delivery", d.GUID, "event", d.Event, "error", err)
	}
	if _, err := r.o.Done.Put(ctx, deliveryKey+"."+d.GUID, []byte(d.Event)); err != nil {
		return false, err
	}
	return true, nil
}
