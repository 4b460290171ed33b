"""``np.sinc``, of signal sampling: the developer guide's example of an op."""

from typing import Any

import numpy as np

from nkipy.core.dtypes import FLOATS
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, unary_sampler
from nkipy.core.ops.nn._precision import working

sinc = Op("sinc", numpy=np.sinc, dtypes=FLOATS, samples=unary_sampler(specials=False))
sinc.errors = (ErrorSample((["text"],), error=TypeError),)


@sinc.composed_impl
def _sinc(x: Any) -> Any:
    wide, dtype = working(x)  # to compute in float32 at least, and round once
    angle = np.pi * np.where(wide == 0, 1e-20, wide)
    return (np.sin(angle) / angle).astype(dtype)[()]  # or a scalar
