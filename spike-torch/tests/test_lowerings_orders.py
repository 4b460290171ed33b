"""Lowerings of scans, sorts and searches where torch is particular, beside the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from spike_torch.lowering import Unsupported

from .bucket_cases import Merging, check_every_size, compile_program, numbers
from .lowering_cases import calls_with, check_static

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

aten = torch.ops.aten
INF, NAN = float("inf"), float("nan")
SIZES = (1, 2, 3, 7, 8, 19, 20, 32)
FEW = (2, 7, 20)

#: By name: the operator, and what follows the tensor.
ORDERS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "cumsum": (aten.cumsum.default, (1,), {}),
    "cumsum dtype": (aten.cumsum.default, (0,), {"dtype": torch.int64}),
    "cumprod": (aten.cumprod.default, (1,), {}),
    "cummax": (aten.cummax.default, (1,), {}),
    "cummin": (aten.cummin.default, (-2,), {}),
    "logcumsumexp": (aten.logcumsumexp.default, (1,), {}),
    "sort": (aten.sort.default, (1,), {}),
    "sort descending": (aten.sort.default, (1, True), {}),
    "sort stable": (
        aten.sort.stable,
        (),
        {"stable": True, "dim": 0, "descending": True},
    ),
    "topk": (aten.topk.default, (1, 1), {}),
    "topk least": (aten.topk.default, (2, 0, False), {}),
    "kthvalue": (aten.kthvalue.default, (1, 1, True), {}),
    "median": (aten.median.default, (), {}),
    "median dim": (aten.median.dim, (1, True), {}),
    "nanmedian": (aten.nanmedian.default, (), {}),
    "nanmedian dim": (aten.nanmedian.dim, (1,), {}),
}
#: Of which torch says where each element comes from, among equal ones too.
CERTAIN = [n for n in ORDERS if not n.startswith(("topk", "kth", "median", "nanmed"))]
FLOATS = (torch.float32, torch.bfloat16)
OTHERS = (torch.int64, torch.uint8, torch.bool)
SPECIAL = [
    [[3.0, NAN, 1.0, NAN], [0.0, -0.0, 0.0, 0.0], [2.0, 2.0, -INF, 1.0]],
    [[INF, 1.0, INF, -1.0], [-INF, -INF, -INF, -INF], [5.0, 5.0, 7.0, NAN]],
]


@pytest.mark.parametrize("name", ORDERS)
def test_padding_does_not_count(name: str) -> None:
    op, more, named = ORDERS[name]
    scale = 0.05 if name in ("cumprod", "logcumsumexp") else 1
    fine = {"rtol": 1e-4, "atol": 1e-4}
    check_every_size(
        *(op, lambda n: (numbers(3, n, 2) * scale, *more), SIZES, fine), **named
    )


@pytest.mark.parametrize("name", CERTAIN)
def test_special_values_of_each_dtype(name: str) -> None:
    op, more, named = ORDERS[name]
    values = torch.tensor(SPECIAL)
    if named.get("dtype") == torch.int64:  # of NaN and infinities nobody knows
        values = values.nan_to_num(7, 99, -9)
    whole = values.nan_to_num(3, 99, 0)
    given = [values.to(dtype) for dtype in FLOATS] + [whole.to(d) for d in OTHERS]
    done = 0
    for x in (*given, torch.tensor(2.5), torch.ones(2, 0, 3)):
        try:
            (call,) = calls_with(op, [((x, *more), named)])
        except (RuntimeError, IndexError):  # of the CPU
            continue
        check_static(call)
        done += 1
    assert done >= 3


@pytest.mark.parametrize("name", ORDERS)
def test_the_compiler_takes_it(name: str, tmp_path: Path) -> None:
    op, more, named = ORDERS[name]
    compile_program(op, (numbers(3, 23, 2), *more), named, tmp_path)


@pytest.mark.parametrize("name", [n for n in ORDERS if "stable" not in n])
def test_padding_between_what_counts(name: str) -> None:
    op, more, named = ORDERS[name]
    if more:
        places = [i for i, arg in enumerate(more) if type(arg) is int]
        last = places[-1]  # of the dimension
        more = (*more[:last], 0, *more[last + 1 :])
    fine = {"rtol": 1e-4, "atol": 1e-4}
    scale = 0.05 if name in ("cumprod", "logcumsumexp") else 1
    check_every_size(
        *(Merging(op), lambda n: (numbers(3, n, 2) * scale, *more), SIZES, fine),
        **named,
    )


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64], ids=str)
def test_medians_of_nan_and_of_equal_ones(dtype: torch.dtype) -> None:
    """Values; and that they are where the places say."""
    x = torch.tensor(SPECIAL)
    x = (x if dtype.is_floating_point else x.nan_to_num(3, 99, -9)).to(dtype)
    for op in (aten.median.default, aten.nanmedian.default):
        check_static(calls_with(op, [((x,), {})])[0])
    lines = torch.stack([x[0, 0], x[1, 2], x[0, 0].flip(0)])
    for op in (aten.median.dim, aten.nanmedian.dim):
        check_static(calls_with(op, [((lines, 1), {})])[0])


@pytest.mark.parametrize("right", [False, True])
def test_search(right: bool) -> None:
    values = torch.tensor([[NAN, 2.0, INF], [0.0, -INF, 3.0]])
    rows = ([], [2.0], [-INF, 1, 2, 2, 3], [1, 2, 2, 3, NAN], [3.0, 1, 2, 0])
    for row in rows:
        args = (torch.tensor(row), values)
        for out in (True, False):
            (call,) = calls_with(
                aten.searchsorted.Tensor, [(args, {"right": right, "out_int32": out})]
            )
            check_static(call)
    whole = torch.tensor([-3, 0, 0, 7])
    (call,) = calls_with(
        aten.bucketize.Tensor, [((whole - 1, whole), {"right": right})]
    )
    check_static(call)


def test_search_in_a_bucket(tmp_path: Path) -> None:
    op = aten.searchsorted.Tensor
    check_every_size(op, lambda n: (numbers(n).sort()[0], numbers(5, 4)), SIZES)
    check_every_size(op, lambda n: (numbers(7).sort()[0], numbers(n, 4)), SIZES)
    check_every_size(op, lambda n: (numbers(3, n).sort()[0], numbers(3, 4)), FEW)
    check_every_size(op, lambda n: (numbers(n, 7).sort()[0], numbers(n, 4)), FEW)
    for args in (
        (numbers(23).sort()[0], numbers(5, 4)),
        (numbers(3, 23).sort()[0], numbers(3, 4)),
    ):
        compile_program(op, args, {"right": True}, tmp_path)


def test_a_search_by_an_order_beside_is_left_alone() -> None:
    args = (torch.ones(3), torch.ones(2))
    order = torch.arange(3)
    (call,) = calls_with(aten.searchsorted.Tensor, [(args, {"sorter": order})])
    with pytest.raises(Unsupported, match="an order beside"):
        check_static(call)
