"""Trains a network on scikit-learn's handwritten digits, on any of torch's devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import tqdm

from examples.torch_digits.models import MODELS


@dataclass(frozen=True)
class Data:
    """Images (n, 8, 8) in [0, 1], float32, and int64 labels (n,), on one device."""

    x_train: torch.Tensor
    x_test: torch.Tensor
    y_train: torch.Tensor
    y_test: torch.Tensor


@dataclass(frozen=True)
class Trained:
    """What training gave: the network, and the loss of each step, float32 (steps,)."""

    model: nn.Module
    losses: np.ndarray


def load(device: str) -> Data:
    """The digits, a fifth of them set aside for the test, on a device."""
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)
    y = digits.target.astype(np.int64)
    parts = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return Data(*(torch.from_numpy(part).to(device) for part in parts))


def train(
    name: str, data: Data, steps: int, *, seed: int = 0, batch: int = 64
) -> Trained:
    """Train one of the models where the data lie.

    The same seed makes the same network, batches and dropout on every device.
    """
    device = data.x_train.device
    torch.manual_seed(seed)
    model = MODELS[name]().to(device)
    # Each device has numbers of its own, and the CPU has drawn some for the weights.
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = torch.empty(steps, device=device)
    model.train()
    with tqdm(range(steps), desc=f"{name} on {device.type}", disable=None) as bar:
        for step in bar:
            chosen = torch.randint(len(data.x_train), (batch,), device=device)
            scores = model(data.x_train[chosen])
            loss = nn.functional.cross_entropy(scores, data.y_train[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[step] = loss.detach()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
    return Trained(model, losses.cpu().numpy())


@torch.no_grad()
def predictions(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Unnormalised scores (n, 10) of images (n, 8, 8), without dropout, on the CPU."""
    return model.eval()(images).cpu()


def accuracy(model: nn.Module, data: Data) -> float:
    """Share of the test images whose digit is found."""
    found = predictions(model, data.x_test).argmax(dim=1)
    return (found == data.y_test.cpu()).float().mean().item()


def restored(name: str, states: Path, device: str) -> nn.Module:
    """A model with the weights of a file that ``torch.save`` wrote, on a device."""
    state: dict[str, Any] = torch.load(states, map_location=device, weights_only=True)
    model = MODELS[name]().to(device)
    model.load_state_dict(state[name])
    return model


def plot(curves: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Save the losses of each model on each device as a PNG.

    They coincide: so each is thinner than the one below it, which is seen beside it.
    The directory is made if need be.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = draw(curves)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)


def draw(curves: dict[str, dict[str, np.ndarray]]) -> Any:
    """The figure of :func:`plot`."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for i, (name, by_device) in enumerate(curves.items()):
        for j, (device, losses) in enumerate(by_device.items()):
            style = {"linewidth": 4, "alpha": 0.4} if j == 0 else {"linewidth": 1}
            axes.plot(losses, color=f"C{i}", label=f"{name}, {device}", **style)
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log")
    axes.set_title("Handwritten digits, the loss of each step")
    axes.legend()
    return figure
