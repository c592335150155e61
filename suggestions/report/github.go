package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/suggestions"
)

// GitHub writes the report as workflow commands, one line for each comment,
// strongest first: GitHub Actions makes annotations of them. A file that was
// not analysed and a remark on the run are notices. Nothing is written if there
// is nothing to say. GitHub shows ten errors, ten warnings and ten notices of
// a step; the log has all.
//
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
func GitHub(w io.Writer, in Input) error {
	var b strings.Builder
	lines := map[string][]string{}
	for _, f := range in.Files {
		lines[f.Path] = strings.Split(f.Source, "\n")
	}
	for _, c := range in.comments() {
		f := c.Findings[0]
		p := []property{{"file", c.Path}, {"line", fmt.Sprint(f.Start.Line)}, {"endLine", fmt.Sprint(f.End.Line)}}
		// The runner drops columns of a place that spans lines.
		if all := lines[c.Path]; f.Start.Line == f.End.Line && f.Start.Line >= 1 && f.Start.Line <= len(all) {
			line := all[f.Start.Line-1]
			p = append(p, property{"col", fmt.Sprint(utf16Column(line, f.Start))}, property{"endColumn", fmt.Sprint(utf16Column(line, f.End))})
		}
		p = append(p, property{"title", "dtypebot: " + f.Rule})
		parts := said(c)
		if s := offered(c); s != "" {
			parts = append(parts, s)
		}
		parts = append(parts, because(c)...)
		command(&b, githubLevel(c.Severity()), p, strings.Join(parts, "\n\n"))
	}
	for _, s := range in.Report.Skipped {
		command(&b, "notice", []property{{"file", s.Path}, {"title", "dtypebot"}}, "Not analysed: "+plain(s.Reason))
	}
	for _, n := range in.Report.Notes {
		p := []property{{"file", n.Path}}
		if n.Line > 0 {
			p = append(p, property{"line", fmt.Sprint(n.Line)})
		}
		command(&b, "notice", append(p, property{"title", "dtypebot"}), plain(n.Text))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write workflow commands: %w", err)
	}
	return nil
}

func githubLevel(s analysis.Severity) string {
	switch s {
	case analysis.High:
		return "error"
	case analysis.Medium:
		return "warning"
	}
	return "notice"
}

type property struct{ name, value string }

// What a command must not hold as it is, by escapeData and escapeProperty of
// https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// command writes one workflow command.
func command(b *strings.Builder, name string, properties []property, message string) {
	b.WriteString("::" + name)
	for i, p := range properties {
		lead := ","
		if i == 0 {
			lead = " "
		}
		b.WriteString(lead + p.name + "=" + escapeProperty.Replace(p.value))
	}
	b.WriteString("::" + escapeData.Replace(message) + "\n")
}

// offered tells a comment's suggestion in words and code, "" if there is none.
func offered(c suggestions.Comment) string {
	s := c.Suggestion
	switch {
	case s == nil && c.Unproven == "":
		return ""
	case s == nil:
		return "No suggestion: " + plain(c.Unproven) + "."
	}
	where := fmt.Sprintf("line %d", s.First)
	if s.Last > s.First {
		where = fmt.Sprintf("lines %d to %d", s.First, s.Last)
	}
	var b strings.Builder
	b.WriteString("Suggestion for " + where)
	switch {
	case c.Unproven != "":
		b.WriteString(", not ready, as " + plain(c.Unproven))
	case s.Safety == analysis.Unsafe:
		b.WriteString(", which may change more than the dtype")
	case s.Safety == analysis.Display:
		b.WriteString(", to be read and not applied as it is")
	}
	if len(s.Replacement) == 0 {
		b.WriteString(": delete")
	} else {
		b.WriteString(":")
	}
	for i, l := range s.Replacement {
		if i == frame {
			fmt.Fprintf(&b, "\n… %d lines more", len(s.Replacement)-i)
			break
		}
		b.WriteString("\n" + safe(l))
	}
	return b.String()
}
