# Small helpers, lambdas and conditions in functions of their own.
import torch
from inspect import isfunction


def exists(val):
    """Whether there is one."""
    return val is not None


def missing(val):
    return not exists(val)


def default(val, d):
    if exists(val):
        return val
    return d() if isfunction(d) else d


x = torch.ones(4, dtype=torch.bfloat16)
a = default(None, lambda: torch.zeros_like(x))  # is bfloat16
b = default(x, 2)  # is bfloat16
c = default(None, 2)  # is #int64
d = default(None, torch.float64)  # is dtype:float64
double = lambda t: t.double()
e = double(x)  # is float64


def loss(points, noise=None, scale=None):
    noise = default(noise, lambda: torch.randn_like(points))
    scaled = default(scale, 1.0)
    if exists(scale):
        points = points * scale
    n = noise.float()  # is float32
    return points


f = loss(x)  # is bfloat16


def cast(points, other):
    return points.to(other.dtype) if other.is_floating_point() else points


g = cast(x, torch.ones(3, dtype=torch.float64))  # is float64
h = cast(x, torch.ones(3, dtype=torch.int64))  # is bfloat16
k = (lambda t, s=2: t * s)(x)  # is bfloat16


def made(points, dtype=None, **rest):
    dtype = dtype or points.dtype
    ones = torch.ones_like(points, dtype=dtype)
    if points.dtype in (torch.float16, torch.bfloat16):
        return ones
    return ones.double()


m = made(x, torch.float32, size=3)  # is float32
n = made(e)  # is float64
o = made(x)  # is bfloat16
