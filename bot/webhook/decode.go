package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/bot"
)

// The event names that can make a job; all others are answered 204 unread.
const (
	pullRequestEvent = "pull_request"
	checkRunEvent    = "check_run"
	checkSuiteEvent  = "check_suite"
	threadEvent      = "pull_request_review_thread"
	commentEvent     = "issue_comment"
	mergeEvent       = "merge_group"
	pushEvent        = bot.EventPush
	installEvent     = "installation"
	removalEvent     = "installation_repositories"
	repositoryEvent  = "repository"
)

// payload is what the bot reads of a delivery. Other fields may change or be
// odd without harm: GitHub's own examples do not all follow its schema.
type payload struct {
	Action       string        `json:"action"`
	Number       int           `json:"number"`
	PullRequest  *pullRequest  `json:"pull_request"`
	CheckRun     *checkRun     `json:"check_run"`
	CheckSuite   *checkSuite   `json:"check_suite"`
	Repository   *repository   `json:"repository"`
	Installation *installation `json:"installation"`
	Sender       *account      `json:"sender"`
	Issue        *issue        `json:"issue"`
	Comment      *comment      `json:"comment"`
	Repositories []repository  `json:"repositories"`
	Removed      []repository  `json:"repositories_removed"`
	MergeGroup   *mergeGroup   `json:"merge_group"`
	// Of a push: the branch, its new commit, and whether it is gone.
	Ref     string `json:"ref"`
	After   string `json:"after"`
	Deleted bool   `json:"deleted"`
	// RequestedAction is the button of a check run that was pressed.
	RequestedAction *struct {
		Identifier string `json:"identifier"`
	} `json:"requested_action"`
	Changes *struct {
		Base json.RawMessage `json:"base"`
	} `json:"changes"`
}

type (
	pullRequest struct {
		Number int `json:"number"`
		// Comments are those in the diff. Examples exist that have another kind of
		// value here, which is no reason to refuse a delivery.
		Comments json.RawMessage `json:"review_comments"`
		Updated  json.RawMessage `json:"updated_at"`
		// Base is filled in check events, where the list also names pull requests
		// of forks.
		Base struct {
			Repo struct {
				ID int64 `json:"id"`
			} `json:"repo"`
		} `json:"base"`
	}
	checkRun struct {
		ExternalID   string        `json:"external_id"`
		HeadSHA      string        `json:"head_sha"`
		App          app           `json:"app"`
		PullRequests []pullRequest `json:"pull_requests"`
	}
	checkSuite struct {
		HeadSHA      string        `json:"head_sha"`
		App          app           `json:"app"`
		PullRequests []pullRequest `json:"pull_requests"`
	}
	app struct {
		ID int64 `json:"id"`
	}
	repository struct {
		ID       int64   `json:"id"`
		Name     string  `json:"name"`
		FullName string  `json:"full_name"`
		Owner    account `json:"owner"`
		// DefaultBranch is its name.
		DefaultBranch string `json:"default_branch"`
	}
	installation struct {
		ID int64 `json:"id"`
	}
	account struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	}
	issue struct {
		Number int     `json:"number"`
		User   account `json:"user"`
		// PullRequest is there if the issue is a pull request.
		PullRequest json.RawMessage `json:"pull_request"`
	}
	comment struct {
		ID     int64   `json:"id"`
		NodeID string  `json:"node_id"`
		Body   string  `json:"body"`
		User   account `json:"user"`
	}
	mergeGroup struct {
		HeadSHA string `json:"head_sha"`
	}
)

// errMalformed is wrapped by the errors of decode.
var errMalformed = errors.New("malformed delivery")

// identity says who the bot is; its zero value knows nothing.
type identity struct {
	app   int64  // the App's id
	login string // of the App's own account, e.g. "dtypebot[bot]"
}

// Wants reports whether a delivery of that event and action can make a job, as
// far as that shows without its payload.
func Wants(event, action string) bool {
	switch event {
	case pullRequestEvent:
		return action == "edited" || wanted(event, &payload{Action: action})
	case checkRunEvent:
		return action == "requested_action" || wanted(event, &payload{Action: action})
	case checkSuiteEvent, threadEvent, commentEvent, mergeEvent, pushEvent, installEvent, removalEvent, repositoryEvent:
		return wanted(event, &payload{Action: action})
	}
	return false
}

// Jobs returns the jobs that a delivery of that event asks for, none if it is
// not for the bot: what the handler would store, without Delivery and Accepted.
// It verifies no signature. appID is the App's id, 0 if it is not known.
func Jobs(event string, payload []byte, appID int64) ([]bot.Job, error) {
	return decode(event, payload, identity{app: appID})
}

// decode returns the jobs that a delivery asks for, with V, Installation,
// Repository, Owner, Name, Pull, Event and Rerun set; none if the event is not
// for the bot. It is pure.
func decode(event string, body []byte, self identity) ([]bot.Job, error) {
	switch event {
	case pullRequestEvent, checkRunEvent, checkSuiteEvent, threadEvent, commentEvent, mergeEvent, pushEvent, installEvent, removalEvent, repositoryEvent:
	default:
		return nil, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !wanted(event, &p) || p.Installation == nil {
		return nil, nil
	}
	// What the bot does itself comes back as events; answering them would be a
	// loop. A re-run is somebody's wish, by whatever token it was asked for.
	if (event == pullRequestEvent || event == threadEvent) && self.login != "" && p.Sender != nil && strings.EqualFold(p.Sender.Login, self.login) {
		return nil, nil
	}
	job := bot.Job{V: bot.JobVersion, Installation: p.Installation.ID, Event: event + "." + p.Action}
	switch event {
	case installEvent:
		return leaving(job, p.Repositories), nil
	case removalEvent:
		return leaving(job, p.Removed), nil
	}
	if p.Repository == nil || p.Repository.ID <= 0 {
		return nil, fmt.Errorf("%w: no repository", errMalformed)
	}
	job.Repository, job.Owner, job.Name = p.Repository.ID, p.Repository.Owner.Login, p.Repository.Name
	if job.Installation <= 0 || job.Owner == "" || job.Name == "" {
		return nil, fmt.Errorf("%w: the repository or the installation lacks a name or an id", errMalformed)
	}

	var pulls []int
	switch event {
	case repositoryEvent:
		return leaving(job, []repository{*p.Repository}), nil
	case commentEvent:
		return order(job, &p, self), nil
	case pushEvent:
		// The index follows the branch that most pull requests are based on.
		if p.Ref != "refs/heads/"+p.Repository.DefaultBranch || p.Deleted || !sha(p.After) {
			return nil, nil
		}
		job.Event, job.Index, job.Branch = bot.EventPush, p.After, p.Repository.DefaultBranch
		return []bot.Job{job}, nil
	case mergeEvent:
		if p.MergeGroup == nil || !sha(p.MergeGroup.HeadSHA) {
			return nil, fmt.Errorf("%w: no merge group", errMalformed)
		}
		job.Command = &bot.Command{Kind: bot.CommandMergeGroup, Head: p.MergeGroup.HeadSHA}
		return []bot.Job{job}, nil
	case pullRequestEvent, threadEvent:
		if p.PullRequest == nil {
			return nil, fmt.Errorf("%w: no pull request", errMalformed)
		}
		n := p.PullRequest.Number
		if n == 0 {
			n = p.Number
		}
		if n <= 0 {
			return nil, fmt.Errorf("%w: the pull request has no number", errMalformed)
		}
		pulls = []int{n}
		var comments int
		job.Commented = json.Unmarshal(p.PullRequest.Comments, &comments) == nil && comments > 0
		if json.Unmarshal(p.PullRequest.Updated, &job.At) != nil {
			job.At = time.Time{}
		}
	case checkRunEvent:
		if p.CheckRun == nil {
			return nil, fmt.Errorf("%w: no check run", errMalformed)
		}
		if notOurs(p.CheckRun.App, self) {
			return nil, nil
		}
		job.Rerun = p.Action == "rerequested" || p.RequestedAction != nil && p.RequestedAction.Identifier == bot.ActionRerun
		if !job.Rerun {
			job.Command = &bot.Command{Kind: bot.CommandFix, Head: p.CheckRun.HeadSHA, Author: p.Sender.login()}
		}
		if n, ok := pullOf(p.CheckRun.ExternalID, job.Repository); ok {
			pulls = []int{n}
		} else {
			pulls = numbers(p.CheckRun.PullRequests, job.Repository)
		}
	case checkSuiteEvent:
		if p.CheckSuite == nil {
			return nil, fmt.Errorf("%w: no check suite", errMalformed)
		}
		if notOurs(p.CheckSuite.App, self) {
			return nil, nil
		}
		job.Rerun = true
		pulls = numbers(p.CheckSuite.PullRequests, job.Repository)
		if len(pulls) == 0 && sha(p.CheckSuite.HeadSHA) {
			job.Command = &bot.Command{Kind: bot.CommandSuite, Head: p.CheckSuite.HeadSHA}
			return []bot.Job{job}, nil
		}
	}
	var jobs []bot.Job
	for _, n := range pulls {
		job.Pull = n
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// wanted reports whether the action changes what a review would say, or asks
// for one. Pushes also come as check_suite.requested, and the bot's own check
// runs as created and completed.
func wanted(event string, p *payload) bool {
	switch event {
	case threadEvent: // people dismiss a mistake by resolving its thread
		return p.Action == "resolved" || p.Action == "unresolved"
	case checkSuiteEvent:
		return p.Action == "rerequested"
	case checkRunEvent:
		pressed := p.RequestedAction != nil && (p.RequestedAction.Identifier == bot.ActionRerun || p.RequestedAction.Identifier == bot.ActionFix)
		return p.Action == "rerequested" || p.Action == "requested_action" && pressed
	case commentEvent:
		return p.Action == "created"
	case mergeEvent:
		return p.Action == "checks_requested"
	case pushEvent:
		return true
	case installEvent, repositoryEvent:
		return p.Action == "deleted"
	case removalEvent:
		return p.Action == "removed"
	}
	switch p.Action {
	case "opened", "reopened", "synchronize", "ready_for_review", "labeled", "unlabeled":
		return true
	case "edited": // of the title or the text it is no concern of ours
		return p.Changes != nil && len(p.Changes.Base) > 0 && string(p.Changes.Base) != "null"
	}
	return false
}

// login is "" of nobody.
func (a *account) login() string {
	if a == nil {
		return ""
	}
	return a.Login
}

// sha reports whether a text is the name of a commit.
func sha(text string) bool {
	return (len(text) == 40 || len(text) == 64) && strings.Trim(text, "0123456789abcdef") == ""
}

// maxLeaving bounds the repositories of one job; what is kept of others goes by
// its age.
const maxLeaving = 1000

// leaving makes a job of repositories that left the App.
func leaving(job bot.Job, list []repository) []bot.Job {
	job.Command = &bot.Command{Kind: bot.CommandForget}
	for _, r := range list[:min(len(list), maxLeaving)] {
		if r.ID > 0 {
			job.Command.Repositories = append(job.Command.Repositories, r.ID)
			job.Repository = r.ID
		}
	}
	if job.Installation <= 0 || len(job.Command.Repositories) == 0 {
		return nil
	}
	return []bot.Job{job}
}

// maxOrder bounds what is kept of a comment: an order is one line.
const maxOrder = 4000

// order makes a job of a comment that may hold an order. Comments of bots do not,
// as two that answer each other never end.
func order(job bot.Job, p *payload, self identity) []bot.Job {
	c := p.Comment
	if p.Issue == nil || c == nil || p.Issue.Number <= 0 || c.ID <= 0 || c.NodeID == "" || len(p.Issue.PullRequest) == 0 || string(p.Issue.PullRequest) == "null" ||
		c.User.Type == "Bot" || c.User.Login == "" {
		return nil
	}
	body := strings.ToValidUTF8(c.Body[:min(len(c.Body), maxOrder)], "")
	if self.login == "" {
		if !strings.Contains(body, "@") {
			return nil
		}
	} else if _, ok := bot.ParseOrder(body, self.login); !ok {
		return nil
	}
	job.Pull = p.Issue.Number
	job.Command = &bot.Command{
		Kind: bot.CommandComment, Comment: c.ID, Node: c.NodeID, Author: c.User.Login, Opener: p.Issue.User.Login, Body: body,
	}
	return []bot.Job{job}
}

// notOurs reports whether the check belongs to another App; an unknown App on
// either side is taken for ours.
func notOurs(a app, self identity) bool {
	return a.ID != 0 && self.app != 0 && a.ID != self.app
}

// pullOf reads the pull request's number from the external id that the bot
// gives its check runs, "pr=<n>;repo=<id>;v=1". It is the only trace of the pull
// request when that comes from a fork. Unknown fields are left to later versions.
func pullOf(externalID string, repo int64) (pull int, ok bool) {
	pull, of, ok := bot.ParseExternalID(externalID)
	return pull, ok && of == repo
}

// maxPulls bounds the jobs of one delivery.
const maxPulls = 50

// numbers lists the pull requests that belong to the repository, each once. The
// same head may also be offered to another repository.
func numbers(list []pullRequest, repo int64) []int {
	var pulls []int
	seen := make(map[int]bool)
	for _, p := range list {
		if p.Number <= 0 || seen[p.Number] || p.Base.Repo.ID != 0 && p.Base.Repo.ID != repo || len(pulls) == maxPulls {
			continue
		}
		seen[p.Number] = true
		pulls = append(pulls, p.Number)
	}
	return pulls
}
