package githubsim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// routes is the whole REST interface, with the permission that each endpoint's
// documentation names.
func (s *Sim) routes() []*route {
	const repo = "/repos/{owner}/{repo}"
	return []*route{
		{method: "POST", pattern: "/app-manifests/{code}/conversions", auth: authNone, handle: s.convert},
		{method: "GET", pattern: "/app", auth: authApp, handle: s.getApp},
		{method: "GET", pattern: "/app/installations", auth: authApp, handle: s.listInstallations},
		{method: "GET", pattern: "/app/installations/{installation_id}", auth: authApp, handle: s.getInstallation},
		{method: "POST", pattern: "/app/installations/{installation_id}/access_tokens", auth: authApp, handle: s.createToken},
		{method: "GET", pattern: "/app/hook/config", auth: authApp, handle: s.hookConfig},
		{method: "PATCH", pattern: "/app/hook/config", auth: authApp, handle: s.hookConfig},
		{method: "GET", pattern: "/app/hook/deliveries", auth: authApp, handle: s.listDeliveries},
		{method: "GET", pattern: "/app/hook/deliveries/{delivery_id}", auth: authApp, handle: s.getDelivery},
		{method: "POST", pattern: "/app/hook/deliveries/{delivery_id}/attempts", auth: authApp, handle: s.redeliver},
		{method: "GET", pattern: repo + "/installation", auth: authApp, handle: s.repositoryInstallation},
		{method: "GET", pattern: "/installation/repositories", auth: authToken, handle: s.installationRepositories},
		{method: "DELETE", pattern: "/installation/token", auth: authToken, handle: s.revokeToken},
		{method: "GET", pattern: "/rate_limit", auth: authNone, handle: s.rateLimit},
		{method: "POST", pattern: "/graphql", auth: authToken, handle: s.graphql},

		{method: "GET", pattern: "/repositories/{id}", auth: authToken, permission: "metadata", level: "read", handle: s.byID},
		{method: "", pattern: "/repositories/{id}/{rest...}", auth: authToken, permission: "metadata", level: "read", handle: s.byID},
		{method: "GET", pattern: repo, auth: authToken, permission: "metadata", level: "read", handle: s.getRepository},
		{method: "GET", pattern: repo + "/collaborators/{username}/permission", auth: authToken, permission: "metadata", level: "read", handle: s.collaboratorPermission},

		{method: "GET", pattern: repo + "/git/blobs/{file_sha}", auth: authToken, permission: "contents", level: "read", handle: s.getBlob},
		{method: "GET", pattern: repo + "/git/trees/{tree_sha...}", name: repo + "/git/trees/{tree_sha}", auth: authToken, permission: "contents", level: "read", handle: s.getTree},
		{method: "GET", pattern: repo + "/git/commits/{commit_sha}", auth: authToken, permission: "contents", level: "read", handle: s.getGitCommit},
		{method: "POST", pattern: repo + "/git/trees", auth: authToken, permission: "contents", level: "write", handle: s.createTree},
		{method: "POST", pattern: repo + "/git/commits", auth: authToken, permission: "contents", level: "write", handle: s.createCommit},
		{method: "GET", pattern: repo + "/git/ref/{ref...}", auth: authToken, permission: "contents", level: "read", handle: s.getRef},
		{method: "GET", pattern: repo + "/git/matching-refs/{ref...}", auth: authToken, permission: "contents", level: "read", handle: s.matchingRefs},
		{method: "PATCH", pattern: repo + "/git/refs/{ref...}", auth: authToken, permission: "contents", level: "write", handle: s.updateRef},
		{method: "GET", pattern: repo + "/contents", name: repo + "/contents/{path}", auth: authToken, permission: "contents", level: "read", handle: s.getContents},
		{method: "GET", pattern: repo + "/contents/{path...}", auth: authToken, permission: "contents", level: "read", handle: s.getContents},
		{method: "GET", pattern: repo + "/tarball", name: repo + "/tarball/{ref}", auth: authToken, permission: "contents", level: "read", handle: s.tarball},
		{method: "GET", pattern: repo + "/tarball/{ref...}", auth: authToken, permission: "contents", level: "read", handle: s.tarball},
		{method: "GET", pattern: "/_codeload/{id}/{sha}", auth: authNone, handle: s.codeload},
		{method: "GET", pattern: repo + "/compare/{basehead...}", auth: authToken, permission: "contents", level: "read", handle: s.compare},
		{method: "GET", pattern: repo + "/commits/{rest...}", name: repo + "/commits/{ref}", auth: authToken, permission: "contents", level: "read", handle: s.commitsTree},

		{method: "GET", pattern: repo + "/pulls", auth: authToken, permission: "pull_requests", level: "read", handle: s.listPulls},
		{method: "GET", pattern: repo + "/pulls/{pull_number}", auth: authToken, permission: "pull_requests", level: "read", handle: s.getPull},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/files", auth: authToken, permission: "pull_requests", level: "read", handle: s.listFiles},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/commits", auth: authToken, permission: "pull_requests", level: "read", handle: s.listPullCommits},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/comments", auth: authToken, permission: "pull_requests", level: "read", handle: s.listComments},
		{method: "POST", pattern: repo + "/pulls/{pull_number}/comments", auth: authToken, permission: "pull_requests", level: "write", handle: s.createComment},
		{method: "POST", pattern: repo + "/pulls/{pull_number}/comments/{comment_id}/replies", auth: authToken, permission: "pull_requests", level: "write", handle: s.createReply},
		{method: "GET", pattern: repo + "/pulls/comments", auth: authToken, permission: "pull_requests", level: "read", handle: s.listRepositoryComments},
		{method: "GET", pattern: repo + "/pulls/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "read", handle: s.getComment},
		{method: "PATCH", pattern: repo + "/pulls/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.updateComment},
		{method: "DELETE", pattern: repo + "/pulls/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.deleteComment},
		{method: "GET", pattern: repo + "/pulls/comments/{comment_id}/reactions", auth: authToken, permission: "pull_requests", level: "read", handle: s.listReactions},
		{method: "POST", pattern: repo + "/pulls/comments/{comment_id}/reactions", auth: authToken, permission: "pull_requests", level: "write", handle: s.createReaction},
		{method: "DELETE", pattern: repo + "/pulls/comments/{comment_id}/reactions/{reaction_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.deleteReaction},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/reviews", auth: authToken, permission: "pull_requests", level: "read", handle: s.listReviews},
		{method: "POST", pattern: repo + "/pulls/{pull_number}/reviews", auth: authToken, permission: "pull_requests", level: "write", handle: s.createReview},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/reviews/{review_id}", auth: authToken, permission: "pull_requests", level: "read", handle: s.getReview},
		{method: "PUT", pattern: repo + "/pulls/{pull_number}/reviews/{review_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.updateReview},
		{method: "DELETE", pattern: repo + "/pulls/{pull_number}/reviews/{review_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.deleteReview},
		{method: "POST", pattern: repo + "/pulls/{pull_number}/reviews/{review_id}/events", auth: authToken, permission: "pull_requests", level: "write", handle: s.submitReview},
		{method: "GET", pattern: repo + "/pulls/{pull_number}/reviews/{review_id}/comments", auth: authToken, permission: "pull_requests", level: "read", handle: s.reviewComments},

		// Comments of a pull request's conversation need either permission; a bot asks for pull_requests.
		{method: "GET", pattern: repo + "/issues/{issue_number}/comments", auth: authToken, permission: "pull_requests", level: "read", handle: s.listIssueComments},
		{method: "POST", pattern: repo + "/issues/{issue_number}/comments", auth: authToken, permission: "pull_requests", level: "write", handle: s.createIssueComment},
		{method: "GET", pattern: repo + "/issues/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "read", handle: s.getIssueComment},
		{method: "PATCH", pattern: repo + "/issues/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.updateIssueComment},
		{method: "DELETE", pattern: repo + "/issues/comments/{comment_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.deleteIssueComment},
		{method: "GET", pattern: repo + "/issues/comments/{comment_id}/reactions", auth: authToken, permission: "pull_requests", level: "read", handle: s.listReactions},
		{method: "POST", pattern: repo + "/issues/comments/{comment_id}/reactions", auth: authToken, permission: "pull_requests", level: "write", handle: s.createReaction},
		{method: "DELETE", pattern: repo + "/issues/comments/{comment_id}/reactions/{reaction_id}", auth: authToken, permission: "pull_requests", level: "write", handle: s.deleteReaction},

		{method: "POST", pattern: repo + "/check-runs", auth: authToken, permission: "checks", level: "write", handle: s.createCheckRun},
		{method: "GET", pattern: repo + "/check-runs/{check_run_id}", auth: authToken, permission: "checks", level: "read", handle: s.getCheckRun},
		{method: "PATCH", pattern: repo + "/check-runs/{check_run_id}", auth: authToken, permission: "checks", level: "write", handle: s.updateCheckRun},
		{method: "GET", pattern: repo + "/check-runs/{check_run_id}/annotations", auth: authToken, permission: "checks", level: "read", handle: s.listAnnotations},
		{method: "POST", pattern: repo + "/check-runs/{check_run_id}/rerequest", auth: authToken, permission: "checks", level: "write", handle: s.rerequestRun},
		{method: "GET", pattern: repo + "/check-suites/{check_suite_id}", auth: authToken, permission: "checks", level: "read", handle: s.getCheckSuite},
		{method: "GET", pattern: repo + "/check-suites/{check_suite_id}/check-runs", auth: authToken, permission: "checks", level: "read", handle: s.suiteRuns},
		{method: "POST", pattern: repo + "/check-suites/{check_suite_id}/rerequest", auth: authToken, permission: "checks", level: "write", handle: s.rerequestSuite},
	}
}

// Routes lists the paths that are served, as Call.Route names them, without
// repetitions.
func (s *Sim) Routes() []string {
	var list []string
	for _, rt := range s.table {
		name := rt.documented()
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, tail := range commitTails {
		list = append(list, tail.name)
	}
	return list
}

// documented is the pattern in GitHub's words.
func (rt *route) documented() string {
	if rt.name != "" {
		return rt.name
	}
	return strings.ReplaceAll(rt.pattern, "...}", "}")
}

// match finds the route of a request and sets the values of its path. The
// mux of net/http is no help: GitHub has paths like pulls/comments/{id} beside
// pulls/{number}/files, which it refuses as ambiguous. A literal segment beats
// a name, the earlier the better.
func (s *Sim) match(r *http.Request) *route {
	have := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	var best *route
	var bestParts []string
	for _, rt := range s.table {
		if rt.method != "" && rt.method != r.Method && !(rt.method == http.MethodGet && r.Method == http.MethodHead) {
			continue
		}
		parts := strings.Split(strings.Trim(rt.pattern, "/"), "/")
		if fits(parts, have) && (best == nil || moreLiteral(parts, bestParts)) {
			best, bestParts = rt, parts
		}
	}
	for i, part := range bestParts {
		name, isName := strings.CutPrefix(strings.TrimSuffix(part, "}"), "{")
		if !isName {
			continue
		}
		value := have[i]
		if rest, many := strings.CutSuffix(name, "..."); many {
			name, value = rest, strings.Join(have[i:], "/")
		}
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		r.SetPathValue(name, value)
	}
	return best
}

func fits(parts, have []string) bool {
	for i, part := range parts {
		switch {
		case i >= len(have):
			return false
		case strings.HasSuffix(part, "...}"):
			return have[i] != ""
		case strings.HasPrefix(part, "{"):
			if have[i] == "" {
				return false
			}
		case part != have[i]:
			return false
		}
	}
	return len(parts) == len(have)
}

func moreLiteral(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		x, y := strings.HasPrefix(a[i], "{"), strings.HasPrefix(b[i], "{")
		if x != y {
			return y
		}
	}
	return len(a) > len(b)
}

// dispatch answers a request that was rewritten to another path, under the lock.
func (s *Sim) dispatch(c *call, inner *http.Request) reply {
	rt := s.match(inner)
	if rt == nil || rt.auth == authApp {
		return notFound()
	}
	next := &call{Sim: s, ctx: c.ctx, r: inner, body: c.body, caller: c.caller, route: rt}
	if rep, stop := s.authorize(next); stop {
		return rep
	}
	return rt.handle(next)
}
