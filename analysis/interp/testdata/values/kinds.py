# What may be of two kinds, and tests of the kind.
import math
from math import pi

import numpy as np
import torch

x = torch.ones(4, dtype=torch.bfloat16)
n = x.sum().item()  # is #default
big = n > 3
w = 1.0
if big:
    w = torch.ones(4, dtype=torch.float64)
y = x * w  # is bfloat16|float64
z = y.float()  # is float32
i = math.floor(2.5)  # is #int64
r = 2 * pi  # is #default
top = torch.finfo(x.dtype).max  # is #default
bits = torch.finfo(x.dtype).bits  # is #int64
m = x.masked_fill(x > 0, -torch.finfo(x.dtype).max)  # is bfloat16


def scaled(points, s):
    if isinstance(s, torch.Tensor):
        t = s + points  # is of:points|promote(of:points,of:s)|of:s
    if isinstance(s, int):
        u = s + 1  # is #int64
    if isinstance(s, (list, tuple)):
        v = len(s)
    q = torch.full((3,), s)  # is bool|int64|default
    return points * s


v = scaled(x, 2)  # is bfloat16


def from_array(values):
    if isinstance(values, int):
        values = np.arange(values)
    t = torch.from_numpy(values)  # is of:values|int64
    return t


if isinstance(x, torch.Tensor):
    p = x  # is bfloat16
else:
    p = x.double()
