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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/analysis/survey"
)

// defaultBudget is the time for one file. Ordinary files take milliseconds.
const defaultBudget = 10 * time.Second

// unit is one file on its way through the stages.
type unit struct {
	file analysis.File
	skip string // why it was not analysed
	tree *python.File

	findings []analysis.Finding // of the head
	raises   []string
	notes    []Note
	failed   []string // rules that panicked

	places []place
	survey *survey.Survey // nil unless asked for
	told   told
	known  []analysis.Finding // of the base
}

// told is what a report says of a file beside its findings. It is read off the
// tree as long as there is one.
type told struct {
	silent   []suppression
	unifiers []survey.Unifier
	rest     survey.Rest
}

// Run analyses the files of one change and reports what the change brings in.
// The report is the same whatever the order of the files and the number of
// cores. When ctx ends early, the files that are left are listed as skipped.
func Run(ctx context.Context, files []analysis.File, opts Options) Report {
	r := runner{opts: opts, rules: opts.Rules, budget: opts.FileBudget, torch: opts.torch()}
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
	found := r.parseAll(ctx, units)
	head := r.surround(heads(units))
	report.Signs = opts.Tuning.signs(head.signs(found, units))
	each(units, func(u *unit) { r.head(ctx, u, report.Signs, head) })
	fresh := r.fresh(units)
	base := sync.OnceValue(func() *surroundings { return r.surround(bases(units)) })
	each(units, func(u *unit) { r.base(ctx, u, report.Signs, base) })

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
		report.Notes = append(report.Notes, u.notes...)
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
	opts   Options
	rules  []*analysis.Rule
	budget time.Duration
	torch  string // the version of PyTorch whose facts hold, "" for what holds for all
}

// each runs do for every unit that is still of interest, on all cores.
func each(units []*unit, do func(*unit)) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, u := range units {
		if u.skip == "" {
			g.Go(func() error { do(u); return nil })
		}
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
	// parseBatch is how many files are parsed before it is asked whether more
	// signs can matter.
	parseBatch = 64
	// treeLimit is how much source is kept as trees between the search for signs
	// and the evaluation, in bytes; what is over is parsed twice. A tree takes
	// some twenty times its source.
	treeLimit = 8 << 20
)

// parseAll parses the files, in the order of their paths, until the signs are
// known that a report holds. The files that are left are parsed when their turn
// comes, so that a repository of a million lines is never in memory as a whole.
func (r *runner) parseAll(ctx context.Context, units []*unit) analysis.Signs {
	var all analysis.Signs
	size := 0
	for batch := range slices.Chunk(units, parseBatch) {
		each(batch, func(u *unit) { r.parse(ctx, u) })
		found := signs(batch)
		all.Half, all.Double = append(all.Half, found.Half...), append(all.Double, found.Double...)
		if len(all.Half) >= maxSigns && len(all.Double) >= maxSigns {
			break
		}
		for _, u := range batch {
			if size += len(u.file.Source); size > treeLimit && u.file.Whole {
				u.tree = nil
			}
		}
	}
	all.Half = all.Half[:min(len(all.Half), maxSigns)]
	all.Double = all.Double[:min(len(all.Double), maxSigns)]
	return all
}

func (r *runner) parse(ctx context.Context, u *unit) {
	if u.skip = Ignored(u.file.Path); u.skip != "" && (path.Ext(u.file.Path) != "" || !Script(u.file.Source)) {
		return
	}
	u.skip = ""
	if generated(u.file.Source) {
		u.skip = "generated code"
		return
	}
	if loneCR(u.file.Source) {
		u.skip = "lines that end in a lone carriage return"
		return
	}
	type parsed struct {
		tree *python.File
		err  error
	}
	p, skip := bounded(ctx, r.budget, func() parsed {
		tree, err := r.opts.Cache.parse(u.file.Source)
		return parsed{tree, err}
	})
	switch {
	case skip != "":
		u.skip = skip
	case p.err != nil:
		u.skip = p.err.Error()
	default:
		u.tree = p.tree
	}
}

// heads are the files as they are.
func heads(units []*unit) []text {
	var out []text
	for _, u := range units {
		if u.skip == "" {
			out = append(out, text{path: u.file.Path, source: u.file.Source, tree: u.tree})
		}
	}
	return out
}

// bases are the files before the change.
func bases(units []*unit) []text {
	var out []text
	for _, u := range units {
		switch {
		case u.file.Whole:
			out = append(out, text{path: u.file.Path, source: u.file.Source, tree: u.tree})
		case u.file.Added:
			out = append(out, text{path: u.file.Path, gone: true})
		default:
			out = append(out, text{path: u.file.Path, source: u.file.Base})
		}
	}
	return out
}

// judged is what the evaluation and the rules say of one text.
type judged struct {
	findings []analysis.Finding
	raises   []string
	failed   []string
	places   []place // only if there are findings
	survey   *survey.Survey
	partial  bool
	err      error // the text could not be parsed
}

// judge evaluates a text and runs the rules on it. It stops between rules when
// the context ends.
func (r *runner) judge(ctx context.Context, path string, tree *python.File, signs analysis.Signs, around *surroundings) judged {
	key := judgedKey{path: path, source: tree.Source}
	var facts *interp.Facts
	var repository *analysis.Repository
	if around != nil {
		facts = around.facts(path, tree)
		repository = around.repository(path, facts)
		if r.opts.Cache != nil {
			key.repository = repositoryKey(repository, facts)
		}
	}
	if r.opts.Cache != nil {
		key.signs = signsKey(signs)
	}
	if j, ok := r.opts.Cache.get(key); ok {
		return j
	}
	if facts == nil {
		facts = interp.Eval(tree, interp.Options{Torch: r.torch})
	}
	j := judged{raises: raises(path, tree, facts, signs), partial: partial(facts)}
	if r.opts.Survey {
		j.survey = survey.Look(path, facts)
	}
	for _, rule := range r.rules {
		if ctx.Err() != nil {
			return judged{} // the caller drops it
		}
		found, ok := runRule(analysis.Pass{Path: path, Rule: rule, Tree: tree, Facts: facts, Signs: signs, Repository: repository})
		if !ok {
			j.failed = append(j.failed, rule.Name)
			continue
		}
		j.findings = append(j.findings, found...)
	}
	if len(j.findings) > 0 {
		j.places = places(tree)
	}
	for i := range j.findings {
		f := &j.findings[i]
		text := ""
		if p := at(j.places, f.At.Start); p != nil {
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
	r.opts.Cache.put(key, j)
	return j
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

func (r *runner) head(ctx context.Context, u *unit, signs analysis.Signs, around *surroundings) {
	if u.tree == nil {
		if r.parse(ctx, u); u.skip != "" {
			return
		}
	}
	j, skip := bounded(ctx, r.budget, func() judged { return r.judge(ctx, u.file.Path, u.tree, signs, around) })
	if skip == "" && ctx.Err() != nil {
		skip = "not reached: " + context.Cause(ctx).Error()
	}
	if skip != "" {
		u.skip = skip
		return
	}
	u.findings, u.raises, u.failed, u.places, u.survey = j.findings, j.raises, j.failed, j.places, j.survey
	if j.partial {
		u.notes = append(u.notes, Note{Path: u.file.Path, Text: "evaluated only in part: it is too much work"})
	}
	u.told = told{silent: suppressions(u.tree), unifiers: survey.Unifiers(u.file.Path, u.tree), rest: survey.LeftAlone(u.tree)}
	if u.file.Whole && len(u.findings) == 0 {
		u.tree = nil // nothing asks for it any more
	}
}

// fresh returns the really new lines of each unit.
func (r *runner) fresh(units []*unit) [][]bool {
	parse := func(source string) *python.File {
		tree, skip := bounded(context.Background(), r.budget, func() *python.File {
			tree, err := r.opts.Cache.parse(source)
			if err != nil {
				return nil
			}
			return tree
		})
		if skip != "" {
			return nil
		}
		return tree
	}
	sides := make([]side, len(units))
	each(units, func(u *unit) {
		i := slices.Index(units, u)
		f := u.file
		s := side{head: f.Source, headPlaces: u.places, whole: f.Whole, added: f.Added}
		for _, h := range f.Hunks {
			s.addedLines = append(s.addedLines, h.New...)
		}
		if s.headPlaces == nil && !f.Whole {
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
func (r *runner) base(ctx context.Context, u *unit, signs analysis.Signs, around func() *surroundings) {
	if u.file.Whole || u.file.Added || len(u.findings) == 0 {
		return
	}
	j, skip := bounded(ctx, r.budget, func() judged {
		tree, err := r.opts.Cache.parse(u.file.Base)
		if err != nil {
			return judged{err: err}
		}
		return r.judge(ctx, u.file.Path, tree, signs, around())
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
	var candidates []analysis.Finding
	for _, f := range u.findings {
		if u.touches(f, lines) {
			candidates = append(candidates, f)
			continue
		}
		old(f)
		report.Known++
	}
	list := u.told.silent
	var own map[int]bool
	if len(list) > 0 && len(candidates) > 0 {
		own = ownComments(u.tree)
	}
	for _, f := range candidates {
		switch {
		case old(f):
			report.Known++
		case u.silenced(f, list, own):
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
func (u *unit) touches(f analysis.Finding, lines map[string][]bool) bool {
	for _, span := range append([]python.Span{f.At}, f.Ops...) {
		if first, last := u.tree.Lines(span); anyLine(lines[u.file.Path], first, last) {
			return true
		}
	}
	for _, b := range f.Because {
		if anyLine(lines[b.Path], b.Line, b.Line) {
			return true
		}
	}
	return false
}

func (u *unit) silenced(f analysis.Finding, list []suppression, own map[int]bool) bool {
	if len(list) == 0 {
		return false
	}
	first, last := u.tree.Lines(f.At)
	if p := at(u.places, f.At.Start); p != nil {
		first, last = min(first, p.first), max(last, p.last)
	}
	return suppressed(list, own, f.Rule, first, last)
}
