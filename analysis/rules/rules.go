package rules

import "github.com/dtypebot/dtypebot/analysis"

// All returns the catalogue, sorted by name.
func All() []*analysis.Rule { return nil }
