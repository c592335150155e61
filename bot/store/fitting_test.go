package store

import "testing"

// TestFitting bounds the indexes of a repository by number and by size, but keeps
// the newest whatever its size.
func TestFitting(t *testing.T) {
	const half = maxIndexes / 2
	for _, tc := range []struct {
		sizes []int
		want  int
	}{
		{nil, 0},
		{[]int{1, 1, 1, 1, 1}, 4},
		{[]int{half, half, 1}, 2},
		{[]int{2 * maxIndexes, 1}, 1},
		{[]int{1, maxIndexes}, 1},
	} {
		var list []written
		for _, n := range tc.sizes {
			list = append(list, written{Bytes: n})
		}
		if got := fitting(list); got != tc.want {
			t.Errorf("%v: %d stay, want %d", tc.sizes, got, tc.want)
		}
	}
}
