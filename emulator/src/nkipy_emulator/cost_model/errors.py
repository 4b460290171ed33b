"""The cost model's error."""

from __future__ import annotations


class CostModelError(ValueError):
    """An unknown target, or a file that holds no module."""
