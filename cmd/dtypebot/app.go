package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/analyser"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/index"
	"github.com/dtypebot/dtypebot/bot/queue"
	"github.com/dtypebot/dtypebot/bot/recovery"
	"github.com/dtypebot/dtypebot/bot/store"
	"github.com/dtypebot/dtypebot/bot/webhook"
	"github.com/dtypebot/dtypebot/suggestions"
)

const (
	// shutdownGrace is how long running reviews may go on after a signal;
	// orchestrators kill after 30 seconds.
	shutdownGrace = 20 * time.Second
	// jobLimit ends a review that hangs. As the analysis has limits of its own
	// (analyser.Child: four minutes at worst), what takes the rest is GitHub.
	jobLimit = 5 * time.Minute
	// indexLimit ends the making of an index; the largest repositories take minutes.
	indexLimit = 15 * time.Minute
	// analysisLimit ends an analysis in this process.
	analysisLimit = 2 * time.Minute
	// drain is for how long webhooks are taken after a signal; whoever asks for
	// readiness every second learns in time that this process ends.
	drain = 2 * time.Second
	// settle is how long a request may have its effect after its sender died:
	// GitHub ends those that take longer than 10 seconds.
	// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts
	settle = 11 * time.Second
	// openLimit is how long the streams and buckets may take to be opened or made;
	// an answer that a node took with it is waited for so long.
	openLimit = 20 * time.Second
	// answerLimit is how long open requests may go on after a signal.
	answerLimit = 5 * time.Second
)

// logger makes the program's log, which holds no credentials.
func (c serveConfig) logger(w io.Writer) *slog.Logger {
	w = c.redact(w)
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// An appConfig is what an app is made of.
type appConfig struct {
	serveConfig
	Log *slog.Logger // nil discards
	// Transport carries the requests to GitHub; nil makes one with timeouts.
	Transport http.RoundTripper
	// Analyse finds the mistakes; nil does it in a child process.
	Analyse bot.Analyser
	// Handle does a job; nil reviews the pull request.
	Handle func(context.Context, bot.Job) error
	// Reviewed is told of each review that was posted; may be nil. It is called
	// from the workers.
	Reviewed func(bot.Job, bot.Posted)
	// Queue are the queue's delays; zeros are the defaults. Log and Observe are
	// the app's own.
	Queue queue.Options
	// Drain is for how long, after a signal, webhooks are still taken while
	// readiness says no, so that whoever balances the load sends them elsewhere.
	Drain time.Duration
	// Limits are kept towards GitHub; nil keeps none.
	Limits *github.Limits
	// Index says to keep what the files of repositories say of each other.
	Index bool
	// EagerIndex says that a review waits until that is known.
	EagerIndex bool
	// Recover, if not nil, says to look for work that no webhook brought, and how
	// often; all but the times is the app's own.
	Recover *recovery.Options
}

// An app is the running bot: queue, workers and HTTP servers.
type app struct {
	config   appConfig
	log      *slog.Logger
	server   *queue.Server
	queue    *queue.Queue
	state    *store.Store
	done     *store.Store
	hook     *webhook.Handler
	recovery *recovery.Recovery // nil without appConfig.Recover
	reviewer *bot.Reviewer
	index    *index.Index // nil without appConfig.Index
	handle   func(context.Context, bot.Job) error
	metrics  *metrics
	api      probe
	ending   atomic.Bool // readiness says no
	client   *github.App
	login    atomic.Pointer[string] // of the App's own account, nil while unknown
	listener net.Listener
	admin    net.Listener // nil without ADMIN_ADDR
	public   http.Handler
	private  http.Handler
}

// newApp opens everything and listens, but answers nothing yet; the caller has
// to call Run or Close.
func newApp(ctx context.Context, config appConfig) (_ *app, err error) {
	a := &app{config: config, log: config.Log, metrics: newMetrics(), api: probe{url: config.APIURL}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()

	gh := config.github()
	gh.Transport, gh.Limits, gh.Alone = config.Transport, config.Limits, config.NATSURL == ""
	if config.Role != roleWebhook && config.DataDir != "" {
		if gh.Cache, err = github.OpenCache(filepath.Join(config.DataDir, "cache"), 0); err != nil {
			return nil, err
		}
	}
	client, err := github.New(gh)
	if err != nil {
		return nil, err
	}
	a.client = client
	child := &analyser.Child{Log: a.log}
	find, summarise := config.Analyse, analyser.Summarise
	if find == nil {
		find, summarise = child.Analyse, child.Summarise
	}
	a.reviewer = &bot.Reviewer{GitHub: client, Desk: client, Analyse: find, Config: bot.Config{Engine: version}}
	a.handle = config.Handle
	if a.handle == nil {
		a.handle = a.review
	}

	a.server, err = queue.Start(ctx, queue.Config{
		DataDir: config.DataDir, URL: config.NATSURL, Creds: config.NATSCreds, CA: config.NATSCA, Replicas: config.Replicas, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	// What has no deadline of its own is given up after 5 s, which a busy disk or a
	// cluster that chooses a leader can take.
	opening, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	state, err := store.Open(opening, a.server.JetStream(), store.Options{Replicas: a.server.Replicas(), Embedded: a.server.Embedded()})
	if err != nil {
		return nil, err
	}
	a.state = state
	options := config.Queue
	options.Log, options.Observe, options.Grace = a.log, a.metrics.job, cmp.Or(options.Grace, shutdownGrace)
	options.Dead, options.Admit = a.giveUp, client.Admit
	a.queue, err = queue.Open(opening, a.server, state, options)
	if err != nil {
		return nil, err
	}
	a.metrics.watch(a.queue, state, a.client)
	a.done = state
	a.reviewer.Put = a.queue.Put
	if config.Index {
		a.index = &index.Index{Source: client, Store: state, Summarise: summarise, Put: a.queue.Put, Log: a.log, Eager: config.EagerIndex}
		a.reviewer.Index = a.index
	}

	a.hook, err = webhook.New(warming{a.queue, client, config.Role}, webhook.Options{
		Secrets: a.config.Secrets, AppID: a.config.AppID, Self: a.self, Log: a.log, Observe: a.metrics.webhook,
	})
	if err != nil {
		return nil, err
	}
	if config.Recover != nil {
		o := *config.Recover
		o.GitHub, o.Queue, o.Leases, o.Done, o.Log = client, a.queue, state, state.Recovery(), a.log
		o.Wants, o.Take, o.Lost, o.Found = webhook.Wants, a.take, a.server.Lost, a.server.Found
		a.recovery = recovery.New(o)
	}
	a.routes()
	var lc net.ListenConfig
	if a.listener, err = lc.Listen(ctx, "tcp", config.Listen); err != nil {
		return nil, err
	}
	if config.Admin != "" {
		if a.admin, err = lc.Listen(ctx, "tcp", config.Admin); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Addr is the address that webhooks are sent to.
func (a *app) Addr() net.Addr { return a.listener.Addr() }

// AdminAddr is the address of metrics and health, nil if there is none.
func (a *app) AdminAddr() net.Addr {
	if a.admin == nil {
		return nil
	}
	return a.admin.Addr()
}

// Close frees what newApp opened. Run does it at its end.
func (a *app) Close() {
	for _, l := range []net.Listener{a.listener, a.admin} {
		if l != nil {
			_ = l.Close() // closed already after Run
		}
	}
	if a.server != nil {
		a.server.Close()
	}
}

// Run answers requests and works on jobs until ctx ends, and closes the app. It
// returns nil after a shutdown in good order.
func (a *app) Run(ctx context.Context) error {
	defer a.Close()
	a.log.Info("dtypebot serves", "version", version, "listen", a.Addr().String(), "role", a.config.Role, "embedded queue", a.server.Embedded())
	g, ctx := errgroup.WithContext(ctx)
	a.serve(ctx, g, a.listener, &http.Server{
		Handler: a.public, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
	})
	if a.admin != nil {
		a.serve(ctx, g, a.admin, &http.Server{
			// A profile takes as long as its reader asks for.
			Handler: a.private, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 5 * time.Minute,
		})
	}
	g.Go(func() error {
		a.api.run(ctx, a.config.Transport, a.log)
		return nil
	})
	if a.config.Role != roleWorker {
		g.Go(func() error {
			a.introduce(ctx)
			return nil
		})
		if a.recovery != nil {
			g.Go(func() error {
				a.recovery.Run(ctx)
				return nil
			})
		}
	}
	if a.config.Role != roleWebhook && !a.server.Embedded() {
		g.Go(func() error {
			a.count(ctx)
			return nil
		})
	}
	if a.config.Role != roleWebhook {
		g.Go(func() error { return a.queue.Work(ctx, a.config.Workers, a.handle) })
	}
	err := g.Wait()
	a.log.Info("dtypebot ends", "error", err)
	return err
}

// countEvery is how often a process says that it reviews.
const countEvery = 15 * time.Second

// count says until ctx ends that this process reviews, and shares GitHub's limits
// with the others that do. While it cannot be known how many, the last number
// stands.
func (a *app) count(ctx context.Context) {
	id := rand.Text()
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		n, err := a.state.Here(ctx, id)
		if err == nil {
			a.client.Share(n)
		} else if ctx.Err() == nil {
			a.log.Warn("count the processes", "error", err)
		}
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
			defer cancel()
			if err := a.state.Gone(end, id); err != nil {
				a.log.Warn("count the processes", "error", err) // it is forgotten in time
			}
			return
		case <-tick.C:
		}
	}
}

// introduceLimit is the longest pause between two questions for the App's name.
const introduceLimit = 5 * time.Minute

// introduce asks GitHub who the App is until it answers, and warns when the App
// may do too little. Webhooks are received meanwhile: the name only spares the
// answer to the bot's own doings, which find nothing new to say.
func (a *app) introduce(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 500*time.Millisecond, introduceLimit
	for {
		who, err := a.client.Identity(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			login := who.Login()
			a.login.Store(&login)
			a.log.Info("the App is known", "login", login, "name", who.Name)
			if missing := github.Missing(who.Permissions); len(missing) > 0 {
				a.log.Warn("the App lacks permissions", "missing", missing)
			}
			return
		}
		wait := pause.NextBackOff()
		a.log.Warn("ask GitHub who the App is", "again in", wait.Round(time.Second), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// take stores the jobs of a delivery that was fetched back.
func (a *app) take(ctx context.Context, event, delivery string, payload []byte) error {
	outcome, err := a.hook.Take(ctx, event, delivery, payload)
	a.metrics.webhook(event, "recovered_"+outcome)
	if outcome == webhook.Malformed {
		return errors.Join(recovery.ErrMalformed, err)
	}
	return err
}

// self is the login of the App's own account, "" while it is not known.
func (a *app) self() string {
	if login := a.login.Load(); login != nil {
		return *login
	}
	return ""
}

// serve runs one HTTP server in the group until ctx ends.
func (a *app) serve(ctx context.Context, g *errgroup.Group, l net.Listener, s *http.Server) {
	s.IdleTimeout = time.Minute
	s.MaxHeaderBytes = 64 << 10
	s.ErrorLog = slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		a.ending.Store(true)
		time.Sleep(a.config.Drain)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		if err := s.Shutdown(end); err != nil {
			_ = s.Close() // what did not end in time is cut
		}
		return nil
	})
}

// routes makes the handlers of the two servers.
func (a *app) routes() {
	public, private := http.NewServeMux(), http.NewServeMux()
	if a.config.Role != roleWorker {
		public.Handle("/webhook", a.hook)
	}
	alive := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	public.HandleFunc("GET /healthz", alive)
	private.HandleFunc("GET /healthz", alive)
	public.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if a.ready(r.Context()) != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable) // the world need not know why
			return
		}
		fmt.Fprintln(w, "ok")
	})
	private.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	private.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	private.HandleFunc("GET /debug/pprof/", pprof.Index)
	private.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	private.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	private.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	private.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	a.public, a.private = public, private
}

// ready returns why the bot cannot do its work, nil if it can. It accepts and
// queues webhooks even when GitHub's API is out of reach.
func (a *app) ready(ctx context.Context) error {
	if a.ending.Load() {
		return errEnding
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return errors.Join(a.queue.Ready(ctx), a.api.state())
}

var errEnding = errors.New("the process is about to end")

// review does one job.
func (a *app) review(ctx context.Context, job bot.Job) error {
	if job.Index != "" {
		return a.makeIndex(ctx, job)
	}
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	start := time.Now()
	work, what := a.reviewer.Review, "reviewed"
	if job.Command != nil {
		work, what = a.reviewer.Obey, "command carried out"
	}
	posted, err := work(ctx, job)
	a.metrics.calls(posted.Calls)
	a.remember(ctx, job, posted.Outcomes)
	if err != nil {
		return err // logged by the queue, which decides what becomes of the job
	}
	a.introduceCheck(ctx, job)
	a.log.Info(what, "pull", job.String(), "delivery", job.Delivery, "comments", len(posted.Comments), "refused", len(posted.Refused),
		"check run", posted.CheckRun, "calls", len(posted.Calls), "took", time.Since(start).Round(time.Millisecond),
		"since accepted", time.Since(job.Accepted).Round(time.Millisecond))
	if a.config.Reviewed != nil && (job.Command == nil || len(posted.Calls) > 0) { // other commands look at nothing
		a.config.Reviewed(job, posted)
	}
	return nil
}

// makeIndex does a job for the index of a repository.
func (a *app) makeIndex(ctx context.Context, job bot.Job) error {
	if a.index == nil {
		return bot.Drop{Reason: "this process keeps no indexes"}
	}
	ctx, cancel := context.WithTimeout(ctx, indexLimit)
	defer cancel()
	calls, err := a.index.Work(ctx, job)
	a.metrics.calls(calls)
	return err
}

// introduceCheck asks for a check run on the default branch at a repository's
// first pull request, and again when that is so old that GitHub does not offer
// the check for branch protection any more (seven days; the store forgets after
// eight). It is a job of its own, as a review should not wait for it.
func (a *app) introduceCheck(ctx context.Context, job bot.Job) {
	if job.Event != "pull_request.opened" || job.Command != nil {
		return
	}
	job.Delivery = fmt.Sprintf("introduce-%d", job.Repository)
	job.Command = &bot.Command{Kind: bot.CommandIntroduce}
	done, err := a.done.Done(ctx, queue.CommandKey(job))
	if err == nil && !done {
		err = a.queue.Put(ctx, job)
	}
	if err != nil { // the next pull request asks again
		a.log.Warn("introduce the check", "repository", job.String(), "error", err)
	}
}

// warming is a queue that has the installation's token fetched while the job is
// on its way to a worker.
type warming struct {
	*queue.Queue
	client *github.App
	role   string
}

func (w warming) Put(ctx context.Context, job bot.Job) error {
	if w.role != roleWebhook {
		w.client.Warm(ctx, job.Installation)
	}
	return w.Queue.Put(ctx, job)
}

// giveUp says on the pull request that its job was given up.
func (a *app) giveUp(ctx context.Context, job bot.Job, reason string) error {
	if job.Index != "" {
		return nil // reviews say that there is none
	}
	posted, err := a.reviewer.GiveUp(ctx, job, reason)
	a.metrics.calls(posted.Calls)
	if drop, ok := errors.AsType[bot.Drop](err); ok {
		a.log.Info("nothing was said of the job given up", "pull", job.String(), "reason", drop.Reason)
		return nil
	}
	return err
}

// analyse finds the mistakes of a pull request's files and plans the comments,
// in this process.
func analyse(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, analysisLimit, errSlow)
	defer cancel()
	return analyser.Analyse(ctx, files, around)
}

// errSlow ends an analysis that takes too long.
var errSlow = fmt.Errorf("the analysis took longer than %s", analysisLimit)

// A probe tells whether GitHub's API can be reached. Any answer will do: whether
// it is a friendly one is told by the jobs.
type probe struct {
	url  string
	last atomic.Pointer[probed]
}

type probed struct{ err error }

// The API is asked seldom while it answers; without credentials GitHub takes 60
// requests an hour.
const (
	probeLimit     = 10 * time.Second
	probeWell      = 5 * time.Minute
	probeTroubled  = 15 * time.Second
	probeUntilLate = time.Minute
)

// state is the result of the last attempt; nil while there was none.
func (p *probe) state() error {
	if last := p.last.Load(); last != nil {
		return last.err
	}
	return nil
}

// run asks the API now and then until ctx ends.
func (p *probe) run(ctx context.Context, transport http.RoundTripper, log *slog.Logger) {
	client := &http.Client{Transport: transport, Timeout: probeLimit}
	for troubled := 0; ; {
		err := p.ask(ctx, client)
		if ctx.Err() != nil {
			return
		}
		if before := p.state(); (err == nil) != (before == nil) {
			if err != nil {
				log.Warn("GitHub's API cannot be reached", "error", err)
			} else {
				log.Info("GitHub's API can be reached again")
			}
		}
		p.last.Store(&probed{err})
		pause := probeWell
		if err == nil {
			troubled = 0
		} else if troubled++; troubled < 10 {
			pause = probeTroubled
		} else {
			pause = probeUntilLate
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (p *probe) ask(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return fmt.Errorf("reach GitHub's API: %w", err)
	}
	req.Header.Set("User-Agent", "dtypebot/"+version)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("reach GitHub's API: %w", err)
	}
	_ = resp.Body.Close() // it is empty
	if resp.StatusCode >= 500 {
		return fmt.Errorf("reach GitHub's API: %s", resp.Status)
	}
	return nil
}

// metrics are the program's counters, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	webhooks *prometheus.CounterVec
	jobs     *prometheus.CounterVec
	seconds  prometheus.Histogram
	api      *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dtypebot_webhooks_total", Help: "Webhook deliveries by event and outcome.",
		}, []string{"event", "outcome"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dtypebot_jobs_total", Help: "Tries at review jobs by outcome.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dtypebot_job_seconds", Help: "Duration of a try at a review job.", Buckets: prometheus.ExponentialBuckets(0.05, 2, 12),
		}),
		api: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dtypebot_github_calls_total", Help: "Calls of GitHub's API by name.",
		}, []string{"call"}),
	}
	m.registry.MustRegister(m.webhooks, m.jobs, m.seconds, m.api,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) webhook(event, outcome string) { m.webhooks.WithLabelValues(event, outcome).Inc() }

func (m *metrics) job(_ bot.Job, outcome string, took time.Duration) {
	m.jobs.WithLabelValues(outcome).Inc()
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) calls(names []string) {
	for _, name := range names {
		m.api.WithLabelValues(name).Inc()
	}
}

// watch adds what is looked up when it is read: the depth of the queue, what
// became of comments, and what is left of GitHub's limits.
func (m *metrics) watch(q *queue.Queue, state *store.Store, client *github.App) {
	m.registry.MustRegister(depth{q}, precision{state}, rates{client})
}

// rates is a collector of what is left of GitHub's limits.
type rates struct{ client *github.App }

var ratesDesc = prometheus.NewDesc("dtypebot_github_rate_remaining",
	"What is left of GitHub's limits by installation: core and graphql as GitHub tells, the others as this process counts.", []string{"installation", "limit"}, nil)

func (r rates) Describe(ch chan<- *prometheus.Desc) { ch <- ratesDesc }

func (r rates) Collect(ch chan<- prometheus.Metric) {
	for _, rate := range r.client.Rates() {
		ch <- prometheus.MustNewConstMetric(ratesDesc, prometheus.GaugeValue, float64(rate.Left), strconv.FormatInt(rate.Installation, 10), rate.Limit)
	}
}

// depth is a collector of the queue's depth.
type depth struct{ queue *queue.Queue }

var depthDesc = prometheus.NewDesc("dtypebot_queue_jobs", "Jobs in the queue: waiting (with those that run), repositories to index, dead.", []string{"state"}, nil)

func (d depth) Describe(ch chan<- *prometheus.Desc) { ch <- depthDesc }

func (d depth) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now, err := d.queue.Depth(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(depthDesc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(now.Waiting), "waiting")
	ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(now.Index), "index")
	ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(now.Dead), "dead")
}
