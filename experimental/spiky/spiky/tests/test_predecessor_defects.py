"""What an earlier backend of this kind did wrong: each test says what should hold.

Numbers on the CPU are the truth. Padding is filled with NaN.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import spiky
from spiky.torch import init_nkipy_backend, reset_nkipy_backend

pytestmark = pytest.mark.usefixtures("backend", "filled_padding")


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    options.setdefault("unsupported", "error")
    return torch.compile(function, backend="nkipy", fullgraph=True, options=options)


def dynamic(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = torch.compile(
        function, backend="nkipy", fullgraph=True, dynamic=True, options=options
    )
    return made


def assert_same(function: Callable[..., Any], *inputs: Any) -> None:
    expected, made = function(*inputs), compiled(function)(*inputs)
    torch.testing.assert_close(made, expected, equal_nan=True)


# -- operators -------------------------------------------------------------------------
def test_add_multiplies_by_alpha() -> None:
    assert_same(lambda x, y: torch.add(x, y, alpha=-0.5), *torch.randn(2, 3))


def test_index_put_accumulates() -> None:
    def function(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        return x.index_put((i,), torch.ones(3), accumulate=True)

    assert_same(function, torch.zeros(4), torch.tensor([1, 1, 3]))


def test_gelu_is_approximated_only_if_asked() -> None:
    x = torch.linspace(-4, 4, 33)
    assert_same(lambda x: functional.gelu(x), x)
    assert_same(lambda x: functional.gelu(x, approximate="tanh"), x)


def test_a_logarithm_is_not_clamped() -> None:
    assert_same(torch.log, torch.tensor([0.0, 1e-30, -1.0, 2.0]))


def test_layer_norm_takes_several_dimensions() -> None:
    layer = nn.LayerNorm((3, 4))
    nn.init.normal_(layer.weight)
    assert_same(layer, torch.randn(2, 3, 4))


def test_a_comparison_is_of_booleans() -> None:
    assert_same(lambda x: x != 3, torch.arange(5, dtype=torch.uint8))


def test_dtypes_by_keyword_count() -> None:
    x = torch.arange(5, dtype=torch.int32)
    assert_same(lambda x: torch.mean(x, dtype=torch.float32), x)
    assert_same(lambda x: torch.sum(x, dtype=torch.float32), x)
    assert_same(lambda x: torch.full_like(x, 1.5, dtype=torch.float32), x)


def test_a_tensor_of_permuted_strides_has_its_shape() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_permuted((2, 3), (1, 0)).fill_(2.0) + x

    assert_same(function, torch.ones(2, 3))


def test_infinite_and_undefined_numbers_are_constants() -> None:
    assert_same(lambda x: torch.where(x > 0, x, -torch.inf) + 0, torch.randn(5))
    assert_same(lambda x: torch.where(x > 0, x, torch.nan), torch.randn(5))


def test_a_softmax_of_halves_may_be_of_floats() -> None:
    x = torch.randn(2, 5, dtype=torch.bfloat16)
    assert_same(lambda x: torch.softmax(x, 1, dtype=torch.float32), x)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16])
def test_inputs_of_any_dtype_are_taken(dtype: torch.dtype) -> None:
    assert_same(lambda x: (x, x[1:]), torch.tensor([0, 1, 2]).to(dtype))


def test_what_has_no_lowering_runs_between_and_warns() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals((x * 2).double()).float() + 1

    x = torch.randn(3, 3)
    made = torch.compile(function, backend="nkipy", fullgraph=True)
    with pytest.warns(UserWarning, match=r"test_predecessor_defects\.py:\d+:"):
        torch.testing.assert_close(made(x), function(x))


# -- padding ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "function",
    [torch.sum, torch.amax, torch.prod, lambda x: x.mean(0), lambda x: x.softmax(0)],
    ids=["sum", "amax", "prod", "mean", "softmax"],
)
def test_padding_reaches_no_result(function: Callable[..., Any]) -> None:
    made = dynamic(function)
    for size in (3, 5, 9):
        x = torch.randn(size, 3)
        torch.testing.assert_close(made(x), function(x))


def test_sizes_that_equal_a_bucket_are_not_cut() -> None:
    weight = torch.randn(8, 8, requires_grad=True)
    made = dynamic(lambda x, w: x @ w)
    x = torch.randn(5, 8)
    out = made(x, weight)
    assert out.shape == (5, 8)
    out.sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, x.sum(0)[:, None].expand(8, 8))


def test_several_dimensions_are_dynamic() -> None:
    made = dynamic(lambda x, y: (x @ y).sum(1))
    for n, m, k in ((3, 5, 9), (9, 3, 5), (5, 5, 5)):
        x, y = torch.randn(n, m), torch.randn(m, k)
        torch.testing.assert_close(made(x, y), (x @ y).sum(1))


def test_a_smaller_bucket_after_a_larger_one_has_its_own_strides() -> None:
    made = dynamic(lambda x: x * 2 + 1)
    for size in (17, 5, 9, 3):
        x = torch.randn(3, size)
        torch.testing.assert_close(made(x), x * 2 + 1)


def test_explicit_buckets_are_those_that_are_used() -> None:
    made = dynamic(lambda x: x.sum(0), buckets={0: [6, 12]})
    spiky.reset_stats()
    for size in (5, 6, 7, 12):
        x = torch.randn(size, 3)
        torch.testing.assert_close(made(x), x.sum(0))
    hits = spiky.get_stats().bucket_hits
    firsts = [b if isinstance(b, int) else b[0] for b in hits for _ in range(hits[b])]
    assert sorted(firsts) == [6, 6, 12, 12]


def test_what_is_larger_than_all_buckets_is_refused_without_jit() -> None:
    function = spiky.compile(lambda x: x.sum(0), {"buckets": [4, 8], "jit": False})
    x = torch.randn(5, 4)
    torch._dynamo.mark_static(x, 1)
    torch.testing.assert_close(function(x), x.sum(0))
    count = spiky.get_stats().total_compile_count
    large = torch.randn(9, 4)
    torch._dynamo.mark_static(large, 1)
    with pytest.raises(ValueError):
        function(large)
    assert spiky.get_stats().total_compile_count == count


def test_sizes_do_not_compile_for_themselves() -> None:
    made = dynamic(lambda x: x * 2)
    spiky.reset_stats()
    for size in (9, 10, 11, 16):
        made(torch.randn(size))
    assert spiky.get_stats().total_compile_count == 1


# -- memory ----------------------------------------------------------------------------
def test_buffers_are_written_in_every_bucket() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total += x.sum(0)
            return x + self.total

    model = Model()
    made, expected = dynamic(model), torch.zeros(3)
    for size in (5, 9, 3):
        x = torch.randn(size, 3)
        expected = expected + x.sum(0)
        torch.testing.assert_close(made(x), x + expected)
        torch.testing.assert_close(model.total, expected)


def test_statistics_count_in_every_mode() -> None:
    for options in ({}, {"pipelined": False}, {"keep_outputs_on_device": True}):
        made = dynamic(lambda x: x * 2, **options)
        spiky.reset_stats()
        made(torch.randn(5))
        stats = spiky.get_stats()
        assert (stats.total_executions, stats.total_compile_count) == (1, 1)
        assert stats.total_pad_ratio_sum == pytest.approx(8 / 5)
        assert 0 < stats.min_execution_time_ms <= stats.max_execution_time_ms
    assert spiky.get_memory_stats()["total_bytes"] > 0


# -- the cache and the process ---------------------------------------------------------
def keys(cache: Path) -> set[str]:
    return {file.parent.name for file in cache.rglob("*.neff")}


def test_programs_that_differ_in_a_constant_or_option_are_two(tmp_path: Path) -> None:
    def run(value: float, args: str) -> None:
        reset_nkipy_backend()
        torch._dynamo.reset()
        init_nkipy_backend(tmp_path, additional_compiler_args=args)
        constant = torch.tensor([value, 2.0])
        x = torch.ones(2)
        assert torch.equal(compiled(lambda x: x + constant)(x), x + constant)
        made = compiled(lambda x: x * value)(x)
        assert torch.equal(made, x * value)

    run(3.0, "")
    first = keys(tmp_path)
    run(5.0, "")
    second = keys(tmp_path)
    run(5.0, "-O1")
    third = keys(tmp_path)
    assert len(first) < len(second) < len(third)
    assert not list(tmp_path.rglob("*.pkl"))
    run(5.0, "-O1")
    assert keys(tmp_path) == third


def test_profiles_are_written_of_dynamic_sizes(tmp_path: Path) -> None:
    options = {"save_ntff": True, "save_ntff_dir": tmp_path, "save_ntff_exe_idx": [1]}
    made = dynamic(lambda x: x * 2, **options)
    for size in (5, 6, 7):
        x = torch.randn(size)
        torch.testing.assert_close(made(x), x * 2)
    assert [file.name for file in tmp_path.rglob("*.ntff")] == ["1.ntff"]


def test_it_begins_again_after_it_has_ended() -> None:
    for _ in range(2):
        x = torch.randn(5, 3)
        made = dynamic(lambda x: x.sum(0))
        torch.testing.assert_close(made(x), x.sum(0))
        reset_nkipy_backend()
        init_nkipy_backend()
        torch._dynamo.reset()


def test_neither_the_directory_nor_variables_change(tmp_path: Path) -> None:
    before = os.getcwd(), dict(os.environ)
    compiled(lambda x: x + 1)(torch.ones(3))
    assert (os.getcwd(), dict(os.environ)) == before


def test_a_model_is_called_more_than_once_and_leaves_others_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    x = torch.randn(5, 3)
    count = torch._dynamo.testing.CompileCounter()
    other = torch.compile(torch.sin, backend=count)
    other(x)
    with spiky.compile(model) as made:
        for _ in range(2):
            torch.testing.assert_close(made(x), model(x))
    other(x)
    assert count.frame_count == 1


def test_a_marker_has_a_gradient() -> None:
    x = torch.ones(3, requires_grad=True)
    compiled(lambda x: spiky.mark_subgraph_identity(x * 2).sum())(x).backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2]
