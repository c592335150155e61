package dtype

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Roots of the properties: two floating ones and an integer one. A world gives
// each a dtype of its category.
var testRoots = []*Root{
	{ID: 1, Name: "x", Class: Floating},
	{ID: 2, Name: "self.weight", Class: Floating},
	{ID: 3, Name: "ids", Class: Integer},
}

var (
	floats   = []DType{Float16, BFloat16, Float32, Float64}
	integers = []DType{Bool, Uint8, Int32, Int64}
	exacts   = append(append([]DType{}, floats...), integers...)
)

// leaf draws a type with one alternative.
func leaf(t *rapid.T) Type {
	switch rapid.IntRange(0, 6).Draw(t, "leaf") {
	case 0:
		return Default
	case 1, 2:
		return Of(rapid.SampledFrom(testRoots).Draw(t, "root"))
	case 3:
		if rapid.IntRange(0, 4).Draw(t, "unknown") == 0 {
			return Unknown
		}
	}
	return Exact(rapid.SampledFrom(exacts).Draw(t, "exact"))
}

// typ draws a type: leaves, joined and combined.
func typ(t *rapid.T) Type {
	x := leaf(t)
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		if rapid.Bool().Draw(t, "join") {
			x = Join(x, leaf(t))
		} else {
			x = Combine(x, leaf(t))
		}
	}
	return x
}

// aWorld draws an assignment of dtypes to the roots and to the default.
func aWorld(t *rapid.T) (func(*Root) DType, DType) {
	of := map[*Root]DType{}
	for _, r := range testRoots {
		from := floats
		if r.Class == Integer {
			from = integers[1:] // not bool
		}
		of[r] = rapid.SampledFrom(from).Draw(t, "world "+r.Name)
	}
	return func(r *Root) DType { return of[r] }, rapid.SampledFrom(floats).Draw(t, "default")
}

func TestJoinIsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := typ(t), typ(t), typ(t)
		if x, y := Join(a, b), Join(b, a); !x.Equal(y) {
			t.Fatalf("join does not commute: %v, %v", x, y)
		}
		if x := Join(a, a); !x.Equal(a) {
			t.Fatalf("join of %v with itself is %v", a, x)
		}
		if x, y := Join(Join(a, b), c), Join(a, Join(b, c)); !x.Equal(y) {
			t.Fatalf("join does not associate: %v, %v", x, y)
		}
		if x := Join(a, Unknown); !x.IsUnknown() {
			t.Fatalf("join with unknown is %v", x)
		}
		if x := Join(a, Type{}); !x.Equal(a) {
			t.Fatalf("join with nothing is %v", x)
		}
	})
}

func TestCombineLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := typ(t), typ(t), typ(t)
		if x, y := Combine(a, b), Combine(b, a); !x.Equal(y) {
			t.Fatalf("combine does not commute: %v, %v", x, y)
		}
		if x := Combine(a, Type{}); !x.Equal(a) {
			t.Fatalf("combine with nothing is %v", x)
		}
		// It distributes over join as long as neither side overflows.
		x, y := Combine(a, Join(b, c)), Join(Combine(a, b), Combine(a, c))
		if x.Known() && y.Known() && !x.Equal(y) {
			t.Fatalf("combine does not distribute: %v, %v", x, y)
		}
	})
}

// TestCombineHoldsInEveryWorld checks that promoting first and asking the world
// later is the same as asking first and promoting later.
func TestCombineHoldsInEveryWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := typ(t), typ(t)
		root, deflt := aWorld(t)
		x, okA := a.In(root, deflt)
		y, okB := b.In(root, deflt)
		got, ok := Combine(a, b).In(root, deflt)
		if !okA || !okB || !ok {
			return
		}
		for _, d := range x {
			for _, e := range y {
				if want := Promote(d, e); !slices.Contains(got, want) {
					t.Fatalf("%v with %v is %v: %v with %v gives %v, which %v lacks", a, b, Combine(a, b), d, e, want, got)
				}
			}
		}
	})
}

// TestResultOfHoldsInEveryWorld checks the abstract rule for operands against
// the concrete one, which is tested against every cell of PyTorch.
func TestResultOfHoldsInEveryWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, deflt := aWorld(t)
		n := rapid.IntRange(1, 3).Draw(t, "operands")
		var ops []Operand
		var concrete []Wrapped
		for range n {
			rank := rapid.SampledFrom([]Rank{RankZero, RankDim, RankScalar, RankUnknown}).Draw(t, "rank")
			kind := map[Rank]OperandKind{RankZero: ZeroDim, RankDim: Dim, RankScalar: Scalar}[rank]
			if rank == RankUnknown {
				kind = rapid.SampledFrom([]OperandKind{ZeroDim, Dim}).Draw(t, "kind")
			}
			x := leaf(t)
			if rank == RankScalar { // a Python number is an int, a bool or a float
				x = rapid.SampledFrom([]Type{Default, Exact(Int64), Exact(Bool)}).Draw(t, "number")
			}
			ds, ok := x.In(root, deflt)
			if !ok {
				return
			}
			ops = append(ops, Operand{x, rank})
			concrete = append(concrete, Wrapped{DType: ds[0], Kind: kind})
		}
		got, ok := ResultOf(ops...).In(root, deflt)
		if !ok {
			return
		}
		if want := ResultType(deflt, concrete...); want != None && !slices.Contains(got, want) {
			t.Fatalf("%v gives %v, PyTorch's rule %v", ops, got, want)
		}
	})
}

func TestRelate(t *testing.T) {
	x, w := Of(testRoots[0]), Of(testRoots[1])
	f32, bf := Exact(Float32), Exact(BFloat16)
	for _, c := range []struct {
		a, b Type
		want Relation
	}{
		{x, x, Same},
		{x, w, Apart},
		{x, f32, Apart},
		{f32, bf, Differ},
		{Default, f32, Same},
		{Default, bf, Differ},
		{Join(x, f32), f32, Undecided},
		{Join(bf, f32), f32, Undecided},
		{Combine(x, Default), x, Apart},
		{Combine(x, Default), Combine(Default, x), Same},
		{Unknown, f32, Undecided},
		{Type{}, f32, Undecided},
	} {
		if got := Relate(c.a, c.b); got != c.want {
			t.Errorf("Relate(%v, %v) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Relate(c.b, c.a); got != c.want {
			t.Errorf("Relate(%v, %v) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestSubstitute(t *testing.T) {
	x, w := testRoots[0], testRoots[1]
	promoted := Combine(Of(x), Default)
	half := func(r *Root) (Type, bool) { return Exact(BFloat16), r == x }
	if got := promoted.Substitute(half).String(); got != "promote(default,bfloat16)" {
		t.Errorf("%v with x in bfloat16 is %v", promoted, got)
	}
	swap := func(r *Root) (Type, bool) { return Of(w), r == x }
	if got := promoted.Substitute(swap); !got.Equal(Combine(Of(w), Default)) {
		t.Errorf("%v with x replaced is %v", promoted, got)
	}
	if got := Join(Of(x), Exact(Int64)).Substitute(half); !got.Equal(Join(Exact(BFloat16), Exact(Int64))) {
		t.Errorf("joined: %v", got)
	}
}

func TestManyAlternativesAreUnknown(t *testing.T) {
	x := Join(Exact(Float16), Exact(BFloat16), Exact(Float32), Exact(Float64), Exact(Int8), Exact(Int16), Exact(Int32), Exact(Uint8))
	if !x.Known() || len(x.Alternatives()) != MaxAlternatives {
		t.Fatalf("eight alternatives: %v", x)
	}
	if y := Join(x, Exact(Int64)); !y.IsUnknown() {
		t.Fatalf("nine alternatives: %v", y)
	}
}
