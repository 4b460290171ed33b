"""Choices between values: where, select, choose, piecewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import BROADCASTS, ErrorSample, Sample, make
from nkipy.core.ops._views import no_scalar
from nkipy.core.ops.indexing._bounds import apply_mode
from nkipy.core.promotion import result_type
from nkipy.core.tensor import (
    NKIPyTensorRef,
    as_operand,
    as_tensor,
    store_out,
)
from nkipy.hlo.builder import Value


def _scalar(dtype: np.dtype) -> Any:
    return True if dtype == dt.bool_ else 2


# -- where -----------------------------------------------------------------------------
def _where_samples(dtype: np.dtype) -> Iterator[Sample]:
    for left, right in BROADCASTS:
        x, y = make(left, dtype), make(right, dtype, seed=1)
        yield Sample((make(left, dt.bool_), x, y), label=f"{left}{right}")
    x, mask = make((3, 4), dtype), make((4,), dt.bool_)
    yield Sample((mask, x, _scalar(dtype)), label="scalar")
    yield Sample((mask, 1, 2.5), label="two scalars")
    yield Sample((x, x, make((3, 1), dtype, seed=2)), label="condition is not bool")
    yield Sample((mask, x, make((4,), dt.int8)), label="promotes")


where = Op(
    "where",
    numpy=np.where,
    dtypes=tuple(d for d in dt.SUPPORTED if d not in dt.FP8),
    samples=_where_samples,
    errors=(
        ErrorSample((np.ones(3, bool),), {}, NotImplementedError, "three-argument"),
        ErrorSample((np.ones(3, bool), 1), {}, ValueError, "either both or neither"),
        ErrorSample((np.ones(3, bool), np.ones(2), 1), {}, ValueError, "broadcast"),
        ErrorSample(
            (np.ones(3, bool), np.ones(3, np.int8), 300), {}, OverflowError, "300"
        ),
    ),
)

_MISSING: Any = np._NoValue


@where.impl("hlo")
def _where(condition: Any, x: Any = _MISSING, y: Any = _MISSING, /) -> NKIPyTensorRef:
    """``x`` where the condition holds, else ``y``, in their common dtype.

    Raises:
        NotImplementedError: one argument; the shape would depend on values.
        ValueError: the shapes do not broadcast.
    """
    if x is _MISSING and y is _MISSING:
        raise NotImplementedError(
            "np.where(condition) has a shape that depends on values; keep the shape "
            "with the three-argument form, np.where(condition, x, y)"
        )
    if x is _MISSING or y is _MISSING:
        raise ValueError("either both or neither of x and y should be given")
    ctx = get_hlo_context()
    condition, x, y = map(as_operand, (condition, x, y))
    dtype = result_type(x, y)
    mask = as_hlo_tensor(ctx, condition, dt.bool_)
    values = [as_hlo_tensor(ctx, v, dtype) for v in (x, y)]
    return no_scalar(NKIPyTensorRef._wrap(ctx, _select(ctx, mask, *values)))


def _select(ctx: HLOTraceContext, mask: Value, x: Value, y: Value) -> Value:
    if not mask.shape == x.shape == y.shape:
        shape = np.broadcast_shapes(mask.shape, x.shape, y.shape)
        mask, x, y = (ctx.broadcast_to(v, shape) for v in (mask, x, y))
    return ctx.select(mask, x, y)


# -- select ----------------------------------------------------------------------------
def _select_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((3, 4), dtype)
    first, second = make((3, 4), dt.bool_), make((4,), dt.bool_, seed=1)
    yield Sample(([first, second], [x, make((4,), dtype)]), label="default")
    yield Sample(([second, first], [x, dtype.type(1)], x[0]), label="broadcast")
    yield Sample(([first], [x]), {"default": dtype.type(1)}, label="keyword")


select = Op(
    "select",
    numpy=np.select,
    dtypes=tuple(d for d in dt.SUPPORTED if d not in dt.FP8),
    samples=_select_samples,
    errors=(
        ErrorSample(([np.ones(3, bool)], []), {}, ValueError, "same as"),
        ErrorSample(([np.ones(3)], [np.ones(3)]), {}, TypeError, "boolean"),
        ErrorSample(([], []), {}, ValueError, "no conditions"),
    ),
)


@select.impl("hlo")
def _select_impl(
    condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0
) -> NKIPyTensorRef:
    """From the first choice whose condition holds, else the default.

    Raises:
        ValueError: the lists differ in length or are empty.
        TypeError: a condition is not boolean.
    """
    if len(condlist) != len(choicelist):
        raise ValueError(
            "the list of conditions must have the same length as the list of choices "
            f"(it is not the same as {len(choicelist)})"
        )
    if not len(condlist):
        raise ValueError("select with no conditions")
    ctx = get_hlo_context()
    choices = [as_operand(c) for c in (*choicelist, default)]
    dtype = result_type(*choices)
    masks = [_condition(ctx, c) for c in condlist]
    values = [as_hlo_tensor(ctx, c, dtype) for c in choices]
    result = values.pop()
    for mask, value in zip(reversed(masks), reversed(values)):
        result = _select(ctx, mask, value, result)
    shape = np.broadcast_shapes(*(v.shape for v in (*masks, *values, result)))
    return no_scalar(NKIPyTensorRef._wrap(ctx, ctx.broadcast_to(result, shape)))


def _condition(ctx: HLOTraceContext, condition: Any) -> Value:
    mask = as_hlo_tensor(ctx, as_operand(condition))
    if mask.dtype != dt.bool_:
        raise TypeError(f"conditions must be boolean arrays, but received {mask.dtype}")
    return mask


# -- choose ----------------------------------------------------------------------------
def _choose_samples(dtype: np.dtype) -> Iterator[Sample]:
    index = np.array([[0, 2, 1], [1, 1, 0]], np.int32)
    choices = [make((2, 3), dtype, seed=i) for i in range(3)]
    yield Sample((index, choices), label="list")
    yield Sample((index, make((3, 3), dtype)), label="array of choices")
    yield Sample((index - 3, [*choices[:2], choices[2][0]]), {"mode": "wrap"})
    yield Sample((index * 5 - 2, choices), {"mode": "clip"})
    large = np.array([2**31, 1, 2**32 - 1], np.uint32)
    for mode in ("wrap", "clip"):
        yield Sample((large, choices), {"mode": mode}, f"large uint32, {mode}")


choose = Op(
    "choose",
    numpy=np.choose,
    dtypes=tuple(d for d in dt.SUPPORTED if d not in dt.FP8),
    samples=_choose_samples,
    errors=(
        ErrorSample((np.zeros(3), [np.ones(3)]), {}, TypeError, "integer"),
        ErrorSample(
            (np.zeros(3, int), [np.ones(3)]), {"mode": "x"}, ValueError, "mode"
        ),
    ),
    note="mode='raise' cannot raise for a traced index: the last choice is taken.",
)


@choose.impl("hlo")
def _choose(
    a: Any, choices: Any, out: Any = None, mode: str = "raise"
) -> NKIPyTensorRef:
    """At each position, the element of the choice that `a` names there.

    Raises:
        TypeError: `a` is not an integer array.
        ValueError: the shapes do not broadcast, `out` has another one, or the mode is
            unknown.
    """
    ctx = get_hlo_context()
    options = [as_operand(c) for c in choices]
    if not options:
        raise ValueError("choose with no choices")
    dtype = result_type(*options)
    values = [as_hlo_tensor(ctx, c, dtype) for c in options]
    index = apply_mode(ctx, as_tensor(a).backend_tensor, len(values), mode, wraps=False)
    result = values[-1]
    for i in reversed(range(len(values) - 1)):
        chosen = ctx.compare(index, ctx.full_like(index, i), "EQ")
        result = _select(ctx, chosen, values[i], result)
    shape = np.broadcast_shapes(index.shape, *(v.shape for v in values))
    if getattr(out, "shape", shape) != shape:
        raise ValueError(f"out= has shape {out.shape}, but the result has {shape}")
    return store_out(ctx, ctx.broadcast_to(result, shape), out)


# -- piecewise -------------------------------------------------------------------------
def _negate(x: Any) -> Any:
    return x * x


def _piecewise_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((3, 4), dtype)
    first, second = make((3, 4), dt.bool_), make((3, 4), dt.bool_, seed=1)
    yield Sample((x, [first, second], [_negate, 1]), label="two")
    yield Sample((x, [first], [0, _negate]), label="default")


piecewise = Op(
    "piecewise",
    numpy=np.piecewise,
    dtypes=(dt.float32, dt.int32),
    samples=_piecewise_samples,
    errors=(
        ErrorSample(
            (np.ones(3), [np.ones(3, bool)], [1, 2, 3]), {}, ValueError, "1 or 2"
        ),
    ),
    note="functions see the whole array, so they must be element-wise.",
)


@piecewise.impl("hlo")
def _piecewise(
    x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any
) -> NKIPyTensorRef:
    """Each function's (or constant's) values where its condition holds.

    Raises:
        ValueError: neither as many functions as conditions, nor one more.
    """
    ctx = get_hlo_context()
    x = as_tensor(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    masks = [as_hlo_tensor(ctx, as_operand(c), dt.bool_) for c in conditions]
    n = len(masks)
    for mask in masks:
        if np.broadcast_shapes(mask.shape, x.shape) != x.shape:
            raise ValueError(f"a condition of shape {mask.shape} is not one of {x!r}")
    if len(funclist) not in (n, n + 1):
        raise ValueError(
            f"with {n} condition(s), either {n} or {n + 1} functions are expected"
        )
    pieces = [_piece(ctx, x, f, args, kw) for f in funclist]
    result = pieces.pop() if len(pieces) > n else ctx.full(x.shape, 0, x.dtype)
    for mask, piece in zip(masks, pieces):
        result = ctx.broadcast_to(_select(ctx, mask, piece, result), x.shape)
    return no_scalar(NKIPyTensorRef._wrap(ctx, ctx.broadcast_to(result, x.shape)))


@piecewise.modelling
def _piecewise_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    given = piecewise.bound(args, kwargs).arguments
    return (given["x"], given["condlist"], [0] * len(given["funclist"])), {}


def _piece(
    ctx: HLOTraceContext,
    x: NKIPyTensorRef,
    function: Callable[..., Any] | Any,
    args: tuple[Any, ...],
    kw: dict[str, Any],
) -> Value:
    value = function(x, *args, **kw) if callable(function) else function
    return as_hlo_tensor(ctx, as_operand(value), x.dtype)
