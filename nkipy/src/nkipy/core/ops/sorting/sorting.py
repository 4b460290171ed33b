"""Sorting: NumPy's order (NaN last, zeros of both signs equal), always stable.

The module is not called ``sort``: the package's attribute of that name is the op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import index
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import flat_or_axis, one_axis, operand, rounding_once
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops.indexing._along_axis import AlongAxis
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOComputation, Shape

#: Keys of one sort: what a comparator is of, a compiler writes out.
_MOST_KEYS = 4


# -- lowering --------------------------------------------------------------------------
def precedes(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Whether `x` comes before `y` in NumPy's order, in which NaN is last."""
    if not dt.is_float(x.dtype):
        return b.compare(x, y, "LT")
    number = b.compare(x, x, "EQ")
    return b.and_(number, b.not_(b.compare(y, x, "LE")))


def _comparator(b: HLOBuilder, dtypes: Sequence[Any], keys: int) -> HLOComputation:
    """Compares two rows by the first `keys` of `dtypes`, the first of all first."""
    names = "_".join(dt.HLO_NAMES[d] for d in dtypes)
    cache_key = (f"precedes_by_{keys}_of_{names}", dtypes[0])
    found = b._reducers.get(cache_key)
    if found is None:
        found = b._reducers[cache_key] = HLOComputation(cache_key[0])
        pairs = [
            (found.add_parameter((), d, f"x{i}"), found.add_parameter((), d, f"y{i}"))
            for i, d in enumerate(dtypes)
        ]
        found.root = _lexicographic(HLOBuilder(found), pairs[:keys])
    return found


def _lexicographic(b: HLOBuilder, pairs: Sequence[tuple[Value, Value]]) -> Value:
    *more, last = pairs
    root = precedes(b, *last)
    for x, y in reversed(more):
        not_after = b.not_(precedes(b, y, x))
        root = b.or_(precedes(b, x, y), b.and_(not_after, root))
    return root


def sort_along(
    b: HLOBuilder, keys: Sequence[Value], rest: Sequence[Value], axis: int
) -> tuple[Value, ...]:
    """`keys` and `rest`, of one shape, in the order of the keys along `axis`."""
    operands = (*keys, *rest)
    x = operands[0]
    if x.shape[axis] <= 1 or 0 in x.shape:
        return operands
    widened = tuple(_orderable(b, v) for v in operands)
    compare = _comparator(b, [v.dtype for v in widened], len(keys))
    attributes = {"dimension": axis, "is_stable": True, "to_apply": compare}
    if len(widened) == 1:
        one = b.emit("sort", widened, x.shape, widened[0].dtype, attributes)
        made: tuple[Value, ...] = (one,)
    else:
        shapes = [Shape(v.dtype, v.shape) for v in widened if v.dtype]
        made = b.tuple_result("sort", widened, shapes, attributes)
    return tuple(b.convert(v, o.dtype) for v, o in zip(made, operands))


def _orderable(b: HLOBuilder, x: Value) -> Value:
    """`x` in a dtype that is cheap to compare: fp8 has no comparison of its own."""
    return b.convert(x, dt.float32) if x.dtype in dt.FP8 else x


def argsort_along(b: HLOBuilder, keys: Sequence[Value], axis: int) -> Value:
    """Indices along `axis` that put `keys` in order, as int32; stable.

    By many keys, it sorts several times, by the last ones first.
    """
    shape = keys[0].shape
    order = b.iota(shape, axis)
    if shape[axis] <= 1 or 0 in shape:
        return order
    for end in range(len(keys), 0, -_MOST_KEYS):
        some = keys[max(end - _MOST_KEYS, 0) : end]
        if end < len(keys):
            along = AlongAxis(
                b, shape, NKIPyTensorRef._wrap(get_hlo_context(), order), axis
            )
            some = [along.read(b, key) for key in some]
        order = sort_along(b, some, (order,), axis)[-1]
    return order


# -- arguments -------------------------------------------------------------------------
def _check_kind(kind: Any, order: Any, stable: Any = None) -> None:
    """The algorithms differ in nothing that can be seen: every sort here is stable."""
    if order is not None:
        raise ValueError("cannot specify order when the array has no fields")
    if kind is None:
        return
    if stable is not None:
        raise ValueError("kind= and stable= cannot be given together")
    if not isinstance(kind, str):
        raise TypeError(f"sort kind must be str, not {type(kind).__name__}")
    if kind[:1].lower() not in ("q", "h", "s", "m"):
        raise ValueError(
            f"sort kind must be one of 'quick', 'heap', or 'stable' (got {kind!r})"
        )


def _check_kth(kth: Any, size: int) -> None:
    """A complete sort partitions at every `kth`; what remains is that it exists."""
    if isinstance(kth, NKIPyTensorRef):
        if not dt.is_integer(kth.dtype):
            raise TypeError("partition index must be integer")
        return
    for k in np.ravel(np.asarray(kth)):
        if isinstance(k, np.bool_):
            raise TypeError("partition index must be integer, not bool")
        if not -size <= index(k) < size:
            raise ValueError(f"kth(={k}) out of bounds ({size})")


# -- samples ---------------------------------------------------------------------------
def _samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape in ((1,), (0,), (5,), (3, 0, 2), (2, 67)):
        yield Sample((make(shape, dtype),), label=f"shape{shape}")
    yield Sample((make((4, 3, 2), dtype),), {"axis": 1}, "middle axis")
    yield Sample((make((4, 3), dtype),), {"axis": None}, "flat")
    yield Sample((make((), dtype),), {"axis": None}, "0-d")
    yield Sample((make((4, 3), dtype), 0), label="axis by position")
    yield Sample((make((40,), dtype, 0, 3),), {"kind": "stable"}, "ties")
    yield Sample((make((5,), dtype),), {"stable": True}, "stable")
    mixed = np.concatenate([special(dtype)[::-1], special(dtype)])
    yield Sample((mixed,), {"kind": "stable"}, "special")


def _partition_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, kth in (((5,), 2), ((2, 7), -1), ((1,), 0), ((6,), [1, -2])):
        yield Sample((make(shape, dtype), kth), label=f"shape{shape} kth {kth}")
    yield Sample((make((4, 3), dtype), 1), {"axis": 0}, "axis")
    yield Sample((make((4, 3), dtype), 7), {"axis": None}, "flat")
    yield Sample((special(dtype), 1), label="special")


_AXIS_ERROR = np.exceptions.AxisError
_ERRORS = (
    ErrorSample((X,), {"axis": 2}, _AXIS_ERROR, "out of bounds"),
    ErrorSample((X,), {"axis": (0, 1)}, TypeError, "integer"),
    ErrorSample((X,), {"kind": "bogo"}, ValueError, "sort kind"),
    ErrorSample((X,), {"order": "x"}, ValueError, "order"),
)
_PARTITION_ERRORS = (
    ErrorSample((X, 3), {}, ValueError, "out of bounds"),
    ErrorSample((X, 1.0), {}, TypeError, "integer"),
    ErrorSample((X, 0), {"axis": 2}, _AXIS_ERROR, "out of bounds"),
)


# ml_dtypes leaves arrays with NaN unsorted, so its types are sorted as float32.
@rounding_once
def _stable_argsort(a: Any, axis: Any = -1, **kwargs: Any) -> Any:
    return np.argsort(a, axis=axis, kind="stable")


@rounding_once
def _sorted(a: Any, kth: Any, axis: Any = -1) -> Any:
    return np.sort(a, axis=axis)


@rounding_once
def _argsorted(a: Any, kth: Any, axis: Any = -1) -> Any:
    return np.argsort(a, axis=axis, kind="stable")


@rounding_once
def _lexsorted(keys: Any, axis: Any = -1) -> Any:
    return np.lexsort(keys, axis)


# -- records ---------------------------------------------------------------------------
sort = Op(
    "sort",
    numpy=np.sort,
    dtypes=ALL,
    samples=_samples,
    reference=rounding_once(np.sort),
    errors=_ERRORS + (ErrorSample((np.ones((), np.int8),), {}, _AXIS_ERROR, "out of"),),
)
argsort = Op(
    "argsort",
    numpy=np.argsort,
    dtypes=ALL,
    samples=_samples,
    errors=_ERRORS,
    reference=_stable_argsort,
    note="always stable",
)
partition = Op(
    "partition",
    numpy=np.partition,
    dtypes=ALL,
    samples=_partition_samples,
    errors=_PARTITION_ERRORS,
    reference=_sorted,
    note="sorts completely",
)
argpartition = Op(
    "argpartition",
    numpy=np.argpartition,
    dtypes=ALL,
    samples=_partition_samples,
    errors=_PARTITION_ERRORS,
    reference=_argsorted,
    note="sorts completely",
)


@sort.impl("hlo")
def _sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> NKIPyTensorRef:
    """``numpy.sort``: NaN last, zeros of both signs equal, stable."""
    _check_kind(kind, order, stable)
    ctx = get_hlo_context()
    x = operand(a)
    if axis is None:
        x, along = flat_or_axis(ctx, x, None)
    else:
        along = one_axis(axis, x.ndim)
    return NKIPyTensorRef._wrap(ctx, sort_along(ctx, (x,), (), along)[0])


@argsort.impl("hlo")
def _argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> NKIPyTensorRef:
    """``numpy.argsort``, stable, as int32."""
    _check_kind(kind, order, stable)
    ctx = get_hlo_context()
    x, along = flat_or_axis(ctx, operand(a), axis)
    return NKIPyTensorRef._wrap(ctx, argsort_along(ctx, (x,), along))


@partition.modelling
@argpartition.modelling
def _partition_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = partition.bound(args, kwargs)
    bound.arguments["kth"] = 0
    return bound.args, bound.kwargs


@partition.impl("hlo")
def _partition(
    a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> NKIPyTensorRef:
    """``numpy.partition``; all elements are in order, not only the `kth`."""
    ctx = get_hlo_context()
    x, along = flat_or_axis(ctx, operand(a), axis)
    _check_partition(kth, x.shape[along], kind, order)
    return NKIPyTensorRef._wrap(ctx, sort_along(ctx, (x,), (), along)[0])


@argpartition.impl("hlo")
def _argpartition(
    a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> NKIPyTensorRef:
    """``numpy.argpartition``, as int32; all elements are in order."""
    ctx = get_hlo_context()
    x, along = flat_or_axis(ctx, operand(a), axis)
    _check_partition(kth, x.shape[along], kind, order)
    return NKIPyTensorRef._wrap(ctx, argsort_along(ctx, (x,), along))


def _check_partition(kth: Any, size: int, kind: Any, order: Any) -> None:
    _check_kind(None, order)
    if kind != "introselect":
        raise ValueError(f"select kind must be 'introselect' (got {kind!r})")
    _check_kth(kth, size)


# -- several keys ----------------------------------------------------------------------
def _lexsort_samples(dtype: np.dtype) -> Iterator[Sample]:
    few, many = make((12,), dtype, 0, 2), make((12,), dtype, 0, 2, seed=1)
    yield Sample(((few, many),), label="two keys")
    yield Sample(((many,),), label="one key")
    yield Sample((make((3, 9), dtype, 0, 1),), label="rows of an array")
    yield Sample((make((9, 2, 12), dtype, 0, 1),), label="many keys")
    yield Sample(((make((4, 3), dtype), make((4, 3), dtype, seed=1)), 0), label="axis")
    values = special(dtype)
    yield Sample(((values, values[::-1]),), label="special")


lexsort = Op(
    "lexsort",
    numpy=np.lexsort,
    dtypes=ALL,
    samples=_lexsort_samples,
    reference=_lexsorted,
    errors=(
        ErrorSample(((X, X[0]),), {}, ValueError, "shape"),
        ErrorSample((X,), {"axis": 1}, _AXIS_ERROR, "out of bounds"),
    ),
)


@lexsort.impl("hlo")
def _lexsort(keys: Any, axis: Any = -1) -> NKIPyTensorRef:
    """``numpy.lexsort``, as int32: the last key decides first."""
    ctx = get_hlo_context()
    values = _rows(ctx, keys)
    if not values:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if any(v.shape != values[0].shape for v in values):
        raise ValueError("all keys need to be the same shape")
    if not values[0].shape:
        values = [ctx.reshape(v, (1,)) for v in values]
    along = one_axis(axis, values[0].ndim)
    return NKIPyTensorRef._wrap(ctx, argsort_along(ctx, values[::-1], along))


def _rows(b: HLOBuilder, keys: Any) -> list[Value]:
    if isinstance(keys, (list, tuple)):
        return [operand(k) for k in keys]
    x = operand(keys)
    if not x.shape:
        raise TypeError("keys must be a sequence or an array of at least one dimension")
    rows = [b.slice_dim(x, 0, i, i + 1) for i in range(x.shape[0])]
    return [b.reshape(r, r.shape[1:]) for r in rows]
