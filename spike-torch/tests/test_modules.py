"""Modules: layers and training on the device equal the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 5), (3, 4)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "without a bias": (lambda: nn.Conv1d(4, 6, 3, bias=False), (2, 4, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 2, stride=2), (2, 4, 3, 3)),
    "lstm": (lambda: nn.LSTM(4, 6, 2, bidirectional=True), (5, 3, 4)),
    "gru": (lambda: nn.GRU(4, 6, 2), (5, 3, 4)),
    "without biases": (lambda: nn.LSTM(4, 6, bias=False), (5, 3, 4)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (3, 4, 2, 2)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 2)),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        (2, 3, 8),
    ),
    "pooling": (lambda: nn.MaxPool2d(2), (2, 4, 6, 6)),
}


def first(result: object) -> torch.Tensor:
    found = result[0] if isinstance(result, tuple) else result
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_gradients(reach: None, name: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    host = make()
    there = deepcopy(host).to("nkipy")
    inputs = torch.randn(shape)
    results = []
    for module, given in ((host, inputs), (there, inputs.to("nkipy"))):
        given.requires_grad_()
        out = first(module(given))
        (out * out).sum().backward()
        gradients = (p.grad for p in module.parameters())
        results.append([out, given.grad, *gradients, *module.buffers()])
    for ours, theirs in zip(*reversed(results), strict=True):
        assert ours.device.type == "nkipy"
        assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)


def test_parameters_stay_the_objects_that_they_are_and_ties_hold() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    kept = list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.to("nkipy")
    assert all(a is b for a, b in zip(kept, model.parameters(), strict=True))
    assert model[1].weight is model[0].weight
    model(torch.ones(2, 4, device="nkipy")).sum().backward()
    before = model[0].weight.clone()
    optimizer.step()
    assert not torch.equal(before, model[0].weight)
    model.cpu()
    assert model[1].weight is model[0].weight is kept[0]
    assert kept[0].device.type == "cpu"


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_training_equals_the_cpus(kind: type, options: dict) -> None:
    torch.manual_seed(2)
    host = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2))
    there = deepcopy(host).to("nkipy")
    inputs, wanted = torch.randn(6, 4), torch.randint(0, 2, (6,))
    losses = []
    for module, device in ((host, "cpu"), (there, "nkipy")):
        optimizer = kind(module.parameters(), lr=0.05, **options)
        losses.append([])
        for _ in range(4):
            optimizer.zero_grad()
            logits = module(inputs.to(device))
            loss = nn.functional.cross_entropy(logits, wanted.to(device))
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_state_dicts_go_both_ways() -> None:
    host, there = nn.Linear(3, 3), nn.Linear(3, 3).to("nkipy")
    there.load_state_dict(host.state_dict())
    assert there.weight.device.type == "nkipy"
    assert torch.equal(there.weight.cpu(), host.weight)
    host.load_state_dict(nn.Linear(3, 3).to("nkipy").state_dict())
    assert host.weight.device.type == "cpu"
