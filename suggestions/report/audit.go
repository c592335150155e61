package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/survey"
	"github.com/dtypebot/dtypebot/suggestions"
)

// AuditInput is what there is to tell of a whole repository.
type AuditInput struct {
	// Input is what was found; its report has surveys.
	Input
	// Name is the repository's, for the title.
	Name string
	// Mended are the surveys of the files with all suggestions made: the tests
	// hold for what the code shall be.
	Mended []*survey.Survey
}

// An Audit is the report on a whole repository, as data. AuditMarkdown,
// AuditHTML and AuditJSON write it; its JSON form is documented at AuditJSON.
type Audit struct {
	Version  int      `json:"version"`
	Name     string   `json:"name"`
	Engine   string   `json:"engine"`
	Summary  Summary  `json:"summary"`
	Kinds    []Kind   `json:"findings"`
	Good     []Place  `json:"good_practice"`
	Fixes    []Fix    `json:"fixes"`
	Advice   []Advice `json:"recommendations"`
	Priority []Tier   `json:"priorities"`
	Testing  []string `json:"testing"`
	Tests    string   `json:"tests"`
	Skipped  []skip   `json:"skipped"`
	Remarks  []Place  `json:"remarks"`
}

// Summary counts.
type Summary struct {
	Files    int     `json:"files"`
	High     int     `json:"high"`
	Medium   int     `json:"medium"`
	Low      int     `json:"low"`
	Possible int     `json:"possible"`
	Fixes    int     `json:"fixes"`
	Signs    []Place `json:"signs"`
}

// A Kind is the findings of one kind.
type Kind struct {
	Title    string  `json:"title"`
	Rule     string  `json:"rule,omitempty"`
	Priority string  `json:"priority"` // HIGH, MEDIUM or LOW
	About    string  `json:"about"`    // Markdown
	Entries  []Entry `json:"entries"`
}

// An Entry is one finding. Its text is Markdown.
type Entry struct {
	Place
	Confidence analysis.Confidence `json:"confidence,omitempty"`
	Issue      string              `json:"issue"`
	Fix        int                 `json:"fix,omitempty"` // the number of its fix, from 1; 0 if there is none
	Because    []reason            `json:"because,omitempty"`
}

// A Place is a range of lines. Text is what stands there, or a remark.
type Place struct {
	Path  string `json:"path"`
	First int    `json:"start_line"`
	Last  int    `json:"end_line"`
	Scope string `json:"scope,omitempty"`
	Text  string `json:"text,omitempty"`
}

// Lines names the lines in words.
func (p Place) Lines() string {
	switch {
	case p.First == 0:
		return ""
	case p.Last <= p.First:
		return fmt.Sprintf("line %d", p.First)
	}
	return fmt.Sprintf("lines %d-%d", p.First, p.Last)
}

// A Fix is one suggestion: lines that change together.
type Fix struct {
	Number int             `json:"number"`
	Path   string          `json:"path"`
	First  int             `json:"start_line"`
	Last   int             `json:"end_line"`
	Safety analysis.Safety `json:"safety"`
	Old    []string        `json:"old"`
	New    []string        `json:"new"`
	Note   string          `json:"note,omitempty"` // Markdown
	Forms  []alternative   `json:"alternatives"`
}

// Advice is one recommendation with its exceptions, all Markdown.
type Advice struct {
	Title      string   `json:"title"`
	Text       string   `json:"text"`
	Code       []string `json:"code,omitempty"`
	Exceptions []string `json:"exceptions"`
}

// A Tier is what to do with one priority.
type Tier struct {
	Priority string   `json:"priority"`
	Items    []string `json:"items"` // Markdown
}

// NewAudit puts together the report on a whole repository.
func NewAudit(in AuditInput) Audit {
	in.Least = analysis.Likely
	b := auditor{in: in, numbers: map[string]int{}, fixed: map[key]string{}}
	for _, c := range in.Plan.All() {
		for _, f := range c.Findings {
			if c.Suggestion != nil {
				b.fixed[keyOf(f)] = c.Suggestion.ID
			}
		}
	}
	b.out = Audit{
		Version: 1, Name: in.Name, Engine: in.Version,
		Kinds: []Kind{}, Good: []Place{}, Fixes: []Fix{}, Advice: []Advice{}, Priority: []Tier{}, Testing: []string{}, Skipped: []skip{}, Remarks: []Place{},
	}
	b.out.Summary.Files, b.out.Summary.Signs = in.Report.Files, []Place{}
	for _, s := range in.Report.Signs.Half {
		b.out.Summary.Signs = append(b.out.Summary.Signs, Place{Path: s.Path, First: s.Line, Last: s.Line, Text: s.Text})
	}
	b.fixes()
	b.found()
	b.pairs()
	b.samples()
	b.forwards()
	b.possible()
	b.good()
	b.advise()
	b.prioritise()
	b.test()
	for _, s := range in.Report.Skipped {
		b.out.Skipped = append(b.out.Skipped, skip(s))
	}
	for _, n := range in.Report.Notes {
		b.out.Remarks = append(b.out.Remarks, Place{Path: n.Path, First: n.Line, Last: n.Line, Text: n.Text})
	}
	return b.out
}

// auditor is one audit in the making.
type auditor struct {
	in      AuditInput
	out     Audit
	numbers map[string]int // of fixes, by the suggestion's id
	fixed   map[key]string // suggestions' ids by what they mend
}

// A key tells findings apart.
type key struct {
	path, rule string
	at         python.Span
}

func keyOf(f analysis.Finding) key { return key{f.Path, f.Rule, f.At} }

func (b *auditor) half() bool { return len(b.in.Report.Signs.Half) > 0 }

// fixes numbers the suggestions.
func (b *auditor) fixes() {
	comments := slices.SortedStableFunc(slices.Values(b.in.comments()), func(c, d suggestions.Comment) int {
		return cmp.Or(-cmp.Compare(c.Severity().Rank(), d.Severity().Rank()), strings.Compare(c.Path, d.Path), cmp.Compare(c.First, d.First))
	})
	for _, c := range comments {
		s := c.Suggestion
		if s == nil {
			continue
		}
		f := Fix{
			Number: len(b.out.Fixes) + 1, Path: c.Path, First: s.First, Last: s.Last, Safety: s.Safety,
			Old: list(s.Old), New: list(s.Replacement), Note: c.UnifierWords(), Forms: []alternative{},
		}
		if c.Unproven != "" {
			f.Note = strings.TrimSpace("Not ready: " + c.Unproven + ". " + f.Note)
		}
		for _, form := range c.Forms {
			f.Forms = append(f.Forms, alternative{Title: form.Title, StartLine: form.First, EndLine: form.Last, Replacement: list(form.Lines)})
		}
		b.out.Fixes = append(b.out.Fixes, f)
		b.numbers[s.ID] = f.Number
	}
	b.out.Summary.Fixes = len(b.out.Fixes)
}

// priority names a severity as an audit does.
func priority(s analysis.Severity) string { return strings.ToUpper(string(s)) }

// found makes a kind of each rule that found something.
func (b *auditor) found() {
	of := map[string][]analysis.Finding{}
	for _, f := range b.in.Findings() {
		of[f.Rule] = append(of[f.Rule], f)
		switch f.Severity {
		case analysis.High:
			b.out.Summary.High++
		case analysis.Medium:
			b.out.Summary.Medium++
		default:
			b.out.Summary.Low++
		}
	}
	rules := slices.SortedFunc(slices.Values(b.in.Rules), func(r, s *analysis.Rule) int {
		return cmp.Or(-cmp.Compare(r.Severity.Rank(), s.Severity.Rank()), -cmp.Compare(len(of[r.Name]), len(of[s.Name])), strings.Compare(r.Name, s.Name))
	})
	for _, r := range rules {
		if len(of[r.Name]) == 0 {
			continue
		}
		title, rest, _ := strings.Cut(strings.TrimSpace(r.Doc), "\n")
		about, _, _ := strings.Cut(strings.TrimSpace(rest), "\n\n")
		k := Kind{Title: title, Rule: r.Name, Priority: priority(r.Severity), About: strings.ReplaceAll(about, "\n", " ")}
		for _, f := range of[r.Name] {
			k.Entries = append(k.Entries, b.entry(f))
		}
		b.out.Kinds = append(b.out.Kinds, k)
	}
}

func (b *auditor) entry(f analysis.Finding) Entry {
	e := Entry{
		Place:      Place{Path: f.Path, First: f.Start.Line, Last: f.End.Line, Scope: f.Scope},
		Confidence: f.Confidence, Issue: f.Message,
	}
	for _, r := range f.Because {
		e.Because = append(e.Because, reason(r))
	}
	e.Fix = b.numbers[b.fixed[keyOf(f)]]
	return e
}

// mostListed bounds the lists of what is no finding.
const mostListed = 60

func place(s survey.Site) Place {
	return Place{Path: s.Path, First: s.First, Last: s.Last, Scope: s.Scope, Text: s.Text}
}

// pairs lists the products of values that the caller gives. They are worth
// knowing only where half precision is used.
func (b *auditor) pairs() {
	if !b.half() {
		return
	}
	k := Kind{
		Title: "Two dtypes from the caller", Priority: "MEDIUM",
		About: "These operations want one dtype, and all their operands come from the caller. They are right as long as every caller gives one dtype; nothing here shows that one does not. Where rotations or cameras may be float32 beside half vertices, compute in float32 (`torch.promote_types(x.dtype, torch.float32)`, autocast off) rather than cast the matrix down.",
	}
	for _, s := range b.in.Report.Surveys {
		for _, p := range s.Pairs {
			if !b.told(p) {
				k.Entries = append(k.Entries, Entry{Place: place(p), Issue: suggestions.CodeSpan(p.Text)})
			}
		}
	}
	if n := len(k.Entries); n > mostListed {
		k.About += fmt.Sprintf(" %d more are left out.", n-mostListed)
		k.Entries = k.Entries[:mostListed]
	}
	if len(k.Entries) > 0 {
		b.out.Kinds = append(b.out.Kinds, k)
	}
}

// told reports whether a finding is about these lines already.
func (b *auditor) told(p survey.Site) bool {
	return slices.ContainsFunc(b.in.Report.Findings, func(f analysis.Finding) bool {
		return f.Path == p.Path && f.Start.Line <= p.Last && p.First <= f.End.Line
	})
}

// samples makes one entry of each data set that gives float32: where it is made,
// where it meets half precision, and where it is cast.
func (b *auditor) samples() {
	k := Kind{
		Title: "Float32 from data sets", Priority: "LOW",
		About: "This is as it should be: workers do not know the model's dtype, bfloat16 does not go through NumPy, cameras have to stay float32, and autocast wants float32. The cast belongs where the value meets the model, or where a batch is moved.",
	}
	for _, s := range b.in.Report.Surveys {
		for _, d := range s.Samples {
			k.Entries = append(k.Entries, b.sample(d))
		}
	}
	if len(k.Entries) > 0 {
		b.out.Kinds = append(b.out.Kinds, k)
	}
}

func (b *auditor) sample(d survey.Sample) Entry {
	e := Entry{Place: Place{Path: d.Path, First: d.Line, Last: d.Line, Scope: d.Class}}
	issue := fmt.Sprintf("Float32 here: %s.", linesOf(d.Sites))
	if reads := b.reads(d); reads != "" {
		issue += " Read as " + reads + "."
	}
	var meets, casts []string
	for _, f := range b.in.Findings() {
		if !concerns(f, d) {
			continue
		}
		meets = append(meets, suggestions.CodeSpan(fmt.Sprintf("%s:%d", f.Path, f.Start.Line)))
		if n := b.entry(f).Fix; n > 0 {
			casts = append(casts, fmt.Sprintf("fix %d", n))
		}
	}
	switch {
	case len(meets) == 0 && b.half():
		issue += " Nothing was found where it meets half precision without a cast."
	case len(meets) > 0:
		issue += " Meets half precision there: " + strings.Join(meets, ", ") + "."
		if casts = slices.Compact(casts); len(casts) > 0 {
			issue += " Cast there: " + strings.Join(casts, ", ") + "."
		}
	}
	e.Issue = issue
	return e
}

// concerns reports whether a finding is about a value of a data set: it names
// the data set among its reasons, or is about a parameter of a key's name.
func concerns(f analysis.Finding, d survey.Sample) bool {
	return slices.ContainsFunc(f.Because, func(r analysis.Reason) bool {
		if r.Path == d.Path && f.Path != d.Path {
			return true
		}
		name, isParameter := strings.CutSuffix(r.Text, "` is a parameter: it has whatever dtype the caller gives")
		name = strings.TrimPrefix(name, "`")
		_, known := slices.BinarySearch(d.Keys, name)
		return isParameter && known
	})
}

// reads lists where a data set's float32 values are taken out of a batch.
func (b *auditor) reads(d survey.Sample) string {
	var words []string
	for _, s := range b.in.Report.Surveys {
		seen := map[int]bool{}
		for _, r := range s.Reads {
			if _, ok := slices.BinarySearch(d.Keys, r.Key); ok && !seen[r.First] && len(words) < 8 {
				seen[r.First] = true
				words = append(words, fmt.Sprintf("%s at %s", suggestions.CodeSpan(r.Text), suggestions.CodeSpan(fmt.Sprintf("%s:%d", r.Path, r.First))))
			}
		}
	}
	return strings.Join(words, ", ")
}

// linesOf names lines, ranges of neighbours as one.
func linesOf(sites []survey.Site) string {
	var lines []int
	for _, s := range sites {
		for l := s.First; l <= s.Last; l++ {
			lines = append(lines, l)
		}
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	var words []string
	for i := 0; i < len(lines); {
		j := i
		for j+1 < len(lines) && lines[j+1] == lines[j]+1 {
			j++
		}
		if i == j {
			words = append(words, fmt.Sprint(lines[i]))
		} else {
			words = append(words, fmt.Sprintf("%d-%d", lines[i], lines[j]))
		}
		i = j + 1
	}
	if len(lines) == 1 {
		return "line " + words[0]
	}
	return "lines " + strings.Join(words, ", ")
}

// forwards says why forward methods need not ask for autocast's dtype.
func (b *auditor) forwards() {
	k := Kind{
		Title: "No check of autocast's dtype in forward", Priority: "LOW",
		About: "It is not needed. Autocast casts the inputs of matrix products by itself; a cast of all inputs at the top of `forward` casts ids and masks as well, is wrong in evaluation when it asks `self.training`, and breaks the graphs of `torch.compile`. `torch.get_autocast_gpu_dtype()` is deprecated and says float16 even when autocast is off; where a dtype has to be asked for, `torch.get_autocast_dtype(x.device.type)` (PyTorch 2.4 and later) inside `if torch.is_autocast_enabled(x.device.type)` is right.",
	}
	var files int
	for _, s := range b.in.Report.Surveys {
		n := len(s.Forwards)
		if n == 0 {
			continue
		}
		if files++; files > fewFiles {
			continue
		}
		e := Entry{Place: place(s.Forwards[0]), Issue: fmt.Sprintf("The first of %d forward methods; none has to ask.", n)}
		if e.Text = ""; n == 1 {
			e.Issue = "It does not have to ask."
		}
		k.Entries = append(k.Entries, e)
	}
	if files > fewFiles {
		k.About += fmt.Sprintf(" The same holds for %s.", be(files-fewFiles, "further file", "further files"))
	}
	if len(k.Entries) > 0 && b.half() {
		b.out.Kinds = append(b.out.Kinds, k)
	}
}

// fewFiles is how many files are named where all say the same.
const fewFiles = 6

// possible lists what is too uncertain for a comment.
func (b *auditor) possible() {
	k := Kind{
		Title: "Not certain enough for a comment", Priority: "LOW",
		About: "A look at these is worth the while of somebody who knows the code; some will be right as they are.",
	}
	for _, f := range b.in.Report.Findings {
		if f.Confidence.Rank() >= analysis.Likely.Rank() {
			continue
		}
		b.out.Summary.Possible++
		if len(k.Entries) < mostListed {
			e := b.entry(f)
			e.Issue, _, _ = strings.Cut(e.Issue, "\n\n")
			e.Because = nil
			k.Entries = append(k.Entries, e)
		}
	}
	if n := b.out.Summary.Possible - len(k.Entries); n > 0 {
		k.About += fmt.Sprintf(" %d more are left out.", n)
	}
	if len(k.Entries) > 0 {
		b.out.Kinds = append(b.out.Kinds, k)
	}
}

// good lists new tensors that follow another one's dtype.
func (b *auditor) good() {
	for _, s := range b.in.Report.Surveys {
		for _, f := range s.Follows {
			if !b.told(f) {
				b.out.Good = append(b.out.Good, place(f))
			}
		}
	}
}

// has reports whether a rule found something that is posted.
func (b *auditor) has(rules ...string) bool {
	return slices.ContainsFunc(b.out.Kinds, func(k Kind) bool { return slices.Contains(rules, k.Rule) })
}
