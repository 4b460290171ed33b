"""``neuronxcc.nki.isa``: instructions that return what they compute.

Each is an instruction of today's ``nki.isa``, of which it has the record, with the
first generation's signature: no destination, ``dtype=`` and ``mask=`` instead.
"""

from __future__ import annotations

from typing import Any

from nkipy_nki.engines import Engine
from nkipy_nki.isa.names import dge_mode as dge_mode
from nkipy_nki.isa.names import engine as engine
from nkipy_nki.isa.names import get_nc_version as get_nc_version
from nkipy_nki.isa.names import gpsimd_engine as gpsimd_engine
from nkipy_nki.isa.names import nc_version as nc_version
from nkipy_nki.isa.names import oob_mode as oob_mode
from nkipy_nki.isa.names import reduce_cmd as reduce_cmd
from nkipy_nki.isa.names import scalar_engine as scalar_engine
from nkipy_nki.isa.names import tensor_engine as tensor_engine
from nkipy_nki.isa.names import unknown_engine as unknown_engine
from nkipy_nki.isa.names import vector_engine as vector_engine
from nkipy_nki.neuronxcc.nki.faults import refusing
from nkipy_nki.neuronxcc.nki.isa import (
    activations,
    arithmetic,
    choices,
    matmul,
    movement,
    search,
)
from nkipy_nki.neuronxcc.nki.isa.activations import *
from nkipy_nki.neuronxcc.nki.isa.arithmetic import *
from nkipy_nki.neuronxcc.nki.isa.choices import *
from nkipy_nki.neuronxcc.nki.isa.matmul import *
from nkipy_nki.neuronxcc.nki.isa.movement import *
from nkipy_nki.neuronxcc.nki.isa.search import *
from nkipy_nki.neuronxcc.nki.keywords import lenient_functions

dma_engine = Engine.dma

_PRIVATE = "it is the compiler's own, and has no documented meaning"
_CHAPTERS = (activations, arithmetic, choices, matmul, movement, search)
globals().update(lenient_functions("nisa", _CHAPTERS))

#: Why what the documentation names is not there, by name or by how it begins.
REFUSED = {
    "_tiled_offloaded": _PRIVATE,
    "attention_kernel": "it is a kernel of the compiler's own: nki_simulator has "
    "flash_fwd among its sample kernels",
    "builtin_custom_op": "it runs a library for the device's processors",
}
__getattr__: Any = refusing("nisa", __name__, REFUSED)
