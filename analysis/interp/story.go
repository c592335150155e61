package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/python"
)

var kindNames = [...]string{
	KindUnknown: "unknown", KindOpen: "open", KindTensor: "tensor", KindArray: "array", KindNumPy: "numpy", KindNumber: "number", KindString: "string",
	KindNone: "none", KindDType: "dtype", KindDevice: "device", KindModule: "module", KindSequence: "sequence", KindDict: "dict", KindFunction: "function",
	KindClass: "class", KindInstance: "instance", KindLibrary: "library", KindMethod: "method", KindPartial: "function",
}

// String returns the kind's name as infer prints it.
func (k Kind) String() string { return kindNames[k] }

// A Step is one step of how a value came about.
type Step struct {
	At   python.Node
	Text string
}

// Story returns how the value came about, the last step first: at most three
// steps, each at a place of the same file.
func (v *Value) Story() []Step {
	var out []Step
	for v != nil && len(out) < 3 {
		text := v.step()
		if text != "" && v.At != nil && (len(out) == 0 || out[len(out)-1].At != v.At) {
			out = append(out, Step{At: v.At, Text: text})
		}
		v = v.source()
	}
	return out
}

// source is the operand that decided the dtype, as far as one did.
func (v *Value) source() *Value {
	for _, f := range v.From {
		if f != nil && f.tensorish() && f.Tensor().DType.Equal(v.DType) {
			return f
		}
	}
	for _, f := range v.From {
		if f != nil && (f.tensorish() || f.Kind == KindArray) {
			return f
		}
	}
	return nil
}

func (v *Value) step() string {
	dt := strings.Join(v.Tensor().DType.Strings(), " or ")
	switch v.How {
	case HowParam:
		return "parameter " + v.Op
	case HowAttr:
		if r, ok := v.Tensor().DType.Root(); ok && v.Op == "" {
			return "attribute " + r.Name
		}
		if v.Op == "" {
			return "attribute"
		}
		return v.Op
	case HowCreate:
		return v.Op + " makes " + dt
	case HowKeep:
		if v.Op == "[]" {
			return "an index keeps " + dt
		}
		return v.Op + " keeps " + dt
	case HowCast:
		return v.Op + " casts to " + dt
	case HowPromote:
		if parts := v.DType.Promotes(); len(parts) > 1 {
			return v.Op + " promotes " + strings.Join(parts, " with ")
		}
		return v.Op + " promotes to " + dt
	case HowCall:
		return v.Op + " returns " + dt
	case HowJoin:
		return "two paths meet: " + dt
	case HowModule:
		return v.Op + " gives " + dt
	case HowNumPy:
		return v.Op + " takes NumPy's " + dt
	case HowAutocast:
		return v.Op + " gives " + dt + " under autocast"
	}
	if v.Op != "" && v.tensorish() {
		return v.Op + " gives " + dt
	}
	return ""
}
