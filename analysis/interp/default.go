package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// This file follows the default dtype. A statement of the module that sets it
// holds for what follows; where a function sets it, nothing is known of it in
// the whole file. Tensors that were made before keep "default", which stands for
// the dtype that the program started with.

// defaults is how a file sets the default dtype.
type defaults struct {
	top      int  // statements of the module
	anywhere bool // in functions or branches, where nobody knows when
}

func defaultChanges(f *python.File) defaults {
	var d defaults
	if !strings.Contains(f.Source, "set_default_dtype") && !strings.Contains(f.Source, "set_default_tensor_type") {
		return d
	}
	context := -1 // depth of the context manager around
	for _, s := range f.Statements() {
		if context >= 0 && s.Depth <= context {
			context = -1
		}
		if def, ok := s.Node.(*python.FuncDef); ok && context < 0 && isContextManager(f, def) {
			context = s.Depth
		}
		if x, ok := s.Node.(*python.ExprStmt); ok && context < 0 && setsDefault(x.X) != nil {
			if s.Depth == 0 {
				d.top++
			} else {
				d.anywhere = true
			}
		}
	}
	return d
}

// isContextManager reports whether a function is one by contextlib, which puts
// back what it sets.
func isContextManager(f *python.File, d *python.FuncDef) bool {
	for _, x := range d.Decorators {
		if strings.HasSuffix(f.Text(x.Pos()), "contextmanager") {
			return true
		}
	}
	return false
}

// setsDefault is the argument of torch.set_default_dtype(…), nil of anything else.
func setsDefault(x python.Expr) python.Expr {
	c, ok := x.(*python.Call)
	if !ok || len(c.Args) != 1 {
		return nil
	}
	name, _ := dotted(c.Func)
	switch baseName(name) {
	case "set_default_dtype", "set_default_tensor_type":
		return c.Args[0].Value
	}
	return nil
}

// setDefault applies a statement of the module that sets the default dtype.
// What was evaluated of the functions before is done again: they are mostly
// called later.
func (e *evaluator) setDefault(x python.Expr) {
	arg := setsDefault(x)
	if arg == nil || e.defaults.anywhere || e.frame != e.module || e.inlining != nil {
		return
	}
	e.deflt = e.denoted(arg)
	for _, fn := range e.funcs {
		if fn.state != 2 {
			continue
		}
		fn.state, fn.Params, fn.Return, fn.inlined = 0, nil, nil, nil
		if fn.Class != nil {
			fn.Class.ready = false
		}
	}
}

// denoted is the dtype that an argument of set_default_dtype names.
func (e *evaluator) denoted(x python.Expr) dtype.Type {
	text := strings.Trim(e.file.Text(x.Pos()), `"'`)
	for name, d := range map[string]dtype.DType{"FloatTensor": dtype.Float32, "DoubleTensor": dtype.Float64, "HalfTensor": dtype.Float16, "BFloat16Tensor": dtype.BFloat16} {
		if baseName(text) == name {
			return dtype.Exact(d)
		}
	}
	if v := e.quiet(x); v.Kind == KindDType {
		return v.DType
	}
	return dtype.Unknown
}

// defaultContext recognises a context manager that sets the default dtype by
// its name, as vLLM's set_default_torch_dtype(dtype).
func (e *evaluator) defaultContext(x python.Expr) (dtype.Type, bool) {
	c, ok := x.(*python.Call)
	if !ok || len(c.Args) != 1 {
		return dtype.Type{}, false
	}
	name, _ := dotted(c.Func)
	base := baseName(name)
	if !strings.Contains(base, "dtype") || !strings.Contains(base, "default") {
		return dtype.Type{}, false
	}
	if v := e.quiet(c.Args[0].Value); v.Kind == KindDType {
		return v.DType, true
	}
	return dtype.Unknown, true
}

// current is a value as it counts under the default dtype that holds here: a
// Python float has whatever dtype that is.
func (e *evaluator) current(v *Value) *Value {
	if v.Kind != KindNumber || v.DType.Equal(e.deflt) {
		return v
	}
	if low, high := v.DType.Categories(); low != dtype.CatFloat || high != dtype.CatFloat || v.DType.IsUnknown() {
		return v
	}
	n := *v
	n.DType = e.deflt
	return &n
}
