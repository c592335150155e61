# Dictionaries from strings to dtypes and tensors, and what is in **kwargs.
import torch

DTYPES = {"bf16": torch.bfloat16, "double": torch.float64}
name = str(torch.ones(1))
one = DTYPES["double"]  # is dtype:float64
any = DTYPES["bf16" if len(name) > 3 else "double"]  # is dtype:bfloat16|float64
x = torch.ones(4, dtype=any)  # is bfloat16|float64
got = DTYPES.get("double")  # is dtype:float64
other = DTYPES.get("half", torch.float64)  # is dtype:float64
made = dict(points=torch.ones(2), ids=torch.arange(2))
points = made["points"]  # is default
merged = {**made, "ids": torch.ones(2, dtype=torch.int32)}
ids = merged["ids"]  # is int32
for key, value in made.items():
    item = value  # is int64|default
doubled = {key: value.double() for key, value in made.items()}
both = doubled["points"]  # is float64


def f(x, **options):
    dt = options.get("dtype")
    mask = options["mask"]
    a = mask * 2.0  # is of:options["mask"]
    b = options["mask"].to(x.dtype)  # is of:x
    return b


c = f(x.float(), mask=torch.ones(4))  # is float32
