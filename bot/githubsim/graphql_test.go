package githubsim

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// ask sends a GraphQL document; errors come as one text.
func (w *world) ask(query string, variables map[string]any) (data map[string]any, errs string) {
	w.t.Helper()
	status, o, _ := w.send("POST", "/graphql", map[string]any{"query": query, "variables": variables})
	if status != 200 {
		w.t.Fatalf("GraphQL: %d %v", status, o)
	}
	if o["errors"] != nil {
		text, err := json.Marshal(o["errors"])
		must(w.t, err)
		errs = string(text)
	}
	data, _ = o["data"].(map[string]any)
	return data, errs
}

// at walks into a JSON value by keys and indices.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestGraphQLRead(t *testing.T) {
	w := newWorld(t)
	w.note("model.py", 10, 11, Right, "first")
	second := w.note("model.py", 0, 31, Right, "second")
	_, err := w.Reply(w.ctx, "acme", "models", w.pull, second, "dev", "no")
	must(t, err)
	must(t, w.React("acme", "models", w.pull, second, "dev", "-1"))
	_, _, err = w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", githubCheck(w.head))
	must(t, err)
	blob := w.blob("new.py")
	data, errs := w.ask(`query Snapshot($owner: String!, $name: String!, $n: Int!, $oid: GitObjectID!, $app: Int!, $no: Boolean = false) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $n) {
      headRefOid isDraft state changedFiles
      reviewThreads(first: 1) { ...page nodes { id path line startLine isOutdated comments(first: 5) { totalCount nodes { databaseId fullDatabaseId body author { __typename login } } } } }
      rest: reviewThreads(last: 1) { nodes { comments(first: 1) { totalCount nodes { viewerDidAuthor reactions { totalCount } reactionGroups { content reactors { totalCount } } } } } }
      commits(last: 1) { nodes { commit { oid file(path: "model.py") { mode oid } checkSuites(first: 5, filterBy: {appId: $app}) { nodes { checkRuns(first: 5, filterBy: {checkName: "dtypebot"}) { nodes { name status conclusion externalId } } } } } } }
      title @include(if: $no)
    }
    a: object(oid: $oid) { ... on Blob { text isTruncated isBinary byteSize } }
    b: object(expression: "feature:data.bin") { __typename ... on Blob { text isBinary } ... on Tree { entries { name } } }
    c: object(expression: "main:") { ... on Tree { entries { name mode type } } }
    d: object(oid: "ffffffffffffffffffffffffffffffffffffffff") { oid }
  }
}
fragment page on PullRequestReviewThreadConnection { totalCount pageInfo { hasNextPage endCursor } }`,
		map[string]any{"owner": "acme", "name": "models", "n": w.pull, "oid": blob, "app": w.app.ID})
	if errs != "" {
		t.Fatal(errs)
	}
	r := data["repository"]
	for _, test := range []struct {
		want any
		path []any
	}{
		{w.head, []any{"pullRequest", "headRefOid"}},
		{"OPEN", []any{"pullRequest", "state"}},
		{5.0, []any{"pullRequest", "changedFiles"}},
		{nil, []any{"pullRequest", "title"}},
		{2.0, []any{"pullRequest", "reviewThreads", "totalCount"}},
		{true, []any{"pullRequest", "reviewThreads", "pageInfo", "hasNextPage"}},
		{10.0, []any{"pullRequest", "reviewThreads", "nodes", 0, "startLine"}},
		{"dtype-bot", []any{"pullRequest", "reviewThreads", "nodes", 0, "comments", "nodes", 0, "author", "login"}},
		{"Bot", []any{"pullRequest", "reviewThreads", "nodes", 0, "comments", "nodes", 0, "author", "__typename"}},
		{"2200000000", []any{"pullRequest", "reviewThreads", "nodes", 0, "comments", "nodes", 0, "fullDatabaseId"}},
		{2.0, []any{"pullRequest", "rest", "nodes", 0, "comments", "totalCount"}},
		{true, []any{"pullRequest", "rest", "nodes", 0, "comments", "nodes", 0, "viewerDidAuthor"}},
		{1.0, []any{"pullRequest", "rest", "nodes", 0, "comments", "nodes", 0, "reactionGroups", 1, "reactors", "totalCount"}},
		{33188.0, []any{"pullRequest", "commits", "nodes", 0, "commit", "file", "mode"}},
		{"NEUTRAL", []any{"pullRequest", "commits", "nodes", 0, "commit", "checkSuites", "nodes", 0, "checkRuns", "nodes", 0, "conclusion"}},
		{"import torch\nx = torch.zeros(2)\ny = x", []any{"a", "text"}},
		{false, []any{"a", "isTruncated"}},
		{nil, []any{"b", "text"}},
		{true, []any{"b", "isBinary"}},
		{"README.md", []any{"c", "entries", 0, "name"}},
		{nil, []any{"d"}},
	} {
		if got := at(r, test.path...); got != test.want {
			t.Errorf("%v is %v, want %v", test.path, got, test.want)
		}
	}
	// The second page.
	data, errs = w.ask(`query($after: String) { repository(owner: "acme", name: "models") { pullRequest(number: 1) { reviewThreads(first: 1, after: $after) { nodes { line } pageInfo { hasNextPage hasPreviousPage } } } } }`,
		map[string]any{"after": at(r, "pullRequest", "reviewThreads", "pageInfo", "endCursor")})
	page := at(data, "repository", "pullRequest", "reviewThreads")
	if errs != "" || at(page, "nodes", 0, "line") != 31.0 || at(page, "pageInfo", "hasNextPage") != false || at(page, "pageInfo", "hasPreviousPage") != true {
		t.Errorf("page 2: %v %s", page, errs)
	}
}

func TestGraphQLRefuses(t *testing.T) {
	w := newWorld(t)
	id := w.note("model.py", 0, 10, Right, "note")
	thread, subject := w.threadOf(id).ID, nodeID("PRRC", id)
	human := nodeID("PRRC", w.humanComment())
	for name, test := range map[string]struct{ query, says, kind string }{
		"no repository":         {`{ repository(owner: "acme", name: "nothing") { id } }`, "Could not resolve to a Repository with the name 'acme/nothing'.", "NOT_FOUND"},
		"no pull request":       {`{ repository(owner: "acme", name: "models") { pullRequest(number: 77) { id } } }`, "Could not resolve to a PullRequest with the number of 77.", "NOT_FOUND"},
		"no node":               {`{ node(id: "PRRT_kwDO0000000000ff") { id } }`, "Could not resolve to a node with the global id", "NOT_FOUND"},
		"no boundary":           {`{ repository(owner: "acme", name: "models") { pullRequest(number: 1) { reviewThreads { nodes { id } } } } }`, "You must provide a `first` or `last` value", "MISSING_PAGINATION_BOUNDARIES"},
		"101":                   {`{ repository(owner: "acme", name: "models") { pullRequest(number: 1) { reviewThreads(first: 101) { nodes { id } } } } }`, "exceeds the `first` limit of 100 records", "EXCESSIVE_PAGINATION"},
		"too many nodes":        {`{ repository(owner: "acme", name: "models") { pullRequests(first: 100) { nodes { reviewThreads(first: 100) { nodes { comments(first: 100) { nodes { id } } } } } } } }`, "exceeds the maximum limit of 500,000", "MAX_NODE_LIMIT_EXCEEDED"},
		"an unknown field":      {`{ repository(owner: "acme", name: "models") { secrets } }`, "secrets", ""},
		"a missing variable":    {`query($n: Int!) { repository(owner: "acme", name: "models") { pullRequest(number: $n) { id } } }`, "must be defined", ""},
		"broken":                {`{ repository(`, "Expected", ""},
		"resolving":             {`mutation { resolveReviewThread(input: {threadId: "` + thread + `"}) { thread { isResolved } } }`, "Resource not accessible by integration", "FORBIDDEN"},
		"another's comment":     {`mutation { updatePullRequestReviewComment(input: {pullRequestReviewCommentId: "` + human + `", body: "x"}) { clientMutationId } }`, "Resource not accessible by integration", "FORBIDDEN"},
		"deleting another's":    {`mutation { deletePullRequestReviewComment(input: {id: "` + human + `"}) { clientMutationId } }`, "Resource not accessible by integration", "FORBIDDEN"},
		"an unknown classifier": {`mutation { minimizeComment(input: {subjectId: "` + subject + `", classifier: BORING}) { clientMutationId } }`, "BORING", ""},
	} {
		_, errs := w.ask(test.query, nil)
		if !strings.Contains(errs, test.says) || (test.kind != "" && !strings.Contains(errs, `"type":"`+test.kind+`"`)) {
			t.Errorf("%s: %s", name, errs)
		}
	}
	// Half an answer: what could be read is there beside the error.
	data, errs := w.ask(`{ a: repository(owner: "acme", name: "models") { name } b: repository(owner: "acme", name: "nothing") { name } }`, nil)
	if at(data, "a", "name") != "models" || data["b"] != nil || !strings.Contains(errs, `"path":["b"]`) {
		t.Errorf("%v %s", data, errs)
	}
	w.SetPermissions(w.install, map[string]string{"pull_requests": "read"})
	data, errs = w.ask(`{ repository(owner: "acme", name: "models") { object(expression: "main:model.py") { oid } pullRequest(number: 1) { state } } }`, nil)
	if at(data, "repository", "pullRequest", "state") != "OPEN" || at(data, "repository", "object") != nil || !strings.Contains(errs, "FORBIDDEN") {
		t.Errorf("without contents: %v %s", data, errs)
	}
}

func TestGraphQLMutations(t *testing.T) {
	w := newWorld(t, func(_ *Options, a *AppOptions) { a.Permissions["contents"] = "write" })
	id := w.note("model.py", 0, 10, Right, "note")
	thread, subject := w.threadOf(id).ID, nodeID("PRRC", id)
	do := func(query string) map[string]any {
		t.Helper()
		data, errs := w.ask(query, nil)
		if errs != "" {
			t.Errorf("%s: %s", query, errs)
		}
		return data
	}
	if d := do(`mutation { resolveReviewThread(input: {threadId: "` + thread + `", clientMutationId: "m1"}) { clientMutationId thread { isResolved resolvedBy { login } viewerCanUnresolve } } }`); at(d, "resolveReviewThread", "thread", "isResolved") != true || at(d, "resolveReviewThread", "clientMutationId") != "m1" {
		t.Errorf("resolved %v", d)
	}
	if th := w.threadOf(id); th.ResolvedBy != w.app.Login {
		t.Errorf("thread %+v", th)
	}
	do(`mutation { unresolveReviewThread(input: {threadId: "` + thread + `"}) { thread { isResolved } } }`)
	if d := do(`mutation { minimizeComment(input: {subjectId: "` + subject + `", classifier: OUTDATED}) { minimizedComment { isMinimized minimizedReason } } }`); at(d, "minimizeComment", "minimizedComment", "minimizedReason") != "outdated" {
		t.Errorf("minimised %v", d)
	}
	do(`mutation { unminimizeComment(input: {subjectId: "` + subject + `"}) { unminimizedComment { isMinimized } } }`)
	do(`mutation { addReaction(input: {subjectId: "` + subject + `", content: EYES}) { reaction { content } subject { id } reactionGroups { content } } }`)
	if th := w.threadOf(id); th.Resolved || th.Comments[0].Minimized != "" || len(th.Comments[0].Reactions["eyes"]) != 1 {
		t.Errorf("thread %+v", th)
	}
	do(`mutation { removeReaction(input: {subjectId: "` + subject + `", content: EYES}) { reaction { content } } }`)
	do(`mutation { addPullRequestReviewThreadReply(input: {pullRequestReviewThreadId: "` + thread + `", body: "more"}) { comment { body replyTo { id } } } }`)
	do(`mutation { updatePullRequestReviewComment(input: {pullRequestReviewCommentId: "` + subject + `", body: "fixed"}) { pullRequestReviewComment { body } } }`)
	if th := w.threadOf(id); len(th.Comments) != 2 || th.Comments[0].Body != "fixed" || len(th.Comments[0].Reactions) != 0 {
		t.Errorf("thread %+v", th)
	}
	do(`mutation { deletePullRequestReviewComment(input: {id: "` + subject + `"}) { pullRequestReviewComment { body } } }`)
	if v := w.view(); len(v.Threads) != 1 || len(v.Threads[0].Comments) != 1 {
		t.Errorf("threads %+v", v.Threads)
	}
}

// TestSchemaIsServed asks every field of every type.
func TestSchemaIsServed(t *testing.T) {
	types, err := schema()
	must(t, err)
	w := newWorld(t)
	id := w.note("model.py", 10, 11, Right, "note")
	_, err = w.Reply(w.ctx, "acme", "models", w.pull, id, "dev", "reply")
	must(t, err)
	talk, err := w.Comment(w.ctx, "acme", "models", w.pull, "dev", "hello")
	must(t, err)
	for _, who := range []string{"dev", "acme"} {
		must(t, w.React("acme", "models", w.pull, id, who, "+1"))
	}
	must(t, w.React("acme", "models", w.pull, talk, "dev", "heart"))
	must(t, w.SetLabels(w.ctx, "acme", "models", w.pull, []string{"bug"}, "dev"))
	_, _, err = w.client.Checks.CreateCheckRun(w.ctx, "acme", "models", githubCheck(w.head))
	must(t, err)
	seen := map[string]bool{}
	var note func(v any)
	note = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if name, okay := v["__typename"].(string); okay {
				seen[name] = true
			}
			for _, x := range v {
				note(x)
			}
		case []any:
			for _, x := range v {
				note(x)
			}
		}
	}
	required := map[string]string{
		"ref": `qualifiedName: "main"`, "pullRequest": "number: 1", "file": `path: "model.py"`, "repository": `owner: "acme", name: "models"`,
		"object": `expression: "feature:"`, "node": `id: "` + nodeID("IC", talk) + `"`, "nodes": `ids: ["` + nodeID("PRRT", w.threadNumber(id)) + `"]`,
	}
	var write func(d *ast.Definition, within []string) string
	write = func(d *ast.Definition, within []string) string {
		var b strings.Builder
		b.WriteString("{ __typename")
		for i, f := range d.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			def := types.Types[f.Type.Name()]
			fmt.Fprintf(&b, "\n%s_%d_%s: %s", d.Name, i, f.Name, f.Name) // an alias for each type: their nullness differs
			switch {
			case required[f.Name] != "" && len(f.Arguments) > 0:
				fmt.Fprintf(&b, "(%s)", required[f.Name])
			case f.Arguments.ForName("first") != nil:
				b.WriteString("(first: 2)")
			}
			if !def.IsCompositeType() {
				continue
			}
			deep := len(within) > 4 || slices.Contains(within, def.Name)
			switch {
			case def.Kind == ast.Object && !deep:
				b.WriteString(write(def, append(within, def.Name)))
			case def.Kind == ast.Object:
				b.WriteString("{ __typename }")
			default:
				b.WriteString("{ __typename")
				if !deep {
					for _, p := range types.GetPossibleTypes(def) {
						if !slices.Contains(within, p.Name) {
							fmt.Fprintf(&b, "\n... on %s %s", p.Name, write(p, append(within, def.Name, p.Name)))
						}
					}
				}
				b.WriteString("}")
			}
		}
		b.WriteString("}")
		return b.String()
	}
	// One query for each type, from a place where it is.
	for root, query := range map[string]string{
		"Repository": `{ repository(owner: "acme", name: "models") %s }`, "RateLimit": `{ rateLimit %s }`, "User": `{ viewer %s }`,
		"PullRequest":               `{ repository(owner: "acme", name: "models") { pullRequest(number: 1) %s } }`,
		"Commit":                    `{ repository(owner: "acme", name: "models") { object(expression: "feature") { ... on Commit %s } } }`,
		"Blob":                      `{ repository(owner: "acme", name: "models") { object(expression: "feature:model.py") { ... on Blob %s } } }`,
		"Tree":                      `{ repository(owner: "acme", name: "models") { object(expression: "feature:") { ... on Tree %s } } }`,
		"PullRequestReviewThread":   `{ node(id: "` + nodeID("PRRT", w.threadNumber(id)) + `") { ... on PullRequestReviewThread %s } }`,
		"PullRequestReviewComment":  `{ node(id: "` + nodeID("PRRC", id) + `") { ... on PullRequestReviewComment %s } }`,
		"IssueComment":              `{ node(id: "` + nodeID("IC", talk) + `") { ... on IssueComment %s } }`,
		"CheckSuiteConnection":      `{ repository(owner: "acme", name: "models") { object(expression: "feature") { ... on Commit { checkSuites(first: 1) %s } } } }`,
		"CommitConnection":          `{ repository(owner: "acme", name: "models") { object(expression: "feature") { ... on Commit { parents(first: 1) %s } } } }`,
		"PullRequestConnection":     `{ repository(owner: "acme", name: "models") { pullRequests(first: 1) %s } }`,
		"ReactionConnection":        `{ node(id: "` + nodeID("PRRC", id) + `") { ... on PullRequestReviewComment { reactions(first: 2) %s } } }`,
		"CheckAnnotationConnection": `{ repository(owner: "acme", name: "models") { object(expression: "feature") { ... on Commit { checkSuites(first: 1) { nodes { checkRuns(first: 1) { nodes { annotations(first: 1) %s } } } } } } } }`,
	} {
		data, errs := w.ask(fmt.Sprintf(query, write(types.Types[root], []string{root})), nil)
		if errs != "" {
			t.Errorf("%s: %.1500s", root, errs)
		}
		note(data)
	}
	for name, d := range types.Types {
		if d.Kind == ast.Object && !strings.HasPrefix(name, "__") && !strings.HasSuffix(name, "Payload") && name != "Query" && name != "Mutation" && !seen[name] {
			t.Errorf("%s was not seen", name)
		}
	}
}

// TestSchemaIsGitHubs compares the simulator's schema with GitHub's public one.
func TestSchemaIsGitHubs(t *testing.T) {
	path := os.Getenv("DTYPEBOT_GRAPHQL_SCHEMA")
	if path == "" {
		const how = "needs GitHub's schema: npm pack @octokit/graphql-schema@15.26.1, unpack, DTYPEBOT_GRAPHQL_SCHEMA=…/package/schema.graphql"
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	text, err := os.ReadFile(path)
	must(t, err)
	theirs, err := parser.ParseSchema(&ast.Source{Name: path, Input: string(text)})
	must(t, err)
	ours, err := parser.ParseSchema(&ast.Source{Name: "schema.graphql", Input: schemaText})
	must(t, err)
	for _, d := range ours.Definitions {
		real := theirs.Definitions.ForName(d.Name)
		if real == nil || real.Kind != d.Kind {
			t.Errorf("GitHub has no %s %s", d.Kind, d.Name)
			continue
		}
		for _, f := range d.Fields {
			g := real.Fields.ForName(f.Name)
			if g == nil {
				t.Errorf("GitHub has no %s.%s", d.Name, f.Name)
				continue
			}
			if g.Type.String() != f.Type.String() {
				t.Errorf("%s.%s is %s at GitHub, not %s", d.Name, f.Name, g.Type, f.Type)
			}
			for _, a := range f.Arguments {
				if b := g.Arguments.ForName(a.Name); b == nil || b.Type.String() != a.Type.String() {
					t.Errorf("%s.%s(%s: %s) is not GitHub's", d.Name, f.Name, a.Name, a.Type)
				}
			}
			for _, b := range g.Arguments {
				if b.Type.NonNull && b.DefaultValue == nil && f.Arguments.ForName(b.Name) == nil {
					t.Errorf("%s.%s lacks the argument %s", d.Name, f.Name, b.Name)
				}
			}
		}
		for _, v := range d.EnumValues {
			if real.EnumValues.ForName(v.Name) == nil {
				t.Errorf("GitHub has no %s.%s", d.Name, v.Name)
			}
		}
		for _, i := range d.Interfaces {
			found := false
			for _, j := range real.Interfaces {
				found = found || i == j
			}
			if !found {
				t.Errorf("GitHub's %s is no %s", d.Name, i)
			}
		}
	}
}

func (w *world) threadNumber(comment int64) int64 {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	p, err := w.Sim.pull("acme", "models", w.pull)
	must(w.t, err)
	return p.comment(comment).thread.id
}

// blob is the hash of a file at the head.
func (w *world) blob(path string) string {
	w.t.Helper()
	for _, f := range w.view().Files {
		if f.Path == path {
			return f.SHA
		}
	}
	w.t.Fatalf("no file %s", path)
	return ""
}
