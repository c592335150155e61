package torchrun

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// A Fixture is the archive of a rule.
type Fixture struct {
	Name    string
	Archive *txtar.Archive
}

// section returns the text of a section.
func (f Fixture) section(name string) (string, bool) {
	for _, file := range f.Archive.Files {
		if file.Name == name {
			return string(file.Data), true
		}
	}
	return "", false
}

// unsafe says that the mended text may differ from the original in float32.
func (f Fixture) unsafe() bool {
	for _, line := range strings.Split(string(f.Archive.Comment), "\n") {
		if strings.HasPrefix(line, "unsafe:") {
			return true
		}
	}
	return false
}

// CheckFixtures checks each fixture in a subtest, all with one process.
func CheckFixtures(t *testing.T, fixtures ...Fixture) {
	t.Helper()
	p := Start(t)
	for _, f := range fixtures {
		t.Run(f.Name, func(t *testing.T) { CheckFixture(t, p, f) })
	}
}

// CheckFixture runs the sections of a fixture as their comments say (see the
// package's documentation), and reports what PyTorch does differently.
func CheckFixture(t testing.TB, p *Process, f Fixture) {
	t.Helper()
	for _, problem := range checkFixture(t, p, f) {
		t.Error(problem)
	}
}

// checkFixture returns what is wrong with a fixture, by section and line.
func checkFixture(t testing.TB, p *Process, f Fixture) []string {
	t.Helper()
	var problems []string
	complain := func(section string, line int, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s:%d: %s", section, line, fmt.Sprintf(format, args...)))
	}
	example, ok := f.section("example.py")
	if !ok {
		complain("example.py", 0, "no such section")
	}
	fixed, hasFixed := f.section("example.py.fixed")
	for _, file := range f.Archive.Files {
		clean, _ := path.Match("clean*.py", file.Name)
		if !clean && file.Name != "example.py" {
			continue
		}
		source := string(file.Data)
		lines, err := parseRuns(source)
		if err != nil {
			complain(file.Name, 0, "%v", err)
			continue
		}
		if len(lines) == 0 {
			complain(file.Name, 0, `no "# run: …" and no "# not run: …" line`)
		}
		for _, run := range lines {
			if run.skip {
				continue
			}
			if clean && run.want.verb == "raises" {
				complain(file.Name, run.line, "clean code must not raise")
			}
			if clean && run.mended != nil {
				complain(file.Name, run.line, "clean code has no mended form, so no second outcome")
			}
			for _, dt := range run.dtypes {
				got := p.Run(t, run.snippet(source, dt))[0]
				if err := run.want.check(got, dt); err != nil {
					complain(file.Name, run.line, "DT=%s: %v", dt, err)
				}
				if clean || !hasFixed {
					continue
				}
				got = p.Run(t, run.snippet(fixed, dt))[0]
				want := outcome{verb: "runs"}
				if run.mended != nil {
					want = *run.mended
				}
				if err := want.check(got, dt); err != nil {
					complain("example.py.fixed", run.line, "DT=%s: %v", dt, err)
				}
			}
			if !clean && hasFixed {
				for _, problem := range compare(t, p, run, example, fixed, f.unsafe()) {
					complain("example.py.fixed", run.line, "%s", problem)
				}
			}
		}
	}
	return problems
}

// compare runs a call with the original and the mended text in every world:
// what ran must still run, and float32 must give the same bits.
func compare(t testing.TB, p *Process, run run, example, fixed string, unsafe bool) []string {
	t.Helper()
	var problems []string
	for _, dt := range []string{"float32", "float64", "bfloat16"} {
		for _, autocast := range []bool{false, true} {
			run.autocast = autocast
			results := p.Run(t, run.snippet(example, dt), run.snippet(fixed, dt))
			before, after := results[0], results[1]
			world := "DT=" + dt
			if autocast {
				world += ", autocast"
			}
			switch {
			case before.Raised != "":
			case after.Raised != "":
				problems = append(problems, fmt.Sprintf("%s: the original runs, the mended text %s", world, after))
			case dt == "float32" && !autocast && !unsafe && before.Digest != after.Digest:
				problems = append(problems, fmt.Sprintf("%s: the mended text gives other bits: %s instead of %s", world, after.Value, before.Value))
			}
		}
	}
	return problems
}

// A run is one "# run" comment.
type run struct {
	line     int // 1-based
	skip     bool
	dtypes   []string
	autocast bool
	call     string
	want     outcome
	mended   *outcome // nil when the comment names no second outcome
}

func (r run) snippet(source, dt string) Snippet {
	return Snippet{Source: source, Call: r.call, DT: dt, Autocast: r.autocast}
}

// An outcome is what a comment says will come out.
type outcome struct {
	verb   string // raises, dtype, value or runs
	match  *regexp.Regexp
	dtypes []string
}

var (
	runComment = regexp.MustCompile(`^\s*#\s*run(?:\[([^\]]*)\])?:\s*(.*)$`)
	notRun     = regexp.MustCompile(`^\s*#\s*not run:\s*(.*)$`)
	dtypeName  = regexp.MustCompile(`^(float16|float32|float64|bfloat16|complex64|complex128|u?int8|int16|int32|int64|bool|DT)$`)
)

// parseRuns returns the run comments of a section in order.
func parseRuns(source string) ([]run, error) {
	var runs []run
	for i, text := range strings.Split(source, "\n") {
		if m := notRun.FindStringSubmatch(text); m != nil {
			if strings.TrimSpace(m[1]) == "" {
				return nil, fmt.Errorf("line %d: not run, but why?", i+1)
			}
			runs = append(runs, run{line: i + 1, skip: true})
			continue
		}
		m := runComment.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		r, err := parseRun(m[1], m[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		r.line = i + 1
		runs = append(runs, r)
	}
	return runs, nil
}

func parseRun(options, rest string) (run, error) {
	r := run{dtypes: []string{"float32"}}
	for _, option := range strings.Split(options, ",") {
		option = strings.TrimSpace(option)
		switch {
		case option == "":
		case option == "autocast":
			r.autocast = true
		case strings.HasPrefix(option, "DT="):
			r.dtypes = strings.Split(strings.TrimPrefix(option, "DT="), "|")
			for _, d := range r.dtypes {
				if !dtypeName.MatchString(d) || d == "DT" {
					return run{}, fmt.Errorf("%q is no dtype", d)
				}
			}
		default:
			return run{}, fmt.Errorf("unknown option %q, want DT=… or autocast", option)
		}
	}
	parts := strings.Split(rest, "=>")
	if len(parts) < 2 || len(parts) > 3 {
		return run{}, fmt.Errorf("want CALL => OUTCOME or CALL => OUTCOME => OUTCOME WHEN MENDED")
	}
	r.call = strings.TrimSpace(parts[0])
	if r.call == "" {
		return run{}, fmt.Errorf("no call")
	}
	want, err := parseOutcome(parts[1])
	if err != nil {
		return run{}, err
	}
	r.want = want
	if len(parts) == 3 {
		mended, err := parseOutcome(parts[2])
		if err != nil {
			return run{}, err
		}
		if mended.verb == "raises" {
			return run{}, fmt.Errorf("mended code must not raise")
		}
		r.mended = &mended
	}
	return r, nil
}

func parseOutcome(text string) (outcome, error) {
	verb, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.TrimSpace(rest)
	switch verb {
	case "runs":
		if rest != "" {
			return outcome{}, fmt.Errorf("runs takes nothing, got %q", rest)
		}
		return outcome{verb: verb}, nil
	case "raises", "value":
		pattern, err := strconv.Unquote(rest)
		if err != nil || pattern == "" {
			return outcome{}, fmt.Errorf("%s takes a quoted regular expression, got %s", verb, rest)
		}
		match, err := regexp.Compile(pattern)
		if err != nil {
			return outcome{}, fmt.Errorf("%s: %w", verb, err)
		}
		return outcome{verb: verb, match: match}, nil
	case "dtype":
		o := outcome{verb: verb}
		for _, d := range strings.Split(rest, ",") {
			d = strings.TrimSpace(d)
			if !dtypeName.MatchString(d) {
				return outcome{}, fmt.Errorf("%q is no dtype", d)
			}
			o.dtypes = append(o.dtypes, d)
		}
		return o, nil
	}
	return outcome{}, fmt.Errorf("unknown outcome %q, want raises, dtype, value or runs", verb)
}

// check says how a result differs from the outcome.
func (o outcome) check(got Result, dt string) error {
	switch o.verb {
	case "raises":
		if got.Raised == "" || !o.match.MatchString(got.Raised+": "+got.Message) {
			return fmt.Errorf("%s, want raises %q", got, o.match)
		}
		return nil
	}
	if got.Raised != "" {
		return fmt.Errorf("%s on line %d, want %s", got, got.Line, o.verb)
	}
	switch o.verb {
	case "dtype":
		want := make([]string, len(o.dtypes))
		for i, d := range o.dtypes {
			want[i] = d
			if d == "DT" {
				want[i] = dt
			}
		}
		if strings.Join(want, ", ") != strings.Join(got.Dtypes, ", ") {
			return fmt.Errorf("%s, want dtype %s", got, strings.Join(want, ", "))
		}
	case "value":
		if !o.match.MatchString(got.Value) {
			return fmt.Errorf("value %q, want value %q", got.Value, o.match)
		}
	}
	return nil
}

// Snippets returns what the "# run" comments of a section ask for, one snippet
// for each dtype of each comment.
func Snippets(source string) ([]Snippet, error) {
	runs, err := parseRuns(source)
	if err != nil {
		return nil, err
	}
	var out []Snippet
	for _, r := range runs {
		if r.skip {
			continue
		}
		for _, d := range r.dtypes {
			out = append(out, r.snippet(source, d))
		}
	}
	return out, nil
}
