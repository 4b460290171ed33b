"""The options of layouts: which inputs have to say how they are padded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import spiky

OPTIONS = {
    "pipelined": True,
    "pad_on_device": True,
    "output_layout": "padded",
    "input_layout": "padded",
    "keep_outputs_on_device": True,
}


@pytest.fixture(autouse=True)
def ready(backend: None) -> Iterator[None]:
    yield


@torch.no_grad()
def test_the_readme_runs_in_its_order() -> None:
    model = nn.Linear(32, 64, bias=False)
    one = torch.randn(1, 32)
    quick = torch.compile(model, backend="nkipy")
    torch.testing.assert_close(quick(one), model(one))
    dynamic = torch.compile(model, backend="nkipy", dynamic=True)
    x = torch.randn(4, 32)
    torch._dynamo.maybe_mark_dynamic(x, 0)
    torch.testing.assert_close(dynamic(x), model(x))
    many = torch.randn(16, 32)
    torch.testing.assert_close(dynamic(many), model(many))
    compiled = torch.compile(model, backend="nkipy", options=OPTIONS)
    for given in (x, torch.randn(4, 32), torch.randn(5, 32)):
        made = compiled(given)
        metadata = spiky.get_metadata(made)
        if metadata is not None:
            assert metadata.original_size == len(given)
        torch.testing.assert_close(made.cpu()[: len(given)], model(given))


def marked(x: torch.Tensor) -> torch.Tensor:
    torch._dynamo.mark_dynamic(x, 0)
    return x


@torch.no_grad()
@pytest.mark.parametrize("how", ["marked", "dynamic", "buckets"])
def test_a_size_that_was_said_to_be_dynamic_needs_metadata(how: str) -> None:
    options = {"input_layout": "padded"}
    options |= {"buckets": [8, 16]} if how == "buckets" else {}
    dynamic = None if how == "marked" else True
    function = torch.compile(
        lambda x: x.sum(0), backend="nkipy", dynamic=dynamic, options=options
    )
    x = torch.randn(8, 3)
    with pytest.raises(ValueError, match="has no PaddingMetadata"):
        function(marked(x) if how == "marked" else x)
    (padded,) = spiky.pad_inputs([x[:5]], 8)
    padded[5:] = torch.nan
    given = marked(padded) if how == "marked" else padded
    spiky.attach_metadata(given, spiky.PaddingMetadata(5, 8))
    torch.testing.assert_close(function(given), x[:5].sum(0))


@torch.no_grad()
def test_what_runs_eagerly_sees_no_padding() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals((x + 1).double()).float() * 2 + x.sum()

    options = {"output_layout": "padded"}
    compiled = torch.compile(function, backend="nkipy", dynamic=True, options=options)
    x = torch.randn(5, 3)
    (padded,) = spiky.pad_inputs([x], 8)
    padded[5:] = torch.nan
    with pytest.warns(UserWarning, match="runs eagerly"):
        made = compiled(padded)
    torch.testing.assert_close(made.cpu(), function(x))


@torch.no_grad()
def test_the_largest_bucket_and_the_largest_size() -> None:
    def buckets(x: torch.Tensor, options: dict[str, int]) -> list[int]:
        function = torch.compile(
            lambda x: x * 2, backend="nkipy", dynamic=True, options=options
        )
        spiky.reset_stats()
        torch.testing.assert_close(function(x), x * 2)
        return list(spiky.get_stats().bucket_hits)

    assert buckets(torch.randn(41, 1), {"max_bucket_size": 20}) == [60]
    x = torch.randn(19, 1)
    torch._dynamo.mark_dynamic(x, 0, min=2, max=24)
    assert buckets(x, {}) == [24]


def twice_after_itself(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x * 2).repeat(2)


def all_pairs(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x[:, None] * y


def seen_otherwise(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x[:, None] * torch.ones(3)).t()


@pytest.mark.parametrize(
    ("function", "has_gradient"),
    [
        (twice_after_itself, False),
        (all_pairs, False),
        (seen_otherwise, True),
        pytest.param(twice_after_itself, True, marks=pytest.mark.slow),
        pytest.param(all_pairs, True, marks=pytest.mark.slow),
        pytest.param(seen_otherwise, False, marks=pytest.mark.slow),
    ],
)
def test_what_metadata_cannot_tell_is_cut(function: Any, has_gradient: bool) -> None:
    """Data with padding in between, along two dimensions, in a view of torch's."""
    options = {"output_layout": "padded"}
    compiled = torch.compile(function, backend="nkipy", dynamic=True, options=options)
    x = torch.arange(5.0, requires_grad=has_gradient)
    y = torch.arange(6.0)
    made, wanted = compiled(x, y), function(x, y)
    torch.testing.assert_close(spiky.unpad_outputs(made), wanted, rtol=0, atol=0)
    if has_gradient or function is not seen_otherwise:
        assert made.shape == wanted.shape


@pytest.mark.parametrize("is_padded", [False, True])
def test_a_gradient_is_as_large_as_what_it_is_of(is_padded: bool) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return x.softmax(0).log().cumsum(0)

    options = {"output_layout": "padded"}
    compiled = torch.compile(function, backend="nkipy", dynamic=True, options=options)
    given = theirs = torch.randn(5, 1, requires_grad=True)
    if is_padded:
        (given,) = spiky.pad_inputs([theirs.detach()], 8)
        given[5:] = torch.nan
        given.requires_grad_()
    spiky.unpad_outputs(compiled(given))[2].sum().backward()  # type: ignore[union-attr]
    grad, theirs.grad = given.grad, None
    function(theirs)[2].sum().backward()
    assert grad is not None and grad.shape == given.shape
    torch.testing.assert_close(grad[:5], theirs.grad)


@pytest.mark.parametrize("options", [{}, {"output_layout": "padded"}])
def test_backward_counts_what_counts(options: dict[str, Any]) -> None:
    """A mean's gradient is divided by the size of the data, not of the bucket."""
    compiled = torch.compile(
        lambda x: x - x.mean(0), backend="nkipy", dynamic=True, options=options
    )
    x = torch.arange(5.0)[:, None]
    (given,) = spiky.pad_inputs([x], 8)
    given[5:] = torch.nan
    spiky.unpad_outputs(compiled(given.requires_grad_()))[0].sum().backward()  # type: ignore[union-attr]
    assert given.grad is not None
    torch.testing.assert_close(given.grad[:5, 0], torch.tensor([0.8] + [-0.2] * 4))
