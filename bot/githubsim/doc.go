// Package githubsim is a GitHub that runs on this machine: real git
// repositories (the git binary), and in memory everything that GitHub keeps
// beside git: Apps, installations, pull requests, reviews, threads, check
// runs, webhook deliveries. It serves the part of GitHub's REST and GraphQL
// interfaces that a pull-request bot uses, sends signed webhooks, and refuses
// what GitHub refuses, in GitHub's words.
//
// A test makes a Sim, registers an App, adds a repository, installs the App,
// serves [Sim.Handler], and then plays the people: [Sim.Commit],
// [Sim.OpenPull], [Sim.CommitSuggestion], [Sim.Reply]. [Sim.Wait] and
// [Sim.Until] wait for what happens meanwhile, without sleeping.
//
// Where GitHub's behaviour is not documented, the comment at the place says
// which observation it follows or that it is a choice.
//
// It does not serve git over HTTP, does not keep its state over a restart,
// does not know teams, organisations' rules, branch protection, merging or
// user tokens, and does not render Markdown.
package githubsim
