package githubsim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A delivery is one attempt to send a webhook.
type delivery struct {
	id          int64
	guid        string
	app         *app
	install     *installation
	repo        *repository
	event       string
	action      string
	redelivery  bool
	at          time.Time
	duration    time.Duration
	status      string // "OK", or what went wrong; "" while it is on its way
	code        int
	headers     map[string]string // of the request
	payload     []byte
	respHeaders map[string]string
	respBody    string
}

// Delivery is an attempt to send a webhook, as GitHub lists it.
type Delivery struct {
	ID         int64
	GUID       string // the same in every attempt
	App        string // slug
	Event      string
	Action     string
	Redelivery bool
	Done       bool   // the attempt ended
	Status     string // "OK" or what went wrong
	StatusCode int    // 0 without an answer
	Duration   time.Duration
	Payload    []byte // must not be changed
}

// Deliveries lists all attempts, oldest first.
func (s *Sim) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Delivery, 0, len(s.deliveries))
	for _, d := range s.deliveries {
		list = append(list, Delivery{
			ID: d.id, GUID: d.guid, App: d.app.slug, Event: d.event, Action: d.action, Redelivery: d.redelivery,
			Done: d.status != "", Status: d.status, StatusCode: d.code, Duration: d.duration, Payload: d.payload,
		})
	}
	return list
}

// Redeliver sends the webhook of a GUID once more, as the button on the App's
// page does. GitHub never does so by itself.
func (s *Sim) Redeliver(guid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range slices.Backward(s.deliveries) {
		if d.guid == guid {
			s.again(d)
			return nil
		}
	}
	return refusal("no delivery has the GUID %s", guid)
}

func (s *Sim) again(d *delivery) {
	s.post(&delivery{
		guid: d.guid, app: d.app, install: d.install, repo: d.repo, event: d.event, action: d.action,
		redelivery: true, payload: d.payload,
	})
}

// emit sends an event about a repository to every App that is installed on it
// and asked for it.
func (s *Sim) emit(r *repository, event, action string, sender *user, fields obj) {
	for _, in := range s.installs {
		if in.has(r) && in.suspended.IsZero() && slices.Contains(in.app.events, event) {
			s.emitTo(in, r, event, action, sender, fields)
		}
	}
}

// emitTo sends an event to one App whether it asked for it or not: its
// installations, and the buttons of its own check runs, it hears of anyway.
func (s *Sim) emitTo(in *installation, r *repository, event, action string, sender *user, fields obj) {
	if in.app.webhook == "" {
		return
	}
	payload := maps.Clone(fields)
	if payload == nil {
		payload = obj{}
	}
	if action != "" {
		payload["action"] = action
	}
	if r != nil {
		payload["repository"] = s.repositoryJSON(r)
		if r.owner.kind == "Organization" {
			payload["organization"] = obj{
				"login": r.owner.login, "id": r.owner.id, "node_id": nodeID("O", r.owner.id), "url": s.url + "/orgs/" + r.owner.login,
				"repos_url": s.url + "/orgs/" + r.owner.login + "/repos", "events_url": s.url + "/orgs/" + r.owner.login + "/events",
				"hooks_url": s.url + "/orgs/" + r.owner.login + "/hooks", "issues_url": s.url + "/orgs/" + r.owner.login + "/issues",
				"members_url":        s.url + "/orgs/" + r.owner.login + "/members{/member}",
				"public_members_url": s.url + "/orgs/" + r.owner.login + "/public_members{/member}",
				"avatar_url":         fmt.Sprintf("%s/avatars/u/%d", s.url, r.owner.id), "description": "",
			}
		}
	}
	if _, whole := payload["installation"]; !whole {
		payload["installation"] = obj{"id": in.id, "node_id": nodeID("MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u", in.id)}
	}
	payload["sender"] = s.userJSON(sender)
	text, err := encode(payload)
	if err != nil { // unreachable unless a payload holds a value that JSON does not have
		s.log.Error("encode a webhook", "event", event, "err", err)
		return
	}
	s.post(&delivery{guid: s.guid(), app: in.app, install: in, repo: r, event: event, action: action, payload: text})
}

// Ping sends the ping that an App gets when its webhook is set up.
func (s *Sim) Ping(appID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.appByID(appID)
	if a == nil || a.webhook == "" {
		return
	}
	text, err := encode(obj{
		"zen": "Responsive is better than fast.", "hook_id": 1,
		"hook": obj{
			"type": "App", "id": 1, "name": "web", "active": true, "events": orEmpty(a.events), "app_id": a.id,
			"config": obj{"content_type": "json", "insecure_ssl": "0", "url": a.webhook},
		},
	})
	if err != nil {
		s.log.Error("encode a webhook", "event", "ping", "err", err) // unreachable: all values are JSON's
		return
	}
	s.post(&delivery{guid: s.guid(), app: a, event: "ping", payload: text})
}

func (s *Sim) emitInstallation(in *installation, action string) {
	repos := []any{}
	for _, r := range in.repositories(s.repos) {
		repos = append(repos, obj{"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": r.fullName(), "private": r.private})
	}
	s.emitTo(in, nil, "installation", action, in.account, obj{"installation": s.installationJSON(in), "repositories": repos})
}

// guid makes the next delivery GUID; the form is a version 1 UUID, as GitHub's.
func (s *Sim) guid() string {
	n := s.id("guid")
	return fmt.Sprintf("%08x-7ae5-11f1-8000-%012x", 0x5eed0000+n, n)
}

// post sends one delivery in the background. The lock is held.
func (s *Sim) post(d *delivery) {
	d.id, d.at = s.id("delivery"), s.opts.Clock().UTC()
	signed := func(h func() hash.Hash) string {
		mac := hmac.New(h, []byte(d.app.secret))
		mac.Write(d.payload)
		return hex.EncodeToString(mac.Sum(nil))
	}
	d.headers = map[string]string{
		"Accept": "*/*", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/5eed00d",
		"X-GitHub-Event": d.event, "X-GitHub-Delivery": d.guid, "X-GitHub-Hook-ID": strconv.FormatInt(d.app.id+500_000_000, 10),
		"X-GitHub-Hook-Installation-Target-ID": strconv.FormatInt(d.app.id, 10), "X-GitHub-Hook-Installation-Target-Type": "integration",
	}
	if d.app.secret != "" {
		d.headers["X-Hub-Signature"] = "sha1=" + signed(sha1.New)
		d.headers["X-Hub-Signature-256"] = "sha256=" + signed(sha256.New)
	}
	s.deliveries = append(s.deliveries, d)
	if s.closed {
		d.status = "failed to connect to host"
		return
	}
	s.inFlight++
	address := d.app.webhook
	s.background.Go(func() {
		start := time.Now()
		status, code, header, body := s.send(d, address)
		s.mu.Lock()
		defer s.mu.Unlock()
		d.status, d.code, d.respHeaders, d.respBody, d.duration = status, code, header, body, time.Since(start)
		s.inFlight--
		s.touch()
		s.log.Debug("webhook", "event", d.event, "action", d.action, "guid", d.guid, "status", status, "code", code)
	})
}

func (s *Sim) send(d *delivery, address string) (status string, code int, header map[string]string, body string) {
	ctx, cancel := context.WithTimeout(s.context, s.opts.WebhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(d.payload))
	if err != nil {
		return "Invalid URL", 0, nil, ""
	}
	for k, v := range d.headers {
		req.Header.Set(k, v)
	}
	resp, err := s.opts.Client.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "timed out", 0, nil, ""
		}
		return "failed to connect to host", 0, nil, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "timed out", 0, nil, ""
	}
	header = map[string]string{}
	for k := range resp.Header {
		header[k] = resp.Header.Get(k)
	}
	status = "OK"
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		status = fmt.Sprintf("Invalid HTTP Response: %d", resp.StatusCode)
	}
	return status, resp.StatusCode, header, string(text)
}

func (s *Sim) listDeliveries(c *call) reply {
	const page = "rest/apps/webhooks#list-deliveries-for-an-app-webhook"
	q := c.r.URL.Query()
	per := 30
	if n, err := strconv.Atoi(q.Get("per_page")); err == nil && n > 0 {
		per = min(n, 100)
	}
	from := int64(1) << 62
	if cursor := q.Get("cursor"); cursor != "" {
		n, err := strconv.ParseInt(strings.TrimPrefix(cursor, "v1_"), 10, 64)
		if err != nil {
			return refuse(http.StatusBadRequest, "Invalid cursor.", page)
		}
		from = n
	}
	keep := func(d *delivery) bool {
		switch q.Get("status") {
		case "failure":
			return d.code >= 400 && d.code <= 599 // timeouts are not among them, by the documentation's words
		case "success":
			return d.code >= 200 && d.code <= 399
		}
		return true
	}
	oldest := s.opts.Clock().Add(-3 * 24 * time.Hour)
	list := []any{}
	var next string
	for _, d := range slices.Backward(s.deliveries) {
		if d.app != c.caller.app || d.status == "" || d.id > from || d.at.Before(oldest) || !keep(d) {
			continue
		}
		if len(list) == per {
			next = fmt.Sprintf("v1_%d", d.id)
			break
		}
		list = append(list, d.json())
	}
	rep := ok(list)
	if next != "" {
		q.Set("cursor", next)
		rep = rep.with("Link", fmt.Sprintf(`<%s/app/hook/deliveries?%s>; rel="next"`, s.url, q.Encode()))
	}
	return rep
}

func (d *delivery) json() obj {
	o := obj{
		"id": d.id, "guid": d.guid, "delivered_at": d.at.Format(time.RFC3339), "redelivery": d.redelivery,
		"duration": float64(d.duration.Milliseconds()) / 1000, "status": d.status, "status_code": d.code, "event": d.event,
		"action": nil, "installation_id": nil, "repository_id": nil, "throttled_at": nil,
	}
	if d.action != "" {
		o["action"] = d.action
	}
	if d.install != nil {
		o["installation_id"] = d.install.id
	}
	if d.repo != nil {
		o["repository_id"] = d.repo.id
	}
	return o
}

func (s *Sim) findDelivery(c *call) *delivery {
	id := c.number("delivery_id")
	for _, d := range s.deliveries {
		if d.id == id && d.app == c.caller.app {
			return d
		}
	}
	return nil
}

func (s *Sim) getDelivery(c *call) reply {
	d := s.findDelivery(c)
	if d == nil {
		return notFound()
	}
	o := d.json()
	o["url"] = d.app.webhook
	o["request"] = obj{"headers": d.headers, "payload": json.RawMessage(d.payload)}
	response := obj{"headers": nil, "payload": nil}
	if d.respHeaders != nil {
		response = obj{"headers": d.respHeaders, "payload": d.respBody}
	}
	o["response"] = response
	return ok(o)
}

func (s *Sim) redeliver(c *call) reply {
	d := s.findDelivery(c)
	if d == nil {
		return notFound()
	}
	if d.at.Before(s.opts.Clock().Add(-3 * 24 * time.Hour)) {
		return refuse(http.StatusUnprocessableEntity, "Deliveries older than 3 days cannot be redelivered.", "rest/apps/webhooks")
	}
	s.again(d)
	return reply{status: http.StatusAccepted, value: obj{}}
}

func (s *Sim) hookConfig(c *call) reply {
	if c.r.Method == http.MethodPatch {
		var want struct{ URL, Secret *string }
		if rep, okay := decode(c, &want); !okay {
			return rep
		}
		if want.URL != nil {
			c.caller.app.webhook = *want.URL
		}
		if want.Secret != nil {
			c.caller.app.secret = *want.Secret
		}
	}
	o := obj{"content_type": "json", "insecure_ssl": "0", "url": c.caller.app.webhook}
	if c.caller.app.secret != "" {
		o["secret"] = "********"
	}
	return ok(o)
}
