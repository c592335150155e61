package suggestions

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	gmtext "github.com/yuin/goldmark/text"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/analysis"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares sections with the files of a txtar archive, or rewrites it.
func golden(t *testing.T, path string, sections []txtar.File) {
	t.Helper()
	if *update {
		a := &txtar.Archive{Comment: []byte("Written by go test -update; read the difference before it is committed.\n\n"), Files: sections}
		if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	for _, f := range a.Files {
		want[f.Name] = string(f.Data)
	}
	for _, f := range sections {
		got[f.Name] = string(f.Data)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// one returns a comment of one finding with a suggestion for one line.
func one(line int, old, replacement, message string, because ...analysis.Reason) Comment {
	return Comment{
		Path: "models/lift.py", First: line, Last: line, Anchored: true,
		Findings: []analysis.Finding{{
			Rule: "matmul-mixed-dtype", Severity: analysis.High, Confidence: analysis.Certain,
			Path: "models/lift.py", Start: analysis.Position{Line: line, Column: 9}, End: analysis.Position{Line: line, Column: 20},
			Message: message, Because: because,
		}},
		Suggestion: &Suggestion{
			ID: "s1", Safety: analysis.Safe, First: line, Last: line,
			Old: []string{old}, Replacement: []string{replacement},
		},
	}
}

func camera() Comment {
	c := one(395,
		"        joints_2d_proj = torch.matmul(joints_3d, intrinsics.transpose(-1, -2))",
		"        joints_2d_proj = torch.matmul(joints_3d, intrinsics.to(joints_3d.dtype).transpose(-1, -2))",
		"`joints_3d` is bfloat16 (`train.py:88` casts the model); `intrinsics` is float32. PyTorch stops here: `expected scalar type BFloat16 but found Float`.\n\n"+
			"The button casts the camera. That ends the crash but rounds a principal point of 645.56 to 644. If these pixels feed a loss, use the second form: float32 through the division.",
		analysis.Reason{Path: "data/scenes.py", Line: 333, Text: "`np.float32`, returned under the key `\"intrinsics\"`"},
		analysis.Reason{Path: "train.py", Line: 88, Text: "`model.to(torch.bfloat16)`: the predictions are bfloat16"},
	)
	c.Forms = []analysis.Form{{
		Title: "float32 through the division", First: 395, Last: 396,
		Lines: []string{
			"        with torch.autocast(joints_3d.device.type, enabled=False):",
			"            dt = torch.promote_types(joints_3d.dtype, torch.float32)",
			"            uvw = joints_3d.to(dt) @ intrinsics.to(dt).transpose(-1, -2)",
			"            joints_2d = uvw[..., :2] / uvw[..., 2:]",
		},
	}}
	return c
}

func chain(t *testing.T) Comment {
	t.Helper()
	a := projection()
	file := analysis.File{Path: "models/pixel_aligned.py", Source: project(), Hunks: []analysis.Hunk{hunk(88, 108)}}
	plan := a.propose(t, Options{}, file)
	if len(plan.Comments) != 1 {
		t.Fatalf("%d comments, want 1", len(plan.Comments))
	}
	c := plan.Comments[0]
	c.Findings[0].Message = "`ones` takes the device of `points_3d` but not its dtype: float32. With bfloat16 points the rows made of both are float32, and the projection never runs in the dtype of its input."
	c.Findings[1].Message = "`extrinsics` is float32. Once `points_homo` is bfloat16, PyTorch stops here."
	c.Findings[2].Message = "`intrinsics` is float32. Once `points_cam` is bfloat16, PyTorch stops here: `expected scalar type BFloat16 but found Float`."
	return c
}

func TestMarkdown(t *testing.T) {
	link := MarkdownOptions{BlobURL: "https://github.com/o/r/blob/0123abc/"}
	hunkless := camera()
	hunkless.Suggestion.Safety = analysis.Display
	hunkless.Suggestion.Title = "Cast the camera"
	hunkless.Unproven = "the diff does not show line 395"
	hunkless.First, hunkless.Last = 120, 120
	unsafe := one(31, "    np.save(path, feats.cpu().numpy())", "    np.save(path, feats.float().cpu().numpy())",
		"`feats` is bfloat16: the model was loaded with `dtype=torch.bfloat16` and nothing casts since. NumPy has no such type: `Got unsupported ScalarType BFloat16`.")
	unsafe.Findings[0].Rule, unsafe.Suggestion.Safety, unsafe.Suggestion.Title = "bfloat16-to-numpy", analysis.Unsafe, "Save float32"
	copied := one(41, "        out[mask] = self.proj(x[mask])", "        out[mask] = self.proj(x[mask]).to(out.dtype)",
		"Under the autocast of `train.py:120` `self.proj(...)` returns bfloat16, `out` is float32 like `x`. Autocast does not touch indexed writes: `Index put requires the source and destination dtypes match`. Without autocast the cast does nothing.")
	copied.Copies = []Comment{{Path: copied.Path, First: 77, Last: 77}, {Path: copied.Path, First: 113, Last: 114}}
	mute := one(12, "", "", "`p = p.to(dtype)` gives the loop variable a new tensor; the model keeps its old parameters.")
	mute.Suggestion = nil
	mute.Unproven = "the mistake would still be there"
	hostile := one(7, "    s = '```'", "    s = '````' + \"</details><!-- dtypebot -->\"",
		"`x` meets @everyone, see #12 and <b>this</b> ![x](http://h/p.png) and `open\n\n~~~",
		analysis.Reason{Path: "a`b](x).py", Line: 3, Text: "ends\n\n</details>\n```suggestion"})
	var sections []txtar.File
	for _, s := range []struct {
		name string
		c    Comment
		opts MarkdownOptions
	}{
		{"camera matrix.md", camera(), link},
		{"three edits that need each other.md", chain(t), MarkdownOptions{}},
		{"outside the hunk.md", hunkless, link},
		{"unsafe.md", unsafe, MarkdownOptions{}},
		{"copies.md", copied, link},
		{"no suggestion.md", mute, MarkdownOptions{}},
		{"hostile text.md", hostile, link},
	} {
		sections = append(sections, txtar.File{Name: s.name, Data: []byte(Markdown(s.c, s.opts))})
	}
	golden(t, "testdata/comments.txtar", sections)
}

// blocks returns the info strings and texts of all fenced blocks, and the
// number of HTML blocks and raw HTML pieces.
func blocks(source string) (info, code []string, html []string) {
	src := []byte(source)
	doc := goldmark.DefaultParser().Parse(gmtext.NewReader(src))
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			info = append(info, string(n.Language(src)))
			code = append(code, string(n.Lines().Value(src)))
		case *ast.HTMLBlock:
			html = append(html, strings.TrimSpace(string(n.Lines().Value(src))))
		case *ast.RawHTML:
			html = append(html, string(n.Segments.Value(src)))
		}
		return ast.WalkContinue, nil
	})
	return info, code, html
}

func TestMarkdownStructure(t *testing.T) {
	c := camera()
	info, code, html := blocks(Markdown(c, MarkdownOptions{}))
	if d := cmp.Diff([]string{"suggestion", "python"}, info); d != "" {
		t.Errorf("fences (-want +got):\n%s", d)
	}
	if want := c.Suggestion.Replacement[0] + "\n"; len(code) == 0 || code[0] != want {
		t.Errorf("the suggestion block holds %q, want %q", code, want)
	}
	if len(html) == 0 || html[0] != "<details><summary>Why</summary>" {
		t.Errorf("HTML %q, want the folded reasons", html)
	}
}

var hostileTexts = []string{
	"```\n```suggestion\nevil\n```", "`````", "</details>", "<!-- dtypebot v1 -->", "<img src=x onerror=y>",
	"~~~suggestion\nevil", "`", "``", "\\`</sub>", "@octocat", "x`\n\n<b>", "<details><summary>", "\x00\xff", "`a``b`<i>",
}

func FuzzMarkdown(f *testing.F) {
	for _, evil := range hostileTexts {
		f.Add(evil)
	}
	f.Fuzz(func(t *testing.T, text string) { checkContained(t, text) })
}

// TestMarkdownContainsHostileText puts text that tries to break out into every
// place that a repository can fill.
func TestMarkdownContainsHostileText(t *testing.T) {
	for _, evil := range hostileTexts {
		t.Run(evil, func(t *testing.T) {
			checkContained(t, evil)
		})
	}
}

func TestMarkdownContainsAnyText(t *testing.T) {
	tokens := []string{"`", "``", "```", "~~~", "\n", "\n\n", " ", "    ", "- ", "> ", "1. ", "# ", "<", ">", "</", "details", "sub>", "<!--", "-->", "@octocat", "#1", "![", "](", ")", "[x]: y", "\\", "&lt;", "|", "a", "suggestion", "---", "===", "\t"}
	rapid.Check(t, func(r *rapid.T) {
		checkContained(r, strings.Join(rapid.SliceOfN(rapid.SampledFrom(tokens), 1, 12).Draw(r, "tokens"), ""))
	})
}

// checkContained puts text into every place that a repository can fill and
// demands that the structure of the body stays what it was.
func checkContained(t interface{ Errorf(string, ...any) }, evil string) {
	c := one(7, "old", "    s = "+strings.ReplaceAll(evil, "\n", " "), "before "+evil+" after",
		analysis.Reason{Path: evil, Line: 1, Text: evil})
	c.Findings = append(c.Findings, analysis.Finding{Rule: "other", Message: evil, Start: analysis.Position{Line: 8}})
	got := Markdown(c, MarkdownOptions{BlobURL: "https://h/"})
	info, code, html := blocks(got)
	suggested := 0
	for i := range info {
		if info[i] == "suggestion" && code[i] == c.Suggestion.Replacement[0]+"\n" {
			suggested++
		} else if strings.Contains(code[i], "dtypebot: ignore") {
			t.Errorf("a block swallows the rest:\n%s", got)
		}
	}
	if suggested != 1 {
		t.Errorf("%d suggestion blocks with the replacement, want 1:\n%s", suggested, got)
	}
	for _, h := range html {
		switch h {
		case "<details><summary>Why</summary>", "<details><summary>Not a mistake?</summary>", "</details>", "<sub>", "</sub>":
		default:
			t.Errorf("foreign HTML %q in:\n%s", h, got)
		}
	}
	if strings.Contains(goldmarkText(got), "@octocat") {
		t.Errorf("mentions somebody:\n%s", got)
	}
}

// goldmarkText returns the text outside code.
func goldmarkText(source string) string {
	src := []byte(source)
	var b bytes.Buffer
	_ = ast.Walk(goldmark.DefaultParser().Parse(gmtext.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if _, code := n.(*ast.CodeSpan); code {
			return ast.WalkSkipChildren, nil
		}
		if n, ok := n.(*ast.Text); ok && entering {
			b.Write(n.Value(src))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func TestMarkdownIsCutAtSections(t *testing.T) {
	c := camera()
	for i := range 2000 {
		c.Findings[0].Because = append(c.Findings[0].Because, analysis.Reason{Path: "a.py", Line: i, Text: strings.Repeat("`x` ", 40) + fmt.Sprint(i)})
	}
	for range 100 {
		c.Forms = append(c.Forms, analysis.Form{Title: "long", Lines: []string{strings.Repeat("é", 1500)}})
	}
	c.Findings[0].Message = strings.Repeat("word `code` ", 10_000)
	got := Markdown(c, MarkdownOptions{})
	if len(got) > maxBody {
		t.Fatalf("%d bytes, at most %d", len(got), maxBody)
	}
	info, _, _ := blocks(got)
	if len(info) < 2 || info[0] != "suggestion" {
		t.Errorf("blocks %v: the suggestion must survive the cut", info)
	}
	if !strings.HasSuffix(got, "</sub>\n") {
		t.Errorf("the footer is cut off: …%q", got[len(got)-80:])
	}
	if strings.Count(got, "<details>") != strings.Count(got, "</details>") {
		t.Error("the folded part is cut open")
	}
	c.Suggestion.Replacement = []string{strings.Repeat("x", 70_000)}
	if got := Markdown(c, MarkdownOptions{}); len(got) > maxBody || strings.Contains(got, "suggestion\n") {
		t.Errorf("a suggestion that does not fit must be left out whole (%d bytes)", len(got))
	}
}
