package github_test

import (
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// Settings come from the base branch, over the owner's defaults, and never from
// the head; that costs no call.
func TestSettings(t *testing.T) {
	wrong := map[string]string{"a.py": "x = MIX\n", "old/b.py": "y = MIX 2\n"}
	for _, test := range []struct {
		what           string
		base           map[string]string
		defaults       string // dtypebot.toml of the owner's .github repository
		head           map[string]string
		draft          bool
		labels         []string
		conclusion     string
		title          string
		summary        string
		comments, said int // comments, annotations
	}{
		{what: "none", conclusion: "neutral", comments: 2, title: "2 dtype mistakes in 2 Python files"},
		{what: "excluded", base: map[string]string{"dtypebot.toml": "exclude = [\"old/\"]\n"}, conclusion: "neutral", comments: 1, title: "1 dtype mistake in 1 Python file", summary: "1 Python file is left out by the settings"},
		{what: "all excluded", base: map[string]string{"dtypebot.toml": "exclude = [\"*\"]\n"}, conclusion: "success", title: "No Python files to look at"},
		{what: "pyproject", base: map[string]string{"pyproject.toml": "[tool.dtypebot]\ncomments = \"check-only\"\n"}, conclusion: "neutral", said: 2, summary: "`pyproject.toml` of the base branch"},
		{what: "own file first", base: map[string]string{"pyproject.toml": "[tool.dtypebot]\ncomments = \"check-only\"\n", "dtypebot.toml": "max-comments = 1\n"}, conclusion: "neutral", comments: 1, said: 1},
		{what: "the owner's defaults", defaults: "comments = \"check-only\"\nfail-on = \"low\"\n", conclusion: "failure", said: 2, summary: "`.github: dtypebot.toml`"},
		{what: "over the owner's defaults", defaults: "comments = \"check-only\"\nfail-on = \"low\"\n", base: map[string]string{"dtypebot.toml": "fail-on = \"never\"\n"}, conclusion: "neutral", said: 2},
		{what: "never the head's", head: map[string]string{"dtypebot.toml": "exclude = [\"*\"]\n"}, conclusion: "neutral", comments: 2},
		{what: "fails", base: map[string]string{"dtypebot.toml": "fail-on = \"high\"\n"}, conclusion: "failure", comments: 2},
		{what: "faults", base: map[string]string{"dtypebot.toml": "\nspeed = 3\nmax-comments = 1\n"}, conclusion: "neutral", comments: 1, said: 1, title: "1 fault in the settings", summary: "`dtypebot.toml:2`: unknown key"},
		{what: "broken", base: map[string]string{"dtypebot.toml": "max-comments ="}, conclusion: "neutral", comments: 2, summary: "`dtypebot.toml:1`: not read"},
		{what: "a label to skip", base: map[string]string{"dtypebot.toml": "skip-labels = [\"No review\"]\n"}, labels: []string{"no review"}, conclusion: "skipped", title: `Not looked at: it has the label "No review"`},
		{what: "a label to ask", base: map[string]string{"dtypebot.toml": "review-labels = [\"ready\"]\n"}, conclusion: "skipped"},
		{what: "a label that asks", base: map[string]string{"dtypebot.toml": "review-labels = [\"ready\"]\n"}, labels: []string{"ready"}, conclusion: "neutral", comments: 2},
		{what: "drafts skipped", base: map[string]string{"dtypebot.toml": "drafts = \"skip\"\n"}, draft: true, conclusion: "skipped"},
		{what: "drafts reviewed", base: map[string]string{"dtypebot.toml": "drafts = \"review\"\n"}, draft: true, conclusion: "neutral", comments: 2},
		{what: "drafts by default", draft: true, conclusion: "neutral", said: 2},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.defaults != "" {
				must(t, w.AddRepository(t.Context(), owner, ".github", githubsim.RepositoryOptions{Public: true}))
				_, err := w.Commit(t.Context(), owner, ".github", githubsim.CommitOptions{Files: map[string]string{"dtypebot.toml": test.defaults}})
				must(t, err)
			}
			base := map[string]string{"README.md": "x\n"}
			for p, text := range test.base {
				base[p] = text
			}
			w.commit("", base)
			head := map[string]string{}
			for _, files := range []map[string]string{wrong, test.head} {
				for p, text := range files {
					head[p] = text
				}
			}
			w.commit("topic", head)
			w.pull = w.openPull(githubsim.OpenPullOptions{Head: "topic", Draft: test.draft, Labels: test.labels})
			posted := w.review("pull_request.opened")
			run := w.view().CheckRuns[0]
			if run.Conclusion != test.conclusion || !strings.Contains(run.Title, test.title) || !strings.Contains(run.Summary, test.summary) ||
				len(posted.Comments) != test.comments || len(run.Annotations) != test.said {
				t.Errorf("%d comments, %d annotations, check run %s %q\n%s", len(posted.Comments), len(run.Annotations), run.Conclusion, run.Title, run.Summary)
			}
			if test.comments > 0 {
				wantCalls(t, posted.Calls, "files", "graphql", "review", "check-run")
			} else {
				wantCalls(t, posted.Calls, "files", "graphql", "check-run")
			}
			wantCalls(t, w.review("pull_request.edited").Calls, "files", "graphql")
		})
	}
}

// Threads on files that the settings leave out since are let be.
func TestExcludedLater(t *testing.T) {
	w := newWorld(t)
	w.mistake()
	w.commit("", map[string]string{"dtypebot.toml": "exclude = [\"a.py\"]\n"})
	if posted := w.review("pull_request.edited"); len(posted.Threads) != 0 || len(w.view().Threads) != 1 {
		t.Errorf("posted %+v", posted)
	}
}
