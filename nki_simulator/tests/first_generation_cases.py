"""How kernels after the first generation's documented examples are tried."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import language as nl


class Cases(dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]]):
    """Kernels by name, each with its arguments and what it gives of them."""

    def __call__(self, expected: Any, *args: Any, **options: Any) -> Callable[..., Any]:
        """Let a function be a kernel that gives `expected` of arguments.

        Options are those of ``nki.jit``.
        """

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            made: Callable[..., Any] = nki.jit(function, mode="simulation", **options)
            self[function.__name__] = made, args, expected
            return made

        return add

    def check(self, name: str) -> None:
        """That a kernel gives what is expected, and leaves its arguments alone."""
        kernel, args, expected = self[name]
        given = [array.copy() for array in args]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = kernel(*given)
        results = made if isinstance(made, tuple) else (made,)
        wanted = expected if isinstance(expected, tuple) else (expected,)
        for result, other in zip(results, wanted, strict=True):
            assert result.shape == other.shape
            np.testing.assert_allclose(result, other, rtol=1e-4, atol=1e-4)
        for array, before in zip(given, args):
            np.testing.assert_array_equal(array, before)


def floats_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normally distributed numbers."""
    return rng.standard_normal(shape).astype(np.float32)


def in_hbm(shape: Any, dtype: Any = np.float32) -> dict[str, Any]:
    """What ``nl.ndarray`` is told for a result."""
    return {"shape": shape, "dtype": dtype, "buffer": nl.shared_hbm}
