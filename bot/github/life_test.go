package github_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/webhook"
)

// TestLife drives a pull request through random sequences of what people, GitHub
// and the network do, and checks after each step what must hold of every
// review. It does a few sequences; DTYPEBOT_SLOW=1 does 200,
// DTYPEBOT_SEQUENCES=5000 as many as it says, and DTYPEBOT_SEED=N the one that
// failed, or with DTYPEBOT_SEQUENCES those from N on.
func TestLife(t *testing.T) {
	first, n := uint64(1), 4
	if os.Getenv("DTYPEBOT_SLOW") == "1" {
		n = 200
	}
	if text := os.Getenv("DTYPEBOT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		first, n = seed, 1
	}
	if text := os.Getenv("DTYPEBOT_SEQUENCES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(t, err)
	}
	// The steps of a sequence are its seed's alone. Worlds are changed now and
	// then, as a repository with many pull requests is slow.
	const perWorld = 20
	for from := 0; from < n; from += perWorld {
		t.Run(fmt.Sprintf("from seed %d", first+uint64(from)), func(t *testing.T) {
			if n > perWorld {
				t.Parallel()
			}
			w := newWorld(t)
			var hook inbox
			hook.serve(t, w)
			for i := from; i < min(from+perWorld, n); i++ {
				l := &life{world: w, inbox: &hook, seed: first + uint64(i)}
				if !l.run() {
					return
				}
			}
		})
	}
}

// An inbox takes the jobs of the webhooks.
type inbox struct {
	mu   sync.Mutex
	jobs []bot.Job
}

func (i *inbox) Put(_ context.Context, job bot.Job) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.jobs = append(i.jobs, job)
	return nil
}

// take empties the inbox.
func (i *inbox) take() []bot.Job {
	i.mu.Lock()
	defer i.mu.Unlock()
	jobs := i.jobs
	i.jobs = nil
	return jobs
}

// serve sends the App's webhooks to the inbox, through the bot's own door.
func (i *inbox) serve(t *testing.T, w *world) {
	t.Helper()
	const secret = "It's a Secret to Everybody"
	handler, err := webhook.New(i, webhook.Options{Secrets: []string{secret}, AppID: w.app.ID, Self: func() string { return w.app.Login }})
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.SetWebhook(w.app.ID, server.URL, secret)
}

// A life is one sequence: the pull request as the test knows it.
type life struct {
	*world
	*inbox
	seed   uint64
	random *rand.Rand
	story  []string // the steps so far
	failed bool

	branch, dir string
	lines       map[string][]string // of the head, by file
	mistakes    int                 // made so far
	first       map[string]string   // the first name of each renamed file
	ever        map[string]bool     // files that the head had
	held        []bot.Job           // deliveries that are late
	open, draft bool
	based       string // base branch
	contents    bool   // the App may write to contents

	people   map[int64]string          // every comment of a person, by id
	answered map[int64]string          // own comments that a person answered, as they were
	votes    map[int64]map[string]bool // thumbs-down of own comments, by login
	agreed   map[int64]bool            // votes that were seen to be of somebody who may write
	spent    map[int64]bool            // own comments whose mistake was gone when it was looked at
	void     map[int64]bool            // those that people had closed by then: they stand for nothing any more
	vague    map[string]bool           // mistakes that stood twice: which thread is whose is open
	may      map[string]bool           // who may write
}

const (
	lifePeople = 2
	lifeCap    = 4
)

// run does the sequence and reports whether all held.
func (l *life) run() bool {
	l.random = rand.New(rand.NewPCG(l.seed, 5))
	l.branch, l.dir = fmt.Sprint("topic", l.seed), fmt.Sprintf("s%d", l.seed)
	l.lines = map[string][]string{l.dir + "/a.py": pads(24)}
	l.first, l.ever = map[string]string{}, map[string]bool{}
	l.people, l.answered, l.votes = map[int64]string{}, map[int64]string{}, map[int64]map[string]bool{}
	l.agreed, l.spent, l.void = map[int64]bool{}, map[int64]bool{}, map[int64]bool{}
	l.vague, l.may = map[string]bool{}, map[string]bool{}
	l.open = true
	l.allow(false)
	l.Fault(nil)
	l.commit("", l.texts())
	l.commit("release", map[string]string{l.dir + "/r.py": "r = 1\n"})
	l.based = "main"
	for i := range lifePeople {
		l.permit(fmt.Sprint("p", i), true)
	}
	l.edit()
	l.draft = l.random.IntN(6) == 0
	l.pull = l.openPull(githubsim.OpenPullOptions{Title: "Life", Head: l.branch, Draft: l.draft, Author: "p0"})
	l.settle("opened")
	for range 20 {
		if l.failed {
			break
		}
		l.step()
	}
	l.held = append(l.held, l.job("pull_request.edited"))
	l.flush()
	if !l.failed {
		l.settle("the end")
	}
	if l.failed {
		l.t.Logf("seed %d; again: DTYPEBOT_SEED=%d go test ./bot/github -run TestLife\n%s", l.seed, l.seed, strings.Join(l.story, "\n"))
	}
	return !l.failed
}

func pads(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("pad = %d", i))
	}
	return out
}

func (l *life) texts() map[string]string {
	out := make(map[string]string)
	for p, lines := range l.lines {
		out[p] = strings.Join(lines, "\n") + "\n"
		l.ever[p] = true
	}
	return out
}

func (l *life) fail(format string, args ...any) {
	l.failed = true
	l.t.Errorf("seed %d: after %q: %s", l.seed, l.story[len(l.story)-1], fmt.Sprintf(format, args...))
}

func (l *life) allow(contents bool) {
	l.contents = contents
	if contents {
		l.grant("contents")
	} else {
		l.grant()
	}
	l.reviewer.Config.MaxComments = lifeCap
}

func (l *life) permit(login string, write bool) {
	role := "read"
	if write {
		role = "write"
	}
	must(l.t, l.SetPermission(owner, name, login, role))
	l.may[login] = write
}

func (l *life) person() string { return fmt.Sprint("p", l.random.IntN(lifePeople)) }

// change alters the text of the head, without pushing it.
func (l *life) change() string {
	paths := slices.Sorted(maps.Keys(l.lines))
	path := paths[l.random.IntN(len(paths))]
	lines := l.lines[path]
	at := l.random.IntN(len(lines) + 1)
	var marks []int
	for i, line := range lines {
		if strings.Contains(line, "MIX") {
			marks = append(marks, i)
		}
	}
	var right []int
	for i, line := range lines {
		if strings.Contains(line, "right") {
			right = append(right, i)
		}
	}
	switch k := l.random.IntN(16); {
	case k >= 12 && len(right) > 0: // a mistake comes back
		i := right[l.random.IntN(len(right))]
		l.lines[path] = slices.Clone(lines)
		l.lines[path][i] = strings.Replace(lines[i], "right", "MIX", 1)
		return "back: " + l.lines[path][i]
	case k >= 12 && len(marks) > 0:
		return l.mend(path, marks[l.random.IntN(len(marks))])
	case k < 3 || len(marks) == 0:
		l.mistakes++
		l.lines[path] = slices.Insert(slices.Clone(lines), at, fmt.Sprintf("x = MIX %d", l.mistakes))
		return fmt.Sprintf("mistake %d in %s:%d", l.mistakes, path, at+1)
	case k < 6: // mended
		return l.mend(path, marks[l.random.IntN(len(marks))])
	case k < 7: // moved
		i := marks[l.random.IntN(len(marks))]
		was := lines[i]
		rest := slices.Delete(slices.Clone(lines), i, i+1)
		l.lines[path] = slices.Insert(rest, min(at, len(rest)), was)
		return fmt.Sprintf("moved %s to %d", was, at)
	case k < 8: // re-indented
		i := marks[l.random.IntN(len(marks))]
		l.lines[path] = slices.Clone(lines)
		l.lines[path][i] = " " + lines[i]
		return "indented " + lines[i]
	case k == 8: // written once more
		was := lines[marks[l.random.IntN(len(marks))]]
		l.lines[path] = slices.Insert(slices.Clone(lines), at, was)
		return "copied " + was
	case k == 9:
		other := fmt.Sprintf("%s/n%d.py", l.dir, l.mistakes)
		l.mistakes++
		l.lines[other] = []string{"n = 1", fmt.Sprintf("y = MIX %d", l.mistakes), "n = 2"}
		return "new file " + other
	case k == 10 && len(paths) > 1:
		delete(l.lines, path)
		return "deleted " + path
	default:
		l.lines[path] = slices.Insert(slices.Clone(lines), at, "pad = 'more'")
		return fmt.Sprintf("a line more in %s:%d", path, at+1)
	}
}

func (l *life) mend(path string, line int) string {
	was := l.lines[path][line]
	l.lines[path] = slices.Clone(l.lines[path])
	l.lines[path][line] = strings.Replace(was, "MIX", "right", 1)
	return "mended " + was
}

// edit changes the text and pushes it.
func (l *life) edit() string {
	before := slices.Sorted(maps.Keys(l.lines))
	var done []string
	for range 1 + l.random.IntN(3) {
		done = append(done, l.change())
	}
	l.commit(l.branch, l.texts(), missing(before, l.lines)...)
	return strings.Join(done, "; ")
}

func missing(before []string, now map[string][]string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(p string) bool { return now[p] != nil })
}

// rename gives a file another name, now and then with changes, and pushes it.
func (l *life) rename() string {
	before := slices.Sorted(maps.Keys(l.lines))
	from := before[l.random.IntN(len(before))]
	l.mistakes++
	to := fmt.Sprintf("%s/m%d.py", l.dir, l.mistakes)
	l.lines[to] = l.lines[from]
	delete(l.lines, from)
	l.first[to] = l.name(from)
	done := fmt.Sprintf("%s is now %s", from, to)
	if l.random.IntN(2) == 0 {
		done += "; " + l.change()
	}
	l.commit(l.branch, l.texts(), missing(before, l.lines)...)
	return done
}

// name is the first name of a file, by which its mistakes are known.
func (l *life) name(path string) string {
	if first, ok := l.first[path]; ok {
		return first
	}
	return path
}

// rewrite puts the branch anew on a commit: an amended or rebased head.
func (l *life) rewrite(from string) {
	var gone []string
	for _, path := range slices.Sorted(maps.Keys(l.ever)) {
		if _, err := l.File(owner, name, from, path); err == nil && l.lines[path] == nil {
			gone = append(gone, path)
		}
	}
	_, err := l.Commit(l.t.Context(), owner, name, githubsim.CommitOptions{Branch: l.branch, From: from, Force: true, Files: l.texts(), Delete: gone, Author: "p0"})
	must(l.t, err)
}

// own lists the threads that the App began.
func (l *life) own() []githubsim.ThreadView {
	return slices.DeleteFunc(l.view().Threads, func(th githubsim.ThreadView) bool { return th.Comments[0].User.Login != l.app.Login })
}

// some picks one of the App's threads.
func (l *life) some() (githubsim.ThreadView, bool) {
	threads := l.own()
	if len(threads) == 0 {
		return githubsim.ThreadView{}, false
	}
	return threads[l.random.IntN(len(threads))], true
}

// step does one thing, and then what follows from it.
func (l *life) step() {
	ctx := l.t.Context()
	what := ""
	quiet := true // GitHub sends no webhook of it, so another event must follow
	switch k := l.random.IntN(36); k {
	case 0, 1, 2, 3, 4, 26, 27, 28, 29:
		what, quiet = "push: "+l.edit(), false
	case 34, 35:
		what, quiet = l.rename(), false
	case 5:
		what = "amend: " + l.change()
		l.rewrite(l.view().MergeBase)
		quiet = false
	case 6:
		path := l.dir + "/base.py"
		l.commit("", map[string]string{path: fmt.Sprintf("b = %d\n", l.random.IntN(1000))})
		l.rewrite("main")
		what, quiet = "rebase", false
	case 7:
		l.commit("", map[string]string{l.dir + "/other.py": fmt.Sprintf("o = %d\n", l.random.IntN(1000))})
		what = "the base moves"
	case 8, 9, 30, 31:
		if th, ok := l.some(); ok {
			c := th.Comments[0]
			text := fmt.Sprintf("words %d", l.random.IntN(1000))
			id, err := l.Reply(ctx, owner, name, l.pull, c.ID, l.person(), text)
			must(l.t, err)
			l.people[id] = text
			if _, told := l.answered[c.ID]; !told {
				l.answered[c.ID] = c.Body
			}
			what = fmt.Sprintf("reply under %d", c.ID)
		}
	case 10, 11, 33:
		if th, ok := l.some(); ok {
			must(l.t, l.ResolveThread(ctx, owner, name, l.pull, th.Comments[0].ID, l.person()))
			what, quiet = fmt.Sprintf("resolve %d", th.Comments[0].ID), th.Resolved
		}
	case 12:
		if th, ok := l.some(); ok {
			must(l.t, l.UnresolveThread(ctx, owner, name, l.pull, th.Comments[0].ID, l.person()))
			what, quiet = fmt.Sprintf("unresolve %d", th.Comments[0].ID), !th.Resolved
		}
	case 13, 14:
		if th, ok := l.some(); ok {
			id, who := th.Comments[0].ID, l.person()
			must(l.t, l.React(owner, name, l.pull, id, who, "-1"))
			if l.votes[id] == nil {
				l.votes[id] = map[string]bool{}
			}
			l.votes[id][who] = true
			what = fmt.Sprintf("thumbs-down of %s for %d", who, id)
		}
	case 15, 32:
		if th, ok := l.some(); ok {
			must(l.t, l.React(owner, name, l.pull, th.Comments[0].ID, l.person(), "heart"))
			what = fmt.Sprintf("heart for %d", th.Comments[0].ID)
		}
	case 16:
		l.based = map[string]string{"main": "release", "release": "main"}[l.based]
		must(l.t, l.EditPull(ctx, owner, name, l.pull, "", "", l.based, "p0"))
		what, quiet = "base "+l.based, false
	case 17:
		if l.open {
			must(l.t, l.ClosePull(ctx, owner, name, l.pull, "p0"))
		} else {
			must(l.t, l.ReopenPull(ctx, owner, name, l.pull, "p0"))
		}
		l.open = !l.open
		what, quiet = fmt.Sprintf("open: %t", l.open), !l.open
	case 18:
		if l.open {
			l.draft = !l.draft
			must(l.t, l.SetDraft(ctx, owner, name, l.pull, l.draft, "p0"))
			what = fmt.Sprintf("draft: %t", l.draft)
		}
	case 19:
		all := slices.DeleteFunc(l.Deliveries(), func(d githubsim.Delivery) bool { return d.Event != "pull_request" })
		if len(all) > 0 {
			d := all[l.random.IntN(len(all))]
			must(l.t, l.Redeliver(d.GUID))
			what = "redelivery of " + d.Action
		}
	case 20:
		who, write := l.person(), l.random.IntN(2) == 0
		l.permit(who, write)
		what = fmt.Sprintf("%s may write: %t", who, write)
	case 21:
		l.allow(!l.contents)
		what = fmt.Sprintf("the App may write contents: %t", l.contents)
	case 22:
		l.restart()
		l.reviewer.Config.MaxComments = lifeCap
		what = "restart"
	case 23:
		l.lose()
		what, quiet = "push with an answer lost: "+l.edit(), false
	case 24:
		if v := l.view(); len(v.Files) > 0 && len(v.Files[0].Hunks) > 0 {
			line := v.Files[0].Hunks[0].NewStart
			text := fmt.Sprintf("a person's own words %d", l.random.IntN(1000))
			if id, err := l.CommentLine(ctx, owner, name, l.pull, l.person(), v.Files[0].Path, githubsim.Right, 0, max(line, 1), text); err == nil {
				l.people[id] = text
				what = "a person's own thread"
			}
		}
	case 25:
		if runs := l.view().CheckRuns; len(runs) > 0 && l.open {
			must(l.t, l.RerequestCheckRun(owner, name, runs[0].ID, l.person()))
			what, quiet = "re-run", false
		}
	}
	if what == "" {
		return
	}
	l.story = append(l.story, what)
	must(l.t, l.Wait(l.t.Context()))
	l.held = append(l.held, l.take()...)
	if quiet {
		l.held = append(l.held, l.job("pull_request.edited"))
	}
	if l.random.IntN(5) == 0 {
		l.story = append(l.story, "(deliveries are late)")
		return
	}
	l.flush()
	l.check()
}

// lose lets GitHub's answer to one writing get lost, before or after it took
// effect.
func (l *life) lose() {
	after, part := l.random.IntN(2) == 0, []string{"/reviews", "/check-runs", "/graphql"}[l.random.IntN(3)]
	skip := l.random.IntN(2)
	var once sync.Mutex
	l.Fault(func(r *http.Request) *githubsim.Fault {
		once.Lock()
		defer once.Unlock()
		if r.Method == http.MethodGet || !strings.HasSuffix(r.URL.Path, part) {
			return nil
		}
		if skip--; skip >= 0 {
			return nil
		}
		part = "never again"
		return &githubsim.Fault{Drop: true, After: after}
	})
}

func (l *life) settle(what string) {
	l.story = append(l.story, what)
	must(l.t, l.Wait(l.t.Context()))
	l.held = append(l.held, l.take()...)
	l.flush()
	l.check()
}

// flush works on what came in: the queue keeps the newest job of a pull request.
func (l *life) flush() {
	jobs := slices.DeleteFunc(l.held, func(j bot.Job) bool { return j.Pull != l.pull })
	l.held = nil
	if len(jobs) == 0 {
		return
	}
	job := jobs[len(jobs)-1]
	job.Rerun = slices.ContainsFunc(jobs, func(j bot.Job) bool { return j.Rerun })
	for range 6 {
		posted, err := l.reviewer.Review(l.t.Context(), job)
		if _, dropped := errors.AsType[bot.Drop](err); dropped && !l.open {
			break
		}
		if _, again := errors.AsType[bot.Retry](err); again {
			continue
		}
		if err != nil {
			l.fail("%v", err)
			return
		}
		l.story = append(l.story, fmt.Sprintf("    %v: +%d, %v", posted.Calls, len(posted.Comments), posted.Threads))
		break
	}
	must(l.t, l.Wait(l.t.Context()))
	l.take() // what the bot itself does is not for it
}

// A mistake is a line of the head that the pull request brings in.
type mistake struct {
	path string
	line int
}

// found lists what there is to say, as a person would see it in the diff.
func (l *life) found(v githubsim.PullView) map[string][]mistake {
	out := make(map[string][]mistake)
	for _, f := range v.Files {
		if !strings.HasSuffix(f.Path, ".py") || f.Status == "removed" {
			continue
		}
		for _, h := range f.Hunks {
			for _, line := range h.Lines {
				if line.Kind == '+' && strings.Contains(line.Text, "MIX") {
					fp := l.name(f.Path) + " " + strings.TrimSpace(line.Text)
					out[fp] = append(out[fp], mistake{f.Path, line.New})
				}
			}
		}
	}
	return out
}

// check is what must hold once the deliveries are worked off.
func (l *life) check() {
	v := l.view()
	l.untouched(v)
	if !l.open || l.failed {
		return
	}
	found := l.found(v)
	run := githubsim.CheckRunView{}
	for _, r := range v.CheckRuns { // newest first
		if r.ExternalID == bot.ExternalID(l.job("")) {
			run = r
			break
		}
	}
	if run.Status != "completed" || (run.Conclusion == "success") != (l.count(found) == 0) && !strings.Contains(run.Title, "dismissed") {
		l.fail("%d mistakes, check run %s %s %q", l.count(found), run.Status, run.Conclusion, run.Title)
	}
	annotated := make(map[mistake]int)
	for _, a := range run.Annotations {
		annotated[mistake{a.Path, a.StartLine}]++
	}
	for fp, places := range found {
		if len(places) > 1 {
			l.vague[fp] = true
		}
	}
	open, dismissed := l.threads(v, found)
	for fp, places := range found {
		said := open[fp]
		for _, p := range places {
			said += annotated[p]
		}
		switch {
		case l.vague[fp]:
			if said > len(places) || said+dismissed[fp] < len(places) {
				l.fail("%s stands %d times, said %d times, dismissed %d times", fp, len(places), said, dismissed[fp])
			}
		case dismissed[fp] > 0 && said != 0, dismissed[fp] == 0 && said != 1:
			l.fail("%s is said %d times, dismissed %d times", fp, said, dismissed[fp])
		}
	}
}

func (l *life) count(found map[string][]mistake) int {
	n := 0
	for _, places := range found {
		n += len(places)
	}
	return n
}

// threads counts the open and the dismissed threads by mistake. A thread on a
// mistake that is gone must be closed, or say so.
func (l *life) threads(v githubsim.PullView, found map[string][]mistake) (open, dismissed map[string]int) {
	open, dismissed = map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	for _, th := range v.Threads {
		c := th.Comments[0]
		marker, ok := bot.ParseMarker(c.Body)
		if c.User.Login != l.app.Login || !ok {
			continue
		}
		path, text, _ := strings.Cut(marker.Fingerprint, " ")
		fp := l.name(path) + " " + text
		voted := false
		for login := range l.votes[c.ID] {
			voted = voted || l.may[login]
		}
		if l.spent[c.ID] && voted && len(found[fp]) > 0 && !l.void[c.ID] && th.Resolved && th.ResolvedBy == l.app.Login {
			delete(l.spent, c.ID) // the vote is about the mistake that is back
		}
		l.agreed[c.ID] = l.agreed[c.ID] || voted && !l.spent[c.ID]
		told := slices.ContainsFunc(th.Comments, func(c githubsim.CommentView) bool {
			return c.User.Login == l.app.Login && strings.Contains(c.Body, "Fixed in `")
		})
		switch {
		case len(found[fp]) == 0:
			if !th.Resolved && !told {
				l.fail("thread %d on %s is open, and that is gone", c.ID, fp)
			}
			l.spent[c.ID] = true
			l.void[c.ID] = l.void[c.ID] || voted || told || th.Resolved && th.ResolvedBy != l.app.Login
		case !l.spent[c.ID] && (th.Resolved && th.ResolvedBy != l.app.Login || l.agreed[c.ID]):
			dismissed[fp]++
		case !th.Resolved && !told:
			delete(l.spent, c.ID) // the App opened it again: it stands for its mistake
			open[fp]++
			at := fmt.Sprint(fp, " ", th.Line)
			if seen[at] && th.Line > 0 && !l.vague[fp] {
				l.fail("%s is said twice", at)
			}
			seen[at] = true
		}
	}
	return open, dismissed
}

// untouched checks that people's comments are as they were, and the App's as they
// were when a person answered.
func (l *life) untouched(v githubsim.PullView) {
	left, kept := maps.Clone(l.people), maps.Clone(l.answered)
	for _, th := range v.Threads {
		for _, c := range th.Comments {
			if text, ok := left[c.ID]; ok && text == c.Body {
				delete(left, c.ID)
			}
			if text, ok := kept[c.ID]; ok && text == c.Body {
				delete(kept, c.ID)
			}
		}
	}
	if len(left) > 0 || len(kept) > 0 {
		l.fail("touched: comments of people %v, answered comments %v", left, kept)
	}
}
