"""Lowerings of losses, with padding and in narrow floats, beside the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .bucket_cases import Arguments, check_every_size, compile_program, numbers
from .lowering_cases import calls_with, check_static
from .lowering_graphs import draw_padded

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

aten = torch.ops.aten
SIZES = (1, 2, 3, 7, 19, 20, 32)
NONE, MEAN, SUM = 0, 1, 2


def of_classes(
    n: int, reduction: int, weighted: bool = False, rest: tuple[int, ...] = ()
) -> Arguments:
    """Likelihoods of five classes, of which one is ignored, and targets."""
    x = numbers(n, 5, *rest) / 8
    target = (numbers(n, *rest) * 4).long() % 5
    target[-1] = 0  # there is one that counts
    weight = torch.linspace(0.5, 2, 5) if weighted else None
    return (x, target, weight, reduction, 3)


def backward(args: Arguments, op: Any) -> Arguments:
    loss, total = op(*args)
    return (loss.sin(), *args, total)


def of_numbers(n: int) -> Arguments:
    """Numbers, and numbers that are wanted, some of which they are."""
    x = numbers(n, 3)
    return x, torch.where(x > 0, x.cos(), x)


def of_probabilities(n: int) -> Arguments:
    """From 0 to 1, both of which there are."""
    x = numbers(n, 3)
    return (x / 2).clamp(0, 1), x.cos().abs()


#: Losses of numbers, and what follows their reduction.
OF_NUMBERS: dict[str, tuple[float, ...]] = {
    "mse_loss": (),
    "smooth_l1_loss": (0.75,),
    "huber_loss": (0.5,),
    "soft_margin_loss": (),
}

PLANES, ROWS = aten.nll_loss2d_forward.default, aten.nll_loss_forward.default
LOSSES: dict[str, tuple[Any, Callable[[int], Arguments]]] = {
    **{
        f"rows {reduction} {weighted}": (
            ROWS,
            lambda n, r=reduction, w=weighted: of_classes(n, r, w),
        )
        for reduction in (NONE, MEAN, SUM)
        for weighted in (False, True)
    },
    **{
        f"rows backward {reduction}": (
            aten.nll_loss_backward.default,
            lambda n, r=reduction: backward(of_classes(n, r, True), ROWS),
        )
        for reduction in (NONE, MEAN, SUM)
    },
    "planes backward": (
        aten.nll_loss2d_backward.default,
        lambda n: backward(of_classes(n, MEAN, True, (2, 3)), PLANES),
    ),
    **{
        f"{op} {reduction} {more}": (
            getattr(aten, op).default,
            lambda n, r=reduction, m=more: (*of_numbers(n), r, *m),
        )
        for op, more in OF_NUMBERS.items()
        for reduction in (NONE, MEAN, SUM)
    },
    **{
        f"{op}_backward {reduction} {more}": (
            getattr(aten, f"{op}_backward").default,
            lambda n, r=reduction, m=more: (
                torch.tensor(0.5) if r else numbers(n, 3),
                *(*of_numbers(n), r, *m),
            ),
        )
        for op, more in OF_NUMBERS.items()
        for reduction in (NONE, MEAN, SUM)
    },
    "entropy": (
        aten.binary_cross_entropy.default,
        lambda n: (*of_probabilities(n), numbers(n, 3).cos(), MEAN),
    ),
    "entropy backward": (
        aten.binary_cross_entropy_backward.default,
        lambda n: (torch.tensor(0.5), *of_probabilities(n), None, MEAN),
    ),
    "entropy of logits": (
        aten.binary_cross_entropy_with_logits.default,
        lambda n: (*of_numbers(n), numbers(n, 3).sin(), numbers(3), SUM),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_padding_does_not_count(name: str) -> None:
    check_every_size(*LOSSES[name], SIZES, {"rtol": 1e-4, "atol": 1e-5})


@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
def test_planes(reduction: int) -> None:
    """Of which torch does not say that both tensors have one size."""
    args = of_classes(4, reduction, True, (2, 3))
    check_static(calls_with(PLANES, [(args, {})])[0])


@pytest.mark.parametrize("name", LOSSES)
def test_narrow_floats(name: str) -> None:
    op, make = LOSSES[name]
    args = tuple(
        x.bfloat16() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in make(4)
    )
    check_static(calls_with(op, [(args, {})])[0], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_the_compiler_takes_it(name: str, tmp_path: Path) -> None:
    op, make = LOSSES[name]
    compile_program(op, make(23), {}, tmp_path)


@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
def test_of_one_place_and_of_nothing_that_counts(reduction: int) -> None:
    x, nan = torch.tensor([1.0, -2.0]), float("nan")
    for target, ignored in ((0, -100), (0, 0), (1, 0)):
        args = (x, torch.tensor(target), torch.tensor([2.0, 3.0]), reduction, ignored)
        check_static(calls_with(ROWS, [(args, {})])[0])
    unknown = torch.tensor([[1.0, nan], [nan, nan]])
    args = (unknown, torch.tensor([0, 1]), None, reduction, 1)
    check_static(calls_with(ROWS, [(args, {})])[0])


@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
def test_of_no_place_and_of_zeros(reduction: int) -> None:
    """Bits too: the CPU's loss of 0 and of -0."""
    nothing = (torch.empty(0, 3), torch.empty(0, dtype=torch.int64), None)
    check_static(calls_with(ROWS, [((*nothing, reduction, -100), {})])[0])
    x, target = torch.tensor([[0.0, -0.0], [0.0, -0.0]]), torch.tensor([0, 1])
    truth = ROWS(x, target, None, reduction, -100)
    made = draw_padded(lambda x, t: ROWS(x, t, None, reduction, -100), x, target)
    for one, other in zip(map(torch.as_tensor, made), truth):
        torch.testing.assert_close(one, other)
        assert torch.equal(one.signbit(), other.signbit())


def test_no_limit_at_all() -> None:
    x, wanted = torch.tensor([1.0, -2.0, 0.0, float("nan")]), torch.zeros(4)
    (call,) = calls_with(aten.smooth_l1_loss.default, [((x, wanted, NONE, 0.0), {})])
    check_static(call)
    args = (torch.ones(4), x, wanted, NONE, 0.0)
    check_static(calls_with(aten.smooth_l1_loss_backward.default, [(args, {})])[0])


def test_what_is_no_class_gives_no_number() -> None:
    """Where the CPU raises; what is ignored counts nothing."""
    x, weight = numbers(5, 4) / 8, torch.ones(4)
    target = torch.tensor([0, 4, -1, 3, -100])
    known = torch.tensor([True, False, False, True, True])
    right = torch.where(known, target, -100)
    truth, total = ROWS(x, right, weight, NONE, -100)
    (loss, _) = draw_padded(lambda x, t: ROWS(x, t, None, NONE, -100), x, target)
    wanted = torch.where(known, truth, float("nan"))
    torch.testing.assert_close(torch.as_tensor(loss), wanted, equal_nan=True)
    for reduction in (MEAN, SUM):
        (loss, _) = draw_padded(
            lambda x, t, r=reduction: ROWS(x, t, None, r, -100), x, target
        )
        assert torch.as_tensor(loss).isnan()
    op, grad = aten.nll_loss_backward.default, torch.ones(5)
    truth = op(grad, x, right, None, NONE, -100, total)
    truth[~known] = float("nan")
    (made,) = draw_padded(
        lambda x, t, g, n: op(g, x, t, None, NONE, -100, n), x, target, grad, total
    )
    torch.testing.assert_close(torch.as_tensor(made), truth, equal_nan=True)
