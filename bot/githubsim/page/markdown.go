package page

import (
	"bytes"
	"crypto/rand"
	"html/template"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/util"
)

// allowed is what Markdown may become: as on GitHub, HTML in it is taken for
// HTML and then cleaned. No class, style, id, form or script gets through.
var allowed = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "del",
		"sub", "sup", "kbd", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "b", "i")
	p.AllowAttrs("align").Matching(bluemonday.CellAlign).OnElements("th", "td")
	p.AllowAttrs("start").Matching(bluemonday.Integer).OnElements("ol")
	p.AllowStandardURLs()
	p.AllowRelativeURLs(true)
	p.AllowAttrs("href").OnElements("a")
	p.RequireNoFollowOnLinks(true)
	return p
}()

// markdown renders a comment or summary. Code blocks are coloured; the first
// suggestion block becomes what suggestion makes of it, if that is not nil.
func (p *Page) markdown(source string, suggestion func(lines []string) template.HTML) template.HTML {
	// Blocks of ours are put in behind the cleaning, where a placeholder that
	// nobody can guess stands.
	blocks := &blocks{token: rand.Text(), suggestion: suggestion}
	md := goldmark.New(
		goldmark.WithExtensions(extension.GFM),
		goldmark.WithRendererOptions(html.WithUnsafe(), renderer.WithNodeRenderers(util.Prioritized(blocks, 1))),
	)
	source = strings.Map(func(r rune) rune {
		if r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '\u2423' // text must not turn around what stands beside it
		}
		return r
	}, source)
	var b bytes.Buffer
	if err := md.Convert([]byte(source), &b); err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(source) + "</pre>") //nolint:gosec // escaped
	}
	clean := string(allowed.SanitizeBytes(b.Bytes()))
	// Links to the simulated GitHub stay on this page, however it was reached.
	clean = strings.ReplaceAll(clean, `href="`+template.HTMLEscapeString(p.sim.URL())+"/", `href="/`)
	parts := strings.Split(clean, "<p>"+blocks.token+"</p>")
	var out strings.Builder
	for i, part := range parts {
		out.WriteString(part)
		if i < len(parts)-1 && i < len(blocks.done) {
			out.WriteString(string(blocks.done[i]))
		}
	}
	return template.HTML(out.String()) //nolint:gosec // cleaned above, or made by us
}

// blocks renders fenced and indented code.
type blocks struct {
	token      string
	suggestion func([]string) template.HTML
	suggested  bool
	done       []template.HTML
}

// RegisterFuncs takes the code blocks from goldmark's own renderer.
func (b *blocks) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindFencedCodeBlock, b.render)
	r.Register(ast.KindCodeBlock, b.render)
}

func (b *blocks) render(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	var text strings.Builder
	for i := range node.Lines().Len() {
		segment := node.Lines().At(i)
		text.Write(segment.Value(source))
	}
	language := ""
	if fenced, ok := node.(*ast.FencedCodeBlock); ok {
		language = string(fenced.Language(source))
	}
	b.done = append(b.done, b.block(language, text.String()))
	_, err := w.WriteString("<p>" + b.token + "</p>\n")
	return ast.WalkSkipChildren, err
}

func (b *blocks) block(language, text string) template.HTML {
	body := strings.TrimSuffix(text, "\n")
	if language == "suggestion" && b.suggestion != nil && !b.suggested {
		b.suggested = true
		var lines []string
		if text != "" {
			lines = strings.Split(body, "\n")
		}
		return b.suggestion(lines)
	}
	colours := code{}
	if language != "" {
		colours = code{coloured("x."+strings.NewReplacer("python", "py", "suggestion", "py").Replace(language), text)}
	}
	var out strings.Builder
	out.WriteString(`<pre class="block" tabindex="0"><code>`)
	for i, l := range strings.Split(body, "\n") {
		out.WriteString(string(colours.html(i+1, l)) + "\n")
	}
	out.WriteString("</code></pre>")
	return template.HTML(out.String()) //nolint:gosec // code.html escapes
}
