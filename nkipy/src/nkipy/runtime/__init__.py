"""Where kernels run."""

from __future__ import annotations

from nkipy.runtime.decorators import simulate_jit
from nkipy.runtime.engines import SimulatorNotFoundError
from nkipy.runtime.options import SimulationOptions
from nkipy.runtime.simulate import PerRank, SimulatedKernel, simulate_traced_kernel

__all__ = [
    "PerRank",
    "SimulatedKernel",
    "SimulationOptions",
    "SimulatorNotFoundError",
    "simulate_jit",
    "simulate_traced_kernel",
]
