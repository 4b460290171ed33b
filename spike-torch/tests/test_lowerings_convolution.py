"""Convolutions and their gradients beside the CPU's, with and without padding."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from nkipy.compiler.build import build

from .lowering_cases import Call, check_padded, check_static
from .lowering_together import (
    check_together,
    of_one_dimension,
    with_padding,
    without_padding,
)

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

_aten = torch.ops.aten
#: Sizes of the input and of the kernel, then stride, padding, dilation, padding of the
#: output, groups; the kernel's first two sizes are those of a convolution that is not
#: transposed.
_CASES = [
    ((2, 3, 9), (4, 3, 3), (1,), (0,), (1,), (0,), 1),
    ((1, 4, 12), (6, 2, 4), (3,), (2,), (2,), (1,), 2),
    ((2, 3, 8, 7), (5, 3, 3, 2), (2, 3), (1, 0), (1, 1), (1, 2), 1),
    ((2, 4, 9, 10), (4, 1, 3, 3), (2, 2), (1, 2), (2, 1), (0, 1), 4),
    ((1, 2, 6, 5), (2, 2, 1, 1), (3, 2), (0, 0), (1, 1), (2, 0), 1),
    ((1, 2, 5, 6, 4), (4, 1, 2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 2, 1), (1, 0, 0), 2),
    # The kernel reaches beyond what it is moved over.
    ((2, 2, 6), (3, 2, 3), (1,), (3,), (1,), (0,), 1),
]


def _call(case: Any, transposed: bool, dtype: torch.dtype, bias: bool) -> Call:
    sizes, kernel, stride, padding, dilation, more, groups = case
    x = torch.randn(sizes, dtype=dtype)
    weight = torch.randn(kernel, dtype=dtype)
    if transposed:
        weight = torch.randn(sizes[1], kernel[0] // groups, *kernel[2:], dtype=dtype)
    else:
        more = (0,) * len(stride)
    added = torch.randn(kernel[0], dtype=dtype) if bias else None
    args = (x, weight, added, stride, padding, dilation, transposed, more, groups)
    return Call(_aten.convolution.default, args, {}, _aten.convolution(*args))


def _gradients(call: Call, mask: list[bool]) -> Call:
    x, weight, bias, *window = call.args
    grad = torch.randn_like(call.returned)
    sizes = None if bias is None else [call.returned.shape[1]]
    args = (grad, x, weight, sizes, *window, mask)
    op = _aten.convolution_backward.default
    # The CPU may compute more than it is asked for.
    asked = (x if wanted else None for x, wanted in zip(op(*args), mask))
    return Call(op, args, {}, tuple(asked))


def _check(call: Call) -> None:
    cases = [*without_padding([call]), *with_padding([call]), *of_one_dimension([call])]
    checked = check_together(cases, build, extra=5)
    assert checked[0].dynamic is None


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("case", _CASES)
def test_convolution_and_its_gradients(case: Any, transposed: bool) -> None:
    call = _call(case, transposed, torch.float32, bias=True)
    _check(call)
    _check(_gradients(call, [True, True, True]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transposed", [False, True])
def test_narrow_floats(dtype: torch.dtype, transposed: bool) -> None:
    call = _call(_CASES[2], transposed, dtype, bias=True)
    check_static(call)
    check_static(_gradients(call, [True, True, True]))


@pytest.mark.parametrize("mask", list(product([False, True], repeat=3))[1:])
def test_gradients_that_are_asked_for(mask: tuple[bool, ...]) -> None:
    call = _call(_CASES[2], False, torch.float32, bias=True)
    check_static(_gradients(call, list(mask)))


@pytest.mark.parametrize("transposed", [False, True])
def test_nothing_to_sum(transposed: bool) -> None:
    case = ((0, 3, 8), (4, 3, 3), (1,), (1,), (1,), (0,), 1)
    check_static(_call(case, transposed, torch.float32, bias=True))


def test_padding_is_masked_where_space_has_buckets() -> None:
    call = _call(_CASES[2], False, torch.float32, bias=True)
    assert check_padded(call, lambda tensor, dim: tensor == 0 and dim != 1) == 3
