// Package testdata holds the projects that the acceptance tests review and that
// the demo opens as pull requests, so that a release binary has them too.
//
// It does not hold the fixtures of single packages.
package testdata

import "embed"

// Projects are the Python files of manipulation_transformer and small_pull.
// Files are named by patterns, since a folder's pattern would leave out
// __init__.py.
//
//go:embed manipulation_transformer/*.py manipulation_transformer/*/*.py manipulation_transformer/*/*/*.py small_pull/*/*.py
var Projects embed.FS
