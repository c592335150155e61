package githubsim

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxBody is the longest body of a comment or review, in characters
// (renovatebot/renovate#2032).
const maxBody = 65_536

// A thread is a conversation on a place of the diff; its first comment opened it.
type thread struct {
	id                       int64
	pull                     *pull
	path                     string
	file                     bool // on the whole file
	side, startSide          Side // startSide is "" for one line
	line, startLine          int  // at the pull request's head; 0 while outdated
	position                 int
	originalLine, firstStart int
	originalPosition         int
	original                 string // commit that was commented
	originalBase             string // merge base at that time
	commit                   string // newest head where the place still was
	hunk                     string
	outdated                 bool
	resolvedBy               *user
	comments                 []*comment
	applied                  bool // its suggestion was committed
}

type comment struct {
	id               int64
	thread           *thread
	review           *review
	user             *user
	app              *app
	body             string
	created, updated time.Time
	replyTo          int64 // 0 for the first of the thread
	reactions        []*reaction
	minimized        string // reason, "" if it is shown
}

type review struct {
	id        int64
	pull      *pull
	user      *user
	body      string
	state     string // "COMMENTED", "APPROVED", "CHANGES_REQUESTED", "DISMISSED", "PENDING"
	commit    string
	submitted time.Time
}

func (r *review) pending() bool { return r.state == "PENDING" }

type issueComment struct {
	id               int64
	pull             *pull
	user             *user
	app              *app
	body             string
	created, updated time.Time
	reactions        []*reaction
	minimized        string
}

type reaction struct {
	id      int64
	user    *user
	content string // "+1", "-1", …
	at      time.Time
}

// reactionNames are REST's names with GraphQL's, in the order GitHub shows them.
var reactionNames = []struct{ rest, graphql string }{
	{"+1", "THUMBS_UP"},
	{"-1", "THUMBS_DOWN"},
	{"laugh", "LAUGH"},
	{"hooray", "HOORAY"},
	{"confused", "CONFUSED"},
	{"heart", "HEART"},
	{"rocket", "ROCKET"},
	{"eyes", "EYES"},
}

// A draft is one comment as a client asks for it.
type draft struct {
	Path        *string `json:"path"`
	Body        *string `json:"body"`
	Position    *int    `json:"position"`
	Line        *int    `json:"line"`
	Side        *string `json:"side"`
	StartLine   *int    `json:"start_line"`
	StartSide   *string `json:"start_side"`
	SubjectType string  `json:"subject_type"`
}

// A misfit says why GitHub does not take a comment, in both of its forms.
type misfit struct {
	schema   string     // the request's shape is wrong
	sentence string     // as a review says it
	field    fieldError // as a single comment says it
}

func custom(field, message string) fieldError {
	return fieldError{Resource: "PullRequestReviewComment", Code: "custom", Field: "pull_request_review_thread." + field, Message: "pull_request_review_thread." + field + " " + message}
}

// place checks a draft against the diff of a commit and makes the thread that
// it opens. The rules, with their sources, are listed in TestRefuses.
func (s *Sim) place(p *pull, commit, base string, files []FileDiff, d draft) (*thread, *misfit) {
	if d.Path == nil {
		return nil, &misfit{schema: `"path" wasn't supplied.`}
	}
	if d.Body == nil || strings.TrimSpace(*d.Body) == "" {
		return nil, &misfit{schema: `"body" wasn't supplied.`}
	}
	if n := utf8.RuneCountInString(*d.Body); n > maxBody {
		return nil, &misfit{
			sentence: "Body is too long (maximum is 65536 characters)",
			field:    fieldError{Resource: "PullRequestReviewComment", Code: "custom", Field: "body", Message: "body is too long (maximum is 65536 characters)"},
		}
	}
	t := &thread{pull: p, path: *d.Path, original: commit, originalBase: base, commit: commit, side: Right}
	for _, v := range []*string{d.Side, d.StartSide} {
		if v != nil && *v != "LEFT" && *v != "RIGHT" {
			return nil, &misfit{schema: fmt.Sprintf(`%q is not a member of ["LEFT", "RIGHT"].`, *v)}
		}
	}
	i := slices.IndexFunc(files, func(f FileDiff) bool { return f.Path == *d.Path })
	if i < 0 {
		return nil, &misfit{sentence: "Path could not be resolved", field: custom("path", "could not be resolved")}
	}
	f := &files[i]
	if d.SubjectType == "file" {
		t.file = true
		return t, nil
	}
	if d.Side != nil {
		t.side = Side(*d.Side)
	}
	switch {
	case d.Line != nil:
		t.line = *d.Line
	case d.Position != nil:
		side, line, found := f.atPosition(*d.Position)
		if !found {
			return nil, &misfit{sentence: "Position could not be resolved", field: fieldError{Resource: "PullRequestReviewComment", Code: "invalid", Field: "pull_request_review_thread.position"}}
		}
		t.side, t.line = side, line
	default:
		return nil, &misfit{schema: "No subschema in \"oneOf\" matched.\n\"position\" wasn't supplied.\n\"line\" wasn't supplied."}
	}
	hunk, index := f.find(t.side, t.line)
	if hunk < 0 {
		return nil, &misfit{sentence: "Line could not be resolved", field: custom("line", "must be part of the diff")}
	}
	t.hunk, t.position = f.hunkText(hunk, index), f.Hunks[hunk].Lines[index].Position
	if d.StartLine != nil {
		t.startSide = t.side
		if d.StartSide != nil {
			t.startSide = Side(*d.StartSide)
		}
		t.startLine = *d.StartLine
		first, from := f.find(t.startSide, t.startLine)
		switch {
		case t.startSide == t.side && t.startLine >= t.line, first == hunk && from >= index:
			return nil, &misfit{
				sentence: "Pull request review thread start line must precede the end line.",
				field:    custom("start_line", "must precede the end line."),
			}
		case first != hunk:
			return nil, &misfit{
				sentence: "Pull request review thread start line must be part of the same hunk as the line.",
				field:    custom("start_line", "must be part of the same hunk as the line."),
			}
		}
	}
	t.originalLine, t.firstStart, t.originalPosition = t.line, t.startLine, t.position
	return t, nil
}

// commented finds the commit that a review is about: the head, or another
// commit of the pull request. Its diff is the one the anchors are in.
func (s *Sim) commented(ctx context.Context, p *pull, sha string) (commit, base string, files []FileDiff, problem string, err error) {
	commit = p.head
	if sha != "" && sha != p.head {
		commit = ""
		if isSHA(sha) {
			commit = p.repo.git.commitSHA(sha)
		}
		if commit == "" {
			return "", "", nil, "No commit found for SHA: " + sha, nil
		}
		if !p.repo.git.isAncestor(ctx, commit, p.head) || p.repo.git.isAncestor(ctx, commit, p.base) {
			return "", "", nil, "commit_id is not part of the pull request", nil
		}
	}
	base = p.repo.mergeBase(ctx, p.base, commit)
	files, err = p.repo.diff(ctx, base, commit)
	return commit, base, files, "", err
}

// remap moves the threads of a pull request to its head: a thread whose lines
// are unchanged and still in the diff follows them, any other is outdated.
// It is computed from the commented commit each time, so a push that takes a
// change back makes its threads current again. (GitHub documents neither.)
func (s *Sim) remap(ctx context.Context, p *pull) error {
	if len(p.threads) == 0 {
		return nil
	}
	base := p.mergeBase(ctx)
	files, err := p.repo.diff(ctx, base, p.head)
	if err != nil {
		return err
	}
	for _, t := range p.threads {
		i := slices.IndexFunc(files, func(f FileDiff) bool { return f.Path == t.path })
		if t.file {
			t.outdated = i < 0
			continue
		}
		t.line, t.startLine, t.position, t.outdated = 0, 0, 0, true
		if i < 0 {
			continue
		}
		f := &files[i]
		follow := func(side Side, line int) (int, bool) { return s.follow(ctx, t, f, base, side, line, line) }
		var start, end int
		var found bool
		switch t.startSide {
		case "":
			end, found = follow(t.side, t.originalLine)
		case t.side:
			if end, found = s.follow(ctx, t, f, base, t.side, t.firstStart, t.originalLine); found {
				start = end - (t.originalLine - t.firstStart)
			}
		default:
			if end, found = follow(t.side, t.originalLine); found {
				start, found = follow(t.startSide, t.firstStart)
			}
		}
		if !found {
			continue
		}
		hunk, index := f.find(t.side, end)
		if hunk < 0 {
			continue
		}
		if start > 0 {
			if first, _ := f.find(t.startSide, start); first != hunk {
				continue
			}
		}
		t.line, t.startLine, t.position, t.outdated, t.commit = end, start, f.Hunks[hunk].Lines[index].Position, false, p.head
	}
	return nil
}

// follow gives the line that the last of first..last became; false if any of
// them changed.
func (s *Sim) follow(ctx context.Context, t *thread, f *FileDiff, base string, side Side, first, last int) (int, bool) {
	oldRev, newRev := t.original+":"+t.path, f.SHA
	if side == Left {
		// The base has the file under its old name, if the pull request renames it.
		name := f.Path
		if f.PreviousPath != "" {
			name = f.PreviousPath
		}
		oldRev, newRev = t.originalBase+":"+name, base+":"+name
	}
	oldBlob, err1 := t.pull.repo.git.object(oldRev)
	newBlob, err2 := t.pull.repo.git.object(newRev)
	if err1 != nil || err2 != nil {
		return 0, false
	}
	m, err := t.pull.repo.lineMap(ctx, oldBlob.SHA, newBlob.SHA)
	if err != nil {
		s.log.Error("follow a comment", "path", t.path, "err", err)
		return 0, false
	}
	_, end, found := m.lines(first, last)
	return end, found
}

// ---- REST: reviews

func (s *Sim) createReview(c *call) reply {
	const page = "rest/pulls/reviews#create-a-review-for-a-pull-request"
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	var want struct {
		CommitID string  `json:"commit_id"`
		Body     string  `json:"body"`
		Event    string  `json:"event"`
		Comments []draft `json:"comments"`
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	state, known := map[string]string{"": "PENDING", "COMMENT": "COMMENTED", "APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED"}[want.Event]
	if !known {
		return unprocessable(page, fmt.Sprintf("Variable $event of type PullRequestReviewEvent was provided invalid value %q", want.Event))
	}
	if rep, okay := checkReview(p, c.caller.user(), state, want.Body, page); !okay {
		return rep
	}
	commit, base, files, problem, err := s.commented(c.ctx, p, want.CommitID)
	if err != nil {
		return s.broken(err)
	}
	if problem != "" {
		return unprocessable(page, problem)
	}
	var threads []*thread
	for _, d := range want.Comments {
		d.SubjectType = "" // a review's comments are on lines: file-level ones come alone
		t, no := s.place(p, commit, base, files, d)
		if no != nil {
			// One bad comment loses the review, and nothing tells which it was (QwenLM/qwen-code#6711).
			if no.schema != "" {
				return badRequest(page, "For 'properties/comments', "+no.schema)
			}
			return unprocessable(page, no.sentence)
		}
		threads = append(threads, t)
	}
	rv := &review{id: s.id("review"), pull: p, user: c.caller.user(), body: want.Body, state: state, commit: commit}
	p.reviews = append(p.reviews, rv)
	for i, t := range threads {
		s.openThread(t, rv, c.caller.app, *want.Comments[i].Body)
	}
	if commit != p.head {
		if err := s.remap(c.ctx, p); err != nil {
			return s.broken(err)
		}
	}
	if state != "PENDING" {
		s.submit(c.ctx, rv)
	}
	return ok(s.reviewJSON(rv))
}

func checkReview(p *pull, by *user, state, body, page string) (reply, bool) {
	if utf8.RuneCountInString(body) > maxBody {
		return unprocessable(page, "Body is too long (maximum is 65536 characters)"), false
	}
	switch {
	case state == "PENDING":
		if slices.ContainsFunc(p.reviews, func(r *review) bool { return r.pending() && r.user == by }) {
			return unprocessable(page, "User can only have one pending review per pull request"), false
		}
	case state != "APPROVED" && strings.TrimSpace(body) == "":
		// As documented; in practice a COMMENT with inline comments passes without.
		return unprocessable(page, "Review body can't be blank"), false
	case state != "COMMENTED" && by == p.author:
		verb := map[string]string{"APPROVED": "approve", "CHANGES_REQUESTED": "request changes on"}[state]
		return unprocessable(page, "Review Can not "+verb+" your own pull request"), false
	}
	return reply{}, true
}

func (s *Sim) openThread(t *thread, rv *review, by *app, body string) *comment {
	t.id = s.id("thread")
	t.pull.threads = append(t.pull.threads, t)
	return s.addComment(t, rv, by, rv.user, body, 0)
}

func (s *Sim) addComment(t *thread, rv *review, by *app, u *user, body string, replyTo int64) *comment {
	cm := &comment{id: s.id("comment"), thread: t, review: rv, user: u, app: by, body: body, created: s.now(), updated: s.now(), replyTo: replyTo}
	t.comments = append(t.comments, cm)
	t.pull.update = s.now()
	return cm
}

// submit makes a review visible and tells of it.
func (s *Sim) submit(ctx context.Context, rv *review) {
	rv.submitted = s.now()
	p := rv.pull
	pr := s.pullJSON(ctx, p, false)
	o := s.reviewJSON(rv)
	o["state"] = strings.ToLower(rv.state) // lower case in webhooks alone
	s.emit(p.repo, "pull_request_review", "submitted", rv.user, obj{"review": o, "pull_request": pr})
	for _, t := range p.threads {
		for _, cm := range t.comments {
			if cm.review == rv {
				s.emit(p.repo, "pull_request_review_comment", "created", rv.user, obj{"comment": s.commentJSON(cm), "pull_request": pr})
			}
		}
	}
}

func (s *Sim) reviewOf(c *call) *review {
	p := s.pullOf(c)
	if p == nil {
		return nil
	}
	id := c.number("review_id")
	for _, rv := range p.reviews {
		if rv.id == id && (!rv.pending() || rv.user == c.caller.user()) {
			return rv
		}
	}
	return nil
}

func (s *Sim) listReviews(c *call) reply {
	p := s.pullOf(c)
	if p == nil {
		return notFound()
	}
	var list []*review
	for _, rv := range p.reviews {
		if !rv.pending() || rv.user == c.caller.user() {
			list = append(list, rv)
		}
	}
	return listed(c, list, func(rv *review) any { return s.reviewJSON(rv) })
}

func (s *Sim) getReview(c *call) reply {
	rv := s.reviewOf(c)
	if rv == nil {
		return notFound()
	}
	return ok(s.reviewJSON(rv))
}

func (s *Sim) updateReview(c *call) reply {
	const page = "rest/pulls/reviews#update-a-review-for-a-pull-request"
	rv := s.reviewOf(c)
	if rv == nil {
		return notFound()
	}
	if rv.user != c.caller.user() {
		return s.inaccessible(c)
	}
	var want struct{ Body *string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if want.Body == nil {
		return badRequest(page, `"body" wasn't supplied.`)
	}
	if utf8.RuneCountInString(*want.Body) > maxBody {
		return unprocessable(page, "Body is too long (maximum is 65536 characters)")
	}
	rv.body = *want.Body
	return ok(s.reviewJSON(rv))
}

func (s *Sim) deleteReview(c *call) reply {
	const page = "rest/pulls/reviews#delete-a-pending-review-for-a-pull-request"
	rv := s.reviewOf(c)
	if rv == nil {
		return notFound()
	}
	if !rv.pending() {
		return unprocessable(page, "Can not delete a non-pending pull request review")
	}
	p := rv.pull
	p.threads = slices.DeleteFunc(p.threads, func(t *thread) bool { return len(t.comments) > 0 && t.comments[0].review == rv })
	p.reviews = slices.DeleteFunc(p.reviews, func(x *review) bool { return x == rv })
	return ok(s.reviewJSON(rv))
}

func (s *Sim) submitReview(c *call) reply {
	const page = "rest/pulls/reviews#submit-a-review-for-a-pull-request"
	rv := s.reviewOf(c)
	if rv == nil {
		return notFound()
	}
	var want struct{ Body, Event string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	state, known := map[string]string{"COMMENT": "COMMENTED", "APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED"}[want.Event]
	if !known {
		return badRequest(page, fmt.Sprintf(`%q is not a member of ["APPROVE", "REQUEST_CHANGES", "COMMENT"].`, want.Event))
	}
	if !rv.pending() {
		return unprocessable(page, "Can not submit a non-pending pull request review")
	}
	body := want.Body
	if body == "" {
		body = rv.body
	}
	if rep, okay := checkReview(rv.pull, rv.user, state, body, page); !okay {
		return rep
	}
	rv.state, rv.body = state, body
	s.submit(c.ctx, rv)
	return ok(s.reviewJSON(rv))
}

func (s *Sim) reviewComments(c *call) reply {
	rv := s.reviewOf(c)
	if rv == nil {
		return notFound()
	}
	list := rv.pull.allComments(func(cm *comment) bool { return cm.review == rv })
	return listed(c, list, func(cm *comment) any {
		o := s.commentJSON(cm)
		if o["original_position"] == nil {
			o["original_position"] = 1 // this list's schema has no null here
		}
		return o
	})
}

func (s *Sim) reviewJSON(rv *review) obj {
	p := rv.pull
	api := fmt.Sprintf("%s/pulls/%d", s.repoURL(p.repo), p.number)
	site := fmt.Sprintf("%s/pull/%d#pullrequestreview-%d", s.siteURL(p.repo), p.number, rv.id)
	o := obj{
		"id": rv.id, "node_id": nodeID("PRR", rv.id), "user": s.userJSON(rv.user), "body": rv.body, "state": rv.state, "html_url": site,
		"pull_request_url": api, "author_association": s.association(p.repo, rv.user), "commit_id": rv.commit,
		"_links": obj{"html": obj{"href": site}, "pull_request": obj{"href": api}},
	}
	if !rv.pending() {
		o["submitted_at"] = stamp(rv.submitted)
	}
	return o
}

// ---- REST: review comments

// allComments lists the comments that keep admits, in the order of their ids.
func (p *pull) allComments(keep func(*comment) bool) []*comment {
	var list []*comment
	for _, t := range p.threads {
		for _, cm := range t.comments {
			if keep(cm) {
				list = append(list, cm)
			}
		}
	}
	slices.SortFunc(list, func(a, b *comment) int { return int(a.id - b.id) })
	return list
}

func (s *Sim) listComments(c *call) reply {
	p := s.pullOf(c)
	if p == nil {
		return notFound()
	}
	return s.comments(c, []*pull{p})
}

func (s *Sim) listRepositoryComments(c *call) reply { return s.comments(c, c.repo.pulls) }

func (s *Sim) comments(c *call, pulls []*pull) reply {
	q := c.r.URL.Query()
	since, _ := time.Parse(time.RFC3339, q.Get("since")) // none is the zero time
	var list []*comment
	for _, p := range pulls {
		list = append(list, p.allComments(func(cm *comment) bool {
			return !cm.review.pending() && !cm.updated.Before(since)
		})...)
	}
	if q.Get("sort") == "updated" {
		slices.SortStableFunc(list, func(a, b *comment) int { return a.updated.Compare(b.updated) })
	}
	if q.Get("direction") == "desc" && q.Get("sort") != "" { // direction is ignored without sort
		slices.Reverse(list)
	}
	return listed(c, list, func(cm *comment) any { return s.commentJSON(cm) })
}

func (s *Sim) commentOf(c *call) *comment {
	id := c.number("comment_id")
	for _, p := range c.repo.pulls {
		if cm := p.comment(id); cm != nil {
			return cm
		}
	}
	return nil
}

func (p *pull) comment(id int64) *comment {
	for _, t := range p.threads {
		for _, cm := range t.comments {
			if cm.id == id {
				return cm
			}
		}
	}
	return nil
}

func (s *Sim) getComment(c *call) reply {
	cm := s.commentOf(c)
	if cm == nil || cm.review.pending() {
		return notFound()
	}
	return ok(s.commentJSON(cm))
}

func (s *Sim) createComment(c *call) reply {
	const page = "rest/pulls/comments#create-a-review-comment-for-a-pull-request"
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	var want struct {
		draft
		CommitID  string `json:"commit_id"`
		InReplyTo int64  `json:"in_reply_to"`
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if want.InReplyTo != 0 {
		return s.reply(c, p, want.InReplyTo, want.Body, page)
	}
	if want.CommitID == "" {
		return badRequest(page, `"commit_id" wasn't supplied.`)
	}
	commit, base, files, problem, err := s.commented(c.ctx, p, want.CommitID)
	if err != nil {
		return s.broken(err)
	}
	if problem != "" {
		return invalid(page, fieldError{Resource: "PullRequestReviewComment", Code: "custom", Field: "pull_request_review_thread.commit_id", Message: problem})
	}
	t, no := s.place(p, commit, base, files, want.draft)
	if no != nil {
		if no.schema != "" {
			return badRequest(page, no.schema)
		}
		errs := []fieldError{no.field}
		if no.field.Field == "pull_request_review_thread.line" {
			errs = append(errs, fieldError{Resource: "PullRequestReviewComment", Code: "missing_field", Field: "pull_request_review_thread.diff_hunk"})
		}
		return invalid(page, errs...)
	}
	rv := s.silentReview(p, c.caller.user())
	cm := s.openThread(t, rv, c.caller.app, *want.Body)
	if commit != p.head {
		if err := s.remap(c.ctx, p); err != nil {
			return s.broken(err)
		}
	}
	s.emit(p.repo, "pull_request_review_comment", "created", cm.user, obj{"comment": s.commentJSON(cm), "pull_request": s.pullJSON(c.ctx, p, false)})
	return created(s.commentJSON(cm))
}

// silentReview is the review without a body that GitHub makes around a single
// comment.
func (s *Sim) silentReview(p *pull, u *user) *review {
	rv := &review{id: s.id("review"), pull: p, user: u, state: "COMMENTED", commit: p.head, submitted: s.now()}
	p.reviews = append(p.reviews, rv)
	return rv
}

func (s *Sim) createReply(c *call) reply {
	const page = "rest/pulls/comments#create-a-reply-for-a-review-comment"
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	var want struct{ Body *string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	return s.reply(c, p, c.number("comment_id"), want.Body, page)
}

func (s *Sim) reply(c *call, p *pull, to int64, body *string, page string) reply {
	cm := p.comment(to)
	if cm == nil || cm.replyTo != 0 { // replies to replies are not supported
		return refuse(http.StatusNotFound, "Parent comment not found", page)
	}
	if body == nil || strings.TrimSpace(*body) == "" {
		return badRequest(page, `"body" wasn't supplied.`)
	}
	if utf8.RuneCountInString(*body) > maxBody {
		return invalid(page, fieldError{Resource: "PullRequestReviewComment", Code: "custom", Field: "body", Message: "body is too long (maximum is 65536 characters)"})
	}
	answer := s.addComment(cm.thread, s.silentReview(p, c.caller.user()), c.caller.app, c.caller.user(), *body, to)
	s.emit(p.repo, "pull_request_review_comment", "created", answer.user, obj{"comment": s.commentJSON(answer), "pull_request": s.pullJSON(c.ctx, p, false)})
	return created(s.commentJSON(answer))
}

func (s *Sim) updateComment(c *call) reply {
	const page = "rest/pulls/comments#update-a-review-comment-for-a-pull-request"
	cm := s.commentOf(c)
	if cm == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	if cm.user != c.caller.user() {
		return s.inaccessible(c)
	}
	var want struct{ Body *string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if want.Body == nil || *want.Body == "" {
		return badRequest(page, `"body" wasn't supplied.`)
	}
	if utf8.RuneCountInString(*want.Body) > maxBody {
		return invalid(page, fieldError{Resource: "PullRequestReviewComment", Code: "custom", Field: "body", Message: "body is too long (maximum is 65536 characters)"})
	}
	old := cm.body
	cm.body, cm.updated = *want.Body, s.now()
	s.emit(c.repo, "pull_request_review_comment", "edited", cm.user, obj{
		"comment": s.commentJSON(cm), "pull_request": s.pullJSON(c.ctx, cm.thread.pull, false), "changes": obj{"body": obj{"from": old}},
	})
	return ok(s.commentJSON(cm))
}

func (s *Sim) deleteComment(c *call) reply {
	cm := s.commentOf(c)
	if cm == nil {
		return refuse(http.StatusNotFound, "Not Found", "rest/pulls/comments#delete-a-review-comment-for-a-pull-request")
	}
	if cm.user != c.caller.user() {
		return s.inaccessible(c)
	}
	s.removeComment(c.ctx, cm, c.caller.user())
	return reply{status: http.StatusNoContent}
}

func (s *Sim) removeComment(ctx context.Context, cm *comment, by *user) {
	t, p := cm.thread, cm.thread.pull
	gone := s.commentJSON(cm)
	t.comments = slices.DeleteFunc(t.comments, func(x *comment) bool { return x == cm })
	if len(t.comments) == 0 {
		p.threads = slices.DeleteFunc(p.threads, func(x *thread) bool { return x == t })
	}
	s.emit(p.repo, "pull_request_review_comment", "deleted", by, obj{"comment": gone, "pull_request": s.pullJSON(ctx, p, false)})
}

func (s *Sim) commentJSON(cm *comment) obj {
	t, p := cm.thread, cm.thread.pull
	pullAPI := fmt.Sprintf("%s/pulls/%d", s.repoURL(p.repo), p.number)
	api := fmt.Sprintf("%s/pulls/comments/%d", s.repoURL(p.repo), cm.id)
	site := fmt.Sprintf("%s/pull/%d#discussion_r%d", s.siteURL(p.repo), p.number, cm.id)
	number := func(n int) any {
		if n == 0 {
			return nil
		}
		return n
	}
	o := obj{
		"id": cm.id, "node_id": nodeID("PRRC", cm.id), "url": api, "html_url": site, "pull_request_url": pullAPI,
		"pull_request_review_id": cm.review.id, "diff_hunk": t.hunk, "path": t.path, "commit_id": t.commit, "original_commit_id": t.original,
		"user": s.userJSON(cm.user), "body": cm.body, "created_at": stamp(cm.created), "updated_at": stamp(cm.updated),
		"author_association": s.association(p.repo, cm.user), "subject_type": "line",
		"line": number(t.line), "original_line": number(t.originalLine), "side": string(t.side),
		"start_line": number(t.startLine), "original_start_line": number(t.firstStart), "start_side": nil,
		"position": number(t.position), "original_position": number(t.originalPosition),
		"reactions": reactionsJSON(api, cm.reactions),
		"_links":    obj{"self": obj{"href": api}, "html": obj{"href": site}, "pull_request": obj{"href": pullAPI}},
	}
	if t.startSide != "" {
		o["start_side"] = string(t.startSide)
	}
	if t.file {
		o["subject_type"] = "file"
	}
	if o["original_position"] == nil {
		delete(o, "original_position")
	}
	if o["original_line"] == nil {
		delete(o, "original_line")
	}
	if cm.replyTo != 0 {
		o["in_reply_to_id"] = cm.replyTo
	}
	return o
}

// ---- reactions

func reactionsJSON(api string, list []*reaction) obj {
	o := obj{"url": api + "/reactions", "total_count": len(list)}
	for _, n := range reactionNames {
		o[n.rest] = 0
	}
	for _, r := range list {
		o[r.content] = o[r.content].(int) + 1
	}
	return o
}

// reactionsOf finds what the path's comment carries.
func (s *Sim) reactionsOf(c *call) *[]*reaction {
	if strings.Contains(c.route.pattern, "/pulls/") {
		if cm := s.commentOf(c); cm != nil {
			return &cm.reactions
		}
		return nil
	}
	if ic := s.issueCommentOf(c); ic != nil {
		return &ic.reactions
	}
	return nil
}

func (s *Sim) listReactions(c *call) reply {
	list := s.reactionsOf(c)
	if list == nil {
		return notFound()
	}
	kept := slices.Clone(*list)
	if content := c.r.URL.Query().Get("content"); content != "" {
		kept = slices.DeleteFunc(kept, func(r *reaction) bool { return r.content != content })
	}
	return listed(c, kept, func(r *reaction) any { return s.reactionJSON(r) })
}

func (s *Sim) createReaction(c *call) reply {
	const page = "rest/reactions/reactions"
	list := s.reactionsOf(c)
	if list == nil {
		return notFound()
	}
	var want struct{ Content string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	r, isNew, known := s.react(list, c.caller.user(), want.Content)
	switch {
	case !known:
		return badRequest(page, fmt.Sprintf("%q is not a reaction.", want.Content))
	case isNew:
		return created(s.reactionJSON(r))
	}
	return ok(s.reactionJSON(r))
}

func (s *Sim) react(list *[]*reaction, u *user, content string) (r *reaction, isNew, known bool) {
	for _, n := range reactionNames {
		known = known || n.rest == content
	}
	if !known {
		return nil, false, false
	}
	for _, r := range *list {
		if r.user == u && r.content == content {
			return r, false, true
		}
	}
	r = &reaction{id: s.id("reaction"), user: u, content: content, at: s.now()}
	*list = append(*list, r)
	return r, true, true
}

func (s *Sim) deleteReaction(c *call) reply {
	list := s.reactionsOf(c)
	if list == nil {
		return notFound()
	}
	id := c.number("reaction_id")
	for i, r := range *list {
		if r.id != id {
			continue
		}
		if r.user != c.caller.user() {
			return s.inaccessible(c)
		}
		*list = slices.Delete(*list, i, i+1)
		return reply{status: http.StatusNoContent}
	}
	return notFound()
}

func (s *Sim) reactionJSON(r *reaction) obj {
	return obj{"id": r.id, "node_id": nodeID("REA", r.id), "user": s.userJSON(r.user), "content": r.content, "created_at": stamp(r.at)}
}

// ---- REST: comments of the conversation

func (s *Sim) issueCommentOf(c *call) *issueComment {
	id := c.number("comment_id")
	for _, p := range c.repo.pulls {
		for _, ic := range p.comments {
			if ic.id == id {
				return ic
			}
		}
	}
	return nil
}

func (s *Sim) listIssueComments(c *call) reply {
	p := s.pullOf(c)
	if p == nil {
		return notFound()
	}
	return listed(c, p.comments, func(ic *issueComment) any { return s.issueCommentJSON(ic) })
}

func (s *Sim) getIssueComment(c *call) reply {
	ic := s.issueCommentOf(c)
	if ic == nil {
		return notFound()
	}
	return ok(s.issueCommentJSON(ic))
}

func (s *Sim) createIssueComment(c *call) reply {
	const page = "rest/issues/comments#create-an-issue-comment"
	p := s.pullOf(c)
	if p == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	var want struct{ Body *string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if rep, okay := checkIssueBody(want.Body, page); !okay {
		return rep
	}
	return created(s.issueCommentJSON(s.addIssueComment(c.ctx, p, c.caller.user(), c.caller.app, *want.Body)))
}

func checkIssueBody(body *string, page string) (reply, bool) {
	switch {
	case body == nil:
		return badRequest(page, `"body" wasn't supplied.`), false
	case strings.TrimSpace(*body) == "":
		return invalid(page, fieldError{Resource: "IssueComment", Code: "missing_field", Field: "body"}), false
	case utf8.RuneCountInString(*body) > maxBody:
		return invalid(page, fieldError{Resource: "IssueComment", Code: "unprocessable", Field: "data", Message: "Body is too long (maximum is 65536 characters)"}), false
	}
	return reply{}, true
}

func (s *Sim) addIssueComment(ctx context.Context, p *pull, u *user, by *app, body string) *issueComment {
	ic := &issueComment{id: s.id("comment"), pull: p, user: u, app: by, body: body, created: s.now(), updated: s.now()}
	p.comments = append(p.comments, ic)
	p.update = s.now()
	s.emitIssueComment(ic, "created", u, nil)
	return ic
}

func (s *Sim) emitIssueComment(ic *issueComment, action string, by *user, more obj) {
	p := ic.pull
	fields := obj{"comment": s.issueCommentJSON(ic), "issue": s.issueJSON(p)}
	for k, v := range more {
		fields[k] = v
	}
	s.emit(p.repo, "issue_comment", action, by, fields)
}

func (s *Sim) updateIssueComment(c *call) reply {
	const page = "rest/issues/comments#update-an-issue-comment"
	ic := s.issueCommentOf(c)
	if ic == nil {
		return notFound()
	}
	if ic.user != c.caller.user() {
		return s.inaccessible(c)
	}
	var want struct{ Body *string }
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if rep, okay := checkIssueBody(want.Body, page); !okay {
		return rep
	}
	old := ic.body
	ic.body, ic.updated = *want.Body, s.now()
	s.emitIssueComment(ic, "edited", ic.user, obj{"changes": obj{"body": obj{"from": old}}})
	return ok(s.issueCommentJSON(ic))
}

func (s *Sim) deleteIssueComment(c *call) reply {
	ic := s.issueCommentOf(c)
	if ic == nil {
		return notFound()
	}
	if ic.user != c.caller.user() {
		return s.inaccessible(c)
	}
	ic.pull.comments = slices.DeleteFunc(ic.pull.comments, func(x *issueComment) bool { return x == ic })
	s.emitIssueComment(ic, "deleted", ic.user, nil)
	return reply{status: http.StatusNoContent}
}

func (s *Sim) issueCommentJSON(ic *issueComment) obj {
	p := ic.pull
	api := fmt.Sprintf("%s/issues/comments/%d", s.repoURL(p.repo), ic.id)
	o := obj{
		"id": ic.id, "node_id": nodeID("IC", ic.id), "url": api, "body": ic.body, "user": s.userJSON(ic.user),
		"html_url":   fmt.Sprintf("%s/pull/%d#issuecomment-%d", s.siteURL(p.repo), p.number, ic.id),
		"issue_url":  fmt.Sprintf("%s/issues/%d", s.repoURL(p.repo), p.number),
		"created_at": stamp(ic.created), "updated_at": stamp(ic.updated), "author_association": s.association(p.repo, ic.user),
		"reactions": reactionsJSON(api, ic.reactions), "performed_via_github_app": nil,
	}
	if ic.app != nil {
		o["performed_via_github_app"] = s.appJSON(ic.app)
	}
	return o
}

// issueJSON is the pull request as issue_comment events show it.
func (s *Sim) issueJSON(p *pull) obj {
	api := fmt.Sprintf("%s/issues/%d", s.repoURL(p.repo), p.number)
	pullAPI := fmt.Sprintf("%s/pulls/%d", s.repoURL(p.repo), p.number)
	site := fmt.Sprintf("%s/pull/%d", s.siteURL(p.repo), p.number)
	labels := []any{}
	for _, l := range p.labels {
		labels = append(labels, labelJSON(s, p.repo, l))
	}
	return obj{
		"id": p.id + 1_000_000, "node_id": nodeID("PR", p.id), "number": p.number, "title": p.title, "user": s.userJSON(p.author), "labels": labels,
		"state": p.state, "locked": false, "assignee": nil, "assignees": []any{}, "milestone": nil, "comments": len(p.comments),
		"created_at": stamp(p.created), "updated_at": stamp(p.update), "closed_at": stampOrNil(p.closed),
		"author_association": s.association(p.repo, p.author), "active_lock_reason": nil, "draft": p.draft, "body": p.body,
		"url": api, "repository_url": s.repoURL(p.repo), "labels_url": api + "/labels{/name}", "comments_url": api + "/comments",
		"events_url": api + "/events", "html_url": site, "timeline_url": api + "/timeline", "performed_via_github_app": nil,
		"state_reason": nil, "reactions": reactionsJSON(api, nil),
		"pull_request": obj{"url": pullAPI, "html_url": site, "diff_url": site + ".diff", "patch_url": site + ".patch", "merged_at": nil},
	}
}
