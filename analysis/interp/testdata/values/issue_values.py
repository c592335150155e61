# Where tensors and dtypes come from, as values that are passed about.
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))
        self.fc = nn.Linear(4, 4)
        self.plain = torch.ones(4)
        self.register_buffer("mask", torch.ones(4))
        self.register_buffer("ids", torch.arange(4))

    def forward(self, x):
        a = self.weight * 2  # is of:self.weight
        b = self.mask * 2  # is of:self.mask
        c = self.plain * 2  # is default
        d = self.ids  # is int64
        e = self.fc(x)  # is of:self.fc
        return e


net = Net()
held = net.weight  # is default
out = net(torch.ones(1, 4))  # is default
first = next(net.parameters()).dtype  # is dtype:default
standard = torch.get_default_dtype()  # is dtype:default


def make(x, cfg, dtype=None):
    a = torch.zeros(4, dtype=cfg.dtype)  # is of:cfg
    dt = x.dtype
    b = torch.ones(4, dtype=dt)  # is of:x
    chosen = dtype if dtype is not None else x.dtype
    c = torch.ones(4, dtype=torch.float64 if dt == torch.float16 else torch.float32)  # is float32|float64
    if x.dtype == torch.bfloat16:
        d = x * 2  # is bfloat16
    if x.is_floating_point():
        e = x + 1
    return b


half = torch.ones(4, dtype=torch.float16)
same = make(half, held)  # is float16
other = make(half.bfloat16(), held)  # is bfloat16
table = {"half": torch.float16, "wide": torch.float64}
picked = table["wide"]  # is dtype:float64
cast = half.to(picked)  # is float64
pair = (half, half.double())
left, right = pair
l = left  # is float16
r = right  # is float64
head, *tail = [half, half.float(), half.double()]
t = tail[1]  # is float64
squares = [p.double() for p in pair]
s = squares[0]  # is float64
if (w := half.float()).numel():
    u = w  # is float32


def star(*args, **kwargs):
    a = args[0]
    return kwargs["scale"] * a


starred = star(half, scale=half.double())  # is float64
inner = (lambda v: v.double())(half)  # is float64
i = half[0]  # is float16
sl = half[1:]  # is float16
li = half[[0, 1]]  # is float16
ma = half[half > 0]  # is float16
te = half[torch.tensor([0, 1])]  # is float16
tu = half[None, ..., 0]  # is float16
mixed = torch.ones(3)
mixed[0] = half[0]
mixed[1:] = half[:2]
after = mixed  # is default
try:
    v = half.double()
finally:
    z = half.float()  # is float32
y = v  # is float64
