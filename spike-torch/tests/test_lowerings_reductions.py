"""Lowerings of reductions where torch is particular, beside the CPU's kernels."""

from __future__ import annotations

from collections.abc import Iterable
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

#: By name: the operator, and what follows the tensor.
REDUCTIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "sum": (aten.sum.default, (), {}),
    "sum dim": (aten.sum.dim_IntList, ([1],), {}),
    "sum dims": (aten.sum.dim_IntList, ([-1, 0], True), {}),
    "sum dtype": (aten.sum.dim_IntList, ([0],), {"dtype": torch.bfloat16}),
    "nansum": (aten.nansum.default, ([1],), {}),
    "prod": (aten.prod.default, (), {}),
    "prod dim": (aten.prod.dim_int, (1, True), {}),
    "mean": (aten.mean.default, (), {}),
    "mean dims": (aten.mean.dim, ([0, 1],), {}),
    "mean dtype": (aten.mean.dim, ([1],), {"dtype": torch.bfloat16}),
    "any": (aten.any.default, (), {}),
    "any dim": (aten.any.dim, (1,), {}),
    "any dims": (aten.any.dims, ([0, 2],), {}),
    "any no dims": (aten.any.dims, ([], True), {}),
    "all": (aten.all.default, (), {}),
    "all dim": (aten.all.dim, (1,), {}),
    "all dims": (aten.all.dims, (None, True), {}),
    "count_nonzero": (aten.count_nonzero.default, (), {}),
    "count_nonzero dims": (aten.count_nonzero.dim_IntList, ([0, 1],), {}),
    "amax": (aten.amax.default, ([1],), {}),
    "amin": (aten.amin.default, (), {}),
    "max": (aten.max.default, (), {}),
    "min": (aten.min.default, (), {}),
    "max dim": (aten.max.dim, (1,), {}),
    "min dim": (aten.min.dim, (-2, True), {}),
    "argmax": (aten.argmax.default, (), {}),
    "argmin": (aten.argmin.default, (1, True), {}),
    "argmin whole": (aten.argmin.default, (None, True), {}),
    "aminmax": (aten.aminmax.default, (), {}),
    "aminmax dim": (aten.aminmax.default, (), {"dim": 1, "keepdim": True}),
    "var": (aten.var.correction, (), {}),
    "var dim": (aten.var.correction, ([1],), {"correction": 0}),
    "var real": (aten.var.correction, ([1],), {"correction": 1.5, "keepdim": True}),
    "std": (aten.std.correction, ([0, 1],), {}),
    "var_mean": (aten.var_mean.correction, ([1],), {"correction": 3}),
    "std_mean": (aten.std_mean.correction, (), {"correction": 0}),
    "norm 0": (aten.linalg_vector_norm.default, (0, [1]), {}),
    "norm 1": (aten.linalg_vector_norm.default, (1,), {}),
    "norm 2": (aten.linalg_vector_norm.default, (2, [0, 1]), {}),
    "norm inf": (aten.linalg_vector_norm.default, (INF,), {}),
    "norm -inf": (aten.linalg_vector_norm.default, (-INF, [1], True), {}),
    "norm 3": (aten.linalg_vector_norm.default, (3.0, [1]), {}),
    "norm -1": (aten.linalg_vector_norm.default, (-1, [1]), {}),
    "Frobenius": (aten.norm.ScalarOpt_dim, (None, [0, 1]), {}),
    "renorm": (aten.renorm.default, (2, 1, 3.0), {}),
    "softmax": (aten._softmax.default, (1, False), {}),
    "log_softmax": (aten._log_softmax.default, (1, False), {}),
    "safe softmax": (aten._safe_softmax.default, (1,), {}),
    "logsumexp": (aten.logsumexp.default, ([0, 1],), {}),
    "logsumexp kept": (aten.logsumexp.default, ([1], True), {}),
}
FLOATS = (torch.float32, torch.bfloat16)
OTHERS = (torch.int64, torch.uint8, torch.bool)
SPECIAL = [
    [[3.0, NAN, 1.0, NAN], [0.0, -0.0, 0.0, 0.0], [2.0, 2.0, -INF, 1.0]],
    [[INF, 1.0, INF, -1.0], [-INF, -INF, -INF, -INF], [5.0, 5.0, 7.0, 7.0]],
]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_padding_does_not_count(name: str) -> None:
    op, more, named = REDUCTIONS[name]
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if "prod" not in name else None
    scale = 0.05 if "prod" in name else 0.25
    check_every_size(
        op, lambda n: (numbers(3, n, 2) * scale, *more), tolerance=tolerance, **named
    )


@pytest.mark.parametrize("name", REDUCTIONS)
def test_special_values_of_each_dtype(name: str) -> None:
    values = torch.tensor(SPECIAL)
    if name.endswith("_mean"):
        # The CPU updates a mean, for which an infinity soon is NaN: by its place.
        values = values.nan_to_num(NAN, 9, -9)
    whole = values.nan_to_num(3, 99, 0)
    given = [values.to(dtype) for dtype in FLOATS] + [whole.to(d) for d in OTHERS]
    assert check_those_of_the_cpu(name, given) >= len(FLOATS)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_scalars_and_nothing(name: str) -> None:
    given = [torch.tensor(2.5), torch.tensor(True), torch.ones(2, 0, 3)]
    check_those_of_the_cpu(name, given)


def check_those_of_the_cpu(name: str, given: Iterable[torch.Tensor]) -> int:
    """Check tensors that the CPU does it with, and count them."""
    op, more, named = REDUCTIONS[name]
    done = 0
    for x in given:
        try:
            (call,) = calls_with(op, [((x, *more), named)])
        except (RuntimeError, NotImplementedError, IndexError):
            continue
        check_static(call)
        done += 1
    return done


@pytest.mark.parametrize("name", REDUCTIONS)
def test_the_compiler_takes_it(name: str, tmp_path: Path) -> None:
    op, more, named = REDUCTIONS[name]
    compile_program(op, (numbers(3, 23, 2), *more), named, tmp_path)


#: Operators of a matrix whose rows are merged dimensions.
MERGED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sum": (aten.sum.dim_IntList, ([0],)),
    "argmax": (aten.argmax.default, ()),
    "argmin": (aten.argmin.default, (0,)),
    "max": (aten.max.dim, (0,)),
    "var": (aten.var.correction, ([0],)),
    "softmax": (aten._softmax.default, (0, False)),
    "logsumexp": (aten.logsumexp.default, ([0, 1],)),
}


@pytest.mark.parametrize("name", MERGED)
def test_padding_between_what_counts(name: str) -> None:
    op, more = MERGED[name]
    check_every_size(Merging(op), lambda n: (numbers(3, n, 2), *more))


def test_two_padded_dimensions_of_one_size() -> None:
    check_every_size(aten.argmax.default, lambda n: (numbers(n, n),))
    check_every_size(aten.mean.default, lambda n: (numbers(n, n, 2),))


def test_complex_numbers_are_refused() -> None:
    (call,) = calls_with(aten.sum.default, [((torch.ones(2).cfloat(),), {})])
    with pytest.raises(Unsupported, match="complex"):
        check_static(call)
