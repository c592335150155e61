package suggestions

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
)

// A flaw is the first demand of the proof that a change does not meet.
type flaw int

const (
	sound       flaw = iota
	unappliable      // edits overlap, lie outside the file or change nothing
	unparsable       // the result has a syntax error that was not there
	stays            // a finding that the change is for is still there
	raises           // the analyser finds something that was not there
	undecided        // the time or the number of runs is used up
)

// A verdict is the outcome of one proof.
type verdict struct {
	flaw flaw
	why  string // a Markdown sentence without full stop; "" when sound
	// gone are the findings of the baseline that the change takes away.
	gone []analysis.Finding
	// fresh are the findings that it brings, with places in the mended text.
	fresh []analysis.Finding
}

// needy reports whether other edits might make the change hold.
func (v verdict) needy() bool { return v.flaw == stays || v.flaw == raises }

// A change is edits per path, and the findings that they are meant to mend.
type change struct {
	edits map[string][]analysis.Edit
	mends []analysis.Finding
}

// A prover proves changes to one set of files by analysing them again.
type prover struct {
	ctx   context.Context
	opts  Options
	files []analysis.File // whole, so that every line counts
	texts map[string]text
	bad   map[string]int // syntax errors per path
	base  check.Report
	runs  int
}

func newProver(ctx context.Context, files []analysis.File, opts Options) *prover {
	p := &prover{ctx: ctx, opts: opts, texts: map[string]text{}, bad: map[string]int{}}
	for _, f := range files {
		p.files = append(p.files, analysis.File{Path: f.Path, Source: f.Source, Whole: true})
		p.texts[f.Path] = newText(f.Source)
		p.bad[f.Path] = -1
	}
	p.base = opts.Recheck(ctx, p.files)
	return p
}

// prove makes the change, analyses all files again and compares: the findings
// that the change mends must be gone, and neither a finding nor an operation
// that raises may be new in any file.
func (p *prover) prove(c change) verdict {
	if p.ctx.Err() != nil || p.runs >= p.opts.MaxProofs {
		return verdict{flaw: undecided, why: "there was no time left to prove it"}
	}
	mended := make(map[string]string, len(c.edits))
	for path, edits := range c.edits {
		t, known := p.texts[path]
		if !known {
			return verdict{flaw: unappliable, why: "the file is not part of the change"}
		}
		after, err := Apply(t.source, edits)
		if err != nil {
			return verdict{flaw: unappliable, why: "its edits do not fit together"}
		}
		first, last, _, replacement, ok := t.widen(edits)
		if !ok {
			return verdict{flaw: unappliable, why: "it changes nothing"}
		}
		// The button replaces whole lines: it must give the very text that the
		// edits give. Line ends of another kind are replaced by bytes only.
		if !strings.Contains(t.source, "\r") && !t.endsOpen(last) && t.replaceLines(first, last, replacement) != after {
			return verdict{flaw: unappliable, why: "it cannot be said in whole lines"}
		}
		if p.bad[path] < 0 {
			p.bad[path] = syntaxErrors(t.source)
		}
		if syntaxErrors(after) > p.bad[path] {
			return verdict{flaw: unparsable, why: "the result would not parse"}
		}
		mended[path] = after
	}
	p.runs++
	files := slices.Clone(p.files)
	for i := range files {
		if after, ok := mended[files[i].Path]; ok {
			files[i].Source = after
		}
	}
	after := p.opts.Recheck(p.ctx, files)
	if p.ctx.Err() != nil {
		return verdict{flaw: undecided, why: "there was no time left to prove it"}
	}
	return p.compare(c, after)
}

func (p *prover) compare(c change, after check.Report) verdict {
	// A file that is analysed only in part shows fewer findings for a wrong
	// reason. The driver notes that, as it notes what it skips.
	if len(after.Skipped) > len(p.base.Skipped) || len(after.Notes) > len(p.base.Notes) {
		return verdict{flaw: unparsable, why: "the result could not be analysed"}
	}
	// Everything of the baseline that the change does not claim to mend may
	// stay. A finding keeps its place, moved by the edits before it, or its
	// fingerprint; the latter changes when the edit is in its statement.
	left := slices.Clone(p.base.Findings)
	for _, m := range c.mends {
		i := slices.IndexFunc(left, func(f analysis.Finding) bool { return same(f, m) })
		if i < 0 {
			return verdict{flaw: stays, why: "a second look at the file does not show the mistake"}
		}
		left = slices.Delete(left, i, i+1)
	}
	unmatched := make([]analysis.Finding, 0)
	for _, f := range after.Findings {
		i := slices.IndexFunc(left, func(g analysis.Finding) bool {
			return isMoved(c.edits[g.Path], g, f)
		})
		if i < 0 {
			unmatched = append(unmatched, f)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	var v verdict
	for _, f := range unmatched {
		if slices.ContainsFunc(c.mends, func(m analysis.Finding) bool {
			return isMoved(c.edits[m.Path], m, f)
		}) {
			v.flaw, v.why = stays, "the mistake would still be there"
			return v
		}
		i := slices.IndexFunc(left, func(g analysis.Finding) bool {
			return g.Rule == f.Rule && g.Path == f.Path && g.Fingerprint == f.Fingerprint
		})
		if i < 0 {
			v.fresh = append(v.fresh, f)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(v.fresh) > 0 {
		f := v.fresh[0]
		v.flaw, v.why = raises, fmt.Sprintf("on its own it would bring a new mistake: %s", firstSentence(f.Message))
		return v
	}
	for path, keys := range after.Raises {
		if more(keys, p.base.Raises[path]) {
			v.flaw, v.why = raises, "on its own it would make another operation refuse its operands"
			return v
		}
	}
	v.gone = left
	return v
}

// same reports whether two findings of the same texts are one.
func same(f, g analysis.Finding) bool {
	return f.Rule == g.Rule && f.Path == g.Path && f.At == g.At && f.Fingerprint == g.Fingerprint
}

// isMoved reports whether new is old after the edits. An insertion right at the
// start of a finding may have become part of it (a call put around it) or not,
// so both places count.
func isMoved(edits []analysis.Edit, old, new analysis.Finding) bool {
	if old.Rule != new.Rule || old.Path != new.Path {
		return false
	}
	at := int64(old.At.Start)
	inserted := 0
	for _, e := range edits {
		switch {
		case e.Span.Start == e.Span.End && e.Span.Start == old.At.Start:
			inserted = len(e.New)
		case e.Span.End <= old.At.Start:
			at += int64(len(e.New)) - int64(e.Span.End-e.Span.Start)
		case e.Span.Start < old.At.Start: // it started inside what was replaced
			at -= int64(old.At.Start - e.Span.Start)
		}
	}
	is := int64(new.At.Start)
	return is == at || is == at+int64(inserted)
}

// before returns where an offset of the mended text stood in the old one, and
// false if it lies in what the edits brought. The edits must be ordered.
func before(edits []analysis.Edit, offset uint32) (uint32, bool) {
	grown := int64(0)
	for _, e := range edits {
		start := int64(e.Span.Start) + grown
		end := start + int64(len(e.New))
		if int64(offset) <= start {
			break
		}
		if int64(offset) < end {
			return 0, false
		}
		grown += int64(len(e.New)) - int64(e.Span.End-e.Span.Start)
	}
	return uint32(int64(offset) - grown), true
}

// more reports whether some key occurs in keys more often than in base.
func more(keys, base []string) bool {
	count := make(map[string]int, len(base))
	for _, k := range base {
		count[k]++
	}
	for _, k := range keys {
		if count[k]--; count[k] < 0 {
			return true
		}
	}
	return false
}
