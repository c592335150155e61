# Annotations that say what a parameter is.
from __future__ import annotations

import torch
from torch import Tensor


def f(a: Float32[Tensor, "b n"], b: Float[torch.Tensor, "n"], c: torch.DoubleTensor, d: int | None, e: "Optional[Tensor]", g: list[Tensor], h: tuple[int, ...], i: dict[str, Tensor]):
    x = a * 2  # is float32
    y = b * 2  # is of:b
    z = c * 2  # is float64
    w = e * 2  # is of:e
    v = g[0] * 2  # is of:g
    u = h[0] * 2  # is #int64
    k = i["k"] * 2.0  # is of:i["k"]
    return x


one = torch.ones(3)
made = f(one, one, one.double(), 1, one, [one], (1, 2), {"k": one})  # is float32
