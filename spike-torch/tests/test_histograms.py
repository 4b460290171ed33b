"""Histograms of integers, which the CPU has none of: beside NumPy's counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from .lowering_cases import Call, check_static

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _counts(x: np.ndarray, bins: int, low: int, high: int) -> list[int]:
    """By the quotients' whole part, of what lies between the bounds."""
    kept = [int(n) for n in x.ravel() if low <= n <= high]
    places = [min((n - low) * bins // (high - low), bins - 1) for n in kept]
    return np.bincount(np.array(places, int), minlength=bins).tolist()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_histograms_of_integers(dtype: torch.dtype) -> None:
    x = (torch.arange(60).reshape(6, 10) * 7 % 13 - 2).to(dtype)
    for bins, low, high in ((8, 0, 7), (8, 0, 8), (3, 1, 11), (20, -2, 9)):
        wanted = _counts(x.numpy(), bins, low, high)
        made = torch.histc(x.to("nkipy"), bins, low, high)
        assert made.device.type == "nkipy"
        assert made.dtype == dtype
        assert made.tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_programs_count_integers(dtype: torch.dtype) -> None:
    x = torch.tensor([-(2**40), -2, -1, 0, 1, 5, 5, 7, 2**40]).to(dtype)
    counts = torch.tensor(_counts(x.numpy(), 3, -1, 7), dtype=dtype)
    check_static(Call(torch.ops.aten.histc.default, (x, 3, -1, 7), {}, counts))


def test_without_bounds_all_are_counted() -> None:
    x = torch.tensor([5, -3, 9, 5, 4])
    made = torch.histc(x.to("nkipy"), 4)
    assert made.tolist() == _counts(x.numpy(), 4, -3, 9)
    same = torch.full((3,), 7, device="nkipy")
    assert torch.histc(same, 2).tolist() == [0, 3]  # from 6 to 8
    assert torch.histc(same[:0], 2).tolist() == [0, 0]
    wide = torch.tensor([-(2**62), 0, 2**62 - 1], device="nkipy")
    with pytest.raises(RuntimeError, match="exceed 64 bits"):
        torch.histc(wide, 100)


def test_other_histograms_are_the_cpu_s() -> None:
    x = torch.linspace(-2, 3, 31)
    assert torch.equal(torch.histc(x.to("nkipy"), 5).cpu(), torch.histc(x, 5))
    for bins, low, high in ((0, 0, 1), (3, 4, 1)):
        for given in (x.to("nkipy"), torch.arange(3, device="nkipy")):
            with pytest.raises(RuntimeError, match="bins must be|max must be"):
                torch.histc(given, bins, low, high)
    with pytest.raises(NotImplementedError, match="Bool"):
        torch.histc(torch.ones(3, device="nkipy", dtype=torch.bool), 2)
