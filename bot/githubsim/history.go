package githubsim

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Most histories that a simulator sees are a line: they are walked through the
// one process that reads objects. Where commits are merged, git is asked.

// lineLimit is how many commits are walked before git is asked.
const lineLimit = 1000

// line yields a commit and its ancestors as long as each has one parent. The
// last one that is yielded has none, is a merge, or is the limit.
func (g *gitDir) line(sha string) iter.Seq[commitInfo] {
	return func(yield func(commitInfo) bool) {
		for range lineLimit {
			c, err := g.commit(sha)
			if err != nil || !yield(c) || len(c.Parents) != 1 {
				return
			}
			sha = c.Parents[0]
		}
	}
}

// mergeBase gives the best common ancestor of two commits, "" if there is none.
func (g *gitDir) mergeBase(ctx context.Context, a, b string) string {
	before := make(map[string]bool)
	for c := range g.line(a) {
		before[c.SHA] = true
	}
	for c := range g.line(b) {
		if before[c.SHA] {
			return c.SHA // no other way leads from b to a's line
		}
	}
	out, err := g.run(ctx, "merge-base", a, b)
	if err != nil {
		return "" // no common ancestor
	}
	return strings.TrimSpace(out)
}

// isAncestor reports whether old is newer or one of its ancestors.
func (g *gitDir) isAncestor(ctx context.Context, old, newer string) bool {
	for c := range g.line(newer) {
		if c.SHA == old {
			return true
		}
		if len(c.Parents) == 0 {
			return false
		}
	}
	_, err := g.run(ctx, "merge-base", "--is-ancestor", old, newer)
	return err == nil
}

// commits lists the commits of base..head, oldest first; "" as base lists all.
func (g *gitDir) commits(ctx context.Context, base, head string) ([]commitInfo, error) {
	var list []commitInfo
	for c := range g.line(head) {
		if c.SHA == base {
			slices.Reverse(list)
			return list, nil
		}
		list = append(list, c)
	}
	args := []string{"rev-list", "--reverse", "--topo-order", head}
	if base != "" {
		args = append(args, "^"+base)
	}
	out, err := g.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	list = nil
	for sha := range strings.FieldsSeq(out) {
		c, err := g.commit(sha)
		if err != nil {
			return nil, fmt.Errorf("commit %s: %w", sha, err)
		}
		list = append(list, c)
	}
	return list, nil
}
