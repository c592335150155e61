package project

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// requirementFiles are the files at the root of a repository that may say which
// PyTorch it asks for, the most binding first. Lists of requirements follow by
// their names.
var requirementFiles = []string{"pyproject.toml", "setup.cfg"}

// requires reports whether a file may say which PyTorch the repository asks for.
func requires(p string) bool {
	if path.Dir(p) != "." {
		return false
	}
	return slices.Contains(requirementFiles, p) || strings.HasPrefix(p, "requirements") && path.Ext(p) == ".txt"
}

var (
	// quotedRequirement matches "torch>=2.1" in a list of TOML, and torch = "^2.1"
	// or torch = {version = "^2.1"} in a table.
	quotedRequirement = regexp.MustCompile(`["']torch\s*((?:[<>=!~]=?|===)[^"';#\]]*)["'; ]|^\s*torch\s*=\s*(?:\{.*version\s*=\s*)?["']([^"']+)["']`)
	// plainRequirement matches a line of a list of requirements, or of the one in
	// setup.cfg.
	plainRequirement = regexp.MustCompile(`^\s*torch\s*((?:[<>=!~]=|===|[<>])[^;#]*)`)
)

// Requirement returns what a file of requirements asks of PyTorch, like ">=2.1",
// "" if nothing. p is its path: pyproject.toml, setup.cfg, requirements.txt.
func Requirement(p, text string) string {
	for line := range strings.Lines(text) {
		if path.Ext(p) == ".toml" {
			if m := quotedRequirement.FindStringSubmatch(line); m != nil {
				return strings.TrimSpace(m[1] + m[2])
			}
		} else if m := plainRequirement.FindStringSubmatch(line); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return ""
}

// Torch is what the repository asks of PyTorch, like ">=2.1", and the file that
// says so; "" if none does.
func (ix *Index) Torch() (requirement, in string) {
	files := append(slices.Clone(requirementFiles), slices.Sorted(maps.Keys(ix.Configs))...)
	for _, p := range files {
		if k := ix.Configs[p]; k.Torch != "" {
			return k.Torch, p
		}
	}
	return "", ""
}

var clause = regexp.MustCompile(`^(===|[<>=!~]=|[<>^~=])?\s*v?(\d+)(?:\.(\d+|\*))?`)

// Major is the major version of PyTorch that a requirement leaves, "1" or "2";
// "" if it leaves both or none.
func Major(requirement string) string {
	left := map[int]bool{1: true, 2: true}
	for part := range strings.SplitSeq(requirement, ",") {
		m := clause.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			continue
		}
		major, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		for v := range left {
			if !allows(m[1], major, m[3], v) {
				delete(left, v)
			}
		}
	}
	if len(left) != 1 {
		return ""
	}
	for v := range left {
		return strconv.Itoa(v)
	}
	return ""
}

// allows reports whether some release of a major version fits a clause.
func allows(op string, major int, minor string, v int) bool {
	switch op {
	case ">=", ">":
		return v >= major
	case "<":
		return v < major || v == major && strings.Trim(minor, "0*") != ""
	case "<=":
		return v <= major
	case "!=":
		return true
	}
	return v == major // ==, ===, ~=, ^, ~, =, or a bare version
}
