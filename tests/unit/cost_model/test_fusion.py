"""What is fused, and what ends a region."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy_emulator.cost_model.fusion import fused_values

X = np.zeros((8, 16), np.float32)


def fused(function, *arguments) -> list[str]:
    module = trace_function(function, arguments or (X,), {}).module
    found = fused_values(module.entry, frozenset(module.results))
    return [i.opcode for i in module.entry.instructions if i in found]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (lambda x: np.exp(x), []),
        (lambda x: np.exp(x) * 2 + 1, ["exponential", "multiply"]),
        # Used twice within the region.
        (lambda x: np.exp(x) * np.exp(-x), ["exponential", "negate", "exponential"]),
        (lambda x: np.square(np.exp(x)), ["exponential"]),
        # Through a reshape, which keeps the elements; not through a slice.
        (lambda x: np.exp(x).reshape(-1) + 1, ["exponential"]),
        (lambda x: np.exp(x)[:4] + 1, []),
        # A reduction ends a region, and what comes after it is another.
        (lambda x: np.sum(np.exp(x) + 1), ["exponential", "add"]),
        (lambda x: np.sum(np.exp(x), axis=0) + 1, ["exponential"]),
        # A product begins one.
        (lambda x: np.tanh(x @ x.T), ["dot"]),
        (lambda x: np.exp(x) @ x.T, []),
        # A result is needed in memory.
        (lambda x: (np.exp(x), np.exp(x) + 1), ["exponential"]),
    ],
)
def test_fused(kernel, expected):
    found = fused(kernel)
    assert sorted(found) == sorted(expected)


def test_uses_in_two_regions_end_the_first():
    def softmax(x):
        e = np.exp(x)
        return e / np.sum(e, axis=-1, keepdims=True)

    assert "exponential" not in fused(softmax)
