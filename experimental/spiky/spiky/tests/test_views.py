"""Results that are views of arguments, or of other results."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch.testing import assert_close

pytestmark = pytest.mark.usefixtures("backend")


def parts(x: torch.Tensor) -> Any:
    """At places that sizes say: of an argument, of a result, of what is none."""
    y, middle = x * 2, x.shape[0] // 2
    z = x.sin()
    return (
        *(y, y[middle:], y.t(), y.view(-1)[1:], y[:, x.shape[1] // 2 :]),
        *(x[middle:], x[:, None].expand(-1, 2, -1)),
        *(z.chunk(2), z[middle:].unbind(1)),
    )


def after_writing(x: torch.Tensor) -> Any:
    """Of an argument that is written to, whole and in part."""
    x = x * 1 if x.requires_grad else x
    x.add_(1)
    middle = x.shape[0] // 2
    x[middle:].mul_(3)
    return x, x[middle:], x.t(), x.sum()


def of_several(x: torch.Tensor) -> Any:
    """Of a size that no argument has."""
    y = torch.cat([x, x * 2])
    return y, y[y.shape[0] // 2 :], x[y.shape[0] // 4 :], y.diagonal()


RUNS = (parts, after_writing, of_several)
CHOSEN = of_several, True, True


def leaves(value: Any) -> list[torch.Tensor]:
    return list(torch.utils._pytree.tree_leaves(value))


def shares(tensors: list[torch.Tensor]) -> list[list[bool]]:
    places = [x.untyped_storage().data_ptr() for x in tensors]
    return [[one == other for one in places] for other in places]


@pytest.mark.parametrize(
    ("run", "dynamic", "has_gradient"),
    [
        pytest.param(*case, marks=() if case == CHOSEN else pytest.mark.slow)
        for case in product(RUNS, (False, True), (False, True))
    ],
)
def test_views_are_eager_s(
    run: Callable[..., Any], dynamic: bool, has_gradient: bool
) -> None:
    function = torch.compile(run, backend="nkipy", fullgraph=True, dynamic=dynamic)
    for rows in (4, 6) if dynamic else (6,):
        x = torch.arange(rows * 3.0).reshape(rows, 3).requires_grad_(has_gradient)
        theirs = x.detach().clone().requires_grad_(has_gradient)
        made, wanted = leaves(function(x)), leaves(run(theirs))
        assert_close(made, wanted, rtol=1e-6, atol=1e-5)
        assert [t.stride() for t in made] == [t.stride() for t in wanted]
        assert shares(made) == shares(wanted)
        assert_close(x, theirs)
        if has_gradient:
            for tensors in (made, wanted):
                sums = [t.square().sum() * n for n, t in enumerate(tensors, 1)]
                torch.stack(sums).sum().backward()
            assert_close(x.grad, theirs.grad)


@pytest.mark.parametrize("is_view_first", [False, True])
def test_what_is_written_to_a_view_is_in_the_result(is_view_first: bool) -> None:
    def run(x: torch.Tensor) -> Any:
        y = x * 2
        part = y[x.shape[0] // 2 :]
        return {"part": part, "y": y} if is_view_first else {"y": y, "part": part}

    made = torch.compile(run, backend="nkipy", dynamic=True)(torch.ones(4))
    made["part"].zero_()
    assert made["y"].tolist() == [2, 2, 0, 0]


@pytest.mark.slow
def test_views_stay_on_the_core() -> None:
    function = torch.compile(parts, backend="nkipy", fullgraph=True, dynamic=True)
    x = torch.arange(12.0).reshape(4, 3)
    made = leaves(function(x.to("nkipy")))
    assert {t.device.type for t in made} == {"nkipy"}
    assert_close([t.cpu() for t in made], leaves(parts(x)), rtol=1e-6, atol=1e-5)
    assert shares(made) == shares(leaves(parts(x)))


@pytest.mark.parametrize(
    ("run", "has_gradient"),
    [(lambda x: x[x.shape[0] // 2 :], False), (lambda x: (y := x * 2, y.t()), True)],
    ids=["argument", "result"],
)
def test_padded_views_are_refused(run: Callable[..., Any], has_gradient: bool) -> None:
    options = {"output_layout": "padded"}
    function = torch.compile(run, backend="nkipy", dynamic=True, options=options)
    with pytest.raises(ValueError, match="is a view of an argument or of another"):
        function(torch.ones(5, 3, requires_grad=has_gradient))


def test_a_view_by_strides_has_them() -> None:
    function = torch.compile(lambda x: x.as_strided((3, 2), (1, 1)), backend="nkipy")
    x = torch.arange(12.0).reshape(3, 4)
    made = function(x)
    assert made.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert made.data_ptr() == x.data_ptr()
