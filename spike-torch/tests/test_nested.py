"""Nested tensors, of both of torch's layouts, and what makes them by itself."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("reach")]
PARTS = [torch.arange(8.0).reshape(2, 4), torch.arange(12.0).reshape(3, 4) / 7]
LAYOUTS = [torch.strided, torch.jagged]


def padded(nested: torch.Tensor) -> torch.Tensor:
    return torch.nested.to_padded_tensor(nested, -1.0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_made_there_and_moved(layout: torch.layout) -> None:
    wanted = torch.nested.nested_tensor(PARTS, layout=layout)
    for found in (
        torch.nested.nested_tensor(PARTS, device="nkipy", layout=layout),
        wanted.to("nkipy"),
        wanted.to("nkipy").clone(),
    ):
        assert found.device.type == "nkipy" and found.is_nested
        assert_close(padded(found).cpu(), padded(wanted))
        back = found.cpu()
        assert back.device.type == "cpu"
        assert_close(padded(back), padded(wanted))
    for ours, theirs in zip(wanted.to("nkipy").unbind(), PARTS, strict=True):
        assert ours.device.type == "nkipy" and torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_operations_and_gradients(layout: torch.layout) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    found = []
    for device in ("cpu", "nkipy"):
        there = deepcopy(layer).to(device)
        leaves = [x.to(device, copy=True).requires_grad_() for x in PARTS]
        nested = torch.nested.as_nested_tensor(leaves, layout=layout)
        out = padded(torch.relu(there(nested * 2)) + nested)
        out.sum().backward()
        assert out.device.type == device
        found.append([out, there.weight.grad, *(x.grad for x in leaves)])
    for theirs, ours in zip(*found, strict=True):
        assert_close(ours.cpu(), theirs)


def test_writing_in_place() -> None:
    nested = torch.nested.nested_tensor(PARTS, device="nkipy")
    first = nested.unbind()[0]
    nested.mul_(3)
    assert torch.equal(first.cpu(), PARTS[0] * 3)
    nested.copy_(torch.nested.nested_tensor(PARTS))
    assert torch.equal(first.cpu(), PARTS[0])


def test_an_encoder_leaves_padding_out_as_the_cpu_does() -> None:
    """Without gradients torch makes a nested tensor of the padded one."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    host = nn.TransformerEncoder(layer, 2).eval()
    there = deepcopy(host).to("nkipy")
    given = torch.randn(2, 5, 16)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        found = there(given.to("nkipy"), src_key_padding_mask=mask.to("nkipy"))
        wanted = host(given, src_key_padding_mask=mask)
    assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-5)
