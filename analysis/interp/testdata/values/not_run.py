# not run: transforms need torchvision, assign= PyTorch 2.1, autocast of CUDA a GPU
import numpy as np
import torch
from torch import nn


def from_disk(picture):
    from torchvision import transforms

    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5), transforms.ConvertImageDtype(torch.float16)])
    one = transforms.ToTensor()(np.zeros((4, 4, 3), dtype=np.uint8))  # is default
    two = steps(np.zeros((4, 4, 3), dtype=np.uint8))  # is float16
    three = transforms.ToTensor()(np.zeros((4, 4, 3)))  # is float64
    four = transforms.PILToTensor()(picture)  # is of:four
    return four


def loads(state):
    fc = nn.Linear(4, 4)
    fc.load_state_dict(state, assign=True)
    w = fc.weight  # is unknown
    return w


def on_cuda():
    with torch.autocast("cuda", dtype=torch.float16):
        y = torch.ones(2, 2) @ torch.ones(2, 2)  # is float16
        z = torch.softmax(y, -1)  # is float32
        with torch.autocast("cuda", enabled=False):
            w = torch.ones(2, 2) @ torch.ones(2, 2)  # is default
    return y, z
