"""The Neuron Kernel Interface: kernels for Trainium, run by NumPy."""

from __future__ import annotations

__nkipy_internal__ = True  # see nkipy.core.roles
__version__ = "0.1.0"
