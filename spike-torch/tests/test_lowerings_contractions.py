"""Products of matrices beside the CPU's: what torch is particular about."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nkipy.compiler.build import build
from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_cases import Call, check_padded, check_static
from .lowering_graphs import check_function
from .lowering_together import (
    check_together,
    of_one_dimension,
    with_padding,
    without_padding,
)

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

_aten = torch.ops.aten


def _call(op: Any, *args: Any, **kwargs: Any) -> Call:
    return Call(op, args, kwargs, op(*args, **kwargs))


def _check(call: Call) -> None:
    cases = [*without_padding([call]), *with_padding([call]), *of_one_dimension([call])]
    checked = check_together(cases, build)
    assert checked[0].dynamic is None


def _integers(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, shape, dtype=dtype)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
)
def test_integers_lose_their_higher_bits(dtype: torch.dtype) -> None:
    x, y = _integers(2, 3, 5, dtype=dtype), _integers(2, 5, 4, dtype=dtype)
    _check(_call(_aten.bmm.default, x, y))
    check_static(_call(_aten.mm.default, x[0], y[0]))
    check_static(_call(_aten.mv.default, x[0], y[0, :, 0].contiguous()))
    check_static(_call(_aten.dot.default, x[0, 0], x[0, 1]))
    bias = _integers(3, 4, dtype=dtype)
    check_static(_call(_aten.addmm.default, bias, x[0], y[0], beta=3, alpha=2))
    check_static(_call(_aten.addmm.default, bias[0], x[0], y[0], beta=0))


def test_many_products_of_integers_are_left_to_the_cpu() -> None:
    x = torch.ones(300, 300, dtype=torch.int64)
    call = _call(_aten.mm.default, x, x)
    with pytest.raises(Unsupported, match="27000000 products of integers"):
        lower_operation(call.op, call.args, call.kwargs, call.returned)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_added(dtype: torch.dtype) -> None:
    nan = torch.full((4,), torch.nan, dtype=dtype)
    x, y = torch.randn(3, 5, dtype=dtype), torch.randn(5, 4, dtype=dtype)
    for beta in (0, 0.0, False):
        _check(_call(_aten.addmm.default, nan, x, y, beta=beta))
    _check(_call(_aten.addmm.default, x[:, :1].contiguous(), x, y, beta=2, alpha=0.5))
    check_static(_call(_aten.addmm.default, nan, x, y, alpha=0))
    check_static(_call(_aten.addmv.default, nan[:3], x, y[:, 0].contiguous(), beta=0))
    batches = x.expand(2, 3, 5).contiguous(), y.expand(2, 5, 4).contiguous()
    check_static(_call(_aten.baddbmm.default, nan, *batches, beta=0))
    check_static(_call(_aten.addbmm.default, nan, *batches, beta=0, alpha=2))
    check_static(_call(_aten.addr.default, nan, x[:, 0], y[0], beta=0, alpha=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_sums_of_nothing(dtype: torch.dtype) -> None:
    x, y = torch.ones(3, 0, dtype=dtype), torch.ones(0, 4, dtype=dtype)
    bias = torch.arange(4).to(dtype)
    _check(_call(_aten.mm.default, x, y))
    _check(_call(_aten.mm.default, y, torch.ones(4, 2, dtype=dtype)))
    _check(_call(_aten.addmm.default, bias, x, y, beta=2))
    check_static(_call(_aten.dot.default, x[0], x[1]))
    check_static(_call(_aten.bmm.default, x[None], y[None]))
    check_static(_call(_aten.mv.default, x, x[0]))


def test_infinities_and_nan() -> None:
    x = torch.tensor([[1.0, torch.inf, 0.0], [0.0, 1.0, torch.nan]])
    y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, -torch.inf]])
    _check(_call(_aten.mm.default, x, y))


def test_padding_of_what_is_summed_is_masked() -> None:
    call = _call(_aten.mm.default, torch.randn(4, 6), torch.randn(6, 3))
    assert check_padded(call) == 3
    assert check_padded(call, extra=26) == 3


def test_rows_of_merged_dimensions() -> None:
    """What lies between padding there needs no exact size."""
    x, y = torch.arange(24.0).reshape(2, 3, 4), torch.arange(20.0).reshape(4, 5)

    def layer(x: torch.Tensor, y: torch.Tensor) -> Any:
        rows = x.reshape(-1, 4)
        product = _aten.addmm(y[0], rows, y)
        return product.reshape(*x.shape[:2], 5), _aten.addmm(product, rows, y)

    for extra in (1, 5):
        check_function(layer, x, y, static=((0, 2), (1, 0), (1, 1)), extra=extra)
