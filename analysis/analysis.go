package analysis

import (
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Hunk is a range of head lines that the diff shows. GitHub accepts comments
// on these lines only, and a comment may not span two hunks.
type Hunk struct {
	Start, End int   // 1-based, inclusive; End < Start when the hunk only deletes
	New        []int // the lines that the diff adds, ascending
}

// A File is one Python file of a pull request: its text at the head and what
// the diff says of it.
type File struct {
	Path   string
	Source string
	// Base is the text before the change; it is meaningless when Added is set.
	Base string
	// Added says that the file did not exist before, so every line is new.
	Added bool
	// Hunks are the hunks of the diff in order. With Whole set there is no
	// diff: every line counts as new and as shown.
	Hunks []Hunk
	Whole bool
}

// Severity is the rule's: what the mistake costs.
type Severity string

// The severities, strongest first.
const (
	High   Severity = "high"
	Medium Severity = "medium"
	Low    Severity = "low"
)

// Confidence is the evidence's: how sure the analyser is. Certain and likely
// findings are posted, possible ones are only counted and listed.
type Confidence string

// The confidences, strongest first.
const (
	Certain  Confidence = "certain"
	Likely   Confidence = "likely"
	Possible Confidence = "possible"
)

// Rank orders confidences: certain 3, likely 2, possible 1, others 0.
func (c Confidence) Rank() int {
	switch c {
	case Certain:
		return 3
	case Likely:
		return 2
	case Possible:
		return 1
	}
	return 0
}

// Rank orders severities: high 3, medium 2, low 1, others 0.
func (s Severity) Rank() int {
	switch s {
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	}
	return 0
}

// Safety says what a fix may change besides mending the mistake.
type Safety string

// Safe fixes are offered as one-click suggestions. Unsafe and display fixes are
// shown as code; display fixes are never applied by any command.
const (
	Safe    Safety = "safe"
	Unsafe  Safety = "unsafe"
	Display Safety = "display"
)

// An Edit replaces the bytes of a span by New. An empty span inserts.
type Edit struct {
	Span python.Span
	New  string
}

// A Fix is one way to mend a finding: edits of the finding's file that do not
// overlap, meant to be applied together.
type Fix struct {
	Title  string
	Safety Safety
	Edits  []Edit
}

// A Form is an alternative that is shown as code under the suggestion: whole
// lines that would stand in place of lines First to Last.
type Form struct {
	Title       string
	First, Last int
	Lines       []string
}

// A Reason is one step of the chain that explains a finding.
type Reason struct {
	Path string
	Line int // 1-based
	Text string
}

// A Finding is one mistake at one place; it is independent of all others.
type Finding struct {
	Rule        string
	Severity    Severity
	Confidence  Confidence
	Path        string
	Scope       string      // qualified name of the enclosing definition, "" at module level
	At          python.Span // what is wrong; the comment stands on its lines
	Start, End  Position    // of At
	Message     string      // Markdown, one or two short paragraphs, no rule name
	Because     []Reason    // the chain of reasons, cause first
	Fix         *Fix        // nil when there is no proven way to mend it
	Forms       []Form      // other ways, shown as code
	Fingerprint string      // line-independent identity, set by the driver
	Pathless    string      // the same without the path: what a renamed file keeps

	// Ops are the operations the finding is about: the spans of the
	// expressions that refuse the dtypes. Two findings that share one belong
	// together when their fixes need each other.
	Ops []python.Span
}

// A Position is a 1-based line and a 1-based column in UTF-8 bytes.
type Position struct{ Line, Column int }

// A Rule is one check: a value, not an interface. Its file, its fixture, its
// page and its suppression key bear its name.
type Rule struct {
	Name     string // kebab-case
	Doc      string // first line is a title; then what, why, evidence, fix, when silent, versions
	Severity Severity
	// Preview rules are in the catalogue but off.
	Preview bool
	Run     func(*Pass)
}

// A Pass is what a rule sees of one file, and how it reports.
type Pass struct {
	Path  string
	Rule  *Rule
	Tree  *python.File
	Facts *interp.Facts
	Signs Signs
	// Repository is nil where only the file is known.
	Repository *Repository
	report     func(Finding)
}

// Signs are what the touched files show about the repository's use of dtypes.
type Signs struct {
	Half   []Reason // strong signs of bfloat16 or float16
	Double []Reason // strong signs of float64
}

// A Repository is what the files of the repository that the pass does not look
// at say of this one.
type Repository struct {
	// Contracts is what they say of the roots of the file's facts.
	Contracts map[*dtype.Root]Contract
	// Covered reports whether some caller reaches a function, by its qualified
	// name, under autocast.
	Covered func(scope string) bool
	// Seen says that other files of the repository were looked at, all of them: if
	// Signs are empty, none of them shows another precision than the default one.
	Seen bool
}

// A Contract is what other places say of the dtype of one root.
type Contract struct {
	// Type is the dtype that all of them agree on, Unknown if they do not.
	Type    dtype.Type
	Dim     bool // it is a tensor with at least one dimension
	Because []Reason
	// Passed is what single callers pass to a parameter.
	Passed []Passed
}

// A Passed is what one caller passes to a parameter, and why that is known.
type Passed struct {
	Type    dtype.Type
	Because []Reason
}

// NewPass returns a pass that hands findings to report.
func NewPass(path string, rule *Rule, tree *python.File, facts *interp.Facts, signs Signs, report func(Finding)) *Pass {
	return &Pass{Path: path, Rule: rule, Tree: tree, Facts: facts, Signs: signs, report: report}
}

// Report reports a finding. Rule, path, severity (the rule's, when empty) and
// positions are filled in.
func (p *Pass) Report(f Finding) {
	f.Rule, f.Path = p.Rule.Name, p.Path
	if f.Severity == "" {
		f.Severity = p.Rule.Severity
	}
	f.Start.Line, f.Start.Column = p.Tree.Position(f.At.Start)
	last := f.At.End
	if last > f.At.Start {
		last--
	}
	f.End.Line, f.End.Column = p.Tree.Position(last)
	f.End.Column++ // just past the last byte
	p.report(f)
}

// Reason returns a reason at a place of the pass's file.
func (p *Pass) Reason(at python.Span, text string) Reason {
	return Reason{Path: p.Path, Line: p.Tree.Line(at.Start), Text: text}
}
