"""Operators of torch.library that NKI kernels compute in compiled graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuronxcc.nki.language as old_nl
import nki
import nki.isa as nisa
import nki.language as nl
import pytest
import torch
from neuronxcc.nki import jit as first_generation_jit

from spiky import NKIOpRegistry
from spiky.errors import KernelError
from spiky.torch import init_nkipy_backend


@nki.jit
def scale(x: Any, factor: Any) -> Any:
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.multiply, factor)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


@first_generation_jit
def first_generation_scale(x: Any, factor: Any) -> Any:
    out = old_nl.ndarray(x.shape, x.dtype, buffer=old_nl.shared_hbm)
    old_nl.store(out, old_nl.load(x) * factor)
    return out


@nki.jit
def add_into(x: Any, y: Any, out: Any) -> None:
    rows, columns = x.shape[0] // nl.num_programs(0), x.shape[1]
    start = rows * nl.program_id(0)
    one = nl.ndarray((rows, columns), x.dtype)
    other = nl.ndarray((rows, columns), y.dtype)
    nisa.dma_copy(one, x[start : start + rows])
    nisa.dma_copy(other, y[start : start + rows])
    nisa.tensor_tensor(one, one, other, nl.add)
    nisa.dma_copy(out[start : start + rows], one)


@nki.jit
def increment(x: Any, y: Any) -> None:
    one, other = nl.ndarray(x.shape, x.dtype), nl.ndarray(y.shape, y.dtype)
    nisa.dma_copy(one, x)
    nisa.dma_copy(other, y)
    nisa.tensor_tensor(one, one, other, nl.add)
    nisa.dma_copy(x, one)


grids: list[tuple[int, ...]] = []


def grid_of(x: torch.Tensor, y: torch.Tensor) -> tuple[int, ...]:
    grids.append(tuple(x.shape))
    return (2 if x.numel() % 2 == 0 else 1,)


@torch.library.custom_op("spiky_tests::scale", mutates_args=())
def op_scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


@torch.library.custom_op("spiky_tests::add", mutates_args=())
def op_add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


@torch.library.custom_op("spiky_tests::increment", mutates_args=("x",))
def op_increment(x: torch.Tensor, y: torch.Tensor) -> None:
    x += y


@torch.library.custom_op("spiky_tests::incremented", mutates_args=())
def op_incremented(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


op_scale.register_fake(lambda x, factor: torch.empty_like(x))
op_add.register_fake(lambda x, y: torch.empty_like(x))
op_incremented.register_fake(lambda x, y: torch.empty_like(x))
op_increment.register_fake(lambda x, y: None)


def _keep_factor(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.factor = inputs[1]


def _scaled_gradient(ctx: Any, gradient: torch.Tensor) -> tuple[Any, None]:
    return op_scale(gradient, ctx.factor), None


op_scale.register_autograd(_scaled_gradient, setup_context=_keep_factor)


@pytest.fixture(autouse=True)
def ready(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    init_nkipy_backend()
    monkeypatch.setattr(NKIOpRegistry, "_operations", {})
    NKIOpRegistry.register("spiky_tests::scale")(scale)
    NKIOpRegistry.register("spiky_tests::add", grid=grid_of)(add_into)
    NKIOpRegistry.register("spiky_tests::increment")(increment)
    NKIOpRegistry.register("spiky_tests::incremented", alias_map={0: 0})(increment)
    grids.clear()
    yield


def compiled(function: Any) -> Any:
    options = {"unsupported": "error"}
    return torch.compile(function, backend="nkipy", fullgraph=True, options=options)


def test_a_kernel_computes_forward_and_backward() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return op_scale(x.sin(), 3.0).cos()

    x = torch.randn(4, 8, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    expected, made = function(x), compiled(function)(other)
    torch.testing.assert_close(made, expected)
    expected.sum().backward()
    made.sum().backward()
    torch.testing.assert_close(other.grad, x.grad)


def test_a_kernel_writes_to_what_it_is_given_for_results() -> None:
    x, y = torch.randn(2, 4, 8)
    made = compiled(lambda x, y: op_add(x * 2, y) + 1)(x, y)
    torch.testing.assert_close(made, x * 2 + y + 1)
    assert grids == [(4, 8)]


def test_a_kernel_writes_to_its_arguments() -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z = x * 2
        op_increment(z, y)
        op_increment(x, z)
        return z + x

    x, y = torch.randn(2, 4, 8)
    other = x.clone()
    made, expected = compiled(function)(other, y), function(x, y)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(other, x)


def test_an_output_takes_the_memory_of_an_argument() -> None:
    x, y = torch.randn(2, 4, 8)
    before = x.clone()
    made = compiled(lambda x, y: op_incremented(x, y) * x)(x, y)
    torch.testing.assert_close(made, (x + y) * x)
    assert torch.equal(x, before)


def test_sizes_are_exact_unless_a_kernel_takes_padding() -> None:
    from spiky import explain

    function = torch.compile(lambda x: op_scale(x, 2.0), backend="nkipy", dynamic=True)
    x = torch.randn(5, 8)
    report = explain(function, x)
    assert "exact size of" in str(report)
    torch.testing.assert_close(function(x), x * 2)
    NKIOpRegistry.unregister("spiky_tests::scale")
    NKIOpRegistry.register("spiky_tests::scale", padding="handled")(scale)
    torch._dynamo.reset()
    report = explain(function, x)
    assert [b for g in report.graphs for b in g.buckets.values()] == [[8], [8]]
    for size in (5, 3):
        torch.testing.assert_close(function(x[:size]), x[:size] * 2)


def test_a_kernel_that_refuses_its_arguments_is_an_error_with_the_line() -> None:
    function = compiled(lambda x, y: op_add(x, y))
    wrong = r"test_kernel_calls\.py:\d+: spiky_tests::add: the kernel does not take"
    with pytest.raises(KernelError, match=wrong):
        function(torch.ones(4, 8), torch.ones(3, 8))
    NKIOpRegistry.unregister("spiky_tests::add")
    NKIOpRegistry.register("spiky_tests::add")(increment)
    with pytest.raises(KernelError, match="writes to its argument x"):
        compiled(lambda x, y: op_add(y, x))(torch.ones(4, 8), torch.ones(4, 8))


def test_a_result_that_differs_from_the_fake_one_is_an_error() -> None:
    @nki.jit
    def other(x: Any, factor: Any) -> Any:
        return nl.ndarray((2, 2), x.dtype, buffer=nl.shared_hbm)

    NKIOpRegistry.unregister("spiky_tests::scale")
    NKIOpRegistry.register("spiky_tests::scale")(other)
    with pytest.raises(KernelError, match=r"makes result 0 as f32\[2,2\]"):
        compiled(lambda x: op_scale(x, 2.0))(torch.ones(4, 8))


def test_a_kernel_that_was_changed_is_compiled_again() -> None:
    @nki.jit
    def half(x: Any, factor: Any) -> Any:
        return scale(x, factor / 2)

    x = torch.ones(4, 8)
    assert torch.equal(compiled(lambda x: op_scale(x, 6.0))(x), 6 * x)
    NKIOpRegistry.unregister("spiky_tests::scale")
    NKIOpRegistry.register("spiky_tests::scale")(half)
    torch._dynamo.reset()
    assert torch.equal(compiled(lambda x: op_scale(x, 6.0))(x), 3 * x)


def test_what_the_function_of_a_grid_raises_is_not_hidden() -> None:
    NKIOpRegistry.unregister("spiky_tests::scale")
    register = NKIOpRegistry.register(
        "spiky_tests::scale", grid=lambda x, factor: (x.shape[5],)
    )
    register(scale)
    with pytest.raises(KernelError, match="index out of range"):
        compiled(lambda x: op_scale(x, 2.0))(torch.ones(4, 8))


def test_an_operator_in_a_graph_of_several_parts_writes_to_its_arguments() -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        op_increment(x, y)
        return torch.linalg.svdvals((x * 2).double()).float() + 1

    x, y = torch.randn(2, 4, 4)
    other = x.clone()
    made = torch.compile(function, backend="nkipy", fullgraph=True)
    with pytest.warns(UserWarning, match="runs eagerly"):
        result = made(other, y)
    torch.testing.assert_close(result, function(x, y))
    torch.testing.assert_close(other, x)


def test_the_compiler_is_told_what_a_kernel_wants() -> None:
    from spiky.compiling import part

    NKIOpRegistry.unregister("spiky_tests::scale")
    NKIOpRegistry.register("spiky_tests::scale", "-O1")(scale)
    told: list[str] = []
    build = part.build

    def recorded(module: Any, options: Any, name: str) -> Any:
        told.append(options.additional_compiler_args)
        return build(module, options, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "build", recorded)
        x = torch.ones(4, 8)
        assert torch.equal(compiled(lambda x: op_scale(x, 2.0))(x), 2 * x)
    assert told == ["-O1"]


@pytest.mark.parametrize("made", [scale, first_generation_scale])
def test_a_kernel_that_is_called_ends_a_graph(made: Any) -> None:
    """Nothing of the simulator's Python is captured."""
    from spiky import explain

    x = torch.randn(4, 8)

    def function(x: torch.Tensor) -> torch.Tensor:
        return made(x + 1, 3.0) * 2

    report = explain(function, x)
    names = [[o.name for p in g.parts for o in p.operations] for g in report.graphs]
    assert names == [["aten.add.Tensor"], ["aten.mul.Tensor"]]
    assert "spiky.NKIOpRegistry.register registers it" in str(report)
    run = torch.compile(function, backend="nkipy")
    torch.testing.assert_close(run(x), (x + 1) * 3 * 2)
    torch._dynamo.reset()
    whole = torch.compile(function, backend="nkipy", fullgraph=True)
    with pytest.raises(Exception, match="NKIOpRegistry"):
        whole(x)
