"""Building blocks of neural networks, which NumPy has no functions for.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

def erf(x: ArrayLike) -> NDArray[Any]:
    """The error function, element by element."""

def gelu(x: ArrayLike, approximate: str = "none") -> NDArray[Any]:
    """``x`` times the normal distribution's share below it, element by element.

    Args:
        x: an array.
        approximate: "none" for the error function, "tanh" for the usual approximation.

    Raises:
        ValueError: `approximate` is neither.
    """

def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-05,
    axis: int | Sequence[int] | None = -1,
) -> NDArray[Any]:
    """An array shifted and scaled to mean 0 and variance 1 along an axis.

    Args:
        x: an array of numbers.
        weight: what the result is multiplied by, or None; it broadcasts to `x`.
        bias: what is added to that, or None; it broadcasts to `x`.
        eps: what is added to the variance.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        ValueError: `weight` or `bias` does not broadcast to `x`.
        TypeError: `x` holds no numbers.
    """

def log_softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> NDArray[Any]:
    """The logarithm of ``softmax``, exact also where that is almost zero.

    Args:
        x: an array of numbers.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers.

    Raises:
        AxisError: there is no such axis.
        TypeError: `x` holds no numbers.
    """

def relu(x: ArrayLike) -> NDArray[Any]:
    """``max(x, 0)``, element by element, in the dtype of `x`."""

def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: float = 1e-06,
    axis: int | Sequence[int] | None = -1,
) -> NDArray[Any]:
    """An array divided by its root mean square along an axis, times a weight.

    Args:
        x: an array of numbers.
        weight: what broadcasts to `x`, or None.
        eps: what is added to the mean square.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        ValueError: `weight` does not broadcast to `x`.
        TypeError: `x` holds no numbers.
    """

def sigmoid(x: ArrayLike) -> NDArray[Any]:
    """``1 / (1 + exp(-x))``, element by element, without overflow."""

def silu(x: ArrayLike) -> NDArray[Any]:
    """``x * sigmoid(x)``, element by element; 0 at minus infinity."""

def softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> NDArray[Any]:
    """Exponentials along an axis, scaled so that they sum to 1.

    Args:
        x: an array of numbers.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        TypeError: `x` holds no numbers.
    """

def topk(
    x: ArrayLike,
    k: int,
    axis: int = 0,
    is_ascend: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The k greatest elements along an axis, from the greatest on, and their indices.

    Args:
        x: an array of numbers.
        k: how many elements.
        axis: the axis.
        is_ascend: the k smallest instead, from the smallest on.

    Returns:
        Values in the dtype of `x`, and uint32 indices; `axis` has size `k`. Of equal
        elements, the one with the lower index comes first. NaN comes before all else,
        in both orders.

    Raises:
        AxisError: there is no such axis.
        ValueError: `k` is not in the range of the axis.
        TypeError: `x` is bool.
    """
