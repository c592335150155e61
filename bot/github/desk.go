package github

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

var _ bot.Desk = (*App)(nil)

// Login is the App's account. It is asked for once.
func (a *App) Login(ctx context.Context) (string, error) {
	if login := a.login.Load(); login != nil {
		return *login, nil
	}
	who, err := a.Identity(ctx)
	if err != nil {
		return "", err
	}
	login := who.Login()
	a.login.Store(&login)
	return login, nil
}

// at begins the calls of a job, in its repository as it is named now.
func (a *App) at(ctx context.Context, job bot.Job) (*session, string, string, error) {
	inst, err := a.installation(ctx, job.Installation)
	if err != nil {
		return nil, "", "", err
	}
	s := &session{installation: inst, app: a}
	if job.Owner != "" && job.Name != "" {
		return s, job.Owner, job.Name, nil
	}
	owner, name, err := s.resolve(ctx, job.Repository)
	return s, owner, name, err
}

// MayWrite asks for somebody's permission.
func (a *App) MayWrite(ctx context.Context, job bot.Job, login string) (bool, error) {
	s, owner, name, err := a.at(ctx, job)
	if err != nil {
		return false, err
	}
	return s.mayWrite(ctx, owner, name, login)
}

// React adds the App's reaction to a comment. A comment that is gone needs none.
func (a *App) React(ctx context.Context, job bot.Job, node, reaction string) error {
	s, _, _, err := a.at(ctx, job)
	if err != nil {
		return err
	}
	_, err = s.mutate(ctx, "reaction", []step{{subject: node, act: bot.ThreadAct{Do: bot.ReactToComment, Reaction: reaction}}})
	return err
}

// answerMarker is the hidden last line of an answer, by which it is found again.
func answerMarker(to int64, key string) string {
	if to != 0 {
		key = fmt.Sprint(to)
	}
	return bot.Marker{Answers: key}.String()
}

// Say answers in the conversation, unless the answer stands there: after a crash
// the command is carried out again.
func (a *App) Say(ctx context.Context, job bot.Job, body string, to int64, key string) error {
	login, err := a.Login(ctx)
	if err != nil {
		return err
	}
	s, owner, name, err := a.at(ctx, job)
	if err != nil {
		return err
	}
	marker := answerMarker(to, key)
	since := job.Accepted.Add(-time.Minute) // clocks differ
	var newest []*github.IssueComment
	err = s.call("comments", func() (err error) {
		newest, _, err = s.client.Issues.ListComments(ctx, owner, name, job.Pull, &github.IssueListCommentsOptions{
			Since: &since, ListOptions: github.ListOptions{PerPage: perPage},
		})
		return err
	})
	if err != nil {
		return ended(err, "the conversation is closed to the App")
	}
	if slices.ContainsFunc(newest, func(c *github.IssueComment) bool {
		return sameLogin(c.GetUser().GetLogin(), login) && c.GetUser().GetType() == "Bot" && strings.HasSuffix(strings.TrimSpace(c.GetBody()), marker)
	}) {
		return nil
	}
	err = s.call("comment", func() error {
		_, _, err := s.client.Issues.CreateComment(ctx, owner, name, job.Pull, &github.IssueComment{Body: github.String(body + "\n\n" + marker)})
		return err
	})
	return ended(err, "the conversation is closed to the App")
}

// ended makes a Drop of a refusal that asking again does not change.
func ended(err error, reason string) error {
	if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden || e.Status == http.StatusGone) {
		return bot.Drop{Reason: reason + ": " + e.Error()}
	}
	return err
}

// Push commits files through the Git data API: a tree over the head's, a commit
// with the head as its parent, and the branch moved to it without force, so that
// GitHub refuses when somebody pushed meanwhile.
func (a *App) Push(ctx context.Context, snapshot bot.Snapshot, message string, files map[string]string) (string, error) {
	s, _, _, err := a.at(ctx, snapshot.Job)
	if err != nil {
		return "", err
	}
	owner, name := snapshot.Owner, snapshot.Name
	moved := bot.Refusal{Reason: "The branch moved on meanwhile"}
	var head *github.Commit
	err = s.call("commit:read", func() (err error) {
		head, _, err = s.client.Git.GetCommit(ctx, owner, name, snapshot.Head)
		return err
	})
	if err != nil {
		return "", refusal(err)
	}
	var tree *github.Tree // its entries have the modes of the files
	err = s.call("tree", func() (err error) {
		tree, _, err = s.client.Git.GetTree(ctx, owner, name, head.GetTree().GetSHA(), true)
		return err
	})
	if err != nil {
		return "", refusal(err)
	}
	modes := make(map[string]string, len(tree.Entries))
	for _, e := range tree.Entries {
		modes[e.GetPath()] = e.GetMode()
	}
	var entries []*github.TreeEntry
	for path, text := range files {
		mode := modes[path]
		if mode == "" {
			return "", bot.Refusal{Reason: "The repository has too many files for me to commit to it"}
		}
		entries = append(entries, &github.TreeEntry{
			Path: github.String(path), Mode: github.String(mode), Type: github.String("blob"), Content: github.String(text),
		})
	}
	slices.SortFunc(entries, func(a, b *github.TreeEntry) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	var made *github.Tree
	err = s.call("tree:create", func() (err error) {
		made, _, err = s.client.Git.CreateTree(ctx, owner, name, head.GetTree().GetSHA(), entries)
		return err
	})
	if err != nil {
		return "", refusal(err)
	}
	var commit *github.Commit
	err = s.call("commit", func() (err error) {
		commit, _, err = s.client.Git.CreateCommit(ctx, owner, name, &github.Commit{
			Message: github.String(message), Tree: made, Parents: []*github.Commit{{SHA: github.String(snapshot.Head)}},
		}, nil)
		return err
	})
	if err != nil {
		return "", refusal(err)
	}
	err = s.call("ref", func() error {
		_, _, err := s.client.Git.UpdateRef(ctx, owner, name, &github.Reference{
			Ref: github.String("refs/heads/" + snapshot.HeadRef), Object: &github.GitObject{SHA: commit.SHA},
		}, false)
		return err
	})
	if e, ok := refused(err); ok && e.Status == http.StatusUnprocessableEntity {
		return "", moved
	}
	if err != nil {
		return "", refusal(err)
	}
	return commit.GetSHA(), nil
}

// refusal makes words for people of a refusal of GitHub's.
func refusal(err error) error {
	if e, ok := refused(err); ok {
		return bot.Refusal{Reason: fmt.Sprintf("GitHub did not take the commit (%d: %s)", e.Status, e.Message)}
	}
	return err
}

// Conclude writes a completed check run.
func (a *App) Conclude(ctx context.Context, job bot.Job, head string, run bot.Check) error {
	s, owner, name, err := a.at(ctx, job)
	if err != nil {
		return err
	}
	if head == "" {
		if head, err = s.defaultHead(ctx, owner, name); err != nil {
			return err
		}
	}
	_, err = s.checkRun(ctx, bot.Review{Owner: owner, Name: name, Head: head, Check: run})
	return err
}

// defaultHead is the tip of the default branch.
func (s *session) defaultHead(ctx context.Context, owner, name string) (string, error) {
	var repo *github.Repository
	err := s.call("repository", func() (err error) {
		repo, _, err = s.client.Repositories.Get(ctx, owner, name)
		return err
	})
	if err != nil {
		return "", ended(err, "the repository is deleted or no longer open to the App")
	}
	var ref *github.Reference
	err = s.call("ref:read", func() (err error) {
		ref, _, err = s.client.Git.GetRef(ctx, owner, name, "heads/"+repo.GetDefaultBranch())
		return err
	})
	return ref.GetObject().GetSHA(), ended(err, "the repository has no default branch")
}

// Begin creates a check run that says that the review is on its way, and returns
// its id.
func (a *App) Begin(ctx context.Context, snapshot bot.Snapshot) (int64, error) {
	s, _, _, err := a.at(ctx, snapshot.Job)
	if err != nil {
		return 0, err
	}
	var run *github.CheckRun
	err = s.call("check-run:begin", func() (err error) {
		run, _, err = s.client.Checks.CreateCheckRun(ctx, snapshot.Owner, snapshot.Name, github.CreateCheckRunOptions{
			Name: bot.CheckName, HeadSHA: snapshot.Head, ExternalID: github.String(bot.ExternalID(snapshot.Job)), Status: github.String("in_progress"),
		})
		return err
	})
	return run.GetID(), err
}

// PullsOf reads the pull requests from the external ids of the own check runs.
func (a *App) PullsOf(ctx context.Context, job bot.Job, head string) ([]int, error) {
	s, owner, name, err := a.at(ctx, job)
	if err != nil {
		return nil, err
	}
	var runs *github.ListCheckRunsResults
	err = s.call("check-runs", func() (err error) {
		runs, _, err = s.client.Checks.ListCheckRunsForRef(ctx, owner, name, head, &github.ListCheckRunsOptions{
			CheckName: github.String(bot.CheckName), Filter: github.String("all"), AppID: github.Int64(a.id), ListOptions: github.ListOptions{PerPage: perPage},
		})
		return err
	})
	if err != nil {
		return nil, ended(err, "the check runs are not open to the App")
	}
	var pulls []int
	for _, r := range runs.CheckRuns {
		if n, repository, ok := bot.ParseExternalID(r.GetExternalID()); ok && repository == job.Repository && !slices.Contains(pulls, n) {
			pulls = append(pulls, n)
		}
	}
	return pulls, nil
}

// Forget removes what is kept of a repository.
func (a *App) Forget(repository int64) error { return a.cache.Forget(repository) }

// granting reads from the answers to requests for a token what the token may do.
type granting struct {
	next    http.RoundTripper
	granted func(map[string]string)
}

func (g *granting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusCreated || !strings.HasSuffix(req.URL.Path, "/access_tokens") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read to its end
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var token struct {
		Permissions map[string]string `json:"permissions"`
	}
	if json.Unmarshal(body, &token) == nil { // else the client says what is wrong
		g.granted(token.Permissions)
	}
	return resp, nil
}
