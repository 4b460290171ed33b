"""Every op record against NumPy, through the HLO, in the dtypes that it claims.

By default in one dtype of each kind, another one for each op; ``-m slow`` is the rest.
"""

from __future__ import annotations

import pytest

from nkipy.core.op_table import OPS
from nkipy.testing import check_error, check_op
from nkipy.testing.samples import one_of_each_kind, sampled_ops

SAMPLED = sampled_ops()


def every_case():
    for number, op in enumerate(SAMPLED):
        chosen = one_of_each_kind(op.dtypes, number)
        for dtype in op.dtypes:
            marks = [] if dtype in chosen else [pytest.mark.slow]
            yield pytest.param(op, dtype, id=f"{op.name}-{dtype}", marks=marks)


@pytest.mark.parametrize(("op", "dtype"), list(every_case()))
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
