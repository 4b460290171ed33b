"""Functions whose answer is known while tracing: shapes, dtypes, kinds.

They return plain Python values, not arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._registry import Op
from nkipy.core.promotion import can_cast as allowed
from nkipy.core.promotion import is_ours
from nkipy.core.promotion import result_type as promoted
from nkipy.core.tensor import as_operand

result_type = Op("result_type", numpy=np.result_type)
can_cast = Op("can_cast", numpy=np.can_cast)
min_scalar_type = Op("min_scalar_type", numpy=np.min_scalar_type)
common_type = Op("common_type", numpy=np.common_type)


@result_type.impl("hlo")
def _result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype that the arguments promote to, narrowed to 32 bits."""
    return promoted(*(as_operand(a) for a in arrays_and_dtypes))


@can_cast.impl("hlo")
def _can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether `casting` allows the conversion."""
    source, target = _dtype_of(from_), _dtype_of(to)
    if isinstance(source, (int, float, complex)):  # NumPy's refusal
        return np.can_cast(source, target, casting)
    return allowed(dt.as_dtype(source), dt.as_dtype(target), casting)


def _dtype_of(value: Any) -> Any:
    dtype = getattr(value, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else value


@min_scalar_type.impl("hlo")
def _min_scalar_type(a: Any, /) -> np.dtype:
    """The dtype of `a`: of a scalar NumPy looks at the value, which is not known."""
    return as_operand(a).dtype


@common_type.impl("hlo")
def _common_type(*arrays: Any) -> type:
    """The float type that all arrays fit, narrowed to 32 bits."""
    kinds = [as_operand(a).dtype for a in arrays]
    if any(map(is_ours, kinds)):
        return promoted(*kinds).type
    if any(k.kind not in "fiu" for k in kinds):
        raise TypeError("can't get common type for non-numeric array")
    floats = [k if k.kind == "f" else dt.float64 for k in kinds]
    return dt.narrow(np.result_type(*floats)).type
