"""Whose code it is that runs in a trace: the user's, or of what the user calls.

Packages say it themselves, in the globals of their ``__init__`` (or of one module):

``__nkipy_hidden__ = True``
    A library of functions for kernels. Errors, warnings and the locations of
    instructions name the line that called it. In all else it is the user's code.

``__nkipy_internal__ = True``
    What works for the trace, as nkipy does, the emulator, or a backend. Hidden as
    well; arrays that it makes with NumPy are ordinary ones; and what its modules and
    classes hold does not change what a kernel computes, so that nobody watches it.

The nearest marker counts: that of the module, then those of the packages around it.
``False`` says that a part is the user's code after all. NumPy and its element types
cannot carry a marker, and are internal; other well-known libraries that are written
for NumPy's arrays are hidden. Arrays that they make are ordinary ones, if they hand
arrays to compiled code, which reads their memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from types import FrameType
from typing import Any

__all__ = ["Role", "is_internal", "role_of", "role_of_frame"]

HIDDEN_MARKER = "__nkipy_hidden__"
INTERNAL_MARKER = "__nkipy_internal__"
_UNMARKED = ("numpy", "ml_dtypes")
_MAX_FILES = 65_536


class Role(IntEnum):
    """Whose code a module is. All but the user's is hidden."""

    USER = 0
    HIDDEN = 1
    INTERNAL = 2
    COMPILED = 3


#: Libraries that an error of a traced value may come from; the user's line called them.
_LIBRARIES = {
    **dict.fromkeys(("autograd", "einops", "networkx", "opt_einsum"), Role.HIDDEN),
    **dict.fromkeys(("xarray",), Role.HIDDEN),
    **dict.fromkeys(("cv2", "jax", "matplotlib", "numba", "pandas"), Role.COMPILED),
    **dict.fromkeys(("PIL", "scipy", "skimage", "sklearn"), Role.COMPILED),
    **dict.fromkeys(("statsmodels", "torch"), Role.COMPILED),
}


def role_of(space: Mapping[str, Any]) -> Role:
    """The role of a module, by its globals."""
    role = _marked(space)
    if role is not None:
        return role
    package = space.get("__package__") or space.get("__name__")
    return _role_within(package) if isinstance(package, str) else Role.USER


@lru_cache(maxsize=8192)
def is_internal(module: str) -> bool:
    """Whether a module of that name is internal."""
    return _role_within(module) is Role.INTERNAL


def _role_within(name: str) -> Role:
    """Of a module or package, by its own marker or that of a package around it."""
    package = name.partition(".")[0]
    if package in _UNMARKED:
        return Role.INTERNAL
    while name:
        role = _marked(getattr(sys.modules.get(name), "__dict__", {}))
        if role is not None:
            return role
        name = name.rpartition(".")[0]
    return _LIBRARIES.get(package, Role.USER)


def _marked(space: Mapping[str, Any]) -> Role | None:
    internal = space.get(INTERNAL_MARKER)
    if internal is not None:
        return Role.INTERNAL if internal else Role.USER
    hidden = space.get(HIDDEN_MARKER)
    return None if hidden is None else Role.HIDDEN if hidden else Role.USER


#: What `role_of_frame` has found, by file: for callers that ask at each instruction.
BY_FILE: dict[str, Role] = {}


def role_of_frame(frame: FrameType) -> Role:
    """The role of the code that a frame runs. It is looked up once for each file."""
    file = frame.f_code.co_filename
    role = BY_FILE.get(file)
    if role is None:
        role = role_of(frame.f_globals)
        if not file.startswith("<"):  # which any code that is no file's has
            if len(BY_FILE) >= _MAX_FILES:
                BY_FILE.clear()
            BY_FILE[file] = role
    return role
