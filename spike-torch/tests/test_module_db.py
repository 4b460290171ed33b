"""All of torch's modules on the device: a forward and backward pass, and a step."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.testing._internal.common_modules import (
    ModuleInfo,
    ModuleInput,
    module_db,
)
from torch.utils._pytree import tree_leaves, tree_map

from .op_samples import NotOfTheCpu

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("by_the_cpu"),  # programs round otherwise
]

#: What sums of many terms may differ by, by dtype.
_TOLERANCES = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.float64: {"rtol": 1e-7, "atol": 1e-7},
    torch.float16: {"rtol": 2e-2, "atol": 2e-2},
    torch.bfloat16: {"rtol": 1e-1, "atol": 1e-1},
}

#: Where a rounding of 8 bits decides on which side of relu's corner a sum lies.
_AT_A_CORNER = {("nn_TransformerEncoder", torch.bfloat16)}


def leaf(value: Any, device: str) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    made = value.detach().to(device, copy=True)
    return made.requires_grad_(value.requires_grad)


def inputs(
    info: ModuleInfo, dtype: torch.dtype, training: bool
) -> Iterator[ModuleInput]:
    torch.manual_seed(0)
    yield from info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )


def train(module: torch.nn.Module, given: Any, device: str) -> dict[str, list[Any]]:
    """Results, gradients, and what a step of an optimizer makes of parameters."""
    args, kwargs = tree_map(lambda value: leaf(value, device), given)
    torch.manual_seed(1)
    found = [x for x in tree_leaves(module(*args, **kwargs)) if torch.is_tensor(x)]
    parts = {"results": list(found)}
    sums = [x.abs().sum() for x in found if x.requires_grad]
    if sums:
        sum(sums).backward()
    leaves = [x for x in tree_leaves((args, kwargs)) if torch.is_tensor(x)]
    parts["gradients of inputs"] = [x.grad for x in leaves]
    parts["gradients"] = [x.grad for x in module.parameters()]
    if any(x.grad is not None for x in module.parameters()):
        torch.optim.SGD(module.parameters(), lr=0.01).step()
    parts["a step"] = list(module.parameters())
    parts["buffers"] = list(module.buffers())
    return parts


def require_close(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> None:
    allowed = _TOLERANCES[dtype] if theirs.is_floating_point() else {}
    if allowed and theirs.itemsize == 2:
        # The CPU's fused cells and attention round less often: as a whole it is close.
        ours, theirs = ours.float(), theirs.float()
        assert torch.equal(ours.isfinite(), theirs.isfinite())
        ours, theirs = ours.nan_to_num(0, 0, 0), theirs.nan_to_num(0, 0, 0)
        most = allowed["atol"] + allowed["rtol"] * theirs.norm()
        assert (ours - theirs).norm() <= most
    else:
        assert_close(ours, theirs, equal_nan=True, **allowed)


def compare_all(found: list[Any], wanted: list[Any], dtype: torch.dtype) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        if theirs is None:
            assert ours is None
            continue
        assert ours.device.type == "nkipy"
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if theirs.numel():
            assert ours.stride() == theirs.stride()
        require_close(ours.detach().cpu(), theirs.detach(), dtype)


def compare(
    info: ModuleInfo, given: ModuleInput, dtype: torch.dtype, training: bool
) -> None:
    made = given.constructor_input
    torch.manual_seed(2)
    try:
        host = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
        there = deepcopy(host).to("nkipy")
        given_to_it = given.forward_input.args, given.forward_input.kwargs
        wanted = train(host, given_to_it, "cpu")
    except Exception as error:
        raise NotOfTheCpu(info.name) from error
    found = train(there, given_to_it, "nkipy")
    for part, theirs in wanted.items():
        try:
            compare_all(found[part], theirs, dtype)
        except Exception as error:
            raise AssertionError(f"{part} of {given.desc or made}") from error


def check(info: ModuleInfo, dtype: torch.dtype, most: int | None) -> None:
    done = 0
    for training in (True, False):
        for place, given in enumerate(inputs(info, dtype, training)):
            if most is not None and place >= most:
                break
            try:
                compare(info, given, dtype, training)
            except NotOfTheCpu:
                continue
            done += 1
    if not done:
        pytest.skip("the CPU does not do it")


@pytest.mark.parametrize("info", module_db, ids=lambda info: info.formatted_name)
def test_float32(info: ModuleInfo) -> None:
    check(info, torch.float32, 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", _TOLERANCES, ids=str)
@pytest.mark.parametrize("info", module_db, ids=lambda info: info.formatted_name)
def test_all_samples_and_dtypes(info: ModuleInfo, dtype: torch.dtype) -> None:
    if (info.formatted_name, dtype) in _AT_A_CORNER:
        pytest.skip("its gradients are not continuous there")
    check(info, dtype, None)


@pytest.mark.slow
@pytest.mark.parametrize("info", module_db, ids=lambda info: info.formatted_name)
def test_by_transfers(info: ModuleInfo, by_transfers: None) -> None:
    """As on a device with memory of its own."""
    check(info, torch.float32, 2)


def test_there_are_as_many_as_torch_has() -> None:
    assert len({info.module_cls for info in module_db}) >= 100
