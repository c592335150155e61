package bot

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// code returns text of the repository as a Markdown code span: there, GitHub
// makes neither mentions nor links nor HTML of it. It never spans lines.
func code(text string) string {
	text = oneLine(text)
	if text == "" {
		return ""
	}
	fence := strings.Repeat("`", longestRun(text, '`')+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return fence + text + fence
}

// cell makes a line of Markdown fit for a table: GitHub splits the row at bars
// before it reads anything else, code spans included.
func cell(markdown string) string {
	return strings.ReplaceAll(markdown, "|", `\|`)
}

// oneLine replaces everything that could break a line or turn the text's
// direction by a space or U+FFFD.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return utf8.RuneError
		}
		return r
	}, text)
}

// longestRun returns the length of the longest run of c.
func longestRun(text string, c byte) int {
	longest, run := 0, 0
	for i := range len(text) {
		if text[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// firstParagraph returns the first paragraph of a finding's message as one line
// of Markdown in which nothing mentions, links or embeds. Code spans stay.
func firstParagraph(message string) string {
	message, _, _ = strings.Cut(strings.TrimSpace(message), "\n\n")
	return inert(oneLine(message))
}

// plain returns a message without its code-span marks, for places that GitHub
// shows as plain text.
func plain(message string) string {
	return strings.ReplaceAll(message, "`", "")
}

// inert escapes what is not in a code span so that it can only be text.
func inert(markdown string) string {
	var b strings.Builder
	for i := 0; i < len(markdown); {
		if markdown[i] == '`' {
			run := 1
			for i+run < len(markdown) && markdown[i+run] == '`' {
				run++
			}
			if end := closing(markdown, i+run, run); end > 0 {
				b.WriteString(markdown[i:end])
				i = end
				continue
			}
			b.WriteString(strings.Repeat("\\`", run)) // opens nothing
			i += run
			continue
		}
		r, size := utf8.DecodeRuneInString(markdown[i:])
		switch r {
		case '#':
			// Escaped it would still be the number of an issue once rendered.
			b.WriteString("#\u200b")
		case '<', '>', '[', ']', '!', '\\', '~', '$', '&':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '@':
			// An entity would be a mention again once it is rendered; a
			// zero-width space behind the sign is what stops it.
			b.WriteString("@\u200b")
		case ':':
			// "https:" followed by the same stops bare addresses.
			b.WriteRune(r)
			if strings.HasPrefix(markdown[i:], "://") {
				b.WriteString("\u200b")
			}
		case '.':
			b.WriteRune(r)
			if i >= 3 && strings.EqualFold(markdown[i-3:i], "www") {
				b.WriteString("\u200b")
			}
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// closing returns the end of the code span whose opening run of backticks ends
// at from, or 0.
func closing(markdown string, from, run int) int {
	for i := from; i < len(markdown); {
		if markdown[i] != '`' {
			i++
			continue
		}
		n := 1
		for i+n < len(markdown) && markdown[i+n] == '`' {
			n++
		}
		if n == run {
			return i + n
		}
		i += n
	}
	return 0
}

// blobURL is the address of lines of a file at a commit.
func blobURL(repository, sha, path string, first, last int) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = strings.NewReplacer("(", "%28", ")", "%29", "'", "%27", "!", "%21", "*", "%2A").Replace(url.PathEscape(s))
	}
	u := fmt.Sprintf("%s/blob/%s/%s", strings.TrimRight(repository, "/"), sha, strings.Join(segments, "/"))
	if first > 0 {
		u += fmt.Sprintf("#L%d", first)
		if last > first {
			u += fmt.Sprintf("-L%d", last)
		}
	}
	return u
}

// Cut shortens Markdown to at most limit bytes. It cuts before a paragraph or
// block, never inside a fence, a suggestion or a rune, closes what it leaves
// open and says that something is missing. The last line is kept whole when it
// is the bot's marker.
func Cut(markdown string, limit int) string {
	if len(markdown) <= limit {
		return markdown
	}
	tail := ""
	if _, ok := ParseMarker(markdown); ok {
		trimmed := strings.TrimRight(markdown, " \t\r\n")
		tail = "\n" + trimmed[strings.LastIndexByte(trimmed, '\n')+1:]
	}
	const note = "\n*The rest did not fit here.*\n"
	room := limit - len(note) - len(tail) - 1
	best, bestClose := -1, ""
	fence, details := "", 0
	for i := 0; i <= room && i < len(markdown); {
		end := strings.IndexByte(markdown[i:], '\n')
		next := len(markdown)
		if end >= 0 {
			next = i + end + 1
		}
		line := strings.TrimRight(markdown[i:next], "\r\n")
		// A place before a line is good when no fence is open there.
		if fence == "" {
			closing := strings.Repeat("\n</details>\n", details)
			if i+len(closing) <= room {
				best, bestClose = i, closing
			}
		}
		trimmed := strings.TrimLeft(line, " ")
		if n := len(trimmed) - len(strings.TrimLeft(trimmed, "`")); n >= 3 {
			switch {
			case fence == "":
				fence = trimmed[:n]
			case n >= len(fence) && strings.TrimSpace(trimmed[n:]) == "":
				fence = ""
			}
		} else if fence == "" {
			details += strings.Count(line, "<details") - strings.Count(line, "</details>")
			details = max(details, 0)
		}
		i = next
	}
	if best <= 0 { // one line or one fence is all there is
		best, bestClose = max(room, 0), ""
		for best > 0 && !utf8.RuneStart(markdown[best]) {
			best--
		}
		if strings.HasPrefix(strings.TrimLeft(markdown, " "), "```") {
			best = 0 // a part of a suggestion would delete code
		}
	}
	return strings.TrimRight(markdown[:best], " \t\r\n") + "\n" + bestClose + note + tail
}

// shorten cuts plain text to at most limit bytes at a rune, with an ellipsis.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	limit -= len("…")
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}
