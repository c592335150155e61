package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/queue"
)

func newDoctor() *cobra.Command { return doctorCommand(envconfig.OsLookuper()) }

// doctorCommand returns the verb with another environment than the process's.
func doctorCommand(lookup envconfig.Lookuper) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check credentials, permissions, reachability, clock, queue and disk",
		Long: `Doctor checks what serve needs, with the same environment: one line for each
thing, which begins with ok, warn or fail. It writes nothing to GitHub.

The exit status is 2 if something fails, else 0.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd)
			defer stop()
			env, err := readEnvironment(ctx, lookup)
			if err != nil {
				return err
			}
			d := doctor{out: cmd.OutOrStdout()}
			d.run(ctx, env)
			if d.failed {
				return exitCode(2)
			}
			return nil
		},
	}
}

// A doctor prints what it finds.
type doctor struct {
	out    io.Writer
	failed bool
}

func (d *doctor) ok(what, format string, args ...any)   { d.say("ok", what, format, args...) }
func (d *doctor) warn(what, format string, args ...any) { d.say("warn", what, format, args...) }

func (d *doctor) fail(what, format string, args ...any) {
	d.failed = true
	d.say("fail", what, format, args...)
}

func (d *doctor) say(verdict, what, format string, args ...any) {
	fmt.Fprintf(d.out, "%-5s %-14s %s\n", verdict, what, strings.ReplaceAll(visible(fmt.Sprintf(format, args...)), "\n", " "))
}

// doctorLimit bounds each question to GitHub.
const doctorLimit = 20 * time.Second

func (d *doctor) run(ctx context.Context, env environment) {
	config, err := env.check()
	var f faults
	switch {
	case errors.As(err, &f):
		for _, fault := range f {
			d.fail("configuration", "%s", fault)
		}
		if !env.withSaved(&f) {
			d.fail("configuration", "%v", errNoCredentials)
		}
	case err != nil:
		d.fail("configuration", "%v", err)
	default:
		d.ok("configuration", "App %d, %s", config.AppID, plural(len(config.Secrets), "webhook secret"))
	}
	reached := d.api(ctx, cmp.Or(env.APIURL, github.DefaultAPIURL))
	if err == nil && reached {
		d.github(ctx, config)
	}
	d.queue(ctx, env)
	if env.NATSURL == "" {
		d.disk(env.DataDir)
	}
}

// Clocks that differ by more than clockFail are refused: the App's signature is
// valid from half a minute before to one and a half minutes behind this
// machine's time.
const (
	clockFail = 30 * time.Second
	clockWarn = 10 * time.Second
)

// api asks for GitHub's front page, without credentials.
func (d *doctor) api(ctx context.Context, address string) (reached bool) {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		d.fail("API", "%v", err)
		return false
	}
	req.Header.Set("User-Agent", "dtypebot/"+version)
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.fail("API", "%v", err)
		return false
	}
	_ = resp.Body.Close() // it is empty
	took := time.Since(start)
	if resp.StatusCode >= 500 {
		d.fail("API", "%s answers %s", address, resp.Status)
		return false
	}
	d.ok("API", "%s answers in %s", address, took.Round(time.Millisecond))
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		d.warn("clock", "GitHub's answer has no date to compare with")
		return true
	}
	// The date has no fractions, and the answer was on its way.
	switch ahead := start.Add(took / 2).Sub(at.Add(500 * time.Millisecond)).Round(time.Second); {
	case ahead > clockFail || ahead < -3*clockFail:
		d.fail("clock", "%s; GitHub refuses credentials that are not of its time", skew(ahead))
	case ahead.Abs() > clockWarn:
		d.warn("clock", "%s", skew(ahead))
	default:
		d.ok("clock", "%s", skew(ahead))
	}
	return true
}

func skew(ahead time.Duration) string {
	switch {
	case ahead > 0:
		return fmt.Sprintf("%s ahead of GitHub's", ahead)
	case ahead < 0:
		return fmt.Sprintf("%s behind GitHub's", -ahead)
	}
	return "that of GitHub"
}

// github asks who the App is and what it may do.
func (d *doctor) github(ctx context.Context, config serveConfig) {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	client, err := github.New(config.github())
	if err != nil {
		d.fail("credentials", "%v", err)
		return
	}
	who, err := client.Identity(ctx)
	if err != nil {
		d.fail("credentials", "%v", trouble(err))
		return
	}
	d.ok("credentials", "the App is %s (%s)", who.Slug, who.Name)
	if missing := github.Missing(who.Permissions); len(missing) > 0 {
		d.fail("permissions", "the App lacks %s: add them in its settings", strings.Join(missing, ", "))
	} else {
		d.ok("permissions", "%s", granted(who.Permissions))
	}
	var unheard []string
	for _, event := range github.Events() {
		if !slices.Contains(who.Events, event) {
			unheard = append(unheard, event)
		}
	}
	if len(unheard) > 0 {
		d.fail("events", "the App is not subscribed to %s: nothing would be reviewed", strings.Join(unheard, ", "))
	} else {
		d.ok("events", "%s", strings.Join(who.Events, ", "))
	}
	accounts, more, err := client.Accounts(ctx)
	switch {
	case err != nil:
		d.fail("installations", "%v", trouble(err))
		return
	case len(accounts) == 0:
		d.warn("installations", "none: install the App on an account")
		return
	case more:
		d.ok("installations", "more than %d, of which the first are looked at", len(accounts))
	default:
		d.ok("installations", "%d", len(accounts))
	}
	for _, a := range accounts {
		if a.Suspended {
			d.warn("installations", "that of %s is suspended", a.Login)
		} else if missing := github.Missing(a.Permissions); len(missing) > 0 {
			d.warn("installations", "that of %s has not granted %s: its owner must accept the request", a.Login, strings.Join(missing, ", "))
		}
	}
}

// granted lists the permissions that the bot needs, as they are granted.
func granted(permissions map[string]string) string {
	var list []string
	for name := range github.Permissions() {
		list = append(list, name+": "+permissions[name])
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// queue opens the queue if no serve has it.
func (d *doctor) queue(ctx context.Context, env environment) {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	q, srv, err := openQueue(ctx, env)
	locked, busy := errors.AsType[*queue.LockedError](err)
	switch {
	case busy:
		d.ok("queue", "%v", locked)
		return
	case errors.Is(err, errNoQueue):
		d.ok("queue", "none yet in DATA_DIR %s: serve makes it", env.DataDir)
		return
	case err != nil:
		d.fail("queue", "%v", err)
		return
	}
	defer srv.Close()
	if err := q.Ready(ctx); err != nil {
		d.fail("queue", "%v", err)
		return
	}
	depth, err := q.Depth(ctx)
	switch {
	case err != nil:
		d.fail("queue", "%v", err)
	case depth.Dead > 0:
		d.warn("queue", "%s waiting, %s: see dtypebot queue list", plural(int(depth.Waiting), "job"), plural(int(depth.Dead), "dead letter"))
	default:
		d.ok("queue", "%s waiting", plural(int(depth.Waiting), "job"))
	}
}

// Space that is left for the queue, in bytes. A job has about 400.
const (
	diskFail = 16 << 20
	diskWarn = 256 << 20
)

// disk looks whether DATA_DIR, or the folder that it would be made in, takes
// files and has space.
func (d *doctor) disk(dir string) {
	at := existing(dir)
	file, err := os.CreateTemp(at, ".dtypebot-doctor-*")
	if err == nil {
		_, err = file.Write(make([]byte, 64<<10))
		err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if err != nil {
		d.fail("disk", "DATA_DIR %s cannot be written: %v", dir, err)
		return
	}
	free, err := freeSpace(at)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.ok("disk", "%s can be written", at)
	case err != nil:
		d.warn("disk", "free space of %s: %v", at, err)
	case free < diskFail:
		d.fail("disk", "%d MiB free in %s", free>>20, at)
	case free < diskWarn:
		d.warn("disk", "%d MiB free in %s", free>>20, at)
	default:
		d.ok("disk", "%d MiB free in %s", free>>20, at)
	}
}

// existing is the folder itself, or the nearest one above it that exists.
func existing(dir string) string {
	path, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return path // if it is no folder, writing to it says so
		}
		path = filepath.Dir(path)
	}
}
