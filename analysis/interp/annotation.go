package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// This file reads annotations. They are promises of the author: a name that is
// annotated as a tensor is one, and where the annotation carries a dtype
// (jaxtyping's Float32[Tensor, "b n"], torch.LongTensor) it has that dtype.

// annotation strips an annotation of blanks, quotes and Optional.
func annotation(text string) (_ string, maybe bool) {
	text = strings.Trim(strings.Join(strings.Fields(text), ""), `"'`)
	for {
		switch inner, ok := within(text, "Optional"); {
		case ok:
			text, maybe = inner, true
		case strings.HasSuffix(text, "|None"):
			text, maybe = strings.TrimSuffix(text, "|None"), true
		case strings.HasPrefix(text, "None|"):
			text, maybe = strings.TrimPrefix(text, "None|"), true
		default:
			if inner, ok := within(text, "Union"); ok {
				if kept := without(arguments(inner), "None"); len(kept) < len(arguments(inner)) {
					text, maybe = "Union["+strings.Join(kept, ",")+"]", true
					if len(kept) == 1 {
						text = kept[0]
					}
					continue
				}
			}
			return text, maybe
		}
	}
}

// within is what stands in the brackets of name[…], with or without a module.
func within(text, name string) (string, bool) {
	head, rest, ok := strings.Cut(text, "[")
	if !ok || !strings.HasSuffix(rest, "]") || head != name && !strings.HasSuffix(head, "."+name) {
		return "", false
	}
	return rest[:len(rest)-1], true
}

// arguments splits at the commas outside brackets.
func arguments(text string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, text[from:i])
				from = i + 1
			}
		}
	}
	return append(out, text[from:])
}

func without(list []string, word string) []string {
	var out []string
	for _, s := range list {
		if s != word {
			out = append(out, s)
		}
	}
	return out
}

// tensorTypes are the legacy tensor types that name a dtype. FloatTensor is the
// annotation of any floating tensor in most code, whatever its dtype.
var tensorTypes = map[string]dtype.DType{
	"LongTensor": dtype.Int64, "IntTensor": dtype.Int32, "ShortTensor": dtype.Int16, "ByteTensor": dtype.Uint8, "CharTensor": dtype.Int8, "BoolTensor": dtype.Bool,
	"DoubleTensor": dtype.Float64, "HalfTensor": dtype.Float16, "BFloat16Tensor": dtype.BFloat16,
}

// jaxtypes are the types of jaxtyping that name one dtype
// (docs.kidger.site/jaxtyping/api/array).
var jaxtypes = map[string]dtype.DType{
	"Float16": dtype.Float16, "BFloat16": dtype.BFloat16, "Float32": dtype.Float32, "Float64": dtype.Float64, "Int8": dtype.Int8, "Int16": dtype.Int16, "Int32": dtype.Int32,
	"Int64": dtype.Int64, "UInt8": dtype.Uint8, "Bool": dtype.Bool, "Complex64": dtype.Complex64, "Complex128": dtype.Complex128,
}

// promised is the value that an annotation promises; v is the open value of the
// name. It is nil where the annotation says nothing.
func (e *evaluator) promised(text string, v *Value, depth int) *Value {
	tensor := func(t dtype.Type) *Value {
		return &Value{Kind: KindTensor, DType: t, At: v.At, How: HowParam, Op: v.Op, file: e.file}
	}
	base := text[strings.LastIndexByte(text, '.')+1:]
	if d, ok := tensorTypes[base]; ok {
		return tensor(dtype.Exact(d))
	}
	switch text {
	case "Tensor", "torch.Tensor", "th.Tensor", "torch.FloatTensor", "FloatTensor":
		return tensor(dtype.Of(v.root))
	case "int":
		return e.pyInt()
	case "float":
		return e.pyFloat()
	case "bool":
		return e.pyBool()
	case "str":
		return &Value{Kind: KindString}
	case "torch.dtype":
		return &Value{Kind: KindDType, DType: dtype.Of(v.root), root: v.root, At: v.At, How: HowParam, Op: v.Op, file: e.file}
	case "torch.device":
		return &Value{Kind: KindDevice}
	case "np.ndarray", "numpy.ndarray", "ndarray":
		return &Value{Kind: KindArray, DType: dtype.Of(v.root), At: v.At, How: HowParam, Op: v.Op, file: e.file}
	case "dict", "Dict":
		return &Value{Kind: KindDict, root: v.root}
	}
	head, inner, ok := strings.Cut(text, "[")
	if !ok || !strings.HasSuffix(inner, "]") || depth > 4 {
		return nil
	}
	inner = strings.TrimSuffix(inner, "]")
	head = head[strings.LastIndexByte(head, '.')+1:]
	list := arguments(inner)
	if strings.HasSuffix(list[0], "Tensor") && len(list) == 2 { // jaxtyping
		if d, ok := jaxtypes[head]; ok {
			return tensor(dtype.Exact(d))
		}
		switch head {
		case "Float", "Int", "Integer", "Num", "Shaped", "Real", "Inexact":
			return tensor(dtype.Of(v.root))
		}
	}
	// The elements of one sequence are taken to be of one dtype, that of the
	// sequence; those of a tuple with several are not.
	switch head {
	case "List", "list", "Sequence", "Iterable":
		el := e.promised(strings.TrimSuffix(inner, "|None"), v, depth+1)
		if el == nil {
			return nil
		}
		return &Value{Kind: KindSequence, Elem: el}
	case "Tuple", "tuple":
		if len(list) == 2 && list[1] == "..." {
			list = list[:1]
		}
		for _, a := range list {
			if a != list[0] {
				return nil
			}
		}
		el := e.promised(list[0], v, depth+1)
		if el == nil || len(list) > 1 && el.Kind != KindNumber && el.Kind != KindString {
			return nil
		}
		return &Value{Kind: KindSequence, Elem: el}
	case "Dict", "dict", "Mapping":
		return &Value{Kind: KindDict, root: v.root}
	}
	return nil
}
