"""Methods of ufuncs: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context, leaked
from nkipy.core.op_table import NUMPY_TABLE, OPS
from nkipy.core.ops._reduction import (
    deliver,
    finish,
    many_axes,
    mask_for,
    one_axis,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._static_take import take_static, windows
from nkipy.core.ops._ufunc import UFuncOp, as_value
from nkipy.core.ops._views import duplicate
from nkipy.core.ops.indexing._advanced import AdvancedIndex
from nkipy.core.ops.indexing._parse import parse_index
from nkipy.core.ops.reduce.scan import FOLDS, scan
from nkipy.core.promotion import as_arrays, can_cast, is_ours, kind_of
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
from nkipy.hlo.builder import Value

NO_VALUE = np._NoValue
_INT64 = np.dtype(np.int64)
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
#: Ufuncs that are one associative opcode of integers and bool: keys of the folds of a
#: scan.
_OPCODES: dict[Any, str] = {
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.bitwise_and: "and",
    np.bitwise_or: "or",
    np.bitwise_xor: "xor",
    np.logical_and: "and",
    np.logical_or: "or",
    np.logical_xor: "xor",
}
#: Those that are an opcode of floats as well.
_FLOAT_SCANS: dict[Any, str] = {np.maximum: "maximum", np.minimum: "minimum"}
#: Ufuncs that have no identity, and reduce several axes all the same.
_REORDERABLE = frozenset({np.maximum, np.minimum, np.fmax, np.fmin})
_SCANS: dict[Any, str] = {np.add: "cumsum", np.multiply: "cumprod"}
#: Opcodes by which a scatter combines; a bool sum is an or, a product an and.
_SCATTERS: dict[Any, str] = {
    **{u: name for u, name in _OPCODES.items() if not u.__name__.startswith("logical")},
    np.add: "add",
    np.subtract: "add",
    np.multiply: "multiply",
}


def _by_numpy(method: str) -> Callable[..., Any]:
    """The method of a ufunc, as a function of the ufunc and its arguments."""

    def call(ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*args, **kwargs)

    return call


def _method_op(method: str, **record: Any) -> Op:
    return Op(f"ufunc.{method}", reference=_by_numpy(method), **record)


reduce = _method_op("reduce")
accumulate = _method_op("accumulate")
outer = _method_op("outer")
at = _method_op("at", writes=("a",))
reduceat = _method_op("reduceat")


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
    if name is None or (initial is None and 0 in x.shape):
        return _fold(ufunc, x, axis, dtype, out, keepdims, initial, where)
    _, rest, result = _reduction_loop(ufunc, x.dtype, dtype, out)
    keywords: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "where": where}
    if rest != result and rest == dt.uint32:
        _check_initial(initial)
        made = OPS[name](x, **keywords, initial=initial)
        ctx = get_hlo_context()
        return deliver(ctx, ctx.convert(made.backend_tensor, result), out)
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
    ctx, shape = get_hlo_context(), x.shape
    axes = many_axes(axis, x.ndim)
    first, rest, result = _reduction_loop(ufunc, x.dtype, dtype, out)
    if first == dt.uint32 != result:
        _check_initial(initial)
    x = x.astype(rest, copy=False)
    start = ufunc.identity if initial is NO_VALUE else initial
    mask = mask_for(ctx, where, shape)
    if mask is not None:
        x = _selected(ufunc, x, mask, start)
    is_wide = _is_lcm_in_64_bits(ufunc, dtype)
    if len(axes) > 1 and ufunc.identity is None and ufunc not in _REORDERABLE:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most "
            "one axis may be specified"
        )
    opcode = _opcode(ufunc, rest)
    if opcode is not None and start is not None:
        identity = FOLDS[opcode].start(rest)
        value = ctx.reduce(x.backend_tensor, opcode, identity, axes)
        made = NKIPyTensorRef._wrap(ctx, value)
        if initial is not NO_VALUE:
            made = ufunc(_constant(initial, first), made)
    elif mask is None or ufunc.identity is not None:
        step = _Step(ufunc, first, initial is NO_VALUE, is_wide)
        made = _unrolled(step, x, axes, start)
    elif is_wide:
        chosen = NKIPyTensorRef._wrap(ctx, mask)
        step = _Step(ufunc, first, is_wide=True)
        made = _unrolled(step, OPS["where"](chosen, x, _constant(1, rest)), axes, start)
    else:
        made = _masked(_Step(ufunc, first), x, mask, axes, start)
    made = made.astype(result, copy=False)
    return finish(ctx, made.backend_tensor, shape, axes, keepdims, out)


def _reduction_loop(
    ufunc: np.ufunc, x: np.dtype, dtype: Any, out: Any, one_dtype: bool = False
) -> tuple[np.dtype, np.dtype, np.dtype]:
    """The dtypes of a reduction: of what is combined so far, of elements, the result.

    bfloat16 and fp8 are combined, many times, in float32, and rounded once. uint32
    remain uint32 where NumPy takes int64 and the order of numbers matters; only the
    result wraps.

    Raises:
        TypeError: NumPy has no such reduction, as it has none of ``np.less``.
    """
    wanted = None if dtype is None else dt.as_dtype(dtype)
    given = getattr(out, "dtype", None) if wanted is None else None
    kinds = [given, x, None]
    low = wanted if wanted is not None else given if given is not None else x
    options: dict[str, Any] = {"reduction": True, "casting": "unsafe"}
    if wanted is not None:
        stand_in = dt.float32 if is_ours(wanted) else wanted
        options["signature"] = (stand_in, None, None)
    for i, kind in enumerate(kinds):
        kinds[i] = dt.float32 if is_ours(kind) else kind
    loop = ufunc.resolve_dtypes(tuple(kinds), **options)
    first, rest, made = map(dt.narrow, loop)
    if first != made or (one_dtype and first != rest):
        raise TypeError(
            f"{ufunc.__name__} of {first.name} and {rest.name} gives {made.name}, "
            "which a reduction cannot go on with"
        )
    if x == dt.uint32 and set(loop) == {_INT64} and _keeps_uint32(ufunc):
        return x, x, first
    rounds = is_ours(low) and first == dt.float32
    return first, rest, low if rounds else first


def _keeps_uint32(ufunc: np.ufunc) -> bool:
    op = NUMPY_TABLE[ufunc]
    assert isinstance(op, UFuncOp)
    return op.keep_uint32


def _check_initial(initial: Any) -> None:
    """Raise NotImplementedError unless uint32 can be combined with it as uint32."""
    if initial is NO_VALUE or initial is None:
        return
    if isinstance(initial, NKIPyTensorRef) or not 0 <= initial < 2**32:
        raise NotImplementedError(
            f"initial={initial} of a reduction of uint32 in int64, which is int32 "
            "here; without initial= large numbers count as what they are"
        )


def _opcode(ufunc: np.ufunc, dtype: np.dtype) -> str | None:
    """The opcode that is `ufunc` on elements of `dtype`, none of which changes it."""
    return _OPCODES.get(ufunc) if dtype in _integral else None


_integral = frozenset({*dt.INTEGERS, dt.bool_})


def _constant(value: Any, dtype: np.dtype) -> NKIPyTensorRef:
    return as_tensor(value).astype(dtype, copy=False)


def _selected(
    ufunc: np.ufunc, x: NKIPyTensorRef, mask: Value, start: Any
) -> NKIPyTensorRef:
    """`x`, with the identity where the mask does not hold, if there is one."""
    if start is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to "
            "use a where mask one has to specify 'initial'"
        )
    if ufunc.identity is None:
        return x
    ctx = get_hlo_context()
    other = ctx.full(x.shape, _constant_of(ufunc.identity, x.dtype), x.dtype)
    return NKIPyTensorRef._wrap(ctx, ctx.select(mask, x.backend_tensor, other))


def _constant_of(identity: Any, dtype: np.dtype) -> Any:
    """An identity as a scalar of `dtype`: that of ``np.bitwise_and`` is -1."""
    return np.array(identity).astype(dtype)[()]


class _Step:
    """One step of a reduction, whose result has the dtype of what it goes on with.

    Args:
        ufunc: what combines two.
        dtype: of what is combined so far.
        from_identity: whether reductions start with the ufunc's identity.
        is_wide: whether what is combined so far has 64 bits for NumPy, and the last 32
            of these depend on all: see :func:`_lcms`.
    """

    def __init__(
        self,
        ufunc: np.ufunc,
        dtype: np.dtype,
        from_identity: bool = False,
        is_wide: bool = False,
    ) -> None:
        self.ufunc = ufunc
        self.dtype = dtype
        self.from_identity = from_identity
        self.is_wide = is_wide

    def begin(self, value: Any) -> NKIPyTensorRef:
        return _constant(value, self.dtype)

    def first(self, start: Any, element: NKIPyTensorRef) -> NKIPyTensorRef:
        """The first element combined with `start`, or itself if that is None."""
        if start is None:
            return self.begin(element)
        if not self.from_identity:
            start = OPS["broadcast_to"](self.begin(start), element.shape)
            return self(start, element)
        changed = self.ufunc in (np.gcd, np.hypot)  # an identity but for the sign
        return self.begin(abs(element) if changed else element)

    def __call__(self, so_far: Any, element: Any) -> NKIPyTensorRef:
        return self.ufunc(so_far, element).astype(self.dtype, copy=False)


def _unrolled(
    step: _Step, x: NKIPyTensorRef, axes: tuple[int, ...], start: Any
) -> NKIPyTensorRef:
    """NumPy's own order: element after element along each axis, after `start`."""
    if not axes:
        return step.first(start, x)
    for axis in reversed(axes):
        begin = start if axis == axes[0] or 0 in x.shape else None
        x = _along(step, x, axis, begin)
    return x


def _along(step: _Step, x: NKIPyTensorRef, axis: int, start: Any) -> NKIPyTensorRef:
    parts = list(_elements(x, axis))
    if not parts:
        return _without_elements(step, x, axis, start)
    so_far = step.first(start, parts[0])
    if step.is_wide:
        return _lcms(step, [so_far, *parts[1:]])[-1]
    for part in parts[1:]:
        so_far = step(so_far, part)
    return so_far


def _without_elements(
    step: _Step, x: NKIPyTensorRef, axis: int, start: Any
) -> NKIPyTensorRef:
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if start is None and 0 not in shape:
        raise ValueError(
            f"zero-size array to reduction operation {step.ufunc.__name__} which has "
            "no identity"
        )
    begin = step.begin(0 if start is None else start)
    return duplicate(OPS["broadcast_to"](begin, shape))


def _masked(
    step: _Step, x: NKIPyTensorRef, mask: Value, axes: tuple[int, ...], start: Any
) -> NKIPyTensorRef:
    """A reduction by what has no identity: elements are passed over.

    Of several axes, whose order means nothing to those ufuncs that take them.
    """
    chosen = NKIPyTensorRef._wrap(get_hlo_context(), mask)
    so_far: Any = step.begin(start)
    if len(axes) > 1:
        x, chosen = _merged(x, axes), _merged(chosen, axes)
        axes = (0,)
    if not axes:
        return OPS["where"](chosen, step(so_far, x), so_far)
    if not x.shape[axes[0]]:
        return _without_elements(step, x, axes[0], start)
    pairs = zip(_elements(x, axes[0]), _elements(chosen, axes[0]))
    for part, holds in pairs:
        so_far = OPS["where"](holds, step(so_far, part), so_far)
    return so_far


def _merged(x: NKIPyTensorRef, axes: tuple[int, ...]) -> NKIPyTensorRef:
    """`x` with `axes` as one, the first."""
    x = OPS["moveaxis"](x, axes, range(len(axes)))
    rest = x.shape[len(axes) :]
    return OPS["reshape"](x, (math.prod(x.shape[: len(axes)]), *rest))


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
    axis = one_axis(axis, x.ndim)
    first, rest, result = _reduction_loop(ufunc, x.dtype, dtype, out, one_dtype=True)
    x = x.astype(rest, copy=False)
    opcode = _opcode(ufunc, rest) or _FLOAT_SCANS.get(ufunc)
    if opcode is not None:
        value = scan(ctx, x.backend_tensor, opcode, axis)
        return deliver(ctx, ctx.convert(value, result), out)
    step = _Step(ufunc, first, is_wide=_is_lcm_in_64_bits(ufunc, dtype))
    parts = _running(step, list(_elements(x, axis)))
    made: Any = as_tensor(np.stack(parts, axis)) if parts else x
    return deliver(ctx, ctx.convert(made.backend_tensor, result), out)


def _running(step: _Step, parts: list[Any]) -> list[Any]:
    if step.is_wide:
        return _lcms(step, parts)
    for i, part in enumerate(parts):
        parts[i] = step(parts[i - 1], part) if i else step.begin(part)
    return parts


# -- lcm in 64 bits --------------------------------------------------------------------
def _is_lcm_in_64_bits(ufunc: np.ufunc, dtype: Any) -> bool:
    """Whether NumPy has least common multiples beyond 32 bits before the last one."""
    return ufunc is np.lcm and dtype is not None and dt.as_dtype(dtype).itemsize == 8


def _lcms(step: _Step, parts: list[Any]) -> list[Any]:
    """The last 32 bits of the least common multiples of each part and all before it.

    Each part is a factor of the next multiple when it has been divided by what it has
    in common with the factors before: these have 32 bits, and a product may wrap.
    """
    multiples = [step.begin(part) for part in parts[:1]]
    if len(parts) == 1:
        return multiples
    rest: Any = abs(np.stack(parts)).astype(dt.uint32)
    multiple = factor = rest[0]
    while rest.shape[0] > 1:
        rest = rest[1:] // np.maximum(np.gcd(factor, rest[1:]), 1)
        factor = rest[0]
        multiple = multiple * factor
        multiples.append(step.begin(multiple))
    return multiples


# -- outer -----------------------------------------------------------------------------
@outer.impl("hlo")
def _outer(ufunc: np.ufunc, A: Any, B: Any, **kwargs: Any) -> Any:
    """`ufunc` of every element of `A` with every one of `B`."""
    if ufunc.nin != 2:
        raise ValueError("outer product only supported for binary functions")
    left, right = map(as_tensor, as_arrays([as_operand(A), as_operand(B)]))
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
    if ufunc in _FLOAT_SCANS and _wraps_between(a.dtype, kind_of(values[0]), loop):
        raise NotImplementedError(
            f"ufunc.at of {ufunc.__name__} stores numbers beyond {a.dtype.name} on the "
            f"way, which depends on the order; convert b first: b.astype(a.dtype)"
        )
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


def _wraps_between(stored: np.dtype, given: Any, loop: np.dtype) -> bool:
    """Whether what is stored step by step is another integer than what is compared."""
    return dt.is_integer(loop) and (stored != loop or loop != given == dt.uint32)


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
    ctx, x, out = get_hlo_context(), as_tensor(array), _only(out)
    if not x.shape:
        raise TypeError("cannot reduceat on a scalar")
    axis = one_axis(axis, x.ndim)
    size, starts = x.shape[axis], [int(i) for i in indices]
    for start in starts:
        if not 0 <= start < size:
            raise IndexError(f"index {start} out-of-bounds in reduceat [0, {size})")
    result_dtype = _reduction_loop(ufunc, x.dtype, dtype, out, one_dtype=True)[2]
    if not starts:
        shape = [0 if i == axis else d for i, d in enumerate(x.shape)]
        return deliver(ctx, ctx.full(shape, 0, result_dtype), out)
    lengths = np.maximum(np.diff([*starts, size]), 1)
    parts: list[Value] = []
    order: list[int] = []
    for length in np.unique(lengths).tolist():  # one reduction for each length
        places = np.flatnonzero(lengths == length)
        begins = np.array(starts)[places]
        pieces = as_tensor(windows(ctx, x.backend_tensor, begins, length, axis))
        part = _segments(ufunc, pieces, axis + 1, dtype, out)
        kept = [d for i, d in enumerate(part.shape) if i != axis + 1]
        parts.append(ctx.reshape(part.backend_tensor, kept))
        order += places.tolist()
    result = ctx.concatenate(parts, axis)
    return deliver(ctx, take_static(ctx, result, np.argsort(order), axis), out)


def _segments(
    ufunc: np.ufunc, x: NKIPyTensorRef, axis: int, dtype: Any, out: Any
) -> NKIPyTensorRef:
    """The reductions of slices that lie along `axis`, which begin with their first."""
    if dtype is None:
        dtype = getattr(out, "dtype", None)
    if ufunc in _REDUCTIONS:
        return _reduce(ufunc, x, axis, dtype, keepdims=True)
    return _fold(ufunc, x, axis, dtype, None, True, None, True)
