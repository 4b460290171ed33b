"""Sample calls of ops, and what makes them.

Each op's record carries samplers: ``op.samples(dtype)`` yields :class:`Sample` calls,
``op.errors`` are :class:`ErrorSample` calls that must be refused at trace time.
"""

from __future__ import annotations

import numpy as np

import nkipy.core.ops  # noqa: F401  (enters ops into the tables)
from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, Cases, DType, Special, call, cases
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
    "KINDS",
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
    "one_of_each_kind",
    "sampled_ops",
    "unary_sampler",
]


def sampled_ops() -> list[Op]:
    """The ops whose records have samples, in the order of the table."""
    return [op for op in OPS.values() if op.samples is not None]


#: Dtypes that an op treats alike: they differ in how many bits they have.
KINDS: tuple[tuple[np.dtype, ...], ...] = (
    (dt.float32,),
    (dt.bfloat16, dt.float16),
    (dt.float8_e4m3, dt.float8_e5m2, dt.float8_e4m3fn),
    (dt.int32, dt.int8, dt.int16),
    (dt.uint8, dt.uint32, dt.uint16),
    (dt.bool_,),
)


def one_of_each_kind(op: Op, number: int = 0) -> list[np.dtype]:
    """Of the dtypes that an op claims, one of each of :data:`KINDS` that there is.

    Of ops that only move elements, by their samples, float32 and every other kind.

    Args:
        op: the op.
        number: which of a kind: others for each number, so that a test over many ops
            meets all dtypes.
    """
    found = [[dtype for dtype in kind if dtype in op.dtypes] for kind in KINDS]
    dtypes = [of_kind[number % len(of_kind)] for of_kind in found if of_kind]
    moves = isinstance(op.samples, Cases) and op.samples.thin
    return dtypes[:1] + dtypes[1 + number % 2 :: 2] if moves else dtypes
