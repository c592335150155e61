package rules

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var factoryUnlikeItsTwins = &analysis.Rule{
	Name:     "factory-unlike-its-twins",
	Severity: analysis.Medium,
	Doc: `One tensor is float32 on the CPU, the others of its file follow their caller

The functions of a file make their tensors with the device and the dtype of what
they are given, and one makes a tensor of the size of its argument with neither:
a default angle, the result for empty input. It is float32 and on the CPU,
whatever comes in.

Evidence: the tensor takes a size of a parameter that is declared a tensor, and
nothing else of it; at least two other tensors of the file are made with both a
device and a dtype that are no literals, and more such tensors than functions
that forget both (likely).

Fix: dtype= and device= of that parameter. Safe: in float32 on the CPU nothing
changes.

Silent where the tensor is cast, moved or compared, for integer tensors, ids and
masks, in losses, and in files that make such tensors both ways.
`,
	Run: func(p *analysis.Pass) {
		var bare []bareFactory
		follows := map[*python.FuncDef][]*python.Call{}
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				expressions(p, s, func(n python.Node) {
					call, ok := n.(*python.Call)
					if !ok {
						return
					}
					v := p.Facts.Values[call]
					if v == nil || v.Make == nil || v.Make.Call != call || v.Make.Called || v.How != interp.HowCreate {
						return
					}
					dt, dev := argument(call, "dtype"), argument(call, "device")
					switch _, literal := dtypeLiteral(p, dt); {
					case dt != nil && dev != nil && !literal:
						follows[d] = append(follows[d], call)
					case dt == nil && dev == nil && v.DType.IsDefault() && !strings.Contains(strings.ToLower(d.Name), "loss"):
						if b := (bareFactory{d, s, call, v.Make, ""}); !treated(p, d, s, call) && !compared(s, call) {
							b.of = sizedBy(p, b)
							bare = append(bare, b)
						}
					}
				})
			})
		})
		unlikeTwins(p, bare, follows)
	},
}

// A bareFactory is a call that makes a floating tensor with neither device nor dtype.
type bareFactory struct {
	in   *python.FuncDef
	s    python.Stmt
	call *python.Call
	make *interp.Creation
	of   string // the declared tensor whose size is taken, "" if there is none
}

// unlikeTwins reports the bare factories that take the size of a tensor, if more
// of the other functions' follow what they are given.
func unlikeTwins(p *analysis.Pass, bare []bareFactory, follows map[*python.FuncDef][]*python.Call) {
	forget := map[*python.FuncDef]bool{}
	for _, b := range bare {
		if b.of != "" {
			forget[b.in] = true
		}
	}
	var twins []*python.Call
	for d, calls := range follows {
		if !forget[d] {
			twins = append(twins, calls...)
		}
	}
	if len(twins) < 2 || len(twins) <= len(forget) {
		return
	}
	first := twins[0]
	for _, t := range twins {
		if t.Start < first.Start {
			first = t
		}
	}
	reason := p.Reason(first.Pos(), fmt.Sprintf("one of %d tensors of this file that follow what they are given", len(twins)))
	for _, group := range grouped(p, bare) {
		f := analysis.Finding{
			Confidence: analysis.Likely, Scope: scopeOf(p, group[0].s),
			At:  python.Span{Start: group[0].s.Pos().Start, End: group[len(group)-1].s.Pos().End},
			Fix: &analysis.Fix{Title: "Follow `" + group[0].of + "`", Safety: analysis.Safe},
			Message: fmt.Sprintf("%s takes its size from %s and neither its dtype nor its device: float32, on the CPU. Other functions of this file pass both.",
				code(p.Tree.Text(group[0].call.Pos())), code(group[0].of)),
		}
		for _, b := range group {
			f.Ops = append(f.Ops, b.call.Pos())
			f.Because = append(f.Because, p.Reason(b.call.Pos(), "made with the defaults"))
			f.Fix.Edits = append(f.Fix.Edits, follow(b))
		}
		f.Because = append(f.Because, reason)
		p.Report(f)
	}
}

// grouped puts the factories that take the size of one tensor in statements that
// follow each other into one group: they are one mistake.
func grouped(p *analysis.Pass, bare []bareFactory) [][]bareFactory {
	var out [][]bareFactory
	var last *bareFactory
	for i := range bare {
		b := &bare[i]
		if b.of == "" {
			last = nil
			continue
		}
		if last != nil && last.in == b.in && last.of == b.of && p.Tree.Line(b.s.Pos().Start)-p.Tree.Line(last.s.Pos().End) <= 1 {
			out[len(out)-1] = append(out[len(out)-1], *b)
		} else {
			out = append(out, []bareFactory{*b})
		}
		last = b
	}
	return out
}

// sizedBy is the one declared tensor whose size a statement with a factory reads.
func sizedBy(p *analysis.Pass, b bareFactory) string {
	of := ""
	for _, q := range b.in.Params {
		if q.Star > 0 || q.Annotation == nil || !strings.HasSuffix(p.Tree.Text(q.Annotation.Pos()), "Tensor") || integerName(q.Name) || bindings(b.in, q.Name) != 1 {
			continue
		}
		sized := false
		own(b.s, func(n python.Node) {
			if at, ok := n.(*python.Attribute); ok && isName(at.X, q.Name) && (at.Sel == "shape" || at.Sel == "size") {
				sized = true
			}
		})
		if sized && of != "" {
			return ""
		}
		if sized {
			of = q.Name
		}
	}
	return of
}

// compared reports whether what a call makes is compared: a mask has no dtype to
// follow.
func compared(s python.Stmt, call *python.Call) bool {
	found := false
	own(s, func(n python.Node) {
		c, ok := n.(*python.Compare)
		if !ok {
			return
		}
		for _, x := range c.Xs {
			found = found || x.Pos().Contains(call.Pos())
		}
	})
	return found
}

// follow gives a factory dtype and device of the tensor whose size it takes.
func follow(b bareFactory) analysis.Edit {
	text := fmt.Sprintf("dtype=%s.dtype, device=%s.device", b.of, b.of)
	if n := len(b.call.Args); n > 0 && !afterCall[b.make.Name] && !strings.HasSuffix(b.make.Name, "Tensor") {
		return insertAt(b.call.Args[n-1].End, ", "+text)
	}
	return insertAt(b.call.End, ".to("+text+")")
}
