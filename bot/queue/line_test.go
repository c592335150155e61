package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func TestLineTurns(t *testing.T) {
	l := newLine(3)
	var seq uint64
	add := func(from string, pull int) (stale *item, over bool) {
		seq++
		return l.add(&item{seq: seq, from: from, key: fmt.Sprintf("review.%s.9.%d", from, pull)})
	}
	for pull := 1; pull <= 5; pull++ {
		if _, over := add("big", pull); over != (pull > 3) {
			t.Errorf("pull %d over its share: %t", pull, over)
		}
	}
	add("small", 1)
	add("late", 1)
	add("late", 2)
	if stale, _ := add("big", 2); stale == nil || stale.seq != 2 {
		t.Errorf("the replaced job is %+v", stale)
	}
	if room := l.room(10); room != 4 {
		t.Errorf("room for %d", room)
	}
	var got []string
	for range 6 {
		got = append(got, l.take().key)
	}
	want := []string{
		"review.big.9.1", "review.small.9.1", "review.late.9.1",
		"review.big.9.2", "review.late.9.2", "review.big.9.3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if left := l.close(); len(left) != 0 || l.take() != nil || l.room(1) != 0 {
		t.Errorf("after close: %d left", len(left))
	}
}

// TestLineLaws does random things to a line: no key runs twice at once, a key's
// jobs run in the order of the stream and none runs twice unless it was handed
// back, the newest that was
// added and found room runs in the end, and who waits is passed over at most
// once by each other installation.
func TestLineLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(rapid.IntRange(1, 4).Draw(t, "share"))
		var seq uint64
		running := make(map[string]*item)
		ran := make(map[string]uint64)    // by key, the newest that ran
		wanted := make(map[string]uint64) // by key, the newest that waits
		back := make(map[string]bool)     // by key, whether the newest that ran was handed back
		passed := make(map[string]map[string]int)
		runnable := func() map[string]bool {
			all := make(map[string]bool)
			for from, q := range l.queues {
				for _, it := range q {
					if running[it.key] == nil {
						all[from] = true
					}
				}
			}
			return all
		}
		add := func(it *item) {
			stale, over := l.add(it)
			switch {
			case over:
				if wanted[it.key] != 0 {
					t.Fatalf("%s waits and has no room", it.key)
				}
			case stale == it:
				if newest := max(wanted[it.key], ran[it.key]); newest <= it.seq {
					t.Fatalf("%s %d is stale, the newest is %d", it.key, it.seq, newest)
				}
			case stale != nil && stale.seq >= it.seq:
				t.Fatalf("%d replaces %d", it.seq, stale.seq)
			default:
				if run := running[it.key]; run == nil || run.seq != it.seq || run.gone {
					wanted[it.key] = it.seq
				}
			}
		}
		take := func() {
			can := runnable()
			if len(can) == 0 {
				return
			}
			it := l.take()
			if running[it.key] != nil {
				t.Fatalf("%s runs twice at once", it.key)
			}
			if it.seq != wanted[it.key] {
				t.Fatalf("%s %d runs, the newest is %d", it.key, it.seq, wanted[it.key])
			}
			if it.seq < ran[it.key] || it.seq == ran[it.key] && !back[it.key] {
				t.Fatalf("%s %d runs after %d", it.key, it.seq, ran[it.key])
			}
			running[it.key], ran[it.key] = it, it.seq
			delete(back, it.key)
			delete(wanted, it.key)
			delete(passed, it.from)
			for from := range can {
				if from == it.from {
					continue
				}
				if passed[from] == nil {
					passed[from] = make(map[string]int)
				}
				if passed[from][it.from]++; passed[from][it.from] > 2 {
					t.Fatalf("%s is passed over again and again by %s", from, it.from)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				seq++
				from := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "from")
				add(&item{seq: seq, from: from, key: fmt.Sprintf("review.%s.9.%d", from, rapid.IntRange(1, 4).Draw(t, "pull"))})
			},
			"again": func(t *rapid.T) { // delivered once more
				held := l.held()
				if len(held) == 0 {
					return
				}
				old := held[rapid.IntRange(0, len(held)-1).Draw(t, "which")]
				add(&item{seq: old.seq, key: old.key, from: old.from})
			},
			"late": func(t *rapid.T) { // an older job, behind the one that replaced it
				for key, newest := range wanted {
					if newest > 1 && running[key] == nil && ran[key] < newest-1 {
						add(&item{seq: newest - 1, from: strings.Split(key, ".")[1], key: key})
					}
					break
				}
			},
			"take": func(*rapid.T) { take() },
			"hand back": func(t *rapid.T) { // it comes again before it is finished, or later
				for key, it := range running {
					l.letGo(it)
					back[key] = true
					add(&item{seq: it.seq, key: it.key, from: it.from})
					break
				}
			},
			"finish": func(t *rapid.T) {
				for key, it := range running { // any
					l.finish(it)
					delete(running, key)
					break
				}
			},
			"": func(t *rapid.T) {
				n := 0
				for _, q := range l.queues {
					n += len(q)
					if len(q) > l.share || len(q) == 0 {
						t.Fatalf("a line of %d", len(q))
					}
				}
				if n != l.waiting || n != len(wanted) || len(l.turns) != len(l.queues) || len(l.running) != len(running) {
					t.Fatalf("%d wait, counted %d, wanted %d; %d turns for %d lines", n, l.waiting, len(wanted), len(l.turns), len(l.queues))
				}
			},
		})
		for len(wanted) > 0 {
			for key, it := range running {
				l.finish(it)
				delete(running, key)
			}
			take()
		}
	})
}

// told notes what is said to the server about a message.
type told struct {
	jetstream.Msg
	said []string
}

func (m *told) InProgress() error { m.said = append(m.said, "heartbeat"); return nil }

func (m *told) NakWithDelay(d time.Duration) error {
	m.said = append(m.said, "back in "+d.String())
	return nil
}

// A message that is handed back between the look for the held ones and its
// heartbeat gets none: it would come after the acknowledgement wait only.
func TestHeartbeatOfHandedBack(t *testing.T) {
	w := &work{line: newLine(4)}
	msg := &told{}
	w.line.add(&item{msg: msg, seq: 1, key: "review.1.2.3", from: "1"})
	running := w.line.take()
	for _, it := range w.line.held() {
		if err := w.heartbeat(it); err != nil {
			t.Fatal(err)
		}
	}
	held := w.line.held()
	if err := w.nak(running, time.Second); err != nil {
		t.Fatal(err)
	}
	for _, it := range held {
		if err := w.heartbeat(it); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(msg.said, ", "); got != "heartbeat, back in 1s" {
		t.Errorf("said %q", got)
	}
}
