"""A small classifier of padded sequences."""

import torch
import torch.nn as nn


class Encoder(nn.Module):
    """Embeds tokens and mixes them with attention."""

    def __init__(self, vocabulary: int, dim: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        self.layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens are [B, T] numbers, the mask is true where they count."""
        return self.layer(self.embedding(tokens), src_key_padding_mask=~mask)


class MaskedMean(nn.Module):
    """Averages the states of the tokens that count."""

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States are [B, T, D], the mask is [B, T], booleans or 0 and 1."""
        mask = mask.bool()
        kept = torch.zeros(states.shape, device=states.device)
        kept[mask] = states[mask]
        return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


class Classifier(nn.Module):
    """Classifies a sequence by the mean of its tokens."""

    def __init__(self, vocabulary: int = 100, dim: int = 32, classes: int = 4):
        super().__init__()
        self.encoder = Encoder(vocabulary, dim)
        self.pool = MaskedMean()
        self.head = nn.Linear(dim, classes)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(tokens, mask)
        return self.head(self.pool(states, mask))
