"""Makes samples of records: operands of many element types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample

__all__ = ["DTYPES", "column", "numbers", "sample", "shuffled", "together"]

#: Element types of tiles that engines compute with.
DTYPES = (
    *(np.float32, np.float16, ml_dtypes.bfloat16),
    *(ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn),
    *(np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32),
)


def numbers(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Whole numbers from -6 to 6, which every type has; magnitudes if unsigned."""
    values = np.random.default_rng(seed).integers(-6, 7, shape)
    if np.dtype(dtype).kind == "u":
        values = np.abs(values)
    return values.astype(dtype)


def column(values: Any, dtype: Any = np.float32) -> np.ndarray:
    """A number for each partition."""
    return np.array(values, dtype).reshape(-1, 1)


def sample(operands: Mapping[str, Any], **named: Any) -> Sample:
    """A sample, of which what is no field of :class:`Sample` is an attribute."""
    own = {n: named.pop(n) for n in _FIELDS if n in named}
    return Sample(operands, named, **own)


_FIELDS = frozenset(field.name for field in fields(Sample)) - {"operands", "attributes"}


def together(samples: Sequence[Sample]) -> Sample:
    """A sample of several cores: what each of them gives."""
    first, *others = samples
    return replace(first, others=tuple(others))


def shuffled(partitions: int, count: int, dtype: Any = np.float32) -> np.ndarray:
    """Whole numbers, the same ones in each partition, in an order of its own."""
    places = np.arange(partitions)[:, None] * 7 + np.arange(count) * 5
    return (places % count - count // 2).astype(dtype)
