package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var toDTypeWithoutScale = &analysis.Rule{
	Name:     "to-dtype-without-scale",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `ToDtype makes floats of an image and leaves them between 0 and 255

torchvision.transforms.v2.ToDtype casts. Only with scale=True does it divide an
image of whole numbers by 255, as ToTensor and ConvertImageDtype do. A Normalize
behind it whose mean and std are made for values between 0 and 1 then gives
numbers in the hundreds, without an error.

Evidence: in one list of transforms ToImage or PILToTensor, which keep uint8,
ToDtype to a floating dtype without scale=, and Normalize whose mean and std are
literals of at most 1; in between nothing but transforms of torchvision (likely).

Fix: scale=True. Shown as code, since a model that was trained without it expects
the large numbers.

Silent without Normalize or with one made for 0 to 255, where scale= is given,
where the dtypes are given by type of image, and where something of the project's
own stands in between, which may divide.

ToDtype is in torchvision from 0.16 on (documentation of torchvision 0.16,
torchvision.transforms.v2.ToDtype).
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, _ python.Stmt, _ []python.Node) {
			for _, a := range call.Args {
				if seq, ok := a.Value.(*python.Seq); ok && a.Name == "" && (seq.Kind == "list" || seq.Kind == "tuple") {
					unscaled(p, seq.Xs)
				}
			}
			var args []python.Expr
			for _, a := range call.Args {
				args = append(args, a.Value)
			}
			unscaled(p, args) // nn.Sequential(ToImage(), …)
		})
	},
}

// transform is the name of a transform of torchvision's second version and its
// call, "" for anything else.
func transform(p *analysis.Pass, x python.Expr) (string, *python.Call) {
	call, ok := x.(*python.Call)
	if !ok {
		return "", nil
	}
	name, ok := strings.CutPrefix(library(p, call.Func), "torchvision.transforms.v2.")
	if !ok || name == "Lambda" || slices.ContainsFunc(call.Args, func(a python.Arg) bool { return a.Star > 0 }) {
		return "", nil
	}
	return name, call
}

// unscaled reports the ToDtype of a list of transforms that should scale.
func unscaled(p *analysis.Pass, list []python.Expr) {
	var image, cast *python.Call
	for _, x := range list {
		name, call := transform(p, x)
		switch {
		case name == "":
			image, cast = nil, nil // whatever it is, it may divide
		case name == "ToImage" || name == "PILToTensor":
			image, cast = call, nil
		case image != nil && name == "ToDtype" && cast == nil && castsImage(p, call):
			cast = call
		case name == "ToDtype" || name == "ConvertImageDtype" || name == "ToTensor":
			image, cast = nil, nil
		case cast != nil && name == "Normalize" && forUnitRange(p, call):
			reportUnscaled(p, image, cast, call)
			return
		}
	}
}

// castsImage reports a ToDtype to a floating dtype that is told nothing of scales.
func castsImage(p *analysis.Pass, call *python.Call) bool {
	x := argument(call, "dtype")
	if x == nil && len(call.Args) > 0 && call.Args[0].Name == "" {
		x = call.Args[0].Value
	}
	if x == nil || len(call.Args) != 1 {
		return false
	}
	d, ok := dtypeLiteral(p, x)
	return ok && d.Category() == dtype.CatFloat
}

// forUnitRange reports a Normalize whose mean and std are numbers of at most 1.
func forUnitRange(p *analysis.Pass, call *python.Call) bool {
	for i, name := range []string{"mean", "std"} {
		x := argument(call, name)
		if x == nil && len(call.Args) > i && call.Args[i].Name == "" {
			x = call.Args[i].Value
		}
		if x == nil || !atMostOne(p, x) {
			return false
		}
	}
	return true
}

// atMostOne reports a list of numbers between 0 and 1, or the name of one whose
// value is known.
func atMostOne(p *analysis.Pass, x python.Expr) bool {
	if _, ok := x.(*python.Name); ok {
		v := p.Facts.Values[x]
		return v != nil && len(v.Elems) > 0 && !slices.ContainsFunc(v.Elems, func(e *interp.Value) bool {
			f, ok := parsed(e.Text)
			return !ok || !e.Known || f < 0 || f > 1
		})
	}
	seq, ok := x.(*python.Seq)
	return ok && len(seq.Xs) > 0 && !slices.ContainsFunc(seq.Xs, func(x python.Expr) bool {
		f, ok := number(p, x)
		return !ok || f < 0 || f > 1
	})
}

func reportUnscaled(p *analysis.Pass, image, cast, normalize *python.Call) {
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: cast.Pos(), Scope: scopeOf(p, cast), Ops: []python.Span{cast.Pos()},
		Message: fmt.Sprintf("%s casts and does not divide by 255: the pixels stay between 0 and 255, and the Normalize in line %d is made for 0 to 1. It wants `scale=True`.",
			code(p.Tree.Text(cast.Pos())), p.Tree.Line(normalize.Start)),
		Because: []analysis.Reason{
			p.Reason(image.Pos(), fmt.Sprintf("%s gives whole numbers from 0 to 255", code(p.Tree.Text(image.Pos())))),
			p.Reason(cast.Pos(), "makes floats of them and leaves them as large as they are"),
			p.Reason(normalize.Pos(), "expects values between 0 and 1"),
		},
		Fix: &analysis.Fix{Title: "Scale the image", Safety: analysis.Unsafe, Edits: []analysis.Edit{insertAt(cast.Args[0].End, ", scale=True")}},
	})
}
