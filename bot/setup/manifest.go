package setup

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// A Manifest is what GitHub is asked to make an App of.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
type Manifest struct {
	Name               string            `json:"name"`
	URL                string            `json:"url"`
	Description        string            `json:"description"`
	Public             bool              `json:"public"`
	HookAttributes     Hook              `json:"hook_attributes"`
	RedirectURL        string            `json:"redirect_url,omitempty"`
	DefaultPermissions map[string]string `json:"default_permissions"`
	DefaultEvents      []string          `json:"default_events"`
}

// A Hook says where the App's webhooks go.
type Hook struct {
	URL    string `json:"url"`
	Active bool   `json:"active"`
}

// A Permission is one that the App asks for.
type Permission struct{ Name, Level, Why string }

// Permissions are what the App asks for, in the order in which they are shown.
// With write it may change the contents of repositories too.
func Permissions(write bool) []Permission {
	contents := Permission{"contents", "read", "the Python files of the repository"}
	if write {
		contents = Permission{"contents", "write", "the Python files of the repository; conversations are resolved, and Fix all commits when somebody presses it"}
	}
	return []Permission{
		{"metadata", "read", "every App has it"},
		contents,
		{"pull_requests", "write", "the review; its own threads are read back first"},
		{"checks", "write", "the check run"},
		{"issues", "read", "comments that address the bot"},
		{"merge_queues", "read", "the check in merge queues"},
	}
}

// Events are the webhooks that the App asks for.
func Events() []string {
	return []string{"pull_request", "check_run", "check_suite", "issue_comment", "pull_request_review_thread", "merge_group", "push", "repository"}
}

// manifest is that of an App of this name whose bot is reached at an address.
func manifest(name, address string, write bool) Manifest {
	m := Manifest{
		Name: name, URL: "https://github.com/dtypebot/dtypebot", Description: "Reviews pull requests of PyTorch code for mixed tensor dtypes.",
		HookAttributes:     Hook{URL: strings.TrimSuffix(address, "/") + "/webhook", Active: true},
		DefaultPermissions: map[string]string{}, DefaultEvents: Events(),
	}
	for _, p := range Permissions(write) {
		m.DefaultPermissions[p.Name] = p.Level
	}
	return m
}

// A form is what a person fills in.
type form struct {
	Name, Organization, Address string
	Write                       bool
	Faults                      map[string]string // by field
}

var organization = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,38})$`)

// longestName is how long GitHub lets the name of an App be.
const longestName = 34

// read cleans and checks the form; what is wrong stands in Faults.
func (f *form) read(values url.Values) {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	f.Name, f.Organization, f.Address, f.Write = get("name"), get("organization"), get("address"), get("write") != ""
	f.Faults = map[string]string{}
	switch {
	case f.Name == "":
		f.Faults["name"] = "The App needs a name."
	case len(f.Name) > longestName:
		f.Faults["name"] = "GitHub takes at most 34 characters."
	}
	if f.Organization != "" && !organization.MatchString(f.Organization) {
		f.Faults["organization"] = "This is no name of an organisation: letters, digits and hyphens."
	}
	if fault := unreachable(f.Address); fault != "" {
		f.Faults["address"] = fault
	}
}

// unreachable says what is wrong with an address that GitHub is to reach, "" if
// nothing is.
func unreachable(address string) string {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return "GitHub needs an address to send webhooks to."
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "This is no address like https://dtypebot.example.com."
	case u.Scheme != "https":
		return "It has to begin with https://, as webhooks cross the network."
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if strings.EqualFold(u.Hostname(), "localhost") || err == nil && (ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast()) {
		return "GitHub cannot reach this machine by that name."
	}
	return ""
}
