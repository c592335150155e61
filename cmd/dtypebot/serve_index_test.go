package main

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/githubsim"
	"github.com/dtypebot/dtypebot/bot/store"
	"github.com/dtypebot/dtypebot/bot/webhook"
)

// The files of a repository in which a pull request that touches one of them
// makes a mistake that only the others show.
const (
	indexedData = `import numpy as np
from torch.utils.data import Dataset


class Scenes(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        points = np.ones((5, 3), dtype=np.float32)
        intrinsics = np.eye(3, dtype=np.float32)
        return {"points": points, "intrinsics": intrinsics}
`
	indexedRun = `import torch
from torch.utils.data import DataLoader

from data import Scenes
from model import Lift

model = Lift().to(torch.bfloat16)
for batch in DataLoader(Scenes(), batch_size=2):
    model(batch["points"], batch["intrinsics"])
`
	indexedModel = `import torch
from torch import nn


class Lift(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(3, 3)

    def forward(self, points, intrinsics):
        lifted = self.proj(points.to(self.proj.weight.dtype))
        return torch.matmul(lifted, intrinsics.transpose(-1, -2))
`
)

// indexedWorld is a world with these files, and counts requests for archives that
// carry a token.
func indexedWorld(t *testing.T) (w *world, leaks *atomic.Int32) {
	w = newWorld(t)
	w.commit(githubsim.CommitOptions{
		Files: map[string]string{"data.py": indexedData, "run.py": indexedRun, "requirements.txt": "torch>=2.1\n", "link.py": "/etc/passwd"},
		Modes: map[string]string{"link.py": "120000"},
	})
	leaks = &atomic.Int32{}
	w.sim.Fault(func(r *http.Request) *githubsim.Fault {
		if strings.HasPrefix(r.URL.Path, "/_codeload/") && r.Header.Get("Authorization") != "" {
			leaks.Add(1)
		}
		return nil
	})
	return w, leaks
}

// calls counts the simulator's calls of a route.
func (w *world) calls(route string) (n int) {
	for _, c := range w.sim.Calls() {
		if c.Route == route {
			n++
		}
	}
	return n
}

const (
	tarballRoute = "/repos/{owner}/{repo}/tarball/{ref}"
	treeRoute    = "/repos/{owner}/{repo}/git/trees/{tree_sha}"
	blobRoute    = "/repos/{owner}/{repo}/git/blobs/{file_sha}"
)

// index starts a bot that keeps an index and gets the webhooks, and returns what
// it posts.
func (w *world) index() (*app, <-chan bot.Posted) {
	w.t.Helper()
	config := w.config()
	config.Index, config.Analyse = true, analyse
	reviewed := make(chan bot.Posted, 10)
	config.Reviewed = func(_ bot.Job, p bot.Posted) { reviewed <- p }
	a, _ := startApp(w.t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	return a, reviewed
}

// TestServeIndex reviews a pull request before the repository's index is there,
// and after: a mistake that other files show is silent first and then found, with
// no more calls. Later the index follows the base by its difference, is made
// again when it is damaged, and goes with its repository.
func TestServeIndex(t *testing.T) {
	w, leaks := indexedWorld(t)
	a, reviewed := w.index()
	next := func(what string) bot.Posted {
		t.Helper()
		select {
		case p := <-reviewed:
			return p
		case <-time.After(serveLimit):
			t.Fatalf("%s: no review", what)
			return bot.Posted{}
		}
	}
	indexed := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			d, err := a.queue.Depth(t.Context())
			return err == nil && d.Index == 0
		})
	}
	revision := func() string {
		data, err := a.state.Index(t.Context(), w.named().Repository, "main")
		if err != nil {
			return ""
		}
		ix, err := project.Decode(data)
		if err != nil {
			return ""
		}
		return ix.Revision
	}
	newest := func(n int) string {
		runs := w.pull(n).CheckRuns
		return runs[len(runs)-1].Summary
	}
	push := func(text string) {
		w.commit(githubsim.CommitOptions{Branch: "feature", Author: "mona", Files: map[string]string{"model.py": text}})
	}

	push(indexedModel)
	n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Lift", Head: "feature", Author: "mona"})
	w.check(err)
	if p := next("before the index"); len(p.Comments) > 0 || len(p.Calls) != 3 {
		t.Errorf("before the index: comments %+v, calls %q", p.Comments, p.Calls)
	}
	if s := newest(n); !strings.Contains(s, "its index is not ready") {
		t.Errorf("the check run does not say that there is no index:\n%s", s)
	}
	indexed("the index")
	data, err := a.state.Index(t.Context(), w.named().Repository, "main")
	w.check(err)
	ix, err := project.Decode(data)
	w.check(err)
	if got := len(ix.Files); got != 2 || ix.Files["link.py"] != "" || len(ix.Modules) != 2 || ix.Revision == "" {
		t.Errorf("indexed %v, %d summaries, of %q", ix.Files, len(ix.Modules), ix.Revision)
	}
	if n := w.calls(tarballRoute); n != 1 || leaks.Load() != 0 {
		t.Errorf("%d archives, %d requests for one with a token", n, leaks.Load())
	}

	push("# The model.\n" + indexedModel)
	p := next("with the index")
	if len(p.Comments) != 1 || len(p.Calls) != 4 {
		t.Fatalf("with the index: comments %+v, calls %q", p.Comments, p.Calls)
	}
	for _, words := range []string{"data.py", "run.py", "intrinsics"} {
		if !strings.Contains(p.Comments[0].Body, words) {
			t.Errorf("the comment lacks %q:\n%s", words, p.Comments[0].Body)
		}
	}
	if s := newest(n); !strings.Contains(s, "2 other files told") || !strings.Contains(s, "PyTorch 2.15") || strings.Contains(s, "not ready") {
		t.Errorf("the check run says\n%s", s)
	}

	// A look without the index takes back nothing that rests on it.
	w.check(a.state.PutIndex(t.Context(), w.named().Repository, "main", data[:len(data)/2]))
	push("# The model once more.\n" + indexedModel)
	if p := next("without the index again"); len(p.Threads) > 0 || len(w.pull(n).Threads) != 1 {
		t.Errorf("without the index the comment is changed: %+v", p.Threads)
	}
	eventually(t, "the index again", func() bool { return revision() == ix.Revision })

	// The base moves on, and the index with it: nothing is cast any more.
	w.sim.ResetCalls()
	w.commit(githubsim.CommitOptions{Files: map[string]string{"run.py": strings.ReplaceAll(indexedRun, ".to(torch.bfloat16)", ""), "new.py": "x = 1\n"}, Delete: []string{"link.py"}})
	eventually(t, "the newer index", func() bool { return revision() != ix.Revision })
	if tar, tree, blobs := w.calls(tarballRoute), w.calls(treeRoute), w.calls(blobRoute); tar != 0 || tree != 1 || blobs != 2 {
		t.Errorf("the difference took %d archives, %d trees and %d blobs", tar, tree, blobs)
	}
	push("# A model.\n" + indexedModel)
	next("with the newer index")
	if s := newest(n); strings.Contains(s, "run.py") || strings.Contains(s, "not ready") {
		t.Errorf("with the newer index the check run says\n%s", s)
	}

	// What is damaged, or of another commit, says nothing and is made again.
	for what, stored := range map[string][]byte{"a damaged index": data[:len(data)/2], "an older index": data} {
		was := revision()
		w.check(a.state.PutIndex(t.Context(), w.named().Repository, "main", stored))
		push("# With " + what + ".\n" + indexedModel)
		if p := next(what); len(p.Comments) > 0 || len(p.Threads) > 0 {
			t.Errorf("with %s: %+v", what, p.Comments)
		}
		if s := newest(n); !strings.Contains(s, "not ready") {
			t.Errorf("with %s the check run says\n%s", what, s)
		}
		eventually(t, what+" is made again", func() bool { return revision() == was })
	}

	w.sim.Uninstall(w.named().Installation)
	eventually(t, "the index goes", func() bool {
		_, err := a.state.Index(t.Context(), w.named().Repository, "main")
		return errors.Is(err, store.ErrNotFound)
	})
}

// TestServeIndexOfTwoBranches reviews pull requests to two branches in turn: each
// branch has an index of its own. The second is read as a difference from the
// first, and from then on neither is read again.
func TestServeIndexOfTwoBranches(t *testing.T) {
	w, _ := indexedWorld(t)
	a, reviewed := w.index()
	// On the other branch nothing is cast to bfloat16.
	plain := strings.ReplaceAll(indexedRun, ".to(torch.bfloat16)", "")
	w.commit(githubsim.CommitOptions{Branch: "release", Files: map[string]string{"run.py": plain}})
	push := func(branch, from, text string) {
		w.commit(githubsim.CommitOptions{Branch: branch, From: from, Author: "mona", Files: map[string]string{"model.py": text}})
	}
	comments := func(what string, want int, ready bool, n int) {
		t.Helper()
		select {
		case p := <-reviewed:
			if len(p.Comments) != want {
				t.Errorf("%s: %d comments, want %d", what, len(p.Comments), want)
			}
		case <-time.After(serveLimit):
			t.Fatalf("%s: no review", what)
		}
		runs := w.pull(n).CheckRuns
		if s := runs[len(runs)-1].Summary; strings.Contains(s, "not ready") == ready {
			t.Errorf("%s: the check run says\n%s", what, s)
		}
	}
	open := func(base, head string) int {
		push(head, base, indexedModel)
		n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Lift", Base: base, Head: head, Author: "mona"})
		w.check(err)
		return n
	}
	stored := func(branch string) {
		t.Helper()
		eventually(t, "the index of "+branch, func() bool {
			_, err := a.state.Index(t.Context(), w.named().Repository, branch)
			return err == nil
		})
	}
	first := open("main", "one")
	comments("main, no index", 0, false, first)
	stored("main")
	second := open("release", "two")
	comments("release, no index", 0, false, second)
	stored("release")
	if tar, tree, blobs := w.calls(tarballRoute), w.calls(treeRoute), w.calls(blobRoute); tar != 1 || tree != 1 || blobs != 1 {
		t.Errorf("two branches took %d archives, %d trees and %d blobs", tar, tree, blobs)
	}
	w.sim.ResetCalls()
	for i, text := range []string{"# Once.\n" + indexedModel, "# Twice.\n" + indexedModel} {
		push("one", "", text)
		comments("main", 1-i, true, first) // a comment is made once
		push("two", "", text)
		comments("release", 0, true, second)
	}
	if tar, tree := w.calls(tarballRoute), w.calls(treeRoute); tar != 0 || tree != 0 {
		t.Errorf("reviews of two branches in turn took %d archives and %d trees", tar, tree)
	}
}

// eventually waits for what happens after GitHub's part in it.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(serveLimit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": does not come")
		}
	}
}

// named is a job of octo/lift, for its ids, as far as a delivery told them.
func (w *world) named() (job bot.Job) {
	for _, d := range w.sim.Deliveries() {
		if jobs, err := webhook.Jobs(d.Event, d.Payload, w.app.ID); err == nil && len(jobs) > 0 {
			return jobs[0]
		}
	}
	return job
}

// TestServeIndexTrouble meets an archive that is cut off, one that GitHub does not
// give, and a redirect to a stranger: reviews go on, and the index comes when it
// can.
func TestServeIndexTrouble(t *testing.T) {
	onlySlow(t)
	w, _ := indexedWorld(t)
	var step atomic.Int32
	w.sim.Fault(func(r *http.Request) *githubsim.Fault {
		archive := strings.HasPrefix(r.URL.Path, "/_codeload/")
		switch {
		case archive && step.CompareAndSwap(0, 1):
			return &githubsim.Fault{Status: http.StatusOK, Body: "\x1f\x8b\x08\x00"}
		case strings.Contains(r.URL.Path, "/tarball/") && step.CompareAndSwap(1, 2):
			return &githubsim.Fault{Status: http.StatusFound, Header: http.Header{"Location": {"http://127.0.0.2:1/steal"}}}
		}
		return nil
	})
	config := w.config()
	config.Index, config.Analyse = true, analyse
	config.Queue.Backoff = 10 * time.Millisecond
	config.Queue.LeaseRetry = 10 * time.Millisecond
	a, stop := startApp(t, config)
	w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
	n := w.open()
	w.until("the review", w.completed(n))
	eventually(t, "the index", func() bool {
		_, err := a.state.Index(t.Context(), w.named().Repository, "main")
		return err == nil
	})
	if step.Load() != 2 {
		t.Errorf("only %d of 2 faults happened", step.Load())
	}
	d, err := a.queue.Depth(t.Context())
	w.check(err)
	if d.Dead != 0 {
		t.Errorf("%d dead letters", d.Dead)
	}
	stop()
	w.once(n)
}
