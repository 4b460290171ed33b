"""Every op, by name: ``ops.add``, ``ops.concatenate``, … Each is an :class:`Op`.

They are in chapters, the modules and packages in this one, each of which gives out its
own: ``from nkipy.core.ops.transform import split``. A file of a chapter is imported
when one of its ops is first asked for, here or in the op tables; a new file of records
needs no entry elsewhere.
"""

from __future__ import annotations

from typing import Any

from nkipy.core.ops import _loading
from nkipy.core.ops._registry import OPS
from nkipy.core.ops._registry import Op as Op
from nkipy.core.ops._registry import get_backend as get_backend
from nkipy.core.ops._registry import set_source_location as set_source_location

#: Nearly every kernel uses their files: better imported here than in a first trace.
_COMMON = "add exp getitem matmul mean negative reshape sum where".split()
_OWN = ("Op", "get_backend", "set_source_location")


def __getattr__(name: str) -> Any:
    if name == "__all__":  # import * asks for it
        return [*_OWN, *_named()]
    found = _loading.attribute("", name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_named()})


def _named() -> list[str]:
    """The names of all ops that are names in Python."""
    return [
        name
        for op in OPS.values()
        for name in (op.name, *op.aliases)
        if name.isidentifier()
    ]


for _name in _COMMON:
    OPS[_name]
