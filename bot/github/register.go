package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"
)

// A Registration is an App that was just created of a manifest, with its
// credentials.
type Registration struct {
	AppID  int64
	Slug   string // e.g. "dtypebot"
	Name   string // for people
	URL    string // the App's page, https://github.com/apps/dtypebot
	Key    string // the private key, PEM
	Secret string // of the webhook
}

// String leaves the credentials out.
func (r Registration) String() string { return fmt.Sprintf("App %d (%s)", r.AppID, r.Slug) }

// GoString is String: nothing prints the credentials by accident.
func (r Registration) GoString() string { return r.String() }

// Register exchanges the code that GitHub sends a person back with, once and
// within an hour, for the App that was created of a manifest. Of the
// configuration it needs no App. A code that is too old, used or invented is an
// *Error with status 404.
// https://docs.github.com/en/rest/apps/apps#create-a-github-app-from-a-manifest
func Register(ctx context.Context, config Config, code string) (Registration, error) {
	if config.APIURL == "" {
		config.APIURL = DefaultAPIURL
	}
	api, err := parseBase(config.APIURL)
	if err != nil {
		return Registration{}, fmt.Errorf("API address: %w", err)
	}
	if config.Transport == nil {
		config.Transport = newTransport()
	}
	client := github.NewClient(&http.Client{
		Transport:     &pinned{next: config.Transport, hosts: map[string]bool{origin(api): true}, most: maxAnswer},
		CheckRedirect: redirect,
		Timeout:       callTimeout,
	})
	client.BaseURL = api
	if config.UserAgent != "" {
		client.UserAgent = config.UserAgent
	}
	made, _, err := client.Apps.CompleteAppManifest(ctx, url.PathEscape(code))
	if err != nil {
		return Registration{}, classify("manifest", err)
	}
	r := Registration{
		AppID: made.GetID(), Slug: made.GetSlug(), Name: made.GetName(), URL: made.GetHTMLURL(), Key: made.GetPEM(), Secret: made.GetWebhookSecret(),
	}
	if r.AppID <= 0 || r.Slug == "" || r.Key == "" || r.Secret == "" {
		return r, fmt.Errorf("manifest: GitHub's answer lacks the id, slug, key or webhook secret of %s", r)
	}
	return r, nil
}

// SiteURL is where people find the GitHub whose API is at a REST base, without a
// slash at its end: https://api.github.com/ is that of https://github.com, a
// GitHub Enterprise Server's https://HOST/api/v3/ that of https://HOST.
func SiteURL(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.TrimPrefix(u.Host, "api.")
}
