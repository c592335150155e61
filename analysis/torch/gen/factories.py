"""Which dtype each factory's tensor has, and which dtype= it accepts.

FACTORIES says how to call them: the name, the arguments with V for a value
whose kind may decide, and whether dtype= is tried. X is a float32 receiver."""
import re

import numpy as np
import torch

import ops

FACTORIES = """
zeros (2,); ones (2,); empty (2,); eye 2; rand (2,); randn (2,); randint 0,2,(2,); randperm 3; empty_strided (2,),(1,)
full (2,),V; arange V; range 0,V; linspace 0,V,3; logspace 0,V,3; scalar_tensor V
tensor D; as_tensor D; asarray D; from_numpy D; Tensor D
FloatTensor D; DoubleTensor D; HalfTensor D; BFloat16Tensor D; LongTensor D; IntTensor D; ShortTensor D; CharTensor D; ByteTensor D; BoolTensor D
hann_window 4; hamming_window 4; blackman_window 4; bartlett_window 4; kaiser_window 4; tril_indices 2,2; triu_indices 2,2; fft.fftfreq 4; fft.rfftfreq 4
zeros_like X; ones_like X; empty_like X; rand_like X; randn_like X; randint_like X,3; full_like X,V
X.new_zeros (2,); X.new_ones (2,); X.new_empty (2,); X.new_full (2,),V; X.new_tensor D; X.new (2,); nn.Parameter D; X.new_empty_strided (2,),(1,)
"""
VALUES = {"b": True, "i": 2, "f": 1.5, "c": 1j}
DATA = {"b": [True], "i": [1], "f": [1.5], "c": [1j], "n32": np.array([1.5], dtype=np.float32), "n64": np.array([1.5]),
        "nint": np.array([1]), "tbf16": torch.ones(1, dtype=torch.bfloat16), "tf64": torch.ones(1, dtype=torch.float64), "ti64": torch.ones(1, dtype=torch.int64)}
DEFAULTS = {"f32": "c64", "f64": "c128", "bf16": "c64"}


def call(name, args, default="f32", receiver="f32", extra="", **env):
    torch.set_default_dtype(ops.ALL[default])
    try:
        space = dict(env, torch=torch, X=torch.zeros(2, dtype=ops.ALL[receiver]))
        return ops.run(lambda: eval("%s(%s%s)" % (name if name.startswith("X.") else "torch." + name, args, extra), space))
    finally:
        torch.set_default_dtype(torch.float32)


def by_kind(name, args, letter, values):
    """What comes out for each kind of value, as dtypes under the default
    float32, and in words: "d" the default dtype, "x" the default complex
    dtype, "s" the value's own dtype, else a dtype, or ? an error."""
    raw, out = {}, {}
    for k, v in values.items():
        got = {d: call(name, args, default=d, **{letter: v}) for d in DEFAULTS}
        got = {d: x for d, x in got.items() if not ops.bad(x)}
        own = ops.CODE[v.dtype] if isinstance(v, torch.Tensor) else {"n32": "f32", "n64": "f64", "nint": "i64"}.get(k)
        if "f32" not in got or "f64" not in got:
            out[k] = "?"
            continue
        raw[k] = got["f32"]
        if all(got[d] == d for d in got):
            out[k] = "d"
        elif all(x == DEFAULTS[d] for d, x in got.items()):
            out[k] = "x"
        elif own and all(x == own for x in got.values()):
            out[k] = "s"
        elif len(set(got.values())) == 1:
            out[k] = got["f32"]
        else:
            raise ValueError("%s of %s: %s" % (name, k, got))
    return raw, out


def kind(name, args):
    """d the default dtype; =CODE always that; r the receiver's; v by the
    value's kind; t by the data's kind or dtype."""
    if re.search(r"\bX\b", args) or name.startswith("X."):
        got = {r: call(name, args, receiver=r, V=1.5, D=[1.5]) for r in ("f32", "bf16", "i64")}
        if all(k == v for k, v in got.items() if not ops.bad(v)):
            return "r", ""
    for letter, values in (("V", VALUES), ("D", DATA)):
        if re.search(r"\b%s\b" % letter, args):
            raw, kinds = by_kind(name, args, letter, values)
            known = {v for v in kinds.values() if v != "?"}
            if known == {"d"}:
                return "d", ""
            if len(set(raw.values())) == 1 and "f" in raw and "d" not in known:
                return "=" + raw["f"], ""
            return ("v" if letter == "V" else "t"), ",".join("%s=%s" % kv for kv in kinds.items())
    got = {d: call(name, args, default=d) for d in DEFAULTS}
    if all(d == v for d, v in got.items() if not ops.bad(v)):
        return "d", ""
    if len(set(got.values())) == 1:
        return "=" + got["f32"], ""
    raise ValueError("%s: %s" % (name, got))


# Every number that these take decides, not only the one that was varied.
NUMBERS = {"arange": "0,1,2", "range": "0,1,2", "linspace": "0,1", "logspace": "0,1"}


def lines():
    out = ["[factories]"]
    for entry in "; ".join(FACTORIES.strip().split("\n")).split("; "):
        name, _, args = entry.partition(" ")
        if not name.startswith("X.") and "." not in name and not hasattr(torch, name):
            continue
        if name == "from_numpy":
            k, detail, accepts = "t", ",".join("%s=%s" % kv for kv in by_kind(name, args, "D", DATA)[1].items()), []
        else:
            k, detail = kind(name, args)
            accepts = [d for d in ops.ALL if call(name, args, V=1.5, D=[1.5], extra=",dtype=torch." + str(ops.ALL[d])[6:]) == d]
        method = name.startswith("X.")
        full = ("torch.Tensor." + name[2:]) if method else "torch." + name
        places = {a: i + method for i, a in enumerate(split(args)) if a in ("V", "D", "X")}
        value = places.get("V", places.get("D"))
        values = NUMBERS.get(name, "-" if value is None else str(value))
        out.append(" ".join([full, k, detail or "-", values, ",".join(accepts) or "-"]))
    return out


def split(args):
    """The top-level arguments."""
    depth, parts = 0, [""]
    for c in args:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts
