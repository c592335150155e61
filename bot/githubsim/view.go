package githubsim

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A PullView is all of a pull request at one moment, for a page or a test to
// look at. It is a copy; the hunks must not be changed.
type PullView struct {
	Owner, Name     string
	Number          int
	Title, Body     string
	Author          UserView
	State           string // "open" or "closed"
	Draft           bool
	Base, BaseSHA   string // branch, its commit when the head last moved
	Head, HeadSHA   string
	HeadOwner       string
	MergeBase       string
	Fork            bool
	Created         time.Time
	Labels          []string
	Files           []FileDiff
	Commits         []CommitView
	Threads         []ThreadView // oldest first; those of pending reviews are left out
	Reviews         []ReviewView // oldest first, without pending ones
	Comments        []CommentView
	CheckRuns       []CheckRunView // of the head, newest first
	Timeline        []Event
	MayCommit       []string // logins that may push to the head branch
	Additions       int
	Deletions       int
	MaintainerEdits bool
}

// A UserView is an account.
type UserView struct {
	Login string
	Bot   bool
}

// A CommitView is a commit of a pull request.
type CommitView struct {
	SHA, Message, Author string
	When                 time.Time
}

// A ThreadView is a conversation on a place of the diff.
type ThreadView struct {
	ID           string // GraphQL node id
	Path         string
	Side         Side
	StartSide    Side // "" for one line
	Line         int  // at the head; 0 while outdated
	StartLine    int  // 0 for one line
	OriginalLine int
	// OriginalStartLine is the first line at OriginalSHA, 0 for one line.
	OriginalStartLine int
	OriginalSHA       string
	DiffHunk          string
	OnFile            bool
	Outdated          bool
	Resolved          bool
	ResolvedBy        string
	Applied           bool // its suggestion was committed
	ReviewID          int64
	Comments          []CommentView
	// Suggestion is the first comment's suggestion block, if HasSuggestion.
	Suggestion    []string
	HasSuggestion bool
	// Refused says why the suggestion cannot be committed now; "" if it can.
	Refused string
	// Replaces are the lines of the head that the suggestion replaces, while it can.
	Replaces []string
}

// A CommentView is a comment, in a thread or in the conversation.
type CommentView struct {
	ID        int64
	User      UserView
	Body      string
	Created   time.Time
	Updated   time.Time
	Reactions map[string][]string // content -> logins
	Minimized string              // reason, "" if shown
	ReplyTo   int64
}

// A ReviewView is a submitted review.
type ReviewView struct {
	ID        int64
	User      UserView
	State     string
	Body      string
	Commit    string
	Submitted time.Time
}

// A CheckRunView is a check run.
type CheckRunView struct {
	ID                   int64
	Name, App            string
	Head                 string
	ExternalID           string
	Status, Conclusion   string
	Title, Summary, Text string
	Started, Completed   time.Time
	Annotations          []AnnotationView
	Actions              []ActionView
}

// An AnnotationView is an annotation of a check run.
type AnnotationView struct {
	Path               string
	StartLine, EndLine int
	Level              string
	Title, Message     string
}

// An ActionView is a button of a check run.
type ActionView struct{ Label, Description, Identifier string }

// Pull looks at a pull request; false if there is none.
func (s *Sim) Pull(ctx context.Context, owner, name string, number int) (PullView, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.pull(owner, name, number)
	if err != nil {
		return PullView{}, false
	}
	v := PullView{
		Owner: p.repo.owner.login, Name: p.repo.name, Number: p.number, Title: p.title, Body: p.body, Author: p.author.view(),
		State: p.state, Draft: p.draft, Base: p.baseRef, BaseSHA: p.base, Head: p.headRef, HeadSHA: p.head,
		HeadOwner: p.headRepo.owner.login, MergeBase: p.mergeBase(ctx), Fork: p.headRepo != p.repo, Created: p.created,
		Labels: slices.Clone(p.labels), Timeline: slices.Clone(p.timeline), MaintainerEdits: p.maintainerCan,
	}
	files, err := p.files(ctx)
	if err != nil {
		s.log.Error("files of a pull request", "err", err)
	}
	v.Files = slices.Clone(files)
	for _, f := range files {
		v.Additions, v.Deletions = v.Additions+f.Additions, v.Deletions+f.Deletions
	}
	commits, err := p.repo.git.commits(ctx, v.MergeBase, p.head)
	if err != nil {
		s.log.Error("commits of a pull request", "err", err)
	}
	for _, info := range commits {
		v.Commits = append(v.Commits, CommitView{SHA: info.SHA, Message: info.Message, Author: info.Author.Name, When: info.Author.When})
	}
	for _, t := range p.threads {
		if !t.comments[0].review.pending() {
			v.Threads = append(v.Threads, s.threadView(t))
		}
	}
	for _, rv := range p.reviews {
		if !rv.pending() {
			v.Reviews = append(v.Reviews, ReviewView{ID: rv.id, User: rv.user.view(), State: rv.state, Body: rv.body, Commit: rv.commit, Submitted: rv.submitted})
		}
	}
	for _, ic := range p.comments {
		v.Comments = append(v.Comments, CommentView{
			ID: ic.id, User: ic.user.view(), Body: ic.body, Created: ic.created, Updated: ic.updated, Reactions: reactionView(ic.reactions), Minimized: ic.minimized,
		})
	}
	for _, su := range p.repo.suites {
		if su.head == p.head {
			for _, run := range su.runs {
				v.CheckRuns = append(v.CheckRuns, run.view())
			}
		}
	}
	slices.SortFunc(v.CheckRuns, func(a, b CheckRunView) int { return int(b.ID - a.ID) })
	for _, u := range s.users {
		if p.headRepo.mayPush(u) || (v.Fork && p.maintainerCan && p.repo.mayPush(u)) {
			v.MayCommit = append(v.MayCommit, u.login)
		}
	}
	slices.Sort(v.MayCommit)
	return v, true
}

// Pulls lists the pull requests of a repository by number, oldest first.
func (s *Sim) Pulls(owner, name string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []int
	if r := s.find(owner, name); r != nil {
		for _, p := range r.pulls {
			list = append(list, p.number)
		}
	}
	return list
}

// Repositories lists the full names of all repositories.
func (s *Sim) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.repos {
		list = append(list, r.fullName())
	}
	return list
}

// File reads a file of a repository at a branch, tag or commit.
func (s *Sim) File(owner, name, rev, path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return "", fmt.Errorf("read %s of %s/%s: no such repository", path, owner, name)
	}
	sha := r.git.commitSHA(rev)
	o, err := r.git.object(sha + ":" + path)
	if sha == "" || err != nil || o.Type != "blob" {
		return "", fmt.Errorf("read %s of %s/%s at %s: no such file", path, owner, name, rev)
	}
	return string(o.Data), nil
}

// CheckRuns lists the check runs of a commit, newest first.
func (s *Sim) CheckRuns(owner, name, head string) []CheckRunView {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []CheckRunView
	if r := s.find(owner, name); r != nil {
		for _, su := range r.suites {
			if su.head == head {
				for _, run := range su.runs {
					list = append(list, run.view())
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b CheckRunView) int { return int(b.ID - a.ID) })
	return list
}

func (u *user) view() UserView { return UserView{Login: u.login, Bot: u.kind == "Bot"} }

func reactionView(list []*reaction) map[string][]string {
	m := map[string][]string{}
	for _, r := range list {
		m[r.content] = append(m[r.content], r.user.login)
	}
	return m
}

func (s *Sim) threadView(t *thread) ThreadView {
	first := t.comments[0]
	v := ThreadView{
		ID: nodeID("PRRT", t.id), Path: t.path, Side: t.side, StartSide: t.startSide, Line: t.line, StartLine: t.startLine,
		OriginalLine: t.originalLine, OriginalStartLine: t.firstStart, OriginalSHA: t.original, DiffHunk: t.hunk, OnFile: t.file, Outdated: t.outdated,
		Resolved: t.resolvedBy != nil, Applied: t.applied, ReviewID: first.review.id,
	}
	if t.resolvedBy != nil {
		v.ResolvedBy = t.resolvedBy.login
	}
	for _, cm := range t.comments {
		v.Comments = append(v.Comments, CommentView{
			ID: cm.id, User: cm.user.view(), Body: cm.body, Created: cm.created, Updated: cm.updated,
			Reactions: reactionView(cm.reactions), Minimized: cm.minimized, ReplyTo: cm.replyTo,
		})
	}
	if list := suggestionsIn(first.body); len(list) > 0 {
		v.HasSuggestion, v.Suggestion = true, list[0].lines
		if _, v.Refused = applicable(first); v.Refused == "" {
			v.Replaces = s.headLines(t)
		}
	}
	return v
}

// headLines are the commented lines as they are at the head.
func (s *Sim) headLines(t *thread) []string {
	o, err := t.pull.repo.git.object(t.pull.head + ":" + t.path)
	if err != nil {
		return nil
	}
	first, last := t.lines()
	var out []string
	n := 0
	for line := range lines(string(o.Data)) {
		n++
		if n >= first && n <= last {
			out = append(out, line)
		}
	}
	return out
}

func (run *checkRun) view() CheckRunView {
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	v := CheckRunView{
		ID: run.id, Name: run.name, App: run.suite.app.slug, Head: run.suite.head, ExternalID: run.externalID, Status: run.status,
		Conclusion: run.conclusion, Title: text(run.title), Summary: text(run.summary), Text: text(run.text), Started: run.started, Completed: run.completed,
	}
	for _, a := range run.annotations {
		v.Annotations = append(v.Annotations, AnnotationView{
			Path: *a.Path, StartLine: *a.StartLine, EndLine: *a.EndLine, Level: *a.Level, Title: text(a.Title), Message: *a.Message,
		})
	}
	for _, a := range run.actions {
		v.Actions = append(v.Actions, ActionView{Label: *a.Label, Description: *a.Description, Identifier: *a.Identifier})
	}
	return v
}
