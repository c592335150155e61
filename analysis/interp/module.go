package interp

import (
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// strictModules are the modules that refuse an input whose dtype is not their
// parameters' (measured with every nn class that plain arguments build).
var strictModules = map[string]bool{
	"Linear": true, "Conv1d": true, "Conv2d": true, "Conv3d": true, "ConvTranspose1d": true, "ConvTranspose2d": true, "ConvTranspose3d": true,
	"GRU": true, "LSTM": true, "RNN": true, "GRUCell": true, "LSTMCell": true, "RNNCell": true, "MultiheadAttention": true, "TransformerEncoderLayer": true,
	"TransformerDecoderLayer": true, "Transformer": true, "LayerNorm": true, "GroupNorm": true, "LazyLinear": true, "LazyConv1d": true, "LazyConv2d": true,
}

// keepModules have no parameters and keep the dtype.
var keepModules = map[string]bool{
	"Dropout": true, "Dropout1d": true, "Dropout2d": true, "Dropout3d": true, "AlphaDropout": true, "Identity": true, "ReLU": true, "GELU": true, "SiLU": true, "Sigmoid": true, "Tanh": true, "ELU": true, "LeakyReLU": true, "Softplus": true,
	"ReLU6": true, "Hardswish": true, "Mish": true, "Flatten": true, "Unflatten": true, "AvgPool1d": true, "AvgPool2d": true, "AvgPool3d": true, "MaxPool1d": true, "MaxPool2d": true, "MaxPool3d": true, "AdaptiveAvgPool1d": true,
	"AdaptiveAvgPool2d": true, "AdaptiveAvgPool3d": true, "Upsample": true, "PixelShuffle": true, "ZeroPad2d": true, "ReflectionPad2d": true, "BatchNorm1d": true, "BatchNorm2d": true, "BatchNorm3d": true, "Softmax": true, "LogSoftmax": true, "DropPath": true,
}

// moduleMake is nn.Linear(...): a module of the default dtype, or of dtype=.
func (e *evaluator) moduleMake(x *python.Call, name string, a *args) *Value {
	v := &Value{Kind: KindModule, Name: name, DType: e.deflt, At: x, How: HowCreate, Op: name}
	if d, _ := a.key("dtype"); d != nil && d.Kind != KindNone {
		if t, ok := dtypeOf(d); ok {
			v.DType = t
		}
	}
	base := strings.TrimPrefix(name, "torch.nn.")
	switch base {
	case "Sequential":
		v.DType = dtype.Type{}
		for _, p := range a.pos {
			if p.Kind != KindModule {
				v.DType = dtype.Unknown
				break
			}
			v.Elems = append(v.Elems, p)
			if !keepModules[strings.TrimPrefix(p.Name, "torch.nn.")] && v.DType.Empty() {
				v.DType = p.DType
			}
		}
		if v.DType.Empty() {
			v.DType = e.deflt
		}
	case "ModuleList", "ModuleDict", "ParameterList", "ParameterDict":
		return e.open(x, e.file.Text(x.Pos()))
	case "DataParallel", "SyncBatchNorm":
		return e.open(x, e.file.Text(x.Pos()))
	}
	return v
}

// moduleMethod is module.to(...), module.half(), …: modules are changed in place.
func (e *evaluator) moduleMethod(x *python.Call, recv *Value, recvExpr python.Expr, name string, a *args) *Value {
	var t dtype.Type
	set := false
	switch name {
	case "half", "bfloat16", "float", "double":
		t, set = dtype.Exact(castMethods[name]), true
		if castMethods[name].Half() {
			e.frame.scope.Half = append(e.frame.scope.Half, x)
		}
	case "to":
		probe := e.to(x, &Value{Kind: KindTensor, DType: recv.DType}, nil, a)
		if !probe.DType.Equal(recv.DType) {
			t, set = probe.DType, true
		}
	case "cuda", "cpu", "eval", "train", "requires_grad_", "apply":
		return recv
	case "parameters":
		return &Value{Kind: KindSequence, Elem: &Value{Kind: KindTensor, DType: recv.DType, Rank: dtype.RankDim}}
	case "forward":
		return e.moduleCall(x, recv, a)
	default:
		return e.open(x, e.file.Text(x.Pos()))
	}
	if !set {
		return recv
	}
	v := *recv
	v.DType, v.At, v.From = t, x, []*Value{recv}
	if path, ok := dotted(recvExpr); ok {
		e.frame.vars[path] = &v
	}
	return &v
}

// moduleCall is module(x).
func (e *evaluator) moduleCall(x *python.Call, m *Value, a *args) *Value {
	base := strings.TrimPrefix(m.Name, "torch.nn.")
	in, inExpr := a.arg(0, "input", "query", "src")
	if base == "Sequential" && len(m.Elems) > 0 && in != nil && in.tensorish() {
		v := in.Tensor()
		for _, el := range m.Elems {
			el := *el
			el.DType = elementType(m, &el)
			v = e.moduleStep(x, &el, v, inExpr, strings.TrimPrefix(el.Name, "torch.nn."))
			if !v.tensorish() {
				return v
			}
		}
		return v
	}
	if in == nil || !in.tensorish() {
		return e.open(x, e.file.Text(x.Pos()))
	}
	v := e.moduleStep(x, m, in.Tensor(), inExpr, base)
	switch base {
	case "LSTM", "GRU", "RNN", "MultiheadAttention":
		return &Value{Kind: KindSequence, Elem: v}
	}
	return v
}

// elementType is the dtype of a layer inside a Sequential: the Sequential's
// own once it follows .to() or was cast.
func elementType(m, el *Value) dtype.Type {
	if _, ok := m.DType.Root(); ok || len(m.From) > 0 {
		return m.DType
	}
	return el.DType
}

func (e *evaluator) moduleStep(x *python.Call, m, in *Value, inExpr python.Expr, base string) *Value {
	written := e.file.Text(x.Func.Pos())
	switch {
	case keepModules[base]:
		return in.derived(x, HowModule, written, in)
	case strictModules[base]:
		param := &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: m.At, How: HowAttr, From: []*Value{m}, file: e.file}
		v := &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: x, How: HowModule, Op: written, From: []*Value{in, param}}
		if !m.DType.Known() {
			v.DType = dtype.Unknown
		}
		op, _ := torch.Lookup("torch.nn.functional.linear")
		switch base {
		case "LayerNorm", "GroupNorm":
			op, _ = torch.Lookup("torch.nn.functional.layer_norm")
		}
		if e.castByAutocast(op, v, nil) {
			v.How = HowAutocast
		}
		msg := "mat1 and mat2 must have the same dtype"
		if strings.HasPrefix(base, "Conv") || strings.HasPrefix(base, "LazyConv") {
			msg = "should be the same"
		} else if strings.HasSuffix(base, "Norm") {
			msg = "expected scalar type"
		}
		e.addOp(x, OpModule, m.Name, written, v, msg, Operand{Expr: inExpr, Value: in, Name: "input"}, Operand{Expr: x.Func, Value: param, Name: "weight"})
		return v
	case base == "Embedding" || base == "EmbeddingBag":
		return &Value{Kind: KindTensor, DType: m.DType, Rank: dtype.RankDim, At: x, How: HowModule, Op: written, From: []*Value{m}}
	}
	return e.open(x, e.file.Text(x.Pos()))
}
