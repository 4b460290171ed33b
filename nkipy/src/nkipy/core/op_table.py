"""The tables that the op registry fills and tensors look up.

They stand alone so that neither side imports the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nkipy.core.ops._registry import Op

#: Every op with a record, by name.
OPS: dict[str, Op] = {}
#: NumPy's functions and ufuncs, each to the op that answers it.
NUMPY_TABLE: dict[Callable[..., Any], Op] = {}
