package github_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/suggestions"
)

// A street is a world whose webhooks come in by the bot's own door, and whose
// jobs are done at once.
type street struct {
	*world
	inbox inbox
}

func newStreet(t *testing.T, contents bool) *street {
	t.Helper()
	s := &street{world: newWorld(t)}
	if contents {
		s.grant("contents")
	}
	s.inbox.serve(t, s.world)
	must(t, s.SetPermission(owner, name, "ann", "write"))
	must(t, s.SetPermission(owner, name, "bob", "read"))
	s.reviewer.Analyse, s.reviewer.Put = mendable, s.inbox.Put
	return s
}

// work does what came in, and what comes of that.
func (s *street) work() (all bot.Posted) {
	s.t.Helper()
	for range 10 {
		must(s.t, s.Wait(s.t.Context()))
		jobs := s.inbox.take()
		if len(jobs) == 0 {
			return all
		}
		for _, job := range jobs {
			do := s.reviewer.Review
			if job.Command != nil {
				do = s.reviewer.Obey
			}
			posted, err := do(s.t.Context(), job)
			if _, dropped := errors.AsType[bot.Drop](err); err != nil && !dropped {
				s.t.Fatalf("%s: %v", job.Event, err)
			}
			all.Comments = append(all.Comments, posted.Comments...)
			all.Outcomes = append(all.Outcomes, posted.Outcomes...)
		}
	}
	s.t.Fatal("it does not end")
	return all
}

// mendable stands in for the analyser: each line that holds MIX is a mistake, and
// what mends it is "fine".
func mendable(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
	report := check.Report{Files: len(files)}
	var plan suggestions.Plan
	for _, f := range files {
		at := 0
		for i, line := range strings.SplitAfter(f.Source, "\n") {
			fresh := f.Whole || slices.ContainsFunc(f.Hunks, func(h analysis.Hunk) bool { return slices.Contains(h.New, i+1) })
			if where := strings.Index(line, "MIX"); where >= 0 && fresh {
				c := comment(f.Path, i+1, i+1, line)
				edit := analysis.Edit{Span: python.Span{Start: uint32(at + where), End: uint32(at + where + 3)}, New: "fine"}
				c.Suggestion = &suggestions.Suggestion{
					Safety: analysis.Safe, First: i + 1, Last: i + 1, Replacement: []string{strings.TrimSuffix(strings.Replace(line, "MIX", "fine", 1), "\n")}, Edits: []analysis.Edit{edit},
				}
				plan.Comments = append(plan.Comments, c)
				report.Findings = append(report.Findings, c.Findings...)
			}
			at += len(line)
		}
	}
	return report, plan, nil
}

// say writes a comment in the conversation and has the bot work on it.
func (s *street) say(who, body string) (reactions map[string][]string, answer string) {
	s.t.Helper()
	before := len(s.view().Comments)
	id, err := s.Comment(s.t.Context(), owner, name, s.pull, who, body)
	must(s.t, err)
	s.work()
	for _, c := range s.view().Comments[before:] {
		if c.ID == id {
			reactions = c.Reactions
		} else {
			answer += c.Body
		}
	}
	return reactions, answer
}

func TestOrders(t *testing.T) {
	s := newStreet(t, false)
	s.commit("", map[string]string{"a.py": "x = 1\n"})
	s.commit("topic", map[string]string{"a.py": "x = MIX\n"})
	s.pull = s.openPull(githubsim.OpenPullOptions{Head: "topic", Author: "bob"})
	s.work()
	for _, test := range []struct {
		who, body, reaction, answer string
	}{
		{"ann", "@dtypebot help", "+1", "explain"},
		{"bob", "@dtypebot review", "+1", ""}, // who opened it
		{"eve", "@dtypebot review", "confused", ""},
		{"bob", "@dtypebot ignore matmul-mixed-dtype", "confused", ""}, // may not write
		{"ann", "@dtypebot explain", "+1", "`a` is bfloat16"},
		{"ann", "@dtypebot dance", "confused", "I do not know `dance`"},
		{"ann", "@dtypebot ignore no-such-rule", "confused", "There is no rule `no-such-rule`"},
		{"ann", "@dtypebot ignore", "confused", "needs the name of a rule"},
		{"ann", "@dtypebot fix", "confused", "lacks the permission"},
		{"ann", "I asked @dtypebot fix yesterday", "", ""},
		{"eve", "@dtypebot dance", "confused", ""},
		{"ann", "@dtypebot ignore matmul-mixed-dtype", "+1", ""},
	} {
		reactions, answer := s.say(test.who, test.body)
		if (test.reaction == "") != (len(reactions) == 0) || test.reaction != "" && !slices.Equal(reactions[test.reaction], []string{"dtypebot[bot]"}) ||
			(test.answer == "") != (answer == "") || !strings.Contains(answer, test.answer) {
			t.Errorf("%s: %q: reactions %v, answer %q", test.who, test.body, reactions, answer)
		}
	}
	v := s.view()
	if len(v.Threads) != 0 || !strings.Contains(v.CheckRuns[0].Summary, "dismissed") {
		t.Errorf("ignored: %d threads, %s", len(v.Threads), v.CheckRuns[0].Summary)
	}
	// It holds for what comes, and for no other rule.
	s.commit("topic", map[string]string{"a.py": "x = MIX\ny = MIX 2\n"})
	if posted := s.work(); len(posted.Comments) != 0 {
		t.Errorf("posted %+v", posted)
	}
}

// An order is carried out once, however often it comes, and a lost answer costs
// no second one.
func TestOrderTwice(t *testing.T) {
	s := newStreet(t, false)
	s.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	s.work()
	s.faultOn("/comments", 2, githubsim.Fault{Drop: true, After: true}) // the listing is the first
	_, err := s.Comment(t.Context(), owner, name, s.pull, "ann", "@dtypebot help")
	must(t, err)
	must(t, s.Wait(t.Context()))
	jobs := s.inbox.take()
	if len(jobs) != 1 {
		t.Fatalf("jobs %+v", jobs)
	}
	for range 3 {
		_, _ = s.reviewer.Obey(t.Context(), jobs[0])
		s.Fault(nil)
	}
	if n := len(s.view().Comments); n != 2 {
		t.Errorf("%d comments in the conversation", n)
	}
}

func TestFixAll(t *testing.T) {
	text := "a = 1\r\nx = MIX\r\ny = MIX 2\n"
	s := newStreet(t, true)
	s.commit("", map[string]string{"README.md": "x\n"})
	_, err := s.Commit(t.Context(), owner, name, githubsim.CommitOptions{
		Branch: "topic", Files: map[string]string{"run.py": text, "b.py": "z = MIX 3\n"}, Modes: map[string]string{"run.py": "100755"},
	})
	must(t, err)
	s.pull = s.openPull(githubsim.OpenPullOptions{Head: "topic"})
	s.work()
	run := s.view().CheckRuns[0]
	var buttons []string
	for _, a := range run.Actions {
		buttons = append(buttons, a.Label+": "+a.Description)
	}
	if got := strings.Join(buttons, ", "); got != "Re-run: Look at this pull request again, Fix all: Commit 3 proven fixes" {
		t.Errorf("buttons %s", got)
	}
	// One mistake is dismissed: its fix is not committed.
	for _, th := range s.view().Threads {
		if th.Path == "b.py" {
			must(t, s.ResolveThread(t.Context(), owner, name, s.pull, th.Comments[0].ID, "ann"))
		}
	}
	s.work()
	must(t, s.RequestAction(owner, name, s.view().CheckRuns[0].ID, "fix", "ann"))
	s.work()
	v := s.view()
	got, err := s.File(owner, name, v.HeadSHA, "run.py")
	must(t, err)
	if want := strings.ReplaceAll(text, "MIX", "fine"); got != want {
		t.Errorf("run.py %q, want %q", got, want)
	}
	if b, _ := s.File(owner, name, v.HeadSHA, "b.py"); b != "z = MIX 3\n" {
		t.Errorf("b.py %q", b)
	}
	last := v.Commits[len(v.Commits)-1]
	if len(v.Commits) != 2 || last.Author != "dtypebot[bot]" || !strings.HasPrefix(last.Message, "Mend 2 dtype mistakes\n\n") || !strings.Contains(last.Message, "- run.py:3 (matmul-mixed-dtype)") {
		t.Errorf("commits %+v", v.Commits)
	}
	for _, f := range v.Files {
		if f.Path == "run.py" && f.Mode != "100755" {
			t.Errorf("mode %s", f.Mode)
		}
	}
	// The new head is looked at.
	if len(v.CheckRuns) == 0 || v.CheckRuns[0].Head != v.HeadSHA || v.CheckRuns[0].Conclusion != "success" {
		t.Errorf("check runs %+v", v.CheckRuns)
	}
	// There is nothing left: an order is answered.
	if _, answer := s.say("ann", "@dtypebot fix"); !strings.Contains(answer, "no suggestion that was proven") {
		t.Errorf("answer %q", answer)
	}
}

// What cannot be committed is refused, with the reason.
func TestFixAllRefused(t *testing.T) {
	for _, test := range []struct {
		what, want string
		contents   bool
		fork       bool
		press      func(s *street)
	}{
		{what: "not permitted", want: "lacks the permission"},
		{what: "a fork", contents: true, fork: true, want: "in a fork"},
		{what: "pushed while it works", contents: true, want: "The branch moved on meanwhile", press: func(s *street) {
			once := true
			s.Fault(func(r *http.Request) *githubsim.Fault {
				if once && r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/git/refs/") {
					once = false
					s.commit("topic", map[string]string{"c.py": "c = 1\n"})
				}
				return nil
			})
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, test.contents)
			s.commit("", map[string]string{"a.py": "x = 1\n"})
			o := githubsim.OpenPullOptions{Head: "topic"}
			if test.fork {
				must(t, s.Fork(t.Context(), owner, name, "eve"))
				_, err := s.Commit(t.Context(), "eve", name, githubsim.CommitOptions{Branch: "topic", Files: map[string]string{"a.py": "x = MIX\n"}})
				must(t, err)
				o.HeadOwner = "eve"
			} else {
				s.commit("topic", map[string]string{"a.py": "x = MIX\n"})
			}
			s.pull = s.openPull(o)
			s.work()
			if test.press != nil {
				test.press(s)
			}
			if reactions, answer := s.say("ann", "@dtypebot fix"); !strings.Contains(answer, test.want) || len(reactions["confused"]) != 1 {
				t.Errorf("answer %q, reactions %v", answer, reactions)
			}
			s.Fault(nil)
			if hasFix := slices.ContainsFunc(s.view().CheckRuns, func(r githubsim.CheckRunView) bool { return len(r.Actions) > 1 }); hasFix && !test.contents {
				t.Error("the button is offered")
			}
		})
	}
}

// The button of an older head commits nothing.
func TestFixAllOfAnOlderHead(t *testing.T) {
	s := newStreet(t, true)
	s.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	s.work()
	run := s.view().CheckRuns[0].ID
	head := s.commit("topic", map[string]string{"b.py": "b = 1\n"})
	s.work()
	must(t, s.RequestAction(owner, name, run, "fix", "ann"))
	s.work()
	comments := s.view().Comments
	if s.view().HeadSHA != head || len(comments) != 1 || !strings.Contains(comments[0].Body, "Nothing was committed: the branch moved on") {
		t.Errorf("head %s, comments %+v", s.view().HeadSHA, comments)
	}
	must(t, s.RequestAction(owner, name, run, "fix", "eve"))
	s.work()
	if s.view().HeadSHA != head || len(s.view().Comments) != 1 {
		t.Error("somebody who may not write was heard")
	}
}

// A merge queue waits for the check: it is answered at once.
func TestMergeGroup(t *testing.T) {
	s := newStreet(t, false)
	s.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	s.work()
	s.ResetCalls()
	sha, err := s.QueueMerge(t.Context(), owner, name, s.pull, "ann")
	must(t, err)
	s.work()
	runs := s.CheckRuns(owner, name, sha)
	if len(runs) != 1 || runs[0].Conclusion != "success" || runs[0].Name != bot.CheckName || s.api() != 1 {
		t.Errorf("%d calls, check runs %+v", s.api(), runs)
	}
}

// The check is introduced on the default branch, to be chosen as a required one.
func TestIntroduce(t *testing.T) {
	s := newStreet(t, false)
	head := s.commit("", map[string]string{"a.py": "x = 1\n"})
	job := s.job("pull_request.opened")
	job.Command = &bot.Command{Kind: bot.CommandIntroduce}
	_, err := s.reviewer.Obey(t.Context(), job)
	must(t, err)
	if runs := s.CheckRuns(owner, name, head); len(runs) != 1 || runs[0].Conclusion != "success" {
		t.Errorf("check runs %+v", runs)
	}
}

// The suggestion that was committed is known by the code.
func TestAccepted(t *testing.T) {
	s := newStreet(t, false)
	s.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\ny = MIX 2\n"})
	s.work()
	th := s.view().Threads[0]
	_, err := s.CommitSuggestion(t.Context(), owner, name, s.pull, th.Comments[0].ID, "ann")
	must(t, err)
	if got := outcomes(s.work()); got != bot.OutcomeAccepted {
		t.Errorf("outcomes %q", got)
	}
	s.commit("topic", map[string]string{"a.py": "x = fine\ny = other\n"})
	if got := outcomes(s.work()); got != bot.OutcomeFixed {
		t.Errorf("outcomes %q", got)
	}
}

// The button works on a pull request from a fork, which GitHub's events do not
// name: the check run carries its number.
func TestRerunOfAFork(t *testing.T) {
	s := newStreet(t, false)
	s.commit("", map[string]string{"a.py": "x = 1\n"})
	must(t, s.Fork(t.Context(), owner, name, "eve"))
	_, err := s.Commit(t.Context(), "eve", name, githubsim.CommitOptions{Branch: "topic", Files: map[string]string{"a.py": "x = MIX\n"}})
	must(t, err)
	s.pull = s.openPull(githubsim.OpenPullOptions{Head: "topic", HeadOwner: "eve"})
	s.work()
	before := s.view().CheckRuns
	must(t, s.RerequestCheckRun(owner, name, before[0].ID, "eve"))
	s.work()
	if after := s.view(); len(after.CheckRuns) != len(before)+1 || len(after.Threads) != 1 {
		t.Errorf("%d check runs, %d threads", len(after.CheckRuns), len(after.Threads))
	}
	// All checks of the head: that event has no check run in it either.
	must(t, s.RerequestCheckSuite(owner, name, s.view().HeadSHA, s.app.ID, "eve"))
	s.work()
	if after := s.view(); len(after.CheckRuns) != len(before)+2 {
		t.Errorf("%d check runs after all were asked for", len(after.CheckRuns))
	}
}
