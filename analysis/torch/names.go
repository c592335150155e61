package torch

import (
	"maps"
	"slices"
)

// Ops returns the canonical names of all ops that have facts, sorted.
func (t *Table) Ops() []string { return slices.Sorted(maps.Keys(t.ops)) }
