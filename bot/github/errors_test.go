package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// TestClassify asks the real client library for its errors.
func TestClassify(t *testing.T) {
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) string { return fmt.Sprint(date.Add(d).Unix()) }
	tests := []struct {
		name     string
		status   int
		header   map[string]string
		body     string
		drop     bool
		retry    time.Duration
		handBack bool
		outage   bool
	}{
		{name: "retry-after wins", status: 403, header: map[string]string{"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at(time.Hour)}, body: "x", retry: 7 * time.Second, handBack: true},
		{name: "retry-after as a date", status: 429, header: map[string]string{"Retry-After": date.Add(90 * time.Second).Format(http.TimeFormat)}, retry: 90 * time.Second, handBack: true},
		{name: "primary limit, GitHub's clock", status: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at(10 * time.Minute)}, body: "API rate limit exceeded", retry: 10*time.Minute + time.Second, handBack: true},
		{name: "primary limit as 429", status: 429, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at(time.Minute)}, retry: 61 * time.Second, handBack: true},
		{name: "reset in the past", status: 429, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at(-time.Minute)}, retry: time.Second, handBack: true},
		{name: "secondary limit by its words", status: 403, body: "You have exceeded a secondary rate limit.", retry: time.Minute, handBack: true},
		{name: "secondary limit as a bare 429", status: 429, body: "slow down", retry: time.Minute, handBack: true},
		{name: "submitted too quickly", status: 422, body: "was submitted too quickly", retry: time.Minute, handBack: true},
		{name: "suspended", status: 403, body: "This installation has been suspended", drop: true},
		{name: "gone", status: 410, drop: true},
		{name: "legal reasons", status: 451, drop: true},
		{name: "server error", status: 502, body: "<html>", retry: 30 * time.Second, handBack: true, outage: true},
		{name: "server error that says when", status: 503, header: map[string]string{"Retry-After": "3"}, retry: 3 * time.Second, handBack: true, outage: true},
		{name: "not JSON", status: 200, body: "<html>", retry: 15 * time.Second},
		{name: "moved write", status: 307, retry: time.Second},
		{name: "not found is the caller's", status: 404, body: "Not Found"},
		{name: "refused is the caller's", status: 422, body: "Unprocessable Entity"},
		{name: "permission is the caller's", status: 403, body: "Resource not accessible by integration"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", date.Format(http.TimeFormat))
				for k, v := range test.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(test.status)
				if strings.HasPrefix(test.body, "<") {
					io.WriteString(w, test.body)
					return
				}
				json.NewEncoder(w).Encode(map[string]string{"message": test.body})
			}))
			defer server.Close()
			client := github.NewClient(server.Client())
			client.BaseURL, _ = client.BaseURL.Parse(server.URL + "/")
			_, _, err := client.PullRequests.Get(t.Context(), "o", "n", 1)
			got := classify("call", err)
			if _, ok := errors.AsType[bot.Drop](got); ok != test.drop {
				t.Errorf("drop %v: %v", ok, got)
			}
			retry, ok := errors.AsType[bot.Retry](got)
			if ok != (test.retry > 0) || retry.After != test.retry || retry.HandBack != test.handBack || retry.Outage != test.outage {
				t.Errorf("retry %v after %s, hand back %v, want %s, %v: %v", ok, retry.After, retry.HandBack, test.retry, test.handBack, got)
			}
			if !test.drop && test.retry == 0 {
				if e, ok := errors.AsType[*Error](got); !ok || e.Status != test.status || e.Message != test.body {
					t.Errorf("error %#v", got)
				}
			}
		})
	}
}

func TestClassifyNetwork(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // nobody listens there any more
	client := github.NewClient(nil)
	client.BaseURL, _ = client.BaseURL.Parse(server.URL + "/")
	_, _, err := client.PullRequests.Get(t.Context(), "o", "n", 1)
	if retry, ok := errors.AsType[bot.Retry](classify("call", err)); !ok || !retry.HandBack {
		t.Errorf("a refused connection: %v", classify("call", err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = client.PullRequests.Get(ctx, "o", "n", 1)
	if err := classify("call", err); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
}

// The library remembers a limit and does not ask; that is a hand-back until the
// same moment.
func TestClassifyRememberedLimit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(10*time.Minute).Unix()))
		http.Error(w, `{"message":"API rate limit exceeded"}`, http.StatusForbidden)
	}))
	defer server.Close()
	client := github.NewClient(server.Client())
	client.BaseURL, _ = client.BaseURL.Parse(server.URL + "/")
	for range 2 {
		_, _, err := client.PullRequests.Get(t.Context(), "o", "n", 1)
		retry, ok := errors.AsType[bot.Retry](classify("call", err))
		if !ok || !retry.HandBack || retry.After < 9*time.Minute || retry.After > 11*time.Minute {
			t.Errorf("retry after %s: %v", retry.After, err)
		}
	}
}

func TestClean(t *testing.T) {
	for _, secret := range []string{
		"ghs_16C7e42F292c6912E7710c838347Ae178B4a",
		"ghs_1234_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJl-_x",
		"github_pat_11ABCDEFG0123456789abcdef",
		"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJl",
	} {
		if got := clean("bad token " + secret + " here"); got != "bad token [token] here" {
			t.Errorf("clean kept a secret: %q", got)
		}
	}
	if got := clean(strings.Repeat("ü\n", 1000)); len(got) > 510 || strings.Contains(got, "\n") {
		t.Errorf("clean: %d bytes", len(got))
	}
}
