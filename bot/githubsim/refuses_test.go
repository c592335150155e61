package githubsim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestRefuses shows, for each thing that GitHub refuses, a request that is
// refused and where that is known from.
func TestRefuses(t *testing.T) {
	w := newWorld(t)
	pull := fmt.Sprintf("/repos/acme/models/pulls/%d", w.pull)
	const runs = "/repos/acme/models/check-runs"
	type m = map[string]any
	reviewOf := func(comments ...any) m {
		return m{"event": "COMMENT", "body": "Look.", "commit_id": w.head, "comments": comments}
	}
	comment := func(change m) m {
		c := m{"path": "model.py", "line": 10, "side": "RIGHT", "body": "here"}
		for k, v := range change {
			if v == nil {
				delete(c, k)
				continue
			}
			c[k] = v
		}
		return c
	}
	single := func(change m) m {
		c := comment(change)
		if _, set := c["commit_id"]; !set {
			c["commit_id"] = w.head
		}
		return c
	}
	run := func(change m) m {
		c := m{"name": "dtypebot", "head_sha": w.head, "status": "completed", "conclusion": "neutral"}
		for k, v := range change {
			if v == nil {
				delete(c, k)
				continue
			}
			c[k] = v
		}
		return c
	}
	output := func(change m) m {
		o := m{"title": "t", "summary": "s"}
		for k, v := range change {
			o[k] = v
		}
		return run(m{"output": o})
	}
	note := func(change m) m {
		a := m{"path": "model.py", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"}
		for k, v := range change {
			a[k] = v
		}
		return output(m{"annotations": []any{a}})
	}
	action := func(change m) m {
		a := m{"label": "l", "description": "d", "identifier": "i"}
		for k, v := range change {
			a[k] = v
		}
		return run(m{"actions": []any{a}})
	}
	many := func(n int, v any) []any {
		var list []any
		for range n {
			list = append(list, v)
		}
		return list
	}
	foreign := w.foreignRun()
	for _, test := range []struct {
		name, source string
		method, path string
		body         any
		status       int
		says         string
	}{
		{"a line outside every hunk", "QwenLM/qwen-code#6711, max-sixty/tend#252", "POST", pull + "/reviews", reviewOf(comment(m{"line": 20})), 422, "Line could not be resolved"},
		{"a line behind three lines of context", "REST docs: pull request diffs have three", "POST", pull + "/reviews", reviewOf(comment(m{"line": 15})), 422, "Line could not be resolved"},
		{"an unchanged file", "villesau/ai-codereviewer#34", "POST", pull + "/reviews", reviewOf(comment(m{"path": "README.md"})), 422, "Path could not be resolved"},
		{"a binary file", "it has no hunks", "POST", pull + "/reviews", reviewOf(comment(m{"path": "data.bin", "line": 1})), 422, "Line could not be resolved"},
		{"the left side of a line that only the right has", "REST docs: side", "POST", pull + "/reviews", reviewOf(comment(m{"path": "new.py", "line": 1, "side": "LEFT"})), 422, "Line could not be resolved"},
		{"all of a review for one bad comment", "parkerbxyz/suggest-changes#48", "POST", pull + "/reviews", reviewOf(comment(nil), comment(nil), comment(m{"line": 999})), 422, "Line could not be resolved"},
		{"start_line equal to line", "ubuntu/WSL#244", "POST", pull + "/reviews", reviewOf(comment(m{"start_line": 10})), 422, "start line must precede the end line"},
		{"start_line after line", "danobi/prr#16", "POST", pull + "/reviews", reviewOf(comment(m{"start_line": 12})), 422, "start line must precede the end line"},
		{"start_line in another hunk", "parkerbxyz/suggest-changes#64", "POST", pull + "/reviews", reviewOf(comment(m{"line": 31, "start_line": 10})), 422, "start line must be part of the same hunk as the line"},
		{"start_line outside the diff", "qiniu/reviewbot#179", "POST", pull + "/reviews", reviewOf(comment(m{"line": 31, "start_line": 20})), 422, "same hunk"},
		{"a side that is none", "OpenAPI document: side", "POST", pull + "/reviews", reviewOf(comment(m{"side": "MIDDLE"})), 422, "is not a member of"},
		{"a comment without a path", "OpenAPI document: required", "POST", pull + "/reviews", reviewOf(comment(m{"path": nil})), 422, `\"path\" wasn't supplied`},
		{"a comment without a body", "OpenAPI document: required", "POST", pull + "/reviews", reviewOf(comment(m{"body": nil})), 422, `\"body\" wasn't supplied`},
		{"a comment without a place", "REST docs: line or position", "POST", pull + "/reviews", reviewOf(comment(m{"line": nil})), 422, `\"line\" wasn't supplied`},
		{"a position below the diff", "octokit/octokit.net#2709", "POST", pull + "/reviews", reviewOf(comment(m{"line": nil, "position": 400})), 422, "Position could not be resolved"},
		{"a comment of 65,537 characters", "renovatebot/renovate#2032", "POST", pull + "/reviews", reviewOf(comment(m{"body": strings.Repeat("é", 65_537)})), 422, "maximum is 65536 characters"},
		{"a review of 65,537 characters", "renovatebot/renovate#2032", "POST", pull + "/reviews", m{"event": "COMMENT", "body": strings.Repeat("x", 65_537)}, 422, "maximum is 65536 characters"},
		{"a COMMENT without a body", "REST docs: body is required for COMMENT", "POST", pull + "/reviews", m{"event": "COMMENT"}, 422, "body can't be blank"},
		{"REQUEST_CHANGES without a body", "REST docs: body is required for REQUEST_CHANGES", "POST", pull + "/reviews", m{"event": "REQUEST_CHANGES"}, 422, "body can't be blank"},
		{"an unknown event", "OpenAPI document: event", "POST", pull + "/reviews", m{"event": "SHIP_IT", "body": "x"}, 422, "SHIP_IT"},
		{"a commit that does not exist", "REST docs: commit_id", "POST", pull + "/reviews", m{"event": "COMMENT", "body": "x", "commit_id": strings.Repeat("a", 40)}, 422, "No commit found for SHA"},
		{"a commit of the base", "REST docs: commit_id", "POST", pull + "/reviews", m{"event": "COMMENT", "body": "x", "commit_id": w.sha("main")}, 422, "not part of the pull request"},
		{"a pull request that is none", "REST docs", "POST", "/repos/acme/models/pulls/99/reviews", reviewOf(), 404, "Not Found"},
		{"broken JSON types", "JSON schema", "POST", pull + "/reviews", m{"event": 7}, 422, "is not a"},

		{"a single comment outside the diff", "issue text of qiniu/reviewbot#179 and openshift/openshift-docs#104109", "POST", pull + "/comments", single(m{"line": 20}), 422, "pull_request_review_thread.line must be part of the diff"},
		{"its missing hunk", "octokit/octokit.net#2709", "POST", pull + "/comments", single(m{"line": 20}), 422, "pull_request_review_thread.diff_hunk"},
		{"a single comment over two hunks", "qiniu/reviewbot#179", "POST", pull + "/comments", single(m{"line": 31, "start_line": 10}), 422, "pull_request_review_thread.start_line must be part of the same hunk as the line."},
		{"a single comment without commit_id", "OpenAPI document: required", "POST", pull + "/comments", comment(nil), 422, `\"commit_id\" wasn't supplied`},
		{"a single comment that is too long", "renovatebot/renovate#2032", "POST", pull + "/comments", single(m{"body": strings.Repeat("x", 65_537)}), 422, "maximum is 65536"},
		{"a reply to nothing", "REST docs: create a reply", "POST", pull + "/comments/5/replies", m{"body": "x"}, 404, "Parent comment not found"},
		{"an unknown reaction", "OpenAPI document: content", "POST", "/repos/acme/models/pulls/comments/" + fmt.Sprint(w.humanComment()) + "/reactions", m{"content": "shrug"}, 422, "is not a reaction"},
		{"another's comment to be edited", "REST docs: own comments", "PATCH", "/repos/acme/models/pulls/comments/" + fmt.Sprint(w.humanComment()), m{"body": "x"}, 403, "Resource not accessible by integration"},
		{"another's comment to be deleted", "a choice: GitHub may allow it", "DELETE", "/repos/acme/models/pulls/comments/" + fmt.Sprint(w.humanComment()), nil, 403, "Resource not accessible by integration"},

		{"51 annotations", "dorny/test-reporter#194", "POST", runs, output(m{"annotations": many(51, m{"path": "model.py", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"})}), 422, "No more than 50 items are allowed; 51 were supplied."},
		{"a title of 256", "REST docs: checks", "POST", runs, output(m{"title": strings.Repeat("x", 256)}), 422, "Only 255 characters are allowed; 256 were supplied."},
		{"a summary of 65,536", "reviewdog/action-rubocop#67", "POST", runs, output(m{"summary": strings.Repeat("x", 65_536)}), 422, "Only 65535 characters are allowed; 65536 were supplied."},
		{"a text of 65,536", "mergeability/mergeable#701", "POST", runs, output(m{"text": strings.Repeat("x", 65_536)}), 422, "Only 65535 characters are allowed"},
		{"an output without a summary", "OpenAPI document: required", "POST", runs, run(m{"output": m{"title": "t"}}), 422, `\"summary\" wasn't supplied`},
		{"four actions", "REST docs: a maximum of three", "POST", runs, run(m{"actions": many(4, m{"label": "l", "description": "d", "identifier": "i"})}), 422, "No more than 3 items"},
		{"a label of 21", "REST docs: 20 characters", "POST", runs, action(m{"label": strings.Repeat("x", 21)}), 422, "Only 20 characters are allowed; 21 were supplied."},
		{"a description of 41", "REST docs: 40 characters", "POST", runs, action(m{"description": strings.Repeat("x", 41)}), 422, "Only 40 characters"},
		{"an identifier of 21", "REST docs: 20 characters", "POST", runs, action(m{"identifier": strings.Repeat("x", 21)}), 422, "Only 20 characters"},
		{"columns over several lines", "REST docs: only if start_line and end_line are the same", "POST", runs, note(m{"end_line": 2, "start_column": 1}), 422, "Columns"},
		{"an annotation's unknown level", "OpenAPI document: annotation_level", "POST", runs, note(m{"annotation_level": "error"}), 422, "is not a member"},
		{"an annotation's message over 64 KB", "REST docs: 64 KB", "POST", runs, note(m{"message": strings.Repeat("x", 64<<10+1)}), 422, "64 KB"},
		{"an annotation that ends before it starts", "a choice", "POST", runs, note(m{"start_line": 2}), 422, "end_line"},
		{"completed without a conclusion", "REST docs: required if status is completed", "POST", runs, run(m{"conclusion": nil}), 422, `\"conclusion\" wasn't supplied`},
		{"an unknown conclusion", "OpenAPI document: conclusion", "POST", runs, run(m{"conclusion": "great"}), 422, "is not a member"},
		{"stale as a conclusion", "REST docs: only GitHub can change it to stale", "POST", runs, run(m{"conclusion": "stale"}), 422, "is not a member"},
		{"an unknown status", "OpenAPI document: status", "POST", runs, run(m{"status": "done"}), 422, "is not a member"},
		{"a run without a name", "OpenAPI document: required", "POST", runs, run(m{"name": nil}), 422, `\"name\" wasn't supplied`},
		{"a run on no commit", "REST docs", "POST", runs, run(m{"head_sha": strings.Repeat("b", 40)}), 422, "No commit found for SHA"},
		{"another App's run", "JSONbored/loopover#1652", "PATCH", fmt.Sprintf("%s/%d", runs, foreign), m{"conclusion": "success"}, 403, "Invalid app_id"},

		{"a blob that is none", "REST docs", "GET", "/repos/acme/models/git/blobs/" + strings.Repeat("c", 40), nil, 404, "Not Found"},
		{"a repository that the App does not see", "private repositories are not there", "GET", "/repos/acme/secret", nil, 404, "Not Found"},
		{"writing without the permission", "X-Accepted-GitHub-Permissions", "PATCH", "/repos/acme/models/git/refs/heads/main", m{"sha": w.head}, 403, "Resource not accessible by integration"},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			before, _ := w.Pull(w.ctx, "acme", "models", w.pull)
			status, o, header := w.send(test.method, test.path, test.body)
			text, _ := encode(o)
			if status != test.status || !strings.Contains(string(text), test.says) {
				t.Errorf("%d %s\nwant %d %s (%s)", status, text, test.status, test.says, test.source)
			}
			if o["documentation_url"] == nil || o["message"] == nil {
				t.Errorf("not an error of GitHub: %s", text)
			}
			if test.status == 403 && test.name == "writing without the permission" && header.Get("X-Accepted-GitHub-Permissions") != "contents=write" {
				t.Errorf("header %v", header)
			}
			after, _ := w.Pull(w.ctx, "acme", "models", w.pull)
			a, _ := json.Marshal(before)
			b, _ := json.Marshal(after)
			if string(a) != string(b) {
				t.Errorf("it had an effect:\n%s\n%s", a, b)
			}
		})
	}
	// The edges that are still allowed.
	for name, body := range map[string]any{
		"65,536 characters":        reviewOf(comment(m{"body": strings.Repeat("é", 65_536)})),
		"context above the change": reviewOf(comment(m{"line": 7})),
		"context below the change": reviewOf(comment(m{"line": 14})),
		"a deleted line":           reviewOf(comment(m{"side": "LEFT"})),
		"from a deleted line":      reviewOf(comment(m{"line": 11, "start_line": 10, "start_side": "LEFT"})),
		"a position":               reviewOf(comment(m{"line": nil, "side": nil, "position": 5})),
		"a removed file":           reviewOf(comment(m{"path": "gone.py", "line": 1, "side": "LEFT"})),
		"approval without words":   m{"event": "APPROVE"},
	} {
		if status, o, _ := w.send("POST", pull+"/reviews", body); status != 200 {
			t.Errorf("%s: %d %v", name, status, o)
		}
	}
	if status, o, _ := w.send("POST", runs, output(m{"annotations": many(50, m{"path": "model.py", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"})})); status != 201 {
		t.Errorf("50 annotations: %d %v", status, o)
	}
	// A second pending review.
	if status, o, _ := w.send("POST", pull+"/reviews", m{"body": "one"}); status != 200 || o["state"] != "PENDING" {
		t.Errorf("pending: %d %v", status, o)
	}
	if status, o, _ := w.send("POST", pull+"/reviews", m{"body": "two"}); status != 422 || !strings.Contains(fmt.Sprint(o), "one pending review") {
		t.Errorf("second pending: %d %v", status, o)
	}
	v, _ := w.Pull(w.ctx, "acme", "models", w.pull)
	for _, rv := range v.Reviews {
		if rv.Body == "one" {
			t.Error("a pending review is shown")
		}
	}
}

// sha is the commit of a branch.
func (w *world) sha(branch string) string {
	w.t.Helper()
	ref, _, err := w.client.Git.GetRef(w.ctx, "acme", "models", "heads/"+branch)
	must(w.t, err)
	return ref.GetObject().GetSHA()
}

// humanComment writes a comment of a person and gives its id.
func (w *world) humanComment() int64 {
	w.t.Helper()
	id, err := w.CommentLine(w.ctx, "acme", "models", w.pull, "dev", "model.py", Right, 0, 10, "mine")
	must(w.t, err)
	return id
}

// foreignRun makes a check run of another App and gives its id.
func (w *world) foreignRun() int64 {
	w.t.Helper()
	key, err := testKey()
	must(w.t, err)
	other, err := w.RegisterApp(AppOptions{Name: "Other", Permissions: map[string]string{"checks": "write"}, Key: key})
	must(w.t, err)
	_, err = w.Install(other.ID, "acme/models")
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.find("acme", "models")
	run := &checkRun{id: w.id("check_run"), suite: w.suite(r, w.appByID(other.ID), w.head), name: "other", status: "completed", conclusion: "success"}
	run.suite.runs = append(run.suite.runs, run)
	return run.id
}
