# What meets a certain dtype in a product is that dtype, and no definition's.
import torch
import torch.nn.functional as F


def f(x, p, basis):
    r = p.float()
    y = F.linear(x, r)  # is unknown
    q, _ = torch.linalg.qr(basis.float())
    z = y @ q  # is float32
    s = torch.linalg.solve(torch.eye(4), torch.eye(4))  # is default
    t, info = torch.linalg.solve_ex(torch.eye(4), torch.eye(4))
    u = t  # is default
    w = x @ basis  # is of:x
    return z


g = f(torch.ones(2, 4), torch.ones(4, 4), torch.ones(4, 4))  # is default
