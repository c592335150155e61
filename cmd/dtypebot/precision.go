package main

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dtypebot/dtypebot/bot"
	"github.com/dtypebot/dtypebot/bot/store"
)

// outcomePrefix begins the names of the stored counters of what became of
// comments: PREFIX/outcome/rule/owner/name.
const outcomePrefix = "comments/"

// remember adds to the counters what became of comments. They are kept in the
// store, since a rule shows how often it is right over weeks and not over the life
// of a process. The repository goes by its name: its owner looks at this. What is
// not counted because of a trouble is only logged: it was posted all the same.
func (a *app) remember(ctx context.Context, job bot.Job, list []bot.Outcome) {
	sums := make(map[string]int64)
	for _, o := range list {
		sums[outcomePrefix+strings.Join([]string{o.What, o.Rule, job.Owner, job.Name}, "/")]++
	}
	for name, n := range sums {
		if _, err := a.state.Count(context.WithoutCancel(ctx), name, n); err != nil {
			a.log.Warn("count what became of comments", "counter", name, "error", err)
		}
	}
}

// precision is a collector of these counters.
type precision struct{ state *store.Store }

var precisionDesc = prometheus.NewDesc("dtypebot_comments_total",
	"Comments by rule, repository and what became of them: posted, accepted (the suggestion stands in the code), fixed, dismissed. "+
		"Kept over restarts; processes that share a queue all show the whole.",
	[]string{"rule", "repository", "outcome"}, nil)

func (p precision) Describe(ch chan<- *prometheus.Desc) { ch <- precisionDesc }

func (p precision) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all, err := p.state.Counters(ctx, outcomePrefix)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(precisionDesc, err)
		return
	}
	for name, n := range all {
		parts := strings.SplitN(strings.TrimPrefix(name, outcomePrefix), "/", 3)
		if len(parts) == 3 {
			ch <- prometheus.MustNewConstMetric(precisionDesc, prometheus.CounterValue, float64(n), parts[1], parts[2], parts[0])
		}
	}
}
