package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot/queue"
)

func newQueue() *cobra.Command { return queueCommand(envconfig.OsLookuper()) }

// queueCommand returns the verb with another environment than the process's.
func queueCommand(lookup envconfig.Lookuper) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Look after the jobs that were given up",
		Long: `Queue lists, retries or drops the dead letters: jobs that were tried three times
without an answer. They are named by the id that list prints, or as OWNER/REPO#N.

The queue is that of serve: at NATS_URL, or embedded in DATA_DIR. An embedded
one belongs to one process, so serve must not be running then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var format string
	list := &cobra.Command{
		Use: "list", Short: "List the dead letters, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format %q is neither text nor json", format)
			}
			return withQueue(cmd, lookup, func(ctx context.Context, q *queue.Queue) error {
				letters, err := q.DeadLetters(ctx)
				if err != nil {
					return err
				}
				if format == "json" {
					return printLettersJSON(cmd.OutOrStdout(), letters)
				}
				return printLetters(cmd.OutOrStdout(), letters)
			})
		},
	}
	list.Flags().StringVar(&format, "format", "text", "text or json")
	cmd.AddCommand(list)
	for _, act := range []struct {
		name, short, done string
		do                func(*queue.Queue, context.Context, string) error
	}{
		{"retry", "Put dead letters back into the queue", "queued again", (*queue.Queue).Retry},
		{"drop", "Remove dead letters for good", "dropped", (*queue.Queue).Discard},
	} {
		var all bool
		sub := &cobra.Command{
			Use: act.name + " ID…", Short: act.short,
			RunE: func(cmd *cobra.Command, names []string) error {
				if all == (len(names) > 0) {
					return fmt.Errorf("queue %s: name dead letters, or give --all", act.name)
				}
				return withQueue(cmd, lookup, func(ctx context.Context, q *queue.Queue) error {
					letters, err := q.DeadLetters(ctx)
					if err != nil {
						return err
					}
					chosen, err := choose(letters, names)
					if err != nil {
						return err // nothing half done
					}
					for _, l := range chosen {
						if err := act.do(q, ctx, l.ID); err != nil {
							return err
						}
						fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", act.done, visible(name(l)))
					}
					if len(chosen) == 0 {
						fmt.Fprintln(cmd.OutOrStdout(), "no dead letters")
					}
					return nil
				})
			},
		}
		sub.Flags().BoolVar(&all, "all", false, "all of them")
		cmd.AddCommand(sub)
	}
	return cmd
}

// withQueue opens the queue that serve uses.
func withQueue(cmd *cobra.Command, lookup envconfig.Lookuper, do func(context.Context, *queue.Queue) error) error {
	ctx, stop := interruptible(cmd)
	defer stop()
	env, err := readEnvironment(ctx, lookup)
	if err != nil {
		return err
	}
	q, srv, err := openQueue(ctx, env)
	if err != nil {
		return err
	}
	defer srv.Close()
	return do(ctx, q)
}

// errNoQueue says that serve was never started with this folder.
var errNoQueue = errors.New("there is no queue")

// openQueue opens an existing queue; it makes none.
func openQueue(ctx context.Context, env environment) (*queue.Queue, *queue.Server, error) {
	c := serveConfig{DataDir: env.DataDir, NATSURL: env.NATSURL, NATSCreds: env.NATSCreds, NATSCA: env.NATSCA}
	var f faults
	env.nats(&c, &f)
	if len(f) > 0 {
		return nil, nil, f
	}
	if c.NATSURL == "" {
		if _, err := os.Stat(filepath.Join(c.DataDir, "queue")); err != nil {
			return nil, nil, fmt.Errorf("%w in DATA_DIR %s: %w", errNoQueue, c.DataDir, bare(err))
		}
	}
	srv, err := queue.Start(ctx, queue.Config{DataDir: c.DataDir, URL: c.NATSURL, Creds: c.NATSCreds, CA: c.NATSCA, Replicas: c.Replicas})
	if locked, ok := errors.AsType[*queue.LockedError](err); ok {
		return nil, nil, fmt.Errorf("%w: end that serve first, as an embedded queue belongs to one process", locked)
	}
	if err != nil {
		return nil, nil, err
	}
	q, err := queue.Open(ctx, srv, nil, queue.Options{}) // no state: nothing is worked on here
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	return q, srv, nil
}

// name is how a dead letter is called in messages.
func name(l queue.DeadLetter) string {
	if l.Job.Pull == 0 {
		return l.ID
	}
	return fmt.Sprintf("%s (%s)", l.ID, l.Job)
}

// choose picks the dead letters of these names, all if there are none.
func choose(letters []queue.DeadLetter, names []string) ([]queue.DeadLetter, error) {
	if len(names) == 0 {
		return letters, nil
	}
	var chosen []queue.DeadLetter
	var unknown []string
	taken := make(map[string]bool)
	for _, n := range names {
		i := slices.IndexFunc(letters, func(l queue.DeadLetter) bool {
			return l.ID == n || l.Job.Pull != 0 && strings.EqualFold(l.Job.String(), n)
		})
		if i < 0 {
			unknown = append(unknown, n)
		} else if !taken[letters[i].ID] {
			taken[letters[i].ID] = true
			chosen = append(chosen, letters[i])
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("no such dead letter: %s", strings.Join(unknown, ", "))
	}
	return chosen, nil
}

func printLetters(w io.Writer, letters []queue.DeadLetter) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tPULL REQUEST\tTRIES\tGIVEN UP\tREASON")
	for _, l := range letters {
		pull := "?"
		if l.Job.Pull != 0 {
			pull = l.Job.String()
		}
		reason, _, _ := strings.Cut(l.Reason, "\n")
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", visible(l.ID), visible(pull), l.Tries, l.At.UTC().Format(time.RFC3339), visible(strings.ReplaceAll(reason, "\t", " ")))
	}
	return table.Flush()
}

func printLettersJSON(w io.Writer, letters []queue.DeadLetter) error {
	type letter struct {
		ID string `json:"id"`
		queue.DeadLetter
	}
	out := struct {
		Version int      `json:"version"`
		Letters []letter `json:"letters"`
	}{Version: 1, Letters: []letter{}}
	for _, l := range letters {
		out.Letters = append(out.Letters, letter{l.ID, l})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
