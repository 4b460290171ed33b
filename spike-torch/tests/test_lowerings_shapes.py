"""Lowerings that move elements: other dtypes, tensors with no elements, scalars."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_cases import calls_with, check_static
from .lowering_graphs import check_function

aten = torch.ops.aten


def _static(op: Any, *args: Any, **kwargs: Any) -> None:
    (call,) = calls_with(op, [(args, kwargs)])
    check_static(call, rtol=0, atol=0)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16]
)
def test_elements_of_each_dtype_are_moved(dtype: torch.dtype) -> None:
    x = (torch.arange(20).reshape(4, 5) % 3).to(dtype)

    def moved(x: torch.Tensor) -> Any:
        return (
            torch.cat([x, x[1:]]),
            x.flip(1),
            x.roll(-1, 0),
            x[-2:],
            x.triu(1),
            x.diag_embed(1),
            x.diagonal(1),
            x.unfold(1, 2, 2),
            torch.nn.functional.pad(x, (1, -1, -1, 2), value=1),
            aten.slice_scatter(x, x, 0, 0, 9),
            aten.select_scatter(x, x[0], 0, -1),
        )

    check_function(moved, x, extra=12)


def test_nothing_is_moved() -> None:
    x = torch.zeros(0, 3)
    for op, args in (
        (aten.flip.default, (x, [0, 1])),
        (aten.roll.default, (x, [2], [0])),
        (aten.roll.default, (x, [2])),
        (aten.repeat.default, (x, [2, 1, 2])),
        (aten.repeat.default, (torch.ones(2), [0])),
        (aten.tril.default, (x,)),
        (aten.diagonal.default, (x,)),
        (aten.diag_embed.default, (x,)),
        (aten.slice.Tensor, (x, 1, 1, 2)),
        (aten.slice.Tensor, (torch.ones(4), 0, 3, 1)),
        (aten.select.int, (x, 1, -1)),
        (aten.split.Tensor, (x, 2, 1)),
        (aten.cat.default, ([x, torch.ones(2, 3), torch.zeros(0)],)),
        (aten.cat.default, ([torch.zeros(0), torch.zeros(0)],)),
        (aten.stack.default, ([x, x], 1)),
        (aten.constant_pad_nd.default, (x, [0, 0, 1, 1], 2.0)),
        (aten.constant_pad_nd.default, (torch.ones(3), [-2, -1])),
        (aten.view.default, (x, [3, 0, 5])),
        (aten.expand.default, (x, [2, 0, 3])),
        (aten.unfold.default, (torch.ones(2, 0), 0, 2, 1)),
        (aten.gather.default, (x, 0, torch.zeros(0, 2, dtype=torch.int64))),
    ):
        _static(op, *args)


def test_scalars_are_moved() -> None:
    x = torch.tensor(-0.0)
    for op, args in (
        (aten.flip.default, (x, [])),
        (aten.flip.default, (x, [0])),
        (aten.roll.default, (x, [1])),
        (aten.repeat.default, (x, [2, 3])),
        (aten.expand.default, (x, [2, 3])),
        (aten.permute.default, (x, [])),
        (aten.transpose.int, (x, 0, -1)),
        (aten.t.default, (x,)),
        (aten.squeeze.dim, (x, 0)),
        (aten.unsqueeze.default, (x, -1)),
        (aten.view.default, (x, [1, 1])),
        (aten.stack.default, ([x, x],)),
        (aten.constant_pad_nd.default, (x, [])),
        (aten.unfold.default, (x, 0, 1, 1)),
    ):
        _static(op, *args)


def test_dtypes_are_joined_in_their_common_one() -> None:
    whole, half = torch.tensor([1, -2]), torch.tensor([0.5], dtype=torch.bfloat16)
    _static(aten.cat.default, [whole, half, torch.tensor([True])])
    _static(aten.stack.default, [whole, whole])
    # A nearest neighbour in bfloat16 is the same one, if rounded to once.
    _static(aten.cat.default, [torch.tensor([2**25 + 3]), half])


def test_signs_and_nan_are_kept() -> None:
    x = torch.tensor([[-0.0, math.nan], [math.inf, -0.0]])
    for op, args in (
        (aten.diagonal.default, (x,)),
        (aten.diag_embed.default, (x,)),
        (aten.tril.default, (x,)),
        (aten.constant_pad_nd.default, (x, [1, 1], -0.0)),
        (aten.roll.default, (x, [1])),
    ):
        (call,) = calls_with(op, [(args, {})])
        check_static(call, rtol=0, atol=0)


def test_bits_are_read_as_another_dtype_of_one_width() -> None:
    x = torch.tensor([1.5, -0.0, math.inf])
    _static(aten.view.dtype, x, torch.int32)
    _static(aten.view.dtype, x.to(torch.bfloat16), torch.int16)
    _static(aten.view.dtype, torch.tensor([-1, 5], dtype=torch.int8), torch.uint8)
    for given, dtype in ((x, torch.int16), (x > 0, torch.uint8)):
        (call,) = calls_with(aten.view.dtype, [((given, dtype), {})])
        with pytest.raises(Unsupported, match="bits"):
            check_static(call)


def test_numbers_in_each_dtype() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.uint8):
        named = {"dtype": dtype}
        _static(aten.arange.start_step, 3, 11, 2, **named)
        _static(aten.full.default, [2, 2], 7, **named)
        _static(aten.linspace.default, 0, 5, 4, **named)
        _static(aten.eye.m, 2, 3, **named)
    _static(aten.arange.start_step, 0.1, 3.0, 0.7, dtype=torch.bfloat16)
    _static(aten.arange.start_step, 2**40, 2**40 + 5, 2)
    _static(aten.arange.start, -3, 3, dtype=torch.int8)
    _static(aten.arange.start, 2**25, 2**25 + 9, dtype=torch.float32)
    with pytest.raises(Unsupported, match="float64"):
        _static(aten.arange.default, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(300, torch.uint8), (-(2**40), torch.int32), (1e39, torch.float32)],
)
def test_numbers_that_a_dtype_lacks_are_left_to_torch(
    value: float, dtype: torch.dtype
) -> None:
    with pytest.raises(RuntimeError, match="overflow"):
        torch.full([2], value, dtype=dtype)
    returned = torch.empty(2, dtype=dtype)
    with pytest.raises(Unsupported, match="does not have"):
        lower_operation(aten.full.default, ([2], value), {"dtype": dtype}, returned)
