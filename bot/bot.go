// Package bot is the straight pipe from a job to a posted review:
//
//	job -> Snapshot (all reads) -> check.Report -> suggestions.Plan -> Review (data) -> posted (all writes)
//
// Everything between the Snapshot and the Review is pure: it reads no clock, no
// network and no file. The package declares the small interfaces that it needs;
// bot/github, bot/queue and bot/store satisfy them.
//
// It does not talk to GitHub or to a queue by itself, and it never runs the
// code that it reviews.
package bot
