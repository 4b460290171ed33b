"""Sample calls of ops, and what makes them.

Each op's record carries samplers: ``op.samples(dtype)`` yields :class:`Sample` calls,
``op.errors`` are :class:`ErrorSample` calls that must be refused at trace time.
"""

from __future__ import annotations

import nkipy.core.ops  # noqa: F401  (fills the table)
from nkipy.core.ops._cases import A, DType, Special, call, cases
from nkipy.core.ops._registry import OPS, Op
from nkipy.core.ops._samples import (
    BROADCASTS,
    SHAPES,
    ErrorSample,
    Sample,
    Sampler,
    binary_sampler,
    make,
    unary_sampler,
)

__all__ = [
    "BROADCASTS",
    "SHAPES",
    "A",
    "DType",
    "ErrorSample",
    "Sample",
    "Sampler",
    "Special",
    "binary_sampler",
    "call",
    "cases",
    "make",
    "sampled_ops",
    "unary_sampler",
]


def sampled_ops() -> list[Op]:
    """The ops whose records have samples, in the order of the table."""
    return [op for op in OPS.values() if op.samples is not None]
