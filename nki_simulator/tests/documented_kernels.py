"""What kernels after the SDK's documented examples share."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import nkipy_nki.language as nl

RANDOM = np.random.default_rng(11)
BF16 = np.dtype(ml_dtypes.bfloat16)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(dtype)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.5, 2, shape).astype(np.float32)


def result_like(x: Any, shape: Any = None, dtype: Any = None) -> Any:
    return nl.ndarray(shape or x.shape, dtype or x.dtype, buffer=nl.shared_hbm)


def names_of(ran: Any) -> list[str]:
    """The instructions of a run's program, by name."""
    return [step.record.name for step in ran.programs[0].instructions()]
