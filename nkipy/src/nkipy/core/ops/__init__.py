"""Every op, by name: ``ops.add``, ``ops.concatenate``, … Each is an :class:`Op`.

Importing this package imports each of its modules, whose records fill the op tables: a
new file of records needs no entry elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from nkipy.core.op_table import OPS
from nkipy.core.ops._registry import Op, get_backend, set_source_location

for _module in sorted(info.name for info in iter_modules(__path__)):
    if not _module.startswith("_"):
        import_module(f"{__name__}.{_module}")

#: NumPy's `round`, by the name that does not hide Python's.
round_ = OPS["round"]
#: NumPy's other names of these functions.
absolute, bitwise_not, mod = OPS["abs"], OPS["invert"], OPS["remainder"]

# Records made later, in other packages or in tests, are found by __getattr__.
globals().update({name: op for name, op in OPS.items() if name.isidentifier()})

__all__ = ["Op", "get_backend", "set_source_location"]
__all__ += ["absolute", "bitwise_not", "mod", "round_"]
__all__ += [name for name in OPS if name.isidentifier()]


def __getattr__(name: str) -> Any:
    try:
        return OPS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
