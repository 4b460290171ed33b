"""torch.compile on the device: which backends work, and what the default one says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

pytestmark = pytest.mark.filterwarnings("ignore")


def no_product(x: torch.Tensor) -> torch.Tensor:
    return x.sum(0)


def from_random(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand(3, device=x.device)


def in_lists(x: torch.Tensor) -> torch.Tensor:
    return torch._foreach_add([x, x], 1)[0].sort()[0]


@pytest.fixture(autouse=True)
def _new_compiler() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "function", [nn.functional.gelu, no_product, from_random, in_lists]
)
def test_the_default_backend_says_which_one_to_use(function: Callable) -> None:
    given = torch.ones(2, 3, device="nkipy")
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed) as caught:
        torch.compile(function)(given)
    text = str(caught.value)
    assert (
        'no code for the device "nkipy": use torch.compile(..., backend="nkipy")'
        in (text)
    )
    assert text.count('backend="nkipy"') == 1 and "Traceback" not in text
    assert 'backend="aot_eager"' in text  # which torch has itself, and works
    assert type(caught.value.inner_exception) is NotImplementedError


@pytest.mark.slow
def test_the_default_backend_still_compiles_for_the_cpu() -> None:
    given = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(torch.compile(no_product)(given), given.sum(0))


@pytest.mark.parametrize(
    "backend", ["eager", "aot_eager", "aot_eager_decomp_partition"]
)
def test_training_by_other_backends(backend: str) -> None:
    torch.manual_seed(0)
    host = nn.Sequential(nn.Conv1d(2, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(9, 2))
    there = nn.Sequential(nn.Conv1d(2, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(9, 2))
    there.load_state_dict(host.state_dict())
    there.to("nkipy")
    given = torch.randn(5, 2, 4)
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(there, backend=counter, fullgraph=True)
    for _ in range(2):
        found, wanted = compiled(given.to("nkipy")), host(given)
        assert found.device.type == "nkipy"
        assert_close(found.cpu(), wanted)
        found.pow(2).sum().backward()
        wanted.pow(2).sum().backward()
    assert counter.frame_count == 1
    for ours, theirs in zip(there.parameters(), host.parameters(), strict=True):
        assert_close(ours.grad.cpu(), theirs.grad)
