"""Convolutions: of images and volumes as in neural networks, and NumPy's in 1-D."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._contract import accumulator, multipliable
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.conv._window import (
    Window,
    _normalize_tuple_2d,
    _normalize_tuple_3d,
    window_of,
)
from nkipy.core.promotion import result_type
from nkipy.core.tensor import NKIPyTensorRef, as_tensor
from nkipy.hlo.builder import Value
from nkipy.hlo.opcodes import WindowDim

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "_normalize_tuple_2d",
    "_normalize_tuple_3d",
    "conv1d",
    "conv2d",
    "conv3d",
]

_LABELS = {n: "".join(map(str, range(n))) for n in (1, 2, 3)}


# -- HLO -------------------------------------------------------------------------------
def convolution(
    ctx: HLOTraceContext, x: Value, w: Value, window: Window, reverse: bool = False
) -> Value:
    """The convolution of values of one dtype, in their accumulator."""
    n = x.ndim - 2
    labels = _LABELS[n]
    dims = tuple(
        WindowDim(size, stride, low, high, 1, dilation, reverse)
        for size, stride, (low, high), dilation in zip(w.shape[2:], *window[:3])
    )
    shape = (x.shape[0], w.shape[0], *_output_sizes(x.shape, w.shape, window))
    dtype = accumulator(x.dtype)
    if 0 in shape or 0 in w.shape:  # an empty result, or empty sums
        return ctx.full(shape, 0, dtype)
    operands = (multipliable(ctx, x, dtype), multipliable(ctx, w, dtype))
    attributes = {
        "window": dims,
        "dim_labels": f"bf{labels}_oi{labels}->bf{labels}",
        "feature_group_count": window.groups,
        "batch_group_count": 1,
    }
    return ctx.emit("convolution", operands, shape, dtype, attributes)


def _output_sizes(
    x: tuple[int, ...], w: tuple[int, ...], window: Window
) -> tuple[int, ...]:
    return tuple(
        (size + low + high - (k - 1) * dilation - 1) // stride + 1
        for size, k, stride, (low, high), dilation in zip(x[2:], w[2:], *window[:3])
    )


def _traced(
    n: int,
    x: Any,
    w: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> NKIPyTensorRef:
    ctx = get_hlo_context()
    tensors = [as_tensor(v) for v in (x, w, *(() if bias is None else (bias,)))]
    shapes = [t.shape for t in tensors]
    _check_ranks(n, *shapes)
    window = window_of(shapes[0], shapes[1], stride, padding, dilation, groups)
    dtype = result_type(*[t.dtype for t in tensors])
    x, w = (ctx.convert(t.backend_tensor, dtype) for t in tensors[:2])
    value = convolution(ctx, x, w, window)
    if bias is not None:
        added = ctx.convert(tensors[2].backend_tensor, value.dtype)
        value = ctx.add(value, ctx.broadcast_in_dim(added, value.shape, (1,)))
    return NKIPyTensorRef._wrap(ctx, ctx.convert(value, dtype))


def _check_ranks(
    n: int, x: tuple[int, ...], w: tuple[int, ...], bias: tuple[int, ...] | None = None
) -> None:
    spatial = "".join("DHW"[3 - n :])
    if len(x) != n + 2:
        raise ValueError(f"the input must be (N, C, {', '.join(spatial)}), but is {x}")
    if len(w) != n + 2:
        raise ValueError(f"the weight must be (O, I, {', '.join(spatial)}), but is {w}")
    if bias is not None and bias != (w[0],):
        raise ValueError(f"the bias must have shape ({w[0]},), but has {bias}")


# -- NumPy -----------------------------------------------------------------------------
def _untraced(
    n: int,
    x: Any,
    w: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> np.ndarray:
    """The definition: windows of the padded input times the weight, summed exactly."""
    x, w = np.asarray(x), np.asarray(w)
    bias = None if bias is None else np.asarray(bias)
    _check_ranks(n, x.shape, w.shape, *(() if bias is None else (bias.shape,)))
    window = window_of(x.shape, w.shape, stride, padding, dilation, groups)
    dtype = np.result_type(*(v.dtype for v in (x, w, bias) if v is not None))
    wide = np.float64 if dt.is_float(dt.narrow(dtype)) else dtype
    padded = np.pad(x.astype(wide), ((0, 0), (0, 0), *window.padding))
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], window.dilation)]
    spatial = tuple(range(2, n + 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=spatial)
    steps = [slice(None, None, s) for s in (*window.stride, *window.dilation)]
    windows = windows[(slice(None), slice(None), *steps)]
    result = _grouped_products(windows, w.astype(wide), window.groups, n)
    if bias is not None:
        result = result + bias.astype(wide).reshape(-1, *(1,) * n)
    return result.astype(dtype)


def _grouped_products(
    windows: np.ndarray, w: np.ndarray, groups: int, n: int
) -> np.ndarray:
    """Sums over channels and kernel: (B, GC, *S, *K) and (GO, C, *K) to (B, GO, *S)."""
    batch, _, *rest = windows.shape
    windows = windows.reshape(batch, groups, w.shape[1], *rest)
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    space, kernel = "xyz"[:n], "ijk"[:n]
    subscripts = f"bgc{space}{kernel},goc{kernel}->bgo{space}"
    result = np.einsum(subscripts, windows, weights)
    return result.reshape(batch, w.shape[0], *rest[:n])


def _samples(n: int) -> Callable[[np.dtype], Iterator[Sample]]:
    sizes, kernel = (7, 6, 5)[-n:], (3, 2, 2)[-n:]

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        def one(
            channels: tuple[int, int, int], bias: bool = False, **kwargs: Any
        ) -> Sample:
            c, i, o = channels
            x = make((2, c, *sizes), dtype, -2, 2)
            w = make((o, i, *kernel), dtype, -2, 2, seed=1)
            args = (x, w, make((o,), dtype, -2, 2, seed=2)) if bias else (x, w)
            return Sample(args, kwargs, label=f"{channels} {kwargs}")

        yield one((3, 3, 4))
        yield one((3, 3, 4), bias=True, stride=2, padding=1)
        yield one((4, 2, 6), groups=2, dilation=2, padding=(2,) * n)
        yield one((3, 1, 3), groups=3, stride=(1, 2, 3)[:n], padding="same")
        yield one((2, 2, 1), padding=[(0, 2)] * n, dilation=(2, 1, 1)[:n])
        yield one((2, 2, 0), padding="valid")
        yield one((0, 0, 2), bias=True)

    return sampler


def _errors(n: int) -> tuple[ErrorSample, ...]:
    x, w = np.ones((1, 3, *(4,) * n), "f4"), np.ones((2, 3, *(3,) * n), "f4")
    return (
        ErrorSample((x[0], w), match="input must be"),
        ErrorSample((x, w[0]), match="weight must be"),
        ErrorSample((x, w[:, :2]), match="channels"),
        ErrorSample((x, w, np.ones(3, "f4")), match="bias"),
        ErrorSample((x, w), {"stride": 0}, match="stride"),
        ErrorSample((x, w), {"stride": (1,) * (n + 1)}, match="stride"),
        ErrorSample((x, w), {"dilation": 2}, match="exceeds"),
        ErrorSample((x, w), {"padding": -1}, match="negative"),
        ErrorSample((x, w), {"padding": "full"}, match="'same' or 'valid'"),
        ErrorSample((x, w), {"padding": 0.5}, error=TypeError),
        ErrorSample((x, w), {"groups": 3}, match="groups"),
    )


def _conv_op(n: int) -> Op:
    layout = "".join("DHW"[3 - n :])
    op = Op(
        f"conv{n}d",
        dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS),
        samples=_samples(n),
        reference=lambda *args, **kwargs: op._impls["cpu"](*args, **kwargs),
        errors=_errors(n),
    )

    def define(backend: str, compute: Callable[..., Any]) -> None:
        @op.impl(backend)
        def conv(
            input: ArrayLike,
            weight: ArrayLike,
            bias: ArrayLike | None = None,
            stride: int | Sequence[int] = 1,
            padding: int | str | Sequence[int | Sequence[int]] = 0,
            dilation: int | Sequence[int] = 1,
            groups: int = 1,
        ) -> NDArray[Any]:
            return compute(n, input, weight, bias, stride, padding, dilation, groups)

    define("hlo", _traced)
    define("cpu", _untraced)
    op.__doc__ = f"""Convolve a batch as neural networks do (that is, correlate).

    Args:
        input: (N, C, {", ".join(layout)}).
        weight: (O, C / groups, ...), one kernel per output channel.
        bias: (O,), added to each output channel; or None.
        stride, dilation: an int, or one per spatial dimension.
        padding: an int, one int or (low, high) pair per spatial dimension, "valid"
            (none), or "same": the output has the input's size, divided by the stride.
        groups: channels are divided into this many groups that do not mix.

    Returns:
        (N, O, ...), in the common dtype of the arrays. Floats below 32 bits are
        accumulated in float32 and rounded once.

    Raises:
        ValueError: shapes do not fit each other, or a value is out of range.
        TypeError: an argument is of the wrong kind.
    """
    return op


conv1d = _conv_op(1)
conv2d = _conv_op(2)
conv3d = _conv_op(3)
