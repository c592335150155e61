package survey

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// A Rest is what is left alone inside a file: the lines where it begins.
type Rest struct {
	// Kernels are functions that Triton compiles. Their dtypes follow other
	// rules than PyTorch's.
	Kernels []int
	// Strings hold programs that use PyTorch. Docstrings are prose.
	Strings []int
}

// LeftAlone lists what is left alone inside a file.
func LeftAlone(tree *python.File) Rest {
	var r Rest
	prose := docstrings(tree)
	tree.Inspect(func(n python.Node) bool {
		switch n := n.(type) {
		case *python.FuncDef:
			if kernel(tree, n) {
				add(&r.Kernels, tree.Line(n.NameSpan.Start))
				return false
			}
		case *python.Str:
			if !prose[n] && program(n.Value) {
				add(&r.Strings, tree.Line(n.Start))
			}
		}
		return true
	})
	return r
}

// docstrings are the strings that stand alone as statements.
func docstrings(tree *python.File) map[*python.Str]bool {
	out := map[*python.Str]bool{}
	tree.Inspect(func(n python.Node) bool {
		switch n := n.(type) {
		case *python.ExprStmt:
			if s, ok := n.X.(*python.Str); ok {
				out[s] = true
			}
		case python.Expr:
			return false
		}
		return true
	})
	return out
}

// kernel reports whether a function is compiled by Triton.
func kernel(tree *python.File, f *python.FuncDef) bool {
	return slices.ContainsFunc(f.Decorators, func(d python.Expr) bool {
		t := tree.Text(d.Pos())
		return strings.HasPrefix(t, "triton.") || strings.Contains(t, "triton.jit")
	})
}

// program recognises a text of several lines that imports PyTorch or computes
// with it.
func program(s string) bool {
	if strings.Count(s, "\n") < 2 || !strings.Contains(s, "torch") {
		return false
	}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "import torch" || strings.HasPrefix(line, "import torch ") || strings.HasPrefix(line, "import torch.") || strings.HasPrefix(line, "from torch") ||
			strings.Contains(line, "= torch.") || strings.HasPrefix(line, "return torch.") {
			return true
		}
	}
	return false
}
