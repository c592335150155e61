package check

import (
	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/rules"
)

// raises lists the operations that PyTorch refuses under plausible dtypes as
// keys that do not depend on lines. A panic costs the keys, not the findings.
func raises(path string, tree *python.File, facts *interp.Facts, signs analysis.Signs) (keys []string) {
	defer func() {
		if recover() != nil {
			keys = nil
		}
	}()
	return rules.Raises(analysis.NewPass(path, nil, tree, facts, signs, nil))
}

// partial reports whether the evaluator gave up before the end of the file.
func partial(facts *interp.Facts) bool { return facts.Exhausted }
