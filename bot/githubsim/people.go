package githubsim

import (
	"context"
	"slices"
)

// Comment writes a comment in a pull request's conversation and gives its id.
func (s *Sim) Comment(ctx context.Context, owner, name string, number int, login, body string) (int64, error) {
	var id int64
	err := s.change(owner, name, number, func(p *pull) error {
		id = s.addIssueComment(ctx, p, s.user(login, ""), nil, body).id
		return nil
	})
	return id, err
}

// CommentLine writes a comment on a line of the diff and gives its id.
func (s *Sim) CommentLine(ctx context.Context, owner, name string, number int, login, path string, side Side, startLine, line int, body string) (int64, error) {
	var id int64
	err := s.change(owner, name, number, func(p *pull) error {
		files, err := p.files(ctx)
		if err != nil {
			return err
		}
		text := string(side)
		d := draft{Path: &path, Body: &body, Line: &line, Side: &text}
		if startLine > 0 {
			d.StartLine = &startLine
		}
		t, no := s.place(p, p.head, p.mergeBase(ctx), files, d)
		if no != nil {
			return refusal("%s", no.schema+no.sentence)
		}
		rv := s.silentReview(p, s.user(login, ""))
		cm := s.openThread(t, rv, nil, body)
		id = cm.id
		s.emit(p.repo, "pull_request_review_comment", "created", cm.user, obj{"comment": s.commentJSON(cm), "pull_request": s.pullJSON(ctx, p, false)})
		return nil
	})
	return id, err
}

// Reply answers a review comment, in its thread, and gives the answer's id.
func (s *Sim) Reply(ctx context.Context, owner, name string, number int, commentID int64, login, body string) (int64, error) {
	var id int64
	err := s.onComment(owner, name, number, commentID, func(cm *comment) error {
		p, u := cm.thread.pull, s.user(login, "")
		answer := s.addComment(cm.thread, s.silentReview(p, u), nil, u, body, cm.thread.comments[0].id)
		id = answer.id
		s.emit(p.repo, "pull_request_review_comment", "created", u, obj{"comment": s.commentJSON(answer), "pull_request": s.pullJSON(ctx, p, false)})
		return nil
	})
	return id, err
}

// React adds a reaction ("+1", "-1", "eyes", …) to a review comment or a
// comment of the conversation.
func (s *Sim) React(owner, name string, number int, commentID int64, login, content string) error {
	return s.change(owner, name, number, func(p *pull) error {
		var list *[]*reaction
		if cm := p.comment(commentID); cm != nil {
			list = &cm.reactions
		}
		for _, ic := range p.comments {
			if ic.id == commentID {
				list = &ic.reactions
			}
		}
		if list == nil {
			return refusal("there is no comment %d", commentID)
		}
		if _, _, known := s.react(list, s.user(login, ""), content); !known {
			return refusal("%q is not a reaction", content)
		}
		return nil
	})
}

// DeleteComment deletes a review comment as a person with write access.
func (s *Sim) DeleteComment(ctx context.Context, owner, name string, number int, commentID int64, login string) error {
	return s.onComment(owner, name, number, commentID, func(cm *comment) error {
		s.removeComment(ctx, cm, s.user(login, ""))
		return nil
	})
}

// ResolveThread presses "Resolve conversation" of a comment's thread.
func (s *Sim) ResolveThread(ctx context.Context, owner, name string, number int, commentID int64, login string) error {
	return s.onComment(owner, name, number, commentID, func(cm *comment) error {
		s.resolve(ctx, cm.thread, s.user(login, ""))
		return nil
	})
}

// UnresolveThread undoes ResolveThread.
func (s *Sim) UnresolveThread(ctx context.Context, owner, name string, number int, commentID int64, login string) error {
	return s.onComment(owner, name, number, commentID, func(cm *comment) error {
		s.unresolve(ctx, cm.thread, s.user(login, ""))
		return nil
	})
}

func (s *Sim) onComment(owner, name string, number int, id int64, do func(*comment) error) error {
	return s.change(owner, name, number, func(p *pull) error {
		cm := p.comment(id)
		if cm == nil {
			return refusal("there is no comment %d", id)
		}
		return do(cm)
	})
}

func (s *Sim) resolve(ctx context.Context, t *thread, by *user) {
	if t.resolvedBy == nil {
		t.resolvedBy = by
		t.pull.event(s, "resolved", by, t.path, "")
		s.emitThread(ctx, t, "resolved", by)
	}
}

func (s *Sim) unresolve(ctx context.Context, t *thread, by *user) {
	if t.resolvedBy != nil {
		t.resolvedBy = nil
		t.pull.event(s, "unresolved", by, t.path, "")
		s.emitThread(ctx, t, "unresolved", by)
	}
}

func (s *Sim) emitThread(ctx context.Context, t *thread, action string, by *user) {
	comments := []any{}
	for _, cm := range t.comments {
		comments = append(comments, s.commentJSON(cm))
	}
	s.emit(t.pull.repo, "pull_request_review_thread", action, by, obj{
		"thread": obj{"node_id": nodeID("PRRT", t.id), "comments": comments}, "pull_request": s.pullJSON(ctx, t.pull, false),
	})
}

// Logins lists everybody the Sim knows, sorted.
func (s *Sim) Logins() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, u := range s.users {
		list = append(list, u.login)
	}
	slices.Sort(list)
	return list
}
