"""Exponentials and logarithms."""

from __future__ import annotations

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import REAL
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import near_zero_sampler
from nkipy.hlo import compositions

# XLA rounds fp8 through float16, and float16's subnormals in expm1 early.
_ONCE = (dt.float16, *dt.FP8)

exp = UFuncOp(
    np.exp,
    in_float32(opcode("exponential"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
expm1 = UFuncOp(
    np.expm1,
    in_float32(opcode("exponential-minus-one"), _ONCE),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
log = UFuncOp(
    np.log,
    in_float32(opcode("log"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
log1p = UFuncOp(
    np.log1p,
    in_float32(opcode("log-plus-one"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)


exp2 = UFuncOp(
    np.exp2, in_float32(compositions.exp2), dtypes=REAL, samples=near_zero_sampler()
)
log2 = UFuncOp(
    np.log2, in_float32(compositions.log2), dtypes=REAL, samples=near_zero_sampler()
)
log10 = UFuncOp(
    np.log10, in_float32(compositions.log10), dtypes=REAL, samples=near_zero_sampler()
)
