package bot

import (
	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
)

// A Snapshot is everything that was read from GitHub for one job, all of one
// head. It is complete or there is an error; it never changes.
type Snapshot struct {
	Job     Job
	Owner   string // as GitHub says now
	Name    string
	Pull    int
	Title   string
	Head    string // sha of the head commit, all files below are of it
	Base    string // sha of the base branch's commit
	Tip     string // sha of the base branch's newest commit; "" if it is gone
	BaseRef string // name of the base branch
	State   string // "open" or "closed"
	Draft   bool
	HeadRef string // name of the head's branch
	MayPush bool   // the App may write to the repository
	Fork    bool   // the head lives in another repository
	// AuthorOnly says that the author forbade others to push to the fork\'s branch.
	AuthorOnly bool
	Author     string
	Files      []analysis.File // Python files that the pull request adds or changes
	// Deleted are the texts of the Python files that the pull request deletes, as
	// far as GitHub shows them: code that comes from them is moved, not new.
	Deleted    []string
	Changed    int          // files that the pull request changes, of any kind
	Skipped    []check.Skip // files that could not be read, and why
	Threads    []Thread     // own review threads
	CheckRuns  []CheckRun   // own check runs of Head, newest first
	Labels     []string     // of the pull request
	Settings   Settings     // of the base branch, over those of the owner
	SettingsIn []string     // the files that they come from, for people
	Faults     []Fault      // of these files
	Excluded   []string     // Python files that the settings leave out
	Ignored    []string     // rules that somebody who may write had ignored in this pull request
	Calls      []string     // the API calls made, by name, in order
	// Unindexed says why the rest of the repository was not read, as a clause for
	// people; "" if it was, or if nobody asked for it.
	Unindexed  string
	Gone       []string // Python files that the pull request deletes or renames
	Incomplete string   // why the snapshot is not the whole pull request, "" if it is
	// URL is the repository's address for people, e.g.
	// https://github.com/owner/name; "" when it was not read, which is only so
	// when the pull request touches no Python file.
	URL string
}

// A Thread is one of the bot's own review threads.
type Thread struct {
	ID          string // GraphQL node id of the thread
	CommentID   int64  // REST id of its first comment
	Node        string // GraphQL node id of its first comment
	Path        string
	Line        int // head line, 0 when outdated
	Outdated    bool
	Resolved    bool
	Fingerprint string // from the hidden marker
	Pathless    string // the same without the path; "" in old comments
	Rule        string
	Also        []string // fingerprints of what else the comment is about
	Body        string
	Replies     int // comments behind the first
	Reactions   int // of others than the App
	// ResolvedByApp says that the App resolved the thread and no person did.
	ResolvedByApp bool
	// MayResolve says that the App may resolve and unresolve the thread.
	MayResolve bool
	// VotedDown says that somebody who may write voted the comment down.
	VotedDown bool
	// Gone and Seen are the App's own marks: ReactionGone and ReactionSeen.
	Gone, Seen bool
	// Told says that the App said in the thread that the mistake is gone.
	Told bool
}

// A CheckRun is one of the bot's own check runs.
type CheckRun struct {
	ID         int64
	Status     string // "queued", "in_progress", "completed"
	Conclusion string
	ExternalID string
	Head       string
	Title      string
	Summary    string
}
