package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// sibling finds an operand that is left out where the others of the call are
// cast to one dtype.
func (f *finder) sibling(op *interp.Op) (conflict, bool) {
	var cast []interp.Operand
	for _, o := range op.Operands {
		if v := origin(o.Value); v.How == interp.HowCast && v.At != nil && floating(o.Value.DType) {
			cast = append(cast, o)
		}
	}
	if len(cast) == 0 {
		return conflict{}, false
	}
	to := cast[0].Value.DType
	for _, o := range cast[1:] {
		if !o.Value.DType.Equal(to) {
			return conflict{}, false
		}
	}
	var odd []interp.Operand
	agree, target := 0, false
	if _, exact := to.Exact(); exact {
		target = true
	}
	for _, o := range op.Operands {
		switch {
		case o.Value.DType.Equal(to):
			agree++
			// The dtype that the others are cast to is that of an operand.
			target = target || origin(o.Value).How != interp.HowCast
		case floating(o.Value.DType) && dtype.Relate(o.Value.DType, to) == dtype.Apart:
			odd = append(odd, o)
		default:
			return conflict{}, false
		}
	}
	if len(odd) == 1 {
		if how := origin(odd[0].Value).How; how != interp.HowParam && how != interp.HowAttr {
			return conflict{}, false // what a module or a function gave may well follow the others
		}
	}
	if len(odd) == 1 && writtenInto(op, odd[0]) {
		return conflict{}, false // who adds in place to a wider sum casts what is added
	}
	if len(odd) == 1 && odd[0].Name == "bias" && slices.ContainsFunc(op.Operands, func(o interp.Operand) bool {
		return o.Name == "weight" && (handedOver(o) || handedOver(odd[0]) && origin(o.Value).How == interp.HowCast)
	}) {
		return conflict{}, false // weight and bias of one layer, handed over by who made them fit
	}
	if len(odd) != 1 || agree < 2 || !target {
		return conflict{}, false
	}
	if of, ok := odd[0].Value.DType.Root(); ok && strings.HasPrefix(of.Name, "self.") {
		if r, ok := to.Root(); ok && strings.HasPrefix(r.Name, "self.") {
			return conflict{}, false // parameters of one module follow each other
		}
	}
	c := conflict{op: op, keep: cast[0], odd: odd[0], part: odd[0].Value, evidence: bySibling}
	if op.Kind == interp.OpIndexPut {
		c.cause = causeWrite
	}
	return c, true
}

// handedOver reports whether an operand is a parameter of the function.
func handedOver(o interp.Operand) bool { return origin(o.Value).How == interp.HowParam }

// leftOut finds an operand that a branch forgot: on some path the others are
// cast to one exact dtype, and this one never is.
func (f *finder) leftOut(op *interp.Op) (conflict, bool) {
	var to dtype.DType
	var cast, odd []interp.Operand
	for _, o := range op.Operands {
		d := dtype.None
		for _, a := range o.Value.DType.Alternatives() {
			if x, ok := a.Exact(); ok && castTo(o.Value, x) {
				d = x
			}
		}
		switch {
		case !floating(o.Value.DType), o.Soft:
			return conflict{}, false
		case d == dtype.None:
			odd = append(odd, o)
		case to != dtype.None && d != to:
			return conflict{}, false
		default:
			to = d
			cast = append(cast, o)
		}
	}
	if len(cast) < 2 || len(odd) != 1 || writtenInto(op, odd[0]) {
		return conflict{}, false
	}
	for _, a := range odd[0].Value.DType.Alternatives() {
		if x, ok := a.Exact(); ok && x == to || len(a.Roots()) == 0 {
			return conflict{}, false
		}
	}
	return conflict{op: op, keep: cast[0], odd: odd[0], part: odd[0].Value, evidence: bySibling, casts: f.castTogether(cast, odd[0], to)}, true
}

// castTogether returns the assignment that casts all of some operands and could
// cast one more: as many names on its left as casts on its right.
func (f *finder) castTogether(cast []interp.Operand, odd interp.Operand, to dtype.DType) *python.Assign {
	var in *python.Assign
	for _, o := range cast {
		at := castAt(o.Value, to)
		if at == nil {
			return nil
		}
		a, ok := f.pass.Tree.StmtAt(at.Pos().Start).(*python.Assign)
		if !ok || in != nil && a != in {
			return nil
		}
		in = a
	}
	if in == nil || len(in.Targets) != 1 {
		return nil
	}
	names, okNames := in.Targets[0].(*python.Seq)
	values, okValues := in.Value.(*python.Seq)
	name, isPlain := odd.Expr.(*python.Name)
	if !okNames || !okValues || !isPlain || len(names.Xs) != len(values.Xs) || len(names.Xs) == 0 || slices.ContainsFunc(names.Xs, func(x python.Expr) bool { return isName(x, name.ID) }) {
		return nil
	}
	return in
}

// castAt is the explicit cast that gives a value a dtype, on some path.
func castAt(v *interp.Value, to dtype.DType) python.Node {
	v = origin(v)
	if d, ok := v.DType.Exact(); ok && d == to && v.How == interp.HowCast {
		return v.At
	}
	if v.How != interp.HowJoin {
		return nil
	}
	for _, from := range v.From {
		if from.Kind != interp.KindTensor {
			continue
		}
		if at := castAt(from, to); at != nil {
			return at
		}
	}
	return nil
}

// togetherFix casts the operand where its siblings are cast.
func togetherFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	names, values := c.casts.Targets[0].(*python.Seq), c.casts.Value.(*python.Seq)
	call, ok := values.Xs[len(values.Xs)-1].(*python.Call)
	if !ok {
		return nil
	}
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return nil
	}
	name := p.Tree.Text(c.odd.Expr.Pos())
	suffix := p.Tree.Text(python.Span{Start: at.X.Pos().End, End: call.End})
	return &analysis.Fix{
		Title: "Cast `" + name + "` with them", Safety: analysis.Safe,
		Edits: []analysis.Edit{insertAt(names.Xs[len(names.Xs)-1].Pos().End, ", "+name), insertAt(call.End, ", "+name+suffix)},
	}
}

// castTo reports whether an explicit cast gave one of a value's alternatives.
func castTo(v *interp.Value, d dtype.DType) bool { return castAt(v, d) != nil }
