"""What NumPy's functions do to dtypes, and np.result_type itself.

FUNCTIONS says how to call them: A and B are arrays of three elements, M and N
square matrices, I and J images, all of dtypes that are varied. A function without them
creates arrays."""
import inspect
import re
import warnings

import numpy as np

DT = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "b8": np.bool_, "u8": np.uint8, "i8": np.int8, "i16": np.int16,
      "i32": np.int32, "i64": np.int64, "c64": np.complex64, "c128": np.complex128}
CODE = {np.dtype(v): k for k, v in DT.items()}
FL = ["f16", "f32", "f64"]
FUNCTIONS = """
zeros 2; ones 2; empty 2; eye 2; identity 2; linspace 0,1,3; logspace 0,1,3; geomspace 1,2,3; tri 2; hanning 4; hamming 4; blackman 4; bartlett 4; kaiser 4,1.; loadtxt ['1 2']; genfromtxt ['1 2']
random.rand 2; random.randn 2; random.random 2; random.random_sample 2; random.ranf 2; random.uniform 0,1,2; random.normal 0,1,2; random.standard_normal 2; random.beta 1,1,2; random.gamma 1,1,2; random.exponential 1,2
random.lognormal 0,1,2; random.laplace 0,1,2; random.multivariate_normal [0,0],[[1,0],[0,1]]; random.dirichlet [1,1]; random.randint 0,2,2; random.poisson 1,2; random.binomial 1,.5,2; random.permutation A; random.choice A,2; random.triangular 0,.5,1,2
fft.fftfreq 4; fft.rfftfreq 4; indices (2,2); tril_indices 2; triu_indices 2; diag_indices 2; unravel_index 1,(2,2)
zeros_like A; ones_like A; empty_like A; full_like A,1.5; copy A; reshape A,(3,1); ravel A; transpose M; squeeze A; expand_dims A,0; flip A; fliplr M; flipud M; rot90 M; roll A,1; repeat A,2; tile A,2; broadcast_to A,(2,3)
pad A,1; moveaxis M,0,1; rollaxis M,1; swapaxes M,0,1; atleast_1d A; atleast_2d A; atleast_3d A; ascontiguousarray A; asfortranarray A; sort A; unique A; diag A; diagonal M; diagflat A; tril M; triu M; trace M; take A,[0]; squeeze A; partition A,1; resize A,(2,2)
delete A,0; abs A; absolute A; negative A; positive A; square A; sign A; floor A; ceil A; rint A; round A; around A; trunc A; fix A; conj A; conjugate A; real A; imag A; angle A; nan_to_num A; clip A,0,1; diff A; ediff1d A; gradient A; cumsum A; cumprod A; sum A; prod A; max A; min A; amax A; amin A; ptp A; nanmax A; nanmin A; nansum A
mean A; std A; var A; median A; average A; percentile A,50; quantile A,.5; nanmean A; nanstd A; nanvar A; nanmedian A; nanpercentile A,50; corrcoef A; cov A; histogram A
sqrt A; cbrt A; exp A; exp2 A; expm1 A; log A; log2 A; log10 A; log1p A; sin A; cos A; tan A; arcsin A; arccos A; arctan A; sinh A; cosh A; tanh A; arcsinh A; arccosh A; arctanh A; deg2rad A; rad2deg A; radians A; degrees A; reciprocal A; sinc A; i0 A
fft.fft A; fft.ifft A; fft.rfft A; fft.irfft A; fft.fft2 M; fft.ifft2 M; fft.fftn M; fft.fftshift A; fft.ifftshift A
argmax A; argmin A; argsort A; nonzero A; count_nonzero A; searchsorted A,A; digitize A,A; bincount np.array([1,2]); isnan A; isinf A; isfinite A; any A; all A; logical_not A; iscomplexobj A; where A>0; argwhere A; flatnonzero A
linalg.inv M; linalg.pinv M; linalg.det M; linalg.norm A; linalg.svd M; linalg.qr M; linalg.eigh M; linalg.eigvalsh M; linalg.eig M; linalg.cholesky M; linalg.matrix_rank M; linalg.matrix_power M,2; linalg.cond M; linalg.slogdet M
add A,B; subtract A,B; multiply A,B; divide A,B; true_divide A,B; floor_divide A,B; remainder A,B; mod A,B; fmod A,B; power A,B; float_power A,B; arctan2 A,B; hypot A,B; maximum A,B; minimum A,B; fmax A,B; fmin A,B; logaddexp A,B; copysign A,B; nextafter A,B
equal A,B; not_equal A,B; less A,B; less_equal A,B; greater A,B; greater_equal A,B; isclose A,B; allclose A,B; array_equal A,B; logical_and A,B; logical_or A,B; logical_xor A,B
concatenate [A,B]; stack [A,B]; vstack [A,B]; hstack [A,B]; dstack [A,B]; column_stack [A,B]; row_stack [A,B]; block [A,B]; append A,B; insert A,0,B; where A>0,A,B; select [A>0],[A],B; choose np.array([0,0,0]),[A,B]; meshgrid A,B; broadcast_arrays A,B
dot A,B; matmul M,N; inner A,B; outer A,B; vdot A,B; cross A,B; kron A,B; tensordot A,B,1; einsum 'i,i->i',A,B; convolve A,B; correlate A,B; interp A,A,B; linalg.solve M,N; linalg.lstsq M,N; linalg.multi_dot [M,N]; polyfit A,B,1; polyval A,B; union1d A,B; intersect1d A,B; setdiff1d A,B; isin A,B; in1d A,B; trapz A,B
"""
METHODS = """reshape(3,1) ravel() flatten() copy() transpose() squeeze() repeat(2) take([0]) clip(0,1) round() sum() prod() cumsum() cumprod() max() min() ptp()
mean() std() var() argmax() argmin() argsort() any() all() nonzero() dot(B) conj() diagonal swapaxes(0,0) searchsorted(A) tolist()"""
GENERATOR = "random(2) standard_normal(2) normal(0,1,2) uniform(0,1,2) standard_exponential(2) integers(0,2,2) choice(A,2) permutation(A) permuted(A)"
# Functions whose result follows the data, a Python number V or an array of them.
DATA = "array [V]; asarray [V]; asanyarray [V]; full 2,V; arange V"
SCALARS = "float16 float32 float64 half single double float_ int8 int16 int32 int64 int_ uint8 bool_ complex64 complex128"
# Signatures that their documentation does not tell.
PARAMS = {"numpy.concatenate": ["arrays", "axis", "out"], "numpy.arange": ["start", "stop", "step", "dtype"],
          "numpy.atleast_1d": ["arrays"], "numpy.atleast_2d": ["arrays"], "numpy.atleast_3d": ["arrays"]}


def sig(r):
    if isinstance(r, (np.ndarray, np.generic)):
        return CODE.get(r.dtype, "?")
    if isinstance(r, (tuple, list)) and len(r) and all(isinstance(x, (np.ndarray, np.generic)) for x in r):
        return "|".join(CODE.get(x.dtype, "?") for x in list(r)[:4])
    return "o"


def call(expr, a, b):
    vector, matrix = np.array([1, 2, 3]), np.array([[2, 1], [1, 2]])
    env = {"np": np, "A": vector.astype(DT[a]), "B": vector.astype(DT[b]), "M": matrix.astype(DT[a]), "N": matrix.astype(DT[b])}
    try:
        return sig(eval(expr, env))
    except Exception:  # noqa: BLE001, what a function refuses is the measurement
        return "?"


def params(f):
    try:
        ps = [p.name for p in inspect.signature(f).parameters.values() if p.kind in (0, 1)]
        if ps:
            return ps
    except (TypeError, ValueError):
        pass
    m = re.match(r"\s*\w+\(([^)]*)\)", (f.__doc__ or ""))
    if not m:
        return []
    out = []
    for p in m.group(1).replace("[", "").replace("]", "").split(","):
        p = p.split("=")[0].strip()
        if p.startswith("*") or p in ("/", "...") or not p.isidentifier():
            if p == "/":
                continue
            break
        out.append(p)
    return out


def classify(expr, binary):
    """=CODE always that; k the first array's dtype for floats; p result_type
    of the arrays; u by the array's dtype, as listed; ? otherwise."""
    one = {d: call(expr, d, d) for d in DT}
    if not re.search(r"\b[AMBN]\b", expr):
        return "=" + one["f32"], one
    if len({v for v in one.values() if v != "?"}) == 1:
        return "=" + next(v for v in one.values() if v != "?"), one
    if binary:
        two = {(a, b): call(expr, a, b) for a in DT for b in DT}
        good = {k: v for k, v in two.items() if v != "?" and one[k[0]] != "?" and one[k[1]] != "?"}
        prom = lambda a, b: CODE[np.result_type(DT[a], DT[b])]  # noqa: E731
        if all(v == one.get(prom(a, b)) for (a, b), v in good.items()):
            return "p", one
        if all(v == one[a] for (a, b), v in good.items()):
            return "k" if all(one[d] in (d, "?") for d in FL) else "u", one
        if all(v == one.get(prom(a, b)) for (a, b), v in good.items() if a in FL and b in FL):
            return "f", one
        return "?", one
    return "k" if all(one[d] in (d, "?") for d in FL) else "u", one


def lines():
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    order = list(DT)
    out = ["[numpy_dtypes]", ",".join(order), "[numpy_result_type]"]
    for a in order:
        out.append(a + " " + ",".join(CODE.get(np.result_type(np.ones(2, DT[a]), np.ones(2, DT[b])), "?") for b in order))
    out.append("[numpy_scalar]")
    scalars = {"py:f": 1.5, "py:i": 2, "py:b": True, "f32": np.float32(1.5), "f64": np.float64(1.5), "i64": np.int64(2)}
    for a in order:
        out.append(a + " " + ",".join("%s=%s" % (k, CODE.get(np.result_type(np.ones(2, DT[a]), v), "?")) for k, v in scalars.items()))
    entries = [("numpy." + n, "np.%s(%s)" % (n, args), args, getattr_path(np, n)) for n, _, args in
               (e.partition(" ") for e in "; ".join(FUNCTIONS.strip().split("\n")).split("; "))]
    entries += [("numpy." + n, "np.%s(1)" % n, "1", getattr_path(np, n)) for n in SCALARS.split()]
    for e in METHODS.split():
        n, _, args = e.partition("(")
        receiver = "A" if args else "M"
        entries.append(("numpy.ndarray." + n, receiver + "." + n + "(" + (args or ")"), receiver + "," + args.rstrip(")"), getattr(np.ndarray, n, None)))
    for e in GENERATOR.split():
        n, _, args = e.partition("(")
        entries.append(("numpy.random.Generator." + n, "np.random.default_rng(0)." + e, "self," + args[:-1], getattr(np.random.Generator, n)))
    entries = [e for e in entries if e[3] is not None]  # NumPy 2 lacks some
    rows, seen = {}, []

    def row(name, *fields):
        line = " ".join(fields)
        if line not in rows:
            rows[line] = []
            seen.append(line)
        rows[line].append(name[6:])

    for name, expr, args, f in {e[0]: e for e in entries}.values():
        c, one = classify(expr, bool(re.search(r"\b[BN]\b", expr)))
        ps = PARAMS.get(name) or params(f)
        if ".ndarray." in name or ".Generator." in name:
            ps = ["self"] + [p for p in ps if p != "self"]
        takes = call(expr[:-1] + ("," if expr[-2] != "(" else "") + "dtype=np.float32)", "f64", "f64") == "f32" and c != "=f32"
        arrays = ["%d%s" % (i, "*" if a.startswith("[") else "") for i, a in enumerate(split(args)) if re.search(r"\b[AMBN]\b", a) and ">" not in a]
        row(name, c, "t" if takes else "-", ",".join(arrays) or "-", ",".join(one[d] for d in order), ",".join(ps) or "-")
    for e in DATA.split("; "):
        n, _, args = e.partition(" ")
        kinds = {k: sig(eval("np.%s(%s)" % (n, args), {"np": np, "V": v})) for k, v in (("b", True), ("i", 2), ("f", 1.5), ("c", 1j)) if n != "arange" or k != "c"}
        own = {d: sig(eval("np.%s(%s)" % (n, args), {"np": np, "V": np.ones((), DT[d])[()]})) if n != "arange" or d[0] != "c" and d != "b8" else "?" for d in order}
        place = [str(i) for i, a in enumerate(split(args)) if "V" in a]
        row("numpy." + n, "t" + ",".join("%s=%s" % kv for kv in kinds.items()), "t", ",".join(place), ",".join(own[d] for d in order),
            ",".join(PARAMS.get("numpy." + n) or params(getattr(np, n))) or "-")
    return out + ["[numpy]"] + [",".join(rows[r]) + " " + r for r in seen]


def split(args):
    """The top-level arguments."""
    depth, parts = 0, [""]
    for c in args:
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def getattr_path(root, path):
    for p in path.split("."):
        root = getattr(root, p, None)
    return root
