package interp

import (
	"slices"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// This file counts dimensions, since promotion asks whether there are none: a
// sum over the only dimension of a vector promotes weaker than the vector.

// sizeDims is the number of dimensions that size arguments give: one sequence,
// or a number for each.
func sizeDims(list []*Value) (int, bool) {
	if len(list) == 1 && list[0].Kind == KindSequence {
		if list[0].Elem == nil {
			return len(list[0].Elems), true
		}
		for _, f := range list[0].From { // x.shape
			if list[0].Name == "shape" {
				return f.dims()
			}
		}
		return 0, false
	}
	for _, v := range list {
		if v.Kind != KindNumber && v.Kind != KindOpen {
			return 0, false
		}
	}
	return len(list), len(list) > 1 || len(list) == 1 && list[0].Kind == KindNumber
}

// maxDims is the number of dimensions behind broadcasting.
func maxDims(list []*Value) (n int, known bool) {
	for _, v := range list {
		if v.Kind == KindNumber {
			continue
		}
		d, ok := v.dims()
		if !ok {
			return 0, false
		}
		n, known = max(n, d), true
	}
	return n, known
}

// matmulDims is the number of dimensions of a matrix product.
func matmulDims(x, y *Value) (int, bool) {
	m, okM := x.dims()
	n, okN := y.dims()
	switch {
	case !okM || !okN:
		return 0, false
	case m == 1 && n == 1:
		return 0, true
	case m == 1:
		return n - 1, true
	case n == 1:
		return m - 1, true
	}
	return max(m, n), true
}

// resultDims is the number of dimensions that an op gives for its tensor
// operands, as far as the number of theirs and the arguments tell.
func (e *evaluator) resultDims(op *torch.Op, tensors []*Value, a *args, method, dim bool) (int, bool) {
	if len(tensors) == 0 {
		return 0, false
	}
	n, known := tensors[0].dims()
	rest := a.pos
	if !method && len(rest) > 0 {
		rest = rest[1:]
	}
	switch base := baseName(op.Name); {
	case writesFirst(op) && base != "squeeze_" && base != "unsqueeze_" && base != "resize_" && base != "set_":
		return n, known
	case len(tensors) > 1 && op.WithDim != nil: // max(x, y)
		return maxDims(tensors)
	}
	switch baseName(op.Name) {
	case "kthvalue", "mode": // the last dimension unless another is given
		if !dim && len(a.kw) == 0 {
			return max(n-1, 0), known
		}
	case "vecdot":
		m, ok := maxDims(tensors)
		return m - 1, ok && m > 0
	case "view", "reshape", "expand", "broadcast_to", "view_copy", "expand_copy":
		return sizeDims(rest)
	case "repeat", "tile":
		m, ok := sizeDims(rest)
		return max(m, n), ok && known
	case "permute", "permute_copy", "transpose", "transpose_copy", "t", "t_copy", "swapaxes", "swapdims", "movedim", "moveaxis", "flip", "fliplr", "flipud", "roll", "rot90", "narrow", "narrow_copy", "tril", "triu", "index_select", "sort", "msort", "argsort", "topk",
		"cumsum", "cumprod", "split", "chunk", "tensor_split", "adjoint", "index_add", "index_copy", "index_fill", "scatter", "scatter_add", "renorm", "renorm_", "cummax", "cummin", "softmax", "log_softmax", "logcumsumexp", "constant_pad_nd", "diff":
		return n, known
	case "gather", "take", "take_along_dim":
		if i, _ := a.arg(len(a.pos)-1, "index"); i != nil {
			return i.dims()
		}
		return 0, false
	case "unsqueeze", "unsqueeze_copy", "diag_embed", "unfold", "unfold_copy":
		return n + 1, known
	case "flatten":
		return 1, len(rest) == 0 && len(a.kw) == 0
	case "ravel", "masked_select", "cartesian_prod", "bincount", "histc":
		return 1, true
	case "repeat_interleave":
		if len(a.kw) == 0 && len(rest) < 2 {
			return 1, true
		}
		return n, known
	case "diagonal", "diagonal_copy", "select", "select_copy", "unbind":
		return n - 1, known
	case "diag":
		return 3 - n, known && (n == 1 || n == 2)
	case "diagflat", "nonzero", "argwhere", "outer", "ger", "mm", "addmm", "addmm_", "addr", "cov", "corrcoef", "vander", "cdist":
		if base := baseName(op.Name); base == "cdist" {
			return maxDims(tensors)
		} else if base == "cov" || base == "corrcoef" {
			return (n - 1) * 2, known && n <= 2
		}
		return 2, true
	case "bmm", "baddbmm":
		return 3, true
	case "mv", "addmv", "addmv_":
		return 1, true
	case "dot", "vdot", "trace":
		return 0, true
	case "matmul", "__matmul__":
		if len(tensors) == 2 {
			return matmulDims(tensors[0], tensors[1])
		}
	case "linear":
		if len(tensors) > 1 {
			if w, ok := tensors[1].dims(); ok && w == 1 {
				return n - 1, known
			}
		}
		return n, known
	case "det", "logdet", "slogdet", "linalg_det":
		return n - 2, known
	case "squeeze", "squeeze_copy":
		return 0, known && n == 0
	}
	switch op.Rank {
	case torch.RankElementwise:
		return maxDims(tensors)
	case torch.RankReduces, torch.RankUnknown:
		if op.Rank == torch.RankUnknown && op.Dim < 0 {
			return 0, false
		}
		if !dim {
			return 0, op.Rank == torch.RankReduces || op.WithDim != nil
		}
		keep, _ := a.key("keepdim")
		if i := slices.Index(op.Params, "keepdim"); keep == nil && i >= 0 {
			if method {
				i--
			}
			keep, _ = a.arg(i, "keepdim")
		}
		if keep != nil && keep.Kind == KindNumber {
			if !keep.Known {
				return 0, false
			}
			if keep.Text == "True" {
				return n, known
			}
		}
		given, _ := a.key("dim")
		if given == nil {
			given, _ = a.key("axis")
		}
		if i := op.Dim; given == nil && i >= 0 {
			if method {
				i--
			}
			given, _ = a.arg(i)
		}
		if given == nil {
			return 0, false
		}
		less := 1
		if given.Kind == KindSequence {
			if given.Elem != nil {
				return 0, false
			}
			if less = len(given.Elems); less == 0 {
				less = n
			}
		}
		return max(n-less, 0), known
	}
	return 0, false
}

// ranked gives a result its number of dimensions, or the rank class that the op
// tells.
func (e *evaluator) ranked(v *Value, op *torch.Op, tensors []*Value, in dtype.Rank, a *args, method, dim bool) {
	if n, ok := e.resultDims(op, tensors, a, method, dim); ok {
		v.withDims(n, true)
		return
	}
	v.Rank, v.ndim = e.resultRank(op, in, dim, a), 0
}
