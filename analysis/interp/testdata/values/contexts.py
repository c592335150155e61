# Context managers that set the default dtype.
import contextlib
import torch


@contextlib.contextmanager
def set_default_torch_dtype(dtype):
    old = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(old)


a = torch.ones(3)  # is default
with set_default_torch_dtype(torch.float64):
    b = torch.ones(3)  # is float64
    c = torch.arange(2) * 0.5  # is float64
d = torch.ones(3)  # is default
