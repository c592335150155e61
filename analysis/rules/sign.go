package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// localSign finds what in the function says that the root's dtype varies. What
// it takes depends on how the known dtype came about: a tensor created without
// a dtype needs its device copied from another tensor, a dtype propagated
// elsewhere in the function, or a word of half precision in it; a
// literal dtype is meant; a cast must be followed by
// arithmetic, for a cast right before the operation is meant for it. float64 is
// chosen on purpose as long as nothing proves otherwise.
func (f *finder) localSign(c *conflict) python.Node {
	o := source(c.part)
	if d, ok := c.part.DType.Exact(); ok && d == dtype.Float64 {
		return nil
	}
	s := c.op.Scope
	if s == nil || c.op.Autocast.State == interp.AutocastOff && !outside(c.keep.Value) {
		return nil
	}
	switch {
	case c.make != nil && o.Make != nil && o.Make.DTypeOf == c.make:
		return o.Make.Call // its dtype was copied to another tensor: whoever does so knows that dtypes vary
	case c.cause == causeWrite && strings.HasSuffix(o.Op, "_like") && o.How == interp.HowCreate:
		return o.At // zeros_like(h, dtype=float32): whoever writes that knows that h may be narrower
	case o.Make != nil && o.Make.DType:
		return nil // float32 was asked for
	case o.Make != nil && copiesDevice(o.Make, c):
		return o.Make.Call
	case c.cause == causePromoted:
	case o.How == interp.HowCast || o.How == interp.HowPromote || o.How == interp.HowOther:
		if !outside(c.keep.Value) {
			return nil
		}
		return upcast(c)
	}
	if len(s.Propagates) > 0 {
		return s.Propagates[0]
	}
	if len(s.Half) > 0 {
		return s.Half[0]
	}
	if s.Class != nil {
		for _, o := range f.facts.Scopes {
			if o.Class == s.Class && len(o.Half) > 0 {
				return o.Half[0]
			}
		}
		return nil
	}
	return f.followedElsewhere(c)
}

// followedElsewhere finds a plain function of the file that makes a tensor with
// the dtype of a parameter of the same name as the root: functions that stand
// together take the same things.
func (f *finder) followedElsewhere(c *conflict) python.Node {
	root, ok := c.keep.Value.DType.Root()
	if c.make == nil || !ok {
		return nil
	}
	var found python.Node
	for _, o := range f.facts.Scopes {
		if o.Class != nil || o.Def == nil || o == c.op.Scope || len(o.Propagates) == 0 || !hasParam(o.Def, root.Name) {
			continue
		}
		python.Inspect(o.Def, func(n python.Node) bool {
			if call, ok := n.(*python.Call); ok && found == nil && strings.HasPrefix(library(f.pass, call.Func), "torch.") {
				if x := argument(call, "dtype"); x != nil && f.pass.Tree.Text(x.Pos()) == root.Name+".dtype" {
					found = call
				}
			}
			return found == nil
		})
	}
	return found
}

// copiesDevice reports whether a factory takes the device of a tensor that has
// the other dtype, or at least of something that certainly is a tensor:
// args.device says nothing.
func copiesDevice(m *interp.Creation, c *conflict) bool {
	v := m.DeviceOf
	if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return false
	}
	if v.Kind == interp.KindTensor {
		return true
	}
	for _, r := range v.Tensor().DType.Roots() {
		if slices.Contains(c.keep.Value.DType.Roots(), r) || slices.Contains(c.odd.Value.DType.Roots(), r) {
			return true
		}
	}
	return false
}

// outside reports whether a value came into an autocast(enabled=False) region
// from outside: a parameter of the function. What modules compute inside has
// the dtype of their parameters, which are float32 where autocast is used.
func outside(v *interp.Value) bool {
	for i := 0; i < 60 && v != nil; i++ {
		if v.How == interp.HowParam {
			return true
		}
		if v.How != interp.HowKeep || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// upcast finds where a value of a dtype that varies was made float32 to be
// computed with, and then meets a value whose dtype varies too: whoever casts
// up knows that the value may be narrower. A module's parameters are no such
// value, since images are cast to float32 as well.
func upcast(c *conflict) python.Node {
	if c.op.Kind == interp.OpModule || c.part != c.odd.Value {
		return nil
	}
	if r, ok := c.keep.Value.DType.Root(); ok && strings.HasPrefix(r.Name, "self.") {
		return nil
	}
	computed := false
	v := c.part
	for i := 0; i < 60 && v != nil && len(v.From) > 0; i++ {
		switch v.How {
		case interp.HowCast:
			// softmax(x, dtype=float32) computes and casts at once.
			computed = computed || !strings.HasPrefix(v.Op, ".")
			if d, ok := v.DType.Exact(); ok && d == dtype.Float32 && computed && len(v.From[0].DType.Roots()) > 0 {
				return v.At
			}
			return nil
		case interp.HowPromote:
			computed = true
		}
		v = v.From[0]
	}
	return nil
}
