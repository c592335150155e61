package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/dtypebot/dtypebot"

// A layer says which packages of the module a package may import, and why not
// the others. Tests may import more, see testsMay.
type layer struct {
	may string // separated by blanks; "*" is all
	why string // why nothing else
}

// layers is the table of DESIGN.md ("Layout and who may import whom").
var layers = map[string]layer{
	"cmd/dtypebot":    {"*", "the verbs put everything together"},
	"analysis":        {"analysis/python analysis/dtype analysis/interp", "the vocabulary must not know the rules that are written in it"},
	"analysis/python": {"", "the front end can be replaced only if it knows nothing of what is done with trees"},
	"analysis/dtype":  {"", "the lattice is arithmetic; its laws hold without Python or PyTorch's ops"},
	"analysis/torch":  {"analysis/dtype", "what PyTorch does is data, not evaluation"},
	"analysis/interp": {"analysis/python analysis/dtype analysis/torch", "the evaluator gives facts and never judges them"},
	"analysis/project": {
		"analysis/python analysis/dtype analysis/interp", "the index of a repository is facts too; it is built where no rule runs",
	},
	"analysis/patch": {"analysis analysis/python", "a diff is read the same whoever asks"},
	"analysis/rules": {
		"analysis analysis/python analysis/dtype analysis/torch analysis/interp",
		"a rule is pure: it sees one pass and neither the driver, the diff nor other rules' findings",
	},
	"analysis/survey": {
		"analysis/python analysis/dtype analysis/interp", "a list of what is there needs no rule and gives none a reason to speak",
	},
	"analysis/rules/torchrun": {"", "it runs PyTorch for tests and must not share the analyser's opinion of it"},
	"analysis/check": {
		"analysis analysis/python analysis/dtype analysis/torch analysis/interp analysis/project analysis/rules analysis/survey",
		"the driver gets files and hunks as values; where they come from (a patch, a forge) and what is suggested is not its business",
	},
	"suggestions": {
		"analysis analysis/check analysis/python analysis/survey",
		"a fix is proven by running the driver again, not by looking into rules or facts",
	},
	"suggestions/report": {"analysis analysis/check analysis/python analysis/survey suggestions", "a writer decides nothing"},
	"bot": {
		"analysis analysis/check analysis/rules suggestions",
		"the review is data; whoever speaks to GitHub or NATS stands behind the interfaces that bot declares",
	},
	"bot/analyser": {
		"analysis analysis/check analysis/project suggestions", "it carries files to another process and answers back, and knows no pull request",
	},
	"bot/webhook":  {"bot", "the door checks signatures and enqueues; it must answer before anything is analysed"},
	"bot/queue":    {"bot", "the queue carries jobs and never looks into them"},
	"bot/recovery": {"bot bot/store", "it finds work and queues it; who reads GitHub and decodes events is given to it"},
	"bot/store":    {"bot", "the buckets keep what the bot tells them"},
	"bot/github":   {"bot analysis analysis/check analysis/patch analysis/project", "it converts at the border: reads become a Snapshot, a Review becomes writes"},
	"bot/index": {
		"bot bot/analyser analysis/check analysis/project", "it keeps what is known of repositories; who reads, summarises and stores is given to it",
	},
	"bot/setup":              {"bot bot/github", "the page makes credentials and needs no queue"},
	"bot/githubsim/contract": {"", "it holds the simulator and its clients to GitHub's words, and knows neither"},
	"bot/githubsim/page":     {"bot/githubsim", "it looks at the simulator as a person does; what the bot thinks is in the comments"},
	"bot/githubsim": {
		"", "a simulator that shares code with what it simulates for agrees with its mistakes",
	},
}

// testsMay are further imports of test files, beside a package's own table and
// the packages that are there for tests.
var testsMay = map[string]string{
	"analysis/project":   "analysis analysis/check analysis/rules/torchrun", // small projects, under PyTorch
	"analysis/check":     "analysis/patch analysis/rules/torchrun",          // real diffs
	"analysis/rules":     "analysis/check analysis/rules/torchrun suggestions",
	"analysis/interp":    "analysis/rules/torchrun",
	"analysis/torch":     "analysis/rules/torchrun",
	"suggestions":        "analysis/patch analysis/rules analysis/rules/torchrun",
	"suggestions/report": "analysis/python analysis/rules analysis/patch",
	"bot":                "analysis/python analysis/patch bot/store bot/queue",
	"bot/queue":          "bot/store",
	"bot/store":          "bot/queue",
	"bot/recovery":       "bot/queue",
	"bot/githubsim":      "bot/githubsim/contract",
	"bot/setup":          "bot/githubsim bot/githubsim/contract bot/githubsim/page",
	"bot/github":         "bot/githubsim bot/githubsim/contract bot/webhook analysis/python suggestions",
}

// reserved are the packages of other people that belong to one place each; the
// rest of the module sees our own types.
var reserved = []struct {
	prefix, owners, tests, why string
}{
	{"C", "analysis/python", "", "no C memory outlives the parse, and the rest tests, fuzzes and races without cgo"},
	{"github.com/smacker/go-tree-sitter", "analysis/python", "", "another parser can replace it behind one function"},
	{"github.com/nats-io/", "bot/queue bot/store", "cmd/dtypebot", "the queue can be replaced behind bot's interfaces"},
	{"github.com/google/go-github", "bot/github", "bot/githubsim", "API types change with every major version and stay at the border"},
	{"github.com/bradleyfalzon/ghinstallation", "bot/github", "bot/githubsim", "tokens are made in one place"},
	{"github.com/bluekeyes/go-gitdiff", "analysis/patch", "", "diffs are read in one place"},
	{"github.com/bmatcuk/doublestar", "bot", "", "what a pattern of the settings matches is told in one place"},
}

// pure are the trees of packages that do no I/O, and what they may not import.
var pure = struct {
	under, but []string
	forbidden  []string
}{
	under:     []string{"analysis", "suggestions"},
	but:       []string{"analysis/rules/torchrun"},
	forbidden: []string{"net", "net/http", "os", "os/exec", "log", "log/slog", "database/sql"},
}

// A pkg is one package of the module as its files tell it.
type pkg struct {
	name    string
	imports map[string]bool // of the code
	tests   map[string]bool // of test files
	docs    []string        // files with a package comment
}

// packages reads the import clauses of the whole module.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	root := filepath.Join("..", "..")
	out := map[string]*pkg{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if generatorOnly(f) {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		p := out[rel]
		if p == nil {
			p = &pkg{imports: map[string]bool{}, tests: map[string]bool{}}
			out[rel] = p
		}
		test := strings.HasSuffix(name, "_test.go")
		into := p.imports
		if test {
			into = p.tests
		}
		for _, i := range f.Imports {
			what, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			into[what] = true
		}
		if !test {
			p.name = f.Name.Name
			if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
				p.docs = append(p.docs, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// generatorOnly reports whether a file is run by hand and never built.
func generatorOnly(f *ast.File) bool {
	for _, g := range f.Comments {
		for _, c := range g.List {
			if g.End() < f.Package && strings.HasPrefix(c.Text, "//go:build ignore") {
				return true
			}
		}
	}
	return false
}

// tableFaults returns what breaks the table, sorted.
func tableFaults(all map[string]*pkg) []string {
	var out []string
	say := func(parts ...string) { out = append(out, strings.Join(parts, "")) }
	for dir, p := range all {
		l, known := layers[dir]
		if !known {
			say(dir, " is not in the table: say what it may import and why nothing else")
			continue
		}
		may := strings.Fields(l.may)
		testMay := append(strings.Fields(testsMay[dir]), dir)
		check := func(what string, test bool) {
			own, ours := strings.CutPrefix(what, module+"/")
			if ours && l.may != "*" && !slices.Contains(may, own) && !(test && slices.Contains(testMay, own)) {
				kind := " imports "
				if test {
					kind = " imports in its tests "
				}
				say(dir, kind, own, ": ", l.why)
			}
			for _, r := range reserved {
				owners := strings.Fields(r.owners)
				if test {
					owners = append(owners, strings.Fields(r.tests)...)
				}
				if (what == r.prefix || len(r.prefix) > 1 && strings.HasPrefix(what, r.prefix)) && !slices.Contains(owners, dir) {
					say(dir, " imports ", what, ", which belongs to ", r.owners, ": ", r.why)
				}
			}
			if !test && slices.ContainsFunc(pure.under, func(u string) bool { return dir == u || strings.HasPrefix(dir, u+"/") }) &&
				!slices.Contains(pure.but, dir) && slices.Contains(pure.forbidden, what) {
				say(dir, " imports ", what, ": it does no I/O")
			}
		}
		for what := range p.imports {
			check(what, false)
		}
		for what := range p.tests {
			check(what, true)
		}
		if p.name != "" && len(p.docs) != 1 {
			say(dir, " has ", strconv.Itoa(len(p.docs)), " package comments, not one: ", strings.Join(p.docs, ", "))
		}
		switch p.name {
		case "util", "utils", "common", "helper", "helpers", "manager", "base", "misc", "types":
			say(dir, " is called ", p.name, ", which says nothing")
		}
	}
	slices.Sort(out)
	return out
}

func TestImports(t *testing.T) {
	all := packages(t)
	if len(all) < 10 {
		t.Fatalf("only %d packages were read", len(all))
	}
	for _, f := range tableFaults(all) {
		t.Error(f)
	}
}

// TestImportsSees checks that the test above can fail.
func TestImportsSees(t *testing.T) {
	set := func(what ...string) map[string]bool {
		m := map[string]bool{}
		for _, w := range what {
			m[w] = true
		}
		return m
	}
	doc := []string{"doc.go"}
	got := tableFaults(map[string]*pkg{
		"analysis/rules":  {name: "rules", docs: doc, imports: set(module+"/analysis/check", "os"), tests: set(module + "/analysis/check")},
		"analysis/dtype":  {name: "dtype", docs: []string{"a.go", "b.go"}, imports: set("C")},
		"bot/webhook":     {name: "webhook", docs: doc, imports: set("github.com/nats-io/nats.go"), tests: set(module + "/bot/queue")},
		"bot/githubsim":   {name: "githubsim", docs: doc, tests: set("github.com/google/go-github/v60/github")},
		"bot/util":        {name: "util", docs: doc},
		"analysis/python": {name: "helper", imports: set("C", "github.com/smacker/go-tree-sitter/python")},
	})
	want := []string{
		"analysis/dtype has 2 package comments, not one: a.go, b.go",
		"analysis/dtype imports C, which belongs to analysis/python",
		"analysis/python has 0 package comments, not one",
		"analysis/python is called helper",
		"analysis/rules imports analysis/check: a rule is pure",
		"analysis/rules imports os: it does no I/O",
		"bot/util is not in the table",
		"bot/webhook imports github.com/nats-io/nats.go, which belongs to bot/queue bot/store",
		"bot/webhook imports in its tests bot/queue",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

// TestLayersAcyclic checks that the table itself has no cycle.
func TestLayersAcyclic(t *testing.T) {
	state := map[string]int{}
	var visit func(string)
	visit = func(p string) {
		switch state[p] {
		case 1:
			t.Fatalf("the table has a cycle through %s", p)
		case 2:
			return
		}
		state[p] = 1
		l, ok := layers[p]
		if !ok {
			t.Errorf("the table names %s and has no line for it", p)
		}
		if l.may != "*" {
			for _, q := range strings.Fields(l.may) {
				visit(q)
			}
		}
		state[p] = 2
	}
	for _, p := range slices.Sorted(maps.Keys(layers)) {
		visit(p)
	}
}
