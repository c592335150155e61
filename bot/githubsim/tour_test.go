package githubsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestTour calls every endpoint; where GitHub's own description is at hand, the
// world compares each answer with it.
func TestTour(t *testing.T) {
	w := newWorld(t)
	tour(w)
	seen := map[string]bool{}
	for _, c := range w.Calls() {
		seen[fmt.Sprint(c.Method, " ", c.Route, " ", c.Status)] = true
	}
	if len(seen) < 65 {
		t.Errorf("only %d kinds of answers were compared", len(seen))
	}
}

// tour calls every endpoint once.
func tour(w *world) {
	w.t.Helper()
	repo := "/repos/acme/models"
	num := func(o map[string]any, key string) int64 {
		w.t.Helper()
		f, okay := o[key].(float64)
		if !okay {
			w.t.Fatalf("no %s in %v", key, o)
		}
		return int64(f)
	}
	want := func(status int, method, path string, body any, header ...string) map[string]any {
		w.t.Helper()
		got, o, _ := w.send(method, path, body, header...)
		if got != status {
			w.t.Errorf("%s %s: %d, want %d: %v", method, path, got, status, o)
		}
		return o
	}
	asApp := func(status int, method, path string, body any) []byte {
		w.t.Helper()
		text, _ := json.Marshal(body)
		req, err := http.NewRequestWithContext(w.ctx, method, w.server.URL+path, bytes.NewReader(text))
		must(w.t, err)
		resp, err := w.jwt.Client().Do(req)
		must(w.t, err)
		defer resp.Body.Close()
		out, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status {
			w.t.Errorf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, status, out)
		}
		return out
	}
	must(w.t, w.SetPermission("acme", "models", "dev", "maintain"))
	want(200, "GET", repo, nil)
	want(200, "GET", repo+"/collaborators/dev/permission", nil)
	want(404, "GET", repo+"/collaborators/nobody-at-all/permission", nil)
	want(200, "GET", "/installation/repositories", nil)
	want(200, "GET", "/rate_limit", nil)
	pull := fmt.Sprintf("%s/pulls/%d", repo, w.pull)
	o := want(200, "GET", pull, nil)
	if o["changed_files"] != 5.0 || o["commits"] != 1.0 {
		w.t.Errorf("pull request %v", o)
	}
	for _, path := range []string{
		repo + "/pulls?state=all", pull + "/files", pull + "/commits", pull + "/comments", pull + "/reviews", repo + "/contents", repo + "/contents/pkg?ref=feature",
		repo + "/contents/model.py?ref=feature", repo + "/git/trees/feature?recursive=1", repo + "/git/ref/heads/main", repo + "/git/matching-refs/heads/",
		repo + "/git/commits/" + w.head, repo + "/commits/" + w.head, repo + "/commits/" + w.head + "/pulls", repo + "/commits/feature/check-runs",
		repo + "/compare/main...feature", repo + "/tarball/feature",
	} {
		want(200, "GET", path, nil)
	}
	want(404, "GET", repo+"/contents/nothing.py", nil)
	tree := want(200, "GET", repo+"/git/trees/main", nil)
	for _, e := range tree["tree"].([]any) {
		if e := e.(map[string]any); e["path"] == "model.py" {
			want(200, "GET", repo+"/git/blobs/"+e["sha"].(string), nil)
		}
	}
	want(422, "GET", repo+"/git/blobs/xyz", nil)
	want(403, "POST", repo+"/git/trees", map[string]any{"base_tree": tree["sha"], "tree": []any{
		map[string]any{"path": "pkg/made.py", "mode": "100644", "type": "blob", "content": "x = 1\n"},
	}})
	want(403, "POST", repo+"/git/commits", map[string]any{"message": "Make a file", "tree": tree["sha"], "parents": []any{w.head}})
	review := want(200, "POST", pull+"/reviews", map[string]any{
		"event": "COMMENT", "body": "Look.", "commit_id": w.head,
		"comments": []any{map[string]any{"path": "model.py", "line": 11, "start_line": 10, "side": "RIGHT", "body": "here"}},
	})
	one := fmt.Sprintf("%s/reviews/%d", pull, num(review, "id"))
	want(200, "GET", one, nil)
	want(200, "GET", one+"/comments", nil)
	want(200, "PUT", one, map[string]any{"body": "Look again."})
	pending := want(200, "POST", pull+"/reviews", map[string]any{"comments": []any{map[string]any{"path": "new.py", "line": 2, "body": "not yet"}}})
	want(200, "POST", fmt.Sprintf("%s/reviews/%d/events", pull, num(pending, "id")), map[string]any{"event": "COMMENT", "body": "Now."})
	pending = want(200, "POST", pull+"/reviews", map[string]any{"body": "never"})
	want(200, "DELETE", fmt.Sprintf("%s/reviews/%d", pull, num(pending, "id")), nil)
	want(422, "POST", pull+"/reviews", map[string]any{"event": "COMMENT", "body": "x", "comments": []any{map[string]any{"path": "model.py", "line": 20, "body": "far"}}})
	single := want(201, "POST", pull+"/comments", map[string]any{"path": "model.py", "line": 10, "side": "LEFT", "body": "old", "commit_id": w.head})
	file := want(201, "POST", pull+"/comments", map[string]any{"path": "model.py", "subject_type": "file", "body": "all of it", "commit_id": w.head})
	answer := want(201, "POST", fmt.Sprintf("%s/comments/%d/replies", pull, num(single, "id")), map[string]any{"body": "yes"})
	want(201, "POST", pull+"/comments", map[string]any{"in_reply_to": num(single, "id"), "body": "and yes", "commit_id": w.head, "path": "model.py"})
	comment := fmt.Sprintf("%s/pulls/comments/%d", repo, num(single, "id"))
	want(200, "GET", comment, nil)
	want(200, "PATCH", comment, map[string]any{"body": "older"})
	re := want(201, "POST", comment+"/reactions", map[string]any{"content": "-1"})
	want(200, "POST", comment+"/reactions", map[string]any{"content": "-1"})
	want(200, "GET", comment+"/reactions", nil)
	want(204, "DELETE", fmt.Sprintf("%s/reactions/%d", comment, num(re, "id")), nil)
	want(200, "GET", pull+"/comments", nil)
	want(200, "GET", repo+"/pulls/comments?sort=updated&direction=desc", nil)
	want(204, "DELETE", fmt.Sprintf("%s/pulls/comments/%d", repo, num(answer, "id")), nil)
	want(204, "DELETE", fmt.Sprintf("%s/pulls/comments/%d", repo, num(file, "id")), nil)
	talk := want(201, "POST", fmt.Sprintf("%s/issues/%d/comments", repo, w.pull), map[string]any{"body": "hello"})
	issue := fmt.Sprintf("%s/issues/comments/%d", repo, num(talk, "id"))
	want(200, "GET", issue, nil)
	want(200, "PATCH", issue, map[string]any{"body": "hello again"})
	re = want(201, "POST", issue+"/reactions", map[string]any{"content": "eyes"})
	want(200, "GET", issue+"/reactions", nil)
	want(204, "DELETE", fmt.Sprintf("%s/reactions/%d", issue, num(re, "id")), nil)
	want(200, "GET", fmt.Sprintf("%s/issues/%d/comments", repo, w.pull), nil)
	want(204, "DELETE", issue, nil)
	run := want(201, "POST", repo+"/check-runs", map[string]any{"name": "dtypebot", "head_sha": w.head, "status": "in_progress", "external_id": "pr=1"})
	check := fmt.Sprintf("%s/check-runs/%d", repo, num(run, "id"))
	want(200, "PATCH", check, map[string]any{
		"name": "dtypebot", "conclusion": "neutral", "actions": []any{map[string]any{"label": "Re-run", "description": "Look again", "identifier": "rerun"}},
		"output": map[string]any{"title": "One finding", "summary": "…", "annotations": []any{
			map[string]any{"path": "model.py", "start_line": 10, "end_line": 10, "start_column": 1, "end_column": 3, "annotation_level": "warning", "message": "here"},
		}},
	})
	want(200, "GET", check, nil)
	want(200, "GET", check+"/annotations", nil)
	want(200, "GET", repo+"/commits/"+w.head+"/check-runs", nil)
	want(200, "GET", repo+"/commits/"+w.head+"/check-suites", nil)
	suite := fmt.Sprintf("%s/check-suites/%d", repo, num(run["check_suite"].(map[string]any), "id"))
	want(200, "GET", suite, nil)
	want(200, "GET", suite+"/check-runs", nil)
	want(201, "POST", suite+"/rerequest", nil)
	want(201, "POST", check+"/rerequest", nil)
	must(w.t, w.Wait(w.ctx))
	asApp(200, "GET", "/app", nil)
	asApp(200, "GET", "/app/installations", nil)
	asApp(200, "GET", fmt.Sprintf("/app/installations/%d", w.install), nil)
	asApp(200, "GET", repo+"/installation", nil)
	asApp(201, "POST", fmt.Sprintf("/app/installations/%d/access_tokens", w.install), map[string]any{"repositories": []any{"models"}, "permissions": map[string]any{"checks": "read"}})
	asApp(422, "POST", fmt.Sprintf("/app/installations/%d/access_tokens", w.install), map[string]any{"permissions": map[string]any{"contents": "write"}})
	asApp(200, "GET", "/app/hook/config", nil)
	asApp(200, "PATCH", "/app/hook/config", map[string]any{"secret": secret})
	var deliveries []map[string]any
	must(w.t, json.Unmarshal(asApp(200, "GET", "/app/hook/deliveries?per_page=5", nil), &deliveries))
	one = fmt.Sprintf("/app/hook/deliveries/%d", num(deliveries[0], "id"))
	asApp(200, "GET", one, nil)
	asApp(202, "POST", one+"/attempts", nil)
	must(w.t, w.Rename("acme", "models", "acme", "nets"))
	want(200, "GET", repo, nil) // over the redirect
	req, err := http.NewRequestWithContext(w.ctx, "DELETE", w.server.URL+"/installation/token", nil)
	must(w.t, err)
	resp, err := w.client.Client().Do(req)
	must(w.t, err)
	resp.Body.Close()
	if resp.StatusCode != 204 {
		w.t.Errorf("revoke: %d", resp.StatusCode)
	}
}
