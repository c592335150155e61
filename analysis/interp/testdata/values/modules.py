# Lists of modules, modules of which one is chosen, autograd functions.
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)


class Net(nn.Module):
    scale = 2

    def __init__(self, deep=False):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.more = nn.ModuleList()
        for _ in range(2):
            self.more.append(nn.Linear(4, 4))
        self.act = nn.GELU() if deep else nn.Tanh()

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)  # is of:self.layers
        for layer in self.more:
            m = layer(y)  # is of:self.more
        for block in self.blocks:
            z = block(m)  # is of:self.fc
        a = self.act(x)  # is of:x
        return y


net = Net().double()
out = net(torch.ones(2, 4, dtype=torch.float64))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        return x ** power

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 2 * x, None


s = Square.apply(torch.ones(3, dtype=torch.bfloat16), 2)  # is bfloat16
n = Net.scale  # is #int64
