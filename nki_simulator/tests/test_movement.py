"""Copies within a core in kernels: parts of tiles, and what they leave unwritten."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded, run, stored
from nkipy_nki import NkiValidationError

X = np.arange(8 * 24, dtype=np.float32).reshape(8, 24)
#: Parts of a tile of 24 columns that have 12 of them.
PARTS = {
    "first": np.s_[:, :12],
    "last": np.s_[:, 12:],
    "every-other": np.s_[:, ::2],
    "middle": np.s_[:, 6:18],
}


@pytest.mark.parametrize("to, source", list(itertools.product(PARTS, PARTS)))
def test_parts_of_a_tile_are_copied_to_others(to: str, source: str) -> None:
    def kernel(x: Any) -> Any:
        tile = loaded(x)
        nisa.tensor_copy(tile[PARTS[to]], tile[PARTS[source]])
        return stored(tile)

    expected = X.copy()
    expected[PARTS[to]] = X[PARTS[source]]
    np.testing.assert_array_equal(run(kernel, X), expected)


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_tile_are_set(part: str) -> None:
    def kernel(x: Any) -> Any:
        tile = loaded(x)
        nisa.memset(tile[PARTS[part]], -2.5)
        return stored(tile)

    expected = X.copy()
    expected[PARTS[part]] = -2.5
    np.testing.assert_array_equal(run(kernel, X), expected)


def test_a_copy_reads_no_more_than_was_written() -> None:
    def kernel(x: Any) -> Any:
        tile, copy = nl.ndarray((8, 24), nl.float32), nl.ndarray((8, 12), nl.float32)
        nisa.memset(tile[:, ::2], 1.0)
        nisa.tensor_copy(copy, tile[:, ::2])
        nisa.tensor_copy(copy, tile[:, :12])
        return stored(copy)

    with pytest.raises(NkiValidationError, match="48 of 96 elements") as raised:
        nki.simulate(kernel)(X)
    assert "the first at [0, 1] of [8, 12]" in str(raised.value)


def test_a_predicate_writes_what_it_chooses_only() -> None:
    def kernel(x: Any, chosen: Any) -> Any:
        tile = nl.ndarray((8, 24), nl.float32)
        nisa.tensor_copy_predicated(tile, loaded(x), loaded(chosen))
        return stored(tile)

    chosen = (X % 5 != 2).astype(np.uint8)
    with pytest.raises(NkiValidationError, match="uninitialized-read") as raised:
        nki.simulate(kernel)(X, chosen)
    missing = int((chosen == 0).sum())
    assert f"{missing} of 192 elements" in str(raised.value)
    np.testing.assert_array_equal(run(kernel, X, np.ones_like(chosen)), X)


def test_two_predicates_write_all_together() -> None:
    def kernel(x: Any, chosen: Any) -> Any:
        tile, chosen = nl.ndarray((8, 24), nl.float32), loaded(chosen)
        nisa.tensor_copy_predicated(tile, loaded(x), chosen)
        nisa.tensor_copy_predicated(tile, 7.0, chosen, reverse_pred=True)
        return stored(tile)

    chosen = (X % 5 != 2).astype(np.uint8)
    expected = np.where(chosen, X, 7)
    np.testing.assert_array_equal(run(kernel, X, chosen), expected)


def test_a_shuffle_in_place_reads_rows_before_it_writes() -> None:
    mask = [(7 * i + 3) % 32 for i in range(32)]
    x = np.arange(96 * 5, dtype=np.int32).reshape(96, 5)

    def kernel(x: Any) -> Any:
        tile = loaded(x)
        nisa.nc_stream_shuffle(tile, tile, mask)
        return stored(tile)

    rows = [q * 32 + row for q in range(3) for row in mask]
    np.testing.assert_array_equal(run(kernel, x), x[rows])


def test_a_shuffle_leaves_rows_unwritten_that_it_keeps() -> None:
    mask = [255, *range(31)]

    def kernel(x: Any) -> Any:
        tile = nl.ndarray((32, 5), nl.int32)
        nisa.nc_stream_shuffle(tile, loaded(x), mask)
        return stored(tile)

    x = np.arange(32 * 5, dtype=np.int32).reshape(32, 5)
    with pytest.raises(NkiValidationError, match="5 of 160 elements"):
        nki.simulate(kernel)(x)


def test_assignment_is_a_copy_or_a_constant() -> None:
    def kernel(x: Any) -> Any:
        tile, other = loaded(x), nl.ndarray((8, 24), nl.bfloat16)
        other[...] = tile
        other[:, 3:5] = -1.0
        return stored(other)

    expected = X.copy()
    expected[:, 3:5] = -1
    np.testing.assert_array_equal(run(kernel, X).astype(np.float32), expected)
