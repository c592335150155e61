package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// run is the example with what a run knows besides findings.
func run() Input {
	in := example()
	in.Version = "1.2.3"
	in.Rules = []*analysis.Rule{
		{Name: "bfloat16-to-numpy", Severity: analysis.High, Doc: "A bfloat16 tensor is handed to NumPy\n\nNumPy has no\nbfloat16.\n\nFix: .float() first.\n"},
		{Name: "factory-without-dtype", Severity: analysis.Medium, Doc: "A tensor without a dtype"},
		{Name: "young", Severity: analysis.Low, Preview: true},
	}
	in.Report.Notes = []check.Note{{Path: "models/lift.py", Line: 2, Text: "there is no rule `nonsense`"}, {Path: "a:b, 100%.py", Text: "evaluated\nin part"}}
	return in
}

func TestCIFormats(t *testing.T) {
	likely := run()
	likely.Least = analysis.Likely
	for name, c := range map[string]struct {
		write func(io.Writer, Input) error
		in    Input
	}{
		"all.sarif": {SARIF, run()}, "clean.sarif": {SARIF, Input{Report: check.Report{Files: 1}}},
		"all.rdjson": {RDJSON, run()}, "likely.rdjson": {RDJSON, likely}, "clean.rdjson": {RDJSON, Input{}},
		"all.github": {GitHub, run()}, "likely.github": {GitHub, likely}, "clean.github": {GitHub, Input{}},
	} {
		var b bytes.Buffer
		if err := c.write(&b, c.in); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// strict reads JSON into v and fails on fields that v does not have.
func strict(t fataler, text []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more than one document: %v", err)
	}
}

func writeSARIF(t fataler, in Input) *sarif.Report {
	t.Helper()
	var b bytes.Buffer
	if err := SARIF(&b, in); err != nil {
		t.Fatalf("%v", err)
	}
	var r sarif.Report
	strict(t, b.Bytes(), &r)
	return &r
}

// TestSARIFIsValid checks the report against OASIS's JSON schema of SARIF
// 2.1.0, which go-sarif holds, and against what GitHub asks beyond it.
// https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
func TestSARIFIsValid(t *testing.T) {
	for _, in := range []Input{run(), example(), {}} {
		r := writeSARIF(t, in)
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		rules := r.Runs[0].Tool.Driver.Rules
		for _, s := range r.Runs[0].Results {
			if got := *rules[s.RuleIndex].ID; got != *s.RuleID {
				t.Errorf("the result of %s has the index of %s", *s.RuleID, got)
			}
			if len(s.PartialFingerprints) != 1 || len(s.Locations) != 1 || *s.Message.Text == "" {
				t.Errorf("%s: fingerprints %v, %d locations, message %q", *s.RuleID, s.PartialFingerprints, len(s.Locations), *s.Message.Text)
			}
		}
	}
	bad := writeSARIF(t, run())
	bad.Runs[0].Results[0].Level = "terrible"
	if bad.Validate() == nil {
		t.Error("the schema accepts anything")
	}
}

func TestSARIFShortensDescriptions(t *testing.T) {
	in := Input{Rules: []*analysis.Rule{{Name: "long", Doc: strings.Repeat("ü", 2000) + "\n\n" + strings.Repeat("ö ", 2000)}}}
	r := writeSARIF(t, in).Runs[0].Tool.Driver.Rules[0]
	for _, s := range []string{*r.ShortDescription.Text, *r.FullDescription.Text} {
		if n := utf8.RuneCountInString(s); n != 1024 {
			t.Errorf("%d characters, want 1024", n)
		}
	}
}

// nasty is text that means something to a format.
var nasty = rapid.OneOf(
	rapid.SampledFrom([]string{"::", "%", "%0A", "%25", "\r", "\n\n", ",", ":", "=", "]", "##[", "<b>", "`x`", "**", "[a](0)", "{0}", "𐐀ü", "\x1b[31m", "\xff", "\u2028", " "}),
	rapid.String(),
)

// anyInput makes reports of one file whose source, places, words and
// suggestions are arbitrary but agree with each other.
var anyInput = rapid.Custom(func(t *rapid.T) Input {
	words := func(name string) string { return strings.Join(rapid.SliceOfN(nasty, 0, 4).Draw(t, name), "") }
	end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end")
	lineOf := rapid.StringMatching(`[ab ü𐐀%:]{0,6}`)
	lines := rapid.SliceOfN(lineOf, 1, 6).Draw(t, "lines")
	source := strings.Join(lines, end) + rapid.SampledFrom([]string{"", end}).Draw(t, "last")
	if rapid.Bool().Draw(t, "mark") {
		lines[0] = bom + lines[0]
		source = bom + source
	}
	path := "p" + strings.ToValidUTF8(words("path"), "") + ".py"
	position := func(name string, least analysis.Position) analysis.Position {
		p := analysis.Position{Line: rapid.IntRange(least.Line, len(lines)).Draw(t, name)}
		first := 1
		if p.Line == least.Line {
			first = least.Column
		}
		if p.Line == 1 && strings.HasPrefix(lines[0], bom) {
			first = max(first, len(bom)+1)
		}
		var columns []int
		for i := range lines[p.Line-1] {
			columns = append(columns, i+1)
		}
		columns = slices.DeleteFunc(append(columns, len(lines[p.Line-1])+1), func(c int) bool { return c < first })
		p.Column = rapid.SampledFrom(columns).Draw(t, name+" column")
		return p
	}
	in := Input{
		Files: []analysis.File{{Path: path, Source: source, Whole: true}},
		Least: rapid.SampledFrom([]analysis.Confidence{"", analysis.Likely}).Draw(t, "least"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "comments") {
		f := analysis.Finding{
			Rule: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "rule"), Path: path, Scope: words("scope"), Message: words("message"),
			Severity:    rapid.SampledFrom([]analysis.Severity{analysis.High, analysis.Medium, analysis.Low}).Draw(t, "severity"),
			Confidence:  rapid.SampledFrom([]analysis.Confidence{analysis.Certain, analysis.Likely, analysis.Possible}).Draw(t, "confidence"),
			Fingerprint: strconv.Itoa(i),
		}
		f.Start = position("start", analysis.Position{Line: 1, Column: 1})
		f.End = position("end", f.Start)
		for range rapid.IntRange(0, 2).Draw(t, "reasons") {
			f.Because = append(f.Because, analysis.Reason{Path: "p" + words("reason's path"), Line: 1, Text: words("reason")})
		}
		c := suggestions.Comment{Path: path, Findings: []analysis.Finding{f}, First: f.Start.Line, Last: f.End.Line}
		if rapid.Bool().Draw(t, "suggestion") {
			s := &suggestions.Suggestion{
				ID: fmt.Sprint("s", i), Title: words("title"), First: rapid.IntRange(1, len(lines)).Draw(t, "first"),
				Safety:      rapid.SampledFrom([]analysis.Safety{analysis.Safe, analysis.Unsafe, analysis.Display}).Draw(t, "safety"),
				Replacement: rapid.SliceOfN(lineOf, 0, 3).Draw(t, "replacement"),
			}
			s.Last = rapid.IntRange(s.First, len(lines)).Draw(t, "last line")
			c.Suggestion = s
		}
		if rapid.Bool().Draw(t, "unproven") {
			c.Unproven = "x" + words("unproven")
		}
		in.Report.Findings = append(in.Report.Findings, f)
		in.Plan.Comments = append(in.Plan.Comments, c)
	}
	if rapid.Bool().Draw(t, "skip") {
		in.Report.Skipped = []check.Skip{{Path: "s" + words("skipped"), Reason: words("why")}}
		in.Report.Notes = []check.Note{{Path: "n" + words("noted"), Line: rapid.IntRange(0, 2).Draw(t, "note"), Text: words("note")}}
	}
	return in
})

// mended is the source with whole lines replaced as a suggestion says; the
// lines that are left keep their ends.
func mended(source string, s *suggestions.Suggestion) string {
	end := "\n"
	if strings.Contains(source, "\r\n") {
		end = "\r\n"
	}
	lines := strings.Split(source, end)
	replacement := slices.Clone(s.Replacement)
	if s.First == 1 && strings.HasPrefix(source, bom) {
		lines[0] = strings.TrimPrefix(lines[0], bom)
	}
	if len(replacement) == 0 && s.Last == len(lines) {
		replacement = []string{""} // the end of the line before stays
	}
	return strings.Join(slices.Replace(lines, s.First-1, s.Last, replacement...), end)
}

// region cuts a region of SARIF out of a source: what is before it, in it and
// after it.
func region(t fataler, source string, r *sarif.Region) (before, in, after string) {
	source = strings.TrimPrefix(source, bom)
	offset := func(line, column int) int {
		at := 0
		for range line - 1 {
			n := strings.Index(source[at:], "\n")
			if n < 0 {
				t.Fatalf("line %d of %q", line, source)
			}
			at += n + 1
		}
		for units := 1; units < column; {
			r, size := utf8.DecodeRuneInString(source[at:])
			if size == 0 || r == '\n' {
				t.Fatalf("column %d in line %d of %q", column, line, source)
			}
			units += utf16.RuneLen(r)
			at += size
		}
		return at
	}
	from, to := offset(*r.StartLine, *r.StartColumn), offset(*r.EndLine, *r.EndColumn)
	if to < from {
		t.Fatalf("%+v ends before it begins", r)
	}
	return source[:from], source[from:to], source[to:]
}

// bytesBetween is what lies between two positions of the analysis.
func bytesBetween(source string, from, to analysis.Position) string {
	lines := strings.SplitAfter(source, "\n")
	at := func(p analysis.Position) int { return len(strings.Join(lines[:p.Line-1], "")) + p.Column - 1 }
	return source[at(from):at(to)]
}

func TestAnySARIF(t *testing.T) {
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput.Draw(t, "input")
		r := writeSARIF(t, in)
		if n++; n%10 == 1 { // it compiles the schema each time
			if err := r.Validate(); err != nil {
				t.Fatalf("%v", err)
			}
		}
		found := in.Findings()
		if len(r.Runs[0].Results) != len(found) {
			t.Fatalf("%d results of %d findings", len(r.Runs[0].Results), len(found))
		}
		source := in.Files[0].Source
		for i, s := range r.Runs[0].Results {
			f, p := found[i], s.Locations[0].PhysicalLocation
			if u, err := url.Parse(*p.ArtifactLocation.URI); err != nil || strings.TrimPrefix(u.Path, "./") != f.Path {
				t.Fatalf("path %q became %q (%v)", f.Path, *p.ArtifactLocation.URI, err)
			}
			if _, got, _ := region(t, source, p.Region); got != bytesBetween(source, f.Start, f.End) {
				t.Fatalf("the region is %q, the finding %q", got, bytesBetween(source, f.Start, f.End))
			}
			steps := 0
			if len(f.Because) > 0 {
				steps = len(f.Because) + 1
			}
			if len(s.CodeFlows) > 0 != (steps > 0) || steps > 0 && len(s.CodeFlows[0].ThreadFlows[0].Locations) != steps {
				t.Fatalf("%d code flows for %d reasons", len(s.CodeFlows), len(f.Because))
			}
			c := in.comment(f)
			if len(s.Fixes) > 0 != ready(*c) {
				t.Fatalf("%d fixes; ready %v", len(s.Fixes), ready(*c))
			}
			for _, x := range s.Fixes {
				change := x.ArtifactChanges[0].Replacements[0]
				before, _, after := region(t, source, change.DeletedRegion)
				got := before + *change.InsertedContent.Text + after
				if want := strings.TrimPrefix(mended(source, c.Suggestion), bom); got != want {
					t.Fatalf("the fix gives %q, want %q", got, want)
				}
			}
		}
	})
}

func TestAnyRDJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput.Draw(t, "input")
		var b bytes.Buffer
		if err := RDJSON(&b, in); err != nil {
			t.Fatalf("%v", err)
		}
		var r rdResult
		strict(t, b.Bytes(), &r)
		comments := in.comments()
		if len(r.Diagnostics) != len(comments) {
			t.Fatalf("%d diagnostics of %d comments", len(r.Diagnostics), len(comments))
		}
		for i, d := range r.Diagnostics {
			c := comments[i]
			f := c.Findings[0]
			if got := d.Location; got.Path != f.Path || analysis.Position(got.Range.Start) != f.Start || analysis.Position(got.Range.End) != f.End {
				t.Fatalf("%+v of %+v", got, f)
			}
			if len(d.Suggestions) > 0 != ready(c) {
				t.Fatalf("%d suggestions; ready %v", len(d.Suggestions), ready(c))
			}
			for _, s := range d.Suggestions {
				want := rdSuggestion{rdRange{rdPosition{Line: c.Suggestion.First}, rdPosition{Line: c.Suggestion.Last}}, strings.Join(c.Suggestion.Replacement, "\n")}
				if d := cmp.Diff(want, s); d != "" {
					t.Fatalf("%s", d)
				}
			}
		}
	})
}

// readCommand reads a workflow command as GitHub's runner does, in
// https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
func readCommand(t fataler, line string) (name string, properties map[string]string, message string) {
	head, message, ok := strings.Cut(strings.TrimPrefix(line, "::"), "::")
	if !strings.HasPrefix(line, "::") || !ok {
		t.Fatalf("no command: %q", line)
	}
	name, rest, _ := strings.Cut(head, " ")
	properties = map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(p, "=")
		if !ok || properties[key] != "" {
			t.Fatalf("property %q of %q", p, line)
		}
		for _, e := range [][2]string{{"%0D", "\r"}, {"%0A", "\n"}, {"%3A", ":"}, {"%2C", ","}, {"%25", "%"}} {
			value = strings.ReplaceAll(value, e[0], e[1])
		}
		properties[key] = value
	}
	for _, e := range [][2]string{{"%0D", "\r"}, {"%0A", "\n"}, {"%25", "%"}} {
		message = strings.ReplaceAll(message, e[0], e[1])
	}
	return name, properties, message
}

func TestAnyGitHub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput.Draw(t, "input")
		var b bytes.Buffer
		if err := GitHub(&b, in); err != nil {
			t.Fatalf("%v", err)
		}
		if strings.Contains(b.String(), "\r") {
			t.Fatalf("a carriage return ends a command: %q", b.String())
		}
		lines := strings.Split(b.String(), "\n")
		comments := in.comments()
		if len(lines)-1 != len(comments)+len(in.Report.Skipped)+len(in.Report.Notes) {
			t.Fatalf("%d lines of %d comments", len(lines)-1, len(comments))
		}
		for i, l := range lines[:len(lines)-1] {
			name, p, message := readCommand(t, l)
			if i >= len(comments) {
				k := i - len(comments)
				path := append([]check.Skip{}, in.Report.Skipped...)
				for _, n := range in.Report.Notes {
					path = append(path, check.Skip{Path: n.Path})
				}
				if name != "notice" || p["file"] != path[k].Path {
					t.Fatalf("%q is not a notice on %q", l, path[k].Path)
				}
				continue
			}
			f := comments[i].Findings[0]
			want := map[string]string{"file": f.Path, "line": fmt.Sprint(f.Start.Line), "endLine": fmt.Sprint(f.End.Line), "title": "dtypebot: " + f.Rule}
			if f.Start.Line == f.End.Line {
				line := strings.Split(in.Files[0].Source, "\n")[f.Start.Line-1]
				before, marked := line[:f.Start.Column-1], line[f.Start.Column-1:f.End.Column-1]
				from := 1 + len(utf16.Encode([]rune(strings.TrimPrefix(before, bom))))
				want["col"], want["endColumn"] = fmt.Sprint(from), fmt.Sprint(from+len(utf16.Encode([]rune(marked))))
			}
			if d := cmp.Diff(want, p); d != "" {
				t.Fatalf("%q (-want +got):\n%s", l, d)
			}
			level := map[analysis.Severity]string{analysis.High: "error", analysis.Medium: "warning", analysis.Low: "notice"}[f.Severity]
			if name != level || !strings.HasPrefix(message, plain(f.Message)) {
				t.Fatalf("%s of %s: %q", name, f.Severity, message)
			}
		}
	})
}
