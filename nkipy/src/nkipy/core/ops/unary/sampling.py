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
    nonzero = np.where(angle == 0, 1, angle)
    return np.where(angle == 0, 1, np.sin(nonzero) / nonzero)[()]  # or a scalar
