package bot

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// The conclusions that the bot gives.
const (
	success = "success"
	neutral = "neutral"
	failure = "failure" // only by a repository's own settings
	skipped = "skipped"
)

// checkRun says what was found, what was looked at and what was not.
func checkRun(snapshot Snapshot, report check.Report, entries []entry, possible []suggestions.Comment, config Config) Check {
	run := Check{
		Name:       CheckName,
		ExternalID: ExternalID(snapshot.Job),
		Conclusion: success,
	}
	open, dismissed, fatal := 0, 0, false
	for _, e := range entries {
		if e.where == asideDismissed {
			dismissed++
			continue
		}
		open++
		least := snapshot.Settings.FailOn
		fatal = fatal || least != "" && e.where != asidePath && e.Severity().Rank() >= least.Rank()
		if e.annotated() && len(run.Annotations) < maxAnnotated {
			run.Annotations = append(run.Annotations, annotation(e.Comment))
		}
	}
	missed, _ := setAside(snapshot, report)
	partial := len(missed) > 0 || snapshot.Incomplete != ""
	switch {
	case fatal:
		run.Conclusion = failure
	case open > 0, partial, len(snapshot.Faults) > 0:
		run.Conclusion = neutral
	}
	run.Title = shorten(checkTitle(open, dismissed, report.Files, len(missed), snapshot), MaxTitle)
	run.Summary = summary(snapshot, report, entries, possible, missed, dismissed, config)
	run.Actions = actions(snapshot, entries)
	run.settle(snapshot)
	return run
}

// actions are the buttons: a new look, and, where the App may write to the
// branch and there is something proven, one commit with all of it.
func actions(snapshot Snapshot, entries []entry) []Action {
	list := []Action{{Label: "Re-run", Description: "Look at this pull request again", Identifier: ActionRerun}}
	n := 0
	for _, e := range entries {
		if e.where != asideDismissed && e.Suggestion != nil && e.Suggestion.Safety == analysis.Safe {
			n++
		}
	}
	if n > 0 && snapshot.MayPush && !snapshot.Fork {
		list = append(list, Action{Label: "Fix all", Description: fmt.Sprintf("Commit %s", sentence(n, "proven fix", "proven fixes")), Identifier: ActionFix})
	}
	return list
}

// Declined says in the check run that the pull request is not looked at, and
// why. It is pure.
func Declined(snapshot Snapshot, reason string, config Config) Review {
	var b strings.Builder
	fmt.Fprintf(&b, "This pull request is not looked at: %s.\n", inert(oneLine(reason)))
	writeSettings(&b, snapshot)
	if config.Engine != "" {
		fmt.Fprintf(&b, "\n%s %s\n", CheckName, code(config.Engine))
	}
	run := Check{
		Name:       CheckName,
		ExternalID: ExternalID(snapshot.Job),
		Conclusion: skipped,
		Title:      shorten("Not looked at: "+oneLine(reason), MaxTitle),
		Summary:    Cut(b.String(), MaxSummary),
	}
	run.settle(snapshot)
	return Review{Owner: snapshot.Owner, Name: snapshot.Name, Pull: snapshot.Pull, Head: snapshot.Head, Check: run}
}

// maxFaults bounds the list of faults of the settings.
const maxFaults = 20

// writeSettings says where the settings come from and what is wrong with them.
func writeSettings(b *strings.Builder, snapshot Snapshot) {
	if len(snapshot.SettingsIn) > 0 {
		var names []string
		for _, n := range snapshot.SettingsIn {
			names = append(names, code(n))
		}
		fmt.Fprintf(b, "\n**Settings:** %s of the base branch.", strings.Join(names, ", "))
		if v := snapshot.Settings.Tuning.Torch; v != "" {
			fmt.Fprintf(b, " They name PyTorch %s.", v)
		}
		b.WriteString("\n")
	}
	if len(snapshot.Faults) > 0 {
		b.WriteString("\n**Faults of the settings** (what they are about keeps its default):\n\n")
	}
	for i, f := range snapshot.Faults {
		if i == maxFaults {
			fmt.Fprintf(b, "- … and %d more\n", len(snapshot.Faults)-i)
			break
		}
		at := f.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		fmt.Fprintf(b, "- %s: %s\n", code(at), inert(oneLine(shorten(f.Text, 300))))
	}
}

// setAside splits what was not looked at: Python files that should have been,
// and notebooks and stub files, which never are.
func setAside(snapshot Snapshot, report check.Report) (missed, never []check.Skip) {
	for _, s := range append(append([]check.Skip(nil), snapshot.Skipped...), report.Skipped...) {
		if path.Ext(s.Path) == ".py" {
			missed = append(missed, s)
		} else {
			never = append(never, s)
		}
	}
	return missed, never
}

// maxRemarks bounds the list of remarks.
const maxRemarks = 50

// remarks says what was left alone on purpose, and what is odd about the run.
func remarks(snapshot Snapshot, report check.Report) string {
	_, never := setAside(snapshot, report)
	var lines []string
	for _, s := range never {
		lines = append(lines, fmt.Sprintf("- %s: %s, not looked at\n", code(shorten(s.Path, 200)), inert(oneLine(shorten(s.Reason, 200)))))
	}
	for _, n := range report.Notes {
		where := code(shorten(n.Path, 200))
		if n.Line > 0 {
			where = place(snapshot, n.Path, n.Line, n.Line)
		}
		lines = append(lines, fmt.Sprintf("- %s: %s\n", where, inert(oneLine(shorten(n.Text, 300)))))
	}
	if len(lines) == 0 {
		return ""
	}
	if n := len(lines) - maxRemarks; n > 0 {
		lines = append(lines[:maxRemarks], fmt.Sprintf("- … and %d more\n", n))
	}
	return "\n**Remarks:**\n\n" + strings.Join(lines, "")
}

// Excuse says in the check run that the pull request could not be reviewed. It
// is neutral: the fault is the bot's, or GitHub's. It is pure.
func Excuse(snapshot Snapshot, reason string, config Config) Review {
	// Behind the first line of a panic comes its stack, which is for the log.
	reason, _, _ = strings.Cut(strings.TrimSpace(reason), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "This pull request could not be reviewed at %s: %s. Re-run this check to try again; a push does too.\n",
		code(short(snapshot.Head)), strings.TrimSuffix(inert(oneLine(shorten(reason, 300))), "."))
	if config.Engine != "" {
		fmt.Fprintf(&b, "\n%s %s\n", CheckName, code(config.Engine))
	}
	run := Check{
		Name:       CheckName,
		ExternalID: ExternalID(snapshot.Job),
		Conclusion: neutral,
		Title:      "Could not be reviewed",
		Summary:    b.String(),
	}
	run.settle(snapshot)
	return Review{Owner: snapshot.Owner, Name: snapshot.Name, Pull: snapshot.Pull, Head: snapshot.Head, Check: run}
}

// ExternalID is what the bot's check runs of a pull request carry. It leads back
// to the pull request when somebody asks for a re-run: for forks GitHub does
// not name it.
func ExternalID(job Job) string {
	return fmt.Sprintf("pr=%d;repo=%d;v=1", job.Pull, job.Repository)
}

// ParseExternalID reads what ExternalID wrote; unknown fields are left to later
// versions.
func ParseExternalID(id string) (pull int, repository int64, ok bool) {
	for field := range strings.SplitSeq(id, ";") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "pr":
			pull, _ = strconv.Atoi(value)
		case "repo":
			repository, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return pull, repository, pull > 0
}

// settle finds the own check run that is to be updated, or finds that it says
// this already. A completed run is not reopened; a new one of the same name
// takes its place. When a person asked for a re-run there is always something
// to write, since GitHub waits for an answer.
func (c *Check) settle(snapshot Snapshot) {
	c.Existing, c.Unchanged = 0, false
	for _, run := range snapshot.CheckRuns { // newest first
		if run.ExternalID != c.ExternalID || run.Head != snapshot.Head {
			continue
		}
		if run.Status != "completed" {
			c.Existing = run.ID
			return
		}
		// What was said of the head with the index stands against a look without it.
		knew := snapshot.Unindexed != "" && !strings.Contains(run.Summary, notRead)
		c.Unchanged = !snapshot.Job.Rerun && (knew || run.Conclusion == c.Conclusion &&
			run.Title == c.Title && sameText(run.Summary, c.Summary))
		return // older runs are history
	}
}

// sameText compares Markdown as it comes back from GitHub.
func sameText(a, b string) bool {
	clean := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return clean(a) == clean(b)
}

func checkTitle(open, dismissed, files, skipped int, snapshot Snapshot) string {
	var title string
	switch {
	case open > 0 && files > 0:
		title = fmt.Sprintf("%s in %s", count(open, "dtype mistake"), count(files, "Python file"))
	case open > 0:
		title = count(open, "dtype mistake")
	case files > 0 && dismissed > 0:
		title = fmt.Sprintf("No open dtype mistakes in %s, %d dismissed", count(files, "Python file"), dismissed)
	case files > 0:
		title = "No dtype mistakes in " + count(files, "Python file")
	case skipped > 0:
		return count(skipped, "Python file") + " not looked at"
	case snapshot.Incomplete != "":
		return "Not looked at"
	case len(snapshot.Excluded) > 0:
		title = "No Python files to look at"
	default:
		return "No Python files changed"
	}
	if n := len(snapshot.Faults); n > 0 {
		title += ", " + count(n, "fault") + " in the settings"
	}
	switch {
	case skipped > 0:
		title += fmt.Sprintf(", %d not looked at", skipped)
	case snapshot.Incomplete != "":
		title += ", not all files looked at"
	}
	return title
}

// maxAnnotated bounds the annotations of one check run: with more nobody reads
// any. The summary's table has the rest.
const maxAnnotated = 500

// annotated reports whether the mistake is worth a comment and could not become
// one.
func (e entry) annotated() bool {
	return !e.post && e.where != inComment && e.where != asideDismissed && e.where != asidePath
}

// annotation says a mistake where no comment can stand.
func annotation(c suggestions.Comment) Annotation {
	a := Annotation{
		Path:      c.Path,
		StartLine: max(c.First, 1),
		EndLine:   max(c.Last, c.First, 1),
		Level:     "notice",
		Title:     ruleOf(c),
	}
	if c.Severity() == analysis.High {
		a.Level = "warning"
	}
	var text strings.Builder
	for i, f := range c.Findings {
		if i > 0 {
			text.WriteString("\n\n")
		}
		text.WriteString(plain(f.Message))
	}
	if c.Suggestion != nil {
		text.WriteString("\n\nIn place of these lines:\n" + strings.Join(c.Suggestion.Replacement, "\n"))
	}
	a.Message = shorten(text.String(), 60_000) // GitHub takes 64 KB
	return a
}

// Refuse moves comments that GitHub refused into the check run: an annotation
// each, and a line in the summary. It recomputes whether the run has anything
// new to say. why is the reason, if it is known. It changes nothing but the review's check.
func (r *Review) Refuse(snapshot Snapshot, refused []ReviewComment, why string) {
	if len(refused) == 0 {
		return
	}
	var list strings.Builder
	if why != "" {
		why = " (" + inert(oneLine(shorten(why, 200))) + ")"
	}
	fmt.Fprintf(&list, "GitHub did not accept %s%s:\n\n", count(len(refused), "comment"), why)
	for _, c := range refused {
		first := c.Line
		if c.StartLine > 0 {
			first = c.StartLine
		}
		if len(r.Check.Annotations) < maxAnnotated {
			r.Check.Annotations = append(r.Check.Annotations, Annotation{
				Path:      c.Path,
				StartLine: first,
				EndLine:   c.Line,
				Level:     "warning",
				Title:     "dtype mistake",
				Message:   shorten(plain(withoutMarker(c.Body)), 60_000),
			})
		}
		fmt.Fprintf(&list, "- %s\n", place(snapshot, c.Path, first, c.Line))
	}
	r.Check.Summary = Cut(list.String()+"\n"+r.Check.Summary, MaxSummary)
	r.Check.settle(snapshot)
}

// withoutMarker returns a body without its last line, the hidden marker.
func withoutMarker(body string) string {
	if _, ok := ParseMarker(body); !ok {
		return body
	}
	body = strings.TrimRight(body, " \t\r\n")
	return strings.TrimRight(body[:max(strings.LastIndexByte(body, '\n'), 0)], " \t\r\n")
}

// place is a link to lines at the head, e.g. [`a.py:12`](…).
func place(snapshot Snapshot, path string, first, last int) string {
	text := code(fmt.Sprintf("%s:%d", path, first))
	if snapshot.URL == "" {
		return text
	}
	return fmt.Sprintf("[%s](%s)", text, blobURL(snapshot.URL, snapshot.Head, path, first, last))
}

// what is the first paragraph of the comment's first finding.
func what(c suggestions.Comment) string {
	if len(c.Findings) == 0 {
		return ""
	}
	text := firstParagraph(shorten(c.Findings[0].Message, 2_000))
	for i, other := range c.Copies {
		switch {
		case i == 0:
			text += fmt.Sprintf(" Also at line %d", other.First)
		case i == 20:
			return text + " and more."
		default:
			text += fmt.Sprintf(", %d", other.First)
		}
	}
	if len(c.Copies) > 0 {
		text += "."
	}
	return text
}

// summary is the check run's text. Its sections are written in order of weight
// and each gives way, line by line, to what must stand behind it.
func summary(snapshot Snapshot, report check.Report, entries []entry, possible []suggestions.Comment, skipped []check.Skip, dismissed int, config Config) string {
	looked := lookedAt(snapshot, report, skipped, dismissed, config)

	var b strings.Builder
	room := MaxSummary - len(looked) - 200 // for the closing words below
	left := 0
	for i, e := range entries {
		row := fmt.Sprintf("| %s | %s | %s | %s |\n", e.Severity(), cell(place(snapshot, e.Path, e.First, e.Last)), cell(what(e.Comment)), e.where)
		if i == 0 {
			row = "| Severity | Place | What | Where |\n|---|---|---|---|\n" + row
		}
		if b.Len()+len(row) > room {
			left = len(entries) - i
			break
		}
		b.WriteString(row)
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%s.\n", sentence(left, "more did not fit here", "more did not fit here"))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	if list := possibleList(snapshot, possible, room-b.Len()); list != "" {
		b.WriteString(list + "\n")
	}
	b.WriteString(looked)
	return Cut(b.String(), MaxSummary)
}

// possibleList is the folded list of what is too uncertain to be posted; "" when
// there is nothing or no room.
func possibleList(snapshot Snapshot, possible []suggestions.Comment, room int) string {
	if len(possible) == 0 {
		return ""
	}
	head := fmt.Sprintf("<details><summary>%s, not certain enough for a comment</summary>\n\n", count(len(possible), "possible mistake"))
	const foot = "\n</details>\n"
	var b strings.Builder
	b.WriteString(head)
	room -= len(foot) + 40
	for i, c := range possible {
		line := fmt.Sprintf("- %s %s\n", place(snapshot, c.Path, c.First, c.Last), what(c))
		if i == maxPossible || b.Len()+len(line) > room {
			fmt.Fprintf(&b, "- … and %d more\n", len(possible)-i)
			break
		}
		b.WriteString(line)
	}
	if b.Len() > room+40 {
		return ""
	}
	b.WriteString(foot)
	return b.String()
}

// maxSkipped bounds the list of files that were not looked at.
const maxSkipped = 100

// lookedAt says what the answer rests on.
func lookedAt(snapshot Snapshot, report check.Report, skipped []check.Skip, dismissed int, config Config) string {
	var b strings.Builder
	at := code(short(snapshot.Head))
	switch {
	case report.Files > 0:
		fmt.Fprintf(&b, "**Looked at:** %s of %s at %s. %s\n",
			count(report.Files, "Python file"), count(max(snapshot.Changed, report.Files), "changed file"), at, beside(snapshot, report))
	case len(skipped) > 0:
		fmt.Fprintf(&b, "**Looked at:** nothing of %s at %s.\n", count(max(snapshot.Changed, len(skipped)), "changed file"), at)
	default:
		fmt.Fprintf(&b, "%s at %s, and no Python file among them that is added or changed.\n", count(snapshot.Changed, "changed file"), at)
	}
	if snapshot.AuthorOnly {
		b.WriteString("\nThe pull request comes from a fork that others may not edit: only its author can commit suggestions.\n")
	}
	if snapshot.Incomplete != "" {
		fmt.Fprintf(&b, "\n**Not the whole pull request:** %s.\n", inert(oneLine(snapshot.Incomplete)))
	}
	if len(skipped) > 0 {
		b.WriteString("\n**Not looked at:**\n\n")
		for i, s := range skipped {
			if i == maxSkipped {
				fmt.Fprintf(&b, "- … and %d more\n", len(skipped)-i)
				break
			}
			fmt.Fprintf(&b, "- %s: %s\n", code(shorten(s.Path, 200)), inert(oneLine(shorten(s.Reason, 200))))
		}
	}
	writeSettings(&b, snapshot)
	b.WriteString(remarks(snapshot, report))
	var counts []string
	if n := len(snapshot.Excluded); n > 0 {
		counts = append(counts, sentence(n, "Python file is left out by the settings", "Python files are left out by the settings"))
	}
	if report.Known > 0 {
		counts = append(counts, sentence(report.Known, "mistake stood in the base already", "mistakes stood in the base already"))
	}
	if report.Suppressed > 0 {
		counts = append(counts, sentence(report.Suppressed, "mistake is silenced by a comment in the code", "mistakes are silenced by comments in the code"))
	}
	if dismissed > 0 {
		counts = append(counts, sentence(dismissed, "mistake was dismissed: its conversation is resolved or voted down, or its rule ignored", "mistakes were dismissed: their conversations are resolved or voted down, or their rules ignored"))
	}
	if len(counts) > 0 {
		fmt.Fprintf(&b, "\n**Not counted:** %s.\n", strings.Join(counts, "; "))
	}
	if config.Engine != "" {
		fmt.Fprintf(&b, "\n%s %s\n", CheckName, code(config.Engine))
	}
	return b.String()
}

// notRead is said of the files around the changed ones. By it a later look at the
// same head knows what this one knew.
const notRead = "Other files of the repository were not read"

// beside says what was read of the repository beside the changed files, and which
// PyTorch is meant.
func beside(snapshot Snapshot, report check.Report) string {
	var text string
	switch {
	case report.Indexed != "" && report.Near > 0:
		text = fmt.Sprintf("%s told what else the repository says of them, as of %s.", sentence(report.Near, "other file", "other files"), code(short(report.Indexed)))
	case report.Indexed != "":
		text = fmt.Sprintf("No other file of the repository has to do with them, as of %s.", code(short(report.Indexed)))
	case snapshot.Unindexed != "":
		text = fmt.Sprintf("%s: %s.", notRead, snapshot.Unindexed)
	default:
		text = notRead + "."
	}
	if report.Torch != "" {
		text += fmt.Sprintf(" What operations do is that of PyTorch %s.", report.Torch)
	}
	return text
}

// short is the usual abbreviation of a sha.
func short(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}
