# Modules: casts of the module and of parents, containers, engines, loads.
import torch
from torch import nn

x = torch.ones(1, 4)


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.table = torch.ones(4)

    def forward(self, x):
        return self.fc(x)


class Outer(Inner):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.scale = nn.ParameterDict({"s": nn.Parameter(torch.ones(4))})

    def forward(self, x):
        for name, head in self.heads.items():
            y = head(x)  # is of:self.heads
        for head in self.heads.values():
            z = head(x)  # is of:self.heads
        w = self.heads["a"](x)  # is of:self.heads
        return self.inner(x)


a = Outer()(x)  # is default
b = Outer().double()(x.double())  # is float64
c = Outer().to(torch.float64).inner(x.double())  # is float64
net = Inner()
net.bfloat16()
d = net(x.bfloat16())  # is bfloat16
e = net.table  # is default
net.float()
f = net(x)  # is default
seq = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
seq.double()
g = seq(x.double())  # is float64
h = seq[0](x.double())  # is float64
heads = nn.ModuleDict({"one": nn.Linear(4, 4)})
i = heads["one"](x)  # is default
heads.double()
j = heads["one"](x.double())  # is float64
k = nn.Linear(4, 4, dtype=torch.float64)(x.double())  # is float64


def train(accelerator, fabric, deepspeed, quantize, model, optimizer, loader, state):
    own = nn.Linear(4, 4)
    before = own(x)  # is default
    own, opt = accelerator.prepare(own, optimizer)
    after = own(x)  # is of:after
    two = nn.Linear(4, 4)
    two, opt, loader = fabric.setup(two, optimizer, loader)
    second = two(x)  # is of:second
    three, opt, _, _ = deepspeed.initialize(model=model, optimizer=optimizer)
    third = three(x)  # is of:third
    four = quantize(nn.Linear(4, 4))
    fourth = four(x)  # is of:fourth
    five = nn.Linear(4, 4)
    five.load_state_dict(state)
    fifth = five.weight  # is default
    return after


class Engine:
    def prepare(self, *args):
        return args

    setup = prepare

    def initialize(self, **kwargs):
        return kwargs["model"], kwargs["optimizer"], None, None


train(Engine(), Engine(), Engine(), lambda m: m, nn.Linear(4, 4), None, None, nn.Linear(4, 4).state_dict())
