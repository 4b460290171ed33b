"""Trigonometric and hyperbolic functions, and their inverses.

HLO has sine, cosine, tan, tanh and atan2; :mod:`nkipy.hlo.compositions` has the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import REAL
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import near_zero_sampler
from nkipy.hlo import compositions

_RECORD: dict[str, Any] = {"dtypes": REAL}
_NEAR: dict[str, Any] = {**_RECORD, "samples": near_zero_sampler()}
_UNIT: dict[str, Any] = {**_RECORD, "samples": near_zero_sampler(-1, 1)}

sin = UFuncOp(np.sin, in_float32(opcode("sine"), dt.FP8), **_NEAR)
cos = UFuncOp(np.cos, in_float32(opcode("cosine"), dt.FP8), **_NEAR)
tan = UFuncOp(np.tan, in_float32(opcode("tan"), dt.FP8), **_NEAR)
tanh = UFuncOp(np.tanh, in_float32(opcode("tanh"), dt.FP8), **_NEAR)
arcsin = UFuncOp(np.arcsin, in_float32(compositions.arcsin), **_UNIT)
arccos = UFuncOp(np.arccos, in_float32(compositions.arccos), **_UNIT)
arctan = UFuncOp(np.arctan, in_float32(compositions.arctan, dt.FP8), **_NEAR)
sinh = UFuncOp(np.sinh, in_float32(compositions.sinh), **_NEAR)
cosh = UFuncOp(np.cosh, in_float32(compositions.cosh), **_NEAR)
arcsinh = UFuncOp(np.arcsinh, in_float32(compositions.arcsinh), **_NEAR)
arccosh = UFuncOp(np.arccosh, in_float32(compositions.arccosh), **_NEAR)
arctanh = UFuncOp(np.arctanh, in_float32(compositions.arctanh), **_UNIT)
