package githubsim

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say how a Sim behaves. Only Dir is required.
type Options struct {
	Dir     string           // folder for the repositories; made if missing
	URL     string           // address the handler is reached at, no slash at the end; see SetURL
	Clock   func() time.Time // time.Now if nil
	Latency time.Duration    // waited before every API answer
	Logger  *slog.Logger     // silent if nil
	Client  *http.Client     // sends the webhooks; a new one if nil

	// WebhookTimeout is how long a webhook's receiver may take; GitHub's 10 s if 0.
	WebhookTimeout time.Duration
	Limits         Limits
	// Secondary are GitHub's secondary limits, which are kept if not nil: a
	// simulator is often asked faster than GitHub would be.
	Secondary *Secondary
}

// Limits are numbers that GitHub fixes; a test may want smaller ones. A zero
// stands for GitHub's.
type Limits struct {
	Core       int // requests per hour and installation, and of the App itself: 5,000
	Files      int // files of a pull request that are listed: 3,000
	PatchLines int // lines of one file's patch: 20,000
	PatchBytes int // bytes of one file's patch: 500 KB
	PageBytes  int // bytes of all patches of one page: 1 MB
}

// Secondary are the limits that GitHub keeps beside the hour's; each is per
// installation. A zero stands for GitHub's number.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
type Secondary struct {
	Concurrent  int // open requests, REST and GraphQL: 100
	Points      int // of REST a minute, reading costs 1 and writing 5: 900
	Queries     int // points of GraphQL a minute, a mutation costs 5: 2,000
	Content     int // requests that notify people, a minute: 80
	ContentHour int // the same, an hour: 500
}

// Sim is a simulated GitHub. All methods may be called at once.
type Sim struct {
	opts    Options
	log     *slog.Logger
	secret  []byte          // signs the installation tokens
	context context.Context // of webhooks and other work in the background
	cancel  context.CancelFunc

	mu          sync.Mutex
	url         string
	nextID      map[string]int64
	users       map[string]*user // by lower-case login
	apps        []*app
	installs    []*installation
	tokens      map[string]*token
	repos       []*repository
	moved       map[string]*repository // by former lower-case full name
	conversions map[string]conversion  // by code
	deliveries  []*delivery            // oldest first
	calls       []Call
	fault       func(*http.Request) *Fault
	changed     chan struct{} // closed and replaced at every change
	inFlight    int           // webhooks on their way
	background  sync.WaitGroup
	rates       map[string]*rate
	spent       map[string][]spent // by kind and installation, for Secondary
	exceeded    []string
	requests    int64
	open        int // requests being answered
	table       []*route
	closed      bool
}

// A Call is one request that the API answered.
type Call struct {
	Method  string
	Route   string    // the pattern, e.g. "/repos/{owner}/{repo}/pulls/{pull_number}/files"; "/graphql" for GraphQL
	Path    string    // with the query
	Status  int       // 0 when a fault dropped the connection
	Request string    // X-GitHub-Request-Id
	Fault   bool      // a fault took the place of the answer, or cut it
	App     string    // slug of the App that called, "" if nobody was recognised
	Body    string    // of the request
	At      time.Time // when it came, by Options.Clock
	Beside  int       // other requests that were being answered when it came
}

// A Fault replaces or delays one answer.
type Fault struct {
	Delay    time.Duration // waited first
	Status   int           // answered instead of the real thing, with Body and Header
	Body     string
	Header   http.Header
	Drop     bool // the connection is closed without an answer
	Truncate int  // only so many bytes of the real answer are sent, then the connection is closed
	After    bool // with Drop or Status: the request takes effect first, only its answer is lost
}

// ErrNoGit says that the git binary is missing.
var ErrNoGit = errors.New("the git binary is not on the PATH; install git (Debian: apt-get install git)")

// New makes an empty GitHub. Close ends it.
func New(opts Options) (*Sim, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, ErrNoGit
	}
	if opts.Dir == "" {
		return nil, errors.New("githubsim: Options.Dir is empty")
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder of the simulator: %w", err)
	}
	opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the simulator: %w", err)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.WebhookTimeout == 0 {
		opts.WebhookTimeout = 10 * time.Second
	}
	if opts.Client == nil {
		opts.Client = &http.Client{}
	}
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	set(&opts.Limits.Core, 5000)
	set(&opts.Limits.Files, 3000)
	set(&opts.Limits.PatchLines, 20_000)
	set(&opts.Limits.PatchBytes, 500<<10)
	set(&opts.Limits.PageBytes, 1<<20)
	if opts.Secondary != nil {
		secondary := *opts.Secondary
		set(&secondary.Concurrent, 100)
		set(&secondary.Points, 900)
		set(&secondary.Queries, 2000)
		set(&secondary.Content, 80)
		set(&secondary.ContentHour, 500)
		opts.Secondary = &secondary
	}
	s := &Sim{
		opts: opts, log: opts.Logger, secret: make([]byte, 32),
		url: strings.TrimSuffix(opts.URL, "/"), nextID: map[string]int64{},
		users: map[string]*user{}, tokens: map[string]*token{}, moved: map[string]*repository{},
		changed: make(chan struct{}), rates: map[string]*rate{},
		spent: map[string][]spent{}, conversions: map[string]conversion{},
	}
	if s.url == "" {
		s.url = "http://github.invalid"
	}
	if _, err := rand.Read(s.secret); err != nil {
		return nil, fmt.Errorf("secret of the simulator: %w", err)
	}
	s.context, s.cancel = context.WithCancel(context.Background())
	s.table = s.routes()
	return s, nil
}

// Close ends the webhooks on their way and the git processes. The
// repositories stay in Options.Dir.
func (s *Sim) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		r.git.close()
	}
}

// SetURL tells the Sim where its handler is reached, so that the addresses in
// its answers lead there.
func (s *Sim) SetURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = strings.TrimSuffix(u, "/")
}

// URL is the address given to SetURL or Options.
func (s *Sim) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Calls lists the API calls so far, oldest first.
func (s *Sim) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Answered tells of a request, by its X-GitHub-Request-Id, on which route it was
// and whether a fault took the place of its answer; not ok if there was none or
// ResetCalls forgot it.
func (s *Sim) Answered(request string) (route string, fault, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.calls) {
		if c.Request == request {
			return c.Route, c.Fault, true
		}
	}
	return "", false, false
}

// ResetCalls empties the list of calls.
func (s *Sim) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// Fault sets the function that is asked before every API request whether it
// fails; nil, and a nil answer, mean that it does not.
func (s *Sim) Fault(f func(*http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Wait returns when no webhook is on its way. What the receiver does after it
// answered is not waited for: see Until.
func (s *Sim) Wait(ctx context.Context) error {
	return s.Until(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.inFlight == 0
	})
}

// Until returns when cond is true. It asks again whenever something changed:
// an API call ended, a webhook was delivered, a person did something. cond may
// call all methods of the Sim.
func (s *Sim) Until(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the simulated GitHub: %w", ctx.Err())
		}
	}
}

// touch wakes those who wait in Until. The lock is held.
func (s *Sim) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Sim) now() time.Time { return s.opts.Clock().UTC().Truncate(time.Second) }

// id gives the next number of a kind. Review comments and check runs start
// above 32 bits, as on GitHub.
func (s *Sim) id(kind string) int64 {
	n, ok := s.nextID[kind]
	if !ok {
		switch kind {
		case "comment":
			n = 2_200_000_000
		case "check_run", "check_suite":
			n = 40_000_000_000
		case "review":
			n = 3_100_000_000
		case "delivery":
			n = 180_000_000_000
		case "repository":
			n = 700_000
		case "installation":
			n = 50_000
		case "app":
			n = 1000
		default:
			n = 1
		}
	}
	s.nextID[kind] = n + 1
	return n
}

// nodeID is the GraphQL id of an object; its prefix is the one GitHub uses.
func nodeID(prefix string, id int64) string { return prefix + "_kwDO" + fmt.Sprintf("%012x", id) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stampOrNil is a time as JSON has it: null when there is none.
func stampOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// Handler serves the REST and GraphQL interfaces: under /, and as on GitHub
// Enterprise Server under /api/v3/ and /api/graphql.
func (s *Sim) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.EscapedPath(); {
		case strings.HasPrefix(p, "/api/v3/"):
			r = withPath(r, strings.TrimPrefix(p, "/api/v3"))
		case p == "/api/graphql":
			r = withPath(r, "/graphql")
		}
		rt := s.match(r)
		if rt == nil {
			rt = &route{pattern: "/", auth: authNone, handle: func(*call) reply { return notFound() }}
		}
		s.serve(w, r, rt)
	})
}

func withPath(r *http.Request, escaped string) *http.Request {
	clone := r.Clone(r.Context())
	if plain, err := url.PathUnescape(escaped); err == nil {
		clone.URL.Path, clone.URL.RawPath = plain, escaped
	}
	return clone
}

// A call is one API request in work. The Sim's lock is held while it is
// handled.
type call struct {
	*Sim
	ctx    context.Context
	r      *http.Request
	body   []byte
	caller caller
	repo   *repository // of the path, nil if the route has none
	route  *route
}

func (c *call) path(name string) string { return c.r.PathValue(name) }

func (c *call) number(name string) int64 {
	n, err := strconv.ParseInt(c.r.PathValue(name), 10, 64)
	if err != nil {
		return -1 // no object has this number
	}
	return n
}

// A reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	value  any                                          // sent as JSON
	raw    []byte                                       // sent as it is, if value is nil
	media  string                                       // of raw
	later  func(ctx context.Context, w io.Writer) error // writes the body after the lock is given back
}

func (r reply) with(key, value string) reply {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(key, value)
	return r
}

func ok(v any) reply      { return reply{status: http.StatusOK, value: v} }
func created(v any) reply { return reply{status: http.StatusCreated, value: v} }

// A route is an entry of the table in routes.go.
type route struct {
	method, pattern string // the pattern in the words of net/http
	name            string // the pattern in GitHub's words, for Call; the pattern if ""
	auth            authKind
	permission      string // e.g. "pull_requests"
	level           string // "read" or "write"
	handle          func(*call) reply
}

func (s *Sim) serve(w http.ResponseWriter, r *http.Request, rt *route) {
	s.mu.Lock()
	s.requests++
	s.open++
	arrived, beside := s.opts.Clock(), s.open-1
	requestID := fmt.Sprintf("%04X:%06X:%08X", 0xC0DE, s.requests, s.requests*2654435761%0xFFFFFFFF)
	ask := s.fault
	s.mu.Unlock()
	// A request is open until its answer is sent: who has read it may send another.
	answered := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	})
	defer answered()
	var fault *Fault
	if ask != nil {
		fault = ask(r)
	}
	wait := s.opts.Latency
	if fault != nil {
		wait += fault.Delay
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	logged := Call{Method: r.Method, Route: rt.documented(), Fault: fault != nil && (fault.Drop || fault.Status != 0 || fault.Truncate != 0), Path: r.URL.RequestURI(), Request: requestID, Body: string(body), At: arrived, Beside: beside}
	record := func(status int, c *call) {
		answered()
		logged.Status = status
		if c != nil && c.route.name != "" {
			logged.Route = c.route.name
		}
		if c != nil && c.caller.app != nil {
			logged.App = c.caller.app.slug
		}
		s.mu.Lock()
		s.calls = append(s.calls, logged)
		s.touch()
		s.mu.Unlock()
		s.log.Debug("api", "method", r.Method, "path", r.URL.Path, "status", status)
	}
	if err != nil {
		record(0, nil)
		return // the client went away
	}
	if fault != nil && !fault.After && (fault.Drop || fault.Status != 0) {
		if fault.Drop {
			record(0, nil)
			panic(http.ErrAbortHandler)
		}
		record(fault.Status, nil)
		sendFault(w, fault, requestID)
		return
	}
	// A request that came whole is done to its end, even if the client goes.
	c := &call{Sim: s, ctx: s.context, r: r, body: body, route: rt}
	s.mu.Lock()
	rep := s.answer(c)
	s.mu.Unlock()
	header := w.Header()
	for k, v := range rep.header {
		header[k] = v
	}
	header.Set("Date", s.opts.Clock().UTC().Format(http.TimeFormat))
	header.Set("X-GitHub-Request-Id", requestID)
	header.Set("X-GitHub-Media-Type", "github.v3; format=json")
	header.Set("X-GitHub-Api-Version-Selected", apiVersion(r))
	var out []byte
	switch {
	case rep.value != nil:
		header.Set("Content-Type", "application/json; charset=utf-8")
		out, err = encode(rep.value)
		if err != nil { // unreachable unless a handler builds a value that JSON does not have
			rep.status, out = http.StatusInternalServerError, []byte(`{"message":"Server Error"}`)
			s.log.Error("encode an answer", "route", rt.pattern, "err", err)
		}
	case rep.media != "":
		header.Set("Content-Type", rep.media)
		out = rep.raw
	}
	if fault != nil && (fault.Drop || fault.Status != 0) { // after the effect
		if fault.Drop {
			record(0, c)
			panic(http.ErrAbortHandler)
		}
		record(fault.Status, c)
		sendFault(w, fault, requestID)
		return
	}
	record(rep.status, c)
	if fault != nil && fault.Truncate > 0 && fault.Truncate < len(out) {
		header.Set("Content-Length", strconv.Itoa(len(out)))
		w.WriteHeader(rep.status)
		_, _ = w.Write(out[:fault.Truncate])
		panic(http.ErrAbortHandler)
	}
	if rep.later == nil && rep.status != http.StatusNoContent && rep.status != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(len(out)))
	}
	w.WriteHeader(rep.status)
	if r.Method == http.MethodHead {
		return
	}
	if rep.later != nil {
		if err := rep.later(r.Context(), w); err != nil {
			s.log.Error("stream an answer", "route", rt.pattern, "err", err)
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		return
	}
	_, _ = w.Write(out) // a client that went away is its own affair
}

func sendFault(w http.ResponseWriter, f *Fault, requestID string) {
	for k, v := range f.Header {
		w.Header()[k] = v
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.Header().Set("X-GitHub-Request-Id", requestID)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
}

// answer handles one request under the lock: who calls, how often, what may
// they do, then the handler.
func (s *Sim) answer(c *call) reply {
	rep, stop := s.authenticate(c)
	if stop {
		return rep
	}
	spent := s.rateOf(c)
	if spent.exhausted() {
		s.exceeded = append(s.exceeded, "primary")
		rep := refuse(http.StatusForbidden, spent.message(c), "rest/overview/rate-limits-for-the-rest-api")
		return spent.headers(rep)
	}
	if limit := s.secondary(c); limit != "" {
		s.exceeded = append(s.exceeded, limit)
		rep := refuse(http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", "rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
		return spent.headers(rep.with("Retry-After", "60"))
	}
	rep, stop = s.authorize(c)
	if !stop {
		rep = c.route.handle(c)
	}
	if c.r.Method == http.MethodGet && rep.status == http.StatusOK && rep.value != nil {
		if out, err := encode(rep.value); err == nil {
			etag := `W/"` + digest(out) + `"`
			rep = rep.with("Etag", etag).with("Cache-Control", "private, max-age=60, s-maxage=60")
			if slices.Contains(strings.Split(strings.ReplaceAll(c.r.Header.Get("If-None-Match"), " ", ""), ","), etag) {
				rep.status, rep.value = http.StatusNotModified, nil
			}
		}
	}
	if rep.status != http.StatusNotModified && c.route.pattern != "/rate_limit" {
		spent.used++ // a 304 is free
	}
	return spent.headers(rep)
}

func apiVersion(r *http.Request) string {
	if v := r.Header.Get("X-GitHub-Api-Version"); v != "" {
		return v
	}
	return "2022-11-28"
}

// page cuts a list as per_page and page ask, and adds the Link header.
func page[T any](c *call, list []T, build func(T) any) ([]any, string) {
	per, number := 30, 1
	q := c.r.URL.Query()
	if n, err := strconv.Atoi(q.Get("per_page")); err == nil && n > 0 {
		per = min(n, 100)
	}
	if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 0 {
		number = n
	}
	from := min((number-1)*per, len(list))
	to := min(from+per, len(list))
	out := make([]any, 0, to-from)
	for _, v := range list[from:to] {
		out = append(out, build(v))
	}
	last := max((len(list)+per-1)/per, 1)
	var links []string
	link := func(n int, rel string) {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel=%q`, c.url, c.r.URL.EscapedPath(), q.Encode(), rel))
	}
	if number > 1 {
		link(number-1, "prev")
	}
	if number < last {
		link(number+1, "next")
		link(last, "last")
	}
	if number > 1 {
		link(1, "first")
	}
	return out, strings.Join(links, ", ")
}

// listed is a page as the answer of a GET.
func listed[T any](c *call, list []T, build func(T) any) reply {
	out, link := page(c, list, build)
	rep := ok(out)
	if link != "" {
		rep = rep.with("Link", link)
	}
	return rep
}

// A rate counts what one installation, or one App, used of its hour.
type rate struct {
	limit, used int
	reset       time.Time
}

func (s *Sim) rateOf(c *call) *rate {
	key, limit := "anonymous", 60
	switch {
	case c.caller.install != nil:
		key, limit = fmt.Sprintf("installation %d", c.caller.install.id), s.opts.Limits.Core
	case c.caller.app != nil:
		key, limit = fmt.Sprintf("app %d", c.caller.app.id), s.opts.Limits.Core
	}
	if c.route.pattern == "/graphql" {
		key, limit = key+" graphql", s.opts.Limits.Core
	}
	r := s.rates[key]
	now := s.opts.Clock()
	if r == nil || !now.Before(r.reset) {
		r = &rate{limit: limit, reset: now.Add(time.Hour)}
		s.rates[key] = r
	}
	return r
}

func (r *rate) exhausted() bool { return r.used >= r.limit }

func (r *rate) message(c *call) string {
	if c.caller.install != nil {
		return fmt.Sprintf("API rate limit exceeded for installation ID %d.", c.caller.install.id)
	}
	return "API rate limit exceeded."
}

func (r *rate) headers(rep reply) reply {
	if rep.header == nil {
		rep.header = http.Header{}
	}
	resource := "core"
	if r.limit == 60 {
		resource = "core" // anonymous callers have the same resource
	}
	rep.header.Set("X-RateLimit-Limit", strconv.Itoa(r.limit))
	rep.header.Set("X-RateLimit-Remaining", strconv.Itoa(max(r.limit-r.used, 0)))
	rep.header.Set("X-RateLimit-Used", strconv.Itoa(r.used))
	rep.header.Set("X-RateLimit-Reset", strconv.FormatInt(r.reset.Unix(), 10))
	rep.header.Set("X-RateLimit-Resource", resource)
	return rep
}

func (r *rate) json() obj {
	return obj{"limit": r.limit, "used": r.used, "remaining": max(r.limit-r.used, 0), "reset": r.reset.Unix()}
}

var newline = []byte("\n")

func trimNewline(b []byte) []byte { return bytes.TrimSuffix(b, newline) }
