package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func newInfer() *cobra.Command {
	format, unknowns := "text", false
	cmd := &cobra.Command{
		Use:   "infer FILE…",
		Short: "Print what the evaluator knows: the dtype of every assigned name, and what raises",
		Long: `Infer evaluates one Python file and prints the dtype of every name that is
assigned, in order, with the steps that led to it, and the statements that
PyTorch refuses.

All assigned names are listed: kind says what they hold. A dtype is one of
PyTorch's names, "of:NAME" for the unknown dtype of a definition, "default" for
torch.get_default_dtype(), "promote(…)" for the promotion of several, or
"unknown"; several stand for several paths. Python's numbers have the dtype
that they would have as a tensor. What is no tensor, array, number, dtype or
module has none.

As text, the values stand under the lines of the source that assign them, each
with up to three steps of how it came about, the last step first.

Statements behind one that certainly raises are not listed. What is refused
"certain"ly ("stops here") is refused whenever it is reached, what is "likely"
refused ("may stop here") depends on the path or on a kernel that the CPU of the
measured version lacks.

With --unknown-share it takes any number of files and prints how much it knows:
of the operands that are or may be tensors, at matrix products and PyTorch's
other functions that promote or refuse, at operators between two such operands,
at modules with parameters and at indexed writes, how many have known dtypes,
the dtype of a definition ("of:NAME"), or are unknown, and why.`,
		Args: func(_ *cobra.Command, paths []string) error {
			if len(paths) == 0 || len(paths) > 1 && !unknowns {
				return fmt.Errorf("%d files: want one", len(paths))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, paths []string) error {
			switch format {
			case "text", "json":
			default:
				return fmt.Errorf("--format %q: want text or json", format)
			}
			if unknowns {
				s, err := unknownShare(paths)
				if err != nil {
					return err
				}
				return s.print(cmd.OutOrStdout(), format)
			}
			source, err := os.ReadFile(paths[0])
			if err != nil {
				return err
			}
			tree, err := python.Parse(string(source))
			if err != nil {
				return fmt.Errorf("parse %s: %w", paths[0], err)
			}
			facts := interp.Eval(tree, interp.Options{Stop: true})
			if facts.Exhausted {
				return errors.New(paths[0] + " is too large to be evaluated whole")
			}
			known := inferred(paths[0], facts)
			if format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				enc.SetIndent("", " ")
				return enc.Encode(known)
			}
			return known.text(cmd.OutOrStdout(), tree)
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "text or json")
	cmd.Flags().BoolVar(&unknowns, "unknown-share", false, "print how much of the files is not known, and why")
	return cmd
}

// An inference is the JSON form of infer (INTERFACES: infer --format json).
type inference struct {
	Version int             `json:"version"`
	Values  []inferredValue `json:"values"`
	Raises  []inferredRaise `json:"raises"`
}

type inferredValue struct {
	Scope  string         `json:"scope"`
	Line   int            `json:"line"`
	Name   string         `json:"name"`
	Kind   string         `json:"kind"`
	Dtypes []string       `json:"dtypes"`
	Rank   string         `json:"rank"`
	Story  []inferredStep `json:"story"`
}

type inferredStep struct {
	Path string `json:"path"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

type inferredRaise struct {
	Scope     string `json:"scope"`
	Line      int    `json:"line"`
	Certainty string `json:"certainty"`
	Text      string `json:"text"`
}

func inferred(path string, facts *interp.Facts) inference {
	out := inference{Version: 1, Values: []inferredValue{}, Raises: []inferredRaise{}}
	tree := facts.Tree
	for _, a := range facts.Assigned {
		v := inferredValue{
			Scope: a.Scope.Name, Line: tree.Line(a.At.Pos().Start), Name: a.Name, Kind: a.Value.Kind.String(),
			Dtypes: []string{}, Rank: "?", Story: []inferredStep{},
		}
		if t := a.Value.Tensor().DType; !t.Empty() {
			v.Dtypes = t.Strings()
		}
		switch a.Value.Kind {
		case interp.KindUnknown:
			v.Dtypes = []string{"unknown"}
		case interp.KindTensor, interp.KindArray:
			v.Rank = a.Value.Rank.String()
		case interp.KindNumber, interp.KindNumPy:
			v.Rank = "0"
		}
		for _, s := range a.Value.Story() {
			v.Story = append(v.Story, inferredStep{Path: path, Line: tree.Line(s.At.Pos().Start), Text: s.Text})
		}
		out.Values = append(out.Values, v)
	}
	for _, r := range facts.Raises {
		certainty := "likely"
		if r.Certain {
			certainty = "certain"
		}
		out.Raises = append(out.Raises, inferredRaise{Scope: r.Scope.Name, Line: tree.Line(r.Stmt.Pos().Start), Certainty: certainty, Text: r.Text})
	}
	return out
}

// text prints the values and the raises under the lines of the source that they
// belong to, by function.
func (in inference) text(w io.Writer, tree *python.File) error {
	p := inferencePrinter{w: bufio.NewWriter(w), tree: tree, width: len(fmt.Sprint(tree.LineCount()))}
	values, raises := in.Values, in.Raises
	for len(values)+len(raises) > 0 {
		if len(values) == 0 || len(raises) > 0 && raises[0].Line < values[0].Line {
			p.raise(raises[0])
			raises = raises[1:]
			continue
		}
		p.value(values[0])
		values = values[1:]
	}
	if p.last == 0 {
		fmt.Fprintln(p.w, "nothing is assigned")
	}
	return p.w.Flush()
}

// inferencePrinter prints what belongs to one line below that line.
type inferencePrinter struct {
	w     *bufio.Writer
	tree  *python.File
	width int // of line numbers
	scope string
	last  int // the line printed last
}

// line prints a line of the source, and the name of its function where that
// changes.
func (p *inferencePrinter) line(n int, scope string) {
	if n == p.last && scope == p.scope {
		return
	}
	if scope != p.scope || p.last == 0 {
		if p.last != 0 {
			fmt.Fprintln(p.w)
		}
		if scope != "" {
			fmt.Fprintf(p.w, "%s\n", scope)
		} else if p.last != 0 {
			fmt.Fprintf(p.w, "module\n")
		}
	}
	p.last, p.scope = n, scope
	fmt.Fprintf(p.w, "%*d │ %s\n", p.width, n, strings.TrimRight(p.tree.Text(p.tree.LineSpan(n)), "\r\n"))
}

func (p *inferencePrinter) value(v inferredValue) {
	p.line(v.Line, v.Scope)
	text := v.Kind
	switch {
	case v.Kind == "unknown":
	case len(v.Dtypes) > 0:
		text += " " + strings.Join(v.Dtypes, " or ")
	}
	switch v.Rank {
	case "0":
		if v.Kind == "tensor" {
			text += ", 0-dim"
		}
	case "1+":
		text += ", with dimensions"
	}
	fmt.Fprintf(p.w, "%*s ╰ %s: %s\n", p.width, "", v.Name, text)
	for i, s := range v.Story {
		if i == 0 && s.Line == v.Line && len(v.Story) == 1 && strings.HasPrefix(s.Text, "parameter ") {
			continue // the line says so
		}
		fmt.Fprintf(p.w, "%*s     line %d: %s\n", p.width, "", s.Line, s.Text)
	}
}

func (p *inferencePrinter) raise(r inferredRaise) {
	p.line(r.Line, r.Scope)
	word := "stops here"
	if r.Certainty != "certain" {
		word = "may stop here"
	}
	fmt.Fprintf(p.w, "%*s ✗ PyTorch %s: %s\n", p.width, "", word, r.Text)
}
