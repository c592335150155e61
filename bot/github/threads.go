package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// perMutation is how many acts one request does: each is a write of GitHub's.
const perMutation = 40

// acts are the mutations, by what they do, with their inputs: $s is the thread
// or the comment.
var acts = map[bot.Act]string{
	bot.ResolveThread:   "resolveReviewThread(input: {threadId: $s%[1]d}) { thread { isResolved } }",
	bot.UnresolveThread: "unresolveReviewThread(input: {threadId: $s%[1]d}) { thread { isResolved } }",
	bot.DeleteComment:   "deletePullRequestReviewComment(input: {id: $s%[1]d}) { clientMutationId }",
	bot.EditComment:     "updatePullRequestReviewComment(input: {pullRequestReviewCommentId: $s%[1]d, body: $b%[1]d}) { clientMutationId }",
	bot.ReplyToThread:   "addPullRequestReviewThreadReply(input: {pullRequestReviewThreadId: $s%[1]d, body: $b%[1]d}) { clientMutationId }",
	bot.ReactToComment:  "addReaction(input: {subjectId: $s%[1]d, content: $r%[1]d}) { clientMutationId }",
}

// A step is one act with its subject.
type step struct {
	change  int // index of its change
	subject string
	act     bot.ThreadAct
}

func steps(change int, thread bot.Thread, acts []bot.ThreadAct) []step {
	var out []step
	for _, a := range acts {
		subject := thread.Node
		switch a.Do {
		case bot.ResolveThread, bot.UnresolveThread, bot.ReplyToThread:
			subject = thread.ID
		}
		out = append(out, step{change, subject, a})
	}
	return out
}

// settle makes the changes to the threads that stand, all in one request. Where
// GitHub forbids a change, its Otherwise is done by a second one; whether GitHub
// took it is read from the answer. What is gone meanwhile needs nothing.
func (s *session) settle(ctx context.Context, changes []bot.ThreadChange, posted *bot.Posted) error {
	var first, second []step
	for i, c := range changes {
		first = append(first, steps(i, c.Thread, c.Acts)...)
	}
	forbidden, err := s.mutate(ctx, "threads", first)
	if err != nil {
		return err
	}
	failed := make(map[int]bool)
	for i := range forbidden {
		if len(changes[i].Otherwise) == 0 {
			failed[i] = true
			continue
		}
		second = append(second, steps(i, changes[i].Thread, changes[i].Otherwise)...)
	}
	again, err := s.mutate(ctx, "threads:otherwise", second)
	if err != nil {
		return err
	}
	for i, c := range changes {
		if !failed[i] && !again[i] {
			posted.Threads = append(posted.Threads, c)
		}
	}
	return nil
}

// mutate does steps and returns the changes of which GitHub forbade one.
func (s *session) mutate(ctx context.Context, call string, all []step) (forbidden map[int]bool, err error) {
	forbidden = make(map[int]bool)
	for len(all) > 0 {
		n := min(len(all), perMutation)
		document, variables := mutation(all[:n])
		err := s.query(ctx, call, document, variables, &struct{}{}, func(e graphError) bool {
			i := -1
			if len(e.Path) > 0 {
				if alias, ok := e.Path[0].(string); ok {
					_, _ = fmt.Sscanf(alias, "a%d", &i) // another path leaves -1
				}
			}
			if i < 0 || i >= n {
				return false
			}
			switch e.Type {
			case "NOT_FOUND":
				return true // somebody was faster
			case "FORBIDDEN", "INSUFFICIENT_SCOPES", "UNPROCESSABLE":
				forbidden[all[i].change] = true
				return true
			}
			return false
		})
		if err != nil {
			return nil, err
		}
		all = all[n:]
	}
	return forbidden, nil
}

// mutation writes steps as one document.
func mutation(list []step) (document string, variables map[string]any) {
	variables = make(map[string]any)
	var head, body strings.Builder
	for i, st := range list {
		fmt.Fprintf(&head, ", $s%d: ID!", i)
		variables[fmt.Sprintf("s%d", i)] = st.subject
		if st.act.Body != "" {
			fmt.Fprintf(&head, ", $b%d: String!", i)
			variables[fmt.Sprintf("b%d", i)] = st.act.Body
		}
		if st.act.Reaction != "" {
			fmt.Fprintf(&head, ", $r%d: ReactionContent!", i)
			variables[fmt.Sprintf("r%d", i)] = st.act.Reaction
		}
		fmt.Fprintf(&body, "  a%[1]d: "+acts[st.act.Do]+"\n", i)
	}
	return "mutation Threads(" + strings.TrimPrefix(head.String(), ", ") + ") {\n" + body.String() + "}\n", variables
}

// maxVoters bounds the people who are asked for by one review.
const maxVoters = 20

// votes finds the comments that somebody who may write voted down. Who may is
// asked only for votes that are new: those that were counted carry the App's
// own mark.
func (s *session) votes(ctx context.Context, snapshot *bot.Snapshot, all []thread, viewer string) error {
	voters := make(map[int64][]string)
	for _, t := range all {
		if len(t.Comments.Nodes) == 0 {
			continue
		}
		for _, r := range t.Comments.Nodes[0].Down.Nodes {
			if r.User != nil && !sameLogin(r.User.Login, viewer) {
				voters[t.Comments.Nodes[0].DatabaseID] = append(voters[t.Comments.Nodes[0].DatabaseID], r.User.Login)
			}
		}
	}
	known := make(map[string]bool)
	for i := range snapshot.Threads {
		t := &snapshot.Threads[i]
		logins := voters[t.CommentID]
		if t.Gone || len(logins) == 0 {
			continue
		}
		if t.Seen {
			t.VotedDown = true
			continue
		}
		for _, login := range logins {
			may, asked := known[login]
			if !asked {
				if len(known) == maxVoters {
					return nil
				}
				var err error
				if may, err = s.mayWrite(ctx, snapshot.Owner, snapshot.Name, login); err != nil {
					return err
				}
				known[login] = may
			}
			if may {
				t.VotedDown = true
				break
			}
		}
	}
	return nil
}

// mayWrite asks whether somebody may write to a repository.
func (s *session) mayWrite(ctx context.Context, owner, name, login string) (bool, error) {
	var level *github.RepositoryPermissionLevel
	err := s.call("permission", func() (err error) {
		level, _, err = s.client.Repositories.GetPermissionLevel(ctx, owner, name, login)
		return err
	})
	if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return false, nil // nobody GitHub knows of
	}
	if err != nil {
		return false, err
	}
	// "maintain" comes as "write", "triage" as "read".
	return level.GetPermission() == "admin" || level.GetPermission() == "write", nil
}

// sameLogin compares names of accounts; an App's has "[bot]" in some places.
func sameLogin(a, b string) bool {
	return a != "" && strings.EqualFold(strings.TrimSuffix(a, "[bot]"), strings.TrimSuffix(b, "[bot]"))
}

// maxTalkPages bounds the pages of the conversation that are read: an order to
// ignore a rule that is followed by 2,000 comments is forgotten.
const maxTalkPages = 20

// ignored lists the rules that were ordered to be ignored, by comments that carry
// the App's own reaction: whoever wrote them was asked for then.
func (s *session) ignored(ctx context.Context, owner, name string, number int, viewer string, page talk) ([]string, error) {
	var rules []string
	for n := 1; ; n++ {
		for _, c := range page.Nodes {
			if !c.ReactionGroups.own(bot.ReactionObeyed) {
				continue
			}
			if o, ok := bot.ParseOrder(c.Body, viewer); ok && o.Verb == bot.VerbIgnore {
				rules = append(rules, o.Args...)
			}
		}
		if !page.PageInfo.HasPreviousPage || n == maxTalkPages {
			slices.Sort(rules)
			return slices.Compact(rules), nil
		}
		var data struct {
			Repository struct {
				PullRequest struct {
					Comments talk `json:"comments"`
				} `json:"pullRequest"`
			} `json:"repository"`
		}
		err := s.query(ctx, "graphql:talk", talkDocument, map[string]any{
			"owner": owner, "name": name, "number": number, "before": page.PageInfo.StartCursor,
		}, &data, nil)
		if err != nil {
			return nil, err
		}
		page = data.Repository.PullRequest.Comments
	}
}
