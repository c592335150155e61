package queue

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/dtypebot/dtypebot/bot"
)

// An item is a message that this process holds.
type item struct {
	msg  jetstream.Msg
	seq  uint64 // in the stream
	key  string // the subject
	pull string // the subject of the pull request's reviews: one job of it runs at a time
	from string // the installation, as in the subject
	job  bot.Job
	bad  error // why the job could not be read
	// gone says that the message was handed back while the item still runs: it may
	// come again before the item is finished. Guarded by the line's lock.
	gone bool
	// again says that the message was given out before.
	again bool
	// answer orders what is sent about the message: a heartbeat behind the handing
	// back would take the delay back. Taken before the line's lock.
	answer sync.Mutex
}

// A line holds the items that wait and those that run. At most one item per
// key waits and at most one runs.
type line struct {
	mu      sync.Mutex
	changed *sync.Cond
	closed  bool
	share   int // items that one installation may have waiting
	waiting int
	turns   []string           // installations with waiting items, next first
	queues  map[string][]*item // by installation, oldest first
	running map[string]*item   // by key
	paused  map[string]time.Time
	// admit is asked, if not nil, before a job starts; see Options.Admit.
	admit func(job bot.Job, running int) time.Duration
}

func newLine(share int) *line {
	l := &line{share: share, queues: make(map[string][]*item), running: make(map[string]*item), paused: make(map[string]time.Time)}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// add puts an item into its installation's line, in the place of an older one
// with the same key. stale is an item whose message is no longer in the stream,
// nil if there is none; over is true when the item found no room.
func (l *line) add(it *item) (stale *item, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run := l.running[it.key]; run != nil && run.seq >= it.seq && !(run.gone && run.seq == it.seq) {
		if run.seq == it.seq {
			return nil, false // delivered again since a heartbeat came late: it is in hand
		}
		return it, false
	}
	q := l.queues[it.from]
	for i, old := range q {
		if old.key != it.key {
			continue
		}
		if old.seq > it.seq {
			return it, false
		}
		q[i] = it
		if old.seq == it.seq {
			return nil, false // delivered again
		}
		return old, false
	}
	if len(q) >= l.share {
		return nil, true
	}
	if len(q) == 0 {
		l.turns = append(l.turns, it.from)
	}
	l.queues[it.from] = append(q, it)
	l.waiting++
	l.changed.Broadcast()
	return nil, false
}

// take waits for an item that may run and marks it running; nil when the line
// was closed.
func (l *line) take() *item {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.closed {
			return nil
		}
		if it := l.next(); it != nil {
			l.running[it.key] = it
			l.changed.Broadcast()
			return it
		}
		l.changed.Wait()
	}
}

// next removes the first item that may run from the line whose turn it is, and
// moves that installation to the end. Those that have to wait are passed over.
func (l *line) next() *item {
	for t, from := range l.turns {
		if _, wait := l.paused[from]; wait {
			continue
		}
		q := l.queues[from]
		for i, it := range q {
			if l.busy(it) {
				continue
			}
			if d := l.admission(it); d > 0 {
				l.pauseLocked(from, d)
				break
			}
			l.turns = slices.Delete(l.turns, t, t+1)
			q = slices.Delete(q, i, i+1)
			if len(q) == 0 {
				delete(l.queues, from)
			} else {
				l.queues[from] = q
				l.turns = append(l.turns, from)
			}
			l.waiting--
			return it
		}
	}
	return nil
}

// busy reports whether a job of the item's pull request runs.
func (l *line) busy(it *item) bool {
	for _, other := range l.running {
		if other.key == it.key || it.pull != "" && other.pull == it.pull {
			return true
		}
	}
	return false
}

// admission is how long the item has to wait.
func (l *line) admission(it *item) time.Duration {
	if l.admit == nil || it.bad != nil {
		return 0
	}
	n := 0
	for _, other := range l.running {
		if other.from == it.from {
			n++
		}
	}
	return l.admit(it.job, n)
}

// pause passes an installation over for so long. A longer pause stands.
func (l *line) pause(from string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauseLocked(from, d)
}

func (l *line) pauseLocked(from string, d time.Duration) {
	until := time.Now().Add(d)
	if !until.After(l.paused[from]) {
		return
	}
	l.paused[from] = until
	time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.paused[from].Equal(until) {
			delete(l.paused, from)
			l.changed.Broadcast()
		}
	})
}

// pauseOf is how long an installation is still passed over.
func (l *line) pauseOf(from string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.paused[from])
}

// keeps reports whether the item's message was not handed back.
func (l *line) keeps(it *item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !it.gone
}

// letGo says that the message of an item that runs is about to be handed back.
func (l *line) letGo(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it.gone = true
}

// finish says that the item does not run any more.
func (l *line) finish(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, it.key)
	l.changed.Broadcast()
}

// room waits until fewer than limit items wait, and returns how many more there
// may be; 0 when the line was closed.
func (l *line) room(limit int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && l.waiting >= limit {
		l.changed.Wait()
	}
	if l.closed {
		return 0
	}
	return limit - l.waiting
}

// held returns all items whose messages are held, waiting and running.
func (l *line) held() []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*item, 0, l.waiting+len(l.running))
	for _, it := range l.running {
		if !it.gone { // a heartbeat would take back the delay
			all = append(all, it)
		}
	}
	for _, q := range l.queues {
		all = append(all, q...)
	}
	return all
}

// close ends take and room, and empties the line: it returns the items that
// waited.
func (l *line) close() []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var left []*item
	for _, q := range l.queues {
		left = append(left, q...)
	}
	clear(l.queues)
	l.turns, l.waiting = nil, 0
	l.changed.Broadcast()
	return left
}
