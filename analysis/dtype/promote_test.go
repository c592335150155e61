package dtype_test

import (
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

func TestPromoteIsPyTorchs(t *testing.T) {
	rows := section(t, "promote_types")
	var order []dtype.DType
	for _, row := range rows {
		name, _, _ := strings.Cut(row, " ")
		order = append(order, codes[name])
	}
	if len(order) != len(codes) {
		t.Fatalf("%d dtypes, want %d", len(order), len(codes))
	}
	for i, row := range rows {
		_, cells, _ := strings.Cut(row, " ")
		for j, want := range strings.Split(cells, ",") {
			if got := dtype.Promote(order[i], order[j]); got != codes[want] {
				t.Errorf("promote_types(%s, %s) = %s, PyTorch says %s", order[i], order[j], got, codes[want])
			}
		}
	}
}

func TestPromoteLaws(t *testing.T) {
	for a := dtype.None; a <= dtype.Complex128; a++ {
		if got := dtype.Promote(a, a); got != a {
			t.Errorf("Promote(%s, %s) = %s", a, a, got)
		}
		for b := dtype.None; b <= dtype.Complex128; b++ {
			if x, y := dtype.Promote(a, b), dtype.Promote(b, a); x != y {
				t.Errorf("Promote(%s, %s) = %s, swapped %s", a, b, x, y)
			}
		}
	}
}

// PyTorch refuses to promote float8 with any other dtype: "Promotion for Float8
// Types is not supported" (c10/core/ScalarType.cpp, promoteTypes).
func TestFloat8DoesNotPromote(t *testing.T) {
	for _, f8 := range []dtype.DType{dtype.Float8E4M3, dtype.Float8E5M2} {
		for b := dtype.Bool; b <= dtype.Complex128; b++ {
			if got := dtype.Promote(f8, b); b != f8 && got != dtype.None {
				t.Errorf("Promote(%s, %s) = %s, want none", f8, b, got)
			}
		}
	}
}
