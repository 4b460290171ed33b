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
