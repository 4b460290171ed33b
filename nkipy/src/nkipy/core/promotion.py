"""Dtype rules. NumPy is asked; its answer is narrowed to what the device has."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt

#: A dtype, or ``int``/``float`` for a Python scalar, which is weak (NEP 50).
Kind = Any


class Loop(NamedTuple):
    """The dtypes in which a ufunc computes: one per input, one per output."""

    inputs: tuple[np.dtype, ...]
    outputs: tuple[np.dtype, ...]


def kind_of(value: Any) -> Kind:
    """What `value` contributes to promotion.

    Raises:
        TypeError: `value` is nothing that an array operation can take.
    """
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return dtype
    if isinstance(value, bool):
        return dt.bool_
    if isinstance(value, int):
        return int
    if isinstance(value, float):
        return float
    raise TypeError(f"Unsupported or unrecognized type: {type(value).__name__}")


_loops: dict[Any, Loop] = {}


def resolve_loop(
    ufunc: np.ufunc,
    kinds: tuple[Kind, ...],
    dtype: Any = None,
    casting: str = "same_kind",
) -> Loop:
    """The loop that `ufunc` takes for inputs of these kinds, narrowed.

    Raises:
        TypeError: NumPy has no such loop, or its dtypes have no counterpart.
    """
    key = (ufunc, kinds, dtype, casting)
    found = _loops.get(key)
    if found is None:
        found = _loops[key] = _resolve(ufunc, kinds, dtype, casting)
    return found


def _resolve(
    ufunc: np.ufunc, kinds: tuple[Kind, ...], dtype: Any, casting: str
) -> Loop:
    if all(isinstance(k, type) for k in kinds):  # Python scalars only
        kinds = tuple(np.dtype(k) for k in kinds)
    outputs = (None,) * ufunc.nout
    options: dict[str, Any] = {"casting": casting}
    if dtype is not None:
        wanted = dt.as_dtype(dtype)
        options["signature"] = (None,) * ufunc.nin + (wanted,) * ufunc.nout
    resolved = ufunc.resolve_dtypes(kinds + outputs, **options)
    narrowed = tuple(dt.narrow(d) for d in resolved)
    return Loop(narrowed[: ufunc.nin], narrowed[ufunc.nin :])


def result_type(*values: Any) -> np.dtype:
    """``np.result_type`` of tensors, arrays, dtypes and Python scalars, narrowed.

    Raises:
        TypeError: NumPy knows no common dtype (bfloat16 with float16, for one).
    """
    return dt.narrow(np.result_type(*(_for_numpy(v) for v in values)))


def _for_numpy(value: Any) -> Any:
    dtype = getattr(value, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else value


def scalar_dtype(value: Any) -> np.dtype:
    """The dtype of a scalar that meets no array: bool, int32, float32, or its own.

    Raises:
        TypeError: not a scalar that can be traced.
    """
    if isinstance(value, np.generic):
        return dt.narrow(value.dtype)
    for kind, dtype in ((bool, dt.bool_), (int, dt.int32), (float, dt.float32)):
        if isinstance(value, kind):
            return dtype
    raise TypeError(f"Unsupported or unrecognized type: {type(value).__name__}")
