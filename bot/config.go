package bot

import "github.com/dtypebot/dtypebot/suggestions"

// CheckName is the name of the bot's check run. Branch protection matches
// required checks by name, so it never changes.
const CheckName = "dtypebot"

// DefaultMaxComments is how many comments stand in one review unless the
// configuration says otherwise.
const DefaultMaxComments = 10

// Config steers Compose. The zero value composes with the defaults.
type Config struct {
	// MaxComments is how many mistakes of one head become comments; the rest
	// is listed in the check run. 0 means DefaultMaxComments.
	MaxComments int
	// Engine is the version that the check run names, e.g. "v0.1.0"; "" names
	// none.
	Engine string
	// Markdown renders a comment's body without the hidden marker; nil means
	// suggestions.Markdown. Whatever it takes from the repository it must
	// escape. link gives the address of a line at the reviewed head.
	Markdown func(c suggestions.Comment, link func(path string, line int) string) string
}

func (c Config) markdown(comment suggestions.Comment, link func(path string, line int) string) string {
	if c.Markdown != nil {
		return c.Markdown(comment, link)
	}
	return suggestions.Markdown(comment, suggestions.MarkdownOptions{Link: link})
}

func (c Config) maxComments() int {
	if c.MaxComments > 0 {
		return c.MaxComments
	}
	return DefaultMaxComments
}
