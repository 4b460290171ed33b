"""``neuronxcc.nki.language``: the first generation's language."""

from __future__ import annotations

import numpy as np

from nkipy_nki.dtypes import DTYPES
from nkipy_nki.indexing import ds as ds
from nkipy_nki.language.names import hbm as hbm
from nkipy_nki.language.names import private_hbm as private_hbm
from nkipy_nki.language.names import psum as psum
from nkipy_nki.language.names import sbuf as sbuf
from nkipy_nki.language.names import shared_hbm as shared_hbm
from nkipy_nki.language.names import tile_size as tile_size
from nkipy_nki.neuronxcc.nki.adapted import ADAPTED
from nkipy_nki.neuronxcc.nki.creation import *
from nkipy_nki.neuronxcc.nki.elementwise import FUNCTIONS
from nkipy_nki.neuronxcc.nki.grids import *
from nkipy_nki.neuronxcc.nki.indices import arange as arange
from nkipy_nki.neuronxcc.nki.indices import mgrid as mgrid
from nkipy_nki.neuronxcc.nki.loops import *
from nkipy_nki.neuronxcc.nki.moving import *
from nkipy_nki.neuronxcc.nki.reductions import *

globals().update(DTYPES)
globals().update(FUNCTIONS)
globals().update(ADAPTED)
#: Limits of float32, as ``nl.fp32.min``.
fp32 = np.finfo(np.float32)
