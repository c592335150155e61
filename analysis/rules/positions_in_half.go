package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var positionsInHalf = &analysis.Rule{
	Name:     "positions-in-half",
	Severity: analysis.High,
	Doc: `Positions, ids or frequencies are created in the activation's dtype

bfloat16 holds every integer up to 256 and float16 up to 2048; beyond that
neighbours become equal. torch.arange(n, dtype=x.dtype) then gives several
tokens, pixels or labels the same number, without an error.

Evidence: the dtype is half on every path and the literal length is too long
for it (certain), or the length is not a literal (likely). By a parameter's
dtype (likely) only where the length is a product of sizes, as the labels of
all pixels; where linspace makes as many steps as a tensor has positions; and
where the numbers are exponents of frequencies whose product with the parameter
goes into sin or cos.

Fix: create it with dtype=torch.float32 and cast what is computed from it. It is
no one-click change where the numbers meet the activation or are returned.

Silent for short literal lengths, for fractions, for integer dtypes, for the
dtype of a module's own buffer, and for an existing time step that is cast.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) {
				return
			}
			own(s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok {
					positions(p, call)
				}
			})
		})
	},
}

// own calls f for the expressions of a statement itself, not for those of the
// statements inside it.
func own(s python.Stmt, f func(python.Node)) {
	for c := range python.Children(s) {
		python.Inspect(c, func(n python.Node) bool {
			switch n.(type) {
			case python.Stmt, *python.Handler, *python.Case:
				return false
			}
			f(n)
			return true
		})
	}
}

// integersTo is the largest n up to which a half dtype holds every integer.
func integersTo(d dtype.DType) int {
	if d == dtype.Float16 {
		return 2048
	}
	return 256
}

// positions looks at one call of arange or linspace.
func positions(p *analysis.Pass, call *python.Call) {
	v := p.Facts.Values[call]
	if v == nil || v.Kind != interp.KindTensor || v.How != interp.HowCreate || v.Make == nil || v.Make.Call != call || !v.Make.DType {
		return
	}
	if v.Make.Name != "torch.arange" && v.Make.Name != "torch.linspace" {
		return
	}
	var dt *python.Arg
	for i := range call.Args {
		if call.Args[i].Name == "dtype" {
			dt = &call.Args[i]
		}
		if call.Args[i].Star > 0 {
			return
		}
	}
	if dt == nil {
		return
	}
	end, steps, whole := lengths(p, v.Make.Name, call)
	if end == nil || !whole {
		return
	}
	f := analysis.Finding{At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()}}
	what := code(v.Make.Name)
	if d, ok := halfExact(v); ok {
		n, literal := literalInt(end)
		switch {
		case v.Make.Name == "torch.linspace" && !literal && !spaced(p, end, steps):
			return
		case literal && n <= integersTo(d):
			return
		case literal:
			f.Confidence = analysis.Certain
			f.Message = fmt.Sprintf("%s in %s: beyond %d neighbouring integers become equal, and this goes to %d.", what, d, integersTo(d), n)
		default:
			f.Confidence = analysis.Likely
			f.Message = fmt.Sprintf("%s in %s: beyond %d neighbouring integers become equal. The length %s is not bounded here.", what, d, integersTo(d), code(p.Tree.Text(end.Pos())))
		}
	} else {
		at, ok := dt.Value.(*python.Attribute)
		if !ok || at.Sel != "dtype" {
			return
		}
		of := p.Facts.Values[at.X]
		if of == nil || origin(of).How != interp.HowParam || len(v.DType.Roots()) == 0 || v.DType.Widened() || len(v.DType.Alternatives()) > 1 {
			return
		}
		if of.Kind != interp.KindTensor && of.Kind != interp.KindOpen {
			return
		}
		x := p.Tree.Text(at.X.Pos())
		if _, isName := at.X.(*python.Name); !isName || integerName(x) || strings.Contains(strings.ToLower(x), "pos") || x == "self" {
			return
		}
		d := exampleDType(p)
		if !d.Half() {
			d = dtype.BFloat16
		}
		f.Confidence = analysis.Likely
		frequencies := exponent(p, call)
		switch {
		case v.Make.Name == "torch.arange" && sizeProduct(end):
			f.Message = fmt.Sprintf("One number for each of %s, in the dtype of %s. With %s in %s, numbers beyond %d are rounded and neighbours become equal.", code(p.Tree.Text(end.Pos())), code(x), code(x), d, integersTo(d))
		case v.Make.Name == "torch.linspace" && spaced(p, end, steps):
			f.Message = fmt.Sprintf("Positions one apart, up to %s, in the dtype of %s. With %s in %s, positions beyond %d are rounded and neighbours become equal.", code(p.Tree.Text(end.Pos())), code(x), code(x), d, integersTo(d))
		case v.Make.Name == "torch.arange" && frequencies != nil:
			bits := 8
			if d == dtype.Float16 {
				bits = 11
			}
			f.Message = fmt.Sprintf("Frequencies in the dtype of %s: with %s in %s the angles are rounded to %d bits before they reach %s, for the high ones by a good part of a turn.", code(x), code(x), d, bits, code(p.Tree.Text(frequencies.Pos())))
			f.Because = append(f.Because, p.Reason(frequencies.Pos(), fmt.Sprintf("%s takes them as angles", code(p.Tree.Text(frequencies.Pos())))))
		default:
			return
		}
	}
	f.Because = append([]analysis.Reason{p.Reason(call.Pos(), fmt.Sprintf("%s makes the dtype %s", what, knownWords(v.DType)))}, f.Because...)
	safety := analysis.Safe
	if meets(p, v, call) {
		safety = analysis.Unsafe
	}
	f.Fix = &analysis.Fix{Title: "Create it in float32", Safety: safety, Edits: []analysis.Edit{{Span: dt.Value.Pos(), New: "torch.float32"}}}
	p.Report(f)
}

// lengths are the end and the number of steps of a call; whole says that it
// counts in whole numbers as far as the text shows.
func lengths(p *analysis.Pass, name string, call *python.Call) (end, steps python.Expr, whole bool) {
	var pos []python.Expr
	for _, a := range call.Args {
		switch a.Name {
		case "":
			pos = append(pos, a.Value)
		case "end":
			end = a.Value
		case "steps":
			steps = a.Value
		case "start", "step":
			return nil, nil, false
		}
	}
	switch {
	case name == "torch.linspace" && len(pos) >= 2:
		end = pos[1]
		if len(pos) > 2 {
			steps = pos[2]
		}
	case name == "torch.arange" && len(pos) == 1:
		end = pos[0]
	case name == "torch.arange" && len(pos) >= 2:
		end = pos[1]
	}
	if end == nil {
		return nil, nil, false
	}
	for _, x := range pos {
		fraction := false
		python.Inspect(x, func(n python.Node) bool {
			switch n := n.(type) {
			case *python.Lit:
				fraction = fraction || n.Kind == "float"
			case *python.Binary:
				fraction = fraction || n.Op == "/"
			}
			return true
		})
		if fraction {
			return nil, nil, false
		}
		if v := p.Facts.Values[x]; v != nil && v.Kind == interp.KindNumber {
			if low, high := v.DType.Categories(); low == dtype.CatFloat || high == dtype.CatFloat {
				return nil, nil, false
			}
		}
	}
	return end, steps, true
}

func literalInt(x python.Expr) (int, bool) {
	l, ok := x.(*python.Lit)
	if !ok || l.Kind != "int" {
		return 0, false
	}
	n, err := strconv.Atoi(strings.ReplaceAll(l.Text, "_", ""))
	return n, err == nil
}

// sizeProduct reports whether a length is a product of two sizes or more.
func sizeProduct(x python.Expr) bool {
	found := false
	python.Inspect(x, func(n python.Node) bool {
		if b, ok := n.(*python.Binary); ok && b.Op == "*" {
			_, left := literalInt(b.X)
			_, right := literalInt(b.Y)
			found = found || !left && !right
		}
		return !found
	})
	return found
}

// spaced reports whether linspace goes in steps of about one along a tensor:
// its end is made of its number of steps, and that is a size.
func spaced(p *analysis.Pass, end, steps python.Expr) bool {
	if steps == nil {
		return false
	}
	text := p.Tree.Text(steps.Pos())
	return (strings.Contains(text, ".shape[") || strings.Contains(text, ".size(")) && strings.Contains(p.Tree.Text(end.Pos()), text)
}

// exponent finds the sin or cos that takes what a base raised to the created
// numbers was multiplied into.
func exponent(p *analysis.Pass, call *python.Call) python.Node {
	raised := false
	var angle python.Node
	for x, v := range p.Facts.Values {
		c, ok := x.(*python.Call)
		if !ok || v == nil {
			continue
		}
		at, ok := c.Func.(*python.Attribute)
		if !ok {
			continue
		}
		switch at.Sel {
		case "pow":
			if len(c.Args) == 2 && from(p, c.Args[1].Value, call) {
				raised = true
			}
		case "sin", "cos":
			takes := len(c.Args) == 1 && from(p, c.Args[0].Value, call) || len(c.Args) == 0 && from(p, at.X, call)
			if takes && (angle == nil || c.Pos().Start < angle.Pos().Start) {
				angle = c
			}
		}
	}
	if !raised {
		return nil
	}
	return angle
}

// from reports whether an expression's value was made from a call's.
func from(p *analysis.Pass, x python.Expr, call *python.Call) bool {
	v := p.Facts.Values[x]
	return v != nil && inHistory(v, call)
}

// meets reports whether created numbers are returned or meet a tensor that
// came from elsewhere, so that another dtype would spread.
func meets(p *analysis.Pass, v *interp.Value, call *python.Call) bool {
	if s := v.Make.Scope; s != nil && s.Return != nil && inHistory(s.Return, call) {
		return true
	}
	for _, op := range p.Facts.Ops {
		mine, other := false, false
		for _, o := range op.Operands {
			switch how := origin(o.Value).How; {
			case inHistory(o.Value, call):
				mine = true
			case how == interp.HowParam || how == interp.HowAttr || how == interp.HowModule || how == interp.HowCall:
				other = true
			}
		}
		if mine && other {
			return true
		}
	}
	return false
}
