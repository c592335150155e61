package suggestions

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// Options steer Propose. Only Recheck is needed.
type Options struct {
	// Recheck analyses files with the rules that the report was made with. In
	// production it is check.Run. Propose calls it with every file Whole, so
	// it must not leave out what stood in the base. Without it nothing can be
	// proven, and nothing is suggested.
	Recheck func(ctx context.Context, files []analysis.File) check.Report
	// MaxLines is how many lines a suggestion may replace; 0 means 30. A longer
	// one is hard to judge in a review.
	MaxLines int
	// MaxTime bounds the time for all proofs; 0 means 20 seconds. What could not
	// be proven in that time is shown without a suggestion, and says so.
	MaxTime time.Duration
	// MaxProofs bounds the calls of Recheck; 0 means 400.
	MaxProofs int
	// CRLF says that suggestions are applied by their bytes, as check --fix
	// does, and not by GitHub's button. Then files whose lines end in "\r\n",
	// last lines without a line end, lines outside the diff and long ranges
	// are mended too.
	CRLF bool
	// Float32 asks for the form in float32 as the suggestion of a projection,
	// where that can be proven, and shows the cast as code.
	Float32 bool
}

// A unit is one fix: edits of one file, and the findings that offer exactly
// these edits, strongest first.
type unit struct {
	path     string
	findings []analysis.Finding
	edits    []analysis.Edit // ordered
	safety   analysis.Safety
	known    bool // offered only by findings that the diff does not bring in
}

// A group is units that are made together, and how that went.
type group struct {
	units   []*unit
	extra   []analysis.Finding // mended on the way, their own fixes not needed
	needs   []analysis.Finding // see Comment.Needs
	edits   []analysis.Edit    // the union, ordered
	verdict verdict
	bar     string // why it must not become a button although it is sound
}

// Propose turns the findings of a report on files into comments. A fix becomes
// a suggestion only if it is proven: alone, and together with every other
// suggestion of the plan, it takes its finding away, parses, brings no finding
// of any rule and no operation that raises, and its lines are shown by one
// hunk of the diff.
//
// Fixes that fail alone are tried together with those of findings about the
// same operations, on the same lines and in the same scope, fewest first, and
// become one suggestion when that holds. If none of them helps, the fixes of the
// new mistakes that a fix would bring are added to it. Findings with one and the same edit
// are one comment. Findings of the same file, rule, statement and words are
// one comment that lists the others as copies.
//
// The findings and files are not changed. When ctx ends, what is not yet
// proven is commented on without a suggestion.
func Propose(ctx context.Context, files []analysis.File, report check.Report, opts Options) Plan {
	if opts.MaxLines == 0 {
		opts.MaxLines = 30
	}
	if opts.MaxTime == 0 {
		opts.MaxTime = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, opts.MaxTime)
	defer cancel()
	if opts.MaxProofs == 0 {
		opts.MaxProofs = 400
	}
	w := &work{opts: opts, files: make(map[string]analysis.File, len(files))}
	for _, f := range files {
		w.files[f.Path] = f
	}
	if opts.Float32 {
		if swapped, any := w.inFloat32(report.Findings); any {
			opts.Float32 = false
			other := report
			other.Findings = swapped
			if p := Propose(ctx, files, other, opts); mended(p, report.Findings) {
				return p
			}
		}
	}
	offered := slices.ContainsFunc(report.Findings, func(f analysis.Finding) bool { return f.Fix != nil })
	if offered && opts.Recheck != nil {
		w.prover = newProver(ctx, files, opts)
	}
	w.gather(report.Findings)
	w.prove()
	w.separate()
	w.together()
	plan := w.plan()
	plan.unify(report.Unifiers)
	return plan
}

// work is one run of Propose.
type work struct {
	opts   Options
	files  map[string]analysis.File
	prover *prover // nil when nothing can be proven

	units  []*unit            // strongest first
	groups []*group           // strongest first
	plain  []analysis.Finding // findings without a fix
}

// gather makes units of the findings.
func (w *work) gather(findings []analysis.Finding) {
	for _, f := range slices.SortedStableFunc(slices.Values(findings), stronger) {
		w.offer(f, false)
	}
	// A fix may need one of a finding that was there before, such as a cast on
	// the line below. It is no reason for a comment, but it can help.
	if w.prover != nil {
		for _, f := range slices.SortedStableFunc(slices.Values(w.prover.base.Findings), stronger) {
			if f.Fix != nil && len(f.Fix.Edits) > 0 && !slices.ContainsFunc(findings, func(g analysis.Finding) bool { return same(f, g) }) {
				w.offer(f, true)
			}
		}
	}
}

func (w *work) offer(f analysis.Finding, known bool) {
	if f.Fix == nil || len(f.Fix.Edits) == 0 {
		w.plain = append(w.plain, f)
		return
	}
	edits := w.ended(f.Path, f.Fix.Edits)
	if in, err := ordered(w.files[f.Path].Source, edits); err == nil {
		edits = in
	}
	for _, u := range w.units {
		if u.path == f.Path && slices.Equal(u.edits, edits) {
			if !known || u.known {
				u.findings = append(u.findings, f)
				u.safety = riskier(u.safety, f.Fix.Safety)
			}
			return
		}
	}
	w.units = append(w.units, &unit{
		path: f.Path, findings: []analysis.Finding{f}, edits: edits, safety: f.Fix.Safety, known: known,
	})
}

// ended gives the line ends of edits the kind that the file has. Rules write
// "\n"; in a file of mixed kinds that stays.
func (w *work) ended(path string, edits []analysis.Edit) []analysis.Edit {
	source := w.files[path].Source
	lines := strings.Count(source, "\n")
	if lines == 0 || strings.Count(source, "\r\n") != lines {
		return edits
	}
	edits = slices.Clone(edits)
	for i, e := range edits {
		edits[i].New = strings.ReplaceAll(strings.ReplaceAll(e.New, "\r\n", "\n"), "\n", "\r\n")
	}
	return edits
}

// prove makes groups: first every unit alone, then those that fail with others.
func (w *work) prove() {
	alone := make(map[*unit]*group, len(w.units))
	for _, u := range w.units {
		if !u.known {
			alone[u] = w.try(nil, u)
		}
	}
	home := make(map[*unit]*group)
	for _, u := range w.units {
		g := alone[u]
		if u.known || home[u] != nil || !g.verdict.needy() {
			continue
		}
		grown := w.grow(u)
		if grown == nil {
			if followed := w.follow(u, g); followed != nil {
				home[u] = followed
			}
			continue
		}
		// Groups that share a unit are one: their edits must be made together.
		for _, v := range slices.Clone(grown.units) {
			if other := home[v]; other != nil && other != grown {
				both := w.try(nil, append(slices.Clone(other.units), without(grown.units, other.units)...)...)
				if both.verdict.flaw == sound {
					grown = both
				}
			}
		}
		if slices.ContainsFunc(grown.units, func(v *unit) bool { return home[v] != nil && !within(home[v].units, grown.units) }) {
			continue // the earlier group stands, this fix remains unproven
		}
		for _, v := range grown.units {
			home[v] = grown
		}
	}
	done := make(map[*group]bool)
	for _, u := range w.units {
		g := home[u]
		if g == nil {
			g = alone[u]
		}
		if g == nil || done[g] {
			continue
		}
		done[g] = true
		w.groups = append(w.groups, g)
	}
	w.absorb()
}

// try proves units together. The extra findings are claimed as well.
func (w *work) try(extra []analysis.Finding, units ...*unit) *group {
	g := &group{units: units, extra: extra}
	if w.prover == nil {
		g.verdict = verdict{flaw: undecided, why: "it could not be proven"}
		return g
	}
	var fixes [][]analysis.Edit
	for _, u := range units {
		fixes = append(fixes, u.edits)
	}
	edits, err := union(w.files[units[0].path].Source, fixes...)
	if err != nil {
		g.verdict = verdict{flaw: unappliable, why: "its edits do not fit together"}
		return g
	}
	g.edits = edits
	g.verdict = w.prover.prove(change{edits: map[string][]analysis.Edit{g.path(): edits}, mends: g.findings()})
	return g
}

// The most units that are tried in every combination with one that needs
// others, and the most that are tried at all.
const (
	combined = 4
	tried    = 12
)

// grow looks for the fewest other units that make u hold; nil if none do.
func (w *work) grow(u *unit) *group {
	near := w.near(u)
	if len(near) > tried {
		near = near[:tried]
	}
	if len(near) <= combined {
		var sets []int
		for set := 1; set < 1<<len(near); set++ {
			sets = append(sets, set)
		}
		slices.SortStableFunc(sets, func(a, b int) int { return cmp.Compare(ones(a), ones(b)) })
		for _, set := range sets {
			units := []*unit{u}
			for i, v := range near {
				if set&(1<<i) != 0 {
					units = append(units, v)
				}
			}
			if g := w.try(nil, inOrder(units)...); g.verdict.flaw == sound {
				return g
			}
		}
		return nil
	}
	// Too many to combine: add one after the other, then take away what was
	// not needed.
	units := []*unit{u}
	for _, v := range near {
		units = append(units, v)
		g := w.try(nil, inOrder(units)...)
		if g.verdict.flaw != sound {
			continue
		}
		for i := len(units) - 2; i > 0; i-- {
			fewer := slices.Delete(slices.Clone(units), i, i+1)
			if h := w.try(nil, inOrder(fewer)...); h.verdict.flaw == sound {
				units, g = fewer, h
			}
		}
		return g
	}
	return nil
}

// The most rounds of follow, and the most fixes that it adds in all.
const (
	rounds   = 4
	followed = 8
)

// follow adds to u, which brings mistakes, the fixes of these mistakes, until
// it brings none; nil if that does not come about.
func (w *work) follow(u *unit, g *group) *group {
	units := []*unit{u}
	var needs []analysis.Finding
	t := newText(w.files[u.path].Source)
	for range rounds {
		if g.verdict.flaw == sound {
			g.needs = needs
			return g
		}
		if g.verdict.flaw != raises || len(g.verdict.fresh) == 0 || len(units)+len(g.verdict.fresh) > followed {
			return nil
		}
		for _, f := range g.verdict.fresh {
			if f.Path != u.path || f.Fix == nil || len(f.Fix.Edits) == 0 {
				return nil
			}
			v := &unit{path: u.path, safety: f.Fix.Safety}
			for _, e := range w.ended(f.Path, f.Fix.Edits) {
				start, ok1 := before(g.edits, e.Span.Start)
				end, ok2 := before(g.edits, e.Span.End)
				if !ok1 || !ok2 || start > end {
					return nil
				}
				v.edits = append(v.edits, analysis.Edit{Span: python.Span{Start: start, End: end}, New: e.New})
			}
			lines := f.End.Line - f.Start.Line
			f.Start.Line = t.line(v.edits[0].Span.Start)
			f.End.Line = f.Start.Line + lines
			units, needs = append(units, v), append(needs, f)
		}
		g = w.try(nil, units...)
	}
	if g.verdict.flaw != sound {
		return nil
	}
	g.needs = needs
	return g
}

// near returns the units that may have to be made together with u: those that
// share an operation with it or, through others, with its kin, then those that
// edit the same lines, then those in the same scope; each by distance.
func (w *work) near(u *unit) []*unit {
	kin := []*unit{u}
	for grew := true; grew; {
		grew = false
		for _, v := range w.units {
			if v.path == u.path && !slices.Contains(kin, v) && slices.ContainsFunc(kin, func(k *unit) bool { return sharesOp(k, v) }) {
				kin, grew = append(kin, v), true
			}
		}
	}
	t := newText(w.files[u.path].Source)
	first, last := span(t, u)
	type neighbour struct {
		unit           *unit
		kind, distance int
	}
	var found []neighbour
	for _, v := range w.units {
		if v == u || v.path != u.path {
			continue
		}
		f, l := span(t, v)
		n := neighbour{unit: v, distance: max(f-last, first-l, 0)}
		switch {
		case slices.Contains(kin, v):
			n.kind = 0
		case n.distance == 0:
			n.kind = 1
		case v.findings[0].Scope == u.findings[0].Scope:
			n.kind = 2
		default:
			continue
		}
		found = append(found, n)
	}
	slices.SortStableFunc(found, func(a, b neighbour) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.distance, b.distance))
	})
	units := make([]*unit, 0, len(found))
	for _, n := range found {
		units = append(units, n.unit)
	}
	return units
}

// absorb drops groups whose findings another group mends, as their cause or as
// another way to mend the same operation: one mistake gets one comment.
func (w *work) absorb() {
	for i := 0; i < len(w.groups); i++ {
		g := w.groups[i]
		if g.verdict.flaw != sound {
			continue
		}
		lines := g.lines(w.files[g.path()].Source)
		causes := func(f analysis.Finding) bool {
			return f.Path == g.path() &&
				slices.ContainsFunc(g.verdict.gone, func(h analysis.Finding) bool { return same(f, h) }) &&
				(slices.ContainsFunc(f.Because, func(r analysis.Reason) bool {
					return r.Path == f.Path && slices.Contains(lines, r.Line)
				}) || slices.ContainsFunc(g.findings(), func(h analysis.Finding) bool { return shareOp(f, h) }))
		}
		for j := len(w.groups) - 1; j >= 0; j-- {
			h := w.groups[j]
			if j == i || slices.ContainsFunc(h.findings(), func(f analysis.Finding) bool { return !causes(f) }) {
				continue
			}
			g.extra = append(g.extra, h.findings()...)
			w.groups = slices.Delete(w.groups, j, j+1)
			if j < i {
				i--
			}
		}
		var left []analysis.Finding
		for _, f := range w.plain {
			if causes(f) {
				g.extra = append(g.extra, f)
			} else {
				left = append(left, f)
			}
		}
		w.plain = left
	}
}

// separate joins groups whose ranges of lines overlap, or keeps the strongest:
// GitHub cannot apply two suggestions to one line.
func (w *work) separate() {
	for i := 0; i < len(w.groups); i++ {
		for j := i + 1; j < len(w.groups); j++ {
			g, h := w.groups[i], w.groups[j]
			// Only buttons compete, and a button must not become code because of
			// a riskier fix beside it.
			if !g.stands() || !h.stands() || g.safety() != h.safety() || g.safety() == analysis.Display || !w.overlap(g, h) {
				continue
			}
			both := w.try(append(slices.Clone(g.extra), h.extra...), append(slices.Clone(g.units), without(h.units, g.units)...)...)
			if both.verdict.flaw == sound {
				both.needs = append(slices.Clone(g.needs), h.needs...)
				w.groups[i] = both
				w.groups = slices.Delete(w.groups, j, j+1)
				i, j = -1, len(w.groups) // ranges grew: look at all again
				continue
			}
			h.bar = "its lines are also changed by the suggestion above them"
		}
	}
}

// together proves all suggestions at once and, if that fails, adds one after
// the other, strongest first, and keeps those that go with the stronger ones.
func (w *work) together() {
	if w.prover == nil {
		return
	}
	w.alongside(func(g *group) bool { return g.confidence().Rank() >= analysis.Likely.Rank() })
	w.alongside(func(g *group) bool { return g.confidence().Rank() < analysis.Likely.Rank() })
}

func (w *work) alongside(join func(*group) bool) {
	var kept, fresh []*group
	for _, g := range w.groups {
		switch {
		case !g.stands() || g.safety() == analysis.Display:
		case join(g):
			fresh = append(fresh, g)
		case g.confidence().Rank() >= analysis.Likely.Rank():
			kept = append(kept, g)
		}
	}
	if len(fresh) == 0 || len(kept)+len(fresh) == 1 || w.all(append(slices.Clone(kept), fresh...)) {
		return
	}
	for _, g := range fresh {
		if len(kept) == 0 || w.all(append(slices.Clone(kept), g)) {
			kept = append(kept, g)
			continue
		}
		g.bar = "it does not hold together with the other suggestions"
	}
}

// all reports whether the groups hold when all of them are made.
func (w *work) all(groups []*group) bool {
	c := change{edits: make(map[string][]analysis.Edit)}
	for _, g := range groups {
		edits, err := union(w.files[g.path()].Source, c.edits[g.path()], g.edits)
		if err != nil {
			return false
		}
		c.edits[g.path()] = edits
		c.mends = append(c.mends, g.findings()...)
	}
	return w.prover.prove(c).flaw == sound
}

// plan makes comments of the groups and the findings without a fix.
func (w *work) plan() Plan {
	var comments []Comment
	for _, g := range w.groups {
		comments = append(comments, w.comment(g))
	}
	for _, f := range w.plain {
		c := Comment{Path: f.Path, Findings: []analysis.Finding{f}, Forms: f.Forms, Fingerprint: f.Fingerprint}
		w.anchor(&c)
		comments = append(comments, c)
	}
	slices.SortStableFunc(comments, func(a, b Comment) int {
		return cmp.Or(
			-cmp.Compare(a.Severity().Rank(), b.Severity().Rank()),
			-cmp.Compare(a.Confidence().Rank(), b.Confidence().Rank()),
			strings.Compare(a.Path, b.Path),
			cmp.Compare(a.First, b.First),
		)
	})
	var p Plan
	for _, c := range w.fold(comments) {
		if c.Confidence().Rank() >= analysis.Likely.Rank() {
			p.Comments = append(p.Comments, c)
		} else {
			p.Possible = append(p.Possible, c)
		}
	}
	n := 0
	number := func(c *Comment) {
		if c.Suggestion != nil {
			n++
			c.Suggestion.ID = fmt.Sprintf("s%d", n)
		}
	}
	for _, list := range [][]Comment{p.Comments, p.Possible} {
		for i := range list {
			number(&list[i])
			for j := range list[i].Copies {
				number(&list[i].Copies[j])
			}
		}
	}
	return p
}

// comment makes the comment of a group.
func (w *work) comment(g *group) Comment {
	file := w.files[g.path()]
	t := newText(file.Source)
	findings := slices.SortedStableFunc(slices.Values(g.findings()), stronger)
	c := Comment{Path: g.path(), Findings: findings, Needs: g.needs, Fingerprint: findings[0].Fingerprint}
	for _, f := range findings {
		for _, form := range f.Forms {
			if !slices.ContainsFunc(c.Forms, func(o analysis.Form) bool { return slices.Equal(o.Lines, form.Lines) }) {
				c.Forms = append(c.Forms, form)
			}
		}
	}
	if g.verdict.flaw != sound && g.verdict.flaw != raises {
		// The fix is wrong or unknown to be right: do not show it.
		c.Unproven = g.verdict.why
		w.anchor(&c)
		return c
	}
	first, last, old, replacement, ok := t.widen(g.edits)
	if !ok {
		w.anchor(&c)
		return c
	}
	s := &Suggestion{
		Safety: g.safety(), First: first, Last: last, Old: old, Replacement: replacement, Edits: g.edits,
	}
	for _, f := range findings {
		if f.Fix != nil {
			s.Title = f.Fix.Title
			break
		}
	}
	c.Suggestion = s
	switch {
	case g.verdict.flaw != sound:
		c.Unproven = g.verdict.why
	case g.bar != "":
		c.Unproven = g.bar
	case w.opts.CRLF: // the rest is about buttons
	case strings.Contains(file.Source, "\r"):
		c.Unproven = "the lines of this file end in CRLF, which GitHub's button does not keep"
	case t.endsOpen(last):
		c.Unproven = "it touches the file's last line, which has no line end"
	case last-first+1 > w.opts.MaxLines || len(replacement) > w.opts.MaxLines:
		c.Unproven = fmt.Sprintf("it spans %d lines", max(last-first+1, len(replacement)))
	case !shown(file, first, last):
		c.Unproven = fmt.Sprintf("the diff does not show %s in one piece", lineWords(first, last))
		if first == last {
			c.Unproven = fmt.Sprintf("the diff does not show %s", lineWords(first, last))
		}
	}
	if c.Unproven != "" {
		s.Safety = analysis.Display
		w.anchor(&c)
		return c
	}
	c.First, c.Last, c.Anchored = first, last, shown(file, first, last)
	return c
}

// anchor puts a comment that has no button where a reader sees it: on the
// shown lines of its strongest finding, else on the last of its reasons that
// the diff shows, an added line before one that only stands beside.
func (w *work) anchor(c *Comment) {
	f := c.Findings[0]
	file, known := w.files[c.Path]
	t := newText(file.Source)
	c.First, c.Last = max(f.Start.Line, 1), max(f.End.Line, f.Start.Line, 1)
	if known && t.count() > 0 && int(f.At.End) <= len(file.Source) {
		// By "\n", as GitHub counts.
		c.First, c.Last = t.touched(f.At.Start, f.At.End)
	}
	if !known {
		return
	}
	if file.Whole {
		c.Anchored = true
		return
	}
	for line := c.First; line <= c.Last; line++ {
		if h := hunkOf(file, line); h != nil {
			c.First, c.Last, c.Anchored = line, min(c.Last, h.End), true
			return
		}
	}
	for _, added := range []bool{true, false} {
		for _, r := range slices.Backward(f.Because) {
			if r.Path != c.Path {
				continue
			}
			if h := hunkOf(file, r.Line); h != nil && (!added || slices.Contains(h.New, r.Line)) {
				c.First, c.Last, c.Anchored = r.Line, r.Line, true
				return
			}
		}
	}
}

// fold makes copies of one mistake one comment, which lists the others: the
// first that is a button, else the first that stands in the diff.
func (w *work) fold(comments []Comment) []Comment {
	var out []Comment
	at := make(map[string]int)
	for _, c := range comments {
		key := w.kind(c)
		if i, ok := at[key]; ok && key != "" {
			if out[i].rank() < c.rank() {
				c.Copies, out[i].Copies = out[i].Copies, nil
				out[i], c = c, out[i]
			}
			out[i].Copies = append(out[i].Copies, c)
			continue
		}
		at[key] = len(out)
		out = append(out, c)
	}
	for _, c := range out {
		slices.SortStableFunc(c.Copies, func(a, b Comment) int { return cmp.Compare(a.First, b.First) })
	}
	return out
}

// rank is 2 for a comment that is a button, 1 for one that can be posted.
func (c Comment) rank() int {
	switch {
	case !c.Anchored:
		return 0
	case c.Suggestion == nil || c.Suggestion.Safety != analysis.Safe:
		return 1
	}
	return 2
}

var (
	spaces  = regexp.MustCompile(`\s+`)
	numbers = regexp.MustCompile(`\d+`)
)

// kind is equal for copies of one mistake: same file, rules, confidence, words
// (but for numbers, which are lines) and text of the lines.
func (w *work) kind(c Comment) string {
	t := newText(w.files[c.Path].Source)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", c.Path, c.Confidence())
	first, last := c.First, c.Last
	if c.Suggestion != nil {
		first, last = c.Suggestion.First, c.Suggestion.Last
	}
	if last > t.count() || first < 1 {
		return ""
	}
	for _, f := range c.Findings {
		fmt.Fprintf(&b, "%s %s\n", f.Rule, numbers.ReplaceAllString(f.Message, "0"))
	}
	for _, l := range t.lines(first, last) {
		b.WriteString(strings.TrimSpace(spaces.ReplaceAllString(l, " ")) + "\n")
	}
	return b.String()
}

func (g *group) path() string { return g.units[0].path }

func (g *group) findings() []analysis.Finding {
	var all []analysis.Finding
	for _, u := range g.units {
		all = append(all, u.findings...)
	}
	return append(all, g.extra...)
}

// stands reports whether the group may still become a button.
func (g *group) stands() bool { return g.verdict.flaw == sound && g.bar == "" }

func (g *group) safety() analysis.Safety {
	s := analysis.Safe
	for _, u := range g.units {
		s = riskier(s, u.safety)
	}
	return s
}

func (g *group) confidence() analysis.Confidence { return Comment{Findings: g.findings()}.Confidence() }

// lines returns the lines that the group's edits touch.
func (g *group) lines(source string) []int {
	t := newText(source)
	var lines []int
	for _, e := range g.edits {
		first, last := t.touched(e.Span.Start, e.Span.End)
		for l := first; l <= last; l++ {
			lines = append(lines, l)
		}
	}
	return lines
}

func (w *work) overlap(g, h *group) bool {
	if g.path() != h.path() {
		return false
	}
	t := newText(w.files[g.path()].Source)
	gFirst, gLast, _, _, _ := t.widen(g.edits)
	hFirst, hLast, _, _, _ := t.widen(h.edits)
	return gFirst <= hLast && hFirst <= gLast
}

// stronger orders findings: by severity, confidence, path, place and rule.
func stronger(f, g analysis.Finding) int {
	return cmp.Or(
		-cmp.Compare(f.Severity.Rank(), g.Severity.Rank()),
		-cmp.Compare(f.Confidence.Rank(), g.Confidence.Rank()),
		strings.Compare(f.Path, g.Path),
		cmp.Compare(f.At.Start, g.At.Start),
		strings.Compare(f.Rule, g.Rule),
	)
}

func riskier(a, b analysis.Safety) analysis.Safety {
	if a == analysis.Display || b == analysis.Display {
		return analysis.Display
	}
	if a == analysis.Safe && b == analysis.Safe {
		return analysis.Safe
	}
	return analysis.Unsafe
}

// shareOp reports whether two findings are about one operation.
func shareOp(f, g analysis.Finding) bool {
	return slices.ContainsFunc(f.Ops, func(o python.Span) bool { return slices.Contains(g.Ops, o) })
}

// sharesOp reports whether two units are about one operation.
func sharesOp(u, v *unit) bool {
	for _, f := range u.findings {
		for _, g := range v.findings {
			if shareOp(f, g) {
				return true
			}
		}
	}
	return false
}

// span returns the lines from the first to the last edit of a unit.
func span(t text, u *unit) (first, last int) {
	for i, e := range u.edits {
		if int(e.Span.End) > len(t.source) {
			continue
		}
		f, l := t.touched(e.Span.Start, max(e.Span.End, e.Span.Start))
		if i == 0 || f < first {
			first = f
		}
		last = max(last, l)
	}
	return first, last
}

// inOrder sorts units by the place of their first edit.
func inOrder(units []*unit) []*unit {
	return slices.SortedStableFunc(slices.Values(units), func(a, b *unit) int {
		return cmp.Compare(a.edits[0].Span.Start, b.edits[0].Span.Start)
	})
}

func without(units, others []*unit) []*unit {
	return slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return slices.Contains(others, u) })
}

func within(units, others []*unit) bool { return len(without(units, others)) == 0 }

func ones(set int) int {
	n := 0
	for ; set != 0; set &= set - 1 {
		n++
	}
	return n
}

// hunkOf returns the hunk that shows a line, nil if none does.
func hunkOf(f analysis.File, line int) *analysis.Hunk {
	for i, h := range f.Hunks {
		if h.Start <= line && line <= h.End {
			return &f.Hunks[i]
		}
	}
	return nil
}

// shown reports whether one hunk shows all the lines.
func shown(f analysis.File, first, last int) bool {
	if f.Whole {
		return true
	}
	h := hunkOf(f, first)
	return h != nil && last <= h.End
}

func lineWords(first, last int) string {
	if first == last {
		return fmt.Sprintf("line %d", first)
	}
	return fmt.Sprintf("lines %d to %d", first, last)
}

// firstSentence returns the first sentence of a Markdown text, without its
// full stop. A full stop inside a code span ends nothing.
func firstSentence(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	code := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '`':
			code = !code
		case '.':
			if !code && (i+1 == len(s) || s[i+1] == ' ') {
				return s[:i]
			}
		}
	}
	return strings.TrimSuffix(s, ":")
}
