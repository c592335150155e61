// Package analyser analyses the files of a pull request and plans what to say of
// them: in this process (Analyse), or in a child of the same program (Child),
// where a crash, a hang or a memory bomb costs the file that brought it on and
// nothing else.
//
// The child gets a request on its standard input and gives an answer on its
// standard output, both JSON; it has no environment, no files and no use for
// either. As it is the same program there are no versions of the protocol.
//
// The package does not keep a hostile program in (there is no namespace, no
// filter of system calls): what it keeps in is a program of our own that is led
// astray by its input. It neither decides what is posted nor tries jobs again.
package analyser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/suggestions"
)

// Analyse finds the mistakes of a pull request's files and plans the comments,
// in this process. around is what the change has around them. When ctx ends it returns the cause.
func Analyse(ctx context.Context, files []analysis.File, around check.Around) (check.Report, suggestions.Plan, error) {
	options, err := around.Options()
	options.Cache = check.NewCache()
	report := check.Run(ctx, files, options)
	if err != nil {
		report.Notes = append(report.Notes, check.Note{Path: ".", Text: "the index of the repository could not be read; only the changed files were"})
	}
	plan := suggestions.Propose(ctx, files, report, suggestions.Options{
		Float32: around.Tuning.Geometry == check.GeometryFloat32,
		Recheck: func(ctx context.Context, files []analysis.File) check.Report { return check.Run(ctx, files, options) },
	})
	if ctx.Err() != nil {
		return check.Report{}, suggestions.Plan{}, context.Cause(ctx)
	}
	return report, plan, nil
}

// A request is what a child is asked. Texts are bytes, since JSON would replace
// what is no UTF-8.
type request struct {
	Files   []requestFile
	Deleted [][]byte
	Tuning  check.Tuning
	Index   []byte
	// Summarise are texts that are to be summarised, in place of all else.
	Summarise [][]byte
}

// A requestFile is an analysis.File with texts as bytes, which hide the embedded
// file's.
type requestFile struct {
	analysis.File
	Source, Base []byte
}

// An answer is what a child has found. It travels with escaped texts.
type answer struct {
	Report check.Report
	Plan   suggestions.Plan
	// Summaries are those of request.Summarise, one for each.
	Summaries []Summary
}

// A Summary is what a text says to the other files of its repository.
type Summary struct {
	Module string // a project.Module as JSON, "" if it has none
	Reason string // why it has none, for people
}

// Summarise summarises texts, in this process.
func Summarise(ctx context.Context, texts []string) ([]Summary, error) {
	out := make([]Summary, len(texts))
	for i, text := range texts {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m, err := project.Summary(text)
		if err != nil {
			out[i].Reason = err.Error()
			continue
		}
		data, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("write a summary down: %w", err)
		}
		out[i].Module = string(data)
	}
	return out, nil
}

// encodeRequest writes a request for an analysis down.
func encodeRequest(files []analysis.File, around check.Around) ([]byte, error) {
	r := request{Tuning: around.Tuning, Index: around.Index}
	for _, f := range files {
		r.Files = append(r.Files, requestFile{f, []byte(f.Source), []byte(f.Base)})
	}
	for _, text := range around.Deleted {
		r.Deleted = append(r.Deleted, []byte(text))
	}
	return json.Marshal(r)
}

// decodeRequest is encodeRequest's inverse, but for texts to summarise.
func decodeRequest(in io.Reader) (files []analysis.File, around check.Around, texts []string, err error) {
	var r request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return nil, around, nil, err
	}
	for _, text := range r.Summarise {
		texts = append(texts, string(text))
	}
	for _, f := range r.Files {
		f.File.Source, f.File.Base = string(f.Source), string(f.Base)
		files = append(files, f.File)
	}
	for _, text := range r.Deleted {
		around.Deleted = append(around.Deleted, string(text))
	}
	around.Tuning, around.Index = r.Tuning, r.Index
	return files, around, texts, nil
}

// Serve is the child's side: it reads one request, analyses and writes the
// answer. Confine should have been called before.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	files, around, texts, err := decodeRequest(in)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var a answer
	if texts != nil {
		a.Summaries, err = Summarise(ctx, texts)
	} else {
		a.Report, a.Plan, err = Analyse(ctx, files, around)
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(a.changed(escape)); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
