"""Runs snippets of PyTorch code, one JSON object a line in and one out.

In:  {"source": text, "call": text, "dt": "bfloat16", "autocast": false, "names": [...]}
Out: {"raised": "RuntimeError", "message": text, "line": 3}                   or
     {"dtypes": [...], "digest": hex, "value": repr, "names": {"x": "float32"}}

The first line out says which PyTorch runs, or what is missing.
"""

import ast
import contextlib
import hashlib
import json
import os
import signal
import sys
import traceback
import warnings

# Snippets may print; only answers belong on the pipe.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(value):
    answers.write(json.dumps(value) + "\n")


try:
    import numpy as np
    import torch
except ImportError as err:
    answer({"missing": str(err)})
    sys.exit(0)

warnings.simplefilter("ignore")
torch.set_num_threads(1)
answer({"torch": torch.__version__})


def leaves(value):
    """The tensors and arrays of a result, in order; dicts by insertion."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)


def dtype_of(leaf):
    return str(leaf.dtype).replace("torch.", "")


def bits(leaf):
    """The bytes of a leaf; NumPy knows no bfloat16, so its bits are read as integers."""
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().cpu().contiguous()
        if leaf.dtype == torch.bfloat16:
            leaf = leaf.view(torch.int16)
        leaf = leaf.numpy()
    return np.ascontiguousarray(leaf).tobytes()


def evaluate(code, namespace):
    """Runs statements; the value of the last one if that is an expression."""
    tree = ast.parse(code)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "<call>", "exec"), namespace)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "<call>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<call>", "eval"), namespace)


def expired(*_):
    raise TimeoutError("the snippet ran for too long")


def run(snippet):
    namespace = {
        "__name__": "snippet",
        "torch": torch,
        "nn": torch.nn,
        "F": torch.nn.functional,
        "np": np,
        "DT": getattr(torch, snippet["dt"]),
    }
    mixed = contextlib.nullcontext()
    if snippet["autocast"]:
        mixed = torch.autocast("cpu", dtype=torch.bfloat16)
    torch.manual_seed(0)
    np.random.seed(0)
    try:
        exec(compile(snippet["source"], "<source>", "exec"), namespace)
        with mixed:
            value = evaluate(snippet["call"], namespace)
    except Exception as err:  # whatever a snippet raises is its answer
        frames = traceback.extract_tb(err.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == "<source>"]
        if isinstance(err, SyntaxError) and err.filename == "<source>":
            lines = [err.lineno]
        return {
            "raised": type(err).__name__,
            "message": str(err).split("\n")[0],
            "line": lines[-1] if lines else 0,
        }
    found = list(leaves(value))
    digest = hashlib.sha256()
    for leaf in found:
        digest.update(f"{dtype_of(leaf)}{tuple(leaf.shape)}".encode())
        digest.update(bits(leaf))
    names = {}
    for name in snippet["names"]:
        if name in namespace:
            of_name = [dtype_of(leaf) for leaf in leaves(namespace[name])]
            names[name] = of_name[0] if of_name else type(namespace[name]).__name__
    text = repr(value)
    if not found:
        digest.update(text.encode())
    return {
        "dtypes": [dtype_of(leaf) for leaf in found],
        "digest": digest.hexdigest(),
        "value": text if len(text) <= 1000 else text[:1000],
        "names": names,
    }


signal.signal(signal.SIGALRM, expired)
for line in sys.stdin:
    signal.alarm(20)
    try:
        result = run(json.loads(line))
    finally:
        signal.alarm(0)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    answer(result)
