package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
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
	if len(odd) == 1 && odd[0].Name == "bias" && slices.ContainsFunc(op.Operands, func(o interp.Operand) bool {
		return o.Name == "weight" && origin(o.Value).How == interp.HowParam
	}) {
		return conflict{}, false // weight and bias of one layer, handed in together
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
	if len(cast) < 2 || len(odd) != 1 {
		return conflict{}, false
	}
	for _, a := range odd[0].Value.DType.Alternatives() {
		if x, ok := a.Exact(); ok && x == to || len(a.Roots()) == 0 {
			return conflict{}, false
		}
	}
	return conflict{op: op, keep: cast[0], odd: odd[0], part: odd[0].Value, evidence: bySibling}, true
}

// castTo reports whether an explicit cast gave one of a value's alternatives.
func castTo(v *interp.Value, d dtype.DType) bool {
	v = origin(v)
	if x, ok := v.DType.Exact(); ok {
		return x == d && v.How == interp.HowCast
	}
	if v.How != interp.HowJoin {
		return false
	}
	for _, from := range v.From {
		if from.Kind == interp.KindTensor && castTo(from, d) {
			return true
		}
	}
	return false
}
