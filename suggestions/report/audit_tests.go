package report

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/survey"
)

// harness is the test file around the cases.
//
//go:embed audit_tests.py
var harness string

// mostCases bounds the generated tests; each runs six times.
const mostCases = 60

// test writes the recommendations on testing, and the tests.
func (b *auditor) test() {
	b.out.Testing = []string{
		"Run the forward pass once in bfloat16 without autocast and once under autocast, and assert the dtypes of the outputs and that they are finite. Never assert closeness in bfloat16.",
		"Run it in float64 too: a cast to a literal float32 shows there, and so does every tensor that was made without a dtype.",
		"Anomaly detection does not find dtype mistakes: a silent promotion passes it. It also slows training down.",
	}
	cases := b.cases()
	if len(cases) == 0 {
		return
	}
	b.out.Testing = append(b.out.Testing,
		"The tests below do that for the functions and modules that this report names. They fail before the fixes and pass after them. dtypebot has not run them: it runs no code of a repository.")
	b.out.Tests = strings.NewReplacer("NAME names", oneWord(b.in.Name)+" names", "FILE", "test_dtypes.py", "# CASES\n", strings.Join(cases, "")).Replace(harness)
}

// oneWord makes a name harmless inside a docstring.
func oneWord(s string) string { return notWord.ReplaceAllString(s, "-") }

// cases are the tests of the functions that the report names, as Python.
func (b *auditor) cases() []string {
	wanted := map[string]bool{}
	for _, k := range b.out.Kinds {
		if k.Rule == "" && k.Title != "Two dtypes from the caller" {
			continue
		}
		for _, e := range k.Entries {
			wanted[e.Path+"\x00"+e.Scope] = true
			if class, _, isMethod := strings.Cut(e.Scope, "."); isMethod {
				wanted[e.Path+"\x00"+class+".forward"] = true
			}
		}
	}
	var out []string
	labels := map[string]int{}
	for _, s := range b.in.Mended {
		for _, f := range s.Functions {
			if wanted[f.Path+"\x00"+f.Scope] && len(out) < mostCases {
				out = append(out, b.testCase(f, s, labels))
			}
		}
	}
	return out
}

var notWord = regexp.MustCompile(`\W+`)

// testCase writes one case.
func (b *auditor) testCase(f survey.Function, s *survey.Survey, labels map[string]int) string {
	label := notWord.ReplaceAllString(strings.TrimSuffix(f.Path, ".py")+"_"+f.Scope, "_")
	if labels[label]++; labels[label] > 1 {
		label += fmt.Sprintf("_%d", labels[label])
	}
	sizes := map[string]int{}
	for name, n := range f.Sizes {
		sizes[name] = n
	}
	object, owner, bar := "", "", f.Bar
	switch {
	case f.Class != "" && f.Static:
		owner = f.Class
	case f.Class != "":
		object, bar = made(f.Class, s, sizes, 0)
		if f.Bar != "" {
			bar = f.Bar
		}
	}
	var arguments []string
	for _, p := range f.Params {
		value, why := argument(p, s)
		switch {
		case why != "" && bar == "":
			bar = why
		case value != "":
			arguments = append(arguments, quote(p.Name)+": "+value)
		}
	}
	var c strings.Builder
	fmt.Fprintf(&c, "    {\n        \"label\": %s,\n        \"path\": %s,\n        \"module\": %s,\n", quote(label), quote(f.Path), quote(moduleName(f.Path)))
	fmt.Fprintf(&c, "        \"owner\": %s,\n        \"make\": %s,\n        \"name\": %s,\n        \"bar\": %s,\n", quote(owner), quote(object), quote(f.Name), quote(bar))
	fmt.Fprintf(&c, "        \"sizes\": {%s},\n", sizesText(sizes))
	c.WriteString("        \"arguments\": {\n")
	for _, a := range arguments {
		c.WriteString("            " + a + ",\n")
	}
	c.WriteString("        },\n        \"returns\": {")
	for i, w := range survey.Worlds {
		if i > 0 {
			c.WriteString(", ")
		}
		var row []string
		for _, d := range f.Returns[w.String()] {
			if d == "" {
				row = append(row, "None")
			} else {
				row = append(row, quote(d))
			}
		}
		fmt.Fprintf(&c, "%s: [%s]", quote(w.String()), strings.Join(row, ", "))
	}
	c.WriteString("},\n    },\n")
	return c.String()
}

// quote writes a Python string. Go's escapes are Python's.
func quote(s string) string { return strconv.QuoteToASCII(s) }

// moduleName is what a file is imported as from the project's root.
func moduleName(p string) string {
	p = strings.TrimPrefix(strings.TrimSuffix(p, ".py"), "src/")
	if path.Base(p) == "__init__" {
		p = path.Dir(p)
	}
	return strings.ReplaceAll(p, "/", ".")
}

func sizesText(sizes map[string]int) string {
	var out []string
	for name, n := range sizes {
		out = append(out, fmt.Sprintf("%s: %d", quote(name), n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// made writes the expression that makes an object of a class, and puts what its
// constructor is given into sizes; or it says why there is none.
func made(class string, s *survey.Survey, sizes map[string]int, depth int) (expression, bar string) {
	const deep = 3
	i := slices.IndexFunc(s.Functions, func(f survey.Function) bool { return f.Class == class })
	if i < 0 || depth > deep {
		return "", "its class " + class + " cannot be made"
	}
	var args []string
	for _, p := range s.Functions[i].Init {
		if p.Default || p.Star > 0 {
			continue
		}
		value, why := setting(p, s, sizes, depth)
		if why != "" {
			return "", why
		}
		args = append(args, p.Name+"="+value)
	}
	return class + "(" + strings.Join(args, ", ") + ")", ""
}

// defaultWidth is what stands for a number that a constructor asks for.
const defaultWidth = 8

// setting is the argument of a constructor.
func setting(p survey.Param, s *survey.Survey, sizes map[string]int, depth int) (value, bar string) {
	a := bare(p.Annotation)
	switch {
	case a == "int", a == "":
		sizes[p.Name] = defaultWidth
		return strconv.Itoa(defaultWidth), ""
	case a == "float":
		return "0.5", ""
	case a == "bool":
		return "True", ""
	case pairOfInts.MatchString(a):
		return "(8, 8)", ""
	case listOfInts.MatchString(a):
		return "[8, 8]", ""
	case slices.ContainsFunc(s.Functions, func(f survey.Function) bool { return f.Class == a }):
		return made(a, s, sizes, depth+1)
	}
	return "", fmt.Sprintf("its constructor wants %s: %s", p.Name, p.Annotation)
}

var (
	pairOfInts = regexp.MustCompile(`^(typing\.)?[Tt]uple\[int, int\]$`)
	listOfInts = regexp.MustCompile(`^(typing\.)?([Ll]ist|[Ss]equence|[Ii]terable|[Tt]uple)\[int(, \.\.\.)?\]$`)
	tensorType = regexp.MustCompile(`(?i)tensor|^$`)
)

// bare takes quotation marks and Optional off an annotation.
func bare(a string) string {
	a = strings.Trim(a, `"'`)
	if in, ok := strings.CutPrefix(a, "Optional["); ok {
		return strings.TrimSuffix(in, "]")
	}
	return strings.TrimSuffix(a, " | None")
}

// argument writes the argument of a tested function; "" leaves it out.
func argument(p survey.Param, s *survey.Survey) (value, bar string) {
	a := bare(p.Annotation)
	switch {
	case p.Default || p.Star > 0:
		return "", ""
	case strings.HasPrefix(a, "List[") || strings.HasPrefix(a, "list[") || strings.HasPrefix(a, "Dict[") || strings.HasPrefix(a, "dict[") ||
		strings.HasPrefix(a, "Sequence[") || strings.HasPrefix(a, "Tuple[") || strings.HasPrefix(a, "tuple["):
	case tensorType.MatchString(a):
		return tensorText(p), ""
	case a == "int":
		return "2", ""
	case a == "float":
		return "0.5", ""
	case a == "bool":
		return "True", ""
	case a == "torch.dtype" || a == "torch.device" || a == "device":
		return "", fmt.Sprintf("what to give for %s: %s is not known", p.Name, p.Annotation)
	}
	return "", fmt.Sprintf("no value can be made for %s: %s", p.Name, p.Annotation)
}

func tensorText(p survey.Param) string {
	var in []string
	for _, d := range p.Dims {
		if n, err := strconv.Atoi(d); err == nil {
			in = append(in, strconv.Itoa(n))
		} else {
			in = append(in, quote(d))
		}
	}
	if p.Rank > 0 && len(in) == 0 {
		in = append(in, fmt.Sprintf("rank=%d", p.Rank))
	}
	if p.Kind != "" {
		in = append(in, "kind="+quote(p.Kind))
	}
	if p.Cast {
		in = append(in, "own=True")
	}
	return "tensor(" + strings.Join(in, ", ") + ")"
}
