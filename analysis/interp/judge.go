package interp

import (
	"fmt"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// A refusal is what PyTorch has against the dtypes of an operation. The zero
// refusal has nothing against them.
type refusal struct {
	text string
	// certain says that it holds on every path and every device.
	certain bool
}

// judge notes that an operation is refused, or that it is not any more: a loop
// comes by again with other dtypes.
func (e *evaluator) judge(at python.Node, r refusal) {
	if e.frame.dead {
		return
	}
	if in := e.inlining; in != nil {
		if r.text != "" {
			in.raised = append(in.raised, r)
			e.frame.dead = r.certain
		}
		return
	}
	if r.text == "" {
		delete(e.raises, at)
		return
	}
	e.raises[at] = &Raise{Scope: e.frame.scope, Stmt: e.stmt, At: at, Certain: r.certain, Text: r.text}
	if r.certain && e.stop {
		e.frame.dead = true
	}
}

// differ is the refusal of operands whose dtypes must be equal.
func differ(written string, operands []Operand) refusal {
	var names []string
	hard := operands[:0:0]
	for _, o := range operands {
		if !o.Soft {
			hard = append(hard, o)
		}
	}
	certain, some := false, false
	for i, a := range hard {
		for _, b := range hard[:i] {
			switch x, y := a.Value.DType, b.Value.DType; dtype.Relate(x, y) {
			case dtype.Differ:
				certain, some = a.Only == "" && b.Only == "", true
				names = []string{y.String(), x.String()}
			case dtype.Undecided:
				if closed(x) && closed(y) {
					some = true
					names = []string{y.String(), x.String()}
				}
			}
		}
	}
	if !certain && !some {
		return refusal{}
	}
	return refusal{text: fmt.Sprintf("%s refuses %s", written, strings.Join(names, " with ")), certain: certain}
}

// closed reports whether a type is known without any root.
func closed(t dtype.Type) bool { return t.Known() && len(t.Roots()) == 0 }
