package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/dtypebot/dtypebot/bot"
)

// Limits are what an App allows itself, below what GitHub allows: whoever goes
// on against a limit can be banned. Numbers are for one installation if nothing
// else is said; 0 limits nothing.
type Limits struct {
	// Concurrent is how many requests are open at once, of all installations.
	Concurrent int
	// Points is what REST requests may cost within a minute: 1 for reading, 5 for
	// writing. Queries is the same for GraphQL: 1 for a query, 5 for a mutation.
	Points, Queries int
	// Content is how many requests that notify people (reviews, comments) are sent
	// within a minute, ContentHour within an hour. Spacing lies between two.
	Content, ContentHour int
	Spacing              time.Duration
	// Reserve is the share of the hour's requests, in percent, that only what a
	// person asked for may use.
	Reserve int
	// Failures is how many requests in a row have to fail (no answer, or a status
	// of 500 and above), of any installation, before GitHub counts as down;
	// Rest is for how long it is then left alone.
	Failures uint32
	Rest     time.Duration
}

// DefaultLimits keep about five percent away from GitHub's numbers, since its
// clock and the way there are not ours.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
// (100 requests at once, 900 and 2,000 points a minute, 80 and 500 requests that
// create content) and best-practices-for-using-the-rest-api (a second between
// writes).
func DefaultLimits() Limits {
	return Limits{
		Concurrent: 80, Points: 855, Queries: 1900, Content: 76, ContentHour: 475, Spacing: time.Second,
		Reserve: 5, Failures: 10, Rest: 15 * time.Second,
	}
}

// What a review usually costs: the list of files, one query, the review, the
// check run.
const (
	usualPoints   = 1 + 5 + 5
	usualQueries  = 1
	usualContent  = 1
	usualRequests = 3
)

// waitLimit is the longest that a request itself waits for its turn; what has to
// wait longer is handed back.
const waitLimit = 2 * time.Second

// A limiter keeps the limits of an App. Its nil value keeps none.
type limiter struct {
	limits  Limits
	open    chan struct{} // a place per open request, nil without a limit
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	rested  atomic.Int64 // when GitHub may be tried again, Unix nanoseconds; 0 while it is up
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error

	mu      sync.Mutex
	budgets map[int64]*budget // by installation
	share   int               // processes that share the limits
}

func newLimiter(limits Limits) *limiter {
	l := &limiter{limits: limits, now: time.Now, sleep: sleep, budgets: make(map[int64]*budget), share: 1}
	if limits.Concurrent > 0 {
		l.open = make(chan struct{}, limits.Concurrent)
	}
	if limits.Failures > 0 {
		l.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout:     limits.Rest,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= limits.Failures },
			OnStateChange: func(_ string, _, to gobreaker.State) {
				var until int64
				if to == gobreaker.StateOpen {
					until = time.Now().Add(limits.Rest).UnixNano()
				}
				l.rested.Store(until)
			},
		})
	}
	return l
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A budget is what one installation may spend. The limiter's lock guards it.
type budget struct {
	points, queries      window
	content, contentHour window
	spacing              *rate.Limiter
	core, graphql        primary
	blocked              time.Time // GitHub asked for silence until then
}

// A primary is GitHub's own count of an installation's hour, as it tells with
// each answer.
type primary struct {
	known            bool
	limit, remaining int
	reset            time.Time
}

func (l *limiter) budget(installation int64) *budget {
	b := l.budgets[installation]
	if b == nil {
		spacing := rate.Inf
		if l.limits.Spacing > 0 {
			spacing = rate.Every(l.limits.Spacing)
		}
		b = &budget{
			points: window{span: time.Minute}, queries: window{span: time.Minute},
			content: window{span: time.Minute}, contentHour: window{span: time.Hour},
			spacing: rate.NewLimiter(spacing, 1),
		}
		l.divide(b)
		l.budgets[installation] = b
	}
	return b
}

// divide gives a budget this process's part of the limits.
func (l *limiter) divide(b *budget) {
	part := func(limit int) int {
		if limit == 0 {
			return 0
		}
		return max(limit/l.share, 1)
	}
	b.points.limit, b.queries.limit = part(l.limits.Points), part(l.limits.Queries)
	b.content.limit, b.contentHour.limit = part(l.limits.Content), part(l.limits.ContentHour)
}

// A Rate is what is left of one limit of an installation.
type Rate struct {
	Installation int64
	// Limit names it: "core" and "graphql" are GitHub's own counts of the hour, as
	// it last told them; "points" and "queries" (a minute), "content" (a minute) and
	// "content_hour" are this process's parts of the others, less what it keeps back.
	Limit string
	Left  int
}

// Rates lists what is left of the limits of each installation that this process
// made requests for, in no order. What is not known or not limited is left out.
func (a *App) Rates() []Rate {
	l := a.limiter
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	var all []Rate
	for id, b := range l.budgets {
		for name, p := range map[string]*primary{"core": &b.core, "graphql": &b.graphql} {
			switch {
			case !p.known:
			case now.Before(p.reset):
				all = append(all, Rate{id, name, p.remaining})
			default:
				all = append(all, Rate{id, name, p.limit}) // a new hour
			}
		}
		for name, w := range map[string]*window{"points": &b.points, "queries": &b.queries, "content": &b.content, "content_hour": &b.contentHour} {
			if w.limit > 0 {
				w.forget(now)
				all = append(all, Rate{id, name, max(w.limit-w.sum, 0)})
			}
		}
	}
	return all
}

// Share says that so many processes use up the limits, this one among them: each
// keeps to its part. GitHub's own count of the hour is common to all anyway.
func (a *App) Share(processes int) {
	l := a.limiter
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = max(processes, 1)
	for _, b := range l.budgets {
		l.divide(b)
	}
}

// A window adds up what was spent within the last span.
type window struct {
	span  time.Duration
	limit int // 0 for none
	sum   int
	spent []spending // oldest first
}

type spending struct {
	at   time.Time
	cost int
}

// wait is how long it takes until cost may be spent.
func (w *window) wait(now time.Time, cost int) time.Duration {
	if w.limit == 0 {
		return 0
	}
	w.forget(now)
	over := w.sum + min(cost, w.limit) - w.limit
	for _, s := range w.spent {
		if over <= 0 {
			break
		}
		if over -= s.cost; over <= 0 {
			return s.at.Add(w.span).Sub(now)
		}
	}
	return 0
}

// forget drops what was spent before the span.
func (w *window) forget(now time.Time) {
	for len(w.spent) > 0 && now.Sub(w.spent[0].at) >= w.span {
		w.sum -= w.spent[0].cost
		w.spent = w.spent[1:]
	}
}

func (w *window) spend(now time.Time, cost int) {
	if w.limit > 0 {
		w.spent = append(w.spent, spending{now, cost})
		w.sum += cost
	}
}

// wait is how long it takes until cost requests may be made, keep of the limit
// being left.
func (p *primary) wait(now time.Time, cost, keep int) time.Duration {
	if !p.known || !now.Before(p.reset) || p.remaining-cost >= keep {
		return 0
	}
	return min(p.reset.Sub(now)+time.Second, maxRetry)
}

// Admit returns how long a job has to wait before it should begin, so that it
// can be brought to its end within the limits, beside running others of its
// installation. It is an estimate: the limits themselves are kept with each
// request.
func (a *App) Admit(job bot.Job, running int) time.Duration {
	l := a.limiter
	if l == nil {
		return 0
	}
	now := l.now()
	if until := l.rested.Load(); until != 0 {
		// A little more for some, so that not all try at once.
		if left := time.Unix(0, until).Sub(now); left > 0 {
			return left + rand.N(left/4+1)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budget(job.Installation)
	n := running + 1
	keep := func(p *primary) int {
		if job.Rerun {
			return 0
		}
		return p.limit * l.limits.Reserve / 100
	}
	return max(
		b.blocked.Sub(now),
		b.points.wait(now, n*usualPoints),
		b.queries.wait(now, n*usualQueries),
		b.content.wait(now, n*usualContent),
		b.contentHour.wait(now, n*usualContent),
		b.core.wait(now, n*usualRequests, keep(&b.core)),
		b.graphql.wait(now, n*usualQueries, keep(&b.graphql)),
	)
}

// A spell says that a request was kept back.
type spell struct{ after time.Duration }

func (s *spell) Error() string { return fmt.Sprintf("kept back for %s", s.after.Round(time.Second)) }

// errDown says that GitHub is left alone.
var errDown = errors.New("GitHub did not answer for a while and is left alone")

// A cost is what a request counts for.
type cost struct {
	graphql bool
	points  int
	content bool
}

var notifying = regexp.MustCompile(`/(reviews|comments|replies)$`)

// costOf reads it off the request, whose GraphQL document is looked into.
func costOf(req *http.Request, graphql string) cost {
	switch {
	case req.URL.String() == graphql:
		c := cost{graphql: true, points: 1}
		if req.GetBody != nil {
			if body, err := req.GetBody(); err == nil {
				start, _ := io.ReadAll(io.LimitReader(body, 64)) // what cannot be read is sent nowhere
				if bytes.Contains(start, []byte("mutation")) {
					c.points = 5
				}
				_ = body.Close()
			}
		}
		return c
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		return cost{points: 1}
	}
	return cost{points: 5, content: req.Method == http.MethodPost && notifying.MatchString(req.URL.Path)}
}

// take spends what a request costs, or tells how long it has to wait first.
func (l *limiter) take(installation int64, c cost) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.budget(installation)
	points, hour := &b.points, &b.core
	if c.graphql {
		points, hour = &b.queries, &b.graphql
	}
	wait := max(b.blocked.Sub(now), points.wait(now, c.points), hour.wait(now, 1, 0))
	if c.content {
		wait = max(wait, b.content.wait(now, 1), b.contentHour.wait(now, 1))
	}
	if wait > 0 {
		return wait
	}
	if c.content {
		r := b.spacing.ReserveN(now, 1)
		if d := r.DelayFrom(now); d > 0 {
			r.CancelAt(now)
			return d
		}
		b.content.spend(now, 1)
		b.contentHour.spend(now, 1)
	}
	points.spend(now, c.points)
	if hour.known {
		hour.remaining-- // until the answer tells
	}
	return 0
}

// learn reads the limits off an answer.
func (l *limiter) learn(installation int64, c cost, resp *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budget(installation)
	hour := &b.core
	if c.graphql {
		hour = &b.graphql
	}
	h := resp.Header
	limit, err := strconv.Atoi(h.Get("x-ratelimit-limit"))
	remaining, err2 := strconv.Atoi(h.Get("x-ratelimit-remaining"))
	reset, err3 := strconv.ParseInt(h.Get("x-ratelimit-reset"), 10, 64)
	if errors.Join(err, err2, err3) == nil {
		// In GitHub's time, moved to ours.
		at := l.now().Add(time.Unix(reset, 0).Sub(now(h)))
		if hour.known && at.Sub(hour.reset) < time.Minute {
			remaining = min(remaining, hour.remaining) // answers overtake each other
		}
		*hour = primary{known: true, limit: limit, remaining: remaining, reset: at}
	}
	if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests {
		if after, ok := retryAfter(h); ok {
			b.blocked = l.now().Add(after)
		} else if resp.StatusCode == http.StatusTooManyRequests {
			b.blocked = l.now().Add(afterSecondary)
		}
	}
}

// A metered transport keeps an installation's limits. It lies above the one that
// adds the token.
type metered struct {
	next         http.RoundTripper
	limiter      *limiter
	installation int64
	graphql      string
}

func (m *metered) RoundTrip(req *http.Request) (*http.Response, error) {
	c := costOf(req, m.graphql)
	for waited := time.Duration(0); ; {
		wait := m.limiter.take(m.installation, c)
		if wait <= 0 {
			break
		}
		if waited += wait; waited > waitLimit {
			closeBody(req)
			return nil, &spell{wait}
		}
		if err := m.limiter.sleep(req.Context(), wait); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	resp, err := m.next.RoundTrip(req)
	if err == nil {
		m.limiter.learn(m.installation, c, resp)
	}
	return resp, err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // as every transport has to
	}
}

// A guard transport bounds the open requests of the whole App, and leaves GitHub
// alone while it is down.
type guard struct {
	next    http.RoundTripper
	limiter *limiter
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	l := g.limiter
	if l.open != nil {
		select {
		case l.open <- struct{}{}:
			defer func() { <-l.open }()
		case <-req.Context().Done():
			closeBody(req)
			return nil, req.Context().Err()
		}
	}
	if l.breaker == nil {
		return g.next.RoundTrip(req)
	}
	done, err := l.breaker.Allow()
	if err != nil {
		closeBody(req)
		return nil, errDown
	}
	resp, err := g.next.RoundTrip(req)
	switch {
	case err == nil && resp.StatusCode >= 500:
		done(fmt.Errorf("status %d", resp.StatusCode))
	case req.Context().Err() != nil, errors.Is(err, errForeignHost):
		done(nil) // not GitHub's doing
	default:
		done(err)
	}
	return resp, err
}

// limitedError makes what the transports kept back an error of the pipe.
func limitedError(call string, err error) (error, bool) {
	if s, ok := errors.AsType[*spell](err); ok {
		return bot.Retry{After: s.after, HandBack: true, Whole: true, Err: fmt.Errorf("%s: %w", call, s)}, true
	}
	if errors.Is(err, errDown) {
		return outage(time.Second, fmt.Errorf("%s: %w", call, errDown)), true
	}
	return nil, false
}
