package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// code quotes source text as inline code, on one line and cut at 60 bytes.
func code(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 60 {
		cut := 57
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	if strings.Contains(s, "`") {
		return "`` " + s + " ``"
	}
	return "`" + s + "`"
}

// written quotes an operation as the source has it; of a chain that is too long for
// a message the method alone: ".scatter".
func written(op *interp.Op) string {
	if call, ok := op.Node.(*python.Call); ok && len(strings.Join(strings.Fields(op.Written), " ")) > 60 {
		if at, isMethod := call.Func.(*python.Attribute); isMethod {
			return code("." + at.Sel)
		}
	}
	return code(op.Written)
}

// list joins words: "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// named quotes the base of an operand.
func named(p *analysis.Pass, o interp.Operand) string {
	return code(p.Tree.Text(base(o.Expr).Pos()))
}

// exampleDType is the dtype that a root is said to have in the example of a
// message: what the repository's signs show.
func exampleDType(p *analysis.Pass) dtype.DType {
	if len(p.Signs.Half) == 0 && len(p.Signs.Double) > 0 {
		return dtype.Float64
	}
	for _, s := range p.Signs.Half {
		if strings.Contains(s.Text, "bfloat16") || strings.Contains(s.Text, "bf16") {
			return dtype.BFloat16
		}
	}
	for _, s := range p.Signs.Half {
		if strings.Contains(s.Text, "float16") || strings.Contains(s.Text, "half") || strings.Contains(s.Text, "fp16") {
			return dtype.Float16
		}
	}
	return dtype.BFloat16
}

// in returns the dtype that a type has when every root is d and the default
// dtype is float32.
func in(t dtype.Type, d dtype.DType) dtype.DType {
	ds, ok := t.In(func(*dtype.Root) dtype.DType { return d }, dtype.Float32)
	if !ok {
		return dtype.None
	}
	return ds[len(ds)-1]
}

// pytorchSays quotes the stable core of PyTorch's message for an operation
// (measured with 1.13; later versions add to it).
func pytorchSays(c *conflict, d dtype.DType) string {
	type pair struct{ first, second string }
	name := func(o interp.Operand) string {
		if c.evidence == byGeometry && sameOperand(o, c.odd) {
			return dtype.Float32.ScalarType()
		}
		t := o.Value.DType
		if c.evidence == byContract {
			if t = c.kept.t; sameOperand(o, c.odd) {
				t = c.other.t
			}
		}
		if x := in(t, d); x != dtype.None {
			return x.ScalarType()
		}
		return ""
	}
	var n pair
	if len(c.op.Operands) >= 2 {
		n = pair{name(c.op.Operands[0]), name(c.op.Operands[1])}
	}
	switch {
	case c.op.Kind == interp.OpIndexPut && strings.HasPrefix(c.op.Message, "Index put"):
		return quote(fmt.Sprintf("Index put requires the source and destination dtypes match, got %s for the destination and %s for the source.", n.first, n.second))
	case c.op.Message == "expected scalar type" && n.first != "" && n.second != "" && n.first != n.second:
		return quote(fmt.Sprintf("expected scalar type %s but found %s", n.first, n.second))
	}
	return fragment(c.op.Message)
}

// fragment quotes a message's stable core if it says something by itself.
func fragment(core string) string {
	if at := strings.Index(core, ", but "); at > 0 {
		core = core[:at]
	}
	if len(core) < len("must have the same dtype") || strings.HasPrefix(core, "but ") {
		return ""
	}
	return quote(core)
}

// quote quotes a message whole, where code would cut it.
func quote(s string) string { return "`" + s + "`" }

func sameOperand(a, b interp.Operand) bool { return a.Expr == b.Expr && a.Name == b.Name }

// stops is the end of most messages: "PyTorch stops here: `…`.", with the version
// or the device that does if not all do.
func stops(c *conflict, d dtype.DType, where string) string {
	if in := c.op.Within; in != nil && where == "here" {
		where = "inside, at " + written(in)
	}
	who := strings.TrimSpace("PyTorch " + c.only())
	if s := pytorchSays(c, d); s != "" {
		return fmt.Sprintf("%s stops %s: %s.", who, where, strings.Replace(s, ".`", "`", 1))
	}
	return fmt.Sprintf("%s stops %s.", who, where)
}

// known says what dtype a value has and why.
func knownWords(t dtype.Type) string {
	if d, ok := t.Exact(); ok {
		return d.String()
	}
	if t.IsDefault() {
		return "float32"
	}
	if ds, ok := t.Exacts(); ok {
		var s []string
		for _, d := range ds {
			s = append(s, d.String())
		}
		return strings.Join(s, " or ")
	}
	if r, ok := t.Root(); ok {
		return "the dtype of " + code(r.Name)
	}
	if rs := t.Roots(); len(rs) > 0 {
		var names []string
		for _, r := range rs {
			names = append(names, code(r.Name))
		}
		of := list(names)
		switch {
		case !t.Widened() && len(rs) > 1:
			return "as wide as " + of
		case !t.Widened():
			return "the dtype of " + of
		case strings.Contains(t.String(), "float64"):
			return "float64 promoted with " + of
		}
		return "float32 promoted with " + of
	}
	return t.String()
}

// isWords is the predicate of a value's dtype: "is float32", "has the dtype of
// `x`".
func isWords(t dtype.Type) string {
	if words := knownWords(t); strings.HasPrefix(words, "the dtype of ") {
		return "has " + words
	}
	return "is " + knownWords(t)
}

// story tells where a value comes from in at most three steps.
func story(p *analysis.Pass, v *interp.Value, name string) []analysis.Reason {
	var out []analysis.Reason
	for i := 0; i < 60 && v != nil && len(out) < 3; i++ {
		if v.At == nil {
			break
		}
		at := v.At.Pos()
		var text string
		switch v.How {
		case interp.HowParam:
			text = fmt.Sprintf("%s is a parameter: it has whatever dtype the caller gives", code(strings.SplitN(p.Tree.Text(at), ":", 2)[0]))
		case interp.HowAttr:
			text = fmt.Sprintf("%s follows its module's dtype", code(p.Tree.Text(at)))
			if v.DType.IsDefault() || len(v.DType.Roots()) == 0 {
				text = fmt.Sprintf("%s is %s", code(p.Tree.Text(at)), knownWords(v.DType))
			}
			if !v.DType.Known() {
				text = fmt.Sprintf("%s has whatever dtype it was given", code(p.Tree.Text(at)))
			}
		case interp.HowCreate:
			text = fmt.Sprintf("%s makes %s", code(v.Op), knownWords(v.DType))
			if v.DType.IsDefault() {
				text = fmt.Sprintf("%s without a dtype makes float32, the default", code(v.Op))
			}
		case interp.HowCast:
			text = fmt.Sprintf("%s casts to %s", code(p.Tree.Text(at)), knownWords(v.DType))
		case interp.HowPromote:
			switch {
			case len(v.From) < 2 || !widens(v):
			case refuses(p, v.At):
				text = fmt.Sprintf("%s gives %s", code(v.Op), knownWords(v.DType))
			default:
				text = fmt.Sprintf("%s promotes its operands: %s", code(v.Op), knownWords(v.DType))
			}
		case interp.HowNumPy:
			text = fmt.Sprintf("%s keeps NumPy's %s", code(v.Op), knownWords(v.DType))
		case interp.HowAutocast:
			text = fmt.Sprintf("autocast gives %s here", knownWords(v.DType))
		case interp.HowModule:
			text = fmt.Sprintf("%s gives %s", code(v.Op), knownWords(v.DType))
		case interp.HowCall:
			text = fmt.Sprintf("%s returns %s", code(v.Op), knownWords(v.DType))
		}
		if text != "" {
			if i == 0 && name != "" && !strings.Contains(text, name) && code(p.Tree.Text(at)) != name {
				text = name + ": " + text
			}
			out = append(out, p.Reason(at, text))
		}
		if len(v.From) == 0 {
			break
		}
		v = v.From[0]
	}
	return out
}

// refuses reports whether an expression is an operation that wants one dtype. It
// runs on dtypes that are equal; it does not promote.
func refuses(p *analysis.Pass, at python.Node) bool {
	return slices.ContainsFunc(p.Facts.Ops, func(op *interp.Op) bool { return op.Node == at && op.Kind != interp.OpPromotes })
}

// widens reports whether a promotion's operands differ: only then is it a step
// of the story.
func widens(v *interp.Value) bool {
	for _, from := range v.From {
		if from.Kind == interp.KindTensor && from.Rank != dtype.RankZero && !from.DType.Equal(v.DType) {
			return true
		}
	}
	return false
}

// because is the chain of reasons of a conflict: the odd operand's story, the
// kept one's, the operation, and the sign of the other dtype.
func because(p *analysis.Pass, c *conflict) []analysis.Reason {
	var out []analysis.Reason
	add := func(rs ...analysis.Reason) {
		for _, r := range rs {
			for _, o := range out {
				if o.Path == r.Path && o.Line == r.Line && o.Text == r.Text {
					r.Text = ""
				}
			}
			if r.Text != "" {
				out = append(out, r)
			}
		}
	}
	if c.part != c.odd.Value {
		add(story(p, c.part, "")...) // another value than the one that bears the name
	}
	add(story(p, c.odd.Value, named(p, c.odd))...)
	add(story(p, c.keep.Value, named(p, c.keep))...)
	if c.promotes {
		add(p.Reason(c.op.Node.Pos(), fmt.Sprintf("%s gives the wider dtype of the two", written(c.op))))
	} else {
		add(p.Reason(c.op.Node.Pos(), fmt.Sprintf("%s wants one dtype", written(c.op))))
	}
	if c.sign != nil {
		text := "the function follows a tensor's dtype here"
		if u := upcast(c); u != nil && u == c.sign {
			text = "a value that may be narrower is cast up to float32 here"
		}
		if c.make != nil && c.sign == python.Node(c.make.Call) {
			text = "the device is copied from another tensor, the dtype is not"
		} else if c.op.Scope != nil {
			for _, h := range c.op.Scope.Half {
				if h == c.sign {
					text = "half precision is used here"
				}
			}
		}
		add(p.Reason(c.sign.Pos(), text))
	}
	add(c.because...)
	if c.evidence != byProof && c.evidence != byContract {
		if s, ok := bestSign(p.Signs); ok {
			s.Text = signWords(p.Signs, s) + ": " + s.Text
			add(s)
		}
	}
	return out
}

// operations are the spans that join findings whose fixes need each other.
func operations(c *conflict) []python.Span {
	return append([]python.Span{c.op.Node.Pos()}, c.upstream...)
}

// signWords says what a sign is a sign of.
func signWords(s analysis.Signs, r analysis.Reason) string {
	if slices.Contains(s.Half, r) {
		return "half precision is used"
	}
	return "float64 is used"
}

// bestSign picks the sign to show: a cast of a model says more than autocast,
// under which a matrix product would not stop.
func bestSign(s analysis.Signs) (analysis.Reason, bool) {
	all := append(append([]analysis.Reason{}, s.Half...), s.Double...)
	for _, r := range all {
		if !strings.Contains(r.Text, "autocast") {
			return r, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return analysis.Reason{}, false
}
