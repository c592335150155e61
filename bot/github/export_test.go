package github

import (
	"context"
	"time"
)

// SetClock gives the limiter another clock, and another way to wait.
func (a *App) SetClock(now func() time.Time, sleep func(context.Context, time.Duration) error) {
	a.limiter.now, a.limiter.sleep = now, sleep
}

// SetUnpacked sets how many bytes an archive may unpack to, and returns what sets
// it back.
func SetUnpacked(n int64) (back func()) {
	was := maxUnpacked
	maxUnpacked = n
	return func() { maxUnpacked = was }
}
