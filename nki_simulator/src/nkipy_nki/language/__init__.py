"""``nki.language``: tensors, loops, and functions that make instructions."""

from __future__ import annotations

from inspect import isfunction as _isfunction

from nkipy_nki.boundary import refusing_values as _refusing_values
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

#: What calls functions of the kernel, whose errors are its own.
_CALLING = {"fori_loop", "no_reorder", "while_loop"}
globals().update(
    {
        name: _refusing_values(f"nl.{name}", found)
        for name, found in list(globals().items())
        if _isfunction(found) and not name.startswith("_") and name not in _CALLING
    }
)
globals().update(DTYPES)
# Kernels write these two, which no document has.
globals().update(bool=DTYPES["bool_"], range=range)
__all__ = _public_names(globals())
