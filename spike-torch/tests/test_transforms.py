"""torch.func, forward-mode derivatives, checkpoints, hooks: as on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
)
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from .programs import machine, run

pytestmark = pytest.mark.filterwarnings("ignore")
DEVICES = ("cpu", "nkipy")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def scalar(x: torch.Tensor) -> torch.Tensor:
    return (x.sin() * x).exp().sum()


def vector(x: torch.Tensor) -> torch.Tensor:
    return x.sin() * x.sum() + x.flip(0)


def dual(x: torch.Tensor) -> list[torch.Tensor]:
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(vector(forward_ad.make_dual(x, x.cos())))
        return [found.primal, found.tangent]


def samples(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients sample by sample, of a small convolutional network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    model.to(x.device)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], one: torch.Tensor) -> torch.Tensor:
        return functional_call(model, parameters, (one[None, None],)).pow(2).sum()

    return torch.vmap(grad(loss), (None, 0))(parameters, x.expand(3, 4))


def ensemble(x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    models = [nn.Linear(4, 2).to(x.device) for _ in range(3)]
    states = stack_module_state(models)
    base = deepcopy(models[0]).to("meta")
    call = torch.vmap(lambda p, b: functional_call(base, (p, b), (x,)))
    return call(*states)


def by_a_random_mask(x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for randomness in ("same", "different"):
        torch.manual_seed(3)
        call = torch.vmap(lambda y: F.dropout(y, 0.5), randomness=randomness)
        found.append(call(x.expand(5, 4)))
    return found


TRANSFORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "vmap": lambda x: torch.vmap(torch.dot)(x.expand(3, 4), x.expand(3, 4)),
    "vmap of a decomposition": lambda x: torch.vmap(torch.linalg.inv)(
        torch.diag(x.abs() + 1).expand(2, 4, 4)
    ),
    "vmap in chunks": lambda x: torch.vmap(vector, chunk_size=2)(x.expand(5, 4)),
    "vmap of random numbers": by_a_random_mask,
    "jvp": lambda x: jvp(vector, (x,), (x.cos(),)),
    "vjp": lambda x: vjp(vector, x)[1](x.cos()),
    "dual numbers": dual,
    "linearize": lambda x: linearize(vector, x)[1](x),
    "grad": grad(scalar),
    "jacrev": jacrev(vector),
    "jacfwd": jacfwd(vector),
    "hessian": hessian(scalar),
    "second order": grad(lambda x: grad(scalar)(x).pow(2).sum()),
    "autograd.functional": lambda x: torch.autograd.functional.hvp(scalar, x, x.cos()),
    "functional_call": lambda x: functional_call(
        nn.Linear(4, 1, bias=False), {"weight": x[None]}, (x,)
    ),
    "samples": samples,
    "ensemble": ensemble,
    "functionalize": torch.func.functionalize(lambda x: x.clone().mul_(2)[1:].add_(1)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_torch_func(name: str) -> None:
    given = drawn(4)
    wanted = TRANSFORMS[name](given)
    found = TRANSFORMS[name](given.to("nkipy"))
    for ours, theirs in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        assert ours.device.type == "nkipy"
        assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_what_differences_tell() -> None:
    given = drawn(3).double().to("nkipy").requires_grad_()
    assert torch.autograd.gradcheck(
        vector, (given,), check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(vector, (given,))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_repeats_random_numbers(reentrant: bool) -> None:
    """torch keeps a device's random state only where its module has _initialized."""
    ones = torch.ones(64, device="nkipy", requires_grad=True)
    out = checkpoint(F.dropout, ones, use_reentrant=reentrant)
    out.sum().backward()
    assert ones.grad is not None and torch.equal(ones.grad, out.detach())


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_of_a_model(reentrant: bool) -> None:
    found = []
    for device in DEVICES:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )
        model.to(device)
        given = drawn(3, 4).to(device).requires_grad_()
        torch.manual_seed(1)
        out = checkpoint_sequential(model, 2, given, use_reentrant=reentrant)
        out.pow(2).sum().backward()
        found.append([out, given.grad, *(p.grad for p in model.parameters())])
    for theirs, ours in zip(*found, strict=True):
        assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)


def test_what_is_saved_for_backward_can_wait_on_the_cpu() -> None:
    wanted = torch.func.grad(scalar)(drawn(4))
    for pinned in (False, True):
        given = drawn(4).to("nkipy").requires_grad_()
        with torch.autograd.graph.save_on_cpu(pin_memory=pinned):
            out = scalar(given)
        out.backward()
        assert_close(given.grad.cpu(), wanted)


def test_anomalies_are_named() -> None:
    zeros = torch.zeros(3, device="nkipy", requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        out = (zeros.sqrt() * 0).sum()
        with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan values"):
            out.backward()


def test_hooks_get_tensors_of_the_device() -> None:
    layer = nn.Linear(3, 2).to("nkipy")
    seen = []
    layer.register_forward_pre_hook(lambda m, given: seen.append(given[0].device.type))
    layer.register_forward_hook(lambda m, given, out: seen.append(out.device.type))
    layer.register_full_backward_hook(lambda m, i, out: seen.append(out[0].device.type))
    layer.weight.register_hook(lambda gradient: gradient * 2)
    layer.weight.register_post_accumulate_grad_hook(
        lambda p: seen.append(p.grad.device.type)
    )
    layer(torch.ones(4, 3, device="nkipy")).sum().backward()
    assert seen == ["nkipy"] * 4
    assert layer.weight.grad.tolist() == [[8.0] * 3] * 2


def test_a_function_of_ones_own() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            assert torch.nkipy.current_device() == x.device.index
            return gradient * 3 * x

    given = torch.arange(3.0, device="nkipy", requires_grad=True)
    Twice.apply(given).sum().backward()
    assert given.grad.tolist() == [0, 3, 6]


def test_python_ends_after_a_backward_pass_that_has_just_ended(tmp_path: Path) -> None:
    """A thread of autograd's that wants Python's lock then ended the process: SIGABRT.

    Python's lock is kept for as long as possible, so that the thread waits for it.
    """
    code = (
        "import sys, torch\n"
        "sys.setswitchinterval(100)\n"
        "torch.ones(3, device='nkipy', requires_grad=True).sin().sum().backward()\n"
    )
    done = run(code, machine(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_profiler_measures_operations() -> None:
    from torch.profiler import ProfilerActivity, profile

    ones = torch.ones(8, device="nkipy")
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=True
    ) as measured:
        (ones + 1).sum()
    names = {event.key for event in measured.key_averages()}
    assert {"aten::add", "aten::sum"} <= names
    with torch.autograd.profiler.profile(use_device="nkipy") as older:
        ones + 1
    assert "aten::add" in {event.key for event in older.key_averages()}


ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "a mask of truths": {"attn_mask": torch.rand(5, 5).tril() > 0},
    "a mask of numbers": {"attn_mask": drawn(2, 1, 5, 5)},
    "a scale": {"scale": 0.3},
    "grouped": {"enable_gqa": True},
    "dropout": {"dropout_p": 0.4},
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str) -> None:
    heads = 2 if name == "grouped" else 4
    given = drawn(2, 4, 5, 8), drawn(2, heads, 5, 8), drawn(2, heads, 5, 8) + 1
    found = []
    for device in DEVICES:
        leaves = [x.to(device, copy=True).requires_grad_() for x in given]
        options = {
            key: value.to(device) if isinstance(value, torch.Tensor) else value
            for key, value in ATTENTION[name].items()
        }
        torch.manual_seed(1)
        out = F.scaled_dot_product_attention(*leaves, **options)
        out.pow(2).sum().backward()
        found.append([out, *(x.grad for x in leaves)])
    for theirs, ours in zip(*found, strict=True):
        assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_scaler_skips_what_is_infinite(fused: bool) -> None:
    found = []
    for device in DEVICES:
        torch.manual_seed(0)
        layer = nn.Linear(3, 3).to(device)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler(device, init_scale=8.0)
        for value in (1.0, float("inf"), 2.0):
            optimizer.zero_grad()
            scaler.scale(
                layer(torch.full((2, 3), value, device=device)).sum()
            ).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        assert scaler.get_scale() == 4.0
        found.append([*layer.parameters()])
    for theirs, ours in zip(*found, strict=True):
        assert_close(ours.cpu(), theirs)
