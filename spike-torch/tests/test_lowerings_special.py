"""Special functions beside the CPU's of float64, which are computed in other ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .lowering_batches import Batch, distances, worst

aten = torch.ops.aten
NAN, INF = float("nan"), float("inf")

POSITIVE = torch.cat([torch.linspace(1e-3, 12, 800), torch.logspace(-30, 36, 199)])
NEGATIVE = -torch.cat([torch.linspace(1e-3, 12, 801), torch.logspace(-20, 4, 98)])
BOTH = torch.cat([torch.linspace(-80, 80, 800), torch.linspace(-8.5, 8.5, 801)])
CHANCES = torch.cat([torch.linspace(1e-4, 0.9999, 800), torch.logspace(-37, -1, 199)])

#: An operator, where, and how many units in the last place it is from what is true.
#: At zeros that no polynomial has as a factor that is much, of little.
CASES: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "lgamma": (aten.lgamma.default, (POSITIVE,), 3),
    "digamma": (aten.digamma.default, (POSITIVE,), 3),
    "polygamma of order 0": (aten.polygamma.default, (0, POSITIVE), 3),
    "polygamma of order 1": (aten.polygamma.default, (1, POSITIVE), 6),
    "i0": (aten.i0.default, (BOTH,), 6),
    "i0e": (aten.special_i0e.default, (BOTH,), 6),
    "i1": (aten.special_i1.default, (BOTH,), 10),
    "i1e": (aten.special_i1e.default, (BOTH,), 10),
    "erfcx": (aten.special_erfcx.default, (BOTH,), 6),
    "ndtri": (aten.special_ndtri.default, (CHANCES,), 8),
}
#: Those that the CPU has for floats of 32 bits and more.
_WIDE = ("erfcx", "ndtri")


def _truth(op: Any, args: tuple[Any, ...]) -> torch.Tensor:
    wide = [x.double() if isinstance(x, torch.Tensor) else x for x in args]
    return op(*wide)


def test_special_functions_are_those_of_float64() -> None:
    batch = Batch()
    for op, args, _ in CASES.values():
        assert batch.add(op, *args), batch.refused
    for (name, (op, args, most)), (_, made, _) in zip(CASES.items(), batch.run()):
        assert made.dtype == torch.float32
        wanted = _truth(op, args).float()
        assert worst(made, wanted) <= most, name


def test_gamma_functions_of_negative_numbers() -> None:
    """Their zeros between the integers are as exact as what they are the sum of."""
    batch = Batch()
    assert batch.add(aten.lgamma.default, NEGATIVE)
    assert batch.add(aten.digamma.default, NEGATIVE)
    for op, (_, made, of_cpu) in zip((aten.lgamma, aten.digamma), batch.run()):
        wanted = op(NEGATIVE.double())
        whole = NEGATIVE == NEGATIVE.round()
        assert worst(made[whole], of_cpu[whole]) == 0
        torch.testing.assert_close(
            made[~whole].double(), wanted[~whole], rtol=2e-6, atol=2e-6
        )


@pytest.mark.slow
def test_ends_of_special_functions_are_the_cpu_s() -> None:
    numbers = torch.tensor([0.0, -0.0, INF, -INF, NAN, -1.0, -2.0, 1.0, 2.0])
    batch = Batch()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        ends = numbers.to(dtype)
        for name, (op, args, _) in CASES.items():
            order = args[:-1]
            if order == (1,):  # of whose poles the CPU's sine is not 0
                continue
            is_theirs = dtype == torch.float32 or name not in _WIDE
            assert batch.add(op, *order, ends) == is_theirs
    for text, made, wanted in batch.run():
        assert made.dtype == wanted.dtype
        apart = distances(made, wanted)
        assert int(apart.max()) <= 6, (text, made, wanted)


def test_special_functions_of_integers_are_float32() -> None:
    whole = torch.arange(1, 9)
    batch = Batch()
    assert batch.add(aten.lgamma.default, whole) and batch.add(aten.i0.default, whole)
    for _, made, wanted in batch.run():
        assert made.dtype == torch.float32
        assert worst(made, wanted) <= 4


def test_a_higher_order_has_no_lowering() -> None:
    batch = Batch()
    assert not batch.add(aten.polygamma.default, 2, POSITIVE)
    assert "has order 2" in batch.refused["aten::polygamma"]


# -- histograms ------------------------------------------------------------------------
def test_histograms_are_the_cpu_s() -> None:
    x = torch.cat([torch.linspace(-4, 4, 399), torch.tensor([NAN, INF, -INF])])
    batch = Batch()
    for bins, low, high in ((10, -1, 1), (7, -2.5, 1.3), (1, -1, 0.1)):
        assert batch.add(aten.histc.default, x, bins, low, high)
    for _, made, wanted in batch.run():
        assert torch.equal(made, wanted)
    assert not batch.add(aten.histc.default, x[:9], 4)
    assert "the least" in batch.refused["aten::histc"]


# -- resampling ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kind", ["bilinear", pytest.param("bicubic", marks=pytest.mark.slow)]
)
def test_antialiased_resampling_is_the_cpu_s(kind: str) -> None:
    """What is no finite number is in what covers it, and nowhere else."""
    forward = getattr(aten, f"_upsample_{kind}2d_aa")
    backward = getattr(aten, f"_upsample_{kind}2d_aa_backward").default
    x = torch.linspace(-9, 12, 2 * 9 * 11).sin().reshape(2, 1, 9, 11)
    odd = x.clone()
    odd[0, 0, 1, 2], odd[0, 0, 6, 7], odd[1, 0, 5, 0] = NAN, INF, -INF
    batch = Batch()
    for size in ((4, 5), (9, 20), (17, 6), (1, 1)):
        grad = torch.linspace(0, 9, 2 * size[0] * size[1]).cos().reshape(2, 1, *size)
        strange = grad.clone()
        strange[0, 0, 0, 0], strange[1, 0, -1, -1] = INF, NAN
        for corners in (False, True):
            assert batch.add(forward.default, odd if corners else x, size, corners)
            assert batch.add(backward, grad, size, x.shape, corners)
        scales = size[0] / 9 + 0.1, size[1] / 11 + 0.05
        assert batch.add(forward.default, odd, size, False, *scales)
        assert batch.add(backward, strange, size, x.shape, False, *scales)
    assert batch.add(forward.vec, odd, None, False, [0.6, 1.3])
    for text, made, wanted in batch.run():
        assert (made.shape, made.dtype) == (wanted.shape, wanted.dtype), text
        close = {"rtol": 1e-5, "atol": 2e-6, "equal_nan": True}
        torch.testing.assert_close(made, wanted, **close, msg=lambda m, t=text: t + m)
    assert not batch.add(forward.default, torch.ones(1, 1, 200, 1), (1, 1), False)
    assert "means of 200 elements" in batch.refused[f"aten::_upsample_{kind}2d_aa"]


# -- searching -------------------------------------------------------------------------
def test_each_value_is_searched_in_the_row_beside_it() -> None:
    rows = torch.tensor([[0.0, 1, 1, 2, NAN], [-3, -3, 0, 5, INF]])
    values = torch.tensor([[1.0, NAN, -1, 9], [0, -3, INF, 5]])
    rows, values = rows.repeat(3, 1, 1), values.repeat(3, 1, 1)
    values[2] += 0.5
    call = aten.searchsorted.Tensor
    whole, sought = (x.nan_to_num(7).clamp(-9, 9).long() for x in (rows, values))
    batch = Batch()
    for right in (False, True):
        assert batch.add(call, rows, values, right=right)
        assert batch.add(call, whole, sought, right=right, out_int32=True)
    assert batch.add(call, torch.ones(2, 0), torch.ones(2, 3))
    assert batch.add(call, torch.ones(2, 3), torch.ones(2, 0))
    for _, made, wanted in batch.run():
        assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
        assert torch.equal(made, wanted)


# -- rows that are looked up -----------------------------------------------------------
def test_rows_that_are_too_long_are_made_shorter() -> None:
    weight = torch.tensor([[3.0, 4], [0.3, 0.4], [6, 8], [0, 0], [NAN, 1], [INF, 1]])
    at = torch.tensor([[0, 1, 0], [3, 4, 5]])
    batch = Batch()
    for p in (0.0, 1.0, 2.0, 2.5, INF):
        assert batch.add(aten.embedding_renorm.default, weight, at, 1.5, p)
    assert batch.add(aten.embedding_renorm.default, weight, at[:0], 1.5, 2.0)
    for text, made, wanted in batch.run():
        assert worst(made, wanted) <= 4, (text, made, wanted)
    narrow = weight.bfloat16()
    assert not batch.add(aten.embedding_renorm.default, narrow, at, 1.5, 2.0)


# -- mantissas and exponents -----------------------------------------------------------
def test_mantissas_and_exponents_are_the_cpu_s() -> None:
    x = torch.cat([POSITIVE[::9], NEGATIVE[::9]])
    ends = torch.tensor([0.0, -0.0, INF, -INF, NAN, 1.0, 0.5, -2.0, 3e38, 2e-38])
    batch = Batch()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert batch.add(aten.frexp.Tensor, torch.cat([x, ends]).to(dtype))
    for text, made, wanted in batch.run():
        assert made.dtype == wanted.dtype
        torch.testing.assert_close(
            made, wanted, rtol=0, atol=0, equal_nan=True, msg=text
        )
        if made.dtype.is_floating_point:
            number = ~wanted.isnan()
            assert torch.equal(made[number].signbit(), wanted[number].signbit())
