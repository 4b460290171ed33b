"""Runs nkipy's HLO modules on the CPU, with XLA as the engine.

``nkipy`` finds the engine through the entry point group ``nkipy.simulators``. This
module can be imported without XLA; the engine cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# First of all, since it checks that nkipy is ours.
from nkipy_emulator._release import __version__ as __version__
from nkipy_emulator.errors import (
    EngineUnavailableError,
    SimulationError,
    UnsupportedCustomCallError,
)

if TYPE_CHECKING:
    from nkipy_emulator.custom_calls import register_custom_call, unregister_custom_call
    from nkipy_emulator.engine import XlaCpuEngine

__nkipy_internal__ = True  # see nkipy.core.roles

__all__ = [
    "EngineUnavailableError",
    "SimulationError",
    "UnsupportedCustomCallError",
    "XlaCpuEngine",
    "register_custom_call",
    "unregister_custom_call",
]


def __getattr__(name: str) -> Any:
    if name == "XlaCpuEngine":
        from nkipy_emulator.engine import XlaCpuEngine

        return XlaCpuEngine
    if name in ("register_custom_call", "unregister_custom_call"):
        from nkipy_emulator import custom_calls

        return getattr(custom_calls, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
