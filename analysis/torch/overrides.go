package torch

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// This file holds what the table cannot: facts of versions that were not
// measured, of calls that the generator makes no arguments for, and ranks that
// follow from documented shapes. Every entry names its source.

// notes are what versions after 1.13 do differently, by op or module.
var notes = []struct {
	names []string
	note  string // with the source in parentheses
}{
	{
		[]string{"torch.lerp", "torch.Tensor.lerp", "torch.Tensor.lerp_"},
		"later versions promote (pytorch PR #141117)",
	},
	{
		[]string{
			"torch.layer_norm", "torch.group_norm", "torch.nn.functional.layer_norm", "torch.nn.functional.group_norm",
			"torch.nn.LayerNorm", "torch.nn.GroupNorm",
		},
		"2.x accepts float32 parameters with a half input on the CPU (pytorch PR #81851, aten/src/ATen/native/cpu/mixed_data_type.h); CUDA still raises (pytorch#135969)",
	},
	{
		[]string{"torch.where", "torch.Tensor.where"},
		"1.12 and earlier raise on mixed dtypes (pytorch#9190, #64161)",
	},
	{
		[]string{"torch.index_put", "torch.Tensor.index_put", "torch.index_put_", "torch.Tensor.index_put_", "torch.Tensor.__setitem__"},
		"2.x raises too (pytorch#63935, #150017)",
	},
	{
		[]string{"torch.nn.functional.interpolate", "torch.nn.functional.upsample", "torch.nn.Upsample"},
		"2.x casts to float32 under CUDA autocast (aten/src/ATen/autocast_mode.h: upsample_*)",
	},
	{
		[]string{"torch.linalg.norm", "torch.linalg.vector_norm", "torch.linalg.matrix_norm"},
		"2.x casts to float32 under CUDA autocast (aten/src/ATen/autocast_mode.h: linalg_vector_norm, linalg_matrix_norm)",
	},
	{
		[]string{"torch.mm", "torch.bmm", "torch.matmul", "torch.Tensor.mm", "torch.Tensor.bmm", "torch.Tensor.matmul", "torch.Tensor.__matmul__"},
		"2.x raises too (pytorch PR #172194 adds the same check to meta tensors)",
	},
}

// stricterOnCUDA are ops that take float32 parameters beside a half input on the
// CPU, from 2.0 on, and refuse them on CUDA. Source: pytorch PR #81851 and
// aten/src/ATen/native/cpu/mixed_data_type.h (CPU), pytorch#135969 and #138128
// (CUDA).
var stricterOnCUDA = []string{
	"torch.layer_norm", "torch.group_norm", "torch.nn.functional.layer_norm", "torch.nn.functional.group_norm", "torch.native_layer_norm",
}

// ranks are result ranks that follow from documented shapes.
var ranksOf = []struct {
	rank  Rank
	names []string
}{
	// Source: the Shape section of each page, pytorch.org/docs/1.13: convolutions
	// take (N,) C, L… and give as many dimensions; F.linear's 2-D weight keeps the
	// input's, which has at least one; mv and addmv give a vector.
	{RankAtLeast1, []string{
		"torch.conv1d", "torch.conv2d", "torch.conv3d", "torch.conv_transpose1d", "torch.conv_transpose2d", "torch.conv_transpose3d",
		"torch.nn.functional.conv1d", "torch.nn.functional.conv2d", "torch.nn.functional.conv3d",
		"torch.nn.functional.conv_transpose1d", "torch.nn.functional.conv_transpose2d", "torch.nn.functional.conv_transpose3d",
		"torch.nn.functional.adaptive_max_pool1d", "torch.nn.functional.adaptive_max_pool2d", "torch.nn.functional.adaptive_max_pool3d",
		"torch.nn.functional.linear", "torch.mv", "torch.Tensor.mv", "torch.addmv", "torch.Tensor.addmv",
	}},
	// Source: pytorch.org/docs/1.13, "Returns a new 1-D tensor" (masked_select),
	// an added last dimension (one_hot), an added dimension (stack).
	{RankAtLeast1, []string{
		"torch.masked_select", "torch.Tensor.masked_select", "torch.nn.functional.one_hot", "torch.stack", "torch.unsqueeze", "torch.Tensor.unsqueeze",
		"torch.flatten", "torch.Tensor.flatten", "torch.ravel", "torch.Tensor.ravel",
	}},
	// Source: pytorch.org/docs/1.13, Shape of each loss: "Output: scalar. If
	// reduction is 'none', …".
	{RankReduces, []string{
		"torch.nn.functional.nll_loss", "torch.nn.functional.kl_div", "torch.nn.functional.huber_loss", "torch.nn.functional.gaussian_nll_loss",
		"torch.nn.functional.hinge_embedding_loss", "torch.nn.functional.cosine_embedding_loss", "torch.nn.functional.margin_ranking_loss",
		"torch.nn.functional.poisson_nll_loss", "torch.nn.functional.ctc_loss",
	}},
}

// classesOf are classes that the measured calls do not show.
var classesOf = []struct {
	class Class
	names []string
}{
	// Source: torch.diff concatenates prepend and append with its input; run in
	// 1.13 with n ≥ 1. The sampled call has n = 0, which ignores them.
	{Promote, []string{"torch.diff", "torch.Tensor.diff"}},
}

// override adds this file's facts to the table.
func override(t *Table) {
	for _, op := range added(t.release) {
		if t.ops[op.Name] != nil {
			continue // measured in this release
		}
		for i, o := range op.Operands {
			if o.Message != "" {
				op.Operands[i].Messages = []string{o.Message}
			}
		}
		t.ops[op.Name] = op
	}
	for _, m := range t.addedModules() {
		if t.modules[m.Name] == nil {
			t.modules[m.Name] = m
		}
	}
	for _, n := range notes {
		if t.release != "1.13" {
			break
		}
		for _, name := range n.names {
			if op := t.ops[name]; op != nil {
				op.Note = n.note
			}
			if m := t.modules[name]; m != nil {
				m.Note = n.note
			}
		}
	}
	for _, c := range classesOf {
		for _, name := range c.names {
			if t.ops[name] == nil {
				continue
			}
			for i := range t.ops[name].Operands {
				t.ops[name].Operands[i].Class = c.class
			}
		}
	}
	for name, op := range t.ops {
		if op.Kind == "inplace" {
			op.promotesLike(t.ops[strings.TrimSuffix(name, "_")])
		}
	}
	// Source: torch.nn.functional.prelu is torch.prelu (pytorch.org/docs/1.13); only
	// the first has samples that vary one operand.
	if p, f := t.ops["torch.prelu"], t.ops["torch.nn.functional.prelu"]; p != nil && f != nil {
		p.Operands = f.Operands
	}
	// Source: torch/nn/functional.py, _max_pool3d: without return_indices it is
	// torch.max_pool3d; the sampled call has them. Run in 1.13 under autocast.
	if p, f := t.ops["torch.max_pool3d"], t.ops["torch.nn.functional.max_pool3d"]; p != nil && f != nil {
		f.CUDA, f.CPU = p.CUDA, p.CPU
	}
	// Source: torch/_lowrank.py and aten/src/ATen/native/LinearAlgebra.cpp, pinv: they
	// multiply matrices. Run in 1.13: under autocast of the CPU pinv of float32 is bfloat16.
	for _, name := range []string{"torch.pca_lowrank", "torch.svd_lowrank", "torch.linalg.pinv", "torch.pinverse", "torch.Tensor.pinverse"} {
		if op := t.ops[name]; op != nil {
			op.Composite = true
		}
	}
	t.factories["torch.normal"] = normal(t.release)
	// Source: pytorch.org/docs/1.13, Shape of Flatten and Unfold: at least one
	// dimension stays.
	t.modules["torch.nn.Flatten"].Rank = RankAtLeast1
	t.modules["torch.nn.Unfold"].Rank = RankAtLeast1
	for _, r := range ranksOf {
		for _, name := range r.names {
			if op := t.ops[name]; op != nil {
				op.Rank = r.rank
			}
		}
	}
}

// promotesLike takes the classes of the op that an in-place form computes with,
// where the form's own samples show nothing but that a half result has no kernel or
// cannot be written back (addcmul_). Source: TensorIterator promotes both alike and
// then asks whether the result can be cast to the receiver
// (aten/src/ATen/TensorIterator.cpp, compute_types); run for addcmul_ and addcdiv_.
func (o *Op) promotesLike(plain *Op) {
	if plain == nil || !o.KeepsCategory || len(plain.Operands) != len(o.Operands) {
		return
	}
	for i := range o.Operands {
		if o.Operands[i].Class != Mixed || plain.Operands[i].Class != Promote {
			return
		}
	}
	for i := range o.Operands {
		own := &o.Operands[i]
		own.Class, own.ZeroDim, own.Pairs = Promote, plain.Operands[i].ZeroDim, nil
	}
}

// normal is torch.normal, which has two forms: with a size it makes a tensor of
// the default dtype, with a tensor of means or deviations it takes theirs.
// Source: run in 1.13; pytorch.org/docs/1.13/generated/torch.normal.
func normal(release string) *FactoryFact {
	return &FactoryFact{
		Name: "torch.normal", Class: FactoryData, Values: []int{0, 1}, Version: release,
		Numbers: map[dtype.Category]Outcome{dtype.CatInt: {Default: true}, dtype.CatFloat: {Default: true}},
		Arrays:  Outcome{Refused: true}, Tensors: Outcome{Own: true},
		Accepts: []dtype.DType{dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64},
	}
}

// keepsFloats is Same of an op that gives its operands' floating dtype.
func keepsFloats() map[dtype.DType][]dtype.DType {
	m := map[dtype.DType][]dtype.DType{}
	for _, d := range moduleParams {
		m[d] = []dtype.DType{d}
	}
	return m
}

// added are ops that the measured version lacks or hides.
func added(release string) []*Op {
	const attention = "Expected query, key, and value to have the same dtype"
	ops := []*Op{
		// Source: aten/src/ATen/native/transformers/attention.cpp,
		// validate_sdpa_input: query, key and value must match. The mask may be
		// bool or match the query; later 2.x takes float too. Autocast:
		// autocast_mode.h and autocast_mode.cpp, both lower precision lists.
		{
			Name: "torch.nn.functional.scaled_dot_product_attention", Kind: "function",
			Params:  []string{"query", "key", "value", "attn_mask", "dropout_p", "is_causal"},
			Keyword: []string{"scale", "enable_gqa"},
			Operands: []Operand{
				{Name: "query", Index: 0, Class: Raise, Message: attention},
				{Name: "key", Index: 1, Class: Raise, Message: attention},
				{Name: "value", Index: 2, Class: Raise, Message: attention},
				{Name: "attn_mask", Index: 3, Class: Mixed},
			},
			Same: keepsFloats(), CUDA: LowerPrecision, CPU: LowerPrecision, Rank: RankAtLeast1, Dim: -1, Version: "2.x",
			Note: "a floating attn_mask of another dtype raises in early 2.x and is accepted in late 2.x (attention.cpp, validate_sdpa_input)",
		},
		// Source: x[i:j] = v and x[i] = v copy into x whatever v is, x[mask] = v and
		// x[ids] = v are index_put_, which raises: measured in 1.13. The index
		// decides, so the class is Mixed; see index_put_ for the raising form.
		{
			Name: "torch.Tensor.__setitem__", Kind: "dunder", Params: []string{"self", "key", "value"},
			Operands: []Operand{{Name: "self", Class: Follows}, {Name: "value", Index: 2, Class: Mixed, ZeroDim: Ignored, Scalar: true}},
			Same:     keepsFloats(), Rank: RankUnknown, Dim: -1, Version: release,
		},
	}
	// Source: torch.nn.functional.rms_norm exists from 2.4 on
	// (pytorch.org/docs/2.4); what a weight of another dtype gives is open
	// (pytorch#188955), as is CUDA autocast before 2.12 (PR #174824).
	for _, name := range []string{"torch.rms_norm", "torch.nn.functional.rms_norm"} {
		ops = append(ops, &Op{
			Name: name, Kind: "function", Params: []string{"input", "normalized_shape", "weight", "eps"},
			Operands: []Operand{{Name: "input", Class: Mixed}, {Name: "weight", Index: 2, Class: Mixed}},
			Same:     keepsFloats(), Rank: RankElementwise, Dim: -1, Version: "2.4",
			Note: "2.12 casts to float32 under CUDA autocast (pytorch PR #174824)",
		})
	}
	return ops
}

// addedModules are modules that the measured version lacks or that need a GPU.
func (t *Table) addedModules() []*ModuleFact {
	keep := func(params bool) map[[2]dtype.DType]ModuleResult {
		m := map[[2]dtype.DType]ModuleResult{}
		for _, d := range moduleParams {
			p := dtype.None
			if params {
				p = d
			}
			m[[2]dtype.DType{p, d}] = ModuleResult{Out: []dtype.DType{d}}
		}
		return m
	}
	out := []*ModuleFact{
		// Source: as for rms_norm above.
		{
			Name: "torch.nn.RMSNorm", Params: []string{"weight"}, TakesDType: true, Rank: RankAtLeast1, Version: "2.4", cells: keep(true),
			Note: "with float32 weights a half input is promoted or refused, depending on version and device (pytorch#188955)",
		},
	}
	// Source: torch/nn/modules/batchnorm.py: SyncBatchNorm.forward calls
	// F.batch_norm like its siblings wherever it does not synchronise.
	if b := t.modules["torch.nn.BatchNorm2d"]; b != nil {
		sync := *b
		sync.Name = "torch.nn.SyncBatchNorm"
		out = append(out, &sync)
	}
	// Source: pytorch.org/docs/2.1, new paddings; all pad by F.pad, which is
	// measured.
	for _, name := range []string{"ZeroPad1d", "ZeroPad3d", "CircularPad1d", "CircularPad2d", "CircularPad3d"} {
		out = append(out, &ModuleFact{Name: "torch.nn." + name, Preserves: true, Rank: RankAtLeast1, Version: "2.1", cells: keep(false)})
	}
	return out
}
