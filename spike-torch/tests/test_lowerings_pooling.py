"""Pooling beside the CPU's: windows at the edges, ties, NaN, infinities, buckets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nkipy.compiler.build import build
from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_cases import Call, check_padded, check_static

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

_aten = torch.ops.aten


def _call(op: Any, *args: Any) -> Call:
    return Call(op, args, {}, op(*args))


def _check(call: Call, in_buckets: bool = True) -> None:
    check_static(call)
    build(lower_operation(call.op, call.args, call.kwargs, call.returned).module)
    if in_buckets:
        assert check_padded(call, extra=4, shared=True) > 0


def _special(*sizes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Few different numbers, infinities and NaN."""
    values = torch.tensor([0.0, -0.0, 1.0, 2.0, torch.inf, -torch.inf, torch.nan])
    chosen = torch.randint(0, 20, sizes).clamp(max=7)
    return torch.cat([values, values[2:3]])[chosen].to(dtype)


_WINDOWS: list[tuple[Any, ...]] = [
    ([2, 2], [], 0, 1, False),
    ([3, 2], [2, 1], [1, 0], 1, False),
    ([3, 3], [2, 2], [1, 1], [1, 2], True),
    ([2, 3], [3, 2], [0, 1], [2, 1], True),
]


@pytest.mark.parametrize("window", _WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_the_greatest(window: tuple[Any, ...], dtype: torch.dtype) -> None:
    x = torch.randint(-3, 3, (2, 2, 9, 8)).to(dtype)
    if dtype.is_floating_point:
        x = _special(2, 2, 9, 8, dtype=dtype)
    call = _call(_aten.max_pool2d_with_indices.default, x, *window)
    # torch's shape rule of rounding up compares sizes, which makes them numbers.
    _check(call, in_buckets=not window[-1])


def test_windows_of_lowest_numbers_have_a_place() -> None:
    x = torch.full((1, 1, 5, 6), -torch.inf)
    x[..., 3, 4] = torch.nan
    for window in _WINDOWS:
        _check(_call(_aten.max_pool2d_with_indices.default, x, *window), False)


@pytest.mark.parametrize("window", _WINDOWS)
def test_gradient_of_the_greatest(window: tuple[Any, ...]) -> None:
    x = torch.randn(2, 3, 9, 7)
    values, places = _aten.max_pool2d_with_indices(x, *window)
    kernel, stride, padding, dilation, ceil = window
    args = (torch.randn_like(values), x, kernel, stride or kernel, padding, dilation)
    op = _aten.max_pool2d_with_indices_backward.default
    given = [[v, v] if isinstance(v, int) else v for v in args[2:]]
    _check(_call(op, *args[:2], *given, ceil, places), in_buckets=not ceil)


def test_volumes() -> None:
    x = _special(1, 2, 5, 6, 4)
    window = ([2, 3, 2], [2, 1, 1], [1, 1, 0])
    _check(_call(_aten.max_pool3d_with_indices.default, x, *window))
    _check(_call(_aten.avg_pool3d.default, x, *window))


def test_wide_windows_are_left_to_the_cpu() -> None:
    call = _call(
        _aten.max_pool2d_with_indices.default, torch.randn(1, 1, 300, 2), [300, 1]
    )
    with pytest.raises(Unsupported, match="window of"):
        lower_operation(call.op, call.args, call.kwargs, call.returned)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize(
    "window",
    [([2, 2], [], 0, False), ([3, 2], [2, 1], [1, 1], False), ([3], [2], [1], True)],
)
def test_the_mean(window: tuple[Any, ...], counted: bool, divisor: int | None) -> None:
    rest = (*window, counted, divisor)
    call = _call(_aten.avg_pool2d.default, _special(2, 2, 9, 8), *rest)
    _check(call, in_buckets=not window[-1])
    kernel, stride, *more = rest
    x, op = torch.randn(2, 2, 9, 8), _aten.avg_pool2d_backward.default
    grad = torch.randn(call.returned.shape)
    more[0] = [more[0]] if isinstance(more[0], int) else more[0]
    _check(_call(op, grad, x, kernel, stride, *more), in_buckets=not window[-1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_mean_of_other_dtypes(dtype: torch.dtype) -> None:
    x = torch.randint(-9, 9, (1, 2, 6, 6)).to(dtype)
    _check(_call(_aten.avg_pool2d.default, x, [3, 2], [2, 2], [1, 0]))
