package check

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/analysis/survey"
)

// defaultBudget is the time for one file. Ordinary files take milliseconds.
const defaultBudget = 10 * time.Second

// unit is one file on its way through the stages.
type unit struct {
	file analysis.File
	skip string       // why it was not analysed
	tree *python.File // nil if it was let go, or not parsed yet

	judged                    // of the head
	known  []analysis.Finding // of the base
}

func (u *unit) key() textKey { return textKey{u.file.Path, u.file.Source} }

// told is what a report says of a file beside its findings. It is read off the
// tree as long as there is one.
type told struct {
	silent   []suppression
	own      map[int]bool // lines that hold nothing but a comment, if something is silenced
	unifiers []survey.Unifier
	rest     survey.Rest
}

// Run analyses the files of one change and reports what the change brings in.
// The report is the same whatever the order of the files and the number of
// cores. When ctx ends early, the files that are left are listed as skipped.
func Run(ctx context.Context, files []analysis.File, opts Options) Report {
	r := runner{opts: opts, rules: opts.Rules, budget: opts.FileBudget, torch: opts.torch(), cache: opts.Cache}
	if r.cache == nil {
		r.cache = NewCache()
		r.cache.limit = 0 // nothing is analysed again
	}
	if r.rules == nil {
		for _, rule := range rules.All() {
			if !rule.Preview {
				r.rules = append(r.rules, rule)
			}
		}
	}
	if r.budget <= 0 {
		r.budget = defaultBudget
	}
	units := make([]*unit, len(files))
	for i, f := range files {
		units[i] = &unit{file: f}
	}
	slices.SortStableFunc(units, func(a, b *unit) int { return cmp.Compare(a.file.Path, b.file.Path) })

	report := Report{Raises: map[string][]string{}, Torch: opts.release()}
	found := r.learnAll(ctx, units)
	head := r.after(units)
	report.Signs = opts.Tuning.signs(head.signs(found, units))
	r.known, r.knownKey = report.Signs, signsKey(report.Signs)
	each(units, func(_ int, u *unit) { r.head(ctx, u, head) })
	fresh := r.fresh(units)
	base := sync.OnceValue(func() *surroundings { return r.before(ctx, units) })
	each(units, func(_ int, u *unit) { r.base(ctx, u, base) })

	if opts.Project != nil {
		report.Notes = append(report.Notes, unread(opts.Project)...)
		report.Near, report.Indexed = len(opts.Project.Modules), opts.Project.Revision
	}
	names := map[string]bool{}
	for _, rule := range r.rules {
		names[rule.Name] = true
	}
	if opts.Rules == nil {
		for _, rule := range rules.All() {
			names[rule.Name] = true
		}
	}
	lines := map[string][]bool{}
	for i, u := range units {
		lines[u.file.Path] = fresh[i]
	}
	for i, u := range units {
		for _, name := range u.failed {
			report.Skipped = append(report.Skipped, Skip{u.file.Path, fmt.Sprintf("rule %s failed on this file", name)})
		}
		if u.skip != "" {
			report.Skipped = append(report.Skipped, Skip{u.file.Path, u.skip})
			continue
		}
		report.Files++
		if u.partial {
			report.Notes = append(report.Notes, Note{Path: u.file.Path, Text: "evaluated only in part: it is too much work"})
		}
		report.Notes = append(report.Notes, u.leftAlone(fresh[i])...)
		report.Unifiers = append(report.Unifiers, u.told.unifiers...)
		if u.survey != nil {
			report.Surveys = append(report.Surveys, u.survey)
		}
		if len(u.raises) > 0 {
			report.Raises[u.file.Path] = u.raises
		}
		u.keep(&report, fresh[i], names, lines)
	}
	return report
}

type runner struct {
	opts     Options
	rules    []*analysis.Rule
	budget   time.Duration
	torch    string // the version of PyTorch whose facts hold, "" for what holds for all
	cache    *Cache // never nil
	known    analysis.Signs
	knownKey string
	held     atomic.Int64 // bytes of source whose trees units hold
}

// each runs do for every item, on all cores.
func each[T any](list []T, do func(i int, item T)) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, item := range list {
		g.Go(func() error { do(i, item); return nil })
	}
	_ = g.Wait() // the functions return no error
}

// bounded runs work and waits for it no longer than the budget of a file. It
// returns why there is no result, or "". What takes longer is left to end by
// itself: Go cannot stop it, and the evaluator has a limit of its own.
func bounded[T any](ctx context.Context, budget time.Duration, work func() T) (result T, skip string) {
	if err := ctx.Err(); err != nil {
		return result, "not reached: " + context.Cause(ctx).Error()
	}
	type outcome struct {
		result T
		skip   string
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.skip = fmt.Sprintf("the analysis failed: %v", p)
			}
			done <- o
		}()
		o.result = work()
	}()
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.result, o.skip
	case <-ctx.Done():
		return result, "not reached: " + context.Cause(ctx).Error()
	case <-timer.C:
		return result, fmt.Sprintf("takes longer than %s to analyse", budget)
	}
}

const (
	// learnBatch is how many files are looked at before it is asked whether more
	// signs can matter.
	learnBatch = 64
	// treeLimit is how much source is kept as trees and facts between the first
	// look and the evaluation, in bytes; what is over is parsed twice. They take
	// some sixty times their source, with the summaries of all files beside them;
	// aloneLimit is for files that are judged each by itself, whose trees alone are
	// kept and take twenty times theirs.
	treeLimit  = 1 << 20
	aloneLimit = 8 << 20
)

// learnAll takes the first look at the files, in the order of their paths.
// Without the rest of the repository all that it is for are the signs that a
// report holds: files behind those are parsed when their turn comes. A
// repository of a million lines is never in memory as a whole.
func (r *runner) learnAll(ctx context.Context, units []*unit) analysis.Signs {
	each(units, func(_ int, u *unit) { u.skip = leftOut(u.file) })
	for batch := range slices.Chunk(units, learnBatch) {
		each(batch, func(_ int, u *unit) {
			if u.skip == "" {
				r.look(ctx, u)
			}
		})
		if r.opts.Project != nil {
			continue
		}
		if found := r.signs(units); len(found.Half) >= maxSigns && len(found.Double) >= maxSigns {
			return found
		}
	}
	return r.signs(units)
}

// leftOut is why a file is not even parsed, "" if it is.
func leftOut(f analysis.File) string {
	if reason := Ignored(f.Path); reason != "" && (path.Ext(f.Path) != "" || !Script(f.Source)) {
		return reason
	}
	if generated(f.Source) {
		return "generated code"
	}
	if loneCR(f.Source) {
		return "lines that end in a lone carriage return"
	}
	return ""
}

// look learns what the text of a unit says by itself.
func (r *runner) look(ctx context.Context, u *unit) {
	var tree *python.File
	tree, u.skip = r.learn(ctx, u.key())
	limit := int64(treeLimit)
	if r.opts.Project == nil {
		limit = aloneLimit
	}
	if tree != nil && (!u.file.Whole || r.held.Add(int64(len(u.file.Source))) <= limit) {
		u.tree = tree
	}
}

// learn makes sure that the cache has what a text says by itself, and returns
// why there is none. The tree is nil if it was not needed.
func (r *runner) learn(ctx context.Context, key textKey) (tree *python.File, skip string) {
	if l, ok := get(r.cache, r.cache.learned, key); ok && (l.module != nil || l.skip != "" || r.opts.Project == nil) {
		return nil, l.skip
	}
	var l learned
	tree, l.skip, skip = r.parse(ctx, key.source)
	if skip != "" {
		return nil, skip
	}
	if l.skip == "" {
		half, double := project.Signs(key.path, tree)
		l.signs = analysis.Signs{Half: reasons(half), Double: reasons(double)}
		if r.opts.Project != nil {
			l.module, skip = bounded(ctx, r.budget, func() *project.Module { return project.Summarise(r.cache.facts(tree, r.torch)) })
		}
	}
	put(r.cache, r.cache.learned, key, l)
	return tree, cmp.Or(l.skip, skip)
}

// parse parses a text within the budget. It returns why the text cannot be
// parsed, and why it was not.
func (r *runner) parse(ctx context.Context, source string) (tree *python.File, bad, skip string) {
	type parsed struct {
		tree *python.File
		err  error
	}
	p, skip := bounded(ctx, r.budget, func() parsed {
		tree, err := r.cache.parse(source)
		return parsed{tree, err}
	})
	if p.err != nil {
		bad = p.err.Error()
	}
	return p.tree, bad, skip
}

// after is the surroundings of the files as they are.
func (r *runner) after(units []*unit) *surroundings {
	var texts []text
	for _, u := range units {
		if u.skip == "" {
			texts = append(texts, text{path: u.file.Path, source: u.file.Source})
		}
	}
	return r.surround(texts, &r.cache.head)
}

// before is the surroundings of the files before the change.
func (r *runner) before(ctx context.Context, units []*unit) *surroundings {
	if r.opts.Project == nil {
		return nil
	}
	texts := make([]text, len(units))
	each(units, func(i int, u *unit) {
		switch {
		case u.file.Whole:
			texts[i] = text{path: u.file.Path, source: u.file.Source}
		case u.file.Added:
			texts[i] = text{path: u.file.Path, gone: true}
		default:
			texts[i] = text{path: u.file.Path, source: u.file.Base}
		}
		if !texts[i].gone {
			r.learn(ctx, textKey{texts[i].path, texts[i].source})
		}
	})
	return r.surround(texts, &r.cache.base)
}

// judged is what the evaluation and the rules say of one text. It holds no tree:
// a repository may have many findings.
type judged struct {
	findings []analysis.Finding
	spots    []spot // by finding
	raises   []string
	failed   []string // rules that panicked
	survey   *survey.Survey
	told     told
	partial  bool
	err      error // the text could not be parsed
}

// A spot is where a finding stands.
type spot struct {
	lines [][2]int // of its place and its operations
	whole [2]int   // of its place and the statement around it
}

// judge evaluates a text and runs the rules on it. It stops between rules when
// the context ends. The tree may be nil.
func (r *runner) judge(ctx context.Context, text textKey, tree *python.File, around *surroundings) judged {
	key := judgedKey{textKey: text, signs: r.knownKey}
	var says said
	if around != nil {
		says = around.ask(text)
		key.repository = says.key
	}
	if j, ok := get(r.cache, r.cache.judged, key); ok {
		return j
	}
	if tree == nil {
		var err error
		if tree, err = r.cache.parse(text.source); err != nil {
			return judged{err: err}
		}
	}
	var facts *interp.Facts
	var repository *analysis.Repository
	if around != nil {
		facts = around.facts(text.path, tree)
		repository = around.repository(text.path, says, facts)
	} else {
		facts = r.cache.facts(tree, r.torch)
	}
	j := judged{raises: raises(text.path, tree, facts, r.known), partial: partial(facts)}
	if r.opts.Survey {
		j.survey = survey.Look(text.path, facts)
	}
	for _, rule := range r.rules {
		if ctx.Err() != nil {
			return judged{} // the caller drops it
		}
		found, ok := runRule(analysis.Pass{Path: text.path, Rule: rule, Tree: tree, Facts: facts, Signs: r.known, Repository: repository})
		if !ok {
			j.failed = append(j.failed, rule.Name)
			continue
		}
		j.findings = append(j.findings, found...)
	}
	j.place(text.path, tree)
	j.told = tell(text.path, tree)
	put(r.cache, r.cache.judged, key, j)
	return j
}

// place gives the findings their fingerprints, order and lines.
func (j *judged) place(path string, tree *python.File) {
	if len(j.findings) == 0 {
		return
	}
	all := places(tree)
	for i := range j.findings {
		f := &j.findings[i]
		text := ""
		if p := at(all, f.At.Start); p != nil {
			text = p.text
			if f.Scope == "" {
				f.Scope = p.scope
			}
		}
		f.Fingerprint, f.Pathless = fingerprint(f.Rule, path, f.Scope, text), fingerprint(f.Rule, "", f.Scope, text)
	}
	slices.SortStableFunc(j.findings, func(a, b analysis.Finding) int {
		return cmp.Or(cmp.Compare(a.At.Start, b.At.Start), cmp.Compare(a.At.End, b.At.End), cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(b.Confidence.Rank(), a.Confidence.Rank()))
	})
	j.findings = slices.CompactFunc(j.findings, func(a, b analysis.Finding) bool { return a.Rule == b.Rule && a.At == b.At })
	for _, f := range j.findings {
		var s spot
		for _, span := range append([]python.Span{f.At}, f.Ops...) {
			first, last := tree.Lines(span)
			s.lines = append(s.lines, [2]int{first, last})
		}
		s.whole = s.lines[0]
		if p := at(all, f.At.Start); p != nil {
			s.whole = [2]int{min(s.whole[0], p.first), max(s.whole[1], p.last)}
		}
		j.spots = append(j.spots, s)
	}
}

// tell reads off a tree what a report says of it beside findings.
func tell(path string, tree *python.File) told {
	t := told{silent: suppressions(tree), unifiers: survey.Unifiers(path, tree), rest: survey.LeftAlone(tree)}
	if len(t.silent) > 0 {
		t.own = ownComments(tree)
	}
	return t
}

// runRule runs one rule and survives its panic.
func runRule(p analysis.Pass) (found []analysis.Finding, ok bool) {
	defer func() {
		if recover() != nil {
			found, ok = nil, false
		}
	}()
	pass := analysis.NewPass(p.Path, p.Rule, p.Tree, p.Facts, p.Signs, func(f analysis.Finding) { found = append(found, f) })
	pass.Repository = p.Repository
	p.Rule.Run(pass)
	return found, true
}

func (r *runner) head(ctx context.Context, u *unit, around *surroundings) {
	if u.skip != "" {
		return
	}
	key, tree := u.key(), u.tree // work that takes too long goes on while the unit changes
	j, skip := bounded(ctx, r.budget, func() judged { return r.judge(ctx, key, tree, around) })
	if skip == "" && ctx.Err() != nil {
		skip = "not reached: " + context.Cause(ctx).Error()
	}
	if skip == "" && j.err != nil {
		skip = j.err.Error()
	}
	if u.skip = skip; skip == "" {
		u.judged = j
	}
	if u.file.Whole {
		u.tree = nil // nothing asks for it any more
	}
}

// fresh returns the really new lines of each unit.
func (r *runner) fresh(units []*unit) [][]bool {
	parse := func(source string) *python.File {
		tree, _, _ := r.parse(context.Background(), source)
		return tree
	}
	sides := make([]side, len(units))
	each(units, func(i int, u *unit) {
		if u.skip != "" {
			return
		}
		f := u.file
		s := side{head: f.Source, whole: f.Whole, added: f.Added}
		for _, h := range f.Hunks {
			s.addedLines = append(s.addedLines, h.New...)
		}
		if u.tree == nil && !f.Whole { // everything that was asked was in the cache
			u.tree = parse(f.Source)
		}
		if u.tree != nil && !f.Whole {
			s.headPlaces = places(u.tree)
		}
		if !f.Whole && !f.Added {
			s.base = f.Base
			if tree := parse(f.Base); tree != nil {
				s.basePlaces = places(tree)
			}
		}
		sides[i] = s
	})
	return news(sides, r.opts.Deleted, parse)
}

// base runs the same analysis on the text before the change. The signs are
// those of the head: a sign that the change brings in does not make old code
// part of it.
func (r *runner) base(ctx context.Context, u *unit, around func() *surroundings) {
	if u.skip != "" || u.file.Whole || u.file.Added || len(u.findings) == 0 {
		return
	}
	j, skip := bounded(ctx, r.budget, func() judged {
		return r.judge(ctx, textKey{u.file.Path, u.file.Base}, nil, around())
	})
	if j.err != nil {
		skip = j.err.Error()
	}
	if skip != "" || ctx.Err() != nil {
		// Without the base nobody knows what is old.
		u.skip = "the base could not be analysed"
		if skip != "" {
			u.skip += ": " + skip
		}
		return
	}
	u.known = j.findings
}

// fingerprint identifies a finding however its line moves. Equal ones are told
// apart by whoever posts them, by the nearest line.
func fingerprint(rule, path, scope, statement string) string {
	h := sha256.New()
	for _, s := range []string{rule, path, scope, statement} {
		fmt.Fprintf(h, "%d:%s,", len(s), s) // no part can run into the next
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// keep adds to the report what the change brings in. fresh are the new lines of
// the file, lines those of all files of the change.
func (u *unit) keep(report *Report, fresh []bool, names map[string]bool, lines map[string][]bool) {
	known := map[string][]int{} // ranks of the base's findings, by fingerprint
	for _, f := range u.known {
		known[f.Fingerprint] = append(known[f.Fingerprint], f.Confidence.Rank())
	}
	for _, ranks := range known {
		slices.Sort(ranks)
	}
	// A finding of the base hides one of the head that is not surer. The
	// weakest that is strong enough is used up.
	old := func(f analysis.Finding) bool {
		ranks := known[f.Fingerprint]
		i, _ := slices.BinarySearch(ranks, f.Confidence.Rank())
		if i == len(ranks) {
			return false
		}
		known[f.Fingerprint] = slices.Delete(ranks, i, i+1)
		return true
	}
	// Those on old lines use up their likes of the base before those on new
	// ones are looked at: of equal findings the added one is the new one.
	var candidates []int
	for i, f := range u.findings {
		if u.touches(i, lines) {
			candidates = append(candidates, i)
			continue
		}
		old(f)
		report.Known++
	}
	list := u.told.silent
	for _, i := range candidates {
		f, lines := u.findings[i], u.spots[i].whole
		switch {
		case old(f):
			report.Known++
		case suppressed(list, u.told.own, f.Rule, lines[0], lines[1]):
			report.Suppressed++
		default:
			report.Findings = append(report.Findings, f)
		}
	}
	for _, s := range list {
		if !anyLine(fresh, s.line, s.line) {
			continue
		}
		if !s.all && len(s.rules) == 0 {
			report.Notes = append(report.Notes, Note{u.file.Path, s.line, "the suppression names no rule between its brackets"})
		}
		for _, name := range s.rules {
			if !names[name] {
				report.Notes = append(report.Notes, Note{u.file.Path, s.line, fmt.Sprintf("the suppression names %q, which is no rule", name)})
			}
		}
	}
}

// touches reports whether the place of a finding, the operation that it is
// about, or a step of its chain, in this file or another, lies on a new line.
func (u *unit) touches(i int, lines map[string][]bool) bool {
	for _, l := range u.spots[i].lines {
		if anyLine(lines[u.file.Path], l[0], l[1]) {
			return true
		}
	}
	for _, b := range u.findings[i].Because {
		if anyLine(lines[b.Path], b.Line, b.Line) {
			return true
		}
	}
	return false
}
