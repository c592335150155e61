package interp

import "github.com/dtypebot/dtypebot/analysis/python"

// Options steer an evaluation. The zero value is ready to use.
type Options struct{}

// Facts is what the evaluator found in one file.
type Facts struct{}

// Eval evaluates a whole file. It never fails: what it does not understand is
// unknown.
func Eval(tree *python.File, opts Options) *Facts { return &Facts{} }
