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
from nkipy_nki.neuronxcc.nki.creation import *
from nkipy_nki.neuronxcc.nki.elementwise import FUNCTIONS
from nkipy_nki.neuronxcc.nki.grids import *
from nkipy_nki.neuronxcc.nki.indices import arange as arange
from nkipy_nki.neuronxcc.nki.indices import mgrid as mgrid
from nkipy_nki.neuronxcc.nki.loops import *
from nkipy_nki.neuronxcc.nki.moving import *
from nkipy_nki.neuronxcc.nki.reductions import *
from nkipy_nki.running import current

globals().update(DTYPES)
globals().update(FUNCTIONS)
#: Limits of float32, as ``nl.fp32.min``.
fp32 = np.finfo(np.float32)


class _TileSize:
    """The sizes that tiles may have: ``nl.tile_size``."""

    #: Columns of the stationary operand of a product, and of the moving one.
    gemm_stationary_fmax = 128
    gemm_moving_fmax = 512
    #: Elements of a partition that bn_stats takes.
    bn_stats_fmax = 512
    #: Elements of float32 in a partition of a bank of the PSUM.
    psum_fmax = 512

    @property
    def pmax(self) -> int:
        """Partitions."""
        return current("nl.tile_size").chip.partitions


tile_size = _TileSize()
