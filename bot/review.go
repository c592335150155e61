package bot

// A Review is everything that will be written to GitHub for one job, as data.
type Review struct {
	Owner, Name string
	Pull        int
	Head        string
	Body        string          // of the review; "" when there are no new comments
	Comments    []ReviewComment // only new ones
	Threads     []ThreadChange  // what happens to those that stand
	Check       Check
}

// A ReviewComment is one comment of the review, on the head side of the diff.
type ReviewComment struct {
	Path        string
	StartLine   int // 0 for a comment on one line
	Line        int
	Body        string // Markdown with the hidden marker
	Fingerprint string
	Rule        string // of its first finding
}

// A Check is the check run that reports the state.
type Check struct {
	Name        string
	ExternalID  string
	Existing    int64  // id of the run to update; 0 creates one
	Conclusion  string // "success", "neutral", "failure" or "skipped"
	Title       string // at most 255 characters
	Summary     string // at most 65,535 characters
	Text        string
	Annotations []Annotation
	Actions     []Action // at most three
	// Unchanged says that an own completed run of this head already says this.
	Unchanged bool
}

// An Action is a button of the check run. GitHub takes 20, 40 and 20
// characters.
type Action struct{ Label, Description, Identifier string }

// The identifiers of the buttons.
const (
	ActionRerun = "rerun"
	ActionFix   = "fix"
)

// An Annotation is one annotation of the check run.
type Annotation struct {
	Path               string
	StartLine, EndLine int
	Level              string // "notice", "warning" or "failure"
	Title              string
	Message            string
}
