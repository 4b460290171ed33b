"""Sums of products of two operands whose dimensions carry labels.

Every product of matrices is one of these: labels that both operands and the result have
are batch dimensions, labels that only the operands have are summed over.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._reduction import is_low
from nkipy.hlo.builder import HLOBuilder, Value

Label = Hashable


class Labelled(NamedTuple):
    """A value with one label for each of its dimensions, all different."""

    value: Value
    labels: tuple[Label, ...]

    def sizes(self) -> dict[Label, int]:
        return dict(zip(self.labels, self.value.shape))


def accumulator(dtype: np.dtype) -> np.dtype:
    """The dtype that sums of products of `dtype` are accumulated in.

    Small floats are summed in float32. So is bool, whose sum of products is "any pair",
    that is a count above zero, which no hardware multiplies as fast as floats.
    """
    return dt.float32 if dtype == dt.bool_ or is_low(dtype) else dtype


def multipliable(b: HLOBuilder, x: Value, accumulate: np.dtype) -> Value:
    """`x` as a factor of products that are accumulated in a dtype.

    A small float stays as it is: its products are exact in float32.
    """
    return x if is_low(x.dtype) else b.convert(x, accumulate)


def contract(
    b: HLOBuilder, x: Labelled, y: Labelled, out: Sequence[Label], accumulate: np.dtype
) -> Value:
    """The sum of products of `x` and `y` over all labels that are not in `out`.

    Args:
        x, y: the factors. Where they share a label, sizes agree or one of them is 1.
        out: labels of the result, each of them in `x` or `y`.
        accumulate: dtype of the products and of the result, an :func:`accumulator`.
    """
    x = Labelled(multipliable(b, x.value, accumulate), x.labels)
    y = Labelled(multipliable(b, y.value, accumulate), y.labels)
    if x.value.dtype != y.value.dtype:
        x = Labelled(b.convert(x.value, accumulate), x.labels)
        y = Labelled(b.convert(y.value, accumulate), y.labels)
    x, y = _without_broadcast(b, x, y), _without_broadcast(b, y, x)
    x = sum_out(b, x, {*y.labels, *out}, accumulate)
    y = sum_out(b, y, {*x.labels, *out}, accumulate)
    if x.value.dtype != y.value.dtype:
        x = Labelled(b.convert(x.value, accumulate), x.labels)
        y = Labelled(b.convert(y.value, accumulate), y.labels)
    shared = [label for label in x.labels if label in y.labels]
    summed = [label for label in shared if label not in out]
    if summed:
        return _dot(b, x, y, summed, [s for s in shared if s in out], out, accumulate)
    return _product(b, x, y, out, accumulate)


def _without_broadcast(b: HLOBuilder, x: Labelled, y: Labelled) -> Labelled:
    """`x` without its dimensions of size 1 that broadcast against those of `y`."""
    sizes = y.sizes()
    if all(n == sizes.get(label, n) or n != 1 for label, n in x.sizes().items()):
        return x
    kept = {k: n for k, n in x.sizes().items() if n != 1 or sizes.get(k, 1) == 1}
    return Labelled(b.reshape(x.value, tuple(kept.values())), tuple(kept))


def sum_out(
    b: HLOBuilder, x: Labelled, keep: set[Label], accumulate: np.dtype
) -> Labelled:
    """`x` summed over the labels that are not in `keep`."""
    axes = [i for i, label in enumerate(x.labels) if label not in keep]
    if not axes:
        return x
    total = b.reduce(b.convert(x.value, accumulate), "add", 0, axes)
    return Labelled(total, tuple(label for label in x.labels if label in keep))


def _dot(
    b: HLOBuilder,
    x: Labelled,
    y: Labelled,
    summed: list[Label],
    batch: list[Label],
    out: Sequence[Label],
    accumulate: np.dtype,
) -> Value:
    order = batch + [k for k in x.labels if k in out and k not in batch]
    order += [k for k in y.labels if k in out and k not in batch]
    sizes = {**x.sizes(), **y.sizes()}
    if 0 in sizes.values():  # an empty result, or empty sums
        return b.full([sizes[k] for k in out], 0, accumulate)
    value = b.dot(
        x.value,
        y.value,
        (_positions(x, summed), _positions(y, summed)),
        (_positions(x, batch), _positions(y, batch)),
        accumulate,
    )
    return arrange(b, Labelled(value, tuple(order)), out)


def _positions(x: Labelled, labels: Sequence[Label]) -> list[int]:
    return [x.labels.index(label) for label in labels]


def _product(
    b: HLOBuilder, x: Labelled, y: Labelled, out: Sequence[Label], accumulate: np.dtype
) -> Value:
    sizes = {**x.sizes(), **y.sizes()}
    shape = tuple(sizes[k] for k in out)
    factors = [
        _spread(b, Labelled(b.convert(f.value, accumulate), f.labels), out, shape)
        for f in (x, y)
    ]
    return b.multiply(*factors)


def _spread(
    b: HLOBuilder, x: Labelled, out: Sequence[Label], shape: tuple[int, ...]
) -> Value:
    present = [label for label in out if label in x.labels]
    value = arrange(b, x, present)
    if value.shape == shape:
        return value
    return b.broadcast_in_dim(value, shape, [list(out).index(k) for k in present])


def arrange(b: HLOBuilder, x: Labelled, out: Sequence[Label]) -> Value:
    """The dimensions of `x` in the order of `out`, which has the same labels."""
    return b.transpose(x.value, _positions(x, out))


def rounded(b: HLOBuilder, value: Value, dtype: np.dtype) -> Value:
    """A result from its :func:`accumulator` to `dtype`; in bool, "is above zero"."""
    return b.convert(value, dtype)


def single_precision(function: Any) -> Any:
    """`function` of NumPy's, computed in float32 for arrays of smaller floats.

    NumPy and ml_dtypes round there after each product, or each block of them, or not;
    none of that is a definition. The dtype of the result is their own, or, if they
    refuse the dtype, that of the arrays.
    """

    def reference(*args: Any, **kwargs: Any) -> Any:
        arrays = [a for a in _leaves(args) if isinstance(a, np.ndarray)]
        if not any(is_low(a.dtype) for a in arrays):
            return function(*args, **kwargs)
        try:
            own = np.asarray(function(*args, **kwargs)).dtype
        except TypeError:
            own = np.result_type(*arrays)
        if "out" in kwargs:
            return function(*args, **kwargs)
        return np.asarray(function(*_widened(args), **kwargs)).astype(own)

    return reference


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in _leaves(v)]
    return [value]


def _widened(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_widened(v) for v in value)
    if isinstance(value, np.ndarray) and is_low(value.dtype):
        return value.astype(np.float32)
    return value
