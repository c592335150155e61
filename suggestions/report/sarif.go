package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/suggestions"
)

// home is where the tool is described.
const home = "https://github.com/dtypebot/dtypebot"

// schema is the address that SARIF 2.1.0 gives its JSON schema, in
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
const schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// descriptionLimit is how many characters of a rule's description GitHub's code
// scanning takes.
// https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
const descriptionLimit = 1024

// bom is the byte order mark. The analysis counts its bytes as part of the
// first line, SARIF does not.
const bom = "\ufeff"

// SARIF writes the report as one run of SARIF 2.1.0, with one result for each
// finding: its place, its reasons as a code flow that ends there, its
// fingerprint as the partial fingerprint "finding/v1", and the suggestion as a
// fix if it is safe and proven. Findings that one edit mends bear the same fix,
// with the same property "id". Columns are UTF-16 code units, paths are relative
// to the base "%SRCROOT%". Files that were not analysed and remarks on the run
// are notifications of the invocation.
func SARIF(w io.Writer, in Input) error {
	s := sarifWriter{in: in, run: sarif.NewRun(), files: map[string][]string{}, rules: map[string]int{}}
	for _, f := range in.Files {
		s.files[f.Path] = strings.Split(f.Source, "\n")
	}
	driver := sarif.NewToolComponent().WithName("dtypebot").WithInformationURI(home)
	if in.Version != "" {
		driver.WithVersion(in.Version)
	}
	s.run.WithTool(sarif.NewTool().WithDriver(driver)).WithColumnKind("utf16CodeUnits")
	for _, r := range in.Rules {
		s.rule(r)
	}
	for _, f := range in.Findings() {
		s.result(f)
	}
	call := sarif.NewInvocation().WithExecutionSuccessful(true)
	for _, k := range in.Report.Skipped {
		call.AddToolExecutionNotification(notification(sarif.LevelWarning, k.Path, 0, "not analysed: "+k.Reason))
	}
	for _, n := range in.Report.Notes {
		call.AddToolExecutionNotification(notification(sarif.LevelNote, n.Path, n.Line, n.Text))
	}
	s.run.AddInvocation(call)

	report := sarif.NewReport().AddRun(s.run)
	report.Schema = schema
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(report); err != nil {
		return fmt.Errorf("write SARIF report: %w", err)
	}
	return nil
}

// A sarifWriter collects one run.
type sarifWriter struct {
	in    Input
	run   *sarif.Run
	files map[string][]string // lines, each without its "\n"
	rules map[string]int      // places in the driver's list of rules
}

// rule adds a rule of the catalogue: the first line of its text is its title,
// the first paragraph after it tells what it finds, and all of it is its help.
func (s *sarifWriter) rule(r *analysis.Rule) {
	title, body, _ := strings.Cut(strings.TrimSpace(r.Doc), "\n")
	if title == "" {
		title = r.Name
	}
	body = strings.TrimSpace(body)
	about, _, _ := strings.Cut(body, "\n\n")
	if about == "" {
		about = title
	}
	if body == "" {
		body = title
	}
	config := sarif.NewReportingConfiguration().WithEnabled(!r.Preview).WithLevel(sarifLevel(r.Severity))
	s.add(sarif.NewReportingDescriptor().WithID(r.Name).WithDefaultConfiguration(config).
		WithShortDescription(multiformat(title)).
		WithFullDescription(multiformat(strings.ReplaceAll(about, "\n", " "))).
		WithHelp(sarif.NewMultiformatMessageString().WithText(body)))
}

func (s *sarifWriter) add(d *sarif.ReportingDescriptor) {
	s.rules[*d.ID] = len(s.run.Tool.Driver.Rules)
	s.run.Tool.Driver.AddRule(d)
}

// multiformat returns a description that is short enough for GitHub.
func multiformat(text string) *sarif.MultiformatMessageString {
	if utf8.RuneCountInString(text) > descriptionLimit {
		text = string([]rune(text)[:descriptionLimit-1]) + "…"
	}
	return sarif.NewMultiformatMessageString().WithText(text)
}

// sarifLevel is what a severity is called: high is an error, medium a warning.
func sarifLevel(s analysis.Severity) string {
	switch s {
	case analysis.High:
		return sarif.LevelError
	case analysis.Medium:
		return sarif.LevelWarning
	}
	return sarif.LevelNote
}

func (s *sarifWriter) result(f analysis.Finding) {
	if _, known := s.rules[f.Rule]; !known {
		s.add(sarif.NewReportingDescriptor().WithID(f.Rule))
	}
	place := func() *sarif.Location {
		return location(f.Path, sarif.NewRegion().
			WithStartLine(f.Start.Line).WithStartColumn(s.column(f.Path, f.Start)).
			WithEndLine(f.End.Line).WithEndColumn(s.column(f.Path, f.End)))
	}
	at := place()
	if f.Scope != "" {
		at.AddLogicalLocation(sarif.NewLogicalLocation().WithFullyQualifiedName(f.Scope))
	}
	message := plain(f.Message)
	properties := sarif.NewPropertyBag()
	properties.Add("confidence", string(f.Confidence))
	r := sarif.NewResult().WithRuleID(f.Rule).WithRuleIndex(s.rules[f.Rule]).WithLevel(sarifLevel(f.Severity)).
		WithMessage(sarif.NewTextMessage(message)).WithLocations([]*sarif.Location{at}).WithProperties(properties)
	if f.Fingerprint != "" {
		r.WithPartialFingerprints(map[string]string{"finding/v1": f.Fingerprint})
	}
	if len(f.Because) > 0 {
		flow := sarif.NewThreadFlow()
		step := func(l *sarif.Location, text string) {
			flow.AddLocation(sarif.NewThreadFlowLocation().WithLocation(l.WithMessage(sarif.NewTextMessage(text))))
		}
		for _, b := range f.Because {
			step(location(b.Path, sarif.NewRegion().WithStartLine(max(b.Line, 1))), plain(b.Text))
		}
		first, _, _ := strings.Cut(message, "\n\n")
		step(place(), first)
		r.AddCodeFlow(sarif.NewCodeFlow().AddThreadFlow(flow))
	}
	if c := s.in.comment(f); c != nil && ready(*c) {
		r.WithFixes([]*sarif.Fix{s.fix(c.Path, c.Suggestion)})
	}
	s.run.AddResult(r)
}

// fix replaces whole lines. Without an end column a region ends before the
// line's end, so that stays as it is; to delete lines takes their ends as well.
func (s *sarifWriter) fix(path string, x *suggestions.Suggestion) *sarif.Fix {
	lines := s.files[path]
	end := "\n"
	if len(lines) > 1 && strings.HasSuffix(lines[0], "\r") { // the file's; an open last line has none
		end = "\r\n"
	}
	text := strings.Join(x.Replacement, end)
	if x.First == 1 {
		text = strings.TrimPrefix(text, bom)
	}
	old := sarif.NewRegion().WithStartLine(x.First).WithStartColumn(1)
	switch {
	case len(x.Replacement) == 0 && x.Last < len(lines):
		old.WithEndLine(x.Last + 1).WithEndColumn(1)
	default:
		last := analysis.Position{Line: x.Last, Column: 1}
		if x.Last <= len(lines) {
			last.Column += len(strings.TrimSuffix(lines[x.Last-1], "\r"))
		}
		old.WithEndLine(x.Last).WithEndColumn(s.column(path, last))
	}
	title := plain(x.Title)
	if title == "" {
		title = "Apply the suggestion"
	}
	properties := sarif.NewPropertyBag()
	properties.Add("id", x.ID)
	properties.Add("safety", string(x.Safety))
	return sarif.NewFix().WithDescription(sarif.NewTextMessage(title)).WithProperties(properties).
		AddArtifactChange(sarif.NewArtifactChange().WithArtifactLocation(artifact(path)).
			AddReplacement(sarif.NewReplacement().WithDeletedRegion(old).
				WithInsertedContent(sarif.NewArtifactContent().WithText(text))))
}

// column turns a column in bytes into one in UTF-16 code units.
func (s *sarifWriter) column(path string, p analysis.Position) int {
	lines := s.files[path]
	if p.Line < 1 || p.Line > len(lines) {
		return max(p.Column, 1)
	}
	return utf16Column(lines[p.Line-1], p)
}

// notification is a remark on a file, or on one line of it if line is not 0.
func notification(level, path string, line int, text string) *sarif.Notification {
	var region *sarif.Region
	if line > 0 {
		region = sarif.NewRegion().WithStartLine(line)
	}
	return sarif.NewNotification().WithLevel(level).WithMessage(sarif.NewTextMessage(plain(text))).
		WithLocations([]*sarif.Location{location(path, region)})
}

// location is a place in a file, the whole file if region is nil.
func location(path string, region *sarif.Region) *sarif.Location {
	p := sarif.NewPhysicalLocation().WithArtifactLocation(artifact(path))
	p.Region = region
	return sarif.NewLocation().WithPhysicalLocation(p)
}

func artifact(path string) *sarif.ArtifactLocation {
	return sarif.NewArtifactLocation().WithURI((&url.URL{Path: path}).String()).WithURIBaseID("%SRCROOT%")
}
