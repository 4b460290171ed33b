"""Copies by positions that are out of bounds, or of which two are one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.findings import Findings
from nkipy_nki.records import INSTRUCTIONS, Sample
from nkipy_nki.regions import MemoryRegion
from tests.support.nki.samples import emit_sample, prepared, written

X = np.arange(12, dtype=np.float32).reshape(3, 4) + 0.5
#: Positions: beyond the tensor, far below 0, and one that is meant.
AT = np.array([[12, 2**31 - 1, -(2**31), 5]], np.int32)


@pytest.mark.parametrize("name", ["src_at", "dst_at"])
def test_positions_out_of_bounds_are_left_out(name: str) -> None:
    record = INSTRUCTIONS["indexed_copy"]
    row = X[:1]
    arrays = {"src_at": (((1, 4), "float32"), X), "dst_at": (-X, row.copy())}
    dst, src = arrays[name]
    operands = {"dst": dst, "src": src, name: AT}
    sample = Sample(operands, {"fill": 9.0}, {name: MemoryRegion.shared_hbm})
    (core,) = prepared(record, sample)
    assert core.run.machine is not None
    core.run.findings = core.run.machine.findings = Findings({"out-of-bounds": "off"})
    emit_sample(record, [core])
    expected = -X
    if name == "src_at":
        expected = np.array([[9, 9, 9, X.flat[5]]], np.float32)
    else:
        expected.flat[5] = row.flat[3]
    np.testing.assert_array_equal(written(record, core)["dst"], expected)


def _predicated(twice: bool, where: bool) -> Any:
    """A kernel that copies to places by indices, of which two are one, or to none."""

    @nki.jit
    def kernel(index: Any, predicate: Any) -> Any:
        to, mask = (nl.ndarray(t.shape, t.dtype) for t in (index, predicate))
        nisa.dma_copy(to, index)
        nisa.dma_copy(mask, predicate)
        table = nl.ndarray((32, 20), nl.float32)
        nisa.memset(table, 0.0)
        nisa.tensor_copy_predicated(table.indirect(to, 16), 2.0, mask)
        result = nl.ndarray(table.shape, table.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, table)
        return result

    index = (np.arange(32) % 16).astype(np.uint32).reshape(32, 1)
    if twice:
        index[1] = index[17] = 0
    predicate = np.ones((32, 16), np.uint8)
    if not where:
        predicate[:, 1] = 0
    levels = {"scattered-twice": "error"}
    return nki.simulate(kernel, target="trn3", findings=levels)(index, predicate)


def test_elements_copied_to_one_place_by_a_predicate_are_told() -> None:
    expected = np.zeros((32, 20), np.float32)
    expected[:, :16] = 2
    np.testing.assert_array_equal(_predicated(False, True), expected)
    with pytest.raises(nki.NkiValidationError, match="32 of 512 elements .*twice") as e:
        _predicated(True, True)
    assert "the first at [0, 1]" in str(e.value)
    expected[:, 1] = 0  # of two for one place, a single one is copied
    np.testing.assert_array_equal(_predicated(True, False), expected)
