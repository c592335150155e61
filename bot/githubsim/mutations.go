package githubsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mutation is the root of GraphQL's writes.
func (x *execution) mutation() *gqlObject {
	fields := map[string]any{}
	add := func(name string, do func(in arguments) any) {
		fields[name] = lazyWith(func(a arguments) any {
			in, _ := a["input"].(map[string]any)
			out := do(in)
			if o, okay := out.(*gqlObject); okay {
				o.fields["clientMutationId"] = in["clientMutationId"]
			}
			return out
		})
	}
	payload := func(name string, fields map[string]any) *gqlObject { return &gqlObject{name, fields} }

	// An App needs contents: write to resolve, pull_requests: write is not enough
	// (github/gh-aw#35726, mergewatch/mergewatch.ai#545, oven-sh/bun#40468).
	resolve := func(kind string, do func(*thread)) func(arguments) any {
		return func(in arguments) any {
			t, problem := x.threadByID(in["threadId"])
			if problem != nil {
				return problem
			}
			if !x.allowed(t.pull.repo, "contents", "write") || !x.allowed(t.pull.repo, "pull_requests", "write") {
				return forbidden
			}
			do(t)
			return payload(kind, map[string]any{"thread": x.thread(t)})
		}
	}
	add("resolveReviewThread", resolve("ResolveReviewThreadPayload", func(t *thread) { x.resolve(x.ctx, t, x.caller.user()) }))
	add("unresolveReviewThread", resolve("UnresolveReviewThreadPayload", func(t *thread) { x.unresolve(x.ctx, t, x.caller.user()) }))

	add("minimizeComment", func(in arguments) any {
		subject, problem := x.subjectByID(in["subjectId"])
		if problem != nil {
			return problem
		}
		// REST-like words: GraphQL gives the reason in lower case with hyphens.
		*subject.minimized = strings.ReplaceAll(strings.ToLower(fmt.Sprint(in["classifier"])), "_", "-")
		return payload("MinimizeCommentPayload", map[string]any{"minimizedComment": subject.object()})
	})
	add("unminimizeComment", func(in arguments) any {
		subject, problem := x.subjectByID(in["subjectId"])
		if problem != nil {
			return problem
		}
		*subject.minimized = ""
		return payload("UnminimizeCommentPayload", map[string]any{"unminimizedComment": subject.object()})
	})
	add("addReaction", func(in arguments) any {
		subject, problem := x.subjectByID(in["subjectId"])
		if problem != nil {
			return problem
		}
		r, _, _ := x.react(subject.reactions, x.caller.user(), restReaction(in["content"]))
		return payload("AddReactionPayload", map[string]any{
			"reaction": x.reaction(r), "reactionGroups": x.reactionGroups(*subject.reactions), "subject": subject.object(),
		})
	})
	add("removeReaction", func(in arguments) any {
		subject, problem := x.subjectByID(in["subjectId"])
		if problem != nil {
			return problem
		}
		content := restReaction(in["content"])
		i := slices.IndexFunc(*subject.reactions, func(r *reaction) bool { return r.user == x.caller.user() && r.content == content })
		if i < 0 {
			return &gqlProblem{"UNPROCESSABLE", "Reaction does not exist"}
		}
		gone := (*subject.reactions)[i]
		*subject.reactions = slices.Delete(*subject.reactions, i, i+1)
		return payload("RemoveReactionPayload", map[string]any{
			"reaction": x.reaction(gone), "reactionGroups": x.reactionGroups(*subject.reactions), "subject": subject.object(),
		})
	})
	add("addPullRequestReviewThreadReply", func(in arguments) any {
		t, problem := x.threadByID(in["pullRequestReviewThreadId"])
		if problem != nil {
			return problem
		}
		if !x.allowed(t.pull.repo, "pull_requests", "write") {
			return forbidden
		}
		body, problem := bodyOf(in)
		if problem != nil {
			return problem
		}
		cm := x.addComment(t, x.silentReview(t.pull, x.caller.user()), x.caller.app, x.caller.user(), body, t.comments[0].id)
		x.emit(t.pull.repo, "pull_request_review_comment", "created", cm.user, obj{"comment": x.commentJSON(cm), "pull_request": x.pullJSON(x.ctx, t.pull, false)})
		return payload("AddPullRequestReviewThreadReplyPayload", map[string]any{"comment": x.comment(cm)})
	})
	add("updatePullRequestReviewComment", func(in arguments) any {
		cm, problem := x.ownComment(in["pullRequestReviewCommentId"])
		if problem != nil {
			return problem
		}
		body, problem := bodyOf(in)
		if problem != nil {
			return problem
		}
		old := cm.body
		cm.body, cm.updated = body, x.now()
		x.emit(cm.thread.pull.repo, "pull_request_review_comment", "edited", cm.user, obj{
			"comment": x.commentJSON(cm), "pull_request": x.pullJSON(x.ctx, cm.thread.pull, false), "changes": obj{"body": obj{"from": old}},
		})
		return payload("UpdatePullRequestReviewCommentPayload", map[string]any{"pullRequestReviewComment": x.comment(cm)})
	})
	add("deletePullRequestReviewComment", func(in arguments) any {
		cm, problem := x.ownComment(in["id"])
		if problem != nil {
			return problem
		}
		gone := x.comment(cm)
		x.removeComment(x.ctx, cm, x.caller.user())
		return payload("DeletePullRequestReviewCommentPayload", map[string]any{"pullRequestReview": x.review(cm.review), "pullRequestReviewComment": gone})
	})
	return &gqlObject{"Mutation", fields}
}

func restReaction(content any) string {
	for _, n := range reactionNames {
		if n.graphql == content {
			return n.rest
		}
	}
	return ""
}

func bodyOf(in arguments) (string, *gqlProblem) {
	body, _ := in["body"].(string)
	switch {
	case strings.TrimSpace(body) == "":
		return "", &gqlProblem{"UNPROCESSABLE", "Body can't be blank"}
	case utf8.RuneCountInString(body) > maxBody:
		return "", &gqlProblem{"UNPROCESSABLE", "Body is too long (maximum is 65536 characters)"}
	}
	return body, nil
}

// numberOf reads a node id with one of GitHub's prefixes.
func numberOf(id any, prefix string) int64 {
	text, _ := id.(string)
	hex, okay := strings.CutPrefix(text, prefix+"_kwDO")
	n, err := strconv.ParseInt(hex, 16, 64)
	if !okay || err != nil {
		return -1
	}
	return n
}

func unresolvable(id any) *gqlProblem {
	return &gqlProblem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a node with the global id of '%v'", id)}
}

func (x *execution) threadByID(id any) (*thread, *gqlProblem) {
	n := numberOf(id, "PRRT")
	for _, r := range x.repos {
		for _, p := range r.pulls {
			if t := p.thread(n); t != nil && x.visible(r) {
				return t, nil
			}
		}
	}
	return nil, unresolvable(id)
}

// A gqlSubject is a comment that can be minimised and reacted to.
type gqlSubject struct {
	minimized *string
	reactions *[]*reaction
	object    func() *gqlObject
}

func (x *execution) subjectByID(id any) (gqlSubject, *gqlProblem) {
	inline, talk := numberOf(id, "PRRC"), numberOf(id, "IC")
	for _, r := range x.repos {
		if !x.visible(r) {
			continue
		}
		for _, p := range r.pulls {
			var subject gqlSubject
			if cm := p.comment(inline); cm != nil {
				subject = gqlSubject{&cm.minimized, &cm.reactions, func() *gqlObject { return x.comment(cm) }}
			} else if ic := p.issueComment(talk); ic != nil {
				subject = gqlSubject{&ic.minimized, &ic.reactions, func() *gqlObject { return x.issueComment(ic) }}
			} else {
				continue
			}
			// pull_requests: write is enough (shakacode/react_on_rails#2412).
			if !x.allowed(r, "pull_requests", "write") {
				return gqlSubject{}, forbidden
			}
			return subject, nil
		}
	}
	return gqlSubject{}, unresolvable(id)
}

func (x *execution) ownComment(id any) (*comment, *gqlProblem) {
	n := numberOf(id, "PRRC")
	for _, r := range x.repos {
		for _, p := range r.pulls {
			cm := p.comment(n)
			if cm == nil || !x.visible(r) {
				continue
			}
			if cm.user != x.caller.user() || !x.allowed(r, "pull_requests", "write") {
				return nil, forbidden
			}
			return cm, nil
		}
	}
	return nil, unresolvable(id)
}
