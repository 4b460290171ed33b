"""Attention by the kernel: eager CPU's numbers, and what explain says."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import spiky
from spiky import flash_attention
from spiky.compiling import attention as graphs

pytestmark = pytest.mark.usefixtures("backend", "filled_padding")
#: Slow, and much like others.
MORE = (pytest.mark.slow, pytest.mark.exhaustive)
OPTIONS = {"flash_attention": True, "unsupported": "error"}
BY_KERNEL, NOT = " by the kernel", ": not by the kernel: "


def compiled(function: Any, dynamic: bool | None = None) -> Any:
    return torch.compile(
        function, backend="nkipy", fullgraph=True, options=OPTIONS, dynamic=dynamic
    )


def arrays(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype) for s in shapes]


def heads(b: int, h: int, n: int, m: int, d: int, kv: int = 0, **more: Any) -> Any:
    """Queries, keys, values."""
    kv = kv or h
    return arrays((b, h, n, d), (b, kv, m, d), (b, kv, m, d), **more)


def notes(function: Any, *given: Any) -> list[str]:
    with torch.no_grad():
        report = spiky.explain(function, *given)
    found = [note for graph in report.graphs for note in graph.notes]
    return [note for note in found if note.startswith("flash_attention: ")]


def run(function: Any, given: list[Any], device: str) -> list[Any]:
    """The result, and gradients."""
    own = [x.detach().clone().to(device).requires_grad_() for x in given]
    made = function(*own)
    weights = torch.linspace(-1, 2, made.numel()).view(made.shape).to(made.dtype)
    made.backward(weights.to(device))
    return [made.detach().cpu(), *(x.grad.cpu() for x in own)]


def by_kernel(function: Any, given: list[Any], device: str) -> None:
    """explain says that it is, of this attention and no other."""
    (note,) = notes(function, *(x.to(device) for x in given))
    assert note.endswith(BY_KERNEL)


def compare(function: Any, compiled: Any, given: list[Any], device: str) -> None:
    """Values, dtypes and gradients are eager CPU's."""
    limit = 2e-5 if given[0].dtype == torch.float32 else 2e-2
    wanted = run(function, given, "cpu")
    for mine, truth in zip(run(compiled, given, device), wanted, strict=True):
        assert mine.dtype == truth.dtype
        assert_close(mine, truth, rtol=limit, atol=limit * truth.abs().max().item())


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), "nkipy"]
)
def test_the_kernel_computes_attention(device: str) -> None:
    function, given = partial(attention, is_causal=True), heads(1, 2, 128, 128, 16)
    run = compiled(function)
    compare(function, run, given, device)
    by_kernel(run, given, device)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "more"),
    [
        (heads(2, 2, 128, 256, 16), {}),
        (heads(1, 2, 128, 128, 128), {"scale": 0.3}),
        (heads(1, 4, 256, 256, 16, kv=2), {"is_causal": True, "enable_gqa": True}),
        (heads(2, 2, 256, 128, 32, dtype=torch.bfloat16), {}),
        (heads(1, 2, 128, 128, 32, dtype=torch.bfloat16), {"is_causal": True}),
    ],
    ids=["keys", "scale", "grouped", "bfloat16", "causal bfloat16"],
)
@pytest.mark.parametrize("device", ["cpu", "nkipy"])
def test_attention_of_many_kinds(given: Any, more: Any, device: str) -> None:
    function = partial(attention, **more)
    run = compiled(function)
    compare(function, run, given, device)
    by_kernel(run, given, device)


def _of_two_heads(
    is_causal: bool, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Of (batch, place, 32), after what fills padding."""
    q, k, v = (
        x.view(*x.shape[:2], 2, 16).transpose(1, 2) for x in (q * 2, k + 0.5, v.sin())
    )
    return attention(q, k, v, is_causal=is_causal)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=MORE)]
)
@pytest.mark.parametrize("is_causal", [False, True])
def test_padding_of_sequences_and_batches_is_not_seen(
    is_causal: bool, dtype: torch.dtype
) -> None:
    function = partial(_of_two_heads, is_causal)
    run = compiled(function, dynamic=True)
    for batch, places in ((2, 70), (3, 101), (4, 128)):
        given = arrays(*[(batch, places, 32)] * 3, dtype=dtype)
        compare(function, run, given, "cpu")
    by_kernel(run, given, "cpu")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_queries_and_keys_of_several_numbers() -> None:
    function = partial(_of_two_heads, False)
    run = compiled(function, dynamic=True)
    for queries, keys in ((70, 300), (90, 129), (128, 512)):
        given = arrays((1, queries, 32), (1, keys, 32), (1, keys, 32))
        compare(function, run, given, "nkipy")
    by_kernel(run, given, "nkipy")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_bucket_that_the_kernel_does_not_take_has_no_masks_of_its_own() -> None:
    function = partial(_of_two_heads, False)
    run, given = compiled(function, dynamic=True), arrays(*[(1, 40, 32)] * 3)
    compare(function, run, given, "cpu")
    with torch.no_grad():
        report = str(spiky.explain(run, *given))
    assert "the kernel says: 64 queries and 64 keys" in report
    assert "-3e+38" not in report


@pytest.mark.slow
@pytest.mark.exhaustive
def test_heads_may_lie_in_a_bucket() -> None:
    run = compiled(attention, dynamic=True)
    for count in (3, 5):
        given = heads(1, count, 128, 128, 16)
        compare(attention, run, given, "cpu")
    by_kernel(run, given, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "given", "said"),
    [
        ({"attn_mask": torch.eye(128)}, heads(1, 2, 128, 128, 16), "it has a mask"),
        ({}, heads(1, 2, 100, 128, 16), "100 queries and 128 keys"),
        ({"is_causal": True}, heads(1, 2, 128, 256, 16), "128 queries and 256 keys"),
        (
            {},
            arrays((2, 2, 128, 16), (1, 2, 128, 16), (1, 2, 128, 16)),
            "are broadcast",
        ),
        pytest.param(
            {},
            arrays((1, 2, 128, 16), (1, 2, 128, 16), (1, 2, 128, 8)),
            "differ in size",
            marks=MORE,
        ),
        pytest.param({}, arrays(*[(4, 128, 16)] * 3), "four dimensions", marks=MORE),
        pytest.param(
            {}, heads(1, 2, 128, 128, 129), "keys of 129 elements", marks=MORE
        ),
        pytest.param({"scale": -1.0}, heads(1, 2, 128, 128, 16), "above 0", marks=MORE),
        pytest.param(
            {}, heads(1, 2, 128, 128, 16, dtype=torch.float16), "float16", marks=MORE
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_computed_otherwise(
    more: Any, given: Any, said: str
) -> None:
    function = partial(attention, **more)
    run = compiled(function)
    (note,) = notes(run, *given)
    assert not note.endswith(BY_KERNEL)
    assert said in note
    limit = 1e-5 if given[0].dtype == torch.float32 else 5e-3
    with torch.no_grad():
        assert_close(run(*given), function(*given), rtol=limit, atol=limit)


@pytest.mark.slow
def test_explain_says_why_it_is_not_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(1, 2, 128, 8)
    run = compiled(lambda x: attention(x, x, x, dropout_p=0.5))
    (note,) = notes(run, x)
    assert "test_flash_attention.py:" in note
    assert note.endswith(NOT + "it leaves out elements at random")
    monkeypatch.setattr(graphs, "offered", lambda: None)
    (note,) = notes(run, x)
    assert NOT + "no package that is installed offers" in note


def _by_vmap(x: torch.Tensor) -> torch.Tensor:
    return torch.func.vmap(lambda y: attention(y, y, y))(x)


def _by_grad(x: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = torch.func.grad(lambda y: attention(y, y, y).sin().sum())(x[0])
    return made


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("function", [_by_vmap, _by_grad])
def test_attention_that_torch_func_transforms_is_left_as_it_is(function: Any) -> None:
    (x,) = arrays((1, 1, 2, 128, 16))
    run = compiled(function)
    (note,) = notes(run, x)
    assert note.endswith(NOT + "it is transformed by torch.func")
    assert_close(run(x), function(x), rtol=2e-5, atol=2e-5)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_explain_tells_of_attention_within_a_function_of_torchs() -> None:
    module = nn.MultiheadAttention(16, 2, batch_first=True)

    def layer(x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = module(x, x, x, need_weights=False)[0]
        return made

    x = torch.randn(1, 128, 16)
    run = compiled(layer)
    (note,) = notes(run, x)
    assert note.endswith(NOT + "torch captures nn.MultiheadAttention as one function")
    with torch.no_grad():
        assert_close(run(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_operator_is_computed_where_no_kernel_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flash_attention, "offered", lambda: None)
    given = heads(1, 1, 128, 128, 8)
    run = compiled(attention)
    with torch.no_grad():
        assert_close(run(*given), attention(*given))
    assert "no package that is installed" in notes(run, *given)[0]


def test_what_is_not_asked_for_is_not_told_of() -> None:
    run = torch.compile(attention, backend="nkipy", fullgraph=True)
    assert notes(run, *heads(1, 1, 128, 128, 8)) == []


# -- in models -------------------------------------------------------------------------
class Block(nn.Module):
    """Attention of several heads, and what is around it in a transformer."""

    def __init__(self, width: int = 32, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, width = x.shape
        parts = self.inner(self.norm(x)).view(b, n, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        made = attention(q, k, v, is_causal=True)
        return x + self.outer(made.transpose(1, 2).reshape(b, n, width))


def losses(model: Any, run: Any, device: str, sizes: list[int]) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    found = []
    for size in sizes:
        (x,) = arrays((size, 128, 32))
        optimizer.zero_grad()
        loss = (run(x.to(device)) - x.roll(1, 1).to(device)).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=MORE), "nkipy"])
def test_a_block_learns_as_eager_does(device: str) -> None:
    sizes = [3, 4, 3]
    torch.manual_seed(0)
    model, other = Block(), Block()
    other.load_state_dict(model.state_dict())
    wanted = losses(model, model, "cpu", sizes)
    other = other.to(device)
    run = compiled(other, dynamic=True)
    assert_close(losses(other, run, device, sizes), wanted, rtol=1e-4, atol=1e-5)
    assert wanted[-1] < wanted[0]
    by_kernel(run, [torch.randn(3, 128, 32)], device)


@pytest.mark.slow
def test_autocast_has_its_say_in_the_dtype() -> None:
    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return attention(q, k, v)

    given = heads(1, 2, 128, 128, 16)
    run = compiled(function)
    (note,) = notes(run, *given)
    assert note.endswith("bf16[1,2,128,16]" + BY_KERNEL)
    with torch.no_grad():
        made, wanted = run(*given), function(*given)
    assert made.dtype == torch.bfloat16
    assert_close(made, wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_attention_that_is_computed_again_for_gradients() -> None:
    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        made: Any = checkpoint(attention, q, k.sin(), v, use_reentrant=False)
        return made * 2

    run, given = compiled(function), heads(1, 2, 128, 128, 16)
    compare(function, run, given, "nkipy")
    by_kernel(run, given, "nkipy")


@pytest.mark.slow
def test_results_lie_in_memory_as_torch_has_them() -> None:
    """What follows may rely on it: view is refused of what is not contiguous."""

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return attention(q, k, v).view(2, 128, 16)

    given = [x.to("nkipy") for x in arrays(*[(1, 128, 2, 16)] * 3)]
    run = compiled(function)
    by_kernel(run, given, "nkipy")
    with torch.no_grad():
        wanted = function(*given).cpu()
        assert_close(run(*given).cpu(), wanted, rtol=2e-5, atol=2e-5)


def test_it_is_an_operator_as_torch_has_them() -> None:
    q, k, v = (x.transpose(1, 2).requires_grad_() for x in heads(1, 5, 2, 2, 8))
    op = torch.ops.nkipy.flash_attention.default
    torch.library.opcheck(op, (q, k, v, True, 0.5))
    made, logs = op(q, k, v, False, None)
    assert_close(made, attention(q, k, v))
    scores = q @ k.transpose(-1, -2) / 8**0.5
    assert_close(logs, scores.logsumexp(-1))
