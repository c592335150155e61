package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// An Error is an answer of GitHub that says no. It holds no header and no
// request, so that no token can get into a log with it.
type Error struct {
	Call    string // name of the call, e.g. "files"
	Status  int    // HTTP status; 200 for an error inside a GraphQL answer
	Message string // GitHub's words, shortened, without tokens
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: GitHub answered %d: %s", e.Call, e.Status, e.Message)
}

const (
	afterServerError = 30 * time.Second
	afterNetwork     = 15 * time.Second
	afterSecondary   = 60 * time.Second // GitHub asks for at least a minute
	maxRetry         = 65 * time.Minute // a rate limit's window is an hour
)

// classify turns an error of the client library into what the pipe tells apart:
// bot.Drop (never again), bot.Retry (later) or *Error (the caller decides). The
// library itself knows rate limits only by status 403 and by one documentation
// address, so status, headers and words are read here.
func classify(call string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", call, context.Canceled)
	case errors.Is(err, errForeignHost):
		return fmt.Errorf("%s: %w", call, errForeignHost)
	}
	if n, ok := errors.AsType[*notOurs](err); ok {
		return fmt.Errorf("%s: %w", call, n.cause)
	}
	if limited, ok := limitedError(call, err); ok {
		return limited
	}
	if _, ok := errors.AsType[bot.Drop](err); ok {
		return err
	}
	if e, ok := err.(*Error); ok { // a GraphQL answer that says no
		return e
	}
	if _, ok := errors.AsType[bot.Retry](err); ok {
		return err
	}
	if e, ok := errors.AsType[*ghinstallation.HTTPError](err); ok && e.Response != nil {
		return classifyToken(e)
	}
	if after, ok := ownLimit(err); ok {
		return bot.Retry{After: after, HandBack: true, Whole: true, Err: &Error{Call: call, Status: http.StatusForbidden, Message: "still rate limited, not asked"}}
	}
	resp, message := answer(err)
	if resp == nil {
		return network(call, err)
	}
	e := &Error{Call: call, Status: resp.StatusCode, Message: clean(message)}
	return status(e, resp.Header)
}

// status decides by HTTP status, headers and message.
func status(e *Error, header http.Header) error {
	message := strings.ToLower(e.Message)
	switch {
	case e.Status == http.StatusForbidden || e.Status == http.StatusTooManyRequests:
		if after, ok := rateLimit(e.Status, header, message); ok {
			return bot.Retry{After: after, HandBack: true, Whole: true, Err: e}
		}
		if strings.Contains(message, "suspended") {
			return bot.Drop{Reason: "the installation is suspended"}
		}
	case e.Status == http.StatusUnprocessableEntity && strings.Contains(message, "submitted too quickly"):
		return bot.Retry{After: afterSecondary, HandBack: true, Whole: true, Err: e}
	case e.Status == http.StatusGone || e.Status == http.StatusUnavailableForLegalReasons:
		return bot.Drop{Reason: e.Error()}
	case e.Status >= 500:
		after := afterServerError
		if asked, ok := retryAfter(header); ok {
			after = asked
		}
		return outage(after, e)
	case e.Status >= 300 && e.Status < 400:
		// A renamed or moved repository: names are read anew.
		return bot.Retry{After: time.Second, Err: e}
	}
	return e
}

// outage hands a job back since GitHub or the network failed: no fault of the
// job, so it is no attempt, however long that lasts.
func outage(after time.Duration, err error) bot.Retry {
	return bot.Retry{After: after, HandBack: true, Outage: true, Err: err}
}

// rateLimit reports whether an answer with status 403 or 429 is a rate limit
// and how long to wait, as GitHub's documentation says: retry-after first, then
// the reset of an exhausted primary limit, then at least a minute.
func rateLimit(code int, header http.Header, message string) (time.Duration, bool) {
	if after, ok := retryAfter(header); ok {
		return after, true
	}
	if header.Get("x-ratelimit-remaining") == "0" {
		if reset, err := strconv.ParseInt(header.Get("x-ratelimit-reset"), 10, 64); err == nil {
			// Both times are GitHub's, so the clock of this machine is not asked.
			wait := time.Unix(reset, 0).Sub(now(header)) + time.Second
			return min(max(wait, time.Second), maxRetry), true
		}
		return afterSecondary, true
	}
	if code == http.StatusTooManyRequests || strings.Contains(message, "rate limit") || strings.Contains(message, "abuse") {
		return afterSecondary, true
	}
	return 0, false
}

func retryAfter(header http.Header) (time.Duration, bool) {
	value := header.Get("retry-after")
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return min(max(time.Duration(seconds)*time.Second, time.Second), maxRetry), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now(header)), time.Second), maxRetry), true
	}
	return afterSecondary, true
}

// now is the time at which GitHub answered.
func now(header http.Header) time.Time {
	if at, err := http.ParseTime(header.Get("date")); err == nil {
		return at
	}
	return time.Now()
}

// classifyToken classifies a refused installation token. Without one nothing
// can be done for this installation, now or ever.
func classifyToken(e *ghinstallation.HTTPError) error {
	defer e.Response.Body.Close() // the library leaves it open
	var body struct {
		Message string `json:"message"`
	}
	data, err := io.ReadAll(io.LimitReader(e.Response.Body, 64<<10))
	if err == nil {
		// A body that is not JSON has no message; the status is enough.
		_ = json.Unmarshal(data, &body)
	}
	out := &Error{Call: "token", Status: e.Response.StatusCode, Message: clean(body.Message)}
	switch out.Status {
	case http.StatusNotFound:
		return bot.Drop{Reason: fmt.Sprintf("the App is no longer installed (installation %d)", e.InstallationID)}
	case http.StatusUnauthorized:
		// The App's own credentials are refused (key revoked, clock wrong):
		// that is no fault of the job, which must not be lost for it.
		return outage(time.Minute, out)
	}
	err = status(out, e.Response.Header)
	if e, ok := refused(err); ok && e.Status == http.StatusForbidden {
		return bot.Drop{Reason: e.Error()}
	}
	return err
}

// ownLimit reports whether the library itself kept a request back, because an
// earlier answer said for how long there is no more; such an error has no
// headers.
func ownLimit(err error) (time.Duration, bool) {
	if e, ok := errors.AsType[*github.RateLimitError](err); ok && len(e.Response.Header) == 0 {
		return min(max(time.Until(e.Rate.Reset.Time)+time.Second, time.Second), maxRetry), true
	}
	if e, ok := errors.AsType[*github.AbuseRateLimitError](err); ok && len(e.Response.Header) == 0 {
		if e.RetryAfter == nil {
			return afterSecondary, true
		}
		return min(max(*e.RetryAfter, time.Second), maxRetry), true
	}
	return 0, false
}

// answer returns GitHub's answer behind an error of the library, or nil.
func answer(err error) (*http.Response, string) {
	if e, ok := errors.AsType[*github.RateLimitError](err); ok {
		return e.Response, e.Message
	}
	if e, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		return e.Response, e.Message
	}
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok {
		message := e.Message
		for _, entry := range e.Errors {
			switch {
			case entry.Message != "":
				message += "; " + entry.Message
			case entry.Field != "":
				message += "; " + entry.Resource + "." + entry.Field + " " + entry.Code
			}
		}
		return e.Response, message
	}
	return nil, ""
}

// network classifies a request that got no answer, or a broken one.
func network(call string, err error) error {
	var cause error
	if e, ok := errors.AsType[*url.Error](err); ok {
		cause = e.Err // without the address
	} else {
		cause = err
	}
	failed := fmt.Errorf("%s: %s", call, clean(cause.Error()))
	if undecodable(err) {
		// It came whole and is not what this build expects.
		return bot.Retry{After: afterNetwork, Err: failed}
	}
	return outage(afterNetwork, failed)
}

// undecodable reports whether an answer was read but not understood.
func undecodable(err error) bool {
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return true
	}
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

// secrets are GitHub's tokens (prefixes as documented; their length is free),
// the bearer tokens that the App signs, and private keys, whole or cut off.
var secrets = regexp.MustCompile(`\bgh[a-z]_[A-Za-z0-9._-]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9._-]+` +
	`|(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))`)

// Redact replaces everything in a text that has the form of a credential.
func Redact(text string) string { return secrets.ReplaceAllString(text, "[token]") }

// clean makes foreign words fit for a log line.
func clean(message string) string {
	message = Redact(strings.Join(strings.Fields(message), " "))
	if len(message) > 500 {
		message = strings.ToValidUTF8(message[:500], "") + "…"
	}
	return message
}

// refused returns the answer of GitHub that the caller is to decide about. It
// does not look into a Drop or a Retry: there it is decided.
func refused(err error) (*Error, bool) {
	e, ok := err.(*Error)
	return e, ok
}
