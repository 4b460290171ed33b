"""What searches in tiles give, by loops over elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects

ALL_ONES = {"uint32": 0xFFFFFFFF, "uint16": 0xFFFF}


def _rows(tile: np.ndarray) -> list[list[float]]:
    return [[float(x) for x in row] for row in tile.reshape(len(tile), -1)]


def _tile(rows: Iterable[Any], written: tuple[Any, str]) -> np.ndarray:
    shape, dtype = written
    element = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return np.array(list(rows)).astype(element).reshape(shape)


@expects("max8")
def _max8(sample: Sample) -> Mapping[str, np.ndarray]:
    rows = [sorted(row)[:-9:-1] for row in _rows(sample.operands["src"])]
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
    pairs = zip(_rows(sample.operands["data"]), _rows(sample.operands["vals"]))
    found = [_places(row, values, range(8)) for row, values in pairs]
    return {"dst": _indices(found, sample.operands["dst"])}


@expects("nc_match_replace8")
def _match_replace8(sample: Sample) -> Mapping[str, np.ndarray]:
    rows = _rows(sample.operands["data"])
    pairs = zip(rows, _rows(sample.operands["vals"]))
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


@expects("topk")
def _topk(sample: Sample) -> Mapping[str, np.ndarray]:
    src, told = sample.operands["src"], sample.attributes
    (partitions, k), _ = sample.operands["val_dst"]
    values = np.zeros((partitions, k), ml_dtypes.bfloat16)
    indices = np.zeros((partitions, k), np.uint32)
    for first in range(0, partitions, 16):
        snake = [float(src[first + i % 16, i // 16]) for i in range(told["n"])]
        best = sorted(range(told["n"]), key=lambda i: (-snake[i], i))[:k]
        if not told.get("sorted", False):
            best.reverse()
        for slot in range((k + 15) // 16 * 16):
            at = first + slot % 16, slot // 16
            values[at] = snake[best[slot]] if slot < k else np.nan
            indices[at] = best[slot] if slot < k else 0xFFFFFFFF
    return {"val_dst": values, "idx_dst": indices}


@expects("nonzero_with_count")
def _nonzero_with_count(sample: Sample) -> Mapping[str, np.ndarray]:
    written, told = sample.operands["dst"], sample.attributes
    result = written.copy() if isinstance(written, np.ndarray) else np.zeros(*written)
    for p, row in enumerate(_rows(sample.operands["src"])):
        if p % 16:
            continue
        places = [told.get("index_offset", 0) + i for i, x in enumerate(row) if x != 0]
        padding = [told.get("padding_val", -1)] * (len(row) - len(places))
        result[p] = [*places, *padding, len(places)]
    if sample.label.startswith("documented"):
        assert result.tolist() == [[17, 18, 21, -1, -1, -1, -1, -1, 3]]
    return {"dst": result}
