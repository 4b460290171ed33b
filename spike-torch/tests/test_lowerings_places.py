"""Lowerings that move elements, one after the other, in buckets padded with NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spike_torch.lowering import NeedsExactSize

from .lowering_graphs import check_function

X = torch.arange(30.0).reshape(5, 6)
Y = -torch.arange(1.0, 19.0).reshape(3, 6)
SLOW = pytest.mark.slow
CUBE = torch.arange(60.0).reshape(3, 4, 5)


def _cases() -> dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]]:
    aten = torch.ops.aten
    return {
        "joined": (lambda x, y: torch.cat([x, y, x]), (X, Y)),
        "joined across": (lambda x: torch.cat([x, x[:, :2], x], 1), (X,)),
        "joined, then mirrored": (lambda x, y: torch.cat([x, y]).flip(0), (X, Y)),
        "mirrored both ways": (lambda x: x.flip(0, 1), (X,)),
        "part of what is joined": (lambda x, y: torch.cat([x, y])[4:], (X, Y)),
        "last ones": (lambda x: (x[-1], x[:, -2], x[-3:], x[:, :-2]), (X,)),
        "every other": (lambda x: (x[::2], x[1::3], x[:, 1:-1:2]), (X,)),
        "beyond the end": (lambda x: (x[2:100], x[-100:3], x[:3]), (X,)),
        "of another's size": (lambda x, y: x[: y.shape[0]], (X, Y)),
        "last of another's size": (lambda x, y: x[x.shape[0] - y.shape[0] :], (X, Y)),
        "stacked": (lambda x: torch.stack([x, x + 1], 1).reshape(-1, 6), (X,)),
        "rolled": (
            lambda x: (x.roll(2, 0), x.roll(-7, 1), x.roll((1, 2), (0, 1))),
            (X,),
        ),
        "rolled by a size": (lambda x, y: x.roll(y.shape[0], 0), (X, Y)),
        "repeated": (lambda x: x.repeat(2, 3), (X,)),
        "repeated and mirrored": (lambda x: x.repeat(2, 1).flip(0), (X,)),
        "repeated by a size": (lambda x, y: x.repeat(y.shape[0], 1), (X, Y)),
        "turned": (lambda x: [torch.rot90(x, k) for k in range(-1, 4)], (X,)),
        "triangles": (lambda x: (x.tril(-1), x.triu(2), x.tril(), x.triu(-9)), (X,)),
        "triangle of a size": (lambda x, y: x.triu(y.shape[0]), (X, Y)),
        "diagonals": (
            lambda x: (x.diagonal(), x.diagonal(2), x.diagonal(-3), x.diagonal(9)),
            (X,),
        ),
        "diagonals of a stack": (lambda x: x.diagonal(1, 2, 0), (CUBE,)),
        "on a diagonal": (
            lambda x: (torch.diag_embed(x), x.diag_embed(-2, 0, 1)),
            (X,),
        ),
        "halves": (lambda x: x.split(2), (X,)),
        "given parts": (lambda x: x.split([1, 2, 2]), (X,)),
        "windows": (lambda x: (x.unfold(0, 2, 1), x.unfold(1, 3, 2)), (X,)),
        "with more around": (
            lambda x: torch.nn.functional.pad(x, (1, 2, 3, 0), value=9.0),
            (X,),
        ),
        "with less": (lambda x: torch.nn.functional.pad(x, (-1, -2, 2, -1)), (X,)),
        "padded to a size": (
            lambda x, y: torch.nn.functional.pad(y, (0, 0, 0, x.shape[0] - 3)),
            (X, Y),
        ),
        "padded by a size": (
            lambda x, y: torch.nn.functional.pad(x, (y.shape[0], 1), value=-1.0),
            (X, Y),
        ),
        "edges": (
            lambda x: (
                torch.nn.functional.pad(x, (2, 3), mode="reflect"),
                torch.nn.functional.pad(x[None], (2, 3, 4, 1), mode="replicate"),
            ),
            (X,),
        ),
        "replaced part": (
            lambda x, y: (
                aten.slice_scatter(x, y, 0, 1, 1 + y.shape[0]),
                aten.slice_scatter(x, y, 0, -y.shape[0]),
                aten.slice_scatter(x, y, 0, 0, 5, 2),
                aten.select_scatter(x, y[0], 0, -1),
            ),
            (X, Y),
        ),
        "replaced diagonal": (
            lambda x, y: aten.diagonal_scatter(x, y[:, 0], 3),
            (X, Y),
        ),
        "numbers": (
            lambda x: (
                torch.arange(x.shape[0]),
                torch.arange(2, x.shape[1], 3, dtype=torch.float32),
                torch.arange(x.shape[0], 0, -1),
                torch.eye(x.shape[0]),
                torch.full((x.shape[0], 2), x.shape[1]),
                torch.zeros_like(x),
            ),
            (X,),
        ),
        "index of numbers": (lambda x: x[torch.arange(x.shape[0] - 1, -1, -1)], (X,)),
    }


@pytest.mark.parametrize(
    "name",
    [
        name if i % 3 == 0 else pytest.param(name, marks=SLOW)
        for i, name in enumerate(_cases())
    ],
)
@pytest.mark.parametrize(
    "extra", [pytest.param(0, marks=SLOW), 3, pytest.param(27, marks=SLOW)]
)
def test_places_in_buckets(name: str, extra: int) -> None:
    function, given = _cases()[name]
    static = ((0, 1), (1, 1)) if name in _OF_ONE_WIDTH else ()
    check_function(function, *given, static=static, extra=extra)


#: Where torch asks two tensors for one size, or a size for a division.
_OF_ONE_WIDTH = {
    "joined",
    "joined, then mirrored",
    "part of what is joined",
    "stacked",
    "replaced part",
}


def test_what_cannot_be_told_needs_the_exact_size() -> None:
    with pytest.raises(NeedsExactSize, match="merged"):
        check_function(lambda x: x.reshape(-1)[3:7], X)
    with pytest.raises(NeedsExactSize, match="may exceed"):
        check_function(lambda x, y: x[y.shape[0] :], X, Y)
    with pytest.raises(NeedsExactSize):
        check_function(lambda x: torch.cat([x.reshape(-1), x[0]]), X)


@pytest.mark.parametrize(
    "size",
    [n if n in (1, 3, 20) else pytest.param(n, marks=SLOW) for n in range(1, 21)],
)
def test_every_size_of_a_bucket(size: int) -> None:
    x = torch.arange(3.0 * size).reshape(size, 3)

    def places(x: torch.Tensor, at: torch.Tensor) -> Any:
        return (
            x.flip(0),
            x.roll(4, 0),
            x[-1],
            torch.cat([x, x]),
            x.repeat(2, 1).flip(0),
            torch.nn.functional.pad(x, (0, 0, 1, 1), value=5.0),
            x.t().tril(),
            x[at],
            x.diagonal(),
        )

    check_function(places, x, torch.tensor([0, -1]), extra=32 - size)
