package suggestions

import (
	"math"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// syntaxErrors counts the places of a source that do not parse. A source that
// cannot be read at all counts as the worst.
func syntaxErrors(source string) int {
	f, err := python.Parse(source)
	if err != nil || f.Cut {
		return math.MaxInt
	}
	return len(f.Bad)
}
