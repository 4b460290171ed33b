"""Dynamic sizes: what padding is in reach of, with NaN in it, beside eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch.nn import functional as F
from torch.testing import assert_close

import spiky

pytestmark = pytest.mark.usefixtures("backend", "filled_padding")
Function = Callable[..., Any]


def numbers(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, requires_grad=True)


def compare(function: Function, run: Function, arguments: tuple[Any, ...]) -> None:
    """Values and gradients are eager's."""
    found = []
    for each in (function, run):
        given = [
            x.detach().clone().requires_grad_(x.requires_grad)
            if isinstance(x, torch.Tensor)
            else x
            for x in arguments
        ]
        made = each(*given)
        results = made if isinstance(made, tuple) else (made,)
        sloped = [x for x in results if x.requires_grad]
        if sloped:
            weights = [torch.linspace(1, 2, x.numel()).view_as(x) for x in sloped]
            total = sum((x * w).sum() for x, w in zip(sloped, weights))
            total.backward()
        gradients = [x.grad for x in given if isinstance(x, torch.Tensor)]
        found.append(([x.detach() for x in results], gradients))
    ours, theirs = found
    assert_close(ours[0], theirs[0], equal_nan=True, rtol=1e-4, atol=1e-5)
    for mine, truth in zip(ours[1], theirs[1], strict=True):
        assert (mine is None) == (truth is None)
        if mine is not None:
            assert_close(mine, truth, equal_nan=True, rtol=1e-3, atol=1e-4)


def dynamic(run: Function) -> Function:
    """Compiled once for all sizes: else more graphs would hide what padding does."""
    return torch.compile(run, backend="nkipy", dynamic=True, fullgraph=True)


def _x(n: int) -> tuple[Any, ...]:
    return (numbers(n, 5),)


def _rows(n: int) -> tuple[Any, ...]:
    return (numbers(3, n),)


def _integers(n: int) -> tuple[Any, ...]:
    return (torch.arange(n * 3).reshape(n, 3) % 7 - 3,)


def _classes(n: int) -> tuple[Any, ...]:
    return numbers(n, 5), torch.arange(n) % 5


def _two(n: int) -> tuple[Any, ...]:
    return numbers(n, 5), numbers(n, 5)


def _inner(n: int) -> tuple[Any, ...]:
    return numbers(3, n), numbers(n, 4)


def _images(n: int) -> tuple[Any, ...]:
    return (numbers(2, 3, n + 2, 7),)


def _filters(n: int) -> tuple[Any, ...]:
    return numbers(2, 3, n + 2, 7), numbers(4, 3, 3, 3)


def _heads(n: int) -> tuple[Any, ...]:
    return numbers(2, 2, n, 4), numbers(2, 2, n, 4), numbers(2, 2, n, 4)


def _sequence(n: int) -> tuple[Any, ...]:
    return (numbers(3, n, 4),)


def _places(n: int) -> tuple[Any, ...]:
    return numbers(n, 5), (torch.arange(2 * n) * 7) % n


def _words(n: int) -> tuple[Any, ...]:
    return (torch.arange(n) * 5) % 6, numbers(6, 4)


def _distinct(n: int) -> tuple[Any, ...]:
    order = (torch.randperm(3 * n).float() - n).reshape(3, n)
    return (order.requires_grad_(),)


def _negative(n: int) -> tuple[Any, ...]:
    return (numbers(3, n).detach().abs().neg().sub(1).requires_grad_(),)


def _statistics(x: torch.Tensor) -> Any:
    mean, variance = torch.zeros(5), torch.ones(5)
    return F.batch_norm(x, mean, variance, training=True), mean, variance


def _causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    n = q.shape[2]
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    weights = (q @ k.transpose(-1, -2)).masked_fill(hidden, float("-inf"))
    return weights.softmax(-1) @ v


def _scattered(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).index_add(0, at, x[at] * 2)


def _split(x: torch.Tensor) -> torch.Tensor:
    b, s, h = x.shape
    merged = x.reshape(b * s, h) * torch.arange(b * s)[:, None]
    return merged.view(b, s, 2, h // 2).transpose(1, 2).reshape(b, 2 * s, h // 2)


#: What is computed, and of which tensors, of a size n.
CASES: dict[str, tuple[Function, Callable[[int], tuple[Any, ...]]]] = {
    "sum": (lambda x: (x.sum(0), x.sum()), _x),
    "sum of whole numbers": (lambda x: (x.sum(0), x.sum(), x.cumsum(0)), _integers),
    "mean, var, std": (lambda x: (x.mean(0), x.var(0), x.std(1).mean()), _x),
    "greatest": (lambda x: (x.amax(1), x.max(1).values, x.min(), x.amin()), _negative),
    "greatest of whole numbers": (
        lambda x: (x.amax(0), x.min(), x.max(0)[1]),
        _integers,
    ),
    "argmax": (lambda x: (x.argmax(1), x.argmin(1), x.argmax()), _negative),
    "prod": (lambda x: x.prod(1), _rows),
    "all, any": (lambda x: ((x > -9).all(0), (x > 9).any(0), (x < 0).any()), _x),
    "norm": (lambda x: (x.norm(dim=1), x.norm(), x.abs().norm(1, dim=0)), _rows),
    "logsumexp": (lambda x: (x.logsumexp(1), x.logsumexp(0)), _negative),
    "softmax": (lambda x: (x.softmax(1), x.softmax(0)), _negative),
    "log_softmax": (lambda x: (x.log_softmax(1), x.log_softmax(0)), _negative),
    "layer_norm": (lambda x: F.layer_norm(x, x.shape[1:]), _sequence),
    "group_norm": (lambda x: F.group_norm(x.transpose(1, 2), 2), _sequence),
    "batch statistics": (_statistics, _x),
    "cross_entropy": (F.cross_entropy, _classes),
    "losses": (
        lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y)),
        _two,
    ),
    "nll_loss": (lambda x, y: F.nll_loss(x.log_softmax(1), y), _classes),
    "cumsum": (lambda x: (x.cumsum(1), x.cumsum(0)), _rows),
    # Of which torch itself compiles the gradient for each size.
    "cumprod": (lambda x: x.detach().cumprod(1), _rows),
    "cummax": (lambda x: x.cummax(1), _distinct),
    "flip, roll": (lambda x: (x.flip(0), x.flip(1), x.roll(2, 0), x.roll(-1)), _x),
    "matmul": (lambda x, y: x @ y, _inner),
    "product with itself": (lambda x: (x @ x.t(), x.t() @ x), _x),
    "einsum": (lambda x, y: torch.einsum("ij,ik->jk", x, y), _two),
    "attention": (F.scaled_dot_product_attention, _heads),
    "causal attention": (_causal, _heads),
    "attention by hand": (_by_hand, _heads),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), _filters),
    "conv2d with strides": (lambda x, w: F.conv2d(x, w, stride=2), _filters),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), _images),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), _images),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 1), _images),
    "cat": (lambda x, y: torch.cat([x, y * 2, x]).sum(1), _two),
    "stack": (lambda x, y: torch.stack([x, y], 1), _two),
    "slice": (lambda x: (x[1:], x[:-1] * 2, x[::2], x[-2:]), _x),
    "select": (lambda x: (x[-1], x[0], x[:, -1]), _x),
    "index": (lambda x, at: x[at], _places),
    "index from the end": (lambda x, at: x[at - x.shape[0]], _places),
    "gather": (lambda x, at: x.gather(0, at[:, None].expand(-1, 5)), _places),
    "index_add": (_scattered, _places),
    "embedding": (F.embedding, _words),
    "one_hot": (lambda at, w: F.one_hot(at, 6).float() @ w, _words),
    "sort": (lambda x: x.sort(1), _distinct),
    "argsort": (lambda x: x.argsort(1, descending=True), _distinct),
    "topk": (lambda x: x.topk(2, 1), _distinct),
    "transpose": (lambda x: x.transpose(0, 1).contiguous().view(-1), _x),
    "view": (lambda x: x.view(-1, 4).sum(0), _sequence),
    "merged and split": (_split, _sequence),
    "flattened sum": (lambda x: x.flatten().cumsum(0), _x),
    "expand": (lambda x: x.sum(0).expand(x.shape[0], 5) * x, _x),
    "arange": (lambda x: x * torch.arange(x.shape[0], device=x.device)[:, None], _x),
    "made of a size": (lambda x: torch.ones(x.shape[0], 2).sum() * x.shape[0] + x, _x),
    "triu, tril": (lambda x: ((x @ x.t()).triu(), (x @ x.t()).tril(-1).sum(0)), _x),
    "pad": (lambda x: F.pad(x, (0, 0, 1, 2), value=3.0).sum(1), _x),
    "where": (lambda x: torch.where(x > 0, x, x.sum(0)), _x),
    "diagonal": (lambda x: (x @ x.t()).diagonal(), _x),
}
#: A few sizes of each: the same as another dimension, a bucket, and one above it.
FEW = (5, 8, 3, 9)


@pytest.mark.parametrize("name", ["sum", "softmax", "mean, var, std", "matmul"])
def test_few_sizes(name: str) -> None:
    run, given = CASES[name]
    function = dynamic(run)
    for size in FEW:
        compare(function, run, given(size))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_all_sizes(name: str) -> None:
    run, given = CASES[name]
    function = dynamic(run)
    torch.manual_seed(0)
    for size in (5, *range(2, 21)):
        compare(function, run, given(size))


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CASES)
def test_a_size_of_one(name: str) -> None:
    """Its graph is one of its own."""
    run, given = CASES[name]
    if name not in ("slice", "topk", "batch statistics"):
        compare(dynamic(run), run, given(1))


def test_a_size_that_torch_has_found_to_be_one() -> None:
    """By a guard of an expression, in which no symbol has a value."""

    def run(x: torch.Tensor) -> torch.Tensor:
        return x[1::3].mul(2).softmax(0) + x[0]

    function = dynamic(run)
    for size in (8, 3, 4, 2):
        compare(function, run, (numbers(size, 5),))


@pytest.mark.slow
def test_a_size_made_of_one_that_torch_has_found_to_be_one() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        every = x[1::3].sin()
        if every.shape[0] == 1:
            every = torch.cat([every, every * 2, x[:1]])
        return every.cumsum(0)

    function = dynamic(run)
    for size in (4, 3, 2):
        compare(function, run, (numbers(size, 5),))


@pytest.mark.slow
def test_a_size_made_of_one_that_ranges_tell() -> None:
    """Of 6 and 7, torch keeps the range, by which what a scan halves is one number."""

    def combined(one: Any, other: Any) -> Any:
        return one[0] * other[0], other[0] * one[1] + other[1]

    def scan(rates: torch.Tensor, x: torch.Tensor) -> Any:
        return associative_scan(combined, (rates, x), 1, combine_mode="generic")[1]

    def steps(rates: torch.Tensor, x: torch.Tensor) -> Any:
        found = [x[:, 0]]
        for i in range(1, x.shape[1]):
            found.append(rates[:, i] * found[-1] + x[:, i])
        return torch.stack(found, 1)

    compiled = torch.compile(scan, backend="nkipy", dynamic=True)
    compare(compiled, steps, (numbers(2, 7, 3), numbers(2, 7, 3)))


@pytest.mark.slow
def test_integers_in_bins() -> None:
    """Of which the CPU has no kernel."""
    function = dynamic(lambda x: torch.histc(x, 4, 0, 3))
    for size in (5, 8):
        for dtype in (torch.int32, torch.int64):
            x = torch.arange(size, dtype=dtype) * 5 % 7 - 1
            counts = x[(x >= 0) & (x <= 3)].bincount(minlength=4).to(dtype)
            assert_close(function(x.to("nkipy")).cpu(), counts, rtol=0, atol=0)


def _several(x: torch.Tensor, y: torch.Tensor) -> Any:
    product = x @ y  # (a, b, c) and (c, d)
    merged = product.reshape(-1, y.shape[1])
    return product.softmax(1), merged.sum(0), merged.var(), product.flip(0, 2)


def test_several_sizes_differ_at_once() -> None:
    function = dynamic(_several)
    sizes = [(3, 4, 5, 6), (2, 9, 2, 3), (8, 8, 8, 8), (4, 4, 7, 4), (5, 2, 17, 2)]
    for a, b, c, d in sizes:
        compare(function, _several, (numbers(a, b, c), numbers(c, d)))


class Block(nn.Module):
    """A layer of a transformer, with a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        n = words.shape[1]
        mask = torch.full((n, n), float("-inf")).triu(1)
        hidden = self.layer(self.embedding(words), src_mask=mask)
        logits = self.head(hidden)[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())


@pytest.mark.slow
def test_a_transformer_trains_with_any_batch_and_length() -> None:
    torch.manual_seed(0)
    ours, theirs = Block(), Block()
    theirs.load_state_dict(ours.state_dict())
    function = dynamic(ours)
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (ours, theirs)]
    spiky.reset_stats()
    for batch, length in ((3, 5), (2, 8), (7, 4), (8, 8), (5, 9), (2, 3), (11, 16)):
        words = torch.randint(0, 11, (batch, length))
        losses = []
        for model, optimizer in zip((function, theirs), optimizers):
            optimizer.zero_grad()
            loss = model(words)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        assert_close(*losses, rtol=1e-4, atol=1e-5)
    for mine, truth in zip(ours.parameters(), theirs.parameters()):
        assert_close(mine, truth, rtol=1e-3, atol=1e-4)
    assert all(max(sizes) <= 16 for sizes in spiky.get_stats().bucket_hits)


def test_as_many_of_the_order_as_another_tensor_has_rows() -> None:
    """Whose bucket is larger than that of what is put in order."""

    def run(x: torch.Tensor, y: torch.Tensor) -> Any:
        return x.topk(y.shape[0], 1).values * y

    options = {"buckets": {0: [16], 1: [8]}}
    function = torch.compile(run, backend="nkipy", dynamic=True, options=options)
    for size in (7, 8):
        x = torch.randperm(3 * size).reshape(3, size).float()
        y = torch.arange(size - 2.0)
        order = x.sort(1, descending=True).values
        assert_close(function(x, y), order[:, : size - 2] * y)


def attend_to_more(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    keys, values = torch.cat([keys, query], 2), torch.cat([values, query], 2)
    return F.scaled_dot_product_attention(query, keys, values)


def test_keys_and_values_that_torch_takes_for_unequally_many() -> None:
    run = torch.compile(attend_to_more, backend="nkipy", fullgraph=True)
    spiky.reset_stats()
    for n in (5, 7, 12):
        query, *cached = (torch.randn(2, 2, size, 4) for size in (1, n, n))
        for x in cached:
            torch._dynamo.mark_dynamic(x, 2)
        assert_close(run(query, *cached), attend_to_more(query, *cached))
    assert spiky.get_stats().bucket_hits == {8: 2, 16: 1}
