"""What searches in tiles give, by loops over elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.numbers import rows_of
from tests.support.nki.samples import expects

ALL_ONES = {"uint32": 0xFFFFFFFF, "uint16": 0xFFFF}


def _tile(rows: Iterable[Any], written: tuple[Any, str]) -> np.ndarray:
    shape, dtype = written
    element = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return np.array(list(rows)).astype(element).reshape(shape)


@expects("max8")
def _max8(sample: Sample) -> Mapping[str, np.ndarray]:
    rows = [sorted(row)[:-9:-1] for row in rows_of(sample.operands["src"])]
    return {"dst": _tile(rows, sample.operands["dst"])}


def _places(row: list[float], values: list[float], order: Iterable[int]) -> list[int]:
    """Where each value is, each element taken once; -1 if nowhere."""
    taken: set[int] = set()
    found = [-1] * len(values)
    for i in order:
        for place, value in enumerate(row):
            if value == values[i] and place not in taken:
                found[i] = place
                taken.add(place)
                break
    return found


def _indices(found: list[list[int]], written: tuple[Any, str]) -> np.ndarray:
    none = ALL_ONES[written[1]]
    return _tile([[none if i < 0 else i for i in row] for row in found], written)


@expects("nc_find_index8")
def _find_index8(sample: Sample) -> Mapping[str, np.ndarray]:
    pairs = zip(rows_of(sample.operands["data"]), rows_of(sample.operands["vals"]))
    found = [_places(row, values, range(8)) for row, values in pairs]
    return {"dst": _indices(found, sample.operands["dst"])}


@expects("nc_match_replace8")
def _match_replace8(sample: Sample) -> Mapping[str, np.ndarray]:
    rows = rows_of(sample.operands["data"])
    pairs = zip(rows, rows_of(sample.operands["vals"]))
    found = [_places(row, values, reversed(range(8))) for row, values in pairs]
    if sample.label.startswith("indices"):  # the documented example
        assert found == [[2, 10, 9, 8, 7, 6, 5, 4]]
    for row, places in zip(rows, found):
        for place in places:
            if place >= 0:
                row[place] = sample.attributes["imm"]
    expected = {"dst": _tile(rows, sample.operands["dst"])}
    if sample.operands["dst_idx"] is not None:
        expected["dst_idx"] = _indices(found, sample.operands["dst_idx"])
    return expected
