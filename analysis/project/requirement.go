package project

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// requirementFiles are the files at the root of a repository that may say which
// PyTorch it asks for, the most binding first: what the package declares goes
// before what somebody installs to work on it. Lists of requirements follow by
// their names.
var requirementFiles = []string{"pyproject.toml", "setup.cfg", setupScript, "environment.yml", "environment.yaml"}

// setupScript is read as a requirement and as the Python file that it is.
const setupScript = "setup.py"

// requires reports whether a file may say which PyTorch the repository asks for.
func requires(p string) bool {
	if path.Dir(p) != "." {
		return false
	}
	return slices.Contains(requirementFiles, p) || strings.HasPrefix(p, "requirements") && path.Ext(p) == ".txt"
}

var (
	// pipRequirement matches torch>=2.1 as pip reads it (PEP 508), up to a marker, an
	// option or a comment.
	pipRequirement = regexp.MustCompile(`^\s*torch\s*(?:\[[^\]]*\])?\s*\(?\s*((?:[<>=!~]=|===|[<>])\s*\d[^;#)]*?)\s*\)?\s*(?:[;#].*|\s--.*)?$`)
	// condaRequirement matches an item of an environment's list: pytorch=2.1,
	// pytorch::pytorch>=2.1, "pytorch 2.1.*", and torch==2.1 below pip.
	condaRequirement = regexp.MustCompile(`^\s*-\s*["']?(?:[\w.-]+::)?(?:pytorch|torch)(?:\s*((?:[<>=!~]=|[<>=])\s*\d[^#"']*)|\s+(\d[^#"']*))["']?\s*(?:#.*)?$`)
)

// Requirement returns what a file asks of PyTorch, like ">=2.1", "" if nothing.
// p is its path at the root: pyproject.toml (PEP 621 and Poetry), setup.cfg,
// setup.py, environment.yml, requirements.txt. Nothing is executed: of setup.py
// only what it spells out counts. An error says that the file could not be read
// as what it is.
func Requirement(p, text string) (string, error) {
	switch {
	case p == "pyproject.toml":
		return tomlRequirement(text)
	case p == "setup.cfg":
		return plainRequirement(optionLines(text)), nil
	case p == setupScript:
		return scriptRequirement(text)
	case path.Ext(p) == ".txt":
		return plainRequirement(strings.Split(text, "\n")), nil
	}
	return condaLine(text), nil
}

// plainRequirement is the requirement in a list.
func plainRequirement(list []string) string {
	for _, line := range list {
		if m := pipRequirement.FindStringSubmatch(strings.TrimRight(line, "\r\\ ")); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return ""
}

// condaLine is the requirement in a conda environment.
func condaLine(text string) string {
	for line := range strings.Lines(text) {
		m := condaRequirement.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		// A build may follow: pytorch=2.1=py3.11_cuda.
		version := strings.TrimSpace(m[1] + m[2])
		if i := strings.LastIndexByte(version, '='); i > 0 && version[i-1] >= '*' && version[i-1] <= '9' {
			version = version[:i]
		}
		return version
	}
	return ""
}

// optionLines are the lines of install_requires in the section [options] of
// setup.cfg.
func optionLines(text string) (list []string) {
	options, inside := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		switch key, value, assigned := strings.Cut(line, "="); {
		case strings.HasPrefix(line, "["):
			options, inside = trimmed == "[options]", false
		case trimmed == "" || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";"):
		case line[0] == ' ' || line[0] == '\t':
			if inside {
				list = append(list, line)
			}
		default:
			inside = options && assigned && strings.TrimSpace(key) == "install_requires"
			if inside {
				list = append(list, value)
			}
		}
	}
	return list
}

// tomlRequirement is the requirement in pyproject.toml.
func tomlRequirement(text string) (string, error) {
	var file struct {
		Project struct{ Dependencies any }
		Tool    struct {
			Poetry struct {
				Dependencies map[string]any
			}
		}
	}
	if err := toml.Unmarshal([]byte(text), &file); err != nil {
		if e := new(toml.DecodeError); errors.As(err, &e) {
			row, _ := e.Position()
			return "", fmt.Errorf("line %d is no TOML that can be read", row)
		}
		return "", errors.New("it is no TOML that can be read")
	}
	var list []string
	if items, ok := file.Project.Dependencies.([]any); ok {
		for _, item := range items {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
	}
	if found := plainRequirement(list); found != "" {
		return found, nil
	}
	return poetryVersion(file.Tool.Poetry.Dependencies["torch"]), nil
}

// poetryVersion is the version in one of Poetry's forms: a string, a table, or a
// list of tables for different machines, of which only one that all agree on
// counts.
func poetryVersion(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case map[string]any:
		return poetryVersion(v["version"])
	case []any:
		agreed := ""
		for i, item := range v {
			if version := poetryVersion(item); i == 0 {
				agreed = version
			} else if version != agreed {
				return ""
			}
		}
		return agreed
	}
	return ""
}

// scriptRequirement is the requirement in a call of setup(install_requires=[…]),
// where the list is spelled out in the call or bound to a name of the module
// once.
func scriptRequirement(text string) (string, error) {
	tree, err := python.Parse(text)
	if err != nil {
		return "", err
	}
	if len(tree.Bad) > 0 {
		return "", fmt.Errorf("line %d is no Python that can be read", tree.Line(tree.Bad[0].Start))
	}
	bound := map[string][]python.Expr{}
	for _, s := range tree.Body {
		if a, ok := s.(*python.Assign); ok && a.Op == "" {
			for _, t := range a.Targets {
				if n, ok := t.(*python.Name); ok {
					bound[n.ID] = append(bound[n.ID], a.Value)
				}
			}
		}
	}
	found := ""
	tree.Inspect(func(n python.Node) bool {
		c, ok := n.(*python.Call)
		if !ok || found != "" {
			return true
		}
		if name, ok := c.Func.(*python.Name); !ok || name.ID != "setup" {
			if at, ok := c.Func.(*python.Attribute); !ok || at.Sel != "setup" {
				return true
			}
		}
		list := keyword(c, "install_requires")
		if n, ok := list.(*python.Name); ok && len(bound[n.ID]) == 1 {
			list = bound[n.ID][0]
		}
		found = plainRequirement(literals(list))
		return true
	})
	return found, nil
}

// literals are the strings of a list or tuple, nil if it is none or holds
// something else: what is computed is not known.
func literals(x python.Expr) (list []string) {
	seq, ok := x.(*python.Seq)
	if !ok {
		return nil
	}
	for _, el := range seq.Xs {
		s, ok := el.(*python.Str)
		if !ok || len(s.Interp) > 0 {
			return nil
		}
		list = append(list, s.Value)
	}
	return list
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

// Faults are the requirements that could not be read, by path.
func (ix *Index) Faults() (out []Unread) {
	for _, p := range slices.Sorted(maps.Keys(ix.Configs)) {
		if k := ix.Configs[p]; k.Fault != "" {
			out = append(out, Unread{Path: p, Reason: k.Fault})
		}
	}
	return out
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
