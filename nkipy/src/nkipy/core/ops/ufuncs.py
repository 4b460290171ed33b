"""Methods of ufuncs: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context, leaked
from nkipy.core.op_table import NUMPY_TABLE, OPS
from nkipy.core.ops._reduction import deliver, finish, many_axes, one_axis
from nkipy.core.ops._registry import Op
from nkipy.core.ops._ufunc import UFuncOp, as_value
from nkipy.core.ops.indexing._advanced import AdvancedIndex
from nkipy.core.ops.indexing._parse import parse_index
from nkipy.core.ops.reduce.scan import FOLDS, scan
from nkipy.core.promotion import can_cast, is_ours, kind_of
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

NO_VALUE = np._NoValue
#: What has no opcode to fold with is unrolled, up to this many elements.
MAX_UNROLLED = 256

#: The ops that are a ufunc's reduction.
_REDUCTIONS: dict[Any, str] = {
    np.add: "sum",
    np.multiply: "prod",
    np.maximum: "max",
    np.minimum: "min",
    np.logical_and: "all",
    np.logical_or: "any",
}
#: Ufuncs that are one associative opcode: keys of the folds of a scan.
_OPCODES: dict[Any, str] = {
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.bitwise_and: "and",
    np.bitwise_or: "or",
    np.bitwise_xor: "xor",
}
_SCANS: dict[Any, str] = {np.add: "cumsum", np.multiply: "cumprod"}
#: Opcodes by which a scatter combines; a bool sum is an or, a product an and.
_SCATTERS: dict[Any, str] = {
    **_OPCODES,
    np.add: "add",
    np.subtract: "add",
    np.multiply: "multiply",
}

reduce = Op("ufunc.reduce", register=True)
accumulate = Op("ufunc.accumulate", register=True)
outer = Op("ufunc.outer", register=True)
at = Op("ufunc.at", writes=("a",), register=True)
reduceat = Op("ufunc.reduceat", register=True)


def _binary(ufunc: np.ufunc, method: str) -> None:
    if ufunc.nin != 2 or ufunc.nout != 1:
        raise ValueError(f"{method} only supported for binary functions")
    if ufunc not in NUMPY_TABLE:
        raise NotImplementedError(
            f"NumPy function '{ufunc.__name__}' has not been implemented in NKIPy."
        )


def _elements(x: NKIPyTensorRef, axis: int) -> Iterator[NKIPyTensorRef]:
    """The parts of `x` along `axis`, which they no longer have."""
    if x.shape[axis] > MAX_UNROLLED:
        raise NotImplementedError(
            f"this ufunc has no HLO opcode to fold with, and {x.shape[axis]} elements "
            f"are too many to unroll (at most {MAX_UNROLLED})"
        )
    index: list[Any] = [slice(None)] * x.ndim
    for i in range(x.shape[axis]):
        index[axis] = i
        yield x[tuple(index)]


# -- reduce ----------------------------------------------------------------------------
@reduce.impl("hlo")
def _reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = NO_VALUE,
    where: Any = True,
) -> NKIPyTensorRef:
    """`array` combined by `ufunc` over `axis`, by default the first; None: all axes.

    Raises:
        ValueError: the ufunc has no identity and there are no elements.
        NotImplementedError: the ufunc is no HLO opcode and the axis is long.
    """
    _binary(ufunc, "reduce")
    x, out = as_tensor(array), _only(out)
    name = _REDUCTIONS.get(ufunc)
    if name is None:
        return _fold(ufunc, x, axis, dtype, out, keepdims, initial, where)
    keywords: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "where": where}
    if name in ("sum", "prod"):
        keywords["dtype"] = dtype
    elif dtype is not None:
        x = x.astype(dtype)
    if name in ("all", "any"):
        if initial is not NO_VALUE:
            return _fold(ufunc, x, axis, dtype, out, keepdims, initial, where)
    else:
        keywords["initial"] = initial
    return OPS[name](x, out=out, **keywords)


def _only(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def _fold(
    ufunc: np.ufunc,
    x: NKIPyTensorRef,
    axis: Any,
    dtype: Any,
    out: Any,
    keepdims: Any,
    initial: Any,
    where: Any,
) -> NKIPyTensorRef:
    if where is not True:
        if ufunc.identity is None:
            raise NotImplementedError(f"where= in a reduction by {ufunc.__name__}")
        x = OPS["where"](where, x, as_tensor(ufunc.identity, x.dtype))
    ctx, shape = get_hlo_context(), x.shape
    axes = many_axes(axis, x.ndim)
    x = x if dtype is None else x.astype(dtype)
    opcode = _OPCODES.get(ufunc)
    if opcode is not None and x.dtype in _integral:
        fold = FOLDS[opcode]
        value = ctx.reduce(x.backend_tensor, opcode, fold.start(x.dtype), axes)
        result = NKIPyTensorRef._wrap(ctx, value)
        if initial is not NO_VALUE and initial is not None:
            result = ufunc(result, initial)
    else:
        result = _narrow(_unrolled(ufunc, _wide(x), axes, initial), x)
    return finish(ctx, result.backend_tensor, shape, axes, keepdims, out)


def _wide(x: NKIPyTensorRef) -> NKIPyTensorRef:
    """`x` as it is combined, many times: bfloat16 and fp8 in float32."""
    return x.astype(np.float32) if is_ours(x.dtype) else x


def _narrow(result: NKIPyTensorRef, x: NKIPyTensorRef) -> NKIPyTensorRef:
    """What was made of ``_wide(x)``, rounded once."""
    rounds = is_ours(x.dtype) and result.dtype == dt.float32
    return result.astype(x.dtype) if rounds else result


_integral = frozenset({*dt.INTEGERS, dt.bool_})


def _unrolled(
    ufunc: np.ufunc, x: NKIPyTensorRef, axes: tuple[int, ...], initial: Any
) -> NKIPyTensorRef:
    """NumPy's own order: element after element along each axis."""
    if len(axes) > 1 and ufunc.identity is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most "
            "one axis may be specified"
        )
    for axis in sorted(axes, reverse=True):
        parts = list(_elements(x, axis))
        if not parts:
            x = _without_elements(ufunc, x, axis)
            continue
        x = parts[0]
        for part in parts[1:]:
            x = ufunc(x, part)
    return x if initial is NO_VALUE or initial is None else ufunc(initial, x)


def _without_elements(ufunc: np.ufunc, x: NKIPyTensorRef, axis: int) -> Any:
    if ufunc.identity is None:
        raise ValueError(
            f"zero-size array to reduction operation {ufunc.__name__} which has no "
            "identity"
        )
    ctx = get_hlo_context()
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    dtype = _result_dtype(ufunc, x.dtype, x.dtype)
    return NKIPyTensorRef._wrap(ctx, ctx.full(shape, ufunc.identity, dtype))


def _result_dtype(ufunc: np.ufunc, *kinds: Any) -> np.dtype:
    op = NUMPY_TABLE[ufunc]
    assert isinstance(op, UFuncOp)
    return op.loop(kinds, None, "same_kind").outputs[0]


# -- accumulate ------------------------------------------------------------------------
@accumulate.impl("hlo")
def _accumulate(
    ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None
) -> NKIPyTensorRef:
    """What `ufunc` makes of each element and all before it along `axis`.

    Raises:
        TypeError: `array` is 0-d.
        NotImplementedError: the ufunc is no HLO opcode and the axis is long.
    """
    _binary(ufunc, "accumulate")
    ctx, x, out = get_hlo_context(), as_tensor(array), _only(out)
    if not x.shape:
        raise TypeError("cannot accumulate on a scalar")
    name = _SCANS.get(ufunc)
    if name is not None:
        return OPS[name](x, axis=axis, dtype=dtype, out=out)
    x = x if dtype is None else x.astype(dtype)
    axis = one_axis(axis, x.ndim)
    opcode = _OPCODES.get(ufunc)
    if opcode is not None:
        return deliver(ctx, scan(ctx, x.backend_tensor, opcode, axis), out)
    parts = _running(ufunc, list(_elements(_wide(x), axis)))
    result: Any = _narrow(as_tensor(np.stack(parts, axis)), x) if parts else x
    return deliver(ctx, result.backend_tensor, out)


def _running(ufunc: np.ufunc, parts: list[Any]) -> list[Any]:
    for i in range(1, len(parts)):
        parts[i] = ufunc(parts[i - 1], parts[i])
    return parts


# -- outer -----------------------------------------------------------------------------
@outer.impl("hlo")
def _outer(ufunc: np.ufunc, A: Any, B: Any, **kwargs: Any) -> Any:
    """`ufunc` of every element of `A` with every one of `B`."""
    if ufunc.nin != 2:
        raise ValueError("outer product only supported for binary functions")
    left, right = as_tensor(A), as_tensor(B)
    return ufunc(left.reshape(left.shape + (1,) * right.ndim), right, **kwargs)


# -- at --------------------------------------------------------------------------------
@at.impl("hlo")
def _at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = NO_VALUE) -> None:
    """``a[indices] = ufunc(a[indices], b)`` in place, for an element that is named
    several times as often as it is named.

    Raises:
        TypeError: the result cannot be stored in the dtype of `a`.
        NotImplementedError: a ufunc that XLA's scatter cannot apply.
    """
    ctx = get_hlo_context()
    a = _destination(a)
    parsed = parse_index(ctx, a.shape, indices)
    values = [] if b is NO_VALUE else [as_operand(b)]
    if len(values) + 1 != ufunc.nin:
        raise TypeError(f"takes {ufunc.nin} operands, but received {len(values) + 1}")
    if parsed.is_basic:
        result = ufunc(a[indices], *values)
        _check_cast(result.dtype, a.dtype)
        a[indices] = result
        return
    opcode = _SCATTERS.get(ufunc)
    if opcode is None or parsed.masks:
        what = "with a traced mask" if parsed.masks else f"of {ufunc.__name__}"
        raise NotImplementedError(
            f"ufunc.at {what} has no scatter; if no element is named twice, store "
            "a[i] = f(a[i], b), or use np.where for a mask"
        )
    loop = _scatter_dtype(ufunc, a, values[0])
    value = as_value(ctx, values[0], loop)
    value = ctx.negate(value) if ufunc is np.subtract else value
    index = AdvancedIndex(parsed)
    if np.broadcast_shapes(value.shape, index.shape) != index.shape:
        raise ValueError(f"cannot broadcast {value.shape} to {index.shape}")
    if loop == dt.bool_:
        opcode = FOLDS[opcode].bool_opcode
    dtype = dt.float32 if is_ours(loop) else loop  # rounded once, at the end
    wide = ctx.convert(a.backend_tensor, dtype)
    value = ctx.broadcast_to(ctx.convert(value, dtype), index.shape)
    a._assign(ctx.convert(index.write(ctx, wide, value, opcode), a.dtype))


def _destination(a: Any) -> NKIPyTensorRef:
    if not isinstance(a, NKIPyTensorRef):
        raise TypeError(
            "the first operand is written in place, so it must be a traced array, but "
            f"is {type(a).__name__}"
        )
    if a._ctx is not get_hlo_context():
        raise leaked(a)
    return a


def _scatter_dtype(ufunc: np.ufunc, a: NKIPyTensorRef, b: Any) -> np.dtype:
    result = _result_dtype(ufunc, a.dtype, kind_of(b))
    _check_cast(result, a.dtype)
    return result


def _check_cast(given: np.dtype, wanted: np.dtype) -> None:
    if not can_cast(given, wanted, "same_kind"):
        raise TypeError(
            f"cannot cast the result from {given.name} to {wanted.name} with casting "
            "rule 'same_kind'"
        )


# -- reduceat --------------------------------------------------------------------------
@reduceat.impl("hlo")
def _reduceat(
    ufunc: np.ufunc,
    array: Any,
    indices: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
) -> NKIPyTensorRef:
    """The reductions of the slices that begin at `indices` along `axis`.

    Raises:
        IndexError: an index out of range.
        NotImplementedError: traced indices.
    """
    _binary(ufunc, "reduceat")
    if isinstance(indices, NKIPyTensorRef):
        raise NotImplementedError(
            "ufunc.reduceat with traced indices: the slices' lengths are not known; "
            "use ufunc.at with segment numbers"
        )
    x = as_tensor(array)
    axis = one_axis(axis, x.ndim)
    size, starts = x.shape[axis], [int(i) for i in indices]
    for start in starts:
        if not 0 <= start < size:
            raise IndexError(f"index {start} out-of-bounds in reduceat [0, {size})")
    parts: list[Any] = []
    for start, stop in zip(starts, [*starts[1:], size]):
        piece: list[Any] = [slice(None)] * x.ndim
        piece[axis] = slice(start, stop if stop > start else start + 1)
        parts.append(_reduce(ufunc, x[tuple(piece)], axis, dtype, keepdims=True))
    result: Any = np.concatenate(parts, axis)
    return deliver(get_hlo_context(), result.backend_tensor, _only(out))
