package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A share is how much the evaluator knows of the tensor operands at which
// dtypes meet (interp.Facts.Uses), over some files.
type share struct {
	Version  int     `json:"version"`
	Files    int     `json:"files"`
	Operands int     `json:"operands"`
	Known    int     `json:"known"`   // one or several dtypes
	Rooted   int     `json:"of"`      // the dtype of a definition
	Unknown  int     `json:"unknown"` // neither
	Causes   []cause `json:"causes"`  // of the unknown ones, the most frequent first
}

type cause struct {
	Text     string `json:"text"`
	Operands int    `json:"operands"`
	Example  string `json:"example"` // file and line of the first one
}

// unknownShare evaluates files, each for itself. What cannot be read or parsed
// is an error.
func unknownShare(paths []string) (share, error) {
	uses := make([][]interp.Use, len(paths))
	trees := make([]*python.File, len(paths))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		g.Go(func() error {
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			tree, err := python.Parse(string(source))
			if err != nil {
				return fmt.Errorf("parse %s: %w", path, err)
			}
			trees[i], uses[i] = tree, interp.Eval(tree, interp.Options{Uses: true}).Uses
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return share{}, err
	}
	s := share{Version: 1, Files: len(paths), Causes: []cause{}}
	causes := map[string]cause{}
	for i, list := range uses {
		for _, u := range list {
			s.Operands++
			switch {
			case u.Rooted():
				s.Rooted++
			case !u.Unknown():
				s.Known++
			default:
				s.Unknown++
				c := causes[u.Cause()]
				if c.Text = u.Cause(); c.Operands == 0 {
					c.Example = fmt.Sprintf("%s:%d", paths[i], trees[i].Line(u.At.Pos().Start))
				}
				c.Operands++
				causes[c.Text] = c
			}
		}
	}
	s.Causes = slices.SortedFunc(maps.Values(causes), func(a, b cause) int {
		return cmp.Or(cmp.Compare(b.Operands, a.Operands), cmp.Compare(a.Text, b.Text))
	})
	return s, nil
}

func (s share) print(w io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		return enc.Encode(s)
	}
	percent := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(s.Operands, 1))) }
	fmt.Fprintf(w, "%d tensor operands in %s at which dtypes meet\n\n", s.Operands, plural(s.Files, "file"))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		n    int
		text string
	}{{s.Known, "one or several dtypes"}, {s.Rooted, "the dtype of a definition"}, {s.Unknown, "unknown"}} {
		fmt.Fprintf(tw, "%d\t%s\t  %s\n", row.n, percent(row.n), row.text)
	}
	if err := tw.Flush(); err != nil || s.Unknown == 0 {
		return err
	}
	fmt.Fprintln(w, "\nUnknown because of")
	const most = 20
	tw = tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for i, c := range s.Causes {
		if i == most {
			fmt.Fprintf(tw, "  …\t%s more\n", plural(len(s.Causes)-most, "cause"))
			break
		}
		fmt.Fprintf(tw, "  %d\t%s\t%s\n", c.Operands, c.Text, c.Example)
	}
	return tw.Flush()
}
