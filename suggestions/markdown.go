package suggestions

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dtypebot/dtypebot/analysis"
)

// maxBody is where a body is cut, in bytes. GitHub refuses more than 65,536
// characters (renovate issue 2032); the rest is room for a hidden marker.
const maxBody = 60_000

// MarkdownOptions steer Markdown. The zero value renders without links.
type MarkdownOptions struct {
	// Link gives the address of a line of the reviewed head; "" for none.
	Link func(path string, line int) string
	// BlobURL is the address of the head's tree, such as
	// https://github.com/OWNER/REPO/blob/SHA/, used when Link is nil.
	BlobURL string
}

// Markdown renders a comment for a review: what has which dtype and why it
// matters, the suggestion, other ways to write it, and folded below the chain
// of reasons and how to silence the rule. The suggestion is a suggestion block
// only if it is safe and proven; GitHub applies it to the comment's lines.
//
// Text from the repository cannot break out of where it stands: fences are
// longer than any run of backticks in them, and prose mentions nobody and
// holds no HTML. The body has at most 60,000 bytes; what does not fit is left
// out in whole sections, the reasons and other forms first.
func Markdown(c Comment, opts MarkdownOptions) string {
	var m body
	if len(c.Findings) == 0 {
		return ""
	}
	lead := c.Findings[0]
	message := Prose(lead.Message)
	if lead.Start.Line < c.First || lead.Start.Line > c.Last {
		message = fmt.Sprintf("Line %d: %s", lead.Start.Line, message)
	}
	footer := footer(c)
	m.room = maxBody - len(footer)
	m.add(shorten(message, maxBody/3))
	m.add(others(c))
	m.add(remedy(c))
	m.add(c.UnifierWords())
	m.add(copies(c, opts))
	for _, f := range c.Forms {
		m.add(form(f, len(c.Forms) > 1))
	}
	m.add(why(c, opts))
	m.room = maxBody
	m.add(footer)
	return strings.Join(m.sections, "\n\n") + "\n"
}

// body is a text in sections that has room for so many bytes.
type body struct {
	sections []string
	used     int
	room     int
}

// add adds a section if there is room for it.
func (m *body) add(section string) {
	section = strings.TrimSpace(section)
	if section == "" || m.used+len(section)+2 > m.room {
		return
	}
	m.sections = append(m.sections, section)
	m.used += len(section) + 2
}

// others lists the findings behind the first, and says which lines a longer
// suggestion changes.
func others(c Comment) string {
	var b strings.Builder
	s := c.Suggestion
	if s != nil && len(s.Old) == len(s.Replacement) {
		var lines []int
		for i := range s.Old {
			if s.Old[i] != s.Replacement[i] {
				lines = append(lines, s.First+i)
			}
		}
		if len(lines) > 1 && len(lines) < len(s.Old) || len(lines) > 1 && len(c.Findings)+len(c.Needs) > 1 {
			fmt.Fprintf(&b, "One change in lines %s, since these edits belong together.", and(lines))
			if len(lines) < len(s.Old) {
				b.WriteString(" The lines between stay as they are.")
			}
			b.WriteString("\n")
		}
	}
	seen := map[string]bool{c.Findings[0].Message: true}
	var list []string
	rest := append(slices.Clone(c.Findings[1:]), c.Needs...)
	for _, f := range slices.SortedStableFunc(slices.Values(rest), func(f, g analysis.Finding) int {
		return f.Start.Line - g.Start.Line
	}) {
		if seen[f.Message] {
			continue
		}
		seen[f.Message] = true
		paragraph, _, _ := strings.Cut(strings.TrimSpace(f.Message), "\n\n")
		list = append(list, fmt.Sprintf("- Line %d: %s", f.Start.Line, shorten(Prose(oneLine(paragraph)), 1000)))
	}
	if len(list) > 0 {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(strings.Join(list, "\n"))
	}
	return b.String()
}

// remedy is the suggestion, as a button or as code.
func remedy(c Comment) string {
	s := c.Suggestion
	switch {
	case s == nil:
		return "" // a fix that is wrong is nothing that a reader needs to know of
	case s.Safety == analysis.Safe && c.Anchored && c.First == s.First && c.Last == s.Last:
		return Fenced("suggestion", s.Replacement)
	}
	var b strings.Builder
	if s.Title != "" {
		fmt.Fprintf(&b, "**%s** ", Prose(oneLine(s.Title)))
	}
	fmt.Fprintf(&b, "(%s)", lineWords(s.First, s.Last))
	switch {
	case c.Unproven != "":
		fmt.Fprintf(&b, " as code, not as a button: %s.", Prose(oneLine(c.Unproven)))
	case s.Safety == analysis.Unsafe:
		b.WriteString(" as code, not as a button: it may change more than the dtype.")
	default:
		b.WriteString(" as code:")
	}
	if len(s.Replacement) == 0 {
		return b.String() + "\n\nDelete these lines."
	}
	return b.String() + "\n\n" + Fenced("python", s.Replacement)
}

// copies names the other places of the same mistake.
func copies(c Comment, opts MarkdownOptions) string {
	if len(c.Copies) == 0 {
		return ""
	}
	places := make([]string, 0, len(c.Copies))
	for _, d := range c.Copies {
		places = append(places, linked(strconv.Itoa(d.First), d.Path, d.First, opts))
	}
	word := "lines"
	if len(places) == 1 {
		word = "line"
	}
	return fmt.Sprintf("Also at %s %s.", word, strings.Join(places, ", "))
}

// form is another way to write it, with its lines if there are several forms.
func form(f analysis.Form, several bool) string {
	title := Prose(oneLine(f.Title))
	if title == "" {
		title = "Another way to write it"
	}
	if several && f.First > 0 {
		title += " (" + lineWords(f.First, f.Last) + ")"
	}
	return "**" + title + "**\n\n" + Fenced("python", dedent(f.Lines))
}

// why is the folded chain of reasons and how to silence the rule.
func why(c Comment, opts MarkdownOptions) string {
	var b strings.Builder
	n := 0
	for _, r := range c.Because() {
		place := CodeSpan(fmt.Sprintf("%s:%d", r.Path, r.Line))
		if r.Path == c.Path {
			place = fmt.Sprintf("line %d", r.Line) // of the file that is read
		}
		line := fmt.Sprintf("%d. %s: %s\n", n+1, linked(place, r.Path, r.Line, opts), shorten(Prose(oneLine(r.Text)), 1000))
		if b.Len()+len(line) > maxBody/3 {
			break
		}
		b.WriteString(line)
		n++
	}
	summary := "Why"
	if n > 0 {
		b.WriteString("\n")
	} else {
		summary = "Not a mistake?"
	}
	if rules := rulesOf(c); len(rules) > 0 {
		fmt.Fprintf(&b, "If this is meant, `# dtypebot: ignore[%s] reason` at the end of the line silences it.\n", strings.Join(rules, ", "))
	}
	return "<details><summary>" + summary + "</summary>\n\n" + b.String() + "\n</details>"
}

func footer(c Comment) string {
	return fmt.Sprintf("<sub>%s · %s</sub>", Prose(strings.Join(rulesOf(c), ", ")), c.Confidence())
}

// rulesOf returns the rules of a comment's findings, the strongest first.
func rulesOf(c Comment) []string {
	var rules []string
	for _, f := range c.Findings {
		if !slices.Contains(rules, f.Rule) {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

// linked returns words, linked if there is an address for the place.
func linked(words, path string, line int, opts MarkdownOptions) string {
	address := ""
	switch {
	case opts.Link != nil:
		address = opts.Link(path, line)
	case opts.BlobURL != "":
		address = strings.TrimSuffix(opts.BlobURL, "/") + "/" + escapePath(path) + "#L" + strconv.Itoa(line)
	}
	if address == "" {
		return words
	}
	return "[" + words + "](<" + strings.NewReplacer("<", "%3C", ">", "%3E", "\n", "%0A", "\r", "%0D", `\`, "%5C").Replace(address) + ">)"
}

// escapePath escapes a path for an address and keeps its slashes.
func escapePath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/' || c == '.' || c == '-' || c == '_' || c == '~',
			'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Fenced returns lines as a code block. Its fence is longer than any run of
// backticks inside, wherever it stands: GitHub's own parser of suggestion
// blocks is less careful than CommonMark (github/markup issue 1687).
func Fenced(info string, lines []string) string {
	longest := 0
	for _, l := range lines {
		longest = max(longest, longestRun(l))
	}
	fence := strings.Repeat("`", max(3, longest+1))
	var b strings.Builder
	b.WriteString(fence + info + "\n")
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	b.WriteString(fence)
	return b.String()
}

// CodeSpan returns text as a code span on one line.
func CodeSpan(s string) string {
	s = oneLine(s)
	fence := strings.Repeat("`", longestRun(s)+1)
	if len(fence) > 1 || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " "
	}
	return fence + s + fence
}

func longestRun(s string) int {
	longest, run := 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// Prose makes Markdown harmless outside its code: no HTML, nobody mentioned, no
// issue referred to, no image fetched, no code span or block left open.
func Prose(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '`' {
			run := 1
			for i+run < len(s) && s[i+run] == '`' {
				run++
			}
			if end := closing(s, i+run, run); end >= 0 && run < 3 {
				b.WriteString(s[i:end])
				i = end
				continue
			}
			// Nothing closes it: GitHub would show it, or open a block.
			b.WriteString(strings.Repeat("\\`", run))
			i += run
			continue
		}
		if strings.HasPrefix(s[i:], "\\`") {
			b.WriteString("\\`")
			i += 2
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		next, _ := utf8.DecodeRuneInString(s[i+size:])
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '@' && (unicode.IsLetter(next) || unicode.IsDigit(next)):
			b.WriteString("@\u200b") // a zero-width space: no mention
		case r == '#' && unicode.IsDigit(next):
			b.WriteString("#\u200b")
		case r == '!' && next == '[':
			b.WriteString("\\!")
		case r == '~' && next == '~':
			b.WriteString("\\~")
		case r == utf8.RuneError && size <= 1:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// closing returns where the code span that is opened by a run of backticks
// before from ends, -1 if no equal run follows on the same line: what stands on
// the next may start a block, and a block ends a span that is open.
func closing(s string, from, run int) int {
	for i := from; i < len(s); {
		if s[i] == '\n' || s[i] == '\r' {
			return -1
		}
		if s[i] != '`' {
			i++
			continue
		}
		n := 1
		for i+n < len(s) && s[i+n] == '`' {
			n++
		}
		if n == run {
			return i + n
		}
		i += n
	}
	return -1
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shorten cuts a text to at most n bytes between words; a code span or block
// that the cut opens is dropped with it.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for !utf8.ValidString(s) && len(s) > 0 {
		s = s[:len(s)-1]
	}
	if i := strings.LastIndexAny(s, " \n"); i > n/2 {
		s = s[:i]
	}
	for i := 0; i < len(s); {
		if s[i] != '`' || i > 0 && s[i-1] == '\\' {
			i++
			continue
		}
		run := 1
		for i+run < len(s) && s[i+run] == '`' {
			run++
		}
		end := closing(s, i+run, run)
		if end < 0 {
			s = s[:i]
			break
		}
		i = end
	}
	return strings.TrimSpace(s) + " …"
}

// dedent takes away the white space that all lines start with.
func dedent(lines []string) []string {
	indent := ""
	set := false
	for _, l := range lines {
		if strings.TrimSpace(l) == "" {
			continue
		}
		own := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		if !set {
			indent, set = own, true
		}
		for !strings.HasPrefix(own, indent) {
			indent = indent[:len(indent)-1]
		}
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = strings.TrimPrefix(l, indent)
	}
	return out
}

// and joins numbers as prose does.
func and(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
