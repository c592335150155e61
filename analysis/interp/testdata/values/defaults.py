# The default dtype, set by statements of the module.
import torch

a = torch.ones(3)  # is default
f = 0.5


def make(n):
    return torch.zeros(n)


b = make(2)  # is default
torch.set_default_dtype(torch.float64)
c = torch.ones(3)  # is float64
d = torch.arange(3) * f  # is float64
e = make(2)  # is float64
g = a * 2.0  # is default
torch.set_default_tensor_type(torch.FloatTensor)
h = torch.ones(3)  # is float32
i = torch.ones(3, dtype=torch.int64) / 2  # is float32
