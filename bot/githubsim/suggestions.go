package githubsim

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A suggestion is a suggestion block of a comment's Markdown.
type suggestion struct{ lines []string }

// suggestionsIn finds the suggestion blocks of a comment. A block ends at a
// fence of the same character that is at least as long as its own.
func suggestionsIn(body string) []suggestion {
	var list []suggestion
	var fence string // of the open block
	var inside *suggestion
	for line := range strings.SplitSeq(strings.ReplaceAll(body, "\r\n", "\n"), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		indent := len(line) - len(trimmed)
		run := len(trimmed) - len(strings.TrimLeft(trimmed, "`"))
		if strings.HasPrefix(trimmed, "~") {
			run = len(trimmed) - len(strings.TrimLeft(trimmed, "~"))
		}
		switch {
		case fence == "" && indent <= 3 && run >= 3:
			info := strings.TrimSpace(trimmed[run:])
			if trimmed[0] == '`' && strings.Contains(info, "`") {
				continue // code in a line, not a fence
			}
			fence = trimmed[:run]
			if word, _, _ := strings.Cut(info, " "); word == "suggestion" {
				inside = &suggestion{lines: []string{}}
			}
		case fence != "" && indent <= 3 && run >= len(fence) && trimmed[0] == fence[0] && strings.TrimSpace(trimmed[run:]) == "":
			if inside != nil {
				list = append(list, *inside)
			}
			fence, inside = "", nil
		case inside != nil:
			inside.lines = append(inside.lines, line)
		}
	}
	if inside != nil { // a fence that is never closed runs to the end
		list = append(list, *inside)
	}
	return list
}

// CommitSuggestion presses "Commit suggestion" on a review comment: its
// first suggestion replaces the commented lines of the head, verbatim, in one
// commit on the head branch; the comment's author becomes co-author and the
// thread is resolved (yiisoft/docs#153: that happens by itself). It gives the
// commit, or a *Refusal in the words of GitHub's page.
func (s *Sim) CommitSuggestion(ctx context.Context, owner, name string, number int, commentID int64, login string) (string, error) {
	return s.CommitSuggestions(ctx, owner, name, number, []int64{commentID}, login)
}

// CommitSuggestions presses "Commit suggestions" on a batch.
func (s *Sim) CommitSuggestions(ctx context.Context, owner, name string, number int, commentIDs []int64, login string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.pull(owner, name, number)
	if err != nil {
		return "", err
	}
	u := s.user(login, "")
	if p.state != "open" {
		return "", refusal("Suggestions cannot be applied while the pull request is closed.")
	}
	if !p.headRepo.mayPush(u) && !(p.headRepo != p.repo && p.maintainerCan && p.repo.mayPush(u)) {
		return "", refusal("You must have write access to the head repository to apply suggestions.")
	}
	type edit struct {
		comment *comment
		sugg    suggestion
	}
	byPath := map[string][]edit{}
	var authors []*user
	for _, id := range commentIDs {
		cm := p.comment(id)
		if cm == nil {
			return "", refusal("There is no comment %d.", id)
		}
		sugg, why := applicable(cm)
		if why != "" {
			return "", refusal("%s", why)
		}
		byPath[cm.thread.path] = append(byPath[cm.thread.path], edit{cm, sugg})
		if cm.user != u && !slices.Contains(authors, cm.user) {
			authors = append(authors, cm.user)
		}
	}
	var changes []change
	for path, edits := range byPath {
		blob, err := p.repo.git.object(p.head + ":" + path)
		if err != nil {
			return "", fmt.Errorf("commit a suggestion to %s: %w", path, err)
		}
		lines := bytes.SplitAfter(blob.Data, newline)
		if len(lines[len(lines)-1]) == 0 {
			lines = lines[:len(lines)-1]
		}
		slices.SortFunc(edits, func(a, b edit) int { return b.comment.thread.line - a.comment.thread.line }) // from the end
		above := len(lines) + 1
		for _, e := range edits {
			first, last := e.comment.thread.lines()
			if last >= above {
				return "", refusal("Only one suggestion per line can be applied in a batch.")
			}
			above = first
			if last > len(lines) {
				return "", refusal("Outdated suggestions cannot be applied.")
			}
			var with [][]byte
			for _, l := range e.sugg.lines {
				with = append(with, []byte(l+"\n"))
			}
			// Whether GitHub adds a missing last newline is not documented; here it does not.
			if n := len(with); n > 0 && last == len(lines) && !bytes.HasSuffix(lines[last-1], newline) {
				with[n-1] = bytes.TrimSuffix(with[n-1], newline)
			}
			if bytes.Equal(bytes.Join(with, nil), bytes.Join(lines[first-1:last], nil)) {
				return "", refusal("This suggestion is invalid because no changes were made to the code.")
			}
			lines = slices.Replace(lines, first-1, last, with...)
		}
		changes = append(changes, change{Path: path, Data: bytes.Join(lines, nil)})
	}
	if len(changes) == 0 {
		return "", refusal("There is no suggestion to apply.")
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.Path, b.Path) })
	message := "Update " + changes[0].Path
	if len(commentIDs) > 1 {
		message = "Apply suggestions from code review"
	}
	for i, a := range authors {
		if i == 0 {
			message += "\n"
		}
		who := s.signature(a)
		message += fmt.Sprintf("\nCo-authored-by: %s <%s>", who.Name, who.Email)
	}
	sha, err := p.headRepo.git.writeCommit(p.head, changes, message, s.signature(u), signature{Name: "GitHub", Email: "noreply@github.com", When: s.now()})
	if err != nil {
		return "", fmt.Errorf("commit a suggestion: %w", err)
	}
	for _, id := range commentIDs {
		p.comment(id).thread.applied = true
	}
	if err := s.push(ctx, p.headRepo, "refs/heads/"+p.headRef, sha, u); err != nil {
		return "", fmt.Errorf("commit a suggestion: %w", err)
	}
	for _, id := range commentIDs {
		s.resolve(ctx, p.comment(id).thread, u)
	}
	s.touch()
	return sha, nil
}

// lines gives the commented range at the head.
func (t *thread) lines() (first, last int) {
	if t.startLine > 0 {
		return t.startLine, t.line
	}
	return t.line, t.line
}

// applicable gives a comment's suggestion, or why it cannot be applied, in the
// words of GitHub's page (restyled-io/actions#110).
func applicable(cm *comment) (suggestion, string) {
	t := cm.thread
	list := suggestionsIn(cm.body)
	switch {
	case len(list) == 0:
		return suggestion{}, "This comment has no suggestion."
	case t.pull.state != "open":
		return suggestion{}, "Suggestions cannot be applied while the pull request is closed."
	case t.pull.queued:
		return suggestion{}, "Suggestions cannot be applied while the pull request is queued to merge."
	case cm.review.pending():
		return suggestion{}, "Suggestions cannot be applied from pending reviews."
	case t.applied, t.resolvedBy != nil:
		return suggestion{}, "This suggestion has been applied or marked resolved."
	case t.outdated:
		return suggestion{}, "Outdated suggestions cannot be applied."
	case t.file:
		return suggestion{}, "Suggestions cannot be applied on comments on a file."
	case t.side == Left, t.startSide == Left:
		return suggestion{}, "Suggestions cannot be applied on deleted lines."
	}
	return list[0], ""
}
