"""Reductions of a tile over its free dimensions, or over its partitions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from operator import index
from typing import Any, Protocol

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.isa.arithmetic import tensor_tensor
from nkipy_nki.isa.broadcasts import tensor_scalar
from nkipy_nki.isa.reduction import tensor_partition_reduce, tensor_reduce
from nkipy_nki.language.elementwise import token
from nkipy_nki.language.moving import copy
from nkipy_nki.language.tiles import FLOAT32, as_tile, new_tile, refuse, result_dtype
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tensors import NkiTensor

__all__ = ["all", "max", "mean", "min", "prod", "sum", "var"]


class Reduction(Protocol):
    """A function that reduces dimensions of a tile."""

    def __call__(
        self, x: Any, axis: Any, dtype: Any = None, keepdims: bool = False
    ) -> NkiTensor: ...


_DOC = """{about}

    Args:
        x: a tile.
        axis: one or several: the last free dimensions{partitions}.
        dtype: of the result; if None, {default}.
        keepdims: whether reduced dimensions stay, with one element. The result has two
            dimensions in any case, and stays a tile.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: `x` is no tile, or `axis` names other dimensions.
    """

#: What reduces partitions, by the GpSimd engine.
_OVER_PARTITIONS = ("add", "maximum", "average")


def _reduction(
    name: str,
    about: str,
    compute: Callable[[NkiTensor, tuple[int, ...], DTypeRecord], NkiTensor],
    operation: str = "",
    default: str = "",
) -> Reduction:
    """A reduction's function.

    Args:
        name: its own.
        about: what it gives, in a sentence.
        compute: reduces the last dimensions, which stay with one element.
        operation: whose token it is; one that reduces partitions as well, if it can.
        default: the type of the result, if not that of the tile.
    """
    partitions = operation in _OVER_PARTITIONS

    def function(
        x: Any, axis: Any, dtype: Any = None, keepdims: bool = False
    ) -> NkiTensor:
        tile = as_tile(x, name)
        axes = _axes(tile, axis, name)
        element = result_dtype(dtype or default or None, tile)
        if 0 not in axes:
            made = compute(tile, axes, element)
            return made if keepdims else _without(made, len(axes))
        if not partitions:
            raise refuse(name, "axis is 0: partitions are not reduced by it")
        return _over_partitions(tile, operation, element)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(
        about=about,
        partitions="; or 0, that of partitions" if partitions else "",
        default=f"`{default}`" if default else "that of `x`",
    )
    return token(operation)(function) if operation else function


# -- dimensions ------------------------------------------------------------------------
def _axes(tile: NkiTensor, axis: Any, function: str) -> tuple[int, ...]:
    """The dimensions that are reduced: the last free ones, or 0 alone.

    Raises:
        NkiValidationError: they are others.
    """
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = len(tile.shape)
    if not builtins.all(hasattr(a, "__index__") for a in given):
        raise refuse(function, f"axis is {axis!r}, and must be an int, or several")
    found = tuple(sorted(a + ndim if a < 0 else a for a in map(index, given)))
    last = tuple(range(ndim - len(found), ndim))
    if found and (found == (0,) or (found == last and 0 not in found)):
        return found
    raise refuse(
        function,
        f"axis is {axis}, and must name the last dimensions of {list(tile.shape)}, "
        "without that of partitions; or that alone",
    )


def _without(made: NkiTensor, count: int) -> NkiTensor:
    """A view without the last dimensions; two stay."""
    kept = made.shape[:-count]
    return made.reshape(kept if len(kept) > 1 else (*kept, 1))


# -- how -------------------------------------------------------------------------------
def _over_partitions(tile: NkiTensor, operation: str, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile((1, *tile.shape[1:]), dtype)
    if tile.region is MemoryRegion.psum:  # which GpSimd does not reach
        tile = copy(tile)
    tensor_partition_reduce(made, OPERATIONS[operation], tile)
    return made


def _by(
    operation: str,
) -> Callable[[NkiTensor, tuple[int, ...], DTypeRecord], NkiTensor]:
    """A reduction that is one instruction."""

    def compute(
        tile: NkiTensor, axes: tuple[int, ...], dtype: DTypeRecord
    ) -> NkiTensor:
        kept = tile.shape[: -len(axes)]
        made = new_tile((*kept, *(1,) * len(axes)), dtype)
        tensor_reduce(made, OPERATIONS[operation], tile, axes, keepdims=True)
        return made

    return compute


_total, _least = _by("add"), _by("minimum")


def _mean(tile: NkiTensor, axes: tuple[int, ...], dtype: DTypeRecord) -> NkiTensor:
    total = _total(tile, axes, FLOAT32)
    made = new_tile(total.shape, dtype)
    count = math.prod(tile.shape[a] for a in axes)
    tensor_scalar(made, total, OPERATIONS["multiply"], 1 / count)
    return made


def _var(tile: NkiTensor, axes: tuple[int, ...], dtype: DTypeRecord) -> NkiTensor:
    apart = new_tile(tile.shape, FLOAT32)
    with_rows(apart, tile, "subtract", _mean(tile, axes, FLOAT32))
    tensor_tensor(apart, apart, apart, OPERATIONS["multiply"])
    return _mean(apart, axes, dtype)


def _all(tile: NkiTensor, axes: tuple[int, ...], dtype: DTypeRecord) -> NkiTensor:
    truth = new_tile(tile.shape, FLOAT32)
    tensor_scalar(truth, tile, OPERATIONS["not_equal"], 0.0)
    return _least(truth, axes, dtype)


def with_rows(
    dst: NkiTensor, tile: NkiTensor, operation: str, others: NkiTensor
) -> None:
    """A tile with what it was reduced to, in float32: a number for each of its rows."""
    if others.free_size == 1:
        column = others.reshape((others.shape[0], 1))
        tensor_scalar(dst, tile, OPERATIONS[operation], column)
    else:
        again = others.broadcast_to(tile.shape)
        tensor_tensor(dst, tile, again, OPERATIONS[operation])


sum = _reduction("sum", "The sum of elements, in float32.", _total, "add")
prod = _reduction(
    "prod", "The product of elements, in float32.", _by("multiply"), "multiply"
)
max = _reduction("max", "The greatest element.", _by("maximum"), "maximum")
min = _reduction("min", "The least element.", _least, "minimum")
mean = _reduction("mean", "The mean of elements, in float32.", _mean, "average")
var = _reduction(
    "var", "The variance: the mean square of what elements differ from the mean.", _var
)
all = _reduction(
    "all", "Whether no element is 0: 1 if it is so, else 0.", _all, default="bool_"
)
