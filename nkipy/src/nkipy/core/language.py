"""The dtypes that Trainium has and NumPy has not."""

from __future__ import annotations

from ml_dtypes import bfloat16, float8_e4m3, float8_e4m3fn, float8_e5m2

__all__ = ["bfloat16", "float8_e4m3", "float8_e4m3fn", "float8_e5m2"]
