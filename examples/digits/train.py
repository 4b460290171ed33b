"""Trains the perceptron on scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from examples.digits import model


@dataclass
class Data:
    """Images in [0, 1], float32 (n, 64), and int32 labels (n,)."""

    x_train: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


def load() -> Data:
    """The digits, a fifth of them set aside for the test."""
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    y = digits.target.astype(np.int32)
    return Data(*train_test_split(x, y, test_size=0.2, random_state=0, stratify=y))


def batches(count: int, size: int, epochs: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Indices of equal batches, reshuffled each epoch; the same for the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def train(
    name: str,
    step: Callable[..., np.ndarray],
    params: model.Params,
    data: Data,
    *,
    epochs: int = 25,
    batch: int = 64,
    rate: float = 0.3,
) -> np.ndarray:
    """Train `params`, in place, on the same batches in the same order.

    Returns:
        The loss of each step, float32 (steps,).
    """
    steps = list(batches(len(data.x_train), batch, epochs))
    losses = np.empty(len(steps), np.float32)
    with tqdm(steps, desc=f"{name:>8}", unit="step", disable=None) as bar:
        for i, index in enumerate(bar):
            loss = step(params, data.x_train[index], data.y_train[index], rate)
            losses[i] = loss
            if i % 20 == 0:
                bar.set_postfix(loss=f"{float(loss):.3f}")
    return losses


def accuracy(
    predict: Callable[..., np.ndarray], params: model.Params, data: Data
) -> float:
    """Share of the test images whose digit is found."""
    found = np.argmax(predict(params, data.x_test), axis=1)
    return float(np.mean(found == data.y_test))


def plot(curves: dict[str, np.ndarray], path: Path) -> None:
    """Save the loss curves as a PNG, in a directory that is made if need be.

    They coincide: so each is thinner than the one below it, which is seen beside it.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for i, (name, losses) in enumerate(curves.items()):
        width = 1 + 2.5 * (len(curves) - 1 - i)
        axes.plot(losses, label=name, linewidth=width, alpha=1 if i else 0.5)
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log")
    axes.set_title("Handwritten digits, one training loop, several ways to run it")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
