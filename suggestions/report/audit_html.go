package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/yuin/goldmark"

	"github.com/dtypebot/dtypebot/suggestions"
)

//go:embed audit.html
var auditPage string

var auditTemplate = template.Must(template.New("audit").Funcs(template.FuncMap{"md": markdownHTML}).Parse(auditPage))

// AuditHTML writes an audit as one HTML page that needs nothing else: no
// network, no fonts. It is light or dark as its reader prefers, and can be
// printed.
func AuditHTML(w io.Writer, a Audit) error {
	var b bytes.Buffer
	if err := auditTemplate.Execute(&b, pageOf(a)); err != nil {
		return fmt.Errorf("make HTML audit: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write HTML audit: %w", err)
	}
	return nil
}

// An auditView is an audit cut into what the page shows.
type auditView struct {
	Audit
	Summary summaryView
	Kinds   []kindView
	Good    []placeView
	Fixes   []fixView
	Tests   []string
	Remarks []placeView
}

type summaryView struct {
	Summary
	Words string
	Signs []placeView
}

type placeView struct {
	Place
	At string
}

type kindView struct {
	Kind
	Files [][]entryView
}

type entryView struct {
	Entry
	Heading string
}

type fixView struct {
	Fix
	Lines string
	Diff  []diffLine
}

type diffLine struct{ Class, Text string }

func pageOf(a Audit) auditView {
	v := auditView{
		Audit: a, Summary: summaryView{a.Summary, a.Summary.words(), placesOf(a.Summary.Signs)},
		Good: placesOf(a.Good), Remarks: placesOf(a.Remarks),
	}
	for _, k := range a.Kinds {
		kind := kindView{Kind: k}
		for _, file := range byFile(k.Entries) {
			var entries []entryView
			for _, e := range file {
				entries = append(entries, entryView{e, capitalised(e.Lines())})
			}
			kind.Files = append(kind.Files, entries)
		}
		v.Kinds = append(v.Kinds, kind)
	}
	for _, f := range a.Fixes {
		fix := fixView{Fix: f, Lines: Place{First: f.First, Last: f.Last}.Lines()}
		for _, l := range diffLines(f) {
			class := map[byte]string{'-': "minus", '+': "plus"}[l[0]]
			fix.Diff = append(fix.Diff, diffLine{class, l})
		}
		v.Fixes = append(v.Fixes, fix)
	}
	if a.Tests != "" {
		v.Tests = strings.Split(strings.TrimRight(a.Tests, "\n"), "\n")
	}
	return v
}

func placesOf(places []Place) []placeView {
	var out []placeView
	for _, p := range places {
		v := placeView{Place: p, At: p.Path}
		if p.First > 0 {
			v.At = at(p)
		}
		out = append(out, v)
	}
	return out
}

// markdownHTML renders Markdown of ours that may quote the repository. Goldmark
// leaves out raw HTML and dangerous links.
func markdownHTML(s string) (template.HTML, error) {
	var b bytes.Buffer
	if err := goldmark.Convert([]byte(suggestions.Prose(s)), &b); err != nil {
		return "", fmt.Errorf("render Markdown: %w", err)
	}
	return template.HTML(b.String()), nil
}
