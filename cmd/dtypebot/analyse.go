package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/bot/analyser"
)

// newAnalyseChild is the other side of analyser.Child; serve and demo start it.
func newAnalyseChild() *cobra.Command {
	var l analyser.Limits
	cmd := &cobra.Command{
		Use:    analyser.Verb,
		Short:  "Analyse the request on standard input; started by serve and demo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := analyser.Confine(l); err != nil {
				return err
			}
			return analyser.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().Int64Var(&l.Memory, "memory", 0, "`BYTES` of memory, 0 for no limit")
	cmd.Flags().DurationVar(&l.CPU, "cpu", time.Duration(0), "processor `TIME` of all cores, 0 for no limit")
	return cmd
}
