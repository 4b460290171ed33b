"""The first generation of the kernel language, as ``neuronxcc.nki`` had it."""

from __future__ import annotations

__nkipy_internal__ = True  # see nkipy.core.roles
