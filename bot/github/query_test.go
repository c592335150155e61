package github

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/dtypebot/dtypebot/bot"
)

// documents are all shapes of the GraphQL documents that are ever sent.
func documents() map[string]string {
	changes, _ := mutation([]step{
		{act: bot.ThreadAct{Do: bot.ResolveThread}},
		{act: bot.ThreadAct{Do: bot.UnresolveThread}},
		{act: bot.ThreadAct{Do: bot.DeleteComment}},
		{act: bot.ThreadAct{Do: bot.EditComment, Body: "b"}},
		{act: bot.ThreadAct{Do: bot.ReplyToThread, Body: "b"}},
		{act: bot.ThreadAct{Do: bot.ReactToComment, Reaction: bot.ReactionGone}},
	})
	return map[string]string{
		"state of no file":     document(0, nil),
		"state of one file":    document(1, []int{0}),
		"state of fifty files": document(perQuery, unknown(make([]wanted, perQuery))),
		"state, no content":    document(2, nil),
		"threads":              threadsDocument,
		"talk":                 talkDocument,
		"changes of threads":   changes,
		"files":                blobsDocument([]int{0, 2}),
		"head of no file":      headDocument(0),
		"head of two files":    headDocument(2),
	}
}

func TestDocumentsParse(t *testing.T) {
	for name, text := range documents() {
		if _, err := parser.ParseQuery(&ast.Source{Name: name, Input: text}); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// TestDocumentsFitTheSimulator validates the documents against the schema of the
// simulated GitHub, also those that no other test sends.
func TestDocumentsFitTheSimulator(t *testing.T) {
	validate(t, filepath.Join("..", "githubsim", "schema.graphql"))
}

// TestDocumentsFitGitHub validates the documents against GitHub's public schema,
// which is not kept here.
func TestDocumentsFitGitHub(t *testing.T) {
	path := os.Getenv("DTYPEBOT_GRAPHQL_SCHEMA")
	if path == "" {
		t.Skip("npm pack @octokit/graphql-schema@15.26.1, unpack it and set DTYPEBOT_GRAPHQL_SCHEMA to the path of its schema.graphql")
	}
	validate(t, path)
}

func validate(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseSchemas(validator.Prelude, &ast.Source{Name: path, Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Definitions { // GitHub defines some fields twice
		seen := make(map[string]bool)
		d.Fields = slices.DeleteFunc(d.Fields, func(f *ast.FieldDefinition) bool {
			twice := seen[f.Name]
			seen[f.Name] = true
			return twice
		})
	}
	schema, err := validator.ValidateSchemaDocument(parsed)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range documents() {
		if _, errs := gqlparser.LoadQueryWithRules(schema, text, rules.NewDefaultRules()); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
	}
}
