"""What stands for the package ``neuronxcc``: its ``nki``, and no compiler."""

from __future__ import annotations

__nkipy_internal__ = True  # see nkipy.core.roles
