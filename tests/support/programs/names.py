"""What a random program imports: short names of dtypes, and classes of objects."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import ml_dtypes
import numpy as np

f32, i32, bf16 = np.float32, np.int32, ml_dtypes.bfloat16
e4m3, e5m2 = ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2
inf, nan = np.inf, np.nan

Two = collections.namedtuple("Two", "first second")


@dataclasses.dataclass
class Pair:
    """Two values, which are containers now and then, and a number."""

    left: Any
    right: Any
    scale: float = 2.0
