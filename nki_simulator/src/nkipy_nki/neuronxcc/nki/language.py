"""``neuronxcc.nki.language``: the first generation's language."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.dtypes import DTYPES, find_dtype
from nkipy_nki.indexing import ds as ds
from nkipy_nki.language.names import hbm as hbm
from nkipy_nki.language.names import private_hbm as private_hbm
from nkipy_nki.language.names import psum as psum
from nkipy_nki.language.names import sbuf as sbuf
from nkipy_nki.language.names import shared_hbm as shared_hbm
from nkipy_nki.language.names import tile_size as tile_size
from nkipy_nki.neuronxcc.nki import adapted, creation, moving, reductions
from nkipy_nki.neuronxcc.nki.adapted import *
from nkipy_nki.neuronxcc.nki.creation import *
from nkipy_nki.neuronxcc.nki.elementwise import FUNCTIONS
from nkipy_nki.neuronxcc.nki.faults import refusing
from nkipy_nki.neuronxcc.nki.grids import *
from nkipy_nki.neuronxcc.nki.indices import arange as arange
from nkipy_nki.neuronxcc.nki.indices import mgrid as mgrid
from nkipy_nki.neuronxcc.nki.keywords import lenient, lenient_functions
from nkipy_nki.neuronxcc.nki.loops import *
from nkipy_nki.neuronxcc.nki.moving import *
from nkipy_nki.neuronxcc.nki.reductions import *

_CHAPTERS = (adapted, creation, moving, reductions)
_MORE = {**FUNCTIONS, **adapted.ADAPTED}
globals().update(DTYPES)
globals().update({name: lenient("nl", function) for name, function in _MORE.items()})
globals().update(lenient_functions("nl", _CHAPTERS))
#: Limits of float32, as ``nl.fp32.min``.
fp32 = np.finfo(np.float32)


class bfp16:
    """Limits of bfloat16."""

    #: What was documented by its bits, 0xFF80, which are those of minus infinity.
    min = float("-inf")


def finfo(dtype: Any) -> Any:
    """The limits of a float type, as NumPy's ``finfo``."""
    return ml_dtypes.finfo(find_dtype(dtype).element)


#: Why what the documentation names is not there.
REFUSED = {
    "all_reduce": "programs of a grid run one after the other here, and none waits for "
    "what another computes; reduce by nl.store to a tensor in nl.shared_hbm, and a "
    "second kernel",
    "gemm_grid": "it was never documented what it gives",
    "gemm_stationary_grid": "it was never documented what it gives",
}
__getattr__: Any = refusing("nl", __name__, REFUSED)
