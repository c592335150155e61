// Package github is the bot's only way to GitHub: it authenticates as the App,
// reads a pull request into a bot.Snapshot and writes a bot.Review. It converts
// at the border, so no type of the client library leaves it.
//
// Every call has a name and is recorded, so that a test can count them: two
// when no Python file is touched, three for a clean pull request, four with
// findings. The usual ones are "files", "graphql", "review" and "check-run".
// What only some pull requests need is counted under names of its own:
// "files:page" and "files:small" (long lists, patches left out of them),
// "graphql:files", "graphql:threads", "graphql:head" and "graphql:light"
// (further pages, a head that is not listed last, a query too heavy), "blob" (a
// text that GraphQL did not give), "repository" (a name that changed),
// "review:part" and "check-run:plain" (what GitHub refused), "pull" and
// "check-runs" (a job that was given up), "threads", "threads:otherwise" and
// "permission" (what became of own threads, and who voted), "graphql:talk"
// (long conversations), "check-run:begin" (a review that takes long),
// "check-run:annotations" and "check-run:count" (more than fifty), "tree",
// "tarball" and "archive" (the index of a repository).
//
// It takes no decision about what is said, keeps nothing on disk but the texts of
// files (Cache), does not
// sleep when GitHub asks it to wait (it hands the job back instead), and never
// sends a request to another host than the configured one, but for archives, for
// which GitHub names a host of its own that gets no credentials.
package github

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/dtypebot/dtypebot/bot"
)

// DefaultAPIURL is the REST base of github.com.
const DefaultAPIURL = "https://api.github.com/"

const (
	keptInstallations = 256      // clients with a token that are kept
	keptHeads         = 4096     // heads whose check run is remembered
	maxAnswer         = 96 << 20 // bytes of one answer
	callTimeout       = 60 * time.Second
)

// Config is what an App needs.
type Config struct {
	AppID int64
	// Key is the App's private key, PEM.
	Key []byte
	// APIURL is the REST base, DefaultAPIURL if empty; GraphQLURL is derived
	// from it if empty (GraphQLURL function).
	APIURL, GraphQLURL string
	// UserAgent names the program to GitHub, e.g. "dtypebot/v0.1.0".
	UserAgent string
	// Transport carries the requests; nil makes one with timeouts.
	Transport http.RoundTripper
	// Token, if not empty, is used for every repository in place of the App's
	// own tokens, which need no AppID and Key then: to read as a person does.
	Token string
	// Cache keeps the texts of files between reviews; nil keeps none.
	Cache *Cache
	// Limits are kept if not nil.
	Limits *Limits
	// Alone says that no other process reviews for the App. A push that touches no
	// Python file then costs one call less.
	Alone bool
}

// An App talks to GitHub as one App for all its installations. It may be used
// by many goroutines. It satisfies bot.GitHub.
type App struct {
	id        int64
	key       *rsa.PrivateKey
	api       *url.URL // ends in a slash
	graphql   string
	userAgent string
	base      http.RoundTripper // pinned to the configured hosts; adds no credentials
	archives  *http.Client      // pinned to the hosts of archives; has no credentials
	started   time.Time
	person    *installation // with Config.Token
	limiter   *limiter      // nil without Config.Limits

	mu            sync.Mutex // guards the creation of an installation's client, and warmed
	warmed        *lru.Cache[int64, time.Time]
	installations *lru.Cache[int64, *installation]
	written       *lru.Cache[headKey, struct{}] // heads without Python whose check run stands
	commented     *lru.Cache[pullKey, struct{}] // pull requests on which this process began threads
	cache         *Cache
	alone         bool
	login         atomic.Pointer[string] // of the App's account, nil until it was asked for
}

type pullKey struct {
	repository int64
	pull       int
}

type headKey struct {
	repository int64
	pull       int
	head       string
}

// An installation is the App's client for one account. The transport holds the
// token; it is never copied, since its cache would go with the copy.
type installation struct {
	id        int64
	client    *github.Client
	transport *ghinstallation.Transport
	may       atomic.Pointer[map[string]string] // what the newest token may do; nil is not known
}

// granted is what the newest token may do with something: "read", "write", or ""
// for nothing or if it is not known.
func (i *installation) granted(what string) string {
	if may := i.may.Load(); may != nil {
		return (*may)[what]
	}
	return ""
}

var _ bot.GitHub = (*App)(nil)

// New checks the configuration and parses the key; it sends nothing.
func New(config Config) (*App, error) {
	var key *rsa.PrivateKey
	var err error
	if config.Token == "" {
		if config.AppID <= 0 {
			return nil, fmt.Errorf("App id %d: it must be positive", config.AppID)
		}
		if key, err = jwt.ParseRSAPrivateKeyFromPEM(config.Key); err != nil {
			return nil, fmt.Errorf("read the App's private key: %w", err)
		}
	}
	if config.APIURL == "" {
		config.APIURL = DefaultAPIURL
	}
	api, err := parseBase(config.APIURL)
	if err != nil {
		return nil, fmt.Errorf("API address: %w", err)
	}
	if config.GraphQLURL == "" {
		config.GraphQLURL = GraphQLURL(api.String())
	}
	graphql, err := parseBase(config.GraphQLURL)
	if err != nil {
		return nil, fmt.Errorf("GraphQL address: %w", err)
	}
	if config.Transport == nil {
		config.Transport = newTransport()
	}
	installations, err := lru.New[int64, *installation](keptInstallations)
	if err != nil {
		return nil, err // unreachable: the size is positive
	}
	warmed, err := lru.New[int64, time.Time](keptInstallations)
	if err != nil {
		return nil, err // unreachable: the size is positive
	}
	commented, err := lru.New[pullKey, struct{}](keptHeads)
	if err != nil {
		return nil, err // unreachable: the size is positive
	}
	written, err := lru.New[headKey, struct{}](keptHeads)
	if err != nil {
		return nil, err // unreachable: the size is positive
	}
	a := &App{
		id:        config.AppID,
		key:       key,
		api:       api,
		graphql:   strings.TrimSuffix(graphql.String(), "/"),
		userAgent: config.UserAgent,
		base: &pinned{
			next:  config.Transport,
			hosts: map[string]bool{origin(api): true, origin(graphql): true},
			most:  maxAnswer,
		},
		archives: &http.Client{
			Transport:     &pinned{next: config.Transport, hosts: archiveHosts(api), most: maxArchive + 1<<20},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		started:       time.Now(),
		installations: installations,
		warmed:        warmed,
		written:       written,
		commented:     commented,
		alone:         config.Alone,
		cache:         config.Cache,
	}
	if config.Limits != nil {
		a.limiter = newLimiter(*config.Limits)
		a.base = &guard{next: a.base, limiter: a.limiter}
	}
	if config.Token != "" {
		a.person = &installation{client: a.client(&bearer{next: a.base, token: config.Token})}
	}
	return a, nil
}

// bearer sends one token with each request.
type bearer struct {
	next  http.RoundTripper
	token string
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

// client returns a client of the library over a transport that authenticates.
func (a *App) client(transport http.RoundTripper) *github.Client {
	client := github.NewClient(&http.Client{
		Transport:     transport,
		CheckRedirect: redirect,
		Timeout:       callTimeout,
	})
	client.BaseURL = a.api
	if a.userAgent != "" {
		client.UserAgent = a.userAgent
	}
	return client
}

// parseBase reads an address and gives it a trailing slash. Plain http is taken
// for loopback addresses only: tokens would cross the network in the clear.
func parseBase(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of an API", u.Redacted())
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	default:
		return nil, fmt.Errorf("%q must begin with https://", u.Redacted())
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// GraphQLURL derives the GraphQL address from the REST base:
// https://api.github.com/ has /graphql, a GitHub Enterprise Server's
// https://HOST/api/v3/ has https://HOST/api/graphql.
func GraphQLURL(api string) string {
	api = strings.TrimSuffix(api, "/")
	if base, ok := strings.CutSuffix(api, "/api/v3"); ok {
		return base + "/api/graphql"
	}
	return api + "/graphql"
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// pinned refuses requests to any other host. It lies under the transport that
// adds the token, so a redirect can carry the token nowhere.
type pinned struct {
	next  http.RoundTripper
	hosts map[string]bool // scheme://host
	most  int64           // bytes of one answer
}

func origin(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

func (p *pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if !p.hosts[origin(req.URL)] {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errForeignHost
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: p.most}
	return resp, nil
}

var errForeignHost = errors.New("refused to follow GitHub's answer to another host")

// limited ends an answer with an error instead of filling the memory.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("GitHub's answer is too large")
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.ReadCloser.Read(p)
	l.left -= int64(n)
	return n, err
}

// redirect follows what GitHub does after a rename: reads only, on the same
// host (pinned sees to that). A write is not repeated: it would arrive as a GET.
func redirect(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) >= 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

// installation returns the client of an installation, with a token that is good
// for at least a minute.
func (a *App) installation(ctx context.Context, id int64) (*installation, error) {
	if a.person != nil {
		return a.person, ctx.Err()
	}
	if id <= 0 {
		return nil, bot.Drop{Reason: "the event names no installation"}
	}
	a.mu.Lock()
	inst, ok := a.installations.Get(id)
	if !ok {
		inst = a.newInstallation(id)
		a.installations.Add(id, inst)
	}
	a.mu.Unlock()

	// A token is fetched for all who wait for it, so the first one's
	// cancellation must not reach it.
	tokenCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if _, err := inst.transport.Token(tokenCtx); err != nil {
		a.forget(id)
		return nil, classify("token", err)
	}
	return inst, ctx.Err()
}

// warmEvery is the least time between two attempts of Warm at an installation: a
// burst of webhooks is one reason to ask, and where GitHub does not answer each
// attempt costs a signature, a millisecond of processor time.
const warmEvery = 10 * time.Second

// Warm has the installation's token fetched if there is none, so that a job finds
// it. It returns at once; what goes wrong the job will tell.
func (a *App) Warm(ctx context.Context, installation int64) {
	a.mu.Lock()
	last, known := a.warmed.Get(installation)
	now := time.Now()
	again := !known || now.Sub(last) >= warmEvery
	if again {
		a.warmed.Add(installation, now)
	}
	a.mu.Unlock()
	if again {
		go func() { _, _ = a.installation(context.WithoutCancel(ctx), installation) }()
	}
}

func (a *App) newInstallation(id int64) *installation {
	inst := &installation{id: id}
	// One AppsTransport for each: a refresh writes to its fields.
	apps := ghinstallation.NewAppsTransportFromPrivateKey(&granting{next: a.base, granted: func(may map[string]string) { inst.may.Store(&may) }}, a.id, a.key)
	transport := ghinstallation.NewFromAppsTransport(apps, id)
	transport.BaseURL = strings.TrimSuffix(a.api.String(), "/")
	// Without options it sends null, which GitHub's description does not allow.
	transport.InstallationTokenOptions = &github.InstallationTokenOptions{}
	var round http.RoundTripper = transport
	if a.limiter != nil {
		round = &metered{next: transport, limiter: a.limiter, installation: id, graphql: a.graphql}
	}
	inst.client, inst.transport = a.client(&fenced{next: round, graphql: a.graphql}), transport
	return inst
}

// forget drops an installation's client and token.
func (a *App) forget(id int64) { a.installations.Remove(id) }

// A session is the calls of one job.
type session struct {
	*installation
	app        *App
	repository int64
	bytes      atomic.Int64 // of the files read so far

	mu    sync.Mutex // guards calls
	calls []string
}

// made lists the calls so far, by name.
func (s *session) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// call does one named call and classifies its error.
func (s *session) call(name string, do func() error) error {
	s.mu.Lock()
	s.calls = append(s.calls, name)
	s.mu.Unlock()
	err := do()
	if err == nil {
		return nil
	}
	err = classify(name, err)
	if e, ok := refused(err); ok && e.Status == http.StatusUnauthorized {
		// The token was revoked; the next attempt fetches a new one.
		s.app.forget(s.id)
		return outage(time.Second, err)
	}
	return err
}
