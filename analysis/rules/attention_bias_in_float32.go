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

var attentionBiasInFloat32 = &analysis.Rule{
	Name:     "attention-bias-in-float32",
	Severity: analysis.High,
	Doc: `A float32 bias goes to an attention kernel whose query is half

The fused kernels of attention read query and bias as one type. A mask of numbers
that is made in float32 stops them once the model runs in half precision: invalid
dtype for bias - should match query's dtype.

Evidence: the function makes the bias in float32 from a factory, hands it to
memory_efficient_attention of xFormers, or to scaled_dot_product_attention in code
that uses half precision, and the query has the dtype of the model's layers or of
the caller (likely).

Fix: the finished bias is cast to the query's dtype. Safe: in float32 nothing
changes. The smallest float32 becomes -inf in half precision, which masks as well
as long as no row is masked whole.

Silent for bool masks, for a bias that is cast, and where the query is cast to
float32.
`,
	Run: func(p *analysis.Pass) {
		functions(p, func(d *python.FuncDef, _ []python.Node) {
			inBody(d, func(s python.Stmt, around []python.Node) {
				if !autocastAround(p, around) {
					own(s, func(n python.Node) { biasedAttention(p, d, n) })
				}
			})
		})
	},
}

// The message of the kernel (csrc/attention/cuda/fmha/attention_forward_generic.cu
// of xFormers, and the same file in PyTorch), not run: it needs CUDA.
const biasMessage = "invalid dtype for bias - should match query's dtype"

// biasedAttention looks at the bias of one call of attention.
func biasedAttention(p *analysis.Pass, d *python.FuncDef, n python.Node) {
	call, ok := n.(*python.Call)
	if !ok || len(call.Args) < 3 {
		return
	}
	name, param := library(p, call.Func), "attn_bias"
	switch {
	case strings.HasPrefix(name, "xformers.") && strings.HasSuffix(name, ".memory_efficient_attention"):
	case name == "torch.nn.functional.scaled_dot_product_attention" && len(p.Signs.Half) > 0:
		param = "attn_mask"
	default:
		return
	}
	x := argument(call, param)
	if x == nil && len(call.Args) > 3 && call.Args[3].Name == "" {
		x = call.Args[3].Value
	}
	bias, isName := x.(*python.Name)
	query, isPath := path(call.Args[0].Value)
	v, q := p.Facts.Values[x], p.Facts.Values[call.Args[0].Value]
	for v != nil && !v.DType.Known() && strings.HasSuffix(v.Op, "masked_fill") && len(v.From) > 0 {
		v = v.From[0] // what is filled keeps its dtype
	}
	if !isName || !isPath || v == nil || q == nil || v.Kind != interp.KindTensor || len(tensorType(q).Roots()) == 0 || tensorType(q).Widened() {
		return
	}
	if !closed(v.DType) && !v.DType.Widened() || slices.ContainsFunc(v.DType.Roots(), func(r *dtype.Root) bool { return slices.Contains(tensorType(q).Roots(), r) }) {
		return
	}
	f := &finder{pass: p, facts: p.Facts}
	part := f.widest(v, map[*interp.Value]bool{}, 0)
	if part == nil || in(part.DType, dtype.BFloat16) != dtype.Float32 {
		return
	}
	made := source(part)
	if made.How != interp.HowCreate || made.Make == nil || made.Make.Scope == nil || made.Make.Scope.Def != d {
		return
	}
	last := lastBinding(d, bias.ID, call.Start)
	if last == nil {
		return
	}
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: last.Pos(), Scope: scopeOf(p, call), Ops: []python.Span{call.Pos()},
		Message: fmt.Sprintf("%s is float32 (line %d), %s has the dtype of the model. With a half model %s stops in line %d: `%s`.",
			code(bias.ID), p.Tree.Line(made.At.Pos().Start), code(query), code(p.Tree.Text(call.Func.Pos())), p.Tree.Line(call.Start), biasMessage),
		Because: []analysis.Reason{
			p.Reason(made.At.Pos(), fmt.Sprintf("%s makes float32", code(made.Op))),
			p.Reason(last.Pos(), fmt.Sprintf("%s is float32 still", code(bias.ID))),
			p.Reason(call.Pos(), fmt.Sprintf("takes it with %s", code(query))),
		},
		Fix: &analysis.Fix{Title: "Cast it to the query's dtype", Safety: analysis.Safe, Edits: castEdit(p, last.Value, ".to("+query+".dtype)")},
	})
}

// lastBinding is the last plain assignment to a name in a function before a
// place, nil if another kind of statement binds it there.
func lastBinding(d *python.FuncDef, name string, before uint32) *python.Assign {
	var last *python.Assign
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if ok && a.End < before && slices.ContainsFunc(a.Targets, func(t python.Expr) bool { return slices.Contains(bound(t), name) }) {
			last = a
		}
	})
	if last == nil || last.Op != "" || last.Value == nil || len(last.Targets) != 1 || !isName(last.Targets[0], name) {
		return nil
	}
	return last
}
