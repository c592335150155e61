"""Measures what every public PyTorch op does to dtypes, by calling it.

No fact about an op is written here: this file only knows how to make
arguments (OpInfo samples, else aten schemas, else generic templates), varies
the dtype of one floating argument at a time, and classifies what comes back.

Outcomes: "f16", "bf16", "f32", ... a tensor of that dtype; "f32|i64" several;
"E:ni" no kernel for the dtype; "E:mix#k" a dtype mismatch, message k;
"E:oth#k" another error; "P:float" a Python object; "None".
"""
import contextlib
import inspect
import random
import re
import sys
import types
import unittest
import warnings

# OpInfo lives in a module that imports expecttest for a base class that is not
# used here; not every distribution packages it.
try:
    import expecttest  # noqa: F401
except ImportError:
    stub = types.ModuleType("expecttest")
    stub.ACCEPT, stub.TestCase = False, unittest.TestCase
    sys.modules["expecttest"] = stub
warnings.simplefilter("ignore")
# OpInfo samples a set in places, which Python 3.11 refuses.
_sample = random.sample
random.sample = lambda p, k, **kw: _sample(sorted(p) if isinstance(p, (set, dict)) else p, k, **kw)

_argv, sys.argv = sys.argv, sys.argv[:1]
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torch.overrides  # noqa: E402
import torch.testing._internal.common_methods_invocations as invocations  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._pytree import tree_flatten, tree_unflatten  # noqa: E402

sys.argv = _argv
torch.set_num_threads(1)
Tensor = torch.Tensor

DT = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64, "i64": torch.int64, "b8": torch.bool}
# Dtypes whose only measurement is "all operands alike".
MORE = {"u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "c64": torch.complex64, "c128": torch.complex128}
ALL = dict(DT, **MORE)
INTEGERS = {"i64", "u8", "i8", "i16", "i32"}
FL = ["f16", "bf16", "f32", "f64"]
PAIRS = [(a, b) for a in FL for b in FL if a != b]
CODE = {v: k for k, v in ALL.items()}
CODE[torch.complex32] = "c32"
PROM = {(a, b): CODE[torch.promote_types(DT[a], DT[b])] for a in DT for b in DT}

# ------------------------------------------------------------------ outcomes
MIX = re.compile(
    r"same (d)?type|scalar type|to have the same dtype|mixed dtype|same dtype|data ?type|"
    r"dtype|must (have|be).*type|expected .* but (got|found)|type mismatch|can't be cast", re.I)
SURELY_MIX = re.compile(r"same (d)?type|same dtype|have the same|scalar type|mixed dtype|can't be cast|be the same|match", re.I)
NI = re.compile(
    r"not implemented for|not implemented on|Low precision dtypes not supported|"
    r"unsupported (scalar)?\s*d?type|not supported for|does(n't| not) support|"
    r"only supports? |only support for|not supported yet|MKL FFT|"
    r"not yet supported|Expected a floating|should be floating point|must be a floating|"
    r"expected .*floating point|Unsupported dtype|can only be created|is not supported", re.I)
DTYPE_WORD = re.compile(
    r"(?<![A-Za-z_])(?:c10::|CPU|torch\.)?(?:Half|BFloat16|Float|Double|Long|Int|Bool|Char|Byte|Short|Complex\w+|"
    r"half|bfloat16|float(?:16|32|64)?|double|long(?: int)?|int(?:64)?|bool|\w+Tensor|\w+Type)(?:Type|Tensor)?(?![A-Za-z_])"
    r"|(?:(?<=got)|(?<=ype))(?:Half|BFloat16|Float|Double|Long|Bool)\b|torch\.\w+(?:Tensor|\d+)|(?<![\w])-?\d+(?:\.\d+)?(?!\w)")
messages = []


def core(s):
    """The longest part of a message that names neither dtypes nor numbers."""
    if "INTERNAL ASSERT" in s:
        return "INTERNAL ASSERT FAILED"
    part = max(DTYPE_WORD.split(s), key=len).strip(" ,;:.()'\"=[")
    return part[:100].strip()


def message(s):
    s = core(s)
    if s not in messages:
        messages.append(s)
    return messages.index(s)


def text(o):
    """The message of an outcome."""
    return messages[int(o.split("#")[1])] if "#" in o else ""


def sig(r):
    if isinstance(r, Tensor):
        return CODE.get(r.dtype, str(r.dtype))
    if r is None:
        return "None"
    if isinstance(r, (list, tuple)):
        return "|".join(sig(x) for x in list(r)[:6]) if len(r) else "empty"
    return "P:" + type(r).__name__


class Timeout(BaseException):
    pass


def run(fn, of=sig):
    try:
        return of(fn())
    except Timeout:
        raise
    except Exception as e:  # noqa: BLE001, what an op raises is the measurement
        s = str(e).split("\n")[0].strip()
        if s.startswith("Given groups="):  # a fault of the bf16 transposed convolution, not about dtypes
            return "E:ni"
        if not isinstance(e, NotImplementedError) and SURELY_MIX.search(s):
            return "E:mix#%d" % message(s)
        if NI.search(s):
            return "E:ni"
        if MIX.search(s):
            return "E:mix#%d" % message(s)
        return "E:oth#%d" % message(s)


def bad(o):
    return o is None or o.startswith("E:")


# A Python number of the sample (-3.5) that the dtype cannot hold says nothing of the dtype.
UNFIT = re.compile(r"cannot be converted to type|without overflow|out of bounds for|out of range")


# ------------------------------------------------------------------- targets
# What is not an op on tensors' values: state, I/O, storage, quantised and sparse internals.
SKIP = re.compile(
    r"^(set_(?!$)|autocast_|clear_autocast|save$|load$|seed$|initial_seed|manual_seed|get_(?!device)|init_num|vitals|read_vitals|"
    r"import_ir|merge_type|parse_|unify_|compiled_with|use_determ|prepare_multip|is_autocast|is_anomaly|is_grad_en|is_infer.*_mode|"
    r"is_warn|is_deterministic|are_determ|typename|fork$|wait$|hub$|cpp|has_(?!names)|boolean_dispatch|handle_torch|assert_|"
    r"classproperty|Set$|List$|Callable|Optional|Tuple|Union|BroadcastingList|lru_cache|no_grad|enable_grad|inference_mode|"
    r"register_|retain_grad|requires_grad_?$|backward$|share_memory_|is_shared|storage|untyped_storage|_typed|set_$|data_ptr|"
    r"names$|cuda$|xpu$|ipu$|pin_memory|is_pinned|reinforce|tolist|numpy_T|apply_$|map_$|map2_$|stft_$|cudnn_|miopen_|mkldnn_|"
    r"fbgemm_|quantize_|q_|sparse_|to_sparse|to_mkldnn|to_dense|_|smm$|sspaddmm|hspmm|dsmm|hsmm|dequantize|int_repr|quantized_|"
    r"record_stream|rename|refine_names|align_|unflatten$|resize|coalesce|is_coalesced|indices$|values$|crow_|col_|ccol_|row_|"
    r"grad_fn|nuclear_norm$|multi_head_attention_forward$|module_load|to_padded|as_subclass|from_file|eval_if|conv_tbc_|candidate$|"
    r"device$|import_|export|compile$|asarray_|chain_|new$|new_tensor$|record_|sym_|wait|frombuffer|from_dlpack|to_dlpack|utils|randperm)")
DUNDER = {
    "__add__": "add", "__radd__": "__radd__", "__iadd__": "add", "__sub__": "sub", "__rsub__": "__rsub__", "__isub__": "sub",
    "__mul__": "mul", "__rmul__": "__rmul__", "__imul__": "mul", "__truediv__": "true_divide", "__rtruediv__": "true_divide",
    "__div__": "true_divide", "__rdiv__": "__rdiv__", "__idiv__": "true_divide", "__itruediv__": "true_divide",
    "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide", "__ifloordiv__": "floor_divide",
    "__mod__": "remainder", "__rmod__": "__rmod__", "__imod__": "remainder", "__pow__": "pow", "__rpow__": "__rpow__",
    "__ipow__": "pow", "__matmul__": "matmul", "__rmatmul__": "__rmatmul__", "__eq__": "eq", "__ne__": "ne",
    "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__and__": "__and__", "__rand__": "__rand__",
    "__iand__": "__and__", "__or__": "__or__", "__ror__": "__ror__", "__ior__": "__or__", "__xor__": "__xor__",
    "__rxor__": "__rxor__", "__ixor__": "__xor__", "__lshift__": "bitwise_left_shift", "__ilshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift", "__irshift__": "bitwise_right_shift", "__neg__": "neg", "__abs__": "abs",
    "__invert__": "bitwise_not", "__pos__": "positive", "__getitem__": "__getitem__", "__contains__": "", "__float__": "", "__int__": "",
    "__bool__": "", "__rlshift__": "", "__rrshift__": "",
}
OPDB = {}
for _o in invocations.op_db:
    OPDB.setdefault(_o.name, []).append(_o)
    for _a in getattr(_o, "aliases", ()) or ():
        OPDB.setdefault(_a.name, []).append(_o)
OVERRIDABLE = torch.overrides.get_testing_overrides()
SPACES = {"torch": torch, "torch.nn.functional": F, "torch.linalg": torch.linalg, "torch.fft": torch.fft,
          "torch.special": torch.special, "torch.Tensor": Tensor}


def targets():
    found = []
    for ns, mod in SPACES.items():
        if ns == "torch.Tensor":
            continue
        for n in dir(mod):
            f = getattr(mod, n, None)
            if n.startswith("_") or not callable(f) or isinstance(f, (type, types.ModuleType)) or SKIP.match(n):
                continue
            if ns != "torch" and not (f in OVERRIDABLE if hasattr(f, "__hash__") else False) and "nn.functional." + n not in OPDB \
                    and getattr(f, "__module__", "") not in (ns, "torch._C", None, "torch.nn.functional"):
                continue
            found.append((ns, n, "inplace" if n.endswith("_") else "function"))
    for n in dir(Tensor):
        f = getattr(Tensor, n, None)
        if not callable(f) or isinstance(f, type):
            continue
        if n.startswith("__"):
            if n in DUNDER:
                found.append(("torch.Tensor", n, "dunder"))
        elif not SKIP.match(n):
            found.append(("torch.Tensor", n, "inplace" if n.endswith("_") else "method"))
    return found


# -------------------------------------------------------- argument templates
def opinfos(ns, n, kind):
    base = n
    if kind == "dunder":
        base = DUNDER[n]
    elif n.endswith("_") and not n.startswith("__"):
        base = n[:-1]
    pre = {"torch": "", "torch.nn.functional": "nn.functional.", "torch.linalg": "linalg.", "torch.fft": "fft.",
           "torch.special": "special.", "torch.Tensor": ""}[ns]
    for c in [pre + base, base] + (["nn.functional." + base, "linalg." + base] if ns == "torch.Tensor" else []):
        if c in OPDB:
            return OPDB[c]
    return []


def leaf(x):
    if isinstance(x, Tensor):
        return "t%s%d" % ("f" if x.is_floating_point() else "i", min(x.dim(), 4))
    return type(x).__name__


def tensors(x):
    return [y for y in tree_flatten(x)[0] if isinstance(y, Tensor)]


def clone(x):
    flat, spec = tree_flatten(x)
    return tree_unflatten([y.clone() if isinstance(y, Tensor) else y for y in flat], spec)


def opinfo_templates(ops, fn):
    out = []
    for op in ops[:6]:
        supported = op.supported_dtypes("cpu")
        d = next((x for x in (torch.float32, torch.float64, torch.int64, torch.bool) if x in supported), None)
        if d is None:
            continue
        groups = {}
        try:
            for i, s in enumerate(op.sample_inputs("cpu", d)):
                if i > 120:
                    break
                args, kw = [s.input] + list(s.args), dict(s.kwargs)
                flat, _ = tree_flatten((args, kw))
                ts = tensors((args, kw))
                if any(t.is_complex() or t.numel() == 0 or t.numel() > 40000 or t.is_sparse or t.layout != torch.strided for t in ts):
                    continue
                group = (tuple(leaf(x) for x in flat), tuple(sorted(kw)))
                order = ("dtype" in kw) * 10 + sum(t.dim() == 0 for t in ts)
                groups.setdefault(group, []).append((order, -len(ts), i, args, kw))
        except Timeout:
            raise
        except Exception:  # noqa: BLE001, a sample maker that breaks costs its op's samples only
            pass
        for g in sorted(groups, key=lambda g: groups[g][0][:3]):
            for t in sorted(groups[g], key=lambda t: t[:3]):
                args, kw = t[3], t[4]
                want = run(lambda: op.op(*clone(args), **clone(kw)))
                # An OpInfo may wrap the op in a lambda that reorders its arguments (where, nonzero).
                done = False
                for a in [args] + ([[args[1], args[0]] + args[2:]] if len(args) > 1 else []):
                    r = run(lambda: fn(*clone(a), **clone(kw)))
                    if not bad(r) and (r == want or bad(want) or r == "None" or a is args):
                        out.append((a, kw, d))
                        done = True
                        break
                if done:
                    break
            if len(out) >= 12:
                break
    out.sort(key=lambda t: ("dtype" in t[1], any(x.dim() == 0 for x in tensors(t[:2])), -len(tensors(t[:2]))))
    return out[:8]


torch.manual_seed(0)
_a = torch.rand(3, 3)
SPD = _a @ _a.t() + 3 * torch.eye(3)
PROFILES = [SPD, SPD[0].clone(), torch.stack([SPD, SPD]), torch.rand(1, 3, 4, 4) + .1, torch.rand(1, 1, 4, 4, 4) + .1, torch.tensor(1.25)]
INDICES = {"index", "indices", "idx", "offsets", "lengths", "repeats"}


def schema_templates(n, fn):
    out = []
    for s in torch._C._jit_get_schemas_for_operator("aten::" + n):
        if s.overload_name.endswith("out") or any(a.name == "out" for a in s.arguments):
            continue
        for p in PROFILES:
            args, ok = [], True
            for a in s.arguments:
                ty = str(a.type)
                if a.has_default_value():
                    break
                if a.kwarg_only:
                    ok = False
                elif ty == "Tensor":
                    index = a.name in INDICES
                    args.append(torch.zeros(p.shape[-1] if p.dim() == 1 else (2,), dtype=torch.int64) if index else p.clone())
                elif ty.startswith("Optional"):
                    args.append(None)
                elif ty == "List[Tensor]":
                    args.append([p.clone(), p.clone()])
                elif ty == "int":
                    args.append(0 if a.name in ("dim", "dim0", "axis") else 1)
                elif ty == "List[int]":
                    args.append([1] if a.name in ("dim", "dims") else list(p.shape))
                elif ty in ("float", "number"):
                    args.append(0.5)
                elif ty == "bool":
                    args.append(False)
                else:
                    ok = False
                if not ok:
                    break
            if ok and tensors(args) and not bad(run(lambda: fn(*clone(args)))):
                out.append((args, {}, torch.float32))
                break
        if len(out) >= 3:
            break
    return out


def generic_templates(fn):
    i1 = torch.zeros(3, dtype=torch.int64)
    for p in PROFILES:
        for rest in ([], [p], [p, p], [1], [0, p[0] if p.dim() else p], [0], [0.5], [0, i1, p], [0, i1], [p, 0.5], [(3, 3)],
                     [torch.float64], [p.shape], [2, 2], [i1]):
            if not bad(run(lambda: fn(*clone([p] + rest)))):
                return [([p] + rest, {}, torch.float32)]
    if not bad(run(lambda: fn([SPD, SPD]))):
        return [([[SPD, SPD]], {}, torch.float32)]
    return []


# ---------------------------------------------------------------- signatures
class Signature:
    """The names of an op's parameters: positional ones in order, whether the
    last of them takes all further arguments, and keyword-only ones."""

    def __init__(self, positional, variadic, keyword, numbers=()):
        self.positional, self.variadic, self.keyword = positional, variadic, keyword
        self.numbers = numbers  # parameters that are Python numbers

    def names(self):
        return self.positional + self.keyword

    def place(self, i, n):
        """The name of positional argument i of n."""
        if self.variadic and i >= len(self.positional) - 1:
            return self.positional[-1]
        return self.positional[i] if i < len(self.positional) else "arg%d" % i


def from_python(f):
    try:
        ps = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return None
    pos = [p.name for p in ps if p.kind in (0, 1, 2)]
    variadic = any(p.kind == 2 for p in ps)
    if variadic and any(p.kind == 4 for p in ps):
        return None  # (*args, **kwargs): a dispatcher that hides the signature
    return Signature(pos, variadic, [p.name for p in ps if p.kind == 3])


# The operators' Python wrappers name an argument differently from the schema.
SCHEMA_NAME = {"__div__": "div", "__truediv__": "div", "__idiv__": "div_", "__itruediv__": "div_", "__mod__": "remainder",
               "__imod__": "remainder_", "__neg__": "neg", "__abs__": "abs", "__invert__": "bitwise_not", "__pos__": "positive",
               "__ipow__": "pow_", "__rand__": "__and__", "__ror__": "__or__", "__rxor__": "__xor__"}


# Signatures that neither Python nor a schema tells.
PUBLIC = {
    "torch.einsum": [Signature(["equation", "operands"], True, [])],
    "torch.Tensor.to": [Signature(["self", "other", "dtype", "non_blocking", "copy"], False, ["memory_format"])],
}
# Operands that no sample leaves at dim >= 1 while it varies their dtypes.
_v = torch.rand(3)
EXTRA = {
    "torch.meshgrid": [([_v, _v], {}, torch.float32)],
    "torch.functional.meshgrid": [([_v, _v], {}, torch.float32)],
    "torch.masked_scatter": [([_v, torch.tensor([True, False, False]), _v], {}, torch.float32)],
    "torch.Tensor.masked_scatter": [([_v, torch.tensor([True, False, False]), _v], {}, torch.float32)],
    "torch.Tensor.masked_scatter_": [([_v, torch.tensor([True, False, False]), _v], {}, torch.float32)],
    "torch.nn.functional.affine_grid": [([torch.rand(1, 2, 3), (1, 1, 2, 2)], {}, torch.float32)],
    "torch.nn.functional.fold": [([torch.rand(1, 8, 9), (4, 4), 2], {}, torch.float32)],
    "torch.batch_norm": [([torch.rand(2, 3, 4), _v, _v, _v, _v, False, .1, 1e-5, False], {}, torch.float32)],
    "torch.instance_norm": [([torch.rand(2, 3, 4), _v, _v, _v, _v, True, .1, 1e-5, False], {}, torch.float32)],
    "torch.view_as_real": [([torch.rand(2, 3, dtype=torch.complex64)], {}, torch.complex64)],
    "torch.imag": [([torch.rand(2, 3, dtype=torch.complex64)], {}, torch.complex64)],
    "torch.grid_sampler": [([torch.rand(1, 1, 2, 2), torch.rand(1, 2, 2, 2), 0, 0, False], {}, torch.float32)],
    "torch.Tensor.float_power_": [([torch.rand(2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)], {}, torch.float64)],
    "torch.einsum": [(["ij,jk->ik", SPD, SPD], {}, torch.float32), (["i,j->ij", _v, _v], {}, torch.float32)],
}
# Ops whose samples never reach a kernel (empty and one-element tensors), or ask
# for more results than the plain call gives: measured with these alone.
ONLY = {
    "topk": [([SPD, 2], {}, torch.float32)],
    "kthvalue": [([SPD, 2], {}, torch.float32)],
    "matrix_power": [([SPD, 2], {}, torch.float32)],
    "inner": [([SPD, SPD], {}, torch.float32)],
    "histogram": [([_v, 4], {}, torch.float32)],
    "pdist": [([SPD], {}, torch.float32)],
    "isin": [([SPD, SPD], {}, torch.float32)],
    "lu": [([SPD], {}, torch.float32)],
}


def signatures(ns, n, fn):
    """All signatures of an op, the ones its parser has first.

    Python functions are asked; for builtins the aten schemas are what the
    argument parser is generated from, with self called input in functions."""
    method = ns == "torch.Tensor"
    if ns + "." + n in PUBLIC:
        return PUBLIC[ns + "." + n]
    sig = from_python(fn)
    if sig and sig.positional:
        return [sig]
    if isinstance(fn, types.FunctionType) and fn in OVERRIDABLE:  # chooses between two functions by an argument
        sig = from_python(OVERRIDABLE[fn])
        if sig:
            return [sig]
    out = []
    pre = {"torch.linalg": "linalg_", "torch.fft": "fft_", "torch.special": "special_"}.get(ns, "")
    for name in dict.fromkeys([SCHEMA_NAME.get(n, pre + n), n.strip("_") if n.startswith("__") else n]):
        for s in torch._C._jit_get_schemas_for_operator("aten::" + name):
            args = [a for a in s.arguments if a.name not in ("out", "names", "dimname") and not str(a.type).startswith("Dimname")]
            if any(a.kwarg_only and a.name in ("out0", "values", "values_out", "grad_input") for a in args) or "out" in s.overload_name \
                    or "dimname" in s.overload_name.lower():
                continue
            rename = (lambda x: x) if method else (lambda x: "input" if x == "self" else x)
            pos = [rename(a.name) for a in args if not a.kwarg_only]
            key = [rename(a.name) for a in args if a.kwarg_only]
            if method and "self" in pos:  # the receiver comes first whatever the schema's order
                pos.remove("self")
                pos.insert(0, "self")
            numbers = {rename(a.name) for a in args if str(a.type) in ("number", "int", "float", "bool")}
            out.append(Signature(pos, False, key, numbers))
    try:
        private = fn in OVERRIDABLE
    except TypeError:
        private = False
    if private and not out:
        sig = from_python(OVERRIDABLE[fn])
        if sig:
            out.append(sig)
    return out


def fitting(sigs, args, kws):
    """The signature that a call with such arguments and keywords uses."""
    def takes(s):
        return s.variadic or len(s.positional) >= len(args) and not any(
            isinstance(a, Tensor) and a.dim() > 0 and p in s.numbers for p, a in zip(s.positional, args))

    for s in sigs:
        if takes(s) and all(k in s.names() for k in kws):
            return s
    for s in sigs:
        if takes(s):
            return s
    return Signature([], False, list(kws))


# ------------------------------------------------------------------ measuring
class Template:
    def __init__(self, sigs, fn, args, kw, base):
        self.fn, self.args, self.kw = fn, args, kw
        self.leaves, self.spec = tree_flatten((list(args), dict(kw)))
        floating = base.is_floating_point
        # The operands whose dtype is varied: the tensors of the sample's own dtype family.
        self.pos = [i for i, x in enumerate(self.leaves) if isinstance(x, Tensor) and (x.is_floating_point() if floating else x.dtype == base)]
        self.signature = fitting(sigs, args, kw)
        self.names, self.listed, k = {}, set(), 0
        for i, a in enumerate(args):
            name = self.signature.place(i, len(args))
            if isinstance(a, (list, tuple)):
                self.listed.add(name)
            for _ in tree_flatten(a)[0]:
                self.names[k] = name
                k += 1
        for key in kw:
            if isinstance(kw[key], (list, tuple)):
                self.listed.add(key)
            for _ in tree_flatten(kw[key])[0]:
                self.names[k] = key
                k += 1

    def call(self, dts, repl=None, conv=None, extra=None, ctx=None):
        """Calls the op with operand i as dtype dts[i]; repl replaces leaves."""
        lv = list(self.leaves)
        for i, x in enumerate(lv):
            if repl and i in repl:
                lv[i] = repl[i]
            elif i in dts:
                lv[i] = (x.detach() if x.numel() else x).to(ALL[dts[i]]).clone()
                if x.is_floating_point() and dts[i] in INTEGERS:  # a fraction became 0, by which not everything can be divided
                    lv[i][lv[i] == 0] = 1
            elif isinstance(x, Tensor):
                lv[i] = x.clone()
            if conv and isinstance(lv[i], Tensor):
                lv[i] = conv(lv[i])
        a, k = tree_unflatten(lv, self.spec)
        if extra:
            k = dict(k, **extra)
        if ctx is None:
            try:
                return self.fn(*a, **k)
            except (RuntimeError, ValueError, TypeError, OverflowError) as e:
                plain = [1.0 if type(x) is float else x for x in lv]
                if not UNFIT.search(str(e)) or all(x is y for x, y in zip(plain, lv)):
                    raise
            a, k = tree_unflatten([x.clone() if isinstance(x, Tensor) else x for x in plain], self.spec)
            return self.fn(*a, **dict(k, **(extra or {})))
        with MODE, ctx:
            return self.fn(*a, **k)


def classify(tab, same):
    """The class of an operand from its outcomes over (others', its) dtypes."""
    t = [(k, v) for k, v in tab.items() if not bad(same.get(k[0])) and not bad(same.get(k[1]))]
    if not t:
        return None
    if all(v.startswith("E:") for _, v in t):
        return "R"
    if all(v == same[a] == same[b] for (a, b), v in t):
        return "C"
    if all(v == same.get(PROM[a, b]) for (a, b), v in t):
        return "P"
    if all(v == same[a] for (a, b), v in t):
        return "I"
    if all(v == same[b] for (a, b), v in t):
        return "F"
    return "M"


MODE = FakeTensorMode()


def fake(t):
    """A tensor without data that dispatches as one on a CUDA device, so that
    the real autocast policies run on a machine that has none."""
    return FakeTensor(MODE, torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device="meta"), torch.device("cuda:0"))


class CUDAAutocast:
    """torch.autocast("cuda") refuses on a CPU build: sets the state itself."""

    def __enter__(self):
        torch.set_autocast_enabled(True)
        torch.set_autocast_gpu_dtype(torch.bfloat16)

    def __exit__(self, *a):
        torch.set_autocast_enabled(False)
        torch.clear_autocast_cache()


NOTHING, CUDA = contextlib.nullcontext(), CUDAAutocast()


def policy(plain, cast, mixed):
    """The autocast policy from outcomes without and with autocast(bf16):
    plain and cast by dtype, mixed pairs of them for mixed operands."""
    if any(v and "unsafe to autocast" in messages[int(v.split("#")[1])] for v in cast.values() if v and "#" in v):
        return "b"
    qf, qb, pf, pb = cast.get("f32"), cast.get("bf16"), plain.get("f32"), plain.get("bf16")
    if bad(qf) or bad(qb):
        return "-"
    if qf == pf and qb == pb:
        return "w" if any(p != c and not bad(c) for p, c in mixed) else "-"
    if "bf16" in qf.split("|") and qb == qf:
        return "l"
    if qf == pf and ("f32" in qb.split("|") or bad(pb) and qb == qf):  # the second of a result without floats
        return "f"
    return "-"


def shape(r):
    """The rank of a result: of its first tensor."""
    if isinstance(r, Tensor):
        return str(r.dim())
    if isinstance(r, (list, tuple)) and r and isinstance(r[0], Tensor):
        return str(r[0].dim())
    return "-"


# The result's rank depends on an argument's value or on the operands' shapes.
SHAPED = set("""reshape reshape_as view view_as view_copy expand expand_as expand_copy broadcast_to squeeze squeeze_ squeeze_copy
    unsqueeze unsqueeze_ unsqueeze_copy select select_copy __getitem__ sum_to_size repeat tile unflatten flatten ravel take index matmul
    __matmul__ __rmatmul__ tensordot einsum dot inner as_strided as_strided_ as_strided_copy movedim unbind to where_""".split())


def rank(n, sigs, tm):
    """z: 0-dim from dim >= 1 operands unless dim= or reduction= is given;
    e: the broadcast rank of the operands; 1: always dim >= 1; ?: anything else."""
    if n in SHAPED:
        return "z" if n == "dot" else "?"
    seen = set()
    for t in tm:
        at = [i for i, x in enumerate(t.leaves) if isinstance(x, Tensor)]
        wide = max([t.leaves[i].dim() for i in at], default=0)
        if wide == 0:
            continue
        got = run(lambda: t.call({}), shape)
        if not got.isdigit():
            return "?"
        got = int(got)
        if any(x is True for x in t.args):
            continue  # keepdim, or something else that says nothing of the plain call
        ints = [x for x in t.args if isinstance(x, (int, tuple)) and not isinstance(x, bool)]
        dims = any(k in ("dim", "axis", "dims") for s in sigs for k in s.names())
        given = bool(ints) and dims or any(k in ("dim", "axis", "dims", "keepdim", "reduction") for k in t.kw)
        sequence = any(isinstance(x, (list, tuple)) and tensors(x) for x in t.args)
        if sequence:
            seen.add("n")
        elif got == wide:
            if not t.kw.get("keepdim") and t.kw.get("reduction") != "none":
                seen.add("e")
        elif given:
            seen.add("d" if got < wide else "n")
        else:
            seen.add("z" if got == 0 else "d" if got < wide else "n")
        if got == 0 and not given and not sequence:  # a batch of it shows what reduces the last dimensions only (det)
            r = run(lambda: t.call({}, {i: torch.stack([t.leaves[i]] * 2) for i in at}), shape)
            if r.isdigit() and r != "0":
                seen.add("n")
        # One element and no dimension tell squeezing and dim >= 1 ops from elementwise ones.
        if len(at) == len([x for x in t.leaves if x is not None]) and "z" not in seen:
            for s in ((1,), (1, 1), ()):
                r = run(lambda: t.call({}, {i: torch.ones(s, dtype=t.leaves[i].dtype) for i in at}), shape)
                if not r.isdigit():
                    seen.update("x" if s == () else "")
                elif s and r == "0":
                    seen.add("q")
                elif not s and r != "0":
                    seen.add("1")
    if seen and seen <= {"z", "d"} and "z" in seen:
        return "z"
    if seen == {"e"} or seen == {"e", "x"}:
        return "e"
    if seen and seen <= {"e", "1", "x", "n"} and seen & {"1", "x"}:
        return "1"
    return "?"


# What no two runs agree on: arguments made from the schema crash the
# interpreter in some runs, and slice_copy's defaults are uninitialised in 1.13.
UNSTABLE = {"torch.lstm_cell", "torch.gru_cell", "torch.native_group_norm", "torch.slice_copy"}


def measure(ns, n, kind):
    if ns + "." + n in UNSTABLE:
        return None
    fn = getattr(SPACES[ns], n)
    sigs = signatures(ns, n, fn)
    made = ONLY.get(n) or EXTRA.get(ns + "." + n, []) + opinfo_templates(opinfos(ns, n, kind), fn)
    if not made:
        b = n.strip("_") if n.startswith("__") else n
        made = schema_templates(b, fn) or (schema_templates(b[:-1], fn) if b.endswith("_") else [])
    if not made:
        made = generic_templates(fn)
    if not made:
        return None
    tm = [Template(sigs, fn, *t) for t in made]
    same, dimsame, vary, operands, listed = {}, {}, False, {}, set()
    plain, cast, pairs, cpu_plain, cpu_cast, cpu_pairs = {}, {}, [], {}, {}, []
    takes, habits = False, set()
    for t in tm:
        if "dtype" in t.kw and same:
            continue
        listed |= t.listed
        alike = {d: run(lambda: t.call({i: d for i in t.pos})) for d in ALL}
        given = any(k in ("dim", "axis") for k in t.kw) or (len(t.args) > 1 and isinstance(t.args[1], int) and t.signature.place(1, 2) in ("dim", "axis"))
        if not same:
            same = dict(alike)
            if given:
                dimsame = dict(alike)
        elif given:
            dimsame = dimsame or dict(alike)
        for d in DT:
            if not bad(alike[d]) and not bad(same[d]) and alike[d] != same[d] and not given:
                vary = True
        if not given:  # a call that this template's operands allow is implemented; a result that cannot be written back is no missing kernel
            for d in ALL:
                if bad(same[d]) and "can't be cast" not in text(same[d]) and not bad(alike[d]) and not dimsame:
                    same[d] = alike[d]
        f = {}
        for d in ("f32", "bf16", "f16", "f64"):
            f[d] = run(lambda: t.call({i: d for i in t.pos}, conv=fake, ctx=NOTHING))
            plain.setdefault(d, f[d])
            cast.setdefault(d, run(lambda: t.call({i: d for i in t.pos}, conv=fake, ctx=CUDA)))
            cpu_plain.setdefault(d, alike[d])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                cpu_cast.setdefault(d, run(lambda: t.call({i: d for i in t.pos})))
        zero = [i for i in t.pos if t.leaves[i].dim() == 0]
        for i in t.pos[:5]:
            name = t.names[i]
            o = operands.setdefault(name, {"class": [], "zero": [], "msg": [], "scalar": set(), "pairs": []})
            if len(t.pos) < 2:
                continue
            m = {}
            for a, b in PAIRS:
                if not (bad(alike[a]) and bad(alike[b])):
                    m[a, b] = run(lambda: t.call({j: (b if j == i else a) for j in t.pos}))
            c = classify(m, alike)
            if c and not zero:
                o["class"].append(c)
                o["pairs"].append([m.get(p, "E:") for p in PAIRS])
                if c in "RM":
                    o["msg"] += [int(v.split("#")[1]) for (a, b), v in m.items()
                                 if v.startswith("E:mix") and not bad(alike[a]) and not bad(alike[b])]
            elif c and zero == [i]:
                o["zero"].append(c)
            for a, b in (("f32", "bf16"), ("bf16", "f32")):
                pairs.append((run(lambda: t.call({j: (b if j == i else a) for j in t.pos}, conv=fake, ctx=NOTHING)),
                              run(lambda: t.call({j: (b if j == i else a) for j in t.pos}, conv=fake, ctx=CUDA))))
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    cpu_pairs.append((m.get((a, b)), run(lambda: t.call({j: (b if j == i else a) for j in t.pos}))))
            if not zero:
                habits |= integers(lambda dts: run(lambda: t.call(dts)), t, i, kind)
            # A 0-dim tensor and a Python number in this position.
            x = t.leaves[i]
            if x.dim() >= 1 and not zero and (i != 0 or kind in ("function", "method", "dunder")):
                z, v0 = {}, x.reshape(-1)[0].detach()
                for a in FL:
                    if bad(run(lambda: t.call({j: a for j in t.pos if j != i}, {i: v0.to(DT[a]).clone()}))):
                        continue
                    for b in FL:
                        if a != b:
                            z[a, b] = run(lambda: t.call({j: a for j in t.pos if j != i}, {i: v0.to(DT[b]).clone()}))
                c = classify(z, alike)
                if c:
                    o["zero"].append(c)
                for v, vn in ((1.5, "f"), (2, "i"), (True, "b")):
                    r = run(lambda: t.call({j: "bf16" for j in t.pos if j != i}, {i: v}))
                    if not bad(r) and r != "P:NotImplementedType":
                        o["scalar"].add(vn)
        if not takes and "dtype" not in t.kw and kind != "dunder":
            takes = any(not bad(run(lambda: t.call({i: "f32" for i in t.pos}, extra={"dtype": DT[d]}))) for d in ("f64", "bf16"))
    chosen = choose(sigs, tm, operands)
    out = []
    for name, o in operands.items():
        c = "".join(sorted(set(o["class"])))
        z = "".join(sorted(set(o["zero"])))
        # The calls disagree: the dtypes alone do not decide.
        if c == "M" and all(p == o["pairs"][0] for p in o["pairs"]):  # by the pair of dtypes alone
            o["scalar"].add("=" + ",".join("!" if v.startswith("E:") else v for v in o["pairs"][0]))
        c, z = (x if len(x) == 1 else "M" if x else "-" for x in (c, z))
        msg = sorted(set(o["msg"]), key=lambda m: (-o["msg"].count(m), m))  # the most frequent first
        index = chosen.positional.index(name) if name in chosen.positional else -1
        if index < 0:
            for s in sigs:
                if name in s.positional:
                    index = s.positional.index(name)
                    break
        shape_ = ("*" if name in listed else "") + ("+" if chosen.variadic and name == chosen.positional[-1] else "")
        out.append((index, name, c, z, msg, shape_, "".join(sorted(o["scalar"]))))
    out.sort(key=lambda x: (x[0] < 0, x[0], x[1]))
    cuda = policy(plain, cast, pairs)
    if cuda == "f" and takes:
        cuda = "s"
    r = rank(n, sigs, tm)
    dim = -1
    for s in sigs:
        for k in ("dim", "axis"):
            if k in s.positional and dim < 0:
                dim = s.positional.index(k)
    return {"name": ns + "." + n, "kind": kind[0], "params": chosen.positional, "keyword": chosen.keyword, "operands": out, "same": same,
            "dimsame": dimsame if dimsame != same else {}, "vary": vary, "takes": takes, "habits": "".join(sorted(habits)), "cuda": cuda,
            "cpu": policy(cpu_plain, cpu_cast, cpu_pairs), "rank": r, "dim": dim}


def integers(call, t, i, kind):
    """What an op does about integers and booleans beside float32: b refuses
    bool, i takes them as the default dtype, w writes no float into an integer
    receiver."""
    others = {j: "f32" for j in t.pos if j != i}
    got = {d: call({**others, i: d}) for d in ("b8", "i64")}
    found = set()
    if bad(got["b8"]) and not bad(got["i64"]):
        found.add("b")
    if call({**{j: "bf16" for j in others}, i: "i64"}) == "f32" and call({j: "bf16" for j in t.pos}) == "bf16":
        found.add("i")
    if i == 0 and kind in ("inplace", "dunder") and "can't be cast" in text(got["i64"]):
        found.add("w")
    return found


def choose(sigs, tm, operands):
    """The signature that the table shows: the one with most of the measured
    operands, then the longest."""
    if not sigs:
        return tm[0].signature
    return max(sigs, key=lambda s: (sum(k in s.names() for k in operands), len(s.positional), len(s.keyword)))
