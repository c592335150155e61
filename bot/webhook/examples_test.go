package webhook

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

// TestExamples sends every example payload that GitHub's own documentation of
// webhooks is made from, signed. None may be answered 5xx, and those that a
// pull request's review hangs on must be understood. The examples are not kept
// here: npm pack @octokit/webhooks-examples, then set DTYPEBOT_WEBHOOKS to the
// path of its api.github.com/index.json.
func TestExamples(t *testing.T) {
	path := os.Getenv("DTYPEBOT_WEBHOOKS")
	if path == "" {
		const how = "needs GitHub's example payloads: npm pack @octokit/webhooks-examples@7.6.1, unpack, DTYPEBOT_WEBHOOKS=…/package/api.github.com/index.json"
		if os.Getenv("DTYPEBOT_REQUIRE") == "all" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	sent := 0
	accepted := map[string]bool{}
	for _, e := range events {
		for i, body := range e.Examples {
			var head struct {
				Action       string
				Number       int
				Installation *struct{ ID int64 }
			}
			// An action that is no text is the handler's to refuse.
			_ = json.Unmarshal(body, &head)
			q := &recorder{}
			resp := deliver(newHandler(t, q, Options{}), e.Name, string(body), nil)
			sent++
			name := e.Name + "." + head.Action
			switch resp.StatusCode {
			case http.StatusAccepted:
				accepted[name] = true
				if len(q.jobs) == 0 {
					t.Errorf("%s, example %d: accepted without a job", name, i)
				}
				for _, job := range q.jobs {
					if job.Pull <= 0 && job.Command == nil && job.Index == "" || head.Number > 0 && job.Pull != head.Number || job.Repository <= 0 || job.Installation != head.Installation.ID {
						t.Errorf("%s, example %d: job %+v", name, i, job)
					}
				}
			case http.StatusNoContent:
				if len(q.jobs) > 0 {
					t.Errorf("%s, example %d: a job in spite of 204", name, i)
				}
			default: // all of them are well formed
				t.Errorf("%s, example %d: %s", name, i, resp.Status)
			}
		}
	}
	t.Logf("%d payloads of %d events; accepted: %v", sent, len(events), accepted)
	if sent < 200 {
		t.Errorf("only %d payloads", sent)
	}
	for _, name := range []string{"pull_request.opened", "pull_request.synchronize", "check_suite.rerequested", "merge_group.checks_requested", "installation.deleted", "pull_request_review_thread.resolved"} {
		if !accepted[name] {
			t.Errorf("no %s was accepted", name)
		}
	}
}
