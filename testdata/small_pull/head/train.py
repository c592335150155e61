"""Trains the classifier in bfloat16 on made-up sequences.

    python train.py --steps 100
"""

import argparse

import torch
import torch.nn.functional as F

from model import Classifier


def batches(steps: int, size: int = 8, length: int = 12):
    """Sequences whose class is their first token modulo 4."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        tokens = torch.randint(0, 100, (size, length), generator=generator)
        lengths = torch.randint(2, length + 1, (size, 1), generator=generator)
        mask = torch.arange(length).unsqueeze(0) < lengths
        yield tokens, mask, tokens[:, 0] % 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()

    model = Classifier().to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step, (tokens, mask, classes) in enumerate(batches(args.steps)):
        logits = model(tokens, mask)
        loss = F.cross_entropy(logits.float(), classes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
