package page

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// A missingView is a page that is not there. As on every page, Busy says that
// something will change by itself.
type missingView struct {
	Title, Text string
	Busy        bool
}

type listView struct {
	Title        string
	Busy         bool
	Repositories []repoView
}

type repoView struct {
	Name  string
	Pulls []headView
}

// A headView is what stands on top of a pull request, and its row in the list.
type headView struct {
	ID       pullID
	View     githubsim.PullView
	Busy     bool
	Version  string
	Check    checkView // the newest of the head; its State is "none" if there is none
	Comments int       // of open conversations on lines
	Folded   int       // outdated or resolved ones
}

type pullView struct {
	headView
	Title    string
	Tab      string
	Trouble  string
	Body     template.HTML
	Timeline []entryView
	Threads  []threadView
	Checks   []checkView
	Files    []fileView
}

// An entryView is one entry of the conversation.
type entryView struct {
	Kind    string // "event", "commit", "review" or "comment"
	At      time.Time
	User    userView
	Text    string // of an event
	SHA     string
	Body    template.HTML
	Anchor  string
	Threads []threadView
}

type userView struct {
	Login string
	Bot   bool
}

type threadView struct {
	Anchor   string
	Comment  int64 // the first one's id
	Path     string
	Where    string // "line 12" or "lines 3–9"
	Link     string // to the place in the files, "" while outdated
	Lines    []line // of the diff above the comment
	Outdated bool
	Resolved bool
	Applied  bool
	By       string // who resolved it
	Folded   bool
	Comments []commentView
	Tab      string
	Action   string // address of the pull request, for the buttons
	InFiles  bool
}

// State is a word for the thread's label.
func (t threadView) State() string {
	switch {
	case t.Applied:
		return "Applied"
	case t.Resolved:
		return "Resolved"
	case t.Outdated:
		return "Outdated"
	}
	return ""
}

type commentView struct {
	Anchor string
	User   userView
	At     time.Time
	Body   template.HTML
}

type suggestionView struct {
	Lines   []line
	Comment int64
	Tab     string
	Action  string
	Refused string
	May     bool
	Applied bool
	Path    string
}

type checkView struct {
	ID          int64
	Name, App   string
	State       string // "none", "running", "success", "neutral" or "failure"
	Word        string
	Title       string
	Summary     template.HTML
	Text        template.HTML
	Took        string
	At          time.Time
	Newest      bool
	Annotations []githubsim.AnnotationView
}

type fileView struct {
	githubsim.FileDiff
	Anchor   string
	Hunks    []hunkView
	Apart    []threadView // outdated, or on no line that is shown
	Comments int
	Open     bool
	Note     string
}

type hunkView struct {
	Header   string
	Segments []segment
}

// A segment is some lines and what stands under the last of them.
type segment struct {
	Lines   []line
	Threads []threadView
}

// head makes what stands on top.
func (p *Page) head(id pullID, view githubsim.PullView) headView {
	h := headView{ID: id, View: view, Busy: p.busy(id, view), Check: checkView{State: "none", Word: "no check run"}}
	h.Version = version(view, h.Busy)
	if len(view.CheckRuns) > 0 {
		h.Check = p.checkOf(view.CheckRuns[0])
	}
	if h.Busy {
		h.Check.State, h.Check.Word = "running", "in progress"
	}
	for _, t := range view.Threads {
		if t.Outdated || t.Resolved {
			h.Folded++
		} else {
			h.Comments++
		}
	}
	return h
}

func (p *Page) page(id pullID, view githubsim.PullView, tab string) (pullView, error) {
	v := pullView{headView: p.head(id, view), Title: fmt.Sprintf("%s #%d", view.Title, view.Number), Tab: tab}
	for i, run := range view.CheckRuns {
		c := p.checkOf(run)
		c.Newest = i == 0
		v.Checks = append(v.Checks, c)
	}
	threads := make([]threadView, 0, len(view.Threads))
	for _, t := range view.Threads {
		tv, err := p.thread(id, view, t, tab)
		if err != nil {
			return v, err
		}
		threads = append(threads, tv)
	}
	switch tab {
	case "conversation":
		v.Body = p.markdown(view.Body, nil)
		v.Timeline, v.Threads = p.timeline(view, threads), threads
	case "files":
		v.Files = p.files(id, view, threads)
	}
	return v, nil
}

func user(u githubsim.UserView) userView {
	return userView{Login: strings.TrimSuffix(u.Login, "[bot]"), Bot: u.Bot}
}

// timeline puts everything that happened in order.
func (p *Page) timeline(view githubsim.PullView, threads []threadView) []entryView {
	var list []entryView
	for _, e := range view.Timeline {
		entry := entryView{Kind: "event", At: e.At, User: userView{Login: e.Actor, Bot: strings.HasSuffix(e.Actor, "[bot]")}, SHA: e.SHA}
		entry.User.Login = strings.TrimSuffix(e.Actor, "[bot]")
		switch e.Kind {
		case "opened":
			continue // the description says it
		case "committed":
			entry.Kind, entry.Text = "commit", e.Text
		case "force-pushed":
			entry.Text = "force-pushed the branch to " + short(e.SHA)
		case "ready_for_review":
			entry.Text = "marked this as ready for review"
		case "converted_to_draft":
			entry.Text = "made this a draft"
		case "resolved", "unresolved":
			entry.Text = e.Kind + " a conversation"
		default:
			entry.Text = strings.ReplaceAll(e.Kind, "_", " ") + " this"
			if e.Text != "" {
				entry.Text += ": " + e.Text
			}
		}
		list = append(list, entry)
	}
	// The commits that the pull request was opened with are events of no kind.
	for _, c := range view.Commits {
		if !slices.ContainsFunc(list, func(e entryView) bool { return e.Kind == "commit" && e.SHA == c.SHA }) {
			list = append(list, entryView{Kind: "commit", At: view.Created, User: userView{Login: c.Author}, Text: firstLine(c.Message), SHA: c.SHA})
		}
	}
	for _, r := range view.Reviews {
		entry := entryView{Kind: "review", At: r.Submitted, User: user(r.User), Body: p.markdown(r.Body, nil), SHA: r.Commit, Anchor: "review-" + strconv.FormatInt(r.ID, 10)}
		for i, t := range view.Threads {
			if t.ReviewID == r.ID {
				entry.Threads = append(entry.Threads, threads[i])
			}
		}
		if r.Body == "" && len(entry.Threads) == 0 {
			continue // the frame of a reply, which stands in its thread
		}
		list = append(list, entry)
	}
	for _, c := range view.Comments {
		list = append(list, entryView{Kind: "comment", At: c.Created, User: user(c.User), Body: p.markdown(c.Body, nil), Anchor: anchor(c.ID)})
	}
	slices.SortStableFunc(list, func(a, b entryView) int { return a.At.Compare(b.At) })
	return list
}

func anchor(comment int64) string { return fmt.Sprintf("c%d", comment) }

// thread shows a conversation on lines.
func (p *Page) thread(id pullID, view githubsim.PullView, t githubsim.ThreadView, tab string) (threadView, error) {
	first := t.Comments[0]
	v := threadView{
		Anchor: anchor(first.ID), Comment: first.ID, Path: t.Path, Outdated: t.Outdated, Resolved: t.Resolved, Applied: t.Applied, By: t.ResolvedBy,
		Folded: t.Outdated || t.Resolved, Tab: tab, Action: id.URL(), InFiles: tab == "files",
	}
	from, to := t.StartLine, t.Line
	if t.Outdated {
		from, to = t.OriginalStartLine, t.OriginalLine
	}
	switch {
	case t.OnFile:
		v.Where = "the file"
	case from > 0 && from < to:
		v.Where = fmt.Sprintf("lines %d–%d", from, to)
	default:
		v.Where = fmt.Sprintf("line %d", to)
	}
	if !t.Outdated {
		v.Link = id.URL() + "/files#" + v.Anchor
	}
	if !v.InFiles || v.Outdated {
		v.Lines = p.context(id, t)
	}
	for i, c := range t.Comments {
		var suggest func([]string) template.HTML
		if i == 0 && t.HasSuggestion {
			suggest = func(lines []string) template.HTML { return p.suggestion(id, view, t, lines, tab) }
		}
		v.Comments = append(v.Comments, commentView{Anchor: anchor(c.ID), User: user(c.User), At: c.Created, Body: p.markdown(c.Body, suggest)})
	}
	return v, nil
}

// suggestion shows a suggestion block as a diff, with its button.
func (p *Page) suggestion(id pullID, view githubsim.PullView, t githubsim.ThreadView, with []string, tab string) template.HTML {
	first := cmp.Or(t.StartLine, t.Line)
	before := t.Replaces
	if t.Refused != "" {
		first = cmp.Or(t.OriginalStartLine, t.OriginalLine)
		before = nil
		for _, l := range hunkLines(t.DiffHunk) {
			if l.New >= first && l.New <= t.OriginalLine {
				before = append(before, l.Text)
			}
		}
	}
	v := suggestionView{
		Lines: changes(t.Path, before, with, first), Comment: t.Comments[0].ID, Tab: tab, Action: id.URL(), Refused: t.Refused,
		May: slices.Contains(view.MayCommit, p.opts.Login), Applied: t.Applied, Path: t.Path,
	}
	if !v.May {
		v.Refused = cmp.Or(v.Refused, "You must have write access to the branch to commit this.")
	}
	var b bytes.Buffer
	if err := p.tmpl.ExecuteTemplate(&b, "suggestion", v); err != nil {
		p.log.Error("page", "template", "suggestion", "error", err)
		return ""
	}
	return template.HTML(b.String()) //nolint:gosec // made by html/template
}

// colour gives the lines of a file at a commit in colour.
func (p *Page) colour(id pullID, rev, path string) code {
	key := rev + ":" + path
	if lines, ok := p.colours.Get(key); ok {
		return code{lines}
	}
	text, err := p.sim.File(id.Owner, id.Name, rev, path)
	if err != nil {
		return code{}
	}
	lines := coloured(path, text)
	p.colours.Add(key, lines)
	return code{lines}
}

// Lines of a hunk that are shown above a comment in the conversation.
const (
	aboveComment = 3
	maxContext   = 40
)

// context shows the code that a comment stands on.
func (p *Page) context(id pullID, t githubsim.ThreadView) []line {
	if t.OnFile {
		return nil
	}
	first := cmp.Or(t.OriginalStartLine, t.OriginalLine)
	marked := func(l githubsim.DiffLine) bool {
		n := l.New
		if t.Side == githubsim.Left {
			n = l.Old
		}
		return n >= first && n <= t.OriginalLine
	}
	list := hunkLines(t.DiffHunk)
	start := max(0, len(list)-aboveComment-1)
	for i, l := range list {
		if marked(l) {
			start = min(start, max(0, i-aboveComment))
			break
		}
	}
	return p.rows(id, "", t.OriginalSHA, t.Path, t.Path, tail(list[start:], maxContext), marked)
}

// hunkLines reads a comment's hunk.
func hunkLines(hunk string) []githubsim.DiffLine {
	head, rest, ok := strings.Cut(hunk, "\n")
	var old, now int
	if _, err := fmt.Sscanf(head, "@@ -%d", &old); err != nil || !ok {
		return nil
	}
	if _, plus, ok := strings.Cut(head, "+"); ok {
		_, _ = fmt.Sscanf(plus, "%d", &now) // 0 stays where there is none
	}
	var out []githubsim.DiffLine
	for text := range strings.SplitSeq(rest, "\n") {
		if text == "" {
			continue
		}
		l := githubsim.DiffLine{Kind: text[0], Text: text[1:]}
		switch l.Kind {
		case '+':
			l.New, now = now, now+1
		case '-':
			l.Old, old = old, old+1
		case ' ':
			l.Old, l.New, old, now = old, now, old+1, now+1
		}
		out = append(out, l)
	}
	return out
}

// rows makes lines of a diff ready for the page.
func (p *Page) rows(id pullID, base, head, oldPath, path string, list []githubsim.DiffLine, marked func(githubsim.DiffLine) bool) []line {
	now := p.colour(id, head, path)
	var before code
	if base != "" {
		before = p.colour(id, base, oldPath)
	}
	out := make([]line, 0, len(list))
	for _, l := range list {
		row := line{Old: l.Old, New: l.New, Marked: marked != nil && marked(l)}
		switch l.Kind {
		case '+':
			row.Kind, row.HTML = "add", now.html(l.New, l.Text)
		case '-':
			row.Kind, row.HTML = "del", before.html(l.Old, l.Text)
		case ' ':
			row.Kind, row.HTML = "ctx", now.html(l.New, l.Text)
		default:
			row.Kind, row.HTML = "note", lineHTML([]span{{"", strings.TrimSpace(l.Text)}}, nil)
		}
		out = append(out, row)
	}
	return out
}

// Files beyond these numbers of changed lines are folded, or not shown at all;
// and of a pull request beyond the last number, only files with comments are.
const (
	maxOpen  = 1_500
	maxShown = 10_000
	maxAll   = 8_000
)

// files shows the diff with the comments under their lines.
func (p *Page) files(id pullID, view githubsim.PullView, threads []threadView) []fileView {
	var out []fileView
	commented := map[string]bool{}
	for _, t := range view.Threads {
		commented[t.Path] = true
	}
	room := maxAll
	for _, f := range view.Files {
		if commented[f.Path] {
			room -= f.Additions + f.Deletions
		}
	}
	for i, f := range view.Files {
		v := fileView{FileDiff: f, Anchor: fmt.Sprintf("file-%d", i+1), Open: true}
		under := map[string][]threadView{} // by side and line
		marked := map[string]bool{}
		place := func(side githubsim.Side, n int) string { return fmt.Sprintf("%s %d", side, n) }
		for k, t := range view.Threads {
			if t.Path != f.Path {
				continue
			}
			if t.Outdated || t.OnFile {
				v.Apart = append(v.Apart, threads[k])
				continue
			}
			under[place(t.Side, t.Line)] = append(under[place(t.Side, t.Line)], threads[k])
			if t.Resolved {
				continue
			}
			v.Comments++
			for n := cmp.Or(t.StartLine, t.Line); n <= t.Line; n++ {
				marked[place(t.Side, n)] = true
			}
		}
		changed := f.Additions + f.Deletions
		switch {
		case f.Binary:
			v.Note = "A binary file."
		case len(f.Hunks) == 0 && f.Status == "renamed":
			v.Note = "Renamed without changes."
		case len(f.Hunks) == 0 && f.OldMode != f.Mode && f.OldMode != "" && f.Mode != "" && f.Status != "added" && f.Status != "removed":
			v.Note = "The mode changed from " + f.OldMode + " to " + f.Mode + "."
		case len(f.Hunks) == 0:
			v.Note = "An empty file."
		case changed > maxShown, !commented[f.Path] && changed > room:
			v.Note = "Not shown: the diff is too large for one page."
		case !commented[f.Path]:
			room -= changed
		}
		if v.Note != "" {
			for _, list := range under {
				v.Apart = append(v.Apart, list...)
			}
			out = append(out, v)
			continue
		}
		v.Open = changed <= maxOpen || v.Comments > 0
		old := cmp.Or(f.PreviousPath, f.Path)
		for _, h := range f.Hunks {
			rows := p.rows(id, view.MergeBase, view.HeadSHA, old, f.Path, h.Lines, func(l githubsim.DiffLine) bool {
				return l.New > 0 && marked[place(githubsim.Right, l.New)] || l.New == 0 && l.Old > 0 && marked[place(githubsim.Left, l.Old)]
			})
			hv := hunkView{Header: h.Header}
			start := 0
			for k, l := range h.Lines {
				var here []threadView
				for _, at := range []string{place(githubsim.Right, l.New), place(githubsim.Left, l.Old)} {
					here = append(here, under[at]...)
					delete(under, at)
				}
				if len(here) > 0 {
					hv.Segments = append(hv.Segments, segment{rows[start : k+1], here})
					start = k + 1
				}
			}
			if start < len(rows) {
				hv.Segments = append(hv.Segments, segment{Lines: rows[start:]})
			}
			v.Hunks = append(v.Hunks, hv)
		}
		for _, list := range under {
			v.Apart = append(v.Apart, list...)
		}
		out = append(out, v)
	}
	return out
}

func (p *Page) checkOf(run githubsim.CheckRunView) checkView {
	v := checkView{
		ID: run.ID, Name: run.Name, App: run.App, Title: run.Title, Summary: p.markdown(run.Summary, nil), Text: p.markdown(run.Text, nil),
		At: run.Completed, Annotations: run.Annotations,
	}
	switch {
	case run.Status != "completed":
		v.State, v.Word = "running", strings.ReplaceAll(run.Status, "_", " ")
	case run.Conclusion == "success":
		v.State, v.Word = "success", "passed"
	case run.Conclusion == "neutral" || run.Conclusion == "skipped":
		v.State, v.Word = "neutral", run.Conclusion
	default:
		v.State, v.Word = "failure", strings.ReplaceAll(run.Conclusion, "_", " ")
	}
	if !run.Completed.IsZero() && run.Completed.After(run.Started) {
		v.Took = run.Completed.Sub(run.Started).Round(time.Millisecond).String()
	}
	return v
}

type blobView struct {
	Title           string
	Busy            bool
	Repo, Path, SHA string
	Lines           []line
}

// blob shows a file at a commit; the check run links to it.
func (p *Page) blob(w http.ResponseWriter, r *http.Request) {
	id := pullID{Owner: r.PathValue("owner"), Name: r.PathValue("name")}
	sha, path := r.PathValue("sha"), r.PathValue("path")
	text, err := p.sim.File(id.Owner, id.Name, sha, path)
	if err != nil {
		p.notFound(w, "There is no file "+path+" at "+short(sha)+".")
		return
	}
	v := blobView{Title: path, Repo: id.Owner + "/" + id.Name, Path: path, SHA: sha}
	if strings.ContainsRune(text, 0) || len(text) > 4<<20 {
		p.notFound(w, path+" is binary or too large to be shown.")
		return
	}
	colours := p.colour(id, sha, path)
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		v.Lines = append(v.Lines, line{Kind: "ctx", New: i + 1, HTML: colours.html(i+1, l)})
	}
	p.render(w, http.StatusOK, "blob.html", v)
}

func short(sha string) string { return sha[:min(len(sha), 7)] }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// initial is what stands in a person's circle.
func initial(login string) string {
	for _, r := range login {
		return string(unicode.ToUpper(r))
	}
	return "?"
}

// ago is how long something is past.
func ago(t time.Time) string {
	switch d := time.Since(t); {
	case d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return t.Format("2 Jan 2006")
}
