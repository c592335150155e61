package torch

import (
	"maps"
	"slices"
)

// Ops returns the canonical names of all ops that have facts, sorted.
func Ops() []string { return slices.Sorted(maps.Keys(decoded().ops)) }
