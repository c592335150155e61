package github_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

func TestSnapshot(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("pad = 0\n", 30)
	base := map[string]string{
		"README.md":    "old\n",
		"changed.py":   "a = 1\n" + long + "z = 1\n",
		"crlf.py":      "a = 1\r\nb = 2\r\n",
		"noeol.py":     "a = 1\nb = 2",
		"moved.py":     long + "m = 1\n",
		"onlymoved.py": strings.Repeat("only = 1\n", 20),
		"gone.py":      "g = 1\n",
		"pkg/é ü.py":   "u = 1\n",
	}
	w.commit("", base)
	head, err := w.Commit(t.Context(), owner, name, githubsim.CommitOptions{
		Branch: "topic",
		Files: map[string]string{
			"README.md":       "new\n",
			"changed.py":      "a = 2\n" + long + "z = 1\nzz = 2\n",
			"crlf.py":         "a = 1\r\nb = 3\r\n",
			"noeol.py":        "a = 1\nb = 3",
			"pkg/new.py":      long + "m = 2\n",
			"newname.py":      base["onlymoved.py"],
			"pkg/é ü.py":      "u = 2\n",
			"added.py":        "first\nsecond\n",
			"empty.py":        "",
			"link.py":         "changed.py",
			"lfs.py":          "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
			"huge.py":         strings.Repeat("x = 1234567\n", 100_000),
			"latin.py":        "x = '\xff'\n",
			"latin_marked.py": "# -*- coding: latin-1 -*-\nx = '\xff'\n",
			"notes.pyi":       "x: int\n",
		},
		Modes:  map[string]string{"link.py": "120000"},
		Delete: []string{"gone.py", "moved.py", "onlymoved.py"},
	})
	must(t, err)
	w.pull = w.openPull(githubsim.OpenPullOptions{Title: "Change", Head: "topic", Author: "ann"})

	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	files := make(map[string]analysis.File)
	for _, f := range got.Files {
		files[f.Path] = f
	}
	want := map[string]analysis.File{
		"changed.py": {Base: base["changed.py"], Source: "a = 2\n" + long + "z = 1\nzz = 2\n", Hunks: []analysis.Hunk{{Start: 1, End: 4, New: []int{1}}, {Start: 30, End: 33, New: []int{33}}}},
		"crlf.py":    {Base: base["crlf.py"], Source: "a = 1\r\nb = 3\r\n", Hunks: []analysis.Hunk{{Start: 1, End: 2, New: []int{2}}}},
		"noeol.py":   {Base: base["noeol.py"], Source: "a = 1\nb = 3", Hunks: []analysis.Hunk{{Start: 1, End: 2, New: []int{2}}}},
		"pkg/new.py": {Base: base["moved.py"], Source: long + "m = 2\n", Hunks: []analysis.Hunk{{Start: 28, End: 31, New: []int{31}}}},
		"pkg/é ü.py": {Base: "u = 1\n", Source: "u = 2\n", Hunks: []analysis.Hunk{{Start: 1, End: 1, New: []int{1}}}},
		"added.py":   {Added: true, Source: "first\nsecond\n", Hunks: []analysis.Hunk{{Start: 1, End: 2, New: []int{1, 2}}}},

		"latin_marked.py": {Added: true, Source: "# -*- coding: latin-1 -*-\nx = '\xff'\n", Hunks: []analysis.Hunk{{Start: 1, End: 2, New: []int{1, 2}}}},
	}
	for path, f := range want {
		f.Path = path
		want[path] = f
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	skipped := make(map[string]string)
	for _, s := range got.Skipped {
		skipped[s.Path] = s.Reason
	}
	wantSkipped := map[string]string{
		"link.py":   "a symbolic link",
		"lfs.py":    "kept in Git LFS",
		"notes.pyi": "a stub file, it has no code",
		"huge.py":   "larger than 1 MiB",
		"latin.py":  "not UTF-8",
	}
	if diff := cmp.Diff(wantSkipped, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if got.Head != head || got.Owner != owner || got.Name != name || got.Pull != w.pull || got.Title != "Change" ||
		got.State != "open" || got.Draft || got.Fork || got.Author != "ann" || len(got.Base) != 40 || got.Incomplete != "" {
		t.Errorf("snapshot %+v", got)
	}
}

func TestSnapshotOfAForkAndADraft(t *testing.T) {
	w := newWorld(t)
	w.commit("", map[string]string{"a.py": "x = 1\n"})
	must(t, w.Fork(t.Context(), owner, name, "bob"))
	_, err := w.Commit(t.Context(), "bob", name, githubsim.CommitOptions{Branch: "topic", Files: map[string]string{"a.py": "x = 2\n"}, Author: "bob"})
	must(t, err)
	w.pull = w.openPull(githubsim.OpenPullOptions{Head: "topic", HeadOwner: "bob", Draft: true})
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	if !got.Fork || !got.Draft || got.Author != "bob" || len(got.Files) != 1 || got.Files[0].Source != "x = 2\n" {
		t.Errorf("snapshot %+v", got)
	}
	posted, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	wantCalls(t, posted.Calls, "files", "graphql", "check-run")
}

// faultOn makes the n-th request whose path contains part fail.
func (w *world) faultOn(part string, n int, fault githubsim.Fault) {
	var mu sync.Mutex
	w.Fault(func(r *http.Request) *githubsim.Fault {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(r.URL.Path, part) {
			return nil
		}
		if n--; n == 0 {
			return &fault
		}
		return nil
	})
}

func TestHeadThatMoves(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	// Between the list of files and the query somebody pushes.
	var once sync.Once
	head := ""
	w.Fault(func(r *http.Request) *githubsim.Fault {
		if strings.HasSuffix(r.URL.Path, "/graphql") {
			once.Do(func() { head = w.commit("topic", map[string]string{"a.py": "x = 3\n"}) })
		}
		return nil
	})
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	if got.Head != head || len(got.Files) != 1 || got.Files[0].Source != "x = 3\n" || got.Files[0].Base != "x = 1\n" {
		t.Errorf("snapshot of %s, want %s: %+v", got.Head, head, got.Files)
	}
	wantCalls(t, got.Calls, "files", "graphql", "files", "graphql")

	// One that never rests is left alone for a while.
	n := 10
	w.Fault(func(r *http.Request) *githubsim.Fault {
		if strings.HasSuffix(r.URL.Path, "/graphql") {
			n++
			w.commit("topic", map[string]string{"a.py": fmt.Sprintf("x = %d\n", n)})
		}
		return nil
	})
	_, err = w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	if retry, ok := errors.AsType[bot.Retry](err); !ok || retry.After <= 0 {
		t.Errorf("a head that keeps moving: %v", err)
	}
}

func TestNothingToReview(t *testing.T) {
	tests := map[string]func(w *world){
		"closed":      func(w *world) { must(t, w.ClosePull(t.Context(), owner, name, w.pull, "ann")) },
		"uninstalled": func(w *world) { w.Uninstall(w.installation) },
		"suspended":   func(w *world) { w.Suspend(w.installation) },
		"no such pull request": func(w *world) {
			w.pull = 99
		},
	}
	for what, do := range tests {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
			do(w)
			job := w.job("pull_request.opened")
			job.Accepted = time.Now().Add(-time.Hour)
			_, err := w.reviewer.Review(t.Context(), job)
			if _, ok := errors.AsType[bot.Drop](err); !ok {
				t.Errorf("error %v", err)
			}
			if reviews, runs := w.writes(); reviews+runs != 0 {
				t.Errorf("%d reviews and %d check runs", reviews, runs)
			}
		})
	}
}

// A pull request that GitHub's API does not know yet is asked for again.
func TestFreshPullRequest(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n"})
	w.faultOn("/files", 1, githubsim.Fault{Status: http.StatusNotFound, Body: `{"message":"Not Found"}`})
	_, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
	if _, ok := errors.AsType[bot.Retry](err); !ok {
		t.Errorf("error %v", err)
	}
}

func TestRenamedRepository(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	must(t, w.Rename(owner, name, owner, "renamed"))
	posted := w.review("pull_request.opened")
	if len(posted.Comments) != 1 || posted.CheckRun == 0 {
		t.Errorf("posted %+v", posted)
	}
	// The old name is somebody else's now.
	must(t, w.AddRepository(t.Context(), owner, name, githubsim.RepositoryOptions{}))
	posted, err := w.reviewer.Review(t.Context(), w.job("pull_request.edited"))
	must(t, err)
	if len(posted.Comments) != 0 {
		t.Errorf("posted %+v", posted)
	}
}

func TestLimitsAreHandedBack(t *testing.T) {
	for _, test := range []struct {
		part     string
		fault    githubsim.Fault
		handBack bool
	}{
		{"/files", githubsim.Fault{Status: 429, Body: `{"message":"slow down"}`, Header: http.Header{"Retry-After": {"5"}}}, true},
		{"/graphql", githubsim.Fault{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit"}`}, true},
		{"/graphql", githubsim.Fault{Status: 200, Body: `{"data":null,"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}`}, true},
		{"/files", githubsim.Fault{Status: 502, Body: `<html>`}, true},
		{"/reviews", githubsim.Fault{Status: 422, Body: `{"message":"Validation Failed","errors":["was submitted too quickly"]}`}, true},
		{"/check-runs", githubsim.Fault{Status: 503, Body: `{}`}, true},
	} {
		t.Run(fmt.Sprintf("%s %d", test.part, test.fault.Status), func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
			w.faultOn(test.part, 1, test.fault)
			_, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
			retry, ok := errors.AsType[bot.Retry](err)
			if !ok || retry.HandBack != test.handBack || retry.After <= 0 {
				t.Errorf("hand back %v after %s: %v", retry.HandBack, retry.After, err)
			}
			// The next attempt does it all, once.
			w.Fault(nil)
			w.review("pull_request.opened")
			if reviews, runs := w.writes(); reviews != 1 || runs != 1 {
				t.Errorf("%d reviews and %d check runs", reviews, runs)
			}
		})
	}
}

// TestOutage tells what GitHub and the network do to a job from what this build
// does not understand: only the latter is an attempt.
func TestOutage(t *testing.T) {
	for _, test := range []struct {
		name, part string
		fault      githubsim.Fault
		outage     bool
	}{
		{"500", "/files", githubsim.Fault{Status: 500, Body: `{}`}, true},
		{"dropped", "/files", githubsim.Fault{Drop: true}, true},
		{"truncated", "/files", githubsim.Fault{Truncate: 20}, true},
		{"token", "/access_tokens", githubsim.Fault{Status: 503, Body: `{}`}, true},
		{"token dropped", "/access_tokens", githubsim.Fault{Drop: true}, true},
		{"GraphQL", "/graphql", githubsim.Fault{Status: 200, Body: `{"errors":[{"message":"Something went wrong"}]}`}, true},
		{"GraphQL empty", "/graphql", githubsim.Fault{Status: 200, Body: `{"data":null}`}, true},
		{"answer lost", "/check-runs", githubsim.Fault{Drop: true, After: true}, true},
		{"credentials", "/files", githubsim.Fault{Status: 401, Body: `{"message":"Bad credentials"}`}, true},
		{"schema", "/graphql", githubsim.Fault{Status: 200, Body: `{"errors":[{"message":"Field 'x' doesn't exist","extensions":{"code":"undefinedField"}}]}`}, false},
		{"not JSON", "/files", githubsim.Fault{Status: 200, Body: `<html>`}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
			w.Fault(func(r *http.Request) *githubsim.Fault {
				if strings.Contains(r.URL.Path, test.part) {
					return &test.fault
				}
				return nil
			})
			_, err := w.reviewer.Review(t.Context(), w.job("pull_request.opened"))
			retry, ok := errors.AsType[bot.Retry](err)
			if !ok || retry.HandBack != test.outage || retry.Outage != test.outage || retry.After <= 0 {
				t.Errorf("outage %v, hand back %v after %s: %v", retry.Outage, retry.HandBack, retry.After, err)
			}
		})
	}
}

func TestManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 120 files")
	}
	w := newWorld(t)
	base, head := map[string]string{}, map[string]string{}
	for i := range 120 {
		base[fmt.Sprintf("f%03d.py", i)] = "x = 1\n"
		head[fmt.Sprintf("f%03d.py", i)] = fmt.Sprintf("x = %d\n", i+2)
	}
	w.open(base, head)
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	wantCalls(t, got.Calls, "files", "files:page", "graphql", "graphql:files", "graphql:files")
	if len(got.Files) != 120 || got.Changed != 120 {
		t.Fatalf("%d files of %d", len(got.Files), got.Changed)
	}
	for i, f := range got.Files {
		if want := fmt.Sprintf("x = %d\n", i+2); f.Source != want || f.Base != "x = 1\n" {
			t.Fatalf("%s: %q before %q", f.Path, f.Base, f.Source)
		}
	}
}

// A text that GraphQL cut or changed does not count; the raw blob is fetched.
func TestTruncatedText(t *testing.T) {
	w := newWorld(t)
	big := strings.Repeat("# padding padding\n", 40_000) // 720,000 bytes: GraphQL cuts them
	w.open(map[string]string{"a.py": big + "x = 1\n"}, map[string]string{"a.py": big + "x = 2\n"})
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	wantCalls(t, got.Calls, "files", "graphql", "blob")
	if len(got.Files) != 1 || got.Files[0].Source != big+"x = 2\n" || got.Files[0].Base != big+"x = 1\n" {
		t.Errorf("%d files, skipped %v", len(got.Files), got.Skipped)
	}
}

// A query that GitHub cannot finish is asked once more without the content.
func TestHeavyQuery(t *testing.T) {
	for what, fault := range map[string]githubsim.Fault{
		"timeout":   {Status: 200, Body: `{"data":null,"errors":[{"message":"Something went wrong while executing your query. This may be the result of a timeout."}]}`},
		"502":       {Status: 502, Body: `<html>`},
		"truncated": {Truncate: 20},
		"dropped":   {Drop: true},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.open(map[string]string{"a.py": "x = 1\n", "b.py": "y = 1\n"}, map[string]string{"a.py": "x = 2\n", "b.py": "y = 2\n"})
			w.faultOn("/graphql", 1, fault)
			got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
			must(t, err)
			wantCalls(t, got.Calls, "files", "graphql", "graphql:light", "blob", "blob")
			if len(got.Files) != 2 || got.Files[0].Source != "x = 2\n" || got.Files[1].Source != "y = 2\n" {
				t.Errorf("files %+v", got.Files)
			}
		})
	}
}

// GitHub leaves patches out of a page that grew too long.
func TestPatchesLeftOut(t *testing.T) {
	w := newWorldWith(t, githubsim.Limits{PageBytes: 24_000})
	head := map[string]string{}
	for i := range 40 {
		head[fmt.Sprintf("f%02d.py", i)] = strings.Repeat("x = 1\n", 100) // 700 bytes of patch
	}
	w.open(map[string]string{"README.md": "\n"}, head)
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	wantCalls(t, got.Calls, "files", "files:small", "graphql")
	if len(got.Files) != 40 {
		t.Errorf("%d files, skipped %v", len(got.Files), got.Skipped)
	}
}

func TestSkippedIsNeverGreen(t *testing.T) {
	w := newWorld(t)
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = 2\n", "huge.py": strings.Repeat("x = 1234567\n", 100_000)})
	got, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	if diff := cmp.Diff([]check.Skip{{Path: "huge.py", Reason: "larger than 1 MiB"}}, got.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if run := bot.Compose(got, check.Report{Files: 1}, noPlan, bot.Config{}).Check; run.Conclusion != "neutral" {
		t.Errorf("conclusion %s", run.Conclusion)
	}
}

// otherLastCommit answers as GitHub does when it lists another commit than the
// head as a pull request's last one.
type otherLastCommit struct{}

func (otherLastCommit) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/graphql") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	repository := answer["data"].(map[string]any)["repository"].(map[string]any)
	if pull, ok := repository["pullRequest"].(map[string]any); ok {
		node := pull["commits"].(map[string]any)["nodes"].([]any)[0].(map[string]any)
		node["commit"] = map[string]any{"oid": strings.Repeat("0", 40), "checkSuites": nil, "entry0": nil}
	}
	if body, err = json.Marshal(answer); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func TestHeadIsNotListedLast(t *testing.T) {
	w := newWorld(t)
	w.transport = otherLastCommit{}
	w.restart()
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": "x = MIX\n"})
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "graphql", "graphql:head", "review", "check-run")
	posted = w.review("pull_request.edited")
	wantCalls(t, posted.Calls, "files", "graphql", "graphql:head")
}

// TestDeleted reads the deleted Python files out of their patches.
func TestDeleted(t *testing.T) {
	w := newWorldWith(t, githubsim.Limits{PatchLines: 20})
	long := strings.Repeat("x = 1\n", 30)
	w.open(map[string]string{
		"gone.py": "import torch\nx = 1", "empty.py": "", "notes.md": "# n\n", "long.py": long, "a.py": "a = 1\n",
	}, map[string]string{"a.py": "a = 2\n"}, "gone.py", "empty.py", "notes.md", "long.py")
	snapshot, err := w.client.Snapshot(t.Context(), w.job("pull_request.opened"))
	must(t, err)
	// The patch of long.py is too long for GitHub to show.
	if want := []string{"import torch\nx = 1"}; !slices.Equal(snapshot.Deleted, want) {
		t.Errorf("deleted %q, want %q", snapshot.Deleted, want)
	}
	wantCalls(t, snapshot.Calls, "files", "graphql")
}
