// Command dtypebot reviews pull requests of PyTorch code for mixed tensor
// dtypes. It is the GitHub App (serve), the same bot against a GitHub simulated
// on this machine (demo), and the analyser for the command line (check).
//
// It holds verbs and flags only; everything it does lives in the packages.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the release build.
var version = "dev"

// exitCode is an error that carries the process's exit status; its message, if
// any, was already printed.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	root := newRoot()
	if err := root.Execute(); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "dtypebot:", err)
		os.Exit(2)
	}
}

// newRoot returns the command with all its verbs. Each verb lives in a file of
// its own name.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "dtypebot",
		Short:         "Reviews pull requests of PyTorch code for mixed tensor dtypes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, verb := range verbs {
		root.AddCommand(verb())
	}
	return root
}

// verbs are the constructors of the verbs, in the order of the help text.
var verbs = []func() *cobra.Command{
	newServe,
	newDemo,
	newCheck,
	newAudit,
	newInfer,
	newRules,
	newReview,
	newReplay,
	newQueue,
	newDoctor,
	newVersion,
	newAnalyseChild,
}
