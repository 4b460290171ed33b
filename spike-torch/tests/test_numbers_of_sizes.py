"""Numbers that programs compute of sizes, beside Python's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from spike_torch.lowering import NeedsExactSize

from .lowering_graphs import check_function

NUMBERS: dict[str, Callable[[int], int]] = {
    "//": lambda n: (n - 10) // 3,
    "// of a negative": lambda n: n // -3,
    "%": lambda n: (n - 10) % 3,
    "% of a negative": lambda n: n % -3,
    "// and % of what is not negative": lambda n: n // 3 + n % 3 * 100,
    "power": lambda n: (n - 10) ** 3,
    "absolute": lambda n: abs(n - 10),
    "ceil": lambda n: math.ceil((n - 10) / 3),
    "floor": lambda n: math.floor((n - 10) / 3),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_sizes_are_pythons(name: str) -> None:
    number = NUMBERS[name]
    for size in (4, 7, 12):
        zeros = torch.zeros(size, dtype=torch.int64)
        check_function(lambda x: x + number(x.shape[0]), zeros)


def test_places_that_sizes_give() -> None:
    for size in (5, 8, 11):
        x = torch.arange(float(size))
        check_function(lambda x: x.roll((x.shape[0] - 10) // 3, 0), x)
        check_function(lambda x: x.roll((x.shape[0] - 10) % 3, 0), x)


def test_what_32_bits_may_not_hold_has_64() -> None:
    zeros = torch.zeros(5, dtype=torch.int64)
    for each in (1 << 27, 1 << 28, -(1 << 28), 1 << 40):
        check_function(lambda x, each=each: x + x.shape[0] * each, zeros)
    check_function(lambda x: x + x.shape[0] ** 11 // 7, zeros)
    check_function(lambda x: x + x.shape[0] ** 11, torch.zeros(5))
    for each in (1 << 28, -(1 << 28), 1 << 40):
        turned = torch.arange(5)
        check_function(lambda x, each=each: x.roll(x.shape[0] * each + 3, 0), turned)


def test_what_no_integer_may_hold_is_left_to_exact_sizes() -> None:
    zeros = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(NeedsExactSize, match="64 bits"):
        check_function(lambda x: x + x.shape[0] ** 22, zeros)
    with pytest.raises(NeedsExactSize, match="32 bits"):
        check_function(lambda x: x + x.shape[0] ** 11, zeros.int())
