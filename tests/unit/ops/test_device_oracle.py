"""Every op record against NumPy, through compiler, NEFF, spike and libnrt.

What the HLO computes is tested through the simulator, in every dtype. So by default
each op goes to the device in one dtype, another one for each op, with every third
sample; ``-m slow`` is all, of which ``and not exhaustive`` leaves the most used dtypes:
all samples in the first of them that the op claims, every third in the others.
"""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.compile import CompilationError
from nkipy.core.tree import map_tree
from nkipy.runtime import baremetal_jit
from nkipy.testing import check_op
from nkipy.testing.samples import sampled_ops
from tests.support.samples import one_in

pytestmark = pytest.mark.device

SAMPLED = sampled_ops()

MOST_USED = (dt.float32, dt.bfloat16, dt.int32)

#: The device that tests run on, a trn2, does not have this dtype: the compiler refuses
#: it with NCC_EVRF051, as the vendor's does.
NOT_ON_DEVICE = dt.float8_e4m3fn
#: What the compiler refuses besides, and how: the device's TopK is of floats only.
REFUSED = {("topk", dtype): "NCC_EVRF013" for dtype in (dt.int32, dt.uint32)}


@pytest.fixture(autouse=True)
def _indices_are_checked(monkeypatch):
    """What XLA clamps or drops, a device reports: no lowering may rely on it."""
    monkeypatch.setenv("NKIPY_EMULATOR_FAIL_OUT_OF_BOUNDS", "1")


def dtypes_of(op):
    return [dtype for dtype in op.dtypes if dtype != NOT_ON_DEVICE]


def one_dtype_each():
    for number, op in enumerate(SAMPLED):
        dtypes = dtypes_of(op)
        yield op, dtypes[number % len(dtypes)]


def on_device(sample):
    """Whether the arguments name only dtypes that the device has."""
    found = []

    def look(path, leaf):
        if isinstance(leaf, (np.dtype, type)) and leaf is not type(None):
            found.append(np.dtype(leaf) == NOT_ON_DEVICE)
        elif isinstance(leaf, np.ndarray):
            found.append(leaf.dtype == NOT_ON_DEVICE)

    map_tree(look, [sample.args, sample.kwargs])
    return not any(found)


def check(op, dtype, jit, keep=on_device):
    code = REFUSED.get((op.name, dtype))
    if code is None:
        check_op(op, dtype, jit, keep)
        return
    with pytest.raises(CompilationError, match=code):
        check_op(op, dtype, jit, keep)


def some(op, dtype, turn):
    return one_in(3, turn, op.samples(dtype), on_device)


def case(op, dtype, *others, marks=(), words=()):
    words = "-".join([op.name, str(dtype), *words])
    return pytest.param(op, dtype, *others, id=words, marks=marks)


def every_case():
    for op in SAMPLED:
        used = [dtype for dtype in MOST_USED if dtype in dtypes_of(op)]
        for turn, dtype in enumerate(used[1:], 1):
            yield case(op, dtype, turn, words=["some"])
        for dtype in dtypes_of(op):
            marks = [] if dtype in used[:1] else [pytest.mark.exhaustive]
            yield case(op, dtype, None, marks=marks)


@pytest.mark.parametrize(("op", "dtype"), [case(*pair) for pair in one_dtype_each()])
def test_op_equals_numpy_on_the_device(op, dtype):
    jit = baremetal_jit(additional_compiler_args="--optlevel 1")
    check(op, dtype, jit, some(op, dtype, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype", "turn"), list(every_case()))
def test_op_equals_numpy_on_the_device_in_every_dtype(op, dtype, turn):
    keep = on_device if turn is None else some(op, dtype, turn)
    check(op, dtype, baremetal_jit, keep)
