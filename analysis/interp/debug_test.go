package interp

import (
	"fmt"
	"os"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/python"
)

func TestDebug(t *testing.T) {
	p := os.Getenv("DBG")
	if p == "" {
		t.Skip()
	}
	b, _ := os.ReadFile(p)
	f, err := python.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	facts := Eval(f, Options{})
	for _, a := range facts.Assigned {
		fmt.Printf("%4d %-30s %-14s kind=%d %s rank %s\n", f.Line(a.At.Pos().Start), a.Scope.Name, a.Name, a.Value.Kind, a.Value.Tensor().DType, a.Value.Rank)
	}
	for _, o := range facts.Ops {
		fmt.Printf("op %4d kind %d %s:", f.Line(o.Node.Pos().Start), o.Kind, o.Name)
		for _, x := range o.Operands {
			fmt.Printf(" %s=%s/%s", x.Name, x.Value.DType, x.Value.Rank)
		}
		fmt.Println()
	}
}
