# Calls in the file: summaries, recursion, annotations, partial, transforms.
import functools
from functools import partial

import torch
from torch import Tensor, nn

half = torch.ones(4, dtype=torch.float16)


def both(x, y):
    return x * y, x


p, q = both(half, half.double())
a = p  # is float64
b = q  # is float16


def fall(x, n):
    if n == 0:
        return x
    return fall(x, n - 1)


def annotated(f: "Float32[Tensor, 'n']", d: torch.DoubleTensor, n: Tensor):
    c = f * 2  # is float32
    e = d * 2  # is float64
    g = n * 2  # is of:n
    return c


n = annotated(half.float(), half.double(), half)  # is float32
zeros16 = partial(torch.zeros, dtype=torch.float16)
h = zeros16(4)  # is float16
i = zeros16(4, dtype=torch.float64)  # is float64
layer = functools.partial(nn.Linear, 4, 4, dtype=torch.float64)
j = layer()(half.double())  # is float64


def scale(x, by, dt=torch.float32):
    return (x * by).to(dt)


wide = partial(scale, dt=torch.float64)
k = wide(half, 2)  # is float64
l = partial(scale, half)(2.0)  # is float32
made = {name: torch.zeros(2, dtype=dt) for name, dt in (("a", torch.float16), ("b", torch.float64))}
m = made["b"]  # is float16|float64
