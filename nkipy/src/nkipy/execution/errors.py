"""What can be wrong with arrays that a program is to run on."""

from __future__ import annotations


class BindingError(ValueError):
    """An array, or a name, that a program does not take."""
