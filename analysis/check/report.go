package check

import "github.com/dtypebot/dtypebot/analysis"

// A Skip is a file that was not analysed, and why.
type Skip struct {
	Path   string
	Reason string
}

// A Report is what the analysis found.
type Report struct {
	// Findings are those that the diff brings in, by path and position.
	Findings []analysis.Finding
	// Known counts findings that stood in the base already, Suppressed those
	// that a comment in the code silences.
	Known, Suppressed int
	// Files counts the files that were analysed.
	Files   int
	Skipped []Skip
	// Raises lists, per path, the operations that PyTorch refuses under the
	// assignments of dtypes that the evidence makes plausible, as opaque keys
	// that do not depend on lines. A fix must not add a key.
	Raises map[string][]string
	// Signs are the signs of half and double precision in the touched files.
	Signs analysis.Signs
}

// Options steer a run. The zero value runs every rule that is not a preview.
type Options struct {
	// Rules are the rules to run.
	Rules []*analysis.Rule
}
