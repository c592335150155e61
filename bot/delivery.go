package bot

import "time"

// A Delivery is one attempt of GitHub to deliver a webhook, as it lists them.
type Delivery struct {
	ID            int64  // of the attempt
	GUID          string // of the event, the same in each attempt
	Event, Action string // Action is "" for events without one
	At            time.Time
	Delivered     bool // it was answered by a status of 2xx
}

// An OpenPull is an open pull request, as GitHub lists them.
type OpenPull struct {
	Repository  int64
	Owner, Name string
	Number      int
	Updated     time.Time
}
