"""Copies by positions that are out of bounds, where nobody wants to know."""

from __future__ import annotations

import numpy as np
import pytest

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
