# Autocast by with, decorator and flag; nesting; custom autograd Functions.
import torch
from torch import nn

x = torch.ones(2, 2)
fc = nn.Linear(2, 2)
with torch.autocast("cpu", dtype=torch.bfloat16):
    a = x @ x  # is bfloat16
    b = fc(x)  # is bfloat16
    c = x.float() + b  # is float32
    d = x.double() @ x.double()  # is float64
    with torch.autocast("cpu", enabled=False):
        e = x @ x  # is default
    f = x @ x  # is bfloat16
    g = nn.functional.linear(x, x)  # is bfloat16
on = True
with torch.autocast(device_type="cpu", enabled=on):
    h = x @ x  # is bfloat16
off = False
with torch.autocast("cpu", enabled=off):
    i = x @ x  # is default


@torch.autocast("cpu", dtype=torch.bfloat16)
def cast(x):
    y = x @ x  # is bfloat16
    return y


j = cast(x)  # is bfloat16


def flagged(x, amp):
    with torch.autocast("cpu", enabled=amp):
        y = x @ x  # is unknown
    return y


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        return x @ w

    @staticmethod
    def backward(ctx, g):
        return g, g


k = Product.apply(x, x)  # is default
held = torch.autocast("cpu")
with held:
    l = x @ x  # is bfloat16
