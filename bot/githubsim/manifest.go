package githubsim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An AppManifest is what a person is asked to make an App of.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
type AppManifest struct {
	Name           string `json:"name"`
	URL            string `json:"url"`
	Description    string `json:"description"`
	Public         bool   `json:"public"`
	RedirectURL    string `json:"redirect_url"`
	HookAttributes struct {
		URL    string `json:"url"`
		Active *bool  `json:"active"` // true if it is missing
	} `json:"hook_attributes"`
	DefaultPermissions map[string]string `json:"default_permissions"`
	DefaultEvents      []string          `json:"default_events"`
}

// eventNeeds are the permissions of which an event needs one.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
var eventNeeds = map[string]string{
	"pull_request": "pull_requests", "pull_request_review": "pull_requests", "pull_request_review_comment": "pull_requests",
	"pull_request_review_thread": "pull_requests", "check_run": "checks", "check_suite": "checks", "issue_comment": "issues",
	"merge_group": "merge_queues", "push": "contents", "repository": "metadata",
}

// longestName is how long the name of an App may be.
const longestName = 34

// ReadManifest reads a manifest as GitHub's page "Create GitHub App" does, and
// refuses what that page refuses. The words are the page's as far as they are
// known.
func (s *Sim) ReadManifest(text string) (AppManifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readManifest(text)
}

func (s *Sim) readManifest(text string) (AppManifest, error) {
	var m AppManifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, refusal("Manifest is not valid JSON: %v", err)
	}
	slug := slugOf(m.Name)
	switch {
	case m.Name == "" || slug == "":
		return m, refusal("Name can't be blank")
	case len(m.Name) > longestName:
		return m, refusal("Name is too long (maximum is %d characters)", longestName)
	case slices.ContainsFunc(s.apps, func(a *app) bool { return a.slug == slug }):
		return m, refusal("Name is already taken")
	case !isAddress(m.URL):
		return m, refusal("Url must be a valid URL")
	case !isAddress(m.RedirectURL):
		return m, refusal("Redirect url must be a valid URL")
	case !isAddress(m.HookAttributes.URL):
		return m, refusal("Hook url must be a valid URL")
	}
	if u, _ := url.Parse(m.HookAttributes.URL); u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") {
		return m, refusal("Hook url is not supported because it isn't reachable over the public Internet (%s)", u.Hostname())
	}
	for name, level := range m.DefaultPermissions {
		if rank(level) < 1 {
			return m, refusal("Default permission records access level %q of %s is not permitted", level, name)
		}
	}
	for _, event := range m.DefaultEvents {
		need, known := eventNeeds[event]
		if !known || need != "metadata" && m.DefaultPermissions[need] == "" {
			return m, refusal("Default events unsupported: %s", event)
		}
	}
	return m, nil
}

func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// slugOf makes an App's name part of an address.
func slugOf(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name), "-")
}

// A conversion is an App that was made of a manifest and whose credentials were
// not fetched yet.
type conversion struct {
	app     App
	secret  string
	expires time.Time
}

// CreateFromManifest presses "Create GitHub App" on the page of a manifest: the
// App belongs to owner. It gives the code for which the credentials are had, once
// and within an hour.
func (s *Sim) CreateFromManifest(text, owner string) (code string, err error) {
	m, err := s.ReadManifest(text)
	if err != nil {
		return "", err
	}
	secret := ""
	if m.HookAttributes.Active == nil || *m.HookAttributes.Active {
		secret = strings.ToLower(rand.Text())
	}
	made, err := s.RegisterApp(AppOptions{
		Name: m.Name, Slug: slugOf(m.Name), Owner: owner, Permissions: m.DefaultPermissions, Events: m.DefaultEvents,
		WebhookURL: m.HookAttributes.URL, Secret: secret,
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code = strings.ToLower(rand.Text())
	s.conversions[code] = conversion{app: made, secret: secret, expires: s.now().Add(time.Hour)}
	s.touch()
	return code, nil
}

// convert gives the credentials of an App that was made of a manifest.
func (s *Sim) convert(c *call) reply {
	code := c.path("code")
	made, known := s.conversions[code]
	delete(s.conversions, code)
	if !known || !s.now().Before(made.expires) {
		return refuse(http.StatusNotFound, "Not Found", "rest/apps/apps#create-a-github-app-from-a-manifest")
	}
	o := s.appJSON(s.appByID(made.app.ID))
	o["client_id"], o["client_secret"] = made.app.ClientID, fmt.Sprintf("%040x", made.app.ID)
	o["pem"], o["webhook_secret"] = string(made.app.PEM), made.secret
	if made.secret == "" {
		o["webhook_secret"] = nil
	}
	return created(o)
}
