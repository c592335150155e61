package check

import (
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/survey"
)

// A Skip is a file that was not analysed, and why.
type Skip struct {
	Path   string
	Reason string
}

// A Note is a remark on one place of a file.
type Note struct {
	Path string
	Line int // 1-based, 0 if it is about the whole file
	Text string
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
	// Notes are remarks on the run that are no findings: a suppression that
	// names an unknown rule, a file that was evaluated only in part, what was
	// left alone inside a file.
	Notes []Note
	// Signs are the signs of half and double precision: those in the touched
	// files before those in the rest of the repository.
	Signs analysis.Signs
	// Unifiers are the functions of the files that give several tensors one
	// dtype.
	Unifiers []survey.Unifier
	// Near counts the other files of the repository that told something of those,
	// and Indexed is the revision that they were read at; "" without an index.
	Near    int
	Indexed string
	// Torch is the release of PyTorch whose facts the findings rest on ("2.15"), ""
	// if they rest on what holds for all that were measured.
	Torch string
	// Surveys are those of the analysed files, by path, if Options ask for them.
	Surveys []*survey.Survey
}

// Options steer a run. The zero value runs every rule that is not a preview.
type Options struct {
	// Rules are the rules to run, previews among them; nil means all of the
	// catalogue that are not previews.
	Rules []*analysis.Rule
	// Deleted are the texts of the Python files that the change deletes. Code
	// that comes from them is moved, not new.
	Deleted []string
	// FileBudget is how long one file may take, 0 for the default of ten
	// seconds. A file that takes longer is skipped, and the report says so.
	FileBudget time.Duration
	// Survey asks for what the files show beside their mistakes.
	Survey bool
	// Tuning is what the repository says of itself; see Tuned, which applies its
	// rules.
	Tuning Tuning
	// Project is what is known of the rest of the repository; nil if nothing is,
	// and then each file is judged by itself. Where it holds files of the change,
	// the change's texts count.
	Project *project.Index
	// Cache, if not nil, makes further runs with the same rules cheap.
	Cache *Cache
}
