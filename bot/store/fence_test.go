package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/store"
)

// TestFence lets a lease pass to somebody else without its holder noticing, as
// when its process was stopped: it is told before it writes.
func TestFence(t *testing.T) { places(t, testFence) }

func testFence(t *testing.T, p *place) {
	// No heartbeat comes in the time of this test.
	st, err := store.Open(t.Context(), p.js, store.Options{Embedded: p.embedded, LeaseTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	leases := leases(t, p)
	const key = "review.7.9.1"
	held, err := st.Hold(t.Context(), key, func(ctx context.Context) {
		for range 2 {
			if err := bot.CheckFence(ctx); err != nil {
				t.Errorf("the fence of a lease that is held: %v", err)
			}
		}
		if err := leases.Delete(ctx, key); err != nil { // it expires
			t.Error(err)
		}
		other, err := st.Hold(ctx, key, func(context.Context) {
			if ctx.Err() != nil {
				t.Error("noticed by itself")
			}
			if err := bot.CheckFence(ctx); !errors.Is(err, store.ErrLeaseLost) {
				t.Errorf("the fence of a lease that is lost: %v", err)
			}
		})
		if !other || err != nil {
			t.Error(other, err)
		}
		if !errors.Is(context.Cause(ctx), store.ErrLeaseLost) {
			t.Errorf("the work goes on: %v", context.Cause(ctx))
		}
		if err := bot.CheckFence(ctx); !errors.Is(err, store.ErrLeaseLost) {
			t.Errorf("the fence later: %v", err)
		}
	})
	if !held || err != nil {
		t.Fatal(held, err)
	}
}
