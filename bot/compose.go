package bot

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// GitHub's limits, from its REST documentation of reviews and check runs. All
// are counted in characters there and in bytes here, which is never more.
const (
	MaxBody        = 65_536
	MaxSummary     = 65_535
	MaxTitle       = 255
	MaxAnnotations = 50 // of one request
)

// maxPossible bounds the folded list of possible mistakes.
const maxPossible = 50

// Why a mistake stands in the check run and not in a comment.
const (
	inComment   = "comment"
	asidePath   = "here only: test, script or example"
	asideDraft  = "annotation: draft"
	asideCap    = "annotation: more than %d"
	asideOnly   = "annotation"
	asideAnchor = "annotation: outside the lines of the diff"

	asideDismissed = "dismissed"
)

// An entry is one mistake and where it is said.
type entry struct {
	suggestions.Comment
	where string
	// post says that it becomes a new comment of this review; the others are
	// there already or are said elsewhere.
	post bool
	// ignored says that somebody who may write had its rules ignored.
	ignored bool
}

// Compose decides what to say: which mistakes become comments, which are said
// in the check run, and what stands already. It is pure. Two calls for one head
// whose threads hold the first call's comments give the second time no comments
// and the same check run, marked Unchanged.
func Compose(snapshot Snapshot, report check.Report, plan suggestions.Plan, config Config) Review {
	entries, possible, changes := sortOut(snapshot, report, plan, config)
	review := Review{
		Owner:   snapshot.Owner,
		Name:    snapshot.Name,
		Pull:    snapshot.Pull,
		Head:    snapshot.Head,
		Threads: changes,
	}
	link := func(path string, line int) string {
		if snapshot.URL == "" {
			return ""
		}
		return blobURL(snapshot.URL, snapshot.Head, path, line, line)
	}
	for _, e := range entries {
		if !e.post {
			continue
		}
		marker := Marker{Fingerprint: e.Fingerprint, Pathless: pathless(e.Comment), Rule: ruleOf(e.Comment), Head: snapshot.Head, Also: also(e.Comment)}
		body := strings.TrimRight(config.markdown(e.Comment, link), "\n") + "\n\n" + marker.String()
		c := ReviewComment{
			Path:        e.Path,
			Line:        e.Last,
			Body:        Cut(body, MaxBody),
			Fingerprint: e.Fingerprint,
			Rule:        marker.Rule,
		}
		if e.First < e.Last { // equal lines are refused
			c.StartLine = e.First
		}
		review.Comments = append(review.Comments, c)
	}
	review.Body = reviewBody(snapshot, entries, config)
	review.Check = checkRun(snapshot, report, entries, possible, config)
	return review
}

// sortOut gives each mistake its place, strongest first, and the possible ones,
// and says what is to be done to the threads that stand.
func sortOut(snapshot Snapshot, report check.Report, plan suggestions.Plan, config Config) (entries []entry, possible []suggestions.Comment, changes []ThreadChange) {
	possible = append(possible, plan.Possible...)
	for _, c := range plan.Comments {
		if c.Confidence().Rank() < cmp.Or(snapshot.Settings.MinConfidence, analysis.Likely).Rank() {
			possible = append(possible, c)
			continue
		}
		entries = append(entries, entry{Comment: c})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return strongestFirst(a.Comment, b.Comment) })
	slices.SortStableFunc(possible, strongestFirst)

	files := make(map[string]analysis.File, len(snapshot.Files))
	for _, f := range snapshot.Files {
		files[f.Path] = f
	}
	for i := range entries {
		e := &entries[i]
		e.ignored = ignores(snapshot, e.Comment)
		switch {
		case aside(e.Path) && e.Confidence() != analysis.Certain:
			e.where = asidePath
		case snapshot.Draft && snapshot.Settings.Drafts != DraftsReview:
			e.where = asideDraft
		case snapshot.Settings.CheckOnly:
			e.where = asideOnly
		case !e.Anchored || !anchored(files[e.Path], e.First, e.Last):
			e.where = asideAnchor
		default:
			e.where = inComment
		}
	}
	old := vanished(snapshot)
	standing := pair(entries, snapshot.Threads, old)
	most := cmp.Or(snapshot.Settings.MaxComments, config.maxComments())
	left := most
	for i := range entries {
		e := &entries[i]
		thread := standing[i]
		switch {
		case e.ignored:
			e.where = asideDismissed
		case thread != nil && thread.dismissed():
			e.where = asideDismissed
			left-- // as when it was posted, so that nothing moves up and is posted late
		case thread != nil:
			e.where = inComment
			left--
		case e.where != inComment:
		case left <= 0:
			e.where = fmt.Sprintf(asideCap, most)
		default:
			e.post = true
			left--
		}
	}
	// A thread stands on even if its mistake is less sure than it was.
	maybe := make([]entry, len(possible))
	for i, c := range possible {
		maybe[i] = entry{Comment: c}
	}
	rest := slices.DeleteFunc(slices.Clone(snapshot.Threads), func(t Thread) bool {
		for _, s := range standing {
			if s.ID == t.ID {
				return true
			}
		}
		return false
	})
	n := len(entries)
	for i, t := range pair(maybe, rest, old) {
		standing[n+i] = t
	}
	return entries, possible, threadChanges(snapshot, report, append(slices.Clone(entries), maybe...), standing)
}

// also lists what else a comment is about than its first finding; bounded, since
// it goes into the hidden marker.
func also(c suggestions.Comment) []string {
	const most = 20
	all := marks(c)[1:]
	return all[:min(len(all), most)]
}

// ignores reports whether all rules of a comment are ignored in this pull
// request.
func ignores(snapshot Snapshot, c suggestions.Comment) bool {
	return len(c.Findings) > 0 && !slices.ContainsFunc(c.Findings, func(f analysis.Finding) bool {
		return !slices.Contains(snapshot.Ignored, f.Rule)
	})
}

// strongestFirst orders by severity, confidence, path and line.
func strongestFirst(a, b suggestions.Comment) int {
	return cmp.Or(
		cmp.Compare(b.Severity().Rank(), a.Severity().Rank()),
		cmp.Compare(b.Confidence().Rank(), a.Confidence().Rank()),
		cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.First, b.First),
		cmp.Compare(a.Fingerprint, b.Fingerprint),
	)
}

// anchored reports whether GitHub takes a comment on these head lines: they must
// lie in one hunk.
func anchored(file analysis.File, first, last int) bool {
	if file.Path == "" || first < 1 || last < first {
		return false
	}
	if file.Whole {
		return true
	}
	return slices.ContainsFunc(file.Hunks, func(h analysis.Hunk) bool {
		return h.Start <= first && last <= h.End
	})
}

// aside reports whether a path is a test, a script or an example: code where a
// mixed dtype seldom costs anybody anything.
func aside(file string) bool {
	dir, base := path.Split(strings.ToLower(file))
	for _, d := range strings.Split(strings.TrimSuffix(dir, "/"), "/") {
		switch d {
		case "test", "tests", "testing", "script", "scripts", "tool", "tools", "example", "examples", "notebook", "notebooks":
			return true
		}
		if strings.HasPrefix(d, "demo") {
			return true
		}
	}
	name := strings.TrimSuffix(base, path.Ext(base))
	for _, prefix := range []string{"test_", "demo", "convert", "export"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, "_test") || name == "conftest" || path.Ext(base) == ".ipynb"
}

// ruleOf is the rule of the comment's first finding.
func ruleOf(c suggestions.Comment) string {
	if len(c.Findings) == 0 {
		return ""
	}
	return c.Findings[0].Rule
}

// reviewBody is the short text above the comments; "" without comments.
func reviewBody(snapshot Snapshot, entries []entry, config Config) string {
	posted, buttons, elsewhere := 0, 0, 0
	files := make(map[string]bool)
	for _, e := range entries {
		switch {
		case e.post:
			posted++
			files[e.Path] = true
			if e.Suggestion != nil && e.Suggestion.Safety == analysis.Safe {
				buttons++
			}
		case e.where != inComment && e.where != asideDismissed:
			elsewhere++
		}
	}
	if posted == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s.", count(posted, "dtype mistake"), count(len(files), "file"))
	if buttons > 0 {
		b.WriteString(" Each suggestion was applied and analysed again before it was posted.")
	}
	if elsewhere > 0 {
		fmt.Fprintf(&b, " %s in the check run `%s`.", sentence(elsewhere, "more is listed", "more are listed"), CheckName)
	}
	b.WriteString("\n\n" + Marker{Head: snapshot.Head}.String())
	return b.String()
}

// count is "1 file", "2 files".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sentence is "1 <one>" or "<n> <many>".
func sentence(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
