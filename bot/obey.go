package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/suggestions"
)

// The kinds of commands.
const (
	CommandComment    = "comment"     // an order in the conversation
	CommandFix        = "fix"         // the check run's button
	CommandMergeGroup = "merge_group" // a merge queue waits for the check
	CommandIntroduce  = "introduce"   // a check run on the default branch
	CommandForget     = "forget"      // repositories left the App
	CommandSuite      = "suite"       // all checks of a head were asked for again
)

// A Command is something that is done once, when somebody asks for it.
type Command struct {
	Kind string `json:"kind"`
	// Comment is the comment that gives the order, Author who wrote it, Body its
	// text, and Opener who opened the pull request.
	Comment int64  `json:"comment,omitempty"`
	Node    string `json:"node,omitempty"` // GraphQL's id of the comment
	Author  string `json:"author,omitempty"`
	Opener  string `json:"opener,omitempty"`
	Body    string `json:"body,omitempty"`
	Head    string `json:"head,omitempty"` // of the check run or the merge group
	// Repositories are those that left, by GitHub's ids.
	Repositories []int64 `json:"repositories,omitempty"`
}

// A Desk is what commands need of GitHub beside reviews; bot/github satisfies
// it.
type Desk interface {
	// Login is the App's account, e.g. "dtypebot[bot]".
	Login(ctx context.Context) (string, error)
	// MayWrite reports whether somebody may write to the job's repository.
	MayWrite(ctx context.Context, job Job, login string) (bool, error)
	// React adds the App's reaction to a comment; a second one changes nothing.
	React(ctx context.Context, job Job, node, reaction string) error
	// Say answers a comment in the conversation, once: to is its id. Where there
	// is no comment to is 0, and key tells one answer from another.
	Say(ctx context.Context, job Job, body string, to int64, key string) error
	// Push commits files to the head branch of the snapshot's pull request, with
	// its head as the parent; never by force. An error of type Refusal says why
	// GitHub did not take it.
	Push(ctx context.Context, snapshot Snapshot, message string, files map[string]string) (sha string, err error)
	// Conclude writes a completed check run on a commit of the job's repository;
	// on the tip of the default branch if head is "".
	Conclude(ctx context.Context, job Job, head string, run Check) error
	// PullsOf lists the pull requests that the own check runs of a commit are about.
	PullsOf(ctx context.Context, job Job, head string) ([]int, error)
	// Forget removes what this process keeps of a repository.
	Forget(repository int64) error
}

// A Refusal is why something that people asked for is not done, as a sentence
// for them without its full stop.
type Refusal struct{ Reason string }

// Error returns the reason.
func (r Refusal) Error() string { return r.Reason }

// Obey carries out the job's command. Like Review it may be called again after
// an error: what is done is not done twice.
func (r *Reviewer) Obey(ctx context.Context, job Job) (Posted, error) {
	switch job.Command.Kind {
	case CommandComment:
		return r.order(ctx, job)
	case CommandFix:
		return r.fixPressed(ctx, job)
	case CommandMergeGroup:
		return Posted{}, border("answer the merge queue", r.Desk.Conclude(ctx, job, job.Command.Head, Check{
			Name: CheckName, ExternalID: "merge_group;v=1", Conclusion: success, Title: "Reviewed on its pull requests",
			Summary: "dtypebot reviews pull requests before they are queued; a merge group brings in nothing else.",
		}))
	case CommandIntroduce:
		return Posted{}, border("introduce the check", r.Desk.Conclude(ctx, job, "", Check{
			Name: CheckName, ExternalID: "introduce;v=1", Conclusion: success, Title: "Ready",
			Summary: "dtypebot reviews the pull requests of this repository. This check run on the default branch lets the check be chosen as a required one.",
		}))
	}
	if job.Command.Kind == CommandSuite {
		return Posted{}, border("look at the pull requests of a head", r.suite(ctx, job))
	}
	if job.Command.Kind == CommandForget {
		var err error
		for _, id := range job.Command.Repositories {
			err = errors.Join(err, r.Desk.Forget(id))
			if r.Index != nil {
				err = errors.Join(err, r.Index.Forget(ctx, id))
			}
		}
		return Posted{}, border("forget repositories", err)
	}
	return Posted{}, Drop{Reason: "an unknown command: " + job.Command.Kind}
}

// suite has the pull requests of a head looked at again. GitHub does not name
// those from forks, but the own check runs of the head do.
func (r *Reviewer) suite(ctx context.Context, job Job) error {
	pulls, err := r.Desk.PullsOf(ctx, job, job.Command.Head)
	if err != nil {
		return err
	}
	for _, n := range pulls {
		again := job
		again.Command, again.Pull, again.Rerun = nil, n, true
		if err := r.Put(ctx, again); err != nil {
			return err
		}
	}
	return nil
}

// order does what a comment asks for. It is answered by a reaction; whoever may
// not order gets one that says so and no words.
func (r *Reviewer) order(ctx context.Context, job Job) (Posted, error) {
	login, err := r.Desk.Login(ctx)
	if err != nil {
		return Posted{}, border("ask who the App is", err)
	}
	c := job.Command
	order, ok := ParseOrder(c.Body, login)
	if !ok {
		return Posted{}, Drop{Reason: "the comment is no order"}
	}
	writes := order.Verb == VerbFix || order.Verb == VerbIgnore
	may := !writes && strings.EqualFold(c.Author, c.Opener)
	if !may {
		if may, err = r.Desk.MayWrite(ctx, job, c.Author); err != nil {
			return Posted{}, border("ask what "+c.Author+" may do", err)
		}
	}
	if !may {
		return Posted{}, border("refuse an order", r.Desk.React(ctx, job, c.Node, ReactionRefused))
	}
	var posted Posted
	switch order.Verb {
	case VerbReview:
		job.Rerun = true
		posted, err = r.Review(ctx, job)
	case VerbExplain:
		err = r.explain(ctx, job)
	case VerbHelp:
		err = r.Desk.Say(ctx, job, help(login), c.Comment, "")
	case VerbFix:
		posted, err = r.fixAll(ctx, job, "")
	case VerbIgnore:
		posted, err = r.ignore(ctx, job, order.Args)
	default:
		err = Refusal{fmt.Sprintf("I do not know %s. %s", code(shorten(order.Verb, 40)), verbs(login))}
	}
	if refusal, ok := errors.AsType[Refusal](err); ok {
		if err := r.Desk.Say(ctx, job, sentenceOf(refusal.Reason), c.Comment, ""); err != nil {
			return posted, border("say why not", err)
		}
		return posted, border("refuse an order", r.Desk.React(ctx, job, c.Node, ReactionRefused))
	}
	if err != nil {
		return posted, border("do what "+c.Author+" asked for", err)
	}
	return posted, border("say that it is done", r.Desk.React(ctx, job, c.Node, ReactionObeyed))
}

func sentenceOf(reason string) string {
	if strings.HasSuffix(reason, ".") {
		return reason
	}
	return reason + "."
}

func verbs(login string) string {
	return "I know `review`, `explain`, `fix`, `ignore RULE` and `help`, each behind `@" + strings.TrimSuffix(login, "[bot]") + "`."
}

// help tells what can be ordered.
func help(login string) string {
	at := "`@" + strings.TrimSuffix(login, "[bot]")
	return strings.Join([]string{
		"What I can do, at the beginning of a line of a comment:",
		"",
		"- " + at + " review`: look at this pull request again",
		"- " + at + " explain`: the reasons of each open mistake",
		"- " + at + " fix`: commit every suggestion that was proven, in one commit",
		"- " + at + " ignore RULE`: say nothing of a rule in this pull request, for as long as that comment stands",
		"",
		"The first two are for the author of the pull request and for those who may write, the others for the latter.",
	}, "\n")
}

// ignore has rules ignored in this pull request: the App's reaction on the order
// is what the following looks go by.
func (r *Reviewer) ignore(ctx context.Context, job Job, names []string) (Posted, error) {
	if len(names) == 0 {
		return Posted{}, Refusal{"`ignore` needs the name of a rule, as it stands at the end of each comment"}
	}
	for _, n := range names {
		if !slices.ContainsFunc(rules.All(), func(rule *analysis.Rule) bool { return rule.Name == n }) {
			return Posted{}, Refusal{fmt.Sprintf("There is no rule %s", code(shorten(n, 60)))}
		}
	}
	if err := r.Desk.React(ctx, job, job.Command.Node, ReactionObeyed); err != nil {
		return Posted{}, err
	}
	return r.Review(ctx, job)
}

// judged is a look at a pull request, with what it was made from.
type judged struct {
	snapshot Snapshot
	report   check.Report
	plan     suggestions.Plan
	entries  []entry
}

// judge reads and analyses the job's pull request.
func (r *Reviewer) judge(ctx context.Context, job Job) (judged, error) {
	snapshot, err := r.GitHub.Snapshot(ctx, job)
	if err != nil {
		return judged{}, err
	}
	j := judged{snapshot: snapshot}
	if len(snapshot.Files) > 0 {
		if j.report, j.plan, err = r.Analyse(ctx, snapshot.Files, r.around(ctx, &j.snapshot)); err != nil {
			return judged{}, err
		}
	}
	j.entries, _, _ = sortOut(snapshot, j.report, j.plan, r.Config)
	j.entries = slices.DeleteFunc(j.entries, func(e entry) bool { return e.where == asideDismissed })
	return j, nil
}

// explain answers with the reasons of each open mistake.
func (r *Reviewer) explain(ctx context.Context, job Job) error {
	j, err := r.judge(ctx, job)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range j.entries {
		fmt.Fprintf(&b, "%s %s\n\n", place(j.snapshot, e.Path, e.First, e.Last), what(e.Comment))
		for i, reason := range e.Because() {
			at := reason.Path
			if at == "" {
				at = e.Path
			}
			fmt.Fprintf(&b, "%d. %s %s\n", i+1, place(j.snapshot, at, reason.Line, reason.Line), inert(oneLine(reason.Text)))
		}
		b.WriteString("\n")
	}
	if b.Len() == 0 {
		b.WriteString("There is no open dtype mistake in this pull request.")
	}
	return r.Desk.Say(ctx, job, Cut(strings.TrimRight(b.String(), "\n"), MaxBody-1000), job.Command.Comment, "")
}

// fixPressed is fixAll by the button. Its refusal is a comment, as a button has
// no other place for words.
func (r *Reviewer) fixPressed(ctx context.Context, job Job) (Posted, error) {
	may, err := r.Desk.MayWrite(ctx, job, job.Command.Author)
	if err != nil {
		return Posted{}, border("ask what "+job.Command.Author+" may do", err)
	}
	if !may {
		return Posted{}, Drop{Reason: job.Command.Author + " may not write"}
	}
	posted, err := r.fixAll(ctx, job, job.Command.Head)
	if refusal, ok := errors.AsType[Refusal](err); ok {
		return posted, border("say why not", r.Desk.Say(ctx, job, "Nothing was committed: "+lowerFirst(sentenceOf(refusal.Reason)), 0, job.Delivery))
	}
	return posted, border("fix all", err)
}

func lowerFirst(s string) string {
	if strings.HasPrefix(s, "I ") || s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// fixAll commits every suggestion that was proven, and looks at the new head. A
// head other than "" is the one that was looked at when the button was pressed.
func (r *Reviewer) fixAll(ctx context.Context, job Job, head string) (Posted, error) {
	j, err := r.judge(ctx, job)
	if err != nil {
		return Posted{}, err
	}
	switch {
	case j.snapshot.Fork:
		return Posted{}, Refusal{"The branch is in a fork, where I may not write"}
	case !j.snapshot.MayPush:
		return Posted{}, Refusal{"I may not write to this repository: the App lacks the permission `contents: write`"}
	case head != "" && head != j.snapshot.Head:
		return Posted{}, Refusal{fmt.Sprintf("The branch moved on from %s", code(short(head)))}
	}
	files, mended, err := r.mend(ctx, j)
	if err != nil {
		return Posted{}, err
	}
	if len(mended) == 0 {
		return Posted{}, Refusal{"There is no suggestion that was proven"}
	}
	if _, err := r.Desk.Push(ctx, j.snapshot, fixMessage(mended), files); err != nil {
		return Posted{}, err
	}
	return r.Review(ctx, job) // GitHub tells the App of its own push, but it does not listen
}

// mend applies the proven suggestions of all open mistakes and analyses the
// result once more: with some of the plan's suggestions left out, those that
// are left must hold by themselves.
func (r *Reviewer) mend(ctx context.Context, j judged) (files map[string]string, mended []entry, err error) {
	edits := make(map[string][]analysis.Edit)
	for _, e := range j.entries {
		for _, c := range append([]suggestions.Comment{e.Comment}, e.Copies...) {
			if c.Suggestion != nil && c.Suggestion.Safety == analysis.Safe {
				edits[c.Path] = append(edits[c.Path], c.Suggestion.Edits...)
				if len(mended) == 0 || mended[len(mended)-1].Fingerprint != e.Fingerprint || mended[len(mended)-1].First != e.First {
					mended = append(mended, e)
				}
			}
		}
	}
	files = make(map[string]string)
	after := slices.Clone(j.snapshot.Files)
	for i, f := range after {
		if len(edits[f.Path]) == 0 {
			continue
		}
		text, err := suggestions.Apply(f.Source, edits[f.Path])
		if err != nil {
			return nil, nil, fmt.Errorf("mend %s: %w", f.Path, err)
		}
		files[f.Path] = text
		after[i].Source, after[i].Whole = text, true
	}
	if len(files) == 0 {
		return nil, nil, nil
	}
	before := slices.Clone(j.snapshot.Files)
	for i := range before {
		before[i].Whole = true
	}
	around := r.around(ctx, &j.snapshot)
	was, _, err := r.Analyse(ctx, before, around)
	if err != nil {
		return nil, nil, err
	}
	is, _, err := r.Analyse(ctx, after, around)
	if err != nil {
		return nil, nil, err
	}
	if worse(was, is, mended) {
		return nil, nil, Refusal{"The suggestions that are left do not hold together without those that were dismissed"}
	}
	return files, mended, nil
}

// worse reports whether mending brought a mistake, or left one that it was to
// take away.
func worse(was, is check.Report, mended []entry) bool {
	count := func(r check.Report) map[string]int {
		n := make(map[string]int)
		for _, f := range r.Findings {
			if f.Confidence.Rank() >= analysis.Likely.Rank() {
				n[f.Rule+" "+f.Fingerprint]++
			}
		}
		return n
	}
	before, after := count(was), count(is)
	for key, n := range after {
		if n > before[key] {
			return true
		}
	}
	for _, e := range mended {
		for _, f := range e.Findings {
			if f.Confidence.Rank() >= analysis.Likely.Rank() && after[f.Rule+" "+f.Fingerprint] >= max(before[f.Rule+" "+f.Fingerprint], 1) {
				return true
			}
		}
	}
	return len(is.Skipped) > len(was.Skipped)
}

// fixMessage is the message of the commit.
func fixMessage(mended []entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mend %s\n\nSuggestions of dtypebot, each applied and analysed again, alone and together:\n\n", count(len(mended), "dtype mistake"))
	slices.SortStableFunc(mended, func(a, b entry) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.First, b.First)) })
	for i, e := range mended {
		if i == 50 {
			fmt.Fprintf(&b, "- and %d more\n", len(mended)-i)
			break
		}
		fmt.Fprintf(&b, "- %s:%d (%s)\n", oneLine(e.Path), e.First, ruleOf(e.Comment))
	}
	return strings.TrimRight(b.String(), "\n")
}

// apologise says that an order could not be carried out. Why is for the log.
func (r *Reviewer) apologise(ctx context.Context, job Job) error {
	if job.Command.Kind != CommandComment || r.Desk == nil {
		return nil // nobody waits for words
	}
	err := r.Desk.Say(ctx, job, "That could not be done, after several tries. Please order it again later.", job.Command.Comment, "")
	return border("say that an order was given up", err)
}
