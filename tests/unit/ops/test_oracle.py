"""Every op record against NumPy, through the HLO, in the dtypes that it claims.

By default all samples in float32; and in one dtype of each other kind, another one for
each op, some of them, some with the option `fast_compile`. Each sample is run in one of
the kinds of integers and booleans, if the op claims them all, and with half of those of
float8, which are slow, in one of narrow floats. ``-m slow`` is all samples in all
dtypes; ``and not exhaustive`` has all of them in one dtype of each kind, and every
sixth one, another in each, in the others of the kind.
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
from tests.support.samples import one_in

SAMPLED = sampled_ops()
NARROW_FLOATS = {dt.bfloat16, dt.float16, *dt.FP8}
#: Of as many samples one is run in those dtypes of a kind that are like another one.
OTHERS = 6


def is_compiled_fast(op_number, dtype):
    """Half of the ops; and float8, whose code is the longest."""
    return dtype in dt.FP8 or op_number % 2 == 1


def case(op, dtype, step, turn, fast, *marks):
    some = ["slow-some" if marks else "some"] * (step > 1)
    words = [op.name, str(dtype), *["fast"] * fast, *some]
    return pytest.param(op, dtype, step, turn, fast, id="-".join(words), marks=marks)


def every_case():
    for number, op in enumerate(SAMPLED):
        for turn, dtype in enumerate(one_of_each_kind(op, number)):
            step = 2 if dtype in NARROW_FLOATS else 3
            fast = is_compiled_fast(number, dtype)
            if dtype in dt.FP8:  # which takes longest: half of it with the slow ones
                yield case(op, dtype, 2 * step, turn, fast)
                yield case(op, dtype, 2 * step, turn + step, fast, pytest.mark.slow)
            elif dtype != dt.float32:
                yield case(op, dtype, step, turn, fast)
        yield from in_every_dtype(op, number)


def in_every_dtype(op, number):
    slow, exhaustive = pytest.mark.slow, pytest.mark.exhaustive
    chosen = one_of_each_kind(op, number + 1)  # mostly others than the quick ones
    for turn, dtype in enumerate(op.dtypes):
        if dtype == dt.float32:
            yield case(op, dtype, 1, 0, False)
        elif dtype in chosen:
            yield case(op, dtype, 1, 0, False, slow)
        else:
            fast = is_compiled_fast(number + turn, dtype)
            yield case(op, dtype, OTHERS, turn, fast, slow)
            yield case(op, dtype, 1, 0, False, slow, exhaustive)


@pytest.mark.parametrize(("op", "dtype", "step", "turn", "fast"), list(every_case()))
def test_op_equals_numpy(op, dtype, step, turn, fast):
    options = SimulationOptions(fast_compile=fast)
    keep = one_in(step, turn, op.samples(dtype))
    check_op(op, dtype, partial(SimulatedKernel, options=options), keep)


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
