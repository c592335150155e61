package project

import (
	"path"
	"regexp"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// signs gathers what a file shows about the dtypes that the repository uses on
// purpose. It reads the tree: comments, names and prose are no signs.
func signs(tree *python.File) (half, double []Sign) {
	s := signer{f: tree, names: imports(tree)}
	s.noHalf = s.imported("triton") // a half literal inside a kernel
	s.look()
	return s.half, s.double
}

// Signs returns the signs of half and double precision in a file. Half
// precision in tests and conversion scripts does not count.
func Signs(path string, tree *python.File) (half, double []interp.Place) {
	h, d := signs(tree)
	return places(path, h, !offPath(path)), places(path, d, true)
}

// places puts signs into a file.
func places(path string, list []Sign, count bool) (out []interp.Place) {
	for _, s := range list {
		if count {
			out = append(out, interp.Place{Path: path, Line: s.Line, Text: s.Text})
		}
	}
	return out
}

// maxSigns bounds the signs of one kind in a file; one is enough to believe, the
// rest is for people.
const maxSigns = 20

// offScript matches scripts that export, convert or quantise a model: their
// half precision says nothing of how the library is used.
var offScript = regexp.MustCompile(`(?i)(^|[_-])(export|convert|conversion|converter|quanti[sz]e|quantization|quant|tensorrt|trt|onnx)([_-]|$)`)

// offPath reports whether a file's half precision does not count: tests and
// conversion scripts.
func offPath(p string) bool {
	return testPath(p) || offScript.MatchString(strings.TrimSuffix(path.Base(p), ".py"))
}

func testPath(p string) bool {
	base := path.Base(p)
	if base == "conftest.py" || strings.HasPrefix(base, "test_") || strings.HasSuffix(base, "_test.py") {
		return true
	}
	for dir := path.Dir(p); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if b := path.Base(dir); b == "tests" || b == "test" {
			return true
		}
	}
	return false
}

// imports maps the names that imports of the file bind to what they stand for.
func imports(f *python.File) map[string]string {
	names := map[string]string{}
	f.Inspect(func(n python.Node) bool {
		switch i := n.(type) {
		case python.Expr:
			return false // no import is in an expression
		case *python.Import:
			for _, a := range i.Names {
				switch {
				case i.From && a.As != "":
					names[a.As] = i.Module + "." + a.Name
				case i.From:
					names[a.Name] = i.Module + "." + a.Name
				case a.As != "":
					names[a.As] = a.Name
				default:
					top, _, _ := strings.Cut(a.Name, ".")
					names[top] = top
				}
			}
		}
		return true
	})
	return names
}

// signer looks for the signs in one file.
type signer struct {
	f            *python.File
	names        map[string]string
	noHalf       bool // half precision of this file does not count
	half, double []Sign
}

func (s *signer) imported(module string) bool {
	for _, full := range s.names {
		if full == module || strings.HasPrefix(full, module+".") {
			return true
		}
	}
	return false
}

// dotted returns the full name of a name or an attribute chain, "" of others.
// A name that no import binds stands for itself.
func (s *signer) dotted(e python.Expr) string {
	switch e := e.(type) {
	case *python.Name:
		if full, ok := s.names[e.ID]; ok {
			return full
		}
		return e.ID
	case *python.Attribute:
		if x := s.dotted(e.X); x != "" {
			return x + "." + e.Sel
		}
	}
	return ""
}

func (s *signer) isHalf(name string) bool {
	return name == "torch.bfloat16" || name == "torch.float16" || name == "torch.half"
}

func (s *signer) isDouble(name string) bool {
	return name == "torch.float64" || name == "torch.double"
}

// chosen reports whether an expression is, or chooses between dtypes one of
// which is, a literal that is asks for.
func (s *signer) chosen(e python.Expr, is func(string) bool) bool {
	switch e := e.(type) {
	case *python.Cond:
		return s.chosen(e.Then, is) || s.chosen(e.Else, is)
	case *python.BoolOp:
		return s.chosen(e.X, is) || s.chosen(e.Y, is)
	case *python.Name, *python.Attribute:
		return is(s.dotted(e))
	}
	return false
}

func (s *signer) note(list *[]Sign, n python.Node) {
	line := s.f.Line(n.Pos().Start)
	if k := len(*list); k > 0 && (*list)[k-1].Line == line || k >= maxSigns {
		return
	}
	*list = append(*list, Sign{Line: line, Text: "`" + oneLine(s.f.Text(n.Pos())) + "`"})
}

func (s *signer) noteHalf(n python.Node) {
	if !s.noHalf {
		s.note(&s.half, n)
	}
}

func (s *signer) noteDouble(n python.Node) { s.note(&s.double, n) }

func (s *signer) look() {
	s.f.Inspect(func(n python.Node) bool {
		switch n := n.(type) {
		case *python.FuncDef:
			for _, d := range n.Decorators {
				if isEnter(last(s.dotted(d))) { // the bare form; calls are seen as calls
					s.noteHalf(d)
				}
			}
		case *python.Param:
			s.value(n, n.Default)
		case *python.Assign:
			// weight_dtype = torch.float16 if … else torch.float32
			s.value(n, n.Value)
		case *python.Call:
			s.call(n)
		}
		return true
	})
}

// value takes a dtype that something is set to as a sign.
func (s *signer) value(at python.Node, e python.Expr) {
	if s.chosen(e, s.isHalf) {
		s.noteHalf(at)
	}
	if s.chosen(e, s.isDouble) {
		s.noteDouble(at)
	}
}

// isEnter reports whether a decorator or context manager of this name runs code
// in half precision.
func isEnter(name string) bool {
	return name == "autocast" || name == "auto_fp16" || name == "force_fp32"
}

func (s *signer) call(c *python.Call) {
	name := s.dotted(c.Func)
	sel := last(name)
	if a, ok := c.Func.(*python.Attribute); ok {
		sel = a.Sel
	}
	for _, a := range c.Args {
		s.value(c, a.Value)
	}
	switch sel {
	case "half", "bfloat16":
		if s.method(c) {
			s.noteHalf(c)
		}
	case "double":
		if s.method(c) {
			s.noteDouble(c)
		}
	case "set_default_dtype":
		s.noteDouble(c)
	case "gradcheck", "gradgradcheck":
		s.noteDouble(c)
	case "parametrize":
		if len(c.Args) > 0 && strings.Contains(text(c.Args[0].Value), "dtype") && s.mentions(c, s.isDouble) {
			s.noteDouble(c)
		}
	case "autocast", "auto_fp16", "force_fp32", "GradScaler":
		if off(keyword(c, "enabled")) {
			return // says that callers may use it, not that this code does
		}
		s.noteHalf(c)
	case "AmpOptimWrapper", "MixedPrecision", "MixedPrecisionPolicy":
		s.noteHalf(c)
	case "fully_shard":
		if p := keyword(c, "mp_policy"); p != nil && !off(p) {
			s.noteHalf(c)
		}
	case "Trainer", "Fabric":
		if halfSetting(keyword(c, "precision")) {
			s.noteHalf(c)
		}
	case "Accelerator":
		if e := keyword(c, "mixed_precision"); e != nil && !off(e) && text(e) != "no" {
			s.noteHalf(c)
		}
	case "add_argument", "option":
		for _, a := range c.Args {
			if a.Name == "" && halfFlag.MatchString(text(a.Value)) {
				s.noteHalf(c)
				break
			}
		}
	default:
		for _, key := range []string{"bf16", "fp16"} { // TrainingArguments and its kin
			if strings.HasSuffix(sel, "Arguments") || strings.HasSuffix(sel, "Config") {
				if e := keyword(c, key); e != nil && !off(e) {
					s.noteHalf(c)
				}
			}
		}
		for _, key := range []string{"dtype", "torch_dtype"} {
			if e := keyword(c, key); sel == "from_pretrained" && e != nil && halfSetting(e) {
				s.noteHalf(c)
			}
		}
	}
}

// halfFlag matches command-line options that choose half precision.
var halfFlag = regexp.MustCompile(`^--(use[_-])?(bf16|fp16|half|amp|dtype|(torch|weight|model|compute)[_-]dtype|mixed[_-]precision|precision)$`)

// method reports whether a call without arguments is of a method, not of a
// module's function.
func (s *signer) method(c *python.Call) bool {
	a, ok := c.Func.(*python.Attribute)
	if !ok || len(c.Args) > 0 {
		return false
	}
	if x, ok := a.X.(*python.Name); ok {
		_, module := s.names[x.ID]
		return !module
	}
	return true
}

// mentions reports whether a dtype stands anywhere below n.
func (s *signer) mentions(n python.Node, is func(string) bool) bool {
	found := false
	python.Inspect(n, func(n python.Node) bool {
		if e, ok := n.(python.Expr); ok && s.chosen(e, is) {
			found = true
		}
		return !found
	})
	return found
}

func last(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func keyword(c *python.Call, name string) python.Expr {
	for _, a := range c.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// off reports whether an expression is False or None.
func off(e python.Expr) bool {
	l, ok := e.(*python.Lit)
	return ok && (l.Kind == "false" || l.Kind == "none")
}

// text returns the value of a plain string literal.
func text(e python.Expr) string {
	if s, ok := e.(*python.Str); ok && len(s.Interp) == 0 {
		return s.Value
	}
	return ""
}

// halfSetting reports whether a setting is a literal that chooses half
// precision: 16, "bf16-mixed", "float16".
func halfSetting(e python.Expr) bool {
	switch e := e.(type) {
	case *python.Lit:
		return e.Kind == "int" && e.Text == "16"
	case *python.Str:
		v := text(e)
		return strings.Contains(v, "16") || v == "half"
	case *python.Cond:
		return halfSetting(e.Then) || halfSetting(e.Else)
	}
	return false
}
