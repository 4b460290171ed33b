"""Bits in bytes, and one by one."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import INTEGRAL
from nkipy.core.ops._memory_order import memory_order
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.tensor import NKIPyTensorRef

_BITS = 8

packbits = Op(
    "packbits",
    numpy=np.packbits,
    memory_order="made",
    dtypes=INTEGRAL,
    samples=cases(
        call(A(3, 11)),
        call(A(3, 11), 1),
        call(A(16), bitorder="little"),
        call(A(11, 3), axis=0, bitorder="little"),
        call(A(2, 3, 8), -1),
        call(A(0, 3), 1),
        call(A(0)),
        call(A()),
    ),
    errors=[
        ErrorSample((X,), {}, TypeError, "integer or boolean"),
        ErrorSample((X > 0, 2), {}, np.exceptions.AxisError, "out of bounds"),
        ErrorSample((X > 0,), {"bitorder": "other"}, ValueError, "bitorder"),
    ],
)


@packbits.composed_impl
def _packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    """Elements that are not zero as bits, eight to a byte; uint8."""
    if not (a.dtype == dt.bool_ or dt.is_integer(a.dtype)):
        raise TypeError("Expected an input array of integer or boolean data type")
    places = _places(bitorder)
    rows = _along_last(a, axis)
    count = -(-rows.shape[-1] // _BITS)
    missing = count * _BITS - rows.shape[-1]
    widths = [(0, 0)] * (rows.ndim - 1) + [(0, missing)]
    bits = np.pad((rows != 0).astype(np.uint8), widths)
    bits = bits.reshape(*rows.shape[:-1], count, _BITS)
    packed = _back(np.sum(bits << places, axis=-1, dtype=np.uint8), axis, a)
    order = memory_order(a) if isinstance(a, NKIPyTensorRef) else None
    if order is None or axis is None:
        return packed
    back = np.argsort(order).tolist()
    return packed.transpose(*order).copy().transpose(*back)


unpackbits = Op(
    "unpackbits",
    numpy=np.unpackbits,
    memory_order="own",
    dtypes=supports(dt.uint8),
    samples=cases(
        call(A(3, 2)),
        call(A(3, 2), 1),
        call(A(3, 2), axis=0, bitorder="little"),
        call(A(4), count=19),
        call(A(4), count=-3),
        call(A(2, 3), -1, 30),
        call(A(2, 3), 1, 0),
        call(A(2), count=-20),
        call(A(0)),
        call(A()),
    ),
    errors=[
        ErrorSample((X,), {}, TypeError, "unsigned byte"),
        ErrorSample((X.astype(np.uint8), 0), {"bitorder": "x"}, ValueError, "bitorder"),
    ],
)


@unpackbits.composed_impl
def _unpackbits(
    a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big"
) -> Any:
    """The bits of bytes as elements 0 and 1; uint8."""
    if a.dtype != dt.uint8:
        raise TypeError("Expected an input array of unsigned byte data type")
    places = _places(bitorder)
    rows = _along_last(a, axis)
    bits = (rows[..., None] >> places) & np.uint8(1)
    length = rows.shape[-1] * _BITS
    bits = bits.reshape(*rows.shape[:-1], length)
    if count is not None:
        kept = operator.index(count)
        kept = kept if kept >= 0 else max(0, length + kept)
        widths = [(0, 0)] * (rows.ndim - 1) + [(0, max(0, kept - length))]
        bits = np.pad(bits[..., :kept], widths)
    return _back(bits, axis, a)


def _places(bitorder: Any) -> np.ndarray:
    """Which bit of a byte each of eight elements is."""
    if bitorder not in ("big", "little"):
        raise ValueError("'bitorder' must be either 'little' or 'big'")
    places = np.arange(_BITS, dtype=np.uint8)
    return places if bitorder == "little" else places[::-1].copy()


def _along_last(a: Any, axis: Any) -> Any:
    return a.reshape(-1) if axis is None or not a.ndim else np.moveaxis(a, axis, -1)


def _back(rows: Any, axis: Any, a: Any) -> Any:
    return rows if axis is None or not a.ndim else np.moveaxis(rows, -1, axis)
