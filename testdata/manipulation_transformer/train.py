"""Trains the manipulation transformer in bfloat16.

    python train.py --root /data/dexycb --epochs 20
"""

import argparse
from typing import Dict

import torch
from torch.utils.data import DataLoader

from data.enhanced_dexycb import Augmentation, EnhancedDexYCB, seed_worker
from models.transformer import ManipulationTransformer
from training.losses import ManipulationLoss


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def move(batch: Dict[str, torch.Tensor], device: torch.device) -> Dict[str, torch.Tensor]:
    """Moves a batch to the device and leaves every dtype as it is."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def build(num_classes: int, device: torch.device):
    """The model and its loss, both in bfloat16."""
    model = ManipulationTransformer(num_classes=num_classes)
    model = model.to(torch.bfloat16).to(device)
    criterion = ManipulationLoss(num_classes)
    criterion = criterion.to(torch.bfloat16).to(device)
    return model, criterion


def train_step(model, criterion, optimizer, batch) -> Dict[str, float]:
    """One step; returns the losses by name."""
    outputs = model(batch["image"], batch["extrinsics"], batch["intrinsics"])
    losses = criterion(outputs, batch)
    optimizer.zero_grad(set_to_none=True)
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def main() -> None:
    args = parse_args()
    device = torch.device(args.device)
    augmentation = Augmentation(brightness=0.2, contrast=0.2, crop=0.1)
    dataset = EnhancedDexYCB(args.root, "train", augmentation=augmentation)
    loader = DataLoader(
        dataset,
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        worker_init_fn=seed_worker,
    )
    model, criterion = build(len(dataset.symmetries) + 1, device)
    parameters = list(model.parameters()) + list(criterion.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate)

    for epoch in range(args.epochs):
        for step, batch in enumerate(loader):
            losses = train_step(model, criterion, optimizer, move(batch, device))
            if step % 50 == 0:
                print(f"epoch {epoch} step {step} loss {losses['total']:.4f}")


if __name__ == "__main__":
    main()
