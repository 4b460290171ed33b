"""What a kernel of the comparison with NumPy is: a record, and how arguments are made.

The records themselves are in :mod:`benchmarks.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: How many elements a vector has, rows and columns a square, and so on, by size.
SIZES = ("small", "middle", "large")
Arrays = tuple[np.ndarray, ...]


class Make:
    """Arrays of random numbers, the same at each run."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        """Of the standard normal distribution, float32."""
        return self._rng.standard_normal(shape, np.float32)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Between two numbers, float32."""
        return self._rng.uniform(low, high, shape).astype(np.float32)

    def integers(self, high: int, *shape: int) -> np.ndarray:
        """From 0 to below `high`, int32."""
        return self._rng.integers(high, size=shape, dtype=np.int32)

    def bits(self, *shape: int) -> np.ndarray:
        """True in half of the places."""
        return self._rng.integers(2, size=shape, dtype=np.int8).astype(bool)

    def order(self, count: int) -> np.ndarray:
        """The numbers below `count`, in any order, int32."""
        return self._rng.permutation(count).astype(np.int32)


@dataclass(frozen=True)
class Kernel:
    """A kernel that is timed.

    Attributes:
        kind: its heading in the table.
        name: what the table calls it.
        function: ``function(xp, *arrays)`` for any module with NumPy's interface.
        arguments: ``arguments(make, n)``, the arrays.
        sizes: the `n` of each of :data:`SIZES`.
        jax: the same as `function` where jax.numpy has no such interface.
        tolerance: relative and absolute, of the comparison of values.
    """

    kind: str
    name: str
    function: Callable[..., Any]
    arguments: Callable[[Make, int], Arrays]
    sizes: tuple[int, int, int]
    jax: Callable[..., Any] | None = None
    tolerance: tuple[float, float] = (1e-4, 1e-5)
