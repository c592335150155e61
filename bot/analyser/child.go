package analyser

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/suggestions"
)

// Verb is the argument that makes the program a child.
const Verb = "analyse-child"

// Limits are what a child may use. Zero is no limit.
type Limits struct {
	Memory int64         // bytes
	CPU    time.Duration // of all cores together, in whole seconds
}

// A Child analyses in a process of its own. The zero value runs this program
// with the default limits. It may be used by many goroutines at once.
//
// On Linux the child's memory is watched and its processor time is limited;
// elsewhere there is the deadline only.
type Child struct {
	// Binary is the program, "" for this one. Args are its first arguments, nil
	// for Verb; the limits follow as flags.
	Binary string
	Args   []string
	// Memory is how many bytes a child may hold, 0 for 1 GB. It is looked at
	// every 20 milliseconds, so a child may hold more for as long.
	Memory int64
	// Deadline ends the analysis of all files together, 0 for a minute.
	Deadline time.Duration
	// FileDeadline ends the analysis of a part of the files, when the whole
	// could not be analysed, 0 for 20 seconds.
	FileDeadline time.Duration
	// Budget bounds the search for what cannot be analysed, the first attempt
	// not counted, 0 for three minutes.
	Budget time.Duration
	// MaxAnswer is how many bytes an answer may have, 0 for 64 MB.
	MaxAnswer int
	// Log gets what a child that failed wrote to its standard error, nil for
	// none.
	Log *slog.Logger

	started func(pid int, files []analysis.File) // for tests
	env     []string                             // for tests; otherwise there is none
}

// pollMemory is how often a child's memory is looked at.
const pollMemory = 20 * time.Millisecond

// maxComplaint is how much is kept of what a child writes to standard error.
const maxComplaint = 8 << 10

func (c *Child) memory() int64               { return cmp.Or(c.Memory, 1<<30) }
func (c *Child) deadline() time.Duration     { return cmp.Or(c.Deadline, time.Minute) }
func (c *Child) fileDeadline() time.Duration { return cmp.Or(c.FileDeadline, 20*time.Second) }
func (c *Child) budget() time.Duration       { return cmp.Or(c.Budget, 3*time.Minute) }
func (c *Child) maxAnswer() int              { return cmp.Or(c.MaxAnswer, 64<<20) }

func (c *Child) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// Analyse finds the mistakes of a pull request's files and plans the comments,
// like the function of that name. When the child fails, the files are analysed
// in ever smaller parts, in at most 2·log₂ n + 10 runs; files that fail alone
// are skipped in the report with the reason, and the others are analysed
// together. An error means that ctx ended, or that no child can run at all.
func (c *Child) Analyse(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
	a, failed, err := c.run(ctx, files, around, c.deadline())
	if failed != nil {
		a, err = c.search(ctx, files, around)
	}
	if err != nil {
		return check.Report{}, suggestions.Plan{}, err
	}
	return a.Report, a.Plan, nil
}

// unreached is said of files that nobody knows to be at fault.
const unreached = "not reached: other files of the change could not be analysed and took the time"

// search analyses in parts what could not be analysed as a whole. Parts are
// halved breadth first, so that what is sound is found early.
func (c *Child) search(ctx context.Context, files []analysis.File, around check.Around) (answer, error) {
	end := time.Now().Add(c.budget())
	// What cannot even analyse nothing is not the fault of a file.
	if _, failed, err := c.run(ctx, nil, check.Around{}, c.fileDeadline()); err != nil {
		return answer{}, err
	} else if failed != nil {
		return answer{}, fmt.Errorf("analyse in a child process: %w", failed)
	}

	runs := 2*bits.Len(uint(len(files))) + 6
	var (
		skipped []check.Skip
		sound   []analysis.File
		parts   []answer
	)
	queue := halves(files)
	for ; len(queue) > 0; queue = queue[1:] {
		part := queue[0]
		if runs == 0 || time.Until(end) < c.fileDeadline() {
			for _, f := range part {
				skipped = append(skipped, check.Skip{Path: f.Path, Reason: unreached})
			}
			continue
		}
		runs--
		a, failed, err := c.run(ctx, part, around, c.fileDeadline())
		switch {
		case err != nil:
			return answer{}, err
		case failed == nil:
			sound, parts = append(sound, part...), append(parts, a)
		case len(part) == 1:
			skipped = append(skipped, check.Skip{Path: part[0].Path, Reason: failed.reason})
		default:
			queue = append(queue, halves(part)...)
		}
	}
	if len(parts) > 1 && len(skipped) > 0 {
		// Files tell of each other, so they are best looked at together.
		a, failed, err := c.run(ctx, sound, around, max(c.fileDeadline(), min(c.deadline(), time.Until(end))))
		if err != nil {
			return answer{}, err
		}
		if failed == nil {
			parts = []answer{a}
		}
	}
	parts = append(parts, answer{Report: check.Report{Skipped: skipped}})
	return merge(parts), nil
}

// halves are the two halves of files; a single file stays whole.
func halves(files []analysis.File) [][]analysis.File {
	if len(files) < 2 {
		return [][]analysis.File{files}
	}
	return [][]analysis.File{files[:len(files)/2], files[len(files)/2:]}
}

// merge makes one answer of the answers to parts of the files.
func merge(parts []answer) answer {
	whole := answer{Report: check.Report{Raises: map[string][]string{}}}
	r, p := &whole.Report, &whole.Plan
	for _, part := range parts {
		r.Findings = append(r.Findings, part.Report.Findings...)
		r.Known += part.Report.Known
		r.Suppressed += part.Report.Suppressed
		r.Files += part.Report.Files
		r.Skipped = append(r.Skipped, part.Report.Skipped...)
		for path, keys := range part.Report.Raises {
			r.Raises[path] = keys
		}
		r.Notes = append(r.Notes, part.Report.Notes...)
		r.Near, r.Indexed, r.Torch = max(r.Near, part.Report.Near), cmp.Or(r.Indexed, part.Report.Indexed), cmp.Or(r.Torch, part.Report.Torch)
		r.Unifiers = append(r.Unifiers, part.Report.Unifiers...)
		r.Surveys = append(r.Surveys, part.Report.Surveys...)
		r.Signs.Half = append(r.Signs.Half, part.Report.Signs.Half...)
		r.Signs.Double = append(r.Signs.Double, part.Report.Signs.Double...)
		whole.Summaries = append(whole.Summaries, part.Summaries...)
		p.Comments = append(p.Comments, part.Plan.Comments...)
		p.Possible = append(p.Possible, part.Plan.Possible...)
	}
	// Each path is of one part, whose order holds.
	slices.SortStableFunc(r.Findings, func(a, b analysis.Finding) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(r.Skipped, func(a, b check.Skip) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(r.Notes, func(a, b check.Note) int { return strings.Compare(a.Path, b.Path) })
	n := 0
	for _, comments := range [][]suggestions.Comment{p.Comments, p.Possible} {
		slices.SortStableFunc(comments, func(a, b suggestions.Comment) int {
			return cmp.Or(cmp.Compare(b.Severity().Rank(), a.Severity().Rank()), cmp.Compare(b.Confidence().Rank(), a.Confidence().Rank()),
				strings.Compare(a.Path, b.Path), cmp.Compare(a.First, b.First))
		})
		for i := range comments {
			number(&comments[i], &n)
		}
	}
	return whole
}

// number gives the suggestions of a comment and of its copies the next names.
func number(c *suggestions.Comment, n *int) {
	if c.Suggestion != nil {
		*n++
		c.Suggestion.ID = fmt.Sprintf("s%d", *n)
	}
	for i := range c.Copies {
		number(&c.Copies[i], n)
	}
}

// A failure is the end of a child that gave no answer, for which its input is
// to blame.
type failure struct {
	reason string // for people, about the only file
	detail string
}

func (f *failure) Error() string { return f.detail }

// What ends a child.
var (
	errMemory = errors.New("the child took too much memory")
	errTime   = errors.New("the child took too much time")
	errLarge  = errors.New("the child's answer is too large")
)

// run analyses the files in one child. The error is for what is not the files'
// fault.
func (c *Child) run(ctx context.Context, files []analysis.File, around check.Around, deadline time.Duration) (answer, *failure, error) {
	input, err := encodeRequest(files, around)
	if err != nil {
		return answer{}, nil, fmt.Errorf("encode the request: %w", err)
	}
	return c.ask(ctx, input, files, deadline)
}

// Summarise summarises texts like the function of that name. Those that crash
// the child, take too long or too much memory have no summary.
func (c *Child) Summarise(ctx context.Context, texts []string) ([]Summary, error) {
	r := request{}
	for _, text := range texts {
		r.Summarise = append(r.Summarise, []byte(text))
	}
	input, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	a, failed, err := c.ask(ctx, input, nil, c.fileDeadline())
	switch {
	case err != nil:
		return nil, err
	case failed == nil && len(a.Summaries) == len(texts):
		return a.Summaries, nil
	case failed == nil:
		return nil, fmt.Errorf("summarise in a child process: %d summaries of %d texts", len(a.Summaries), len(texts))
	case len(texts) == 1:
		return []Summary{{Reason: failed.reason}}, nil
	}
	first, err := c.Summarise(ctx, texts[:len(texts)/2])
	if err != nil {
		return nil, err
	}
	second, err := c.Summarise(ctx, texts[len(texts)/2:])
	return append(first, second...), err
}

// ask gives one request to a child. files are those that it is about, for the
// log.
func (c *Child) ask(ctx context.Context, input []byte, files []analysis.File, deadline time.Duration) (answer, *failure, error) {
	if ctx.Err() != nil {
		return answer{}, nil, context.Cause(ctx)
	}
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	limited, release := context.WithTimeoutCause(limited, deadline, errTime)
	defer release()
	cmd, err := c.command(limited, Limits{Memory: c.memory(), CPU: (deadline*time.Duration(runtime.NumCPU()) + time.Second).Truncate(time.Second)})
	if err != nil {
		return answer{}, nil, err
	}
	output := &sink{max: c.maxAnswer(), full: func() error { stop(errLarge); return errLarge }}
	complaint := &sink{max: maxComplaint, full: func() error { return nil }}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), output, complaint

	start := time.Now()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return answer{}, nil, context.Cause(ctx)
		}
		return answer{}, nil, fmt.Errorf("start a child process: %w", err)
	}
	if c.started != nil {
		c.started(cmd.Process.Pid, files)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(limited, cmd.Process.Pid, func() { stop(errMemory) })
	}()
	err = cmd.Wait()
	cause := context.Cause(limited)
	stop(nil)
	<-watched
	if ctx.Err() != nil {
		return answer{}, nil, context.Cause(ctx)
	}

	var a answer
	switch {
	case err == nil && !output.cut:
		if err = json.Unmarshal(output.kept.Bytes(), &a); err == nil {
			return a.changed(unescape), nil, nil
		}
		err = fmt.Errorf("read the answer: %w", err)
	case cause != nil:
		err = cause
	case strings.Contains(complaint.kept.String(), "out of memory"), strings.Contains(complaint.kept.String(), "cannot allocate memory"):
		err = fmt.Errorf("%w: %w", errMemory, err)
	}
	failed := &failure{reason: "the analysis of this file crashed", detail: err.Error()}
	switch {
	case errors.Is(err, errMemory):
		failed.reason = "the analysis of this file needed more than " + size(c.memory())
	case errors.Is(err, errTime):
		failed.reason = fmt.Sprintf("the analysis of this file took longer than %s", words(deadline))
	case errors.Is(err, errLarge):
		failed.reason = "the analysis of this file gave more than " + size(int64(c.maxAnswer())) + " of results"
	}
	attrs := []any{"error", failed.detail, "files", len(files), "took", time.Since(start).Round(time.Millisecond), "said", complaint.kept.String()}
	if len(files) == 1 {
		attrs = append(attrs, "file", files[0].Path)
	}
	c.log().Warn("a child process could not analyse", attrs...)
	return answer{}, failed, nil
}

// command is a child that is not started yet.
func (c *Child) command(ctx context.Context, l Limits) (*exec.Cmd, error) {
	args := c.Args
	if args == nil {
		args = []string{Verb}
	}
	args = append(slices.Clone(args), fmt.Sprintf("--memory=%d", l.Memory), fmt.Sprintf("--cpu=%s", l.CPU))
	binary := c.Binary
	if binary == "" {
		var err error
		if binary, err = self(); err != nil {
			return nil, fmt.Errorf("find the program: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	if c.Binary == "" {
		cmd.Args[0] = "dtypebot" // for people who list processes
	}
	isolate(cmd)
	cmd.Env = append([]string{}, c.env...) // nil would be this process's
	cmd.WaitDelay = time.Second            // nobody else should hold the pipes
	return cmd, nil
}

// watch calls over, once, when the process holds too much memory; it returns
// then, when ctx ends, or when memory cannot be watched.
func (c *Child) watch(ctx context.Context, pid int, over func()) {
	tick := time.NewTicker(pollMemory)
	defer tick.Stop()
	for {
		held, ok := resident(pid)
		if !ok {
			return
		}
		if held > c.memory() {
			over()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A sink keeps the first max bytes that are written to it. What is more is
// dropped if full allows it.
type sink struct {
	max  int
	full func() error
	kept bytes.Buffer
	cut  bool
}

func (s *sink) Write(p []byte) (int, error) {
	room := s.max - s.kept.Len()
	if len(p) <= room {
		return s.kept.Write(p)
	}
	s.kept.Write(p[:room])
	s.cut = true
	if err := s.full(); err != nil {
		return room, err
	}
	return len(p), nil
}

// size is a number of bytes in words.
func size(n int64) string {
	if n%(1<<30) == 0 {
		return fmt.Sprintf("%d GB", n>>30)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// words is a duration for people.
func words(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}
