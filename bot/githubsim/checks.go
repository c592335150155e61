package githubsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

type suite struct {
	id               int64
	repo             *repository
	app              *app
	head             string
	created, updated time.Time
	runs             []*checkRun
}

type checkRun struct {
	id                   int64
	suite                *suite
	name, externalID     string
	details              string
	status, conclusion   string // conclusion "" until completed
	started, completed   time.Time
	title, summary, text *string
	annotations          []annotation
	actions              []checkAction
}

type annotation struct {
	Path        *string `json:"path"`
	StartLine   *int    `json:"start_line"`
	EndLine     *int    `json:"end_line"`
	StartColumn *int    `json:"start_column"`
	EndColumn   *int    `json:"end_column"`
	Level       *string `json:"annotation_level"`
	Message     *string `json:"message"`
	Title       *string `json:"title"`
	RawDetails  *string `json:"raw_details"`
}

type checkAction struct {
	Label       *string `json:"label"`
	Description *string `json:"description"`
	Identifier  *string `json:"identifier"`
}

// A checkRequest is the body of creating and updating a run.
type checkRequest struct {
	Name        *string `json:"name"`
	HeadSHA     *string `json:"head_sha"`
	DetailsURL  *string `json:"details_url"`
	ExternalID  *string `json:"external_id"`
	Status      *string `json:"status"`
	Conclusion  *string `json:"conclusion"`
	StartedAt   *string `json:"started_at"`
	CompletedAt *string `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []annotation `json:"annotations"`
	} `json:"output"`
	Actions *[]checkAction `json:"actions"`
}

func tooLong(p *string, most int) string {
	if p == nil {
		return ""
	}
	if n := utf8.RuneCountInString(*p); n > most {
		return fmt.Sprintf("Only %d characters are allowed; %d were supplied.", most, n)
	}
	return ""
}

var (
	checkStatuses    = []string{"queued", "in_progress", "completed", "waiting", "requested", "pending"}
	checkConclusions = []string{"action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"}
)

// problem says what GitHub's schema refuses in a request, "" if nothing.
func (q *checkRequest) problem(creating bool) string {
	if creating {
		for _, f := range []struct {
			name  string
			value *string
		}{{"name", q.Name}, {"head_sha", q.HeadSHA}} {
			if f.value == nil || *f.value == "" {
				return fmt.Sprintf("%q wasn't supplied.", f.name)
			}
		}
	}
	if q.Status != nil && !slices.Contains(checkStatuses, *q.Status) {
		return fmt.Sprintf("%q is not a member of %q.", *q.Status, checkStatuses)
	}
	if q.Conclusion != nil && !slices.Contains(checkConclusions, *q.Conclusion) {
		return fmt.Sprintf("%q is not a member of %q.", *q.Conclusion, checkConclusions)
	}
	if q.Status != nil && *q.Status == "completed" && q.Conclusion == nil {
		return "No subschema in \"anyOf\" matched.\nFor 'anyOf/0', \"conclusion\" wasn't supplied."
	}
	for _, at := range []*string{q.StartedAt, q.CompletedAt} {
		if at != nil {
			if _, err := time.Parse(time.RFC3339, *at); err != nil {
				return fmt.Sprintf("%q is not a date-time.", *at)
			}
		}
	}
	if q.Output != nil {
		o := q.Output
		if o.Summary == nil {
			return "For 'properties/output', \"summary\" wasn't supplied."
		}
		if creating && o.Title == nil {
			return "For 'properties/output', \"title\" wasn't supplied."
		}
		for _, f := range []struct {
			value *string
			most  int
		}{{o.Title, 255}, {o.Summary, 65_535}, {o.Text, 65_535}} {
			if p := tooLong(f.value, f.most); p != "" {
				return p
			}
		}
		if n := len(o.Annotations); n > 50 {
			return fmt.Sprintf("No more than 50 items are allowed; %d were supplied.", n)
		}
		for i := range o.Annotations {
			if p := o.Annotations[i].problem(); p != "" {
				return "For 'properties/annotations', " + p
			}
		}
	}
	if q.Actions != nil {
		if n := len(*q.Actions); n > 3 {
			return fmt.Sprintf("No more than 3 items are allowed; %d were supplied.", n)
		}
		for _, a := range *q.Actions {
			for _, f := range []struct {
				name  string
				value *string
				most  int
			}{{"label", a.Label, 20}, {"description", a.Description, 40}, {"identifier", a.Identifier, 20}} {
				if f.value == nil {
					return fmt.Sprintf("For 'properties/actions', %q wasn't supplied.", f.name)
				}
				if p := tooLong(f.value, f.most); p != "" {
					return "For 'properties/actions', " + p
				}
			}
		}
	}
	return ""
}

func (a *annotation) problem() string {
	switch {
	case a.Path == nil || *a.Path == "":
		return `"path" wasn't supplied.`
	case a.StartLine == nil:
		return `"start_line" wasn't supplied.`
	case a.EndLine == nil:
		return `"end_line" wasn't supplied.`
	case a.Message == nil || *a.Message == "":
		return `"message" wasn't supplied.`
	case a.Level == nil:
		return `"annotation_level" wasn't supplied.`
	case !slices.Contains([]string{"notice", "warning", "failure"}, *a.Level):
		return fmt.Sprintf(`%q is not a member of ["notice", "warning", "failure"].`, *a.Level)
	case *a.StartLine < 1 || *a.EndLine < *a.StartLine:
		return "end_line must not be before start_line."
	case (a.StartColumn != nil || a.EndColumn != nil) && *a.StartLine != *a.EndLine:
		return "Columns can only be supplied if start_line and end_line are the same."
	case len(*a.Message) > 64<<10 || (a.RawDetails != nil && len(*a.RawDetails) > 64<<10):
		return "No more than 64 KB are allowed."
	}
	return tooLong(a.Title, 255)
}

// apply writes a checked request into a run.
func (s *Sim) apply(run *checkRun, q *checkRequest) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&run.name, q.Name)
	set(&run.details, q.DetailsURL)
	set(&run.externalID, q.ExternalID)
	if q.Status != nil {
		run.status = *q.Status
		if *q.Status != "completed" && q.Conclusion == nil {
			run.conclusion, run.completed = "", time.Time{}
		}
	}
	at := func(text *string, otherwise time.Time) time.Time {
		if text == nil {
			return otherwise
		}
		t, _ := time.Parse(time.RFC3339, *text) // checked before
		return t
	}
	run.started = at(q.StartedAt, run.started)
	if q.Conclusion != nil { // a conclusion completes the run, as documented
		run.conclusion, run.status = *q.Conclusion, "completed"
		run.completed = at(q.CompletedAt, s.now())
	}
	if q.Output != nil {
		if q.Output.Title != nil {
			run.title = q.Output.Title
		}
		run.summary = q.Output.Summary
		if q.Output.Text != nil {
			run.text = q.Output.Text
		}
		run.annotations = append(run.annotations, q.Output.Annotations...) // never replaced
	}
	if q.Actions != nil {
		run.actions = *q.Actions
	}
	run.suite.updated = s.now()
}

func (s *Sim) createCheckRun(c *call) reply {
	const page = "rest/checks/runs#create-a-check-run"
	var q checkRequest
	if rep, okay := decode(c, &q); !okay {
		return rep
	}
	if p := q.problem(true); p != "" {
		return badRequest(page, p)
	}
	sha := ""
	if isSHA(*q.HeadSHA) {
		sha = c.repo.git.commitSHA(*q.HeadSHA)
	}
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+*q.HeadSHA, page)
	}
	run := &checkRun{id: s.id("check_run"), suite: s.suite(c.repo, c.caller.app, sha), status: "queued", started: s.now()}
	same := 0
	for _, r := range run.suite.runs {
		if r.name == *q.Name {
			same++
		}
	}
	if same >= 1000 { // the oldest of a thousand namesakes goes
		i := slices.IndexFunc(run.suite.runs, func(r *checkRun) bool { return r.name == *q.Name })
		run.suite.runs = slices.Delete(run.suite.runs, i, i+1)
	}
	s.apply(run, &q)
	run.suite.runs = append(run.suite.runs, run)
	s.emitRun(run, "created", c.caller.user(), nil)
	if run.status == "completed" {
		s.emitRun(run, "completed", c.caller.user(), nil)
	}
	return created(s.runJSON(run))
}

func (s *Sim) updateCheckRun(c *call) reply {
	const page = "rest/checks/runs#update-a-check-run"
	run := s.runOf(c)
	if run == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	if run.suite.app != c.caller.app { // JSONbored/loopover#1652
		return refuse(http.StatusForbidden, "Invalid app_id `"+fmt.Sprint(c.caller.app.id)+"` - check run can only be modified by the GitHub App that created it.", page)
	}
	var q checkRequest
	if rep, okay := decode(c, &q); !okay {
		return rep
	}
	q.HeadSHA = nil // cannot be changed
	if p := q.problem(false); p != "" {
		return badRequest(page, p)
	}
	was := run.status
	s.apply(run, &q)
	if run.status == "completed" && was != "completed" {
		s.emitRun(run, "completed", c.caller.user(), nil)
	}
	return ok(s.runJSON(run))
}

func (s *Sim) runOf(c *call) *checkRun { return c.repo.run(c.number("check_run_id")) }

func (r *repository) run(id int64) *checkRun {
	for _, su := range r.suites {
		for _, run := range su.runs {
			if run.id == id {
				return run
			}
		}
	}
	return nil
}

func (s *Sim) getCheckRun(c *call) reply {
	run := s.runOf(c)
	if run == nil {
		return notFound()
	}
	return ok(s.runJSON(run))
}

func (s *Sim) listAnnotations(c *call) reply {
	run := s.runOf(c)
	if run == nil {
		return notFound()
	}
	return listed(c, run.annotations, func(a annotation) any {
		o := obj{
			"path": *a.Path, "blob_href": fmt.Sprintf("%s/blob/%s/%s", s.siteURL(c.repo), run.suite.head, *a.Path),
			"start_line": *a.StartLine, "end_line": *a.EndLine, "start_column": nil, "end_column": nil,
			"annotation_level": *a.Level, "title": nil, "message": *a.Message, "raw_details": nil,
		}
		if a.StartColumn != nil {
			o["start_column"] = *a.StartColumn
		}
		if a.EndColumn != nil {
			o["end_column"] = *a.EndColumn
		}
		if a.Title != nil {
			o["title"] = *a.Title
		}
		if a.RawDetails != nil {
			o["raw_details"] = *a.RawDetails
		}
		return o
	})
}

func (s *Sim) listCheckRuns(c *call, ref string) reply {
	sha := c.repo.git.commitSHA(ref)
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+ref, "rest/checks/runs#list-check-runs-for-a-git-reference")
	}
	var suites []*suite
	for _, su := range c.repo.suites {
		if su.head == sha {
			suites = append(suites, su)
		}
	}
	return s.runs(c, suites)
}

func (s *Sim) suiteRuns(c *call) reply {
	su := s.suiteOf(c)
	if su == nil {
		return notFound()
	}
	return s.runs(c, []*suite{su})
}

func (s *Sim) runs(c *call, suites []*suite) reply {
	q := c.r.URL.Query()
	var list []*checkRun
	for _, su := range suites {
		if id := q.Get("app_id"); id != "" && id != fmt.Sprint(su.app.id) {
			continue
		}
		latest := map[string]bool{}
		for _, run := range slices.Backward(su.runs) {
			if q.Get("filter") != "all" && latest[run.name] {
				continue
			}
			latest[run.name] = true
			if name := q.Get("check_name"); name != "" && name != run.name {
				continue
			}
			if status := q.Get("status"); status != "" && status != run.status {
				continue
			}
			list = append(list, run)
		}
	}
	slices.SortFunc(list, func(a, b *checkRun) int { return int(b.id - a.id) })
	out, link := page(c, list, func(run *checkRun) any { return s.runJSON(run) })
	rep := ok(obj{"total_count": len(list), "check_runs": out})
	if link != "" {
		rep = rep.with("Link", link)
	}
	return rep
}

func (s *Sim) listCheckSuites(c *call, ref string) reply {
	sha := c.repo.git.commitSHA(ref)
	var list []*suite
	for _, su := range c.repo.suites {
		if id := c.r.URL.Query().Get("app_id"); su.head == sha && (id == "" || id == fmt.Sprint(su.app.id)) {
			list = append(list, su)
		}
	}
	out, link := page(c, list, func(su *suite) any { return s.suiteJSON(su) })
	rep := ok(obj{"total_count": len(list), "check_suites": out})
	if link != "" {
		rep = rep.with("Link", link)
	}
	return rep
}

func (s *Sim) suiteOf(c *call) *suite {
	id := c.number("check_suite_id")
	for _, su := range c.repo.suites {
		if su.id == id {
			return su
		}
	}
	return nil
}

func (s *Sim) getCheckSuite(c *call) reply {
	su := s.suiteOf(c)
	if su == nil {
		return notFound()
	}
	return ok(s.suiteJSON(su))
}

func (s *Sim) rerequestRun(c *call) reply {
	run := s.runOf(c)
	if run == nil {
		return notFound()
	}
	s.rerequest(run, c.caller.user())
	return created(obj{})
}

func (s *Sim) rerequestSuite(c *call) reply {
	su := s.suiteOf(c)
	if su == nil {
		return notFound()
	}
	s.emitSuite(su, "rerequested", c.caller.user())
	return created(obj{})
}

func (s *Sim) rerequest(run *checkRun, by *user) { s.emitRun(run, "rerequested", by, nil) }

// RerequestCheckRun presses "Re-run" of one check run.
func (s *Sim) RerequestCheckRun(owner, name string, id int64, login string) error {
	return s.onRun(owner, name, id, func(run *checkRun) error {
		s.rerequest(run, s.user(login, ""))
		return nil
	})
}

// RequestAction presses one of the buttons that a check run offers.
func (s *Sim) RequestAction(owner, name string, id int64, identifier, login string) error {
	return s.onRun(owner, name, id, func(run *checkRun) error {
		if run.status != "completed" || !slices.ContainsFunc(run.actions, func(a checkAction) bool { return *a.Identifier == identifier }) {
			return refusal("check run %d does not offer %q", id, identifier)
		}
		s.emitRun(run, "requested_action", s.user(login, ""), obj{"requested_action": obj{"identifier": identifier}})
		return nil
	})
}

// RerequestCheckSuite presses "Re-run all checks" for an App on a commit.
func (s *Sim) RerequestCheckSuite(owner, name, head string, appID int64, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r != nil {
		for _, su := range r.suites {
			if su.head == head && su.app.id == appID {
				s.emitSuite(su, "rerequested", s.user(login, ""))
				s.touch()
				return nil
			}
		}
	}
	return refusal("%s/%s has no check suite of App %d on %s", owner, name, appID, head)
}

func (s *Sim) onRun(owner, name string, id int64, do func(*checkRun) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil || r.run(id) == nil {
		return refusal("%s/%s has no check run %d", owner, name, id)
	}
	defer s.touch()
	return do(r.run(id))
}

// suite finds or makes the suite of an App on a commit.
func (s *Sim) suite(r *repository, a *app, head string) *suite {
	for _, su := range r.suites {
		if su.app == a && su.head == head {
			return su
		}
	}
	su := &suite{id: s.id("check_suite"), repo: r, app: a, head: head, created: s.now(), updated: s.now()}
	r.suites = append(r.suites, su)
	return su
}

// requestSuites tells every App that may write checks of a push, wanted or not.
func (s *Sim) requestSuites(r *repository, head string) {
	for _, in := range s.installs {
		if !in.has(r) || !in.suspended.IsZero() || rank(in.permissions["checks"]) < rank("write") {
			continue
		}
		exists := slices.ContainsFunc(r.suites, func(su *suite) bool { return su.app == in.app && su.head == head })
		if su := s.suite(r, in.app, head); !exists {
			s.emitSuite(su, "requested", r.owner)
		}
	}
}

// own gives the installation of a suite's App on its repository.
func (su *suite) own(s *Sim) *installation {
	for _, in := range s.installs {
		if in.app == su.app && in.has(su.repo) && in.suspended.IsZero() {
			return in
		}
	}
	return nil
}

func (s *Sim) emitSuite(su *suite, action string, by *user) {
	if in := su.own(s); in != nil {
		s.emitTo(in, su.repo, "check_suite", action, by, obj{"check_suite": s.suiteJSON(su)})
	}
}

// emitRun tells of a check run: buttons only the run's own App, the rest all
// Apps that asked for check_run.
func (s *Sim) emitRun(run *checkRun, action string, by *user, more obj) {
	fields := obj{"check_run": s.runJSON(run)}
	for k, v := range more {
		fields[k] = v
	}
	if action == "rerequested" || action == "requested_action" {
		if in := run.suite.own(s); in != nil {
			s.emitTo(in, run.suite.repo, "check_run", action, by, fields)
		}
		return
	}
	s.emit(run.suite.repo, "check_run", action, by, fields)
}

// pullsOf lists the pull requests of a head; those of forks are left out, as
// GitHub does (tektoncd/pipelines-as-code#2597).
func (su *suite) pullsOf() []*pull {
	var list []*pull
	for _, p := range su.repo.pulls {
		if p.head == su.head && p.headRepo == su.repo && p.state == "open" {
			list = append(list, p)
		}
	}
	return list
}

func (s *Sim) pullsMinimal(su *suite) []any {
	list := []any{}
	for _, p := range su.pullsOf() {
		side := func(r *repository, ref, sha string) obj {
			return obj{"ref": ref, "sha": sha, "repo": obj{"id": r.id, "url": s.repoURL(r), "name": r.name}}
		}
		list = append(list, obj{
			"url": fmt.Sprintf("%s/pulls/%d", s.repoURL(p.repo), p.number), "id": p.id, "number": p.number,
			"head": side(p.headRepo, p.headRef, p.head), "base": side(p.repo, p.baseRef, p.base),
		})
	}
	return list
}

func (s *Sim) runJSON(run *checkRun) obj {
	su := run.suite
	r := su.repo
	api := fmt.Sprintf("%s/check-runs/%d", s.repoURL(r), run.id)
	site := fmt.Sprintf("%s/runs/%d", s.siteURL(r), run.id)
	text := func(p *string) any {
		if p == nil {
			return nil
		}
		return *p
	}
	orNil := func(v string) any {
		if v == "" {
			return nil
		}
		return v
	}
	details := run.details
	if details == "" {
		details = site
	}
	return obj{
		"id": run.id, "node_id": nodeID("CR", run.id), "head_sha": su.head, "external_id": run.externalID, "url": api, "html_url": site,
		"details_url": details, "status": run.status, "conclusion": orNil(run.conclusion), "started_at": stampOrNil(run.started),
		"completed_at": stampOrNil(run.completed), "name": run.name, "check_suite": obj{"id": su.id}, "app": s.appJSON(su.app),
		"pull_requests": s.pullsMinimal(su),
		"output": obj{
			"title": text(run.title), "summary": text(run.summary), "text": text(run.text),
			"annotations_count": len(run.annotations), "annotations_url": api + "/annotations",
		},
	}
}

func (su *suite) state() (status string, conclusion string) {
	status, conclusion = "queued", ""
	if len(su.runs) == 0 {
		return status, ""
	}
	status, conclusion = "completed", "neutral"
	for _, run := range su.runs {
		switch {
		case run.status != "completed":
			return "in_progress", ""
		case run.conclusion == "failure":
			conclusion = "failure"
		case run.conclusion == "success" && conclusion == "neutral":
			conclusion = "success"
		}
	}
	return status, conclusion
}

func (s *Sim) suiteJSON(su *suite) obj {
	api := fmt.Sprintf("%s/check-suites/%d", s.repoURL(su.repo), su.id)
	status, conclusion := su.state()
	o := obj{
		"id": su.id, "node_id": nodeID("CS", su.id), "head_branch": nil, "head_sha": su.head, "status": status, "conclusion": nil, "url": api,
		"before": nil, "after": su.head, "pull_requests": s.pullsMinimal(su), "app": s.appJSON(su.app),
		"created_at": stamp(su.created), "updated_at": stamp(su.updated), "rerequestable": true, "runs_rerequestable": true,
		"latest_check_runs_count": len(su.runs), "check_runs_url": api + "/check-runs", "repository": s.repositoryJSON(su.repo),
	}
	if conclusion != "" {
		o["conclusion"] = conclusion
	}
	for ref, sha := range su.repo.heads {
		if sha == su.head { // null for the head of a fork
			o["head_branch"] = strings.TrimPrefix(ref, "refs/heads/")
		}
	}
	if info, err := su.repo.git.commit(su.head); err == nil {
		o["head_commit"] = obj{
			"id": info.SHA, "tree_id": info.Tree, "message": info.Message, "timestamp": stamp(info.Author.When),
			"author":    obj{"name": info.Author.Name, "email": info.Author.Email},
			"committer": obj{"name": info.Committer.Name, "email": info.Committer.Email},
		}
	}
	return o
}
