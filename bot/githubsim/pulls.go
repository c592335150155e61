package githubsim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type pull struct {
	id              int64
	number          int
	repo            *repository // of the base
	title, body     string
	author          *user
	state           string // "open" or "closed"
	draft           bool
	baseRef         string
	base            string // sha of the base branch when the head last moved
	headRepo        *repository
	headRef, head   string
	maintainerCan   bool
	created, update time.Time
	closed          time.Time
	threads         []*thread
	reviews         []*review
	comments        []*issueComment
	labels          []string
	timeline        []Event
	queued          bool // waits in the merge queue
}

// An Event is an entry of a pull request's timeline, beside its reviews,
// comments and check runs.
type Event struct {
	At    time.Time
	Kind  string // "opened", "committed", "force-pushed", "closed", "reopened", "ready_for_review", "converted_to_draft", "base_changed", "resolved", "unresolved"
	Actor string // login
	Text  string // e.g. the commit's first line
	SHA   string // "committed", "force-pushed": the new head
}

// OpenPullOptions describe a pull request to open.
type OpenPullOptions struct {
	Title, Body string
	Base        string // branch; the default branch if empty
	Head        string // branch
	HeadOwner   string // owner of the fork that has the branch; the repository itself if empty
	Author      string // login; the fork's owner or "octocat" if empty
	Draft       bool
	// NoMaintainerEdits withdraws "Allow edits by maintainers" of a fork.
	NoMaintainerEdits bool
	Labels            []string
}

// OpenPull opens a pull request and gives its number.
func (s *Sim) OpenPull(ctx context.Context, owner, name string, opts OpenPullOptions) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return 0, fmt.Errorf("open a pull request in %s/%s: no such repository", owner, name)
	}
	p := &pull{
		repo: r, headRepo: r, title: opts.Title, body: opts.Body, state: "open", draft: opts.Draft, baseRef: opts.Base, headRef: opts.Head,
		created: s.now(), update: s.now(), labels: slices.Clone(opts.Labels),
	}
	if opts.HeadOwner != "" && !strings.EqualFold(opts.HeadOwner, owner) {
		if p.headRepo = s.find(opts.HeadOwner, name); p.headRepo == nil {
			return 0, fmt.Errorf("open a pull request in %s: no fork of %s", r.fullName(), opts.HeadOwner)
		}
		// Forks of organisations never allow it (isaacs/github#1681).
		p.maintainerCan = !opts.NoMaintainerEdits && p.headRepo.owner.kind == "User"
	}
	author := opts.Author
	if author == "" {
		author = "octocat"
		if p.headRepo != r {
			author = p.headRepo.owner.login
		}
	}
	p.author = s.user(author, "")
	if p.headRepo == r && r.collaborators[strings.ToLower(author)] == "" {
		r.collaborators[strings.ToLower(author)] = "write" // who pushed a branch here may write
	}
	if p.baseRef == "" {
		p.baseRef = r.defaultBranch
	}
	if p.title == "" {
		p.title = p.headRef
	}
	p.base, p.head = r.heads["refs/heads/"+p.baseRef], p.headRepo.heads["refs/heads/"+p.headRef]
	if p.base == "" || p.head == "" {
		return 0, refusal("open a pull request in %s: branch %s or %s does not exist", r.fullName(), p.baseRef, p.headRef)
	}
	r.numbers++
	p.number, p.id = r.numbers, s.id("pull")
	if err := p.fetch(ctx); err != nil {
		return 0, fmt.Errorf("open a pull request in %s: %w", r.fullName(), err)
	}
	merge := r.mergeBase(ctx, p.base, p.head)
	commits, err := r.git.commits(ctx, merge, p.head)
	if err != nil {
		return 0, fmt.Errorf("open a pull request in %s: %w", r.fullName(), err)
	}
	if len(commits) == 0 {
		return 0, refusal("No commits between %s and %s", p.baseRef, p.headRef)
	}
	r.pulls = append(r.pulls, p)
	p.event(s, "opened", p.author, p.title, p.head)
	if p.headRepo == r {
		s.requestSuites(r, p.head)
	}
	s.emitPull(ctx, p, "opened", p.author, nil)
	s.touch()
	return p.number, nil
}

// fetch brings the head's objects into the base repository, where GitHub shows
// them below refs/pull.
func (p *pull) fetch(ctx context.Context) error {
	ref := fmt.Sprintf("refs/pull/%d/head", p.number)
	if p.headRepo != p.repo {
		if _, err := p.repo.git.run(ctx, "fetch", "-q", "--no-tags", "--no-write-fetch-head", p.headRepo.git.path, "+refs/heads/"+p.headRef+":"+ref); err != nil {
			return err
		}
		return nil
	}
	// Nobody else writes below refs/pull, so that git need not be asked.
	file := filepath.Join(p.repo.git.path, filepath.FromSlash(ref))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return replaceFile(file, []byte(p.head+"\n"), 0o644)
}

func (p *pull) event(s *Sim, kind string, actor *user, text, sha string) {
	p.timeline = append(p.timeline, Event{At: s.now(), Kind: kind, Actor: actor.login, Text: text, SHA: sha})
	p.update = s.now()
}

// pullMoved is a push to the head branch. The lock is held.
func (s *Sim) pullMoved(ctx context.Context, p *pull, sha string, pusher *user) error {
	before := p.head
	p.head = sha
	if err := p.fetch(ctx); err != nil {
		return err
	}
	forced := !p.repo.git.isAncestor(ctx, before, sha)
	if tip := p.repo.heads["refs/heads/"+p.baseRef]; tip != "" {
		p.base = tip
	}
	if forced {
		p.event(s, "force-pushed", pusher, fmt.Sprintf("%.7s to %.7s", before, sha), sha)
		for _, rv := range p.reviews { // max-sixty/tend#884: a review of a commit that is gone names the new head
			if !p.repo.git.isAncestor(ctx, rv.commit, sha) {
				rv.commit = sha
			}
		}
	} else {
		list, err := p.repo.git.commits(ctx, before, sha)
		if err != nil {
			return err
		}
		for _, info := range list {
			first, _, _ := strings.Cut(info.Message, "\n")
			p.event(s, "committed", s.user(info.Author.Name, ""), first, info.SHA)
		}
	}
	if err := s.remap(ctx, p); err != nil {
		return err
	}
	s.emitPull(ctx, p, "synchronize", pusher, obj{"before": before, "after": sha})
	return nil
}

func (p *pull) mergeBase(ctx context.Context) string {
	return p.repo.mergeBase(ctx, p.base, p.head)
}

func (p *pull) files(ctx context.Context) ([]FileDiff, error) {
	base := p.mergeBase(ctx)
	if base == "" {
		return nil, fmt.Errorf("pull request %d: no common ancestor of %s and %s", p.number, p.base, p.head)
	}
	return p.repo.diff(ctx, base, p.head)
}

// pull finds a pull request for the methods that play people.
func (s *Sim) pull(owner, name string, number int) (*pull, error) {
	if r := s.find(owner, name); r != nil {
		for _, p := range r.pulls {
			if p.number == number {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("%s/%s has no pull request %d", owner, name, number)
}

// change does something to a pull request as a person and wakes waiters.
func (s *Sim) change(owner, name string, number int, do func(p *pull) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.pull(owner, name, number)
	if err != nil {
		return err
	}
	if err := do(p); err != nil {
		return err
	}
	s.touch()
	return nil
}

// ClosePull closes a pull request without merging it.
func (s *Sim) ClosePull(ctx context.Context, owner, name string, number int, login string) error {
	return s.change(owner, name, number, func(p *pull) error {
		if p.state == "closed" {
			return refusal("pull request %d is closed already", number)
		}
		p.state, p.closed, p.queued = "closed", s.now(), false
		p.event(s, "closed", s.user(login, ""), "", "")
		s.emitPull(ctx, p, "closed", s.user(login, ""), nil)
		return nil
	})
}

// ReopenPull opens a closed pull request again, at the newest head.
func (s *Sim) ReopenPull(ctx context.Context, owner, name string, number int, login string) error {
	return s.change(owner, name, number, func(p *pull) error {
		if p.state == "open" {
			return refusal("pull request %d is open already", number)
		}
		tip := p.headRepo.heads["refs/heads/"+p.headRef]
		if tip == "" {
			return refusal("the branch %s is gone", p.headRef)
		}
		p.state, p.closed = "open", time.Time{}
		p.event(s, "reopened", s.user(login, ""), "", "")
		if tip != p.head {
			p.head = tip
			if err := p.fetch(ctx); err != nil {
				return err
			}
			if err := s.remap(ctx, p); err != nil {
				return err
			}
		}
		s.emitPull(ctx, p, "reopened", s.user(login, ""), nil)
		return nil
	})
}

// SetDraft makes a pull request a draft, or ready for review.
func (s *Sim) SetDraft(ctx context.Context, owner, name string, number int, draft bool, login string) error {
	return s.change(owner, name, number, func(p *pull) error {
		if p.draft == draft {
			return refusal("pull request %d is in that state already", number)
		}
		p.draft = draft
		action := "ready_for_review"
		if draft {
			action = "converted_to_draft"
		}
		p.event(s, action, s.user(login, ""), "", "")
		s.emitPull(ctx, p, action, s.user(login, ""), nil)
		return nil
	})
}

// EditPull changes title, body or base branch; empty strings leave them.
func (s *Sim) EditPull(ctx context.Context, owner, name string, number int, title, body, base, login string) error {
	return s.change(owner, name, number, func(p *pull) error {
		changes := obj{}
		if title != "" && title != p.title {
			changes["title"] = obj{"from": p.title}
			p.title = title
		}
		if body != "" && body != p.body {
			changes["body"] = obj{"from": p.body}
			p.body = body
		}
		if base != "" && base != p.baseRef {
			sha := p.repo.heads["refs/heads/"+base]
			if sha == "" {
				return refusal("the branch %s does not exist", base)
			}
			changes["base"] = obj{"ref": obj{"from": p.baseRef}, "sha": obj{"from": p.base}}
			p.baseRef, p.base = base, sha
			p.event(s, "base_changed", s.user(login, ""), base, "")
			if err := s.remap(ctx, p); err != nil {
				return err
			}
		}
		s.emitPull(ctx, p, "edited", s.user(login, ""), obj{"changes": changes})
		return nil
	})
}

// QueueMerge puts a pull request into the merge queue: its merge with the base
// branch gets a branch of its own, and merge_group.checks_requested is sent.
// It gives that merge's commit.
func (s *Sim) QueueMerge(ctx context.Context, owner, name string, number int, login string) (string, error) {
	var sha string
	err := s.change(owner, name, number, func(p *pull) error {
		if p.state != "open" || p.draft || p.queued {
			return refusal("pull request %d cannot be merged", number)
		}
		base := p.repo.heads["refs/heads/"+p.baseRef]
		tree, err := p.repo.git.run(ctx, "merge-tree", "--write-tree", base, p.head)
		if err != nil {
			return refusal("pull request %d has conflicts", number)
		}
		who := s.signature(s.user(login, ""))
		message := fmt.Sprintf("Merge pull request #%d from %s/%s", number, p.headRepo.owner.login, p.headRef)
		if sha, err = p.repo.git.commitTree(strings.TrimSpace(tree), []string{base, p.head}, message, who, who); err != nil {
			return fmt.Errorf("queue pull request %d: %w", number, err)
		}
		ref := fmt.Sprintf("refs/heads/gh-readonly-queue/%s/pr-%d-%s", p.baseRef, number, base)
		if err := s.push(ctx, p.repo, ref, sha, s.user(login, "")); err != nil {
			return fmt.Errorf("queue pull request %d: %w", number, err)
		}
		p.queued = true
		info, err := p.repo.git.commit(sha)
		if err != nil {
			return fmt.Errorf("queue pull request %d: %w", number, err)
		}
		s.emit(p.repo, "merge_group", "checks_requested", s.user(login, ""), obj{"merge_group": obj{
			"head_sha": sha, "head_ref": ref, "base_sha": base, "base_ref": "refs/heads/" + p.baseRef,
			"head_commit": obj{
				"id": sha, "tree_id": info.Tree, "message": info.Message, "timestamp": stamp(info.Author.When),
				"author":    obj{"name": info.Author.Name, "email": info.Author.Email},
				"committer": obj{"name": info.Committer.Name, "email": info.Committer.Email},
			},
		}})
		return nil
	})
	return sha, err
}

// SetLabels replaces the labels of a pull request.
func (s *Sim) SetLabels(ctx context.Context, owner, name string, number int, labels []string, login string) error {
	return s.change(owner, name, number, func(p *pull) error {
		old := p.labels
		p.labels = slices.Clone(labels)
		for _, l := range labels {
			if !slices.Contains(old, l) {
				s.emitPull(ctx, p, "labeled", s.user(login, ""), obj{"label": labelJSON(s, p.repo, l)})
			}
		}
		for _, l := range old {
			if !slices.Contains(labels, l) {
				s.emitPull(ctx, p, "unlabeled", s.user(login, ""), obj{"label": labelJSON(s, p.repo, l)})
			}
		}
		return nil
	})
}

func labelJSON(s *Sim, r *repository, name string) obj {
	return obj{
		"id": int64(len(name)) + 1, "node_id": nodeID("LA", r.id) + digest([]byte(name))[:8], "url": s.repoURL(r) + "/labels/" + url.PathEscape(name),
		"name": name, "description": "", "color": "ededed", "default": false,
	}
}

func (s *Sim) emitPull(ctx context.Context, p *pull, action string, sender *user, more obj) {
	fields := obj{"number": p.number, "pull_request": s.pullJSON(ctx, p, true)}
	for k, v := range more {
		fields[k] = v
	}
	s.emit(p.repo, "pull_request", action, sender, fields)
}

// ---- REST

func (s *Sim) pullOf(c *call) *pull {
	n := c.number("pull_number")
	if n < 0 {
		n = c.number("issue_number")
	}
	for _, p := range c.repo.pulls {
		if int64(p.number) == n {
			return p
		}
	}
	return nil
}

func (s *Sim) getPull(c *call) reply {
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", "rest/pulls/pulls#get-a-pull-request")
	}
	accept := c.r.Header.Get("Accept")
	if strings.Contains(accept, ".diff") || strings.Contains(accept, ".patch") {
		return s.pullDiff(c, p)
	}
	return ok(s.pullJSON(c.ctx, p, true))
}

// pullDiff is the diff media type, which GitHub refuses above 300 files
// (agavra/tuicr#636).
func (s *Sim) pullDiff(c *call, p *pull) reply {
	files, err := p.files(c.ctx)
	if err != nil {
		return s.broken(err)
	}
	if len(files) > 300 {
		return reply{status: http.StatusNotAcceptable, value: obj{
			"message": "Sorry, the diff exceeded the maximum number of files (300). Consider using 'List pull requests files' API or locally cloning the repository instead.",
			"errors":  []any{obj{"resource": "PullRequest", "field": "diff", "code": "too_large"}}, "documentation_url": docs + "rest/pulls/pulls#list-pull-requests-files", "status": "406",
		}}
	}
	out, err := p.repo.git.run(c.ctx, "diff-tree", "-r", "-p", "-M50%", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", p.mergeBase(c.ctx), p.head)
	if err != nil {
		return s.broken(err)
	}
	return reply{status: http.StatusOK, raw: []byte(out), media: "application/vnd.github.diff; charset=utf-8"}
}

func (s *Sim) listPulls(c *call) reply {
	q := c.r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	var list []*pull
	for _, p := range c.repo.pulls {
		if (state != "all" && p.state != state) || (q.Get("base") != "" && p.baseRef != q.Get("base")) {
			continue
		}
		if head := q.Get("head"); head != "" && !strings.EqualFold(head, p.headRepo.owner.login+":"+p.headRef) {
			continue
		}
		list = append(list, p)
	}
	key := func(p *pull) time.Time { return p.created }
	if q.Get("sort") == "updated" {
		key = func(p *pull) time.Time { return p.update }
	}
	slices.SortStableFunc(list, func(a, b *pull) int {
		if n := key(a).Compare(key(b)); n != 0 {
			return n
		}
		return a.number - b.number
	})
	direction := q.Get("direction")
	if direction == "" && (q.Get("sort") == "" || q.Get("sort") == "created") {
		direction = "desc"
	}
	if direction == "desc" {
		slices.Reverse(list)
	}
	return listed(c, list, func(p *pull) any { return s.pullJSON(c.ctx, p, false) })
}

// pullsOfCommit answers /commits/{sha}/pulls: only for branches of the
// repository itself; a fork's commits give an empty list
// (tektoncd/pipelines-as-code#2597).
func (s *Sim) pullsOfCommit(c *call, ref string) reply {
	sha := c.repo.git.commitSHA(ref)
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+ref, "rest/commits/commits#list-pull-requests-associated-with-a-commit")
	}
	var list []*pull
	for _, p := range c.repo.pulls {
		if p.headRepo == c.repo && p.state == "open" && c.repo.git.isAncestor(c.ctx, sha, p.head) && !c.repo.git.isAncestor(c.ctx, sha, p.base) {
			list = append(list, p)
		}
	}
	return listed(c, list, func(p *pull) any { return s.pullJSON(c.ctx, p, false) })
}

func (s *Sim) listFiles(c *call) reply {
	const page = "rest/pulls/pulls#list-pull-requests-files"
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	files, err := p.files(c.ctx)
	if err != nil {
		return s.broken(err)
	}
	files = files[:min(len(files), s.opts.Limits.Files)]
	budget := s.opts.Limits.PageBytes
	return listed(c, files, func(f FileDiff) any { return s.fileJSON(p.repo, p.head, f, &budget) })
}

// fileJSON leaves the patch out of binary and too large files, and of those
// whose page has no room left (openjdk/skara#1302).
func (s *Sim) fileJSON(r *repository, head string, f FileDiff, budget *int) obj {
	escaped := (&url.URL{Path: f.Path}).EscapedPath()
	o := obj{
		"sha": f.SHA, "filename": f.Path, "status": f.Status, "additions": f.Additions, "deletions": f.Deletions,
		"changes": f.Additions + f.Deletions, "blob_url": s.siteURL(r) + "/blob/" + head + "/" + url.PathEscape(f.Path),
		"raw_url": s.siteURL(r) + "/raw/" + head + "/" + url.PathEscape(f.Path), "contents_url": s.repoURL(r) + "/contents/" + escaped + "?ref=" + head,
	}
	if f.PreviousPath != "" {
		o["previous_filename"] = f.PreviousPath
	}
	if f.Patch != "" && s.showsPatch(f) && len(f.Patch) <= *budget {
		o["patch"] = f.Patch
		*budget -= len(f.Patch)
	}
	return o
}

func (s *Sim) showsPatch(f FileDiff) bool {
	return len(f.Patch) <= s.opts.Limits.PatchBytes && strings.Count(f.Patch, "\n") < s.opts.Limits.PatchLines
}

func (s *Sim) listPullCommits(c *call) reply {
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", "rest/pulls/pulls#list-commits-on-a-pull-request")
	}
	list, err := p.repo.git.commits(c.ctx, p.mergeBase(c.ctx), p.head)
	if err != nil {
		return s.broken(err)
	}
	return listed(c, list[:min(len(list), 250)], func(info commitInfo) any { return s.commitJSON(p.repo, info) })
}

func (s *Sim) association(r *repository, u *user) string {
	switch {
	case u == nil || u.kind == "Bot":
		return "NONE"
	case u == r.owner:
		return "OWNER"
	case r.mayPush(u) && r.owner.kind == "Organization":
		return "MEMBER"
	case r.mayPush(u):
		return "COLLABORATOR"
	}
	return "NONE"
}

func (s *Sim) pullJSON(ctx context.Context, p *pull, full bool) obj {
	r := p.repo
	api := fmt.Sprintf("%s/pulls/%d", s.repoURL(r), p.number)
	issue := fmt.Sprintf("%s/issues/%d", s.repoURL(r), p.number)
	site := fmt.Sprintf("%s/pull/%d", s.siteURL(r), p.number)
	side := func(repo *repository, ref, sha string) obj {
		return obj{"label": repo.owner.login + ":" + ref, "ref": ref, "sha": sha, "user": s.userJSON(repo.owner), "repo": s.repositoryJSON(repo)}
	}
	labels := []any{}
	for _, l := range p.labels {
		labels = append(labels, labelJSON(s, r, l))
	}
	href := func(u string) obj { return obj{"href": u} }
	o := obj{
		"id": p.id, "node_id": nodeID("PR", p.id), "number": p.number, "url": api, "html_url": site, "diff_url": site + ".diff", "patch_url": site + ".patch",
		"issue_url": issue, "commits_url": api + "/commits", "review_comments_url": api + "/comments",
		"review_comment_url": s.repoURL(r) + "/pulls/comments{/number}", "comments_url": issue + "/comments",
		"statuses_url": s.repoURL(r) + "/statuses/" + p.head, "state": p.state, "locked": false, "title": p.title, "user": s.userJSON(p.author),
		"body": nil, "labels": labels, "milestone": nil, "active_lock_reason": nil, "created_at": stamp(p.created), "updated_at": stamp(p.update),
		"closed_at": stampOrNil(p.closed), "merged_at": nil, "merge_commit_sha": nil, "assignee": nil, "assignees": []any{},
		"requested_reviewers": []any{}, "requested_teams": []any{}, "draft": p.draft, "auto_merge": nil,
		"author_association": s.association(r, p.author),
		"head":               side(p.headRepo, p.headRef, p.head), "base": side(r, p.baseRef, p.base),
		"_links": obj{
			"self": href(api), "html": href(site), "issue": href(issue), "comments": href(issue + "/comments"),
			"review_comments": href(api + "/comments"), "review_comment": href(s.repoURL(r) + "/pulls/comments{/number}"),
			"commits": href(api + "/commits"), "statuses": href(s.repoURL(r) + "/statuses/" + p.head),
		},
	}
	if p.body != "" {
		o["body"] = p.body
	}
	if !full {
		return o
	}
	files, err1 := p.files(ctx)
	commits, err2 := r.git.commits(ctx, p.mergeBase(ctx), p.head)
	if err := errors.Join(err1, err2); err != nil {
		s.log.Error("numbers of a pull request", "repository", r.fullName(), "pull", p.number, "err", err)
	}
	plus, minus := 0, 0
	for _, f := range files {
		plus, minus = plus+f.Additions, minus+f.Deletions
	}
	reviewComments := 0
	for _, t := range p.threads {
		for _, cm := range t.comments {
			if !cm.review.pending() {
				reviewComments++
			}
		}
	}
	o["merged"], o["mergeable"], o["rebaseable"], o["mergeable_state"], o["merged_by"] = false, true, true, "clean", nil
	o["comments"], o["review_comments"], o["maintainer_can_modify"] = len(p.comments), reviewComments, p.maintainerCan
	o["commits"], o["additions"], o["deletions"], o["changed_files"] = len(commits), plus, minus, len(files)
	return o
}
