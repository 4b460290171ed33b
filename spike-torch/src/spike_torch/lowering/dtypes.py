"""torch's dtypes as HLO's element types."""

from __future__ import annotations

import numpy as np
import torch

from nkipy.hlo.dtypes import HLO_NAMES
from spike_torch.lowering.errors import Unsupported
from spike_torch.tensors import numpy_dtype


def hlo_dtype(dtype: torch.dtype) -> np.dtype:
    """HLO's element type of a dtype.

    Raises:
        Unsupported: HLO has none, or none that cores compute in. Nothing is narrowed.
    """
    try:
        found = numpy_dtype(dtype)
    except TypeError:
        found = None
    if found not in HLO_NAMES or dtype == torch.float64:
        raise Unsupported(f"has {dtype}, which cores do not compute in")
    return found


def accumulating(dtype: torch.dtype) -> torch.dtype:
    """What torch computes in for a dtype: float32 for the narrower floats."""
    return torch.float32 if dtype.is_floating_point else dtype
