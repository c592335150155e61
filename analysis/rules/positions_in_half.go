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
goes into sin or cos. By a buffer's dtype (likely) where sin or cos takes what
the positions are multiplied into: casting the module casts its buffers. By a
dtype argument (likely) where the function counts positions in it, the file
takes their sine and cosine, and the caller gives it its activation's dtype.

Fix: create it with dtype=torch.float32 and cast what is computed from it. It is
no one-click change where the numbers meet the activation or are returned.

Silent for short literal lengths, for fractions, for integer dtypes, for an
existing time step that is cast, and for a buffer's dtype in a branch of a
setting about precision.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			if triton(p, around) {
				return
			}
			expressions(p, s, func(n python.Node) {
				if call, ok := n.(*python.Call); ok {
					positions(p, call, around)
				}
			})
		})
		countedByCallee(p)
	},
}

// integersTo is the largest n up to which a half dtype holds every integer.
func integersTo(d dtype.DType) int {
	if d == dtype.Float16 {
		return 2048
	}
	return 256
}

// positions looks at one call of arange or linspace.
func positions(p *analysis.Pass, call *python.Call, around []python.Node) {
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
		if !precisionAround(p, around, dtypesCompared) && bufferPositions(p, call, dt, end, of) {
			return
		}
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
	if inside := collected(p, call, dt); inside != nil && !inside.gather(p, call, &f) {
		return
	}
	p.Report(f)
}

// bufferPositions reports positions in the dtype of a module's buffer that
// become angles: a module that is cast casts its buffers.
func bufferPositions(p *analysis.Pass, call *python.Call, dt *python.Arg, end python.Expr, of *interp.Value) bool {
	at := dt.Value.(*python.Attribute)
	if of == nil || of.How != interp.HowAttr || of.Op != "register_buffer" {
		return false
	}
	if _, literal := literalInt(end); literal || library(p, call.Func) != "torch.arange" {
		return false
	}
	angle := angleFrom(p, call)
	if angle == nil {
		return false
	}
	buffer := code(p.Tree.Text(at.X.Pos()))
	d := exampleDType(p)
	if !d.Half() {
		d = dtype.BFloat16
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s is a buffer, which a cast of the module casts too. In %s the positions up to %s are rounded beyond %d and neighbours become equal, before %s takes them.",
			buffer, d, code(p.Tree.Text(end.Pos())), integersTo(d), code(p.Tree.Text(angle.Pos()))),
		Because: []analysis.Reason{
			p.Reason(call.Pos(), fmt.Sprintf("the positions have the dtype of %s", buffer)),
			p.Reason(angle.Pos(), fmt.Sprintf("%s takes them as angles", code(p.Tree.Text(angle.Pos())))),
		},
		Fix: &analysis.Fix{Title: "Count in float32", Safety: analysis.Safe, Edits: []analysis.Edit{{Span: dt.Value.Pos(), New: "torch.float32"}}},
	})
	return true
}

// angleFrom is the first sin or cos that takes what a call's result goes into.
func angleFrom(p *analysis.Pass, call *python.Call) python.Node {
	var angle python.Node
	for x := range p.Facts.Values {
		c, ok := x.(*python.Call)
		if !ok {
			continue
		}
		at, ok := c.Func.(*python.Attribute)
		if !ok || at.Sel != "sin" && at.Sel != "cos" {
			continue
		}
		takes := len(c.Args) == 1 && from(p, c.Args[0].Value, call) || len(c.Args) == 0 && from(p, at.X, call)
		if takes && (angle == nil || c.Pos().Start < angle.Pos().Start) {
			angle = c
		}
	}
	return angle
}

// A collection is a tensor made in a dtype that positions in that dtype are
// then written into.
type collection struct {
	name string
	make *python.Assign
	dt   python.Expr
	of   *python.FuncDef
}

// collected finds the tensor that a statement writes positions into.
func collected(p *analysis.Pass, call *python.Call, dt *python.Arg) *collection {
	write, ok := p.Tree.StmtAt(call.Start).(*python.Assign)
	if !ok || len(write.Targets) != 1 {
		return nil
	}
	sub, ok := write.Targets[0].(*python.Subscript)
	if !ok {
		return nil
	}
	n, ok := sub.X.(*python.Name)
	if !ok {
		return nil
	}
	var out *collection
	functions(p, func(d *python.FuncDef, _ []python.Node) {
		if !d.Pos().Contains(write.Pos()) {
			return
		}
		inBody(d, func(s python.Stmt, _ []python.Node) {
			a, isAssign := s.(*python.Assign)
			if !isAssign || boundName(a) != n.ID || a.End > write.Start {
				return
			}
			made, isCall := a.Value.(*python.Call)
			if !isCall || !strings.HasPrefix(library(p, made.Func), "torch.") {
				return
			}
			if x := argument(made, "dtype"); x != nil && sameText(p, x, dt.Value) {
				out = &collection{n.ID, a, x, d}
			}
		})
	})
	return out
}

// gather makes one finding of all positions that go into a collection, at the
// place where it is made; false for all calls but the first.
func (c *collection) gather(p *analysis.Pass, call *python.Call, f *analysis.Finding) bool {
	first := true
	edits := []analysis.Edit{{Span: c.dt.Pos(), New: "torch.float32"}}
	inBody(c.of, func(s python.Stmt, _ []python.Node) {
		w, ok := s.(*python.Assign)
		if !ok || len(w.Targets) != 1 || w.Value == nil {
			return
		}
		if sub, isSub := w.Targets[0].(*python.Subscript); !isSub || !isName(sub.X, c.name) {
			return
		}
		expressions(p, w, func(n python.Node) {
			made, isCall := n.(*python.Call)
			if !isCall {
				return
			}
			if x := argument(made, "dtype"); x != nil && sameText(p, x, c.dt) {
				edits = append(edits, analysis.Edit{Span: x.Pos(), New: "torch.float32"})
				first = first && made.Start >= call.Start
			}
		})
	})
	f.Because = append(f.Because, p.Reason(c.make.Pos(), fmt.Sprintf("%s holds them in the same dtype", code(c.name))))
	f.At, f.Fix.Edits = c.make.Pos(), edits
	f.Fix.Safety = analysis.Unsafe // what takes the collection may want the activation's dtype
	f.Message = strings.Replace(f.Message, "Positions one apart", code(c.name)+" holds positions one apart", 1)
	return first
}

// countedByCallee reports calls that give the activation's dtype to a function
// of the file that counts positions in it.
func countedByCallee(p *analysis.Pass) {
	counts := map[string]*python.Call{} // "function parameter": the arange
	defs := map[string][]*python.FuncDef{}
	angles := false
	functions(p, func(d *python.FuncDef, _ []python.Node) { defs[d.Name] = append(defs[d.Name], d) })
	calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
		if at, ok := call.Func.(*python.Attribute); ok && at.Sel == "cos" {
			angles = true
		}
		d := function(around)
		x, isName := argument(call, "dtype").(*python.Name)
		if d == nil || !isName || library(p, call.Func) != "torch.arange" || !hasParam(d, x.ID) || bindings(d, x.ID) > 1 {
			return
		}
		if end, _, whole := lengths(p, "torch.arange", call); end != nil && whole {
			if n, plain := end.(*python.Name); plain && hasParam(d, n.ID) {
				counts[d.Name+" "+x.ID] = call
			}
		}
	})
	if !angles {
		return
	}
	calls(p, func(call *python.Call, _ python.Stmt, _ []python.Node) {
		name := ""
		switch f := call.Func.(type) {
		case *python.Name:
			name = f.ID
		case *python.Attribute:
			name = f.Sel
		}
		if len(defs[name]) != 1 {
			return
		}
		for _, a := range call.Args {
			made := counts[name+" "+a.Name]
			at, ok := a.Value.(*python.Attribute)
			if made == nil || !ok || at.Sel != "dtype" {
				continue
			}
			of := p.Facts.Values[at.X]
			if of == nil || !floatingParam(p, at.X, of) {
				continue
			}
			counted(p, call, made, &a, code(p.Tree.Text(at.X.Pos())))
		}
	})
}

// floatingParam reports whether an expression is a parameter that is a tensor
// of activations as far as its name goes.
func floatingParam(p *analysis.Pass, x python.Expr, v *interp.Value) bool {
	n, ok := x.(*python.Name)
	if !ok || integerName(n.ID) || strings.Contains(strings.ToLower(n.ID), "pos") || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return false
	}
	if t := v.Tensor().DType; len(t.Roots()) == 0 {
		return false
	}
	return true
}

func counted(p *analysis.Pass, call, made *python.Call, a *python.Arg, x string) {
	d := exampleDType(p)
	if !d.Half() {
		d = dtype.BFloat16
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, call), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s counts its positions in the dtype that it is given (line %d), here that of %s: in %s they are rounded beyond %d and neighbours become equal.",
			code(p.Tree.Text(call.Func.Pos())), p.Tree.Line(made.Start), x, d, integersTo(d)),
		Because: []analysis.Reason{p.Reason(a.Value.Pos(), fmt.Sprintf("the dtype of %s", x)), p.Reason(made.Pos(), fmt.Sprintf("%s makes the positions in it", code(p.Tree.Text(made.Func.Pos()))))},
		Fix:     &analysis.Fix{Title: "Count in float32", Safety: analysis.Unsafe, Edits: []analysis.Edit{{Span: a.Value.Pos(), New: "torch.float32"}}},
	})
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

// spaced reports whether linspace goes in steps of about one: its end is made
// of its number of steps, which is no literal.
func spaced(p *analysis.Pass, end, steps python.Expr) bool {
	if steps == nil {
		return false
	}
	if _, literal := literalInt(steps); literal {
		return false
	}
	return strings.Contains(p.Tree.Text(end.Pos()), p.Tree.Text(steps.Pos()))
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
