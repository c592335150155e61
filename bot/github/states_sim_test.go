package github_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/github"
	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// TestStates is a pull request in each of the states that GitHub knows. One file
// is wrong in each, a.py in line 1, unless the state says otherwise.
func TestStates(t *testing.T) {
	wrong := map[string]string{"a.py": "x = MIX\n"}
	for _, test := range []struct {
		what     string
		files    map[string]string // of the head; wrong if nil
		modes    map[string]string
		base     map[string]string
		deleted  []string
		open     githubsim.OpenPullOptions
		limits   githubsim.Limits
		then     func(w *world) // what happens next, and is looked at
		event    string
		drop     string // why there is nothing to do
		comments int
		title    string
		summary  string // part of the check run's
		check    func(t *testing.T, w *world)
	}{
		{what: "opened", comments: 1, title: "1 dtype mistake in 1 Python file"},
		{what: "draft", open: githubsim.OpenPullOptions{Draft: true}, title: "1 dtype mistake", check: func(t *testing.T, w *world) {
			if n := len(w.view().CheckRuns[0].Annotations); n != 1 {
				t.Errorf("%d annotations", n)
			}
		}},
		{what: "ready for review", open: githubsim.OpenPullOptions{Draft: true}, event: "ready_for_review", comments: 1, then: func(w *world) {
			must(w.t, w.SetDraft(w.t.Context(), owner, name, w.pull, false, "octocat"))
		}},
		{what: "another base", base: map[string]string{"a.py": "x = 1\n"}, event: "edited", title: "No Python files changed", then: func(w *world) {
			// The new base has the mistake already.
			w.review("pull_request.opened")
			w.commit("release", wrong)
			must(w.t, w.EditPull(w.t.Context(), owner, name, w.pull, "", "", "release", "octocat"))
			must(w.t, w.Push(w.t.Context(), owner, name, "topic", "release", "octocat"))
			w.commit("topic", map[string]string{"README.md": "more\n"})
		}, check: func(t *testing.T, w *world) {
			if n := len(w.view().Threads); n != 0 {
				t.Errorf("%d threads", n)
			}
		}},
		{what: "closed", event: "closed", drop: "closed", then: func(w *world) {
			must(w.t, w.ClosePull(w.t.Context(), owner, name, w.pull, "octocat"))
		}},
		{what: "reopened", event: "reopened", comments: 1, then: func(w *world) {
			must(w.t, w.ClosePull(w.t.Context(), owner, name, w.pull, "octocat"))
			must(w.t, w.ReopenPull(w.t.Context(), owner, name, w.pull, "octocat"))
		}},
		{what: "force push", event: "synchronize", title: "1 dtype mistake in 2 Python files", then: func(w *world) {
			w.review("pull_request.opened")
			_, err := w.Commit(w.t.Context(), owner, name, githubsim.CommitOptions{Branch: "topic", From: "main", Force: true, Files: map[string]string{"a.py": "# new\nx = MIX\n", "b.py": "b = 1\n"}})
			must(w.t, err)
		}, check: func(t *testing.T, w *world) {
			if v := w.view(); len(v.Threads) != 1 || v.Threads[0].Resolved {
				t.Errorf("threads %+v", v.Threads)
			}
		}},
		{what: "stacked", comments: 1, title: "1 dtype mistake in 1 Python file", event: "opened", then: func(w *world) {
			w.commit("below", map[string]string{"below.py": "y = MIX below\n"})
			_, err := w.Commit(w.t.Context(), owner, name, githubsim.CommitOptions{Branch: "above", From: "below", Files: map[string]string{"above.py": "z = MIX above\n"}})
			must(w.t, err)
			w.pull = w.openPull(githubsim.OpenPullOptions{Head: "above", Base: "below"})
		}},
		{what: "transferred", event: "synchronize", comments: 1, then: func(w *world) {
			must(w.t, w.Rename(owner, name, "other", "moved"))
		}, check: func(t *testing.T, w *world) {
			must(t, w.Rename("other", "moved", owner, name)) // where view looks
		}},
		{what: "suspended", event: "synchronize", drop: "suspended", then: func(w *world) { w.Suspend(w.installation); w.restart() }},
		{what: "uninstalled", event: "synchronize", drop: "no longer installed", then: func(w *world) { w.Uninstall(w.installation); w.restart() }},
		{what: "no permission to comment", title: "1 dtype mistake", summary: "the App lacks the permission `pull_requests: write`", then: func(w *world) {
			w.SetPermissions(w.installation, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "read", "checks": "write"})
			w.restart()
		}, event: "opened"},
		{what: "no permission for check runs", drop: "may not write check runs", then: func(w *world) {
			w.SetPermissions(w.installation, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "write"})
			w.restart()
		}, event: "opened"},
		{what: "lines that end in CRLF", files: map[string]string{"a.py": "x = MIX\r\ny = 1\r\n"}, comments: 1},
		{what: "no line end at the end", files: map[string]string{"a.py": "y = 1\nx = MIX"}, comments: 1},
		{what: "a byte order mark", files: map[string]string{"a.py": "\ufeffx = MIX\n"}, comments: 1},
		{what: "renamed and changed", base: map[string]string{"old.py": strings.Repeat("pad = 1\n", 20)}, files: map[string]string{"new.py": strings.Repeat("pad = 1\n", 20) + "x = MIX\n"}, deleted: []string{"old.py"}, comments: 1},
		{what: "renamed alone", base: map[string]string{"old.py": "x = MIX\n"}, files: map[string]string{"new.py": "x = MIX\n"}, deleted: []string{"old.py"}, title: "No Python files changed"},
		{what: "deleted", base: map[string]string{"old.py": "x = MIX\n"}, files: map[string]string{"README.md": "new\n"}, deleted: []string{"old.py"}, title: "No Python files changed"},
		{what: "a symbolic link", files: map[string]string{"a.py": "x = MIX\n", "link.py": "a.py"}, modes: map[string]string{"link.py": "120000"}, comments: 1, summary: "`link.py`: a symbolic link"},
		{what: "kept in Git LFS", files: map[string]string{"a.py": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"}, title: "1 Python file not looked at", summary: "kept in Git LFS"},
		{what: "Python by its first line", files: map[string]string{"run": "#!/usr/bin/env python3\nx = MIX\n", "other": "#!/bin/sh\nMIX\n"}, comments: 1, title: "1 dtype mistake in 1 Python file"},
		{what: "backticks in the code", files: map[string]string{"a.py": "x = MIX  # ``` and ```` here\n"}, comments: 1},
		{what: "a patch that GitHub leaves out", files: map[string]string{"a.py": strings.Repeat("x = 1\n", 60) + "x = MIX\n"}, limits: githubsim.Limits{PatchLines: 50}, title: "1 Python file not looked at", summary: "GitHub shows no diff of it"},
		{what: "a fork", open: githubsim.OpenPullOptions{HeadOwner: "eve"}, comments: 1},
		{what: "a fork without edits by maintainers", open: githubsim.OpenPullOptions{HeadOwner: "eve", NoMaintainerEdits: true}, comments: 1, summary: "only its author can commit suggestions"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, test.limits)
			base := map[string]string{"README.md": "x\n"}
			for p, text := range test.base {
				base[p] = text
			}
			w.commit("", base)
			files := test.files
			if files == nil {
				files = wrong
			}
			if fork := test.open.HeadOwner; fork != "" {
				must(t, w.Fork(t.Context(), owner, name, fork))
				_, err := w.Commit(t.Context(), fork, name, githubsim.CommitOptions{Branch: "topic", Files: files})
				must(t, err)
			} else {
				_, err := w.Commit(t.Context(), owner, name, githubsim.CommitOptions{Branch: "topic", Files: files, Modes: test.modes, Delete: test.deleted})
				must(t, err)
			}
			test.open.Head = "topic"
			w.pull = w.openPull(test.open)
			event := "opened"
			if test.then != nil {
				test.then(w)
				event = test.event
			}
			posted, err := w.reviewer.Review(t.Context(), w.job("pull_request."+event))
			if test.drop != "" {
				if drop, ok := err.(bot.Drop); !ok || !strings.Contains(drop.Reason, test.drop) {
					t.Errorf("error %v, want a drop that says %q", err, test.drop)
				}
				return
			}
			must(t, err)
			if len(posted.Comments) != test.comments {
				t.Errorf("%d comments, want %d", len(posted.Comments), test.comments)
			}
			if test.check != nil {
				test.check(t, w)
			}
			run := w.view().CheckRuns[0]
			if !strings.Contains(run.Title, test.title) || !strings.Contains(run.Summary, test.summary) {
				t.Errorf("check run %q\n%s", run.Title, run.Summary)
			}
			for _, th := range w.view().Threads {
				if strings.Contains(th.Comments[0].Body, "\r") {
					t.Error("a comment has carriage returns")
				}
			}
		})
	}
}

// A submodule whose name looks like a file's is not looked at.
func TestSubmodule(t *testing.T) {
	w := newWorld(t)
	w.commit("", map[string]string{"README.md": "x\n"})
	head := w.commit("topic", map[string]string{"a.py": "x = MIX\n"})
	must(t, gitlink(t, w.GitDir(owner, name), "topic", "sub.py", head))
	must(t, w.Refresh(t.Context(), owner, name, "octocat"))
	w.pull = w.openPull(githubsim.OpenPullOptions{Head: "topic"})
	posted := w.review("pull_request.opened")
	if run := w.view().CheckRuns[0]; len(posted.Comments) != 1 || !strings.Contains(run.Summary, "`sub.py`: a submodule") {
		t.Errorf("%d comments, check run %s", len(posted.Comments), run.Summary)
	}
}

// A thousand files, and call counts of large pull requests.
func TestManyFilesCalls(t *testing.T) {
	for _, test := range []struct {
		python, other int
		want          string
	}{
		{50, 0, "files graphql review check-run"},
		{200, 0, "files files:page graphql graphql:files graphql:files graphql:files review check-run"},
		{1, 1000, "files files:page files:page files:page files:page files:page files:page files:page files:page files:page files:page graphql review check-run"},
	} {
		t.Run(fmt.Sprintf("%d and %d", test.python, test.other), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.commit("", map[string]string{"README.md": "x\n"})
			files := map[string]string{"m/f0.py": "x = MIX\n"}
			for i := 1; i < test.python; i++ {
				files[fmt.Sprintf("m/f%d.py", i)] = fmt.Sprintf("y = %d\n", i)
			}
			for i := range test.other {
				files[fmt.Sprintf("d/%d.txt", i)] = fmt.Sprintln(i)
			}
			w.commit("topic", files)
			w.pull = w.openPull(githubsim.OpenPullOptions{Head: "topic"})
			posted := w.review("pull_request.opened")
			wantCalls(t, posted.Calls, strings.Fields(test.want)...)
			w.ResetCalls()
			w.review("pull_request.opened") // a redelivery
			if reviews, runs := w.writes(); reviews+runs != 0 {
				t.Errorf("a redelivery writes %d reviews and %d check runs", reviews, runs)
			}
			job := w.job("check_run.rerequested")
			job.Rerun = true
			if _, err := w.reviewer.Review(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			if reviews, runs := w.writes(); reviews != 0 || runs != 1 {
				t.Errorf("a re-run writes %d reviews and %d check runs", reviews, runs)
			}
		})
	}
}

// More than fifty annotations are sent fifty at a time.
func TestAnnotationsArePaged(t *testing.T) {
	w := newWorld(t)
	w.reviewer.Config.MaxComments = 1
	var head strings.Builder
	for i := range 121 {
		fmt.Fprintf(&head, "x = MIX %d\n", i)
	}
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": head.String()})
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "graphql", "review", "check-run", "check-run:annotations", "check-run:annotations")
	if n := len(w.view().CheckRuns[0].Annotations); n != 120 {
		t.Errorf("%d annotations", n)
	}
}

// If GitHub shows fewer annotations than it took, the summary says so.
func TestAnnotationsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.reviewer.Config.MaxComments = 1
	var head strings.Builder
	for i := range 60 {
		fmt.Fprintf(&head, "x = MIX %d\n", i)
	}
	w.open(map[string]string{"a.py": "x = 1\n"}, map[string]string{"a.py": head.String()})
	n := 0
	w.Fault(func(r *http.Request) *githubsim.Fault {
		if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/check-runs/") {
			return nil
		}
		if n++; n > 1 {
			return nil
		}
		id := w.view().CheckRuns[0].ID // as if the annotations had got lost
		return &githubsim.Fault{Status: 200, Body: fmt.Sprintf(`{"id":%d,"output":{"annotations_count":50}}`, id)}
	})
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "graphql", "review", "check-run", "check-run:annotations", "check-run:count")
	if s := w.view().CheckRuns[0].Summary; !strings.HasPrefix(s, "GitHub shows 50 of 59 annotations") {
		t.Errorf("summary %.200s", s)
	}
}

// gitlink puts a submodule at a path of a branch.
func gitlink(t *testing.T, dir, branch, path, sha string) error {
	t.Helper()
	env := append(os.Environ(), "GIT_INDEX_FILE="+filepath.Join(t.TempDir(), "index"), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@x")
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
		cmd.Env = env
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("read-tree", branch); err != nil {
		return err
	}
	if _, err := git("update-index", "--add", "--cacheinfo", "160000,"+sha+","+path); err != nil {
		return err
	}
	tree, err := git("write-tree")
	if err != nil {
		return err
	}
	commit, err := git("commit-tree", tree, "-p", branch, "-m", "A submodule")
	if err != nil {
		return err
	}
	_, err = git("update-ref", "refs/heads/"+branch, commit)
	return err
}

// What is kept on disk is not asked for again: a re-run of 120 files reads the
// list and the state.
func TestCacheSparesCalls(t *testing.T) {
	w := newWorld(t)
	var err error
	w.cache, err = github.OpenCache(t.TempDir(), 0)
	must(t, err)
	w.restart()
	files := map[string]string{"f.py": "x = MIX\n"}
	for i := range 119 {
		files[fmt.Sprintf("f%d.py", i)] = fmt.Sprintf("y = %d\n", i)
	}
	w.open(map[string]string{"README.md": "x\n"}, files)
	posted := w.review("pull_request.opened")
	wantCalls(t, posted.Calls, "files", "files:page", "graphql", "graphql:files", "graphql:files", "review", "check-run")
	w.restart()
	w.ResetCalls()
	posted = w.review("pull_request.edited")
	wantCalls(t, posted.Calls, "files", "files:page", "graphql")
	for _, c := range w.Calls() {
		if strings.Contains(c.Body, "oid0") {
			t.Error("a text that is kept was asked for")
		}
	}
	must(t, w.client.Forget(700_000))
	wantCalls(t, w.review("pull_request.edited").Calls, "files", "files:page", "graphql", "graphql:files", "graphql:files")
}
