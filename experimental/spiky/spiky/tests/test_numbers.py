"""Numbers that a function is given: by the user, by data, by nested tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import spiky

pytestmark = pytest.mark.usefixtures("backend")


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(function, backend="nkipy", fullgraph=True, **options)


def written(x: torch.Tensor, at: int) -> Any:
    """As a cache of keys is, at a place that each call has another of."""
    x[at : at + 1].add_(1)
    return x * at, x.sum(), at - 1


def test_numbers_that_are_no_sizes_share_a_program() -> None:
    function = compiled(written, dynamic=True)
    spiky.reset_stats()
    for at in (2, 3, 5, 7):
        x, theirs = torch.arange(9.0), torch.arange(9.0)
        assert_close(function(x, at), written(theirs, at))
        assert_close(x, theirs)
    assert spiky.get_stats().total_compile_count == 1


def test_numbers_may_be_negative() -> None:
    function = compiled(lambda x, n: (x * n, x.long() * n, n), dynamic=True)
    x = torch.arange(5.0)
    spiky.reset_stats()
    for n in (-3, 4, -1, 0):
        if n != 0:  # of which torch captures another graph
            assert_close(function(x, n), (x * n, x.long() * n, n))
    assert spiky.get_stats().total_compile_count == 1
    with pytest.raises(ValueError, match="32 bits"):
        function(x, -(1 << 40))


def test_what_is_computed_of_numbers_may_have_more_than_32_bits() -> None:
    def run(x: torch.Tensor, n: int) -> Any:
        rows = x.shape[0]
        return x + n * 2, x + (rows * n) // 1000, x * 1.0 + (n * 3) % 7 - n, -n * x

    function = compiled(run, dynamic=True)
    x = torch.arange(5)
    spiky.reset_stats()
    for n in (3, 1_500_000_000, -1_500_000_000, -(1 << 31)):
        assert_close(function(x, n), run(x, n), rtol=0, atol=0)
    assert spiky.get_stats().total_compile_count == 1
    for n in (4, 1_000_000_000):
        assert_close(function(x.int(), n), run(x.int(), n), rtol=0, atol=0)


def test_rolls_may_be_by_any_number() -> None:
    def run(x: torch.Tensor, n: int) -> Any:
        return x.roll(n), x.roll(3 * n), x.roll(n // 2 - x.shape[0])

    function = compiled(run, dynamic=True)
    spiky.reset_stats()
    for n in (-7, 4, -(1 << 31), 1_500_000_000):
        x = torch.arange(9.0)
        assert_close(function(x, n), run(x, n), rtol=0, atol=0)
    assert spiky.get_stats().total_compile_count == 1


def test_sizes_may_come_of_negative_numbers() -> None:
    function = compiled(lambda x, n: x[:n] * 2, dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (-1, -3, 2):
            x = torch.arange(6.0)
            assert_close(function(x, n), x[:n] * 2)


def cut_by_data(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    size = n.item()
    torch._check(size >= 0)
    torch._check(size <= x.shape[0])
    return (x * 2)[:size].sin()


def cut_by_mask(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    places = torch.arange(x.shape[0]) < n
    return (x * 2)[places].sin()


@pytest.mark.parametrize(
    ("function", "line", "cause"),
    [
        (cut_by_data, 1, "aten._local_scalar_dense"),
        (cut_by_mask, 2, "aten.index.Tensor"),
    ],
)
def test_a_size_may_come_of_data(
    function: Callable[..., torch.Tensor], line: int, cause: str
) -> None:
    """Of forward and backward, the operator that gives it is told of, and no other."""
    capture = torch._dynamo.config.patch(
        capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True
    )
    call = compiled(function, dynamic=True)
    with capture, warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for n in (2, 4):
            x = torch.arange(5.0, requires_grad=True)
            theirs = x.detach().clone().requires_grad_()
            made, wanted = call(x, torch.tensor(n)), function(theirs, torch.tensor(n))
            assert_close(made, wanted)
            made.sum().backward()
            wanted.sum().backward()
            assert_close(x.grad, theirs.grad)
    told = [str(w.message) for w in found if "runs eagerly" in str(w.message)]
    place = f"test_numbers.py:{function.__code__.co_firstlineno + line}"
    assert len(told) == 1, told
    assert f"{place}: {cause}" in told[0]


@pytest.mark.slow
def test_nested_tensors_of_other_lengths_are_compiled_once() -> None:
    function = compiled(lambda x: x.sin() * 2, dynamic=True)
    for lengths in ((2, 4), (1, 3, 5), (7, 0, 2)):
        parts = [torch.randn(length, 3) for length in lengths]
        nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
        assert_close(function(nested).values(), torch.cat(parts).sin() * 2)
