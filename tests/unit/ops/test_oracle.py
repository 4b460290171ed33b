"""Every op record against NumPy, through the HLO, in every dtype that it claims."""

from __future__ import annotations

import pytest

import nkipy.core.ops  # noqa: F401  (fills the table)
from nkipy.core.op_table import OPS
from nkipy.testing import check_error, check_op

SAMPLED = [op for op in OPS.values() if op.samples is not None]


@pytest.mark.parametrize(
    ("op", "dtype"),
    [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}")
        for op in SAMPLED
        for dtype in op.dtypes
    ],
)
def test_op_equals_numpy(op, dtype):
    check_op(op, dtype)


@pytest.mark.parametrize(
    ("op", "sample"),
    [
        pytest.param(op, sample, id=f"{op.name}-{i}")
        for op in OPS.values()
        for i, sample in enumerate(op.errors)
    ],
)
def test_mistake_is_refused_at_trace_time(op, sample):
    check_error(op, sample)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_record_says_in_which_dtypes(op):
    assert op.dtypes, f"{op} has samples but no dtypes"
