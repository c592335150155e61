package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// A world is one plausible assignment of dtypes to roots.
type world struct {
	name string
	root func(*dtype.Root) dtype.DType
}

// Raises lists the operations of a file that PyTorch refuses in worlds that the
// evidence makes plausible: everything bfloat16, everything float64, and, where
// points meet matrices, bfloat16 points with float32 matrices. The default
// dtype is float32 in all of them. Keys do not depend on lines: scope,
// operation, its number in the scope, world, and whether it is refused on every
// path or on some. A fix that adds a key has moved the crash, not mended it.
func Raises(p *analysis.Pass) []string {
	f := &finder{pass: p, facts: p.Facts, scopes: map[*interp.Scope]*usage{}}
	matrix := map[*dtype.Root]bool{}
	for _, op := range p.Facts.Ops {
		if op.Kind != interp.OpRefuses || len(op.Operands) != 2 || op.Within != nil {
			continue
		}
		if c, ok := f.geometry(op, op.Operands[0], op.Operands[1]); ok {
			if r, ok := c.odd.Value.DType.Root(); ok {
				matrix[r] = true
			}
		}
	}
	all := func(d dtype.DType) func(*dtype.Root) dtype.DType {
		return func(*dtype.Root) dtype.DType { return d }
	}
	worlds := []world{{"bfloat16", all(dtype.BFloat16)}, {"float64", all(dtype.Float64)}}
	if len(matrix) > 0 {
		worlds = append(worlds, world{"bfloat16 points", func(r *dtype.Root) dtype.DType {
			if matrix[r] {
				return dtype.Float32
			}
			return dtype.BFloat16
		}})
	}
	var out []string
	number := map[string]int{}
	for _, op := range p.Facts.Ops {
		if !wantsOne(op) || op.Within != nil {
			continue
		}
		scope := ""
		if op.Scope != nil {
			scope = op.Scope.Name
		}
		key := scope + "|" + op.Name
		number[key]++
		if op.Kind != interp.OpIndexPut && (op.Autocast.State == interp.AutocastOn || op.Autocast.State == interp.AutocastMaybe) {
			continue
		}
		for _, w := range worlds {
			if how := refused(op, w); how != "" {
				out = append(out, fmt.Sprintf("%s|%d|%s|%s", key, number[key], w.name, how))
			}
		}
	}
	return out
}

// refused says whether an operation is refused in a world: on "every" path, on
// "some", or not ("").
func refused(op *interp.Op, w world) string {
	how := ""
	for i, a := range op.Operands {
		for _, b := range op.Operands[i+1:] {
			if a.Soft || b.Soft {
				continue
			}
			x, okX := a.Value.DType.In(w.root, dtype.Float32)
			y, okY := b.Value.DType.In(w.root, dtype.Float32)
			if !okX || !okY {
				continue
			}
			same, differ := false, false
			for _, d := range x {
				for _, e := range y {
					switch {
					case d.Category() != dtype.CatFloat || e.Category() != dtype.CatFloat:
					case d == e:
						same = true
					default:
						differ = true
					}
				}
			}
			switch {
			case differ && !same:
				return "every"
			case differ:
				how = "some"
			}
		}
	}
	return how
}
