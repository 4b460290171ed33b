"""``np.sinc``, of signal sampling: the developer guide's example of an op."""

from typing import Any

import numpy as np

from nkipy.core.dtypes import FLOATS
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, unary_sampler

sinc = Op("sinc", numpy=np.sinc, dtypes=FLOATS, samples=unary_sampler(specials=False))
sinc.errors = (ErrorSample((["text"],), error=TypeError),)


@sinc.composed_impl
def _sinc(x: Any) -> Any:
    angle = np.pi * x
    angle = np.where(angle, angle, np.finfo(angle.dtype).eps)
    return np.sin(angle) / angle
