"""How a tensor of torch's lies in memory, as programs give it."""

from __future__ import annotations

from typing import Any

import torch


def memory_order(tensor: torch.Tensor) -> tuple[int, ...]:
    """The dimensions in the order in which memory has them, the slowest first.

    Of what is not dense, such as an expanded tensor, that is their own order.
    """
    sizes = [_hint(n) for n in tensor.shape]
    strides = [_hint(n) for n in tensor.stride()]
    own = range(tensor.dim())
    order = sorted(own, key=lambda d: (-strides[d], -sizes[d], d))
    expected = 1
    for d in reversed(order):
        if sizes[d] != 1 and strides[d] != expected:
            return tuple(own)
        expected *= max(sizes[d], 1)
    return tuple(order)


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _hint(size: Any) -> int:
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)
