package project

import (
	"path"
	"regexp"
	"strings"
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

// A Config is what a configuration or a list of requirements says.
type Config struct {
	Blob  string `json:"blob"`
	Half  []Sign `json:"half,omitempty"`
	Torch string `json:"torch,omitempty"` // what it asks of PyTorch, like ">=2.1"
	Fault string `json:"fault,omitempty"` // why that could not be read
}

// config takes a configuration.
func (c *Collection) config(p, text string) {
	k := Config{Blob: Blob(text)}
	if setting(p) {
		k.Half = settings(text)
	}
	if requires(p) {
		var err error
		if k.Torch, err = Requirement(p, text); err != nil {
			k.Fault = err.Error()
		}
	}
	c.ix.Configs[p] = k
}

// configuration reports whether a file is read for its settings or requirements.
func configuration(p string) bool { return setting(p) || requires(p) }

// setting reports whether a path may be a configuration worth reading: YAML,
// JSON or TOML that is no lock, no data and no tool's own.
func setting(p string) bool {
	base := path.Base(p)
	switch path.Ext(base) {
	case ".yaml", ".yml", ".toml", ".json":
	default:
		return false
	}
	return !strings.HasPrefix(base, ".") && !strings.Contains(base, "lock") && base != "package.json" && !offPath(strings.TrimSuffix(p, path.Ext(p))+".py")
}

// settings returns the signs of half precision in a configuration. Text over
// 64 KiB is data.
func settings(text string) (half []Sign) {
	if len(text) > maxSetting {
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		if n++; settingLine.MatchString(strings.TrimRight(line, "\r\n")) {
			half = append(half, Sign{Line: n, Text: code(oneLine(strings.TrimSpace(line)))})
		}
	}
	for _, at := range enabledBlock.FindAllStringIndex(text, 4) {
		half = append(half, Sign{Line: 1 + strings.Count(text[:at[0]], "\n"), Text: code(oneLine(text[at[0]:at[1]]))})
	}
	return half[:min(len(half), maxSigns)]
}
