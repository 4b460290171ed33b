"""Cells of recurrent networks, which torch has in one piece for devices only.

What forward keeps for backward is as the device's own cells have it
(``recurrent_cells.cpp`` of spike-torch): the two may run one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def decompositions_of_cells() -> dict[Any, Callable[..., Any]]:
    """What is to be computed in place of them."""
    aten = torch.ops.aten
    return {
        aten._thnn_fused_lstm_cell.default: _lstm_cell,
        aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
        aten._thnn_fused_gru_cell.default: _gru_cell,
        aten._thnn_fused_gru_cell_backward.default: _gru_cell_backward,
    }


def _with_bias(gates: Tensor, bias: Tensor | None) -> Tensor:
    return gates if bias is None else gates + bias


def _lstm_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    cx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    gates = _with_bias(input_gates, input_bias) + _with_bias(hidden_gates, hidden_bias)
    parts = gates.chunk(4, 1)
    begun, kept, out = (parts[i].sigmoid() for i in (0, 1, 3))
    cell = parts[2].tanh()
    cy = kept * cx + begun * cell
    return out * cy.tanh(), cy, torch.cat([begun, kept, cell, out], 1)


def _lstm_cell_backward(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if grad_hy is None and grad_cy is None:
        return None, None, None
    begun, kept, cell, out = workspace.chunk(4, 1)
    of_cy = torch.zeros_like(cx) if grad_cy is None else grad_cy
    of_out = torch.zeros_like(cx)
    if grad_hy is not None:
        tanh = cy.tanh()
        of_cy = of_cy + grad_hy * out * (1 - tanh * tanh)
        of_out = grad_hy * tanh * out * (1 - out)
    of_begun = of_cy * cell * begun * (1 - begun)
    of_kept = of_cy * cx * kept * (1 - kept)
    of_cell = of_cy * begun * (1 - cell * cell)
    gates = torch.cat([of_begun, of_kept, of_cell, of_out], 1)
    return gates, of_cy * kept, gates.sum(0) if has_bias else None


def _gru_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    hx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    given = _with_bias(input_gates, input_bias).chunk(3, 1)
    hidden = _with_bias(hidden_gates, hidden_bias).chunk(3, 1)
    reset, update = ((given[i] + hidden[i]).sigmoid() for i in (0, 1))
    made = (given[2] + reset * hidden[2]).tanh()
    workspace = torch.cat([reset, update, made, hx, hidden[2]], 1)
    return made + update * (hx - made), workspace


def _gru_cell_backward(
    grad_hy: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor | None, ...]:
    reset, update, made, hx, hidden = workspace.chunk(5, 1)
    of_update = grad_hy * (hx - made) * (1 - update) * update
    of_made = grad_hy * (1 - update) * (1 - made * made)
    of_reset = of_made * hidden * (1 - reset) * reset
    of_given = torch.cat([of_reset, of_update, of_made], 1)
    of_hidden = torch.cat([of_reset, of_update, of_made * reset], 1)
    biases = (of_given.sum(0), of_hidden.sum(0)) if has_bias else (None, None)
    return of_given, of_hidden, grad_hy * update, *biases
