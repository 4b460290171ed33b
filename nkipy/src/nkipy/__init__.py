"""NumPy functions, traced to HLO: simulated on the CPU, compiled for Trainium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nkipy.core.arguments import ShapeDtype
    from nkipy.core.knob import knob

__all__ = ["ShapeDtype", "knob"]
__nkipy_internal__ = True  # see nkipy.core.roles
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "ShapeDtype":
        from nkipy.core.arguments import ShapeDtype

        return ShapeDtype
    if name == "knob":
        from nkipy.core.knob import knob

        return knob
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
