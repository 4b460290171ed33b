"""Arguments with which operators that compute element by element are compared.

They have what torch's own samples lack: infinities, NaN, zeros of both signs, numbers
next to what a function treats differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from spike_torch.aten.record import Sample

INF, NAN = float("inf"), float("nan")

_NUMBERS: dict[str, tuple[Any, torch.dtype]] = {
    "x": ([-INF, -70.0, -2.5, -0.5, -0.0, 0.0, 0.75, 1.0, 6.5, INF, NAN], torch.float),
    "y": ([2.0, 3.0, -1.5, 0.25, 1.0, -0.0, -2.0, 1.0, INF, NAN, 0.5], torch.float),
    "positive": ([1e-30, 0.1, 0.5, 0.999, 1.0, 1.5, 3.0, 1e30, INF, NAN], torch.float),
    "unit": ([-1.0, -0.9, -1e-3, -0.0, 0.0, 0.3, 0.999, 1.0, 1.5, NAN], torch.float),
    "probability": ([0.0, 1e-6, 0.25, 0.5, 0.75, 0.999, 1.0], torch.float),
    "chance": ([1.0, 0.0, 0.5, 0.1, 1.0, 1.0, 0.0], torch.float),
    "i": ([-(2**31), -7, -3, -1, 0, 1, 2, 5, 9, 2**31 - 1], torch.int32),
    "j": ([3, 2, -2, -5, 7, 1, 33, 3, -4, 2], torch.int32),
    "bits": ([0, 1, 2, 31, 32, 40, -1, 3, 4, 5], torch.int32),
    "where": ([True, False, True, True, False] * 2 + [True], torch.bool),
    "grad": ([1.0, -2.0, 0.5, 3.0, 1.5, -1.0, 2.0, 0.25, 4.0, 1.0, 1.0], torch.float),
    "number": (1.5, torch.float),
    "whole": (7, torch.int32),
}
#: Such that vector loops of the CPU's do them all: its others differ about NaN.
_LENGTH = 32


def tensor(name: str) -> torch.Tensor:
    """One of the tensors here, by name."""
    numbers, dtype = _NUMBERS[name]
    found = torch.tensor(numbers, dtype=dtype)
    return found.repeat(-(-_LENGTH // len(found)))[:_LENGTH] if found.ndim else found


def given(*args: Any, **kwargs: Any) -> Callable[[], Iterator[Sample]]:
    """One call with these arguments, in which tensors are named."""

    def samples() -> Iterator[Sample]:
        yield tuple(map(_filled, args)), {k: _filled(v) for k, v in kwargs.items()}

    return samples


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(part) for part in value]
    if isinstance(value, str) and value in _NUMBERS:
        return tensor(value)
    return value
