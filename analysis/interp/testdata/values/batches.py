# What makes a batch of samples.
import numpy as np
import torch
from torch.utils.data import default_collate

a = default_collate([0.5, 1.5])  # is float64
b = default_collate([1, 2])  # is int64
c = default_collate([np.ones(3), np.ones(3)])  # is float64
d = default_collate([np.ones(3, dtype=np.float32)] * 2)
e = default_collate([torch.ones(3).half(), torch.ones(3).half()])  # is float16
f = default_collate([True, False])  # is bool
