// Package webhook receives GitHub's deliveries: it limits and reads the body,
// checks its signature, decodes the few fields that the bot needs, stores the
// job and only then answers 202. GitHub does not send a delivery again by
// itself, so a job that could not be stored is answered 503 and stays in
// GitHub's list of failed deliveries, from which it can be fetched back.
//
// It does not talk to GitHub, and it decides nothing about pull requests: a
// draft, a closed or a huge one is the worker's concern.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/bot"
)

// MaxBody is the size of the largest body that is read, in bytes: GitHub sends
// no webhook above 25 MB.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
const MaxBody = 25 << 20

// readLimit is how long a body may take. GitHub waits 10 seconds in all.
const readLimit = 10 * time.Second

// retryAfter is what a 503 advises, in seconds.
const retryAfter = "30"

// A Queue stores jobs.
type Queue interface {
	// Put returns nil only when the job is stored durably. It must keep to a
	// time limit of its own that leaves time for the answer.
	Put(ctx context.Context, job bot.Job) error
}

// Outcomes of deliveries, as reported to [Options.Observe].
const (
	Accepted    = "accepted"      // 202
	NotForUs    = "not_for_us"    // 204
	Malformed   = "malformed"     // 400
	Unsigned    = "bad_signature" // 401
	TooLarge    = "too_large"     // 413
	Unavailable = "not_stored"    // 503
)

// Options are the settings of [New].
type Options struct {
	// Secrets are the webhook secrets that are accepted, several while one
	// replaces the other. There is at least one, and none is empty.
	Secrets []string
	// AppID is the App's id; deliveries about another App's checks are not for
	// us. 0 accepts all.
	AppID int64
	// Self returns the login of the App's own account, such as "dtypebot[bot]",
	// or "" while it is not known. Pull request events that this account caused
	// are not for us; a re-run that it asked for is. nil knows none.
	Self func() string
	// Log gets refusals and failures; nil discards them.
	Log *slog.Logger
	// Observe is told the outcome of each delivery. It is called from several
	// goroutines and must not block.
	Observe func(event, outcome string)
}

// A Handler answers POST /webhook.
type Handler struct {
	queue   Queue
	o       Options
	secrets [][]byte
	log     *slog.Logger
	now     func() time.Time
}

// New returns a handler that puts jobs into queue. It refuses to be without a
// secret, or with an empty one, since anybody can sign with that.
func New(queue Queue, o Options) (*Handler, error) {
	h := &Handler{queue: queue, o: o, log: o.Log, now: time.Now}
	if len(o.Secrets) == 0 {
		return nil, errors.New("webhook: no secret")
	}
	for i, s := range o.Secrets {
		if strings.TrimSpace(s) == "" {
			return nil, fmt.Errorf("webhook: secret %d of %d is empty", i+1, len(o.Secrets))
		}
		h.secrets = append(h.secrets, []byte(s))
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.o.Self == nil {
		h.o.Self = func() string { return "" }
	}
	if h.o.Observe == nil {
		h.o.Observe = func(string, string) {}
	}
	return h, nil
}

// ServeHTTP answers 202 when a job was stored, 204 when the delivery is not for
// the bot, 400 malformed, 401 bad signature, 405 not a POST, 413 too large, and
// 503 with Retry-After when the job could not be stored.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	outcome, err := h.receive(w, r)
	event := r.Header.Get("X-GitHub-Event")
	if outcome == Malformed || outcome == Unsigned || outcome == TooLarge {
		event = "" // anybody could have written it
	}
	h.o.Observe(event, outcome)
	if err != nil {
		level := slog.LevelWarn
		if outcome == Unavailable {
			level = slog.LevelError
		}
		h.log.Log(r.Context(), level, "webhook refused", "outcome", outcome,
			"delivery", short(r.Header.Get("X-GitHub-Delivery")), "event", short(event), "remote", r.RemoteAddr, "error", err)
	}
	switch outcome {
	case Accepted:
		w.WriteHeader(http.StatusAccepted)
	case NotForUs:
		w.WriteHeader(http.StatusNoContent)
	case Malformed:
		http.Error(w, "malformed delivery", http.StatusBadRequest)
	case Unsigned:
		http.Error(w, "bad signature", http.StatusUnauthorized)
	case TooLarge:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	default:
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "could not be stored", http.StatusServiceUnavailable)
	}
}

// receive does everything but the answer. Nothing of the request is believed
// before its signature was checked.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request) (outcome string, err error) {
	if r.ContentLength > MaxBody {
		return TooLarge, fmt.Errorf("body of %d bytes", r.ContentLength)
	}
	// The server's own limits may be longer, for the other pages; a recorder in
	// a test has none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readLimit))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return TooLarge, err
	}
	if err != nil {
		return Malformed, fmt.Errorf("read the body: %w", err)
	}
	if !h.signed(body, r.Header.Get("X-Hub-Signature-256")) {
		return Unsigned, errors.New("no valid X-Hub-Signature-256")
	}
	event, delivery := r.Header.Get("X-GitHub-Event"), r.Header.Get("X-GitHub-Delivery")
	if event == "" || delivery == "" {
		return Malformed, errors.New("no X-GitHub-Event or X-GitHub-Delivery")
	}
	body, err = jsonOf(r.Header.Get("Content-Type"), body)
	if err != nil {
		return Malformed, err
	}
	return h.Take(r.Context(), event, delivery, body)
}

// Take stores the jobs of a delivery that is known to come from GitHub, such as
// one that was fetched back from there. The outcome is Accepted, NotForUs,
// Malformed or Unavailable, the last two with an error.
func (h *Handler) Take(ctx context.Context, event, delivery string, payload []byte) (outcome string, err error) {
	jobs, err := decode(event, payload, identity{app: h.o.AppID, login: h.o.Self()})
	if err != nil {
		return Malformed, err
	}
	if len(jobs) == 0 {
		return NotForUs, nil
	}
	for _, job := range jobs {
		job.Delivery, job.Accepted = short(delivery), h.now().UTC()
		if err := h.queue.Put(ctx, job); err != nil {
			return Unavailable, err
		}
		h.log.Info("webhook accepted", "delivery", job.Delivery, "event", job.Event, "pull", job.String(), "installation", job.Installation)
	}
	return Accepted, nil
}

// signed reports whether one of the secrets signed the body. GitHub's older
// SHA-1 header is not looked at.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func (h *Handler) signed(body []byte, header string) bool {
	digits, ok := strings.CutPrefix(header, "sha256=")
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return false
	}
	got, err := hex.DecodeString(digits)
	if err != nil {
		return false
	}
	valid := false
	for _, secret := range h.secrets { // all of them, so that the time tells nothing
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), got) {
			valid = true
		}
	}
	return valid
}

// jsonOf returns the payload of a body: the body itself, or the form field that
// carries it when the hook is configured for forms.
func jsonOf(contentType string, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return []byte(form.Get("payload")), nil
}

// short bounds a header value for the log and the stored job; GitHub's delivery
// ids have 36 characters.
func short(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "?")
}
