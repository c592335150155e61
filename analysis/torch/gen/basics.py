"""The promotion of two operands, measured: torch.promote_types over all
dtypes and torch.result_type over tensors, 0-dim tensors and Python numbers."""
import torch

import ops


def lines():
    codes = dict(ops.ALL, c32=torch.complex32)
    order = list(codes)
    out = ["[promote_types]"]
    for a in order:
        out.append(a + " " + ",".join(ops.CODE[torch.promote_types(codes[a], codes[b])] for b in order))
    out.append("[result_type]")
    make = {"d": lambda c: torch.ones(2).to(codes[c]), "z": lambda c: torch.ones(()).to(codes[c])}
    scalars = {"s:f": 1.5, "s:i": 2, "s:b": True}
    for ka in make:
        for a in ops.DT:
            cells = ["%s:%s=%s" % (kb, b, ops.CODE[torch.result_type(make[ka](a), make[kb](b))]) for kb in make for b in ops.DT]
            cells += ["%s=%s" % (k, ops.CODE[torch.result_type(make[ka](a), v)]) for k, v in scalars.items()]
            out.append("%s:%s %s" % (ka, a, " ".join(cells)))
    return out
