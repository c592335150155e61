package interp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

func TestUses(t *testing.T) {
	const source = `import torch
from torch import nn
from there import thing

def f(x, y):
    y = [y, {}][x.shape[0]]
    a = x @ y
    b = x * 2
    c = a + b + "".size
    d = torch.cat([x, y, torch.ones(3)])
    e = [x] + [y]
    x[..., 0] = y
    e[0] = y
    torch.zeros(3).lerp_(x, 0.5)
    nn.Linear(3, 3).to(dtype=torch.float64)(x)
    a += b
    return thing(x, y)
`
	tree, err := python.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if uses := interp.Eval(tree, interp.Options{}).Uses; len(uses) > 0 {
		t.Errorf("%d uses that nobody asked for", len(uses))
	}
	var got []string
	for _, u := range interp.Eval(tree, interp.Options{Uses: true}).Uses {
		text := fmt.Sprintf("%d %s %s", tree.Line(u.At.Pos().Start), u.Op, u.Value.Tensor().DType)
		if u.Unknown() {
			text += ": " + u.Cause()
		}
		got = append(got, strings.ReplaceAll(text, "none", "unknown"))
	}
	want := []string{
		"7 @ of:x", "7 @ unknown: two paths of different kinds: open, dict",
		"9 + of:x", "9 + of:x",
		"10 torch.cat of:x", "10 torch.cat unknown: two paths of different kinds: open, dict", "10 torch.cat default",
		"12 index_put of:x", "12 index_put unknown: two paths of different kinds: open, dict",
		"14 torch.Tensor.lerp_ default", "14 torch.Tensor.lerp_ of:x",
		"15 torch.nn.Linear of:x", "15 torch.nn.Linear float64",
		"16 + of:x", "16 + of:x",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
