"""``nki.isa.constants``: the enumerations that instructions take, as ``nki.isa`` has.

No document has this module; kernels that are published take them from it.
"""

from __future__ import annotations

from nkipy_nki.engines import Engine as engine
from nkipy_nki.isa.names import nc_version
from nkipy_nki.modes import (
    dependency,
    dge_mode,
    dma_engine,
    matmul_perf_mode,
    oob_mode,
    reduce_cmd,
)

__all__ = [
    "dependency",
    "dge_mode",
    "dma_engine",
    "engine",
    "matmul_perf_mode",
    "nc_version",
    "oob_mode",
    "reduce_cmd",
]
