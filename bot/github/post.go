package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// Post writes the review and then the check run. The order matters: after a
// crash between the two the next look finds the comments by their markers and
// writes the check run only.
func (a *App) Post(ctx context.Context, snapshot bot.Snapshot, review bot.Review) (bot.Posted, error) {
	inst, err := a.installation(ctx, snapshot.Job.Installation)
	if err != nil {
		return bot.Posted{}, err
	}
	s := &session{installation: inst, app: a}
	var posted bot.Posted
	if len(review.Comments) > 0 {
		a.commented.Add(pullKey{snapshot.Job.Repository, snapshot.Pull}, struct{}{})
		err := s.comment(ctx, review, review.Comments, &posted)
		if err != nil {
			posted.Calls = s.made()
			return posted, err
		}
		why := ""
		if may := s.granted("pull_requests"); may != "" && may != "write" {
			why = "the App lacks the permission `pull_requests: write`"
		}
		review.Refuse(snapshot, posted.Refused, why)
	}
	if err := s.settle(ctx, review.Threads, &posted); err != nil {
		posted.Calls = s.made()
		return posted, err
	}
	posted.Outcomes = bot.Outcomes(posted.Threads, posted.Comments)
	if !review.Check.Unchanged {
		posted.CheckRun, err = s.checkRun(ctx, review)
	}
	posted.Calls = s.made()
	if err != nil {
		return posted, err
	}
	a.written.Add(headKey{snapshot.Job.Repository, snapshot.Pull, snapshot.Head}, struct{}{})
	return posted, nil
}

// comment posts comments as one review. GitHub takes all of them or none and
// does not say which one it refused, so on a refusal the halves are tried.
func (s *session) comment(ctx context.Context, review bot.Review, comments []bot.ReviewComment, posted *bot.Posted) error {
	name := "review"
	if len(comments) < len(review.Comments) {
		name = "review:part"
	}
	request := &github.PullRequestReviewRequest{
		CommitID: github.String(review.Head),
		Event:    github.String("COMMENT"), // without it the review stays invisible
		Body:     github.String(review.Body),
	}
	for _, c := range comments {
		draft := &github.DraftReviewComment{
			Path: github.String(c.Path),
			Body: github.String(c.Body),
			Line: github.Int(c.Line),
			Side: github.String("RIGHT"),
		}
		if c.StartLine > 0 && c.StartLine < c.Line {
			draft.StartLine, draft.StartSide = github.Int(c.StartLine), github.String("RIGHT")
		}
		request.Comments = append(request.Comments, draft)
	}
	err := s.call(name, func() error {
		_, _, err := s.client.PullRequests.CreateReview(ctx, review.Owner, review.Name, review.Pull, request)
		return err
	})
	refusal, ok := refused(err)
	switch {
	case err == nil:
		posted.Reviews++
		posted.Comments = append(posted.Comments, comments...)
		return nil
	case !ok:
		return err
	case refusal.Status == http.StatusNotFound:
		return bot.Drop{Reason: "the pull request is gone"}
	case refusal.Status == http.StatusForbidden:
		// Conversation locked, or the permission is missing: the check run can
		// still say it.
		posted.Refused = append(posted.Refused, comments...)
		return nil
	case refusal.Status != http.StatusUnprocessableEntity:
		return err
	case staleHead(refusal.Message):
		return bot.Retry{After: afterMoved, HandBack: true, Err: refusal}
	case len(comments) == 1 || !aboutComments(refusal.Message):
		// The same request would be refused again, for ever.
		posted.Refused = append(posted.Refused, comments...)
		return nil
	}
	half := len(comments) / 2
	if err := s.comment(ctx, review, comments[:half], posted); err != nil {
		return err
	}
	return s.comment(ctx, review, comments[half:], posted)
}

// staleHead reports whether GitHub refused the commit: it was pushed away.
func staleHead(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "commit_id") || strings.Contains(message, "commit is not part of") ||
		strings.Contains(message, "no commit found")
}

// aboutComments reports whether a refusal may be about one of the comments and
// not about the review as a whole, e.g. "pull_request_review_thread.line must be
// part of the diff", "Line could not be resolved", "Path could not be resolved",
// "start line must precede the end line", "diff hunk can't be blank".
func aboutComments(message string) bool {
	message = strings.ToLower(message)
	for _, word := range []string{"line", "path", "diff", "hunk", "thread", "position", "side"} {
		if strings.Contains(message, word) {
			return true
		}
	}
	return false
}

// checkRun creates or completes the check run and returns its id. Annotations
// that GitHub refuses are left out: the summary says the same.
func (s *session) checkRun(ctx context.Context, review bot.Review) (int64, error) {
	id, err := s.writeCheckRun(ctx, "check-run", review)
	e, ok := refused(err)
	if !ok {
		return id, err
	}
	switch {
	case e.Status == http.StatusUnprocessableEntity && staleHead(e.Message):
		return 0, bot.Retry{After: afterMoved, HandBack: true, Err: e}
	case e.Status == http.StatusUnprocessableEntity && len(review.Check.Annotations) > 0:
		review.Check.Annotations = nil
		return s.writeCheckRun(ctx, "check-run:plain", review)
	case e.Status == http.StatusNotFound:
		return 0, bot.Drop{Reason: "the repository is deleted or no longer open to the App"}
	case e.Status == http.StatusForbidden:
		return 0, bot.Drop{Reason: "the App may not write check runs: " + e.Error()}
	}
	return 0, err
}

// writeCheckRun writes the run with its first annotations, and then the others:
// GitHub takes fifty at a time and adds them to those that stand.
func (s *session) writeCheckRun(ctx context.Context, call string, review bot.Review) (int64, error) {
	written, err := s.writeFirst(ctx, call, review)
	if err != nil {
		return 0, err
	}
	run := review.Check
	for from := bot.MaxAnnotations; from < len(run.Annotations); from += bot.MaxAnnotations {
		page := run
		page.Annotations = run.Annotations[from:min(from+bot.MaxAnnotations, len(run.Annotations))]
		if written, err = s.updateCheckRun(ctx, "check-run:annotations", review, written.GetID(), output(page)); err != nil {
			return 0, err
		}
	}
	// GitHub was seen to take annotations and show none; the summary then says so.
	if n := written.GetOutput().GetAnnotationsCount(); len(run.Annotations) > bot.MaxAnnotations && n < len(run.Annotations) {
		run.Summary = bot.Cut(fmt.Sprintf("GitHub shows %d of %d annotations; the table has all.\n\n%s", n, len(run.Annotations), run.Summary), bot.MaxSummary)
		run.Annotations = nil
		if written, err = s.updateCheckRun(ctx, "check-run:count", review, written.GetID(), output(run)); err != nil {
			return 0, err
		}
	}
	return written.GetID(), nil
}

// updateCheckRun writes into a run that stands.
func (s *session) updateCheckRun(ctx context.Context, call string, review bot.Review, id int64, out *github.CheckRunOutput) (updated *github.CheckRun, err error) {
	run := review.Check
	err = s.call(call, func() (err error) {
		updated, _, err = s.client.Checks.UpdateCheckRun(ctx, review.Owner, review.Name, id, github.UpdateCheckRunOptions{
			Name:       run.Name,
			ExternalID: github.String(run.ExternalID),
			Status:     github.String("completed"),
			Conclusion: github.String(run.Conclusion),
			Output:     out,
			Actions:    buttons(run),
		})
		return err
	})
	return updated, err
}

// writeFirst creates or completes the run with its first annotations.
func (s *session) writeFirst(ctx context.Context, call string, review bot.Review) (*github.CheckRun, error) {
	run := review.Check
	output := output(run)
	if run.Existing != 0 {
		updated, err := s.updateCheckRun(ctx, call, review, run.Existing, output)
		if err == nil {
			return updated, nil
		}
		if e, ok := refused(err); !ok || e.Status != http.StatusForbidden && e.Status != http.StatusNotFound {
			return nil, err
		}
		// The run is another App's or is gone; ours begins anew.
	}
	var created *github.CheckRun
	err := s.call(call, func() (err error) {
		created, _, err = s.client.Checks.CreateCheckRun(ctx, review.Owner, review.Name, github.CreateCheckRunOptions{
			Name:       run.Name,
			HeadSHA:    review.Head,
			ExternalID: github.String(run.ExternalID),
			Status:     github.String("completed"),
			Conclusion: github.String(run.Conclusion),
			Output:     output,
			Actions:    buttons(run),
		})
		return err
	})
	return created, err
}

// buttons are a check run's actions, in the words of the library.
func buttons(run bot.Check) (list []*github.CheckRunAction) {
	for _, a := range run.Actions {
		list = append(list, &github.CheckRunAction{Label: a.Label, Description: a.Description, Identifier: a.Identifier})
	}
	return list
}

// output is what a check run says, in the words of the library.
func output(run bot.Check) *github.CheckRunOutput {
	out := &github.CheckRunOutput{
		Title:   github.String(run.Title),
		Summary: github.String(run.Summary),
	}
	if run.Text != "" {
		out.Text = github.String(run.Text)
	}
	for _, a := range run.Annotations[:min(len(run.Annotations), bot.MaxAnnotations)] {
		annotation := &github.CheckRunAnnotation{
			Path:            github.String(a.Path),
			StartLine:       github.Int(a.StartLine),
			EndLine:         github.Int(a.EndLine),
			AnnotationLevel: github.String(a.Level),
			Message:         github.String(a.Message),
		}
		if a.Title != "" {
			annotation.Title = github.String(a.Title)
		}
		out.Annotations = append(out.Annotations, annotation)
	}
	return out
}
