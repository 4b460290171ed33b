"""Every op record against NumPy, through compiler, NEFF, spike and libnrt.

By default all dtypes of an op make one program; ``-m slow`` makes one of each, which
says more about what is wrong.
"""

from __future__ import annotations

import pytest

import nkipy.core.ops  # noqa: F401  (fills the table)
from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.runtime import baremetal_jit
from tests.support.oracle import check_op

pytestmark = pytest.mark.device

#: The device that tests run on, a trn2, does not have it: the compiler refuses it with
#: NCC_EVRF051, as the vendor's does.
NOT_ON_DEVICE = {dt.float8_e4m3fn}
SAMPLED = [op for op in OPS.values() if op.samples is not None]


def dtypes_of(op):
    return [dtype for dtype in op.dtypes if dtype not in NOT_ON_DEVICE]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_op_equals_numpy_on_the_device(op):
    check_op(op, *dtypes_of(op), jit=baremetal_jit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "dtype"),
    [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}")
        for op in SAMPLED
        for dtype in dtypes_of(op)
    ],
)
def test_op_equals_numpy_on_the_device_in(op, dtype):
    check_op(op, dtype, jit=baremetal_jit)
