"""Every op record against NumPy, through compiler, NEFF, spike and libnrt.

What the HLO computes is tested through the simulator, in every dtype. So by default
each op goes to the device in one dtype, another one for each op; ``-m slow`` is all.
"""

from __future__ import annotations

import nkipy.core.ops  # noqa: F401  (fills the table)
import pytest
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


def one_dtype_each():
    for number, op in enumerate(SAMPLED):
        dtypes = dtypes_of(op)
        yield op, dtypes[number % len(dtypes)]


def case(op, dtype):
    return pytest.param(op, dtype, id=f"{op.name}-{dtype}")


@pytest.mark.parametrize(("op", "dtype"), [case(*pair) for pair in one_dtype_each()])
def test_op_equals_numpy_on_the_device(op, dtype):
    check_op(op, dtype, jit=baremetal_jit(additional_compiler_args="--optlevel 1"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "dtype"), [case(op, dtype) for op in SAMPLED for dtype in dtypes_of(op)]
)
def test_op_equals_numpy_on_the_device_in_every_dtype(op, dtype):
    check_op(op, dtype, jit=baremetal_jit)
