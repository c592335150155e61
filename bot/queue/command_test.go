package queue_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/queue"
)

func command(pull int, delivery string) bot.Job {
	j := job(pull, delivery)
	j.Command = &bot.Command{Kind: bot.CommandComment, Comment: 1}
	return j
}

// Commands do not coalesce, a delivery that comes again after its command was
// carried out does nothing, and a command and a review of one pull request do
// not run at once.
func TestCommands(t *testing.T) {
	t.Parallel() // it mostly waits
	f := embedded(t)
	put := func(j bot.Job) {
		t.Helper()
		if err := f.q.Put(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	put(command(1, "a.*> b"))
	put(command(1, "second"))
	put(job(1, "third"))
	f.depth(3, 0)
	var running, most, n atomic.Int32
	stop := f.work(4, func(_ context.Context, j bot.Job) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		n.Add(1)
		return nil
	})
	defer stop()
	if got := f.outcomes(3); !slices.Equal(got, []string{"1 done", "1 done", "1 done"}) || most.Load() != 1 {
		t.Errorf("outcomes %q, %d at once", got, most.Load())
	}
	put(command(1, "second"))
	if got := f.outcomes(1); got[0] != "1 dropped" || n.Load() != 3 {
		t.Errorf("again: %q after %d", got, n.Load())
	}
	f.depth(0, 0)
	if err := f.q.Put(t.Context(), command(1, "")); err == nil {
		t.Error("a command without a delivery was stored")
	}
}

// A command that fails is tried again, and is a dead letter of its own in the
// end, which can be retried.
func TestDeadCommand(t *testing.T) {
	t.Parallel() // it mostly waits
	told := make(chan bot.Job, 1)
	f := open(t, queue.Config{DataDir: t.TempDir()}, queue.Options{Dead: func(_ context.Context, j bot.Job, _ string) error {
		told <- j
		return nil
	}})
	if err := f.q.Put(t.Context(), command(1, "x")); err != nil {
		t.Fatal(err)
	}
	var well atomic.Bool
	stop := f.work(1, func(context.Context, bot.Job) error {
		if well.Load() {
			return nil
		}
		return errors.New("broken")
	})
	defer stop()
	if got := f.outcomes(3); !slices.Equal(got, []string{"1 retried", "1 retried", "1 dead"}) {
		t.Errorf("outcomes %q", got)
	}
	if j := wait(t, told); j.Command == nil {
		t.Errorf("told of %+v", j)
	}
	letters, err := f.q.DeadLetters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].ID != "command.7.x" {
		t.Fatalf("letters %+v, %v", letters, err)
	}
	well.Store(true)
	if err := f.q.Retry(t.Context(), letters[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := f.outcomes(1); got[0] != "1 done" {
		t.Errorf("retried: %q", got)
	}
}
