"""Attention beside the CPU's: masks, rows without keys, shared keys, buckets."""

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
_forward = _aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = _aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def _check(call: Call) -> None:
    check_static(call)
    build(lower_operation(call.op, call.args, call.kwargs, call.returned).module)
    # Batches, queries and keys in buckets; heads and their size are numbers.
    for dims in ((0, 2), (0,), (2,)):
        made = check_padded(
            call, lambda tensor, dim, dims=dims: dim in dims, 5, shared=True
        )
        assert made == len(dims) + (2 in dims)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("heads", [4, 2])
def test_values_and_gradients(is_causal: bool, heads: int) -> None:
    query, key = torch.randn(3, 4, 5, 6), torch.randn(3, heads, 7, 6)
    value = torch.randn(3, heads, 7, 6)
    args = (query, key, value, 0.0, is_causal)
    out, logsumexp = _forward(*args)
    _check(Call(_forward, args, {}, (out, logsumexp)))
    out, logsumexp = out.contiguous(), logsumexp.contiguous()
    grads = (torch.randn(3, 4, 5, 6), query, key, value, out, logsumexp, *args[3:])
    _check(Call(_backward, grads, {}, _backward(*grads)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_floats(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(3, 2, 2, 9, 8).to(dtype)
    args = (query, key, value, 0.0, True)
    check_static(Call(_forward, args, {}, _forward(*args)), atol=2e-2, rtol=2e-2)


def test_rows_without_keys() -> None:
    query, key, value = torch.randn(3, 1, 2, 5, 4)
    mask = torch.randn(5, 5)
    mask[1] = -torch.inf
    mask[2, :3] = -torch.inf
    given: dict[str, Any] = {"attn_mask": mask, "scale": 0.7}
    args = (query, key, value)
    out, logsumexp = _forward(*args, **given)
    check_static(Call(_forward, args, given, (out, logsumexp)))
    assert not out[:, :, 1].any()
    out, logsumexp = out.contiguous(), logsumexp.contiguous()
    grads = (torch.randn(1, 2, 5, 4), query, key, value, out, logsumexp, 0.0, False)
    check_static(Call(_backward, grads, given, _backward(*grads, **given)))


def test_dropout_is_left_to_the_cpu() -> None:
    x = torch.randn(1, 1, 2, 2)
    returned = _forward(x, x, x)
    with pytest.raises(Unsupported, match="at random, of which 0.5"):
        lower_operation(_forward, (x, x, x, 0.5), {}, returned)
