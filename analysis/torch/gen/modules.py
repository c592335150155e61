"""What every torch.nn module does for each pair of parameter and input dtype.

The list below only says how to build a module and which inputs it takes; the
inputs are t(shape), floating, and i(shape), indices."""
import inspect

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

import ops

MODULES = """
Linear(3,4) t(2,3); Bilinear(3,3,4) t(2,3),t(2,3); Identity() t(2,3); LazyLinear(4) t(2,3)
Conv1d(3,4,1) t(1,3,5); Conv2d(3,4,1) t(1,3,5,5); Conv3d(3,4,1) t(1,3,5,5,5); LazyConv1d(4,1) t(1,3,5); LazyConv2d(4,1) t(1,3,5,5); LazyConv3d(4,1) t(1,3,5,5,5)
ConvTranspose1d(3,4,1) t(1,3,5); ConvTranspose2d(3,4,1) t(1,3,5,5); ConvTranspose3d(3,4,1) t(1,3,5,5,5)
LayerNorm(3) t(2,3); GroupNorm(3,6) t(2,6,4); RMSNorm(3) t(2,3); LocalResponseNorm(2) t(2,3,4,4); CrossMapLRN2d(2) t(2,3,4,4)
BatchNorm1d(3) t(4,3); BatchNorm2d(3) t(2,3,4,4); BatchNorm3d(3) t(2,3,4,4,4)
InstanceNorm1d(3) t(2,3,4); InstanceNorm2d(3) t(2,3,4,4); InstanceNorm3d(3) t(2,3,4,4,4)
Embedding(5,3) i(2,3); EmbeddingBag(5,3) i(2,3)
RNN(3,4) t(2,1,3); LSTM(3,4) t(2,1,3); GRU(3,4) t(2,1,3); RNNCell(3,4) t(2,3); LSTMCell(3,4) t(2,3); GRUCell(3,4) t(2,3)
MultiheadAttention(4,2) t(2,1,4),t(2,1,4),t(2,1,4); TransformerEncoderLayer(4,2,8) t(2,1,4); TransformerDecoderLayer(4,2,8) t(2,1,4),t(2,1,4)
TransformerEncoder(nn.TransformerEncoderLayer(4,2,8),1) t(2,1,4); TransformerDecoder(nn.TransformerDecoderLayer(4,2,8),1) t(2,1,4),t(2,1,4); Transformer(4,2,1,1,8) t(2,1,4),t(2,1,4)
Dropout(.5) t(2,3); Dropout1d(.5) t(2,3,4); Dropout2d(.5) t(2,3,4,4); Dropout3d(.5) t(2,3,4,4,4); AlphaDropout(.5) t(2,3); FeatureAlphaDropout(.5) t(2,3,4)
ReLU() t(2,3); ReLU6() t(2,3); LeakyReLU() t(2,3); PReLU() t(2,3); RReLU() t(2,3); ELU() t(2,3); SELU() t(2,3); CELU() t(2,3); GELU() t(2,3); SiLU() t(2,3); Mish() t(2,3)
GLU() t(2,4); Sigmoid() t(2,3); LogSigmoid() t(2,3); Tanh() t(2,3); Tanhshrink() t(2,3); Softplus() t(2,3); Softsign() t(2,3); Softshrink() t(2,3); Hardshrink() t(2,3)
Hardtanh() t(2,3); Hardsigmoid() t(2,3); Hardswish() t(2,3); Threshold(.1,.2) t(2,3); Softmax(-1) t(2,3); Softmax2d() t(2,3,4,4); LogSoftmax(-1) t(2,3); Softmin(-1) t(2,3)
MaxPool1d(2) t(1,2,8); MaxPool2d(2) t(1,2,8,8); MaxPool3d(2) t(1,2,8,8,8); AvgPool1d(2) t(1,2,8); AvgPool2d(2) t(1,2,8,8); AvgPool3d(2) t(1,2,8,8,8)
AdaptiveAvgPool1d(2) t(1,2,8); AdaptiveAvgPool2d(2) t(1,2,8,8); AdaptiveAvgPool3d(2) t(1,2,8,8,8); AdaptiveMaxPool1d(2) t(1,2,8); AdaptiveMaxPool2d(2) t(1,2,8,8); AdaptiveMaxPool3d(2) t(1,2,8,8,8)
FractionalMaxPool2d(2,output_size=3) t(1,2,8,8); FractionalMaxPool3d(2,output_size=3) t(1,2,8,8,8); LPPool1d(2,2) t(1,2,8); LPPool2d(2,2) t(1,2,8,8)
MaxUnpool1d(2) t(1,1,4),i(1,1,4); MaxUnpool2d(2) t(1,1,4,4),i(1,1,4,4); MaxUnpool3d(2) t(1,1,4,4,4),i(1,1,4,4,4)
ZeroPad2d(1) t(1,2,4,4); ConstantPad1d(1,0.) t(1,2,4); ConstantPad2d(1,0.) t(1,2,4,4); ConstantPad3d(1,0.) t(1,2,4,4,4)
ReflectionPad1d(1) t(1,2,4); ReflectionPad2d(1) t(1,2,4,4); ReflectionPad3d(1) t(1,2,4,4,4); ReplicationPad1d(1) t(1,2,4); ReplicationPad2d(1) t(1,2,4,4); ReplicationPad3d(1) t(1,2,4,4,4)
Upsample(scale_factor=2) t(1,2,4,4); UpsamplingNearest2d(scale_factor=2) t(1,2,4,4); UpsamplingBilinear2d(scale_factor=2) t(1,2,4,4); PixelShuffle(2) t(1,4,2,2); PixelUnshuffle(2) t(1,4,2,2)
ChannelShuffle(2) t(1,4,2,2); Flatten() t(2,3,4); Unflatten(1,(1,3)) t(2,3); Fold((4,4),2) t(1,8,9); Unfold(2) t(1,2,4,4)
CosineSimilarity() t(2,3),t(2,3); PairwiseDistance() t(2,3),t(2,3)
L1Loss() t(2,3),t(2,3); MSELoss() t(2,3),t(2,3); SmoothL1Loss() t(2,3),t(2,3); HuberLoss() t(2,3),t(2,3); BCELoss() t(2,3),t(2,3); BCEWithLogitsLoss() t(2,3),t(2,3)
KLDivLoss() t(2,3),t(2,3); NLLLoss() t(2,3),i(2); NLLLoss2d() t(2,3,4,4),i(2,4,4); CrossEntropyLoss() t(2,3),i(2); PoissonNLLLoss() t(2,3),t(2,3); GaussianNLLLoss() t(2,3),t(2,3),t(2,1)
HingeEmbeddingLoss() t(2,3),t(2,3); SoftMarginLoss() t(2,3),t(2,3); MultiLabelMarginLoss() t(2,3),i(2,3); MultiLabelSoftMarginLoss() t(2,3),t(2,3); MultiMarginLoss() t(2,3),i(2)
CosineEmbeddingLoss() t(2,3),t(2,3),t(2); MarginRankingLoss() t(2),t(2),t(2); TripletMarginLoss() t(2,3),t(2,3),t(2,3); TripletMarginWithDistanceLoss() t(2,3),t(2,3),t(2,3)
CTCLoss() t(3,1,4),torch.ones(1,2,dtype=torch.long),(3,),(2,); AdaptiveLogSoftmaxWithLoss(3,4,[2]) t(2,3),i(2)
"""
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
INPUTS = ops.FL + ["i64"]


def outcome(o):
    if o.startswith("E:mix#"):
        return "R" + o[6:]
    if o.startswith("E:"):
        return "!" if o == "E:ni" else "?"
    return "|".join("o" if x.startswith("P:") or x == "None" else x for x in o.split("|"))


def rank(call, inputs):
    """As ops.rank: of the module's first result."""
    wide = max(x.dim() for x in inputs if isinstance(x, torch.Tensor))
    got = ops.shape(call(inputs))
    if got == "0":
        return "z"
    try:
        scalar = ops.shape(call([torch.ones((), dtype=x.dtype) if isinstance(x, torch.Tensor) else x for x in inputs]))
    except Exception:  # noqa: BLE001, most modules refuse 0-dim inputs
        scalar = "-"
    if scalar.isdigit():
        return "e" if scalar == "0" and got == str(wide) else "1" if scalar != "0" else "?"
    return "1" if got.isdigit() and int(got) >= wide else "?"


def both(a, b):
    """One cell from evaluation and training: ~ where they differ."""
    if a == b or a[0] == b[0] == "R" or b in "!?":
        return a
    return b if a in "!?" else "~"


def flat(r):
    """Nested results (LSTM's states) as one flat tuple."""
    ts = tree_flatten(r)[0]
    return ops.sig(ts[0] if len(ts) == 1 else ts)


def lines():
    env = {"torch": torch, "nn": nn, "t": lambda *s: torch.rand(*s) * .5 + .25, "i": lambda *s: torch.zeros(*s, dtype=torch.int64)}
    torch.manual_seed(0)
    ops.messages.clear()
    out = []
    for entry in "; ".join(MODULES.strip().split("\n")).split("; "):
        made, _, given = entry.partition(" ")
        name = made.partition("(")[0]
        cls = getattr(nn, name, None)
        if cls is None:
            continue  # newer than the measured version
        inputs = eval("[" + given + "]", env)
        first = eval("nn." + made, env).eval()
        first(*inputs)
        params = [k for k, v in first.named_parameters() if "." not in k and v.is_floating_point()]
        nested = any("." in k for k, _ in first.named_parameters())
        floats = [k for k, v in first.named_buffers() if v.is_floating_point() and "." not in k]
        state = dict(first.state_dict())

        def call(p, d, train=False, wrap=None):
            m = eval("nn." + made, env)
            if "Lazy" in name:
                m(*inputs)
            m = m.to(ops.DT[p]).train(train)
            fl, spec = tree_flatten(inputs)
            args = tree_unflatten([x.to(ops.DT[d]) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in fl], spec)
            if wrap is None:
                return m(*args)
            tensors = {k: ops.fake(v.detach()) for k, v in m.state_dict().items()}
            args = tree_unflatten([ops.fake(x) if isinstance(x, torch.Tensor) else x for x in tree_flatten(args)[0]], spec)
            with ops.MODE, wrap:
                return torch.nn.utils.stateless.functional_call(m, tensors, tuple(args))

        ids = not any(x.is_floating_point() for x in tree_flatten(inputs)[0] if isinstance(x, torch.Tensor))
        rows = []
        for p in ops.FL if state else ["f32"]:
            row = []
            for d in INPUTS:
                a, b = (ops.run(lambda: call(p, d, train), flat) for train in (False, True))
                row.append(both(outcome(a), outcome(b)))
            rows.append(",".join(row))
        plain = {d: ops.run(lambda: call(d, d), flat) for d in ops.FL}
        fakes = {d: ops.run(lambda: call(d, d, wrap=ops.NOTHING), flat) for d in ops.FL}
        cuda = {d: ops.run(lambda: call(d, d, wrap=ops.CUDA), flat) for d in ops.FL}
        pairs = [(ops.run(lambda: call(p, d, wrap=ops.NOTHING), flat), ops.run(lambda: call(p, d, wrap=ops.CUDA), flat))
                 for p, d in (("f32", "bf16"), ("bf16", "f32"))] if state else []
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cpu = {d: ops.run(lambda: call(d, d), flat) for d in ops.FL}
            mixed = [ops.run(lambda: call(p, d), flat) for p, d in (("f32", "bf16"), ("bf16", "f32"))] if state else []
        mixed = list(zip((ops.run(lambda: call(p, d), flat) for p, d in (("f32", "bf16"), ("bf16", "f32"))), mixed))
        takes = "dtype" in inspect.signature(cls.__init__).parameters
        r = rank(lambda x: first(*x), inputs)
        flags = ops.policy(fakes, cuda, pairs) + ops.policy(plain, cpu, mixed) + ("t" if takes else "-") + ("i" if ids else "-") + ("n" if nested else "-") + r
        out.append(" ".join([name, ",".join(params) or "-", ",".join(floats) or "-", flags, ";".join(rows)]))
    head = ["[module_messages]"] + ops.messages + ["[containers]", ",".join(CONTAINERS), "[modules]"]
    return head + out
