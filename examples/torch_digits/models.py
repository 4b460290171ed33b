"""Two small networks, in plain torch. Nothing here knows where they run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class ConvolutionalNetwork(nn.Module):
    """Two convolutions, a pool, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Unnormalised scores (batch, 10) of images (batch, 8, 8)."""
        return self.layers(images.unsqueeze(1))


class Transformer(nn.Module):
    """Attention among the eight rows of an image, each of which is a token."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, width)
        self.positions = nn.Parameter(0.1 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.scores = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Unnormalised scores (batch, 10) of images (batch, 8, 8)."""
        tokens = self.embedding(images) + self.positions
        return self.scores(self.encoder(tokens).mean(dim=1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": ConvolutionalNetwork,
    "transformer": Transformer,
}
