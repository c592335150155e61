package bot

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules"
)

// The files that hold a repository's settings, at its root. The first that has
// any wins.
const (
	SettingsName  = "dtypebot.toml"
	PyprojectName = "pyproject.toml" // in the table [tool.dtypebot]
)

// What can be said of drafts.
const (
	DraftsCheck  = "check"  // a check run with annotations
	DraftsReview = "review" // as of any other pull request
	DraftsSkip   = "skip"   // nothing but that it is a draft
)

// Settings are what a repository's settings say. The zero value has the defaults.
type Settings struct {
	Include []string // globs of the files to look at; none means all
	Exclude []string // globs of files that are left out
	// MinConfidence is what becomes a comment or an annotation: likely, which it
	// also is if empty, or certain.
	MinConfidence analysis.Confidence
	MaxComments   int      // of one head, the rest is annotated; 0 means Config.MaxComments
	CheckOnly     bool     // annotations and no comments
	Drafts        string   // DraftsCheck if empty
	SkipLabels    []string // a pull request with one of them is not looked at
	ReviewLabels  []string // if there are any, only pull requests with one of them are
	// FailOn is the least severity with which a mistake fails the check; "" never
	// does.
	FailOn analysis.Severity
	// Tuning is what the analysis is told.
	Tuning check.Tuning
}

// A SettingsFile is a file that may hold settings.
type SettingsFile struct {
	Name string // for people: "dtypebot.toml", ".github: dtypebot.toml"
	Text string
	// Pyproject says that the settings are in the table [tool.dtypebot].
	Pyproject bool
}

// A Fault is something in a settings file that is not as it should be. What it
// is about keeps its default; the rest of the file holds.
type Fault struct {
	File string
	Line int // 1-based; 0 for the whole file
	Text string
}

// String is "dtypebot.toml:3: unknown key …".
func (f Fault) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// ReadSettings applies the files in order to the defaults: what a later one says
// takes the place of what an earlier one said, key by key. It is pure.
func ReadSettings(files ...SettingsFile) (Settings, []Fault) {
	var s Settings
	var faults []Fault
	for _, f := range files {
		faults = append(faults, s.apply(f)...)
	}
	return s, faults
}

// Has reports whether the file says anything of dtypebot.
func (f SettingsFile) Has() bool {
	if !f.Pyproject {
		return strings.TrimSpace(f.Text) != ""
	}
	// A table may be written in more ways, but not without its name.
	if !strings.Contains(f.Text, "dtypebot") {
		return false
	}
	table, err := f.table()
	return err != nil || table != nil
}

// table returns the settings as TOML has them, nil without any.
func (f SettingsFile) table() (map[string]any, error) {
	var all map[string]any
	if err := toml.Unmarshal([]byte(f.Text), &all); err != nil {
		return nil, err
	}
	if !f.Pyproject {
		return all, nil
	}
	tool, _ := all["tool"].(map[string]any)
	switch own := tool["dtypebot"].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return own, nil
	}
	return nil, errors.New("tool.dtypebot is not a table")
}

// apply reads one file into s.
func (s *Settings) apply(f SettingsFile) []Fault {
	table, err := f.table()
	if err != nil {
		fault := Fault{File: f.Name, Text: "not read: " + err.Error()}
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			fault.Line, _ = at.Position()
			fault.Text = "not read: " + strings.TrimPrefix(at.Error(), "toml: ")
		}
		return []Fault{fault}
	}
	lines := f.lines()
	var faults []Fault
	blame := func(key, text string) { faults = append(faults, Fault{f.Name, lines[key], text}) }
	for key, value := range table {
		sub, isTable := value.(map[string]any)
		set, known := settings[key]
		switch {
		case key == "rules" && isTable:
			for rule, value := range sub {
				if err := s.setRule(rule, value); err != nil {
					blame("rules."+rule, err.Error())
				}
			}
		case key == "rules":
			blame(key, "rules: want a table")
		case !known:
			blame(key, fmt.Sprintf("unknown key %q%s", key, like(key, append(slices.Collect(maps.Keys(settings)), "rules"))))
		default:
			if err := set(s, value); err != nil {
				blame(key, key+": "+err.Error())
			} else if key == "compute-dtype" {
				s.Tuning.Where = analysis.Reason{Path: f.Name, Line: lines[key], Text: fmt.Sprintf("models run in %v here", value)}
			}
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text)) })
	return faults
}

// lines tells on which line each key stands, by its name below the file's own
// table: "exclude", "rules.cast-without-effect".
func (f SettingsFile) lines() map[string]int {
	out := make(map[string]int)
	own := ""
	if f.Pyproject {
		own = "tool.dtypebot."
	}
	var p unstable.Parser
	p.Reset([]byte(f.Text))
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		line := 0
		for it := e.Key(); it.Next(); {
			key = append(key, string(it.Node().Data))
			if line == 0 {
				line = p.Shape(it.Node().Raw).Start.Line
			}
		}
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = key
		case unstable.KeyValue:
			key = append(slices.Clone(table), key...)
		}
		// A fault may be about a table as a whole.
		for n := len(key); n > 0; n-- {
			name, mine := strings.CutPrefix(strings.Join(key[:n], "."), own)
			if _, before := out[name]; mine && !before {
				out[name] = line
			}
		}
	}
	return out // what could not be parsed was told by table
}

// settings are the keys, beside the table of rules.
var settings = map[string]func(*Settings, any) error{
	"include": func(s *Settings, v any) error { return globs(v, &s.Include) },
	"exclude": func(s *Settings, v any) error { return globs(v, &s.Exclude) },
	"min-confidence": func(s *Settings, v any) error {
		return oneOf(v, &s.MinConfidence, analysis.Likely, analysis.Certain)
	},
	"max-comments": func(s *Settings, v any) error {
		n, ok := v.(int64)
		if !ok || n < 1 || n > math.MaxInt16 {
			return errors.New("want a number, 1 or more")
		}
		s.MaxComments = int(n)
		return nil
	},
	"comments": func(s *Settings, v any) error {
		word := "review"
		err := oneOf(v, &word, "review", "check-only")
		if err == nil {
			s.CheckOnly = word == "check-only"
		}
		return err
	},
	"drafts":        func(s *Settings, v any) error { return oneOf(v, &s.Drafts, DraftsCheck, DraftsReview, DraftsSkip) },
	"skip-labels":   func(s *Settings, v any) error { return texts(v, &s.SkipLabels) },
	"review-labels": func(s *Settings, v any) error { return texts(v, &s.ReviewLabels) },
	"fail-on": func(s *Settings, v any) error {
		word := analysis.Severity("never")
		err := oneOf(v, &word, "never", analysis.High, analysis.Medium, analysis.Low)
		switch {
		case err == nil && word == "never":
			s.FailOn = ""
		case err == nil:
			s.FailOn = word
		}
		return err
	},
	"compute-dtype": func(s *Settings, v any) error {
		return oneOf(v, &s.Tuning.Compute, "bfloat16", "float16", "float32", "float64")
	},
	"torch-version": func(s *Settings, v any) error {
		word, ok := v.(string)
		if !ok || !version(word) {
			return errors.New(`want a text like "2.4"`)
		}
		s.Tuning.Torch = word
		return nil
	},
	"geometry": func(s *Settings, v any) error {
		return oneOf(v, &s.Tuning.Geometry, check.GeometryCast, check.GeometryFloat32)
	},
}

// setRule switches a rule, or gives it another severity.
func (s *Settings) setRule(name string, value any) error {
	var names []string
	for _, r := range rules.All() {
		names = append(names, r.Name)
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("unknown rule %q%s", name, like(name, names))
	}
	word := ""
	if err := oneOf(value, &word, check.RuleOn, check.RuleOff, string(analysis.High), string(analysis.Medium), string(analysis.Low)); err != nil {
		return fmt.Errorf("rules.%s: %w", name, err)
	}
	t := maps.Clone(s.Tuning.Rules)
	if t == nil {
		t = make(map[string]string)
	}
	t[name] = word
	s.Tuning.Rules = t
	return nil
}

// oneOf takes a text that is one of the words.
func oneOf[T ~string](v any, into *T, words ...T) error {
	text, ok := v.(string)
	if ok && slices.Contains(words, T(text)) {
		*into = T(text)
		return nil
	}
	var list []string
	for _, w := range words {
		list = append(list, fmt.Sprintf("%q", string(w)))
	}
	return fmt.Errorf("want %s or %s", strings.Join(list[:len(list)-1], ", "), list[len(list)-1])
}

// texts takes a list of texts.
func texts(v any, into *[]string) error {
	list, ok := v.([]any)
	var out []string
	for _, e := range list {
		text, isText := e.(string)
		ok = ok && isText && text != ""
		out = append(out, text)
	}
	if !ok {
		return errors.New("want a list of texts")
	}
	*into = out
	return nil
}

// globs takes a list of patterns, in which "**" stands for any folders.
func globs(v any, into *[]string) error {
	var list []string
	if err := texts(v, &list); err != nil {
		return err
	}
	for _, g := range list {
		if !doublestar.ValidatePattern(g) {
			return fmt.Errorf("%q is not a pattern", g)
		}
	}
	*into = list
	return nil
}

// version reports whether a text is digits and dots.
func version(text string) bool {
	parts := strings.Split(text, ".")
	return len(parts) <= 4 && !slices.ContainsFunc(parts, func(p string) bool {
		return p == "" || len(p) > 4 || strings.Trim(p, "0123456789") != ""
	})
}

// like names the word that somebody may have meant.
func like(word string, words []string) string {
	slices.Sort(words)
	plain := func(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }
	for _, w := range words {
		if plain(w) == plain(word) {
			return fmt.Sprintf("; did you mean %q?", w)
		}
	}
	return ""
}

// Wants reports whether a file is to be looked at. A pattern without a slash
// matches at any depth, and one that names a folder matches what is in it.
func (s Settings) Wants(path string) bool {
	matches := func(list []string) bool {
		return slices.ContainsFunc(list, func(g string) bool { return covers(g, path) })
	}
	return (len(s.Include) == 0 || matches(s.Include)) && !matches(s.Exclude)
}

func covers(glob, path string) bool {
	glob = strings.TrimPrefix(strings.TrimPrefix(glob, "./"), "/")
	folder := strings.HasSuffix(glob, "/")
	glob = strings.TrimSuffix(glob, "/")
	if !strings.Contains(glob, "/") {
		glob = "**/" + glob
	}
	// Patterns were checked when they were read.
	return !folder && doublestar.MatchUnvalidated(glob, path) || doublestar.MatchUnvalidated(glob+"/**", path)
}

// unwanted says why a pull request with these labels is not looked at, "" if it
// is.
func (s Settings) unwanted(draft bool, labels []string) string {
	has := func(list []string) string {
		for _, want := range list {
			if slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, want) }) {
				return want
			}
		}
		return ""
	}
	switch {
	case has(s.SkipLabels) != "":
		return fmt.Sprintf("it has the label %q", has(s.SkipLabels))
	case len(s.ReviewLabels) > 0 && has(s.ReviewLabels) == "":
		return "it has none of the labels that ask for a review"
	case draft && s.Drafts == DraftsSkip:
		return "it is a draft"
	}
	return ""
}
