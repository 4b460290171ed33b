"""Aligned arrays."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy_emulator.memory import ZERO_COPY_BYTES, empty


@pytest.mark.parametrize("dtype", [np.float32, dt.bfloat16, np.bool_], ids=str)
@pytest.mark.parametrize("shape", [(512, 1024), (), (0, 7), (3,)], ids=str)
def test_like_numpy_and_aligned_when_large(dtype, shape):
    array = empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable
    if array.nbytes >= ZERO_COPY_BYTES:
        assert array.ctypes.data % 64 == 0
    array[...] = 1
    assert (array == 1).all()


@pytest.mark.parametrize("offset", [1, 16, 63])
def test_inputs_that_are_copied_arrive_whole(engine, module_of, results_of, offset):
    # Several at once, of sizes that no piece of a copy divides, and of none.
    sizes = [5, 0, (1 << 18) + 3, (1 << 20) - 1, (5 << 20) + 7, 1]
    rng = np.random.default_rng(0)
    inputs = []
    for size in sizes:
        raw = empty((size + 64,), np.uint8)
        raw[...] = rng.integers(0, 256, size + 64, np.uint8)
        inputs.append(raw[offset : offset + size])
    module = module_of(lambda b, *xs: [b.not_(x) for x in xs], *inputs)
    outputs = results_of(module)
    run = engine.compile(module).run
    for turn in range(3):
        for array in inputs:
            array += np.uint8(turn)
        run(inputs, outputs)
        for array, out in zip(inputs, outputs):
            np.testing.assert_array_equal(out, ~array)
