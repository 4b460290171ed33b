"""``numpy.pad``: one axis after the other, as NumPy does, so that corners agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, Special, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops._views import Tensor, duplicate, no_scalar
from nkipy.core.tensor import as_operand, as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

Pair = Sequence[Any]
#: Makes an array longer along an axis: (array, axis, (before, after), mode's option).
Extend = Callable[[Tensor, int, Pair, Any], Tensor]

#: The keyword arguments that each mode takes.
_OPTIONS = {
    "constant": ("constant_values",),
    "empty": (),
    "edge": (),
    "wrap": (),
    "linear_ramp": ("end_values",),
    "reflect": ("reflect_type",),
    "symmetric": ("reflect_type",),
    "maximum": ("stat_length",),
    "minimum": ("stat_length",),
    "mean": ("stat_length",),
    "median": ("stat_length",),
}


def _samples(dtype: np.dtype) -> list[Sample]:
    calls = [
        call(A(2, 3), 1),
        call(A(2, 3), ((1, 0), (0, 2)), constant_values=1),
        call(A(2, 3), (1, 2), constant_values=((1, 2), (3, 4))),
        call(A(2, 3), {-1: (1, 2)}),
        call(A(0, 2), 1),
        call(A(), 2),
        call(Special(), 1, mode="edge"),
        call(A(2, 3), ((1, 2), (3, 0)), "edge"),
        call(A(2, 3), 2, mode="reflect"),
        call(A(5), (7, 9), mode="reflect"),
        call(A(1, 3), 2, mode="reflect"),
        call(A(2, 3), 4, mode="symmetric"),
        call(A(2, 3), (4, 1), mode="wrap"),
        call(A(0, 2), ((0, 0), (1, 1)), "edge"),
    ]
    if dtype in dt.FLOATS or dtype in dt.INTEGERS:
        return [*cases(*calls)(dtype), *cases(*_arithmetic(dtype), thin=False)(dtype)]
    return list(cases(*calls)(dtype))


def _arithmetic(dtype: np.dtype) -> list[Any]:
    calls = [
        call(A(3, 4), 2, mode="maximum"),
        call(A(3, 4), 2, mode="minimum", stat_length=((1, 2), (9, 1))),
        call(A(3, 4), 2, mode="mean", stat_length=2),
    ]
    if dtype.kind != "u":  # NumPy computes an odd reflection in the array's own dtype
        calls.append(call(A(3, 4), 2, mode="reflect", reflect_type="odd"))
        calls.append(call(A(3, 4), 3, mode="symmetric", reflect_type="odd"))
    if dtype not in (dt.int32, dt.uint32):
        calls.append(call(A(3, 4), (3, 2), mode="linear_ramp", end_values=(1, 5)))
    return calls


pad = Op(
    "pad",
    numpy=np.pad,
    dtypes=ALL,
    samples=_samples,
    errors=[
        ErrorSample((X, -1), {}, ValueError, "negative"),
        ErrorSample((X, 1.5), {}, TypeError, "integral"),
        ErrorSample((X, (1, 2, 3)), {}, ValueError, "broadcast"),
        ErrorSample((X, 1, "nope"), {}, ValueError, "mode 'nope' is not supported"),
        ErrorSample((X, 1, "edge"), {"constant_values": 2}, ValueError, "unsupported"),
        ErrorSample((X, 1, "maximum"), {"stat_length": 0}, ValueError, "stat_length"),
        ErrorSample((X[:0], 1, "edge"), {}, ValueError, "empty axis 0"),
        ErrorSample(
            (X.astype("i1"), 1), {"constant_values": 300}, OverflowError, "300"
        ),
        ErrorSample((X, 1, lambda *a: None), {}, NotImplementedError, "function"),
        ErrorSample((X, 5, "reflect"), {"reflect_type": "odd"}, NotImplementedError),
    ],
    note="mode 'empty' pads with zeros; 'linear_ramp' needs float or 8- or 16-bit "
    "integer elements; an odd reflection may not be wider than the array",
)


@pad.impl("hlo")
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """`array` made larger at its borders.

    Raises:
        ValueError: the mode, one of its options or a width is not acceptable.
        OverflowError: a constant does not fit the dtype.
        NotImplementedError: `mode` is a function.
    """
    x = as_tensor(array)
    widths = _widths(pad_width, x.ndim)
    option = _option(mode, kwargs)
    if not x.ndim:
        return no_scalar(duplicate(x))
    if mode == "constant":
        return _pad_constant(x, widths, kwargs.get("constant_values", 0))
    if mode == "empty":
        return _pad_constant(x, widths, 0)
    options = _pairs(option, x.ndim) if mode in _PAIRED else [option] * x.ndim
    extend = _EXTEND[mode]
    for axis, width in enumerate(widths):
        if width[0] or width[1]:
            if not x.shape[axis]:
                raise ValueError(
                    f"can't extend empty axis {axis} using modes other than 'constant' "
                    "or 'empty'"
                )
            x = extend(x, axis, width, options[axis])
    return Tensor._wrap(x._ctx, x.backend_tensor)


def _option(mode: Any, kwargs: dict[str, Any]) -> Any:
    """The value of the one option that `mode` has."""
    if callable(mode):
        raise NotImplementedError(
            "mode as a function that writes into the padded array"
        )
    if mode not in _OPTIONS:
        raise ValueError(f"mode '{mode}' is not supported")
    unknown = set(kwargs) - set(_OPTIONS[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    if mode == "linear_ramp":
        return kwargs.get("end_values", 0)
    return next(iter(kwargs.values()), None)


def _pairs(value: Any, ndim: int) -> list[list[Any]]:
    """(before, after) for each axis, of the many forms that NumPy allows."""
    return np.broadcast_to(np.asarray(value), (ndim, 2)).tolist()


def _widths(pad_width: Any, ndim: int) -> list[list[int]]:
    if isinstance(pad_width, dict):
        widths: list[Any] = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            widths[axis] = (width, width) if isinstance(width, int) else width
        pad_width = widths or 0
    given = np.asarray(pad_width)
    if given.dtype.kind != "i":
        raise TypeError("`pad_width` must be of integral type.")
    if given.size and given.min() < 0:
        raise ValueError("index can't contain negative values")
    return _pairs(given, ndim)


def _pad_constant(x: Tensor, widths: list[list[int]], values: Any) -> Tensor:
    ctx, value = x._ctx, x.backend_tensor
    values = as_operand(values)
    if isinstance(values, Tensor):
        if values.ndim:
            raise NotImplementedError("traced constant_values must be a scalar")
        fill = ctx.convert(values.backend_tensor, x.dtype)
        return Tensor._wrap(ctx, _pad_all(ctx, value, widths, fill))
    pairs = _pairs(values, x.ndim)
    if len({repr(v) for pair in pairs for v in pair}) <= 1:
        fill = ctx.scalar(pairs[0][0] if pairs else 0, x.dtype)
        return Tensor._wrap(ctx, _pad_all(ctx, value, widths, fill))
    for axis, ((before, after), (low, high)) in enumerate(zip(widths, pairs)):
        for width, fill in (((before, 0), low), ((0, after), high)):
            only = [width if i == axis else (0, 0) for i in range(x.ndim)]
            value = _pad_all(ctx, value, only, ctx.scalar(fill, x.dtype))
    return Tensor._wrap(ctx, value)


def _pad_all(b: HLOBuilder, x: Value, widths: Sequence[Pair], fill: Value) -> Value:
    if not any(before or after for before, after in widths):
        return x
    return b.pad(x, fill, [(before, after, 0) for before, after in widths])


def _section(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return Tensor._wrap(x._ctx, x._ctx.slice_dim(x.backend_tensor, axis, start, stop))


def _enclose(
    x: Tensor, axis: int, before: Tensor | None, after: Tensor | None
) -> Tensor:
    """`x` between two parts, either of which may be absent, in the dtype of `x`."""
    ctx = x._ctx
    parts = [before, x, after]
    values = [ctx.convert(p.backend_tensor, x.dtype) for p in parts if p is not None]
    return Tensor._wrap(ctx, ctx.concatenate(values, axis))


def _by_index(mode: Any) -> Extend:
    """Modes that repeat elements: NumPy pads the indices, we take those."""

    def extend(x: Tensor, axis: int, width: Pair, option: Any) -> Tensor:
        if option not in (None, "even"):
            return _reflect_odd(x, axis, width, option, mode)
        indices = np.pad(np.arange(x.shape[axis]), tuple(width), mode)
        value = take_static(x._ctx, x.backend_tensor, indices, axis)
        return Tensor._wrap(x._ctx, value)

    return extend


def _reflect_odd(x: Tensor, axis: int, width: Pair, kind: str, mode: str) -> Tensor:
    """Reflected through the edge's value too: twice the edge, less the reflection."""
    if kind != "odd":
        raise ValueError(f"reflect_type must be 'even' or 'odd', but is {kind!r}")
    n, skip = x.shape[axis], int(mode == "reflect")
    if max(width) > n - skip:
        raise NotImplementedError(f"an odd reflection wider than the array: {width}")

    def mirror(edge: int, start: int, stop: int) -> Tensor | None:
        if start == stop:
            return None
        chunk = OPS["flip"](_section(x, axis, start, stop), axis)
        twice = OPS["multiply"](_section(x, axis, edge, edge + 1), 2)
        return OPS["subtract"](twice, chunk)

    before = mirror(0, skip, skip + width[0])
    after = mirror(n - 1, n - skip - width[1], n - skip)
    return _enclose(x, axis, before, after)


def _by_statistic(name: str) -> Extend:
    """Modes that repeat a statistic of the elements near the border."""

    def extend(x: Tensor, axis: int, width: Pair, lengths: Any) -> Tensor:
        n = x.shape[axis]
        first, last = (n if k is None else min(int(k), n) for k in lengths)
        if min(first, last) < 0:
            raise ValueError("index can't contain negative values")
        if not (first and last) and name in ("max", "min"):
            raise ValueError("stat_length of 0 yields no value for padding")
        before = _statistic(x, axis, name, 0, first, width[0])
        after = _statistic(x, axis, name, n - last, n, width[1])
        return _enclose(x, axis, before, after)

    return extend


def _statistic(
    x: Tensor, axis: int, name: str, start: int, stop: int, count: int
) -> Tensor | None:
    if not count:
        return None
    found = OPS[name](_section(x, axis, start, stop), axis=axis, keepdims=True)
    if dt.is_integer(x.dtype) and dt.is_float(found.dtype):
        found = OPS["rint"](found)
    shape = [count if i == axis else d for i, d in enumerate(x.shape)]
    return OPS["broadcast_to"](found, shape)


def _linear_ramp(x: Tensor, axis: int, width: Pair, ends: Pair) -> Tensor:
    if x.dtype in (dt.int32, dt.uint32):
        raise NotImplementedError(
            f"mode 'linear_ramp' of {x.dtype.name}: convert to float32 first"
        )
    n = x.shape[axis]
    before = _ramp(x, axis, 0, width[0], ends[0])
    after = _ramp(x, axis, n - 1, width[1], ends[1])
    after = after if after is None else OPS["flip"](after, axis)
    return _enclose(x, axis, before, after)


def _ramp(x: Tensor, axis: int, edge: int, count: int, end: Any) -> Tensor | None:
    """From `end` towards the element at `edge`, which is not reached."""
    if not count:
        return None
    ctx = x._ctx
    kind = dt.int32 if dt.is_integer(x.dtype) else dt.float32
    border = OPS["astype"](_section(x, axis, edge, edge + 1), kind)
    shape = [count if i == axis else 1 for i in range(x.ndim)]
    position = Tensor._wrap(ctx, ctx.iota(shape, axis, kind))
    way = OPS["multiply"](OPS["subtract"](border, end), position)
    if kind == dt.int32:  # NumPy rounds a ramp of integers down
        return OPS["add"](OPS["floor_divide"](way, count), end)
    return OPS["add"](OPS["divide"](way, count), end)


_EXTEND: dict[str, Extend] = {
    "edge": _by_index("edge"),
    "wrap": _by_index("wrap"),
    "reflect": _by_index("reflect"),
    "symmetric": _by_index("symmetric"),
    "linear_ramp": _linear_ramp,
    "maximum": _by_statistic("max"),
    "minimum": _by_statistic("min"),
    "mean": _by_statistic("mean"),
    "median": _by_statistic("median"),
}
_PAIRED = ("linear_ramp", "maximum", "minimum", "mean", "median")
