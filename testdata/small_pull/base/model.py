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


class Classifier(nn.Module):
    """Classifies a sequence by the state of its first token."""

    def __init__(self, vocabulary: int = 100, dim: int = 32, classes: int = 4):
        super().__init__()
        self.encoder = Encoder(vocabulary, dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(tokens, mask)
        return self.head(states[:, 0])
