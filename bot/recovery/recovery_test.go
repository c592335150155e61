package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
	"github.com/dtypebot/dtypebot/bot/store"
)

// hub is a GitHub that lists deliveries and pull requests, and a queue.
type hub struct {
	deliveries []bot.Delivery // newest first
	pageSize   int
	pages      int
	payloads   []int64
	broken     map[string]error // by method or "installation N"
	pulls      map[int64][]bot.OpenPull

	taken []string // deliveries
	bad   map[string]error
	put   []string // jobs
	lost  string
}

func (h *hub) Deliveries(_ context.Context, cursor string) ([]bot.Delivery, string, error) {
	h.pages++
	if err := h.broken["deliveries"]; err != nil {
		return nil, "", err
	}
	from, _ := strconv.Atoi(cursor)
	to := min(from+h.pageSize, len(h.deliveries))
	next := ""
	if to < len(h.deliveries) {
		next = strconv.Itoa(to)
	}
	return h.deliveries[from:to], next, nil
}

func (h *hub) Payload(_ context.Context, id int64) ([]byte, error) {
	h.payloads = append(h.payloads, id)
	return json.RawMessage(`{}`), h.broken["payload"]
}

func (h *hub) Installations(context.Context) ([]int64, error) {
	return []int64{1, 2, 3}, h.broken["installations"]
}

func (h *hub) OpenPulls(_ context.Context, installation int64, since time.Time, each func(bot.OpenPull) error) error {
	if err := h.broken[fmt.Sprint("installation ", installation)]; err != nil {
		return err
	}
	for _, p := range h.pulls[installation] {
		if p.Updated.Before(since) {
			continue
		}
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) Put(_ context.Context, job bot.Job) error {
	h.put = append(h.put, fmt.Sprintf("%d %s %s", job.Installation, job, job.Event))
	return h.broken["put"]
}

func (h *hub) take(_ context.Context, event, delivery string, _ []byte) error {
	if err := h.bad[delivery]; err != nil {
		return err
	}
	h.taken = append(h.taken, delivery)
	return nil
}

// new makes a Recovery over h with the buckets of a real server.
func (h *hub) new(t *testing.T) *Recovery {
	t.Helper()
	h.pageSize = 100
	h.broken = make(map[string]error)
	srv, err := queue.Start(t.Context(), queue.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	st, err := store.Open(t.Context(), srv.JetStream(), store.Options{Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	return h.with(st)
}

func (h *hub) with(st *store.Store) *Recovery {
	return New(Options{
		GitHub: h, Queue: h, Leases: st, Done: st.Recovery(),
		Wants: func(event, action string) bool { return event == "pull_request" && action != "labeled" },
		Take:  h.take,
		Lost:  func() string { return h.lost },
		Found: func(lost string) {
			if lost == h.lost {
				h.lost = ""
			}
		},
	})
}

// again forgets when the deliveries were looked at, as a new process does.
func (r *Recovery) again(t *testing.T) error {
	t.Helper()
	r.looked = time.Time{}
	return r.turn(t.Context())
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

func TestDeliveries(t *testing.T) {
	d := func(id int64, guid, action string, age time.Duration, delivered bool) bot.Delivery {
		return bot.Delivery{ID: id, GUID: guid, Event: "pull_request", Action: action, At: ago(age), Delivered: delivered}
	}
	h := &hub{bad: map[string]error{"odd": ErrMalformed}}
	r := h.new(t)
	h.pageSize = 2
	h.deliveries = []bot.Delivery{
		d(12, "fresh", "opened", time.Second, false), // its answer may be on the way
		d(11, "again", "opened", 2*time.Minute, true),
		d(10, "twice", "opened", 3*time.Minute, false),
		d(9, "label", "labeled", 4*time.Minute, false),
		d(8, "odd", "opened", 5*time.Minute, false),
		d(7, "bad key", "opened", 6*time.Minute, false),
		d(6, "again", "opened", 7*time.Minute, false), // delivered later
		d(5, "twice", "opened", 8*time.Minute, false),
		d(4, "fine", "opened", time.Hour, true),
		d(3, "old", "opened", 50*time.Hour, false),
	}
	if err := r.again(t); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"twice", "old"}, h.taken); diff != "" {
		t.Errorf("taken, newest first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{10, 8, 3}, h.payloads); diff != "" {
		t.Errorf("payloads (-want +got):\n%s", diff)
	}

	// The next look goes back to the last one and a little more, and fetches
	// nothing twice.
	h.pages, h.payloads = 0, nil
	h.deliveries = append([]bot.Delivery{d(13, "later", "synchronize", 90*time.Second, false)}, h.deliveries...)
	if err := r.again(t); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{13}, h.payloads); diff != "" {
		t.Errorf("payloads of the second look (-want +got):\n%s", diff)
	}
	if h.pages != 5 {
		t.Errorf("the second look read %d pages, not those of the last quarter of an hour", h.pages)
	}

	// Within the hour nothing is asked.
	h.pages = 0
	if err := r.turn(t.Context()); err != nil || h.pages != 0 {
		t.Errorf("read %d pages before the hour was over: %v", h.pages, err)
	}
}

// TestInterrupted has deliveries whose jobs cannot be stored at first: nothing is
// lost, and what was stored is not fetched again.
func TestInterrupted(t *testing.T) {
	h := &hub{bad: map[string]error{"g5": errors.New("the disk is full")}}
	r := h.new(t)
	for i := range 10 {
		h.deliveries = append(h.deliveries, bot.Delivery{ID: int64(i), GUID: fmt.Sprint("g", i), Event: "pull_request", At: ago(time.Hour)})
	}
	if err := r.again(t); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("error %v", err)
	}
	h.bad, h.payloads = nil, nil
	if err := r.turn(t.Context()); err != nil { // at once, as the last look came to no end
		t.Fatal(err)
	}
	if want := []int64{5, 6, 7, 8, 9}; !slices.Equal(h.payloads, want) {
		t.Errorf("fetched %v, want %v", h.payloads, want)
	}
	if len(h.taken) != 10 {
		t.Errorf("taken %v", h.taken)
	}
}

// TestManyDeliveries has more than one look may fetch; the others come later,
// and none twice.
func TestManyDeliveries(t *testing.T) {
	h := &hub{}
	r := h.new(t)
	const n = most + 50
	for i := range n {
		h.deliveries = append(h.deliveries, bot.Delivery{ID: int64(i), GUID: fmt.Sprint("g", i), Event: "pull_request", At: ago(time.Hour)})
	}
	for range 2 {
		if err := r.again(t); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.payloads) != n || len(h.taken) != n {
		t.Errorf("fetched %d, taken %d of %d", len(h.payloads), len(h.taken), n)
	}
}

// TestSweep looks at all open pull requests of a queue that is new, goes on
// after a failure with what is left, and does it once.
func TestSweep(t *testing.T) {
	pull := func(n int, age time.Duration) bot.OpenPull {
		return bot.OpenPull{Repository: 9, Owner: "octo", Name: "lift", Number: n, Updated: ago(age)}
	}
	h := &hub{pulls: map[int64][]bot.OpenPull{1: {pull(1, time.Hour), pull(2, 8*24*time.Hour)}, 2: {pull(3, time.Minute)}, 3: {pull(4, 6*24*time.Hour)}}}
	r := h.new(t)
	h.broken["installation 2"] = bot.Retry{After: time.Hour, Err: errors.New("limited")}
	err := r.again(t)
	if retry, ok := errors.AsType[bot.Retry](err); !ok || retry.After != time.Hour {
		t.Errorf("error %v", err)
	}
	h.broken["installation 2"] = nil
	if err := r.again(t); err != nil {
		t.Fatal(err)
	}
	want := []string{"1 octo/lift#1 sweep", "3 octo/lift#4 sweep", "2 octo/lift#3 sweep"}
	if diff := cmp.Diff(want, h.put); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}

	// Another process, later: nothing to do, until jobs were lost.
	h.put = nil
	r = New(r.o)
	if err := r.again(t); err != nil || h.put != nil {
		t.Errorf("swept again: %v, %v", h.put, err)
	}
	h.lost = "a store"
	h.broken["installation 1"] = bot.Drop{Reason: "suspended"} // no reason to begin again
	if err := r.again(t); err != nil || len(h.put) != 2 || h.lost != "" {
		t.Errorf("after a loss %v, lost %q, %v", h.put, h.lost, err)
	}
}

// TestOneAtATime has the lease in other hands.
func TestOneAtATime(t *testing.T) {
	h := &hub{}
	r := h.new(t)
	held, err := r.o.Leases.Hold(t.Context(), lease, func(context.Context) {
		if err := r.again(t); err != nil || h.pages != 0 {
			t.Errorf("worked beside another process: %d pages, %v", h.pages, err)
		}
	})
	if !held || err != nil {
		t.Fatal(held, err)
	}
	if err := r.again(t); err != nil || h.pages != 1 {
		t.Errorf("%d pages, %v", h.pages, err)
	}
}
