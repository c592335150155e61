package interp

// Facts is what the evaluator found in one file.
type Facts struct{}
