package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/bot"
)

// Deliveries lists a page of the App's webhook deliveries, newest first: the
// first page if cursor is "". next is the cursor of the following page, "" after
// the last. GitHub keeps them for three days, GitHub Enterprise Server for
// seven. It does not ask for failed ones only, as GitHub does not say that this
// includes deliveries without any answer.
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
func (a *App) Deliveries(ctx context.Context, cursor string) (page []bot.Delivery, next string, err error) {
	client, err := a.asApp()
	if err != nil {
		return nil, "", err
	}
	var list []struct {
		ID     int64     `json:"id"`
		GUID   string    `json:"guid"`
		At     time.Time `json:"delivered_at"`
		Status int       `json:"status_code"`
		Event  string    `json:"event"`
		Action string    `json:"action"` // null without one
	}
	address := "app/hook/deliveries?per_page=100"
	if cursor != "" {
		address += "&cursor=" + url.QueryEscape(cursor)
	}
	resp, err := get(ctx, client, "deliveries", address, &list)
	if err != nil {
		return nil, "", err
	}
	for _, d := range list {
		page = append(page, bot.Delivery{
			ID: d.ID, GUID: d.GUID, Event: d.Event, Action: d.Action, At: d.At,
			Delivered: d.Status >= 200 && d.Status < 300,
		})
	}
	return page, resp.Cursor, nil
}

// Payload fetches what a delivery brought, or would have brought.
func (a *App) Payload(ctx context.Context, delivery int64) ([]byte, error) {
	client, err := a.asApp()
	if err != nil {
		return nil, err
	}
	var found struct {
		Request struct {
			Payload json.RawMessage `json:"payload"`
		} `json:"request"`
	}
	if _, err := get(ctx, client, "delivery", fmt.Sprintf("app/hook/deliveries/%d", delivery), &found); err != nil {
		return nil, err
	}
	return found.Request.Payload, nil
}

// Installations lists the ids of the App's installations that are not suspended.
func (a *App) Installations(ctx context.Context) ([]int64, error) {
	client, err := a.asApp()
	if err != nil {
		return nil, err
	}
	var ids []int64
	for page := 1; page != 0; {
		var list []struct {
			ID        int64      `json:"id"`
			Suspended *time.Time `json:"suspended_at"`
		}
		resp, err := get(ctx, client, "installations", fmt.Sprintf("app/installations?per_page=%d&page=%d", perPage, page), &list)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if i.Suspended == nil {
				ids = append(ids, i.ID)
			}
		}
		page = resp.NextPage
	}
	return ids, nil
}

// OpenPulls calls each for the open pull requests of an installation that were
// updated after since, until that fails.
func (a *App) OpenPulls(ctx context.Context, installation int64, since time.Time, each func(bot.OpenPull) error) error {
	inst, err := a.installation(ctx, installation)
	if err != nil {
		return err
	}
	for page := 1; page != 0; {
		var list struct {
			Repositories []repositoryListed `json:"repositories"`
		}
		resp, err := get(ctx, inst.client, "repositories", fmt.Sprintf("installation/repositories?per_page=%d&page=%d", perPage, page), &list)
		if err != nil {
			return err
		}
		for _, r := range list.Repositories {
			if r.Archived || r.Disabled {
				continue
			}
			if err := openPulls(ctx, inst.client, r, since, each); err != nil {
				return err
			}
		}
		page = resp.NextPage
	}
	return nil
}

type repositoryListed struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
	Archived bool   `json:"archived"`
	Disabled bool   `json:"disabled"`
}

// openPulls lists those of one repository, newest first.
func openPulls(ctx context.Context, client *github.Client, r repositoryListed, since time.Time, each func(bot.OpenPull) error) error {
	owner, name, _ := strings.Cut(r.FullName, "/")
	for page := 1; page != 0; {
		var list []struct {
			Number  int       `json:"number"`
			Updated time.Time `json:"updated_at"`
		}
		address := fmt.Sprintf("repos/%s/%s/pulls?state=open&sort=updated&direction=desc&per_page=%d&page=%d", owner, name, perPage, page)
		resp, err := get(ctx, client, "pulls", address, &list)
		if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
			return nil // gone meanwhile, or not open to the App
		}
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.Updated.Before(since) {
				return nil
			}
			if err := each(bot.OpenPull{Repository: r.ID, Owner: owner, Name: name, Number: p.Number, Updated: p.Updated}); err != nil {
				return err
			}
		}
		page = resp.NextPage
	}
	return nil
}
