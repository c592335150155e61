package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/muesli/termenv"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/suggestions"
)

// A Color says when Text uses colours.
type Color string

// Auto colours a terminal unless NO_COLOR or CLICOLOR=0 is set, or when
// CLICOLOR_FORCE is.
const (
	Auto   Color = "auto"
	Always Color = "always"
	Never  Color = "never"
)

// ParseColor returns the Color of a flag's value.
func ParseColor(s string) (Color, error) {
	switch c := Color(s); c {
	case Auto, Always, Never:
		return c, nil
	}
	return "", fmt.Errorf("colour %q is none of auto, always, never", s)
}

// width is where prose is broken, in characters.
const width = 96

// most lines of code that a frame shows before it leaves some out.
const frame = 12

// Text writes the report for a terminal: every comment with its code, its
// suggestion as a diff, its reasons, and one line of numbers at the end.
// Control characters of the repository's text are shown, not sent.
func Text(w io.Writer, in Input, color Color) error {
	profile := termenv.Ascii
	switch color {
	case Always:
		profile = termenv.ANSI
	case Auto, "":
		profile = termenv.NewOutput(w).EnvColorProfile()
		if profile < termenv.ANSI { // the 16 colours of the reader's own theme
			profile = termenv.ANSI
		}
	}
	p := &printer{in: in, out: termenv.NewOutput(w, termenv.WithProfile(profile)), files: map[string][]string{}}
	for _, f := range in.Files {
		p.files[f.Path] = strings.Split(strings.ReplaceAll(f.Source, "\r\n", "\n"), "\n")
	}
	for _, c := range append(slices.Clone(in.Plan.Comments), in.Plan.Possible...) {
		if c.Confidence().Rank() >= in.Least.Rank() {
			p.comment(c)
		}
	}
	for _, s := range in.Report.Skipped {
		p.line(p.dim("skipped ") + safe(s.Path) + p.dim(": "+safe(s.Reason)))
	}
	if len(in.Report.Skipped) > 0 {
		p.line("")
	}
	p.line(p.summary())
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// A printer collects the text of one report.
type printer struct {
	in    Input
	out   *termenv.Output
	files map[string][]string
	b     strings.Builder
}

func (p *printer) line(s string) { p.b.WriteString(strings.TrimRight(s, " ") + "\n") }

func (p *printer) bold(s string) string { return p.out.String(s).Bold().String() }
func (p *printer) dim(s string) string  { return p.out.String(s).Faint().String() }
func (p *printer) in16(s string, c termenv.ANSIColor) string {
	return p.out.String(s).Foreground(c).String()
}

// comment writes one comment.
func (p *printer) comment(c suggestions.Comment) {
	lead := c.Findings[0]
	severity := termenv.ANSIRed
	switch c.Severity() {
	case analysis.Medium:
		severity = termenv.ANSIYellow
	case analysis.Low:
		severity = termenv.ANSIBlue
	}
	p.line(p.bold(fmt.Sprintf("%s:%d:%d", safe(c.Path), lead.Start.Line, lead.Start.Column)) + "  " +
		p.in16(string(c.Severity()), severity) + p.dim(", "+string(c.Confidence())) + "  " + p.dim(lead.Rule))
	for i, paragraph := range said(c) {
		if i > 0 {
			p.line("")
		}
		p.wrapped("  ", paragraph)
	}
	p.line("")
	if s := c.Suggestion; s != nil {
		p.diff(c.Path, s)
		switch {
		case c.Unproven != "":
			p.note("Not a ready suggestion: " + plain(c.Unproven) + ".")
		case s.Safety == analysis.Unsafe:
			p.note("This may change more than the dtype; --fix applies it only with --unsafe-fixes.")
		case s.Safety == analysis.Display:
			p.note("To be read, not applied: --fix leaves it alone.")
		}
	} else {
		p.code(c.Path, lead)
		if c.Unproven != "" {
			p.note("No suggestion: " + plain(c.Unproven) + ".")
		}
	}
	if len(c.Copies) > 0 {
		var lines []string
		for _, d := range c.Copies {
			lines = append(lines, strconv.Itoa(d.Findings[0].Start.Line))
		}
		p.note("The same mistake: line " + strings.Join(lines, ", ") + ".")
	}
	for _, f := range c.Forms {
		title := plain(f.Title)
		if title == "" {
			title = "Another way to write it"
		}
		if len(c.Forms) > 1 && f.First > 0 {
			title += fmt.Sprintf(" (from line %d)", f.First)
		}
		p.note(title + ":")
		for _, l := range f.Lines {
			p.line(p.dim("          │ ") + safe(l))
		}
	}
	p.because(c)
	p.line("")
}

// code writes the lines of a finding and marks the place.
func (p *printer) code(path string, f analysis.Finding) {
	lines := p.files[path]
	for n := f.Start.Line; n <= f.End.Line && n <= len(lines); n++ {
		if n-f.Start.Line == frame {
			p.line(p.dim(fmt.Sprintf("    %5s │ … %d lines more", "", f.End.Line-n+1)))
			break
		}
		p.line(p.dim(fmt.Sprintf("    %5d │ ", n)) + safe(lines[n-1]))
		if f.Start.Line == f.End.Line {
			before, marked := cut(lines[n-1], f.Start.Column, f.End.Column)
			p.line(p.dim(fmt.Sprintf("    %5s │ ", "")) + strings.Repeat(" ", before) + p.in16(strings.Repeat("^", max(marked, 1)), termenv.ANSIRed))
		}
	}
}

// cut returns how many characters of a line, as safe shows it, stand before
// the columns and between them.
func cut(line string, from, to int) (before, marked int) {
	from, to = min(max(from-1, 0), len(line)), min(max(to-1, 0), len(line))
	if to < from {
		to = from
	}
	return utf8.RuneCountInString(safe(line[:from])), utf8.RuneCountInString(safe(line[from:to]))
}

// diff writes a suggestion as a diff with one line of context on each side.
func (p *printer) diff(path string, s *suggestions.Suggestion) {
	lines := p.files[path]
	context := func(n int) {
		if n >= 1 && n <= len(lines) && (n < len(lines) || lines[n-1] != "") {
			p.line(p.dim(fmt.Sprintf("    %5d │   ", n)) + p.dim(safe(lines[n-1])))
		}
	}
	context(s.First - 1)
	// Lines that stay stand as context when the change keeps their number.
	if len(s.Old) == len(s.Replacement) {
		for i := 0; i < len(s.Old); {
			if s.Old[i] == s.Replacement[i] {
				context(s.First + i)
				i++
				continue
			}
			j := i
			for j < len(s.Old) && s.Old[j] != s.Replacement[j] {
				j++
			}
			p.minus(s.First+i, s.Old[i:j])
			p.plus(s.Replacement[i:j])
			i = j
		}
	} else {
		p.minus(s.First, s.Old)
		p.plus(s.Replacement)
	}
	context(s.Last + 1)
}

func (p *printer) minus(first int, lines []string) {
	for i, l := range lines {
		p.line(p.dim(fmt.Sprintf("    %5d │ ", first+i)) + p.in16("- "+safe(l), termenv.ANSIRed))
	}
}

func (p *printer) plus(lines []string) {
	for _, l := range lines {
		p.line(p.dim(fmt.Sprintf("    %5s │ ", "")) + p.in16("+ "+safe(l), termenv.ANSIGreen))
	}
}

// because writes the chain of reasons of all findings, each once.
func (p *printer) because(c suggestions.Comment) {
	for _, r := range c.Because() {
		place := fmt.Sprintf("%s:%d", safe(r.Path), r.Line)
		if r.Path == c.Path {
			place = fmt.Sprintf("line %d", r.Line)
		}
		p.note("because " + place + ": " + plain(r.Text))
	}
}

// note writes one remark under the code.
func (p *printer) note(s string) {
	for i, l := range wrap(s, width-6) {
		lead := "    "
		if i == 0 {
			lead = "  • "
		}
		p.line(p.in16(lead, termenv.ANSICyan) + l)
	}
}

func (p *printer) wrapped(indent, s string) {
	for _, l := range wrap(s, width-len(indent)) {
		if l == "" {
			p.line("")
			continue
		}
		p.line(indent + l)
	}
}

// summary is the last line.
func (p *printer) summary() string {
	var certain, likely, possible int
	for _, f := range p.in.Findings() {
		switch f.Confidence {
		case analysis.Certain:
			certain++
		case analysis.Likely:
			likely++
		default:
			possible++
		}
	}
	var kinds []string
	for _, k := range []struct {
		n    int
		word string
	}{{certain, "certain"}, {likely, "likely"}, {possible, "possible"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.word))
		}
	}
	n := certain + likely + possible
	s := p.in16("No findings", termenv.ANSIGreen)
	if n > 0 {
		s = p.bold(count(n, "finding")) + " (" + strings.Join(kinds, ", ") + ")"
	}
	s += " in " + count(p.in.Report.Files, "file")
	if k := p.in.Report.Suppressed; k > 0 {
		s += fmt.Sprintf(", %d suppressed", k)
	}
	if k := p.in.Report.Known; k > 0 {
		s += fmt.Sprintf(", %d already there before", k)
	}
	if k := len(p.in.Report.Skipped); k > 0 {
		s += fmt.Sprintf(", %d skipped", k)
	}
	return s
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

var (
	mdLink  = regexp.MustCompile(`\[([^\]\n]*)\]\(<?[^)>\n]*>?\)`)
	mdBold  = regexp.MustCompile(`\*\*([^*\n]+)\*\*`)
	mdEmph  = regexp.MustCompile(`(^|[\s(])[*_]([^*_\s][^*_\n]*)[*_]($|[\s.,;:)])`)
	mdSpan  = regexp.MustCompile("`+[^`\n]+`+")
	mdSpace = regexp.MustCompile(`[ \t]+`)
)

// plain strips Markdown but for the backticks around code: without them a
// sentence about a variable called x reads badly.
func plain(s string) string {
	var b strings.Builder
	at := 0
	strip := func(t string) string {
		t = mdLink.ReplaceAllString(t, "$1")
		t = mdBold.ReplaceAllString(t, "$1")
		return mdEmph.ReplaceAllString(t, "$1$2$3")
	}
	for _, m := range mdSpan.FindAllStringIndex(s, -1) {
		b.WriteString(strip(s[at:m[0]]))
		b.WriteString(s[m[0]:m[1]])
		at = m[1]
	}
	b.WriteString(strip(s[at:]))
	paragraphs := strings.Split(strings.TrimSpace(b.String()), "\n\n")
	for i, q := range paragraphs {
		paragraphs[i] = safe(strings.TrimSpace(mdSpace.ReplaceAllString(strings.ReplaceAll(q, "\n", " "), " ")))
	}
	return strings.Join(paragraphs, "\n\n")
}

// safe makes text of a repository harmless for a terminal: control characters
// and those that turn the direction of writing are shown by their numbers.
func safe(s string) string {
	s = strings.ReplaceAll(s, "\t", "    ")
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			fmt.Fprintf(&b, "<%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// wrap breaks text into lines of at most n characters, keeping paragraphs. A
// longer word has a line of its own.
func wrap(s string, n int) []string {
	var lines []string
	for i, q := range strings.Split(s, "\n\n") {
		if i > 0 {
			lines = append(lines, "")
		}
		line := ""
		for _, word := range strings.Fields(q) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > n {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return lines
}
