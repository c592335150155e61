package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot/webhook"
)

func newReplay() *cobra.Command { return replayCommand(envconfig.OsLookuper()) }

// replayCommand returns the verb with another environment than the process's.
func replayCommand(lookup envconfig.Lookuper) *cobra.Command {
	var event string
	cmd := &cobra.Command{
		Use:   "replay DELIVERY.json",
		Short: "Handle a saved webhook delivery and print what would be posted",
		Long: `Replay handles a saved webhook delivery as serve does and prints what would be
posted for it now. It writes nothing, and it checks no signature.

The file holds what GitHub's API gives for a delivery (its "event" and
"request"), or an object with "headers" (or "event") and "payload", or the bare
payload; then --event names the event.

Credentials are those of the verb review.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the delivery: %w", err)
			}
			named, payload, err := readDelivery(data)
			if err != nil {
				return fmt.Errorf("read the delivery %s: %w", args[0], err)
			}
			switch {
			case event == "":
				event = named
			case named != "" && named != event:
				return fmt.Errorf("--event %s: the delivery says that it is %s", event, named)
			}
			if event == "" {
				return fmt.Errorf("%s does not name its event: give --event, e.g. --event pull_request", args[0])
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			client, config, err := readClient(ctx, lookup)
			if err != nil {
				return err
			}
			jobs, err := webhook.Jobs(event, payload, config.AppID)
			if err != nil {
				return fmt.Errorf("read the delivery %s: %w", args[0], err)
			}
			if len(jobs) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "the delivery (%s) asks for nothing: it would be answered 204\n", event)
				return nil
			}
			for _, job := range jobs {
				if err := preview(ctx, client, job, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&event, "event", "", "`NAME` of the event, e.g. pull_request, when the file does not say it")
	return cmd
}

// readDelivery returns the event, if it is named, and the payload of a saved
// delivery.
func readDelivery(data []byte) (event string, payload []byte, err error) {
	type message struct {
		Headers map[string]json.RawMessage `json:"headers"`
		Payload json.RawMessage            `json:"payload"`
	}
	var saved struct {
		message
		Event   string   `json:"event"`
		Request *message `json:"request"`
	}
	if err := json.Unmarshal(data, &saved); err != nil {
		return "", nil, err
	}
	m := saved.message
	if saved.Request != nil {
		m = *saved.Request
	}
	event = saved.Event
	for name, raw := range m.Headers {
		if !strings.EqualFold(name, "X-GitHub-Event") || event != "" {
			continue
		}
		var list []string
		if json.Unmarshal(raw, &event) != nil && json.Unmarshal(raw, &list) == nil && len(list) > 0 {
			event = list[0]
		}
	}
	switch {
	case len(m.Payload) == 0 && (saved.Request != nil || len(m.Headers) > 0 || saved.Event != ""):
		return "", nil, errors.New("it has no payload")
	case len(m.Payload) == 0:
		return event, data, nil
	}
	// Some tools keep the payload as the text that it was.
	var text string
	if json.Unmarshal(m.Payload, &text) == nil {
		return event, []byte(text), nil
	}
	return event, m.Payload, nil
}
