"""Arrays that XLA can read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64

#: Inputs from this size on are read where they lie if they are aligned. Below, copying
#: them is cheaper than asking for an XLA array over memory not seen before.
ZERO_COPY_BYTES = 1 << 18


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """``np.empty``, aligned for XLA if it is large enough for that to matter."""
    made = np.empty(shape, dtype)
    if made.nbytes < ZERO_COPY_BYTES:
        return made
    raw = np.empty(made.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + made.nbytes].view(made.dtype).reshape(shape)
