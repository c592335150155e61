package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// Permissions are what the bot needs of an installation, by GitHub's names. The
// permission to read metadata comes with every App.
// https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
func Permissions() map[string]string {
	return map[string]string{"contents": "read", "pull_requests": "write", "checks": "write"}
}

// Events are the webhooks that the bot needs. GitHub sends check_run and
// check_suite with the action "rerequested" to every App that may write checks,
// so only the first has to be subscribed to.
func Events() []string { return []string{"pull_request"} }

// An Identity is what GitHub knows of the App.
type Identity struct {
	ID          int64
	Slug        string            // e.g. "dtypebot"
	Name        string            // for people
	Permissions map[string]string // e.g. "checks": "write"
	Events      []string
	// Ahead is by how much this machine's clock is ahead of GitHub's, to the
	// second; GitHub refuses credentials that seem to be from the future.
	Ahead time.Duration
}

// Login is the name of the account that the App acts as, e.g. "dtypebot[bot]".
func (i Identity) Login() string { return i.Slug + "[bot]" }

// Missing lists what the App or an installation is granted too little of, as
// "checks: write", sorted.
func Missing(granted map[string]string) []string {
	rank := map[string]int{"read": 1, "write": 2, "admin": 3}
	var missing []string
	for _, name := range []string{"checks", "contents", "pull_requests"} {
		if need := Permissions()[name]; rank[granted[name]] < rank[need] {
			missing = append(missing, name+": "+need)
		}
	}
	return missing
}

// An Account is one installation of the App.
type Account struct {
	Installation int64
	Login        string
	Suspended    bool
	Permissions  map[string]string
}

// errPerson is the answer of what only an App can ask.
var errPerson = errors.New("a token is no App")

// asApp returns a client that signs as the App itself.
func (a *App) asApp() (*github.Client, error) {
	if a.person != nil {
		return nil, errPerson
	}
	return a.client(ghinstallation.NewAppsTransportFromPrivateKey(a.base, a.id, a.key)), nil
}

// Identity asks GitHub who the App is. Its errors are Retry, or *Error when
// GitHub refuses the credentials.
func (a *App) Identity(ctx context.Context) (Identity, error) {
	client, err := a.asApp()
	if err != nil {
		return Identity{}, err
	}
	var app struct {
		ID          int64             `json:"id"`
		Slug        string            `json:"slug"`
		Name        string            `json:"name"`
		Permissions map[string]string `json:"permissions"`
		Events      []string          `json:"events"`
	}
	resp, err := get(ctx, client, "app", "app", &app)
	if err != nil {
		return Identity{}, err
	}
	if app.Slug == "" {
		return Identity{}, &Error{Call: "app", Status: resp.StatusCode, Message: "an App without a slug"}
	}
	return Identity{
		ID: app.ID, Slug: app.Slug, Name: app.Name, Permissions: app.Permissions, Events: app.Events, Ahead: ahead(resp.Header),
	}, nil
}

// Accounts lists the App's first hundred installations, and says whether there
// are more.
func (a *App) Accounts(ctx context.Context) (accounts []Account, more bool, err error) {
	client, err := a.asApp()
	if err != nil {
		return nil, false, err
	}
	var list []struct {
		ID      int64 `json:"id"`
		Account struct {
			Login string `json:"login"`
		} `json:"account"`
		Suspended   *time.Time        `json:"suspended_at"`
		Permissions map[string]string `json:"permissions"`
	}
	resp, err := get(ctx, client, "installations", "app/installations?per_page=100", &list)
	if err != nil {
		return nil, false, err
	}
	for _, i := range list {
		accounts = append(accounts, Account{Installation: i.ID, Login: i.Account.Login, Suspended: i.Suspended != nil, Permissions: i.Permissions})
	}
	return accounts, resp.NextPage != 0, nil
}

// InstallationOf finds the installation that reaches a repository. It is 0 for
// an App that acts by a person's token, and bot.Drop if there is none.
func (a *App) InstallationOf(ctx context.Context, owner, name string) (int64, error) {
	client, err := a.asApp()
	if errors.Is(err, errPerson) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var found struct {
		ID int64 `json:"id"`
	}
	_, err = get(ctx, client, "installation", fmt.Sprintf("repos/%s/%s/installation", owner, name), &found)
	if e, ok := refused(err); ok && e.Status == http.StatusNotFound {
		return 0, bot.Drop{Reason: fmt.Sprintf("the App is not installed on %s/%s, or there is no such repository", owner, name)}
	}
	return found.ID, err
}

// Locate finds a repository: the installation that reaches it (0 for an App that
// acts by a person's token) and its id. It is bot.Drop if it cannot be reached.
func (a *App) Locate(ctx context.Context, owner, name string) (installation, repository int64, err error) {
	if installation, err = a.InstallationOf(ctx, owner, name); err != nil {
		return 0, 0, err
	}
	inst := a.person
	if inst == nil {
		if inst, err = a.installation(ctx, installation); err != nil {
			return 0, 0, err
		}
	}
	var found struct {
		ID int64 `json:"id"`
	}
	_, err = get(ctx, inst.client, "repository", fmt.Sprintf("repos/%s/%s", owner, name), &found)
	if e, ok := refused(err); ok && e.Status == http.StatusNotFound {
		return 0, 0, bot.Drop{Reason: fmt.Sprintf("there is no repository %s/%s, or it is not open to these credentials", owner, name)}
	}
	return installation, found.ID, err
}

// get reads one address. The library's own types leave out permissions that it
// does not know, so the answers are decoded here.
func get(ctx context.Context, client *github.Client, call, address string, into any) (*github.Response, error) {
	req, err := client.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call, err)
	}
	var raw json.RawMessage
	resp, err := client.Do(ctx, req, &raw)
	if err != nil {
		return nil, classify(call, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("%s: decode the answer: %w", call, err)
	}
	return resp, nil
}

// ahead compares this machine's clock with the answer's date, which has no
// fractions of a second.
func ahead(header http.Header) time.Duration {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return time.Since(at).Truncate(time.Second)
}
