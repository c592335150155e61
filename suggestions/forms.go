package suggestions

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// inFloat32 returns the findings with the forms in float32 as their fixes, and
// the fixes as forms: what a repository's settings may ask for. A form that
// covers what other findings' fixes edit is their fix too. The second result is
// false if there is no such form.
func (w *work) inFloat32(findings []analysis.Finding) ([]analysis.Finding, bool) {
	out := slices.Clone(findings)
	any := false
	for _, f := range findings {
		if f.Fix == nil || len(f.Forms) == 0 || f.Forms[0].First == 0 {
			continue
		}
		form := f.Forms[0]
		source := w.files[f.Path].Source
		span, ok := lineSpan(source, form.First, form.Last)
		if !ok {
			continue
		}
		fix := &analysis.Fix{
			Title: form.Title, Safety: f.Fix.Safety,
			Edits: []analysis.Edit{{Span: span, New: strings.Join(form.Lines, "\n")}},
		}
		inside := func(g analysis.Finding) bool {
			return g.Path == f.Path && g.Fix != nil && !slices.ContainsFunc(g.Fix.Edits, func(e analysis.Edit) bool { return !span.Contains(e.Span) })
		}
		if !inside(f) {
			continue
		}
		var casts []analysis.Edit
		for _, g := range findings {
			if inside(g) {
				for _, e := range g.Fix.Edits {
					if !slices.Contains(casts, e) {
						casts = append(casts, e)
					}
				}
			}
		}
		cast, err := Apply(source, casts)
		if err != nil {
			continue
		}
		grown := len(cast) - len(source)
		other := analysis.Form{
			Title: "With casts alone", First: form.First, Last: form.Last,
			Lines: strings.Split(strings.ReplaceAll(cast[span.Start:int(span.End)+grown], "\r\n", "\n"), "\n"),
		}
		for i := range out {
			if inside(out[i]) {
				out[i].Fix, out[i].Forms = fix, []analysis.Form{other}
			}
		}
		any = true
	}
	return out, any
}

// lineSpan is the span of whole lines, without the last one's end.
func lineSpan(source string, first, last int) (python.Span, bool) {
	start, line := 0, 1
	for ; line < first; line++ {
		n := strings.IndexByte(source[start:], '\n')
		if n < 0 {
			return python.Span{}, false
		}
		start += n + 1
	}
	end := start
	for ; line <= last; line++ {
		n := strings.IndexByte(source[end:], '\n')
		if n < 0 {
			return python.Span{Start: uint32(start), End: uint32(len(source))}, line == last
		}
		end += n + 1
	}
	end--
	if end > start && source[end-1] == '\r' {
		end--
	}
	return python.Span{Start: uint32(start), End: uint32(end)}, true
}

// mended reports whether every finding that has a form in float32 got a button.
func mended(p Plan, findings []analysis.Finding) bool {
	for _, f := range findings {
		if f.Fix == nil || len(f.Forms) == 0 {
			continue
		}
		if !slices.ContainsFunc(p.All(), func(c Comment) bool {
			return c.Suggestion != nil && c.Suggestion.Safety == analysis.Safe &&
				slices.ContainsFunc(c.Findings, func(g analysis.Finding) bool { return g.Path == f.Path && g.Rule == f.Rule && g.At == f.At })
		}) {
			return false
		}
	}
	return true
}
