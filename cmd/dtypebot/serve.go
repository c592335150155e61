package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/golang-jwt/jwt/v4"
	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/queue"
	"github.com/dtypebot/dtypebot/bot/recovery"
	"github.com/dtypebot/dtypebot/bot/setup"
)

func newServe() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the GitHub App: receive webhooks and review pull requests",
		Long: `Serve receives the webhooks of the GitHub App, queues them on disk and reviews
the pull requests. It is configured by the environment:

` + environmentHelp() + `
Without any credentials, in the environment or in DATA_DIR, it shows a page that
creates the App, at an address that it prints and that works once.

It ends on SIGINT or SIGTERM: readiness says no at once, webhooks are taken for ` + drain.String() + `
more, running reviews may finish for ` + shutdownGrace.String() + `, the rest stays in the queue. A second signal ends it at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // the next signal has its usual effect
			config, err := readConfig(ctx, envconfig.OsLookuper())
			if errors.Is(err, errNoCredentials) {
				if err := createApp(ctx, config, cmd.ErrOrStderr()); err != nil || ctx.Err() != nil {
					return err
				}
				config, err = readConfig(ctx, envconfig.OsLookuper())
			}
			if err != nil {
				return err
			}
			limits := github.DefaultLimits()
			app, err := newApp(ctx, appConfig{
				serveConfig: config, Queue: queue.Options{Settle: settle}, Log: config.logger(cmd.ErrOrStderr()), Limits: &limits, Index: true, Recover: &recovery.Options{}, Drain: drain,
			})
			if err != nil {
				return err
			}
			return app.Run(ctx)
		},
	}
}

// environment is what serve reads from the environment. Everything is text, so
// that all faults can be listed at once.
type environment struct {
	AppID      string `env:"GITHUB_APP_ID" about:"the App's id"`
	Key        string `env:"GITHUB_PRIVATE_KEY" about:"the App's private key, PEM text"`
	KeyFile    string `env:"GITHUB_PRIVATE_KEY_FILE" about:"… or its file"`
	Secret     string `env:"GITHUB_WEBHOOK_SECRET" about:"webhook secret; several, comma separated, while one replaces another"`
	SecretFile string `env:"GITHUB_WEBHOOK_SECRET_FILE" about:"… or its file, one secret a line"`
	APIURL     string `env:"GITHUB_API_URL, default=https://api.github.com/" about:"REST address, https://HOST/api/v3/ for GitHub Enterprise Server"`
	GraphQLURL string `env:"GITHUB_GRAPHQL_URL" about:"GraphQL address; derived from GITHUB_API_URL when empty"`
	Listen     string `env:"LISTEN_ADDR, default=:8080" about:"address for webhooks and health"`
	Admin      string `env:"ADMIN_ADDR, default=127.0.0.1:9464" about:"address for metrics, health and profiling"`
	DataDir    string `env:"DATA_DIR, default=./data" about:"folder of the embedded queue, caches, and the credentials of the setup page; made private and locked"`
	NATSURL    string `env:"NATS_URL" about:"external NATS with JetStream, an account of its own; embedded when empty"`
	NATSCreds  string `env:"NATS_CREDS" about:"credentials file for NATS_URL"`
	NATSCA     string `env:"NATS_CA" about:"file of certificate authorities for NATS_URL, PEM"`
	Replicas   string `env:"NATS_REPLICAS, default=1" about:"copies that the cluster at NATS_URL keeps, 1 to 5"`
	Role       string `env:"ROLE, default=all" about:"all, webhook (receive only) or worker (review only); the last two need NATS_URL"`
	Workers    string `env:"WORKERS, default=4" about:"pull requests reviewed at once"`
	LogLevel   string `env:"LOG_LEVEL, default=info" about:"debug, info, warn or error"`
	LogFormat  string `env:"LOG_FORMAT, default=text" about:"text or json"`
}

// environmentHelp lists the variables with their meaning and default.
func environmentHelp() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for field := range reflect.TypeFor[environment]().Fields() {
		name, def, _ := strings.Cut(field.Tag.Get("env"), ", default=")
		about := field.Tag.Get("about")
		if def != "" {
			about += " (default " + def + ")"
		}
		fmt.Fprintf(w, "  %s\t%s\n", name, about)
	}
	_ = w.Flush() // to memory
	return b.String()
}

// Roles of a process.
const (
	roleAll     = "all"
	roleWebhook = "webhook"
	roleWorker  = "worker"
)

// maxWorkers bounds WORKERS: GitHub allows 100 requests at once.
const maxWorkers = 64

// A serveConfig is the configuration of the App, checked.
type serveConfig struct {
	AppID              int64
	Key                []byte   // PEM
	Secrets            []string // of the webhook, at least one, none empty
	APIURL, GraphQLURL string
	Listen             string // host:port; port 0 picks a free one
	Admin              string // the same; "" has no such server
	DataDir            string
	NATSURL            string // "" embeds the queue
	NATSCreds, NATSCA  string // paths
	Replicas           int
	Role               string
	Workers            int
	LogLevel           slog.Level
	LogJSON            bool
}

// faults lists everything that is wrong with a configuration.
type faults []string

func (f faults) Error() string {
	return "the configuration has faults:\n  " + strings.Join(f, "\n  ")
}

// add notes a fault of one variable. The value of a secret is never shown.
func (f *faults) add(name, format string, args ...any) {
	*f = append(*f, name+": "+fmt.Sprintf(format, args...))
}

// readConfig reads and checks the environment; its error lists all faults. An
// empty variable counts as not set. If all is well and only the App is missing,
// the error is errNoCredentials.
func readConfig(ctx context.Context, lookup envconfig.Lookuper) (serveConfig, error) {
	env, err := readEnvironment(ctx, lookup)
	if err != nil {
		return serveConfig{}, err
	}
	return env.check()
}

// readEnvironment reads the environment as it is.
func readEnvironment(ctx context.Context, lookup envconfig.Lookuper) (environment, error) {
	var env environment
	err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &env, Lookuper: envconfig.LookuperFunc(func(key string) (string, bool) {
		value, _ := lookup.Lookup(key)
		value = strings.TrimSpace(value)
		return value, value != ""
	})})
	if err != nil {
		return environment{}, fmt.Errorf("read the environment: %w", err)
	}
	return env, nil
}

func (env environment) check() (serveConfig, error) {
	var f faults
	c := serveConfig{
		APIURL: env.APIURL, GraphQLURL: env.GraphQLURL, Listen: env.Listen, Admin: env.Admin, DataDir: env.DataDir,
		NATSURL: env.NATSURL, NATSCreds: env.NATSCreds, NATSCA: env.NATSCA, Role: env.Role,
	}
	missing := env.credentials(&c, &f)
	env.api(&f)
	address(&f, "LISTEN_ADDR", env.Listen)
	address(&f, "ADMIN_ADDR", env.Admin)
	if env.Listen == env.Admin && !strings.HasSuffix(env.Listen, ":0") {
		f.add("ADMIN_ADDR", "%s is LISTEN_ADDR already", env.Admin)
	}
	env.nats(&c, &f)
	switch env.Role {
	case roleAll:
	case roleWebhook, roleWorker:
		if env.NATSURL == "" {
			f.add("ROLE", "%s needs NATS_URL, since the embedded queue cannot be shared", env.Role)
		}
	default:
		f.add("ROLE", "%q is none of all, webhook, worker", env.Role)
	}
	c.Workers = number(&f, "WORKERS", env.Workers, maxWorkers)
	switch level := strings.ToLower(env.LogLevel); level {
	case "debug", "info", "warn", "error":
		_ = c.LogLevel.UnmarshalText([]byte(level)) // these four are known
	default:
		f.add("LOG_LEVEL", "%q is none of debug, info, warn, error", env.LogLevel)
	}
	switch env.LogFormat {
	case "text":
	case "json":
		c.LogJSON = true
	default:
		f.add("LOG_FORMAT", "%q is neither text nor json", env.LogFormat)
	}
	if missing && env.Role != roleAll {
		f.add("ROLE", "%s needs the App's credentials: set GITHUB_APP_ID, GITHUB_PRIVATE_KEY_FILE and GITHUB_WEBHOOK_SECRET", env.Role)
	}
	if len(f) == 0 && missing {
		return c, errNoCredentials
	}
	if len(f) == 0 {
		// What only the client itself refuses, such as plain http to a public host.
		if _, err := github.New(c.github()); err != nil {
			f.add("GITHUB_API_URL", "%v", err)
		}
	}
	if len(f) > 0 {
		return serveConfig{}, f
	}
	return c, nil
}

// api checks the addresses of GitHub.
func (env environment) api(f *faults) {
	for _, v := range [][2]string{{"GITHUB_API_URL", env.APIURL}, {"GITHUB_GRAPHQL_URL", env.GraphQLURL}} {
		name, text := v[0], v[1]
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			f.add(name, "%q is not an http address", text)
		}
	}
}

// errNoCredentials says that there is no App yet.
var errNoCredentials = errors.New("no credentials: start serve and open the page that it names, or set GITHUB_APP_ID, GITHUB_PRIVATE_KEY_FILE and GITHUB_WEBHOOK_SECRET")

// withSaved takes the credentials that the setup page left in DATA_DIR, if the
// environment has none at all. It reports whether there are any.
func (env *environment) withSaved(f *faults) bool {
	if env.AppID != "" || env.Key != "" || env.KeyFile != "" || env.Secret != "" || env.SecretFile != "" {
		return true
	}
	saved, err := setup.Load(env.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		f.add("DATA_DIR", "%v", err)
	case strings.TrimSuffix(saved.APIURL, "/") != strings.TrimSuffix(env.APIURL, "/"):
		f.add("GITHUB_API_URL", "%s has an App of %s", setup.File(env.DataDir), saved.APIURL)
	}
	env.AppID, env.Key, env.Secret = strconv.FormatInt(saved.AppID, 10), saved.Key, saved.Secret
	return true
}

// credentials checks the App's id, key and secrets, and reports whether there are
// none at all.
func (env environment) credentials(c *serveConfig, f *faults) (missing bool) {
	before := len(*f)
	if !env.withSaved(f) {
		return true
	}
	if len(*f) > before { // what was saved cannot be used
		return false
	}
	env.app(c, f)
	if text, name, ok := textOrFile(f, "GITHUB_WEBHOOK_SECRET", env.Secret, env.SecretFile); ok {
		separator, what := ",", "element"
		if env.SecretFile != "" {
			separator, what = "\n", "line"
		}
		for i, secret := range strings.Split(strings.TrimSuffix(text, "\n"), separator) {
			if secret = strings.TrimSpace(secret); secret == "" {
				f.add(name, "%s %d is empty", what, i+1)
			}
			c.Secrets = append(c.Secrets, secret)
		}
	}
	return false
}

// app checks the App's id and key.
func (env environment) app(c *serveConfig, f *faults) {
	if env.AppID == "" {
		f.add("GITHUB_APP_ID", "missing")
	} else if id, err := strconv.ParseInt(env.AppID, 10, 64); err != nil || id <= 0 {
		f.add("GITHUB_APP_ID", "%q is not the id of an App, which is a positive number", env.AppID)
	} else {
		c.AppID = id
	}
	if key, name, ok := textOrFile(f, "GITHUB_PRIVATE_KEY", env.Key, env.KeyFile); ok {
		if _, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(key)); err != nil {
			f.add(name, "not an RSA private key in PEM form: %v", err)
		}
		c.Key = []byte(key)
	}
}

// textOrFile returns the value of a variable that may name a file instead, and
// the name of the variable that it came from.
func textOrFile(f *faults, name, text, file string) (value, from string, ok bool) {
	switch {
	case text != "" && file != "":
		f.add(name, "set together with %s_FILE", name)
	case text != "":
		return text, name, true
	case file == "":
		f.add(name, "missing (or %s_FILE)", name)
	default:
		name += "_FILE"
		data, err := os.ReadFile(file)
		if err == nil && len(strings.TrimSpace(string(data))) == 0 {
			err = fmt.Errorf("%s is empty", file)
		}
		if err == nil {
			return string(data), name, true
		}
		f.add(name, "%v", err)
	}
	return "", "", false
}

// nats checks the external queue.
func (env environment) nats(c *serveConfig, f *faults) {
	c.Replicas = number(f, "NATS_REPLICAS", env.Replicas, 5)
	for _, v := range [][2]string{{"NATS_CREDS", env.NATSCreds}, {"NATS_CA", env.NATSCA}} {
		name, file := v[0], v[1]
		if file == "" {
			continue
		}
		if env.NATSURL == "" {
			f.add(name, "set without NATS_URL")
		}
		if file, err := os.Open(file); err != nil {
			f.add(name, "%v", err)
		} else {
			_ = file.Close()
		}
	}
	if env.NATSURL == "" {
		return
	}
	for server := range strings.SplitSeq(env.NATSURL, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Host == "" {
			f.add("NATS_URL", "not the address of a server, like nats://HOST:4222") // it may hold a password
			continue
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			f.add("NATS_URL", "scheme %q is none of nats, tls, ws, wss", u.Scheme)
		}
	}
}

// number reads a number from 1 to most.
func number(f *faults, name, text string, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		f.add(name, "%q is not a number from 1 to %d", text, most)
	}
	return n
}

// address checks a host:port to listen on; the host may be empty.
func address(f *faults, name, text string) {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(port); err == nil && (n < 0 || n > 65535) {
			err = errors.New("port out of range")
		}
	}
	if err != nil {
		f.add(name, "%q is not an address like :8080 or 127.0.0.1:8080", text)
	}
}

// github is the part of the configuration that the client needs.
func (c serveConfig) github() github.Config {
	return github.Config{
		AppID: c.AppID, Key: c.Key, APIURL: c.APIURL, GraphQLURL: c.GraphQLURL,
		UserAgent: "dtypebot/" + cmp.Or(version, "dev"),
	}
}
