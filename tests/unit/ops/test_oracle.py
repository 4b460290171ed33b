"""Every op record against NumPy, through the HLO, in the dtypes that it claims.

By default in one dtype of each kind, another one for each op, and some with the option
`fast_compile`; ``-m slow`` is the rest.
"""

from __future__ import annotations

from functools import partial

import pytest

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.hlo.options import SimulationOptions
from nkipy.runtime.simulate import SimulatedKernel
from nkipy.testing import check_error, check_op
from nkipy.testing.samples import one_of_each_kind, sampled_ops

SAMPLED = sampled_ops()


def is_compiled_fast(op_number, dtype):
    """Half of the ops, but for float32; and float8, whose code is the longest."""
    return dtype in dt.FP8 or (dtype != dt.float32 and op_number % 2 == 1)


def every_case():
    for number, op in enumerate(SAMPLED):
        chosen = one_of_each_kind(op, number)
        for dtype in op.dtypes:
            fast = dtype in chosen and is_compiled_fast(number, dtype)
            slow = [pytest.mark.slow] if fast or dtype not in chosen else []
            yield pytest.param(op, dtype, False, id=f"{op.name}-{dtype}", marks=slow)
            if fast:
                yield pytest.param(op, dtype, True, id=f"{op.name}-{dtype}-fast")


@pytest.mark.parametrize(("op", "dtype", "fast"), list(every_case()))
def test_op_equals_numpy(op, dtype, fast):
    options = SimulationOptions(fast_compile=fast)
    check_op(op, dtype, partial(SimulatedKernel, options=options))


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
