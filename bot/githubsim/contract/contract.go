// Package contract compares what goes over the wire of a simulated GitHub with
// GitHub's own descriptions: its OpenAPI document for requests and answers of
// REST, its public schema for GraphQL documents. [Guard] puts it between a
// client and the simulator.
//
// The documents are not kept here: the environment names them. It does not check what the documents do not say, such as which lines a comment
// may stand on: that is the simulator's.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// A Contract is GitHub's own description of its interfaces.
type Contract struct {
	rest    *openapi3.T
	graphql *ast.Schema
}

// missing says which documents are needed, and where they come from.
const missing = "needs GitHub's descriptions: npm pack @octokit/openapi@23.0.2 @octokit/graphql-schema@15.26.1, unpack, " +
	"DTYPEBOT_OPENAPI=…/package/generated/api.github.com.json, DTYPEBOT_GRAPHQL_SCHEMA=…/package/schema.graphql"

// A Simulator is what is held to GitHub's descriptions.
type Simulator interface {
	Handler() http.Handler
	// Routes are the paths that it serves, in the description's words.
	Routes() []string
	// Answered tells of a request, by its X-GitHub-Request-Id, on which of the
	// routes it was, and whether a fault of the test took the place of its answer.
	Answered(request string) (route string, fault, ok bool)
}

// Guard is the handler of a simulator, for a test that fails when a request or
// an answer does not agree with GitHub's descriptions. Without these it only
// passes on, and fails where nothing may be skipped (DTYPEBOT_REQUIRE=all).
func Guard(t testing.TB, sim Simulator) http.Handler {
	t.Helper()
	c, err := fromEnvironment(sim)
	if err != nil {
		t.Fatal(err)
	}
	if c == nil && os.Getenv("DTYPEBOT_REQUIRE") == "all" {
		t.Fatal(missing)
	}
	if c == nil {
		return sim.Handler()
	}
	return c.handler(sim, func(problem string) { t.Errorf("contract: %s", problem) })
}

// known are the documents, read once. All simulators of a process have the same
// routes.
var known struct {
	sync.Mutex
	contract *Contract
	err      error
}

// fromEnvironment reads the documents that DTYPEBOT_OPENAPI and
// DTYPEBOT_GRAPHQL_SCHEMA name; nil if one of them is not set.
func fromEnvironment(sim Simulator) (*Contract, error) {
	rest, graphql := os.Getenv("DTYPEBOT_OPENAPI"), os.Getenv("DTYPEBOT_GRAPHQL_SCHEMA")
	if rest == "" || graphql == "" {
		return nil, nil
	}
	known.Lock()
	defer known.Unlock()
	if known.contract == nil && known.err == nil {
		known.contract, known.err = read(rest, graphql, sim.Routes())
	}
	return known.contract, known.err
}

func read(rest, graphql string, routes []string) (*Contract, error) {
	data, err := os.ReadFile(rest)
	if err != nil {
		return nil, err
	}
	if data, err = prune(data, routes); err != nil {
		return nil, fmt.Errorf("read %s: %w", rest, err)
	}
	c := &Contract{}
	if c.rest, err = openapi3.NewLoader().LoadFromData(data); err != nil {
		return nil, fmt.Errorf("read %s: %w", rest, err)
	}
	text, err := os.ReadFile(graphql)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ParseSchemas(validator.Prelude, &ast.Source{Name: graphql, Input: string(text)})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", graphql, err)
	}
	for _, d := range parsed.Definitions { // GitHub defines some fields twice
		seen := make(map[string]bool)
		d.Fields = slices.DeleteFunc(d.Fields, func(f *ast.FieldDefinition) bool {
			twice := seen[f.Name]
			seen[f.Name] = true
			return twice
		})
	}
	if c.graphql, err = validator.ValidateSchemaDocument(parsed); err != nil {
		return nil, fmt.Errorf("read %s: %w", graphql, err)
	}
	return c, nil
}

// prune leaves of an OpenAPI document the paths and what they refer to: all of
// it takes seconds to read.
func prune(data []byte, paths []string) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	all, _ := doc["paths"].(map[string]any)
	kept := make(map[string]any)
	for _, p := range paths {
		if item, ok := all[p]; ok {
			kept[p] = item
		}
	}
	components, _ := doc["components"].(map[string]any)
	needed := make(map[string]any)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				parts := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
				if len(parts) == 2 {
					group, _ := needed[parts[0]].(map[string]any)
					if group == nil {
						group = make(map[string]any)
						needed[parts[0]] = group
					}
					if _, done := group[parts[1]]; !done {
						from, _ := components[parts[0]].(map[string]any)
						group[parts[1]] = from[parts[1]]
						walk(from[parts[1]])
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(kept)
	return json.Marshal(map[string]any{"openapi": doc["openapi"], "info": doc["info"], "paths": kept, "components": needed})
}

// handler answers as the simulator does, and reports what does not agree with
// GitHub's descriptions.
func (c *Contract) handler(sim Simulator, report func(problem string)) http.Handler {
	next := sim.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			report("read a request: " + err.Error())
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		t := &tee{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(t, r)
		route, fault, ok := sim.Answered(w.Header().Get("X-GitHub-Request-Id"))
		if !ok || fault {
			return
		}
		if problem := c.check(r.Method, route, body, t); problem != "" {
			report(fmt.Sprintf("%s %s: %d: %s", r.Method, r.URL.Path, t.status, problem))
		}
	})
}

// A tee keeps what is answered.
type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}

// refused reports whether an answer of GraphQL has errors and nothing else.
func (t *tee) refused() bool {
	var answer struct {
		Data   json.RawMessage   `json:"data"`
		Errors []json.RawMessage `json:"errors"`
	}
	return json.Unmarshal(t.body.Bytes(), &answer) == nil && len(answer.Errors) > 0 && (len(answer.Data) == 0 || string(answer.Data) == "null")
}

// Unwrap is for http.ResponseController.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// check says what is wrong with a request or its answer, "" if nothing is.
func (c *Contract) check(method, route string, body []byte, got *tee) string {
	if route == "/graphql" {
		if got.refused() {
			return "" // GitHub refuses it, too, and who asked has to notice
		}
		return c.document(body)
	}
	if method == http.MethodHead && route == "/" {
		return "" // asks whether somebody is there
	}
	item := c.rest.Paths.Find(route)
	if item == nil {
		// What a redirect leads to is in no description.
		if strings.HasPrefix(route, "/repositories/") || strings.HasPrefix(route, "/_codeload/") {
			return ""
		}
		return "GitHub has no such path: " + route
	}
	op := item.GetOperation(method)
	if op == nil {
		return "GitHub has no such method"
	}
	if op.RequestBody != nil && len(body) > 0 && got.status < 300 {
		if media := op.RequestBody.Value.Content.Get("application/json"); media != nil {
			if problem := conforms(media.Schema.Value, body, openapi3.VisitAsRequest()); problem != "" {
				return "request: " + problem
			}
		}
	}
	resp := op.Responses.Status(got.status)
	if resp == nil {
		// Every endpoint may answer so, though few say it; faults of tests too.
		if got.status >= 500 || slices.Contains([]int{301, 304, 401, 403, 404, 422, 429}, got.status) {
			return ""
		}
		return "status is not documented"
	}
	media := resp.Value.Content.Get("application/json")
	if media == nil || !strings.HasPrefix(got.Header().Get("Content-Type"), "application/json") {
		return ""
	}
	return conforms(media.Schema.Value, got.body.Bytes(), openapi3.VisitAsResponse())
}

// conforms compares JSON with a schema.
func conforms(schema *openapi3.Schema, body []byte, as openapi3.SchemaValidationOption) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err.Error()
	}
	err := schema.VisitJSON(value, as, openapi3.MultiErrors(), openapi3.SetSchemaErrorMessageCustomizer(func(e *openapi3.SchemaError) string {
		return fmt.Sprintf("at /%s: %s", strings.Join(e.JSONPointer(), "/"), e.Reason)
	}))
	var all openapi3.MultiError
	if !errors.As(err, &all) {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	// The document has no null here, GitHub has: for outdated comments and those on a file.
	// And the list of installations asks an account to be a user and an enterprise at once.
	all = slices.DeleteFunc(all, func(err error) bool {
		return strings.HasSuffix(err.Error(), `/account: doesn't match all schemas from "allOf"`) ||
			strings.HasSuffix(err.Error(), "/line: Value is not nullable") || strings.HasSuffix(err.Error(), "/position: Value is not nullable")
	})
	if len(all) == 0 {
		return ""
	}
	return all.Error()
}

// document checks a GraphQL request against the public schema.
func (c *Contract) document(body []byte) string {
	var want struct {
		Query string `json:"query"`
	}
	if err := json.Unmarshal(body, &want); err != nil {
		return err.Error()
	}
	if _, errs := gqlparser.LoadQueryWithRules(c.graphql, want.Query, rules.NewDefaultRules()); len(errs) > 0 {
		return errs.Error()
	}
	return ""
}
