package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/suggestions"
)

// AuditMarkdown writes an audit as GitHub-flavoured Markdown: summary, key
// findings by kind, good practice, recommended fixes, priority fixes and
// testing recommendations with the tests. Text of the repository cannot break
// out of where it stands.
func AuditMarkdown(w io.Writer, a Audit) error {
	m := auditMarkdown{}
	m.summary(a)
	m.findings(a)
	m.fixes(a)
	m.priorities(a)
	m.testing(a)
	m.rest(a)
	if _, err := io.WriteString(w, m.b.String()); err != nil {
		return fmt.Errorf("write Markdown audit: %w", err)
	}
	return nil
}

type auditMarkdown struct{ b strings.Builder }

func (m *auditMarkdown) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

// paragraph writes Markdown of ours that may quote the repository.
func (m *auditMarkdown) paragraph(s string) { m.line("%s\n", suggestions.Prose(s)) }

func (m *auditMarkdown) summary(a Audit) {
	m.line("# Dtype audit of %s\n", suggestions.Prose(a.Name))
	m.line("## Summary\n")
	m.paragraph(a.Summary.words())
	if len(a.Summary.Signs) > 0 {
		m.paragraph("Half precision is used here:")
		for _, s := range a.Summary.Signs {
			m.line("- %s: %s", suggestions.CodeSpan(fmt.Sprintf("%s:%d", s.Path, s.First)), suggestions.Prose(s.Text))
		}
		m.line("")
	}
	if len(a.Kinds) > 0 {
		m.line("| priority | kind | places |\n|---|---|---|")
		for _, k := range a.Kinds {
			m.line("| %s | %s | %d |", k.Priority, suggestions.Prose(k.Title), len(k.Entries))
		}
		m.line("")
	}
}

// words says what was found in one paragraph.
func (s Summary) words() string {
	read := count(s.Files, "Python file")
	found := s.High + s.Medium + s.Low
	if found == 0 {
		text := "No dtype mistakes were found in " + read + "."
		if s.Possible > 0 {
			text += fmt.Sprintf(" %s too uncertain for a comment.", be(s.Possible, "place is", "places are"))
		}
		return text
	}
	var parts []string
	for _, p := range []struct {
		n    int
		name string
	}{{s.High, "high"}, {s.Medium, "medium"}, {s.Low, "low"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	text := fmt.Sprintf("%s in %s: %s.", count(found, "dtype mistake"), read, strings.Join(parts, ", "))
	if s.Fixes > 0 {
		text += fmt.Sprintf(" %s below; each was applied and analysed again, alone and with all others.", be(s.Fixes, "fix is", "fixes are"))
	}
	if s.Possible > 0 {
		text += fmt.Sprintf(" %s too uncertain for a comment.", be(s.Possible, "further place is", "further places are"))
	}
	return text
}

func be(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (m *auditMarkdown) findings(a Audit) {
	m.line("## Key findings\n")
	n := 0
	for _, k := range a.Kinds {
		n++
		m.line("### %d. %s (%s)\n", n, suggestions.Prose(k.Title), k.Priority)
		m.paragraph(k.About)
		for _, file := range byFile(k.Entries) {
			m.line("#### In %s\n", suggestions.CodeSpan(file[0].Path))
			for _, e := range file {
				m.entry(e)
			}
			m.line("")
		}
	}
	if len(a.Good) > 0 {
		m.line("### %d. Good practice\n", n+1)
		m.paragraph("These follow the dtype of the tensor that they meet:")
		for _, g := range a.Good {
			m.line("- %s: %s", suggestions.CodeSpan(at(g)), suggestions.CodeSpan(g.Text))
		}
		m.line("")
	}
	if n == 0 && len(a.Good) == 0 {
		m.paragraph("There is nothing to say.")
	}
}

// at names a place as editors do.
func at(p Place) string { return fmt.Sprintf("%s:%d", p.Path, p.First) }

// byFile cuts a list where the file changes.
func byFile(entries []Entry) [][]Entry {
	entries = slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	var out [][]Entry
	for i, e := range entries {
		if i == 0 || e.Path != entries[i-1].Path {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], e)
	}
	return out
}

func (m *auditMarkdown) entry(e Entry) {
	where := "**" + capitalised(e.Lines()) + "**"
	if e.Scope != "" {
		where += " in " + suggestions.CodeSpan(e.Scope)
	}
	if e.Confidence != "" {
		where += ", " + string(e.Confidence)
	}
	paragraphs := strings.Split(strings.TrimSpace(e.Issue), "\n\n")
	m.line("- %s: %s", where, suggestions.Prose(strings.ReplaceAll(paragraphs[0], "\n", " ")))
	for _, p := range paragraphs[1:] {
		m.line("\n  %s", suggestions.Prose(strings.ReplaceAll(p, "\n", " ")))
	}
	if e.Fix > 0 {
		m.line("\n  Fix %d.", e.Fix)
	}
}

func capitalised(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (m *auditMarkdown) fixes(a Audit) {
	m.line("## Recommended fixes\n")
	if len(a.Fixes)+len(a.Advice) == 0 {
		m.paragraph("There is nothing to fix.")
	}
	for _, f := range a.Fixes {
		m.line("### Fix %d: %s, %s\n", f.Number, suggestions.CodeSpan(f.Path), Place{First: f.First, Last: f.Last}.Lines())
		if f.Note != "" {
			m.paragraph(f.Note)
		}
		m.line("%s\n", suggestions.Fenced("diff", diffLines(f)))
		for _, form := range f.Forms {
			m.paragraph(form.Title + ":")
			m.line("%s\n", suggestions.Fenced("python", form.Replacement))
		}
	}
	for _, r := range a.Advice {
		m.line("### %s\n", suggestions.Prose(r.Title))
		m.paragraph(r.Text)
		if len(r.Code) > 0 {
			m.line("%s\n", suggestions.Fenced("python", r.Code))
		}
		m.line("But not:\n")
		for _, x := range r.Exceptions {
			m.line("- %s", suggestions.Prose(x))
		}
		m.line("")
	}
}

// diffLines is a fix as a diff. Lines that stay are shown once.
func diffLines(f Fix) []string {
	var out []string
	if len(f.Old) != len(f.New) {
		for _, l := range f.Old {
			out = append(out, "-"+l)
		}
		for _, l := range f.New {
			out = append(out, "+"+l)
		}
		return out
	}
	for i := range f.Old {
		if f.Old[i] == f.New[i] {
			out = append(out, " "+f.Old[i])
			continue
		}
		out = append(out, "-"+f.Old[i], "+"+f.New[i])
	}
	return out
}

func (m *auditMarkdown) priorities(a Audit) {
	m.line("## Priority fixes\n")
	if len(a.Priority) == 0 {
		m.paragraph("None.")
		return
	}
	n := 0
	for _, t := range a.Priority {
		for _, item := range t.Items {
			n++
			m.line("%d. **%s**: %s", n, t.Priority, suggestions.Prose(item))
		}
	}
	m.line("")
}

func (m *auditMarkdown) testing(a Audit) {
	m.line("## Testing recommendations\n")
	for i, t := range a.Testing {
		m.line("%d. %s", i+1, suggestions.Prose(t))
	}
	m.line("")
	if a.Tests != "" {
		m.line("<details><summary>test_dtypes.py</summary>\n")
		m.line("%s\n", suggestions.Fenced("python", strings.Split(strings.TrimRight(a.Tests, "\n"), "\n")))
		m.line("</details>\n")
	}
}

// rest says what was not looked at.
func (m *auditMarkdown) rest(a Audit) {
	if len(a.Skipped)+len(a.Remarks) == 0 {
		return
	}
	m.line("## Not looked at\n")
	for _, s := range a.Skipped {
		m.line("- %s: %s", suggestions.CodeSpan(s.Path), suggestions.Prose(s.Reason))
	}
	for _, r := range a.Remarks {
		where := r.Path
		if r.First > 0 {
			where = at(r)
		}
		m.line("- %s: %s", suggestions.CodeSpan(where), suggestions.Prose(r.Text))
	}
}
