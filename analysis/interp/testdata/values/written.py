# Operations whose result follows what is written to, or what a mask or a size adds.
import torch

x = torch.ones(())
big = torch.ones((), dtype=torch.float64)
mask = torch.eye(4, dtype=torch.bool)
a = x.masked_fill(mask, big)  # is default
b = a + big  # is default
c = torch.zeros(4, 4, dtype=torch.float64).addcdiv_(torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.float64))  # is float64
d = torch.zeros(4, 4).addcmul_(torch.arange(4), torch.arange(4))  # is default
e = x.where(mask, x)
f = e + big  # is default
g = torch.normal(torch.tensor(0), torch.tensor(1, dtype=torch.float64), (4, 4))  # is default
h = torch.bernoulli(torch.ones(4, dtype=torch.int64), 0.5)  # is int64
i, kept = torch.native_dropout(torch.ones(4, dtype=torch.int32), 0.5, False)
j = i * 2  # is int32
k = kept | mask  # is bool
