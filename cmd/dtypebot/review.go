package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
)

func newReview() *cobra.Command { return reviewCommand(envconfig.OsLookuper()) }

// reviewCommand returns the verb with another environment than the process's.
func reviewCommand(lookup envconfig.Lookuper) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "review OWNER/REPO#N --dry-run",
		Short: "Print what would be posted on a pull request",
		Long: `Review reads a pull request from GitHub, analyses it as serve does, and prints
the comments and the check run that would be posted now. It writes nothing.

It acts as the App when GITHUB_APP_ID and GITHUB_PRIVATE_KEY (or
GITHUB_PRIVATE_KEY_FILE) are set, else by the token in GITHUB_TOKEN, which must
be able to read the repository. GITHUB_API_URL names another server.

The exit status is 0 whatever was found, and 2 in case of trouble.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			owner, name, pull, err := parsePull(args[0])
			if err != nil {
				return err
			}
			if !dry {
				return errors.New("review posts nothing: give --dry-run, or let serve review the pull request")
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			client, _, err := readClient(ctx, lookup)
			if err != nil {
				return err
			}
			installation, repository, err := client.Locate(ctx, owner, name)
			if err != nil {
				return trouble(err)
			}
			return preview(ctx, client, bot.Job{
				V: bot.JobVersion, Installation: installation, Repository: repository, Owner: owner, Name: name, Pull: pull,
			}, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "write nothing; required")
	return cmd
}

// interruptible returns the command's context, which a signal ends.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

var pullName = regexp.MustCompile(`^([A-Za-z0-9_.-]+)/([A-Za-z0-9_.-]+)#([0-9]+)$`)

// parsePull reads OWNER/REPO#N.
func parsePull(text string) (owner, name string, pull int, err error) {
	parts := pullName.FindStringSubmatch(text)
	if parts != nil {
		pull, err = strconv.Atoi(parts[3])
	}
	if parts == nil || err != nil || pull == 0 {
		return "", "", 0, fmt.Errorf("%q does not name a pull request as OWNER/REPO#N", text)
	}
	return parts[1], parts[2], pull, nil
}

// tokenVariable holds a person's token, for what only reads.
const tokenVariable = "GITHUB_TOKEN"

// readClient makes a client of the credentials in the environment: the App's, or
// else a plain token. The webhook's secret is not needed.
func readClient(ctx context.Context, lookup envconfig.Lookuper) (*github.App, serveConfig, error) {
	env, err := readEnvironment(ctx, lookup)
	if err != nil {
		return nil, serveConfig{}, err
	}
	c := serveConfig{APIURL: env.APIURL, GraphQLURL: env.GraphQLURL}
	token, _ := lookup.Lookup(tokenVariable)
	token = strings.TrimSpace(token)
	var f faults
	if token == "" {
		env.withSaved(&f)
	}
	switch {
	case env.AppID != "" || env.Key != "" || env.KeyFile != "":
		token = ""
		env.app(&c, &f)
	case token == "":
		f = append(f, "no credentials: set GITHUB_APP_ID and GITHUB_PRIVATE_KEY_FILE, or "+tokenVariable)
	}
	env.api(&f)
	if len(f) > 0 {
		return nil, c, f
	}
	config := c.github()
	config.Token = token
	client, err := github.New(config)
	return client, c, err
}

// preview looks at a pull request and prints what would be posted.
func preview(ctx context.Context, client *github.App, job bot.Job, w io.Writer) error {
	reviewer := &bot.Reviewer{GitHub: client, Analyse: analyse, Config: bot.Config{Engine: version}}
	snapshot, review, err := reviewer.Look(ctx, job)
	if drop, ok := errors.AsType[bot.Drop](err); ok {
		_, err := fmt.Fprintf(w, "%s: nothing would be posted: %s\n", job, drop.Reason)
		return err
	}
	if err != nil {
		return trouble(err)
	}
	_, err = io.WriteString(w, visible(previewText(snapshot, review)))
	return err
}

// trouble is an error for a person at a terminal: nobody tries again by itself.
func trouble(err error) error {
	if drop, ok := errors.AsType[bot.Drop](err); ok {
		return errors.New(drop.Reason)
	}
	if retry, ok := errors.AsType[bot.Retry](err); ok {
		return retry.Err
	}
	return err
}

// previewText is what would be posted, for people.
func previewText(s bot.Snapshot, r bot.Review) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s#%d at %s", s.Owner, s.Name, s.Pull, s.Head)
	if s.Title != "" {
		fmt.Fprintf(&b, ": %s", s.Title)
	}
	fmt.Fprintf(&b, "\nread: %s of %s; nothing was written\n", plural(len(s.Files), "Python file"), plural(s.Changed, "changed file"))
	for i, c := range r.Comments {
		place := fmt.Sprintf("%s:%d", c.Path, c.Line)
		if c.StartLine != 0 {
			place = fmt.Sprintf("%s:%d-%d", c.Path, c.StartLine, c.Line)
		}
		fmt.Fprintf(&b, "\n==== comment %d of %d on %s\n%s\n", i+1, len(r.Comments), place, strings.TrimRight(c.Body, "\n"))
	}
	if r.Body != "" {
		fmt.Fprintf(&b, "\n==== above the comments\n%s\n", strings.TrimRight(r.Body, "\n"))
	}
	how := "new"
	switch {
	case r.Check.Unchanged:
		how = "stands already"
	case r.Check.Existing != 0:
		how = fmt.Sprintf("completes run %d", r.Check.Existing)
	}
	fmt.Fprintf(&b, "\n==== check run %s, %s (%s): %s\n%s\n", r.Check.Name, r.Check.Conclusion, how, r.Check.Title, strings.TrimRight(r.Check.Summary, "\n"))
	for _, a := range r.Check.Annotations {
		fmt.Fprintf(&b, "\n==== annotation on %s:%d-%d, %s, %s\n%s\n", a.Path, a.StartLine, a.EndLine, a.Level, cmp.Or(a.Title, "no title"), a.Message)
	}
	return b.String()
}

// visible replaces what could steer a terminal: the text holds foreign code.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != '\u200b') {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
