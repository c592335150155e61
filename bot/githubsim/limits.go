package githubsim

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// A spent is what one request cost.
type spent struct {
	at     time.Time
	points int
}

// notifies are the requests that notify people, as GitHub's description marks
// them ("triggersNotification").
var notifies = regexp.MustCompile(`/(reviews|comments|replies)$`)

// Exceeded lists the limits that requests were refused for, in order: "primary",
// "concurrent", "points", "queries", "content" or "content hour".
func (s *Sim) Exceeded() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.exceeded)
}

// secondary names the secondary limit that a request exceeds, "" if it is within
// all; only then it counts.
func (s *Sim) secondary(c *call) string {
	l := s.opts.Secondary
	if l == nil || c.caller.install == nil {
		return ""
	}
	if s.open > l.Concurrent {
		return "concurrent"
	}
	type use struct {
		name          string
		limit, points int
		span          time.Duration
	}
	write := c.r.Method != http.MethodGet && c.r.Method != http.MethodHead
	var uses []use
	if c.route.pattern == "/graphql" {
		points := 1
		if bytes.Contains(c.body[:min(len(c.body), 64)], []byte("mutation")) {
			points = 5
		}
		uses = append(uses, use{"queries", l.Queries, points, time.Minute})
	} else {
		points := 1
		if write {
			points = 5
		}
		uses = append(uses, use{"points", l.Points, points, time.Minute})
		if c.r.Method == http.MethodPost && notifies.MatchString(c.route.pattern) {
			uses = append(uses, use{"content", l.Content, 1, time.Minute}, use{"content hour", l.ContentHour, 1, time.Hour})
		}
	}
	now := s.opts.Clock()
	for i := range uses {
		u := &uses[i]
		key := fmt.Sprint(u.name, c.caller.install.id)
		s.spent[key] = slices.DeleteFunc(s.spent[key], func(old spent) bool { return now.Sub(old.at) >= u.span })
		sum := u.points
		for _, old := range s.spent[key] {
			sum += old.points
		}
		if sum > u.limit {
			return u.name
		}
	}
	for _, u := range uses {
		key := fmt.Sprint(u.name, c.caller.install.id)
		s.spent[key] = append(s.spent[key], spent{now, u.points})
	}
	return ""
}
