"""Every op, by name: ``ops.add``, ``ops.concatenate``, … Each is an :class:`Op`.

They are in chapters, the modules and packages in this one, each of which gives out its
own: ``from nkipy.core.ops.transform import split``. Importing this package imports each
file of each chapter, whose records fill the op tables: a new file of records needs no
entry elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from nkipy.core.ops._registry import (
    OPS,
    Op,
    get_backend,
    refuse_unfinished,
    set_source_location,
)


def _import_all(package: str, path: Iterable[str]) -> None:
    """Import the files of a package, and of those in it.

    Raises:
        TypeError: a record in one has no implementation.
    """
    for found in sorted(iter_modules(path), key=lambda found: found.name):
        if not found.name.startswith("_"):
            module = import_module(f"{package}.{found.name}")
            if found.ispkg:
                _import_all(module.__name__, module.__path__)
    refuse_unfinished(package)


_import_all(__name__, __path__)

# Records made later, in other packages or in tests, are found by __getattr__.
_named = {
    name: op
    for op in OPS.values()
    for name in (op.name, *op.aliases)
    if name.isidentifier()
}
globals().update(_named)

__all__ = ["Op", "get_backend", "set_source_location"]
__all__ += list(_named)


def __getattr__(name: str) -> Any:
    try:
        return OPS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
