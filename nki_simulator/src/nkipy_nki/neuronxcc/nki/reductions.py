"""Reductions of tiles, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy_nki.dtypes import DTYPES, DTypeRecord, find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.elementwise import FUNCTIONS, binary, unary
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import as_mask
from nkipy_nki.neuronxcc.nki.issuing import in_sbuf, joined, made, on_chip
from nkipy_nki.neuronxcc.nki.tiles import Tile
from nkipy_nki.operators import OPERATIONS, Operation, find_operation
from nkipy_nki.running import kernel_line, whole_number
from nkipy_nki.tensors import NkiTensor

__all__ = ["all", "max", "mean", "min", "prod", "rms_norm", "softmax", "sum", "var"]

_FLOAT32 = DTYPES["float32"]


def axes_of(tile: Tile, axis: Any, what: str) -> tuple[int, ...]:
    """The dimensions that are named, in order."""
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    dims = len(tile.tile_shape)
    numbers = [whole_number(a, f"{what}: axis") for a in given]
    found = sorted({a + dims if a < 0 else a for a in numbers})
    if not found or found[0] < 0 or found[-1] >= dims:
        raise NkiValidationError(
            f"{what}: axis is {axis!r}, of a tile of shape {list(tile.shape)}"
            f"\n  at {kernel_line()}"
        )
    return tuple(found)


def reduced(
    op: Any,
    x: Tile,
    axis: Any,
    dtype: DTypeRecord,
    mask: Any = None,
    *,
    negate: bool = False,
    keepdims: bool = False,
) -> Tile:
    """Reduce free dimensions of a tile, or that of partitions.

    Args:
        op: what reduces.
        x: a tile without block dimensions.
        axis: which dimensions.
        dtype: of the result.
        mask: which elements count.
        negate: whether the sign of the result is changed.
        keepdims: whether reduced dimensions stay, with one element.
    """
    operation = find_operation(op, ("arithmetic", "bitvec", "special"))
    what = f"a reduction by {operation.name}"
    axes = axes_of(x, axis, what)
    shape = tuple(x.tile_shape)
    kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
    if 0 in axes:
        return _over_partitions(operation, x, axes, dtype, mask)
    last = tuple(range(len(shape) - len(axes), len(shape)))
    fill = _of_no_effect(operation, x, mask)
    if axes != last:
        if mask is not None and not as_mask(mask).is_full:
            raise NkiValidationError(f"{what}: a mask goes with the last dimensions")
        x = _turned(x, axes)
    inner = tuple(x.tile_shape)
    ones = inner[: -len(axes)] + (1,) * len(axes)
    name = operation.name
    result: Tile = made(
        "tensor_reduce",
        ones,
        dtype,
        {"data": x},
        mask,
        over=inner,
        fill=fill,
        op=OPERATIONS[name],
        axis=last,
        negate=negate,
        keepdims=True,
    )
    if keepdims and kept == ones:
        return result
    wanted = (
        kept if keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
    )
    if len(wanted) < 2:
        wanted = (*wanted, 1)
    if wanted == ones:
        return result
    valid = result.valid
    again = Tile(result.elements.reshape(wanted))
    if valid is not None and valid.box is not None:
        again.valid = type(valid)(wanted, (valid.box[0], *((0, n) for n in wanted[1:])))
    elif valid is not None:
        again.valid = type(valid)(wanted, None, valid.values.reshape(wanted))
    return again


def _turned(tile: Tile, axes: tuple[int, ...]) -> Tile:
    """A tile with some free dimensions moved to the end."""
    view = tile.elements
    order = [a for a in range(len(view.shape)) if a not in axes] + list(axes)
    return Tile(
        NkiTensor(
            view.allocation,
            view.dtype,
            view.offset,
            tuple(view.shape[a] for a in order),
            tuple(view.strides[a] for a in order),
        )
    )


def _over_partitions(
    operation: Any, x: Tile, axes: tuple[int, ...], dtype: DTypeRecord, mask: Any
) -> Tile:
    if axes != (0,):
        raise NkiValidationError(
            f"dimensions {list(axes)} are reduced: that of partitions goes alone"
            f"\n  at {kernel_line()}"
        )
    shape = (1, *x.tile_shape[1:])
    return made(
        "tensor_partition_reduce",
        shape,
        dtype,
        {"data": in_sbuf(x)},
        mask,
        over=tuple(x.tile_shape),
        fill=_of_no_effect(operation, x, mask),
        op=operation,
    )


def _of_no_effect(operation: Operation, x: Tile, mask: Any) -> float:
    """The number that changes no reduction, to be read where the mask is false.

    Raises:
        NkiValidationError: there is none, and the mask is no rectangle.
    """
    identity = operation.identity
    if identity is None:
        if mask is not None and as_mask(mask).box is None:
            raise NkiValidationError(
                f"a reduction by {operation.name} has a mask that is no rectangle: no "
                "number stands for what is left out. Reduce by nl.add, and divide by "
                f"how many there are\n  at {kernel_line()}"
            )
        return 0.0
    element = x.dtype.element
    if operation.is_bitvec and np.issubdtype(element, np.unsignedinteger):
        return float(int(identity) & int(np.iinfo(element).max))  # -1 is all bits
    return float(identity)


def _reducing(name: str, operation: str) -> Callable[..., Tile]:
    def function(
        x: Any,
        axis: Any,
        *,
        dtype: Any = None,
        mask: Any = None,
        keepdims: bool = False,
    ) -> Tile:
        tile = on_chip(x, f"nl.{name}: x")
        element = tile.dtype if dtype is None else find_dtype(dtype)
        return reduced(operation, tile, axis, element, mask, keepdims=keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Reduce dimensions of a tile: {name}.

    Args:
        x: a tile.
        axis: one or several free dimensions; or 0, that of partitions.
        dtype: of the result; if None, that of `x`.
        mask: which elements count.
        keepdims: whether reduced dimensions stay, with one element.
    """
    function.operation = OPERATIONS[operation]  # type: ignore[attr-defined]
    return function


sum = _reducing("sum", "add")
prod = _reducing("prod", "multiply")
max = _reducing("max", "maximum")
min = _reducing("min", "minimum")


def _masked(x: Any, mask: Any, what: str) -> Tile:
    """A tile of which some rows count: those of a mask.

    Raises:
        NkiValidationError: it leaves out parts of rows.
    """
    tile = on_chip(x, f"{what}: x")
    valid = [] if tile.valid is None else [tile.valid]
    found = joined(mask, tuple(tile.tile_shape), valid)
    if mask is None or found is None:
        return tile
    if not (found.is_empty or found.is_first_rows):
        raise fault(
            "unsupported_expression_in_mask",
            f"{what} takes a mask of the first rows only: give others to the functions "
            "that it is made of",
        )
    made = Tile(tile.elements)
    made.valid = found
    return made


def mean(
    x: Any,
    axis: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    keepdims: bool = False,
) -> Tile:
    """The mean of free dimensions, in float32."""
    tile = _masked(x, mask, "nl.mean")
    element = tile.dtype if dtype is None else find_dtype(dtype)
    total = reduced("add", tile, axis, _FLOAT32, None, keepdims=keepdims)
    count = math.prod(tile.tile_shape[a] for a in axes_of(tile, axis, "nl.mean"))
    return binary("multiply", total, 1.0 / count, element)


mean.operation = OPERATIONS["average"]  # type: ignore[attr-defined]


def var(
    x: Any,
    axis: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    keepdims: bool = False,
) -> Tile:
    """The variance of free dimensions: the mean square of the distance to the mean."""
    tile = _masked(x, mask, "nl.var")
    middle = mean(tile, axis, dtype=_FLOAT32, keepdims=True)
    apart = unary("square", binary("subtract", tile, middle, _FLOAT32), _FLOAT32)
    element = tile.dtype if dtype is None else dtype
    return mean(apart, axis, dtype=element, keepdims=keepdims)


def all(
    x: Any,
    axis: Any,
    *,
    dtype: Any = bool,
    mask: Any = None,
    keepdims: bool = False,
) -> Tile:
    """Whether no element is 0: 1 if it is so, else 0."""
    tile = on_chip(x, "nl.all: x")
    truth = binary("not_equal", tile, 0.0, _FLOAT32, mask)
    element = find_dtype("uint8" if dtype is bool else dtype)
    return reduced("minimum", truth, axis, element, mask, keepdims=keepdims)


def softmax(
    x: Any,
    axis: Any,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
) -> Tile:
    """``exp(x - max) / sum`` along free dimensions, in float32.

    Args:
        x: a tile.
        axis: one or several free dimensions.
        dtype: of the result; if None, that of `x`.
        compute_dtype: the same: it was documented to set what `dtype` sets.
        mask: of the first rows.
    """
    tile = _masked(x, mask, "nl.softmax")
    element = find_dtype(dtype or compute_dtype or tile.dtype)
    greatest = reduced("maximum", tile, axis, _FLOAT32, keepdims=True)
    powers = unary("exp", binary("subtract", tile, greatest, _FLOAT32))
    total = reduced("add", powers, axis, _FLOAT32, keepdims=True)
    return binary("multiply", powers, FUNCTIONS["reciprocal"](total), element)


def rms_norm(
    x: Any,
    w: Any,
    axis: Any,
    n: int,
    epsilon: float = 1e-6,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
) -> Tile:
    """``x / sqrt(sum(x * x) / n + epsilon) * w``.

    Args:
        x: a tile.
        w: weights, of a shape that broadcasts to that of `x`.
        axis: a free dimension.
        n: by how many the sum of squares is divided.
        epsilon: what is added to it.
        dtype: of the result; if None, that of `x`.
        compute_dtype: the same: it was documented to set what `dtype` sets.
        mask: of the first rows.
    """
    tile = _masked(x, mask, "nl.rms_norm")
    squares = unary("square", tile, _FLOAT32)
    total = reduced("add", squares, axis, _FLOAT32, keepdims=True)
    middle = binary("add", binary("multiply", total, 1.0 / n), float(epsilon))
    scaled = binary("multiply", tile, unary("rsqrt", middle), _FLOAT32)
    element = find_dtype(dtype or compute_dtype or tile.dtype)
    return binary("multiply", scaled, w, element)
