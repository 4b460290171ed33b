"""All of torch's optimizers on the device: steps equal the CPU's, states move."""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.testing import assert_close
from torch.testing._internal.common_optimizers import OptimizerInfo, optim_db
from torch.utils._pytree import tree_leaves

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("by_the_cpu"),  # programs round otherwise
]

_TOLERANCES = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float64: {"rtol": 1e-9, "atol": 1e-9},
    torch.float16: {"rtol": 1e-3, "atol": 1e-3},
    torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2},
    torch.complex64: {"rtol": 1e-5, "atol": 1e-6},
}
#: Ways to update parameters: one by one, in lists, and in one kernel.
_WAYS = ("for loop", "foreach", "fused")
_STEPS = 3


def ways(info: OptimizerInfo) -> list[str]:
    return [w for w in _WAYS if w == "for loop" or w in info.supported_impls]


def settings(info: OptimizerInfo, way: str) -> Iterator[dict[str, Any]]:
    for given in info.optim_inputs_func(device="cpu"):
        chosen = deepcopy(given.kwargs)
        if chosen.get("capturable") or (
            way != "for loop" and "differentiable" in chosen
        ):
            continue
        if way != "for loop":
            chosen[way] = True
        elif "foreach" in info.supported_impls:
            chosen["foreach"] = False
        yield chosen


def sizes(info: OptimizerInfo) -> list[tuple[int, ...]]:
    matrices = [(3, 4), (4, 3)]
    return matrices if info.name == "Muon" else [*matrices, (5,), (), (2, 3, 2)]


class Training:
    """Some parameters, and gradients that are the same on each device."""

    def __init__(
        self,
        info: OptimizerInfo,
        chosen: dict[str, Any],
        device: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        drawn = torch.Generator().manual_seed(0)
        self.info = info
        self.parameters = [self._draw(s, drawn, dtype, device) for s in sizes(info)]
        for parameter in self.parameters:
            parameter.requires_grad_()
        self.dtype, self.device, self.drawn = dtype, device, drawn
        self.optimizer: Optimizer = info.optim_cls(self.parameters, **chosen)

    @staticmethod
    def _draw(
        shape: tuple[int, ...], drawn: torch.Generator, dtype: torch.dtype, device: str
    ) -> torch.Tensor:
        return torch.randn(shape, generator=drawn, dtype=dtype).to(device)

    def step(self) -> None:
        for parameter in self.parameters:
            parameter.grad = self._draw(
                tuple(parameter.shape), self.drawn, self.dtype, self.device
            )
        if self.info.step_requires_closure:
            self.optimizer.step(self._loss)
        else:
            self.optimizer.step()

    def _loss(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = sum((p * p.conj()).real.sum() for p in self.parameters)
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        return loss


def compare(found: Any, wanted: Any, dtype: torch.dtype) -> None:
    for ours, theirs in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        if not isinstance(theirs, torch.Tensor):
            assert ours == pytest.approx(theirs, nan_ok=True)
            continue
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.stride() == theirs.stride()
        exact = not (theirs.is_floating_point() or theirs.is_complex())
        allowed = {} if exact else _TOLERANCES[dtype]
        assert_close(ours.cpu(), theirs, equal_nan=True, **allowed)


def check(info: OptimizerInfo, way: str, dtype: torch.dtype) -> None:
    for chosen in settings(info, way):
        host = Training(info, deepcopy(chosen), "cpu", dtype)
        there = Training(info, deepcopy(chosen), "nkipy", dtype)
        for _ in range(_STEPS):
            host.step()
            there.step()
            compare(there.parameters, host.parameters, dtype)
        states = [t.optimizer.state_dict()["state"] for t in (there, host)]
        compare(*states, dtype)


_DENSE = [info for info in optim_db if not info.only_supports_sparse_grads]
_each_way = pytest.mark.parametrize(
    ("info", "way"),
    [pytest.param(i, w, id=f"{i.name}-{w}") for i in _DENSE for w in ways(i)],
)


@_each_way
def test_steps_equal_the_cpus(info: OptimizerInfo, way: str) -> None:
    check(info, way, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(_TOLERANCES)[1:], ids=str)
@_each_way
def test_steps_of_other_dtypes(
    info: OptimizerInfo, way: str, dtype: torch.dtype
) -> None:
    if dtype.is_complex and (way == "fused" or not info.supports_complex):
        pytest.skip("torch's has no complex parameters")
    check(info, way, dtype)


@pytest.mark.parametrize("info", _DENSE, ids=lambda info: info.name)
@pytest.mark.parametrize("way", ["there", "back"])
def test_states_go_on_on_another_device(info: OptimizerInfo, way: str) -> None:
    """A checkpoint of one device's goes on on the other as where it was made."""
    devices = ("cpu", "nkipy") if way == "there" else ("nkipy", "cpu")
    first, second = (Training(info, {}, device) for device in devices)
    stays = Training(info, {}, "cpu")
    first.step()
    stays.step()
    file = io.BytesIO()
    torch.save((first.parameters, first.optimizer.state_dict()), file)
    file.seek(0)
    parameters, state = torch.load(file, weights_only=False)
    with torch.no_grad():
        for target, source in zip(second.parameters, parameters, strict=True):
            target.copy_(source)
    second.optimizer.load_state_dict(state)
    second.drawn.set_state(first.drawn.get_state())
    for training in (second, stays):
        training.step()
    compare(second.parameters, stays.parameters, torch.float32)
    moved = tree_leaves(second.optimizer.state_dict()["state"])
    places = {
        x.device.type for x in moved if isinstance(x, torch.Tensor) and x.dim() > 0
    }
    assert places <= {devices[1]}


def test_sparse_gradients_are_refused_by_name() -> None:
    """Tensors of a sparse layout have no place on the device: so has no SparseAdam."""
    table = torch.nn.Embedding(4, 3, sparse=True).to("nkipy")
    with pytest.raises(NotImplementedError, match="[Ss]parse"):
        table(torch.tensor([1, 2], device="nkipy")).sum().backward()


def test_all_of_torchs_are_here() -> None:
    of_torch = {
        value
        for value in vars(torch.optim).values()
        if isinstance(value, type) and issubclass(value, Optimizer)
    }
    seen = {info.optim_cls for info in optim_db} | {Optimizer}
    assert of_torch <= seen
