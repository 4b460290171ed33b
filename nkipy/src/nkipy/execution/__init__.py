"""Builds, loads and runs modules of HLO, on a NeuronCore or on the CPU.

Knows no tracer. A module is built into an artifact, loaded onto a core, bound to arrays
there, and called::

    program = load(build(module))
    bound = program.bind({"w": w})
    y = bound({"x": x})["y"]

:func:`simulate` gives a program with the same interface on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy.compiler.build import Artifact, BuildOptions, build
    from nkipy.execution.bound import BoundCall
    from nkipy.execution.call_cache import CALLS, CallCache, CallTable
    from nkipy.execution.engines import SimulatorNotFoundError, find_engine
    from nkipy.execution.errors import BindingError
    from nkipy.execution.host_call import HostCall
    from nkipy.execution.program import LoadedProgram, load
    from nkipy.execution.residency import LOADED
    from nkipy.execution.simulation import BoundSimulation, SimulatedProgram, simulate

__all__ = [
    "Artifact",
    "BindingError",
    "BoundCall",
    "BoundSimulation",
    "BuildOptions",
    "CALLS",
    "CallCache",
    "CallTable",
    "HostCall",
    "LOADED",
    "LoadedProgram",
    "SimulatedProgram",
    "SimulatorNotFoundError",
    "build",
    "find_engine",
    "load",
    "simulate",
]

#: Imported on first use: the simulator needs neither spike nor a compiler.
_LAZY = {
    "Artifact": "nkipy.compiler.build",
    "BindingError": "nkipy.execution.errors",
    "BoundCall": "nkipy.execution.bound",
    "BoundSimulation": "nkipy.execution.simulation",
    "BuildOptions": "nkipy.compiler.build",
    "CALLS": "nkipy.execution.call_cache",
    "CallCache": "nkipy.execution.call_cache",
    "CallTable": "nkipy.execution.call_cache",
    "HostCall": "nkipy.execution.host_call",
    "LOADED": "nkipy.execution.residency",
    "LoadedProgram": "nkipy.execution.program",
    "SimulatedProgram": "nkipy.execution.simulation",
    "SimulatorNotFoundError": "nkipy.execution.engines",
    "build": "nkipy.compiler.build",
    "find_engine": "nkipy.execution.engines",
    "load": "nkipy.execution.program",
    "simulate": "nkipy.execution.simulation",
}

__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
