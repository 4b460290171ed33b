"""Which chip a kernel is run for."""

from __future__ import annotations

import os

from nkipy.chips import CHIPS, DEFAULT, Chip, find_chip
from nkipy_nki.errors import NkiValidationError

__all__ = ["VARIABLE", "target_chip"]

#: The vendor's variable, which nkipy's compiler reads as well.
VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"


def target_chip(target: str | Chip | None = None) -> Chip:
    """The chip of a name such as ``"trn2"`` or ``"gen3"``.

    Args:
        target: if None, what the variable `VARIABLE` names, else the chip that nkipy
            compiles for unless told otherwise.

    Raises:
        NkiValidationError: no chip has the name.
    """
    if isinstance(target, Chip):
        return target
    name = target or os.environ.get(VARIABLE)
    if not name:
        return DEFAULT
    chip = find_chip(name) if isinstance(name, str) else None
    if chip is None:
        origin = "target" if target else VARIABLE
        known = ", ".join(chip.name for chip in CHIPS)
        raise NkiValidationError(
            f"{origin}={name!r}: no chip has this name; there are {known}"
        )
    return chip
