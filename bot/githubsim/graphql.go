package githubsim

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

//go:embed schema.graphql
var schemaText string

var schema = sync.OnceValues(func() (*ast.Schema, error) {
	return gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: schemaText})
})

// A gqlObject is a value of an object type. A field is a value, or a function
// of the field's arguments that gives one: a scalar, a gqlObject, a list of
// either, nil, or a *gqlProblem.
type gqlObject struct {
	kind   string
	fields map[string]any
}

type (
	arguments  map[string]any
	lazy       = func() any
	lazyWith   = func(arguments) any
	gqlProblem struct{ kind, message string }
	fieldGroup struct {
		key    string
		fields []*ast.Field
	}
)

// An execution answers one GraphQL request.
type execution struct {
	*call
	schema *ast.Schema
	vars   map[string]any
	errors []any
}

func (s *Sim) graphql(c *call) reply {
	var want struct {
		Query         string         `json:"query"`
		Variables     map[string]any `json:"variables"`
		OperationName string         `json:"operationName"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(c.body)))
	decoder.UseNumber()
	if err := decoder.Decode(&want); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON", "graphql")
	}
	if want.Query == "" {
		return ok(obj{"errors": []any{obj{"message": "A query attribute must be specified and must be a string."}}})
	}
	types, err := schema()
	if err != nil { // unreachable: a test loads the schema
		return s.broken(err)
	}
	doc, errs := gqlparser.LoadQueryWithRules(types, want.Query, rules.NewDefaultRules())
	if len(errs) > 0 {
		return ok(obj{"errors": invalidQuery(errs)})
	}
	op := doc.Operations.ForName(want.OperationName)
	if op == nil {
		return ok(obj{"errors": []any{obj{"message": fmt.Sprintf("No operation named %q", want.OperationName)}}})
	}
	vars, err := validator.VariableValues(types, op, want.Variables)
	if err != nil {
		return ok(obj{"errors": []any{obj{"message": fmt.Sprintf("Variable was provided invalid value: %v", err)}}})
	}
	x := &execution{call: c, schema: types, vars: vars}
	// GitHub counts what a query could return before it runs it.
	if n := x.possible(op.SelectionSet, 1); n > 500_000 {
		return ok(obj{"errors": []any{obj{
			"type":    "MAX_NODE_LIMIT_EXCEEDED",
			"message": fmt.Sprintf("This query requests up to %d possible nodes which exceeds the maximum limit of 500,000.", n),
		}}})
	}
	root := x.query()
	if op.Operation == ast.Mutation {
		root = x.mutation()
	}
	data, okay := x.object(root, op.SelectionSet, nil)
	out := obj{"data": data}
	if !okay {
		out["data"] = nil
	}
	if len(x.errors) > 0 {
		out["errors"] = x.errors
	}
	return ok(out)
}

func invalidQuery(errs gqlerror.List) []any {
	var list []any
	for _, e := range errs {
		o := obj{"message": e.Message}
		var at []any
		for _, l := range e.Locations {
			at = append(at, obj{"line": l.Line, "column": l.Column})
		}
		if at != nil {
			o["locations"] = at
		}
		list = append(list, o)
	}
	return list
}

// possible counts the nodes that a selection may return, by first and last.
func (x *execution) possible(set ast.SelectionSet, times int) int {
	n := 0
	for _, sel := range set {
		switch v := sel.(type) {
		case *ast.Field:
			inner := times
			args := v.ArgumentMap(x.vars)
			for _, name := range []string{"first", "last"} {
				if k, okay := toInt(args[name]); okay && k > 0 {
					inner = times * min(k, 100)
					n += inner
				}
			}
			n += x.possible(v.SelectionSet, inner)
		case *ast.InlineFragment:
			n += x.possible(v.SelectionSet, times)
		case *ast.FragmentSpread:
			n += x.possible(v.Definition.SelectionSet, times)
		}
	}
	return n
}

func toInt(v any) (int, bool) {
	switch n := v.(type) {
	case int64:
		return int(n), true
	case int:
		return n, true
	case float64:
		return int(n), true
	case json.Number:
		i, err := strconv.Atoi(n.String())
		return i, err == nil
	}
	return 0, false
}

// collect gathers the fields that a selection asks of an object type, in order.
func (x *execution) collect(kind string, set ast.SelectionSet, into []fieldGroup) []fieldGroup {
	for _, sel := range set {
		var directives ast.DirectiveList
		switch v := sel.(type) {
		case *ast.Field:
			directives = v.Directives
		case *ast.InlineFragment:
			directives = v.Directives
		case *ast.FragmentSpread:
			directives = v.Directives
		}
		if d := directives.ForName("skip"); d != nil && d.ArgumentMap(x.vars)["if"] == true {
			continue
		}
		if d := directives.ForName("include"); d != nil && d.ArgumentMap(x.vars)["if"] == false {
			continue
		}
		switch v := sel.(type) {
		case *ast.Field:
			key := v.Alias
			if i := slices.IndexFunc(into, func(g fieldGroup) bool { return g.key == key }); i >= 0 {
				into[i].fields = append(into[i].fields, v)
			} else {
				into = append(into, fieldGroup{key, []*ast.Field{v}})
			}
		case *ast.InlineFragment:
			if x.is(kind, v.TypeCondition) {
				into = x.collect(kind, v.SelectionSet, into)
			}
		case *ast.FragmentSpread:
			if x.is(kind, v.Definition.TypeCondition) {
				into = x.collect(kind, v.Definition.SelectionSet, into)
			}
		}
	}
	return into
}

func (x *execution) is(kind, condition string) bool {
	if condition == "" || condition == kind {
		return true
	}
	return slices.ContainsFunc(x.schema.GetPossibleTypes(x.schema.Types[condition]), func(d *ast.Definition) bool { return d.Name == kind })
}

// object answers a selection on an object; false means that a field that may
// not be null is, so the object itself becomes null.
func (x *execution) object(o *gqlObject, set ast.SelectionSet, path []any) (obj, bool) {
	out := obj{}
	for _, g := range x.collect(o.kind, set, nil) {
		f := g.fields[0]
		at := append(slices.Clone(path), g.key)
		if f.Name == "__typename" {
			out[g.key] = o.kind
			continue
		}
		var sub ast.SelectionSet
		for _, same := range g.fields {
			sub = append(sub, same.SelectionSet...)
		}
		value, exists := o.fields[f.Name]
		if !exists { // unreachable: TestSchemaIsServed asks every field
			x.fail(f, at, &gqlProblem{"INTERNAL", fmt.Sprintf("%s.%s is not simulated", o.kind, f.Name)})
		}
		switch fn := value.(type) {
		case lazy:
			value = fn()
		case lazyWith:
			value = fn(f.ArgumentMap(x.vars))
		}
		done, okay := x.complete(f, f.Definition.Type, value, sub, at)
		if !okay {
			return nil, false
		}
		out[g.key] = done
	}
	return out, true
}

func (x *execution) fail(f *ast.Field, path []any, p *gqlProblem) {
	x.errors = append(x.errors, obj{
		"type": p.kind, "path": path, "message": p.message,
		"locations": []any{obj{"line": f.Position.Line, "column": f.Position.Column}},
	})
}

func (x *execution) complete(f *ast.Field, t *ast.Type, value any, set ast.SelectionSet, path []any) (any, bool) {
	if p, failed := value.(*gqlProblem); failed {
		x.fail(f, path, p)
		value = nil
	}
	if o, isObject := value.(*gqlObject); isObject && o == nil {
		value = nil
	}
	if value == nil {
		return nil, !t.NonNull
	}
	if t.Elem != nil {
		list := value.([]any)
		out := make([]any, 0, len(list))
		for i, v := range list {
			done, okay := x.complete(f, t.Elem, v, set, append(slices.Clone(path), i))
			if !okay {
				return nil, !t.NonNull
			}
			out = append(out, done)
		}
		return out, true
	}
	o, isObject := value.(*gqlObject)
	if !isObject {
		return value, true
	}
	done, okay := x.object(o, set, path)
	if !okay {
		return nil, !t.NonNull
	}
	return done, true
}

// connection is a Relay connection over a list, with GitHub's rules for first
// and last.
func connection[T any](kind, field string, args arguments, list []T, build func(T) any) any {
	first, hasFirst := toInt(args["first"])
	last, hasLast := toInt(args["last"])
	switch {
	case !hasFirst && !hasLast: // the count alone may be asked without
		p := &gqlProblem{"MISSING_PAGINATION_BOUNDARIES", fmt.Sprintf("You must provide a `first` or `last` value to properly paginate the `%s` connection.", field)}
		return &gqlObject{kind, map[string]any{"nodes": p, "edges": p, "totalCount": len(list), "pageInfo": p}}
	case first > 100:
		return &gqlProblem{"EXCESSIVE_PAGINATION", fmt.Sprintf("Requesting %d records on the `%s` connection exceeds the `first` limit of 100 records.", first, field)}
	case last > 100:
		return &gqlProblem{"EXCESSIVE_PAGINATION", fmt.Sprintf("Requesting %d records on the `%s` connection exceeds the `last` limit of 100 records.", last, field)}
	case first < 0 || last < 0:
		return &gqlProblem{"ARGUMENT_LIMIT", fmt.Sprintf("`first` and `last` on the `%s` connection cannot be less than zero.", field)}
	}
	from, to := 0, len(list)
	cursor := func(i int) string { return base64.StdEncoding.EncodeToString([]byte("cursor:v2:" + strconv.Itoa(i+1))) }
	at := func(name string) (int, bool, *gqlProblem) {
		text, given := args[name].(string)
		if !given {
			return 0, false, nil
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		n, err2 := strconv.Atoi(strings.TrimPrefix(string(raw), "cursor:v2:"))
		if err != nil || err2 != nil {
			return 0, false, &gqlProblem{"INVALID_CURSOR_ARGUMENTS", fmt.Sprintf("`%s` does not appear to be a valid cursor.", text)}
		}
		return n, true, nil
	}
	n, given, p := at("after")
	if p != nil {
		return p
	}
	if given {
		from = min(n, to)
	}
	if n, given, p = at("before"); p != nil {
		return p
	} else if given {
		to = max(min(to, n-1), from)
	}
	if hasFirst {
		to = min(to, from+first)
	}
	if hasLast {
		from = max(from, to-last)
	}
	nodes, edges := []any{}, []any{}
	for i := from; i < to; i++ {
		node := build(list[i])
		nodes = append(nodes, node)
		edges = append(edges, &gqlObject{strings.TrimSuffix(kind, "Connection") + "Edge", map[string]any{"cursor": cursor(i), "node": node}})
	}
	info := map[string]any{"hasNextPage": to < len(list), "hasPreviousPage": from > 0, "startCursor": nil, "endCursor": nil}
	if from < to {
		info["startCursor"], info["endCursor"] = cursor(from), cursor(to-1)
	}
	return &gqlObject{kind, map[string]any{
		"nodes": nodes, "edges": edges, "totalCount": len(list), "pageInfo": &gqlObject{"PageInfo", info},
	}}
}

// allowed checks a permission as REST does: what is public may be read.
func (x *execution) allowed(r *repository, permission, level string) bool {
	if level == "read" && !r.private {
		return true
	}
	return x.caller.reaches(r) && x.caller.may(permission, level)
}

var forbidden = &gqlProblem{"FORBIDDEN", "Resource not accessible by integration"}

func (x *execution) visible(r *repository) bool { return !r.private || x.caller.reaches(r) }

func (x *execution) query() *gqlObject {
	return &gqlObject{"Query", map[string]any{
		"repository": lazyWith(func(a arguments) any {
			owner, name := a["owner"].(string), a["name"].(string)
			r := x.find(owner, name)
			if r == nil && a["followRenames"] != false {
				r = x.moved[strings.ToLower(owner+"/"+name)]
			}
			if r == nil || !x.visible(r) {
				return &gqlProblem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a Repository with the name '%s/%s'.", owner, name)}
			}
			return x.repository(r)
		}),
		"node": lazyWith(func(a arguments) any { return x.node(a["id"]) }),
		"nodes": lazyWith(func(a arguments) any {
			out := []any{}
			for _, id := range a["ids"].([]any) {
				out = append(out, x.node(id))
			}
			return out
		}),
		"viewer": lazy(func() any { // GitHub types the viewer as User even for an App
			o := x.user(x.caller.user())
			o.kind = "User"
			o.fields["login"] = x.caller.user().login // with "[bot]", unlike an author's
			return o
		}),
		"rateLimit": lazy(func() any {
			r := x.rateOf(x.call)
			return &gqlObject{"RateLimit", map[string]any{
				"cost": 1, "limit": r.limit, "nodeCount": 0, "remaining": max(r.limit-r.used, 0), "resetAt": stamp(r.reset), "used": r.used,
			}}
		}),
	}}
}

func (x *execution) node(id any) any {
	text, _ := id.(string)
	unknown := &gqlProblem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a node with the global id of '%s'.", text)}
	prefix, hex, okay := strings.Cut(text, "_kwDO")
	n, err := strconv.ParseInt(hex, 16, 64)
	if !okay || err != nil {
		return unknown
	}
	for _, r := range x.repos {
		if !x.visible(r) {
			continue
		}
		if prefix == "R" && r.id == n {
			return x.repository(r)
		}
		if run := r.run(n); prefix == "CR" && run != nil {
			if !x.allowed(r, "checks", "read") {
				return forbidden
			}
			return x.checkRun(run)
		}
		for _, p := range r.pulls {
			var found any
			switch prefix {
			case "PR":
				if p.id == n {
					found = x.pullRequest(p)
				}
			case "PRRT":
				if t := p.thread(n); t != nil {
					found = x.thread(t)
				}
			case "PRRC":
				if cm := p.comment(n); cm != nil {
					found = x.comment(cm)
				}
			case "IC":
				if ic := p.issueComment(n); ic != nil {
					found = x.issueComment(ic)
				}
			}
			if found != nil {
				if !x.allowed(r, "pull_requests", "read") {
					return forbidden
				}
				return found
			}
		}
	}
	return unknown
}

func (p *pull) thread(id int64) *thread {
	for _, t := range p.threads {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (p *pull) issueComment(id int64) *issueComment {
	for _, ic := range p.comments {
		if ic.id == id {
			return ic
		}
	}
	return nil
}

// user is an account; a bot's login lacks "[bot]" here
// (zxkane/autonomous-dev-team#395).
func (x *execution) user(u *user) *gqlObject {
	if u == nil {
		return nil
	}
	prefix := map[string]string{"User": "U", "Organization": "O", "Bot": "BOT"}[u.kind]
	login := strings.TrimSuffix(u.login, "[bot]")
	page := "/" + login
	if u.kind == "Bot" {
		page = "/apps/" + login
	}
	return &gqlObject{u.kind, map[string]any{
		"id": nodeID(prefix, u.id), "login": login, "url": x.url + page, "resourcePath": page, "databaseId": u.id, "name": nil,
		"avatarUrl": fmt.Sprintf("%s/avatars/u/%d", x.url, u.id),
	}}
}

func (x *execution) repository(r *repository) *gqlObject {
	return &gqlObject{"Repository", map[string]any{
		"id": nodeID("R", r.id), "databaseId": r.id, "name": r.name, "nameWithOwner": r.fullName(), "isPrivate": r.private,
		"isFork": r.parent != nil, "isArchived": false, "url": x.siteURL(r),
		"owner": lazy(func() any { return x.user(r.owner) }),
		"parent": lazy(func() any {
			if r.parent == nil || !x.visible(r.parent) {
				return nil
			}
			return x.repository(r.parent)
		}),
		"defaultBranchRef": lazy(func() any { return x.ref(r, "refs/heads/"+r.defaultBranch) }),
		"ref": lazyWith(func(a arguments) any {
			name := a["qualifiedName"].(string)
			if !strings.HasPrefix(name, "refs/") {
				name = "refs/heads/" + name
			}
			return x.ref(r, name)
		}),
		"object": lazyWith(func(a arguments) any {
			if !x.allowed(r, "contents", "read") {
				return forbidden
			}
			rev := ""
			if oid, given := a["oid"].(string); given {
				if !isSHA(oid) {
					return &gqlProblem{"ARGUMENT_ERROR", fmt.Sprintf("Could not coerce value %q to GitObjectID.", oid)}
				}
				rev = oid
			} else if expr, given := a["expression"].(string); given {
				name, path, hasPath := strings.Cut(expr, ":")
				if name == "HEAD" {
					name = r.defaultBranch
				}
				if rev = r.git.commitSHA(name); rev == "" {
					if !isSHA(name) {
						return nil
					}
					rev = name
				}
				if hasPath {
					rev += ":" + path
				}
			} else {
				return &gqlProblem{"MISSING_ARGUMENT", "Must provide either oid or expression"}
			}
			return x.gitObject(r, rev)
		}),
		"pullRequest": lazyWith(func(a arguments) any {
			number, _ := toInt(a["number"])
			for _, p := range r.pulls {
				if p.number == number {
					if !x.allowed(r, "pull_requests", "read") {
						return forbidden
					}
					return x.pullRequest(p)
				}
			}
			return &gqlProblem{"NOT_FOUND", fmt.Sprintf("Could not resolve to a PullRequest with the number of %d.", number)}
		}),
		"pullRequests": lazyWith(func(a arguments) any {
			if !x.allowed(r, "pull_requests", "read") {
				return forbidden
			}
			var list []*pull
			for _, p := range r.pulls {
				if states, given := a["states"].([]any); given && !slices.Contains(states, any(strings.ToUpper(p.state))) {
					continue
				}
				if ref, given := a["headRefName"].(string); given && ref != p.headRef {
					continue
				}
				if ref, given := a["baseRefName"].(string); given && ref != p.baseRef {
					continue
				}
				list = append(list, p)
			}
			if order, given := a["orderBy"].(map[string]any); given {
				if order["field"] == "UPDATED_AT" {
					slices.SortStableFunc(list, func(a, b *pull) int { return a.update.Compare(b.update) })
				}
				if order["direction"] == "DESC" {
					slices.Reverse(list)
				}
			}
			return connection("PullRequestConnection", "pullRequests", a, list, func(p *pull) any { return x.pullRequest(p) })
		}),
	}}
}

func (x *execution) ref(r *repository, name string) any {
	sha := r.heads[name]
	if sha == "" {
		return nil
	}
	short := strings.TrimPrefix(name, "refs/heads/")
	return &gqlObject{"Ref", map[string]any{
		"id": nodeID("REF", r.id) + short, "name": short, "prefix": "refs/heads/",
		"target": lazy(func() any {
			if !x.allowed(r, "contents", "read") {
				return forbidden
			}
			return x.gitObject(r, sha)
		}),
		"repository": lazy(func() any { return x.repository(r) }),
	}}
}

// maxText is how much of a blob's text GraphQL gives.
const maxText = 512_000

func (x *execution) gitObject(r *repository, rev string) any {
	o, err := r.git.object(rev)
	if err != nil {
		return nil
	}
	common := map[string]any{
		"abbreviatedOid": o.SHA[:7], "oid": o.SHA, "commitUrl": x.siteURL(r) + "/commit/" + o.SHA,
		"repository": lazy(func() any { return x.repository(r) }),
	}
	switch o.Type {
	case "blob":
		common["id"] = nodeID("B", r.id) + o.SHA
		binary := slices.Contains(o.Data[:min(len(o.Data), 8000)], 0)
		common["byteSize"], common["isBinary"], common["isTruncated"], common["text"] = len(o.Data), binary, len(o.Data) > maxText, nil
		if !binary {
			common["text"] = strings.ToValidUTF8(string(o.Data[:min(len(o.Data), maxText)]), "\uFFFD")
		}
		return &gqlObject{"Blob", common}
	case "tree":
		common["id"] = nodeID("T", r.id) + o.SHA
		common["entries"] = lazy(func() any {
			list, err := r.git.entries(o.SHA)
			if err != nil {
				return nil
			}
			out := []any{}
			for _, e := range list {
				out = append(out, x.treeEntry(r, e, ""))
			}
			return out
		})
		return &gqlObject{"Tree", common}
	case "commit":
		info, err := r.git.commit(o.SHA)
		if err != nil {
			return nil
		}
		return x.commit(r, info, common)
	}
	return nil
}

func (x *execution) treeEntry(r *repository, e treeEntry, folder string) any {
	mode, _ := strconv.ParseInt(e.Mode, 8, 32) // git's modes are octal
	name := e.Path[strings.LastIndex(e.Path, "/")+1:]
	extension := ""
	if i := strings.LastIndex(name, "."); i >= 0 {
		extension = name[i:]
	}
	return &gqlObject{"TreeEntry", map[string]any{
		"extension": extension, "mode": mode, "name": name, "oid": e.SHA, "path": folder + e.Path, "type": e.Type,
		"size": lazy(func() any {
			o, err := r.git.object(e.SHA)
			if err != nil || o.Type != "blob" {
				return 0
			}
			return len(o.Data)
		}),
		"object": lazy(func() any {
			if e.Type == "commit" {
				return nil // a submodule's commit lives elsewhere
			}
			return x.gitObject(r, e.SHA)
		}),
		"repository": lazy(func() any { return x.repository(r) }),
	}}
}

func (x *execution) commitAt(r *repository, sha string) any {
	if sha == "" {
		return nil
	}
	return x.gitObject(r, sha)
}

func (x *execution) commit(r *repository, info commitInfo, fields map[string]any) *gqlObject {
	first, _, _ := strings.Cut(info.Message, "\n")
	person := func(g signature) lazy {
		return func() any {
			u := x.users[strings.ToLower(g.Name)]
			if u != nil && u.kind != "User" {
				u = nil
			}
			return &gqlObject{"GitActor", map[string]any{"name": g.Name, "email": g.Email, "date": stamp(g.When), "user": x.user(u)}}
		}
	}
	fields["id"] = nodeID("C", r.id) + info.SHA
	fields["url"], fields["message"], fields["messageHeadline"] = x.siteURL(r)+"/commit/"+info.SHA, info.Message, first
	fields["author"], fields["committer"] = person(info.Author), person(info.Committer)
	fields["authoredDate"], fields["committedDate"] = stamp(info.Author.When), stamp(info.Committer.When)
	contents := func(do func(arguments) any) lazyWith {
		return func(a arguments) any {
			if !x.allowed(r, "contents", "read") {
				return forbidden
			}
			return do(a)
		}
	}
	fields["tree"] = contents(func(arguments) any { return x.gitObject(r, info.Tree) })
	fields["file"] = contents(func(a arguments) any {
		path := a["path"].(string)
		folder, name := "", path
		if i := strings.LastIndex(path, "/"); i >= 0 {
			folder, name = path[:i+1], path[i+1:]
		}
		list, err := r.git.entries(info.SHA + ":" + strings.TrimSuffix(folder, "/"))
		if err != nil {
			return nil
		}
		for _, e := range list {
			if e.Path == name {
				return x.treeEntry(r, e, folder)
			}
		}
		return nil
	})
	fields["parents"] = lazyWith(func(a arguments) any {
		return connection("CommitConnection", "parents", a, info.Parents, func(sha string) any { return x.commitAt(r, sha) })
	})
	fields["checkSuites"] = lazyWith(func(a arguments) any {
		if !x.allowed(r, "checks", "read") {
			return forbidden
		}
		filter, _ := a["filterBy"].(map[string]any)
		var list []*suite
		for _, su := range r.suites {
			if id, given := toInt(filter["appId"]); su.head != info.SHA || (given && int64(id) != su.app.id) {
				continue
			}
			if name, given := filter["checkName"].(string); given && !slices.ContainsFunc(su.runs, func(run *checkRun) bool { return run.name == name }) {
				continue
			}
			list = append(list, su)
		}
		return connection("CheckSuiteConnection", "checkSuites", a, list, func(su *suite) any { return x.checkSuite(su) })
	})
	return &gqlObject{"Commit", fields}
}

func upperOrNil(s string) any {
	if s == "" {
		return nil
	}
	return strings.ToUpper(s)
}

func (x *execution) checkSuite(su *suite) *gqlObject {
	status, conclusion := su.state()
	return &gqlObject{"CheckSuite", map[string]any{
		"id": nodeID("CS", su.id), "databaseId": su.id, "status": strings.ToUpper(status), "conclusion": upperOrNil(conclusion),
		"createdAt": stamp(su.created), "updatedAt": stamp(su.updated),
		"app": &gqlObject{"App", map[string]any{
			"id": nodeID("A", su.app.id), "databaseId": su.app.id, "name": su.app.name, "slug": su.app.slug, "url": x.url + "/apps/" + su.app.slug, "clientId": su.app.clientID,
		}},
		"commit": lazy(func() any { return x.commitAt(su.repo, su.head) }),
		"checkRuns": lazyWith(func(a arguments) any {
			filter, _ := a["filterBy"].(map[string]any)
			var list []*checkRun
			latest := map[string]bool{}
			for _, run := range slices.Backward(su.runs) {
				if filter["checkType"] != "ALL" && latest[run.name] {
					continue
				}
				latest[run.name] = true
				if id, given := toInt(filter["appId"]); given && int64(id) != su.app.id {
					continue
				}
				if name, given := filter["checkName"].(string); given && name != run.name {
					continue
				}
				if status, given := filter["status"].(string); given && status != strings.ToUpper(run.status) {
					continue
				}
				if states, given := filter["statuses"].([]any); given && !slices.Contains(states, any(strings.ToUpper(run.status))) {
					continue
				}
				if ends, given := filter["conclusions"].([]any); given && !slices.Contains(ends, any(strings.ToUpper(run.conclusion))) {
					continue
				}
				list = append(list, run)
			}
			return connection("CheckRunConnection", "checkRuns", a, list, func(run *checkRun) any { return x.checkRun(run) })
		}),
	}}
}

func (x *execution) checkRun(run *checkRun) *gqlObject {
	text := func(p *string) any {
		if p == nil {
			return nil
		}
		return *p
	}
	page := fmt.Sprintf("%s/runs/%d", x.siteURL(run.suite.repo), run.id)
	return &gqlObject{"CheckRun", map[string]any{
		"id": nodeID("CR", run.id), "databaseId": run.id, "name": run.name, "status": strings.ToUpper(run.status), "conclusion": upperOrNil(run.conclusion),
		"externalId": run.externalID, "startedAt": stampOrNil(run.started), "completedAt": stampOrNil(run.completed), "title": text(run.title),
		"summary": text(run.summary), "text": text(run.text), "url": page, "permalink": page, "detailsUrl": page,
		"checkSuite": lazy(func() any { return x.checkSuite(run.suite) }),
		"annotations": lazyWith(func(a arguments) any {
			return connection("CheckAnnotationConnection", "annotations", a, run.annotations, func(n annotation) any {
				at := func(line int, column *int) *gqlObject {
					o := &gqlObject{"CheckAnnotationPosition", map[string]any{"line": line, "column": nil}}
					if column != nil {
						o.fields["column"] = *column
					}
					return o
				}
				return &gqlObject{"CheckAnnotation", map[string]any{
					"annotationLevel": strings.ToUpper(*n.Level), "message": *n.Message, "path": *n.Path, "rawDetails": text(n.RawDetails), "title": text(n.Title),
					"location": &gqlObject{"CheckAnnotationSpan", map[string]any{"start": at(*n.StartLine, n.StartColumn), "end": at(*n.EndLine, n.EndColumn)}},
				}}
			})
		}),
	}}
}

func (x *execution) pullRequest(p *pull) *gqlObject {
	numbers := func(pick func(plus, minus, files int) int) lazy {
		return func() any {
			files, err := p.files(x.ctx)
			if err != nil {
				return &gqlProblem{"INTERNAL", err.Error()}
			}
			plus, minus := 0, 0
			for _, f := range files {
				plus, minus = plus+f.Additions, minus+f.Deletions
			}
			return pick(plus, minus, len(files))
		}
	}
	return &gqlObject{"PullRequest", map[string]any{
		"id": nodeID("PR", p.id), "databaseId": p.id, "fullDatabaseId": strconv.FormatInt(p.id, 10), "number": p.number, "title": p.title, "body": p.body,
		"author": x.user(p.author), "state": strings.ToUpper(p.state), "isDraft": p.draft, "isCrossRepository": p.headRepo != p.repo,
		"maintainerCanModify": p.maintainerCan, "closed": p.state == "closed", "merged": false,
		"additions":    numbers(func(plus, _, _ int) int { return plus }),
		"deletions":    numbers(func(_, minus, _ int) int { return minus }),
		"changedFiles": numbers(func(_, _, files int) int { return files }),
		"headRefName":  p.headRef, "headRefOid": p.head, "baseRefName": p.baseRef, "baseRefOid": p.base,
		"headRef": lazy(func() any { return x.ref(p.headRepo, "refs/heads/"+p.headRef) }),
		"baseRef": lazy(func() any { return x.ref(p.repo, "refs/heads/"+p.baseRef) }),
		"headRepository": lazy(func() any {
			if !x.visible(p.headRepo) {
				return nil
			}
			return x.repository(p.headRepo)
		}),
		"baseRepository": lazy(func() any { return x.repository(p.repo) }),
		"url":            fmt.Sprintf("%s/pull/%d", x.siteURL(p.repo), p.number), "createdAt": stamp(p.created), "updatedAt": stamp(p.update),
		"viewerDidAuthor": p.author == x.caller.user(),
		"labels": lazyWith(func(a arguments) any {
			return connection("LabelConnection", "labels", a, p.labels, func(l string) any {
				return &gqlObject{"Label", map[string]any{"id": nodeID("LA", p.repo.id) + l, "name": l}}
			})
		}),
		"commits": lazyWith(func(a arguments) any {
			list, err := p.repo.git.commits(x.ctx, p.mergeBase(x.ctx), p.head)
			if err != nil {
				return &gqlProblem{"INTERNAL", err.Error()}
			}
			return connection("PullRequestCommitConnection", "commits", a, list, func(info commitInfo) any {
				return &gqlObject{"PullRequestCommit", map[string]any{
					"id": nodeID("PURC", p.id) + info.SHA, "url": fmt.Sprintf("%s/pull/%d/commits/%s", x.siteURL(p.repo), p.number, info.SHA),
					"commit":      lazy(func() any { return x.commitAt(p.repo, info.SHA) }),
					"pullRequest": lazy(func() any { return x.pullRequest(p) }),
				}}
			})
		}),
		"files": lazyWith(func(a arguments) any {
			files, err := p.files(x.ctx)
			if err != nil {
				return &gqlProblem{"INTERNAL", err.Error()}
			}
			return connection("PullRequestChangedFileConnection", "files", a, files, func(f FileDiff) any {
				kind := map[string]string{"removed": "DELETED"}[f.Status]
				if kind == "" {
					kind = strings.ToUpper(f.Status)
				}
				return &gqlObject{"PullRequestChangedFile", map[string]any{"additions": f.Additions, "deletions": f.Deletions, "path": f.Path, "changeType": kind}}
			})
		}),
		"reviews": lazyWith(func(a arguments) any {
			var list []*review
			for _, rv := range p.reviews {
				if rv.pending() && rv.user != x.caller.user() {
					continue
				}
				if states, given := a["states"].([]any); given && !slices.Contains(states, any(rv.state)) {
					continue
				}
				list = append(list, rv)
			}
			return connection("PullRequestReviewConnection", "reviews", a, list, func(rv *review) any { return x.review(rv) })
		}),
		"reviewThreads": lazyWith(func(a arguments) any {
			var list []*thread
			for _, t := range p.threads {
				if rv := t.comments[0].review; !rv.pending() || rv.user == x.caller.user() {
					list = append(list, t)
				}
			}
			return connection("PullRequestReviewThreadConnection", "reviewThreads", a, list, func(t *thread) any { return x.thread(t) })
		}),
		"comments": lazyWith(func(a arguments) any {
			return connection("IssueCommentConnection", "comments", a, p.comments, func(ic *issueComment) any { return x.issueComment(ic) })
		}),
	}}
}

func (x *execution) review(rv *review) *gqlObject {
	return &gqlObject{"PullRequestReview", map[string]any{
		"id": nodeID("PRR", rv.id), "databaseId": rv.id, "fullDatabaseId": strconv.FormatInt(rv.id, 10), "author": x.user(rv.user), "body": rv.body,
		"state": rv.state, "commit": lazy(func() any { return x.commitAt(rv.pull.repo, rv.commit) }), "submittedAt": stampOrNil(rv.submitted),
		"createdAt": stamp(rv.submitted), "updatedAt": stamp(rv.submitted), "viewerDidAuthor": rv.user == x.caller.user(),
		"url": fmt.Sprintf("%s/pull/%d#pullrequestreview-%d", x.siteURL(rv.pull.repo), rv.pull.number, rv.id),
	}}
}

func intOrNil(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func (x *execution) thread(t *thread) *gqlObject {
	subject := "LINE"
	if t.file {
		subject = "FILE"
	}
	var startSide, by any
	if t.startSide != "" {
		startSide = string(t.startSide)
	}
	if t.resolvedBy != nil {
		o := x.user(t.resolvedBy)
		o.kind = "User" // typed so, whoever it was
		by = o
	}
	resolver := x.allowed(t.pull.repo, "contents", "write") && x.allowed(t.pull.repo, "pull_requests", "write")
	return &gqlObject{"PullRequestReviewThread", map[string]any{
		"id": nodeID("PRRT", t.id), "path": t.path, "line": intOrNil(t.line), "startLine": intOrNil(t.startLine), "originalLine": intOrNil(t.originalLine),
		"originalStartLine": intOrNil(t.firstStart), "diffSide": string(t.side), "startDiffSide": startSide, "subjectType": subject,
		"isCollapsed": t.resolvedBy != nil || t.outdated, "isOutdated": t.outdated, "isResolved": t.resolvedBy != nil, "resolvedBy": by,
		"viewerCanReply": x.allowed(t.pull.repo, "pull_requests", "write"), "viewerCanResolve": resolver && t.resolvedBy == nil,
		"viewerCanUnresolve": resolver && t.resolvedBy != nil,
		"pullRequest":        lazy(func() any { return x.pullRequest(t.pull) }),
		"repository":         lazy(func() any { return x.repository(t.pull.repo) }),
		"comments": lazyWith(func(a arguments) any {
			return connection("PullRequestReviewCommentConnection", "comments", a, t.comments, func(cm *comment) any { return x.comment(cm) })
		}),
	}}
}

func (x *execution) comment(cm *comment) *gqlObject {
	t := cm.thread
	r := t.pull.repo
	own := cm.user == x.caller.user()
	write := x.allowed(r, "pull_requests", "write")
	state, subject := "SUBMITTED", "LINE"
	if cm.review.pending() {
		state = "PENDING"
	}
	if t.file {
		subject = "FILE"
	}
	fields := map[string]any{
		"id": nodeID("PRRC", cm.id), "databaseId": cm.id, "fullDatabaseId": strconv.FormatInt(cm.id, 10), "author": x.user(cm.user),
		"authorAssociation": x.association(r, cm.user), "body": cm.body, "path": t.path, "diffHunk": t.hunk, "line": intOrNil(t.line),
		"startLine": intOrNil(t.startLine), "originalLine": intOrNil(t.originalLine), "originalStartLine": intOrNil(t.firstStart),
		"outdated": t.outdated, "state": state, "subjectType": subject, "createdAt": stamp(cm.created), "updatedAt": stamp(cm.updated),
		"commit":            lazy(func() any { return x.commitAt(r, t.commit) }),
		"originalCommit":    lazy(func() any { return x.commitAt(r, t.original) }),
		"pullRequestReview": lazy(func() any { return x.review(cm.review) }),
		"pullRequest":       lazy(func() any { return x.pullRequest(t.pull) }),
		"replyTo": lazy(func() any {
			if to := t.pull.comment(cm.replyTo); to != nil {
				return x.comment(to)
			}
			return nil
		}),
		"url":             fmt.Sprintf("%s/pull/%d#discussion_r%d", x.siteURL(r), t.pull.number, cm.id),
		"viewerDidAuthor": own, "viewerCanDelete": own && write, "viewerCanUpdate": own && write,
	}
	x.subject(fields, r, cm.minimized, &cm.reactions)
	return &gqlObject{"PullRequestReviewComment", fields}
}

func (x *execution) issueComment(ic *issueComment) *gqlObject {
	r := ic.pull.repo
	own := ic.user == x.caller.user()
	write := x.allowed(r, "pull_requests", "write")
	fields := map[string]any{
		"id": nodeID("IC", ic.id), "databaseId": ic.id, "fullDatabaseId": strconv.FormatInt(ic.id, 10), "author": x.user(ic.user),
		"authorAssociation": x.association(r, ic.user), "body": ic.body, "createdAt": stamp(ic.created), "updatedAt": stamp(ic.updated),
		"url":             fmt.Sprintf("%s/pull/%d#issuecomment-%d", x.siteURL(r), ic.pull.number, ic.id),
		"viewerDidAuthor": own, "viewerCanDelete": own && write, "viewerCanUpdate": own && write,
	}
	x.subject(fields, r, ic.minimized, &ic.reactions)
	return &gqlObject{"IssueComment", fields}
}

// subject adds the fields of Minimizable and Reactable.
func (x *execution) subject(fields map[string]any, r *repository, minimized string, list *[]*reaction) {
	write := x.allowed(r, "pull_requests", "write")
	fields["isMinimized"], fields["minimizedReason"], fields["viewerCanMinimize"], fields["viewerCanReact"] = minimized != "", nil, write, write
	if minimized != "" {
		fields["minimizedReason"] = minimized
	}
	fields["reactionGroups"] = lazy(func() any { return x.reactionGroups(*list) })
	fields["reactions"] = lazyWith(func(a arguments) any {
		kept := *list
		if content, given := a["content"].(string); given {
			kept = slices.DeleteFunc(slices.Clone(kept), func(r *reaction) bool { return graphqlReaction(r.content) != content })
		}
		o := connection("ReactionConnection", "reactions", a, kept, func(r *reaction) any { return x.reaction(r) })
		if c, whole := o.(*gqlObject); whole {
			c.fields["viewerHasReacted"] = x.reacted(kept)
		}
		return o
	})
}

func (x *execution) reacted(list []*reaction) bool {
	return slices.ContainsFunc(list, func(r *reaction) bool { return r.user == x.caller.user() })
}

func graphqlReaction(rest string) string {
	for _, n := range reactionNames {
		if n.rest == rest {
			return n.graphql
		}
	}
	return ""
}

func (x *execution) reaction(r *reaction) *gqlObject {
	u := x.user(r.user)
	u.kind = "User" // typed so, whoever it was
	return &gqlObject{"Reaction", map[string]any{
		"id": nodeID("REA", r.id), "databaseId": r.id, "content": graphqlReaction(r.content), "createdAt": stamp(r.at), "user": u,
	}}
}

// reactionGroups are all eight, also those that nobody used.
func (x *execution) reactionGroups(list []*reaction) []any {
	out := []any{}
	for _, n := range reactionNames {
		var of []*reaction
		for _, r := range list {
			if r.content == n.rest {
				of = append(of, r)
			}
		}
		var first any
		if len(of) > 0 {
			first = stamp(of[0].at)
		}
		out = append(out, &gqlObject{"ReactionGroup", map[string]any{
			"content": n.graphql, "createdAt": first, "viewerHasReacted": x.reacted(of),
			"reactors": lazyWith(func(a arguments) any {
				return connection("ReactorConnection", "reactors", a, of, func(r *reaction) any { return x.user(r.user) })
			}),
		}})
	}
	return out
}
