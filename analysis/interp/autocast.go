package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// autocastRegion recognises a context manager or decorator that opens an
// autocast region.
func (e *evaluator) autocastRegion(x python.Expr) (Autocast, bool) {
	a := Autocast{State: AutocastOn, At: x, DType: dtype.Unknown}
	c, isCall := x.(*python.Call)
	fn := x
	if isCall {
		fn = c.Func
	}
	name := ""
	switch v := e.quiet(fn); v.Kind {
	case KindLibrary:
		name = v.Name
	default:
		if at, ok := fn.(*python.Attribute); ok {
			name = at.Sel
		} else if n, ok := fn.(*python.Name); ok {
			name = n.ID
		}
	}
	switch {
	case strings.HasSuffix(name, "custom_fwd") || strings.HasSuffix(name, "custom_bwd"):
		a.State = AutocastMaybe
		return a, true
	case name == "torch.autocast" || strings.HasPrefix(name, "torch.") && strings.HasSuffix(name, ".autocast"):
	case name == "autocast" || strings.HasSuffix(name, ".autocast") || strings.Contains(strings.ToLower(name), "autocast"):
		// accelerator.autocast(), self.autocast_ctx(): on or off, nobody knows.
		a.State = AutocastMaybe
		return a, true
	default:
		return a, false
	}
	if strings.Contains(name, "cuda") {
		a.Device, a.DType = "cuda", dtype.Exact(dtype.Float16)
	}
	if strings.Contains(name, ".cpu.") {
		a.Device, a.DType = "cpu", dtype.Exact(dtype.BFloat16)
	}
	if !isCall {
		return a, true
	}
	args := e.args(c)
	if name == "torch.autocast" || name == "torch.amp.autocast" || strings.HasSuffix(name, "amp.autocast_mode.autocast") {
		if d, _ := args.arg(0, "device_type"); d != nil && d.Kind == KindString && d.Known {
			a.Device, _, _ = strings.Cut(d.Text, ":")
			switch a.Device {
			case "cuda", "xpu", "mps":
				a.DType = dtype.Exact(dtype.Float16)
			case "cpu":
				a.DType = dtype.Exact(dtype.BFloat16)
			}
		}
	} else if v, _ := args.arg(0, "enabled"); v != nil {
		a.State = enabledState(v)
	}
	if d, _ := args.arg(1, "dtype"); d != nil && d.Kind != KindNone {
		if t, ok := dtypeOf(d); ok && d.Kind != KindNumber {
			a.DType = t
		}
	}
	if v, _ := args.key("enabled"); v != nil {
		a.State = enabledState(v)
	}
	return a, true
}

// storedRegion is the autocast region of a context that was made before: the one
// of the call that made it, or one that is perhaps on where several did, or where a
// function of this file gives it.
func (e *evaluator) storedRegion(x python.Expr, v *Value) (Autocast, bool) {
	var found []Autocast
	var walk func(v *Value, depth int)
	walk = func(v *Value, depth int) {
		if v == nil || depth > 4 {
			return
		}
		if c, ok := v.At.(*python.Call); ok && c != x {
			if a, ok := e.autocastRegion(c); ok {
				found = append(found, a)
				return
			}
		}
		for _, f := range v.From {
			walk(f, depth+1)
		}
	}
	switch v.Kind {
	case KindOpen, KindTensor, KindUnknown:
		walk(v, 0)
	}
	if len(found) == 0 {
		return Autocast{}, false
	}
	a := found[0]
	if _, named := x.(*python.Name); !named || len(found) > 1 || v.Kind != KindOpen {
		a.State, a.DType = AutocastMaybe, dtype.Unknown
	}
	a.At = x
	return a, true
}

func enabledState(v *Value) AutocastState {
	switch {
	case v.Known && v.Text == "True":
		return AutocastOn
	case v.Known && v.Text == "False":
		return AutocastOff
	}
	return AutocastMaybe
}
