package rules

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A twin is an operand that is left as it is where its like is cast: on the
// other branch, from the same object, or in the same operation elsewhere.
type twin struct {
	op        *interp.Op
	keep, odd interp.Operand
	// cast is the cast that its like has.
	cast *python.Call
	// at is the expression that misses the cast, and to what is written behind it.
	at   python.Expr
	to   string
	like string // how the two belong together, for the message
}

// twins finds the operands of a file that miss the cast of their twins.
func twins(p *analysis.Pass) []twin {
	f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
	var out []twin
	for _, op := range p.Facts.Ops {
		if op.Kind != interp.OpRefuses && op.Kind != interp.OpPromotes || op.Autocast.State == interp.AutocastOn || op.Autocast.State == interp.AutocastMaybe || inLoss(p, op) {
			continue
		}
		if t, ok := f.twin(op); ok {
			out = append(out, t)
		}
	}
	return out
}

func (f *finder) twin(op *interp.Op) (twin, bool) {
	for i, odd := range op.Operands {
		for j, keep := range op.Operands {
			if i == j || odd.Soft || keep.Soft || !guiding(keep) || !floating(odd.Value.DType) {
				continue
			}
			t := twin{op: op, keep: keep, odd: odd}
			if f.otherBranch(&t) || f.sameObject(&t) || f.sameOperation(&t) {
				return t, true
			}
		}
	}
	return twin{}, false
}

// otherBranch recognises a value that one arm of an if casts to the dtype of
// what it meets behind the if, and the other arm does not.
func (f *finder) otherBranch(t *twin) bool {
	v := origin(t.odd.Value)
	if v.How != interp.HowJoin {
		return false
	}
	var cast *python.Call
	for _, from := range v.From {
		if c := castOf(from, t.keep.Value.DType); c != nil {
			cast = c
		}
	}
	name, ok := path(t.odd.Expr)
	if cast == nil || !ok {
		return false
	}
	other := f.otherArm(cast, name)
	if other == nil {
		return false
	}
	left := f.facts.Values[other.Value]
	if left == nil || !floating(tensorType(left)) {
		return false
	}
	if r := dtype.Relate(tensorType(left), t.keep.Value.DType); r != dtype.Apart && r != dtype.Differ {
		return false
	}
	t.cast, t.at, t.to, t.like = cast, other.Value, f.suffix(cast), "the other branch casts it"
	return t.to != ""
}

// otherArm returns the assignment to a name in the arm beside the one that a
// cast stands in, of the innermost if whose condition is not about dtypes.
func (f *finder) otherArm(cast *python.Call, name string) *python.Assign {
	var arm []python.Stmt
	f.pass.Tree.Inspect(func(n python.Node) bool {
		s, ok := n.(*python.If)
		switch {
		case !ok:
		case within(s.Body, cast):
			arm = s.Else
		case within(s.Else, cast):
			arm = s.Body
		default:
			return true
		}
		if ok && aboutDTypes(f.pass.Tree.Text(s.Cond.Pos())) {
			arm = nil
		}
		return true
	})
	var found *python.Assign
	for _, s := range arm {
		if a, ok := s.(*python.Assign); ok && a.Op == "" && a.Value != nil && len(a.Targets) == 1 && isName(a.Targets[0], name) {
			found = a
		}
	}
	return found
}

func within(body []python.Stmt, n python.Node) bool {
	return len(body) > 0 && body[0].Pos().Start <= n.Pos().Start && n.Pos().End <= body[len(body)-1].Pos().End
}

// aboutDTypes reports whether a condition chooses by dtype, so that its arms
// rightly differ.
func aboutDTypes(cond string) bool {
	words := strings.FieldsFunc(strings.ToLower(cond), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.ContainsFunc(words, func(w string) bool {
		switch w {
		case "dtype", "half", "autocast", "precision", "fp16", "bf16", "fp32", "float", "float16", "bfloat16", "float32", "upcast", "cast", "amp", "device", "mps", "cpu",
			"scripting", "tracing", "compiling", "onnx":
			return true
		}
		return false
	})
}

// sameObject recognises two attributes of one object that meet values of one
// dtype, of which one is cast to it. A module's own attributes are no twins:
// a weight and a scale, a table and a number.
func (f *finder) sameObject(t *twin) bool {
	mine := attributes(t.odd.Value, 0)
	if len(mine) == 0 || dtype.Relate(t.odd.Value.DType, t.keep.Value.DType) != dtype.Apart {
		return false
	}
	for _, c := range f.castOperands(t.op.Scope) {
		if c.op == t.op || !c.to(t.keep.Value.DType) {
			continue
		}
		from := origin(c.operand.Value).From
		if len(from) == 0 {
			continue
		}
		its := attributes(from[0], 0)
		if len(its) != 1 || !slices.ContainsFunc(mine, func(m string) bool { return m != its[0] && parent(m) == parent(its[0]) && parent(m) != "self" }) || !metBy(c.op, c.operand, t.keep.Value.DType) {
			continue
		}
		ref, ok := reference(f.pass, t.op, t.keep)
		if !ok {
			continue
		}
		t.cast, t.at, t.to, t.like = c.cast, f.assigned(t), ".to("+ref+")", code(its[0])+" is cast"
		return true
	}
	return false
}

// assigned is the expression that the operand's name was given, where only that
// assignment gives it; else the operand itself.
func (f *finder) assigned(t *twin) python.Expr {
	name, ok := t.odd.Expr.(*python.Name)
	if !ok || t.op.Scope == nil || t.op.Scope.Def == nil {
		return t.odd.Expr
	}
	var found []*python.Assign
	for _, s := range t.op.Scope.Def.Body {
		python.Inspect(s, func(n python.Node) bool {
			if a, ok := n.(*python.Assign); ok && slices.ContainsFunc(a.Targets, func(x python.Expr) bool { return isName(x, name.ID) }) {
				found = append(found, a)
			}
			return true
		})
	}
	if len(found) != 1 || found[0].Op != "" || found[0].Value == nil || found[0].Start > t.op.Node.Pos().Start {
		return t.odd.Expr
	}
	return found[0].Value
}

// metBy reports whether another operand of the operation has a dtype as its own.
func metBy(op *interp.Op, cast interp.Operand, t dtype.Type) bool {
	for _, o := range op.Operands {
		if o.Expr != cast.Expr && o.Value.DType.Equal(t) {
			return true
		}
	}
	return false
}

func parent(path string) string { return path[:strings.LastIndexByte(path, '.')] }

// attributes are the paths of the attributes that a value comes from, through
// arithmetic and what keeps its dtype: self.bn.running_var.
func attributes(v *interp.Value, depth int) []string {
	if v == nil || depth > 12 {
		return nil
	}
	if v.How == interp.HowAttr {
		if at, ok := v.At.(*python.Attribute); ok {
			if p, ok := path(at); ok {
				return []string{p}
			}
		}
		return nil
	}
	if v.How != interp.HowKeep && v.How != interp.HowPromote && v.How != interp.HowOther {
		return nil
	}
	var out []string
	for _, from := range v.From {
		out = append(out, attributes(from, depth+1)...)
	}
	return out
}

// sameOperation recognises a name that is cast in the same operation elsewhere
// in the function, and not here.
func (f *finder) sameOperation(t *twin) bool {
	name, ok := path(base(t.odd.Expr))
	if !ok || t.op.Kind != interp.OpRefuses || dtype.Relate(t.odd.Value.DType, t.keep.Value.DType) != dtype.Apart {
		return false
	}
	for _, c := range f.castOperands(t.op.Scope) {
		if c.op == t.op || c.op.Name != t.op.Name || !c.to(t.keep.Value.DType) || !metBy(c.op, c.operand, t.keep.Value.DType) {
			continue
		}
		at, ok := c.cast.Func.(*python.Attribute)
		if !ok {
			continue
		}
		if other, ok := path(base(at.X)); !ok || other != name || f.chosen(c.cast, t.odd.Expr) {
			continue
		}
		ref, ok := reference(f.pass, t.op, t.keep)
		if !ok {
			continue
		}
		t.cast, t.at, t.to, t.like = c.cast, t.odd.Expr, ".to("+ref+")", "the same product casts it"
		return true
	}
	return false
}

// chosen reports whether an if that asks about dtypes, or for a compiler, stands
// around one of two places of a function and not around the other.
func (f *finder) chosen(a, b python.Node) bool {
	found := false
	f.pass.Tree.Inspect(func(n python.Node) bool {
		if s, ok := n.(*python.If); ok && (within(s.Body, a) != within(s.Body, b) || within(s.Else, a) != within(s.Else, b)) {
			found = found || aboutDTypes(f.pass.Tree.Text(s.Cond.Pos()))
		}
		return !found
	})
	return found
}

// A castOperand is an operand that a method call casts.
type castOperand struct {
	op      *interp.Op
	operand interp.Operand
	cast    *python.Call
}

// to reports whether the cast is to that dtype.
func (c castOperand) to(t dtype.Type) bool { return tensorType(origin(c.operand.Value)).Equal(t) }

// castOperands lists those of the operations of one scope, in their order. They
// are found once: a function may have thousands of operations.
func (f *finder) castOperands(scope *interp.Scope) []castOperand {
	if f.casts == nil {
		f.casts = map[*interp.Scope][]castOperand{}
		for _, op := range f.facts.Ops {
			for _, o := range op.Operands {
				if cast := castOf(o.Value, tensorType(origin(o.Value))); cast != nil {
					f.casts[op.Scope] = append(f.casts[op.Scope], castOperand{op, o, cast})
				}
			}
		}
	}
	return f.casts[scope]
}

// castOf is the call that casts a value to a dtype, nil if the value came by it
// in another way.
func castOf(v *interp.Value, to dtype.Type) *python.Call {
	v = origin(v)
	if v.How != interp.HowCast || !tensorType(v).Equal(to) {
		return nil
	}
	call, ok := v.At.(*python.Call)
	if !ok {
		return nil
	}
	if _, isMethod := call.Func.(*python.Attribute); !isMethod {
		return nil
	}
	return call
}

// suffix is a cast as it is written behind its receiver: ".to(dtype=x.dtype)".
func (f *finder) suffix(cast *python.Call) string {
	at := cast.Func.(*python.Attribute)
	s := f.pass.Tree.Text(python.Span{Start: at.X.Pos().End, End: cast.End})
	if strings.ContainsAny(s, "\n\\") {
		return ""
	}
	return s
}

// A madeTwin is a name that one arm of an if makes in a tensor's dtype and the
// other arm makes of numbers alone, in the default dtype.
type madeTwin struct {
	made  *python.Call   // with dtype=x.dtype
	other *python.Assign // without
	meets python.Node    // the product that takes it
}

// madeTwins finds those that reach a matrix product.
func madeTwins(p *analysis.Pass) []madeTwin {
	f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
	var out []madeTwin
	for _, a := range p.Facts.Assigned {
		m := source(a.Value).Make
		if m == nil || m.Scope != a.Scope || a.Scope.Def == nil || m.Call == nil {
			continue
		}
		dt, ok := argument(m.Call, "dtype").(*python.Attribute)
		if !ok || dt.Sel != "dtype" {
			continue
		}
		other := f.otherArm(m.Call, a.Name)
		if other == nil || !ofNumbersAlone(p.Facts.Values[other.Value], a.Scope, 0) {
			continue
		}
		meetings(p, a.Scope.Def, func(n python.Node, x, _ python.Expr) {
			if isName(base(x), a.Name) && n.Pos().Start > other.End && (len(out) == 0 || out[len(out)-1].other != other) {
				out = append(out, madeTwin{m.Call, other, n})
			}
		})
	}
	return out
}

// ofNumbersAlone reports whether a value is computed from tensors that a function
// made of numbers without a dtype, and from nothing else.
func ofNumbersAlone(v *interp.Value, s *interp.Scope, depth int) bool {
	if v == nil || depth > 20 || v.Kind != interp.KindTensor {
		return false
	}
	if v.How == interp.HowCreate {
		return v.Make != nil && v.Make.Scope == s && !v.Make.DType
	}
	tensors := 0
	for _, from := range v.From {
		if from.Kind != interp.KindTensor && from.Kind != interp.KindOpen {
			continue
		}
		if !ofNumbersAlone(from, s, depth+1) {
			return false
		}
		tensors++
	}
	return tensors > 0 && (v.How == interp.HowKeep || v.How == interp.HowPromote || v.How == interp.HowJoin)
}

// finding is what is said of a madeTwin.
func (t *madeTwin) finding(p *analysis.Pass) analysis.Finding {
	dt := argument(t.made, "dtype").(*python.Attribute)
	to, x := p.Tree.Text(dt.Pos()), p.Tree.Text(dt.X.Pos())
	name := code(p.Tree.Text(t.other.Targets[0].Pos()))
	return analysis.Finding{
		Confidence: analysis.Likely, At: statementOf(p, t.other), Scope: scopeOf(p, t.other), Ops: []python.Span{t.meets.Pos()},
		Message: fmt.Sprintf("The other branch makes %s with the dtype of %s (line %d), here it is computed in the default dtype, float32. With %s in %s the product in line %d stops: it wants one dtype.",
			name, code(x), p.Tree.Line(t.made.Start), code(x), exampleDType(p), p.Tree.Line(t.meets.Pos().Start)),
		Because: []analysis.Reason{
			p.Reason(t.made.Pos(), "the other branch follows the dtype of "+code(x)),
			p.Reason(t.other.Pos(), "this one is made of numbers, without a dtype"),
			p.Reason(t.meets.Pos(), fmt.Sprintf("%s goes into a product", name)),
		},
		Fix: &analysis.Fix{Title: "Cast it as the other branch", Safety: analysis.Safe, Edits: castEdit(p, t.other.Value, ".to("+to+")")},
	}
}
