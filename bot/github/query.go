package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/bot"
)

// perQuery is how many files one query reads: GitHub ends queries that take
// longer than 10 s.
const perQuery = 50

// document is the one read of a pull request's state: its head, the own review
// threads and check runs, and for n files the entry at the head and the blob.
// Each blob is asked for by hash, so it is the file that the list of files
// names whatever the head is by now; without content the entries alone are
// read. contents are the numbers of the files whose text is asked for.
func document(n int, contents []int) string {
	blobs, oids, fragment := "", "", ""
	if len(contents) > 0 {
		blobs, oids, fragment = eachOf(contents, blobField), eachOf(contents, ", $oid%[1]d: GitObjectID!"), contentFragment
	}
	return fmt.Sprintf(`query Snapshot($owner: String!, $name: String!, $number: Int!, $app: Int!, $check: String!%s%s) {
  viewer { login }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    url
    pullRequest(number: $number) {
      state
      isDraft
      isCrossRepository
      maintainerCanModify
      title
      changedFiles
      headRefOid
      headRefName
      baseRefName
      baseRefOid
      labels(first: 100) { nodes { name } }
      baseRef { target { ...settings } }
      author { login }
      reviewThreads(first: 100) { ...threads }
      comments(last: 100) { ...talk }
      commits(last: 1) { nodes { commit { ...head } } }
    }
%s  }
  defaults: repository(owner: $owner, name: ".github") {
    object(expression: "HEAD:dtypebot.toml") { ...text }
  }
}
%s%s%s%s%s`, each(n, ", $path%[1]d: String!"), oids, blobs, headFragment(n), threadsFragment, talkFragment, settingsFragment, fragment)
}

// each writes a part once for each file.
func each(n int, part string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, part, i)
	}
	return b.String()
}

// eachOf writes a part once for each of these files.
func eachOf(list []int, part string) string {
	var b strings.Builder
	for _, i := range list {
		fmt.Fprintf(&b, part, i)
	}
	return b.String()
}

// unknown are the numbers of the files whose text is not at hand.
func unknown(files []wanted) []int {
	var list []int
	for i, f := range files {
		if f.text == nil {
			list = append(list, i)
		}
	}
	return list
}

// known puts the texts that are at hand in the place of GitHub's answers.
func known(files []wanted, blobs []*blob) {
	for i, f := range files {
		if f.text != nil {
			blobs[i] = &blob{Typename: "Blob", Oid: f.sha, ByteSize: int64(len(*f.text)), Text: f.text}
		}
	}
}

const blobField = "    blob%[1]d: object(oid: $oid%[1]d) { ...content }\n"

// headFragment is what is read of the head commit. All check runs are asked for
// and not only the newest, since a commit may be the head of two pull requests.
func headFragment(n int) string {
	return fmt.Sprintf(`fragment head on Commit {
  oid
  checkSuites(first: 10, filterBy: {appId: $app}) {
    nodes {
      checkRuns(first: 100, filterBy: {checkName: $check, checkType: ALL}) {
        nodes { databaseId status conclusion externalId title summary }
      }
    }
  }
%s}
`, each(n, "  entry%[1]d: file(path: $path%[1]d) { oid mode }\n"))
}

// headDocument reads a head by its hash, for a pull request whose last commit
// GitHub does not list as such: commits are listed in an order of their own.
func headDocument(n int) string {
	return fmt.Sprintf(`query Head($owner: String!, $name: String!, $head: GitObjectID!, $app: Int!, $check: String!%s) {
  repository(owner: $owner, name: $name) {
    object(oid: $head) { ...head }
  }
}
%s`, each(n, ", $path%[1]d: String!"), headFragment(n))
}

const threadsFragment = `fragment threads on PullRequestReviewThreadConnection {
  pageInfo { hasNextPage endCursor }
  nodes {
    id
    path
    line
    isOutdated
    isResolved
    resolvedBy { login }
    viewerCanResolve
    viewerCanUnresolve
    comments(first: 1) {
      totalCount
      nodes {
        id
        databaseId
        body
        viewerDidAuthor
        author { __typename login }
        reactions { totalCount }
        reactionGroups { content viewerHasReacted }
        down: reactions(content: THUMBS_DOWN, first: 20) { nodes { user { login } } }
      }
    }
    later: comments(last: 20) {
      nodes { body viewerDidAuthor author { __typename login } }
    }
  }
}
`

// talkFragment is what is read of the conversation: commands that were obeyed
// carry the App's own reaction.
const talkFragment = `fragment talk on IssueCommentConnection {
  pageInfo { hasPreviousPage startCursor }
  nodes { body reactionGroups { content viewerHasReacted } }
}
`

// settingsFragment is what is read of a repository's settings.
const settingsFragment = `fragment settings on GitObject {
  ... on Commit {
    oid
    own: file(path: "dtypebot.toml") { object { ...text } }
    pyproject: file(path: "pyproject.toml") { object { ...text } }
  }
}
fragment text on GitObject {
  ... on Blob { isTruncated text }
}
`

// talkDocument reads the earlier comments of the conversation.
const talkDocument = `query Talk($owner: String!, $name: String!, $number: Int!, $before: String!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      comments(last: 100, before: $before) { ...talk }
    }
  }
}
` + talkFragment

const contentFragment = `fragment content on GitObject {
  __typename
  oid
  ... on Blob { byteSize isBinary isTruncated text }
}
`

// threadsDocument reads the further pages of threads.
const threadsDocument = `query Threads($owner: String!, $name: String!, $number: Int!, $after: String!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewThreads(first: 100, after: $after) { ...threads }
    }
  }
}
` + threadsFragment

// blobsDocument reads the texts of further files.
func blobsDocument(list []int) string {
	return fmt.Sprintf("query Blobs($owner: String!, $name: String!%s) {\n  repository(owner: $owner, name: $name) {\n%s  }\n}\n%s",
		eachOf(list, ", $oid%[1]d: GitObjectID!"), eachOf(list, blobField), contentFragment)
}

type pullRequest struct {
	State               string `json:"state"` // OPEN, CLOSED or MERGED
	IsDraft             bool   `json:"isDraft"`
	IsCrossRepository   bool   `json:"isCrossRepository"`
	MaintainerCanModify bool   `json:"maintainerCanModify"`
	Title               string `json:"title"`
	ChangedFiles        int    `json:"changedFiles"`
	HeadRefOid          string `json:"headRefOid"`
	HeadRefName         string `json:"headRefName"`
	BaseRefOid          string `json:"baseRefOid"`
	BaseRefName         string `json:"baseRefName"`
	Labels              *struct {
		Nodes []struct {
			Name string `json:"name"`
		} `json:"nodes"`
	} `json:"labels"`
	BaseRef *struct {
		Target *struct {
			Oid       string         `json:"oid"`
			Own       *settingsEntry `json:"own"`
			Pyproject *settingsEntry `json:"pyproject"`
		} `json:"target"`
	} `json:"baseRef"` // null when the branch is gone
	Author *struct {
		Login string `json:"login"`
	} `json:"author"` // null when the account is gone
	ReviewThreads threads `json:"reviewThreads"`
	Comments      talk    `json:"comments"`
	Commits       struct {
		Nodes []struct {
			Commit json.RawMessage `json:"commit"`
		} `json:"nodes"`
	} `json:"commits"`
}

type threads struct {
	PageInfo struct {
		HasNextPage bool   `json:"hasNextPage"`
		EndCursor   string `json:"endCursor"`
	} `json:"pageInfo"`
	Nodes []thread `json:"nodes"`
}

type settingsEntry struct {
	Object *settingsText `json:"object"`
}

type settingsText struct {
	IsTruncated bool    `json:"isTruncated"`
	Text        *string `json:"text"`
}

type talk struct {
	PageInfo struct {
		HasPreviousPage bool   `json:"hasPreviousPage"`
		StartCursor     string `json:"startCursor"`
	} `json:"pageInfo"`
	Nodes []struct {
		Body           string    `json:"body"`
		ReactionGroups reactions `json:"reactionGroups"`
	} `json:"nodes"`
}

// reactions are the kinds of reactions to something.
type reactions []struct {
	Content          string `json:"content"` // THUMBS_UP, …
	ViewerHasReacted bool   `json:"viewerHasReacted"`
}

// own reports whether the App reacted so.
func (r reactions) own(content string) bool {
	for _, g := range r {
		if g.Content == content {
			return g.ViewerHasReacted
		}
	}
	return false
}

// owns is how many reactions the App gave.
func (r reactions) owns() int {
	n := 0
	for _, g := range r {
		if g.ViewerHasReacted {
			n++
		}
	}
	return n
}

type thread struct {
	ID         string `json:"id"`
	Path       string `json:"path"`
	Line       *int   `json:"line"`
	IsOutdated bool   `json:"isOutdated"`
	IsResolved bool   `json:"isResolved"`
	ResolvedBy *struct {
		Login string `json:"login"`
	} `json:"resolvedBy"`
	Later struct {
		Nodes []struct {
			Body string `json:"body"`
			authorship
		} `json:"nodes"`
	} `json:"later"`
	ViewerCanResolve   bool `json:"viewerCanResolve"`
	ViewerCanUnresolve bool `json:"viewerCanUnresolve"`
	Comments           struct {
		TotalCount int `json:"totalCount"`
		Nodes      []struct {
			ID         string `json:"id"`
			DatabaseID int64  `json:"databaseId"`
			Body       string `json:"body"`
			authorship
			Reactions struct {
				TotalCount int `json:"totalCount"`
			} `json:"reactions"`
			ReactionGroups reactions `json:"reactionGroups"`
			Down           struct {
				Nodes []struct {
					User *struct {
						Login string `json:"login"`
					} `json:"user"`
				} `json:"nodes"`
			} `json:"down"`
		} `json:"nodes"`
	} `json:"comments"`
}

// An authorship says who wrote a comment.
type authorship struct {
	ViewerDidAuthor bool `json:"viewerDidAuthor"`
	Author          *struct {
		Typename string `json:"__typename"`
		Login    string `json:"login"`
	} `json:"author"` // null when the account is gone
}

// own reports whether the App wrote it. That it was the App is said by GitHub, or
// follows from the names: an author's login has no "[bot]".
func (a authorship) own(viewer string) bool {
	return a.ViewerDidAuthor || a.Author != nil && a.Author.Typename == "Bot" && sameLogin(a.Author.Login, viewer)
}

type commit struct {
	Oid         string `json:"oid"`
	CheckSuites *struct {
		Nodes []struct {
			CheckRuns *struct {
				Nodes []struct {
					DatabaseID int64   `json:"databaseId"`
					Status     string  `json:"status"`
					Conclusion *string `json:"conclusion"`
					ExternalID *string `json:"externalId"`
					Title      *string `json:"title"`
					Summary    *string `json:"summary"`
				} `json:"nodes"`
			} `json:"checkRuns"`
		} `json:"nodes"`
	} `json:"checkSuites"` // null when there is none
}

// An entry is a file in the tree of the head.
type entry struct {
	Oid  string `json:"oid"`
	Mode int    `json:"mode"` // e.g. 0o100644 as a number
}

type blob struct {
	Typename    string  `json:"__typename"`
	Oid         string  `json:"oid"`
	ByteSize    int64   `json:"byteSize"`
	IsBinary    *bool   `json:"isBinary"`
	IsTruncated bool    `json:"isTruncated"`
	Text        *string `json:"text"`
}

// state is the answer to document.
type state struct {
	viewer     string // login of the App's account, e.g. "dtypebot[bot]"
	repository struct {
		DatabaseID    int64        `json:"databaseId"`
		NameWithOwner string       `json:"nameWithOwner"`
		URL           string       `json:"url"`
		PullRequest   *pullRequest `json:"pullRequest"`
	}
	defaults *settingsText // of the owner's repository .github
	head     commit
	entries  []*entry // nil where the head has no such file
	blobs    []*blob  // nil where GitHub gave none
}

// graphError is one entry of a GraphQL answer's errors.
type graphError struct {
	Type       string `json:"type"`
	Path       []any  `json:"path"`
	Message    string `json:"message"`
	Extensions struct {
		Code string `json:"code"` // of a document that does not fit the schema, e.g. "undefinedField"
	} `json:"extensions"`
}

// query does one GraphQL query. Parts that fail while the rest holds are
// reported by tolerate: it is asked about each error and says whether the
// missing part can be done without.
func (s *session) query(ctx context.Context, name, document string, variables map[string]any, data any, tolerate func(graphError) bool) error {
	return s.call(name, func() error {
		req, err := s.client.NewRequest(http.MethodPost, s.app.graphql, map[string]any{
			"query":     document,
			"variables": variables,
		})
		if err != nil {
			return err
		}
		var answer struct {
			Data   json.RawMessage `json:"data"`
			Errors []graphError    `json:"errors"`
		}
		resp, err := s.client.Do(ctx, req, &answer)
		if err != nil {
			return err
		}
		for _, e := range answer.Errors {
			if tolerate != nil && tolerate(e) {
				continue
			}
			return graphFailure(name, e, resp.Header)
		}
		if len(answer.Data) == 0 || string(answer.Data) == "null" {
			return outage(afterServerError, &Error{Call: name, Status: resp.StatusCode, Message: "an answer without data"})
		}
		if err := json.Unmarshal(answer.Data, data); err != nil {
			return bot.Retry{After: afterServerError, Err: fmt.Errorf("%s: decode the answer: %w", name, err)}
		}
		return nil
	})
}

// graphFailure classifies an error of a GraphQL answer, whose status is 200.
func graphFailure(call string, e graphError, header http.Header) error {
	out := &Error{Call: call, Status: http.StatusOK, Message: clean(strings.TrimSpace(e.Type + " " + e.Message))}
	switch e.Type {
	case "NOT_FOUND":
		out.Status = http.StatusNotFound
		return out
	case "FORBIDDEN", "INSUFFICIENT_SCOPES":
		out.Status = http.StatusForbidden
		return out
	case "RATE_LIMITED", "RATE_LIMIT":
		after, ok := rateLimit(http.StatusTooManyRequests, header, "")
		if !ok {
			after = afterSecondary
		}
		return bot.Retry{After: after, HandBack: true, Err: out}
	}
	if e.Extensions.Code != "" {
		// An Enterprise Server may be too old for the document: asking again
		// will not help.
		return bot.Retry{After: afterServerError, Err: out}
	}
	// "Something went wrong while executing your query" and timeouts have no
	// type.
	return outage(afterServerError, out)
}

// state reads the pull request's state and the first files. A query that GitHub
// cannot finish (it ends those that take longer than 10 s) is asked once more
// without the files' content, which is then fetched file by file.
func (s *session) state(ctx context.Context, owner, name string, number int, files []wanted) (*state, error) {
	st, err := s.stateWith(ctx, "graphql", owner, name, number, files, true)
	retry, ok := errors.AsType[bot.Retry](err)
	if e, _ := refused(retry.Err); ok && (retry.Outage || !retry.HandBack) && (e == nil || e.Status != http.StatusUnauthorized) &&
		len(files) > 0 && ctx.Err() == nil {
		return s.stateWith(ctx, "graphql:light", owner, name, number, files, false)
	}
	return st, err
}

func (s *session) stateWith(ctx context.Context, call, owner, name string, number int, files []wanted, content bool) (*state, error) {
	n := min(len(files), perQuery)
	variables := map[string]any{
		"owner": owner, "name": name, "number": number, "app": s.app.id, "check": bot.CheckName,
	}
	var contents []int
	if content {
		contents = unknown(files[:n])
	}
	for i, f := range files[:n] {
		variables[fmt.Sprintf("path%d", i)] = f.path
	}
	for _, i := range contents {
		variables[fmt.Sprintf("oid%d", i)] = files[i].sha
	}
	var data struct {
		Viewer struct {
			Login string `json:"login"`
		} `json:"viewer"`
		Repository json.RawMessage `json:"repository"`
		Defaults   *settingsEntry  `json:"defaults"`
	}
	if err := s.query(ctx, call, document(n, contents), variables, &data, unneeded); err != nil {
		return nil, err
	}
	st := &state{viewer: data.Viewer.Login, entries: make([]*entry, len(files)), blobs: make([]*blob, len(files))}
	if data.Defaults != nil {
		st.defaults = data.Defaults.Object
	}
	if err := st.decode(data.Repository, n); err != nil {
		return nil, bot.Retry{After: afterServerError, Err: fmt.Errorf("%s: decode the answer: %w", call, err)}
	}
	known(files, st.blobs)
	return st, nil
}

// unneeded tolerates what the state can do without: the text of a file, and the
// owner's repository of defaults, which few have.
func unneeded(e graphError) bool {
	if len(e.Path) > 0 && e.Path[0] == "defaults" {
		return e.Type == "NOT_FOUND" || e.Type == "FORBIDDEN"
	}
	if e.Type == "FORBIDDEN" && slices.ContainsFunc(e.Path, func(p any) bool { return p == "checkSuites" || p == "comments" && len(e.Path) == 3 }) {
		return true // what the App may not read it may not write either, and that is told then
	}
	return onlyContent(e)
}

// onlyContent tolerates that the text of a file is missing: it is then fetched
// by itself.
func onlyContent(e graphError) bool {
	path := e.Path
	if len(path) < 2 {
		return false
	}
	alias, ok := path[1].(string)
	return ok && strings.HasPrefix(alias, "blob")
}

func (st *state) decode(repository json.RawMessage, n int) error {
	if len(repository) == 0 || string(repository) == "null" {
		return nil // the caller sees that there is no pull request
	}
	if err := json.Unmarshal(repository, &st.repository); err != nil {
		return err
	}
	if err := decodeBlobs(repository, st.blobs[:n]); err != nil {
		return err
	}
	pr := st.repository.PullRequest
	if pr == nil || len(pr.Commits.Nodes) == 0 {
		return nil
	}
	return st.decodeHead(pr.Commits.Nodes[0].Commit, n)
}

func (st *state) decodeHead(raw json.RawMessage, n int) error {
	st.head = commit{}
	clear(st.entries)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, &st.head); err != nil {
		return err
	}
	var aliases map[string]json.RawMessage
	if err := json.Unmarshal(raw, &aliases); err != nil {
		return err
	}
	for i := range n {
		if err := optional(aliases, fmt.Sprintf("entry%d", i), &st.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// readHead reads the head by its hash into st.
func (s *session) readHead(ctx context.Context, owner, name string, files []wanted, st *state) error {
	n := min(len(files), perQuery)
	variables := map[string]any{
		"owner": owner, "name": name, "head": st.repository.PullRequest.HeadRefOid,
		"app": s.app.id, "check": bot.CheckName,
	}
	for i, f := range files[:n] {
		variables[fmt.Sprintf("path%d", i)] = f.path
	}
	var data struct {
		Repository struct {
			Object json.RawMessage `json:"object"`
		} `json:"repository"`
	}
	if err := s.query(ctx, "graphql:head", headDocument(n), variables, &data, nil); err != nil {
		return err
	}
	if err := st.decodeHead(data.Repository.Object, n); err != nil {
		return bot.Retry{After: afterServerError, Err: fmt.Errorf("graphql:head: decode the answer: %w", err)}
	}
	return nil
}

func decodeBlobs(repository json.RawMessage, blobs []*blob) error {
	var aliases map[string]json.RawMessage
	if err := json.Unmarshal(repository, &aliases); err != nil {
		return err
	}
	for i := range blobs {
		if err := optional(aliases, fmt.Sprintf("blob%d", i), &blobs[i]); err != nil {
			return err
		}
	}
	return nil
}

func optional(aliases map[string]json.RawMessage, alias string, into any) error {
	if raw, ok := aliases[alias]; ok {
		return json.Unmarshal(raw, into)
	}
	return nil
}

// moreBlobs reads the files behind the first perQuery.
func (s *session) moreBlobs(ctx context.Context, owner, name string, files []wanted, blobs []*blob) error {
	total := 0
	for from := perQuery; from < len(files); from += perQuery {
		for _, b := range blobs[from-perQuery : from] {
			if b != nil && b.Text != nil {
				total += len(*b.Text)
			}
		}
		if total > maxBytes {
			return nil // file says so of each that is left
		}
		to := min(from+perQuery, len(files))
		missing := unknown(files[from:to])
		if len(missing) == 0 {
			continue
		}
		variables := map[string]any{"owner": owner, "name": name}
		for _, i := range missing {
			variables[fmt.Sprintf("oid%d", i)] = files[from+i].sha
		}
		var data struct {
			Repository json.RawMessage `json:"repository"`
		}
		if err := s.query(ctx, "graphql:files", blobsDocument(missing), variables, &data, onlyContent); err != nil {
			return err
		}
		if err := decodeBlobs(data.Repository, blobs[from:to]); err != nil {
			return bot.Retry{After: afterServerError, Err: fmt.Errorf("graphql:files: decode the answer: %w", err)}
		}
		known(files[from:to], blobs[from:to])
	}
	return nil
}

// maxThreadPages bounds the pages of threads: a pull request with more than
// 5,000 threads is not one that a person reads.
const maxThreadPages = 50

// moreThreads reads the threads behind the first hundred.
func (s *session) moreThreads(ctx context.Context, owner, name string, number int, first threads) ([]thread, error) {
	all := first.Nodes
	page := first.PageInfo
	for n := 1; page.HasNextPage; n++ {
		if n == maxThreadPages {
			return nil, bot.Drop{Reason: "the pull request has more than 5,000 review threads"}
		}
		var data struct {
			Repository struct {
				PullRequest struct {
					ReviewThreads threads `json:"reviewThreads"`
				} `json:"pullRequest"`
			} `json:"repository"`
		}
		err := s.query(ctx, "graphql:threads", threadsDocument, map[string]any{
			"owner": owner, "name": name, "number": number, "after": page.EndCursor,
		}, &data, nil)
		if err != nil {
			return nil, err
		}
		next := data.Repository.PullRequest.ReviewThreads
		all = append(all, next.Nodes...)
		if next.PageInfo.HasNextPage && next.PageInfo.EndCursor == page.EndCursor {
			return nil, bot.Retry{After: afterServerError, Err: &Error{Call: "graphql:threads", Status: http.StatusOK, Message: "the same page twice"}}
		}
		page = next.PageInfo
	}
	return all, nil
}

// afterMoved is how long a head that keeps moving is left alone.
const afterMoved = 5 * time.Second
