"""Lowerings of operations with indices, where torch is particular about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from spike_torch.lowering import Unsupported

from .lowering_cases import Call, calls_with, check_padded, check_static
from .lowering_graphs import check_function
from .lowering_together import check_together, with_padding, without_padding

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

aten = torch.ops.aten
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
DTYPES = (*FLOATS, *INTEGERS, torch.bool)


def _check(op: Any, *args: Any, **kwargs: Any) -> None:
    """Without padding, and with all dimensions and indices padded."""
    (call,) = calls_with(op, [(args, kwargs)])
    cases = [*without_padding([call]), *with_padding([call])]
    checked = check_together(cases, extra=29)
    assert checked[0].dynamic is None


def _matrix(dtype: torch.dtype) -> torch.Tensor:
    x = torch.arange(12).reshape(4, 3)
    if dtype == torch.bool:
        return x % 3 == 1
    if dtype.is_floating_point:
        return (x - 5).to(dtype) / 4
    return x.to(dtype) - (0 if dtype == torch.uint8 else 6)


AT = torch.tensor([[0, 3, 1], [3, 3, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_reading_in_each_dtype(dtype: torch.dtype) -> None:
    x = _matrix(dtype)
    _check(aten.gather.default, x, 0, AT)
    _check(aten.gather.default, x, -1, AT.clamp(max=2))
    _check(aten.index.Tensor, x, [None, torch.tensor([[-1], [0]])])
    _check(aten.index_select.default, x, 1, torch.tensor([2, 0, 0], dtype=torch.int32))
    _check(aten.take.default, x, torch.tensor([[11, -1], [-12, 0]]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_adding_in_each_dtype(dtype: torch.dtype) -> None:
    x = _matrix(dtype)
    src = _matrix(dtype).flip(0)
    _check(aten.scatter_add.default, x, 0, AT, src)
    _check(aten.index_add.default, x, 0, torch.tensor([1, 1, 3, 0]), src)
    at = [torch.tensor([1, -3, 1]), torch.tensor([0, 0, 0])]
    _check(aten.index_put.default, x, at, src[1], True)
    _check(aten.put.default, x, torch.tensor([5, 5, -1]), src[0], True)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8])
def test_integers_that_are_added_wrap(dtype: torch.dtype) -> None:
    most = torch.iinfo(dtype).max
    x = torch.tensor([most, -most - 1, 0, -7], dtype=dtype)
    src = torch.tensor([1, -1, most, most - 3, most], dtype=dtype)
    _check(aten.scatter_add.default, x, 0, torch.tensor([0, 1, 2, 2, 2]), src)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("include_self", [True, False])
def test_reductions(reduce: str, dtype: torch.dtype, include_self: bool) -> None:
    x, src = _matrix(dtype), _matrix(dtype).flip(0, 1)
    named = {"include_self": include_self}
    _check(aten.scatter_reduce.two, x, 0, AT, src, reduce, **named)
    if reduce != "sum":
        at = torch.tensor([2, 2, 0, 2])
        _check(aten.index_reduce.default, x, 0, at, src, reduce, **named)


def test_not_a_number_is_the_greatest_and_the_least() -> None:
    x = torch.tensor([1.0, math.nan, math.inf, -math.inf])
    src = torch.tensor([math.nan, 2.0, math.nan, 5.0])
    at = torch.tensor([0, 1, 1, 2])
    for reduce in ("amax", "amin", "prod"):
        named = {"include_self": reduce == "amax"}
        _check(aten.scatter_reduce.two, x, 0, at, src, reduce, **named)


@pytest.mark.parametrize("dtype", DTYPES)
def test_writing_in_each_dtype(dtype: torch.dtype) -> None:
    x, src = _matrix(dtype), _matrix(dtype).flip(0)
    once = torch.tensor([[0, 3, 1], [2, 1, 0]])
    _check(aten.scatter.src, x, 0, once, src)
    _check(aten.scatter.value, x, 1, AT.clamp(max=2), 1)
    _check(aten.index_put.default, x, [None, torch.tensor([2, -3])], src[:1, :2])
    _check(aten.index_copy.default, x, 0, torch.tensor([3, 1]), src[:2])
    _check(aten.index_fill.int_Scalar, x, 0, torch.tensor([-1, 0]), 1)
    _check(aten.masked_scatter.default, x, x > 0, src)


def test_of_several_values_the_last_is_written() -> None:
    x, at = torch.zeros(3), torch.tensor([1, 1, 1, 2])
    src = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for op, args in (
        (aten.scatter.src, (x, 0, at, src)),
        (aten.index_copy.default, (x, 0, at, src)),
        (aten.index_put.default, (x, [at], src)),
        (aten.put.default, (x, at, src)),
    ):
        call = Call(op, args, {}, torch.tensor([0.0, 3.0, 4.0]))
        check_static(call)
        # Tensors of one size lie alike in their buckets only if torch knows of it.
        check_padded(call, lambda tensor, dim: tensor == 0)


def _kinds() -> Iterator[list[torch.Tensor | None]]:
    one, two = torch.tensor([2, -1]), torch.tensor([[0], [-2], [1]])
    yield [one]
    yield [None, one]
    yield [None, None, one]
    yield [one, two]
    yield [one, None, two]
    yield [None, one, two]
    yield [None, one, None, two]
    yield [one, one, two, one]
    yield [torch.tensor(-1), None, torch.tensor(0)]
    yield [torch.zeros(0, dtype=torch.int64)]


@pytest.mark.parametrize("given", _kinds())
def test_indices_of_some_dimensions(given: list[torch.Tensor | None]) -> None:
    x = torch.arange(3.0 * 4 * 3 * 5).reshape(3, 4, 3, 5)
    _check(aten.index.Tensor, x, given)
    part = aten.index.Tensor(x, given)
    for accumulate in (False, True):
        _check(aten.index_put.default, x, given, -part, accumulate)
        if part.numel():
            _check(aten.index_put.default, x, given, torch.tensor(7.0), accumulate)


def test_places_in_merged_dimensions() -> None:
    x = torch.arange(24.0).reshape(4, 6)
    at = torch.tensor([0, 3, -1, -2])

    def merged(x: torch.Tensor, at: torch.Tensor) -> Any:
        flat = x.reshape(-1)
        return (
            flat[at],
            aten.take(x, at),
            aten.index_put(flat, [at], flat[at] * -2.0),
            aten.put(x, at, flat[at] * -2.0),
            aten.index_select(flat, 0, at * at),
        )

    for extra in (1, 9):
        check_function(merged, x, at, extra=extra)
        check_function(merged, x, at, static=((0, 1),), extra=extra)


def test_scalars_and_nothing() -> None:
    number, none = torch.tensor(5.0), torch.zeros(0, dtype=torch.int64)
    _check(aten.gather.default, number, 0, torch.tensor(0))
    _check(aten.scatter.src, number, 0, torch.tensor(0), torch.tensor(2.0))
    _check(aten.scatter_add.default, number, 0, torch.tensor([0]), torch.tensor([2.0]))
    _check(aten.index_select.default, torch.ones(3, 2), 0, none)
    _check(aten.scatter_add.default, torch.ones(3), 0, none, torch.ones(0))
    _check(aten.index_add.default, number, 0, torch.tensor([0]), torch.tensor(2.0))
    _check(aten.index_fill.int_Scalar, number, 0, torch.tensor([0]), 3.0)
    _check(aten.embedding.default, torch.ones(3, 2), none)
    _check(aten.take.default, number, torch.tensor([0, -1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_of_rows(dtype: torch.dtype) -> None:
    grad = torch.arange(18.0).reshape(2, 3, 3).to(dtype)
    at = torch.tensor([[0, 4, 2], [2, 2, 0]])
    for skipped in (-1, 2):
        for by_frequency in (False, True):
            _check(
                aten.embedding_dense_backward.default,
                grad,
                at,
                5,
                skipped,
                by_frequency,
            )


def test_masks() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    _check(aten.index_put.default, x, [x > 4], torch.tensor(-1.0))
    _check(aten.index_put.default, x, [x[:, 0] > 4], torch.tensor([2.0]), True)
    _check(aten.index_put.default, x > 4, [x > 2], torch.tensor(True), True)
    for args in ((x, [x > 4]), (x, [None, torch.tensor([True, False, True])])):
        (call,) = calls_with(aten.index.Tensor, [(args, {})])
        with pytest.raises(Unsupported, match="bool"):
            check_static(call)


def test_what_is_read_outside_is_no_number() -> None:
    x, at = torch.ones(3, 2), torch.tensor([[0], [1]])
    calls = [
        Call(aten.embedding.default, (x, at[:, 0] + 2), {}, torch.ones(2, 2)),
        Call(aten.gather.default, (x, 0, at + 2), {}, torch.ones(2, 1)),
        Call(aten.gather.default, (x, 0, at - 1), {}, torch.ones(2, 1)),
        Call(aten.gather.default, (x, 0, at + 2**32), {}, torch.ones(2, 1)),
        Call(aten.index.Tensor, (x, [at - 2**32]), {}, torch.ones(2, 1, 2)),
    ]
    for call in calls:
        with pytest.raises(AssertionError, match="nan|1 / "):
            check_static(call)
