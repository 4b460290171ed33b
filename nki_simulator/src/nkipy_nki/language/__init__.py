"""``nki.language``: tensors, loops, and functions that make instructions."""

from __future__ import annotations

from nkipy_nki.control import *
from nkipy_nki.dtypes import DTYPES
from nkipy_nki.dtypes import DType as DType
from nkipy_nki.exports import public_names as _public_names
from nkipy_nki.indexing import ds as ds
from nkipy_nki.language.composed import *
from nkipy_nki.language.creation import *
from nkipy_nki.language.elementwise import *
from nkipy_nki.language.grids import *
from nkipy_nki.language.moving import *
from nkipy_nki.language.names import *
from nkipy_nki.language.normalizing import *
from nkipy_nki.language.printing import *
from nkipy_nki.language.reductions import *
from nkipy_nki.regions import MemoryRegion as MemoryRegion
from nkipy_nki.tensors import NkiTensor as NkiTensor

globals().update(DTYPES)
# Kernels write these two, which no document has.
globals().update(bool=DTYPES["bool_"], range=range)
__all__ = _public_names(globals())
