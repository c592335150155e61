import torch
from torch import nn

x = torch.ones(4)  # is default
y = x.bfloat16()  # is bfloat16
n = x.shape[0]  # is #int64
z = x.double() if n > 3 else y  # is bfloat16|float64
d = y.dtype  # is dtype:bfloat16


def f(points):
    a = points * 2.0  # is of:points
    return a


w = f(y)  # is bfloat16
