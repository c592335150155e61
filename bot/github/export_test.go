package github

import (
	"context"
	"time"
)

// SetClock gives the limiter another clock, and another way to wait.
func (a *App) SetClock(now func() time.Time, sleep func(context.Context, time.Duration) error) {
	a.limiter.now, a.limiter.sleep = now, sleep
}
