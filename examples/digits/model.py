"""A two-layer perceptron in plain NumPy: forward, backward, SGD step.

Nothing here knows where it runs.
"""

from __future__ import annotations

import numpy as np

Params = dict[str, np.ndarray]


def init(hidden: int = 96, seed: int = 0) -> Params:
    """Weights for 64 pixels in and 10 classes out."""
    rng = np.random.default_rng(seed)

    def weight(rows: int, columns: int) -> np.ndarray:
        scale = np.sqrt(2 / rows)
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    return {
        "w1": weight(64, hidden),
        "b1": np.zeros(hidden, np.float32),
        "w2": weight(hidden, 10),
        "b2": np.zeros(10, np.float32),
    }


def logits(params: Params, x: np.ndarray) -> np.ndarray:
    """Unnormalised scores (batch, 10) of images (batch, 64)."""
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    return hidden @ params["w2"] + params["b2"]


def train_step(params: Params, x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """One step of gradient descent on a batch; updates `params` in place.

    Args:
        params: the weights.
        x: images (batch, 64).
        y: labels (batch,), integers.
        rate: learning rate.

    Returns:
        The mean cross-entropy before the step, 0-d.
    """
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    scores = hidden @ params["w2"] + params["b2"]
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_p = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    target = (y[:, None] == np.arange(10)).astype(np.float32)
    loss = -np.sum(log_p * target) / x.shape[0]

    d_scores = (np.exp(log_p) - target) / x.shape[0]
    d_hidden = np.where(hidden > 0, d_scores @ params["w2"].T, 0)
    params["w2"] -= rate * (hidden.T @ d_scores)
    params["b2"] -= rate * np.sum(d_scores, axis=0)
    params["w1"] -= rate * (x.T @ d_hidden)
    params["b1"] -= rate * np.sum(d_hidden, axis=0)
    return loss
