package project

import (
	"path"
	"regexp"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/interp"
)

// settingLine matches a line of YAML, TOML or JSON that chooses half precision
// for a run: mixed_precision: bf16, precision = "16-mixed", "torch_dtype":
// "float16", bf16: true.
var settingLine = regexp.MustCompile(`(?i)^\s*[-{]?\s*["']?(?:[\w.]*\.)?((?:mixed_precision|precision|(?:torch_|weight_|model_|compute_)?dtype)["']?\s*[:=]\s*["']?(?:bf16|fp16|bfloat16|float16|half|16)(?:-mixed|-true)?["']?|(?:bf16|fp16|use_bf16|use_fp16)["']?\s*[:=]\s*["']?true["']?)\s*[,}]?\s*(?:#.*)?$`)

// enabledBlock matches DeepSpeed's "bf16": {"enabled": true}, which may stand on
// several lines; "auto" takes what the run asks for.
var enabledBlock = regexp.MustCompile(`(?i)["']?(?:bf16|fp16)["']?\s*:\s*\{?\s*["']?enabled["']?\s*:\s*["']?(true|auto)\b`)

// maxSetting is how long a configuration may be, in bytes.
const maxSetting = 64 << 10

// Setting reports whether a path may be a configuration worth reading: YAML,
// JSON or TOML that is no lock, no data and no tool's own.
func Setting(p string) bool {
	base := path.Base(p)
	switch path.Ext(base) {
	case ".yaml", ".yml", ".toml", ".json":
	default:
		return false
	}
	return !strings.HasPrefix(base, ".") && !strings.Contains(base, "lock") && base != "package.json" && !offPath(strings.TrimSuffix(p, path.Ext(p))+".py")
}

// Settings returns the signs of half precision in a configuration. Text over
// 64 KiB is data.
func Settings(p, text string) (half []interp.Place) {
	if len(text) > maxSetting {
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		if n++; settingLine.MatchString(strings.TrimRight(line, "\r\n")) {
			half = append(half, interp.Place{Path: p, Line: n, Text: code(oneLine(strings.TrimSpace(line)))})
		}
	}
	for _, at := range enabledBlock.FindAllStringIndex(text, 4) {
		half = append(half, interp.Place{Path: p, Line: 1 + strings.Count(text[:at[0]], "\n"), Text: code(oneLine(text[at[0]:at[1]]))})
	}
	return half[:min(len(half), maxSigns)]
}

var torchRequirement = regexp.MustCompile(`["']torch\s*((?:[<>=!~]=?|===)[^"';#\]]*)["'; ]|^\s*torch\s*=\s*["']([^"']+)["']`)

// Requirement returns what a pyproject.toml asks of PyTorch, like ">=2.1", "" if
// nothing.
func Requirement(text string) string {
	for line := range strings.Lines(text) {
		if m := torchRequirement.FindStringSubmatch(line); m != nil {
			return strings.TrimSpace(m[1] + m[2])
		}
	}
	return ""
}
