package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtypebot/dtypebot/bot"
)

// newKey makes an App's private key as GitHub hands it out.
var newKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]Config{
		"no id":          {Key: newKey()},
		"bad key":        {AppID: 1, Key: []byte("-----BEGIN X-----\nsecretsecret\n-----END X-----")},
		"plain http":     {AppID: 1, Key: newKey(), APIURL: "http://github.example/"},
		"no address":     {AppID: 1, Key: newKey(), APIURL: "api.github.com"},
		"credentials":    {AppID: 1, Key: newKey(), APIURL: "https://me:secretsecret@api.github.com/"},
		"graphql scheme": {AppID: 1, Key: newKey(), GraphQLURL: "ftp://api.github.com/graphql"},
	} {
		_, err := New(config)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

func TestGraphQLURL(t *testing.T) {
	for api, want := range map[string]string{
		"https://api.github.com/":        "https://api.github.com/graphql",
		"https://api.github.com":         "https://api.github.com/graphql",
		"https://git.example/api/v3/":    "https://git.example/api/graphql",
		"https://api.sub.ghe.com/":       "https://api.sub.ghe.com/graphql",
		"http://127.0.0.1:8080/api/v3":   "http://127.0.0.1:8080/api/graphql",
		"http://127.0.0.1:8080/simulate": "http://127.0.0.1:8080/simulate/graphql",
	} {
		if got := GraphQLURL(api); got != want {
			t.Errorf("GraphQLURL(%q) = %q, want %q", api, got, want)
		}
	}
}

// newTestApp serves the token itself and everything else by handle.
func newTestApp(t *testing.T, handle http.HandlerFunc) (*App, *atomic.Int32) {
	t.Helper()
	var tokens atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{
			"token":      "ghs_" + strings.Repeat("t", 500) + r.PathValue("id"),
			"expires_at": time.Now().Add(time.Hour),
		})
	})
	mux.HandleFunc("/", handle)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	app, err := New(Config{AppID: 7, Key: newKey(), APIURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return app, &tokens
}

func TestOneTokenPerInstallation(t *testing.T) {
	app, tokens := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "token ghs_") {
			t.Errorf("%s without a token", r.URL)
		}
		http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
	})
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			_, err := app.Snapshot(t.Context(), bot.Job{Installation: int64(1 + i%2), Repository: 1, Owner: "o", Name: "n", Pull: i})
			if _, ok := errors.AsType[bot.Drop](err); !ok {
				t.Errorf("a deleted repository: %v", err)
			}
		})
	}
	group.Wait()
	if n := tokens.Load(); n != 2 {
		t.Errorf("%d tokens were fetched for 2 installations", n)
	}
}

// A cancelled job must not spoil the token for those who wait for it.
func TestTokenOutlivesItsFirstCaller(t *testing.T) {
	app, tokens := newTestApp(t, http.NotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := app.Snapshot(ctx, bot.Job{Installation: 1, Repository: 1, Pull: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled job: %v", err)
	}
	if _, err := app.installation(t.Context(), 1); err != nil || tokens.Load() != 1 {
		t.Errorf("%d tokens, %v", tokens.Load(), err)
	}
}

// TestWarm has a burst of webhooks come while GitHub does not answer: it is asked
// once.
func TestWarm(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	a, err := New(Config{AppID: 1, Key: newKey(), APIURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		a.Warm(t.Context(), 7)
	}
	<-asked
	a.Warm(t.Context(), 8) // another one is asked about
	<-asked
	if n := len(asked); n != 0 {
		t.Errorf("asked %d times more", n)
	}
}

func TestTokenRefused(t *testing.T) {
	for _, test := range []struct {
		status   int
		message  string
		drop     bool
		handBack bool
	}{
		{404, "Not Found", true, false},
		{403, "This installation has been suspended", true, false},
		{403, "Resource not accessible", true, false},
		{401, "A JSON web token could not be decoded", false, true},
		{403, "You have exceeded a secondary rate limit", false, true},
		{502, "bad gateway", false, true},
	} {
		t.Run(fmt.Sprintf("%d %s", test.status, test.message), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(test.status)
				json.NewEncoder(w).Encode(map[string]string{"message": test.message})
			}))
			defer server.Close()
			app, err := New(Config{AppID: 7, Key: newKey(), APIURL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = app.Snapshot(t.Context(), bot.Job{Installation: 3, Repository: 1, Owner: "o", Name: "n", Pull: 1})
			if _, ok := errors.AsType[bot.Drop](err); ok != test.drop {
				t.Errorf("drop %v: %v", ok, err)
			}
			if retry, ok := errors.AsType[bot.Retry](err); ok == test.drop || retry.HandBack != test.handBack {
				t.Errorf("retry %v, hand back %v: %v", ok, retry.HandBack, err)
			}
		})
	}
}

func TestRevokedTokenIsForgotten(t *testing.T) {
	app, tokens := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
	})
	for range 2 {
		_, err := app.Snapshot(t.Context(), bot.Job{Installation: 1, Repository: 1, Owner: "o", Name: "n", Pull: 1})
		if _, ok := errors.AsType[bot.Retry](err); !ok {
			t.Fatalf("revoked token: %v", err)
		}
	}
	if n := tokens.Load(); n != 2 {
		t.Errorf("%d tokens, want a new one after the first was refused", n)
	}
}

// GitHub may be impersonated by an answer, not by a host: the token goes nowhere
// else.
func TestRedirectsStayOnTheHost(t *testing.T) {
	var reached atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached.Store(true) }))
	defer elsewhere.Close()
	app, _ := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusMovedPermanently)
	})
	_, err := app.Snapshot(t.Context(), bot.Job{Installation: 1, Repository: 1, Owner: "o", Name: "n", Pull: 1})
	if !errors.Is(err, errForeignHost) || reached.Load() {
		t.Errorf("another host was reached %v: %v", reached.Load(), err)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", err, err), "ghs_") {
		t.Errorf("the error shows the token: %+v", err)
	}
}

func TestWritesAreNotRedirected(t *testing.T) {
	var methods []string
	app, _ := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method)
		http.Redirect(w, r, "/repositories/1/check-runs", http.StatusMovedPermanently)
	})
	_, err := app.Post(t.Context(), bot.Snapshot{Job: bot.Job{Installation: 1}}, bot.Review{Owner: "o", Name: "n", Head: "h"})
	if _, ok := errors.AsType[bot.Retry](err); !ok || len(methods) != 1 {
		t.Errorf("requests %v: %v", methods, err)
	}
}
