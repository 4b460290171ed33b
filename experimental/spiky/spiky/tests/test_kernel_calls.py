"""Operators of torch.library that NKI kernels compute in compiled graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuronxcc.nki.language as old_nl
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
import torch
from neuronxcc.nki import jit as first_generation_jit

from nkipy.hlo.kernel_languages import language
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


@nki.jit
def accumulate(x: Any, total: Any) -> tuple[Any, Any]:
    one, other = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(one, x)
    nisa.dma_copy(other, total)
    nisa.tensor_tensor(other, one, other, nl.add)
    nisa.dma_copy(total, other)
    return scale(x, 2.0), scale(x, 3.0)


@nki.jit
def incremented_and_scaled(x: Any, y: Any) -> Any:
    result = scale(y, 2.0)
    increment(x, y)
    return result


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


@torch.library.custom_op("spiky_tests::repeated", mutates_args=())
def op_repeated(x: torch.Tensor, times: int) -> torch.Tensor:
    return x * times


@torch.library.custom_op("spiky_tests::accumulate", mutates_args=("total",))
def op_accumulate(
    x: torch.Tensor, total: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    total += x
    return 2 * x, 3 * x


@torch.library.custom_op("spiky_tests::both", mutates_args=())
def op_both(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return y * 2, x + y


op_repeated.register_fake(lambda x, times: torch.empty_like(x))
op_accumulate.register_fake(lambda x, total: (torch.empty_like(x), torch.empty_like(x)))
op_both.register_fake(lambda x, y: (torch.empty_like(x), torch.empty_like(x)))
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
    NKIOpRegistry.register("spiky_tests::repeated")(scale)
    NKIOpRegistry.register("spiky_tests::accumulate")(accumulate)
    NKIOpRegistry.register("spiky_tests::both", alias_map={1: 0})(
        incremented_and_scaled
    )
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


@pytest.mark.parametrize(
    "made", [scale, pytest.param(first_generation_scale, marks=pytest.mark.slow)]
)
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


@pytest.mark.usefixtures("filled_padding")
@pytest.mark.parametrize(
    ("device", "padding"),
    [
        ("cpu", "handled"),
        pytest.param("nkipy", "handled", marks=pytest.mark.slow),
        pytest.param("cpu", "exact", marks=pytest.mark.slow),
        pytest.param("nkipy", "exact", marks=pytest.mark.slow),
    ],
)
def test_results_beside_an_argument_that_is_written(device: str, padding: Any) -> None:
    NKIOpRegistry.unregister("spiky_tests::accumulate")
    NKIOpRegistry.register("spiky_tests::accumulate", padding=padding)(accumulate)

    def function(x: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, ...]:
        double, triple = op_accumulate(x + 1, total)
        return double.sum(0), triple * total

    run = torch.compile(function, backend="nkipy", fullgraph=True, dynamic=True)
    for size in (5, 7):
        x, total = torch.randn(2, size, 8)
        own = total.clone().to(device)
        made = [value.cpu() for value in run(x.to(device), own)]
        torch.testing.assert_close(made, list(function(x, total)))
        torch.testing.assert_close(own.cpu(), total)


def test_an_output_of_several_takes_the_memory_of_an_argument() -> None:
    x, y = torch.randn(2, 4, 8)
    made = compiled(lambda x, y: op_both(x, y))(x, y)
    torch.testing.assert_close(list(made), [y * 2, x + y])
    NKIOpRegistry.unregister("spiky_tests::both")
    register = NKIOpRegistry.register("spiky_tests::both", alias_map={2: 0})
    register(incremented_and_scaled)
    with pytest.raises(KernelError, match=r"has outputs \[2\] in alias_map"):
        compiled(lambda x, y: op_both(x, y))(x + 0, y)


@pytest.mark.parametrize(
    "padding", ["exact", pytest.param("handled", marks=pytest.mark.slow)]
)
def test_a_size_that_a_kernel_takes_is_exact(padding: Any) -> None:
    NKIOpRegistry.unregister("spiky_tests::repeated")
    NKIOpRegistry.register("spiky_tests::repeated", padding=padding)(scale)
    run = torch.compile(
        lambda x: op_repeated(x, x.shape[0] + 1), backend="nkipy", dynamic=True
    )
    for size in (5, 6):
        x = torch.randn(size, 8)
        torch.testing.assert_close(run(x), x * (size + 1))


def test_a_tensor_that_is_written_is_given_once() -> None:
    x = torch.ones(4, 8)
    with pytest.raises(KernelError, match="writes to x, and total is the same tensor"):
        compiled(lambda x: op_accumulate(x, x))(x)


def test_what_is_to_be_written_and_is_not_is_an_error() -> None:
    @nki.jit
    def unwritten(x: Any, y: Any, out: Any) -> None:
        increment(x, y)

    @nki.jit
    def neither(x: Any, total: Any) -> tuple[Any, Any]:
        return scale(x, 2.0), scale(x, 3.0)

    NKIOpRegistry.unregister("spiky_tests::add")
    NKIOpRegistry.register("spiky_tests::add", alias_map={0: 0})(unwritten)
    NKIOpRegistry.unregister("spiky_tests::accumulate")
    NKIOpRegistry.register("spiky_tests::accumulate")(neither)
    x = torch.ones(4, 8)
    with pytest.raises(KernelError, match="takes out besides the operator's arguments"):
        compiled(lambda x: op_add(x, x + 1))(x)
    with pytest.raises(KernelError, match="writes to its argument total, and the ker"):
        compiled(lambda x, y: op_accumulate(x, y))(x, x + 1)


def test_a_part_of_a_tensor_is_written_eagerly_and_it_is_said() -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        op_increment(x[1:3], y)
        return x * 2

    x, y = torch.randn(4, 8), torch.randn(2, 8)
    other = x.clone()
    run = torch.compile(function, backend="nkipy", fullgraph=True)
    with pytest.warns(UserWarning, match=r"increment\.default writes to x"):
        made = run(other, y)
    torch.testing.assert_close(made, function(x, y))
    torch.testing.assert_close(other, x)


def test_an_error_of_a_kernel_that_is_called_has_the_callers_line() -> None:
    """And not that of torch, which is kept out of it in between."""
    line = r"test_kernel_calls\.py:\d+"
    with pytest.raises(nki.NkiValidationError, match=rf"no dimension.*\n  at .*{line}"):
        scale(torch.tensor(1.0), 2.0)
    with pytest.raises(nki.NkiValidationError, match="argument x requires grad"):
        scale(torch.ones(4, 8, requires_grad=True), 2.0)
    with torch.no_grad():
        made = scale(torch.ones(4, 8, requires_grad=True), 2.0)
    assert torch.equal(made, torch.full((4, 8), 2.0))


@pytest.mark.slow
def test_a_kernel_is_traced_for_the_chip_that_is_compiled_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spiky import kernel_programs

    found = []
    for chip in ("TRN1", "TRN2"):
        target = getattr(kernel_programs.CompilationTarget, chip)
        monkeypatch.setattr(kernel_programs, "resolve_target", lambda _, t=target: t)
        array = language().ArraySpec((4, 8), np.dtype("float32"), None)
        made = kernel_programs.traced(language(), scale, (array, 2.0))
        found.append(made.interface.chip)
    assert found == ["trn1", "trn2"]
