"""The Neuron Kernel Interface: kernels in Python, and a simulator that runs them.

The module is what ``nki`` is: :mod:`nkipy_nki.language` is ``nki.language``,
:mod:`nkipy_nki.isa` is ``nki.isa``.
"""

from __future__ import annotations

from nkipy_nki import collectives, compiler, dtype, isa, language, simulator, typing
from nkipy_nki._release import __version__
from nkipy_nki.benchmarking import benchmark, profile
from nkipy_nki.errors import NkiError, NkiValidationError
from nkipy_nki.kernel import Kernel, jit, simulate
from nkipy_nki.ranks import simulate_ranks
from nkipy_nki.simulation import Simulation, Simulator

__nkipy_internal__ = True  # see nkipy.core.roles

__all__ = [
    "Kernel",
    "NkiError",
    "NkiValidationError",
    "Simulation",
    "Simulator",
    "__version__",
    "benchmark",
    "collectives",
    "compiler",
    "dtype",
    "isa",
    "jit",
    "language",
    "profile",
    "simulate",
    "simulate_ranks",
    "simulator",
    "typing",
]
