package bot

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// An Act is what is done to one of the own threads.
type Act string

// What can be done to a thread. Nothing of what people wrote is ever touched.
const (
	ResolveThread   Act = "resolve"
	UnresolveThread Act = "unresolve"
	DeleteComment   Act = "delete" // of the App's own comment, which is the whole thread
	EditComment     Act = "edit"   // the App's own comment gets Body
	ReplyToThread   Act = "reply"  // with Body
	ReactToComment  Act = "react"  // with Reaction, which is for the next look to see
)

// The App's own reactions on its comments. They are its memory of what happened
// to a thread: GitHub keeps them, nobody else can set them, and they notify
// nobody.
const (
	ReactionGone = "HOORAY" // the mistake was gone: the thread stands for nothing any more
	ReactionSeen = "EYES"   // that people dismissed it is known and counted
)

// What became of a comment, as it is counted.
const (
	OutcomePosted    = "posted"
	OutcomeAccepted  = "accepted"  // its suggestion stands in the code
	OutcomeFixed     = "fixed"     // gone in another way
	OutcomeDismissed = "dismissed" // by people, while it stood
)

// A ThreadChange is something to do to one of the own threads. The acts are done
// in order; if GitHub forbids the first, those of Otherwise are done in their
// place.
type ThreadChange struct {
	Thread    Thread
	Acts      []ThreadAct
	Otherwise []ThreadAct
	// Outcome is counted when the change is made; "" counts nothing.
	Outcome string
}

// A ThreadAct is one act on a thread.
type ThreadAct struct {
	Do       Act
	Body     string // of an edit or a reply
	Reaction string // of a reaction, by GraphQL's name
}

// dismissed reports whether people said that the thread's mistake is none: they
// resolved it, or somebody who may write voted it down.
func (t Thread) dismissed() bool { return t.Resolved && !t.ResolvedByApp || t.VotedDown }

// spent reports whether the thread cannot stand for its mistake any more: that
// was gone, and the thread cannot be opened again.
func (t Thread) spent() bool {
	return t.Gone || t.Resolved && t.ResolvedByApp && !t.VotedDown && !t.Seen && !t.MayResolve
}

// shut reports whether nothing is open on the thread.
func (t Thread) shut() bool { return t.Resolved || t.Gone }

// answered reports whether people said something in the thread.
func (t Thread) answered() bool { return t.Replies > 0 }

// fingerprints are those of all mistakes that the thread's comment is about.
func (t Thread) fingerprints() []string {
	return append([]string{t.Fingerprint}, t.Also...)
}

// marks lists the fingerprints of everything that a comment is about, its own
// first.
func marks(c suggestions.Comment) []string {
	all := []string{c.Fingerprint}
	add := func(fs []analysis.Finding) {
		for _, f := range fs {
			if f.Fingerprint != "" && !slices.Contains(all, f.Fingerprint) {
				all = append(all, f.Fingerprint)
			}
		}
	}
	add(c.Findings)
	for _, other := range c.Copies {
		add(other.Findings)
	}
	return all
}

// pathless is what a comment's mistake keeps in a renamed file.
func pathless(c suggestions.Comment) string {
	if len(c.Findings) == 0 {
		return ""
	}
	return c.Findings[0].Pathless
}

// vanished tells which files the pull request does not touch any more: those that
// it had added or changed and that have another name now, or are as in the base.
func vanished(snapshot Snapshot) func(path string) bool {
	there := make(map[string]bool)
	for _, f := range snapshot.Files {
		there[f.Path] = true
	}
	for _, s := range snapshot.Skipped {
		there[s.Path] = true
	}
	for _, path := range snapshot.Excluded {
		there[path] = true
	}
	return func(path string) bool { return !there[path] && snapshot.Incomplete == "" }
}

// pair finds for each entry the own thread that says it already: one whose
// comment is about one of the same mistakes, best the same first one. Equal ones
// are paired by nearest line, each thread with one entry; entries that could be
// posted come first, threads without a line (outdated) last, and of two alike
// the open one and then the older one is taken. A thread on a file that vanished
// is paired with the same mistake elsewhere: the file was renamed.
func pair(entries []entry, threads []Thread, vanished func(path string) bool) map[int]*Thread {
	type candidate struct {
		entry, thread int
		cost          [4]int // lexicographic
	}
	var candidates []candidate
	for i, e := range entries {
		about := marks(e.Comment)
		for j, t := range threads {
			if t.Fingerprint == "" || t.spent() {
				continue
			}
			match := 0
			switch {
			case t.Fingerprint == e.Fingerprint:
			case slices.ContainsFunc(t.fingerprints(), func(fp string) bool { return slices.Contains(about, fp) }):
				match = 1
			case t.Pathless != "" && t.Pathless == pathless(e.Comment) && vanished(t.Path):
				match = 2
			default:
				continue
			}
			c := candidate{entry: i, thread: j, cost: [4]int{match, 0, 1 << 30, 0}}
			if e.where != inComment {
				c.cost[1] = 1
			}
			if t.Line > 0 && t.Path == e.Path {
				// A thread stands on the last line of its comment.
				c.cost[2] = max(e.Last-t.Line, t.Line-e.Last)
			}
			if t.Resolved {
				c.cost[3] = 1
			}
			candidates = append(candidates, c)
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return slices.Compare(a.cost[:], b.cost[:]) })
	paired := make(map[int]*Thread)
	used := make(map[int]bool)
	for _, c := range candidates {
		if paired[c.entry] == nil && !used[c.thread] {
			paired[c.entry], used[c.thread] = &threads[c.thread], true
		}
	}
	return paired
}

// threadChanges says what is to be done to the own threads: to those whose
// mistake is gone, those that people dismissed and those whose mistake is back.
func threadChanges(snapshot Snapshot, report check.Report, entries []entry, standing map[int]*Thread) []ThreadChange {
	stands := make(map[string]*entry, len(standing)) // by thread
	for i := range entries {
		if t := standing[i]; t != nil {
			stands[t.ID] = &entries[i]
		}
	}
	unknown := unseen(snapshot, report)
	var changes []ThreadChange
	for _, t := range snapshot.Threads {
		if t.Fingerprint == "" {
			continue
		}
		e := stands[t.ID]
		var c ThreadChange
		switch {
		case e != nil && e.ignored:
			c = ignored(t, e)
		case e != nil:
			c = standingChange(t)
		case unknown(t.Path):
			continue // it may stand: the file was not looked at
		case snapshot.Unindexed != "" && t.restsElsewhere():
			continue // it may stand: the files that show it were not read
		case twinOf(t, standing):
			c = ThreadChange{Acts: []ThreadAct{{Do: DeleteComment}}}
		default:
			c = gone(t, snapshot)
		}
		if len(c.Acts) > 0 {
			c.Thread = t
			changes = append(changes, c)
		}
	}
	return changes
}

// placeInBody matches the place of a line of a file in a comment.
var placeInBody = regexp.MustCompile("`([^`\\s]+\\.(?:py|ya?ml|json|toml)):\\d+")

// restsElsewhere reports whether the comment of a thread gives reasons that lie in
// other files.
func (t Thread) restsElsewhere() bool {
	return slices.ContainsFunc(placeInBody.FindAllStringSubmatch(t.Body, -1), func(m []string) bool { return m[1] != t.Path })
}

// unseen tells of which files it is not known what stands in them.
func unseen(snapshot Snapshot, report check.Report) func(path string) bool {
	skipped := make(map[string]bool)
	for _, list := range [][]check.Skip{snapshot.Skipped, report.Skipped} {
		for _, s := range list {
			skipped[s.Path] = true
		}
	}
	for _, path := range snapshot.Excluded {
		skipped[path] = true
	}
	return func(path string) bool { return snapshot.Incomplete != "" || skipped[path] }
}

// twinOf reports whether a thread says on the same line what an older one says:
// it was posted twice. Only one that nobody touched may be deleted.
func twinOf(t Thread, standing map[int]*Thread) bool {
	if t.shut() || t.answered() || t.Reactions > 0 || t.Line == 0 {
		return false
	}
	for _, other := range standing {
		if other.Fingerprint == t.Fingerprint && other.Path == t.Path && other.Line == t.Line && other.CommentID < t.CommentID && !other.shut() {
			return true
		}
	}
	return false
}

// standingChange is for a thread whose mistake stands.
func standingChange(t Thread) ThreadChange {
	var c ThreadChange
	switch {
	case t.dismissed():
		if !t.Resolved && t.MayResolve {
			c.Acts = append(c.Acts, ThreadAct{Do: ResolveThread})
		}
		if !t.Seen {
			c.Outcome = OutcomeDismissed
			c.Acts = append(c.Acts, ThreadAct{Do: ReactToComment, Reaction: ReactionSeen})
			c.Otherwise = []ThreadAct{{Do: ReactToComment, Reaction: ReactionSeen}}
		}
	case t.Resolved: // by the App, as it was gone; now it is back
		c.Acts = []ThreadAct{{Do: UnresolveThread}}
	}
	return c
}

// gone is for a thread whose mistake is gone: it is resolved if the App may, else
// taken back if nobody said anything, else it gets a word.
func gone(t Thread, snapshot Snapshot) ThreadChange {
	c := ThreadChange{Outcome: OutcomeFixed}
	if accepted(t, snapshot) {
		c.Outcome = OutcomeAccepted
	}
	mark := ThreadAct{Do: ReactToComment, Reaction: ReactionGone}
	fixed := "Fixed in " + code(short(snapshot.Head)) + "."
	if t.Gone || t.Seen {
		c.Outcome = "" // it is counted already
	}
	switch {
	case t.Resolved && (t.Gone || t.ResolvedByApp && !t.VotedDown), !t.Resolved && t.Told:
		return ThreadChange{} // that was seen before
	case t.Resolved:
		c.Acts = []ThreadAct{mark}
		return c
	case !t.answered() && t.Reactions == 0:
		c.Otherwise = []ThreadAct{{Do: DeleteComment}}
	case !t.answered():
		marker := Marker{Fingerprint: t.Fingerprint, Pathless: t.Pathless, Rule: t.Rule, Head: snapshot.Head, Gone: true}
		c.Otherwise = []ThreadAct{mark, {Do: EditComment, Body: fixed + "\n\n" + marker.String()}}
	default: // the mark first: a reply must not come twice
		c.Otherwise = []ThreadAct{mark, {Do: ReplyToThread, Body: fixed + "\n\n" + Marker{Head: snapshot.Head, Gone: true}.String()}}
	}
	if !t.MayResolve {
		c.Acts, c.Otherwise = c.Otherwise, nil
		return c
	}
	c.Acts = []ThreadAct{{Do: ResolveThread}}
	if t.VotedDown { // else the vote would hold when the mistake comes back
		c.Acts = append(c.Acts, mark)
	}
	return c
}

// ignored is for a thread whose rule somebody who may write had ignored.
func ignored(t Thread, e *entry) ThreadChange {
	c := ThreadChange{Outcome: OutcomeDismissed}
	if t.Seen {
		c.Outcome = ""
	}
	seen := ThreadAct{Do: ReactToComment, Reaction: ReactionSeen}
	said := "Ignored in this pull request: " + code(ruleOf(e.Comment)) + "."
	switch {
	case t.Resolved && t.Seen:
		return ThreadChange{}
	case t.Resolved:
		c.Acts = []ThreadAct{seen}
	case !t.answered() && t.Reactions == 0:
		c.Acts = []ThreadAct{{Do: DeleteComment}}
	case t.MayResolve:
		c.Acts, c.Otherwise = []ThreadAct{{Do: ResolveThread}, seen}, []ThreadAct{seen}
	case t.Seen:
		return ThreadChange{}
	case !t.answered():
		c.Acts = []ThreadAct{
			{Do: EditComment, Body: said + "\n\n" + Marker{Fingerprint: t.Fingerprint, Pathless: t.Pathless, Rule: t.Rule, Also: t.Also}.String()}, seen,
		}
	default:
		c.Acts = []ThreadAct{{Do: ReplyToThread, Body: said + "\n\n" + Marker{}.String()}, seen}
	}
	return c
}

// accepted reports whether a thread's suggestion stands in the code now: GitHub
// does not tell who pressed the button.
func accepted(t Thread, snapshot Snapshot) bool {
	want := suggested(t.Body)
	if len(want) == 0 {
		return false
	}
	for _, f := range snapshot.Files {
		if f.Path != t.Path {
			continue
		}
		lines := strings.Split(strings.ReplaceAll(f.Source, "\r\n", "\n"), "\n")
		for i := 0; i+len(want) <= len(lines); i++ {
			if slices.Equal(lines[i:i+len(want)], want) {
				return true
			}
		}
	}
	return false
}

// suggested returns the lines of a comment's suggestion, nil without one.
func suggested(body string) []string {
	var lines []string
	fence := ""
	for line := range strings.SplitSeq(strings.ReplaceAll(body, "\r\n", "\n"), "\n") {
		switch {
		case fence != "" && line == fence:
			return lines
		case fence != "":
			lines = append(lines, line)
		case strings.HasPrefix(line, "```"):
			ticks, info, _ := strings.Cut(line, "suggestion")
			if info == "" && ticks != line && strings.Trim(ticks, "`") == "" {
				fence = ticks
			}
		}
	}
	return nil
}

// Outcomes counts the comments that were posted and what became of earlier ones,
// ordered by rule.
func Outcomes(done []ThreadChange, comments []ReviewComment) []Outcome {
	var out []Outcome
	for _, c := range comments {
		out = append(out, Outcome{Rule: c.Rule, What: OutcomePosted})
	}
	for _, c := range done {
		if c.Outcome != "" {
			out = append(out, Outcome{Rule: c.Thread.Rule, What: c.Outcome})
		}
	}
	slices.SortStableFunc(out, func(a, b Outcome) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.What, b.What)) })
	return out
}

// An Outcome is what became of one comment.
type Outcome struct {
	Rule string
	What string // OutcomePosted, …
}

// String names the change for a log.
func (c ThreadChange) String() string {
	return fmt.Sprintf("%s:%d %v", c.Thread.Path, c.Thread.Line, c.Acts)
}
