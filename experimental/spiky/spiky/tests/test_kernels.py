"""The registry of NKI kernels, and the marker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import spiky
from spiky import NKIOpRegistry
from spiky.markers import NAME


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NKIOpRegistry, "_operations", {})


def kernel(x: Any) -> Any:
    return x


def test_a_kernel_is_found_by_its_operator() -> None:
    made = NKIOpRegistry.register("lib::op", "--fast", {0: 1}, grid=(2, 3))(kernel)
    assert made is kernel
    found = NKIOpRegistry.find("lib::op")
    assert found is not None and found.kernel is kernel
    assert (found.name, found.compiler_args) == ("lib::op", "--fast")
    assert dict(found.alias_map) == {0: 1}
    assert found.grid_of(torch.ones(3)) == (2, 3)
    assert NKIOpRegistry.names() == ["lib::op"]
    assert NKIOpRegistry.find("lib::other") is None
    NKIOpRegistry.unregister("lib::op")
    assert NKIOpRegistry.names() == []
    with pytest.raises(KeyError):
        NKIOpRegistry.unregister("lib::op")


def test_a_grid_may_depend_on_arguments() -> None:
    NKIOpRegistry.register("lib::op", grid=lambda x, n: (x.shape[0], n))(kernel)
    found = NKIOpRegistry.find("lib::op")
    assert found is not None and found.grid_of(torch.ones(3, 2), n=4) == (3, 4)
    with pytest.raises(ValueError, match="the grid of lib::op"):
        found.grid_of(torch.ones(0), 1)


def test_an_operator_has_one_kernel() -> None:
    register = NKIOpRegistry.register("lib::op")
    register(kernel)
    register(kernel)
    with pytest.raises(ValueError, match="is compiled by kernel already"):
        register(lambda x: x)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "op"}, ValueError),
        ({"name": "a::b::c"}, ValueError),
        ({"name": 3}, TypeError),
        ({"name": "a::b", "compiler_args": ["-x"]}, TypeError),
        ({"name": "a::b", "alias_map": [0]}, TypeError),
        ({"name": "a::b", "alias_map": {0: -1}}, ValueError),
        ({"name": "a::b", "grid": 2}, TypeError),
        ({"name": "a::b", "grid": (0,)}, ValueError),
    ],
)
def test_wrong_registrations_are_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        NKIOpRegistry.register(**arguments)
    with pytest.raises(TypeError, match="is registered for a kernel"):
        NKIOpRegistry.register("a::b")(3)  # type: ignore[type-var]


# -- the marker ------------------------------------------------------------------------
@pytest.fixture(params=["eager", "compiled"])
def marked(request: pytest.FixtureRequest, backend: None) -> Iterator[Any]:
    def function(x: torch.Tensor) -> torch.Tensor:
        return spiky.mark_subgraph_identity(2 * x).sin()

    compiled = torch.compile(function, backend="nkipy", fullgraph=True)
    yield function if request.param == "eager" else compiled


@pytest.mark.smoke
@pytest.mark.parametrize("device", ["cpu", "nkipy"])
def test_a_marker_is_an_identity_with_a_gradient(marked: Any, device: str) -> None:
    x = torch.randn(3, 4, device=device).t().requires_grad_()
    out = marked(x)
    torch.testing.assert_close(out.cpu(), torch.sin(2 * x.detach().cpu()))
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.cpu(), 2 * torch.cos(2 * x.detach().cpu()))


def test_a_marker_is_an_operator_as_torch_has_them() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    operator = torch.ops.nkipy.mark_subgraph_identity.default
    assert operator.name() == NAME
    torch.library.opcheck(operator, (x,))
    torch.library.opcheck(operator, (torch.randn(4, 2).t(),))
    assert torch.autograd.gradcheck(
        spiky.mark_subgraph_identity, x.detach().double().requires_grad_()
    )
    with pytest.raises(TypeError, match="expected a tensor"):
        spiky.mark_subgraph_identity([x])  # type: ignore[arg-type]
