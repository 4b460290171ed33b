"""The arguments of convolutions: tuples, padding, and shapes that fit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

Pads = tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """How the kernel moves; each value has one entry per spatial dimension."""

    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    groups: int


def _normalize_tuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    """`value` for each of `n` spatial dimensions: one int, or a sequence of `n`.

    Raises:
        TypeError: not an int, nor a sequence of ints.
        ValueError: a sequence of another length.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != n:
            raise ValueError(
                f"{name} must be an int or a tuple of {n} ints, but received {value}"
            )
        return tuple(index(v) for v in value)
    return (index(value),) * n


def _normalize_tuple_2d(value: Any, name: str = "value") -> tuple[int, ...]:
    """`value` as a pair of ints."""
    return _normalize_tuple(value, 2, name)


def _normalize_tuple_3d(value: Any, name: str = "value") -> tuple[int, ...]:
    """`value` as three ints."""
    return _normalize_tuple(value, 3, name)


def _positive(value: Any, n: int, name: str) -> tuple[int, ...]:
    values = _normalize_tuple(value, n, name)
    if min(values) < 1:
        raise ValueError(f"{name} must be at least 1, but received {value}")
    return values


def window_of(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Window:
    """The window that the arguments of a convolution describe.

    Args:
        x: shape of the input, (batch, channels, *spatial).
        w: shape of the weight, (out channels, channels per group, *kernel).
        padding: an int, one int or (low, high) pair per dimension, "same" or "valid".

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: the shapes do not fit each other, or a value is out of range.
    """
    n = len(w) - 2
    strides, dilations = (
        _positive(stride, n, "stride"),
        _positive(dilation, n, "dilation"),
    )
    groups = index(groups)
    _check_channels(x, w, groups)
    reach = [(k - 1) * d + 1 for k, d in zip(w[2:], dilations)]
    pads = _padding(padding, x[2:], reach, strides)
    for size, (low, high), extent in zip(x[2:], pads, reach):
        if size + low + high < extent:
            raise ValueError(
                f"the kernel of shape {w[2:]} (with dilation {dilations}) exceeds the "
                f"input of shape {x[2:]} (with padding {pads})"
            )
    return Window(strides, pads, dilations, groups)


def _check_channels(x: tuple[int, ...], w: tuple[int, ...], groups: int) -> None:
    if groups < 1:
        raise ValueError(f"groups must be at least 1, but received {groups}")
    if x[1] != w[1] * groups:
        raise ValueError(
            f"the input has {x[1]} channels, but the weight of shape {w} in {groups} "
            f"groups takes {w[1] * groups}"
        )
    if w[0] % groups:
        raise ValueError(
            f"the weight's {w[0]} output channels do not divide into {groups} groups"
        )
    if 0 in w[2:]:
        raise ValueError(f"the weight of shape {w} has an empty kernel")


def _padding(
    padding: Any, sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> Pads:
    if isinstance(padding, str):
        if padding.lower() == "valid":
            return ((0, 0),) * len(sizes)
        if padding.lower() == "same":
            return tuple(map(_same, sizes, reach, strides))
        raise ValueError(f"padding must be 'same' or 'valid', but received {padding!r}")
    if isinstance(padding, (tuple, list)) and any(
        isinstance(p, (tuple, list)) for p in padding
    ):
        pads = tuple(_normalize_tuple(p, 2, "padding") for p in padding)
        if len(pads) != len(sizes):
            raise ValueError(
                f"padding must have {len(sizes)} (low, high) pairs, but received "
                f"{padding}"
            )
    else:
        pads = tuple((p, p) for p in _normalize_tuple(padding, len(sizes), "padding"))
    if min(min(p) for p in pads) < 0:
        raise ValueError(f"padding must not be negative, but received {padding}")
    return tuple((p[0], p[1]) for p in pads)


def _same(size: int, reach: int, stride: int) -> tuple[int, int]:
    """As little padding as makes the output ceil(size / stride), the odd one high."""
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return total // 2, total - total // 2
