package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var float32IntoKernel = &analysis.Rule{
	Name:     "float32-into-kernel",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `Queries that a norm made float32 go into a kernel for half precision

Norms compute in float32: LayerNorm does so under autocast on CUDA, and many
RMSNorms return it because their weight is float32. Where queries and keys are
normalised and values are not, q and k are float32 and v is half. The kernels of
FlashAttention take half precision alone ("FlashAttention only support fp16 and
bf16 data type"), those of xFormers one dtype for all three, and autocast covers
neither.

Evidence: query or key is float32 on every path while the value has the dtype of
the model's layers or is half (likely).

Fix: what the norm gives is cast to the dtype of the value. In float32 nothing
changes.

Silent where the result is cast, where the value is float32 too, for
scaled_dot_product_attention, which autocast covers (without it that is
promoted-operand), and for operands of unknown dtype.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, _ []python.Node) {
				expressions(p, s, func(n python.Node) {
					if call, ok := n.(*python.Call); ok {
						wideQuery(p, d, call)
					}
				})
			})
		})
	},
}

// The messages of the kernels (flash_attn/csrc/flash_attn/flash_api.cpp; fmha/common.py
// of xFormers), not run: they need CUDA.
var halfKernels = map[string]string{
	"flash_attn_func":            "FlashAttention only support fp16 and bf16 data type",
	"flash_attn_varlen_func":     "FlashAttention only support fp16 and bf16 data type",
	"memory_efficient_attention": "Query/Key/Value should either all have the same dtype",
}

// wideQuery looks at query, key and value of one call of a kernel.
func wideQuery(p *analysis.Pass, d *python.FuncDef, call *python.Call) {
	name := library(p, call.Func)
	message := halfKernels[name[strings.LastIndexByte(name, '.')+1:]]
	if message == "" || !strings.HasPrefix(name, "flash_attn.") && !strings.HasPrefix(name, "xformers.") || len(call.Args) < 3 ||
		slices.ContainsFunc(call.Args[:3], func(a python.Arg) bool { return a.Star > 0 }) {
		return
	}
	value := call.Args[2].Value
	to, ok := path(base(value))
	if !ok || !halfWithModel(p.Facts.Values[value]) {
		return
	}
	var wide []string
	f := analysis.Finding{Confidence: analysis.Likely, Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()}}
	fix := &analysis.Fix{Title: "Cast it to the dtype of the values", Safety: analysis.Safe}
	for _, a := range call.Args[:2] {
		v := p.Facts.Values[a.Value]
		if !alwaysFloat32(v) {
			continue
		}
		made := origin(v)
		norm, isCall := made.At.(*python.Call)
		if !isCall || made.How != interp.HowCall && made.How != interp.HowModule && made.How != interp.HowAutocast {
			continue
		}
		if len(wide) == 0 {
			f.At = statementOf(p, norm)
		}
		wide = append(wide, code(p.Tree.Text(base(a.Value).Pos())))
		f.Because = append(f.Because, p.Reason(norm.Pos(), fmt.Sprintf("%s gives float32", code(p.Tree.Text(norm.Func.Pos())))))
		fix.Edits = append(fix.Edits, insertAt(norm.End, ".to("+to+".dtype)"))
		if !boundBefore(d, to, norm.Start) {
			fix = nil
		}
		if fix == nil {
			break
		}
	}
	if len(wide) == 0 {
		return
	}
	f.Message = fmt.Sprintf("%s %s float32, whatever %s is. With half values %s stops in line %d: `%s`. Autocast does not cast for it.",
		list(wide), areOrIs(wide), code(to), code(p.Tree.Text(call.Func.Pos())), p.Tree.Line(call.Start), message)
	f.Because = append(f.Because, p.Reason(call.Pos(), fmt.Sprintf("takes them with %s", code(to))))
	f.Fix = fix
	p.Report(f)
}

// halfWithModel reports a tensor that is half, or has one dtype with the layers of
// the model or with what the caller gives.
func halfWithModel(v *interp.Value) bool {
	if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
		return false
	}
	ds, ok := tensorType(v).In(func(*dtype.Root) dtype.DType { return dtype.BFloat16 }, dtype.Float32)
	return ok && !slices.ContainsFunc(ds, func(d dtype.DType) bool { return !d.Half() })
}

// alwaysFloat32 reports a tensor that is float32 even if all it was made from is
// half.
func alwaysFloat32(v *interp.Value) bool {
	if v == nil || v.Kind != interp.KindTensor || v.Maybe {
		return false
	}
	ds, ok := v.DType.In(func(*dtype.Root) dtype.DType { return dtype.BFloat16 }, dtype.Float32)
	return ok && len(ds) > 0 && !slices.ContainsFunc(ds, func(d dtype.DType) bool { return d != dtype.Float32 })
}

// boundBefore reports whether a name has its last value before a place of a
// function: it is a parameter, or nothing behind the place binds it.
func boundBefore(d *python.FuncDef, name string, place uint32) bool {
	before := strings.Contains(name, ".") || hasParam(d, name)
	behind := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || !slices.ContainsFunc(a.Targets, func(t python.Expr) bool { return slices.Contains(bound(t), name) }) {
			return
		}
		before = before || a.End <= place
		behind = behind || a.End > place
	})
	return before && !behind
}
