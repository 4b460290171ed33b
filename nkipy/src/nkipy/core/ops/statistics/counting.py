"""How often each number is in an array."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.tensor import NKIPyTensorRef, as_operand

#: A list, which is static.
_NUMBERS = [3, 0, 3, 1, 7, 3]


def _bincount_samples(dtype: np.dtype) -> Iterator[Sample]:
    weights = make((6,), dtype)
    yield Sample((_NUMBERS, weights), label="weights")
    yield Sample((_NUMBERS, weights, 12), label="more numbers")
    yield Sample((_NUMBERS, weights), {"minlength": 3}, "fewer numbers")
    yield Sample((_NUMBERS[:0], weights[:0], 2), label="none")


bincount = Op(
    "bincount",
    numpy=np.bincount,
    dtypes=supports(dt.float16, dt.float32, dt.INTEGERS),
    samples=_bincount_samples,
    errors=(
        ErrorSample((X[0].astype(np.int32),), {}, NotImplementedError, "np.add.at"),
        ErrorSample(([0.5], X[0, :1]), {}, TypeError, "integers"),
        ErrorSample(([0, -1], X[0, :2]), {}, ValueError, "non-negative"),
        ErrorSample(([[0]], X[0, :1]), {}, ValueError, "1-D"),
        ErrorSample(([0, 1], X[0]), {}, ValueError, "length"),
        ErrorSample(([0], X[0, :1], -1), {}, ValueError, "minlength"),
    ),
    note="the numbers must be static: the greatest one decides the result's length",
)


@bincount.impl("hlo")
def _bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> NKIPyTensorRef:
    """The sums of the weights of each number; float32.

    Raises:
        NotImplementedError: the numbers are traced.
    """
    x, weights = as_operand(x), as_operand(weights)
    if isinstance(x, NKIPyTensorRef):
        raise NotImplementedError(
            "how many numbers there are is not known while tracing, as the greatest "
            "one decides it; for numbers below n, counts = np.zeros(n, np.int32); "
            "np.add.at(counts, x, 1), with weights in the place of 1"
        )
    numbers, least = np.asarray(x), operator.index(minlength)
    if numbers.size and numbers.dtype.kind not in "iub":
        raise TypeError(f"the numbers must be integers, not {numbers.dtype}")
    if numbers.ndim != 1 or np.ndim(weights) != 1:
        raise ValueError("the numbers and their weights must be 1-D")
    if numbers.shape != weights.shape:
        raise ValueError("the weights and the numbers don't have the same length")
    if numbers.size and numbers.min() < 0:
        raise ValueError("the numbers must be non-negative")
    if least < 0:
        raise ValueError("minlength must be non-negative")
    length = max(least, int(numbers.max()) + 1 if numbers.size else 0)
    ctx = get_hlo_context()
    # As NumPy, of no numbers there are counts, and no sums.
    dtype = dt.float32 if numbers.size else dt.int32
    sums = NKIPyTensorRef._wrap(ctx, ctx.full((length,), 0, dtype))
    if numbers.size:
        np.add.at(sums, numbers.astype(np.int32), weights.astype(dtype))
    return sums
