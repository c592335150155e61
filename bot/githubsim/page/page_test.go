package page

import (
	"html/template"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

func newPage(t *testing.T) *Page {
	t.Helper()
	sim, err := githubsim.New(githubsim.Options{Dir: t.TempDir(), URL: "http://127.0.0.1:9"})
	if err != nil {
		t.Skip(err) // no git
	}
	t.Cleanup(sim.Close)
	p, err := New(sim, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMarkdown holds hostile Markdown against the cleaning.
func TestMarkdown(t *testing.T) {
	p := newPage(t)
	for _, test := range []struct {
		name, source string
		want, never  []string
	}{
		{"text", "a **b** `c`", []string{"<strong>b</strong>", "<code>c</code>"}, nil},
		{"table", "| a | b |\n|---|---|\n| `c` | d |", []string{"<table>", "<td><code>c</code></td>"}, nil},
		{"details", "<details><summary>Why</summary>\n\n1. x\n\n</details>", []string{"<details><summary>Why</summary>", "<li>x</li>"}, nil},
		{"code", "```python\nx = 'a<b'\n```", []string{`<pre class="block"`, "a&lt;b"}, []string{"a<b"}},
		{"marker", "a\n\n<!-- dtypebot v1 -->", []string{"a"}, []string{"dtypebot v1"}},
		{"script", "<script>alert(1)</script><img src=x onerror=alert(1)>", nil, []string{"<script", "onerror", "<img"}},
		{"link", "[a](javascript:alert(1)) <a href='data:text/html,x'>b</a>", nil, []string{"javascript:", "data:"}},
		{"form", "<form action=/x><button class=primary>Commit suggestion</button></form>", nil, []string{"<form", "<button", "class="}},
		{"style", "<p style='position:fixed' id=main class=busy>x</p>", []string{"<p>x</p>"}, []string{"style", "id=", "class"}},
		{"own link", "[a](http://127.0.0.1:9/o/r/blob/1/a.py#L3-L4)", []string{`href="/o/r/blob/1/a.py#L3-L4"`}, []string{"127.0.0.1"}},
		{"fence in fence", "````\n```suggestion\nx\n```\n````", []string{"```suggestion"}, []string{"HERE"}},
		{"suggestion", "```suggestion\na\n\nb\n```\n\n```suggestion\nc\n```", []string{"HERE a||b"}, []string{"HERE c"}},
		{"bidi", "`a\u202eb`\n\n```\na\u202eb\n```", []string{"<code>a␣b</code>", ">a␣b\n"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := string(p.markdown(test.source, func(lines []string) template.HTML {
				return template.HTML("HERE " + strings.Join(lines, "|"))
			}))
			for _, w := range test.want {
				if !strings.Contains(got, w) {
					t.Errorf("lacks %q:\n%s", w, got)
				}
			}
			for _, n := range test.never {
				if strings.Contains(got, n) {
					t.Errorf("has %q:\n%s", n, got)
				}
			}
		})
	}
}

// TestCode checks that coloured lines hold the text and nothing else, whatever
// the text is.
func TestCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune("abc \"'#<>&\t{}()=1é\u202e\\")))).Draw(t, "lines")
		colours := code{coloured("x.py", strings.Join(lines, "\n"))}
		for i, l := range lines {
			var marks [][2]int
			if len(l) > 1 {
				from := rapid.IntRange(0, len(l)-1).Draw(t, "from")
				for from > 0 && l[from]&0xc0 == 0x80 {
					from--
				}
				marks = [][2]int{{from, len(l)}}
			}
			got := plain(string(colours.html(i+1, l, marks...)))
			if want := visible(l); got != want {
				t.Fatalf("line %d is shown as %q, want %q", i+1, got, want)
			}
		}
	})
}

// plain takes the tags out of HTML that code made, and undoes its escapes.
func plain(html string) string {
	var b strings.Builder
	for html != "" {
		before, rest, ok := strings.Cut(html, "<")
		b.WriteString(before)
		if !ok {
			break
		}
		_, html, _ = strings.Cut(rest, ">")
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&amp;", "&", "\ufffd", "\ufffd").Replace(b.String())
}

// TestCompare checks that a comparison tells both texts whole and in order.
func TestCompare(t *testing.T) {
	text := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d"}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		var gotA, gotB []string
		same := 0
		for _, r := range compare(a, b) {
			gotA = append(gotA, a[r.a:r.a+r.n]...)
			m := r.m
			if r.same {
				m = r.n
				same += r.n
				if !slices.Equal(a[r.a:r.a+r.n], b[r.b:r.b+r.n]) {
					t.Fatal("different lines count as the same")
				}
			}
			gotB = append(gotB, b[r.b:r.b+m]...)
		}
		if !slices.Equal(gotA, a) || !slices.Equal(gotB, b) {
			t.Fatalf("%q, %q become %q, %q", a, b, gotA, gotB)
		}
		if slices.Equal(a, b) && same != len(a) {
			t.Fatal("equal texts differ")
		}
	})
}

func TestDiffers(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"f(x.transpose(1))", "f(x.to(y.dtype).transpose(1))", ".to(y.dtype)"},
		{"z = zeros(n, device=d)", "z = zeros(n, device=d, dtype=t)", ", dtype=t"},
		{"a = float32_one", "a = float16_one", "16"},
		{"é = zeros(1)", "é = zeros(1, dtype=é)", ", dtype=é"},
		{"abc", "xyz", ""},
		{"same", "same", ""},
	} {
		_, marks := differs(test.a, test.b)
		got := ""
		for _, m := range marks {
			got += test.b[m[0]:m[1]]
		}
		if got != test.want {
			t.Errorf("%q, %q: %q is stressed, want %q", test.a, test.b, got, test.want)
		}
	}
}

func TestHunkLines(t *testing.T) {
	got := hunkLines("@@ -3,2 +5,3 @@ def f():\n a\n-b\n+c\n+d\n\\ No newline at end of file")
	want := []githubsim.DiffLine{
		{Kind: ' ', Old: 3, New: 5, Text: "a"},
		{Kind: '-', Old: 4, Text: "b"},
		{Kind: '+', New: 6, Text: "c"},
		{Kind: '+', New: 7, Text: "d"},
		{Kind: '\\', Text: " No newline at end of file"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := hunkLines("nonsense"); got != nil {
		t.Errorf("nonsense has lines: %v", got)
	}
}

// TestChanges checks the rows of a suggestion's diff.
func TestChanges(t *testing.T) {
	rows := changes("a.py", []string{"    a = 1", "    b = zeros(2)"}, []string{"    a = 1", "    b = zeros(2, dtype=x)", "    c"}, 7)
	var got []string
	for _, r := range rows {
		got = append(got, r.Sign()+plain(string(r.HTML)))
	}
	want := []string{"    a = 1", "−    b = zeros(2)", "+    b = zeros(2, dtype=x)", "+    c"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if rows[0].Old != 7 || rows[0].New != 7 || rows[1].Old != 8 || rows[1].New != 0 || rows[3].New != 9 {
		t.Errorf("numbers %+v", rows)
	}
	if rows := changes("a.py", []string{"a"}, nil, 0); len(rows) != 1 || rows[0].Kind != "del" {
		t.Errorf("a deletion: %+v", rows)
	}
}
