package main

import (
	"testing"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// TestServeMovedCode moves a file's faulty code into another file: nothing is
// new, so nothing is posted. The same code without the deletion is new.
func TestServeMovedCode(t *testing.T) {
	const faulty = `import torch


def lift(x):
    weight = torch.zeros(3, 3, dtype=torch.float64)
    points = torch.ones(4, 3, dtype=torch.float32)
    return torch.matmul(points, weight)
`
	const other = "import torch\n\n\ndef half(x):\n    return x / 2\n\n\n"
	for _, test := range []struct {
		name   string
		delete []string
		want   int // comments
	}{
		{"moved", []string{"lift.py"}, 0},
		{"copied", nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, stop := startApp(t, w.config())
			w.sim.SetWebhook(w.app.ID, "http://"+a.Addr().String()+"/webhook", testSecret)
			w.commit(githubsim.CommitOptions{Files: map[string]string{"lift.py": faulty, "model.py": other}})
			// The other file has enough of its own that git does not call it a rename.
			w.commit(githubsim.CommitOptions{
				Branch: "feature", Author: "mona", Delete: test.delete,
				Files: map[string]string{"model.py": other + "def double(x):\n    return x * 2\n\n\n" + faulty[len("import torch\n\n\n"):]},
			})
			n, err := w.sim.OpenPull(t.Context(), "octo", "lift", githubsim.OpenPullOptions{Title: "Move", Head: "feature", Author: "mona"})
			w.check(err)
			w.until("the check run", w.completed(n))
			p := w.pull(n)
			if len(p.Threads) != test.want {
				t.Errorf("%d comments, want %d; check run %+v", len(p.Threads), test.want, p.CheckRuns)
			}
			stop()
		})
	}
}
