"""Element types that one generation of chips has and another has not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.chips import find_chip
from nkipy_nki.checking import check
from nkipy_nki.dtypes import DTYPES
from nkipy_nki.findings import Findings

OF_GEN4 = {
    *("float8_e4m3fn", "float8_e8m0fnu"),
    *("float8_e5m2_x4", "float8_e4m3fn_x4", "float4_e2m1fn_x4"),
}
X = np.ones((32, 8), ml_dtypes.float8_e4m3fn)


def test_the_generations_of_types_are_those_of_the_documents() -> None:
    assert {name for name, dtype in DTYPES.items() if dtype.since == 4} == OF_GEN4
    assert {dtype.since for dtype in DTYPES.values()} == {2, 4}
    last = {name: dtype.until for name, dtype in DTYPES.items() if dtype.until}
    assert last == {"float8_e4m3": 4}


def transfer(x: Any, tile: Any, other: Any) -> None:
    nisa.dma_copy(tile, x)  # found


def fill(x: Any, tile: Any, other: Any) -> None:
    nisa.memset(tile, 1.0)  # found


def convert(x: Any, tile: Any, other: Any) -> None:
    nisa.memset(other, 1.0)
    nisa.tensor_copy(tile, other)  # found


def compute(x: Any, tile: Any, other: Any) -> None:
    nisa.memset(other, 1.0)
    nisa.tensor_tensor(tile, other, other, op=nl.add)  # found


def activate(x: Any, tile: Any, other: Any) -> None:
    nisa.memset(other, 1.0)
    nisa.activation(tile, op=nl.exp, data=other)  # found


def _run(part: Callable[[Any, Any, Any], None], dtype: str, target: str) -> Any:
    def kernel(x: Any) -> Any:
        result = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        one = nl.zeros((1, 1), nl.float32)
        part(x, nl.ndarray(x.shape, dtype), nl.ndarray(x.shape, nl.float32))
        nisa.dma_copy(result, one)
        return result

    return nki.simulate(nki.jit(kernel), target=target).run(X.copy())


PARTS = (transfer, fill, convert, compute, activate)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_instruction_refuses_a_type_of_another_generation(part: Any) -> None:
    with pytest.raises(nki.NkiValidationError, match="float8_e4m3fn.* gen4") as raised:
        _run(part, "float8_e4m3fn", "trn2")
    found = raised.value.finding
    lines, first = inspect.getsourcelines(part)
    (at,) = (i for i, line in enumerate(lines) if line.rstrip().endswith("# found"))
    assert (found.kind, found.file, found.line) == ("generation", __file__, first + at)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_generation_that_has_the_type_takes_it(part: Any) -> None:
    assert _run(part, "float8_e4m3fn", "trn3").findings == []


@pytest.mark.parametrize("part", PARTS[1:], ids=lambda part: part.__name__)
def test_an_older_type_is_taken(part: Any) -> None:
    assert _run(part, "float8_e4m3", "trn2").findings == []


def test_a_type_ends_with_a_generation() -> None:
    """float8_e4m3 is not of what comes after trn3, for which there is no record yet."""
    chip = find_chip("trn3")
    assert chip is not None

    def kernel() -> Any:
        result = nl.ndarray((4, 4), nl.float8_e4m3, buffer=nl.shared_hbm)
        tile = nl.zeros((4, 4), nl.float8_e4m3)
        nisa.dma_copy(result, tile)
        return result

    made = nki.simulate(nki.jit(kernel), target="trn3").run()
    *_, copy = made.programs[0].instructions()
    check(copy, chip, Findings())
    with pytest.raises(nki.NkiValidationError, match="float8_e4m3, .* gen2 to gen4"):
        check(copy, replace(chip, generation=5), Findings())
