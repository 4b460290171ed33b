"""Convolutions: of images and volumes as in neural networks, and NumPy's in 1-D.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Convolve a batch as neural networks do (that is, correlate).

    Args:
        input: (N, C, W).
        weight: (O, C / groups, ...), one kernel per output channel.
        bias: (O,), added to each output channel; or None.
        stride, dilation: an int, or one per spatial dimension.
        padding: an int, one int or (low, high) pair per spatial dimension, "valid"
            (none), or "same": the output has the input's size, divided by the stride.
        groups: channels are divided into this many groups that do not mix.

    Returns:
        (N, O, ...), in the common dtype of the arrays. Floats below 32 bits are
        accumulated in float32 and rounded once.

    Raises:
        ValueError: shapes do not fit each other, or a value is out of range.
        TypeError: an argument is of the wrong kind.
    """

def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Convolve a batch as neural networks do (that is, correlate).

    Args:
        input: (N, C, H, W).
        weight: (O, C / groups, ...), one kernel per output channel.
        bias: (O,), added to each output channel; or None.
        stride, dilation: an int, or one per spatial dimension.
        padding: an int, one int or (low, high) pair per spatial dimension, "valid"
            (none), or "same": the output has the input's size, divided by the stride.
        groups: channels are divided into this many groups that do not mix.

    Returns:
        (N, O, ...), in the common dtype of the arrays. Floats below 32 bits are
        accumulated in float32 and rounded once.

    Raises:
        ValueError: shapes do not fit each other, or a value is out of range.
        TypeError: an argument is of the wrong kind.
    """

def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Convolve a batch as neural networks do (that is, correlate).

    Args:
        input: (N, C, D, H, W).
        weight: (O, C / groups, ...), one kernel per output channel.
        bias: (O,), added to each output channel; or None.
        stride, dilation: an int, or one per spatial dimension.
        padding: an int, one int or (low, high) pair per spatial dimension, "valid"
            (none), or "same": the output has the input's size, divided by the stride.
        groups: channels are divided into this many groups that do not mix.

    Returns:
        (N, O, ...), in the common dtype of the arrays. Floats below 32 bits are
        accumulated in float32 and rounded once.

    Raises:
        ValueError: shapes do not fit each other, or a value is out of range.
        TypeError: an argument is of the wrong kind.
    """

def convolve(a: Any, v: Any, mode: str = "full") -> NDArray[Any]:
    """As ``numpy.convolve``."""

def correlate(a: Any, v: Any, mode: str = "valid") -> NDArray[Any]:
    """``numpy.correlate``, which unlike ``numpy.convolve`` takes no scalars.

    Raises:
        ValueError: an argument has not one dimension, is empty, or `mode` is unknown.
    """
