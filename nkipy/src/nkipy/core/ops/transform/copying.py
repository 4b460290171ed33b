"""Ops that change an array's dtype, or nothing but its identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import A, DType, Special, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops._ufunc import require_layout
from nkipy.core.ops._views import Tensor, duplicate, no_scalar
from nkipy.core.ops.indexing.items import broadcast_value, store_value
from nkipy.core.ops.indexing.putting import destination, one
from nkipy.core.promotion import can_cast, result_type
from nkipy.core.tensor import View, as_operand, as_tensor, store_out
from nkipy.hlo.builder import HLOBuilder, Value

copy = Op(
    "copy",
    numpy=np.copy,
    dtypes=ALL,
    samples=cases(call(A(2, 3)), call(A(), order="C"), call(Special())),
)


@copy.impl("hlo")
def _copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """A tensor of the same value that later stores into `a` do not reach."""
    require_layout(order)
    return no_scalar(duplicate(as_tensor(a)))


@copy.modelling
def _copy_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = copy.bound(args, kwargs)
    if bound.arguments["order"] == "C":  # whatever the order of `a`, known or not
        shape = as_tensor(bound.arguments["a"]).shape
        bound.arguments["a"] = np.broadcast_to(np.zeros((), np.int8), shape)
    return bound.args, bound.kwargs


def _astype_reference(x: np.ndarray, dtype: Any, **options: Any) -> np.ndarray:
    return x.astype(dtype, **options)


#: What every dtype converts to in the samples; float to int only within range.
_TARGETS = (
    *dt.FLOATS,
    *dt.FP8,
    dt.int8,
    dt.int32,
    dt.uint16,
    dt.bool_,
    bool,
    int,
    float,
)


def _is_safe(source: np.dtype, target: Any) -> bool:
    """Whether NumPy defines the conversion of NaN, infinities, negative numbers."""
    return not dt.is_float(source) or dt.narrow(target).kind not in "iu"


def _astype_samples(dtype: np.dtype) -> Any:
    calls = [call(A(2, 3), float, copy=False), call(A(0, 2), DType)]
    for target in _TARGETS:
        array = Special() if _is_safe(dtype, target) else A(31)
        if dt.is_float(dtype) and dt.narrow(target).kind == "u":
            continue
        calls.append(call(array, target))
    return cases(*calls, thin=False)(dtype)


astype = Op(
    "astype",
    numpy=np.astype,
    reference=_astype_reference,
    dtypes=ALL,
    samples=_astype_samples,
    errors=[
        ErrorSample((X, np.complex64), {}, TypeError, "unsupported dtype"),
        ErrorSample((X, "U4"), {}, TypeError, "unsupported dtype"),
    ],
    note="NaN, infinite and out-of-range floats become integers as XLA has it; "
    "NumPy leaves those undefined",
)


@astype.impl("hlo")
def _astype(
    x: Any,
    dtype: Any,
    /,
    *,
    copy: bool = True,
    device: Any = None,
    casting: Any = "unsafe",
    order: Any = "K",
) -> Any:
    """`x` in `dtype`; itself if it has that, and the order, and `copy` is false.

    Raises:
        TypeError: `dtype` has no counterpart, or `casting` forbids the conversion.
        ValueError: `order` is none of C, F, A and K.
    """
    tensor = as_tensor(x)
    wanted = dt.as_dtype(dtype)
    target = dt.narrow(wanted)
    if casting != "unsafe" and not can_cast(tensor.dtype, wanted, casting):
        raise TypeError(
            f"Cannot cast array data from {tensor.dtype.name} to {wanted.name} "
            f"according to the rule '{casting}'"
        )
    if target == tensor.dtype:
        # As NumPy has the dtype that was asked for, and a copy for it.
        if not copy and wanted == target:
            return _laid_out(tensor, order)
        made = duplicate(tensor)
    else:
        ctx = tensor._ctx
        made = Tensor._wrap(ctx, ctx.convert(tensor.backend_tensor, target))
    if tensor._is_zero_d_array():
        made = no_scalar(made)
    return _laid_out(made, order)


def _laid_out(x: Tensor, order: Any) -> Tensor:
    """`x` if its elements lie in this order, else a copy in which they do."""
    if order not in ("C", "F", "A", "K", None):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    flags = x._layout().flags
    c, f = flags.c_contiguous, flags.f_contiguous
    if {"C": c, "F": f, "A": c or f}.get(order, True):
        return x
    return duplicate(x.T).T if order == "F" else duplicate(x)


def _same_width(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


view = Op(
    "view",
    reference=np.ndarray.view,
    dtypes=ALL,
    samples=lambda dtype: cases(
        call(A(2, 3), _same_width(dtype)),
        call(Special(), _same_width(dtype)),
        call(A(2)),
    )(dtype),
    errors=[
        ErrorSample((X, np.float16), {}, NotImplementedError, "itemsize"),
        ErrorSample((X, np.complex64), {}, TypeError, "unsupported dtype"),
        ErrorSample((X, X.dtype.newbyteorder()), {}, NotImplementedError, "byte order"),
        ErrorSample((np.zeros(2, np.int8), bool), {}, NotImplementedError, "astype"),
        ErrorSample((X, np.int64), {}, NotImplementedError, "as int32"),
        ErrorSample((X, float), {}, NotImplementedError, "as float32"),
    ],
    note="the new dtype must have the itemsize of the old one, and not 64 bits",
)


@view.impl("hlo")
def _view(x: Any, dtype: Any = None, /) -> Any:
    """The bits of `x` read as another dtype of the same width. A view."""
    tensor = as_tensor(x)
    own = tensor.dtype
    same = dtype is None or dtype is np.ndarray  # NumPy takes a class as well
    if not same:
        _check_bits(dtype)
    target = own if same else dt.narrow(dtype)
    if target.itemsize != own.itemsize:
        raise NotImplementedError(
            f"a view of {own.name} as {target.name} changes the itemsize from "
            f"{own.itemsize} to {target.itemsize}; it must stay the same"
        )
    if target == dt.bool_ != own:
        raise NotImplementedError("bytes viewed as bool; use astype(bool) or x != 0")
    return tensor._make_view(
        View(
            lambda b, base: _reinterpret(b, base, target),
            lambda b, old, new: _reinterpret(b, new, own),
            lambda a: a,  # the layout is the same
            ordered=True,
        )
    )


def _check_bits(dtype: Any) -> None:
    """Refuse what would have other bits here: another byte order, and 64 of them."""
    given = np.dtype(dtype)
    if not given.isnative:
        raise NotImplementedError(
            f"a view as {given.str!r}, of another byte order than the machine's; "
            "call .byteswap() before the kernel"
        )
    narrow = dt.narrow(given)
    if narrow.itemsize != given.itemsize:
        raise NotImplementedError(
            f"a view as {given.name}, whose bits the device does not have; view what "
            f"has 32 bits as {narrow.name}, and use astype({given.name}) to convert "
            "numbers"
        )


def _reinterpret(b: HLOBuilder, x: Value, dtype: np.dtype) -> Value:
    if dt.bool_ in (x.dtype, dtype) and x.dtype != dtype:  # pred has no defined bits
        if x.dtype == dt.bool_:
            return b.bitcast_convert(b.convert(x, dt.uint8), dtype)
        return b.convert(b.bitcast_convert(x, dt.uint8), dtype)
    return b.bitcast_convert(x, dtype)


# -- copyto ----------------------------------------------------------------------------
def _copyto_samples(dtype: np.dtype) -> Iterator[Sample]:
    mask = make((3, 4), dt.bool_)
    source = make((3, 4), dtype, seed=1)
    yield Sample((make((3, 4), dtype), source), label="whole")
    yield Sample((make((3, 4), dtype), source[0]), {"where": mask}, label="where")
    yield Sample((make((3, 4), dtype), one(dtype)), {"where": mask[0]}, label="scalar")
    yield Sample((make((3, 4), dtype), source[None]), {"where": mask}, label="deeper")


copyto = Op(
    "copyto",
    numpy=np.copyto,
    writes=("dst",),
    dtypes=dt.SUPPORTED,
    samples=_copyto_samples,
    errors=(
        ErrorSample((np.zeros(3, np.int32), np.zeros(3)), {}, TypeError, "cast"),
        ErrorSample(
            (np.zeros((3, 4), np.float32), np.zeros(3)), {}, ValueError, "broadcast"
        ),
    ),
)


@copyto.impl("hlo")
def _copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Store `src` into `dst` where the condition holds.

    Raises:
        TypeError: `casting` does not allow the cast.
        ValueError: the shapes do not broadcast.
    """
    ctx = get_hlo_context()
    dst = destination(dst)
    src = as_operand(src)
    if isinstance(src, (bool, int, float)) and not isinstance(src, np.generic):
        if casting != "unsafe" and result_type(dst.dtype, src) != dst.dtype:
            raise TypeError(f"cannot cast {src!r} to {dst.dtype.name} by '{casting}'")
        value = store_value(ctx, src, dst.dtype)
    else:
        value = as_hlo_tensor(ctx, src)
    if value.ndim > dst.ndim:  # as an assignment, and unlike out=
        value = broadcast_value(ctx, value, dst.shape)
    store_out(ctx, value, dst, where, casting)
