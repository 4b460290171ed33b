"""Cells of recurrent networks on the device, where torch has each in one piece."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import spike_torch.programs
import spiky

pytestmark = pytest.mark.usefixtures("backend")


def _steps(cell: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The states of two steps, and all gradients."""
    x = x.clone().requires_grad_()
    first = cell(x)
    states = [s for state in (first, cell(-x, first)) for s in _each(state)]
    torch.stack([(i + s).square().sum() for i, s in enumerate(states)]).sum().backward()
    gradients = [x.grad, *(p.grad for p in cell.parameters())]
    return [*states, *(g for g in gradients if g is not None)]


def _each(state: Any) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "has_bias", "sizes"),
    [(nn.LSTMCell, True, [3]), (nn.GRUCell, True, [3, 5]), (nn.GRUCell, False, [3])],
)
def test_cells_are_compiled(kind: Any, has_bias: bool, sizes: list[int]) -> None:
    torch.manual_seed(0)
    truth = kind(4, 8, bias=has_bias)
    compiled = torch.compile(
        deepcopy(truth).nkipy(),
        backend="nkipy",
        dynamic=len(sizes) > 1,
        options={"unsupported": "error"},
    )
    spike_torch.programs.fill_padding(True)
    try:
        for size in sizes:
            truth.zero_grad(), compiled.zero_grad()
            x = torch.randn(size, 4)
            found = [t.cpu() for t in _steps(compiled, x.nkipy())]
            assert_close(found, _steps(truth, x), rtol=1e-4, atol=1e-5)
    finally:
        spike_torch.programs.fill_padding(False)
    assert spiky.get_stats().total_executions > 0
