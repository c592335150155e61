package github

import (
	"net/http"

	"github.com/dtypebot/dtypebot/bot"
)

// A fenced transport asks the fence of a request's context before each writing:
// the work before it may have taken longer than the lease, and one review is
// several writings. It lies above the limits, so that a writing that may not be
// done costs nothing.
type fenced struct {
	next    http.RoundTripper
	graphql string
}

func (f *fenced) RoundTrip(req *http.Request) (*http.Response, error) {
	if costOf(req, f.graphql).points > 1 {
		if err := bot.CheckFence(req.Context()); err != nil {
			closeBody(req)
			return nil, &notOurs{err}
		}
	}
	return f.next.RoundTrip(req)
}

// notOurs says that somebody else may write by now.
type notOurs struct{ cause error }

func (n *notOurs) Error() string { return n.cause.Error() }
func (n *notOurs) Unwrap() error { return n.cause }
